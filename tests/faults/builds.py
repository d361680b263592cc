"""Builds: the broken ones that QA's kit must find, and for which threshold; data."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Build:
    """A build, good or with one fault that a wrapper brings; services/ knows none of them."""

    name: str
    says: str
    # Program of the local stack -> the module of this folder that runs it with the fault.
    wrapped: dict[str, str] = field(default_factory=dict[str, str])
    leaks: bool = False  # a proxy in front of the gateway
    fails: frozenset[str] = frozenset()  # exactly these thresholds
    tells: str = ""  # is in the report's examples of what went wrong
    soak_s: int = 0  # full load of the profile that finds it, where that is soak
    samples_at_least: int = 5000  # requests of acceptance, so that one in 1,000 is seen


GOOD = Build("good", "the build as it is")
SLOW = Build(
    "slow",
    "every partner query takes 200 ms longer",
    {"query-live": "query", "query-sandbox": "query"},
    fails=frozenset({"partner_p95_ms"}),
)
DROPPING = Build(
    "dropping",
    "one webhook in 1,000 is noted as delivered and was never sent",
    {"deliveries-sandbox": "deliveries"},
    fails=frozenset({"delivered_percent"}),
)
WRONG_STATUS = Build(
    "wrong-status",
    "one product in 1,000 has a status that is not its quantity's",
    {"query-live": "query"},
    fails=frozenset({"wrong_answers"}),
    tells="units are",
)
LEAKING = Build(
    "leaking",
    "one list of webhooks in 50 has one of another partner",
    leaks=True,
    fails=frozenset({"wrong_answers"}),
    tells="another partner's webhook",
)
AGEING = Build(
    "ageing",
    "each query keeps 100 kB, and takes 1.5 ms longer for each second since the start",
    {"query-live": "query"},
    fails=frozenset({"p95_drift_ms", "memory_growth_mb"}),
    soak_s=40,
    samples_at_least=1000,
)
# The one that takes longest first: its test runs beside the others.
BROKEN = {each.name: each for each in (AGEING, SLOW, DROPPING, WRONG_STATUS, LEAKING)}
BUILDS = {GOOD.name: GOOD, **BROKEN}

# One in so many; a short run has too few deliveries for the real figures. Read by the wrappers.
EVERY = "FAULT_EVERY"
EVERY_DELIVERY, EVERY_PRODUCT, EVERY_LIST = 1000, 1000, 50
