"""API keys as the gateway knows them: looked up in the database, and remembered for a second.

What belongs here: how long an answer is good for. What does not: what a key may do (auth.py).
A key that is revoked is refused everywhere within a second; one that was just made works at once, for only what was found is remembered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from viralsync_pipelines.storage.accounts import DEFAULT_WORKSPACE, Accounts, ApiKey, Workspace

KEEP_S = 1.0

_T = TypeVar("_T")
Known = tuple[ApiKey, Workspace]


class Remembered(Generic[_T]):
    """Answers to one question. What was not found is asked again each time, so this does not grow with what strangers send."""

    def __init__(self, look: Callable[[str], _T | None], clock: Callable[[], float], keep_s: float) -> None:
        self._look = look
        self._clock = clock
        self._keep_s = keep_s
        self._found: dict[str, tuple[_T, float]] = {}
        self._asking: dict[str, asyncio.Future[_T | None]] = {}

    def peek(self, name: str) -> _T | None:
        """What is remembered, or None. Never waits."""
        found = self._found.get(name)
        return found[0] if found is not None and self._clock() - found[1] < self._keep_s else None

    def find(self, name: str) -> _T | None:
        """What is remembered, or what the database says now."""
        known = self.peek(name)
        if known is not None:
            return known
        # The clock is read first: an answer is as old as its question.
        asked = self._clock()
        found = self._look(name)
        if found is None:
            self._found.pop(name, None)
        else:
            self._found[name] = (found, asked)
        return found


    async def found(self, name: str) -> _T | None:
        """As `find`, in a thread. Who asks while the same is being asked waits for that answer: 500 streams would all ask at once."""
        known = self.peek(name)
        if known is not None:
            return known
        asking = self._asking.get(name)
        if asking is not None and asking.get_loop() is asyncio.get_running_loop():
            # A no may be older than this question.
            return await asyncio.shield(asking) or await asyncio.to_thread(self.find, name)
        asking = self._asking[name] = asyncio.ensure_future(asyncio.to_thread(self.find, name))
        asking.add_done_callback(lambda done: self._asking.pop(name, None) if self._asking.get(name) is done else None)
        return await asyncio.shield(asking)


class KnownKeys:
    """by_secret, by_id: keys with their workspaces, kept apart since an id is no secret. Safe to share between threads."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic, keep_s: float = KEEP_S) -> None:
        self.by_secret: Remembered[Known] = Remembered(accounts.find, clock, keep_s)
        self.by_id: Remembered[Known] = Remembered(accounts.find_by_id, clock, keep_s)
        self._open: Remembered[Workspace] = Remembered(lambda name: None if accounts.any_key() else accounts.workspace(name), clock, keep_s)
        self._closed = False
        self._said = threading.Event()

    async def opened(self) -> Workspace | None:
        """The workspace of those without a key, while no key was ever made. After that None for good: keys are revoked, never taken out."""
        found = None if self._closed else await self._open.found(DEFAULT_WORKSPACE)
        self._closed = found is None
        return found

    def first_time(self) -> bool:
        """True once: for what is said only once."""
        if self._said.is_set():
            return False
        self._said.set()
        return True
