"""Jobs of runs, folded to now: read on from where the last reader stopped, keep what has ended, never fold the same event twice.

What belongs here: folding attempts in order, the caches in memory and in the database. What does not: which runs a job has (index.py).
Dropping either cache at any moment changes no answer, only how long it takes.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from viralsync_pipelines.board.index import Entry
from viralsync_pipelines.board.sources import RunFacts, RunSource
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import VERSION, begin, fold
from viralsync_pipelines.jobs.model import Change, JobEvent

# Changes kept of a job that is followed: a reader that lags further behind is given them from a new fold.
_RING = 1_000
_KEPT_JOBS = 400
# With all those at work.
_MOST_KEPT = 2_000


class Snapshots(Protocol):
    """Ended families, kept over restarts (storage/snapshots.py)."""

    def load(self, job_ids: Sequence[str], version: int) -> Mapping[str, tuple[str, bytes]]: ...

    def save(self, rows: Iterable[tuple[str, str, bytes]], version: int) -> None: ...


class Folded:
    """One job's family and how far it has been read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.family: Family | None = None
        self.changes: deque[Change] = deque(maxlen=_RING)
        # Place among the job's runs, and in that run's log.
        self.attempt = 0
        self.cursor: str | None = None
        self.mark: object = None
        self.over = False
        # The runs taken in so far, that of `attempt` the last.
        self.runs: list[str] = []

    def read(self, entry: Entry, source: RunSource, marks: Mapping[str, object] | None = None) -> list[Change]:
        """Take in what is new; the changes that it made. An attempt is read only once the one before has ended: so the order of
        events, and with it every change's number, is the same for all readers."""
        made: list[Change] = []
        runs = entry.runs
        with self.lock:
            if self.runs != [run.run_id for run in runs[: len(self.runs)]]:
                self._start_over()
            try:
                while self.attempt < len(runs):
                    run = runs[self.attempt]
                    self._begin(run, made)
                    if not self.over:
                        self._read_run(run, source, marks, made)
                    if not self.over or self.attempt + 1 == len(runs):
                        break
                    self.attempt, self.cursor, self.mark, self.over = self.attempt + 1, None, None, False
            finally:
                # Also when the source fails in the middle: what was folded is not folded again.
                self.changes.extend(made)
        return made

    def _start_over(self) -> None:
        """A run that was taken in is not there any more, or another came to light before it."""
        # The old family stays until the new one is there: others look at it without the lock.
        self.attempt, self.cursor, self.mark, self.over = 0, None, None, False
        self.runs.clear()
        self.changes.clear()

    def knows_end(self, entry: Entry) -> bool:
        """Whether everything is read, for as long as the job is not tried again."""
        return self.over and self.runs == [run.run_id for run in entry.runs]

    def _begin(self, run: RunFacts, made: list[Change]) -> None:
        if self.attempt < len(self.runs):
            return
        first = not self.runs
        self.runs.append(run.run_id)
        event = run.as_event()
        if first or self.family is None:
            self.family, changes = begin(event)
            made += changes
        else:
            made += fold(self.family, event)

    def _read_run(self, run: RunFacts, source: RunSource, marks: Mapping[str, object] | None, made: list[Change]) -> None:
        family = self.family
        assert family is not None  # noqa: S101 - _begin made it
        mark = (marks if marks is not None and run.run_id in marks else source.marks([run.run_id])).get(run.run_id)
        if mark is not None and mark == self.mark and not run.ended:
            return
        while True:
            page = source.events(run.run_id, self.cursor)
            self.cursor = page.cursor
            for event in page.events:
                made += fold(family, event)
            if not page.more:
                break
        self.mark = mark
        if run.ended and not family.job.status.terminal:
            # Its end is in the run's record alone, as when its log was cut off.
            made += fold(family, _end_of(run))
        self.over = family.job.status.terminal


def _end_of(run: RunFacts) -> JobEvent:
    kinds = {"SUCCESS": "run.succeeded", "FAILURE": "run.failed", "CANCELED": "run.canceled"}
    return JobEvent(kinds[run.status], run.ended_ms or run.updated_ms)


class Folds:
    """Every job that was asked for lately, folded."""

    def __init__(self, source: RunSource, snapshots: Snapshots | None) -> None:
        self._source, self._snapshots = source, snapshots
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Folded] = OrderedDict()

    def family(self, entry: Entry, marks: Mapping[str, object] | None = None) -> Family:
        """The job as it stands."""
        return self.families([entry], marks)[0]

    def families(self, entries: Sequence[Entry], marks: Mapping[str, object] | None = None) -> list[Family]:
        """Several at once: kept ones are loaded by one query, new ends are kept by one."""
        missing = [entry for entry in entries if entry.job_id not in self._kept and entry.last.ended]
        self._load(missing)
        if marks is None and len(entries) > 1:
            # By one query for all, before any of them is read.
            marks = self._source.marks([entry.last.run_id for entry in entries if not entry.last.ended])
        found, ended = [], []
        for entry in entries:
            folded = self._folded(entry.job_id)
            if not folded.knows_end(entry):
                folded.read(entry, self._source, marks)
                if folded.over:
                    ended.append((entry, folded))
            assert folded.family is not None  # noqa: S101 - an entry has a run
            found.append(folded.family)
        self._save(ended)
        return found

    def changes(self, entry: Entry, after: int, marks: Mapping[str, object] | None = None) -> list[Change]:
        """Every change with a number above `after`."""
        folded = self._folded(entry.job_id)
        folded.read(entry, self._source, marks)
        with folded.lock:
            kept = list(folded.changes)
            sequence = folded.family.sequence if folded.family is not None else 0
        if after >= sequence:
            return []
        if kept and kept[0].sequence <= after + 1:
            return [change for change in kept if change.sequence > after]
        anew = Folded()
        made = anew.read(entry, self._source)
        return [change for change in made if change.sequence > after]

    def forget(self, job_id: str | None = None) -> None:
        """Drop what is kept in memory, of one job or all."""
        with self._lock:
            if job_id is None:
                self._kept.clear()
            else:
                self._kept.pop(job_id, None)

    def _folded(self, job_id: str) -> Folded:
        with self._lock:
            folded = self._kept.get(job_id)
            if folded is None:
                folded = self._kept[job_id] = Folded()
            self._kept.move_to_end(job_id)
            if len(self._kept) > _KEPT_JOBS:
                # Those at work stay as long as can be: one that has ended is loaded in a millisecond, one at work is read anew.
                ended = next((known for known, one in self._kept.items() if one.over), None)
                if ended is not None:
                    del self._kept[ended]
                elif len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        return folded

    # ---- kept ends ---------------------------------------------------------------------------------------------------

    def _load(self, entries: Collection[Entry]) -> None:
        if self._snapshots is None or not entries:
            return
        rows = self._snapshots.load([entry.job_id for entry in entries], VERSION)
        for entry in entries:
            named, state = rows.get(entry.job_id, ("", b""))
            runs = [run.run_id for run in entry.runs]
            if named != ",".join(runs):
                continue
            folded = Folded()
            folded.family = Family.from_json(json.loads(zlib.decompress(state)))
            folded.attempt, folded.runs, folded.over = len(runs) - 1, runs, True
            with self._lock:
                self._kept.setdefault(entry.job_id, folded)

    def _save(self, ended: Sequence[tuple[Entry, Folded]]) -> None:
        if self._snapshots is None or not ended:
            return
        rows = []
        for entry, folded in ended:
            with folded.lock:
                if folded.family is not None and folded.knows_end(entry) and entry.last.ended:
                    state: Any = json.dumps(folded.family.to_json(), separators=(",", ":"))
                    rows.append((entry.job_id, ",".join(folded.runs), zlib.compress(state.encode(), 1)))
        if rows:
            self._snapshots.save(rows, VERSION)


