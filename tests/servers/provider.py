"""A loopback provider of generated media in a thread, scripted: what it says to each request, and what it was asked.

What belongs here: HTTP, well and badly spoken. What does not: any provider's own fields, which stand in the tests of its adapter.

    with provider_server() as provider:
        provider.on("POST", "/v1/predictions", reply(201, {"id": "p1", "status": "starting"}))
        provider.on("GET", "/v1/predictions/*", reply(200, {...}), reply(503), hang())     # in turn, the last one stays
        ...
        assert provider.requests[0].json == {...}
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.servers.playing import PlayServer, playing
from viralsync_pipelines.generate.calls import Answer, Calls
from viralsync_pipelines.http import open_client


@dataclass(frozen=True)
class Request:
    """A request that came in. path: without the query. headers: lower-case names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """delay_s: before anything is said. cut: hang up after so many bytes of a body that was promised whole. drip_s: a byte at a time, with
    so long between them. silent: never a word. gone: the connection is closed without one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None
    drip_s: float | None = None
    silent: bool = False
    gone: bool = False


Script = Reply | Callable[[Request], Reply]


def reply(
    status: int = 200, body: Any = None, *, delay_s: float = 0.0, cut: int | None = None, drip_s: float | None = None, **headers: str
) -> Reply:
    """JSON; bytes as they are, and nothing for None. headers: by name with _ for -, such as Retry_After="3"."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    kind = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
    return Reply(status, data, kind | {name.replace("_", "-"): value for name, value in headers.items()}, delay_s, cut, drip_s)


def hang() -> Reply:
    """Take the request and never answer."""
    return Reply(silent=True)


def hang_up() -> Reply:
    """Close the connection without a word."""
    return Reply(gone=True)


@cache
def client() -> httpx.Client:
    """One for all tests: making it costs 37 ms, more than most of them. It reaches this machine alone."""
    return open_client(allow=("127.0.0.1",))


class HastyCalls(Calls):
    """Gives a provider a fifth of a second: for answers that never come to their end, and for nothing else."""

    def send(self, method: str, url: str, **more: Any) -> Answer:
        return super().send(method, url, **{**more, "seconds": 0.2})


class ScriptedProvider:
    """`url`: its base, without a slash at the end. `authority`: its host and port, for http.open_client(allow=...). `requests`: all, in turn.

    What nothing was scripted for is answered with 404.
    """

    def __init__(self, port: int) -> None:
        self.authority = f"127.0.0.1:{port}"
        self.url = f"http://{self.authority}"
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.requests: list[Request] = []
        self._scripts: list[tuple[str, str, list[Script]]] = []

    def on(self, method: str, path: str, *scripts: Script) -> None:
        """Answer these requests with the first, then the second, ...; the last one stays. path: exactly, or with `*` for anything,
        slashes too. What is said later about the same requests counts."""
        with self.lock:
            self._scripts.insert(0, (method, path, list(scripts)))

    def asked(self, method: str, path: str = "*") -> list[Request]:
        """The requests that fit, in turn."""
        with self.lock:
            return [each for each in self.requests if each.method == method and fnmatchcase(each.path, path)]

    def next(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            for method, path, scripts in self._scripts:
                if method == request.method and fnmatchcase(request.path, path):
                    script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
                    break
            else:
                return reply(404, {"detail": "nothing is scripted here"})
        return script if isinstance(script, Reply) else script(request)


@contextmanager
def provider_server() -> Iterator[ScriptedProvider]:
    """Run until the block ends. Endless replies end with it."""
    with playing(Exchange, ScriptedProvider) as owner:
        yield owner


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayServer

    def _do(self) -> None:
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, place.path, dict(parse_qsl(place.query)), headers, body)
        try:
            self._play(self.server.owner.next(request), self.server.owner.stop)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller had enough, which is what some tests are about

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def _play(self, told: Reply, stop: threading.Event) -> None:
        if told.silent:
            stop.wait()
        elif told.delay_s:
            stop.wait(told.delay_s)
        if told.silent or told.gone:
            self._hang_up()
            return
        self.send_response(told.status)
        for name, value in {"Content-Length": str(len(told.body)), **told.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        body = told.body if told.cut is None else told.body[: told.cut]
        for piece in [body] if told.drip_s is None else [body[n : n + 1] for n in range(len(body))]:
            self.wfile.write(piece)
            if told.drip_s is not None and stop.wait(told.drip_s):
                break
        if told.cut is not None:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass
