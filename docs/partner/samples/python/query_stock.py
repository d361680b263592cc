"""Print the stock of products: python query_stock.py SKU-1 SKU-2."""

import os
import sys

from partner_inventory import PartnerInventory

with PartnerInventory(os.environ["INVENTORY_URL"], os.environ["INVENTORY_KEY"]) as inventory:
    stock = inventory.stock(sys.argv[1:])
    for item in stock.items:
        print(f"{item.product_id} {item.quantity} {item.status}")
    for product_id in stock.not_found:
        print(f"{product_id} is not known")
