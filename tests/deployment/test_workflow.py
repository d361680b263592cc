"""CI on GitHub: `.ci/run` on every Python; Kong's cases on the Kong of compose.yaml."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.deployment import shape
from tests.deployment.shape import REPOSITORY
from tests.gateway.nodes import KONG_SETTINGS

PATH = REPOSITORY / ".github" / "workflows" / "ci.yml"
Workflow = dict[Any, Any]


@pytest.fixture
def workflow() -> Workflow:
    return yaml.safe_load(PATH.read_text())


def steps(workflow: Workflow, job: str) -> str:
    return "\n".join(step.get("run", "") for step in workflow["jobs"][job]["steps"])


def test_the_file_is_what_github_allows() -> None:
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None, "check-jsonschema is not installed"
    assert package.origin is not None
    vendor = Path(package.origin).parent / "builtin_schemas" / "vendor"
    schema = Draft7Validator(json.loads((vendor / "github-workflows.json").read_text()))
    # YAML 1.1 takes the word `on` for a boolean.
    text = re.sub(r"^on:", '"on":', PATH.read_text(), flags=re.MULTILINE)
    document = yaml.safe_load(text)
    assert [each.message for each in schema.iter_errors(document)] == []
    document["jobs"]["check"]["step"] = document["jobs"]["check"].pop("steps")
    assert list(schema.iter_errors(document)), "a mistyped word is not seen"


def test_every_python_from_the_oldest_that_is_allowed_runs_ci(workflow: Workflow) -> None:
    check = workflow["jobs"]["check"]
    pythons = check["strategy"]["matrix"]["python"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f">={pythons[0]}" == project["requires-python"]
    assert pythons == [f"3.{minor}" for minor in range(11, 15)]
    assert check["container"].startswith("python:${{ matrix.python }}-")
    assert steps(workflow, "check").strip() == ".ci/run"


def test_kong_is_the_one_of_compose_and_is_told_what_every_kong_under_test_is(
    workflow: Workflow,
) -> None:
    said = steps(workflow, "gateway")
    started = next(line for line in said.splitlines() if line.startswith("docker run"))
    assert started.split()[-1] == shape.read()["services"]["kong-1"]["image"]
    told = dict(re.findall(r'--env "?(\w+)=([^\s"]*)', started))
    assert {name: told.get(name) for name in KONG_SETTINGS} == KONG_SETTINGS
    assert "KONG_DECLARATIVE_CONFIG" not in told
    address = workflow["jobs"]["gateway"]["env"]
    assert address["GATEWAY_URL"] == f"http://{told['KONG_PROXY_LISTEN']}"
    assert address["KONG_ADMIN_URL"] == f"http://{told['KONG_ADMIN_LISTEN']}"
    assert "make test-gateway" in said.splitlines()


def test_docker_reads_compose_yaml(workflow: Workflow) -> None:
    """Debian has no Docker Compose for .ci/run to install; GitHub's machine has one."""
    asked = "docker compose --file compose.yaml --profile '*' config --quiet"
    assert asked in steps(workflow, "gateway").splitlines()
    assert "container" not in workflow["jobs"]["gateway"]
