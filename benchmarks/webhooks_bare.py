"""Webhooks bare: the least that sends webhooks, a loop on httpx.Client in each of some threads.

Started by benchmarks.webhooks_rate, with a JSON object as its argument. It renders and signs as
the worker does, and does nothing else: no claims, no records, no checks of addresses.
"""

import sys
import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import msgspec

from services.webhooks.delivery.payload import render_payload
from services.webhooks.delivery.signatures import signature_headers


class Task(msgspec.Struct):
    """What to send."""

    urls: list[str]
    secrets: list[str]
    threads: int
    sends: int  # of all threads together


def send(task: Task, endpoint: int, sends: int) -> None:
    """Send from one thread, all to one endpoint: httpx looks at every open connection each time."""
    url, secret = task.urls[endpoint], task.secrets[endpoint]
    now = datetime.now(UTC)
    data = f'{{"product_id":"BARE","quantity":100,"status":"in_stock","updated_at":"{now}"'
    with httpx.Client(trust_env=False) as client:
        for number in range(sends):
            event_id: UUID = uuid4()
            body = render_payload(
                event_id=event_id,
                event_type="inventory.updated",
                occurred_at=now,
                data=f'{data},"version":{number + 1}}}',
                retry_count=0,
            )
            headers = signature_headers(
                [secret],
                message_id=str(event_id),
                timestamp=int(now.timestamp()),
                body=body,
            )
            headers["Content-Type"] = "application/json"
            client.post(url, content=body, headers=headers).raise_for_status()


def main() -> None:
    """Send everything."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    sends = task.sends // task.threads
    threads = [
        threading.Thread(target=send, args=(task, number % len(task.urls), sends))
        for number in range(task.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
