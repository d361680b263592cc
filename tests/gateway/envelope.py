"""Envelope: what each error of the gateway's own looks like (A5)."""

from tools.contract.check import default_checker
from tools.wire import Answer

# A request that may be answered so; elsewhere than on a documented path the contract says nothing.
METHOD_AND_PATH = {
    404: ("GET", "/partner/v1/unknown"),
}


def assert_own_error(answer: Answer, status: int, code: str, message: str | None = None) -> None:
    """Assert that an answer is the gateway's, in the one shape, with the right headers."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.header("Content-Type") == "application/json; charset=utf-8"
    assert answer.header("Content-Length") == str(len(answer.body))
    assert set(answer.json) == {"code", "message", "request_id"}
    assert answer.json["code"] == code
    assert answer.json["request_id"] == answer.header("X-Request-ID")
    assert answer.json["request_id"]
    if message is not None:
        assert answer.json["message"] == message
    if status != 405:  # nginx's own, for CONNECT and TRACE, lists no methods
        method, path = METHOD_AND_PATH.get(status, ("POST", "/partner/v1/inventory"))
        default_checker().check_raw(method, path, status, answer.headers, answer.body)
    challenge = answer.header("WWW-Authenticate")
    assert challenge == ("Key" if status == 401 else None)
