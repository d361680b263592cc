"""Settings: what a webhook process is told by its environment."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from services.core.environments import Environment
from services.core.logs import LogFormat
from services.core.settings import (
    BackendTokens,
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

    environment: Environment  # whose stock changes it is about; live never calls http or loopback
    # PostgreSQL as the role <environment>_webhooks, on the primary. Secret.
    database_url: PostgresUrl
    # Valkey for wake-ups: a single server that never evicts (maxmemory-policy noeviction). Secret
    # if it has a password.
    queue_url: ValkeyUrl
    log_format: LogFormat = LogFormat.JSON  # of a line: for machines, or for people
    # Endpoints over http, on loopback and on any port: for a laptop. Live refuses to start with it.
    development_targets: bool = False
    # Ports that endpoints may have, comma separated; not looked at with DEVELOPMENT_TARGETS.
    target_ports: NumberList = "443,8443"


class ApiSettings(WebhookSettings, kw_only=True):
    """The partners' API."""

    # What the gateway sends in X-Backend-Token (A7), the nodes' BACKEND_TOKEN: 32 characters or
    # more, random. Several, comma separated, are all accepted, so that it can be rotated. Secret.
    backend_token: BackendTokens
    # Fernet keys, comma separated, the same everywhere: the first encrypts secrets of endpoints,
    # all decrypt; `partnerapi secrets new-master-key` makes one. Secret.
    master_keys: str
    # The address to listen on; 0.0.0.0 in a container, whose network says who may call.
    host: str = "127.0.0.1"
    port: Port  # to listen on; 0: one that the system chooses
    endpoint_limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20  # endpoints of one partner


class BackgroundSettings(WebhookSettings, kw_only=True):
    """What every program in the background is told; several in one process share the listener."""

    # The address to listen on; 0.0.0.0 in a container, whose network says who may call.
    host: str = "127.0.0.1"
    # The port of GET /metrics, /health/live and /health/ready, for Prometheus and whoever starts
    # again what hangs; by default nobody listens. 0: one that the system chooses.
    metrics_port: Port | None = None


class RelaySettings(BackgroundSettings, kw_only=True):
    """The relay."""

    relay_poll_seconds: Seconds = 1  # between looks at changes whose notification got lost


class SchedulerSettings(BackgroundSettings, kw_only=True):
    """The scheduler, which sends the mails too."""

    # Between looks at retries that are due, wake-ups that got lost, and mails.
    scheduler_poll_seconds: Seconds = 0.5
    # The mail server: smtp://[user:password@]host:port, or smtps:// for TLS from the start. Secret
    # if it has a password.
    smtp_url: SmtpUrl
    # The sender of mails to partners; a mailbox of yours that somebody reads.
    mail_from: str = "partner-api@inventory.example"
    # The gateway's address in the commands of mails; by default the contract's server.
    api_url: ApiUrl | None = None


class WorkerSettings(BackgroundSettings, kw_only=True):
    """The delivery workers."""

    # Fernet keys, comma separated, the same everywhere: the first encrypts secrets of endpoints,
    # all decrypt; `partnerapi secrets new-master-key` makes one. Secret.
    master_keys: str
    # Between the 5 attempts of a series, comma separated, 1 to 4 delays, each longer than the one
    # before, a day at most; 20 % more or less by chance. All workers must have the same.
    retry_delays_seconds: NumberList = "5,30,120,600"
    connect_seconds: Seconds = 5  # for a connection to an endpoint, TLS included
    call_seconds: Seconds = 15  # a whole call, from the name's lookup to the answer's last byte
    # Calls under way at most in a `worker`, 4 of one endpoint. More threads get in each other's way
    # at the GIL: at 500 deliveries/s a delivery costs 1.5 ms of CPU with 8 threads, 1.8 with 32 and
    # 3 with 64. Run more processes instead.
    worker_threads: Threads = 32
    slow_worker_threads: Threads = 16  # the same in a `slow-worker`, where one endpoint has 1
    # An endpoint that answered nothing but failures for so many days is disabled, and its partner
    # told.
    disable_after_days: Days = 3


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
