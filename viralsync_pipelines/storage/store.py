"""The store: one protocol over local files and S3-compatible buckets.

What belongs here: the protocol, its values, and opening a store by URL. Keys are in keys.py, the immutable plans in plans.py,
the two kinds of store in local.py and s3.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from viralsync_pipelines.errors import SettingsError


@dataclass(frozen=True)
class Stat:
    """Size in bytes, an opaque tag that changes with the content, and when it was written (aware, UTC)."""

    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class S3Access:
    """How to reach a bucket. Without keys, boto3's own chain is asked (profile, instance role).

    endpoint_url: any S3-compatible endpoint, None for AWS itself; the bucket in it (host or path) is recognised and taken off.
    region: "auto" is Cloudflare R2's; without an endpoint "auto" means "let boto3 find out".
    public_url: where the bucket's objects are readable without a signature (a CDN in front of `bucket/prefix`), if anywhere.
    """

    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    region: str = "auto"
    public_url: str | None = None


@dataclass(frozen=True)
class FilePlace:
    """`file:///folder`: an absolute folder on this machine."""

    root: Path


@dataclass(frozen=True)
class BucketPlace:
    """`s3://bucket/prefix`; the prefix has no slash at either end and may be empty."""

    bucket: str
    prefix: str


class Store(Protocol):
    """Objects by key. A key is never seen half-written: puts are atomic, also under kill -9.

    Raises StoreError (STORE_UNAVAILABLE after retries, STORE_REFUSED for credentials and places outside the store,
    STORE_KEY_INVALID, DISK_FULL, STORE_FILE_UNREADABLE for a file of the caller's that cannot be read) and ObjectMissing.
    """

    def put_file(self, key: str, path: Path, *, content_type: str | None = None, take: bool = False) -> Stat:
        """Store the bytes of `path`. `take`: the caller gives the file away; it is gone afterwards and may have been renamed
        into place instead of copied. Without it the file stays and later changes to it never reach the store."""
        ...

    def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> Stat: ...

    def put_if_absent(self, key: str, data: bytes, *, content_type: str | None = None) -> bool:
        """Write only when the key is free; True when this call wrote it."""
        ...

    def get_bytes(self, key: str) -> bytes: ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The bytes that exist in [start, start + length): fewer at the end of the object, none past it."""
        ...

    def fetch(self, key: str, to: Path) -> Path:
        """Bring the object to `to` (atomically: a temporary name, then a rename) and return it."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine when no copy is needed to read it, else None. Never write to it."""
        ...

    def stat(self, key: str) -> Stat | None:
        """None when there is no such object."""
        ...

    def delete(self, key: str) -> None:
        """Deleting what is not there is no error."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, in the order of their UTF-8 bytes. What no key may be called is passed over."""
        ...

    def url(self, key: str, *, expires_s: int = 3600) -> str:
        """A link a person can open: file:// or a signed https address."""
        ...

    def sweep(self, older_than_s: float, now: datetime) -> int:
        """Remove what killed writers left behind (temporary files, unfinished uploads) more than that long ago; the count."""
        ...


def place_of(url: str) -> FilePlace | BucketPlace:
    """What a store URL means. Raises SettingsError naming VIRALSYNC_STORE and what would be right."""
    right = "Set it to file:///absolute/folder or s3://bucket/prefix."
    try:
        parts = urlsplit(url)
    except ValueError:  # an unfinished [IPv6] host
        parts = urlsplit("")
    if parts.scheme not in {"file", "s3"}:
        raise SettingsError(f"VIRALSYNC_STORE is {url!r}, which is neither a file: nor an s3: address. {right}")
    if parts.query or parts.fragment:
        raise SettingsError(f"VIRALSYNC_STORE is {url!r}: an address of a store has no ? or # part. {right}")
    if parts.scheme == "file":
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or not path.startswith("/") or "\0" in path:
            raise SettingsError(f"VIRALSYNC_STORE is {url!r}, which does not name an absolute folder. {right}")
        return FilePlace(Path(path))
    # AWS's rules; others are stricter or alike.
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
        raise SettingsError(f"VIRALSYNC_STORE is {url!r}, and {parts.netloc!r} cannot be a bucket's name. {right}")
    prefix = parts.path.strip("/")
    if any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise SettingsError(f"VIRALSYNC_STORE is {url!r}, and its prefix has an empty, '.' or '..' part. {right}")
    return BucketPlace(parts.netloc, prefix)


def open_store(url: str, s3: S3Access | None) -> Store:
    """Open `file:///folder` (made if missing) or `s3://bucket/prefix` (asked at first use). Raises SettingsError."""
    place = place_of(url)
    if isinstance(place, FilePlace):
        from viralsync_pipelines.storage.local import LocalStore

        return LocalStore(place.root)
    if s3 is None:
        raise SettingsError(
            f"VIRALSYNC_STORE is {url!r}, but how to reach the bucket is not set: "
            "set S3_ACCESS_KEY, S3_SECRET_KEY and, unless it is on AWS, S3_URL."
        )
    # boto3 costs 0.3 s to import; a local store never pays for it.
    from viralsync_pipelines.storage.s3 import S3Store
    from viralsync_pipelines.storage.s3_client import make_client

    return S3Store(make_client(s3, place.bucket), place.bucket, place.prefix, public_url=s3.public_url)
