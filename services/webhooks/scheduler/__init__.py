"""Scheduler: due retries, lost wake-ups, lapsed leases."""
