"""The signature code of docs/partner/samples, held against the contract's worked example."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY
from tests.samples.languages import (
    SAMPLES,
    WITHIN,
    compiled,
    environment,
    javascript,
)

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
CONTRACT = REPOSITORY / "specs" / "api" / "partner-inventory-api.yaml"
TEXT_SECRET = "a text that only you and we know"


def example() -> tuple[dict[str, str], str]:
    """Return the contract's example by its words, and the signature with a secret of other text."""
    lines = CONTRACT.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if "secret             whsec_" in line)
    words = dict(line.strip().split(maxsplit=1) for line in lines[start : start + 6])
    other = next(number for number, line in enumerate(lines) if line.endswith(TEXT_SECRET))
    return words, lines[other + 2].split()[1]


def messages() -> dict[str, tuple[str, ...]]:
    """Return messages by what is to be said of them."""
    words, text_signature = example()
    sent, body = words["webhook-timestamp"], words["body"]
    signature = words["webhook-signature"]
    good = (sent, words["secret"], words["webhook-id"], sent, signature, body)

    def but(place: int, value: str) -> tuple[str, ...]:
        return (*good[:place], value, *good[place + 1 :])

    wrong = "no signature matches"
    return {
        "the example": (*good, "genuine"),
        "a text as secret": (sent, TEXT_SECRET, *good[2:4], text_signature, body, "genuine"),
        "two signatures": (*but(4, f"v1,{'A' * 43}= {signature}"), "genuine"),
        "5 minutes": (*but(0, str(int(sent) + 300)), "genuine"),
        "more": (*but(0, str(int(sent) + 301)), "webhook-timestamp is 301 s old"),
        "of the future": (*but(0, str(int(sent) - 301)), "webhook-timestamp is -301 s old"),
        "no number": (*but(3, "now"), "webhook-timestamp is not a number"),
        "another time": (*but(3, str(int(sent) + 1)), wrong),
        "another id": (*but(2, good[2].replace("9b", "9c")), wrong),
        "another body": (*but(5, body.replace('"quantity":9', '"quantity":8')), wrong),
        "another key": (*but(1, "whsec_" + "A" * 44), wrong),
        "another version": (*but(4, signature.replace("v1,", "v2,")), wrong),
        "a part of it": (*but(4, signature[:-1]), wrong),
    }


def said(command: list[str]) -> dict[str, str]:
    """Return what a program says of each message."""
    given = [each for message in messages().values() for each in message[:6]]
    done = subprocess.run(
        [*command, *given],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    return dict(zip(messages(), done.stdout.splitlines(), strict=True))


EXPECTED = {name: message[6] for name, message in messages().items()}


@pytest.mark.needs("java", "javac")
def test_java_tells_genuine_messages_from_others(java_classes: Path, tmp_path: Path) -> None:
    source = str(HERE / "SignatureVectors.java")
    done = compiled("-cp", str(java_classes), "-d", str(tmp_path), source)
    assert done.returncode == 0, done.stderr
    both = f"{java_classes}:{tmp_path}"
    assert said(["java", "-cp", both, "example.inventory.SignatureVectors"]) == EXPECTED


def test_javascript_tells_genuine_messages_from_others() -> None:
    module = SAMPLES / "javascript" / "signature.mjs"
    command = [javascript().query[0], str(HERE / "signature_vectors.mjs"), str(module)]
    assert said(command) == EXPECTED


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("name", ["the example", "a text as secret"])
def test_the_shell_signs_as_the_contract_does(name: str) -> None:
    _, secret, message_id, sent, signature, body, _ = messages()[name]
    done = subprocess.run(
        [str(SAMPLES / "curl" / "sign.sh"), message_id, sent],
        env=environment({"WEBHOOK_SECRET": secret}),
        input=body,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert done.stdout.strip() == signature
