"""What may be reported of a job as it stands, told in words to whoever reports what may not. Pure.

What belongs here: kinds of reports, and when each is in place. What does not: what they then do (reported_rules.py).
"""

from __future__ import annotations

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import Job, JobEvent, Status
from viralsync_pipelines.jobs.report_values import mapping

CREATED, CHILD_CREATED, PROGRESS = "report.created", "report.child_created", "report.progress"
COMPLETED, FAILED, CANCELLED, RETRIED = "report.completed", "report.failed", "report.cancelled", "report.retried"


def refusal(family: Family, event: JobEvent) -> str | None:
    """Why this event may not happen now, in a sentence for whoever reports it; None when it may."""
    root, kind = family.job, event.kind
    if kind == CREATED:
        return f"{root.id} is there already."
    if kind == CHILD_CREATED:
        return _no_child(family, event)
    job = family.children.get(event.step) if event.step else root
    if job is None:
        return f"{root.id} has no child {event.step}."
    if kind == RETRIED:
        return _no_retry(family, job, event)
    if job.status.terminal:
        return f"{job.id} has ended: it is {job.status}. POST /v1/jobs/{job.id}/retry starts another attempt."
    if kind == COMPLETED and job.counts is not None:
        return f"{job.id} is completed by its children: it is done when all {job.counts.total} of them are."
    return None


def _no_child(family: Family, event: JobEvent) -> str | None:
    root = family.job
    if root.counts is None:
        return f"{root.id} was not created as a parent: create it with childCount, the number of its children."
    if root.status.terminal:
        return f"{root.id} has ended: it is {root.status} and takes no more children."
    if not event.step or event.step in family.children or event.step == root.id:
        return f"{event.step or 'the child'} is there already."
    if family.expected == 0:
        return f"all {root.counts.total} children that {root.id} was declared with are there."
    return None


def _no_retry(family: Family, job: Job, event: JobEvent) -> str | None:
    if not job.status.terminal:
        return f"{job.id} is {job.status}: it can be tried again once it has ended."
    if job.counts is not None and to_retry(family, event):
        return None
    if job.status is Status.DONE:
        return None if _of_all(event) else f"{job.id} is done and nothing of it failed: scope `all` does it anew."
    if not retryable(job) or (job.counts is not None and family.tally["failed"]):
        return f"{job.id} failed with something that was reported as not retryable: correct its input and create a new job."
    return None


def to_retry(family: Family, event: JobEvent) -> list[Job]:
    """The children that a retry of their parent takes up again."""
    return [
        child for child in family.children.values()
        if child.status.terminal and retryable(child) and (_of_all(event) or child.status is not Status.DONE)
    ]  # fmt: skip


def _of_all(event: JobEvent) -> bool:
    return event.data.get("scope") == "all"


def retryable(job: Job) -> bool:
    """Unless its program said that another try would end in the same way."""
    told = mapping((job.result or {}).get("error")) if job.status is Status.FAILED else None
    return told is None or told.get("retryable") is not False
