"""A moment in which no interrupt is handled: it is kept, and handled right afterwards.

What belongs here: that moment. What it is for: what is raised between the start of a process or thread and the note of it leaves one that
nobody ends or waits for; and what is raised while Python forks is dropped, and the wish to cancel with it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ASKS_TO_END = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def undisturbed() -> Iterator[None]:
    """What came meanwhile is handled when the block ends, and may be raised there. Other threads than the main one handle no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for number in _ASKS_TO_END:
            # None: not set by Python, which could not put it back.
            if signal.getsignal(number) is not None:
                before[number] = signal.signal(number, lambda got, _frame: came.append(got))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for got in dict.fromkeys(came):
            signal.raise_signal(got)
