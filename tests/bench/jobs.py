"""`make bench-jobs`: jobs over HTTP with thousands of runs behind them, on SQLite and PostgreSQL, beside Dagster's GraphQL. Prints tables.

Walls are medians of a machine that others may be working on too: compare ratios of one run, and the CPU column, before seconds.
BENCH_STORAGES (sqlite,postgres), BENCH_RUNS (1000,10000), BENCH_PARTS (fold,read,stream,submit) say what is measured.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.bench.jobs_fold import folding
from tests.bench.jobs_home import open_home
from tests.bench.jobs_process import cpu_seconds, ninth, table, told
from tests.bench.jobs_reading import Rows, Studio, reading
from tests.bench.jobs_streams import Delivery, alone, crowd
from tests.bench.tree import children_of
from tests.servers.postgres import postgres_server
from tests.servers.stack import Stack, small, stack


def main() -> None:
    storages = os.environ.get("BENCH_STORAGES", "sqlite,postgres").split(",")
    counts = [int(count) for count in os.environ.get("BENCH_RUNS", "1000,10000").split(",")]
    parts = os.environ.get("BENCH_PARTS", "fold,read,stream,submit").split(",")
    if "fold" in parts:
        _fold()
    if parts == ["fold"]:
        return
    for storage in storages:
        with ExitStack() as opened:
            _storage(storage, [_studio(opened, storage, count) for count in counts], counts, parts)


def _storage(storage: str, studios: list[Studio], counts: list[int], parts: list[str]) -> None:
    home, servers, active = studios[-1].home, studios[-1].stack, list(studios[-1].active)
    if "read" in parts:
        _show_reading(storage, dict(zip(counts, reading(studios), strict=True)))
    for smaller in studios[:-1]:
        smaller.stack.end()
    if "stream" in parts:
        lone = alone(home, servers, active[0])
        told(f"one stream: {lone}")
        more = active + home.add_active(30)
        _show_streams(storage, [lone, crowd(home, servers, more[:50], streams=50), crowd(home, servers, more)])
    if "submit" in parts:
        _show_submitting(storage, servers)


def _studio(opened: ExitStack, storage: str, count: int) -> Studio:
    """A home of its own with so many finished films of the last 30 days."""
    folder, url = opened.enter_context(_place(storage))
    # The environment of this process first: what it stores goes where the servers look.
    home = opened.enter_context(open_home(folder, url))
    servers = opened.enter_context(stack(folder, database_url=url, start=()))
    servers.start("web", "gateway")
    servers.wait_ready()
    active = home.add_active(20)
    began = time.monotonic()
    finished = home.add_finished(count, first_day=30, last_day=0.01)
    home.settle()
    told(f"{storage}: {count} finished runs, made in {time.monotonic() - began:.0f} s")
    return Studio(home, servers, finished, active)


@contextmanager
def _place(storage: str) -> Iterator[tuple[Path, str | None]]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="viralsync-bench-")))
        yield folder, opened.enter_context(postgres_server()) if storage == "postgres" else None


def _fold() -> None:
    found = [folding(20), folding(200)]
    head = ["scenes", "events", "changes", "µs/event, first 1000", "last 1000", "all", "µs/progress line, first", "last", "kept kB", "packed kB"]
    rows = [
        (f.scenes, f.events, f.changes, f.first, f.last, f.each, f.line_first, f.line_last, f.kept / 1000, f.packed / 1000) for f in found
    ]
    table("Folding (CPU)", head, rows)


def _show_reading(storage: str, found: dict[int, Rows]) -> None:
    counts = list(found)
    head = ["what"]
    for count in counts:
        head += [f"median ms, {count}", f"p90 ms, {count}", f"CPU ms, {count}"]
    head += [f"{counts[-1]} / {counts[0]} wall", "CPU"]
    rows = []
    for what in found[counts[-1]]:
        cells: list[object] = [what]
        for count in counts:
            took = found[count].get(what)
            cells += ["", "", ""] if took is None else [took.median, took.p90, took.cpu]
        first, last = found[counts[0]].get(what), found[counts[-1]][what]
        cells += [_ratio(last.median, first.median), _ratio(last.cpu, first.cpu)] if first is not None else ["", ""]
        rows.append(cells)
    table(f"Reading over HTTP, {storage}, finished runs and 20 active", head, rows)


def _ratio(last: float, first: float) -> str:
    return f"{last / first:.2f}" if first else ""


def _show_streams(storage: str, found: list[Delivery]) -> None:
    head = ["streams", "jobs", "events/s", "median ms", "p90 ms", "worst ms", "of it storing, median", "gateway CPU s/s", "MB"]
    rows = [(d.streams, d.jobs, d.events, d.median, d.p90, d.worst, d.storing, f"{d.cpu:.2f}", d.memory_mb) for d in found]
    table(f"From the storing of an event to its arrival, {storage}", head, rows)


def _show_submitting(storage: str, servers: Stack, count: int = 40) -> None:
    walls = []
    pid = servers.processes["gateway"].pid
    web = [servers.processes["web"].pid, *children_of(servers.processes["web"].pid)]
    with httpx.Client(base_url=servers.api, timeout=60, trust_env=False) as client:
        for number in range(count + 3):
            if number == 3:
                before = cpu_seconds(pid), sum(map(cpu_seconds, web))
            body = {"kind": "movie", "projectId": "p", "movie": small(f"submitted{number}", 5)}
            began = time.perf_counter()
            answer = client.post("/v1/render/jobs", json=body)
            walls.append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 202, answer.text
    own, others = 1000 * (cpu_seconds(pid) - before[0]) / count, 1000 * (sum(map(cpu_seconds, web)) - before[1]) / count
    first, walls = walls[0], walls[3:]
    head = ["n", "median ms", "p90 ms", "very first ms", "gateway CPU ms", "CPU ms of Dagster's web and code servers"]
    table(f"Submission accepted, {storage}", head, [(len(walls), statistics.median(walls), ninth(walls), first, own, others)])


if __name__ == "__main__":
    sys.exit(main())
