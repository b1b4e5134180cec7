"""What films of a plan are made of: what is known of each source, of which kind it is, the frame that fits them, words kept from templates.

What belongs here: what merge, layer and addSubtitles share. What does not: any one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.film_params import Frame
from viralsync_pipelines.generate.markers import marker_of
from viralsync_pipelines.movie.spec import PRESETS

DEFAULT_SIZE = (1080, 1920)
# Of a still in a film whose length nothing else gives.
STILL_S = 1.0
LEAST, MOST = 360, 3840
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("mp4", "mov", "webm", "mkv", "m4v", "gif", "avi"), "video"),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "bmp", "avif", "tif", "tiff"), "image"),
    **dict.fromkeys(("mp3", "wav", "m4a", "ogg", "opus", "flac", "aac"), "audio"),
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What is known of a source before it is brought in: of another job's result all of it."""

    media: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


Materials = Mapping[str, Material]
"""By the source that names them."""


def kind_of(src: str, given: str | None, known: Materials) -> str | None:
    """video, image or audio: as given, as it is known, as the name ends; None when nothing tells."""
    if given is not None:
        return given
    if src in known:
        return known[src].media
    marker = marker_of(src)
    if marker is not None:
        # What the job will have made is known when this is done; a video does as well as anything for judging the rest.
        return marker.media or "video"
    if src.startswith("job:"):
        return "video"
    try:
        name = urlsplit(src).path.rpartition("/")[2]
    except ValueError:
        return None
    return _KINDS.get(name.rpartition(".")[2].lower()) if "." in name else None


def kind_unknown(pointer: str) -> Problem:
    told = "neither the address nor anything else tells what this is; add `type`: video, image or audio"
    return Problem(f"{pointer}/type", "FIELD_MISSING", told)


def size_of(frame: Frame, sources: Iterable[str], known: Materials) -> tuple[int, int]:
    """Width and height: as asked for, else the first known picture's, else 1080 x 1920. A side alone keeps the shape."""
    if frame.preset is not None:
        wide, tall = PRESETS[frame.preset]
        return frame.width or wide, frame.height or tall
    found = (known[src] for src in sources if src in known)
    base = next(((each.width, each.height) for each in found if each.width and each.height), DEFAULT_SIZE)
    if frame.width is not None and frame.height is not None:
        return frame.width, frame.height
    if frame.width is not None:
        return frame.width, _side(frame.width * base[1] / base[0])
    if frame.height is not None:
        return _side(frame.height * base[0] / base[1]), frame.height
    factor = max(1.0, LEAST / min(base))
    factor = min(factor, MOST / max(base))
    return _side(base[0] * factor), _side(base[1] * factor)


def _side(length: float) -> int:
    return min(MOST, max(LEAST, round(length / 2) * 2))


def css(color: tuple[int, int, int, int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in color)


def literal(value: Any) -> Any:
    """The value with every `{{` in its strings as two braces, however many there are: what users say never becomes an expression."""
    if isinstance(value, str):
        return value.replace("{{", "\\{{")
    if isinstance(value, Mapping):
        return {name: literal(each) for name, each in value.items()}
    return [literal(each) for each in value] if isinstance(value, list | tuple) else value


def outline(frame: Frame, size: tuple[int, int], color: tuple[int, int, int, int] | None) -> dict[str, Any]:
    """The movie around its scenes. Levels are left alone: a volume is one only where nothing evens it out."""
    fps = 30 if frame.fps is None else frame.fps
    movie: dict[str, Any] = {"width": size[0], "height": size[1], "fps": fps, "audio": {"loudness": None}}
    return {**movie, "bgColor": css(color)} if color is not None else movie
