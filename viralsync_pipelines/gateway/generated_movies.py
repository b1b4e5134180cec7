"""A movie whose layers are yet to be generated, sent in as any other: one execution of kind render.movie, generations first.

What belongs here: the order for it. What does not: the plan (generate/in_movies.py), other movies (renders.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.gateway.executions import desk_of, ids_of, open_claimed
from viralsync_pipelines.gateway.films import film_check
from viralsync_pipelines.generate.in_movies import at_layers, with_generations, worked_out
from viralsync_pipelines.generate.ledger import Order
from viralsync_pipelines.generate.plans import Plan, PlanInvalid, read_plan

if TYPE_CHECKING:
    from viralsync_pipelines.gateway.auth import Principal
    from viralsync_pipelines.gateway.deps import Deps
    from viralsync_pipelines.gateway.idempotency import Claim
    from viralsync_pipelines.gateway.renders import RenderRequest

KIND = "render.movie"


def judged(deps: Deps, principal: Principal, order: RenderRequest) -> tuple[Plan | None, list[Problem]]:
    """The plan of a movie with such layers, or None and every problem with its place in the request."""
    desk = desk_of(deps)
    movie, variables = worked_out(order.movie, order.variables)

    def type_of(model_id: str) -> str | None:
        model = desk.registry.get(model_id)
        return model.type if model is not None else None

    expanded, problems = with_generations(movie, type_of=type_of, variables=variables, draft=order.draft)
    problems = [Problem(f"/movie{each.pointer}", each.code, each.message) for each in problems]
    plan: Plan | None = None
    try:
        plan = read_plan(expanded.plan, desk.registry, check_film=film_check(deps, principal), at="/plan")
    except PlanInvalid as error:
        problems += at_layers(list(error.problems), expanded, "/plan", "/movie")
    return None if problems else plan, problems


def begin(deps: Deps, principal: Principal, order: RenderRequest, claim: Claim, plan: Plan) -> None:
    title = order.movie.get("title") or order.movie.get("id") or ""
    open_claimed(
        deps, desk_of(deps), claim,
        Order(
            claim.job_id, ids_of(claim.job_id, plan), principal.workspace, plan, title=str(title)[:200], project_id=order.projectId,
            channel=order.channel, callback_url=order.callbackUrl, kind=KIND,
        ),
    )  # fmt: skip
