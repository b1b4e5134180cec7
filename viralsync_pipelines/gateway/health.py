"""`GET /healthz` and `GET /metrics`: whether the gateway can work, and what it does, for load balancers and Prometheus.

What belongs here: these routes and the instruments. What does not: who may reach them: neither tells of any job, and neither needs a key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from pydantic import BaseModel
from sqlalchemy import text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.hub import Hub

router = APIRouter(tags=["service"])
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Health(BaseModel):
    """status: ok, degraded (Dagster is away: jobs are shown but none is taken) or down."""

    status: str
    database: bool
    dagster: bool


@router.get(
    "/healthz", summary="Whether the gateway can work", response_model=Health,
    responses={503: {"model": Health, "description": "It cannot"}},
)  # fmt: skip
def healthz(request: Request, response: Response) -> Health:
    deps = deps_of(request)
    database = _database_answers(deps)
    dagster = _dagster_answers(deps)
    if not database:
        response.status_code = 503
    response.headers["Cache-Control"] = "no-store"
    return Health(status="ok" if database and dagster else "degraded" if database else "down", database=database, dagster=dagster)


def _database_answers(deps: Deps) -> bool:
    try:
        with deps.database.reading() as connection:
            connection.execute(text("SELECT 1"))
        deps.board.sync()
    except Exception:
        return False
    return True


def _dagster_answers(deps: Deps) -> bool:
    try:
        return deps.launcher.answers()
    except Exception:
        return False


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    instruments: Instruments = request.app.state.instruments
    return Response(generate_latest(instruments.registry), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


class Instruments:
    """What is measured, in a registry of its own: two gateways in one process do not mix."""

    def __init__(self, deps: Deps, hub: Hub) -> None:
        self.registry = CollectorRegistry()
        told = "Replies by route and status"
        self.requests = Counter("viralsync_http_requests", told, ["method", "route", "status"], registry=self.registry)
        self.seconds = Histogram("viralsync_http_seconds", "Time to the first byte of a reply", ["route"], registry=self.registry)
        self.registry.register(_Now(deps, hub))


class _Now(Collector):
    """Read when asked."""

    def __init__(self, deps: Deps, hub: Hub) -> None:
        self._deps, self._hub = deps, hub

    def collect(self) -> Iterator[GaugeMetricFamily]:
        told = "Jobs that have not ended, by type and Dagster's status of their run"
        jobs = GaugeMetricFamily("viralsync_jobs", told, labels=["type", "status"])
        found: dict[tuple[str, str], int] = {}
        for entry in self._deps.board.active():
            key = entry.first.type, entry.last.status.lower()
            found[key] = found.get(key, 0) + 1
        for (kind, status), count in sorted(found.items()):
            jobs.add_metric([kind, status], count)
        yield jobs
        yield GaugeMetricFamily("viralsync_streams", "Open event streams", value=self._hub.streams)
        yield GaugeMetricFamily("viralsync_watched_jobs", "Jobs that somebody follows", value=self._hub.watched)


class Measured:
    """ASGI middleware: counts replies by the route that made them; paths with ids in them would make a series for every job."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                instruments: Any = scope["app"].state.instruments
                route = getattr(scope.get("route"), "path", "none")
                # Whoever sends a method of their own invention gets no series of their own.
                method = scope["method"] if scope["method"] in _METHODS else "other"
                instruments.requests.labels(method, route, message["status"]).inc()
                instruments.seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)


def install(app: FastAPI) -> None:
    """Measure every reply of `app`."""
    app.add_middleware(Measured)
