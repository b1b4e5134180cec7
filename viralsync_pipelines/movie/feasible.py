"""Faults that show only when lengths and files are known: transitions that do not fit, layers too large, files of another kind.

What belongs here: judging a movie against what was measured, every fault at once. What does not: form (spec.py), laying out (plan.py).
Pointers are those of the expanded document.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.caption_faults import caption_faults
from viralsync_pipelines.movie.heard import waveform_faults
from viralsync_pipelines.movie.known import Known, KnownSource, decides_length, natural_seconds, scene_seconds
from viralsync_pipelines.movie.layers import AudioLayer, Captions, ImageLayer, ProgressLayer, TextLayer, VideoLayer, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.spec import Movie, Scene
from viralsync_pipelines.movie.staging import line_of
from viralsync_pipelines.movie.timing import SceneSpan

# The most pixels one layer may be drawn at: eight 4k pictures, 256 MB as RGBA.
_MOST_LAYER_PIXELS = 64_000_000
_MOST_LAYER_SIDE = 16_384
# Longer films are refused before anything is rendered: see layers.MAX_SECONDS.
_MAX_TOTAL = 7200


def faults_of(movie: Movie, known: Known, *, whole: bool = True) -> list[Problem]:
    """Every fault that can be seen with what is known. What was not measured (a source that failed) is not held against a scene.

    whole: no layer is missing, so that names which lead nowhere are faults too.
    """
    problems = [p for i, scene in enumerate(movie.scenes) for p in _layer_faults(scene.layers, f"/scenes/{i}", known, movie)]
    problems += _layer_faults(movie.layers, "", known, movie)
    if movie.captions is not None:
        problems += [*caption_faults(movie.captions, "/captions", (), movie), *_font_faults(movie.captions, "/captions", known)]
    problems += [
        Problem(f"/layers/{n}/of", "VALUE_NOT_ALLOWED", 'this lies over the whole movie; write "movie", or put it into a scene')
        for n, layer in enumerate(movie.layers)
        if isinstance(layer, ProgressLayer) and layer.of == "scene"
    ]
    problems += waveform_faults(movie, known) if whole else []
    durations = [scene_seconds(scene, known, movie.fps) for scene in movie.scenes]
    for i, (scene, duration) in enumerate(zip(movie.scenes, durations, strict=True)):
        if duration is None:
            problems += _unknown_length(scene, f"/scenes/{i}", known)
    overlaps = overlaps_of(movie)
    for i, duration in enumerate(durations):
        after = overlaps[i + 1] if i + 1 < len(overlaps) else Fraction(0)
        if duration is not None and overlaps[i] + after > duration:
            problems.append(_too_long(i, duration, overlaps[i], after))
    # A transition that neither of its scenes has room for is told once.
    problems = list({(p.pointer, p.code): p for p in reversed(problems)}.values())[::-1]
    total = sum((d for d in durations if d is not None), Fraction(0)) - sum(overlaps)
    if total > _MAX_TOTAL:
        told = f"the movie lasts {float(total):,.1f} s; at most {_MAX_TOTAL:,} s are made, so split it into parts"
        problems.append(Problem("/scenes", "MOVIE_TOO_LONG", told))
    return problems


def overlaps_of(movie: Movie) -> list[Fraction]:
    """Seconds that each scene lies over the end of the one before."""
    return [
        Fraction(0) if i == 0 or s.transition is None or s.transition.type == "cut" else exact(s.transition.duration)
        for i, s in enumerate(movie.scenes)
    ]


def span_faults(spans: Sequence[SceneSpan], movie: Movie) -> list[Problem]:
    """What shows in whole frames only: scenes of none, and overlaps that meet when both are rounded up."""
    overlaps = overlaps_of(movie)
    problems = []
    for i, span in enumerate(spans):
        if span.frames < 1:
            told = f"this scene is shorter than one frame (1/{movie.fps} s); lengthen it"
            problems.append(Problem(f"/scenes/{i}/duration", "VALUE_OUT_OF_RANGE", told))
        elif span.overlap_in + span.overlap_out > span.frames:
            after = overlaps[i + 1] if i + 1 < len(overlaps) else Fraction(0)
            problems.append(_too_long(i, span.duration, overlaps[i], after))
    return problems


def _too_long(index: int, duration: Fraction, before: Fraction, after: Fraction) -> Problem:
    """Points at the longer of the two transitions that the scene has no room for."""
    if not after:
        told = f"this transition takes {_s(before)}, but the scene lasts only {_s(duration)}; shorten it or lengthen the scene"
    elif not before:
        told = f"this transition takes {_s(after)}, but the scene before it lasts only {_s(duration)}; shorten it or lengthen that scene"
    else:
        told = (
            f"the transitions at both ends of scene {index} take {_s(before)} and {_s(after)}, but it lasts only {_s(duration)}; "
            "shorten one of them or lengthen the scene"
        )
    place = index if before >= after else index + 1
    return Problem(f"/scenes/{place}/transition/duration", "TRANSITION_TOO_LONG", told)


def _s(seconds: Fraction) -> str:
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".") + " s"


def _unknown_length(scene: Scene, at: str, known: Known) -> list[Problem]:
    deciding = [(n, layer) for n, layer in enumerate(scene.layers) if decides_length(layer)]
    problems = []
    for n, layer in deciding:
        if isinstance(layer, VoiceLayer):
            if line_of(layer).key not in known.speech:
                return []
        elif getattr(layer, "src", None) not in known.sources:
            return []
        elif natural_seconds(layer, known) is None:
            told = "this file does not say how long it is, and the scene's length depends on it; give the scene a `duration` in seconds"
            problems.append(Problem(f"{at}/layers/{n}/src", "DURATION_UNKNOWN", told))
    told = (
        "nothing in this scene has a length of its own; give it a `duration` in seconds"
        if not deciding
        else "what decides the length of this scene lasts 0 s after trimming; give it a `duration` in seconds"
    )
    return problems or [Problem(f"{at}/duration", "DURATION_UNKNOWN", told)]


def _layer_faults(layers: Sequence[Any], at: str, known: Known, movie: Movie) -> list[Problem]:
    problems = []
    for n, layer in enumerate(layers):
        place = f"{at}/layers/{n}"
        source = known.sources.get(vars(layer).get("src", ""))
        if "width" in vars(layer):
            problems += _size_faults(layer, place, source, movie)
        if source is not None:
            problems += _source_faults(layer, place, source)
        if isinstance(layer, TextLayer | Captions):
            problems += _font_faults(layer, place, known)
        if isinstance(layer, Captions):
            problems += caption_faults(layer, place, layers, movie)
        if vars(layer).get("trimEnd") is not None and layer.trimEnd <= layer.trimStart:
            told = f"trimEnd must be later than trimStart ({layer.trimStart:g} s)"
            problems.append(Problem(f"{place}/trimEnd", "VALUE_OUT_OF_RANGE", told))
    return problems


def _font_faults(layer: TextLayer | Captions, place: str, known: Known) -> list[Problem]:
    font = known.sources.get(layer.fontUrl or "")
    if font is None or font.ref.kind == "font":
        return []
    return [Problem(f"{place}/fontUrl", "SOURCE_REFUSED", f"this is {_A[font.ref.kind]}; `fontUrl` takes a TTF, OTF or WOFF font")]


def _size_faults(layer: Any, place: str, source: KnownSource | None, movie: Movie) -> list[Problem]:
    wide = layer.width.of(movie.width) if layer.width is not None else None
    tall = layer.height.of(movie.height) if layer.height is not None else None
    problems = [
        Problem(f"{place}/{name}", "VALUE_OUT_OF_RANGE", f"the {name} of a layer must be larger than 0")
        for name, side in (("width", wide), ("height", tall))
        if side is not None and side <= 0
    ]
    if problems:
        return problems
    info = source.info if source is not None and source.info.width and source.info.height else None
    if wide is not None and tall is None and info is not None:
        tall = wide * info.height / info.width
    elif tall is not None and wide is None and info is not None:
        wide = tall * info.width / info.height
    wide, tall = wide or float(movie.width), tall or float(movie.height)
    if wide * tall > _MOST_LAYER_PIXELS or max(wide, tall) > _MOST_LAYER_SIDE:
        told = f"this layer would be {wide:,.0f} x {tall:,.0f} pixels; stay below {_MOST_LAYER_SIDE:,} a side and 64 megapixels"
        return [Problem(place, "LAYER_TOO_LARGE", told)]
    return []


# 8K, 7680 x 4320. ffmpeg holds a dozen frames of a clip: a GIF of 10,000 x 10,000 took 2.7 GB.
_MOST_MOVING_PIXELS = 36_000_000

_A = {"video": "a video", "image": "a picture", "audio": "a sound", "font": "a font"}


def _source_faults(layer: Any, place: str, source: KnownSource) -> list[Problem]:
    kind, info = source.ref.kind, source.info
    wrong = ""
    if isinstance(layer, ImageLayer) and kind != "image":
        wrong = f"this is {_A[kind]}, not a picture; use {'a video' if kind == 'video' else 'an audio'} layer for it"
    elif isinstance(layer, VideoLayer) and kind != "video" and not info.animated:
        wrong = f"this is {_A[kind]}, not a video; use {'an image' if kind == 'image' else 'an audio'} layer for it"
    elif isinstance(layer, AudioLayer) and info.sample_rate is None:
        wrong = f"this is {_A[kind]} without sound; use {'an image' if kind == 'image' else 'a video'} layer for it"
    if kind == "font":
        wrong = "this is a font; give it as the `fontUrl` of a text layer"
    if wrong:
        return [Problem(f"{place}/src", "SOURCE_UNREADABLE", wrong)]
    if (kind == "video" or info.animated) and info.width * info.height > _MOST_MOVING_PIXELS:
        told = f"this moves at {info.width} x {info.height} pixels; at most 8K (7680 x 4320) is taken, so scale it down first"
        return [Problem(f"{place}/src", "SOURCE_TOO_LARGE", told)]
    start = vars(layer).get("trimStart", 0.0)
    if start and info.duration is not None and exact(start) >= info.duration:
        told = f"the file lasts {_s(info.duration)}, so nothing is left after trimStart {start:g} s"
        return [Problem(f"{place}/trimStart", "VALUE_OUT_OF_RANGE", told)]
    return []
