"""Many calls that wait for answers, in few threads while answers come quickly and in more while they do not.

What belongs here: how many at a time. What does not: what is called (poll.py).
Threads that are all busy hold one another up: with 24 a poll of a quick provider costs half as much CPU again as with four.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

FIRST = 4
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(
    call: Callable[[_Item], _Result], items: Iterable[_Item], *, most: int, clock: Callable[[], float] = time.monotonic,
    cpu: Callable[[], float] = time.process_time,
) -> Iterator[_Result]:  # fmt: skip
    """What `call` says of each item, in the order of its answers. most: threads. cpu: seconds that this process has worked."""
    left, going, width = iter(items), set[Future[_Result]](), min(FIRST, most)
    with ThreadPoolExecutor(most, thread_name_prefix="side") as threads:
        told, began, worked = 0, clock(), cpu()
        while True:
            going |= {threads.submit(call, each) for each in islice(left, width - len(going))}
            if not going:
                return
            done, going = wait(going, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
            told += len(done)
            if told >= width < most:
                if cpu() - worked < (clock() - began) / 2:
                    width = min(most, 2 * width)
                told, began, worked = 0, clock(), cpu()
