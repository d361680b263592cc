"""Delivery: claim, send, record."""
