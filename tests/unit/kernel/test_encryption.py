"""Secrets at rest."""

import pytest

from services.core.encryption import MasterKeyError, SecretBox, make_master_key


def test_what_is_sealed_opens_again_and_does_not_show_the_secret() -> None:
    box = SecretBox(make_master_key())
    sealed = box.seal("pk_live_secret")
    assert b"pk_live_secret" not in sealed
    assert box.open(sealed) == "pk_live_secret"


def test_a_new_master_key_in_front_still_opens_what_the_old_one_sealed() -> None:
    old, new = make_master_key(), make_master_key()
    sealed = SecretBox(old).seal("secret")
    assert SecretBox(f"{new}, {old}").open(sealed) == "secret"
    with pytest.raises(MasterKeyError, match="removed too early"):
        SecretBox(new).open(sealed)


def test_a_malformed_master_key_is_told_without_being_shown() -> None:
    with pytest.raises(MasterKeyError, match="URL-safe base64") as told:
        SecretBox("not-a-key")
    assert "not-a-key" not in str(told.value)


def test_only_what_the_first_master_key_sealed_needs_no_other() -> None:
    old, new = make_master_key(), make_master_key()
    both = SecretBox(f"{new},{old}")
    assert both.is_newest(both.seal("secret"))
    assert not both.is_newest(SecretBox(old).seal("secret"))
    assert not both.is_newest(b"nothing that was sealed")
