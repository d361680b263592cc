"""Broken: gateway/kong.yml with one mistake each, and where and how it is to be told."""

from dataclasses import dataclass
from pathlib import Path

POLICY = (Path(__file__).parents[3] / "gateway" / "kong.yml").read_text("utf-8")

# Places in the file; a case's edit is made at the first match after one of them.
COUNTERS = "- counters: &counters"
BASIC = "basic: &tier-basic"
PREMIUM = "premium: &tier-premium"
GLOBAL = "\nplugins:"
AFTER_PLUGINS = "\n# Where the processes"
QUERY = "- name: query-live"
SANDBOX = "- name: query-sandbox"
WEBHOOKS = "- name: webhooks-live"
DOCUMENTS = "- name: documents"
CONSUMERS = "\nconsumers:"

QUERY_KEY_AUTH = """      - name: key-auth
        config:
          key_names: [X-API-Key]
          key_in_header: true
          key_in_query: false
          key_in_body: false
          hide_credentials: true
          anonymous: anonymous
"""
ACL_OF_LIVE = """      - name: acl
        config:
          allow: [live]
          hide_groups_header: true
"""
SIZE_LIMIT = """      - name: request-size-limiting
        config:
          allowed_payload_size: 128
          size_unit: kilobytes
          require_content_length: false
"""
LIMIT_BY_IP = """      - name: rate-limiting
        config:
          minute: {}
          limit_by: ip
          policy: redis
          sync_rate: -1
          fault_tolerant: true
          redis: *counters
"""
SANDBOX_PLUGINS = POLICY[
    POLICY.index("    plugins:", POLICY.index(SANDBOX)) : POLICY.index("  # Webhooks, live")
]
TERMINATION = """      - name: request-termination
        config:
          status_code: 401
          message: Unauthorized
"""
GLOBAL_TOKEN = """  - name: backend-token
    config:
      header: X-Backend-Token
      token: "{vault://env/backend-token}"
"""


@dataclass(frozen=True)
class Broken:
    """One broken file; `line` is where the mistake is."""

    name: str
    text: str
    line: int
    says: str
    faults: int  # how many lines the check prints: a mistake may have several ends


def broken(
    name: str,
    says: str,
    old: str,
    new: str,
    *,
    after: str = "",
    down: int = 0,
    line_of: str = "",
    faults: int = 1,
    also: tuple[str, str, str] | None = None,
) -> Broken:
    """Return POLICY with `old` replaced.

    The mistake is `down` lines below the edit's first line, or on the first line that holds
    `line_of` (after `after`, too). `also` is another edit: what, by what, after what.
    """
    policy = POLICY
    if also:
        place = POLICY.index(also[0], POLICY.index(also[2]))
        policy = POLICY[:place] + also[1] + POLICY[place + len(also[0]) :]
    start = policy.index(after)
    place = policy.index(old, start)
    text = policy[:place] + new + policy[place + len(old) :]
    at = text.index(line_of, start) if line_of else place
    return Broken(name, text, text.count("\n", 0, at) + 1 + down, says, faults)


def line_of(words: str) -> int:
    """Return the line of POLICY on which words first stand."""
    return POLICY.count("\n", 0, POLICY.index(words)) + 1


def added(name: str, says: str, before: str, new: str, **more: object) -> Broken:
    """Return POLICY with lines put in before a text."""
    return broken(name, says, before, new + before, **more)  # type: ignore[arg-type]


YAML = [
    broken("a tab", "indent with spaces", "    url: http://query\n", "\turl: http://query\n"),
    broken("an open bracket", "close the list", "allow: [live]", "allow: [live", faults=1),
    broken("an open brace", "close the map", "redis: *counters", "redis: {host: a", after=BASIC),
    broken("open quotes", "close the quotes", "message: Unauthorized", 'message: "Unauthorized'),
    broken("an anchor too few", "needs its anchor", "*counters", "*counter", after=BASIC),
    broken("a colon in a value", "quote a value", "host: valkey-counters",
           "host: valkey: counters"),
    broken("a key too far left", "one column", "          limit_by", "        limit_by",
           after=BASIC, down=1),
    broken("a key without a colon", "followed by a colon", "retries: 5\n", "retries 5\n", down=1),
    broken("a second document", "one document", "\nplugins:", "\n---\nplugins:", down=1),
    broken("an unprintable character", "unprintable", "minute: 60", "minute: 6\x000"),
    broken("a tag", "without it", "minute: 60", "minute: !limit 60", faults=2),
    broken("a date that is none", "put it in quotes", "name: query-live", "name: 2026-13-45",
           faults=2),
    broken("an alias in its own anchor", "inside of its own", "host: valkey-counters",
           "host: *counters", faults=2),
    broken("a merge of a text", "takes a map", "redis: *counters", "redis: {<<: counters}",
           after=BASIC, faults=3),
    broken("a list for the whole file", "a kong.yml is a map", POLICY, "- services\n"),
    broken("an empty file", "a kong.yml is a map", POLICY, "# nothing\n"),
]  # fmt: skip
KEYS = [
    added("a limit twice", "stands twice", "limit_by: consumer", "minute: 61\n          ",
          after=BASIC),
    broken("two urls", f"first on line {line_of('    url: http://query')}", "connect_timeout: 1000",
           "url: http://webhooks",
           after=QUERY, faults=2),
    added("services twice", "stands twice", "\nconsumers:", "\nservices: []", down=1, faults=2),
    added("config twice", "stands twice", "      # 100 ids", "        config: {allow: [sandbox]}\n",
          faults=2),
    added("a tier twice", "`basic` stands twice", "      # For load tests",
          "      basic: *tier-premium\n"),
    broken("a key that YAML takes for a boolean", "put it in quotes", "strip_path: false\n",
           "strip_path: false\n        on: x\n", after=QUERY, down=1, faults=2),
]  # fmt: skip
UNKNOWN = [
    broken("a field of the file", "did you mean `services`", "\nservices:", "\nservice:", down=1,
           faults=2),
    broken("a field of a service", "did you mean `read_timeout`", "read_timeout: 2000",
           "read_timout: 2000", faults=2),
    broken("a field of a route", "did you mean `hosts`", "hosts: [", "host: [", faults=3),
    broken("a field of a consumer", "did you mean `username`", "username: anonymous",
           "user_name: anonymous", faults=7),
    broken("a field of a plugin", "did you mean `config`", "config:\n      header_name",
           "confg:\n      header_name", faults=4),
    broken("a field of key-auth", "did you mean `key_names`", "key_names", "key_nams", faults=2),
    broken("a field of a size limit", "did you mean `allowed_payload_size`",
           "allowed_payload_size: 128", "allowed_payload_sise: 64", faults=2),
    broken("a field of a tier", "did you mean `minute`", "minute: 60", "minutes: 60", faults=2),
    broken("a field of the counters", "did you mean `timeout`", "timeout: 100", "time_out: 100",
           faults=2),
    broken("a field that is like none", "there is allow, ", "hide_groups_header: true", "xyz: 1"),
    broken("a field of a plugin without any", "there is none", "- name: error-envelope\n",
           "- name: error-envelope\n    config: {shape: json}\n", after=GLOBAL, down=1),
    broken("a plugin's name", "did you mean `key-auth`", "- name: key-auth", "- name: keyauth",
           faults=2),
    broken("a plugin like none", "there is acl, ", "- name: error-envelope", "- name: zzz",
           faults=2),
    broken("a tier that is another plugin", "`name: rate-limiting`", "name: rate-limiting",
           "name: rate-limit", after=BASIC),
]  # fmt: skip
TYPES = [
    broken("a limit in quotes", "must be an integer, not a text", "minute: 60", 'minute: "60"'),
    broken("a limit with a decimal point", "must be an integer, not a decimal", "minute: 60",
           "minute: 60.5"),
    broken("a limit of none", "from 1 to", "minute: 300", "minute: 0"),
    broken("a limit below none", "from 1 to", "minute: 1000\n", "minute: -1\n"),
    broken("a limit in words", "must be an integer", "minute: 120", "minute: many"),
    broken("a limit left out", "needs `minute`", "          minute: 300\n", "",
           line_of="standard: &tier"),
    broken("a boolean in quotes", "true or false, not a text", "key_in_body: false",
           'key_in_body: "no"'),
    broken("a boolean as a number", "true or false", "strip_path: false", "strip_path: 0"),
    broken("a list as a text", "in brackets", "paths: [/partner/v1/inventory]",
           "paths: /partner/v1/inventory", faults=2),
    broken("a list as a number", "must be a list", "hosts: [sandbox-api.inventory.example, sandbox"
           "-api.localhost]", "hosts: 7", faults=3),
    broken("an empty list", "name one at least", "allow: [live]", "allow: []", faults=1),
    broken("numbers in a list of texts", "must hold a text", "key_names: [X-API-Key]",
           "key_names: [1]"),
    broken("a port out of range", "from 0 to 65,535", "port: 6379", "port: 70000"),
    broken("a database below none", "from 0 to", "database: 0", "database: -1"),
    broken("retries out of range", "from 0 to 32,767", "retries: 5", "retries: 40000"),
    broken("a timeout in seconds with a unit", "must be an integer", "read_timeout: 2000",
           "read_timeout: 2s"),
    broken("a timeout of none", "from 1 to", "connect_timeout: 1000", "connect_timeout: 0"),
    broken("a size unit", "bytes, kilobytes or megabytes", "size_unit: kilobytes",
           "size_unit: kb"),
    broken("a status", "from 100 to 599", "status_code: 401", "status_code: 1401", faults=2),
    broken("a name as a number", "a text, not an integer", "name: query-live", "name: 7"),
    broken("a config as a list", "`config` of", "config:\n          allow: [live]\n          hide_"
           "groups_header: true", "config: [live]"),
    broken("redis as a text", "must be a map", "redis: *counters", "redis: valkey", after=BASIC),
    broken("redis left out", "needs `redis`", "          redis: *counters\n", "",
           after=PREMIUM, line_of=PREMIUM),
    broken("services as a map", "must be a list", "\nservices:", "\nservices: {}\n_comment:",
           down=1, faults=2),
    broken("a plugin as a text", "must be a map, not a text", SIZE_LIMIT,
           "      - request-size-limiting\n", after=QUERY, faults=2),
    broken("a service without a name", "needs `name`", "- name: webhooks-live\n    url",
           "- url", faults=1),
    broken("a service without an address", "needs `url`", "    url: http://query\n", "",
           line_of=QUERY, faults=1),
    broken("an address without http", "http:// or https://", "url: http://query\n",
           "url: query:8101\n"),
    broken("an address that is a port", "http:// or https://", "url: http://query",
           "url: http://query:http"),
    broken("an address with a query", "without ? and #", "http://query\n", "http://query/?a=b\n",
           after=QUERY),
    broken("a path without a slash", "must begin with /", "[/partner/v1/webhooks]",
           "[partner/v1/webhooks]"),
    broken("a pattern that is no pattern", "begin it with ~/", "[/partner/v1/webhooks]",
           "['/partner/v1/webhooks/.*']"),
    broken("a pattern that does not compile", "no regular expression", "[/partner/v1/webhooks]",
           "['~/partner/(v1']"),
    broken("a host with a path", "no host name", "sandbox-api.localhost]", "http://sandbox/]"),
    broken("a method in small letters", "methods are GET", "strip_path: false",
           "methods: [post]\n        strip_path: false", after=QUERY),
    broken("a protocol", "protocols are http or https", "strip_path: false",
           "protocols: [ftp]\n        strip_path: false", after=QUERY),
    broken("a route that takes everything", "give it `paths`",
           "        paths: [/partner/v1/inventory]\n", "", line_of="- name: inventory-live"),
    broken("an id that is no UUID", "must be a UUID", "id: 00000000-0000-4000-8000-000000000001",
           "id: anonymous"),
    broken("a name with spaces", "no spaces", "name: query-live", "name: query live"),
    broken("a version as a number", "in quotes", '_format_version: "3.0"', "_format_version: 3.0"),
    broken("an old version", '"3.0"', '_format_version: "3.0"', '_format_version: "1.1"'),
    broken("transform off", "must be true", "_transform: true", "_transform: false"),
    broken("tiers as a list", "must be a map by name", "  - tiers:\n", "  - tiers: [a]\n    x:\n",
           faults=5),
]  # fmt: skip
REFERENCES = [
    broken("a consumer for anonymous", "that is not in the file", "anonymous: anonymous",
           "anonymous: nobody"),
    added("a plugin for a service", "names a service `query-life`", AFTER_PLUGINS,
          "  - name: request-termination\n    service: query-life\n", down=1),
    added("a plugin for a route", "names a route `inventory`", AFTER_PLUGINS,
          "  - name: request-termination\n    route: inventory\n", down=1),
    added("a plugin for a consumer", "names a consumer `techmart`", AFTER_PLUGINS,
          "  - name: request-termination\n    consumer: techmart\n", down=1),
    added("a route without a service", "belongs to no service", "\nconsumers:",
          "\nroutes:\n  - {name: x, paths: [/x], strip_path: false, tags: [public]}", down=2,
          faults=4),
    added("a route for a service", "names a service `nowhere`", "\nconsumers:",
          "\nroutes:\n  - {name: x, paths: [/x], strip_path: false, service: nowhere,"
          " tags: [public]}", down=2, faults=4),
    broken("a service's name twice", "the name `query-live`, which is taken",
           "- name: query-sandbox", "- name: query-live"),
    broken("a route's name twice", "the name `inventory-live`, which is taken",
           "- name: inventory-sandbox", "- name: inventory-live"),
    broken("a path twice", "which another route takes", "[/partner/v1/webhooks]",
           "[/partner/v1/inventory]"),
    broken("a plugin twice", "is there already", ACL_OF_LIVE, ACL_OF_LIVE * 2, down=4),
    added("a consumer twice", "the username `anonymous`, which is taken", "  # Everybody without",
          "  - username: anonymous\n", line_of="username: anonymous\n    acls", faults=7),
    broken("a service inside of another", "stands under its service already",
           "- name: acl\n", "- name: acl\n        service: query-live\n", after=QUERY, down=1),
    broken("an aliased tier as a plugin", "one plugin, not two", LIMIT_BY_IP.format(60),
           "      - *tier-basic\n", after=CONSUMERS, faults=2),
    broken("aliased plugins of a service", "one plugin, not two", SANDBOX_PLUGINS,
           "    plugins: *shared\n", also=("    plugins:\n", "    plugins: &shared\n", QUERY),
           faults=5),
    broken("an aliased service", "one plugin, not two", "  - name: query-live",
           "  - &again\n    name: query-live", also=("\nconsumers:", "  - *again\n\nconsumers:",
           ""),
           line_of="- *again", faults=6),
]  # fmt: skip
ABSENT = [
    added("consumer groups", "no consumer groups", "\nconsumers:",
          "\nconsumer_groups:\n  - name: gold\n", down=1),
    broken("groups of a consumer", "no consumer groups", "    acls:\n",
           "    groups:\n      - name: gold\n    acls:\n"),
    *(
        added(f"an empty {name} of a consumer", says, "    acls:\n", f"    {name}:\n")
        for name, says in (("groups", "no consumer groups"), ("type", "Enterprise only"),
                           ("consumer_groups", "no consumer groups"))
    ),
    *(
        added(f"an empty {name} of a plugin", says, "        config:\n          key_names",
              f"        {name}:\n")
        for name, says in (("partials", "Enterprise only"), ("ordering", "own priorities"),
                           ("consumer_group", "no consumer groups"))
    ),
    added("an empty workspace of a service", "Enterprise only", "    url: http://query\n",
          "    ws_id:\n"),
    added("a plugin for a consumer group", "no consumer groups", AFTER_PLUGINS,
          "  - name: request-termination\n    consumer_group: gold\n", down=1),
    added("targets at the top", "under their upstream", "\nconsumers:",
          "\ntargets:\n  - {target: query:8101, upstream: query}\n", down=1),
    broken("hashing", "requests go round", "  - name: query\n",
           "  - name: query\n    hash_on: ip\n", down=1),
    added("a vault", "Enterprise only", "\nconsumers:", "\nvaults:\n  - name: hcv\n", down=1),
    added("a certificate", "ends TLS", "\nconsumers:", "\ncertificates: []\n", down=1),
    added("an order of plugins", "own priorities", "        config:\n          key_names",
          "        ordering: {before: {access: [acl]}}\n"),
    broken("a key with an end", "refused from its first request", "    acls:\n",
           "    keyauth_credentials:\n      - key: '{vault://env/k}'\n        ttl: 60\n"
           "    acls:\n", down=2, faults=2),
    broken("a reference in a key", "does not resolve", "    acls:\n",
           "    keyauth_credentials:\n      - key: '{vault://env/k}'\n    acls:\n", down=1),
    broken("counting in the database", "must be redis", "policy: redis", "policy: cluster",
           after=BASIC),
    broken("request-transformer", "write backend-token", GLOBAL_TOKEN,
           "  - name: request-transformer\n    config:\n      add: {headers:"
           " ['X-Backend-Token:{vault://env/backend-token}']}\n", faults=3),
    broken("exit-transformer", "error-envelope shapes errors", "- name: error-envelope",
           "- name: exit-transformer", faults=2),
    broken("rate-limiting-advanced", "write rate-limiting", "name: rate-limiting",
           "name: rate-limiting-advanced", after=DOCUMENTS, faults=2),
    broken("keys of another sort", "write key-auth", "- name: key-auth", "- name: jwt", faults=2),
    added("a plugin that only Kong has", "Kong has it", AFTER_PLUGINS, "  - name: zipkin\n",
          down=0),
    broken("an address in parts", "write `url: http://NAME`", "    url: http://query\n",
           "    host: query\n    port: 8101\n", after=QUERY, faults=3),
    broken("redis of Kong 2", "of Kong 2", "          redis: *counters\n",
           "          redis_host: valkey\n", after=PREMIUM, faults=2),
    broken("an expression", "router flavor", "paths: [/partner/v1/webhooks]",
           "expression: 'http.path ^= \"/partner/v1/webhooks\"'", faults=2),
    broken("a limit by the hour", "write `minute`", "minute: 300", "hour: 18000", faults=2),
]  # fmt: skip
UPSTREAMS = [
    broken("a target without a port", "Kong would take 8000", "target: query:8101",
           "target: query"),
    broken("a target with http://", "without http:// and a path", "target: query:8101",
           "target: http://query:8101"),
    broken("a target with a path", "without http:// and a path", "target: query:8101",
           "target: query:8101/v1"),
    broken("a target at port 0", "from 1 to 65,535", "target: query:8101", "target: query:0"),
    broken("a target twice", "is there already", "      - target: query:8101\n",
           "      - target: query:8101\n      - target: Query:8101\n", down=1),
    broken("a target as a text", "must be a map", "- target: query:8101", "- query:8101",
           faults=2),
    broken("a weight above Kong's", "from 0 to 65,535", "- target: query:8101",
           "- {target: query:8101, weight: 70000}"),
    broken("targets of weight 0", "weight 0 alone", "- target: query:8101",
           "- {target: query:8101, weight: 0}", line_of="- name: query\n"),
    broken("an upstream without targets", "has no `targets`",
           "    targets:\n      - target: query:8101\n", "", line_of="- name: query\n"),
    broken("an upstream without checks", "needs `healthchecks`", "    healthchecks: *checks\n", "",
           line_of="- name: query\n"),
    broken("an upstream with a port in its name", "without a port", "- name: query\n",
           "- name: query:8101\n", faults=3),
    broken("an upstream in upper case", "write it in lower case", "- name: query\n",
           "- name: Query\n"),
    broken("a service that writes its upstream in upper case", "write it in lower case",
           "url: http://query", "url: http://Query"),
    broken("an upstream's name twice", "the name `query`, which is taken", "- name: sandbox-query",
           "- name: query", faults=2),
    broken("a service at no upstream", "did you mean `sandbox-query`?", "url: http://sandbox-query",
           "url: http://sandbox-qury"),
    broken("an upstream that its service does not name", "did you mean `webhook`?",
           "- name: webhooks\n", "- name: webhook\n", line_of="url: http://webhooks"),
    broken("a service at an upstream's port", "which Kong ignores", "url: http://webhooks",
           "url: http://webhooks:8102"),
    broken("a check of readiness", "while PostgreSQL is away", "http_path: /health/accepting",
           "http_path: /health/ready"),
    broken("a check of Kong's own path", "Kong's default is /:", "        http_path: /health/"
           "accepting\n", "", line_of="active:\n", down=1),
    broken("a check that opens a connection only", "and nowhere else", "active:\n",
           "active:\n        type: tcp\n", down=1),
    broken("no active checks", "needs `active`", POLICY[POLICY.index("      active:\n"):
           POLICY.index("      passive:\n")], "", line_of="- checks: &checks"),
    broken("an interval of none", "must be 1:", "interval: 1", "interval: 0"),
    broken("an interval left out", "Kong's default is 0", "          interval: 1\n", "",
           line_of="healthy:\n          successes", down=1),
    broken("a check that notices too late", "for less than 4 s", "interval: 1", "interval: 5"),
    broken("a process that never comes back", "waits so long", "successes: 1",
           "successes: 0"),
    broken("a check that takes nothing out", "0 is no check", "http_failures: 3",
           "http_failures: 0"),
    broken("a check that takes the next one out too soon", "must be back before",
           "http_failures: 3", "http_failures: 1"),
    broken("a process that is back too late", "must be 0.5:", "interval: 0.5", "interval: 2"),
    broken("a field of checks", "did you mean `tcp_failures`", "tcp_failures: 1", "tcp_failure: 1",
           faults=2),
    broken("checks as a text", "must be a map", "healthchecks: *checks", "healthchecks: checks"),
    broken("a refused connection that is not noticed", "the process that has refused",
           "tcp_failures: 1", "tcp_failures: 0", after="passive:\n"),
    broken("a process taken out for a 503", "what the caches answer", "http_failures: 0",
           "http_failures: 3"),
]  # fmt: skip
ACCESS = [
    broken("no key-auth", "has no key-auth", QUERY_KEY_AUTH, "", line_of="- name: inventory-live"),
    broken("key-auth not enabled", "has no key-auth", "- name: key-auth\n",
           "- name: key-auth\n        enabled: false\n", line_of="- name: inventory-live"),
    broken("no acl", "has no acl", ACL_OF_LIVE, "", line_of="- name: inventory-live"),
    broken("no size limit", "bodies of any size", SIZE_LIMIT, "", line_of="- name: inventory-live"),
    broken("a public route without its tag", "has no key-auth", "        tags: [public]\n", "",
           line_of="- name: documents\n        paths", faults=3),
    broken("a public route without a limit", "is public and has no limit",
           LIMIT_BY_IP.format(120), "",
           after=DOCUMENTS, line_of="- name: documents\n        paths"),
    broken("a public route limited by consumer", "nobody on a public route", "limit_by: ip",
           "limit_by: consumer", after=DOCUMENTS),
    broken("a public route that passes keys on", "add `hide: [X-API-Key]`",
           "          hide: [X-API-Key]\n", "", line_of="- name: documents\n        paths"),
    broken("anonymous left out", "leaves `anonymous` out", "          anonymous: anonymous\n", "",
           line_of="- name: key-auth"),
    broken("anonymous without an end", "has no request-termination", TERMINATION, "",
           line_of="- id: 0000"),
    broken("anonymous with an end that is not enabled", "has no request-termination",
           "- name: request-termination\n", "- name: request-termination\n        enabled: false\n",
           line_of="- id: 0000"),
    broken("anonymous with another end", "must be 401", "status_code: 401", "status_code: 200"),
    broken("anonymous with Kong's own end", "must be 401", "          status_code: 401\n", "",
           line_of="- name: request-termination"),
    broken("anonymous with an end on demand", "take `trigger` out", "message: Unauthorized",
           "trigger: x-end", faults=1),
    broken("anonymous without a limit", "wrong keys are never limited", LIMIT_BY_IP.format(60), "",
           after=CONSUMERS, line_of="- id: 0000", faults=2),
    broken("anonymous with one limit for all", "share one limit", "limit_by: ip",
           "limit_by: consumer", after=CONSUMERS),
    broken("anonymous in one group", "add `group: sandbox`", "      - group: sandbox\n", "",
           line_of="- id: 0000", faults=2),
    broken("keys in the query", "must be false", "key_in_query: false", "key_in_query: true"),
    broken("keys in the query by default", "leaves `key_in_query` out, and Kong's default is true",
           "          key_in_query: false\n", "", line_of="- name: key-auth"),
    broken("keys in the body", "must be false", "key_in_body: false", "key_in_body: true"),
    broken("keys not in a header", "must be true", "key_in_header: true", "key_in_header: false"),
    broken("another header for keys", "must be [X-API-Key]", "[X-API-Key]", "[apikey]"),
    broken("Kong's own header for keys", "Kong's default is [apikey]",
           "          key_names: [X-API-Key]\n", "", line_of="- name: key-auth"),
    broken("keys shown to services", "must be true", "hide_credentials: true",
           "hide_credentials: false"),
    broken("keys shown to services by default", "leaves `hide_credentials` out",
           "          hide_credentials: true\n", "", line_of="- name: key-auth"),
    added("a weaker key-auth on a route", "leaves `key_in_query` out", "    plugins:\n",
          "        plugins:\n          - name: key-auth\n            config: {anonymous: anonymous,"
          " key_names: [X-API-Key], hide_credentials: true}\n", after=QUERY, down=1),
    broken("no error envelope", "Kong's own shape", "  - name: error-envelope\n", "",
           line_of="plugins:\n  # Each"),
    broken("no request ids", "no X-Request-ID", "- name: correlation-id", "- name: request-terminat"
           "ion\n    enabled: false\n  - name: correlation-id\n    enabled: false",
           line_of="plugins:\n  # Each"),
    broken("request ids that count", "how many requests", "generator: uuid",
           "generator: uuid#counter"),
    broken("request ids kept from callers", "callers quote", "echo_downstream: true",
           "echo_downstream: false"),
    broken("no backend token", "the services refuse", GLOBAL_TOKEN, "",
           line_of="plugins:\n  # Each"),
    broken("another header for the token", "must be X-Backend-Token", "header: X-Backend-Token",
           "header: X-Token"),
    broken("an envelope for one service", "for every request", ACL_OF_LIVE,
           ACL_OF_LIVE + "      - name: error-envelope\n", down=4),
    broken("acl of a consumer", "before Kong knows the consumer", TERMINATION,
           ACL_OF_LIVE + TERMINATION, after=CONSUMERS),
    broken("acl by refusal", "name who may", "allow: [live]", "deny: [sandbox]", faults=2),
    broken("a path that is cut by default", "the path would be cut", "        strip_path: false\n",
           "", line_of="- name: inventory-live"),
    broken("Kong's own timeout", "Kong's default is 60000", "    read_timeout: 2000\n", "",
           line_of=QUERY),
    broken("Kong's own retries", "Kong's default is 5", "    retries: 5\n", "",
           line_of=QUERY),
    broken("Kong's own unit of sizes", "the same number would allow far more",
           "          size_unit: kilobytes\n", "", line_of="- name: request-size-limiting"),
    broken("bodies in chunks refused", "bodies in chunks", "require_content_length: false",
           "require_content_length: true"),
]  # fmt: skip
LIMITS = [
    broken("a limit of each node", "must be redis", "policy: redis", "policy: local",
           after=PREMIUM),
    broken("Kong's own counting", "Kong's default is local", "          policy: redis\n", "",
           after=PREMIUM, line_of=PREMIUM),
    broken("counts that add up later", "must be -1", "sync_rate: -1", "sync_rate: 10",
           after=PREMIUM),
    broken("Kong's own timeout of counters", "Kong's default is 2000", "      timeout: 100\n", "",
           line_of=COUNTERS),
    broken("a long timeout of counters", "from 1 to 500", "timeout: 100", "timeout: 2000"),
    broken("no service without counters", "500 while Valkey is away", "fault_tolerant: true",
           "fault_tolerant: false", after=DOCUMENTS),
    broken("a tier by address", "a tier is for a partner", "limit_by: consumer", "limit_by: ip",
           after=PREMIUM),
    broken("a tier by key", "must be consumer or ip", "limit_by: consumer", "limit_by: credential",
           after=PREMIUM),
    broken("a tier that is not enabled", "have no limit", "name: rate-limiting\n",
           "name: rate-limiting\n        enabled: false\n", after=PREMIUM, down=1),
    broken("a tier with an id", "the same for every partner", "name: rate-limiting\n",
           "name: rate-limiting\n        id: 7c9e6679-7425-40de-944b-e07fc1f90ae7\n", after=PREMIUM,
           down=1),
    broken("no tiers", "there are no tiers", "  - tiers:\n", "  - levels:\n", line_of="_ignore:\n",
           faults=5),
    broken("a tier that is a number", "must be a plugin", POLICY[POLICY.index("basic: &"):
           POLICY.index("      standard: &")], "basic: 60\n"),
    broken("a limit that tiers replace", "never counts", SIZE_LIMIT, SIZE_LIMIT
           + LIMIT_BY_IP.format(9), after=QUERY, down=5),
    added("a limit that replaces tiers", "every partner's tier", AFTER_PLUGINS,
          "  - name: rate-limiting\n    service: query-live\n    route: inventory-live\n"
          "    config: {minute: 9, limit_by: ip, policy: redis, redis: *counters}\n", faults=2),
    broken("another answer at the limit", "promised 429", "limit_by: consumer",
           "limit_by: consumer\n          error_code: 503", after=PREMIUM, down=1),
    broken("limits kept from callers", "RateLimit headers", "limit_by: consumer",
           "limit_by: consumer\n          hide_client_headers: true", after=PREMIUM, down=1),
    added("a consumer without a limit", "has an acl group and no rate-limiting", "  # Everybody",
          "  - {username: monitor, acls: [{group: live}]}\n"),
]  # fmt: skip
SECRETS = [
    broken("a token in plain text", "`token` is a secret in plain text",
           '"{vault://env/backend-token}"', "not-a-reference"),
    broken("a token from elsewhere", "from its environment alone", "{vault://env/backend-token}",
           "{vault://hcv/backend-token}"),
    broken("a token in a mistyped reference", "plain text", "{vault://env/backend-token}",
           "{vautl://env/backend-token}"),
    broken("a password of the counters", "`password` is a secret in plain text", "timeout: 100",
           "timeout: 100\n      password: hunter2", down=1),
    broken("a password that nobody uses", "plain text", "  - counters: &counters",
           "  - other: {host: a, password: hunter2}\n  - counters: &counters"),
    broken("a password as a number", "plain text", "timeout: 100",
           "timeout: 100\n      password: 12345", down=1, faults=2),
    broken("a key of a consumer", "an API key stands in the file", "    acls:\n",
           "    keyauth_credentials:\n      - key: a-key-in-the-file\n    acls:\n", down=1),
    broken("a key in a comment", "revoke it", "# Everybody without",
           "# pk_live_0123456789abcdefghijABCDEFGHIJ0123456 is mine\n  # Everybody without"),
    broken("a password in an address", "user or password", "http://query\n",
           "http://user:hunter2@query\n", after=QUERY),
    broken("a reference in a text", "literally", "message: Unauthorized",
           "message: 'a {vault://env/word}'"),
    broken("a reference where Kong reads none", "does not resolve", "message: Unauthorized",
           "message: '{vault://env/word}'"),
]  # fmt: skip
ENVIRONMENTS = [
    broken("both groups on one service", "keys of both environments", "allow: [live]",
           "allow: [live, sandbox]"),
    broken("a group that nobody is in", "no partner is in the group `life`", "allow: [live]",
           "allow: [life]", faults=2),
    broken("a group of anonymous that no route allows", "did you mean `live`", "- group: live",
           "- group: life", faults=3),
    broken("the sandbox's keys on live", "has no `hosts`", "allow: [live]", "allow: [sandbox]",
           line_of="- name: inventory-live"),
    broken("the sandbox without hosts", "would take live's requests",
           "        hosts: [sandbox-api.inventory.example, sandbox-api.localhost]\n", "",
           line_of="- name: inventory-sandbox", faults=2),
    broken("live at the sandbox's host", "a host of live too", "      - name: inventory-live\n",
           "      - name: inventory-live\n        hosts: [sandbox-api.localhost]\n",
           line_of="hosts: [sandbox-api.inventory", faults=3),
    broken("the sandbox at live's address",
           "sandbox's and has the address of target query:8101 of upstream query, which is live's",
           "- target: sandbox-query:8201", "- target: query:8101"),
    broken("the sandbox at live's upstream", "target query:8101 of upstream query is sandbox's",
           "http://sandbox-query", "http://query", line_of="- target: query:8101"),
    broken("the sandbox at live's address without an upstream",
           "service query-sandbox is sandbox's and has the address of service query-live",
           "http://sandbox-query", "http://h.example:81",
           also=("http://query", "http://h.example:81", QUERY)),
    added("one service for both", "both environments to one service", "    plugins:\n",
          "      - name: more\n        hosts: [x.example]\n        paths: [/partner/v1/more]\n"
          "        strip_path: false\n        plugins:\n          - {name: acl, config: {allow:"
          " [sandbox]}}\n", after=QUERY),
    added("a consumer of both", "one consumer for each", "  # Everybody without",
          "  - username: monitor\n    acls: [{group: live}, {group: sandbox}]\n    plugins:\n"
          + LIMIT_BY_IP.format(9)),
]  # fmt: skip
FILES = [
    *YAML, *KEYS, *UNKNOWN, *TYPES, *REFERENCES, *ABSENT, *UPSTREAMS, *ACCESS, *LIMITS, *SECRETS,
    *ENVIRONMENTS,
]  # fmt: skip
