"""Check: the faults of a kong.yml, with line numbers, before any node sees it."""
