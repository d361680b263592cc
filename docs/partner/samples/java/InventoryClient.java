package example.inventory;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/** Asks for live stock: any number of products, in batches of 100. Safe for several threads. */
public final class InventoryClient {

  /** One product's stock. Of two items, the one with the higher version is newer. */
  public record Item(
      String productId, long quantity, String status, String updatedAt, long version) {}

  /** What you asked for, and the ids that we do not know. */
  public record Stock(List<Item> items, List<String> notFound) {}

  /** A product that we no longer have. */
  public record Removed(String productId, long version) {}

  /** One page of changes. */
  public record Changes(
      List<Item> items, List<Removed> removed, String nextCursor, boolean hasMore) {}

  /** An error answer. Decide by the code; the request id finds the request in our log. */
  public static final class ApiException extends IOException {
    private final int status;
    private final String code;

    ApiException(int status, String code, String message, String requestId) {
      super(status + " " + code + ": " + message + " (request " + requestId + ")");
      this.status = status;
      this.code = code;
    }

    public int status() {
      return status;
    }

    public String code() {
      return code;
    }
  }

  private static final int BATCH = 100; // products in a request
  private static final Duration FIRST_PAUSE = Duration.ofMillis(500);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(30);
  private static final Set<Integer> PASSING = Set.of(429, 500, 502, 503, 504); // worth another try

  private final HttpClient http =
      HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();
  private final String base;
  private final String key;
  private final Duration patience;

  /**
   * @param base such as https://sandbox-api.inventory.example
   * @param key your key of this environment
   * @param patience how long one request may be waited for and tried again: minutes in a job, zero
   *     while a customer waits for a page
   */
  public InventoryClient(String base, String key, Duration patience) {
    this.base = base;
    this.key = key;
    this.patience = patience;
  }

  /** Returns the stock of any number of products; an id that you give twice is asked for once. */
  public Stock stock(Collection<String> productIds) throws IOException, InterruptedException {
    List<String> ids = List.copyOf(new LinkedHashSet<>(productIds));
    List<Item> items = new ArrayList<>();
    List<String> notFound = new ArrayList<>();
    for (int first = 0; first < ids.size(); first += BATCH) {
      List<String> batch = ids.subList(first, Math.min(first + BATCH, ids.size()));
      String body = "{\"product_ids\":" + Json.array(batch) + "}";
      Map<String, Object> answer =
          send(
              request("/partner/v1/inventory")
                  .header("Content-Type", "application/json")
                  .POST(BodyPublishers.ofString(body)));
      objects(answer.get("items")).forEach(each -> items.add(itemOf(each)));
      ((List<?>) answer.get("not_found")).forEach(id -> notFound.add((String) id));
    }
    return new Stock(items, notFound);
  }

  /** Returns what has changed since a cursor; with null, only the cursor to begin with. */
  public Changes changes(String cursor) throws IOException, InterruptedException {
    String query =
        cursor == null ? "" : "?cursor=" + URLEncoder.encode(cursor, StandardCharsets.UTF_8);
    Map<String, Object> answer = send(request("/partner/v1/inventory/changes" + query));
    return new Changes(
        objects(answer.get("items")).stream().map(InventoryClient::itemOf).toList(),
        objects(answer.get("removed")).stream()
            .map(each -> new Removed((String) each.get("product_id"), (Long) each.get("version")))
            .toList(),
        (String) answer.get("next_cursor"),
        (Boolean) answer.get("has_more"));
  }

  private HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create(base + path))
        .timeout(Duration.ofSeconds(5))
        .header("X-API-Key", key);
  }

  /** Sends a request until it is answered, is refused, or has taken too long. */
  private Map<String, Object> send(HttpRequest.Builder request)
      throws IOException, InterruptedException {
    Instant giveUp = Instant.now().plus(patience);
    for (int attempt = 0; ; attempt++) {
      IOException failure;
      Duration pause = growing(attempt);
      try {
        HttpResponse<String> answer = http.send(request.build(), BodyHandlers.ofString());
        if (answer.statusCode() == 200) {
          return Json.object(answer.body());
        }
        failure = errorOf(answer);
        pause = answer.headers().firstValue("Retry-After").map(this::seconds).orElse(pause);
      } catch (IOException e) { // not reached, or no answer in time; a query is safe to repeat
        failure = e;
      }
      boolean refused = failure instanceof ApiException e && !PASSING.contains(e.status());
      if (refused || Instant.now().plus(pause).isAfter(giveUp)) {
        throw failure;
      }
      System.err.println(base + ": " + failure + "; next try in " + pause.toMillis() + " ms");
      Thread.sleep(pause.toMillis());
    }
  }

  /** 0.5 s, 1 s, 2 s and so on, each shorter by chance, so that not all come back together. */
  private static Duration growing(int attempt) {
    long longest = FIRST_PAUSE.toMillis() << Math.min(attempt, 10);
    double share = ThreadLocalRandom.current().nextDouble(0.5, 1);
    return Duration.ofMillis((long) (Math.min(longest, LONGEST_PAUSE.toMillis()) * share));
  }

  /** Retry-After is always in seconds here. */
  private Duration seconds(String retryAfter) {
    return Duration.ofSeconds(Long.parseLong(retryAfter));
  }

  private static ApiException errorOf(HttpResponse<String> answer) {
    String requestId = answer.headers().firstValue("X-Request-ID").orElse("unknown");
    try {
      Map<String, Object> error = Json.object(answer.body());
      String code = (String) error.get("code");
      String message = (String) error.get("message");
      return new ApiException(answer.statusCode(), code, message, requestId);
    } catch (IllegalArgumentException e) { // not ours: a proxy between us
      return new ApiException(answer.statusCode(), "UNKNOWN", "not our error", requestId);
    }
  }

  private static Item itemOf(Map<String, Object> found) {
    return new Item(
        (String) found.get("product_id"),
        (Long) found.get("quantity"),
        (String) found.get("status"),
        (String) found.get("updated_at"),
        (Long) found.get("version"));
  }

  @SuppressWarnings("unchecked")
  private static List<Map<String, Object>> objects(Object list) {
    return (List<Map<String, Object>>) list;
  }

  /** Prints the stock of the products that are named. */
  public static void main(String[] ids) throws IOException, InterruptedException {
    InventoryClient client = fromEnvironment();
    Stock stock = client.stock(List.of(ids));
    for (Item item : stock.items()) {
      System.out.println(item.productId() + " " + item.quantity() + " " + item.status());
    }
    stock.notFound().forEach(id -> System.out.println(id + " is not known"));
  }

  /** Returns a client of INVENTORY_URL with INVENTORY_KEY, as patient as a job may be. */
  static InventoryClient fromEnvironment() {
    return new InventoryClient(
        Setting.of("INVENTORY_URL"), Setting.of("INVENTORY_KEY"), Duration.ofMinutes(2));
  }
}
