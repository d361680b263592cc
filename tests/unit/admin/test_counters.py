"""The store of the gateway's counters: where it is, and whether it answers."""

from pathlib import Path

from services.admin.gateway.counters import answers, counter_store
from services.local.children import free_port
from services.local.valkey import RunningValkey
from services.policy.render import Addresses, CounterStore

POLICY = (Path(__file__).parents[3] / "gateway" / "kong.yml").read_text()


def test_the_store_is_the_policys_unless_settings_name_another() -> None:
    assert counter_store(POLICY, Addresses()) == CounterStore("valkey-counters", 6379, 0)
    other = CounterStore("127.0.0.1", 8063, 1)
    assert counter_store(POLICY, Addresses(counters=other)) == other


def test_tiers_that_count_in_memory_have_no_store() -> None:
    assert counter_store(POLICY.replace("policy: redis", "policy: local"), Addresses()) is None


def test_a_store_answers_or_is_away(valkey: RunningValkey) -> None:
    assert answers(CounterStore("127.0.0.1", valkey.port))
    assert not answers(CounterStore("127.0.0.1", free_port()))
