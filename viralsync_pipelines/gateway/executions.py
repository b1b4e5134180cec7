"""Execution plans over HTTP: `POST /api/execute`, and how far they have come. `GET /v1/models`: what plans may ask for.

What belongs here: these routes, and what is refused before anything is written. What does not: what a plan is (generate/plans.py), carrying
it out (generate/ledger.py), how a status looks (execution_view.py).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.gateway.auth import Principal, reader, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.execution_view import execution_object
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.films import film_check
from viralsync_pipelines.gateway.idempotency import Claim, claimed
from viralsync_pipelines.gateway.renders import callback_problems, refuse_beyond_plan
from viralsync_pipelines.gateway.shown import base_of
from viralsync_pipelines.gateway.values import Values
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.ledger import Order, open_execution
from viralsync_pipelines.generate.operations import OPERATIONS
from viralsync_pipelines.generate.plans import Plan, PlanInvalid, read_plan
from viralsync_pipelines.generate.sealing import KEY_NAMES, seal
from viralsync_pipelines.jobs.view import iso

if TYPE_CHECKING:
    from viralsync_pipelines.generate.desk import Desk
    from viralsync_pipelines.generate.records import Execution

router = APIRouter(tags=["generate"])
_NAME = r"^[^\x00-\x1f\x7f]{1,255}$"
_ID = r"^[A-Za-z0-9_-]{1,64}$"
# Executions that are based on one another: so many are looked through.
_MOST_BASES = 20


class ExecuteOptions(BaseModel):
    """webhook: told of the execution's progress and end. providerApiKeys: by provider, before the server's own; kept sealed.

    webhookSecret: callbacks are signed with the workspace's secret; another one is refused, never left out in silence.
    """

    model_config = ConfigDict(extra="forbid")

    webhook: Annotated[str, Field(max_length=2_000)] | None = None
    webhookSecret: Annotated[str, Field(max_length=200)] | None = None
    baseExecutionId: Annotated[str, Field(pattern=_ID)] | None = None
    providerApiKeys: Annotated[dict[str, Annotated[str, Field(min_length=1, max_length=1_000)]], Field(max_length=20)] | None = None
    projectId: Annotated[str, Field(pattern=_NAME)] | None = None
    channel: Annotated[str, Field(pattern=_NAME)] | None = None


class ExecuteRequest(BaseModel):
    """executionPlan: {jobs: [{id, operation, params, dependsOn}], baseExecutionId?}."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "executionPlan": {
                    "jobs": [{"id": "test-gen", "operation": "generateImage", "params": {"prompt": "A beautiful sunset over mountains"}}],
                },
            }
        },
    )  # fmt: skip

    executionPlan: Values
    options: ExecuteOptions = Field(default_factory=ExecuteOptions)


class Submitted(BaseModel):
    """jobId: the same id, as the Jobs API knows it."""

    executionId: str
    jobId: str
    status: Literal["pending"]
    createdAt: str


@router.post(
    "/api/execute", status_code=202, summary="Carry out a plan of generations", response_model=Submitted,
    responses=documented(400, 401, 402, 403, 409, 413, 422, 429, 503),
)  # fmt: skip
def execute(request: Request, order: ExecuteRequest, principal: Annotated[Principal, Depends(writer)]) -> Response:
    deps, desk = deps_of(request), desk_of(deps_of(request))
    with claimed(request, principal, order.model_dump(mode="json")) as claim:
        if claim.replayed is not None:
            return claim.replayed
        base_id, plan = _judged(deps, desk, principal, order)
        # An order that was begun already has its own films at work.
        if not claim.resumed and any(OPERATIONS[job.operation].by == "render" for job in plan.jobs):
            refuse_beyond_plan(deps, principal)
        options = order.options
        open_claimed(
            deps, desk, claim,
            Order(
                claim.job_id, ids_of(claim.job_id, plan), principal.workspace, plan, base_id=base_id,
                keys=seal(deps.seal_secret, options.providerApiKeys) if options.providerApiKeys else None, title=_title_of(plan),
                project_id=options.projectId, channel=options.channel, callback_url=options.webhook,
            ),
        )  # fmt: skip
        kept = _execution(desk, principal, claim.job_id)
        told = {"executionId": kept.id, "jobId": kept.id, "status": "pending", "createdAt": iso(kept.created_at)}
        where = f"{base_of(deps, request)}/api/execute/{kept.id}/status"
        return claim.reply(202, told, {"Location": where, "Retry-After": "3"})


def open_claimed(deps: Deps, desk: Desk, claim: Claim, order: Order) -> None:
    """Write an execution down, once for each claim: its id and those of its jobs are the claim's."""
    claim.hold()
    open_execution(desk.ledger, order)


@router.get(
    "/api/status/{execution_id}", summary="How far an execution is", response_model=dict[str, Any], responses=documented(401, 404, 503)
)
def status(request: Request, execution_id: str, principal: Annotated[Principal, Depends(reader)]) -> Any:
    return _status(request, execution_id, principal)


@router.get(
    "/api/execute/{execution_id}/status", summary="How far an execution is", response_model=dict[str, Any],
    responses=documented(401, 404, 503),
)  # fmt: skip
def execution_status(request: Request, execution_id: str, principal: Annotated[Principal, Depends(reader)]) -> Any:
    return _status(request, execution_id, principal)


@router.get("/v1/models", summary="Models that plans may name", response_model=dict[str, Any], responses=documented(503))
def models(request: Request, principal: Annotated[Principal, Depends(reader)]) -> Any:
    """available: whether the server has a key for the provider; another can come with a plan."""
    desk = desk_of(deps_of(request))
    listed = [
        {
            "id": model.id, "provider": model.provider, "type": model.type, "media": model.media, "params": dict(model.params),
            "strategies": list(model.strategies), "defaultStrategy": model.default_strategy,
            "price": {"usd": model.price.usd, "per": model.price.per} if model.price is not None else None,
            "available": model.provider not in KEY_NAMES or bool(desk.calls.keys.get(KEY_NAMES[model.provider])),
        }
        for model in sorted(desk.registry, key=lambda each: (each.type, each.id))
    ]  # fmt: skip
    return JSONResponse({"models": listed})


# ---- what is checked -------------------------------------------------------------------------------------------------


def desk_of(deps: Deps) -> Desk:
    """Refused 503 where nothing is generated."""
    if deps.desk is None:
        raise Refused(503, "GENERATION_UNAVAILABLE", "this gateway was started without generation; start it with `viralsync up`")
    return deps.desk


def ids_of(execution_id: str, plan: Plan) -> dict[str, str]:
    """Of each job's record: the same for the same request, however often it is begun."""
    return {job.id: "job_" + hashlib.sha256(f"{execution_id}/{job.id}".encode()).hexdigest()[:12] for job in plan.jobs}


def _judged(deps: Deps, desk: Desk, principal: Principal, order: ExecuteRequest) -> tuple[str | None, Plan]:
    """The execution it is based on, and the plan; every fault of the request told at once."""
    options, problems = order.options, list[Problem]()
    if options.webhook is not None:
        problems += callback_problems(deps, options.webhook, "/options/webhook")
    if options.webhookSecret is not None:
        workspace, given = deps.accounts.workspace(principal.workspace), options.webhookSecret.encode("utf-8", "replace")
        if workspace is None or not hmac.compare_digest(given, workspace.webhook_secret.encode()):
            told = "callbacks are signed with the workspace's own secret; leave this out, `viralsync keys secret` shows that one"
            problems.append(Problem("/options/webhookSecret", "VALUE_NOT_ALLOWED", told))
    for name in options.providerApiKeys or {}:
        if name not in KEY_NAMES:
            told = f"no provider {name[:60]!r} takes a key; there are {', '.join(KEY_NAMES)}"
            problems.append(Problem("/options/providerApiKeys", "PROVIDER_UNKNOWN", told))
    in_plan = order.executionPlan.get("baseExecutionId")
    base_id: Any = options.baseExecutionId if options.baseExecutionId is not None else in_plan
    finished: set[str] = set()
    if base_id is not None:
        found = _finished(desk, principal, base_id) if isinstance(base_id, str) else None
        if found is None:
            at = "/options/baseExecutionId" if options.baseExecutionId is not None else "/executionPlan/baseExecutionId"
            told = f"there is no execution {str(base_id)[:100]!r} here; leave it out, or give the id of one of your workspace"
            problems.append(Problem(at, "EXECUTION_UNKNOWN", told))
        finished = found or set()
    document = {name: value for name, value in order.executionPlan.items() if name != "baseExecutionId"}
    for name in document:
        if name != "jobs":
            told = f"a plan has no {name[:60]!r}; it has jobs, and baseExecutionId"
            problems.append(Problem(f"/executionPlan/{name[:60]}", "FIELD_UNKNOWN", told))
    plan: Plan | None = None
    try:
        plan = read_plan(document, desk.registry, finished=finished, check_film=film_check(deps, principal))
        for number, job in enumerate(plan.jobs):
            if job.told is not None:
                problems += callback_problems(deps, job.told, f"/executionPlan/jobs/{number}/params/webhook")
    except PlanInvalid as error:
        problems += error.problems
    if problems or plan is None:
        raise PlanInvalid(sorted(set(problems)))
    return base_id, plan


def _finished(desk: Desk, principal: Principal, base_id: str) -> set[str] | None:
    """Names of jobs that are done there, and in what that one is based on; None when there is no such execution."""
    done: set[str] = set()
    execution_id: str | None = base_id
    with desk.ledger.database.reading() as connection:
        for _ in range(_MOST_BASES):
            execution = records.find_execution(connection, execution_id) if execution_id is not None else None
            if execution is None or execution.workspace != principal.workspace:
                break
            rows = records.of_execution(connection, execution.id, records.row.status == "completed")
            done |= {each.job_id for each in rows if each.result is not None}
            execution_id = execution.base_execution_id
        else:
            return done
    return done if execution_id != base_id else None


def _title_of(plan: Plan) -> str:
    names = [job.id for job in plan.jobs[:3]]
    return ", ".join(names) + (f" and {len(plan.jobs) - 3} more" if len(plan.jobs) > 3 else "")


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _status(request: Request, execution_id: str, principal: Principal) -> Response:
    deps, desk = deps_of(request), desk_of(deps_of(request))
    execution = _execution(desk, principal, execution_id)
    with desk.ledger.database.reading() as connection:
        jobs = records.of_execution(connection, execution.id)
    body: Mapping[str, Any] = execution_object(execution, jobs, base_of(deps, request))
    headers = {"Cache-Control": "no-cache"}
    if execution.completed_at is None:
        headers["Retry-After"] = "3"
    return JSONResponse(body, headers=headers)


def _execution(desk: Desk, principal: Principal, execution_id: str) -> Execution:
    found = None
    if len(execution_id) <= 64 and "\x00" not in execution_id:
        with desk.ledger.database.reading() as connection:
            found = records.find_execution(connection, execution_id)
    if found is None or found.workspace != principal.workspace:
        told = f"there is no execution {execution_id[:100]!r} here; GET /v1/jobs?type=workflow lists those of your workspace"
        raise Refused(404, "EXECUTION_NOT_FOUND", told)
    return found
