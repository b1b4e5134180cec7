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
    walls = []
    before = cpu_seconds(pid)
    for call in calls:
        time.sleep(pause_s)
        began = time.perf_counter()
        call()
        walls.append(1000 * (time.perf_counter() - began))
    return Took(statistics.median(walls), ninth(walls), 1000 * (cpu_seconds(pid) - before) / len(walls), len(walls))


def ninth(values: Sequence[float]) -> float:
    """Nine of ten are no greater."""
    return sorted(values)[min(len(values) - 1, int(0.9 * len(values)))]


def told(words: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {words}", file=sys.stderr, flush=True)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.1f}' if isinstance(cell, float) else str(cell) for cell in row)} |", flush=True)
