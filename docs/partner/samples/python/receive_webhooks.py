"""Receive webhooks: verify each, take it once, and never go back to an older version.

python receive_webhooks.py stock.db    (without a file, it remembers until it ends)
"""

import os
import re
import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from partner_inventory import Event, NotGenuineError, key_of, verify

LARGEST = 64 * 1024  # bytes of a body; an event has less than 1,000
# Keep event ids for 8 days or longer: we can send an event again for 7.
TABLES = """
CREATE TABLE IF NOT EXISTS events (
    event_id TEXT PRIMARY KEY, received_at TEXT DEFAULT (datetime())
);
CREATE TABLE IF NOT EXISTS received_stock (
    product_id TEXT PRIMARY KEY, quantity INTEGER NOT NULL, version INTEGER NOT NULL
);
"""
# Events of one change have one version: an equal one is not older.
TAKE = """
INSERT INTO received_stock VALUES (?, ?, ?)
ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity, version = excluded.version
WHERE excluded.version >= received_stock.version
"""


class Inbox:
    """What has arrived. Each event is stored in one transaction, before it is answered."""

    def __init__(self, file: str) -> None:
        """Open the tables."""
        self._database = sqlite3.connect(file, check_same_thread=False)
        self._database.executescript(TABLES)
        self._one_at_a_time = threading.Lock()

    def close(self) -> None:
        """Close the tables."""
        self._database.close()

    def take(self, event: Event) -> str:
        """Store an event; return what became of it, in words."""
        with self._one_at_a_time, self._database as database:
            added = database.execute(
                "INSERT OR IGNORE INTO events (event_id) VALUES (?)", [event.event_id]
            )
            if added.rowcount == 0:
                return f"duplicate: {event.event_type} {event.event_id}"
            item = event.item
            if item is None:  # a ping, or a type that is newer than this program
                return event.event_type
            newer = database.execute(TAKE, [item.product_id, item.quantity, item.version])
            if newer.rowcount == 0:
                return f"older: {event.event_type} {item.product_id}"
            return f"{event.event_type} {item.product_id} {item.quantity}"


class Receiver(ThreadingHTTPServer):
    """A server for POST /hooks/stock. `secrets` are one, or two while you change them."""

    daemon_threads = True

    def __init__(self, port: int, secrets: list[str], inbox: Inbox) -> None:
        """Listen on a port of this machine; 0 takes a free one. Raises ValueError for no secret."""
        for secret in secrets:
            key_of(secret)
        super().__init__(("127.0.0.1", port), Handler)
        self.secrets = secrets
        self.inbox = inbox


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = 10  # seconds that a caller may take to send its request

    def do_POST(self) -> None:
        """Verify an event, store it, then answer."""
        self.send_response(self.status())
        self.end_headers()

    def status(self) -> int:
        """Return the status to answer with."""
        receiver = cast("Receiver", self.server)
        length = self.headers.get("Content-Length", "")
        if self.path != "/hooks/stock":
            return 404
        if not re.fullmatch("[0-9]{1,9}", length):
            return 411
        if int(length) > LARGEST:
            return 413
        body = self.rfile.read(int(length))
        try:
            event = verify(body, dict(self.headers.items()), receiver.secrets)
        except NotGenuineError as exc:
            print(f"refused: {exc}", flush=True)
            return 401
        print(receiver.inbox.take(event), flush=True)
        return 204

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Say nothing: what arrives is told."""


def main() -> None:
    """Receive until the program is ended."""
    names = ("WEBHOOK_SECRET", "WEBHOOK_SECRET_NEXT")
    secrets = [os.environ[name] for name in names if os.environ.get(name)]
    if not secrets:
        sys.exit("set WEBHOOK_SECRET")
    file = sys.argv[1] if len(sys.argv) > 1 else ":memory:"
    with (
        closing(Inbox(file)) as inbox,
        Receiver(int(os.environ.get("PORT", "9000")), secrets, inbox) as receiver,
    ):
        print(f"listening on port {receiver.server_address[1]}", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
