"""`GET /v1/jobs/{id}/progress`: a job's changes as server-sent events, each with its number, replayed exactly after a cut.

What belongs here: the stream and its wording. What does not: following (hub.py), reading what was printed (output.py).
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from viralsync_pipelines.board.printed import Place
from viralsync_pipelines.errors import DatabaseError
from viralsync_pipelines.gateway.auth import Principal, still_welcome, viewer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.hub import Hub, Line
from viralsync_pipelines.gateway.output import place_of, read_lines
from viralsync_pipelines.gateway.shown import base_of, family_of, shown
from viralsync_pipelines.jobs.model import Change, Status

router = APIRouter(tags=["jobs"])
HEARTBEAT_S = 15.0
_RETRY_MS = 3_000
# A reader that takes nothing for so long is gone.
_SEND_TIMEOUT_S = 30
# When the server is to stop, a stream has so long to end in good order.
_GRACE_S = 2.0
_PRINTED_EVERY_S = 1.0
# So often a stream on which nothing happens asks whether its key is still good.
_ASKED_EVERY_S = 5.0
_ENDS: Mapping[Status, str] = {Status.DONE: "job.completed", Status.FAILED: "job.failed", Status.CANCELLED: "job.cancelled"}
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_FRAME = {
    "type": "object", "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["job.sync", "job.progress", "child.progress", "parent.updated", "job.started", *_ENDS.values(), "output"]},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "A JobObject; of `output` a line"},
        "id": {"type": "string", "description": "The change's number; none for output, and for job.sync when missed changes follow"},
        "retry": {"type": "integer"},
    },
}  # fmt: skip
_REPLIES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _FRAME}}, "description": "Events, until the job has ended"},
    204: {"description": "The job has ended, and all of it has been seen"},
    **documented(400, 404),
}


@router.get("/v1/jobs/{job_id}/progress", summary="A job's changes, live", response_class=EventSourceResponse, responses=_REPLIES)
async def progress(
    request: Request,
    job_id: str,
    principal: Annotated[Principal, Depends(viewer)],
    after: Annotated[int | None, Query(ge=0, le=2**53, description="Replay changes after this one; Last-Event-ID goes before it")] = None,
    output: Annotated[bool, Query(description="Also what steps print, as `output` events")] = True,
    outputCursor: Annotated[str | None, Query(max_length=20_000, description="Go on printing from here")] = None,
) -> Response:
    deps = deps_of(request)
    family = await asyncio.to_thread(family_of, deps, principal, job_id)
    seen = _last_seen(request, after)
    place = place_of(outputCursor) if output and outputCursor is not None else None
    own = family.job if family.job.id == job_id else family.children[job_id]
    if seen is not None and own.status.terminal and own.sequence <= seen <= family.sequence:
        # What tells a browser's EventSource to stop coming back.
        return Response(status_code=204, headers=_HEADERS)
    state = request.app.state
    stream = _Stream(deps, principal, state.hub, state.words, base_of(deps, request), family.job.id, job_id, output, place)
    events = stream.events(seen)
    return EventSourceResponse(
        events, headers=_HEADERS, ping=state.heartbeat_s, ping_message_factory=_heartbeat, send_timeout=_SEND_TIMEOUT_S,
        shutdown_grace_period=_GRACE_S,
    )  # fmt: skip


def _heartbeat() -> ServerSentEvent:
    # A comment, and no id: an id would move the place from which a reader goes on.
    return ServerSentEvent(comment="still here")


def _last_seen(request: Request, after: int | None) -> int | None:
    told = request.headers.get("last-event-id")
    if not told:
        return after
    if not (told.isascii() and told.isdecimal() and len(told) <= 15):
        raise Refused(400, "CURSOR_INVALID", "Last-Event-ID is no number that this stream gave; leave it out to begin with the job now")
    return int(told)


@dataclass
class _Stream:
    deps: Deps
    principal: Principal
    hub: Hub
    words: Words
    base: str
    root: str
    job_id: str
    printed: bool
    # Where a reader that was here before goes on with lines; one that is new shares the hub's.
    place: Place | None
    last: int = 0

    async def events(self, seen: int | None) -> AsyncIterator[ServerSentEvent | bytes]:
        """Subscribed first, read afterwards: a change in between is in both, and sent once."""
        subscription = self.hub.subscribe(self.root, printed=self.printed and self.place is None)
        try:
            family = await asyncio.to_thread(self.deps.board.family, self.root)
            if family is None:
                return
            self.last = family.sequence
            self.hub.catch_up(subscription, self.last)
            own = family.job if self.job_id == self.root else family.children.get(self.job_id, family.job)
            now = shown(self.deps, self.base, own)
            if seen is None or seen > self.last:
                # A number from another life of this job: what it is now is all that can be said.
                first = now if seen is None else {**now, "reset": True}
                if own.status.terminal:
                    # Who comes late hears of the end too, also when the wire is cut in between.
                    yield _event("job.sync", own.sequence - 1, first, first=True)
                    yield _event(_ENDS[own.status] if own.id == self.root else "child.progress", own.sequence, now)
                else:
                    yield _event("job.sync", self.last, first, first=True)
            else:
                yield _event("job.sync", None, now, first=True)
                for change in await asyncio.to_thread(self.deps.board.changes, self.root, seen):
                    if change.sequence <= self.last and self._mine(change):
                        yield self._worded(change)
            if own.status.terminal:
                async for line in self._lines(to_the_end=True):
                    yield line
                return
            async for event in self._live(subscription):
                yield event
        finally:
            self.hub.leave(subscription)

    async def _live(self, subscription: Any) -> AsyncIterator[ServerSentEvent | bytes]:
        read_s = time.monotonic()
        while True:
            batch = await subscription.next(_PRINTED_EVERY_S if self.place is not None else _ASKED_EVERY_S)
            if batch is None or not await still_welcome(self.deps, self.principal):
                return
            if not batch.changes and await self._is_gone():
                return
            new = [change for change in batch.changes if change.sequence > self.last]
            self.last = new[-1].sequence if new else self.last
            mine = [change for change in new if self._mine(change)]
            own = [change.job for change in mine if change.job.id == self.job_id]
            over = bool(own) and own[-1].status.terminal
            for line in self._own(batch.lines):
                yield _event("output", None, line)
            if over or time.monotonic() - read_s >= _PRINTED_EVERY_S:
                async for event in self._lines(to_the_end=over):
                    yield event
                read_s = time.monotonic()
            if mine:
                # In one piece: a line of progress makes two changes, and sending costs more than wording.
                yield b"".join(self._worded(change) for change in mine)
            if over:
                return

    async def _is_gone(self) -> bool:
        """Whether a job that a program reports was forgotten when its time was over; runs' jobs end before they can be deleted."""
        board = self.deps.board
        if board.known(self.root) is not None:
            return False
        try:
            return await asyncio.to_thread(board.root_of, self.root) is None
        except DatabaseError:
            # It cannot be told just now.
            return False

    def _own(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Those of a family's lines that this job printed; the last one bears the place from which all others come."""
        own = [line for line in lines if self.job_id in {self.root, line["jobId"]}]
        return own if not own or "cursor" in own[-1] else [*own[:-1], {**own[-1], "cursor": lines[-1]["cursor"]}]

    async def _lines(self, *, to_the_end: bool) -> AsyncIterator[ServerSentEvent | bytes]:
        """What was printed since, as much as one reading gives, or all of it."""
        while self.place is not None:
            before = self.place
            lines, after = await asyncio.to_thread(read_lines, self.deps, self.job_id, before)
            self.place = after
            if lines:
                lines[-1]["cursor"] = after.text()
            for line in lines:
                yield _event("output", None, line)
            if not to_the_end or after == before:
                return

    def _mine(self, change: Change) -> bool:
        return self.job_id in {self.root, change.job.id}

    def _worded(self, change: Change) -> bytes:
        return self.words.of(change, self.base, lambda: shown(self.deps, self.base, change.job))


@dataclass
class Words:
    """Changes as text, for all readers of one: wording one takes 0.1 ms, and ten watch the same job."""

    kept: OrderedDict[tuple[str, int, str], bytes] = field(default_factory=OrderedDict)

    def of(self, change: Change, base: str, shown_now: Any) -> bytes:
        key = (change.job.id, change.sequence, base)
        event = self.kept.get(key)
        if event is None:
            event = self.kept[key] = _event(change.name, change.sequence, shown_now()).encode()
            if len(self.kept) > 2_000:
                self.kept.popitem(last=False)
        return event


def _event(name: str, sequence: int | None, data: Mapping[str, Any], *, first: bool = False) -> ServerSentEvent:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return ServerSentEvent(data=text, event=name, id=None if sequence is None else str(sequence), retry=_RETRY_MS if first else None)
