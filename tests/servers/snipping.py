"""A wire that is cut at random: passes TCP on to a server on this machine, and breaks each connection off after some bytes of the answer,
in the middle of whatever was being said."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Snipper:
    """`cuts` counts the connections that were broken off. `merciful`: none is broken off any more."""

    def __init__(self, target: int, seed: int, fewest: int, most: int) -> None:
        self.cuts = 0
        self.merciful = False
        self._target, self._random = target, random.Random(seed)
        self._fewest, self._most = fewest, most
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
            thread = threading.Thread(target=self._serve, args=(client, self._random.randint(self._fewest, self._most)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, left: int) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            while not self._over.is_set():
                for side in select.select([client, server], [], [], 0.05)[0]:
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    if side is client:
                        server.sendall(data)
                        continue
                    if self.merciful or len(data) < left:
                        client.sendall(data)
                        left -= len(data)
                        continue
                    client.sendall(data[:left])
                    self.cuts += 1
                    if self._random.random() < 0.5:
                        # As when a cable is pulled: a reset, which may overtake what was sent.
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join(5)


@contextmanager
def snipped(port: int, *, seed: int, fewest: int = 300, most: int = 60_000) -> Iterator[Snipper]:
    """A wire to a port. Each connection is cut after `fewest` to `most` bytes of answer."""
    wire = Snipper(port, seed, fewest, most)
    try:
        yield wire
    finally:
        wire.close()
