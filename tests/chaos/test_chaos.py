"""A small chaos: 500 changes, every part killed once; `make chaos` is the large one."""

from pathlib import Path

import pytest

from tests.chaos.director import FIRST, OTHERS
from tests.chaos.run import Scale, report, run
from tools.chain import API, PARTS, POSTGRES, VALKEY

# The secret is rotated after the first wave, while the worker still works; the worker and
# PostgreSQL go one after the other, as their victims' leases are what this test waits for.
WAVES = (("relay",), ("scheduler",)), ((FIRST,), (POSTGRES,), (VALKEY,), ("slow-worker",), (API,))


@pytest.mark.long
@pytest.mark.timeout(180)
def test_every_change_reaches_every_subscriber_though_every_part_is_killed(tmp_path: Path) -> None:
    scale = Scale(500, lambda _: (list(wave) for wave in WAVES), pace=1.5, haste=3)
    result = run(tmp_path, scale, seed=1)
    assert result.good, report(result, seed=1)
    assert result.kills == dict.fromkeys(PARTS, 1)
    assert result.struck > 0
    assert result.lapsed > 0
    assert result.findings.changes >= 500


def test_the_waves_kill_every_part() -> None:
    assert {FIRST, *OTHERS} == set(PARTS)
