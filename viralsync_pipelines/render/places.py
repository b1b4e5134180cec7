"""What a `src` says, read as text: pure, `parse(src) -> Place`, or a SourceError that names the scheme and the remedy.

What belongs here: the grammar of MOVIE.md's `src`. What does not: whether the thing exists or may be read (sources.py).
ffmpeg's own protocols (concat:, subfile,, pipe:, data: ...) are refused here, long before ffmpeg could see them.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.http import shown

How = Literal["web", "bucket", "job", "resource", "local"]

MAX_LENGTH = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.,_-]*:")
_JOB = re.compile(r"job_[0-9a-f]{12}")
_KEY = re.compile(r"[A-Za-z0-9._@=+-]+(/[A-Za-z0-9._@=+-]+)*")
_OPEN = "https://..., s3://..., job:<jobId>, resource:<key>"

_REMEDIES = {
    "data": "save the bytes to a file and give its address",
    "ftp": "put the file at an https:// address",
    "ftps": "put the file at an https:// address",
    "sftp": "put the file at an https:// address",
    "rtmp": "record the stream to a file first",
    "rtsp": "record the stream to a file first",
    "srt": "record the stream to a file first",
    "udp": "record the stream to a file first",
    "blob": "a browser's own object cannot be read from outside; upload it and give that address",
    "concat": "use one scene or layer for each file",
    "gs": "give a signed https:// address of the object",
    "youtube": "download the clip first and give that file",
}


@dataclass(frozen=True)
class Place:
    """web: `value` is the address. bucket: "bucket/key". job, resource: the id or key. local: a path, relative or absolute."""

    how: How
    value: str


def parse(src: str) -> Place:
    """Read a `src`. Raises SourceError SOURCE_REFUSED."""
    if not src.strip():
        raise _refused(f"the source is empty; give {_OPEN} or, where local files are open, a path")
    if len(src) > MAX_LENGTH:
        raise _refused(f"the source is {len(src):,} characters long; an address has at most {MAX_LENGTH:,}")
    if any(ord(c) < 32 or ord(c) == 127 for c in src) or src != src.strip():
        raise _refused("the source holds control characters or blanks at its ends; take them out")
    if src.startswith(("\\\\", "//")):
        raise _refused("network shares are not open; copy the file to the media folder, or put it at an https:// address")
    found = _SCHEME.match(src)
    if found is None:
        return Place("local", src)
    scheme, rest = found[0][:-1].lower(), src[found.end() :]
    match scheme:
        case "http" | "https":
            if not rest.startswith("//"):
                raise _refused(f"{shown(src)} is not a web address; write {scheme}://host/path")
            return Place("web", src.partition("#")[0])
        case "s3":
            return Place("bucket", _checked(rest.removeprefix("//"), _KEY, "s3://bucket/key", src))
        case "job":
            return Place("job", _checked(rest, _JOB, "job:job_ and 12 hex digits", src))
        case "resource":
            return Place("resource", _checked(rest, _KEY, "resource:<key>", src))
        case "file":
            return Place("local", _file_path(rest))
    if len(scheme) == 1:
        raise _refused(f"{shown(src)} looks like a Windows path; put the file in the media folder and give its name there")
    remedy = _REMEDIES.get(scheme.partition(",")[0], f"open are {_OPEN}")
    raise _refused(f"{scheme[:40]}: is no way to name a source; {remedy} (a file whose name holds a colon is written ./name)")


def _file_path(rest: str) -> str:
    """The path of a file: address. Only this machine may be named as host."""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in {"", "localhost"} or not slash:
            raise _refused("file: may not name another machine; write file:///folder/name")
        rest = "/" + path
    path = urllib.parse.unquote(rest)
    if not path or any(ord(c) < 32 for c in path) or path.startswith("//"):
        raise _refused("this file: address names no file; write file:///folder/name")
    return path


def _checked(value: str, pattern: re.Pattern[str], shape: str, src: str) -> str:
    if pattern.fullmatch(value) is None or ".." in value.split("/"):
        raise _refused(f"{shown(src)} is not of the form {shape}")
    return value


def _refused(message: str) -> SourceError:
    return SourceError(message, code="SOURCE_REFUSED")
