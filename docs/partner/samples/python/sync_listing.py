"""Keep a table of your products up to date: python sync_listing.py stock.db SKU-1 SKU-2.

Run it every minute or hour. The first run takes 30 seconds longer (OLDEST_SECONDS).
"""

import os
import sqlite3
import sys
from contextlib import closing

from partner_inventory import Listing, PartnerInventory

file, *product_ids = sys.argv[1:]
oldest = float(os.environ.get("OLDEST_SECONDS", "30"))
with (
    PartnerInventory(os.environ["INVENTORY_URL"], os.environ["INVENTORY_KEY"]) as inventory,
    closing(sqlite3.connect(file)) as database,
):
    listing = Listing(inventory, database, product_ids, oldest=oldest)
    print(f"products changed: {listing.sync()}")
