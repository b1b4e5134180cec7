"""A loopback HTTP server in a thread that answers as the gateway does, or as it would on a bad day: by a script.

Streams are written by hand, chunk by chunk, so that a test may cut one at any byte.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.playing import PlayServer, playing

Behaviour = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Exchange(BaseHTTPRequestHandler):
    """One request, `asked`, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    server: PlayServer
    asked: Asked

    def _do(self) -> None:
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.asked = Asked(self.command, place.path, dict(parse_qsl(place.query)), headers, json.loads(body) if body else None)
        owner = self.server.owner
        owner.asked.append(self.asked)
        behaviour = owner.routes.get(f"{self.command} {place.path}", answer(404, {"error": "no such thing", "code": "JOB_NOT_FOUND"}))
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = _do

    def log_message(self, format: str, *args: object) -> None:
        pass

    def say(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def open_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end_stream(self) -> None:
        """In good order; a stream that is cut just closes the connection."""
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Api:
    """`routes` maps "GET /v1/jobs" to a behaviour and may be changed at any time; `asked` lists requests; `stop` ends what waits."""

    def __init__(self, port: int) -> None:
        self.routes: dict[str, Behaviour] = {}
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{port}"
        self.stop = threading.Event()


@contextmanager
def api_server() -> Iterator[Api]:
    with playing(Exchange, Api) as owner:
        yield owner


def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# ---- behaviours ------------------------------------------------------------------------------------------------------


def answer(status: int, body: Any = None, **headers: str) -> Behaviour:
    """JSON, or nothing for None; bytes as they are."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    def play(x: Exchange) -> None:
        x.say(status, data, Content_Type="application/json", **headers)

    return play


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request gets the first, and so on; the last one stays."""
    left = list(behaviours)

    def play(x: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(x)

    return play


def hang_up(x: Exchange) -> None:
    """No answer at all."""
    x.hang_up()


# ---- jobs and their streams ------------------------------------------------------------------------------------------

JOB = "job_a1b2c3d4e5f6"
STATUSES = ("queued", "running", "waiting", "done", "failed", "cancelled")


def job(status: str = "running", progress: float = 0.5, job_id: str = JOB, **more: Any) -> dict[str, Any]:
    """A job object with every field of the wire."""
    return {
        "jobId": job_id, "type": "render.movie", "status": status, "phase": None, "progress": progress, "parentJobId": None,
        "outputUrl": None, "error": None, "mediaData": None, "payload": {}, "children": None, "createdAt": "2026-04-02T10:00:00.000Z",
        "updatedAt": "2026-04-02T10:00:08.432Z", "title": None, "childIndex": None, "childProgressMode": None, "result": None,
        "stage": None, "message": "", "queue": None, "eta": None, "estimatedCompletionAt": None, "attempt": 1, "attempts": [],
        "retryAt": None, "cancelRequestedAt": None, "sequence": 1, "startedAt": None, "finishedAt": None, "links": {}, **more,
    }  # fmt: skip


@dataclass(frozen=True)
class Told:
    """The `sequence`-th change, as the gateway would send it."""

    sequence: int
    name: str
    job: dict[str, Any]

    def frame(self, *, bare: bool = False) -> bytes:
        number = "" if bare else f"id: {self.sequence}\n"
        return f"event: {self.name}\n{number}data: {json.dumps(self.job)}\n\n".encode()


def history(length: int, end: str = "done", job_id: str = JOB) -> list[Told]:
    """A whole life in so many changes, the last one terminal; every third is a child's."""
    told = []
    for n in range(1, length):
        if n % 3 == 0:
            told.append(Told(n, "child.progress", job("running", n / length, f"scene_{job_id}_001", parentJobId=job_id, sequence=n)))
        else:
            told.append(Told(n, "job.started" if n == 1 else "job.progress", job("running", n / length, job_id, sequence=n)))
    name = {"done": "job.completed", "failed": "job.failed", "cancelled": "job.cancelled"}[end]
    return [*told, Told(length, name, job(end, 1.0 if end == "done" else 0.9, job_id, sequence=length))]


@dataclass(frozen=True)
class Cut:
    """How one connection ends: at `share` of its bytes (1 or more: not at all). now: how far the job is when it begins, as a share of its
    history. sync: whether a client that comes back is told where the job
    stands before what it missed: "" not at all, "bare" as the gateway does, without an id, "id" with that of the last change. piece: bytes in a chunk. clean: in good order, as a server does that is shut down."""

    share: float = 1.0
    now: float = 1.0
    sync: str = "bare"
    piece: int = 4096
    clean: bool = False


class Stream:
    """The gateway's /progress of a job: a snapshot for who is new, what was missed for who comes back, then the rest; 204 in the end.

    Each connection takes the next of `cuts`; after the last, none is cut. `snapshots` lists the sequences of snapshots that newcomers got.
    """

    def __init__(self, told: Sequence[Told], cuts: Sequence[Cut] = (), *, retry_ms: int | None = 3000) -> None:
        self.told, self.cuts, self.retry_ms = list(told), list(cuts), retry_ms
        self.snapshots: list[int] = []
        self._reached = 1

    def __call__(self, x: Exchange) -> None:
        cut = self.cuts.pop(0) if self.cuts else Cut()
        self._reached = max(self._reached, min(len(self.told), int(cut.now * len(self.told))))
        known = x.asked.headers.get("last-event-id") or x.asked.query.get("after")
        if known is not None and int(known) >= len(self.told):
            x.send_response(204)
            x.end_headers()
            return
        head = b"" if self.retry_ms is None else f"retry: {self.retry_ms}\n\n".encode()
        snapshot = self.snapshot()
        if known is None and snapshot.job["status"] in {"done", "failed", "cancelled"}:
            # Who comes late hears of the end too.
            snapshot = replace(snapshot, sequence=snapshot.sequence - 1)
        if known is None:
            self.snapshots.append(snapshot.sequence)
            frames = [snapshot.frame(), *(t.frame() for t in self.told[snapshot.sequence :])]
        else:
            sync = {"": [], "bare": [snapshot.frame(bare=True)], "id": [snapshot.frame()]}[cut.sync]
            frames = [*sync, *(t.frame() for t in self.told[int(known) :])]
        data = head + b": here\n\n".join(frames)
        sent = data[: int(len(data) * cut.share)]
        x.open_stream()
        for start in range(0, len(sent), cut.piece):
            x.chunk(sent[start : start + cut.piece])
        if len(sent) < len(data) and not cut.clean:
            x.hang_up()
        else:
            x.end_stream()

    def snapshot(self) -> Told:
        """The job itself as it stands now, under the number of the family's last change."""
        own = [t for t in self.told[: self._reached] if t.name != "child.progress"][-1]
        return Told(self._reached, "job.sync", own.job)


def stalling(frames: Sequence[bytes]) -> Behaviour:
    """Frames, and then silence on a connection that stays open."""

    def play(x: Exchange) -> None:
        x.open_stream()
        for frame in frames:
            x.chunk(frame)
        x.server.owner.stop.wait(30)

    return play


def beating(first: bytes, last: bytes, *, every_s: float, beats: int) -> Behaviour:
    """A frame, heartbeats, a frame, the end."""

    def play(x: Exchange) -> None:
        x.open_stream()
        x.chunk(first)
        for _ in range(beats):
            time.sleep(every_s)
            x.chunk(b": heartbeat\n\n")
        x.chunk(last)
        x.end_stream()

    return play
