"""An engine for the board that is in the test's hand: real logs of recordings, told bit by bit, runs made and deleted at will.

Importable by every test: `Engine` is a board.sources.RunSource.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.recordings.tape import Tape
from viralsync_pipelines.board.sources import Page, RunFacts
from viralsync_pipelines.jobs.model import JobEvent

_ENDS = {"run.succeeded": "SUCCESS", "run.failed": "FAILURE", "run.canceled": "CANCELED"}
_GOING = {"run.starting": "STARTING", "run.started": "STARTED", "run.canceling": "CANCELING"}


@dataclass
class Recorded:
    """A run whose log has been told up to `told`. The record may lag behind the log, as Dagster writes it afterwards."""

    facts: RunFacts
    events: Sequence[JobEvent]
    told: int = 0

    @property
    def over(self) -> bool:
        return self.told == len(self.events)


@dataclass
class Engine:
    """page: events in one page at most. calls: how often each question was asked. falters: asked before each answer, raises for none."""

    page: int = 7
    now_ms: int = 1_800_000_000_000
    runs: dict[str, Recorded] = field(default_factory=dict)
    made: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    falters: Callable[[], None] | None = None

    def clock(self) -> int:
        return self.now_ms

    def wait(self, ms: int = 2_000) -> None:
        """Time goes by: more than the board goes without a look."""
        self.now_ms += ms

    # ---- what happens ------------------------------------------------------------------------------------------------

    def make(self, facts: RunFacts, events: Sequence[JobEvent]) -> Recorded:
        """A new run in the queue, nothing of which has been logged."""
        self.made += 1
        self.now_ms += 1
        run = replace(facts, order=self.made, status="QUEUED", created_ms=self.now_ms, updated_ms=self.now_ms, started_ms=None, ended_ms=None)
        self.runs[run.run_id] = Recorded(run, events)
        return self.runs[run.run_id]

    def add(self, tape: Tape, number: int = 0, *, attempt: int = 0, **facts: Any) -> Recorded:
        """A recording's run as one of the job with this number, its ids made anew."""
        job = f"job_{number:012x}"
        old, events = tape.runs[attempt]
        moved = [replace(event, data=_renamed(event.data, tape.job_id, job)) for event in events]
        changed = {"job_id": job, "run_id": f"{job}-{self.made}", **facts}
        return self.make(replace(old, **changed), moved)

    def tell(self, run: Recorded, events: int | None = None) -> None:
        """So many more events of a run are logged; None for all."""
        self.now_ms += 1
        run.told = len(run.events) if events is None else min(len(run.events), run.told + events)
        status, started, ended = "QUEUED", None, None
        for event in run.events[: run.told]:
            if status in _ENDS.values():
                break
            status = _ENDS.get(event.kind) or _GOING.get(event.kind) or status
            started = event.at_ms if event.kind == "run.started" else started
            ended = event.at_ms if event.kind in _ENDS else ended
        changed = replace(run.facts, status=status, started_ms=started, ended_ms=ended)
        if changed != run.facts:
            run.facts = replace(changed, updated_ms=self.now_ms)

    def finish(self, run: Recorded) -> None:
        self.tell(run)

    def delete(self, run_id: str) -> None:
        del self.runs[run_id]

    # ---- what the board asks -----------------------------------------------------------------------------------------

    def _asked(self, what: str) -> None:
        if self.falters is not None:
            self.falters()
        self.calls[what] = self.calls.get(what, 0) + 1

    def changed(self, since_ms: int | None) -> list[RunFacts]:
        self._asked("changed" if since_ms is not None else "all")
        found = [run.facts for run in self.runs.values() if since_ms is None or run.facts.updated_ms > since_ms]
        return sorted(found, key=lambda facts: facts.updated_ms)

    def count(self) -> int:
        self._asked("count")
        return len(self.runs)

    def events(self, run_id: str, cursor: str | None) -> Page:
        self._asked("events")
        run, place = self.runs[run_id], int(cursor or 0)
        end = min(run.told, place + self.page)
        return Page(run.events[place:end], str(end) if end > place else cursor, end < run.told)

    def marks(self, run_ids: Collection[str]) -> Mapping[str, object]:
        self._asked("marks")
        return {run: self.runs[run].told for run in run_ids}


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, Mapping):
        return {name: _renamed(each, old, new) for name, each in value.items()}
    return value
