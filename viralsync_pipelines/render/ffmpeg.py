"""The one door to ffmpeg: start it, feed it, watch it, and make sure that it is gone afterwards.

What belongs here: the process and its pipes. What does not: what it is told to do (movie/filters.py, sound.py, assemble.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from viralsync_pipelines.errors import FfmpegFailed

# A graph beyond this goes through a file: Linux refuses single arguments over 128 KiB.
_LONGEST_ARGUMENT = 100_000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Progress:
    """How far ffmpeg is: frames written, frames per second of work, and its speed over real time."""

    frame: int
    fps: float
    speed: float


@dataclass(frozen=True)
class Ended:
    """A run that ended well: the end of what it said on stderr, and the seconds it took."""

    stderr: str
    seconds: float


Feed = Iterable[bytes | memoryview]


@cache
def ffmpeg_path() -> Path:
    """The ffmpeg binary that imageio-ffmpeg ships."""
    import imageio_ffmpeg

    return Path(imageio_ffmpeg.get_ffmpeg_exe())


@cache
def ffmpeg_identity() -> str:
    """What ffmpeg is, for cache keys: the first line it prints and its configuration, hashed."""
    # Reading the banner takes 16 ms; hashing the 80 MB binary would take 60.
    shown = subprocess.run([str(ffmpeg_path()), "-version"], capture_output=True, check=True, timeout=30).stdout  # noqa: S603 - our own binary
    return hashlib.sha256(shown).hexdigest()[:16]


# Process groups under way, so that a process that must end at once can take them along.
_live: set[int] = set()


def kill_all() -> None:
    """Kill every ffmpeg started by this process. For the last moment of a process; ordinary ends clean up by themselves."""
    for group in list(_live):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


@dataclass
class _Watch:
    """What the reading threads share with the one that waits."""

    stderr: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    last_sign: float = 0.0
    feed_error: list[BaseException] = field(default_factory=list)


def run(
    argv: Sequence[str],
    *,
    feeds: Mapping[str, Feed] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stall_s: float = 120.0,
    limit_s: float = 6 * 3600.0,
    scratch: Path | None = None,
    verbose: bool = False,
) -> Ended:
    """Run ffmpeg with `argv` (without the program). Names of `feeds` in argv become pipes that are fed from the iterables.

    Raises FfmpegFailed: FFMPEG_FAILED, DISK_FULL, FFMPEG_STALLED after `stall_s` without a frame, FFMPEG_TIMEOUT after
    `limit_s`. `verbose` keeps what filters report on stderr. When anything is raised here, cancellation included, the
    process is dead before this returns.
    """
    feeds = feeds or {}
    pipes = {name: os.pipe() for name in feeds}
    told = [_argument(a, pipes) for a in argv]
    told = _shorten(told, scratch)
    level = "info" if verbose else "warning"
    command = [
        str(ffmpeg_path()), "-nostdin", "-hide_banner", "-v", level, "-nostats", "-progress", "pipe:1", "-stats_period", "0.25",
        "-y", *told,
    ]  # fmt: skip
    before = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is built by us
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            pass_fds=[read for read, _ in pipes.values()], preexec_fn=_die_with_parent, env={"LC_ALL": "C"},  # noqa: PLW1509
        )  # fmt: skip
    except BaseException:
        for pair in pipes.values():
            os.close(pair[0])
            os.close(pair[1])
        raise
    _live.add(process.pid)
    watch = _Watch(last_sign=before)
    threads = [threading.Thread(target=_read_stderr, args=(process, watch), daemon=True)]
    for name, (read, write) in pipes.items():
        os.close(read)
        threads.append(threading.Thread(target=_pour, args=(feeds[name], write, watch), daemon=True))
    for thread in threads:
        thread.start()
    try:
        _follow(process, watch, on_progress, command, stall_s, before + limit_s)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _live.discard(process.pid)
        for thread in threads:
            thread.join(5)
        if process.stdout is not None:
            process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
    if watch.feed_error and not isinstance(watch.feed_error[0], BrokenPipeError):
        raise watch.feed_error[0]
    tail = "\n".join(watch.stderr)
    if process.returncode != 0:
        raise _failure(process.returncode, command, tail)
    return Ended(tail, time.monotonic() - before)


def read_frames(argv: Sequence[str], size: int) -> Iterator[memoryview]:
    """Run ffmpeg with raw frames of `size` bytes on its standard output and give them one by one.

    Closing the iterator ends the process. Raises FfmpegFailed when it ends badly after everything was read.
    """
    command = [str(ffmpeg_path()), "-nostdin", "-hide_banner", "-v", "warning", "-nostats", *argv]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - argv is built by us
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True,
            preexec_fn=_die_with_parent, env={"LC_ALL": "C"},  # noqa: PLW1509 - one system call before exec
        )  # fmt: skip
        _live.add(process.pid)
        try:
            while process.stdout is not None:
                frame = process.stdout.read(size)
                if len(frame) < size:
                    break
                yield memoryview(frame)
            status = process.wait(60)
            if status != 0:
                said.seek(0)
                raise _failure(status, command, said.read()[-20_000:].decode("utf-8", "replace"))
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _live.discard(process.pid)
            if process.stdout is not None:
                process.stdout.close()


def _argument(value: str, pipes: Mapping[str, tuple[int, int]]) -> str:
    return f"pipe:{pipes[value][0]}" if value in pipes else value


def _shorten(argv: list[str], scratch: Path | None) -> list[str]:
    """Graphs too long for the kernel are read from a file."""
    if not any(len(a) > _LONGEST_ARGUMENT for a in argv):
        return argv
    if scratch is None:
        raise FfmpegFailed("a filter graph is too long for one argument and no folder was given for it", argv=argv[:3], stderr_tail="")
    at = argv.index("-filter_complex")
    path = scratch / "graph.txt"
    path.write_text(argv[at + 1], encoding="utf-8")
    return [*argv[:at], "-/filter_complex", str(path), *argv[at + 2 :]]


def _die_with_parent() -> None:
    # Runs between fork and exec. Linux only; elsewhere lifeline.py alone sees to it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read_stderr(process: subprocess.Popen[bytes], watch: _Watch) -> None:
    # Drained all the time: a full pipe would stop ffmpeg for good.
    if process.stderr is not None:
        for line in process.stderr:
            watch.stderr.append(line.decode("utf-8", "replace").rstrip()[:2000])


def _pour(feed: Feed, write: int, watch: _Watch) -> None:
    try:
        with os.fdopen(write, "wb", buffering=0) as pipe:
            for frame in feed:
                view = memoryview(frame).cast("B")
                while view:
                    view = view[pipe.write(view) :]
    except BrokenPipeError:
        pass  # ffmpeg has all it wants, or has died; its exit status tells which
    except BaseException as error:
        watch.feed_error.append(error)


def _follow(
    process: subprocess.Popen[bytes],
    watch: _Watch,
    on_progress: Callable[[Progress], None] | None,
    command: Sequence[str],
    stall_s: float,
    deadline: float,
) -> None:
    """Read progress until ffmpeg ends. Everything waits here, in the calling thread, so that a cancel is felt within 0.2 s."""
    block: dict[str, str] = {}
    frame = -1
    rest = b""
    with selectors.DefaultSelector() as selector:
        if process.stdout is None:
            return
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now - watch.last_sign > stall_s:
                tail = "\n".join(watch.stderr)
                raise FfmpegFailed(
                    f"ffmpeg wrote nothing for {stall_s:g} s and was stopped; the machine is overloaded or the source is broken",
                    argv=command, stderr_tail=tail, code="FFMPEG_STALLED",
                )  # fmt: skip
            if now > deadline:
                raise FfmpegFailed("ffmpeg took longer than allowed and was stopped; split the movie into shorter scenes",
                                   argv=command, stderr_tail="\n".join(watch.stderr), code="FFMPEG_TIMEOUT")  # fmt: skip
            if watch.feed_error:
                return
            if not selector.select(0.2):
                if process.poll() is not None:
                    return
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                # Closed: it is ending. A process that closes stdout and lingers is caught by the wait in run().
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(stall_s)
                return
            *rows, rest = (rest + chunk).split(b"\n")
            for row in rows:
                key, _, value = row.decode("ascii", "replace").partition("=")
                block[key.strip()] = value.strip()
                if key == "progress":
                    seen = _progress(block)
                    sign = seen.frame if seen.frame else _whole(block.get("out_time_us"))
                    if sign != frame:
                        frame, watch.last_sign = sign, now
                    if on_progress is not None:
                        on_progress(seen)


def _progress(block: Mapping[str, str]) -> Progress:
    return Progress(_whole(block.get("frame")), _decimal(block.get("fps")), _decimal((block.get("speed") or "").rstrip("x")))


def _whole(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _decimal(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _failure(status: int, command: Sequence[str], tail: str) -> FfmpegFailed:
    if "No space left on device" in tail:
        return FfmpegFailed(
            "the disk is full; free some space (`viralsync` keeps its state under VIRALSYNC_HOME) and run the movie again",
            argv=command, stderr_tail=tail, code="DISK_FULL",
        )  # fmt: skip
    last = next((line for line in reversed(tail.splitlines()) if line and "Conversion failed" not in line), "no message")
    why = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return FfmpegFailed(f"ffmpeg {why}: {last}", argv=command, stderr_tail=tail)
