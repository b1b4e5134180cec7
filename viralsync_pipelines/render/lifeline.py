"""A step must not outlive the run that asked for it: when the run worker is killed, its steps and their ffmpeg go too.

What belongs here: noticing the death of the processes that made this one, and of any process that left its mark. Measured
without it: after kill -9 of a run worker, the forkserver, its steps and their ffmpeg were all alive 8 s later, and a new run
would have raced them.
"""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
from functools import cache
from pathlib import Path

from viralsync_pipelines.render import ffmpeg

_PR_SET_PDEATHSIG = 1
# Dagster gives a run up that has not begun three minutes after it was launched.
_SOON_S = 300
_tied = threading.Event()


def tie_to_parent() -> None:
    """From now on, end this process at once when the process that started it through multiprocessing ends.

    Two processes count: the run worker, which asked for this one and is watched by a thread, and the forkserver, which forked it
    and is watched by the kernel. Outside of a multiprocessing child this does nothing: there the kernel's signal on ffmpeg is enough.
    """
    parent = multiprocessing.parent_process()
    if parent is None or _tied.is_set():
        return
    _tied.set()
    # Without this a run goes on without the step, which the forkserver can no longer tell it about, and both write.
    die_with_parent()
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        ffmpeg.kill_all()
        os._exit(70)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def tie_forkserver() -> None:
    """End the forkserver with the run worker, however busy it is: killed while it still imported, it lived on for three seconds.

    Does nothing in any other process.
    """
    if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
        die_with_parent()


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends."""
    # Of the kernel: the signal comes when the thread that made this process ends. Linux only.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def process_mark() -> str:
    """A name for this process, good in file names, by which others can tell later whether it still runs.

    Machine, process id and start: an id is used again, together with the moment of its start it is not.
    """
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_started(pid)}"


def has_ended(mark: str) -> bool | None:
    """Whether the process that made a mark has ended; None for other machines and for what is no mark."""
    where, _, owner = mark.partition("-")
    pid, _, started = owner.partition("-")
    if where != _machine() or not pid.isdecimal():
        return None
    return _started(int(pid)) != started


def moment_mark() -> str:
    """This machine, this boot of it, and the seconds since: by which others tell later whether a process started then lives."""
    return f"{_machine()}-{_boot()}-{_since_boot_s():.0f}"


def lives(pid: int, mark: str) -> bool | None:
    """Whether the process with this id that was started soon after `mark` was made still runs, and is not another that got its id
    later. None for other machines and for what is no mark."""
    where, _, moment = mark.partition("-")
    boot, _, seconds = moment.partition("-")
    if where != _machine() or not seconds.isdecimal():
        return None
    started = _started(pid)
    if boot != _boot() or not started.isdecimal():
        return started == "unknown"
    return int(started) / os.sysconf("SC_CLK_TCK") < int(seconds) + _SOON_S


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip().replace("-", "")
    except OSError:
        return ""


def _since_boot_s() -> float:
    # What the kernel counts the starts of processes by.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _started(pid: int) -> str:
    """When a process began, in ticks since boot: "gone" for one that has ended, "unknown" for a living one outside of Linux."""
    if Path("/proc/self/stat").exists():
        try:
            # The second field, the name, may hold anything; it ends at the last bracket. Field 22 is the start.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            return "gone" if fields[0] in {"Z", "X"} else fields[19]
        except (OSError, IndexError):
            return "gone"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except OSError:
        pass
    return "unknown"


@cache
def _machine() -> str:
    """This machine and, in containers, this set of process ids."""
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path comes out of it
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:12]
