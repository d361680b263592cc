"""Settings: every fault of the environment in one message."""

from typing import Annotated

import msgspec
import pytest

from services.kernel.environments import Environment
from services.kernel.settings import SettingsError, load_settings


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
