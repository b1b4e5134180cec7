"""A loopback stand-in for the read-aloud service of Microsoft Edge: a real websocket that speaks its messages, well and badly.

What belongs here: the wire as edge-tts reads it. What does not: which answer a test wants; it is scripted, one for each connection.

    with edge_server() as edge:
        edge.script(said([("Hello", 0.1, 0.4)], mp3), refused(429, Retry_After="3"))
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", edge.url)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

CHUNK = 700


@dataclass(frozen=True)
class Said:
    """words: (text, start, length) in seconds. cut: hang up after so many messages. messages: instead of all that, text frames as they are."""

    words: Sequence[tuple[str, float, float]] = ()
    sound: bytes = b""
    cut: int | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    messages: Sequence[str] = ()


def said(words: Sequence[tuple[str, float, float]], sound: bytes, *, cut: int | None = None) -> Said:
    return Said(words, sound, cut)


def refused(status: int, **headers: str) -> Said:
    """No websocket at all."""
    return Said(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


class ScriptedEdge:
    """`url` replaces edge_tts.communicate.WSS_URL. `asked`: the two messages of every connection that was let in."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.connections = 0
        self._script: list[Said] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/edge/v1?TrustedClientToken=x"

    def script(self, *answers: Said) -> None:
        """One for each connection in turn, the last one stays."""
        self._script = list(answers)

    def _next(self) -> Said:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def judge(self, connection: ServerConnection, _: Request) -> Response | None:
        self.connections += 1
        answer = self._next()
        connection.answer = answer  # type: ignore[attr-defined]
        if not answer.status:
            return None
        return Response(answer.status, HTTPStatus(answer.status).phrase, Headers({"Content-Length": "0", **answer.headers}), b"")

    def play(self, connection: ServerConnection) -> None:
        try:
            self.asked.append((str(connection.recv()), str(connection.recv())))
            for number, message in enumerate(_messages(connection.answer)):  # type: ignore[attr-defined]
                if number == connection.answer.cut:  # type: ignore[attr-defined]
                    return
                connection.send(message)
            for _ in connection:
                pass
        except ConnectionClosed:
            pass


def _messages(answer: Said) -> Iterator[str | bytes]:
    if answer.messages:
        yield from answer.messages
        return
    yield _text("turn.start", {})
    parts = [answer.sound[at : at + CHUNK] for at in range(0, len(answer.sound), CHUNK)]
    for number in range(max(len(parts), len(answer.words))):
        if number < len(answer.words):
            text, start, length = answer.words[number]
            told = {"Offset": round(start * 1e7), "Duration": round(length * 1e7), "text": {"Text": text, "Length": len(text), "BoundaryType": "WordBoundary"}}
            yield _text("audio.metadata", {"Metadata": [{"Type": "WordBoundary", "Data": told}]})
        if number < len(parts):
            head = b"X-RequestId:1\r\nContent-Type:audio/mpeg\r\nPath:audio\r\n"
            yield len(head).to_bytes(2, "big") + head + parts[number]
    yield _text("turn.end", {})


def _text(path: str, body: Any) -> str:
    return f"X-RequestId:1\r\nContent-Type:application/json; charset=utf-8\r\nPath:{path}\r\n\r\n{json.dumps(body)}"


@contextmanager
def edge_server() -> Iterator[ScriptedEdge]:
    """Run until the block ends."""
    edge = ScriptedEdge()
    with serve(edge.play, "127.0.0.1", 0, process_request=edge.judge, close_timeout=1) as server:
        edge.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield edge
        finally:
            server.shutdown()
            thread.join()
