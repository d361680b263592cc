"""Entry: the composition root of the programs in the background.

`python -m services.webhooks PROGRAM ...` runs one or more of them in one process, each in threads
of its own: a small installation runs all in one, a large one many of each.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import NoReturn
from uuid import UUID

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker

from services.core.database import ThreadPool, make_thread_pool
from services.core.encryption import MasterKeyError, SecretBox
from services.core.logs import configure_logs
from services.core.settings import SettingsError
from services.core.stored_secrets import StoredSecrets
from services.domain.endpoint_secrets import endpoint_secrets_in_use
from services.webhooks.delivery.claims import Claims
from services.webhooks.delivery.leases import RENEW_EVERY, RENEW_WITHIN_MS, Leases
from services.webhooks.delivery.records import Records
from services.webhooks.delivery.schedule import RetrySchedule
from services.webhooks.delivery.sender import Sender
from services.webhooks.delivery.store import Store
from services.webhooks.delivery.worker import DeliveryWorker
from services.webhooks.mail.mailer import Mailer
from services.webhooks.monitoring.health import ProcessHealth
from services.webhooks.monitoring.listener import Listener, ListenerError, make_paths
from services.webhooks.monitoring.loops import Loop
from services.webhooks.monitoring.process import ProcessMetrics
from services.webhooks.queue import ACTOR, Lane, Wakeups, make_broker
from services.webhooks.relay.relay import Relay
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.settings import (
    BackgroundSettings,
    RelaySettings,
    SchedulerSettings,
    WebhookSettings,
    WorkerSettings,
    load,
)
from services.webhooks.targets import TargetPolicy
from services.webhooks.waking import Waker

USAGE = "usage: python -m services.webhooks api | (relay | scheduler | worker | slow-worker) ..."
STATEMENT_TIMEOUT_MS = 5_000  # of a claim or a record, which take 1
CONNECTIONS = 8  # of a lane's threads; each holds one for a millisecond at a time
PREFETCH = 2  # wake-ups for each thread, those in work included; most are done in a millisecond
IDLE_POLL_MS = 200  # how soon idle threads look at the queue again, at the latest
# Seconds at SIGTERM for calls under way and for recording them: a call takes 15 at most, and one
# that is broken off would be made again. A supervisor waits 20 before SIGKILL.
DRAIN = 17.0

Environ = Mapping[str, str]
log = structlog.get_logger()


@dataclass
class Background:
    """What runs beside each other in one process, and how to end it."""

    metrics: ProcessMetrics
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    endings: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def run(self, name: str, target: Callable[[threading.Event], None]) -> None:
        """Run something in a thread until the end; it returns soon after `stop` is set."""
        thread = threading.Thread(target=target, args=[self.stop], name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def end(self) -> None:
        """End everything at the same time; what takes longer than DRAIN ends with the process."""
        self.stop.set()
        for ending in self.endings:
            thread = threading.Thread(target=ending, daemon=True)
            self.threads.append(thread)
            thread.start()
        until = time.monotonic() + DRAIN
        for thread in self.threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))


def main() -> None:
    """Run what the command line names until SIGTERM."""
    programs = sys.argv[1:]
    try:
        if programs and set(programs) <= set(PROGRAMS):
            _run_background(programs, os.environ)
        else:
            _fail(USAGE, code=2)
    except (SettingsError, MasterKeyError) as exc:
        _fail(str(exc), code=2)
    except ListenerError as exc:
        _fail(f"webhooks {' '.join(programs)}: {exc}", code=1)


def _run_background(programs: Sequence[str], environ: Environ) -> None:
    common = load(BackgroundSettings, environ)
    service = f"webhooks {' '.join(programs)}"
    configure_logs(common.log_format, service=service, environment=common.environment)
    background = Background(ProcessMetrics())
    listener = _listener(common, background)

    def end(_number: int, _frame: FrameType | None) -> None:
        background.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    for program in dict.fromkeys(programs):
        PROGRAMS[program](environ, background)
    log.info("service.started", programs=list(programs))
    if listener:
        listener.start()
        log.info("service.listening", port=listener.port)
    background.stop.wait()
    background.end()


def _listener(settings: BackgroundSettings, background: Background) -> Listener | None:
    """Return what shows metrics and health, not yet started. Raises ListenerError."""
    if settings.metrics_port is None:
        return None
    health = ProcessHealth(
        background.metrics.loops,
        database_url=settings.database_url,
        wakeups=_wakeups(settings),
        leaving=background.stop.is_set,
    )
    paths = make_paths(background.metrics.exposition, health.look)
    return Listener(settings.host, settings.metrics_port, paths)


def _start_relay(environ: Environ, background: Background) -> None:
    settings = load(RelaySettings, environ)
    relay = Relay(
        settings.database_url,
        settings.environment,
        _wakeups(settings),
        poll_seconds=settings.relay_poll_seconds,
        on_fault=background.metrics.faults.count,
        after_round=background.metrics.watch_relay(settings.relay_poll_seconds),
    )
    background.run("relay", relay.run)


def _start_scheduler(environ: Environ, background: Background) -> None:
    settings = load(SchedulerSettings, environ)
    metrics, wakeups = background.metrics, _wakeups(settings)
    scheduler = Scheduler(
        settings.database_url,
        settings.environment,
        wakeups,
        poll_seconds=settings.scheduler_poll_seconds,
        after_round=metrics.watch_scheduler(settings.scheduler_poll_seconds, wakeups),
        on_fault=metrics.faults.count,
    )
    mailer = Mailer(
        settings.database_url,
        settings.environment,
        smtp_url=settings.smtp_url,
        mail_from=settings.mail_from,
        api_url=settings.api_url,
        poll_seconds=settings.scheduler_poll_seconds,
        after_round=metrics.loops.add("mailer", pause=settings.scheduler_poll_seconds).done,
        on_try=metrics.mails.count,
        on_fault=metrics.faults.count,
    )
    background.run("scheduler", scheduler.run)
    background.run("mailer", mailer.run)


def _start_worker(environ: Environ, background: Background) -> None:
    settings = load(WorkerSettings, environ)
    _start_lane(settings, "worker", Lane.FAST, settings.worker_threads, background)


def _start_slow_worker(environ: Environ, background: Background) -> None:
    settings = load(WorkerSettings, environ)
    _start_lane(settings, "slow-worker", Lane.SLOW, settings.slow_worker_threads, background)


def _start_lane(
    settings: WorkerSettings, name: str, lane: Lane, threads: int, background: Background
) -> None:
    """Start the threads of one lane: a Dramatiq worker with a broker of its own."""
    pool = make_thread_pool(
        settings.database_url,
        name=f"webhooks {lane}",
        environment=settings.environment,
        size=min(threads, CONNECTIONS),
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    metrics = background.metrics
    box = SecretBox(settings.master_keys)
    metrics.watch_secrets(
        lambda: StoredSecrets(
            settings.database_url, settings.environment, box, endpoint_secrets_in_use
        )
    )
    broker = make_broker(settings.queue_url, settings.environment, middleware=[metrics.messages])
    dramatiq.set_broker(broker)
    waker = Waker(Wakeups(broker))
    policy = TargetPolicy.of(settings.development_targets, settings.target_ports)

    def wake(endpoint_id: UUID) -> None:
        waker.wake(endpoint_id, lane)

    leases_pool = _leases_pool(settings, lane)
    leases = Leases(leases_pool)
    worker = DeliveryWorker(
        Store(
            pool,
            Claims(lane),
            Records(
                schedule=RetrySchedule.of(settings.retry_delays_seconds),
                disable_after=timedelta(days=settings.disable_after_days),
            ),
            chance=random.random,
        ),
        box,
        leases=leases,
        make_sender=lambda: Sender(
            policy, connect_seconds=settings.connect_seconds, call_seconds=settings.call_seconds
        ),
        wake=wake,
        stopping=background.stop,
        on_attempt=metrics.attempt_counter(),
        on_fault=metrics.faults.count,
    )
    pool.open(wait=False)
    consumers = _start_consumers(broker, lane, threads, worker)
    loop = metrics.loops.add(name, pause=RENEW_EVERY.total_seconds())
    drained = _start_renewing(leases, leases_pool, consumers, loop)

    def end() -> None:
        consumers.stop(timeout=round(DRAIN * 1000))
        drained.set()
        worker.close()
        pool.close(timeout=1)

    background.endings.append(end)


def _start_consumers(
    broker: RedisBroker, lane: Lane, threads: int, worker: DeliveryWorker
) -> dramatiq.Worker:
    dramatiq.Actor(
        worker.send_due,
        broker=broker,
        actor_name=ACTOR,
        queue_name=lane,
        priority=0,
        options={"max_retries": 0},
    )
    consumers = dramatiq.Worker(
        broker, queues={lane}, worker_timeout=IDLE_POLL_MS, worker_threads=threads
    )
    consumers.queue_prefetch = PREFETCH * threads
    consumers.start()
    return consumers


def _leases_pool(settings: WorkerSettings, lane: Lane) -> ThreadPool:
    """Return a connection for renewals alone: they must not queue behind busy threads."""
    return make_thread_pool(
        settings.database_url,
        name=f"webhooks {lane} leases",
        environment=settings.environment,
        size=1,
        statement_timeout_ms=RENEW_WITHIN_MS,
    )


def _start_renewing(
    leases: Leases, pool: ThreadPool, consumers: dramatiq.Worker, loop: Loop
) -> threading.Event:
    """Renew leases in a thread; return what ends it.

    Until the last call has ended, not until SIGTERM: a lapsed lease has its delivery sent again.
    """

    def after_round() -> None:
        if all(thread.is_alive() for thread in consumers.workers):
            loop.done()

    def renew() -> None:
        with pool:
            leases.run(drained, after_round=after_round)

    drained = threading.Event()
    threading.Thread(target=renew, name="leases", daemon=True).start()
    return drained


PROGRAMS: dict[str, Callable[[Environ, Background], None]] = {
    "relay": _start_relay,
    "scheduler": _start_scheduler,
    "worker": _start_worker,
    "slow-worker": _start_slow_worker,
}


def _wakeups(settings: WebhookSettings) -> Wakeups:
    return Wakeups(make_broker(settings.queue_url, settings.environment))


def _fail(message: str, *, code: int) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)
