"""Running: Schemathesis makes cases of the contract and sends them through a gateway."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.plan import Target

REPOSITORY = Path(__file__).parents[2]
CONTRACT = REPOSITORY / "specs/api/partner-inventory-api.yaml"
COMMAND = (
    *(Path(sys.executable).parent / "schemathesis", "--config-file"),
    Path(__file__).with_name("schemathesis.toml"),
)
REPORT = "cases.json"
LIVE_HAS = ("/partner/v1/inventory", "/partner/v1/inventory/changes", "/partner/v1/webhooks")


@dataclass(frozen=True)
class Cases:
    """What a run of Schemathesis came to."""

    generated: int
    failures: dict[str, str]  # kind of failure -> where
    output: str


def run_cases(
    target: Target,
    environment: str,
    folder: Path,
    *,
    seed: int,
    examples: int,
    document: Path = CONTRACT,
    paths: Sequence[str] = (),
    phases: str = "examples,coverage,fuzzing,stateful",
) -> Cases:
    """Send an environment's cases: `examples` of each operation, besides those of every boundary.

    `paths`: these only. Raises AssertionError when Schemathesis could not run.
    """
    live = environment == "live"
    key = target.api_key if live else target.sandbox_api_key
    report = folder / f"{environment}-{REPORT}"
    report.unlink(missing_ok=True)
    command: list[str | Path] = [*COMMAND, "run", document, "--url", target.host]
    command += ["--header", f"X-API-Key: {key}", "--phases", phases, "--no-color"]
    command += ["--header", f"Host: {'localhost' if live else target.sandbox_host}"]
    command += ["--seed", str(seed), "--max-examples", str(examples), "--continue-on-failure"]
    command += ["--generation-database", "none", "--report-json-path", report]
    for path in paths:
        command += ["--include-path", path]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    result = json.loads(report.read_text())
    failures = {each["title"]: ", ".join(each["operations"]) for each in result["failures"]}
    assert result["complete"], done.stdout
    assert (done.returncode != 0) == bool(failures or result["errors"]), done.stdout
    for each in result["errors"]:
        failures[str(each.get("title", "error"))] = json.dumps(each)
    return Cases(result["test_cases"]["generated"], failures, done.stdout)
