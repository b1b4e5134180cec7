"""How many requests a key may make: a sliding minute, counted by the `limits` library, and told on every reply.

What belongs here: counting and its headers. What does not: how many are allowed (plans.py), who is asking (auth.py).
Each gateway process counts for itself. Whoever runs several behind one address gives them a shared storage of `limits`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from viralsync_pipelines.gateway.faults import Refused

if TYPE_CHECKING:
    from fastapi import FastAPI
    from limits.storage import Storage
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

WINDOW_S = 60
# Where the count of a request is kept for its reply.
ALLOWANCE = "allowance"


@dataclass(frozen=True)
class Allowance:
    """What is left after a request. reset_s: seconds until the oldest one counted falls out of the window; reset_at: in unix seconds."""

    granted: bool
    limit: int
    remaining: int
    reset_s: int
    reset_at: int
    window_s: int

    def headers(self) -> dict[str, str]:
        """IETF's RateLimit fields, and the X- names that most clients know (Reset in unix seconds)."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={self.window_s}',
            "RateLimit": f'"requests";r={self.remaining};t={self.reset_s}',
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_at),
        }


class Limiter:
    """Counts requests by key. Safe to share between threads.

    clock: the one `limits` itself goes by. keyless: requests a minute without a key, None for no limit. Without a key only this machine
    comes in, and all its programs count as one: a limit would let one of them shut out the others, and protect nobody.
    """

    def __init__(
        self,
        *,
        window_s: int = WINDOW_S,
        keyless: int | None = None,
        storage: Storage | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keyless = keyless
        self._window_s = window_s
        self._clock = clock
        self._counter = MovingWindowRateLimiter(storage or MemoryStorage())
        # The library's own locks come and go with their keys; two requests of one key could each hold a different one.
        self._lock = threading.Lock()

    def take(self, key_id: str, limit: int | None) -> Allowance | None:
        """Count one request, unless it is one too many: those do not count. None when there is no limit."""
        if limit is None:
            return None
        item = RateLimitItemPerSecond(limit, self._window_s)
        with self._lock:
            granted = self._counter.hit(item, key_id)
            reset, remaining = self._counter.get_window_stats(item, key_id)
        now = self._clock()
        return Allowance(granted, limit, max(0, remaining), max(0, math.ceil(reset - now)), math.ceil(max(reset, now)), self._window_s)


def too_many(allowance: Allowance) -> Refused:
    """429, with the seconds after which one request is free again."""
    wait = max(1, allowance.reset_s)
    return Refused(
        429, "RATE_LIMITED", f"more than {allowance.limit} requests in {allowance.window_s} s; wait {wait} s, or follow jobs by stream",
        headers={"Retry-After": str(wait)},
    )  # fmt: skip


class RateHeaders:
    """ASGI middleware: adds the fields to whatever is replied, streams and errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # One dict for the whole request, however the router copies the scope around it.
        state = scope.setdefault("state", {})

        async def with_headers(message: Message) -> None:
            allowance = state.get(ALLOWANCE)
            if message["type"] == "http.response.start" and allowance is not None:
                extra = [(name.lower().encode(), value.encode()) for name, value in allowance.headers().items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await self.app(scope, receive, with_headers)


def install(app: FastAPI) -> None:
    """Put the fields on the replies of `app`. After faults.install, so that the last of all errors carries them too."""
    app.add_middleware(RateHeaders)
