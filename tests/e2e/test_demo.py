"""The demo: it asserts what it tells, may be run again at once, and cleans up after itself."""

import subprocess

import pytest

from tests.e2e.conftest import (
    PARTNERAPI,
    REPOSITORY,
    SANDBOX_HOST,
    WEBHOOKS,
    LocalStack,
    register,
)
from tools.processes import descendants, is_alive
from tools.waiting import wait_for

STEPS = 11
WITH_SANDBOX_KEY = 4  # of the steps


@pytest.mark.long
def test_the_demo_passes_after_another_within_the_same_minute(stack: LocalStack) -> None:
    _leave_what_a_killed_demo_leaves(stack)
    done = stack.run("demo")
    assert done.returncode == 0, done.stdout
    assert f"{STEPS} of {STEPS} steps did as they should" in done.stdout
    assert "429 RATE_LIMITED, Retry-After" in done.stdout
    assert "attempt 5, " in done.stdout
    with stack.partner(stack.key("sandbox"), host=SANDBOX_HOST) as client:
        assert client.get(WEBHOOKS).json() == {"items": []}


def _leave_what_a_killed_demo_leaves(stack: LocalStack) -> None:
    """Leave a part of the minute used up, an endpoint that nobody listens on, and low stock."""
    for _ in range(10):
        stack.query(stack.key(partner="demo-basic"))
    key = stack.key("sandbox")
    register(stack, key, "http://127.0.0.1:9/partnerapi-demo", host=SANDBOX_HOST)
    with stack.partner(key, host=SANDBOX_HOST) as client:
        path = "/partner/v1/sandbox/inventory/DEMO-TECHMART-1"
        assert client.put(path, json={"quantity": 8}).status_code == 200


@pytest.mark.long
def test_the_demo_ends_the_stack_that_it_started(own_stack: LocalStack) -> None:
    done = own_stack.run("demo", "--port-base", str(own_stack.base))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{STEPS} of {STEPS} steps did as they should" in done.stdout
    assert own_stack.run("status").returncode == 3


def test_a_killed_demo_leaves_no_stack_behind(own_stack: LocalStack) -> None:
    with subprocess.Popen(
        [*PARTNERAPI, "demo", "--port-base", str(own_stack.base)],
        cwd=REPOSITORY,
        env=own_stack.environment(),
        stdout=subprocess.DEVNULL,
    ) as demo:
        wait_for(lambda: len(descendants(demo.pid)) > 2, "a stack that is starting")
        started = descendants(demo.pid)
        demo.kill()
    wait_for(lambda: not any(map(is_alive, started)), "its end")


def test_a_step_that_goes_wrong_fails_the_demo_with_what_was_seen(stack: LocalStack) -> None:
    kept = stack.state_dir / "keys.json"
    right = kept.read_text()
    kept.write_text(right.replace(stack.key("sandbox"), "pk_test_nobody-has-this-key"))
    try:
        done = stack.run("demo")
    finally:
        kept.write_text(right)
    assert done.returncode == 1
    assert "FAILED: expected 403 FORBIDDEN, got 401 UNAUTHORIZED: " in done.stdout
    assert f"{STEPS - WITH_SANDBOX_KEY} of {STEPS} steps did as they should" in done.stdout
