"""A limit on how long a thread may send and receive, whatever is on the other side.

The guarded connection asks it before each read and write; nothing here touches a socket.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_deadline: contextvars.ContextVar[tuple[float, Callable[[], float]] | None] = contextvars.ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Everything this thread sends and receives inside the block ends within `seconds`, or raises Transient (http.py)."""
    token = _deadline.set((clock() + seconds, clock))
    try:
        yield
    finally:
        _deadline.reset(token)


def limited(timeout: float | None) -> float | None:
    """`timeout` or the seconds left, whichever is less; zero or less when the time is over."""
    limit = _deadline.get()
    if limit is None:
        return timeout
    end, clock = limit
    left = end - clock()
    return left if timeout is None else min(left, timeout)
