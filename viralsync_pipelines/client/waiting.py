"""Waiting for one job's end by asking again: how long each answer may be held, when to ask next, when to give up. Pure.

What belongs here: the state of one wait. What does not: asking (both clients do), following a stream (following.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from viralsync_pipelines.client.answers import ApiError, Pacing, StillRunning, passing
from viralsync_pipelines.client.values import JobView

# A server may hold its answer back for up to so long; one that does not is asked no more often than the other says.
_HELD_S = 30
_BETWEEN_S = 2.0


class Waiting:
    """timeout: seconds, None for as long as it takes. clock: seconds of whatever beginning."""

    def __init__(self, timeout: float | None, clock: Callable[[], float], pacing: Pacing) -> None:
        self._timeout, self._clock, self._pacing = timeout, clock, pacing
        self._ends = math.inf if timeout is None else clock() + timeout
        self._asked = 0.0
        self._job: JobView | None = None
        self._failures = 0

    def asks_for(self) -> int:
        """Seconds for which the next answer may be held back."""
        self._asked = self._clock()
        return int(max(0.0, min(_HELD_S, self._ends - self._asked)))

    def over(self, job: JobView) -> bool:
        """Whether this job has ended; when not, ask again after `pause`. Raises StillRunning."""
        self._job, self._failures = job, 0
        if not job.terminal:
            self._check()
        return job.terminal

    def failed(self, error: ApiError) -> None:
        """No answer. A gateway that was there is waited for; raises whatever else it is, and StillRunning."""
        if self._job is None or not passing(error):
            raise error
        self._failures += 1
        self._check()

    def pause(self) -> float:
        now = self._clock()
        pause = self._pacing.pause(self._failures) if self._failures else self._asked + _BETWEEN_S - now
        return max(0.0, min(pause, self._ends - now))

    def _check(self) -> None:
        if self._job is not None and self._timeout is not None and self._clock() >= self._ends:
            raise StillRunning(self._job, self._timeout)
