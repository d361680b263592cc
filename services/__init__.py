"""Partner Inventory Sync: the services behind the gateway; services/README.md shows the flows."""
