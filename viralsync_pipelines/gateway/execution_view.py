"""An execution as its status endpoints show it: the names of the requirement, and what is known beyond them.

What belongs here: these JSON values. Pure. What does not: HTTP; Jobs, which show the same in another way (jobs/view.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate.provider import HINTS, Blame
from viralsync_pipelines.jobs.view import iso

if TYPE_CHECKING:
    from viralsync_pipelines.generate.records import Execution, Record


def execution_object(execution: Execution, jobs: Sequence[Record], base: str) -> dict[str, Any]:
    """base: of the gateway, before every address of what was made."""
    result = dict(execution.result) if execution.result is not None else None
    if result is not None:
        leaf = next((each for each in jobs if each.job_id == result.get("jobId")), None)
        if leaf is not None:
            result["url"] = (result_at(base, leaf) or {}).get("url", result.get("url"))
    return {
        "id": execution.id, "executionId": execution.id, "status": execution.status, "jobs": [job_object(each, base) for each in jobs],
        "result": result, "error": execution.error, "baseExecutionId": execution.base_execution_id, "createdAt": iso(execution.created_at),
        "completedAt": iso(execution.completed_at), "links": {"job": f"{base}/v1/jobs/{execution.id}"},
    }  # fmt: skip


def job_object(record: Record, base: str) -> dict[str, Any]:
    """One job of it. status as the requirement has it; stage: blocked, ready, submitting, unsure, waiting, settled, collecting, ended."""
    return {
        "id": record.job_id, "recordId": record.id, "operation": record.operation, "type": record.type, "status": record.status,
        "stage": record.stage, "progress": dict(record.progress) if record.progress is not None else None,
        "result": result_at(base, record), "error": record.error, "hint": hint_of(record), "dependsOn": list(record.dependencies),
        "modelId": record.model_id, "provider": record.provider, "providerJobId": record.provider_job_id,
        "providerJobStatus": record.provider_job_status, "waitingStrategy": record.waiting_strategy, "pollAttempts": record.poll_attempts,
        "nextPollAt": iso(record.next_poll_at), "attempt": record.attempt, "costUsd": record.cost_usd, "createdAt": iso(record.created_at),
        "startedAt": iso(record.started_at), "completedAt": iso(record.completed_at),
    }  # fmt: skip


def result_at(base: str, record: Record) -> dict[str, Any] | None:
    """What it made, at the addresses of the gateway that was asked."""
    if record.result is None:
        return None
    result, outputs = dict(record.result), []
    for each in record.result.get("outputs") or ():
        own = {name: value for name, value in each.items() if name != "key"}
        if each.get("key") and each.get("name"):
            own["url"] = file_url(base, record.id, each["name"])
        outputs.append(own)
    if outputs:
        result |= {"outputs": outputs, "url": outputs[0].get("url")}
    return result


def file_url(base: str, record_id: str, name: str) -> str:
    return f"{base}/v1/jobs/{record_id}/files/{name}"


def hint_of(record: Record) -> str | None:
    """What to do about a failure."""
    if record.status != "failed":
        return None
    if (record.error or "").startswith("DEPENDENCY_FAILED"):
        return "retry the job that it depends on; this one follows"
    fault: Mapping[str, Any] = (record.outcome or {}).get("fault") or {}
    try:
        return HINTS[Blame(fault.get("blame", "passing"))]
    except ValueError:
        return None
