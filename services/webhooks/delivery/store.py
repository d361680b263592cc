"""Store: a worker's short transactions; claim, then (with nothing open) a send, then record.

On the way of every delivery they are pipelines: what is sent up to the first fetch is one
transaction of the server's and one round trip. BEGIN and COMMIT would make it three.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from services.core.database import ThreadPool
from services.domain.states import DeliveryState
from services.webhooks.delivery.claims import (
    LONGEST_PAUSE_IN_DOUBT,
    LONGEST_PAUSE_UNSENT,
    Claim,
    Claims,
)
from services.webhooks.delivery.outcome import Decision, Fault, NotSent
from services.webhooks.delivery.records import Records


class Store:
    """The deliveries of one environment, as one lane's workers see them."""

    def __init__(
        self, pool: ThreadPool, claims: Claims, records: Records, *, chance: Callable[[], float]
    ) -> None:
        """`chance` gives numbers from 0 up to 1, for the jitter of retries."""
        self._pool = pool
        self._claims = claims
        self._records = records
        self._chance = chance

    def claim(self, endpoint_id: UUID) -> Claim | None:
        """Claim the endpoint's next due delivery, if this lane may call it now."""
        with self._pipeline() as connection:
            self._claims.lock(connection, endpoint_id)
            return self._claims.take(connection, endpoint_id)

    def record_delivered(
        self, claim: Claim, decision: Decision, *, seconds: float, claim_next: bool
    ) -> Claim | None:
        """Record a success; in the same transaction claim the next delivery, if wanted."""
        with self._pipeline() as connection:
            self._claims.lock(connection, claim.endpoint_id)
            self._records.delivered(connection, claim, decision, seconds=seconds)
            return self._claims.take(connection, claim.endpoint_id) if claim_next else None

    def record_failed(
        self, claim: Claim, decision: Decision, *, seconds: float
    ) -> DeliveryState | None:
        """Record a failure; return the delivery's new state, None if the claim no longer held."""
        with self._pool.connection() as connection, connection.transaction():
            self._claims.lock(connection, claim.endpoint_id)
            return self._records.failed(
                connection, claim, decision, seconds=seconds, chance=self._chance()
            )

    def release(self, claim: Claim, fault: Fault) -> None:
        """Release a claim after a fault of ours; what became of the endpoint is left as it is."""
        longest = LONGEST_PAUSE_UNSENT if isinstance(fault, NotSent) else LONGEST_PAUSE_IN_DOUBT
        with self._pipeline() as connection:
            self._claims.lock(connection, claim.endpoint_id)
            self._claims.release(connection, claim, longest=longest)

    @contextmanager
    def _pipeline(self) -> Generator[Connection[TupleRow]]:
        """Give a connection in pipeline mode, to be thrown away when something fails.

        psycopg takes a statement for prepared that it sent behind one that failed, and the server
        has never prepared it: the next user of the connection would fail.
        """
        with self._pool.connection() as connection:
            try:
                with connection.pipeline():
                    yield connection
            except BaseException:
                connection.close()
                raise
