"""A scripted HTTP server on loopback in a thread: what api.py and receiver.py have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar


class Owner(Protocol):
    """Whose script is played. stop: ends whatever waits."""

    stop: threading.Event


Whose = TypeVar("Whose", bound=Owner)


class PlayServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: Any

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # broken connections are part of the play


@contextmanager
def playing(exchange: type[BaseHTTPRequestHandler], owner_at: Callable[[int], Whose]) -> Iterator[Whose]:
    """Run until the block ends. owner_at: makes the owner for a port."""
    server = PlayServer(("127.0.0.1", 0), exchange)
    server.owner = owner = owner_at(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        owner.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
