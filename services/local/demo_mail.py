"""Demo mail: find what the mail sink of the local stack has kept."""

import email
import email.policy
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

POLL = 0.05  # seconds between two looks into the folder


@dataclass(frozen=True)
class KeptMail:
    """A mail, and the file that it is in."""

    path: Path
    to: str
    subject: str
    text: str


class Mailbox:
    """The mails that come from now on."""

    def __init__(self, folder: Path) -> None:
        """Take the sink's folder; what is in it already was for somebody else."""
        self._folder = folder
        self._seen = self._files()

    def wait_for(self, words: str, *, within: float) -> KeptMail | None:
        """Return the first new mail with these words in it; None if none comes in time."""
        deadline = time.perf_counter() + within
        while True:
            for path in sorted(self._files() - self._seen):
                kept = _read(path)
                if words in kept.text:
                    self._seen.add(path)
                    return kept
            if time.perf_counter() > deadline:
                return None
            time.sleep(POLL)

    def _files(self) -> set[Path]:
        return set(self._folder.glob("*.eml"))


def _read(path: Path) -> KeptMail:
    message = email.message_from_bytes(
        path.read_bytes(), _class=EmailMessage, policy=email.policy.default
    )
    body = message.get_body(("plain",))
    text = body.get_content() if body is not None else ""
    return KeptMail(path, str(message["To"]), str(message["Subject"]), text)
