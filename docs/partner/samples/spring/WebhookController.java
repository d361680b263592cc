package example.inventory;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Clock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;

/**
 * Receives webhooks.
 *
 * <p>The body is taken as byte[]: the signature is over the bytes as they came, and a Jackson
 * object written again has others. With Spring Security, permit this path and except it from CSRF.
 */
@RestController
public class WebhookController {
  private static final Logger LOG = LoggerFactory.getLogger(WebhookController.class);

  private final SignatureCheck check;
  private final ObjectMapper json;
  private final StockStore store;

  public WebhookController(
      @Value("${inventory.webhook-secrets}") String[] secrets,
      ObjectMapper json,
      StockStore store) {
    this.check = new SignatureCheck(Clock.systemUTC(), secrets);
    this.json = json;
    this.store = store;
  }

  @PostMapping("/hooks/stock")
  public ResponseEntity<Void> receive(
      @RequestHeader(name = "webhook-id", required = false) String id,
      @RequestHeader(name = "webhook-timestamp", required = false) String timestamp,
      @RequestHeader(name = "webhook-signature", required = false) String signatures,
      @RequestBody byte[] body)
      throws IOException {
    try {
      check.check(id, timestamp, signatures, body);
    } catch (SignatureCheck.RefusedException e) {
      LOG.warn("webhook refused: {}", e.getMessage());
      return ResponseEntity.status(HttpStatus.UNAUTHORIZED).build();
    }
    JsonNode event = json.readTree(body);
    // Stored before the answer, in one transaction: what was answered with 2xx does not come again.
    // If it throws, Spring answers 500, and the event comes again. Slow work belongs elsewhere: a
    // job that reads the table, after the answer.
    store.take(event);
    return ResponseEntity.noContent().build();
  }
}
