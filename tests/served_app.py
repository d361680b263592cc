"""An app of a service in this process, for tests that change what its composition root fixes."""

import contextlib
from collections.abc import Generator
from threading import Thread

import uvicorn
from litestar.types import ASGIApp

from services.core.http.protocol import ServiceProtocol
from services.core.http.serving import listen
from tools.waiting import DEADLINE, wait_for


@contextlib.contextmanager
def served(app: ASGIApp) -> Generator[str]:
    """Serve an app for the length of a with block; give its address. It has ended afterwards."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        lifespan="on",
        log_config=None,
        access_log=False,
        http=ServiceProtocol,
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), "a start")
        assert server.started, "it did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()
        assert not thread.is_alive(), "it does not end"
