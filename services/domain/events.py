"""Domain: the events that partners are called back with, and which of them a change causes (W3)."""

from enum import StrEnum

from services.domain.stock import StockStatus, stock_status


class EventType(StrEnum):
    """The type of an event; the schema's checks list the same."""

    INVENTORY_UPDATED = "inventory.updated"
    INVENTORY_LOW_STOCK = "inventory.low_stock"
    INVENTORY_OUT_OF_STOCK = "inventory.out_of_stock"
    WEBHOOK_PING = "webhook.ping"  # sent when a partner asks for it, whatever it subscribed to


# What an endpoint can subscribe to.
STOCK_EVENTS = (
    EventType.INVENTORY_UPDATED,
    EventType.INVENTORY_LOW_STOCK,
    EventType.INVENTORY_OUT_OF_STOCK,
)


def events_of_change(old_quantity: int | None, new_quantity: int | None) -> tuple[EventType, ...]:
    """Return the events of one change of a quantity; None stands for no such product (W3).

    A product that is new is an update only, and one that is removed is no event at all.
    """
    if new_quantity is None:
        return ()
    if old_quantity is None or new_quantity >= old_quantity:
        return (EventType.INVENTORY_UPDATED,)
    before, after = stock_status(old_quantity), stock_status(new_quantity)
    if before is after or after is StockStatus.IN_STOCK:
        return (EventType.INVENTORY_UPDATED,)
    crossed = {
        StockStatus.LOW_STOCK: EventType.INVENTORY_LOW_STOCK,
        StockStatus.OUT_OF_STOCK: EventType.INVENTORY_OUT_OF_STOCK,
    }[after]
    return (EventType.INVENTORY_UPDATED, crossed)
