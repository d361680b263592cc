"""The words of the schema's checks and those of the code are the same: one truth, two places."""

import re

import psycopg
import pytest

from services.core.environments import Environment
from services.domain.events import STOCK_EVENTS, EventType
from services.domain.redelivery import ARRIVED, MISSED, RETRY
from services.domain.states import DeliveryState, DisabledReason, EndpointState, PartnerState
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.scheduler.retention import DELETE_DELIVERIES
from services.webhooks.words import MailKind, Simulation
from tests.conftest import Database

CHECKS: dict[str, list[str]] = {
    "endpoint_events": [str(each) for each in STOCK_EVENTS],
    **{
        name: [str(each) for each in words]
        for name, words in {
            "partner_state": PartnerState,
            "endpoint_state": EndpointState,
            "endpoint_disabled_reason": DisabledReason,
            "endpoint_simulation": Simulation,
            "event_type": EventType,
            "delivery_state": DeliveryState,
            "attempt_outcome": AttemptOutcome,
            "mail_kind": MailKind,
        }.items()
    },
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_lists_the_words_of_the_code(database: Database, check: str) -> None:
    with psycopg.connect(database.owner_url) as owner:
        found = owner.execute(
            "SELECT connamespace::regnamespace::text, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE conname = %s",
            [check],
        ).fetchall()
    assert {schema for schema, _ in found} - {"control"} == set(Environment)
    for _, definition in found:
        assert sorted(re.findall(r"'([a-z_.]+)'", definition)) == sorted(CHECKS[check])


FINISHED = [state for state in DeliveryState if state.finished]


@pytest.mark.parametrize("statement", [RETRY, DELETE_DELIVERIES])
def test_only_finished_deliveries_are_sent_again_or_deleted(statement: str) -> None:
    (states,) = re.findall(r"state IN \((.*)\)", statement)
    assert re.findall(r"'(\w+)'", states) == FINISHED


def test_a_replay_takes_what_a_retry_takes() -> None:
    assert sorted((*MISSED, ARRIVED)) == sorted(FINISHED)
