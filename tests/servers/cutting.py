"""A wire that can be cut: passes TCP on to a server on this machine, and loses a request or its answer when it is told to."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """`lose` is what happens to the next request: "" nothing, "request" it never arrives, "answer" it arrives and its answer is cut
    off, "hang" it arrives and the answer never comes. `requests` counts what clients sent."""

    def __init__(self, target: int) -> None:
        self.lose = ""
        self.requests = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        losing = ""
        with client, socket.create_connection(("127.0.0.1", self._target)) as server, suppress(OSError):
            while not self._over.is_set():
                for side in select.select([client, server], [], [], 0.05)[0]:
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    if side is server:
                        if losing == "answer":
                            return
                        if losing != "hang":
                            client.sendall(data)
                        continue
                    if data.startswith(b"POST "):
                        self.requests += 1
                        losing, self.lose = self.lose, ""
                        if losing == "request":
                            return
                    server.sendall(data)

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join(5)


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()
