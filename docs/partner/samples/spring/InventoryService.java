package example.inventory;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.net.http.HttpClient;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpHeaders;
import org.springframework.http.MediaType;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.stereotype.Service;
import org.springframework.web.client.RestClient;
import org.springframework.web.client.RestClientException;
import org.springframework.web.client.RestClientResponseException;

/**
 * Live stock for a product page: one try, a short wait, and an empty answer when there is none.
 *
 * <p>For the hourly job see ../java/InventoryClient.java and DeltaSync.java: they wait and try
 * again, and work in a Spring program as they are.
 */
@Service
public class InventoryService {
  private static final Logger LOG = LoggerFactory.getLogger(InventoryService.class);

  /** One product's stock; Jackson leaves out the fields that are not named here. */
  public record Item(
      @JsonProperty("product_id") String productId, long quantity, String status, long version) {}

  private record Answer(List<Item> items, @JsonProperty("not_found") List<String> notFound) {}

  private final RestClient client;
  private volatile Instant silentUntil = Instant.MIN;

  public InventoryService(
      RestClient.Builder builder,
      @Value("${inventory.url}") String url,
      @Value("${inventory.key}") String key) {
    var http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(1)).build();
    var requests = new JdkClientHttpRequestFactory(http);
    requests.setReadTimeout(Duration.ofSeconds(1)); // what a customer may wait
    this.client =
        builder.baseUrl(url).defaultHeader("X-API-Key", key).requestFactory(requests).build();
  }

  /** Returns the stock of up to 100 products; empty: show what our own table has. */
  public Optional<List<Item>> stock(List<String> productIds) {
    if (Instant.now().isBefore(silentUntil)) {
      return Optional.empty();
    }
    try {
      Answer answer =
          client
              .post()
              .uri("/partner/v1/inventory")
              .contentType(MediaType.APPLICATION_JSON)
              .body(Map.of("product_ids", productIds))
              .retrieve()
              .body(Answer.class);
      return Optional.ofNullable(answer).map(Answer::items);
    } catch (RestClientResponseException e) { // its message has the request id, for our support
      LOG.warn("no stock: {}", e.getMessage());
      beSilent(e.getResponseHeaders());
    } catch (RestClientException e) { // not reached, or no answer in time
      LOG.warn("no stock: {}", e.getMessage());
    }
    return Optional.empty();
  }

  /** Over the limit, each further request would be refused and counted, too. */
  private void beSilent(HttpHeaders headers) {
    String retryAfter = headers == null ? null : headers.getFirst("Retry-After");
    if (retryAfter != null) {
      silentUntil = Instant.now().plusSeconds(Long.parseLong(retryAfter));
    }
  }
}
