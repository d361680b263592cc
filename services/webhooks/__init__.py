"""Webhooks: from a committed stock change to a partner's endpoint, whatever crashes (W1-W12)."""
