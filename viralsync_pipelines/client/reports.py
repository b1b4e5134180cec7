"""Requests that report a job which a program of your own does: created, on its way, done or failed. As values, like calls.py.

What belongs here: names of the wire, the words on each method. What does not: what a report means to a job (the gateway's side).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from viralsync_pipelines.client.calls import Call, given, job_path, post, timestamp
from viralsync_pipelines.client.reading import family_of, job_of
from viralsync_pipelines.client.values import FamilyView, JobView


def start(
    job_type: str,
    title: str,
    user_id: str = "local",
    *,
    metadata: Mapping[str, Any] | None = None,
    queue: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    estimated_completion_at: datetime | str | None = None,
    estimated_duration_ms: int | None = None,
    ttl_seconds: int | None = None,
    workflow_id: str | None = None,
    project_id: str | None = None,
    channel: str | None = None,
    callback_url: str | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Report a job that your program is about to do.

    queue: {"position", "total", "queueName"}. stage: {"name", "current", "total", "description"}. ttl_seconds: when it is forgotten.
    """
    body = {
        **_described(job_type, title, user_id, metadata, queue, stage, estimated_completion_at), "estimatedDuration": estimated_duration_ms,
        "ttlSeconds": ttl_seconds, "workflowId": workflow_id, "projectId": project_id, "channel": channel, "callbackUrl": callback_url,
    }  # fmt: skip
    return post("/v1/jobs", job_of, body, idempotency_key)


def create_parent(
    job_type: str,
    title: str,
    user_id: str = "local",
    *,
    child_count: int,
    child_progress_mode: str = "average",
    on_child_failure: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    ttl_seconds: int | None = None,
    workflow_id: str | None = None,
    project_id: str | None = None,
    channel: str | None = None,
    callback_url: str | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Report a job that is done by its children, and ends with them.

    child_progress_mode: average, sequential or weighted. on_child_failure: fail (with the first), or continue (with what succeeds).
    """
    body = {
        **_described(job_type, title, user_id, metadata), "childCount": child_count, "childProgressMode": child_progress_mode,
        "onChildFailure": on_child_failure, "ttlSeconds": ttl_seconds, "workflowId": workflow_id, "projectId": project_id,
        "channel": channel, "callbackUrl": callback_url,
    }  # fmt: skip
    return post("/v1/jobs", job_of, body, idempotency_key)


def create_child(
    parent_job_id: str,
    child_index: int,
    job_type: str,
    title: str,
    user_id: str = "local",
    *,
    weight: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    queue: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    estimated_completion_at: datetime | str | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Report a child of a parent. child_index: from 0. weight: its share, in a parent whose mode is weighted."""
    body = {
        **_described(job_type, title, user_id, metadata, queue, stage, estimated_completion_at), "parentJobId": parent_job_id,
        "childIndex": child_index, "weight": weight,
    }  # fmt: skip
    return post("/v1/jobs", job_of, body, idempotency_key)


def create_batch(
    job_type: str,
    parent_title: str,
    child_titles: Sequence[str],
    user_id: str = "local",
    *,
    child_progress_mode: str = "average",
    on_child_failure: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    ttl_seconds: int | None = None,
    project_id: str | None = None,
    channel: str | None = None,
    callback_url: str | None = None,
    idempotency_key: str | None = None,
) -> Call[FamilyView]:
    """Report a parent and all of its children at once."""
    body = {
        "jobType": job_type, "userId": user_id, "parentTitle": parent_title, "childTitles": list(child_titles), "metadata": metadata,
        "childProgressMode": child_progress_mode, "onChildFailure": on_child_failure, "ttlSeconds": ttl_seconds, "projectId": project_id,
        "channel": channel, "callbackUrl": callback_url,
    }  # fmt: skip
    return post("/v1/jobs/batch", family_of, body, idempotency_key)


def set_progress(
    job_id: str,
    percent: float | None = None,
    *,
    message: str | None = None,
    stage: Mapping[str, Any] | None = None,
    queue: Mapping[str, Any] | None = None,
    estimated_completion_at: datetime | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Report how far a job is: 0 to 100. It never goes back. metadata: merged into what was told before."""
    body = {
        "progress": percent, "message": message, "stage": stage, "queue": queue, "metadata": metadata,
        "estimatedCompletionAt": None if estimated_completion_at is None else timestamp(estimated_completion_at),
    }  # fmt: skip
    return post(job_path(job_id, "progress"), job_of, body, idempotency_key)


def complete(
    job_id: str, result: Mapping[str, Any] | None = None, *, message: str | None = None, idempotency_key: str | None = None
) -> Call[JobView]:
    """Report that a job is done. result: {"url": ...} becomes the job's output; up to 100 kB."""
    return post(job_path(job_id, "complete"), job_of, {"result": result, "message": message}, idempotency_key)


def fail(
    job_id: str,
    code: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    retryable: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Report that a job failed. retryable: False when another attempt would end in the same way."""
    body = {"error": given(code=code, message=message, details=details), "retryable": retryable}
    return post(job_path(job_id, "fail"), job_of, body, idempotency_key)


def _described(
    job_type: str, title: str, user_id: str, metadata: Mapping[str, Any] | None, queue: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None, estimated: datetime | str | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "jobType": job_type, "userId": user_id, "title": title, "metadata": metadata, "queue": queue, "stage": stage,
        "estimatedCompletionAt": None if estimated is None else timestamp(estimated),
    }  # fmt: skip
