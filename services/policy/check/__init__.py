"""Check: what is wrong with a kong.yml, with line numbers, before any node sees it."""
