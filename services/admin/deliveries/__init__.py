"""Deliveries: what was sent to partners' webhooks; search, retry and replay."""
