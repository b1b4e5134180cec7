"""A reader of event streams as browsers have it (EventSource), with a wire that can be cut at any byte.

What belongs here: frames, the last event id, coming back. What does not: what the events should be.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx


@dataclass(frozen=True)
class Frame:
    """A block of the stream as it came. id: None when it has none. comment: of a block that is one."""

    event: str
    id: str | None
    data: str
    retry: str | None
    comment: str | None

    @property
    def job(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found


def frames(pieces: Iterator[bytes]) -> Iterator[Frame]:
    """Whole blocks only: one that was cut off was never dispatched."""
    kept = b""
    for piece in pieces:
        kept += piece
        while (end := kept.find(b"\r\n\r\n")) >= 0:
            block, kept = kept[:end].decode(), kept[end + 4 :]
            fields: dict[str, list[str]] = {}
            for line in block.split("\r\n"):
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))

            def one(name: str, fields: dict[str, list[str]] = fields) -> str | None:
                return fields[name][-1] if name in fields else None

            yield Frame(one("event") or "message", one("id"), "\n".join(fields.get("data", [])), one("retry"), one(""))


@dataclass
class Reader:
    """Follows one job over as many connections as it takes. by_query: comes back by ?after= in place of Last-Event-ID.

    changes: (sequence, event) of all but job.sync. lines: output up to the last cursor, `tentative` those after it.
    """

    path: str
    by_query: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    last: str | None = None
    cursor: str | None = None
    got: list[Frame] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    tentative: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    connections: int = 0

    def connect(self, client: httpx.Client, cut: int | None = None, *, most: int | None = None) -> None:
        """Read until the stream ends, or `cut` bytes have come, or `most` frames."""
        headers, params = {}, dict(self.params)
        self.tentative = []
        if self.cursor is not None:
            params["outputCursor"] = self.cursor
        if self.last is not None and self.by_query:
            params["after"] = self.last
        elif self.last is not None:
            headers["Last-Event-ID"] = self.last
        with client.stream("GET", self.path, headers=headers, params=params) as answer:
            self.status = answer.status_code
            self.connections += 1
            for frame in islice(frames(_until_cut(answer.iter_raw(), cut)), most):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        self.got.append(frame)
        if frame.id is not None:
            self.last = frame.id
        if frame.event == "output":
            line = frame.job
            cursor = line.pop("cursor", None)
            self.tentative.append(line)
            if cursor is not None:
                self.cursor = cursor
                self.lines += self.tentative
                self.tentative = []

    @property
    def syncs(self) -> list[Frame]:
        return [frame for frame in self.got if frame.event == "job.sync"]

    @property
    def changes(self) -> list[Frame]:
        return [frame for frame in self.got if frame.comment is None and frame.event not in {"job.sync", "output"} and frame.data]

    @property
    def sequences(self) -> list[int]:
        return [int(frame.id or -1) for frame in self.changes]

    @property
    def ended(self) -> bool:
        return self.status == 204 or any(frame.event in {"job.completed", "job.failed", "job.cancelled"} for frame in self.got[-1:])


def _until_cut(pieces: Iterator[bytes], cut: int | None) -> Iterator[bytes]:
    left = cut
    for piece in pieces:
        if left is not None and len(piece) >= left:
            yield piece[:left]
            return
        if left is not None:
            left -= len(piece)
        yield piece
