"""Tools: what tests, load tests and benchmarks share; services never import it."""
