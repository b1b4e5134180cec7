"""Things to do at a later time, on one thread: a thousand jobs that take ten seconds each need no thousand threads.

What belongs here: the clock. What does not: what is done; it has to be short, or hand itself to a pool.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("viralsync.sandbox")


class Agenda:
    """Starts its thread with the first thing to do; `close` drops what is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._heap, (self._clock() + seconds, next(self._order), action))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sandbox-agenda", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._heap or self._heap[0][0] > self._clock()):
                    self._changed.wait(self._heap[0][0] - self._clock() if self._heap else None)
                if self._closed:
                    return
                _, _, action = heapq.heappop(self._heap)
            try:
                action()
            except Exception:
                # One thing that cannot be done must not stop all that come after it.
                _log.exception("sandbox: something that was due could not be done")
