"""Settings: what compose.yaml tells our services is what they read, with the secrets in files."""

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.core.encryption import SecretBox
from services.core.http import serving
from services.core.settings import load_settings
from services.schema.commands import role_passwords
from services.schema.migrate import ROLES
from services.schema.settings import MigrateSettings
from services.webhooks import entry
from tests.deployment import programs, shape
from tests.deployment.shape import REPOSITORY, Document

MAKE_SECRETS = REPOSITORY / "deploy" / "make-secrets.sh"


@pytest.fixture(scope="module")
def document() -> Document:
    return shape.read()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that deploy/make-secrets.sh filled."""
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    subprocess.run([MAKE_SECRETS, folder], check=True, capture_output=True)
    return folder


def test_every_service_is_told_its_settings_and_nothing_else(
    document: Document, secrets: Path
) -> None:
    assert len(programs.ours(document)) == 21
    assert programs.faults(document, secrets) == []


Plant = Callable[[dict[str, Any]], Any]
PLANTED: list[tuple[str, Plant]] = [
    ("relay: POLL is no setting", lambda s: s["relay"]["environment"].update(POLL="1")),
    ("relay: the environment", lambda s: s["relay"]["environment"].pop("QUEUE_URL")),
    ("admin: the environment", lambda s: s["admin"]["environment"].pop("MASTER_KEYS_FILE")),
    ("query-1: the environment", lambda s: s["query-1"]["environment"].update(PORT="many")),
    ("query-1: listens on 8109", lambda s: s["query-1"]["environment"].update(PORT="8109")),
    ("worker: no program", lambda s: s["worker"].update(command=["python", "-m", "services.wo"])),
]


@pytest.mark.parametrize(("told", "plant"), PLANTED, ids=[told for told, _ in PLANTED])
def test_a_planted_fault_is_told(
    document: Document, secrets: Path, told: str, plant: Plant
) -> None:
    broken = json.loads(json.dumps(document))
    plant(broken["services"])
    assert any(fault.startswith(told) for fault in programs.faults(broken, secrets))


def test_the_script_makes_every_secret_once_and_keeps_it(document: Document, secrets: Path) -> None:
    made = {each.stem: each.read_text() for each in secrets.iterdir()}
    assert made.keys() == document["secrets"].keys()
    again = subprocess.run([MAKE_SECRETS, secrets], check=True, capture_output=True, text=True)
    assert again.stdout == ""
    assert made == {each.stem: each.read_text() for each in secrets.iterdir()}


def test_only_the_owner_of_the_folder_gets_at_a_secret(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    # The container's user is another one than the owner, and reads the file itself.
    assert {stat.S_IMODE(each.stat().st_mode) for each in secrets.iterdir()} == {0o444}


def test_the_secrets_are_what_the_services_take(document: Document, secrets: Path) -> None:
    told = programs.inside(document["services"]["migrate"]["environment"], secrets)
    settings = load_settings(MigrateSettings, told)
    passwords = role_passwords(settings)
    assert set(passwords) == set(ROLES)
    assert len(set(passwords.values())) == len(ROLES)
    owner = (secrets / "postgres-password.txt").read_text()
    assert settings.owner_database_url == f"postgresql://postgres:{owner}@postgres:5432/postgres"
    box = SecretBox((secrets / "master-keys.txt").read_text())
    assert box.open(box.seal("secret")) == "secret"
    assert (secrets / "gateway-certificate.txt").read_text().count("-----BEGIN ") == 2


def test_migrate_is_told_of_every_role() -> None:
    fields = {field.removesuffix("_database_url") for field in MigrateSettings.__struct_fields__}
    assert fields == {"owner", *ROLES}


def test_nothing_is_killed_before_its_drain_is_over(document: Document) -> None:
    longest = max(entry.DRAIN, serving.LAME_DUCK + serving.LAST_REQUESTS + serving.DRAIN)
    for name, service in programs.ours(document).items():
        assert float(service["stop_grace_period"].removesuffix("s")) >= longest + 2, name
