"""The two public documents: no key, a limit by ip, and still no key for the service (A1)."""

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import LIVE_KEY, SANDBOX_HOST, own_path
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Node


@pytest.mark.parametrize("prefix", ["/partner/v1/openapi.yaml", "/partner/v1/docs"])
@pytest.mark.parametrize("host", ["gateway", SANDBOX_HOST])
def test_anybody_gets_them_on_both_hosts(
    node: Node, service: RecordingService, prefix: str, host: str
) -> None:
    path = own_path(prefix)
    assert node.ask("GET", path, host=host).status == 200
    seen = service.only(path)
    assert seen.header("X-Backend-Token") is not None
    assert seen.header("X-Consumer-Username") is None


def test_a_key_that_is_sent_all_the_same_stays_at_the_gateway(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/partner/v1/docs")
    assert node.ask("GET", path, ("X-API-Key", LIVE_KEY)).status == 200
    assert service.only(path).header("X-API-Key") is None


def test_a_body_is_refused(node: Node) -> None:
    answer = node.ask("POST", "/partner/v1/docs", body=b"x" * 2000)
    assert_own_error(answer, 413, "PAYLOAD_TOO_LARGE")
