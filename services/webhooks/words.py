"""Words of rows that webhooks alone writes and reads; the schema's checks list the same."""

from enum import StrEnum


class MailKind(StrEnum):
    """The mails that a technical contact gets."""

    INCIDENT_OPENED = "incident_opened"
    INCIDENT_CLOSED = "incident_closed"
    ENDPOINT_GONE = "endpoint_gone"
    ENDPOINT_DISABLED = "endpoint_disabled"


class Simulation(StrEnum):
    """What a partner makes its endpoint's next attempts look like, in the sandbox (A9)."""

    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
