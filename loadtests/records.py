"""Records: what the load generator notes while it runs, one JSON line each, and how it is read."""

import time
from enum import StrEnum
from pathlib import Path

import msgspec


class Outcome(StrEnum):
    """What became of a request."""

    OK = "ok"
    LIMITED = "limited"  # a 429 that is right there
    REFUSED = "refused"  # a 401 or 404 that is right there
    ERROR = "error"  # no answer, or a status that is not right there
    WRONG = "wrong"  # an answer that is not what the contract says


class Begin(msgspec.Struct, tag="b", array_like=True, gc=False):
    """The first user comes."""

    at: float  # seconds since 1970, as all `at`


class Request(msgspec.Struct, tag="r", array_like=True, gc=False):
    """One request."""

    at: float  # sent; of an arrival on a schedule: when it was due
    seconds: float  # from then to the whole answer
    scenario: str
    status: int  # 0: no answer
    outcome: Outcome
    detail: str = ""  # what is wrong; of the partner over its limit: the limit that it was told


class Seen(msgspec.Struct, tag="o", array_like=True):
    """Versions of products that are being changed, in one answer."""

    at: float  # the request was sent
    environment: str
    versions: list[tuple[str, int]]


class Generator(msgspec.Struct, tag="g", array_like=True):
    """How the load generator itself was in one second."""

    at: float
    cpu: float  # share of one core
    lags: list[float]  # seconds by which its event loop came too late
    users: int


Record = Begin | Request | Seen | Generator
_decoder = msgspec.json.Decoder(Record)


class Recorder:
    """Writes records; flushed once a second by whoever beats the time."""

    def __init__(self, path: Path) -> None:
        """Open a new file."""
        self._file = path.open("wb")
        self._encoder = msgspec.json.Encoder()

    def note(self, record: Record) -> None:
        """Write one."""
        self._file.write(self._encoder.encode(record) + b"\n")

    def flush(self) -> None:
        """Have what was noted on disk."""
        self._file.flush()

    def begin(self) -> None:
        """Note the start."""
        self.note(Begin(time.time()))


def read_records(path: Path) -> list[Record]:
    """Return what was noted, without a last line that was cut off."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [_decoder.decode(line) for line in whole.splitlines()]
