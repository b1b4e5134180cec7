"""Starting a program that dies with this process, without forking this process to do it.

What belongs here: the words in front of its command, and what is set from outside. What does not: what the program is (ffmpeg.py).
A fork runs what libraries have asked for: OpenBLAS ends its threads and waits for them with the interpreter's lock held. Beside two threads
that multiplied everything stood still for good, in two of four tries within ten forks. Python forks when there is something to run before
exec, and without that it does not; a start takes 0.6 ms of this process then, not 10.6.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

# What util-linux' setpriv does, for systems without it (Alpine's has no such option): 15 ms more. PR_SET_PDEATHSIG, SIGKILL.
_BY_PYTHON = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command as one whose process the kernel kills when the thread that starts it ends. Linux only; elsewhere as it is."""
    return [*_before(), *command]


@cache
def _before() -> tuple[str, ...]:
    if sys.platform != "linux":
        return ()
    setpriv = shutil.which("setpriv") or shutil.which("setpriv", path="/usr/bin:/bin")
    if setpriv is not None:
        said = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - as found
        if "--pdeathsig" in said.stdout:
            return (setpriv, "--pdeathsig", "KILL", "--")
    return (sys.executable, "-I", "-S", "-c", _BY_PYTHON)


def as_batch(pid: int) -> None:
    """Work without a person waiting for each slice: its threads that wake do not push others off their core.

    Two scenes at a time on two cores take 3 % less of both CPU and time (median of six pairs). Set at once after its start: threads that it
    makes later have it too.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
