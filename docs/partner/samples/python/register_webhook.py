"""Register a url, have it called, and see what became of it: python register_webhook.py URL."""

import os
import sys
import time

from partner_inventory import PartnerInventory

EVENTS = ["inventory.updated", "inventory.low_stock", "inventory.out_of_stock"]
ENDED = {"delivered", "exhausted", "cancelled"}

with PartnerInventory(os.environ["INVENTORY_URL"], os.environ["INVENTORY_KEY"]) as inventory:
    made = inventory.register_webhook(sys.argv[1], EVENTS, secret=os.environ["WEBHOOK_SECRET"])
    print(f"registered {made.webhook.id}")

    event_id = inventory.ping(made.webhook.id)
    delivery = inventory.delivery(made.webhook.id, event_id)
    deadline = time.monotonic() + 60
    while not delivery.attempts and delivery.state not in ENDED and time.monotonic() < deadline:
        time.sleep(1.5)  # each look counts against the limit, of the smallest tier 60 a minute
        delivery = inventory.delivery(made.webhook.id, event_id)
    for attempt in delivery.attempts:
        print(f"ping: {attempt.outcome} {attempt.status or ''} {attempt.detail}".rstrip())
