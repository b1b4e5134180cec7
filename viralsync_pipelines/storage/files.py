"""Writing a file that appears whole or not at all, and what the system's refusals mean in our words.

What belongs here: temporary names, copying, errno. Both kinds of store write with it; keys and objects are unknown here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from viralsync_pipelines.errors import StoreError
from viralsync_pipelines.storage.keys import TEMPORARY

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the folder of `target`, made if missing, to be written and then renamed; gone at the end unless renamed.

    Raises OSError as it comes; FileExistsError or NotADirectoryError when a parent of `target` is a file.
    """
    # Not tempfile: its 0600 would shut out the other users of a shared store. This obeys the umask.
    path = target.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
    out = _create(path)
    try:
        with out:
            yield path, out
    finally:
        path.unlink(missing_ok=True)


def make_parent(path: Path) -> None:
    """The folder of `path`. FileNotFoundError when it was removed at the same moment, FileExistsError when a file is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if any(folder.is_file() for folder in path.parents):
            raise
        # mkdir met the folder, and when it looked again whether that was one, a delete had pruned it.
        raise FileNotFoundError(str(path.parent)) from None


def sync(out: BinaryIO) -> None:
    """Everything written is on the disk, so that a rename after it cannot be kept by a power cut that loses the bytes."""
    out.flush()
    os.fsync(out.fileno())


def sync_folder(folder: Path) -> None:
    """Names made or removed in the folder survive a power cut. A folder that somebody has removed meanwhile needs nothing."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: BinaryIO, out: BinaryIO) -> None:
    """Copy to the end: shares the blocks where the file system can (btrfs, XFS), else moves bytes in the kernel, else by hand.

    Both must be at their begin with nothing buffered.
    """
    if hasattr(os, "copy_file_range"):
        try:
            while os.copy_file_range(source.fileno(), out.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno in _FULL:
                raise
            # Another file system, a pipe, an old kernel: both descriptors stand where it stopped; go on there by hand.
        else:
            return
    shutil.copyfileobj(source, out, 1 << 20)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn OSError into StoreError: DISK_FULL, STORE_REFUSED or STORE_UNAVAILABLE, naming `what` was being written or read."""
    try:
        yield
    except OSError as error:
        raise meaning(error, what) from error


def meaning(error: OSError, what: str) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            f"no room to write {what} ({error.strerror}). Nothing was stored; free some space and run it again.",
            code="DISK_FULL",
        )
    if error.errno in _FORBIDDEN:
        return StoreError(f"{what} may not be touched ({error.strerror}): check who owns the folder.", code="STORE_REFUSED")
    return StoreError(f"{what} could not be read or written: {error}. Check the disk and run it again.")


def unreadable(error: OSError, path: Path, key: str) -> StoreError:
    return StoreError(f"{path} cannot be read ({error.strerror}); {key} was not stored.", code="STORE_FILE_UNREADABLE")


def _create(path: Path) -> BinaryIO:
    # The folder may vanish between the two lines: a store prunes empty ones after a delete, and each retry means one more did.
    for _ in range(50):
        with contextlib.suppress(FileNotFoundError):
            make_parent(path)
            return path.open("xb")
    make_parent(path)
    return path.open("xb")
