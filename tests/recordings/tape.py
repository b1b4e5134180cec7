"""What record.py wrote, read back: the runs of one job with their events, for any test that wants real ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.board.sources import RunFacts
from viralsync_pipelines.jobs.model import JobEvent

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tape:
    """The runs of one job in order. name: storage and what was recorded, `sqlite_success`."""

    name: str
    about: str
    runs: tuple[tuple[RunFacts, tuple[JobEvent, ...]], ...]

    @property
    def what(self) -> str:
        """What was recorded, on whichever storage."""
        return self.name.partition("_")[2]

    @property
    def job_id(self) -> str:
        return self.runs[0][0].job_id

    def attempts(self) -> list[list[JobEvent]]:
        """The events of each run, its being made first."""
        return [[facts.as_event(), *events] for facts, events in self.runs]

    def log(self) -> list[JobEvent]:
        """Everything that the job is folded from."""
        return [event for attempt in self.attempts() for event in attempt]


def tape(name: str) -> Tape:
    kept = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    runs = tuple(
        (RunFacts(**run["facts"]), tuple(JobEvent(kind, at_ms, step, data) for kind, at_ms, step, data in run["events"])) for run in kept["runs"]
    )
    return Tape(name, kept["about"], runs)


def tapes() -> list[Tape]:
    """Every recording."""
    return [tape(path.stem) for path in sorted(HERE.glob("*.json"))]
