"""What the ledger's moves mean to a job that a provider does for us. Pure; total: a move that makes no sense here changes nothing.

What belongs here: rules for kinds `ledger.*`, which no program can report. Everything else that happens to such jobs is told by `report.*`
(reported_rules.py). What does not: the ledger itself (generate/).

Kinds, with their data; `step` is the child's id.
    ledger.moved      status (running | waiting), phase, message, queue, progress (0 to 100), stage, provider (merged into payload.provider)
    ledger.completed  result, output (a key of the store), media, message
    ledger.again      error: given up for now, and back to the queue under the next attempt
    ledger.changed    payload: values over the job's own, for an attempt with other input
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import WHOLE, Job, JobEvent, Status
from viralsync_pipelines.jobs.report_values import mapping, number, queue_of, stage_of, text
from viralsync_pipelines.jobs.reported_moves import refusal
from viralsync_pipelines.jobs.reported_rules import begun, change, current, end, follow, try_again

MOVED, COMPLETED, AGAIN, CHANGED = "ledger.moved", "ledger.completed", "ledger.again", "ledger.changed"
_GOING = {"running": Status.RUNNING, "waiting": Status.WAITING}


@dataclass(frozen=True)
class Note:
    """One thing that happened to a job of a ledger: a kind of the above, or of reported_rules.py, with its data."""

    job_id: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Opening:
    """A new child of a ledger's family. about: goes into its payload."""

    id: str
    type: str
    title: str
    about: Mapping[str, Any] = field(default_factory=dict)


def of_ledger(job: Job) -> bool:
    """Whether a job is an execution or a part of one. What programs report has other names in its payload (gateway/reports.py)."""
    return "executionId" in job.payload


def is_of_ledger(event: JobEvent) -> bool:
    return event.kind.startswith("ledger.")


def fold_ledger(family: Family, event: JobEvent) -> None:
    """Change the family as the event says, if it may; `Family.settle` is the caller's."""
    rule = _RULES.get(event.kind)
    if rule is not None and refusal(family, event) is None:
        rule(family, event)


def _moved(family: Family, event: JobEvent) -> None:
    data, job = event.data, current(family, event)
    values: dict[str, Any] = {}
    wanted = _GOING.get(text(data.get("status")))
    if job.status is Status.QUEUED and wanted is not None:
        # Through `running`, as every job that was begun.
        change(family, job, event.at_ms, begun(job, event.at_ms))
        if not event.step:
            family.commit(event.at_ms)
        job = current(family, event)
    if wanted is not None:
        values["status"] = wanted
        values["attempts"] = (*job.attempts[:-1], replace(job.attempts[-1], status=wanted))
        values["queue"] = queue_of(data.get("queue"))
    for name in ("phase", "message"):
        if isinstance(data.get(name), str):
            values[name] = data[name]
    stage, share = stage_of(data.get("stage")), number(data.get("progress"))
    if stage is not None:
        values["stage"] = stage
    if share is not None:
        values["progress"] = round(min(99.0, max(0.0, share)) * (WHOLE // 100))
    told = mapping(data.get("provider"))
    if told:
        values["payload"] = {**job.payload, "provider": {**(mapping(job.payload.get("provider")) or {}), **told}}
    change(family, job, event.at_ms, values)
    follow(family, event)


def _completed(family: Family, event: JobEvent) -> None:
    data = event.data
    job = current(family, event)
    if job.status is Status.QUEUED:
        change(family, job, event.at_ms, begun(job, event.at_ms))
    values: dict[str, Any] = {
        "progress": WHOLE, "phase": None, "result": mapping(data.get("result")), "output": text(data.get("output")) or None,
        "media": mapping(data.get("media")), "message": text(data.get("message")),
    }  # fmt: skip
    end(family, current(family, event), event.at_ms, Status.DONE, values)
    follow(family, event)


def _again(family: Family, event: JobEvent) -> None:
    job = current(family, event)
    if job.status is not Status.QUEUED:
        tried = replace(job.attempts[-1], status=Status.FAILED, finished_ms=event.at_ms, error=text(event.data.get("error")) or None)
        try_again(family, replace(job, attempts=(*job.attempts[:-1], tried)), event.at_ms)
    follow(family, event)


def _changed(family: Family, event: JobEvent) -> None:
    job = current(family, event)
    change(family, job, event.at_ms, {"payload": {**job.payload, **(mapping(event.data.get("payload")) or {})}})


_RULES: Mapping[str, Callable[[Family, JobEvent], None]] = {MOVED: _moved, COMPLETED: _completed, AGAIN: _again, CHANGED: _changed}
