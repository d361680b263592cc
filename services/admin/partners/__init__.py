"""Partners: created, changed, suspended and listed."""
