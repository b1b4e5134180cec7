"""Wall and CPU seconds, and peak memory, of a command with everything it starts, orphans included.

The command runs under a subreaper: a process whose parent dies is handed to it, so that no CPU second is lost. A forkserver's
steps and their ffmpeg would otherwise vanish from the count.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """wall, cpu: seconds. tree_mb: highest sum of resident memory. process_mb: largest single process."""

    wall: float
    cpu: float
    tree_mb: float
    process_mb: float
    status: int


def measure(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Cost:
    """Run a command and count all of it. What it prints goes to our standard error."""
    inner = [sys.executable, "-m", "tests.bench.tree", *command]
    done = subprocess.run(inner, env=dict(env or os.environ), cwd=cwd, stdout=subprocess.PIPE, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def children_of(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        for child in parents.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def _resident(pid: int) -> float:
    try:
        # Pages shared with the forkserver are counted once, by their share.
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def _main(command: list[str]) -> None:
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    began = time.monotonic()
    peak = [0.0, 0.0]
    over = threading.Event()

    def watch() -> None:
        # Asking for the memory of ten processes takes 40 ms; every quarter of a second, that took a sixth of a core from what is
        # measured. Now it takes a hundredth.
        pause = 0.25
        while not over.wait(pause):
            asked = time.monotonic()
            sizes = [_resident(pid) for pid in children_of(os.getpid())]
            if sizes:
                peak[0], peak[1] = max(peak[0], sum(sizes)), max(peak[1], *sizes)
            pause = max(0.25, 100 * (time.monotonic() - asked))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    child = subprocess.Popen(command, stdout=sys.stderr)
    status = None
    wall = 0.0
    while True:
        try:
            pid, code = os.wait()
        except ChildProcessError:
            break
        if pid == child.pid:
            status, wall = os.waitstatus_to_exitcode(code), time.monotonic() - began
    over.set()
    watcher.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "tree_mb": peak[0], "process_mb": peak[1], "status": status}))


if __name__ == "__main__":
    _main(sys.argv[1:])
