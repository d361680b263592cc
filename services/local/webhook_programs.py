"""Webhook programs: their part of the plan, and the mail sink; pure, starts nothing."""

import sys
from pathlib import Path

from services.core.environments import Environment
from services.local.program import HOST, HOST_OF, Program, Stage, valkey_url
from services.local.state import Secrets, database_url, mail_folder

QUEUE_DATABASE = 2  # of the one Valkey, beside the cache (0) and the counters (1)
PARTS = ("relay", "scheduler", "worker", "slow-worker")  # one process, to save memory and time
# The line that they log when they work, be it that /health/ready can't say so yet.
READY = "service.started"
# A few partners of a laptop need no more; in production 32 and 16.
THREADS = {"WORKER_THREADS": "8", "SLOW_WORKER_THREADS": "4"}
# Seconds between the attempts of a series: short, because somebody sits in front of it. The live
# environment of a stack keeps what partners are promised.
SANDBOX_RETRY_DELAYS = "0.5,1,2,4"
LIVE_RETRY_DELAYS_TOLD = "5 s to 10 min"


def sandbox_delays_told() -> str:
    """Return the sandbox's delays in words."""
    *first, last = SANDBOX_RETRY_DELAYS.split(",")
    return f"{', '.join(first)} and {last} s"


def webhook_programs(folder: Path, ports: dict[str, int], secrets: Secrets) -> list[Program]:
    """Return the sink, and each environment's API and deliveries."""
    programs = [_mail(folder, ports)]
    for environment in Environment:
        programs.append(_api(environment, ports, secrets))
        programs.append(_deliveries(environment, ports, secrets))
    return programs


def _mail(folder: Path, ports: dict[str, int]) -> Program:
    """Take what is sent to technical contacts, and keep it where a person can read it."""
    kept = mail_folder(folder)
    return Program(
        name="mail",
        stage=Stage.SERVERS,
        command=(sys.executable, "-m", "services.local.mail"),
        ports=(ports["mail"],),
        folder=kept,
        environment={
            "MAIL_HOST": HOST,
            "MAIL_PORT": str(ports["mail"]),
            "MAIL_FOLDER": str(kept),
        },
    )


def _api(environment: Environment, ports: dict[str, int], secrets: Secrets) -> Program:
    name = f"webhooks-{environment}"
    return Program(
        name=name,
        stage=Stage.SERVICES,
        command=(sys.executable, "-m", "services.webhooks", "api"),
        ports=(ports[name],),
        health=f"http://{HOST}:{ports[name]}/health/ready",
        environment={
            **_common(environment, ports, secrets),
            "BACKEND_TOKEN": secrets.backend_token,
            "HOST": HOST,
            "PORT": str(ports[name]),
        },
    )


def _deliveries(environment: Environment, ports: dict[str, int], secrets: Secrets) -> Program:
    name = f"deliveries-{environment}"
    return Program(
        name=name,
        stage=Stage.SERVICES,
        command=(sys.executable, "-m", "services.webhooks", *PARTS),
        ports=(ports[name],),
        ready_word=READY,
        environment={
            **_common(environment, ports, secrets),
            **THREADS,
            "HOST": HOST,
            "METRICS_PORT": str(ports[name]),
            "SMTP_URL": f"smtp://{HOST}:{ports['mail']}",
            **_api_url(environment, ports),
        },
    )


def _api_url(environment: Environment, ports: dict[str, int]) -> dict[str, str]:
    """Return where the commands in mails go: this stack's gateway, if it has one."""
    if "gateway" not in ports:
        return {}
    return {"API_URL": f"http://{HOST_OF[environment]}:{ports['gateway']}"}


def _common(environment: Environment, ports: dict[str, int], secrets: Secrets) -> dict[str, str]:
    settings = {
        "ENVIRONMENT": environment,
        "DATABASE_URL": database_url(ports["postgres"], f"{environment}_webhooks", secrets),
        "QUEUE_URL": valkey_url(ports, QUEUE_DATABASE),
        "MASTER_KEYS": secrets.master_key,
        "LOG_FORMAT": "console",
    }
    if environment is Environment.SANDBOX:
        # Endpoints on this machine, which live refuses whatever it is told (W12).
        settings["DEVELOPMENT_TARGETS"] = "true"
        settings["RETRY_DELAYS_SECONDS"] = SANDBOX_RETRY_DELAYS
    return settings
