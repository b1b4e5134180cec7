"""Jobs that a program of the user's own reports: `POST /v1/jobs`, a batch at once, and how they go on.

What belongs here: these routes. What does not: bodies (report_requests.py), what a report does (board/reported.py), cancelling and
retrying (jobs.py, for jobs of every kind).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from viralsync_pipelines.board.report_rows import NewJob
from viralsync_pipelines.errors import JobNotFound, Problem, ReportRefused
from viralsync_pipelines.gateway.auth import Principal, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.idempotency import claimed
from viralsync_pipelines.gateway.objects import ChildrenReply, JobObject
from viralsync_pipelines.gateway.report_requests import BatchReport, CompleteReport, FailReport, JobReport, ProgressReport
from viralsync_pipelines.gateway.shown import base_of, job_of, shown
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.model import Status

router = APIRouter(tags=["reported jobs"])
_CREATE = documented(400, 401, 403, 404, 409, 413, 422, 429)
_REPORT = documented(400, 401, 403, 404, 409, 413, 422, 429)


@router.post("/v1/jobs", status_code=201, summary="Report a job of your own", response_model=JobObject, responses=_CREATE)
def create(request: Request, report: JobReport, principal: Annotated[Principal, Depends(writer)]) -> Response:
    """A plain job, a parent of jobs, or a child. Types `render.*` and `publish.*` are the engine's own."""
    deps = deps_of(request)
    with claimed(request, principal, report.model_dump(mode="json")) as claim:
        if claim.replayed is not None:
            return claim.replayed
        check_callback(deps, report.callbackUrl)
        new = NewJob(
            claim.job_id, principal.workspace, report.jobType, report.title, report.userId, report.projectId, report.channel,
            report.callbackUrl, _about(report.workflowId, report.metadata, report.estimatedDuration),
            _given(queue=_plain(report.queue), stage=_plain(report.stage), estimatedMs=_ms(report.estimatedCompletionAt)),
            report.ttlSeconds * 1_000, report.childCount or 0, report.childProgressMode or "average", report.onChildFailure or "fail",
            report.parentJobId, report.childIndex or 0, report.weight or 1,
        )  # fmt: skip
        claim.hold()
        try:
            job = deps.reported.create(new)
        except JobNotFound:
            raise _not_reported(deps, principal, report.parentJobId or "") from None
        base = base_of(deps, request)
        return claim.reply(201, shown(deps, base, job), {"Location": f"{base}/v1/jobs/{job.id}"})


@router.post(
    "/v1/jobs/batch", status_code=201, summary="Report a parent and its children at once", response_model=ChildrenReply, responses=_CREATE
)
def create_batch(request: Request, report: BatchReport, principal: Annotated[Principal, Depends(writer)]) -> Response:
    """All of them or none. Children are numbered in the order of their titles."""
    deps = deps_of(request)
    with claimed(request, principal, report.model_dump(mode="json")) as claim:
        if claim.replayed is not None:
            return claim.replayed
        check_callback(deps, report.callbackUrl)
        whose = (principal.workspace, report.jobType)
        parent = NewJob(
            claim.job_id, *whose, report.parentTitle, report.userId, report.projectId, report.channel, report.callbackUrl,
            _about(report.workflowId, report.metadata), ttl_ms=report.ttlSeconds * 1_000, child_count=len(report.childTitles),
            mode=report.childProgressMode, on_child_failure=report.onChildFailure,
        )  # fmt: skip
        children = [
            NewJob(
                _child_id(claim.job_id, index), *whose, title, report.userId, about=_about(report.workflowId), parent_id=claim.job_id,
                index=index,
            )
            for index, title in enumerate(report.childTitles)
        ]  # fmt: skip
        claim.hold()
        family = deps.reported.create_family(parent, children)
        base = base_of(deps, request)
        jobs = sorted(family.children.values(), key=lambda job: job.index)
        told = {"parent": shown(deps, base, family.job), "jobs": [shown(deps, base, job) for job in jobs]}
        return claim.reply(201, told, {"Location": f"{base}/v1/jobs/{family.job.id}"})


@router.post("/v1/jobs/{job_id}/progress", summary="Report how far a job is", response_model=JobObject, responses=_REPORT)
def progress(request: Request, job_id: str, report: ProgressReport, principal: Annotated[Principal, Depends(writer)]) -> Response:
    told = _given(
        progress=report.progress, message=report.message, queue=_plain(report.queue), stage=_plain(report.stage),
        estimatedMs=_ms(report.estimatedCompletionAt), metadata=report.metadata,
    )  # fmt: skip
    return _reported(request, principal, job_id, report.model_dump(mode="json"), moves.PROGRESS, told)


@router.post("/v1/jobs/{job_id}/complete", summary="Report that a job is done", response_model=JobObject, responses=_REPORT)
def complete(
    request: Request, job_id: str, principal: Annotated[Principal, Depends(writer)], report: CompleteReport | None = None
) -> Response:
    """A parent needs none: it is done with its last child."""
    asked = report or CompleteReport()
    told = _given(result=asked.result, message=asked.message)
    return _reported(request, principal, job_id, asked.model_dump(mode="json"), moves.COMPLETED, told, Status.DONE)


@router.post("/v1/jobs/{job_id}/fail", summary="Report that a job failed", response_model=JobObject, responses=_REPORT)
def fail(request: Request, job_id: str, report: FailReport, principal: Annotated[Principal, Depends(writer)]) -> Response:
    told = _given(**report.error.model_dump(), retryable=report.retryable)
    return _reported(request, principal, job_id, report.model_dump(mode="json"), moves.FAILED, told, Status.FAILED)


def _reported(
    request: Request, principal: Principal, job_id: str, sent: Any, kind: str, told: Mapping[str, Any], end: Status | None = None
) -> Response:
    """Take a report in, once for each Idempotency-Key; the job as it is then. end: what the job is once this report was taken in."""
    deps = deps_of(request)
    with claimed(request, principal, sent) as claim:
        if claim.replayed is not None:
            return claim.replayed
        claim.hold()
        try:
            job = deps.reported.report(principal.workspace, job_id, kind, told)
        except JobNotFound:
            raise _not_reported(deps, principal, job_id) from None
        except ReportRefused:
            job = job_of(deps, principal, job_id)
            # The request that was cut off before its answer was kept may have got this far.
            if not claim.resumed or job.status is not end:
                raise
        return claim.reply(200, shown(deps, base_of(deps, request), job))


def check_callback(deps: Deps, url: str | None) -> None:
    """Refused 400 for an address that no callback would be sent to."""
    from viralsync_pipelines.board.deliveries import callback_fault

    fault = callback_fault(url, deps.allow_hosts) if url is not None else None
    if fault is not None:
        raise Refused(400, "VALIDATION_ERROR", fault, problems=[Problem("/callbackUrl", "CALLBACK_REFUSED", fault)])


def _not_reported(deps: Deps, principal: Principal, job_id: str) -> Refused:
    """Why a job takes no reports: it is Dagster's, or (Refused 404 at once) nobody's whom the caller may see."""
    job = job_of(deps, principal, job_id)
    told = f"{job.id} is done by Dagster, which tells its progress itself; report on jobs that were made with POST /v1/jobs"
    return Refused(409, "INVALID_STATE", told)


def _child_id(parent_id: str, index: int) -> str:
    """The same for the same request, however often it is begun."""
    return "job_" + hashlib.sha256(f"{parent_id}/{index}".encode()).hexdigest()[:12]


def _about(workflow_id: str | None, metadata: Mapping[str, Any] | None = None, duration_ms: int | None = None) -> dict[str, Any]:
    return _given(workflowId=workflow_id, metadata=metadata, estimatedDuration=duration_ms)


def _plain(value: Any) -> dict[str, Any] | None:
    return value.model_dump() if value is not None else None


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _ms(moment: datetime | None) -> int | None:
    """Unix milliseconds."""
    if moment is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
