"""What Dagster's runs and steps mean to a job. Pure; total: an event that makes no sense here changes nothing.

What belongs here: kinds of events, and rules for `run.*`. What does not: `step.*` (step_rules.py), reading Dagster
(orchestrator/events.py), counting (family.py).

Kinds, with their data:
    run.created    run, job, type, workspace, payload, parent, title, resume (it goes on with what an earlier run began)
    run.starting, run.started, run.succeeded, run.canceling, run.canceled
    run.failed     error
    step.started, step.restarted, step.succeeded
    step.blocked   pool
    step.progress  done, total, text
    step.output    output, mapping, facts
    step.failed    error
    step.retrying  error, delay_ms

Facts of Dagster that these rules are made for: a cancelled step shows as failed; a killed worker leaves steps that began and never
end; what lies behind a failed step emits nothing; steps of a run may be logged out of the order of their times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from viralsync_pipelines.jobs.family import NEARLY, Family
from viralsync_pipelines.jobs.kinds import CHILD_STEPS, STAGES, op_and_mapping
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Counts, Job, JobEvent, Mode, Status
from viralsync_pipelines.jobs.report_values import mapping, text
from viralsync_pipelines.jobs.step_rules import STEP_RULES
from viralsync_pipelines.jobs.turns import begin_attempt, change_attempt, notes_of, retire, turn, turn_again

WORKER_LOST = "WORKER_LOST: the process at work on it was killed; retry the job, what is finished is kept"
NOT_STARTED = "RUN_NOT_STARTED: Dagster could not start the run; its log says why; retry the job"
NOT_RUN = "NOT_RUN: something before it did not come to an end"
# How much of a film's bar each part fills, in ten-thousandths. A choice, not their share of the work: planning and joining are next
# to nothing beside the scenes of a long film, and a bar that stood still for them would look stuck.
_PLAN, _SCENES, _ASSEMBLE, _FINALIZE = 200, 9_200, 300, 300


def born_of_run(event: JobEvent) -> Family:
    """The family as it stands when its first run has just been made."""
    data = event.data
    kind = str(data.get("type", ""))
    family = Family(
        Job(
            id=str(data["job"]), type=kind, workspace=str(data.get("workspace", "default")), payload=mapping(data.get("payload")) or {},
            title=text(data.get("title")), parent_id=data.get("parent"), counts=Counts() if kind in STAGES else None,
            mode=Mode.WEIGHTED, message="In the queue", created_ms=event.at_ms, updated_ms=event.at_ms,
            attempts=(Attempt(1, Status.QUEUED, str(data["run"])),),
        )
    )  # fmt: skip
    family.notes = notes_of(event, [], {})
    return family


def is_of_run(family: Family) -> bool:
    """Whether it was born of a run, and not of a report."""
    return "runs" in family.notes


def fold_run(family: Family, event: JobEvent) -> None:
    """Change the family as the event says; `Family.settle` is the caller's."""
    if family.status.terminal and event.kind != "run.created":
        return  # the end of an attempt is final
    if event.kind in STEP_RULES:
        # Where a step is, its run has begun, though that may not have been told.
        _started(family, event)
        STEP_RULES[event.kind](family, event)
    elif event.kind in _RULES:
        _RULES[event.kind](family, event)
    else:
        return
    if not family.status.terminal:
        family.change(progress=min(NEARLY, _progress(family)))


def _created(family: Family, event: JobEvent) -> None:
    run, known = text(event.data.get("run")), family.notes["runs"]
    if not run or run in known:
        return
    if not family.status.terminal:
        # Its end was never logged; a job cannot be in two attempts at once.
        _end_children(family, event.at_ms, Status.FAILED, WORKER_LOST)
        _end(family, event, Status.FAILED, WORKER_LOST, "Failed")
        family.commit(event.at_ms)
    family.notes = notes_of(event, known, family.notes)
    number = family.job.attempt + 1
    family.change(
        status=Status.QUEUED, attempt=number, attempts=(*family.job.attempts, Attempt(number, Status.QUEUED, run)), progress=0,
        error=None, output=None, media=None, result=None, stage=None, message="In the queue again", started_ms=None, finished_ms=None,
        cancel_requested_ms=None,
    )  # fmt: skip
    for child in list(family.children.values()):
        if not (family.notes["resume"] and child.status is Status.DONE):
            family.notes["unseen"][child.id] = True
            op, _ = op_and_mapping(child.step)
            turn_again(family, child, event.at_ms, message="", counted=CHILD_STEPS[op].counted_in == family.job.type)


def _started(family: Family, event: JobEvent) -> None:
    begin_attempt(family, event)
    family.notes["begun"] = True


def _succeeded(family: Family, event: JobEvent) -> None:
    _through_running(family, event)
    # Every step of a run that succeeded did; of one that was asked for some steps only, those that began.
    left = Status.CANCELLED if family.notes["resume"] else Status.DONE
    for name in list(family.notes["unseen"]):
        if left is Status.DONE:
            retire(family, family.children[name], event.at_ms)
    _end_children(family, event.at_ms, left, NOT_RUN if left is Status.CANCELLED else None)
    film: Mapping[str, Any] = family.notes.get("film", {})
    media = {name: film[name] for name in ("duration", "width", "height", "fileSize") if name in film}
    family.change(progress=WHOLE, output=film.get("key"), media=media or None, result=family.notes.get("result"))
    _end(family, event, Status.DONE, None, "Done")


def _failed(family: Family, event: JobEvent) -> None:
    _through_running(family, event)
    # Whoever ends a run without knowing why does so because its process is gone, or could not be started.
    unknown = WORKER_LOST if "begun" in family.notes else NOT_STARTED
    error = family.notes.get("error") or text(event.data.get("error")) or unknown
    _end_children(family, event.at_ms, Status.FAILED, WORKER_LOST)
    _end(family, event, Status.FAILED, error, "Failed")


def _canceling(family: Family, event: JobEvent) -> None:
    if family.job.cancel_requested_ms is None:
        family.change(cancel_requested_ms=event.at_ms, message="Cancelling")


def _canceled(family: Family, event: JobEvent) -> None:
    _end_children(family, event.at_ms, Status.CANCELLED, None)
    family.change(cancel_requested_ms=family.job.cancel_requested_ms or event.at_ms)
    _end(family, event, Status.CANCELLED, None, "Cancelled")


def _through_running(family: Family, event: JobEvent) -> None:
    """A run that ends has begun, whether or not that was logged."""
    if family.job.status is Status.QUEUED:
        begin_attempt(family, event)
        family.commit(event.at_ms)


def _end(family: Family, event: JobEvent, status: Status, error: str | None, message: str) -> None:
    family.change(status=status, phase=None, error=error, message=message, finished_ms=event.at_ms, retry_at_ms=None)
    change_attempt(family, status=status, finished_ms=event.at_ms, error=error)


def _end_children(family: Family, at_ms: int, status: Status, error: str | None) -> None:
    """The run is over: so is every child. One that never began failed in nothing; it was not run."""
    ended: dict[str, Any] = {"finished_ms": at_ms, "retry_at_ms": None, "message": ""}
    for child in list(family.children.values()):
        if child.status.terminal:
            continue
        if status is Status.DONE:
            if child.status is Status.QUEUED:
                turn(family, child, at_ms, status=Status.RUNNING, started_ms=child.started_ms or at_ms)
            turn(family, family.children[child.id], at_ms, **ended | {"status": status, "progress": WHOLE, "message": "Done"})
        elif status is Status.FAILED and child.started_ms is None:
            turn(family, child, at_ms, **ended, status=Status.CANCELLED, error=NOT_RUN)
        else:
            turn(family, child, at_ms, **ended, status=status, error=error)


def _progress(family: Family) -> int:
    if family.job.type == "render.movie":
        shares = [(_ASSEMBLE, f"assemble_{family.job.id}"), (_FINALIZE, f"finalize_{family.job.id}")]
        ends = sum(share * family.children[name].progress // WHOLE for share, name in shares if name in family.children)
        return (_PLAN if "planned" in family.notes else 0) + _SCENES * family.children_progress(Mode.WEIGHTED) // WHOLE + ends
    return family.children_progress(family.job.mode)


_RULES: Mapping[str, Callable[[Family, JobEvent], None]] = {
    "run.created": _created, "run.starting": begin_attempt, "run.started": _started, "run.succeeded": _succeeded, "run.failed": _failed,
    "run.canceling": _canceling, "run.canceled": _canceled,
}  # fmt: skip
KINDS = frozenset({*_RULES, *STEP_RULES})
"""Every kind of event that means something to a run's job."""
