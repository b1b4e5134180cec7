"""Where jobs come from, as the board sees it: runs of an engine with their event logs, and jobs that programs report.

What belongs here: facts of a run, and what a source has to answer. What does not: Dagster (orchestrator/runs.py), tables (storage/).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import Change, Job, JobEvent

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
QUEUED = frozenset({"QUEUED", "NOT_STARTED"})


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run as the engine lists it: which job it is an attempt of, and what can be told without reading its events.

    order: rises with the time of creation. status: as the engine names it. size: frames of the film, when known. subset: only some of
    its steps are run.
    """

    run_id: str
    order: int
    job_id: str
    type: str
    status: str
    created_ms: int
    updated_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    workspace: str = "default"
    parent_id: str | None = None
    project_id: str | None = None
    channel: str | None = None
    queue: str = "default"
    priority: int = 0
    size: int | None = None
    partition: str | None = None
    callback_url: str | None = None
    subset: bool = False
    draft: bool = False

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def as_event(self) -> JobEvent:
        """The run's being there, as the first event of an attempt."""
        payload: dict[str, Any] = {"projectId": self.project_id}
        payload |= {k: v for k, v in (("movieId", self.partition), ("channel", self.channel)) if v is not None}
        if self.draft:
            payload["draft"] = True
        return JobEvent(
            "run.created", self.created_ms,
            data={
                "run": self.run_id, "job": self.job_id, "type": self.type, "workspace": self.workspace, "payload": payload,
                "parent": self.parent_id, "title": self.partition or "", "resume": self.subset,
            },
        )  # fmt: skip


@dataclass(frozen=True)
class Page:
    """Some of a run's events in order. cursor: where the next ones begin. more: there are more of them now."""

    events: Sequence[JobEvent]
    cursor: str | None
    more: bool


class RunSource(Protocol):
    """The engine's runs."""

    def changed(self, since_ms: int | None) -> list[RunFacts]:
        """Runs made or changed since then, oldest change first; every run for None."""

    def count(self) -> int:
        """How many runs there are: fewer than before when some were deleted."""

    def events(self, run_id: str, cursor: str | None) -> Page:
        """The run's events after `cursor`."""

    def marks(self, run_ids: Collection[str]) -> Mapping[str, object]:
        """A value for each run that changes when its log grows; cheaper than reading it."""


@dataclass(frozen=True)
class Query:
    """What to list: None is no limit. types: whole types or domains. before: created_ms and id of the last job already shown."""

    workspace: str
    types: frozenset[str] | None = None
    statuses: frozenset[str] | None = None
    project_id: str | None = None
    channel: str | None = None
    parent: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 25

    def wants_type(self, job_type: str) -> bool:
        return self.types is None or job_type in self.types or job_type.partition(".")[0] in self.types

    def wants_time(self, created_ms: int) -> bool:
        return (self.from_ms is None or created_ms >= self.from_ms) and (self.to_ms is None or created_ms < self.to_ms)


class ReportSource(Protocol):
    """Jobs that programs report."""

    def root_of(self, job_id: str) -> str | None:
        """The family's root of a job or child; None when it is unknown, or expired."""

    def family(self, root_id: str) -> Family | None: ...

    def changes(self, root_id: str, after: int) -> list[Change]: ...

    def newest(self, query: Query, limit: int) -> list[Job]:
        """Top-level jobs that fit, newest first, after query.before."""

    def marks(self, root_ids: Collection[str]) -> Mapping[str, object]:
        """A value for each family that changes when something is reported."""


@dataclass
class NoReports:
    """A ReportSource without jobs."""

    empty: dict[str, object] = field(default_factory=dict)

    def root_of(self, job_id: str) -> str | None:
        return None

    def family(self, root_id: str) -> Family | None:
        return None

    def changes(self, root_id: str, after: int) -> list[Change]:
        return []

    def newest(self, query: Query, limit: int) -> list[Job]:
        return []

    def marks(self, root_ids: Collection[str]) -> Mapping[str, object]:
        return self.empty
