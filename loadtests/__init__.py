"""QA's kit: load on a gateway with locust, and a verdict; start with docs/load-testing.md."""
