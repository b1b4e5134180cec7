"""Small measuring tools of the jobs benches: what a process has used, medians, tables.

What belongs here: reading /proc and printing. What does not: what is measured.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """Milliseconds: median and ninth of ten of the wall, CPU of the server for one call. n: how many calls."""

    median: float
    p90: float
    cpu: float
    n: int


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_mb(pid: int) -> float:
    """Memory that is this process's alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def timed(calls: Iterable[Callable[[], object]], pid: int, *, pause_s: float = 0.0) -> Took:
    """Each call once, one after the other, with a pause before each. What the server does in a pause is in `cpu` too."""
    return side_by_side([list(calls)], [pid], pause_s=pause_s)[0]


def side_by_side(calls: Sequence[Sequence[Callable[[], object]]], pids: Sequence[int], *, pause_s: float = 0.0) -> list[Took]:
    """Of several servers in turn, so that what the machine does otherwise meets them all alike: a minute later it may be 1.4 times as slow."""
    walls: list[list[float]] = [[] for _ in pids]
    before = [cpu_seconds(pid) for pid in pids]
    for turn in zip(*calls, strict=True):
        for place, call in enumerate(turn):
            time.sleep(pause_s)
            began = time.perf_counter()
            call()
            walls[place].append(1000 * (time.perf_counter() - began))
    used = [1000 * (cpu_seconds(pid) - began) / len(own) for pid, began, own in zip(pids, before, walls, strict=True)]
    return [Took(statistics.median(own), ninth(own), cpu, len(own)) for own, cpu in zip(walls, used, strict=True)]


def ninth(values: Sequence[float]) -> float:
    """Nine of ten are no greater."""
    return sorted(values)[min(len(values) - 1, int(0.9 * len(values)))]


def told(words: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {words}", file=sys.stderr, flush=True)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.1f}' if isinstance(cell, float) else str(cell) for cell in row)} |", flush=True)
