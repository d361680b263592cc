package example.inventory;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON, so that these samples need nothing but the JDK. In a real program use Jackson.
 *
 * <p>An object becomes a Map, an array a List, a whole number a Long, any other a Double.
 */
final class Json {
  private static final int DEEPEST = 100; // arrays and objects in each other

  private final String text;
  private int at;
  private int depth;

  private Json(String text) {
    this.text = text;
  }

  /** Reads an object. Throws IllegalArgumentException if the text is something else. */
  @SuppressWarnings("unchecked")
  static Map<String, Object> object(String text) {
    Json json = new Json(text);
    Object value = json.value();
    json.skipSpace();
    if (json.at < text.length() || !(value instanceof Map)) {
      throw json.fault();
    }
    return (Map<String, Object>) value;
  }

  /** Returns a list of texts as JSON. */
  static String array(List<String> values) {
    return "[" + String.join(",", values.stream().map(Json::quoted).toList()) + "]";
  }

  private static String quoted(String value) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : value.toCharArray()) {
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"').toString();
  }

  private Object value() {
    skipSpace();
    char c = at < text.length() ? text.charAt(at) : 0;
    return switch (c) {
      case '{' -> map();
      case '[' -> list();
      case '"' -> string();
      case 't' -> word("true", true);
      case 'f' -> word("false", false);
      case 'n' -> word("null", null);
      default -> number();
    };
  }

  private Map<String, Object> map() {
    Map<String, Object> found = new LinkedHashMap<>();
    open();
    if (!next('}')) {
      do {
        skipSpace();
        String name = string();
        expect(':');
        found.put(name, value());
      } while (next(','));
      expect('}');
    }
    depth--;
    return found;
  }

  private List<Object> list() {
    List<Object> found = new ArrayList<>();
    open();
    if (!next(']')) {
      do {
        found.add(value());
      } while (next(','));
      expect(']');
    }
    depth--;
    return found;
  }

  private String string() {
    expect('"');
    StringBuilder found = new StringBuilder();
    while (at < text.length() && text.charAt(at) != '"') {
      char c = text.charAt(at++);
      found.append(c == '\\' ? escaped() : c);
    }
    expect('"');
    return found.toString();
  }

  private char escaped() {
    char c = at < text.length() ? text.charAt(at++) : 0;
    return switch (c) {
      case 'n' -> '\n';
      case 't' -> '\t';
      case 'r' -> '\r';
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'u' -> {
        if (at + 4 > text.length()) {
          throw fault();
        }
        at += 4;
        yield (char) Integer.parseInt(text.substring(at - 4, at), 16);
      }
      case '"', '\\', '/' -> c;
      default -> throw fault();
    };
  }

  private Number number() {
    int start = at;
    while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
    String digits = text.substring(start, at);
    if (digits.isEmpty()) {
      throw fault();
    }
    if (digits.matches("-?[0-9]+")) {
      return Long.valueOf(digits);
    }
    return Double.valueOf(digits);
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) {
      throw fault();
    }
    at += word.length();
    return value;
  }

  private void open() {
    at++;
    if (++depth > DEEPEST) {
      throw fault();
    }
  }

  private boolean next(char wanted) {
    skipSpace();
    if (at < text.length() && text.charAt(at) == wanted) {
      at++;
      return true;
    }
    return false;
  }

  private void expect(char wanted) {
    if (!next(wanted)) {
      throw fault();
    }
  }

  private void skipSpace() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private IllegalArgumentException fault() {
    return new IllegalArgumentException("not JSON as expected, at character " + at);
  }
}
