"""Local files by content: hashed once for each state a file is seen in, and asked later whether they still hold the same bytes.

What belongs here: opening, stat and hashing. What does not: whether a file may be read at all (sources.py).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.render.download import Cache

# A file written to less than this ago may be written to again within one tick of its clock (FAT: two seconds), unseen by stat.
_SETTLED_NS = 2_000_000_000

# Device, inode, size, modification and change time (ns). The change time cannot be set back by `touch -r` or `cp -p`.
Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Found:
    """A file and the sha256 of its bytes. settled: an equal stamp later means equal bytes."""

    path: Path
    sha256: str
    stamp: Stamp
    settled: bool


def hashed(path: Path, cache: Cache, *, max_bytes: int, now_ns: Callable[[], int]) -> Found:
    """Hash a file in place, or take the hash noted for this very file in this very state.

    Raises SourceError SOURCE_NOT_FOUND, SOURCE_REFUSED (no regular file), SOURCE_TOO_LARGE, SOURCE_UNREADABLE, SOURCE_CHANGED.
    """
    try:
        with _opened(path) as file:
            stamp = _stamp(os.fstat(file.fileno()))
            if stamp[2] > max_bytes:
                raise SourceError(
                    f"{path.name} has {stamp[2]:,} bytes, at most {max_bytes:,} are taken; give a shorter version",
                    code="SOURCE_TOO_LARGE",
                )
            known = cache.note("file", str(path), {"stamp": list, "sha256": str})
            if known is not None and known["stamp"] == list(stamp):
                return Found(path, known["sha256"], stamp, True)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if _stamp(os.fstat(file.fileno())) != stamp or _stamp(path.stat()) != stamp:
                raise SourceError(
                    f"{path.name} was changed while it was read; wait until it is written, then run again",
                    code="SOURCE_CHANGED",
                )
    except FileNotFoundError as error:
        raise SourceError(f"there is no file {path.name}; check the name", code="SOURCE_NOT_FOUND") from error
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read ({error.strerror}); check its permissions", code="SOURCE_UNREADABLE"
        ) from error
    settled = now_ns() - max(stamp[3:]) > _SETTLED_NS
    if settled:
        cache.write_note("file", str(path), {"stamp": list(stamp), "sha256": sha256})
    return Found(path, sha256, stamp, settled)


def in_cache(path: Path, sha256: str) -> Found:
    """A file of the content cache, where nothing is ever changed in place."""
    return Found(path, sha256, _stamp(path.stat()), True)


def still_holds(path: Path, sha256: str, stamp: Stamp | None) -> bool:
    """Whether `path` holds bytes with this hash; an equal `stamp` is believed without reading."""
    try:
        with _opened(path) as file:
            if stamp is not None and _stamp(os.fstat(file.fileno())) == stamp:
                return True
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except (OSError, SourceError):
        return False


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """A regular file open for reading; anything else (a pipe would block, a device never ends) is refused."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise SourceError(f"{path.name} is no regular file but a folder, pipe or device; give a file", code="SOURCE_REFUSED")
    return open(handle, "rb")  # noqa: PTH123 - a handle, not a path


def _stamp(state: os.stat_result) -> Stamp:
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
