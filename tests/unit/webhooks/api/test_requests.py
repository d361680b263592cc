"""Cursors, paths and settings of the partners' API that need no server."""

from uuid import UUID, uuid4

import pytest

from services.core.encryption import MasterKeyError, make_master_key
from services.core.environments import Environment
from services.core.errors import PartnerError
from services.core.settings import SettingsError
from services.webhooks.api.build import build_api
from services.webhooks.api.requests import cursor_after, page_of
from services.webhooks.settings import ApiSettings


@pytest.mark.parametrize("event_id", [UUID(int=0), UUID(int=2**128 - 1), uuid4()])
def test_a_cursor_leads_back_to_its_event(event_id: UUID) -> None:
    assert page_of(f"cursor={cursor_after(event_id)}".encode()).before == event_id


def test_a_cursor_has_one_spelling() -> None:
    good = cursor_after(UUID(int=0))
    for spoiled in (f"{good}=", good[:-1], f"{good}A", good[:-1] + "B", f" {good}", f"{good}%0A"):
        with pytest.raises(PartnerError, match="`cursor`"):
            page_of(f"cursor={spoiled}".encode())


def settings(**more: object) -> ApiSettings:
    given: dict[str, object] = {
        "environment": Environment.SANDBOX,
        "database_url": "postgresql://127.0.0.1:1/x",
        "queue_url": "valkey://127.0.0.1:1/0",
        "backend_token": "t" * 32,
        "master_keys": make_master_key(),
        "port": 0,
        **more,
    }
    return ApiSettings(**given)  # type: ignore[arg-type]


def test_the_api_is_put_together_without_connecting() -> None:
    build_api(settings())


def test_bad_keys_and_ports_stop_the_start() -> None:
    with pytest.raises(MasterKeyError, match="MASTER_KEYS"):
        build_api(settings(master_keys="nonsense"))
    with pytest.raises(SettingsError, match="TARGET_PORTS"):
        build_api(settings(target_ports="0"))
