"""Keys: partners' API keys; made, rotated, revoked and listed."""
