"""Every program shows what docs/metrics.md says of it, and nothing else; each in its process."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from services.local.valkey import RunningValkey
from tests import admin_process, webhooks_process
from tests.conftest import Database
from tests.integration.admin.gateway.stub_nodes import StubNode
from tests.metrics.documented import HTTP, PROGRAMS, faults
from tools import query_process
from tools.query_process import QueryProcess, running_program, wait_for_status
from tools.waiting import wait_for

pytestmark = pytest.mark.long

BACKGROUND = [program for program in PROGRAMS if program not in HTTP]


@pytest.fixture
def closing() -> Generator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def background_settings(
    database: Database, valkey: RunningValkey, **more: object
) -> dict[str, str]:
    given = webhooks_process.settings_for(database.url("live_webhooks"), valkey.url, **more)
    return {**given, "METRICS_PORT": "0", "SMTP_URL": "smtp://127.0.0.1:1"}


def shown(running: QueryProcess) -> str:
    return httpx.get(f"{running.base_url}/metrics", trust_env=False).text


@pytest.mark.parametrize("program", ["partner", "internal"])
def test_query_shows_what_is_documented(
    database: Database, valkey: RunningValkey, tmp_path: Path, program: str
) -> None:
    settings = query_process.settings_for(database.url("live_query"), valkey.url)
    with query_process.running_query(tmp_path, settings, program) as running:
        with running.client(check=False) as client:
            for path in ("/api/v1/products/TABLET-00001/stock", "/partner/v1/inventory?ids=A,B"):
                client.get(path)
        assert faults(shown(running), [program]) == []


def test_the_api_of_webhooks_shows_what_is_documented(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = webhooks_process.settings_for(database.url("live_webhooks"), valkey.url)
    with webhooks_process.running_api(tmp_path, settings) as running:
        with running.client(check=False) as client:
            client.get("/partner/v1/webhooks")
            client.get("/partner/v1/webhooks/none-such")
        assert faults(shown(running), ["api"]) == []


def test_admin_shows_what_is_documented(
    database: Database, tmp_path: Path, closing: contextlib.ExitStack
) -> None:
    nodes = [closing.enter_context(StubNode()) for _ in range(2)]
    urls = [node.url for node in nodes]
    hosts = [urlsplit(url).netloc for url in urls]
    settings = admin_process.settings_for(database, KONG_ADMIN_URLS=",".join(urls))
    with admin_process.running_admin(tmp_path, settings) as admin:
        wait_for(lambda: 'state="current"} 1.0' in shown(admin.running), "a node that is current")
        text = shown(admin.running)
        assert faults(text, ["admin"], nodes=hosts) == []
        assert "gateway_reconciler_leader 1.0" in text


@pytest.mark.parametrize("programs", [[each] for each in BACKGROUND] + [BACKGROUND], ids=" ".join)
def test_programs_in_the_background_show_what_is_documented(
    database: Database, valkey: RunningValkey, tmp_path: Path, programs: list[str]
) -> None:
    settings = background_settings(database, valkey)
    with running_background(tmp_path, settings, programs) as running:
        wait_for(lambda: faults(shown(running), programs) == [], "all that is documented")
        assert httpx.get(f"{running.base_url}/health/live", trust_env=False).status_code == 200
        assert httpx.get(f"{running.base_url}/other", trust_env=False).status_code == 404


def test_a_worker_without_valkey_is_degraded_and_without_postgresql_not_ready(
    database: Database, tmp_path: Path, own_valkey: RunningValkey
) -> None:
    settings = background_settings(database, own_valkey)
    with running_background(tmp_path, settings, ["relay"]) as running:
        own_valkey.process.kill()
        own_valkey.process.wait()
        answer = httpx.get(f"{running.base_url}/health/ready", trust_env=False, timeout=10)
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "degraded",
            "dependencies": {"postgresql": "up", "valkey": "down", "relay": "up"},
        }
    lost = {**settings, "DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x"}
    with running_background(tmp_path, lost, ["relay"], wait_ready=False) as running:
        wait_for_status(running, 503)


def test_a_metrics_port_that_is_taken_is_one_line_and_an_end(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = background_settings(database, valkey)
    with running_background(tmp_path, settings, ["relay"]) as first:
        taken = {**settings, "METRICS_PORT": str(first.port)}
        with (
            pytest.raises(AssertionError, match=f"webhooks relay: can't listen on .* {first.port}"),
            running_background(tmp_path, taken, ["relay"]),
        ):
            pass


@contextlib.contextmanager
def running_background(
    folder: Path, settings: dict[str, str], programs: list[str], *, wait_ready: bool = True
) -> Generator[QueryProcess]:
    """Run programs in one process for the length of a with block."""
    words = " ".join(programs)
    with running_program("webhooks", folder, settings, words, wait_ready=wait_ready) as running:
        yield running
