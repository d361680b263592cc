"""A client of the Partner Inventory API: copy this folder into your project. Needs only httpx."""

from partner_inventory.client import PartnerInventory
from partner_inventory.errors import (
    ConflictError,
    CursorExpiredError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    NotGenuineError,
    PartnerInventoryError,
    RateLimitedError,
    UnavailableError,
)
from partner_inventory.listing import Held, Listing
from partner_inventory.model import (
    Attempt,
    Changes,
    Delivery,
    DeliveryPage,
    Event,
    Item,
    Limit,
    RegisteredWebhook,
    Removed,
    Replay,
    RotatedSecret,
    Simulation,
    Stock,
    Webhook,
)
from partner_inventory.verification import key_of, verify, verify_x_signature

__all__ = [
    "Attempt",
    "Changes",
    "ConflictError",
    "CursorExpiredError",
    "Delivery",
    "DeliveryPage",
    "Event",
    "Held",
    "InvalidRequestError",
    "Item",
    "Limit",
    "Listing",
    "NotAllowedError",
    "NotFoundError",
    "NotGenuineError",
    "PartnerInventory",
    "PartnerInventoryError",
    "RateLimitedError",
    "RegisteredWebhook",
    "Removed",
    "Replay",
    "RotatedSecret",
    "Simulation",
    "Stock",
    "UnavailableError",
    "Webhook",
    "key_of",
    "verify",
    "verify_x_signature",
]
