"""Finds what a model made in whatever its answer looks like: addresses, data: URIs, objects with a `url`, in the order in which they stand.

What belongs here: telling media from the rest, by what is said of it and by its name. Pure. What does not: fetching, and any provider's
own fields (providers/).
"""

from __future__ import annotations

import base64
import binascii
import math
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from viralsync_pipelines.generate.provider import Media, Output

# A model that lists more than this did not make all of it.
MOST_OUTPUTS = 100
_MIME = re.compile(r"[a-z]+/[a-z0-9.+-]{1,80}")
# The fields that tell the kind of the file whose address stands beside them.
_BESIDE = ("content_type", "mime_type", "mimeType", "media_type", "file_name")
_MEDIA: Mapping[str, Media] = {"image": "image", "video": "video", "audio": "audio"}
# What providers say of a file when they do not know what it is.
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream"})
# Python's own table has these wrong or not at all, depending on the machine's /etc/mime.types.
_KINDS: Mapping[str, str] = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "avif": "image/avif",
    "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm", "mkv": "video/x-matroska", "m4v": "video/mp4",
    "mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg", "opus": "audio/ogg", "flac": "audio/flac", "m4a": "audio/mp4",
    "aac": "audio/aac",
}  # fmt: skip


def never(url: str) -> bool:
    return False


def outputs_in(value: Any, media: Media, *, authorised: Callable[[str], bool] = never) -> tuple[Output, ...]:
    """Everything that was made, each address once; what is of the kind `media` first, which is also the kind of what nothing tells.

    authorised: which addresses take the provider's key. Whether http:// may be fetched is for whoever fetches.
    """
    found: dict[str, Output] = {}
    for text, said in _addresses(value):
        if text in found or len(found) >= MOST_OUTPUTS:
            continue
        output = _embedded(text, media) if text[:5].lower() == "data:" else _linked(text, said, media, authorised)
        if output is not None:
            found[text] = output
    return tuple(sorted(found.values(), key=lambda each: each.media != media))


def plain_values(value: Any) -> dict[str, Any]:
    """The numbers, switches and short words at the top of an answer (seed, has_nsfw_concepts, ...)."""
    if not isinstance(value, Mapping):
        return {}
    return {name: each for name, each in value.items() if _plain(name) and (_plain(each) or _few(each))}


def same_origin(url: str, base: str) -> bool:
    """Whether both have scheme, host and port in common, and `url` carries no user."""
    try:
        one, other = urlsplit(url), urlsplit(base)
        ports = {"https": 443, "http": 80}
        return (
            one.scheme == other.scheme and one.scheme in ports and bool(one.hostname) and one.hostname == other.hostname
            and (one.port or ports[one.scheme]) == (other.port or ports[other.scheme]) and "@" not in one.netloc and "\\" not in url
        )  # fmt: skip
    except ValueError:
        return False


def _addresses(value: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each string that may be an address, depth first, with what stands beside it of its kind. No recursion: answers may be as deep as
    JSON goes."""
    left: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    while left:
        each, said = left.pop()
        if isinstance(each, str):
            yield each.strip(), said
        elif isinstance(each, Mapping):
            beside = tuple(told for name in _BESIDE if isinstance(told := each.get(name), str))
            left.extend((child, beside if name in {"url", "uri"} else ()) for name, child in reversed(list(each.items())))
        elif isinstance(each, list | tuple):
            left.extend((child, ()) for child in reversed(each))


def _linked(text: str, said: tuple[str, ...], media: Media, authorised: Callable[[str], bool]) -> Output | None:
    # What is not printable is no address that anybody could write down: PostgreSQL refuses NUL, UTF-8 half a surrogate pair.
    if not text.startswith(("https://", "http://")) or len(text) > 8_000 or " " in text or not text.isprintable():
        return None
    try:
        place = urlsplit(text)
    except ValueError:
        return None
    if not place.hostname:
        return None
    mime = next(filter(None, (*map(_mime, said), *map(_by_name, said), _by_name(place.path))), "")
    kind = _MEDIA.get(mime.partition("/")[0])
    if mime and kind is None:
        return None
    return Output(kind or media, text, mime=mime, authorised=authorised(text))


def _embedded(text: str, media: Media) -> Output | None:
    head, comma, payload = text[5:].partition(",")
    if not comma:
        return None
    first, *more = (part.strip().lower() for part in head.split(";"))
    try:
        data = base64.b64decode("".join(payload.split()), validate=True) if "base64" in more else unquote_to_bytes(payload)
    except (binascii.Error, ValueError):
        return None
    mime = _mime(first)
    kind = _MEDIA.get(mime.partition("/")[0])
    if not data or (mime and kind is None):
        return None
    return Output(kind or media, data=data, mime=mime)


def _mime(said: str) -> str:
    """As it is said, or "" when that says nothing."""
    mime = said.partition(";")[0].strip().lower()
    return mime if mime not in _UNTOLD and _MIME.fullmatch(mime) else ""


def _by_name(name: str) -> str:
    ending = name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name else ""
    return _KINDS.get(ending) or _mime(mimetypes.types_map.get(f".{ending}", ""))


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 500 and "://" not in value and value[:5].lower() != "data:" and value.isprintable()
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _few(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 20 and all(map(_plain, value))
