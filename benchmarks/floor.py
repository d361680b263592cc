"""Floor: the least that uvicorn costs for a query: read the body, return bytes of the same length.

`python -m benchmarks.floor PORT ANSWERS`: ANSWERS is a JSON file of answers by their path.
"""

import json
import sys
from pathlib import Path
from typing import Any

from services.core.http.serving import listen, serve


def floor_app(answers: dict[str, bytes]) -> Any:  # noqa: ANN401 -- an ASGI app
    """Return an app that answers each path with its bytes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        more = True
        while more:
            more = (await receive())["more_body"]
        body = answers[scope["path"]]
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


if __name__ == "__main__":
    answers = json.loads(Path(sys.argv[2]).read_text())
    bodies = {path: answer.encode() for path, answer in answers.items()}
    serve(floor_app(bodies), listen("127.0.0.1", int(sys.argv[1])))
