"""Domain: the states of partners, endpoints and deliveries; the schema's checks list the same."""

from enum import StrEnum


class PartnerState(StrEnum):
    """Whether a partner may call."""

    ACTIVE = "active"
    SUSPENDED = "suspended"  # every request gets 403 PARTNER_SUSPENDED, and nothing is sent to it


class EndpointState(StrEnum):
    """What an endpoint is; a deleted one keeps its row and takes part in nothing."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled."""

    BY_PARTNER = "by_partner"
    BY_OPERATOR = "by_operator"  # the partner can't enable it
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # for days, and nothing else


class DeliveryState(StrEnum):
    """Where the delivery of one event to one endpoint stands."""

    PENDING = "pending"
    SENDING = "sending"  # under a lease
    DELIVERED = "delivered"
    RETRYING = "retrying"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens unless a person asks for it."""
        return self in {self.DELIVERED, self.EXHAUSTED, self.CANCELLED}
