"""What a program's own reports mean to a job. Pure; total: a report that makes no sense here changes nothing.

What belongs here: rules for kinds `report.*`. What does not: which may come when (reported_moves.py), their limits
(gateway/report_requests.py), keeping them (storage/reports.py).

Kinds, with their data. `step` is a child's id in events about a child, "" in events about the job itself.
    report.created        job, type, workspace, title, payload, queue, stage, estimatedMs, expiresMs;
                          of a parent: childCount, childProgressMode, onChildFailure ("fail" | "continue" | "finish")
    report.child_created  index, type, title, payload, queue, stage, estimatedMs, weight
    report.progress       progress (0 to 100), message, queue, stage, estimatedMs, metadata (merged into payload.metadata)
    report.completed      result, message
    report.failed         code, message, details, retryable
    report.cancelled      nothing; of a parent: its children too
    report.retried        scope ("failed" | "all": also what is done)

A parent's progress and end come from its children, over their declared number: one that is not there yet counts as queued.
With onChildFailure `fail` it fails with the first child that fails, and its other children may still report. With `continue` it
ends with the last of them: done when any succeeded. With `finish`, too, but failed when any failed. A cancelled child is one that did
not succeed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Counts, Job, JobEvent, Mode, Status
from viralsync_pipelines.jobs.report_values import mapping, number, queue_of, stage_of, text, whole
from viralsync_pipelines.jobs.reported_moves import CANCELLED, CHILD_CREATED, COMPLETED, FAILED, PROGRESS, RETRIED, refusal, to_retry

MOST_CHILDREN, MOST_WEIGHT = 1_000, 1_000_000


def born_of_report(event: JobEvent) -> Family:
    """The family as it stands when its job has just been reported."""
    data = event.data
    declared = min(MOST_CHILDREN, max(0, whole(data.get("childCount")) or 0))
    mode = data.get("childProgressMode")
    family = Family(
        Job(
            **described(data, event.at_ms), id=text(data.get("job")), workspace=text(data.get("workspace")) or "default",
            counts=Counts(total=declared, queued=declared) if declared else None,
            mode=Mode(mode) if mode in [each.value for each in Mode] else Mode.AVERAGE, expires_ms=whole(data.get("expiresMs")),
        )
    )  # fmt: skip
    family.notes = {"continue": data.get("onChildFailure") == "continue"}
    if data.get("onChildFailure") == "finish":
        family.notes["finish"] = True
    family.expect(declared)
    return family


def fold_reported(family: Family, event: JobEvent) -> None:
    """Change the family as the event says, if it may; `Family.settle` is the caller's."""
    rule = _RULES.get(event.kind)
    if rule is not None and refusal(family, event) is None:
        rule(family, event)


# ---- the job and its children ----------------------------------------------------------------------------------------


def described(data: Mapping[str, Any], at_ms: int) -> dict[str, Any]:
    """What a job and a child have in common when they are created."""
    return {
        "type": text(data.get("type")) or "workflow.run", "title": text(data.get("title")), "payload": mapping(data.get("payload")) or {},
        "queue": queue_of(data.get("queue")), "stage": stage_of(data.get("stage")), "estimated_ms": whole(data.get("estimatedMs")),
        "created_ms": at_ms, "updated_ms": at_ms, "attempts": (Attempt(1, Status.QUEUED),),
    }  # fmt: skip


def _child_created(family: Family, event: JobEvent) -> None:
    root, data = family.job, event.data
    weight = min(MOST_WEIGHT, max(1, whole(data.get("weight")) or 1)) if root.mode is Mode.WEIGHTED else 1
    child = Job(
        **described(data, event.at_ms), id=event.step, workspace=root.workspace, parent_id=root.id,
        index=max(0, whole(data.get("index")) or 0), weight=weight, expires_ms=root.expires_ms,
    )  # fmt: skip
    family.add_child(child, event.at_ms)


def change(family: Family, job: Job, at_ms: int, values: Mapping[str, Any]) -> None:
    if job.id == family.job.id:
        family.change(**values)
    else:
        family.change_child(job.id, at_ms, **values)


def current(family: Family, event: JobEvent) -> Job:
    return family.children[event.step] if event.step else family.job


def begun(job: Job, at_ms: int) -> dict[str, Any]:
    """A queued job begins. A parent begins itself when it reports before its children do."""
    values: dict[str, Any] = {"status": Status.RUNNING, "started_ms": at_ms, "queue": None}
    expected = whole(job.payload.get("estimatedDuration"))
    if job.estimated_ms is None and expected is not None:
        values["estimated_ms"] = at_ms + expected
    return values | _attempt(job, status=Status.RUNNING, started_ms=at_ms)


def _attempt(job: Job, **values: Any) -> dict[str, Any]:
    return {"attempts": (*job.attempts[:-1], replace(job.attempts[-1], **values))}


def _progress(family: Family, event: JobEvent) -> None:
    data, job = event.data, current(family, event)
    share, queue = number(data.get("progress")), queue_of(data.get("queue"))
    values: dict[str, Any] = {}
    # A job that only tells its place in a queue has not begun.
    if job.status is Status.QUEUED and (queue is None or share):
        values |= begun(job, event.at_ms)
    if queue is not None or job.status is not Status.QUEUED:
        values["queue"] = queue
    if share is not None and job.counts is None:
        values["progress"] = round(min(100.0, max(0.0, share)) * (WHOLE // 100))
    if isinstance(data.get("message"), str):
        values["message"] = data["message"]
    for name, value in (("stage", stage_of(data.get("stage"))), ("estimated_ms", whole(data.get("estimatedMs")))):
        if value is not None:
            values[name] = value
    more = mapping(data.get("metadata"))
    if more:
        values["payload"] = {**job.payload, "metadata": merged(job, more)}
    change(family, job, event.at_ms, values)
    follow(family, event)


def merged(job: Job, more: Mapping[str, Any]) -> dict[str, Any]:
    """A job's metadata with these values over its own."""
    return {**(mapping(job.payload.get("metadata")) or {}), **more}


# ---- ends ------------------------------------------------------------------------------------------------------------


def _completed(family: Family, event: JobEvent) -> None:
    data, at_ms = event.data, event.at_ms
    if current(family, event).status is Status.QUEUED:
        change(family, current(family, event), at_ms, begun(current(family, event), at_ms))
        if not event.step:
            family.commit(at_ms)
    job = current(family, event)
    result = mapping(data.get("result"))
    url = text((result or {}).get("url"))
    # Nothing else is an address: a store key here would be shown as a file of the engine's.
    output = url if url.startswith(("https://", "http://")) else None
    values: dict[str, Any] = {"progress": WHOLE, "result": result, "output": output}
    if isinstance(data.get("message"), str):
        values["message"] = data["message"]
    end(family, job, at_ms, Status.DONE, values)
    follow(family, event)


def _failed(family: Family, event: JobEvent) -> None:
    data = event.data
    code, message = text(data.get("code")) or "JOB_FAILED", text(data.get("message")) or "no reason was given"
    retryable = data.get("retryable")
    told = {
        "code": code, "message": message, "details": mapping(data.get("details")),
        "retryable": retryable if isinstance(retryable, bool) else None,
    }  # fmt: skip
    end(family, current(family, event), event.at_ms, Status.FAILED, {"error": f"{code}: {message}", "result": {"error": told}})
    follow(family, event, failed=event.step)


def _cancelled(family: Family, event: JobEvent) -> None:
    asked = {"cancel_requested_ms": event.at_ms}
    if not event.step:
        for child in list(family.children.values()):
            if not child.status.terminal:
                end(family, child, event.at_ms, Status.CANCELLED, asked)
    end(family, current(family, event), event.at_ms, Status.CANCELLED, asked)
    follow(family, event)


def end(family: Family, job: Job, at_ms: int, status: Status, values: Mapping[str, Any]) -> None:
    attempt = _attempt(job, status=status, finished_ms=at_ms, error=values.get("error"))
    change(family, job, at_ms, {"status": status, "finished_ms": at_ms, "queue": None, **attempt, **values})


def follow(family: Family, event: JobEvent, *, failed: str = "") -> None:
    """The parent after something happened to its children. failed: the child that failed just now."""
    if family.job.counts is None or family.status.terminal:
        return
    tally, at_ms = family.tally, event.at_ms
    if tally["succeeded"] + tally["failed"] + tally["running"] and family.status is not Status.WAITING:
        if family.wanted("started_ms") is None:
            family.change(**begun(family.job, at_ms))
        family.change(status=Status.WAITING)
    # Not the whole before it is done, though all children may say that they have done everything.
    family.change(progress=min(WHOLE - 1, family.children_progress(family.job.mode)))
    ended = tally["succeeded"] + tally["failed"] + tally["cancelled"] == tally["total"]
    goes_on, to_the_end = bool(family.notes["continue"]), bool(family.notes.get("finish"))
    if not ended and (goes_on or to_the_end or not failed):
        return
    if family.job.status is Status.QUEUED and family.status is Status.WAITING:
        family.commit(at_ms)
    job = family.job
    told: dict[str, Any] = {"result": {name: tally[name] for name in ("total", "succeeded", "failed", "cancelled")}}
    if tally["succeeded"] == tally["total"] or (ended and goes_on and tally["succeeded"]):
        if to_the_end:
            told = _result_of_all(family, told["result"])
        end(family, job, at_ms, Status.DONE, {"progress": WHOLE, **told})
    elif to_the_end and tally["failed"]:
        end(family, job, at_ms, Status.FAILED, {"error": _root_failures(family), **told})
    elif tally["failed"]:
        first = family.children.get(failed) or next(child for child in family.children.values() if child.status is Status.FAILED)
        why = f"CHILD_FAILED: {first.id} ({first.title or first.index}): {first.error}"
        end(family, job, at_ms, Status.FAILED, {"error": why, **told})
    else:
        end(family, job, at_ms, Status.CANCELLED, told)


def _result_of_all(family: Family, counts: Mapping[str, Any]) -> dict[str, Any]:
    """What a parent that waited for all of its children came to: the result of the last one that no other depends on."""
    needed = {each for child in family.children.values() for each in child.payload.get("dependsOn") or ()}
    leaves = [child for child in family.children.values() if child.payload.get("id") not in needed]
    last = max(leaves, key=lambda child: (child.finished_ms or 0, child.index), default=None)
    if last is None:
        return {"result": dict(counts)}
    return {"result": {**counts, **(last.result or {})}, "output": last.output, "media": last.media}


def _root_failures(family: Family) -> str:
    """Those that failed by themselves, not because of another."""
    bad = [child for child in sorted(family.children.values(), key=lambda child: child.index) if child.status is Status.FAILED]
    roots = [child for child in bad if not (child.error or "").startswith("DEPENDENCY_FAILED")] or bad
    told = "; ".join(f"{child.payload.get('id') or child.title or child.index}: {child.error}" for child in roots[:3])
    return f"CHILD_FAILED: {told}" + (f"; and {len(roots) - 3} more" if len(roots) > 3 else "")


# ---- another attempt -------------------------------------------------------------------------------------------------


def _retried(family: Family, event: JobEvent) -> None:
    job = current(family, event)
    again = [job] if event.step else to_retry(family, event)
    for child in again:
        try_again(family, child, event.at_ms)
    if family.status.terminal:
        try_again(family, family.job, event.at_ms)
        family.commit(event.at_ms)
    follow(family, event)


def try_again(family: Family, job: Job, at_ms: int) -> None:
    """Back to the queue under the next attempt."""
    values = {
        "status": Status.QUEUED, "attempt": job.attempt + 1, "attempts": (*job.attempts, Attempt(job.attempt + 1, Status.QUEUED)),
        "progress": 0, "error": None, "output": None, "result": None, "stage": None, "message": "", "queue": None, "estimated_ms": None,
        "started_ms": None, "finished_ms": None, "cancel_requested_ms": None,
    }  # fmt: skip
    change(family, job, at_ms, values)


_RULES: Mapping[str, Callable[[Family, JobEvent], None]] = {
    CHILD_CREATED: _child_created, PROGRESS: _progress, COMPLETED: _completed, FAILED: _failed, CANCELLED: _cancelled, RETRIED: _retried,
}  # fmt: skip
