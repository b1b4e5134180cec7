"""The job object of the HTTP API: what ViralSync's documentation names, and what this project adds.

What belongs here: field names and formats of the wire. What does not: HTTP; where a result's address or a queue's length come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from viralsync_pipelines.jobs.eta import Estimate
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Job


@dataclass(frozen=True)
class Surroundings:
    """What a job object shows beyond the fold: all of it depends on the time, on other jobs, or on who asks.

    output_url: the address of the result. queue: position (from 1), total, queueName. base: before every path of `links`. dagster_url:
    the run's page.
    """

    output_url: str | None = None
    queue: Mapping[str, Any] | None = None
    estimate: Estimate | None = None
    base: str = ""
    dagster_url: str | None = None


def job_object(job: Job, around: Surroundings = Surroundings()) -> dict[str, Any]:
    """The job as JSON values, every documented field present."""
    estimate = around.estimate
    at = job.estimated_ms if job.estimated_ms is not None else (estimate.at_ms if estimate is not None else None)
    return {
        "jobId": job.id,
        "type": job.type,
        "status": job.status.value,
        "phase": job.phase,
        "progress": job.progress / WHOLE,
        "parentJobId": job.parent_id,
        "outputUrl": around.output_url,
        "error": job.error,
        "mediaData": dict(job.media) if job.media is not None else None,
        "payload": dict(job.payload),
        "children": vars(job.counts) if job.counts is not None else None,
        "createdAt": iso(job.created_ms),
        "updatedAt": iso(job.updated_ms),
        "title": job.title or None,
        "childIndex": job.index if job.parent_id is not None else None,
        "childProgressMode": job.mode.value if job.counts is not None else None,
        "result": dict(job.result) if job.result is not None else None,
        "stage": vars(job.stage) if job.stage is not None else None,
        "message": job.message,
        "queue": dict(around.queue) if around.queue is not None else (dict(job.queue) if job.queue is not None else None),
        "eta": estimate.as_json(iso) if estimate is not None else None,
        "estimatedCompletionAt": iso(at),
        "attempt": job.attempt,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "retryAt": iso(job.retry_at_ms),
        "cancelRequestedAt": iso(job.cancel_requested_ms),
        "sequence": job.sequence,
        "startedAt": iso(job.started_ms),
        "finishedAt": iso(job.finished_ms),
        "links": links_of(job, around),
    }


def iso(ms: int | None) -> str | None:
    """Unix milliseconds as ISO-8601 in UTC, with milliseconds and Z."""
    if ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(ms // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def links_of(job: Job, around: Surroundings) -> dict[str, str | None]:
    """Addresses of everything that can be done with this job."""
    own = f"{around.base}/v1/jobs/{job.id}"
    links: dict[str, str | None] = {name: f"{own}/{name}" for name in ("events", "output", "progress", "cancel", "retry")}
    links["self"] = own
    links["children"] = f"{own}/children" if job.counts is not None else None
    links["parent"] = f"{around.base}/v1/jobs/{job.parent_id}" if job.parent_id is not None else None
    links["dagster"] = around.dagster_url
    return links


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.number, "status": attempt.status.value, "startedAt": iso(attempt.started_ms),
        "finishedAt": iso(attempt.finished_ms), "error": attempt.error, "runId": attempt.run_id or None,
    }  # fmt: skip
