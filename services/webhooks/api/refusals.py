"""Refusals: what a request gets that the rows do not allow; the contract shows each text."""

from services.core.errors import SUSPENDED_MESSAGE, ErrorCode

Refusal = tuple[ErrorCode, str]

UNKNOWN_PARTNER: Refusal = (ErrorCode.FORBIDDEN, "There is no such partner account")
SUSPENDED: Refusal = (ErrorCode.PARTNER_SUSPENDED, SUSPENDED_MESSAGE)
NO_WEBHOOK: Refusal = (ErrorCode.NOT_FOUND, "There is no such webhook")
NO_DELIVERY: Refusal = (ErrorCode.NOT_FOUND, "There is no such delivery of this webhook")
EXISTS: Refusal = (ErrorCode.WEBHOOK_EXISTS, "You have a webhook with this url already")
LIMIT_REACHED: Refusal = (
    ErrorCode.WEBHOOK_LIMIT_REACHED,
    "You have as many webhooks as you may have: delete one first",
)
DISABLED: Refusal = (ErrorCode.WEBHOOK_DISABLED, "This webhook is disabled: enable it first")
DISABLED_BY_US: Refusal = (
    ErrorCode.WEBHOOK_DISABLED,
    "We disabled this webhook: ask your contact at our company to enable it",
)
IN_PROGRESS: Refusal = (
    ErrorCode.DELIVERY_IN_PROGRESS,
    "This delivery is under way: it can be retried when it is delivered, exhausted or cancelled",
)
