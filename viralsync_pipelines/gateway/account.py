"""`GET /v1/me` and `GET /v1/usage`: who a key is, what its workspace may do, and what it has spent.

What belongs here: these routes and their wire names. What does not: sums (storage/metering.py), limits (plans.py).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from viralsync_pipelines.gateway.auth import Principal, reader
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.gateway.plans import Plan
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.metering import report

router = APIRouter(prefix="/v1", tags=["account"], responses=documented(401, 403, 429))


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, json_schema_serialization_defaults_required=True)


class Me(_Wire):
    """Whom a key belongs to. A self-hosted studio has workspaces and no people: userId is the workspace, and email is null."""

    user_id: str
    plan: str
    email: str | None = None
    workspace: str
    key_id: str
    read_only: bool
    limits: Plan


class Allowed(_Wire):
    """Render minutes; null is no limit."""

    minutes_per_month: float | None
    minutes_per_day: float | None


class Resets(_Wire):
    """When the sums start anew: the 1st of the month and midnight, UTC."""

    month: str
    day: str


class JobsDone(_Wire):
    """Jobs that ended done, of every type."""

    this_month: int
    today: int
    by_type: dict[str, int]


class Usage(_Wire):
    """Render minutes are minutes of finished films. What failed or was cancelled costs nothing."""

    workspace: str
    plan: str
    minutes_this_month: float
    minutes_today: float
    allowed: Allowed
    resets: Resets
    jobs: JobsDone


@router.get("/me")
def me(principal: Annotated[Principal, Depends(reader)]) -> Me:
    """Whom this key belongs to, and what it may do."""
    return Me(
        user_id=principal.workspace, plan=principal.plan_name, workspace=principal.workspace, key_id=principal.key_id,
        read_only=principal.read_only, limits=principal.plan,
    )  # fmt: skip


@router.get("/usage")
def usage(request: Request, principal: Annotated[Principal, Depends(reader)]) -> Usage:
    """What this workspace has made this month and today."""
    deps = deps_of(request)
    spent = report(deps.database, principal.workspace, deps.now_ms())
    return Usage(
        workspace=principal.workspace,
        plan=principal.plan_name,
        minutes_this_month=_minutes(spent.month.seconds),
        minutes_today=_minutes(spent.today.seconds),
        allowed=Allowed(minutes_per_month=principal.plan.minutes_per_month, minutes_per_day=principal.plan.minutes_per_day),
        resets=Resets(month=iso(spent.month_resets_ms) or "", day=iso(spent.today_resets_ms) or ""),
        jobs=JobsDone(
            this_month=spent.month.jobs, today=spent.today.jobs, by_type={type_: each.jobs for type_, each in spent.by_type.items()}
        ),
    )


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 4)
