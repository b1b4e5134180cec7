"""The routes: Replicate's own under /v1, and /sandbox for mischief and counts. Each asks for a bearer token; any will do.

What belongs here: HTTP. What does not: what becomes of a prediction (working.py), the shapes of the wire (wire.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from viralsync_pipelines.sandbox.asking import Answered, as_problem, base_of, cut, is_address, json_of, patience_of, refused
from viralsync_pipelines.sandbox.ledger import Ledger, Prediction
from viralsync_pipelines.sandbox.mischief import Dice, Mischief
from viralsync_pipelines.sandbox.models import MODELS, checked
from viralsync_pipelines.sandbox.telling import Telling
from viralsync_pipelines.sandbox.wire import EVENTS, invalid, moment_ms, page_json, prediction_json
from viralsync_pipelines.sandbox.working import Workshop
from viralsync_pipelines.storage.keys import content_type_of

# Longer than this no submit waits for its webhook to be early.
_EARLY_S = 10.0

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Desk:
    """What the routes work with. creates_per_minute: more are answered 429; None for no limit."""

    ledger: Ledger
    workshop: Workshop
    telling: Telling
    dice: Dice
    secret: str
    files: Path
    now_ms: Callable[[], int]
    new_id: Callable[[], str]
    creates_per_minute: int | None = None
    _creates: deque[int] = field(default_factory=deque)

    def app(self) -> Starlette:
        routes = [
            Route("/v1/predictions", self._guarded(self.create), methods=["POST"]),
            Route("/v1/predictions", self._guarded(self.listing)),
            Route("/v1/predictions/{id}", self._guarded(self.show)),
            Route("/v1/predictions/{id}/cancel", self._guarded(self.cancel), methods=["POST"]),
            Route("/v1/models/{owner}/{name}/predictions", self._guarded(self.create), methods=["POST"]),
            Route("/v1/webhooks/default/secret", self._guarded(self.show_secret)),
            Route("/v1/files/{id}/{name}", self._guarded(self.file)),
            Route("/sandbox/mischief", self._guarded(self.mischief, meddled=False), methods=["GET", "POST", "DELETE"]),
            Route("/sandbox/counts", self._guarded(self.counts, meddled=False)),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: as_problem})

    def _guarded(self, handler: Handler, *, meddled: bool = True) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                scheme, _, token = request.headers.get("authorization", "").partition(" ")
                if scheme.lower() not in {"bearer", "token"} or not token.strip():
                    raise refused(401, "Unauthenticated", "You did not pass an authentication token")
                if meddled and handler != self.create:
                    await self._meddle(f"{request.method} {request.url.path}")
                self.workshop.remove_old()
                return await handler(request)
            except Answered as answered:
                return answered.response

        return guarded

    async def _meddle(self, about: str) -> None:
        """What befalls any request, before anything is done about it."""
        if self.dice.falls_now("slow", about):
            self.ledger.count("requests.slow")
            await asyncio.sleep(self.dice.mischief.slow_s)
        if self.dice.falls_now("throttled", about):
            raise self._throttled(self.dice.mischief.throttled_s)
        if self.dice.falls_now("errors", about):
            self.ledger.count("requests.errors")
            raise refused(500, "Internal server error", "Something went wrong; nothing was done")

    def _throttled(self, seconds: float) -> Answered:
        self.ledger.count("requests.throttled")
        wait = max(1, math.ceil(seconds))
        told = {"detail": f"Request was throttled. Your rate limit resets in ~{wait}s.", "status": 429}
        return Answered(JSONResponse(told, 429, {"ratelimit-remaining": "0", "ratelimit-reset": str(wait)}))

    # ---- submits -----------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = await json_of(request)
        await self._meddle("create " + json.dumps(body.get("input"), sort_keys=True))
        self._hold_back()
        model = self._model(request, body)
        values, faults = checked(MODELS[model], body.get("input"))
        webhook, events = body.get("webhook"), body.get("webhook_events_filter")
        if webhook is not None and not is_address(webhook):
            faults.append(("webhook", "Does not match format 'uri': an https:// or http:// address"))
        if events is not None and not (isinstance(events, list) and set(map(str, events)) <= set(EVENTS)):
            faults.append(("webhook_events_filter", f"must be some of {', '.join(EVENTS)}"))
        if faults:
            raise Answered(JSONResponse(invalid(faults), 422))
        given = {name: value for name, value in body["input"].items() if name in values}
        made = self.ledger.create(
            new_id=self.new_id(), model=model, given=given, webhook=webhook, events=events or EVENTS, base=base_of(request),
            now_ms=self.now_ms(),
        )  # fmt: skip
        return await self._taken(request, made)

    def _hold_back(self) -> None:
        if self.creates_per_minute is None:
            return
        now = self.now_ms()
        while self._creates and self._creates[0] <= now - 60_000:
            self._creates.popleft()
        if len(self._creates) >= self.creates_per_minute:
            raise self._throttled((self._creates[0] + 60_000 - now) / 1000)
        self._creates.append(now)

    def _model(self, request: Request, body: Any) -> str:
        if "owner" in request.path_params:
            name = f"{request.path_params['owner']}/{request.path_params['name']}"
            if name not in MODELS:
                raise refused(404, "Model not found", f"The sandbox has no model {name}; it has {', '.join(MODELS)}")
            return name
        name = str(body.get("version") or body.get("model") or "").partition(":")[0]
        if name not in MODELS:
            detail = f"The specified version does not exist (or perhaps you don't have permission to use it?): {name[:100]!r}. It has "
            raise refused(422, "Invalid version or not permitted", detail + ", ".join(MODELS))
        return name

    async def _taken(self, request: Request, made: Prediction) -> Response:
        """The answer to a submit, or whatever befalls it."""
        early = made.webhook is not None and "completed" in made.events and self.dice.falls("early", made.fate)
        patience = patience_of(request.headers.get("prefer", ""))
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def ring() -> None:
            # The loop may be gone when the sandbox is being ended.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        if early:
            self.ledger.count("webhooks.completed.early")
            self.telling.when_told(made.id, ring)
        elif patience:
            self.workshop.when_over(made.id, ring)
        self.workshop.take(made, hurried=early)
        if early or patience:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _EARLY_S if early else patience)
        if self.dice.falls("answers_lost", made.fate):
            self.ledger.count("requests.answers_lost")
            return await cut(request)
        if self.dice.falls("errors_taken", made.fate):
            self.ledger.count("requests.errors_taken")
            raise refused(500, "Internal server error", "Something went wrong")
        # As it was when it was taken: that is what makes a webhook early.
        shown = self.ledger.get(made.id) or made
        return JSONResponse(prediction_json(shown if patience and not early else made), 201)

    # ---- afterwards --------------------------------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        self.ledger.count("requests.polls")
        return JSONResponse(prediction_json(self._found(request)))

    async def cancel(self, request: Request) -> Response:
        self.ledger.count("requests.cancels")
        made = self._found(request)
        self.workshop.cancel(made.id)
        return JSONResponse(prediction_json(self._found(request)))

    async def listing(self, request: Request) -> Response:
        self.ledger.count("requests.lists")
        query = request.query_params
        try:
            after, before = (moment_ms(query[name]) if name in query else None for name in ("created_after", "created_before"))
            below = min(int(query["cursor"]), 2**62) if "cursor" in query else None
        except (ValueError, OverflowError) as error:
            raise refused(400, "Bad request", f"created_after and created_before are ISO 8601 moments ({error})") from error
        found = self.ledger.page(after_ms=after, before_ms=before, below=below)
        return JSONResponse(page_json(found, base_of(request), {k: v for k, v in query.items() if k != "cursor"}))

    async def show_secret(self, request: Request) -> Response:
        return JSONResponse({"key": self.secret})

    async def file(self, request: Request) -> Response:
        made, name = self._found(request), request.path_params["name"]
        if name not in made.outputs or self.dice.falls("gone", made.fate):
            raise refused(404, "Not found", "The file could not be found")
        if self.dice.falls("expired", made.fate) and "fresh" not in request.query_params:
            self.ledger.count("requests.expired")
            self.ledger.renew(made.id)
            status = 403 if self.dice.roll("403 or 404", made.fate) < 0.5 else 404
            raise refused(status, "Expired", "This address is no longer valid; ask for the prediction again")
        self.ledger.count("requests.files")
        return FileResponse(self.files / made.id / name, media_type=content_type_of(name))

    def _found(self, request: Request) -> Prediction:
        made = self.ledger.get(request.path_params["id"])
        if made is None:
            raise refused(404, "Not found", "The requested prediction could not be found")
        return made

    # ---- the sandbox's own -------------------------------------------------------------------------------------------

    async def mischief(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.dice.mischief = Mischief()
        elif request.method == "POST":
            try:
                self.dice.mischief = self.dice.mischief.changed(await json_of(request))
            except ValueError as error:
                raise refused(422, "Unprocessable", str(error)) from error
        return JSONResponse(asdict(self.dice.mischief))

    async def counts(self, request: Request) -> Response:
        """Everything that was counted. ?most=: how many of the submits that were made more than once are named (default 100)."""
        nested: dict[str, Any] = {"webhooks": {}, "requests": {}}
        for name, n in self.ledger.counters().items():
            *path, last = name.split(".")
            at = nested
            for part in path:
                at = at.setdefault(part, {})
            at[last] = n
        most = int(request.query_params.get("most", "100")) if request.query_params.get("most", "100").isdigit() else 100
        statuses = self.ledger.statuses()
        return JSONResponse({
            "predictions": sum(statuses.values()), "statuses": statuses,
            # Equal input and webhook address: what was submitted again without being told to.
            "submits": {"times": self.ledger.times("key"), "again": [each for each in self.ledger.alike("key", most) if each["times"] > 1]},
            "inputs": {"times": self.ledger.times("likeness"),
                       "again": [each for each in self.ledger.alike("likeness", most) if each["times"] > 1]},
            **nested,
        })  # fmt: skip
