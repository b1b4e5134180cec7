"""`POST /v1/render/jobs`: a movie JSON becomes a run in Dagster's queue, at once and once.

What belongs here: the request, what is refused before Dagster is asked, the order. What does not: validating a movie (render/prepare.py),
reaching Dagster (the launcher).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from viralsync_pipelines.errors import MovieInvalid, Problem, SourceError
from viralsync_pipelines.gateway.auth import Principal, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.gateway.idempotency import Claim, claimed
from viralsync_pipelines.gateway.plans import Used, judge
from viralsync_pipelines.gateway.shown import base_of
from viralsync_pipelines.gateway.values import MOST_LEVELS, Values, too_deep
from viralsync_pipelines.generate.in_movies import has_generated
from viralsync_pipelines.jobs.orders import (
    CALLBACK_TAG,
    CHANNEL_TAG,
    DEFAULT_WORKSPACE,
    DRAFT_TAG,
    JOB_TAG,
    MAX_SECONDS_TAG,
    PRIORITIES,
    PRIORITY_TAG,
    PROJECT_TAG,
    QUEUE_TAG,
    SIZE_TAG,
    WORKSPACE_TAG,
    RenderOrder,
)
from viralsync_pipelines.movie.document import child
from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.render.places import parse
from viralsync_pipelines.render.prepare import movie_id_of, read_spec
from viralsync_pipelines.render.registry import keep_version, register
from viralsync_pipelines.storage.metering import report

router = APIRouter(tags=["render"])
_NAME = r"^[^\x00-\x1f\x7f]{1,255}$"


class RenderOptions(BaseModel):
    """How many scenes are rendered at a time: qualityPreset stable 2, balanced 3, fast 4, turbo 6, or a number of one's own."""

    model_config = ConfigDict(extra="forbid")

    qualityPreset: Literal["stable", "balanced", "fast", "turbo"] = "balanced"
    requestedConcurrency: Annotated[int, Field(ge=1, le=32)] | None = None


class RenderRequest(BaseModel):
    """A film to make. movie: a movie JSON; variables: values for its `variables`. queue: its place is counted within this name."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "kind": "movie", "projectId": "proj_abc123",
                "movie": {"width": 1080, "height": 1920, "scenes": [{"id": "hello", "duration": 3, "bgColor": "#1a1a2e", "layers": []}]},
            }
        },
    )  # fmt: skip

    kind: Literal["movie"]
    projectId: Annotated[str, Field(pattern=_NAME)]
    movie: dict[str, Any]
    renderOptions: RenderOptions | None = None
    callbackUrl: Annotated[str, Field(max_length=2_000)] | None = None
    variables: Values = Field(default_factory=dict)
    draft: bool = False
    priority: Literal["low", "normal", "high"] = "normal"
    channel: Annotated[str, Field(pattern=_NAME)] | None = None
    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "default"


class Submitted(BaseModel):
    jobId: str
    status: Literal["queued"]


@router.post(
    "/v1/render/jobs", status_code=202, summary="Render a movie", response_model=Submitted,
    responses=documented(400, 401, 402, 403, 409, 413, 422, 429, 503),
)  # fmt: skip
def submit(request: Request, order: RenderRequest, principal: Annotated[Principal, Depends(writer)]) -> Response:
    deps = deps_of(request)
    with claimed(request, principal, order.model_dump(mode="json")) as claim:
        if claim.replayed is not None:
            return claim.replayed
        known = deps.board.entry(claim.job_id) if claim.resumed else None
        if has_generated(order.movie):
            _generate(deps, principal, order, claim)
        # A run that was made and never queued, as when Dagster's web server died in between, is no job yet.
        elif known is None or known.last.status == "NOT_STARTED":
            _launch(deps, principal, order, claim)
        where = f"{base_of(deps, request)}/v1/jobs/{claim.job_id}"
        return claim.reply(202, {"jobId": claim.job_id, "status": "queued"}, {"Location": where, "Retry-After": "3"})


def _launch(deps: Deps, principal: Principal, order: RenderRequest, claim: Claim) -> None:
    movie = _valid(deps, principal, order)
    seconds = known_seconds(movie)
    refuse_beyond_plan(deps, principal, width=movie.width, height=movie.height, seconds=seconds or 0.0)
    movie_id = movie_id_of(order.movie)
    partition = movie_id if principal.workspace == DEFAULT_WORKSPACE else f"{principal.workspace}.{movie_id}"
    document = keep_version(deps.store, movie_id, order.movie)
    options = order.renderOptions or RenderOptions()
    claim.hold()
    deps.launcher.launch(
        RenderOrder(
            claim.job_id, partition, document, order.variables, order.draft, (), options.qualityPreset, options.requestedConcurrency,
            tags=_tags(principal, order, claim.job_id, seconds, movie),
        ),
        resumed=claim.resumed,
    )  # fmt: skip
    if principal.workspace == DEFAULT_WORKSPACE:
        # So that Materialize in Dagster's UI makes the same film again.
        register(deps.store, movie_id, order.movie, "")
    deps.board.sync(force=True)


def _generate(deps: Deps, principal: Principal, order: RenderRequest, claim: Claim) -> None:
    """A movie some of whose layers are generated first: one execution, whose last job is the render."""
    from viralsync_pipelines.gateway.generated_movies import begin, judged

    problems = [] if order.callbackUrl is None else callback_problems(deps, order.callbackUrl, "/callbackUrl")
    _refuse_too_deep(order, problems)
    plan, faults = judged(deps, principal, order)
    if plan is None or problems:
        raise MovieInvalid(sorted({*problems, *faults}))
    refuse_beyond_plan(deps, principal)
    begin(deps, principal, order, claim, plan)


def _tags(principal: Principal, order: RenderRequest, job_id: str, seconds: float | None, movie: Movie) -> dict[str, str]:
    tags = {JOB_TAG: job_id, WORKSPACE_TAG: principal.workspace, PROJECT_TAG: order.projectId, QUEUE_TAG: order.queue}
    tags[f"viralsync/plan.{principal.plan_name}"] = principal.workspace
    if order.priority != "normal":
        tags[PRIORITY_TAG] = str(PRIORITIES[order.priority])
    if order.channel is not None:
        tags[CHANNEL_TAG] = order.channel
    if order.callbackUrl is not None:
        tags[CALLBACK_TAG] = order.callbackUrl
    if principal.plan.max_minutes is not None:
        tags[MAX_SECONDS_TAG] = f"{principal.plan.max_minutes * 60:g}"
    if order.draft:
        tags[DRAFT_TAG] = "true"
    if seconds is not None:
        tags[SIZE_TAG] = str(round(seconds * movie.fps))
    return tags


def _valid(deps: Deps, principal: Principal, order: RenderRequest) -> Movie:
    """The movie, every fault of the request told at once with its place in it."""
    problems = [] if order.callbackUrl is None else callback_problems(deps, order.callbackUrl, "/callbackUrl")
    _refuse_too_deep(order, problems)
    movie: Movie | None = None
    try:
        movie, expansion = read_spec(order.movie, order.variables)
        problems += foreign_sources(deps, principal, expansion.document)
    except MovieInvalid as error:
        problems += [Problem(f"/movie{p.pointer}", p.code, p.message) for p in error.problems]
    if problems or movie is None:
        raise MovieInvalid(sorted(problems))
    return movie


def callback_problems(deps: Deps, url: str, at: str) -> list[Problem]:
    """What is wrong with an address to be called back. at: where it stands in the request."""
    from viralsync_pipelines.board.deliveries import callback_fault

    fault = callback_fault(url, deps.allow_hosts)
    return [Problem(at, "CALLBACK_REFUSED", fault)] if fault else []


def _refuse_too_deep(order: RenderRequest, problems: list[Problem]) -> None:
    if too_deep(order.movie):
        problems.append(Problem("/movie", "DOCUMENT_TOO_DEEP", f"this is nested too deep; a movie needs fewer than {MOST_LEVELS} levels"))
        raise MovieInvalid(problems)


def known_seconds(movie: Movie) -> float | None:
    """The film's length when its document says it; None when some scene is as long as what it holds. Transitions overlap scenes."""
    if any(scene.duration == "auto" for scene in movie.scenes):
        return None
    whole = sum(float(scene.duration) for scene in movie.scenes if scene.duration != "auto")
    return max(0.0, whole - sum(scene.transition.duration for scene in movie.scenes[1:] if scene.transition is not None))


def foreign_sources(deps: Deps, principal: Principal, document: Mapping[str, Any], at: str = "/movie") -> Iterator[Problem]:
    """Sources that would bring another workspace's work in: other jobs' films, and the store itself. at: where the document stands.

    What templates make of measured times is known to the run alone, which refuses the same.
    """
    waiting: list[tuple[Any, str]] = [(document, at)]
    while waiting:
        node, at = waiting.pop()
        if isinstance(node, Mapping):
            waiting += [(value, child(at, key)) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(value, child(at, number)) for number, value in enumerate(node)]
        elif isinstance(node, str):
            fault = _foreign(deps, principal, node)
            if fault is not None:
                yield Problem(at, "SOURCE_REFUSED", fault)


def _foreign(deps: Deps, principal: Principal, source: str) -> str | None:
    if ":" not in source[:10]:
        return None
    try:
        place = parse(source)
    except SourceError:
        # No source at all: a text, or what the run will refuse in its own words.
        return None
    if place.how == "job":
        job = deps.board.find(place.value)
        if job is None or job.workspace != principal.workspace:
            return f"there is no job {place.value!r} in this workspace; name one of your own"
    elif place.how == "bucket" and principal.workspace != DEFAULT_WORKSPACE:
        return "only the workspace 'default' may take sources from the store by s3://; use an https:// address"
    return None


def refuse_beyond_plan(deps: Deps, principal: Principal, *, width: int = 0, height: int = 0, seconds: float = 0.0) -> None:
    """Refused for a film beyond the workspace's plan; without its measures, when the plan leaves no room for any film."""
    refusal = judge(principal.plan, used_by(deps, principal), width=width, height=height, seconds=seconds)
    if refusal is not None:
        raise refusal


def used_by(deps: Deps, principal: Principal) -> Used:
    """What the workspace has used, and has under way."""
    plan = principal.plan
    if plan.concurrency is None and plan.minutes_per_month is None and plan.minutes_per_day is None:
        return Used()
    spent = report(deps.database, principal.workspace, deps.now_ms())
    own = [entry for entry in deps.board.active() if entry.first.workspace == principal.workspace]
    mine = [entry.last for entry in own if entry.first.type == "render.movie"]
    # Sizes are frames; at 30 a second they are near enough for what has yet to be made.
    under_way = sum((run.size or 0) / 30 for run in mine)
    return Used(spent.month.seconds, spent.today.seconds, under_way, len(mine))
