"""Requests beyond a size are refused while they arrive, before anything keeps them in memory.

What belongs here: that limit. What does not: limits of single fields (their models have them).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viralsync_pipelines.gateway.faults import Refused, reply_to


class Bounded:
    """ASGI middleware: 413 PAYLOAD_TOO_LARGE by the announced length at once, and by the bytes themselves when none was announced."""

    def __init__(self, app: ASGIApp, most_bytes: int, uploads: re.Pattern[str] | None = None, most_upload: int = 0) -> None:
        self.app, self.most_bytes, self.uploads, self.most_upload = app, most_bytes, uploads, most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # Files that are sent in are written to disk as they come; everything else is kept in memory.
        upload = self.uploads is not None and scope["method"] == "PUT" and self.uploads.fullmatch(scope["path"]) is not None
        most = self.most_upload if upload else self.most_bytes
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            await self._refuse(scope, receive, send, most)
            return
        taken, begun, over = 0, False, False

        async def counted() -> Message:
            nonlocal taken, over
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                over = True
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            # Whoever read the body has an answer of its own to its breaking off: ours takes its place.
            if begun or not over:
                begun = True
                await send(message)

        with suppress(_TooLarge):
            await self.app(scope, counted, noted)
        if over and not begun:
            await self._refuse(scope, receive, send, most)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        told = f"this request is too large; at most {most:,} bytes are taken, so send less at a time"
        accept: Any = dict(scope["headers"]).get(b"accept", b"")
        reply = reply_to(Refused(413, "PAYLOAD_TOO_LARGE", told), accept=accept.decode("latin-1"), instance=scope["path"])
        await reply(scope, receive, send)


class _TooLarge(Exception):
    pass


def install(app: FastAPI, most_bytes: int, uploads: re.Pattern[str] | None = None, most_upload: int = 0) -> None:
    """uploads: paths whose PUT may bring `most_upload` bytes."""
    app.add_middleware(Bounded, most_bytes=most_bytes, uploads=uploads, most_upload=most_upload)
