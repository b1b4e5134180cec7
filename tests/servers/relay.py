"""A wire on this machine: passes TCP on to a server, as long as whoever stands in it (cutting.py, snipping.py) lets it through."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress


class Relay:
    """Accepts on `port`, and gives each connection to `_serve` in a thread of its own."""

    def __init__(self, target: int) -> None:
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
            thread = threading.Thread(target=self._connect, args=(client, self._fate()), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self, client: socket.socket, fate: int) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            self._serve(client, server, fate)

    def _fate(self) -> int:
        """What is drawn for a connection, in the order in which they come."""
        return 0

    def _serve(self, client: socket.socket, server: socket.socket, fate: int) -> None:
        raise NotImplementedError

    def _said(self, client: socket.socket, server: socket.socket) -> Iterator[tuple[bool, bytes]]:
        """What comes, and whether the client said it; until a side is gone or the wire is closed."""
        while not self._over.is_set():
            for side in select.select([client, server], [], [], 0.05)[0]:
                data = side.recv(1 << 16)
                if not data:
                    return
                yield side is client, data

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join(5)
