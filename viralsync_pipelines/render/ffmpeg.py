"""The one door to ffmpeg: start it, feed it, watch it, and make sure that it is gone afterwards.

What belongs here: the process and its pipes. What does not: what it is told to do (movie/filters.py, sound.py, assemble.py).
"""

from __future__ import annotations

import contextlib
import fcntl
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
from typing import Any

from viralsync_pipelines.errors import FfmpegFailed
from viralsync_pipelines.render.ffmpeg_faults import cut_short, failure, sign_of_cut, stalled
from viralsync_pipelines.render.launch import as_batch, dying_with_us
from viralsync_pipelines.render.signs import Quiet
from viralsync_pipelines.render.undisturbed import undisturbed

# A graph beyond this goes through a file: Linux refuses single arguments over 128 KiB.
_LONGEST_ARGUMENT = 100_000


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
# Held from the start of a process until it is in _live: one that was started and not yet noted was once missed by kill_all.
_starting = threading.Lock()
# Decoders by the thread that reads them: one that hangs would keep its thread, and whoever waits for it.
_decoders: dict[int, set[int]] = {}


def kill_all() -> None:
    """Kill every ffmpeg started by this process. For the last moment of a process; ordinary ends clean up by themselves."""
    with _starting:
        for group in list(_live):
            _kill(group)


def _start(command: Sequence[str], *, stderr: Any, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """ffmpeg in a process group of its own, which the kernel kills with ours."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with undisturbed(), _starting:
            process = subprocess.Popen(  # noqa: S603 - argv is built by us
                dying_with_us(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
                pass_fds=pass_fds, env={"LC_ALL": "C"},
            )  # fmt: skip
            _live.add(process.pid)
            as_batch(process.pid)
    except BaseException:
        if process is not None:
            # Interrupted while it started.
            _kill(process.pid)
            process.communicate()
            _live.discard(process.pid)
        raise
    return process


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@dataclass
class _Watch:
    """What the reading threads share with the one that waits."""

    stderr: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    last_sign: float = 0.0
    feed_error: list[BaseException] = field(default_factory=list)
    cut_short: str = ""

    @property
    def tail(self) -> str:
        return "\n".join(self.stderr)


@dataclass(frozen=True)
class _Patience:
    """Seconds without a frame, seconds without a sign of life (None: as many), and the last moment (monotonic)."""

    stall_s: float
    idle_s: float | None
    deadline: float


def run(
    argv: Sequence[str],
    *,
    feeds: Mapping[str, Feed] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stall_s: float = 120.0,
    idle_s: float | None = None,
    limit_s: float = 6 * 3600.0,
    scratch: Path | None = None,
    verbose: bool = False,
) -> Ended:
    """Run ffmpeg with `argv` (without the program). Names of `feeds` in argv become pipes that are fed from the iterables.

    Raises FfmpegFailed: FFMPEG_FAILED, DISK_FULL, SOURCE_CUT_SHORT, FFMPEG_STALLED after `stall_s` without a frame
    and after `idle_s` in which it neither wrote one nor read nor computed, FFMPEG_TIMEOUT after `limit_s`; and whatever a feed raises.
    `verbose` keeps what filters report on stderr. When anything is raised here, cancellation included, the process and the decoders
    behind its feeds are dead before this returns.
    """
    feeds = feeds or {}
    argv = _shorten(argv, scratch)
    pipes = {name: os.pipe() for name in feeds}
    told = [_argument(a, pipes) for a in argv]
    level = "info" if verbose else "warning"
    command = [
        str(ffmpeg_path()), "-nostdin", "-hide_banner", "-v", level, "-nostats", "-progress", "pipe:1", "-stats_period", "0.25",
        "-y", *told,
    ]  # fmt: skip
    before = time.monotonic()
    try:
        process = _start(command, stderr=subprocess.PIPE, pass_fds=[read for read, _ in pipes.values()])
    except BaseException:
        for pair in pipes.values():
            os.close(pair[0])
            os.close(pair[1])
        raise
    watch = _Watch(last_sign=before)
    reader = threading.Thread(target=_read_stderr, args=(process, watch), daemon=True)
    pourers = []
    failed: list[BaseException] = []
    try:
        for name, (read, write) in pipes.items():
            os.close(read)
            _widen(write)
            pourers.append(threading.Thread(target=_pour, args=(feeds[name], write, watch), daemon=True))
        # One that an interrupt caught between its start and its first step was not waited for, and read from a pipe that was closed.
        with undisturbed():
            for thread in (reader, *pourers):
                thread.start()
        _follow(process, watch, on_progress, command, _Patience(stall_s, idle_s, before + limit_s))
    finally:
        if process.poll() is None:
            _kill(process.pid)
        process.wait()
        _live.discard(process.pid)
        # Before decoders are killed: a feed that fails of that is none of the run's business.
        failed = list(watch.feed_error)
        for thread in pourers:
            for decoder in list(_decoders.get(thread.ident or 0, ())):
                _kill(decoder)
        for thread in (reader, *pourers):
            if thread.ident is not None:
                thread.join(5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if failed:
        raise failed[0]
    tail = watch.tail
    if process.returncode != 0:
        raise failure(process.returncode, command, tail)
    if watch.cut_short:
        raise cut_short(command, watch.cut_short)
    return Ended(tail, time.monotonic() - before)


def read_frames(argv: Sequence[str], size: int) -> Iterator[memoryview]:
    """Run ffmpeg with raw frames of `size` bytes on its standard output and give them one by one.

    Closing the iterator ends the process. Raises FfmpegFailed when it ends badly after everything was read, or read a source
    that is cut short.
    """
    command = [str(ffmpeg_path()), "-nostdin", "-hide_banner", "-v", "warning", "-nostats", *argv]
    with tempfile.TemporaryFile() as said:
        process = _start(command, stderr=said)
        owner = threading.get_ident()
        mine = _decoders.setdefault(owner, set())
        mine.add(process.pid)
        if process.stdout is not None:
            _widen(process.stdout.fileno())
        try:
            while process.stdout is not None:
                frame = process.stdout.read(size)
                if len(frame) < size:
                    break
                yield memoryview(frame)
            status = process.wait(60)
            said.seek(0)
            tail = said.read()[-20_000:].decode("utf-8", "replace")
            if status != 0:
                raise failure(status, command, tail)
            if sign := sign_of_cut(tail):
                raise cut_short(command, sign)
        finally:
            if process.poll() is None:
                _kill(process.pid)
            process.wait()
            _live.discard(process.pid)
            mine.discard(process.pid)
            if not mine:
                _decoders.pop(owner, None)
            if process.stdout is not None:
                process.stdout.close()


def _argument(value: str, pipes: Mapping[str, tuple[int, int]]) -> str:
    return f"pipe:{pipes[value][0]}" if value in pipes else value


def _shorten(argv: Sequence[str], scratch: Path | None) -> Sequence[str]:
    """Graphs too long for the kernel are read from a file."""
    if not any(len(a) > _LONGEST_ARGUMENT for a in argv):
        return argv
    if scratch is None or "-filter_complex" not in argv:
        raise FfmpegFailed("an argument is too long for one, and is no filter graph or has no folder", argv=argv[:3], stderr_tail="")
    at = argv.index("-filter_complex")
    path = scratch / "graph.txt"
    path.write_text(argv[at + 1], encoding="utf-8")
    return [*argv[:at], "-/filter_complex", str(path), *argv[at + 2 :]]


def _widen(pipe: int) -> None:
    # 64 KiB at a time means 47 wake-ups for one vertical HD frame; a megabyte takes 0.1 CPU-s less for 120 of them.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _read_stderr(process: subprocess.Popen[bytes], watch: _Watch) -> None:
    # Drained all the time: a full pipe would stop ffmpeg for good.
    if process.stderr is not None:
        for line in process.stderr:
            text = line.decode("utf-8", "replace").rstrip()[:2000]
            watch.stderr.append(text)
            watch.cut_short = watch.cut_short or sign_of_cut(text)


def _pour(feed: Feed, write: int, watch: _Watch) -> None:
    with os.fdopen(write, "wb", buffering=0) as pipe:
        try:
            for frame in feed:
                view = memoryview(frame).cast("B")
                while view:
                    view = view[pipe.write(view) :]
        except BrokenPipeError:
            pass  # ffmpeg has all it wants, or has died; its exit status tells which
        except BaseException as error:
            # Noted before the pipe is closed: ffmpeg takes that for the end, and may end well.
            watch.feed_error.append(error)
        finally:
            # Ends a decoder behind the feed now, and in the thread that started it.
            close = getattr(feed, "close", None)
            if close is not None:
                close()


def _follow(
    process: subprocess.Popen[bytes],
    watch: _Watch,
    on_progress: Callable[[Progress], None] | None,
    command: Sequence[str],
    patience: _Patience,
) -> None:
    """Read progress until ffmpeg ends. Everything waits here, in the calling thread, so that a cancel is felt within 0.2 s."""
    block: dict[str, str] = {}
    frame = -1
    rest = b""
    quiet = Quiet(process.pid)
    with selectors.DefaultSelector() as selector:
        if process.stdout is None:
            return
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now - watch.last_sign > patience.stall_s:
                raise stalled(command, patience.stall_s, watch.tail)
            if patience.idle_s is not None and min(now - watch.last_sign, quiet.seconds(now)) > patience.idle_s:
                raise stalled(command, patience.idle_s, watch.tail)
            if now > patience.deadline:
                raise FfmpegFailed("ffmpeg took longer than allowed and was stopped; split the movie into shorter scenes",
                                   argv=command, stderr_tail=watch.tail, code="FFMPEG_TIMEOUT")  # fmt: skip
            if watch.feed_error:
                return
            if not selector.select(0.2):
                if process.poll() is not None:
                    return
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                # Closed: it is ending. A process that closes stdout and lingers is caught by the wait in run().
                try:
                    process.wait(patience.stall_s)
                except subprocess.TimeoutExpired:
                    raise stalled(command, patience.stall_s, watch.tail) from None
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
