"""Work that costs less for many than for each: whoever comes while it is being done is served by the next round.

What belongs here: gathering, one thread, handing out. What does not: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
# After a round that ended no longer ago others are likely to be on their way.
_BUSY_S = 0.02


class Together(Generic[_Item, _Found]):
    """work: items to as many results, in their order, in a thread of its own; a result that is an exception is raised to its caller.

    Of one event loop. What `work` itself raises reaches everyone of the round. linger_s: while rounds follow one another, each waits so
    long for company; who comes alone is served at once.
    """

    def __init__(
        self, work: Callable[[Sequence[_Item]], Sequence[_Found | Exception]], *, most: int = 200, linger_s: float = 0.0
    ) -> None:  # fmt: skip
        self._work, self._most, self._linger_s = work, most, linger_s
        self._ended = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="together")
        self._waiting: list[tuple[_Item, asyncio.Future[_Found]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def of(self, item: _Item) -> _Found:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        self._waiting.append((item, future))
        if self._rounds is None:
            self._rounds = loop.create_task(self._serve(loop))
        return await future

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                if self._linger_s and loop.time() - self._ended < _BUSY_S:
                    await asyncio.sleep(self._linger_s)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                results: Sequence[Any]
                try:
                    results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
                except Exception as error:
                    results = [error] * len(batch)
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():
                        # Whoever asked is gone.
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
                self._ended = loop.time()
        finally:
            self._rounds = None
