"""Configuration: docs/configuration.md out of the code; `make docs` writes it, a test compares.

What a setting is for stands in the comment above or behind its field, its values and default in
its type: here they become tables, and nowhere are they written twice.
"""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from services.admin.settings import UPSTREAMS_PATTERN, AdminSettings, ServiceSettings
from services.cli.client import TOKEN_PATTERN, URL_PATTERN, ClientSettings
from services.core.settings import BACKEND_TOKENS_PATTERN
from services.query.cache_url import CACHE_URL_PATTERN
from services.query.settings import PartnerSettings, QuerySettings
from services.schema.settings import MigrateSettings
from services.webhooks.settings import (
    ApiSettings,
    RelaySettings,
    SchedulerSettings,
    WorkerSettings,
)

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "configuration.md"
COMPOSE = REPOSITORY / "compose.yaml"

Programs = Mapping[str, type[msgspec.Struct]]

# heading and what starts the programs: each program and what it reads
SERVICES: Mapping[tuple[str, str], Programs] = {
    ("Query", "`python -m services.query PROGRAM`"): {
        "partner": PartnerSettings,
        "internal": QuerySettings,
    },
    ("Webhooks", "`python -m services.webhooks PROGRAM`; several names share a process"): {
        "api": ApiSettings,
        "relay": RelaySettings,
        "scheduler": SchedulerSettings,
        "worker": WorkerSettings,
        "slow-worker": WorkerSettings,
    },
    ("Admin", "`python -m services.admin` (service), and commands inside its container"): {
        "service": ServiceSettings,
        "command": AdminSettings,
    },
    ("partnerapi", "`partnerapi`: every command that calls admin"): {"partnerapi": ClientSettings},
    ("Migrations", "`partnerapi database migrate`"): {"migrate": MigrateSettings},
}

HEAD = """# Configuration

Made from the code by `make docs`; `make check` fails while they differ.

A program reads its settings from environment variables when it starts. What is missing, malformed
or looks mistyped is reported, all at once, and nothing starts. For every setting NAME, NAME_FILE
may name a file that holds it instead, as Docker's secrets do: one newline at its end is dropped,
and both set is an error. What is marked as secret belongs into such a file. Nothing is read again
while a program runs, but for the policy of GATEWAY_POLICY.

[deployment.md](deployment.md) tells which of them compose.yaml sets and where its secrets come
from; `KONG_` variables there are Kong's own. The local stack (`make up`) needs none.
"""

# What a pattern of a type means; a new one needs words.
PATTERNS = {
    CACHE_URL_PATTERN: (
        "`valkey://[:PASSWORD@]HOST:PORT/NUMBER`, or a Cluster:"
        " `valkey://HOST:PORT,HOST:PORT?cluster=true`; `valkeys://` with TLS"
    ),
    BACKEND_TOKENS_PATTERN: "32 characters or more; several with commas between, newest first",
    "^postgres(ql)?://": "`postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE`",
    "^(valkey|redis)s?://": "`valkey://[:PASSWORD@]HOST:PORT/NUMBER`, `valkeys://` with TLS",
    "^smtps?://": "`smtp://[USER:PASSWORD@]HOST:PORT` or `smtps://...`",
    UPSTREAMS_PATTERN: "`NAME=HOST:PORT`, comma separated",
    "^https?://": "`https://HOST[:PORT]`",
    URL_PATTERN: "`http://HOST[:PORT]` or `https://HOST[:PORT]`",
    TOKEN_PATTERN: "text",
    r"^\s*[0-9.]+\s*(,\s*[0-9.]+\s*)*$": "numbers, comma separated",
}

# Variables of compose.yaml itself; a new one needs words.
COMPOSE_VARIABLES = {
    "IMAGE": "the image of our services; with a registry's name: pulled, not built",
    "RELEASE": "its tag",
    "GATEWAY_PORT": "of the load balancer: where partners ask",
    "INTERNAL_PORT": "on loopback: where our own shop asks",
    "ADMIN_PORT": "on loopback: the admin API and its page",
    "ADMIN_2_PORT": "on loopback: the same, of the second admin",
    "POSTGRES_PORT": "on loopback: stock written by SQL, backups",
    "MAIL_PORT": "on loopback: the mail catcher's page",
    "PROMETHEUS_PORT": "on loopback",
    "GRAFANA_PORT": "on loopback",
}

# Read by `partnerapi` beside its settings.
COMMAND_LINE = {
    "PARTNERAPI_STATE_DIR": (
        ".stack",
        "the folder of the local stack whose admin is called, where none of ADMIN_URL,"
        " ADMIN_TOKEN and ADMIN_DATABASE_URL is set",
    ),
}


class Setting(NamedTuple):
    """A row of a table."""

    name: str
    programs: tuple[str, ...]
    values: str
    default: str
    purpose: str


class UndocumentedError(Exception):
    """A setting says nothing about itself; the message names it and how to mend it."""


def page() -> str:
    """Return the whole page. Raises UndocumentedError."""
    parts = [HEAD]
    for (heading, started_by), programs in SERVICES.items():
        parts.append(f"## {heading}\n{started_by}\n\n{_table(settings_of(programs), programs)}")
    parts.append(f"## Command line\n{_plain_table(COMMAND_LINE)}")
    parts.append(
        "## compose.yaml\nOf the shell or a file .env beside it.\n\n"
        + _plain_table(_of_compose(COMPOSE.read_text()))
    )
    return "\n".join(parts)


def settings_of(programs: Programs) -> list[Setting]:
    """Return every setting of some programs, required ones first. Raises UndocumentedError."""
    found: dict[str, Setting] = {}
    for program, struct in programs.items():
        comments = _comments(struct)
        for field in fields(struct):
            name = field.name.upper()
            before = found[name].programs if name in found else ()
            if not comments.get(field.name):
                msg = f"{struct.__name__}.{field.name}: say in a comment what it is for"
                raise UndocumentedError(msg)
            found[name] = Setting(
                name,
                (*before, program),
                values_of(field.type),
                _default(field),
                _sentence(comments[field.name]),
            )
    return sorted(found.values(), key=lambda setting: (setting.default != "", setting.name))


def values_of(kind: Any) -> str:  # noqa: ANN401 -- any type of a field
    """Say in words which values a type takes. Raises UndocumentedError for an unknown pattern."""
    limits = [each for each in get_args(kind) if isinstance(each, msgspec.Meta)]
    base: Any = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    plain = [each for each in get_args(base) if each is not type(None)]
    if plain:
        return values_of(plain[0])
    if base is bool:
        return "`true` `false`"
    if isinstance(base, type) and issubclass(base, enum.Enum):
        return " ".join(f"`{each.value}`" for each in base)
    words = "; ".join(_limit(meta, fractions=base is not int) for meta in limits)
    return words or {str: "text", int: "a whole number", float: "a number"}[base]


def _limit(meta: msgspec.Meta, *, fractions: bool) -> str:
    if meta.pattern is not None:
        if meta.pattern in PATTERNS:
            return PATTERNS[meta.pattern]
        msg = f"the pattern {meta.pattern}: say in PATTERNS what it means"
        raise UndocumentedError(msg)
    if meta.min_length is not None:
        return "text" if meta.min_length == 1 else f"{meta.min_length} characters or more"
    low = f"above {meta.gt}" if meta.gt is not None else f"{meta.ge} or more"
    if meta.le is None:
        return low
    low = low.removesuffix(" or more")
    return f"{low} to {meta.le}" + (", fractions too" if fractions else "")


def _default(field: FieldInfo) -> str:
    if field.required:
        return ""
    if field.default is None:
        return "none"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    return f"`{value}`" if value != "" else "empty"


def _sentence(comment: str) -> str:
    ended = comment if comment.endswith(".") else f"{comment}."
    return ended[0].upper() + ended[1:]


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return each field's comment, those of the struct's bases too."""
    found: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct:
            found.update(_own_comments(textwrap.dedent(inspect.getsource(kind))))
    return found


def _own_comments(source: str) -> dict[str, str]:
    lines = source.splitlines()
    (body,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            behind = lines[node.lineno - 1].partition("  # ")[2]
            found[node.target.id] = behind or " ".join(_above(lines, node.lineno - 1))
    return found


def _above(lines: list[str], index: int) -> list[str]:
    first = index
    while lines[first - 1].strip().startswith("#"):
        first -= 1
    return [line.strip().removeprefix("#").strip() for line in lines[first:index]]


def _of_compose(text: str) -> dict[str, tuple[str, str]]:
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    unknown = defaults.keys() ^ COMPOSE_VARIABLES.keys()
    if unknown:
        msg = f"compose.yaml and COMPOSE_VARIABLES differ in {sorted(unknown)}"
        raise UndocumentedError(msg)
    return {name: (defaults[name], purpose) for name, purpose in COMPOSE_VARIABLES.items()}


def _table(settings: Iterable[Setting], programs: Programs) -> str:
    head = ["| setting | programs | values | default | what it is for |", "| - | - | - | - | - |"]
    return "\n".join([*head, *(_row(each, programs) for each in settings), ""])


def _row(setting: Setting, programs: Programs) -> str:
    where = "all" if setting.programs == tuple(programs) else ", ".join(setting.programs)
    cells = (setting.values, setting.default or "**required**", setting.purpose)
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| `{setting.name}` | {where} | {' | '.join(escaped)} |"


def _plain_table(rows: Mapping[str, tuple[str, str]]) -> str:
    def lines() -> Iterator[str]:
        yield "| variable | default | what it is for |"
        yield "| - | - | - |"
        for name, (default, purpose) in rows.items():
            yield f"| `{name}` | `{default}` | {purpose} |"
        yield ""

    return "\n".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
