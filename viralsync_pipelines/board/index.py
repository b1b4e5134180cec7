"""Every run of the engine by job, in memory: for finding a job's attempts, listing newest first, queue places and past durations.

What belongs here: keeping the index up with the engine. What does not: what a job looks like (folds.py).
All of it is read from the engine and can be read again at any time; it holds about 1 kB a run.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.board.sources import QUEUED, Query, RunFacts, RunSource
from viralsync_pipelines.jobs.eta import size_class

# A run changed by a process whose clock is behind, or whose transaction was long, is not missed: this much is read twice.
_OVERLAP_MS = 10_000
# Reads within this time share one look at the engine.
_FRESH_MS = 100
# Deleted runs are noticed by their number, which is not counted more often than this.
_COUNT_EVERY_MS = 1_000
_HISTORY = 50


@dataclass(slots=True)
class Entry:
    """A job's runs, its attempts in order."""

    job_id: str
    runs: list[RunFacts] = field(default_factory=list)

    @property
    def first(self) -> RunFacts:
        return self.runs[0]

    @property
    def last(self) -> RunFacts:
        return self.runs[-1]

    @property
    def key(self) -> tuple[int, str]:
        return self.first.created_ms, self.job_id


class Index:
    """The runs of `source`, kept up by `sync`, which every reading caller calls first."""

    def __init__(self, source: RunSource, now_ms: Callable[[], int]) -> None:
        self._source, self._now_ms = source, now_ms
        self._lock = threading.RLock()
        self._read_ms = self._counted_ms = 0
        self._clear()

    def _clear(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._order: list[tuple[int, str]] = []
        self._runs: dict[str, RunFacts] = {}
        self._queued: dict[str, RunFacts] = {}
        # By type and size class: when each run that succeeded ended, its id, and how long it took.
        self._history: dict[tuple[str, int], list[tuple[int, str, int]]] = defaultdict(list)
        self._since_ms: int | None = None

    def sync(self, *, force: bool = False) -> None:
        """Read what has changed. Not more often than ten times a second unless `force`."""
        with self._lock:
            now = self._now_ms()
            if not force and self._since_ms is not None and 0 <= now - self._read_ms < _FRESH_MS:
                return
            self._read_ms = now
            self._take(self._source.changed(self._since_ms))
            if now - self._counted_ms >= _COUNT_EVERY_MS or force:
                self._counted_ms = now
                if self._source.count() < len(self._runs):
                    # Read first, which takes long: other threads go on finding what was there.
                    every = self._source.changed(None)
                    self._clear()
                    self._take(every)

    def forget(self) -> None:
        """Drop everything; the next sync reads it again."""
        with self._lock:
            self._clear()

    def drop(self, job_id: str) -> None:
        """A job whose runs were deleted."""
        with self._lock:
            entry = self._entries.pop(job_id, None)
            if entry is not None:
                self._order.remove(entry.key)
                for run in entry.runs:
                    self._runs.pop(run.run_id, None)
                    self._queued.pop(run.run_id, None)
                    self._remember(run, gone=True)

    def _take(self, runs: list[RunFacts]) -> None:
        latest = self._since_ms or 0
        for run in runs:
            latest = max(latest, run.updated_ms - _OVERLAP_MS)
            self._put(run)
        self._since_ms = latest

    def _put(self, run: RunFacts) -> None:
        known = self._runs.get(run.run_id)
        if known == run:
            return
        entry = self._entries.get(run.job_id)
        if entry is None:
            entry = self._entries[run.job_id] = Entry(run.job_id, [run])
            insort(self._order, entry.key)
        else:
            before = entry.key
            runs = [each for each in entry.runs if each.run_id != run.run_id]
            entry.runs = sorted([*runs, run], key=lambda each: each.order)
            if entry.key != before:
                self._order.remove(before)
                insort(self._order, entry.key)
        self._runs[run.run_id] = run
        if run.status in QUEUED:
            self._queued[run.run_id] = run
        else:
            self._queued.pop(run.run_id, None)
        if known is not None:
            self._remember(known, gone=True)
        self._remember(run)

    def _remember(self, run: RunFacts, *, gone: bool = False) -> None:
        if run.status != "SUCCESS" or run.started_ms is None or run.ended_ms is None:
            return
        took = run.ended_ms, run.run_id, max(1, run.ended_ms - run.started_ms)
        for size in {size_class(run.size), size_class(None)}:
            known = self._history[run.type, size]
            if gone:
                known.remove(took)
            else:
                insort(known, took)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def entry(self, job_id: str) -> Entry | None:
        return self._entries.get(job_id)

    def newest(self, query: Query) -> Iterator[Entry]:
        """Top-level jobs that may fit, newest first, after query.before; their status is for the caller to judge."""
        with self._lock:
            place = bisect_left(self._order, query.before) if query.before is not None else len(self._order)
            # A copy: what is made or deleted meanwhile shifts places.
            keys = self._order[:place]
        for created_ms, job_id in reversed(keys):
            if query.from_ms is not None and created_ms < query.from_ms:
                return
            entry = self._entries.get(job_id)
            if entry is not None and _fits(entry, query):
                yield entry

    def children_of(self, job_id: str) -> list[Entry]:
        """Jobs whose runs say that they belong to another."""
        return [entry for entry in list(self._entries.values()) if entry.first.parent_id == job_id]

    def changed_since(self, since_ms: int) -> list[Entry]:
        """Jobs with a run that changed since then, oldest first."""
        found = {run.job_id for run in list(self._runs.values()) if run.updated_ms >= since_ms}
        return sorted((self._entries[job] for job in found if job in self._entries), key=lambda entry: entry.key)

    def active(self) -> list[Entry]:
        return [entry for entry in list(self._entries.values()) if not entry.last.ended]

    def place_in_queue(self, run: RunFacts) -> dict[str, Any] | None:
        """Position from 1, length and name of the queue a run stands in; None when it stands in none.

        The engine takes the highest priority first, and among equals the oldest.
        """
        if run.run_id not in self._queued:
            return None
        queue = sorted((-each.priority, each.order) for each in list(self._queued.values()) if each.queue == run.queue)
        return {"position": bisect_left(queue, (-run.priority, run.order)) + 1, "total": len(queue), "queueName": run.queue}

    def durations(self, job_type: str, size: int | None) -> list[int]:
        """How long the last finished jobs of this type and size took, in ms; of any size when there were fewer than three."""
        near = self._last(job_type, size_class(size))
        return near if len(near) >= 3 else self._last(job_type, size_class(None))

    def _last(self, job_type: str, size: int) -> list[int]:
        with self._lock:
            return [ms for _, _, ms in self._history.get((job_type, size), [])[-_HISTORY:]]


def _fits(entry: Entry, query: Query) -> bool:
    first = entry.first
    return (
        first.workspace == query.workspace
        and first.parent_id is None
        and query.wants_time(first.created_ms)
        and (query.project_id is None or first.project_id == query.project_id)
        and (query.channel is None or first.channel == query.channel)
    )
