"""How long answers took, as Prometheus reads it."""

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.core.http.metrics import BUCKETS, RequestMetrics

NAME = "http_request_duration_seconds"
ANSWERS = [("/a", 200), ("/a", 404), ("/b", 204), ("/b", 503), ("other", 0)]


def shown(text: str) -> dict[str, float]:
    """Return the histogram's numbers by name and labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(NAME))
    return {name: round(float(value), 9) for name, _, value in lines}


def test_it_shows_what_prometheus_clients_own_histogram_would() -> None:
    chance = random.Random(1)
    registry = CollectorRegistry()
    theirs = Histogram(NAME, "The same.", ["route", "status"], buckets=BUCKETS, registry=registry)
    ours = RequestMetrics()
    for route, status in ANSWERS * 40:
        seconds = chance.choice([chance.expovariate(5), *BUCKETS])
        theirs.labels(route, f"{status // 100}xx").observe(seconds)
        ours.observe(route, status, seconds)
    told = shown(ours.route().fn().content.decode())  # pyright: ignore
    assert len(told) == len(ANSWERS) * (len(BUCKETS) + 3)
    assert told == shown(generate_latest(registry).decode())
