"""Production: what compose.yaml starts, started as it says, does what the demo tells."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from services.embedded.demo_steps import STEPS, TIMEOUT, Scene
from services.embedded.demo_webhooks import WebhookStory
from tests.production.rolling import roll
from tests.production.site import Site, running_site

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    with running_site(tmp_path_factory.mktemp("production")) as running:
        yield running


def test_the_demo_s_steps_all_succeed(site: Site) -> None:
    with httpx.Client(base_url=site.gateway, timeout=TIMEOUT, trust_env=False) as client:
        scene = Scene(client, site.keys, site.stock_url, say=print)
        with closing(WebhookStory(scene, site.mails)) as story:
            for title, step in (*STEPS, *story.steps):
                print(title)
                step(scene)


# One of each kind, and both of those that answer partners.
RESTARTED = (
    *("query-1", "query-2", "webhooks-1", "internal-1", "relay", "scheduler", "worker"),
    *("sandbox-query-1", "sandbox-worker", "admin", "kong-1", "kong-2"),
)


def test_a_partner_notices_no_restart(site: Site, tmp_path: Path) -> None:
    """`make rolling` does so with every service, under the acceptance load."""
    rolled = roll(site, tmp_path, profile="smoke", seconds=30, order=RESTARTED)
    print(rolled.verdict, rolled.seconds)
    assert rolled.killed == []
    assert rolled.exit_code == 0, rolled.verdict
    assert len(rolled.seconds) == len(RESTARTED)
