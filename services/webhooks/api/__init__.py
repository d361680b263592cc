"""API: what a partner does with its endpoints, through the gateway."""
