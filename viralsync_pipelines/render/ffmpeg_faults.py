"""What ffmpeg's end means to the person who waits for the film: stalled, a source cut short, a full disk, a failure.

What belongs here: words for ways to end. What does not: the process (ffmpeg.py).
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from viralsync_pipelines.errors import FfmpegFailed

# What demuxers say when the container promises bytes that are not there, and they were asked for: ffmpeg ends well all the same.
# Damage inside a file is not among them: players show such files too, with a flaw, and so do we.
_CUT_SHORT = ("partial file", "File ended prematurely")
# How ffmpeg words a disk that takes no more: full, over a quota, beyond a file size limit.
_DISK_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def stalled(command: Sequence[str], stall_s: float, tail: str) -> FfmpegFailed:
    return FfmpegFailed(
        f"ffmpeg wrote nothing for {stall_s:g} s and was stopped; the machine is overloaded or the source is broken",
        argv=command, stderr_tail=tail, code="FFMPEG_STALLED",
    )  # fmt: skip


def sign_of_cut(said: str) -> str:
    """The line that says a container promises more than its file holds, or ""."""
    return next((line for line in said.splitlines() if any(sign in line for sign in _CUT_SHORT)), "")


def cut_short(command: Sequence[str], sign: str) -> FfmpegFailed:
    inputs = [Path(after).name for before, after in zip(command, command[1:], strict=False) if before == "-i"]
    files = [name for name in inputs if not name.startswith(("pipe:", "color=", "art"))]
    return FfmpegFailed(
        f"a source file is cut short, one of {', '.join(files[:4])}; copy or export it again ({sign.rpartition('] ')[2]})",
        argv=command, stderr_tail=sign, code="SOURCE_CUT_SHORT",
    )  # fmt: skip


def failure(status: int, command: Sequence[str], tail: str) -> FfmpegFailed:
    if any(sign in tail for sign in _DISK_FULL) or status == -signal.SIGXFSZ:
        return FfmpegFailed(
            "the disk is full; free some space (`viralsync` keeps its state under VIRALSYNC_HOME) and run the movie again",
            argv=command, stderr_tail=tail, code="DISK_FULL",
        )  # fmt: skip
    last = next((line for line in reversed(tail.splitlines()) if line and "Conversion failed" not in line), "no message")
    why = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return FfmpegFailed(f"ffmpeg {why}: {last}", argv=command, stderr_tail=tail)
