"""Adding what was generated to a movie's JSON: a picture as a still scene, a video as a scene, a sound as a layer of the whole film. Pure.

What belongs here: which place it gets, and the document with it. What does not: reading and keeping documents, where the media lies.
The document given is never changed. Its scenes stand one after the other; a transition lets a scene begin before the one ahead has ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from viralsync_pipelines.errors import MovieInvalid, Problem

Kind = Literal["image", "video", "audio"]
STILL_S = 3.0
LEAST_S = 0.05
_SIDES = (360, 3840)
# Scenes or layers with these stand for none, one or many, which only the whole film's expansion tells.
_REPEATED = frozenset({"iterate", "condition"})


@dataclass(frozen=True)
class Media:
    """What is added. src: as a layer names it. name: what its scene or layer is called, if that is free. duration: seconds, when known."""

    kind: Kind
    src: str
    name: str
    duration: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Placed:
    """The movie with it. pointer: of the new scene or layer. at: where it begins, in seconds; None behind scenes of unknown length."""

    movie: dict[str, Any]
    pointer: str
    at: float | None
    duration: float | None


def new_movie(movie_id: str, media: Media) -> dict[str, Any]:
    """A movie that has yet to hold anything, of the size of the first picture in it."""
    sides = [_side(each) for each in (media.width, media.height)]
    size = {"width": sides[0], "height": sides[1]} if sides[0] is not None and sides[1] is not None else {}
    return {"id": movie_id, **size, "scenes": []}


def add_to_timeline(
    movie: Mapping[str, Any], media: Media, *, at: float | None = None, duration: float | None = None, track: str | None = None
) -> Placed:  # fmt: skip
    """at: the playhead, in seconds: sound begins there, scenes go in at the first cut that is not before it. None: at the end; sound at
    the beginning. duration: of it, instead of its own (a still: 3 s). track: the id of a sound's layer.

    Raises MovieInvalid, with pointers into what was asked for (/at, /duration) or into the movie (/movie/...).
    """
    scenes = movie.get("scenes", [])
    if not isinstance(scenes, list) or not all(isinstance(each, Mapping) for each in scenes):
        raise _refused("/movie/scenes", "TYPE_WRONG", "the movie's scenes are no list of objects; mend the movie first")
    if duration is not None and not LEAST_S <= duration <= 7200:
        raise _refused("/duration", "VALUE_OUT_OF_RANGE", f"a duration is {LEAST_S:g} to 7200 seconds")
    if at is not None and not 0 <= at <= 7200 * 10:
        raise _refused("/at", "VALUE_OUT_OF_RANGE", "the playhead is 0 or more seconds into the film")
    if media.kind == "audio":
        return _sound(movie, scenes, media, at or 0.0, duration, track)
    if track is not None:
        raise _refused("/track", "FIELD_UNKNOWN", f"only a sound has a track; leave it out for a {media.kind}")
    return _scene(movie, scenes, media, at, duration)


def _scene(movie: Mapping[str, Any], scenes: list[Any], media: Media, at: float | None, duration: float | None) -> Placed:
    place = len(scenes) if at is None else _cut_at(scenes, at)
    own = STILL_S if media.kind == "image" else media.duration
    seconds = duration if duration is not None else _down(own) if own is not None else None
    layer: dict[str, Any] = {"type": media.kind, "src": media.src}
    # A clip that is as long as itself: unless it was measured, the film finds out.
    scene: dict[str, Any] = {"id": _free_id(scenes, media.name), "duration": seconds if seconds is not None else "auto", "layers": [layer]}
    if media.kind == "video" and duration is not None and media.duration is not None and duration > media.duration:
        layer["loop"] = True
    after = [*scenes[:place], scene, *scenes[place:]]
    return Placed({**movie, "scenes": after}, f"/scenes/{place}", _end_of(scenes[:place]), seconds)


def _sound(
    movie: Mapping[str, Any], scenes: list[Any], media: Media, at: float, duration: float | None, track: str | None
) -> Placed:  # fmt: skip
    layers = movie.get("layers", [])
    if not isinstance(layers, list):
        raise _refused("/movie/layers", "TYPE_WRONG", "the movie's layers are no list; mend the movie first")
    layer: dict[str, Any] = {"id": _free_id(layers, track or media.name), "type": "audio", "src": media.src, "start": at}
    if duration is not None:
        layer["duration"] = duration
    document = {**movie, "layers": [*layers, layer]}
    length = duration if duration is not None else media.duration
    if not scenes:
        # A film needs a scene to be as long as.
        shown = {"id": _free_id([], "silence"), "duration": _down(at + (length or STILL_S)), "layers": []}
        document["scenes"] = [shown]
    return Placed(document, f"/layers/{len(layers)}", at, length)


# ---- places ----------------------------------------------------------------------------------------------------------


def _cut_at(scenes: list[Any], at: float) -> int:
    """The first cut that is not before the playhead. The end of the film for a playhead behind it."""
    begins = 0.0
    for number, scene in enumerate(scenes):
        if at <= begins + 1e-6:
            return number
        length = _length_of(scene)
        if length is None:
            told = f"scene {number + 1} is as long as what it holds, so nobody knows yet what the film shows at {at:g} s"
            raise _refused("/at", "TIME_UNKNOWN", f"{told}; leave `at` out to add it at the end, or give that scene a duration")
        following = scenes[number + 1] if number + 1 < len(scenes) else None
        begins = max(0.0, begins + length - (_overlap(following) if following is not None else 0.0))
    return len(scenes)


def _end_of(scenes: list[Any]) -> float | None:
    lengths = [_length_of(each) for each in scenes]
    if any(each is None for each in lengths):
        return None
    return max(0.0, math.fsum(each or 0.0 for each in lengths) - math.fsum(_overlap(each) for each in scenes[1:]))


def _length_of(scene: Mapping[str, Any]) -> float | None:
    if _REPEATED & set(scene):
        return None
    length = scene.get("duration", "auto")
    known = isinstance(length, int | float) and not isinstance(length, bool) and math.isfinite(length) and length > 0
    return float(length) if known else None


def _overlap(scene: Mapping[str, Any]) -> float:
    """Seconds that it shares with the scene before it."""
    change = scene.get("transition")
    if not isinstance(change, Mapping) or change.get("type") == "cut":
        return 0.0
    length = change.get("duration", 0.5)
    return float(length) if isinstance(length, int | float) and not isinstance(length, bool) and 0 <= length <= 30 else 0.0


# ---- values ----------------------------------------------------------------------------------------------------------


def _free_id(beside: list[Any], wanted: str) -> str:
    taken = {each.get("id") for each in beside if isinstance(each, Mapping)}
    name = "".join(char if (char.isascii() and char.isalnum()) or char in "_-" else "-" for char in wanted)[:50] or "added"
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))) if each not in taken)


def _down(seconds: float) -> float:
    """To the millisecond below: a scene that outlasts its clip by a fraction of a frame would end on a blank."""
    return max(LEAST_S, math.floor(seconds * 1000) / 1000)


def _side(pixels: int | None) -> int | None:
    if pixels is None or pixels <= 0:
        return None
    return min(_SIDES[1], max(_SIDES[0], pixels // 2 * 2))


def _refused(pointer: str, code: str, message: str) -> MovieInvalid:
    return MovieInvalid([Problem(pointer, code, message)])
