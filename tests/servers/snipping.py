"""A wire that is cut at random: passes TCP on to a server on this machine, and breaks each connection off after some bytes of the answer,
in the middle of whatever was being said."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.relay import Relay


class Snipper(Relay):
    """`cuts` counts the connections that were broken off. `merciful`: none is broken off any more."""

    def __init__(self, target: int, seed: int, fewest: int, most: int) -> None:
        self.cuts = 0
        self.merciful = False
        self._random = random.Random(seed)
        self._fewest, self._most = fewest, most
        super().__init__(target)

    def _fate(self) -> int:
        return self._random.randint(self._fewest, self._most)

    def _serve(self, client: socket.socket, server: socket.socket, fate: int) -> None:
        left = fate
        for by_client, data in self._said(client, server):
            if by_client:
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


@contextmanager
def snipped(port: int, *, seed: int, fewest: int = 300, most: int = 60_000) -> Iterator[Snipper]:
    """A wire to a port. Each connection is cut after `fewest` to `most` bytes of answer."""
    wire = Snipper(port, seed, fewest, most)
    try:
        yield wire
    finally:
        wire.close()
