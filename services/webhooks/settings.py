"""Settings: what a webhook process is told by its environment."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from services.kernel.environments import Environment
from services.kernel.logs import LogFormat
from services.kernel.settings import (
    BackendToken,
    Port,
    PostgresUrl,
    SettingsError,
    ValkeyUrl,
    load_settings,
)

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Days = Annotated[float, msgspec.Meta(gt=0, le=30)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=256)]
SmtpUrl = Annotated[str, msgspec.Meta(pattern="^smtps?://")]
ApiUrl = Annotated[str, msgspec.Meta(pattern="^https?://")]
NumberList = Annotated[str, msgspec.Meta(pattern=r"^\s*[0-9.]+\s*(,\s*[0-9.]+\s*)*$")]


class WebhookSettings(msgspec.Struct, kw_only=True):
    """What every webhook program is told; each field is a variable of its name in capitals."""

    environment: Environment
    database_url: PostgresUrl  # of the role <environment>_webhooks, on the primary
    queue_url: ValkeyUrl  # a single server that never evicts
    log_format: LogFormat = LogFormat.JSON
    # Endpoints over http, on loopback and on any port: for a laptop. Live refuses to start with it.
    development_targets: bool = False
    target_ports: NumberList = "443,8443"  # where endpoints may be, outside development


class ApiSettings(WebhookSettings, kw_only=True):
    """The partners' API."""

    backend_token: BackendToken  # what the gateway sends in X-Backend-Token (A7)
    master_keys: str  # of SecretBox: secrets are encrypted at rest
    host: str = "127.0.0.1"
    port: Port
    endpoint_limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20  # for each partner


class RelaySettings(WebhookSettings, kw_only=True):
    """The relay."""

    relay_poll_seconds: Seconds = 1  # when no notification comes


class SchedulerSettings(WebhookSettings, kw_only=True):
    """The scheduler, which sends the mails too."""

    scheduler_poll_seconds: Seconds = 0.5
    retry_delays_seconds: NumberList = "5,30,120,600"  # between the attempts of a series, about
    smtp_url: SmtpUrl  # smtp://[user:password@]host:port, or smtps:// for TLS from the start
    mail_from: str = "partner-api@inventory.example"
    api_url: ApiUrl | None = None  # for the commands in mails; by default the contract's server


class WorkerSettings(WebhookSettings, kw_only=True):
    """The delivery workers."""

    master_keys: str
    retry_delays_seconds: NumberList = "5,30,120,600"
    connect_seconds: Seconds = 5
    call_seconds: Seconds = 15  # a whole call, from the name's lookup to the answer's last byte
    # More get in each other's way at the GIL: at 500 deliveries/s a delivery costs 1.5 ms of
    # CPU with 8 threads, 1.8 with 32 and 3 with 64. Run more processes instead.
    worker_threads: Threads = 32
    slow_worker_threads: Threads = 16
    disable_after_days: Days = 3  # of nothing but failures


S = TypeVar("S", bound=WebhookSettings)


def load(kind: type[S], environment: Mapping[str, str]) -> S:
    """Read settings; raise SettingsError, also when live is told to call our own network (W12)."""
    settings = load_settings(kind, environment)
    if settings.development_targets and settings.environment is Environment.LIVE:
        msg = (
            "the environment does not fit:\n"
            "DEVELOPMENT_TARGETS: live never calls loopback or http; unset it,"
            " or use ENVIRONMENT=sandbox"
        )
        raise SettingsError(msg)
    return settings
