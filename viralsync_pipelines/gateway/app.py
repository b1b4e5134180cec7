"""The gateway: ViralSync's HTTP API as one ASGI application, the only part that is meant to face the internet.

What belongs here: putting routes, faults, limits and the follower together. What does not: any of them, and what they work with (deps.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sse_starlette.sse import AppStatus

from viralsync_pipelines.gateway import (
    account,
    callbacks,
    docs,
    document,
    executions,
    faults,
    files,
    generations,
    health,
    jobs,
    limiting,
    narrations,
    output,
    recordings,
    renders,
    reports,
    shared,
    sizes,
    stream,
    stream_tokens,
    timeline,
    voices,
    webhooks,
)
from viralsync_pipelines.gateway.deps import Deps
from viralsync_pipelines.gateway.hub import Hub
from viralsync_pipelines.gateway.output import read_lines
from viralsync_pipelines.gateway.stream import HEARTBEAT_S, Words

_ABOUT = """\
Every long-running process is a job with one status model: `queued running waiting done failed cancelled`.
Submit a movie JSON, follow its job by stream, callback or polling, and fetch the film from `outputUrl`.
"""
# A movie JSON of 8 MB with its envelope.
MAX_BODY_BYTES = 9_000_000
# What a page of another site may read of a reply, and send with a request.
_SHOWN = (
    "ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
    "Idempotent-Replayed", "Preference-Applied", "X-Request-Id",
)  # fmt: skip
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Prefer", "x-api-key")


def build_app(deps: Deps, *, heartbeat_s: float = HEARTBEAT_S, cors_origins: Sequence[str] = ()) -> FastAPI:
    """The application; `deps` are opened and closed by the caller. heartbeat_s: how often a quiet stream says that it is there.
    cors_origins: web sites whose pages may use the API; none but its own without."""
    hub = Hub(deps.board.poll, lambda root, place: read_lines(deps, root, place), stopping=lambda: AppStatus.should_exit)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await hub.close()
        if intake is not None:
            await asyncio.to_thread(intake.close)

    app = FastAPI(
        title="ViralSync Pipelines", version=version("viralsync-pipelines"), description=_ABOUT, lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.deps, app.state.hub, app.state.words, app.state.heartbeat_s = deps, hub, Words(), heartbeat_s
    app.state.instruments = health.Instruments(deps, hub)
    routes = (
        renders, jobs, stream, stream_tokens, output, files, reports, callbacks, account, executions, generations, timeline, shared, health,
        voices, narrations, recordings,
    )  # fmt: skip
    for module in routes:
        router: APIRouter = module.router
        app.include_router(router)
    intake = webhooks.install(app, deps.desk) if deps.desk is not None else None
    docs.install(app)
    document.install(app)
    faults.install(app)
    limiting.install(app)
    sizes.install(app, MAX_BODY_BYTES, recordings.UPLOADS, recordings.MOST_BYTES)
    health.install(app)
    if cors_origins:
        # Last, so that it is outermost: pages may read refusals too.
        app.add_middleware(
            CORSMiddleware, allow_origins=list(cors_origins), allow_methods=["GET", "POST", "PUT", "DELETE"], allow_headers=list(_SENT),
            expose_headers=list(_SHOWN), max_age=3600,
        )  # fmt: skip
    return app
