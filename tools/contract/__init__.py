"""Contract: answers held against specs/api/partner-inventory-api.yaml."""
