"""HTTP: admin's internal API, for operations and their tools; never routed by the gateway."""
