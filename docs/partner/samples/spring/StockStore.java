package example.inventory;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.UUID;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Repository;
import org.springframework.transaction.annotation.Transactional;

/** Our table of stock: takes each event once, and never goes back to an older version. */
@Repository
public class StockStore {
  private static final String ONCE =
      "INSERT INTO taken_event (event_id) VALUES (?) ON CONFLICT DO NOTHING";

  // The database compares: two events of one product may be taken at the same time.
  private static final String NEWER =
      """
      INSERT INTO partner_stock (product_id, quantity, version) VALUES (?, ?, ?)
      ON CONFLICT (product_id) DO UPDATE
      SET quantity = excluded.quantity, version = excluded.version
      WHERE partner_stock.version < excluded.version
      """;

  private final JdbcTemplate jdbc;

  public StockStore(JdbcTemplate jdbc) {
    this.jdbc = jdbc;
  }

  /** Takes a genuine event, unless it was taken before. */
  @Transactional
  public void take(JsonNode event) {
    UUID eventId = UUID.fromString(event.get("event_id").asText());
    JsonNode product = event.path("data").path("product_id");
    if (jdbc.update(ONCE, eventId) == 0 || product.isMissingNode()) {
      return; // a duplicate, a ping, or a type that is newer than this program
    }
    JsonNode item = event.get("data");
    put(product.asText(), item.get("quantity").asLong(), item.get("version").asLong());
  }

  /** Takes what is newer than what we hold: for the sync job, too. Null is a removed product. */
  public void put(String productId, Long quantity, long version) {
    jdbc.update(NEWER, productId, quantity, version);
  }
}
