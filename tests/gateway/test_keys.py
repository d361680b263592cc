"""Who may ask: keys, groups, and what the service is told about the caller."""

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import (
    INVENTORY,
    LIVE_ID,
    LIVE_KEY,
    LIVE_KEY_ID,
    LIVE_KEY_TWO,
    SANDBOX_HOST,
    SANDBOX_KEY,
    own_address,
    own_path,
)
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Node
from tools.wire import Answer

NO_KEY = "No API key: send it in the X-API-Key header"
UNKNOWN_KEY = "Unknown API key"
SEVERAL_KEYS = "Send one X-API-Key header, not several"


def ask(node: Node, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
    """Ask from an address of its own: wrong keys are limited by address."""
    return node.ask(method, path, *headers, source=own_address())


def test_a_missing_key_is_refused(node: Node) -> None:
    assert_own_error(ask(node, INVENTORY), 401, "UNAUTHORIZED", NO_KEY)


def test_a_wrong_key_is_refused(node: Node) -> None:
    answer = ask(node, INVENTORY, ("X-API-Key", "pk_live_wrong"))
    assert_own_error(answer, 401, "UNAUTHORIZED", UNKNOWN_KEY)


def test_an_empty_key_is_a_missing_one(node: Node) -> None:
    answer = ask(node, INVENTORY, ("X-API-Key", ""))
    assert_own_error(answer, 401, "UNAUTHORIZED", NO_KEY)


def test_two_key_headers_are_refused_even_if_both_are_good(node: Node) -> None:
    answer = ask(node, INVENTORY, ("X-API-Key", LIVE_KEY), ("X-API-Key", LIVE_KEY))
    assert_own_error(answer, 401, "UNAUTHORIZED", SEVERAL_KEYS)


def test_a_key_in_the_query_is_no_key(node: Node) -> None:
    answer = ask(node, f"{INVENTORY}?X-API-Key={LIVE_KEY}")
    assert_own_error(answer, 401, "UNAUTHORIZED", NO_KEY)


def test_a_refused_caller_never_reaches_the_service(node: Node, service: RecordingService) -> None:
    path = own_path()
    ask(node, path, ("X-API-Key", "pk_live_wrong"))
    assert node.ask("GET", path, ("X-API-Key", LIVE_KEY)).status == 200
    assert len(service.received(path)) == 1


def test_a_refusal_is_json_also_to_a_browser(node: Node) -> None:
    answer = ask(node, INVENTORY, ("Accept", "text/html,*/*"))
    assert_own_error(answer, 401, "UNAUTHORIZED", NO_KEY)


def test_a_refusal_of_head_has_headers_and_no_body(node: Node) -> None:
    answer = ask(node, INVENTORY, method="HEAD")
    assert answer.status == 401
    assert answer.header("WWW-Authenticate") == "Key"
    assert answer.body == b""


@pytest.mark.parametrize("key", [LIVE_KEY, LIVE_KEY_TWO])
def test_each_key_of_a_partner_opens(node: Node, service: RecordingService, key: str) -> None:
    path = own_path()
    assert ask(node, path, ("x-api-key", key)).status == 200
    assert service.only(path).header("X-Consumer-Custom-ID") == "techmart:live"


def test_the_service_is_told_who_asks_and_never_sees_the_key(
    node: Node, service: RecordingService
) -> None:
    path = own_path()
    assert ask(node, path, ("X-API-Key", LIVE_KEY)).status == 200
    seen = service.only(path)
    assert seen.header("X-Consumer-ID") == str(LIVE_ID)
    assert seen.header("X-Consumer-Username") == "techmart"
    assert seen.header("X-Consumer-Custom-ID") == "techmart:live"
    assert seen.header("X-Credential-Identifier") == str(LIVE_KEY_ID)
    assert seen.header("X-API-Key") is None
    assert seen.header("X-Anonymous-Consumer") is None
    assert LIVE_KEY not in repr(seen.headers)


def test_a_caller_cannot_say_who_it_is(node: Node, service: RecordingService) -> None:
    path = own_path()
    spoofed = ["ID", "Username", "Custom-ID"]
    answer = ask(
        node,
        path,
        ("X-API-Key", LIVE_KEY),
        *[(f"X-Consumer-{name}", "mallory") for name in spoofed],
        ("x-consumer-username", "mallory"),
        ("X-Credential-Identifier", "mallory"),
        ("X-Anonymous-Consumer", "true"),
    )
    assert answer.status == 200
    seen = service.only(path)
    assert "mallory" not in repr(seen.headers)
    assert seen.header("X-Consumer-Username") == "techmart"
    assert seen.header("X-Anonymous-Consumer") is None


def test_a_live_key_is_refused_by_the_sandbox(node: Node) -> None:
    answer = node.ask("GET", INVENTORY, ("X-API-Key", LIVE_KEY), host=SANDBOX_HOST)
    message = "This API key is not valid for this environment"
    assert_own_error(answer, 403, "FORBIDDEN", message)


def test_a_sandbox_key_is_refused_by_live(node: Node) -> None:
    answer = ask(node, INVENTORY, ("X-API-Key", SANDBOX_KEY))
    assert_own_error(answer, 403, "FORBIDDEN")


@pytest.mark.parametrize("key", [None, "wrong"])
def test_the_anonymous_consumer_is_named_as_such(
    node: Node, service: RecordingService, key: str | None
) -> None:
    path = own_path("/guests")
    spoofed = [("X-Credential-Identifier", "mallory"), ("X-Consumer-Username", "mallory")]
    assert ask(node, path, *([("X-API-Key", key)] if key else []), *spoofed).status == 200
    seen = service.only(path)
    assert seen.header("X-Anonymous-Consumer") == "true"
    assert seen.header("X-Consumer-Username") == "guest"
    assert seen.header("X-Consumer-Custom-ID") == "guest-id"
    assert seen.header("X-Credential-Identifier") is None


def test_a_wrong_key_is_hidden_from_the_service_too(node: Node, service: RecordingService) -> None:
    path = own_path("/guests")
    assert ask(node, path, ("X-API-Key", "wrong")).status == 200
    assert service.only(path).header("X-API-Key") is None


def test_a_key_is_passed_on_where_it_is_not_hidden(node: Node, service: RecordingService) -> None:
    path = own_path("/visible-keys")
    assert ask(node, path, ("X-API-Key", LIVE_KEY)).status == 200
    assert service.only(path).header("X-API-Key") == LIVE_KEY


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([], NO_KEY),
        ([("X-API-Key", "wrong")], UNKNOWN_KEY),
        ([("X-API-Key", LIVE_KEY), ("X-API-Key", "wrong")], SEVERAL_KEYS),
    ],
)
def test_without_an_anonymous_consumer_key_auth_refuses_by_itself(
    node: Node, headers: list[tuple[str, str]], message: str
) -> None:
    assert_own_error(ask(node, "/strict-keys", *headers), 401, "UNAUTHORIZED", message)


def test_a_group_is_asked_for_in_vain_where_nobody_is_known(node: Node) -> None:
    assert_own_error(ask(node, "/members"), 401, "UNAUTHORIZED")


def test_the_groups_of_a_consumer_are_told_unless_hidden(
    node: Node, service: RecordingService
) -> None:
    told, hidden = own_path("/groups"), own_path()
    spoofed = ("X-Consumer-Groups", "admins")
    assert ask(node, told, ("X-API-Key", LIVE_KEY), spoofed).status == 200
    assert service.only(told).header("X-Consumer-Groups") == "live"
    assert ask(node, hidden, ("X-API-Key", LIVE_KEY)).status == 200
    assert service.only(hidden).header("X-Consumer-Groups") is None
