"""Spec + what was measured -> plan: every frame, sample, piece and cue of the film, as values that a machine can carry out.

What belongs here: the plan's values and laying out scenes, pieces and sound. What does not: single layers (staging.py), pixels,
files, cache keys (keys.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.media import MediaInfo, MediaRef
from viralsync_pipelines.movie.layers import AudioLayer, VideoLayer, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.mix import Mix, duck_under
from viralsync_pipelines.movie.picture import Canvas, Piece, Visual, cut
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Movie, Scene
from viralsync_pipelines.movie.staging import Stage, cues_of, line_of, stage_visual
from viralsync_pipelines.movie.timing import SceneSpan, lay_scenes, sample_at_frame, whole_frames


@dataclass(frozen=True)
class KnownSource:
    """A source that was brought in and probed: its content, what it is, the ffmpeg demuxer that opens it ("" for fonts),
    and where its bytes lay on the machine that planned (no part of any key)."""

    ref: MediaRef
    info: MediaInfo
    demuxer: str
    path: str = ""


@dataclass(frozen=True)
class Known:
    """Everything measured: sources by the `src` that named them, spoken lines by Line.key."""

    sources: Mapping[str, KnownSource]
    speech: Mapping[str, Spoken]


@dataclass(frozen=True)
class PlannedScene:
    """One scene: its id, the user's pointer to it, first frame, frames, and frames shared with its neighbours."""

    id: str
    pointer: str
    first: int
    frames: int
    overlap_in: int
    overlap_out: int


@dataclass(frozen=True)
class MoviePlan:
    """The whole film. Pieces in order give every frame once; `sources` maps each sha256 in use to where it came from."""

    movie_id: str
    title: str
    canvas: Canvas
    quality: str
    frames: int
    scenes: tuple[PlannedScene, ...]
    pieces: tuple[Piece, ...]
    mix: Mix
    sources: Mapping[str, KnownSource]
    speech: Mapping[str, Spoken]

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.canvas.fps

    def pieces_of(self, scene: int) -> tuple[Piece, ...]:
        """What one scene step renders: the overlap that brings the scene in, and the scene's own frames."""
        return tuple(piece for piece in self.pieces if piece.scene == scene)


def natural_seconds(layer: Any, known: Known) -> Fraction | None:
    """How long a sound or clip lasts by itself, trimmed and at its speed; None when it has no length or is not known yet."""
    if isinstance(layer, VoiceLayer):
        spoken = known.speech.get(line_of(layer).key)
        return Fraction(spoken.samples, spoken.sample_rate) + exact(layer.pauseAfter) if spoken else None
    source = known.sources.get(layer.src)
    if source is None or source.info.duration is None:
        return None
    whole = source.info.duration
    if isinstance(layer, VideoLayer) and source.info.video_duration is not None:
        whole = source.info.video_duration
    if not isinstance(layer, VideoLayer | AudioLayer):
        return whole
    end = min(whole, exact(layer.trimEnd)) if layer.trimEnd is not None else whole
    return max(Fraction(0), end - exact(layer.trimStart)) / exact(layer.speed)


def scene_seconds(scene: Scene, known: Known, fps: Fraction) -> Fraction | None:
    """A scene's length: as written, or "auto" = its longest voice, audio or video layer that is not looped, in whole frames."""
    if scene.duration != "auto":
        return exact(scene.duration)
    ends = []
    for layer in scene.layers:
        if isinstance(layer, VoiceLayer) or (isinstance(layer, VideoLayer | AudioLayer) and not layer.loop):
            asked = None if isinstance(layer, VoiceLayer) else layer.duration
            if asked == "scene":
                continue
            own = exact(asked) if isinstance(asked, float) else natural_seconds(layer, known)
            if own is None:
                return None
            ends.append(exact(layer.start) + own)
    # Up to a whole frame, so that a re-spoken line moves later scenes by whole frames and leaves their content alone.
    return whole_frames(max(ends), fps) if ends and max(ends) > 0 else None


def plan_movie(
    movie: Movie, known: Known, *, movie_id: str, origin: Mapping[int, str] | None = None
) -> tuple[MoviePlan | None, list[Problem]]:
    """Lay out the whole film. `origin` gives the user's pointer of each scene where it is not `/scenes/<index>`."""
    pointers = [(origin or {}).get(i, f"/scenes/{i}") for i in range(len(movie.scenes))]
    problems = [p for at, scene in zip(pointers, movie.scenes, strict=True) for p in _check_layers(scene.layers, at, known, movie)]
    problems += _check_layers(movie.layers, "", known, movie)
    durations = [scene_seconds(scene, known, movie.fps) for scene in movie.scenes]
    problems += [
        Problem(f"{at}/duration", "DURATION_UNKNOWN", "nothing in this scene has a length of its own; give `duration` in seconds")
        for at, duration, scene in zip(pointers, durations, movie.scenes, strict=True)
        if duration is None and scene.duration == "auto"
    ]
    if problems or any(d is None for d in durations):
        return None, problems
    overlaps = [
        Fraction(0) if i == 0 or s.transition is None or s.transition.type == "cut" else exact(s.transition.duration)
        for i, s in enumerate(movie.scenes)
    ]
    spans = lay_scenes([d for d in durations if d is not None], overlaps, movie.fps)
    problems = _check_spans(spans, overlaps, pointers)
    if problems:
        return None, problems
    return _lay_out(movie, known, movie_id, pointers, spans), []


def _lay_out(movie: Movie, known: Known, movie_id: str, pointers: list[str], spans: tuple[SceneSpan, ...]) -> MoviePlan:
    canvas = Canvas(movie.width, movie.height, movie.fps)
    total = spans[-1].first + spans[-1].frames
    whole = Stage(canvas, 0, total, movie.audio, known.sources)
    over = _visuals(movie.layers, whole)
    stages = [Stage(canvas, span.first, span.frames, movie.audio, known.sources, span.overlap_in, span.overlap_out) for span in spans]
    seen = [_visuals(scene.layers, stage) for scene, stage in zip(movie.scenes, stages, strict=True)]
    pieces = []
    for index, (scene, span) in enumerate(zip(movie.scenes, spans, strict=True)):
        background = scene.bgColor or movie.bgColor
        if span.overlap_in and scene.transition is not None:
            before, count = spans[index - 1], span.overlap_in
            pieces.append(
                Piece(
                    "overlap", index, span.first, count, movie.scenes[index - 1].bgColor or movie.bgColor,
                    cut(seen[index - 1], before.frames - count, count), cut(over, span.first, count),
                    scene.transition.type, background, cut(seen[index], 0, count),
                )
            )  # fmt: skip
        count = span.frames - span.overlap_in - span.overlap_out
        if count > 0:
            start = span.first + span.overlap_in
            pieces.append(
                Piece("body", index, start, count, background, cut(seen[index], span.overlap_in, count), cut(over, start, count))
            )
    cues = [cue for layer in movie.layers for cue in cues_of(layer, whole, known.speech)]
    for scene, stage in zip(movie.scenes, stages, strict=True):
        cues += [cue for layer in scene.layers for cue in cues_of(layer, stage, known.speech)]
    duck = movie.audio.ducking
    curve = duck_under(
        [(c.at, c.at + c.length) for c in cues if c.speech], duck.amount, duck.attack, duck.release, duck.merge
    )
    mix = Mix(
        sample_at_frame(total, movie.fps), tuple(cues), curve if any(c.duck for c in cues) else (),
        movie.audio.loudness, movie.audio.truePeak,
    )  # fmt: skip
    used = {v.content.sha256 for p in pieces for v in p.visuals if hasattr(v.content, "sha256")} | {c.source for c in cues}
    return MoviePlan(
        movie_id,
        movie.title,
        canvas,
        movie.output.quality,
        total,
        tuple(
            PlannedScene(scene.id, at, span.first, span.frames, span.overlap_in, span.overlap_out)
            for scene, at, span in zip(movie.scenes, pointers, spans, strict=True)
        ),
        tuple(pieces),
        mix,
        {s.ref.sha256: s for s in known.sources.values() if s.ref.sha256 in used},
        {s.sha256: s for s in known.speech.values() if s.sha256 in used},
    )


def _visuals(layers: Any, stage: Stage) -> tuple[Visual, ...]:
    staged = [(layer.zIndex, visual) for layer in layers for visual in stage_visual(layer, stage)]
    return tuple(visual for _, visual in sorted(staged, key=lambda pair: pair[0]))


def lines(movie: Movie) -> tuple[Line, ...]:
    """Every distinct line to be spoken, in order of the film."""
    layers = [*movie.layers, *(layer for scene in movie.scenes for layer in scene.layers)]
    return tuple(dict.fromkeys(line_of(layer) for layer in layers if isinstance(layer, VoiceLayer)))


# The most pixels one layer may be drawn at: eight 4k pictures, 256 MB as RGBA.
_MOST_LAYER_PIXELS = 64_000_000


def _check_layers(layers: Sequence[Any], at: str, known: Known, movie: Movie) -> list[Problem]:
    problems = []
    for index, layer in enumerate(layers):
        info = known.sources[layer.src].info if getattr(layer, "src", None) in known.sources else None
        place = f"{at}/layers/{index}"
        width = getattr(layer, "width", None)
        height = getattr(layer, "height", None)
        wide = width.of(movie.width) if width is not None else float(movie.width)
        tall = height.of(movie.height) if height is not None else float(movie.height)
        if width is not None and height is None and info is not None and info.width:
            tall = wide * info.height / info.width
        elif height is not None and width is None and info is not None and info.height:
            wide = tall * info.width / info.height
        if abs(wide * tall) > _MOST_LAYER_PIXELS or max(abs(wide), abs(tall)) > 16_384:
            problems.append(
                Problem(
                    place, "LAYER_TOO_LARGE",
                    f"this layer would be {wide:.0f}x{tall:.0f} pixels; stay below 16,384 a side and 64 megapixels",
                )
            )
        if (width is not None and wide <= 0) or (height is not None and tall <= 0):
            problems.append(Problem(place, "VALUE_OUT_OF_RANGE", "width and height must be larger than 0"))
        if isinstance(layer, VideoLayer) and info is not None and not info.width:
            problems.append(Problem(f"{place}/src", "SOURCE_UNREADABLE", "this file has no picture; use an audio layer for sound alone"))
        if isinstance(layer, AudioLayer) and info is not None and info.sample_rate is None:
            problems.append(Problem(f"{place}/src", "SOURCE_UNREADABLE", "this file has no sound; use an image or video layer for it"))
        start = getattr(layer, "trimStart", 0.0)
        end = getattr(layer, "trimEnd", None)
        if end is not None and end <= start:
            problems.append(Problem(f"{place}/trimEnd", "VALUE_OUT_OF_RANGE", "trimEnd must lie after trimStart"))
        elif start and info is not None and info.duration is not None and exact(start) >= info.duration:
            whole = float(info.duration)
            problems.append(Problem(f"{place}/trimStart", "VALUE_OUT_OF_RANGE", f"the file ends at {whole:.3f} s, before trimStart"))
    return problems


# Longer films are refused before anything is rendered: see layers.MAX_SECONDS.
_MAX_TOTAL = 7200


def _check_spans(spans: tuple[SceneSpan, ...], overlaps: list[Fraction], pointers: list[str]) -> list[Problem]:
    problems = []
    for i, span in enumerate(spans):
        after = overlaps[i + 1] if i + 1 < len(spans) else Fraction(0)
        if overlaps[i] + after > span.duration or span.overlap_in + span.overlap_out > span.frames:
            place = f"{pointers[i]}/transition" if overlaps[i] >= after else f"{pointers[i + 1]}/transition"
            problems.append(
                Problem(
                    f"{place}/duration",
                    "TRANSITION_TOO_LONG",
                    f"this scene lasts {float(span.duration):g} s, but its transitions take {float(overlaps[i] + after):g} s of it; "
                    "shorten a transition or lengthen the scene",
                )
            )
        elif span.frames < 1:
            problems.append(Problem(f"{pointers[i]}/duration", "VALUE_OUT_OF_RANGE", "this scene is shorter than one frame; lengthen it"))
    total = spans[-1].start + spans[-1].duration
    if total > _MAX_TOTAL:
        problems.append(
            Problem("/scenes", "MOVIE_TOO_LONG", f"the movie lasts {float(total):g} s; the limit is {_MAX_TOTAL} s, so split it into parts")
        )
    return problems
