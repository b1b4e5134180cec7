"""Families of reported jobs, folded from their events and kept: a reader takes in only what was reported since somebody last looked.

What belongs here: that, and the cache. What does not: who may report what (reported.py). Dropping the cache at any moment changes no
answer, only how long it takes.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import begin, fold
from viralsync_pipelines.jobs.model import Change, Job, JobEvent
from viralsync_pipelines.storage.reports import ReportedRow, ReportRow, events_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Changes kept of each family: a reader that lags further behind is given them from a new fold.
_RING = 500
# Of what was reported, as JSON. The family used last stays whatever its size.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FoldedReports:
    """A family after its `seq`-th event, and its latest changes. Threads share one, so nobody changes it."""

    family: Family
    created_ms: int
    seq: int
    changes: tuple[Change, ...]
    size: int

    def member(self, job_id: str) -> Job:
        """The job or child of this id. KeyError when there is none."""
        return self.family.job if self.family.job.id == job_id else self.family.children[job_id]


def taken(folded: FoldedReports | None, rows: Sequence[ReportRow]) -> tuple[FoldedReports, list[Change]]:
    """A family with the next events taken in, and the changes that they made. None: from its first event on."""
    events = [event_of(row) for row in rows]
    made: list[Change] = []
    before: tuple[Change, ...] = ()
    if folded is None:
        family, made = begin(events[0])
        created_ms, size = events[0].at_ms, 0
        events = events[1:]
    else:
        family, created_ms, before, size = folded.family.copy(), folded.created_ms, folded.changes, folded.size
    for event in events:
        made += fold(family, event)
    size += sum(len(row.data) for row in rows)
    return FoldedReports(family, created_ms, rows[-1].seq, (*before, *made)[-_RING:], size), made


def event_of(row: ReportRow) -> JobEvent:
    return JobEvent(row.kind, row.at_ms, "" if row.job_id == row.root_id else row.job_id, json.loads(row.data))


class ReportFolds:
    """Families that were asked for lately. Safe to share between threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, FoldedReports] = OrderedDict()
        self._size = 0

    def at(self, connection: Connection, root: ReportedRow) -> FoldedReports:
        """The family of `root` as this transaction sees it, or newer."""
        return self.several(connection, {root.id: root})[root.id]

    def several(self, connection: Connection, roots: Mapping[str, ReportedRow]) -> dict[str, FoldedReports]:
        """Several families, their events read by one query."""
        found = {root_id: self._known(root) for root_id, root in roots.items()}
        behind = {root_id: kept.seq if kept is not None else 0 for root_id, kept in found.items()}
        behind = {root_id: seq for root_id, seq in behind.items() if seq < roots[root_id].last_seq}
        for root_id, rows in events_of(connection, behind).items():
            found[root_id] = folded = taken(found[root_id], rows)[0]
            self.keep(root_id, folded)
        return {root_id: folded for root_id, folded in found.items() if folded is not None}

    def keep(self, root_id: str, folded: FoldedReports) -> None:
        """To be called when what was folded is committed."""
        with self._lock:
            old = self._kept.pop(root_id, None)
            if old is not None:
                self._size -= old.size
                if old.created_ms == folded.created_ms and old.seq > folded.seq:
                    folded = old
            self._kept[root_id] = folded
            self._size += folded.size
            while self._size > self._most_bytes and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].size

    def forget(self, root_id: str | None = None) -> None:
        """Drop what is kept, of one family or of all."""
        with self._lock:
            for each in [root_id] if root_id is not None else list(self._kept):
                old = self._kept.pop(each, None)
                self._size -= old.size if old is not None else 0

    def _known(self, root: ReportedRow) -> FoldedReports | None:
        with self._lock:
            kept = self._kept.get(root.id)
            if kept is None or kept.created_ms != root.created_ms:
                # Another job had this id, and was deleted.
                return None
            self._kept.move_to_end(root.id)
            return kept
