"""The store in a folder: objects are plain files, a key is the path below the root.

What belongs here: one winner for one key, refusal of anything that leads out of the root, and sweeping up after killed writers.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from viralsync_pipelines.errors import ObjectMissing, StoreError
from viralsync_pipelines.storage.files import copy, make_parent, sync, sync_folder, temporary_beside, translated, unreadable
from viralsync_pipelines.storage.keys import TEMPORARY, checked_key, checked_prefix, key_fault
from viralsync_pipelines.storage.store import Stat

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """Objects below `root`, which is made if missing. Raises StoreError and ObjectMissing as the protocol says.

    One limit that buckets do not have: `a` and `a/b` cannot both be objects (STORE_KEY_INVALID).
    """

    def __init__(self, root: Path) -> None:
        with translated(f"the store's folder {root}"):
            root.mkdir(parents=True, exist_ok=True)
            self._root = root.resolve(strict=True)

    def put_file(self, key: str, path: Path, *, content_type: str | None = None, take: bool = False) -> Stat:
        target = self._target(key)
        try:
            source = path.open("rb")
        except OSError as error:
            raise unreadable(error, path, key) from error
        with source:
            if take and _has_one_name(path, source):
                # Whatever goes wrong here (another file system, a lost right) is met again by the copy, and told there.
                with contextlib.suppress(OSError):
                    os.fsync(source.fileno())
                    make_parent(target)
                    path.replace(target)
                    sync_folder(target.parent)
                    return _stat(source)
            stat = self._write(key, target, lambda out: copy(source, out))
        if take:
            path.unlink(missing_ok=True)
        return stat

    def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> Stat:
        return self._write(key, self._target(key), lambda out: out.write(data))

    def put_if_absent(self, key: str, data: bytes, *, content_type: str | None = None) -> bool:
        target = self._target(key)
        with self._faults(key), temporary_beside(target) as (temporary, out):
            out.write(data)
            sync(out)
            try:
                _name_if_free(temporary, target, data)
            except FileExistsError:
                if target.is_dir():
                    raise
                return False
            sync_folder(target.parent)
        return True

    def get_bytes(self, key: str) -> bytes:
        with self._open(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ValueError(f"a range begins at 0 or later and is not negative: {start}, {length}")
        with self._open(key) as file:
            file.seek(start)
            return file.read(length)

    def fetch(self, key: str, to: Path) -> Path:
        with self._open(key) as source, translated(str(to)), temporary_beside(to) as (temporary, out):
            copy(source, out)
            out.flush()
            temporary.replace(to)
        return to

    def local_path(self, key: str) -> Path | None:
        path = self._target(key)
        return path if path.is_file() else None

    def stat(self, key: str) -> Stat | None:
        try:
            with self._open(key) as file:
                return _stat(file)
        except ObjectMissing:
            return None

    def delete(self, key: str) -> None:
        path = self._target(key)
        if path.is_dir():
            return
        with translated(key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        # Empty folders would keep their names from becoming objects, which a bucket allows.
        with contextlib.suppress(OSError):
            for folder in path.parents:
                if folder == self._root:
                    return
                folder.rmdir()

    def list(self, prefix: str) -> Iterator[str]:
        checked_prefix(prefix)
        folder, slash, _ = prefix.rpartition("/")
        return self._walk(folder + slash, prefix)

    def url(self, key: str, *, expires_s: int = 3600) -> str:
        return self._target(key).as_uri()

    def sweep(self, older_than_s: float, now: datetime) -> int:
        limit = now.timestamp() - older_than_s
        swept = 0
        for folder, _, names in os.walk(self._root):
            for path in (Path(folder, name) for name in names if name.startswith(TEMPORARY)):
                with contextlib.suppress(FileNotFoundError), translated(str(path)):
                    if path.lstat().st_mtime < limit:
                        path.unlink()
                        swept += 1
        return swept

    def _target(self, key: str) -> Path:
        """Where the key lies. A symlink below the root is refused even when it leads back in: it can be turned later."""
        path = self._root / checked_key(key)
        for step in (path, *path.parents):
            if step == self._root:
                break
            if step.is_symlink():
                raise StoreError(
                    f"{step} is a symbolic link, and the store does not follow those. "
                    "Point VIRALSYNC_STORE at the real folder, or mount it there.",
                    code="STORE_REFUSED",
                )
        return path

    def _open(self, key: str) -> BinaryIO:
        with translated(key):
            try:
                return self._target(key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise ObjectMissing(f"there is no {key} in {self._root}.") from None

    def _write(self, key: str, target: Path, write: Callable[[BinaryIO], object]) -> Stat:
        with self._faults(key), temporary_beside(target) as (temporary, out):
            write(out)
            sync(out)
            stat = _stat(out)
            temporary.replace(target)
            sync_folder(target.parent)
        return stat

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        with translated(key):
            try:
                yield
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                raise StoreError(
                    f"{key} cannot be stored: in a folder a name is either an object or a folder of objects. "
                    "Delete the other one first.",
                    code="STORE_KEY_INVALID",
                ) from None

    def _walk(self, base: str, prefix: str) -> Iterator[str]:
        with translated(f"the folder {base or self._root}"):
            try:
                with os.scandir(self._root / base) as found:
                    # A folder sorts as its name with the slash, which gives exactly the order of whole keys:
                    # "a-b" < "a/b" < "a0", where names alone would say "a" < "a-b" < "a0".
                    names = sorted(
                        f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                        for entry in found
                        if not entry.is_symlink()
                    )
            except (FileNotFoundError, NotADirectoryError):
                return
        for name in names:
            key = base + name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix) and key_fault(key) is None:
                yield key


def _name_if_free(temporary: Path, target: Path, data: bytes) -> None:
    """Give the finished file its name, or FileExistsError when it is taken: link fails where rename overwrites."""
    try:
        target.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links (exFAT, some network mounts). Still exactly one winner, but a
        # reader may see the file grow, and kill -9 in here leaves it short: the weaker promise of such a disk.
        with target.open("xb") as out:
            out.write(data)
            sync(out)


def _has_one_name(path: Path, source: BinaryIO) -> bool:
    # Through a second name, or a symlink's target, somebody could write into the stored object later.
    return not path.is_symlink() and os.fstat(source.fileno()).st_nlink == 1


def _stat(file: BinaryIO) -> Stat:
    info = os.fstat(file.fileno())
    # Every put makes a new inode, so two contents never share a tag even within one tick of the clock.
    tag = f"{info.st_size:x}-{info.st_mtime_ns:x}-{info.st_ino:x}"
    return Stat(info.st_size, tag, datetime.fromtimestamp(info.st_mtime, UTC))
