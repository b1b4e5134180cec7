"""Remote bytes into the content cache: streamed, capped, hashed, and never taken for whole when they are not.

What belongs here: the cache folder and its index by address, and one download. What does not: the grammar of `src` (places.py).

    <cache>/blobs/<sha256>       the bytes, read-only, written by rename
    <cache>/index/<key>.json     small notes by address or path; each one replaced whole, so any number of processes may write
    <cache>/partial/             downloads under way; leftovers of killed processes are swept after a day
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.http import Permanent, Transient, retrying, shown, stream

if TYPE_CHECKING:
    import httpx

_STALE_S = 86400.0


@dataclass(frozen=True)
class Cache:
    """A folder of files by content. Safe for many processes at once; nothing in it is ever changed in place."""

    root: Path

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def note(self, kind: str, name: str, fields: Mapping[str, type]) -> dict[str, Any] | None:
        """What was written under (kind, name), None unless it is there with all `fields` and of their types."""
        try:
            found = json.loads(self._place(kind, name).read_bytes())
        except (OSError, ValueError):
            return None
        whole = isinstance(found, dict) and all(isinstance(found.get(field), kind) for field, kind in fields.items())
        return found if whole else None

    def write_note(self, kind: str, name: str, data: dict[str, Any]) -> None:
        place = self._place(kind, name)
        with self.partial() as temporary:
            temporary.write_text(json.dumps(data))
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(place)

    def keep(self, temporary: Path, sha256: str) -> Path:
        """Move a finished temporary file to its name by content."""
        place = self.blob(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        temporary.replace(place)
        return place

    @contextmanager
    def partial(self) -> Iterator[Path]:
        """A temporary file on the same file system; gone at the end of the block unless it was moved away."""
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        path = Path(name)
        try:
            yield path
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise SourceError(
                    f"the disk that holds {self.root} is full; free some space and run it again", code="DISK_FULL"
                ) from error
            raise
        finally:
            path.unlink(missing_ok=True)

    def sweep(self, now: float) -> None:
        """Remove what processes killed more than a day before `now` (seconds since the epoch) left half-written."""
        for path in (self.root / "partial").glob("*"):
            try:
                if path.stat().st_mtime < now - _STALE_S:
                    path.unlink(missing_ok=True)
            except OSError:
                continue  # another process swept it first

    def _place(self, kind: str, name: str) -> Path:
        # The name itself is not written down: signed addresses carry secrets.
        return self.root / "index" / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"


@dataclass(frozen=True)
class Web:
    """How remote files are fetched. `seconds` bounds one whole download with all its tries; `sleep` pauses between tries."""

    client: httpx.Client
    plain_http: bool = False
    seconds: float = 900.0
    tries: int = 4
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def download(url: str, web: Web, cache: Cache, max_bytes: int) -> tuple[Path, str]:
    """Bring `url` into the cache: (path, sha256). Bytes already here are asked about (ETag, Last-Modified), not fetched again.

    Raises SourceError: SOURCE_NOT_FOUND, SOURCE_REFUSED, SOURCE_TOO_LARGE, SOURCE_UNREADABLE, SOURCE_UNAVAILABLE (worth
    another run), DISK_FULL.
    """
    try:
        with deadline(web.seconds, web.clock):
            return retrying(lambda: _once(url, web, cache, max_bytes), tries=web.tries, sleep=web.sleep)
    except Transient as error:
        raise SourceError(f"{error.message} ({_times(web.tries)})", code="SOURCE_UNAVAILABLE") from error
    except Permanent as error:
        code = "SOURCE_REFUSED" if error.status is None else "SOURCE_UNREADABLE"
        if error.status in {404, 410} or error.code == "HOST_UNKNOWN":
            code = "SOURCE_NOT_FOUND"
        raise SourceError(error.message, code=code) from error


def _times(tries: int) -> str:
    return "tried once" if tries == 1 else f"tried {tries} times"


def _once(url: str, web: Web, cache: Cache, max_bytes: int) -> tuple[Path, str]:
    known = cache.note("url", url, {"sha256": str, "size": int})
    have = known is not None and _whole(cache.blob(known["sha256"]), known["size"])
    asked = _conditions(known) if known is not None and have else {}
    with stream(web.client, url, headers=asked, plain_http=web.plain_http) as answer:
        if answer.status_code == 304:
            if known is None or not asked:
                raise Permanent(f"{shown(url)} answered 304 without having been asked; its server is broken", status=304)
            return cache.blob(known["sha256"]), known["sha256"]
        _check_headers(url, answer, max_bytes)
        with cache.partial() as temporary:
            sha256, size = _receive(url, answer, temporary, max_bytes)
            path = cache.keep(temporary, sha256)
        kept = {k: answer.headers.get(k) for k in ("etag", "last-modified")}
    cache.write_note("url", url, {"sha256": sha256, "size": size, **kept})
    return path, sha256


def _conditions(known: dict[str, Any]) -> dict[str, str]:
    names = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
    return {header: str(known[k]) for k, header in names.items() if known.get(k)}


def _check_headers(url: str, answer: httpx.Response, max_bytes: int) -> None:
    encoding = answer.headers.get("content-encoding", "identity").lower()
    # S3 objects uploaded in signed chunks keep "aws-chunked" as a false encoding.
    if encoding not in {"identity", "", "aws-chunked"}:
        raise Permanent(
            f"{shown(url)} is sent {encoding}-compressed although plain bytes were asked for; store it uncompressed",
            status=answer.status_code,
        )
    length = answer.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise _too_large(url, max_bytes)


def _receive(url: str, answer: httpx.Response, to: Path, max_bytes: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with to.open("wb") as file:
        # Raw bytes: a body that decompresses itself without end must not get the chance. A body shorter than its
        # Content-Length raises in the protocol layer; a longer one is cut there.
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(url, max_bytes)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest(), size


def _too_large(url: str, max_bytes: int) -> SourceError:
    return SourceError(
        f"{shown(url)} is larger than the {max_bytes:,} bytes a source may have; give a shorter or smaller version",
        code="SOURCE_TOO_LARGE",
    )


def _whole(path: Path, size: object) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
