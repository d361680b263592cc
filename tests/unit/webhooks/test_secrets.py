"""The forms that a secret may have (W1)."""

import base64

import pytest

from services.webhooks.secrets import SecretFormError, hmac_key, new_secret, whsec_form


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def test_a_new_secret_is_32_random_bytes_in_whsec_form() -> None:
    secret = new_secret()
    assert len(hmac_key(secret)) == 32
    assert whsec_form(secret) == secret
    assert new_secret() != secret


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_whsec_secret_stands_for_the_bytes_it_holds(size: int) -> None:
    key = bytes(range(size))
    assert whsec_form(whsec(key)) == whsec(key)
    assert hmac_key(whsec_form(whsec(key))) == key


def test_a_whsec_secret_without_padding_gets_it() -> None:
    key = bytes(range(25))
    assert whsec_form(whsec(key).rstrip("=")) == whsec(key)


@pytest.mark.parametrize(
    "text", ["sixteen letters!", "x" * 128, "ключ к складу магазина", "WHSEC_of-capitals"]
)
def test_other_text_stands_for_its_utf8(text: str) -> None:
    assert hmac_key(whsec_form(text)) == text.encode()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "16 to 128 characters"),
        ("x" * 15, "16 to 128 characters"),
        ("x" * 129, "16 to 128 characters"),
        ("\ud800" * 16, "surrogate"),
        ("whsec_", "holds 0 bytes"),
        (whsec(bytes(23)), "holds 23 bytes"),
        (whsec(bytes(65)), "holds 65 bytes"),
        ("whsec_" + "-_" * 20, "not base64"),
        ("whsec_" + "A" * 33, "not base64"),
        (whsec(bytes(32)) + "\n", "not base64"),
        ("whsec_" + "ä" * 40, "not base64"),
        ("whsec_not base64 at all, but long enough", "not base64"),
    ],
)
def test_a_secret_of_another_form_is_refused_with_a_way_to_mend_it(given: str, told: str) -> None:
    with pytest.raises(SecretFormError, match=told):
        whsec_form(given)
