"""What nodes should run: worked out from one snapshot, and only when something changed."""

import msgspec
import pytest

from services.admin.gateway.desired import DesiredReader
from services.admin.gateway.node_sync import Desired, NodeState
from services.admin.gateway.store import write_accepted
from services.core.encryption import SecretBox, make_master_key
from tests.integration.admin.gateway.conftest import Gateway


class CountingBox(SecretBox):
    """Counts what it opens."""

    opened = 0

    def open(self, sealed: bytes) -> str:
        self.opened += 1
        return super().open(sealed)


@pytest.fixture
def box(gateway: Gateway) -> CountingBox:
    return CountingBox(gateway.settings.master_keys)


@pytest.fixture
def reader(gateway: Gateway, box: CountingBox) -> DesiredReader:
    return DesiredReader(gateway.settings.gateway_policy, gateway.settings.addresses, box)


def read(gateway: Gateway, reader: DesiredReader) -> Desired:
    with gateway.connect() as connection:
        return reader.read(connection)


def test_nothing_is_worked_out_anew_while_nothing_changes(
    gateway: Gateway, reader: DesiredReader
) -> None:
    gateway.new_key()
    first = read(gateway, reader)
    assert read(gateway, reader) is first
    gateway.policy_file.write_text(gateway.policy_file.read_text("utf-8"), "utf-8")
    assert read(gateway, reader) is first
    gateway.new_key()
    assert read(gateway, reader).revision == first.revision + 1


def test_each_key_is_decrypted_once(
    gateway: Gateway, reader: DesiredReader, box: CountingBox
) -> None:
    revoked = gateway.new_key()
    gateway.new_key()
    read(gateway, reader)
    assert box.opened == 2
    gateway.revoke(revoked)
    gateway.new_key()
    read(gateway, reader)
    assert box.opened == 3


def test_acceptance_leaves_the_text_as_it_is(gateway: Gateway, reader: DesiredReader) -> None:
    gateway.new_key()
    policy = gateway.policy_file.read_text("utf-8")
    with gateway.connect() as connection:
        write_accepted(connection, policy)
        gateway.write_policy(policy.replace("minute: 300", "minute: 301"))
        first = reader.read(connection)
        assert first.wanted is not None
        assert first.fallback is not None
        assert first.fallback.policy == policy
        write_accepted(connection, first.wanted.policy)
        second = reader.read(connection)
    assert second.wanted is first.wanted
    assert second.fallback is None


def test_a_file_that_breaks_does_not_bring_an_older_policy_back(
    gateway: Gateway, reader: DesiredReader
) -> None:
    older = gateway.policy_file.read_text("utf-8")
    newer = older.replace("minute: 300", "minute: 301")
    with gateway.connect() as connection:
        write_accepted(connection, older)
    gateway.write_policy(newer)
    first = read(gateway, reader)
    gateway.write_policy(newer[:1000])  # half saved
    broken = read(gateway, reader)
    assert broken.policy_error is not None
    assert first.wanted is not None
    assert broken.wanted is not None
    assert broken.wanted.text == first.wanted.text


def test_keys_that_no_master_key_opens_are_told_and_nothing_is_sent(
    gateway: Gateway, reader: DesiredReader
) -> None:
    gateway.new_key()
    other = DesiredReader(
        gateway.settings.gateway_policy, gateway.settings.addresses, SecretBox(make_master_key())
    )
    desired = read(gateway, other)
    assert desired.wanted is None
    assert "MASTER_KEYS" in (desired.policy_error or "")
    assert read(gateway, reader).wanted is not None


def test_targets_of_upstreams_that_the_accepted_file_lacks_hold_up_nothing(
    gateway: Gateway,
) -> None:
    key = gateway.new_key()
    settings = msgspec.structs.replace(
        gateway.settings, gateway_upstreams=f"{gateway.settings.gateway_upstreams},new=n:1"
    )
    reader = DesiredReader(
        settings.gateway_policy, settings.addresses, SecretBox(settings.master_keys)
    )
    with gateway.connect() as connection:
        write_accepted(connection, gateway.policy_file.read_text("utf-8"))
        desired = reader.read(connection)
    assert "no upstream named new" in (desired.policy_error or "")
    assert desired.wanted is not None
    assert key.secret in desired.wanted.text


def test_states_are_those_of_the_database(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        row = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'node_state'"
        ).fetchone()
    assert row is not None
    words = {part for part in row[0].split("'") if part.isalpha() and part.islower()}
    assert words - {"text"} == {str(state) for state in NodeState}
