"""Measured times of scenes and layers, for expressions such as `{{ intro.end }}`: what is known now, and only that.

What belongs here: from a validated movie and known lengths to Timings. What does not: asking for sources or speech (render/prepare.py).
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from typing import Any

from viralsync_pipelines.movie.known import Known, natural_seconds, own_seconds, scene_seconds
from viralsync_pipelines.movie.layers import AudioLayer, ImageLayer, VideoLayer, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.measured import Timing
from viralsync_pipelines.movie.spec import Movie

# Fields of a layer that decide when it begins or ends.
_TIMING = frozenset(
    "start duration src text ssml voice engine speed trimStart trimEnd loop pauseAfter condition".split()  # noqa: SIM905 - a list of words
)


def measure_times(movie: Movie, known: Known, pending: Collection[str]) -> dict[str, Timing]:
    """Timings by the keys of measured.py. Whatever rests on a pending field, or on a length not known yet, is left out."""
    waiting = {_owner(pointer) for pointer in pending} - {""}
    times: dict[str, Timing] = {}
    clock: Fraction | None = Fraction(0)
    for index, scene in enumerate(movie.scenes):
        at = f"/scenes/{index}"
        settled = not any(place == at or place.startswith(f"{at}/") for place in waiting)
        seconds = scene_seconds(scene, known, movie.fps) if settled else None
        if not settled and scene.duration != "auto" and at not in waiting:
            seconds = exact(scene.duration)
        for number, layer in enumerate(scene.layers):
            if layer.id is not None and f"{at}/layers/{number}" not in waiting:
                _note(times, f"{scene.id}/{layer.id}", layer, known, seconds)
        if scene.transition is not None and scene.transition.type != "cut" and index and clock is not None:
            clock -= exact(scene.transition.duration)
        if seconds is not None and clock is not None:
            times[scene.id] = Timing(float(clock), float(clock + seconds), float(seconds))
            clock += seconds
        else:
            clock = None
    for number, layer in enumerate(movie.layers):
        if layer.id is not None and f"/layers/{number}" not in waiting:
            _note(times, f"/{layer.id}", layer, known, clock)
    return times


def _owner(pointer: str) -> str:
    """The scene or layer whose timing a pending field holds up; "" when it holds up none."""
    parts = pointer.split("/")
    if len(parts) >= 6 and parts[1] == "scenes" and parts[3] == "layers":
        return "/".join(parts[:5]) if parts[5] in _TIMING else ""
    if len(parts) >= 4 and parts[1] == "scenes":
        return "/".join(parts[:3]) if parts[3] in {"duration", "transition", "condition"} else ""
    if len(parts) >= 4 and parts[1] == "layers":
        return "/".join(parts[:3]) if parts[3] in _TIMING else ""
    return ""


def _note(times: dict[str, Timing], key: str, layer: Any, known: Known, whole: Fraction | None) -> None:
    start = exact(layer.start)
    length = _length(layer, start, known, whole)
    if length is not None and length >= 0:
        times[key] = Timing(float(start), float(start + length), float(length))


def _length(layer: Any, start: Fraction, known: Known, whole: Fraction | None) -> Fraction | None:
    """Seconds that a layer is there: as asked, its own length, or until the end of its stage (`whole` seconds, None unknown).

    The end of the stage cuts off nothing here, so that a scene may be as long as its voice: "{{ vo.end + 0.5 }}".
    """
    rest = whole - start if whole is not None else None
    if isinstance(layer, VoiceLayer | AudioLayer | VideoLayer) and not getattr(layer, "loop", False):
        own = own_seconds(layer, known)
        return min(own, rest) if layer.duration == "scene" and own is not None and rest is not None else own
    if isinstance(layer.duration, float):
        return exact(layer.duration)
    own = natural_seconds(layer, known) if isinstance(layer, ImageLayer) and layer.duration == "auto" else None
    return rest if own is None else own
