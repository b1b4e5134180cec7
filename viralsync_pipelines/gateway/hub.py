"""One follower for all jobs that anybody watches: looks for changes ten times a second, and hands each to everyone who waits for it.

What belongs here: waiting and handing out. What does not: how a change is worded (stream.py), where it comes from (board/).
A reader that is too slow is dropped, and comes back by the number of the last change it saw; nothing is kept for it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from viralsync_pipelines.board.printed import Place
from viralsync_pipelines.jobs.model import Change

log = logging.getLogger(__name__)
# A change is delayed by up to this; a look that finds nothing costs some 2 ms of CPU for 50 jobs.
INTERVAL_S = 0.1
# Steps print a line a second.
_PRINTED_EVERY = 8
# A job that ends is read to its end, and one that somebody begins to listen to, as far as this goes in one turn.
_MOST_READINGS = 64
# Changes and lines that a reader may be behind: 200 scenes report once a second each.
MOST_WAITING = 1_000
# More than any job's changes: a new reader's job is not read from anywhere yet.
_NOWHERE = 2**53

Poll = Callable[[Collection[str], Mapping[str, int]], dict[str, list[Change]]]
Line = Mapping[str, Any]
ReadLines = Callable[[str, Place], tuple[list[dict[str, Any]], Place]]


@dataclass(frozen=True)
class Batch:
    """What has come for a reader, in its order: lines were printed before the changes were made."""

    changes: Sequence[Change] = ()
    lines: Sequence[Line] = ()


@dataclass(frozen=True)
class _Reached:
    """How far a family's lines were read. now: everything was, once; what comes after that is new."""

    place: Place = field(default_factory=Place)
    now: bool = False


@dataclass(eq=False)
class Subscription:
    """One reader of one family. printed: it wants lines too."""

    root: str
    printed: bool = False
    queue: asyncio.Queue[Batch | None] = field(default_factory=asyncio.Queue)
    waiting: int = 0

    async def next(self, timeout_s: float | None = None) -> Batch | None:
        """The next batch; an empty one when nothing came in time; None when the stream is to end."""
        try:
            batch = await asyncio.wait_for(self.queue.get(), timeout_s)
        except TimeoutError:
            return Batch()
        if batch is not None:
            self.waiting -= len(batch.changes) + len(batch.lines)
        return batch


class Hub:
    """poll: new changes of many families at once (Board.poll). read_lines: what a family has printed since. Both run in a thread.

    stopping: whether the server is to stop, which waits for its streams to end.
    """

    def __init__(
        self, poll: Poll, read_lines: ReadLines, interval_s: float = INTERVAL_S, *, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._poll, self._read_lines, self._interval_s, self._stopping = poll, read_lines, interval_s, stopping
        self._readers: dict[str, set[Subscription]] = defaultdict(set)
        self._seen: dict[str, int] = {}
        self._places: dict[str, _Reached] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def streams(self) -> int:
        return sum(len(readers) for readers in self._readers.values())

    @property
    def watched(self) -> int:
        return len(self._readers)

    def subscribe(self, root: str, *, printed: bool = False) -> Subscription:
        """Subscribe first, then read the family and tell `catch_up` how far that went: so nothing falls in between."""
        subscription = Subscription(root, printed)
        if self._closed:
            subscription.queue.put_nowait(None)
            return subscription
        self._readers[root].add(subscription)
        self._seen.setdefault(root, _NOWHERE)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        return subscription

    def catch_up(self, subscription: Subscription, sequence: int) -> None:
        """The reader knows everything up to `sequence`; it may be handed a change twice, which it tells by the number."""
        root = subscription.root
        self._seen[root] = min(sequence, self._seen.get(root, sequence))

    def leave(self, subscription: Subscription) -> None:
        readers = self._readers.get(subscription.root)
        if readers is not None:
            readers.discard(subscription)
            if not readers:
                del self._readers[subscription.root]
                self._seen.pop(subscription.root, None)
                self._places.pop(subscription.root, None)

    async def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._end_all()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _end_all(self) -> None:
        self._closed = True
        for readers in list(self._readers.values()):
            for reader in readers:
                reader.queue.put_nowait(None)

    async def _follow(self) -> None:
        failures, turn = 0, 0
        while self._readers:
            turn += 1
            if self._stopping():
                self._end_all()
                return
            try:
                found = await asyncio.to_thread(self._poll, list(self._readers), dict(self._seen))
                ending = {root for root, changes in found.items() if changes and changes[-1].job.status.terminal}
                # Each job in a turn of its own: read all in one, 50 would hold changes up: 2 ms of CPU each.
                due = {root for root in self._readers if (turn + crc32(root.encode())) % _PRINTED_EVERY == 0}
                lines = await self._printed(due | ending, ending)
                failures = 0
            except Exception:
                # The database is away, say. Streams stay open and go on when it is back.
                failures += 1
                log.exception("looking for changes failed; trying again")
                await asyncio.sleep(min(5.0, self._interval_s * 2**failures))
                continue
            for root in {*found, *lines}:
                self._hand_out(root, found.get(root, []), lines.get(root, []))
            await asyncio.sleep(self._interval_s)

    async def _printed(self, roots: Collection[str], ending: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        wanted = [root for root in roots if any(reader.printed for reader in self._readers.get(root, ()))]
        return await asyncio.to_thread(self._read_all, wanted, ending) if wanted else {}

    def _read_all(self, roots: Sequence[str], ending: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        found = {}
        for root in roots:
            behind = self._places.get(root, _Reached())
            readings = _MOST_READINGS if root in ending or not behind.now else 1
            lines, reached = self._read(root, behind.place, readings)
            # What was printed before anybody listened is at /output.
            self._places[root] = _Reached(reached.place, behind.now or reached.now)
            if lines and behind.now:
                lines[-1]["cursor"] = reached.place.text()
                found[root] = lines
        return found

    def _read(self, root: str, place: Place, readings: int) -> tuple[list[dict[str, Any]], _Reached]:
        found: list[dict[str, Any]] = []
        for _ in range(readings):
            lines, after = self._read_lines(root, place)
            if after == place:
                return found, _Reached(place, True)
            found += lines
            place = after
        return found, _Reached(place, False)

    def _hand_out(self, root: str, changes: Sequence[Change], lines: Sequence[Line]) -> None:
        if root not in self._readers:
            return
        if changes:
            self._seen[root] = max(self._seen.get(root, 0), changes[-1].sequence)
        for reader in list(self._readers[root]):
            batch = Batch(changes, lines if reader.printed else ())
            size = len(batch.changes) + len(batch.lines)
            # However much comes at once, who has taken all that was before is not slow.
            if reader.waiting and reader.waiting + size > MOST_WAITING:
                reader.queue.put_nowait(None)
                self.leave(reader)
            elif size:
                reader.waiting += size
                reader.queue.put_nowait(batch)
