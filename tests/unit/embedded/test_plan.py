"""The plan of a stack: ports, programs, settings."""

import itertools
from pathlib import Path

import msgspec
import pytest

from services.admin.settings import ServiceSettings
from services.core.settings import load_settings
from services.local.gateway.entry import Settings as GatewaySettings
from services.local.plan import HIGHEST_BASE, OFFSETS, GatewayKind, Plan, make_plan
from services.local.state import Secrets
from services.query.settings import PartnerSettings, QuerySettings
from services.schema.migrate import ROLES
from services.webhooks.settings import (
    ApiSettings,
    RelaySettings,
    SchedulerSettings,
    WebhookSettings,
    WorkerSettings,
    load,
)

FOLDER = Path("/state")
SECRETS = Secrets("master", "t" * 40, dict.fromkeys(ROLES, "word"))


def planned(base: int = 8000, kind: GatewayKind = GatewayKind.EMBEDDED, **more: str) -> Plan:
    return make_plan(FOLDER, base, kind, SECRETS, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("query-live", PartnerSettings),
        ("query-sandbox", PartnerSettings),
        ("internal-live", QuerySettings),
        ("gateway", GatewaySettings),
        ("admin", ServiceSettings),
        ("webhooks-live", ApiSettings),
        ("webhooks-sandbox", ApiSettings),
        *itertools.product(
            ("deliveries-live", "deliveries-sandbox"),
            (RelaySettings, SchedulerSettings, WorkerSettings),
        ),
    ],
)
def test_every_program_gets_settings_that_it_accepts(
    name: str, settings: type[msgspec.Struct]
) -> None:
    load_settings(settings, planned().programs[name].environment)


@pytest.mark.parametrize(
    ("program", "role"),
    [("query", "query"), ("webhooks", "webhooks"), ("deliveries", "webhooks")],
)
def test_a_service_gets_its_own_environments_role(program: str, role: str) -> None:
    for environment in ("live", "sandbox"):
        settings = planned().programs[f"{program}-{environment}"].environment
        assert settings["ENVIRONMENT"] == environment
        assert f"//{environment}_{role}:" in settings["DATABASE_URL"]


def test_only_the_sandbox_may_call_this_machine() -> None:
    allowed = {
        name: load(WebhookSettings, program.environment).development_targets
        for name, program in planned().programs.items()
        if name.startswith(("webhooks-", "deliveries-"))
    }
    assert {name for name, development in allowed.items() if development} == {
        "webhooks-sandbox",
        "deliveries-sandbox",
    }


def test_the_queue_is_neither_the_cache_nor_the_counters() -> None:
    plan = planned()
    assert plan.admin["GATEWAY_COUNTERS_URL"] == "valkey://127.0.0.1:8063/1"
    assert plan.programs["query-live"].environment["CACHE_URL"] == "valkey://127.0.0.1:8063/0"
    for name in ("webhooks-live", "deliveries-live", "webhooks-sandbox", "deliveries-sandbox"):
        assert plan.programs[name].environment["QUEUE_URL"] == "valkey://127.0.0.1:8063/2"


def test_mail_goes_to_the_sink_of_this_stack() -> None:
    programs = planned().programs
    assert programs["mail"].ports == (8025,)
    assert programs["mail"].environment["MAIL_FOLDER"] == str(FOLDER / "mail")
    for environment in ("live", "sandbox"):
        settings = programs[f"deliveries-{environment}"].environment
        assert settings["SMTP_URL"] == "smtp://127.0.0.1:8025"


def test_all_ports_follow_from_the_base_and_are_valid() -> None:
    low, high = planned(1024), planned(HIGHEST_BASE)
    assert {high.ports[name] - low.ports[name] for name in OFFSETS} == {HIGHEST_BASE - 1024}
    assert max(high.ports.values()) == 65_535
    used = [port for program in low.programs.values() for port in program.ports]
    assert sorted(used) == sorted(low.ports.values())


def test_running_nodes_take_the_place_of_a_gateway() -> None:
    plan = planned(kind=GatewayKind.NONE, nodes="http://one:8001,http://two:8001")
    assert "gateway" not in plan.programs
    assert set(plan.urls) == {"admin", "internal-live"}
    assert plan.admin["KONG_ADMIN_URLS"] == "http://one:8001,http://two:8001"
    assert not {"gateway", "gateway-admin"} & set(plan.ports)


def test_kong_is_started_without_a_declarative_file_and_without_request_debug() -> None:
    plan = make_plan(FOLDER, 8000, GatewayKind.KONG, SECRETS, kong=Path("/usr/bin/kong"))
    settings = plan.programs["gateway"].environment
    assert settings["KONG_DATABASE"] == "off"
    assert "KONG_DECLARATIVE_CONFIG" not in settings
    assert settings["KONG_REQUEST_DEBUG"] == "off"
    assert settings["KONG_PROXY_LISTEN"] == "127.0.0.1:8000"
    assert settings["KONG_ADMIN_LISTEN"] == "127.0.0.1:8001"


def test_a_plan_shows_no_secret() -> None:
    shown = repr(planned())
    assert SECRETS.backend_token not in shown
    assert ":word@" not in shown
