"""A loopback receiver of callbacks in a thread, scripted to answer well or badly, that remembers what it was sent and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.servers.playing import PlayServer, playing

Behaviour = Callable[["Exchange"], None]


@dataclass
class Received:
    """One request. ended: None while it is being answered. at: seconds of the monotonic clock."""

    path: str
    headers: dict[str, str]
    body: bytes
    began: float
    ended: float | None = None

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayServer

    def do_POST(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.partition("?")[0]
        received = Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body, time.monotonic())
        with owner.lock:
            owner.received.append(received)
            script = owner.scripts.get(path, [answer(200)])
            behaviour = script.pop(0) if len(script) > 1 else script[0]
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the sender had enough, which is what some tests are about
        finally:
            received.ended = time.monotonic()

    def do_GET(self) -> None:
        with self.server.owner.lock:
            self.server.owner.followed.append(self.path)
        answer(200)(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def stop(self) -> threading.Event:
        return self.server.owner.stop


class Receiver:
    """`scripts`: path -> behaviours in turn, the last of which stays. `received`: every POST; `followed`: every GET, of which there
    should be none."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.scripts: dict[str, list[Behaviour]] = {}
        self.received: list[Received] = []
        self.followed: list[str] = []

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ids(self, path: str | None = None) -> list[str]:
        """Message ids in the order in which they came."""
        return [each.id for each in self.received if path is None or each.path == path]

    def most_at_once(self) -> int:
        """The greatest number of requests that were open at the same time."""
        marks = sorted([(each.began, 1) for each in self.received] + [(each.ended or float("inf"), -1) for each in self.received])
        most = now = 0
        for _, step in marks:
            now += step
            most = max(most, now)
        return most


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run until the block ends. Endless behaviours end with it."""
    with playing(Exchange, Receiver) as owner:
        yield owner


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    def play(x: Exchange) -> None:
        x.send_response(status)
        x.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            x.send_header(name.replace("_", "-"), value)
        x.end_headers()
        x.wfile.write(body)

    return play


def after(seconds: float, then: Behaviour) -> Behaviour:
    """Wait, or until the server ends."""

    def play(x: Exchange) -> None:
        x.stop.wait(seconds)
        then(x)

    return play


def silent(x: Exchange) -> None:
    """Take the request and never answer."""
    x.stop.wait()
    x.close_connection = True


def dripping_head(x: Exchange) -> None:
    """Headers that never end, a byte at a time."""
    x.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not x.stop.wait(0.02):
        x.wfile.write(b"a")
        x.wfile.flush()


def slow_body(x: Exchange) -> None:
    """200 at once, and then a body a byte at a time."""
    x.send_response(200)
    x.send_header("Content-Length", "1000000")
    x.end_headers()
    while not x.stop.wait(0.02):
        x.wfile.write(b"a")
        x.wfile.flush()


def huge_body(sent: list[int]) -> Behaviour:
    """200 with a body without an end; `sent` gets the number of bytes that were taken."""

    def play(x: Exchange) -> None:
        x.send_response(200)
        x.send_header("Connection", "close")
        x.end_headers()
        sent.append(0)
        while not x.stop.is_set():
            x.wfile.write(b"\0" * 65536)
            sent[-1] += 65536

    return play


def hang_up(x: Exchange) -> None:
    """Close the connection without a word."""
    x.close_connection = True


def unused_port() -> int:
    """A port nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
    return int(port)
