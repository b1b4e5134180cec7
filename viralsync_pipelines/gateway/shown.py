"""Jobs as a caller of the API sees them: only those of its workspace, with addresses that lead back to this gateway.

What belongs here: finding a caller's job, and dressing jobs and changes for the wire. What does not: routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from viralsync_pipelines.board.results import output_url_at
from viralsync_pipelines.gateway.auth import Principal
from viralsync_pipelines.gateway.deps import Deps
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.kinds import parent_of_child
from viralsync_pipelines.jobs.model import Job
from viralsync_pipelines.jobs.view import job_object


def base_of(deps: Deps, request: Request) -> str:
    """Where this gateway is reached: API_BASE_URL, or as the request has it."""
    return (deps.api_base_url or str(request.base_url)).rstrip("/")


def job_of(deps: Deps, principal: Principal, job_id: str) -> Job:
    """A job or child of the caller's workspace. Refused 404 for any other, in the same words as for one that never was."""
    family = family_of(deps, principal, job_id)
    job = family.job if family.job.id == job_id else family.children.get(job_id)
    if job is None:
        raise missing(job_id)
    return job


def family_of(deps: Deps, principal: Principal, job_id: str) -> Family:
    """The family of a job or child of the caller's workspace."""
    family = deps.board.family(job_id) if len(job_id) <= 100 else None
    if family is None or family.job.workspace != principal.workspace:
        raise missing(job_id)
    if job_id != family.job.id and job_id not in family.children:
        raise missing(job_id)
    if principal.only_job and principal.only_job not in {job_id, family.job.id}:
        raise missing(job_id)
    return family


def missing(job_id: str) -> Refused:
    return Refused(404, "JOB_NOT_FOUND", f"there is no job {job_id[:100]!r} here; GET /v1/jobs lists the jobs of your workspace")


def shown(deps: Deps, base: str, job: Job) -> dict[str, Any]:
    """The job object."""
    entry = deps.board.known(job.id)
    run = job.attempts[-1].run_id if job.attempts else (entry.last.run_id if entry is not None else "")
    dagster = f"{deps.dagster_url}/runs/{run}" if deps.dagster_url and run and entry is not None else None
    around = deps.board.surroundings(job, output_url=output_url_at(base)(job), base=base, dagster_url=dagster)
    return job_object(job, around)


def etag_of(job: Job, body: Mapping[str, Any]) -> str:
    """Changes with the job, and with its place in the queue."""
    queue = body.get("queue")
    place = f"-{queue.get('position')}.{queue.get('total')}" if isinstance(queue, Mapping) else ""
    return f'W/"{job.attempt}.{job.sequence}{place}"'


def root_id(job_id: str) -> str:
    return parent_of_child(job_id) or job_id
