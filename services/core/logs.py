"""Core: structured logs; one JSON object a line, or readable lines in development (D4)."""

import logging
import re
import sys
from enum import StrEnum
from typing import Any, TextIO, cast

import msgspec
import structlog

from services.core.environments import KEY_PREFIXES
from services.core.http.request_lines import RequestLines
from services.core.log_writer import LogWriter

# Keys, tokens of admin and secrets of webhooks, all but their first characters, in a path that they
# were pasted into. Inventory's path has no underscore, and costs 0.03 us.
_SECRET = re.compile(
    rf"((?:{KEY_PREFIXES})\w{{4}}|padm_[\w-]{{4}})[\w-]+|(whsec_[\w+]{{4}})[\w+/=]+"
)


class LogFormat(StrEnum):
    """How log lines look: `json` for machines, `console` for people."""

    JSON = "json"
    CONSOLE = "console"


def configure_logs(log_format: LogFormat, *, service: str, environment: str) -> None:
    """Send structlog's events, and what libraries log, to standard output. Once, at start."""
    structlog.reset_defaults()
    writer = LogWriter(sys.stdout.fileno())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service_adder(service, environment),
        structlog.processors.format_exc_info,
    ]
    renderer = _renderer(log_format)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    if log_format is LogFormat.JSON:
        _made.append(RequestLines(service=service, environment=environment, write=writer.write))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


_made: list[RequestLines] = []


def request_lines() -> RequestLines | None:
    """Return what writes a line for each request; None where lines are for people, or not set."""
    return _made[-1] if _made else None


def shown_path(path: str) -> str:
    """Return a path as it may be logged: without the secrets that somebody put into it (D4)."""
    return _SECRET.sub(r"\1\2...", path) if "_" in path else path


def _service_adder(service: str, environment: str) -> structlog.typing.Processor:
    def add(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["service"] = service
        event["environment"] = environment
        return event

    return add


def _renderer(log_format: LogFormat) -> structlog.typing.Processor:
    if log_format is LogFormat.CONSOLE:
        return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: Any, **_options: object) -> str:  # noqa: ANN401 -- structlog's own signature
    return msgspec.json.encode(event, enc_hook=repr).decode()
