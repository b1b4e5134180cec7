"""From the moment an event is stored to its arrival at clients of the event stream, alone and with 500 streams open.

What belongs here: storing, and reading what clients say. What does not: the 500 clients (jobs_readers.py, a process of their own).
"""

from __future__ import annotations

import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.jobs_home import Copied, Home
from tests.bench.jobs_process import cpu_seconds, memory_mb, ninth
from tests.servers.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
_FRAME = re.compile(r"frame (\d+) of")


@dataclass(frozen=True)
class Delivery:
    """Milliseconds from storing to arrival. cpu: seconds of the gateway per second. events: arrived per second. sent: lines stored."""

    median: float
    p90: float
    worst: float
    cpu: float
    events: float
    streams: int
    jobs: int
    memory_mb: float
    storing: float


def alone(home: Home, stack: Stack, job: Copied, count: int = 80) -> Delivery:
    """One httpx client on one job, a line now and then."""
    waits: list[float] = []
    ready = threading.Event()

    def read() -> None:
        with httpx.Client(timeout=60, trust_env=False) as client, client.stream("GET", f"{stack.api}/v1/jobs/{job.job_id}/progress") as stream:
            for line in stream.iter_lines():
                arrived = time.time()
                if line.startswith("data: "):
                    body = json.loads(line[6:])
                    found = _FRAME.search(body.get("message", ""))
                    if ready.is_set() and found is not None:
                        waits.append(1000 * (arrived - home.since) - int(found[1]) / 10)
                        if len(waits) >= count:
                            return
                    ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert ready.wait(30)
    dice, pid = random.Random(1), stack.processes["gateway"].pid
    began, cpu = time.monotonic(), cpu_seconds(pid)
    while reader.is_alive():
        time.sleep(dice.uniform(0.1, 0.4))
        home.log_line(job)
    took = time.monotonic() - began
    return Delivery(
        statistics.median(waits), ninth(waits), max(waits), (cpu_seconds(pid) - cpu) / took, len(waits) / took, 1, 1, memory_mb(pid),
        statistics.median(home.storing[-count:]),
    )


def crowd(home: Home, stack: Stack, jobs: Sequence[Copied], streams: int = 500, seconds: float = 20) -> Delivery:
    """So many streams spread over jobs that log a line a second each."""
    argv = [sys.executable, "-m", "tests.bench.jobs_readers", str(stack.api_port), str(streams), str(home.since)]
    with home.growing(jobs):
        readers = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert readers.stdin is not None
        assert readers.stdout is not None
        readers.stdin.write(" ".join(job.job_id for job in jobs) + "\n")
        readers.stdin.flush()
        assert readers.stdout.readline() == "ready\n"
        time.sleep(2)
        readers.stdin.write("begin\n")
        readers.stdin.flush()
        pid = stack.processes["gateway"].pid
        began, cpu = time.monotonic(), cpu_seconds(pid)
        time.sleep(seconds)
        took, used = time.monotonic() - began, cpu_seconds(pid) - cpu
        memory = memory_mb(pid)
        said, _ = readers.communicate("end\n", timeout=60)
    found = json.loads(said)
    assert found["open"] == streams, f"{streams - found['open']} of {streams} streams were cut"
    storing = statistics.median(home.storing[-int(seconds * len(jobs)) :])
    return Delivery(found["median"], found["p90"], found["worst"], used / took, found["events"] / took, streams, len(jobs), memory, storing)
