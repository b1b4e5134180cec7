"""Measured times of scenes and layers, for expressions such as `{{ intro.end }}`: what is known now, and only that.

What belongs here: from a validated movie and known lengths to Timings. What does not: asking for sources or speech (render/prepare.py).
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from typing import Any

from viralsync_pipelines.movie.known import Known, decides_length, natural_seconds, own_seconds, scene_seconds
from viralsync_pipelines.movie.layers import AudioLayer, ImageLayer, VideoLayer, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.measured import Timing
from viralsync_pipelines.movie.spec import Movie, Scene

# Fields of a layer that decide when it begins, and how long it is there.
_BEGINS = frozenset({"start", "condition"})
_LASTS = frozenset(
    {"duration", "src", "text", "ssml", "voice", "engine", "speed", "trimStart", "trimEnd", "loop", "pauseAfter", "condition"}
)


def measure_times(movie: Movie, known: Known, pending: Collection[str]) -> dict[str, Timing]:
    """Timings by the keys of measured.py. Whatever rests on a pending field, or on a length not known yet, is None or left out."""
    waits = frozenset(pending)
    times: dict[str, Timing] = {}
    clock: Fraction | None = Fraction(0)
    for index, scene in enumerate(movie.scenes):
        at = f"/scenes/{index}"
        seconds = _scene_length(scene, at, known, movie, waits)
        for number, layer in enumerate(scene.layers):
            if layer.id is not None:
                _note(times, f"{scene.id}/{layer.id}", _layer(layer, f"{at}/layers/{number}", known, seconds, waits))
        if index and any(pointer.startswith(f"{at}/transition") for pointer in waits):
            clock = None
        elif scene.transition is not None and scene.transition.type != "cut" and index and clock is not None:
            clock -= exact(scene.transition.duration)
        if f"{at}/condition" in waits:
            seconds = clock = None
        end = clock + seconds if clock is not None and seconds is not None else None
        _note(times, scene.id, (clock, end, seconds))
        clock = end
    for number, layer in enumerate(movie.layers):
        if layer.id is not None:
            _note(times, f"/{layer.id}", _layer(layer, f"/layers/{number}", known, clock, waits))
    return times


_Times = tuple[Fraction | None, Fraction | None, Fraction | None]


def _note(times: dict[str, Timing], key: str, measured: _Times) -> None:
    if any(part is not None for part in measured):
        times[key] = Timing(*(None if part is None else float(part) for part in measured))


def _scene_length(scene: Scene, at: str, known: Known, movie: Movie, waits: frozenset[str]) -> Fraction | None:
    if f"{at}/duration" in waits:
        return None
    if scene.duration == "auto":
        # Only what decides the length holds it up: a title may well begin a second before its scene ends.
        for number, layer in enumerate(scene.layers):
            if decides_length(layer) and _held(f"{at}/layers/{number}", _BEGINS | _LASTS, waits):
                return None
    return scene_seconds(scene, known, movie.fps)


def _held(place: str, fields: frozenset[str], waits: frozenset[str]) -> bool:
    return bool(waits) and any(f"{place}/{field}" in waits for field in fields)


def _layer(layer: Any, place: str, known: Known, whole: Fraction | None, waits: frozenset[str]) -> _Times:
    """Start, end and length; None each where it is not known yet."""
    start = None if _held(place, _BEGINS, waits) else exact(layer.start)
    rest = whole - start if whole is not None and start is not None else None
    length = None if _held(place, _LASTS, waits) else _length(layer, known, rest)
    if length is not None and length < 0:
        return start, None, None
    return start, start + length if start is not None and length is not None else None, length


def _length(layer: Any, known: Known, rest: Fraction | None) -> Fraction | None:
    """Seconds that a layer is there: as asked, its own length, or until the end of its stage (`rest` seconds, None unknown).

    The end of the stage cuts off nothing here, so that a scene may be as long as its voice: "{{ vo.end + 0.5 }}".
    """
    if isinstance(layer, VoiceLayer | AudioLayer | VideoLayer) and not getattr(layer, "loop", False):
        own = own_seconds(layer, known)
        return min(own, rest) if layer.duration == "scene" and own is not None and rest is not None else own
    if isinstance(layer.duration, float):
        return exact(layer.duration)
    own = natural_seconds(layer, known) if isinstance(layer, ImageLayer) and layer.duration == "auto" else None
    return rest if own is None else own
