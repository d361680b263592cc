"""Settings: every fault of the environment in one message."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from services.core.environments import Environment
from services.core.settings import SettingsError, load_settings


class Example(msgspec.Struct, frozen=True):
    environment: Environment
    cache_url: Annotated[str, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    cache_max_age_seconds: Annotated[float, msgspec.Meta(gt=0, le=25)] = 25.0


GOOD = {"ENVIRONMENT": "live", "CACHE_URL": "valkey://h/0", "PORT": "80", "PATH": "/bin"}


def test_a_good_environment_becomes_typed_settings() -> None:
    settings = load_settings(Example, {**GOOD, "CACHE_MAX_AGE_SECONDS": "2.5"})
    assert settings == Example(Environment.LIVE, "valkey://h/0", 80, 2.5)


def test_all_faults_are_told_at_once_by_name() -> None:
    faulty = {"ENVIRONMENT": "prod", "PORT": "99999", "CACHE_MAX_AGE_SECONDS": "thirty"}
    with pytest.raises(SettingsError) as told:
        load_settings(Example, faulty)
    for name in ("ENVIRONMENT", "CACHE_URL", "PORT", "CACHE_MAX_AGE_SECONDS"):
        assert f"\n{name}: " in str(told.value)


def test_a_mistyped_name_is_told_with_the_right_one() -> None:
    with pytest.raises(SettingsError, match=r"CACHE_ULR: .* did you mean CACHE_URL\?"):
        load_settings(
            Example, {**{k: v for k, v in GOOD.items() if k != "CACHE_URL"}, "CACHE_ULR": ""}
        )
    with pytest.raises(SettingsError, match=r"did you mean CACHE_MAX_AGE_SECONDS\?"):
        load_settings(Example, {**GOOD, "CACHE_MAX_AGE_SECNODS": "2"})


def test_other_programs_variables_are_none_of_our_business() -> None:
    load_settings(Example, {**GOOD, "CACHE_DIR": "/x", "REPORT": "1", "HOSTNAME": "h"})


def test_a_secret_never_stands_in_the_message() -> None:
    with pytest.raises(SettingsError) as told:
        load_settings(Example, {**GOOD, "PORT": "hunter2-secret"})
    assert "hunter2" not in str(told.value)


def without(name: str) -> dict[str, str]:
    return {other: value for other, value in GOOD.items() if other != name}


def test_a_setting_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("valkey://from-a-file/0\n\n")  # an editor's newline goes, a second one stays
    settings = load_settings(Example, {**without("CACHE_URL"), "CACHE_URL_FILE": str(secret)})
    assert settings.cache_url == "valkey://from-a-file/0\n"
    (port := tmp_path / "port").write_text("81")
    assert load_settings(Example, {**without("PORT"), "PORT_FILE": str(port)}).port == 81


def test_a_setting_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("valkey://from-a-file/0")
    with pytest.raises(SettingsError, match=r"\nCACHE_URL: CACHE_URL_FILE is set, too"):
        load_settings(Example, {**GOOD, "CACHE_URL_FILE": str(tmp_path / "secret")})


def test_a_file_that_cannot_be_read_is_told_by_setting_and_path(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SettingsError) as told:
            load_settings(Example, {**without("CACHE_URL"), "CACHE_URL_FILE": str(path)})
        assert f"\nCACHE_URL_FILE: {path} can't be read: " in str(told.value)
        assert "required" not in str(told.value)


def test_what_a_file_holds_never_stands_in_the_message(tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_text("hunter2-secret")
    (binary := tmp_path / "binary").write_bytes(b"hunter2\xff")
    for path, name in ((secret, "PORT"), (binary, "PORT_FILE")):
        with pytest.raises(SettingsError, match=rf"\n{name}: ") as told:
            load_settings(Example, {**without("PORT"), "PORT_FILE": str(path)})
        assert "hunter2" not in str(told.value)


def test_a_mistyped_name_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"CACHE_ULR_FILE: .* did you mean CACHE_URL_FILE\?"):
        load_settings(Example, {**without("CACHE_URL"), "CACHE_ULR_FILE": str(tmp_path)})
