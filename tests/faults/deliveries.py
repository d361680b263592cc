"""Deliveries, broken: `python -m tests.faults.deliveries FAULT PROGRAM ...` loses some of them."""

import itertools
import os
import sys
from collections.abc import Mapping

from services.webhooks import entry
from services.webhooks.delivery.outcome import Answer, NoAnswer
from services.webhooks.delivery.sender import Sender
from tests.faults.builds import DROPPING, EVERY, EVERY_DELIVERY

_numbers = itertools.count(1)  # of the process's sends; next() is one step of the interpreter


class DroppingSender(Sender):
    """Says of one webhook in so many that it was delivered, and sends it nowhere."""

    every = EVERY_DELIVERY

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        """Send it, or only say so."""
        if next(_numbers) % self.every == 0:
            return Answer(200, None)
        return super().send(url, body, headers)


def main() -> None:
    """Run the programs that the command line names after the fault."""
    fault = sys.argv.pop(1)
    if fault != DROPPING.name:
        sys.exit(f"{fault} is no fault of deliveries")
    DroppingSender.every = int(os.environ.get(EVERY, EVERY_DELIVERY))
    entry.Sender = DroppingSender
    entry.main()


if __name__ == "__main__":
    main()
