"""What the API answers, as values: a job, its children, its events, its output.

What belongs here: frozen dataclasses. What does not: how they are read from JSON (reading.py), HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from viralsync_pipelines.jobs.model import Counts, Stage, Status


@dataclass(frozen=True)
class Queue:
    """Where a job stands in its queue: `position` from 1, of `total` when that is known."""

    position: int
    total: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Eta:
    """When a job is expected to end, by jobs of its type and size. basis: what it was worked out from. confidence: 0 to 1."""

    at: datetime | None = None
    p50_ms: int | None = None
    p90_ms: int | None = None
    basis: Any = None
    confidence: float | None = None
    longer_than_usual: bool = False


@dataclass(frozen=True)
class AttemptView:
    """One try of a job. run_id: Dagster's run, None for reported jobs."""

    number: int
    status: Status
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class JobView:
    """A job as the API shows it. progress: 0 to 1. children: counts, None unless it is a parent. raw: the JSON itself.

    An answer that only acknowledges (a submission, a retry) has id and status, and the other fields empty.
    """

    id: str
    status: Status
    type: str = ""
    phase: str | None = None
    progress: float = 0.0
    parent_id: str | None = None
    output_url: str | None = None
    error: str | None = None
    media: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    children: Counts | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    title: str | None = None
    child_index: int | None = None
    child_progress_mode: str | None = None
    result: Mapping[str, Any] | None = None
    stage: Stage | None = None
    message: str = ""
    queue: Queue | None = None
    eta: Eta | None = None
    estimated_completion_at: datetime | None = None
    attempt: int = 1
    attempts: tuple[AttemptView, ...] = ()
    retry_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    sequence: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    links: Mapping[str, str | None] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def terminal(self) -> bool:
        """Whether it has ended: done, failed or cancelled."""
        return self.status.terminal


@dataclass(frozen=True)
class Page:
    """Some of the jobs, newest first. next_cursor: for the page after it, None on the last."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class FamilyView:
    """A parent and all of its children."""

    parent: JobView
    children: tuple[JobView, ...]


@dataclass(frozen=True)
class Event:
    """The `sequence`-th visible change of a job's family. name: job.sync (as it stands now), job.progress, child.progress, ...

    job: as it was just after it; for child.progress that is the child.
    """

    sequence: int
    name: str
    job: JobView


@dataclass(frozen=True)
class EventPage:
    """Some of a job's events. next_after: what to ask for next, None when there are no more."""

    events: tuple[Event, ...]
    next_after: int | None


@dataclass(frozen=True)
class OutputLine:
    """What a step printed. stream: stdout or stderr. cursor: where reading goes on after it; not every line has one."""

    job_id: str
    step: str
    stream: str
    text: str
    cursor: str | None = None


@dataclass(frozen=True)
class OutputPage:
    """Some of a job's output, and where reading goes on."""

    lines: tuple[OutputLine, ...]
    cursor: str | None


@dataclass(frozen=True)
class StreamToken:
    """Opens one job's stream (`url`, which holds it) and files, as `?token=`, until `expires_at`."""

    token: str = field(repr=False)
    expires_at: datetime | None
    url: str = field(repr=False)
