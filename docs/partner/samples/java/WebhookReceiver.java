package example.inventory;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;

/**
 * Receives webhooks: verifies each, takes it once, and never goes back to an older version.
 *
 * <p>What it knows is in memory here. In a real program both are tables, written in one
 * transaction before the answer: an event that was answered with 2xx does not come again.
 */
public final class WebhookReceiver {
  private static final int LARGEST = 64 * 1024; // bytes of a body; an event has less than 1,000

  private final SignatureCheck check;
  private final Set<String> seen = new HashSet<>(); // event ids; keep them for 8 days or longer
  private final Map<String, Long> versions = new HashMap<>(); // of each product

  WebhookReceiver(SignatureCheck check) {
    this.check = check;
  }

  private void handle(HttpExchange exchange) throws IOException {
    try (exchange) {
      exchange.sendResponseHeaders(statusOf(exchange), -1);
    }
  }

  private int statusOf(HttpExchange exchange) throws IOException {
    if (!exchange.getRequestMethod().equals("POST")) {
      return 405;
    }
    byte[] body = exchange.getRequestBody().readNBytes(LARGEST + 1);
    if (body.length > LARGEST) {
      return 413;
    }
    var headers = exchange.getRequestHeaders();
    try {
      check.check(
          headers.getFirst("webhook-id"),
          headers.getFirst("webhook-timestamp"),
          headers.getFirst("webhook-signature"),
          body);
    } catch (SignatureCheck.RefusedException e) {
      System.out.println("refused: " + e.getMessage());
      return 401;
    }
    take(Json.object(new String(body, StandardCharsets.UTF_8)));
    return 204;
  }

  /** Takes a genuine event. One event after the other: two of one product may come at once. */
  private synchronized void take(Map<String, Object> event) {
    String type = (String) event.get("event_type");
    if (!seen.add((String) event.get("event_id"))) {
      System.out.println("duplicate: " + type + " " + event.get("event_id"));
      return;
    }
    Map<?, ?> data = (Map<?, ?>) event.get("data");
    if (data.get("product_id") instanceof String product) {
      // Events of one change have one version: an equal one is not older.
      long version = (Long) data.get("version");
      if (version < versions.getOrDefault(product, 0L)) {
        System.out.println("older: " + type + " " + product);
        return;
      }
      versions.put(product, version);
      System.out.println(type + " " + product + " " + data.get("quantity"));
    } else { // a ping, or a type that is newer than this program
      System.out.println(type);
    }
  }

  /** Listens on PORT for events that are signed with WEBHOOK_SECRET or WEBHOOK_SECRET_NEXT. */
  public static void main(String[] arguments) throws IOException {
    int port = Integer.parseInt(Setting.of("PORT", "9000"));
    String secret = Setting.of("WEBHOOK_SECRET");
    String next = Setting.of("WEBHOOK_SECRET_NEXT", secret);
    var receiver = new WebhookReceiver(new SignatureCheck(Clock.systemUTC(), secret, next));
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.createContext("/hooks/stock", receiver::handle);
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.start();
    System.out.println("listening on port " + server.getAddress().getPort());
  }
}
