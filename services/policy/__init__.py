"""Policy: gateway/kong.yml as pure functions: read, check, render, explain."""
