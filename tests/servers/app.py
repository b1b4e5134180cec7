"""An ASGI application on loopback, served by uvicorn in a thread: what a client meets, sockets and all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


def listening_socket() -> socket.socket:
    """Bound already: whoever connects early waits in the queue, and nobody else gets the port.

    Said to be TCP's: for sockets that do not say so asyncio leaves it to the kernel to send small pieces late, 40 ms for each reply.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    made.listen(128)
    return made


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application's address, http://127.0.0.1:port; it answers at once."""
    with listening_socket() as listening:
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="uvicorn")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
