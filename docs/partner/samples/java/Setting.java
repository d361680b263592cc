package example.inventory;

/** Settings of these samples, out of the environment. */
final class Setting {
  private Setting() {}

  /** Returns a variable that must be there. */
  static String of(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalArgumentException("set " + name);
    }
    return value;
  }

  /** Returns a variable that may be absent. */
  static String of(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }
}
