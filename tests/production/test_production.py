"""Production: what compose.yaml starts, started as it says, does what the demo tells."""

from collections.abc import Generator
from contextlib import closing

import httpx
import pytest

from services.embedded.demo_steps import STEPS, TIMEOUT, Scene
from services.embedded.demo_webhooks import WebhookStory
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
