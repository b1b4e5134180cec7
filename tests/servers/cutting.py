"""A wire that can be cut: passes TCP on to a server on this machine, and loses a request or its answer when it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.relay import Relay


class Wire(Relay):
    """`lose` is what happens to the next request: "" nothing, "request" it never arrives, "answer" it arrives and its answer is cut
    off, "hang" it arrives and the answer never comes. `requests` counts what clients sent."""

    def __init__(self, target: int) -> None:
        self.lose = ""
        self.requests = 0
        super().__init__(target)

    def _serve(self, client: socket.socket, server: socket.socket, fate: int) -> None:
        losing = ""
        for by_client, data in self._said(client, server):
            if not by_client:
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


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()
