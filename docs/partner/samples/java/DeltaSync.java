package example.inventory;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Keeps a table of your products up to date by what has changed; run it every minute or hour.
 *
 * <p>The table is a file here. In a real program it is a table of your database, and the rows of a
 * page and its cursor are written in one transaction.
 */
public final class DeltaSync {

  /** What we hold of a product. One that was removed keeps its version: GONE is its quantity. */
  private record Row(long quantity, long version) {}

  private static final long GONE = -1;
  private static final String CURSOR = "#cursor"; // heads the first line; a product may be called so

  private final InventoryClient client;
  private final Path file;
  private final Set<String> listed;
  private final Duration oldest;
  private final Map<String, Row> rows = new HashMap<>();
  private String cursor;

  /**
   * @param listed the ids of the products that you list
   * @param oldest how old an answer can be: 30 s, by the contract
   */
  public DeltaSync(InventoryClient client, Path file, List<String> listed, Duration oldest)
      throws IOException {
    this.client = client;
    this.file = file;
    this.listed = Set.copyOf(listed);
    this.oldest = oldest;
    if (Files.exists(file)) {
      read();
    }
  }

  /** Brings the table up to date. Returns how many rows it changed. */
  public int sync() throws IOException, InterruptedException {
    if (cursor == null) {
      return start();
    }
    try {
      return follow();
    } catch (InventoryClient.ApiException e) {
      if (!e.code().equals("CURSOR_EXPIRED")) {
        throw e;
      }
      rows.clear(); // the versions that we hold may be of another database
      return start();
    }
  }

  private int start() throws IOException, InterruptedException {
    String from = client.changes(null).nextCursor();
    Thread.sleep(oldest.toMillis()); // what we read now is no older than the cursor
    int changed = 0;
    InventoryClient.Stock stock = client.stock(listed);
    for (InventoryClient.Item item : stock.items()) {
      changed += take(item.productId(), item.quantity(), item.version());
    }
    cursor = from;
    write();
    return changed + follow();
  }

  private int follow() throws IOException, InterruptedException {
    int changed = 0;
    InventoryClient.Changes page;
    do {
      page = client.changes(cursor);
      for (InventoryClient.Item item : page.items()) {
        changed += take(item.productId(), item.quantity(), item.version());
      }
      for (InventoryClient.Removed removed : page.removed()) {
        changed += take(removed.productId(), GONE, removed.version());
      }
      cursor = page.nextCursor();
      write();
    } while (page.hasMore());
    return changed;
  }

  /** Takes what is newer than what we hold; the same may be told twice. Returns 1 if it did. */
  private int take(String productId, long quantity, long version) {
    Row held = rows.get(productId);
    if (!listed.contains(productId) || held != null && held.version() >= version) {
      return 0;
    }
    rows.put(productId, new Row(quantity, version));
    return 1;
  }

  private void read() throws IOException {
    List<String> lines = Files.readAllLines(file);
    cursor = lines.get(0).split("\t")[1];
    for (String line : lines.subList(1, lines.size())) {
      String[] parts = line.split("\t"); // an id has no control characters
      rows.put(parts[0], new Row(Long.parseLong(parts[1]), Long.parseLong(parts[2])));
    }
  }

  private void write() throws IOException {
    List<String> lines = new ArrayList<>();
    lines.add(CURSOR + "\t" + cursor);
    rows.forEach((id, row) -> lines.add(id + "\t" + row.quantity() + "\t" + row.version()));
    Path next = Path.of(file + ".next");
    Files.write(next, lines);
    Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Syncs once: the first argument is the file, the others are the products that you list. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    String oldest = Setting.of("OLDEST_SECONDS", "30");
    List<String> given = List.of(arguments);
    DeltaSync sync =
        new DeltaSync(
            InventoryClient.fromEnvironment(),
            Path.of(given.get(0)),
            given.subList(1, given.size()),
            Duration.ofSeconds(Long.parseLong(oldest)));
    System.out.println("products changed: " + sync.sync());
  }
}
