"""Production: what compose.yaml starts, started as it says, does what the demo tells."""

import json
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.core.environments import Environment
from services.local.demo_steps import STEPS, TIMEOUT, Scene
from services.local.demo_webhooks import WebhookStory
from services.local.program import SANDBOX_HOST
from tests.production import watching
from tests.production.composition import REPOSITORY
from tests.production.hosting import ADMINS, PROXY_PORT
from tests.production.rolling import roll
from tests.production.site import Site, partnerapi, running_site
from tools.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.needs("haproxy")]

BOARD = REPOSITORY / "deploy" / "grafana" / "dashboards" / "partner-inventory-sync.json"

# One of each kind, and both of those that answer partners.
RESTARTED = (
    *("query-1", "query-2", "internal-1", "sandbox-webhooks-1"),
    *("sandbox-relay", "sandbox-scheduler", "sandbox-worker", "admin", "kong-1", "kong-2"),
)

# Nothing where nothing failed.
TARGETS = "kong_upstream_target_health"
LOOK_EVERY = 0.2  # seconds
MAY_BE_EMPTY = {  # what they show is a fault
    f'max by (upstream, target, address, state) ({TARGETS}{{state=~"unhealthy|dns_error"}}) == 1',
    'sum by (job, status) (rate(http_request_duration_seconds_count{status=~"0xx|5xx"}[5m]))',
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    with running_site(tmp_path_factory.mktemp("production")) as running:
        yield running


@pytest.fixture(scope="module")
def steps(site: Site) -> list[str]:
    """The demo's steps, done one after the other; their titles."""
    done: list[str] = []
    with httpx.Client(base_url=site.gateway, timeout=TIMEOUT, trust_env=False) as client:
        scene = Scene(client, site.keys, site.stock_url, say=print)
        with closing(WebhookStory(scene, site.mails)) as story:
            for title, step in (*STEPS, *story.steps):
                print(title)
                step(scene)
                done.append(title)
    return done


def test_the_demo_s_steps_all_succeed(steps: list[str]) -> None:
    assert len(steps) == 11


@pytest.mark.usefixtures("steps")  # so that there is something of everything to see
def test_prometheus_reads_every_service_and_has_what_the_board_shows(
    site: Site, tmp_path: Path
) -> None:
    with watching.prometheus(tmp_path / "prometheus", site.hosting.network) as client:
        not_read: list[Any] = []
        wait_for(lambda: _all_read(client, not_read), not_read, 30, every=LOOK_EVERY)
        empty: list[str] = []
        wait_for(lambda: _has_data(client, empty), empty, 30, every=LOOK_EVERY)
        # Some were pending before the first answers of what they look at.
        alerts: list[Any] = []
        wait_for(lambda: _is_quiet(client, alerts), alerts, 30, every=LOOK_EVERY)


@pytest.mark.usefixtures("steps")
def test_no_secret_is_in_a_log(site: Site) -> None:
    key = site.keys["techmart"][Environment.LIVE]
    with httpx.Client(base_url=site.gateway, trust_env=False) as client:
        headers = {"X-API-Key": site.keys["techmart"][Environment.SANDBOX], "Host": SANDBOX_HOST}
        for path in (key, f"webhooks/{key}", f"inventory?product_ids={key}"):
            client.get(f"/partner/v1/{path}", headers=headers)
    keys = {f"{env} key of {n}": k for n, both in site.keys.items() for env, k in both.items()}
    secrets = site.hosting.secrets() | keys
    assert len(secrets) > 15
    shown = f"/webhooks/{key[:12]}..."  # so the line was written, and not the key
    wait_for(lambda: any(shown in log for log in site.hosting.logs().values()), shown)
    logs = site.hosting.logs().items()
    assert [(name, what) for name, log in logs for what, s in secrets.items() if s in log] == []


def _all_read(client: httpx.Client, not_read: list[Any]) -> bool:
    targets = client.get("/api/v1/targets").json()["data"]["activeTargets"]
    not_read[:] = [(t["scrapeUrl"], t["lastError"]) for t in targets if t["health"] != "up"]
    return len(targets) == 22 and not not_read  # all but migrate, stores and the like


def _is_quiet(client: httpx.Client, alerts: list[Any]) -> bool:
    found = client.get("/api/v1/alerts").json()["data"]["alerts"]
    alerts[:] = [each["labels"] for each in found]
    return not alerts


def _has_data(client: httpx.Client, empty: list[str]) -> bool:
    panels = json.loads(BOARD.read_text())["panels"]
    queries = {target["expr"] for panel in panels for target in panel.get("targets", [])}
    empty[:] = sorted(query for query in queries if not watching.found(client, query))
    return set(empty) <= MAY_BE_EMPTY and watching.found(client, TARGETS)


@pytest.mark.parametrize(("away", "there"), [ADMINS, ADMINS[::-1]])
def test_a_key_is_revoked_while_one_admin_restarts(site: Site, away: str, there: str) -> None:
    hosting = site.hosting
    key = partnerapi(hosting, "keys", "create", "qa", "--env", "live", token=site.token)
    with httpx.Client(headers={"X-API-Key": key}, trust_env=False) as client:

        def both_answer(status: int) -> bool:
            nodes = [hosting.network.of_service(name) for name in ("kong-1", "kong-2")]
            urls = [f"http://{node}:{PROXY_PORT}/partner/v1/webhooks" for node in nodes]
            return {client.get(url).status_code for url in urls} == {status}

        wait_for(lambda: both_answer(200), "the new key on both nodes", 10)
        hosting.stop(away)
        began = time.monotonic()
        partnerapi(hosting, "keys", "revoke", key, "--yes", token=site.token, within=there)
        wait_for(lambda: both_answer(401), "a refusal by both nodes", 10)
        took = time.monotonic() - began
    hosting.start(away)
    hosting.wait_healthy(away)
    print(f"{took:.2f} s")
    assert took < 5.0  # A2, with the start of the command line


def test_a_partner_notices_no_restart(site: Site, tmp_path: Path) -> None:
    """`make rolling` does so with every service, under the acceptance load."""
    rolled = roll(site, tmp_path, profile="smoke", seconds=45, order=RESTARTED)
    print(rolled.verdict, rolled.seconds)
    assert rolled.killed == []
    assert rolled.exit_code == 0, rolled.verdict
    assert len(rolled.seconds) == len(RESTARTED)
