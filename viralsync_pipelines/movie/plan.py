"""Spec + what was measured -> plan: every frame, sample, piece and cue of the film, as values that a machine can carry out.

What belongs here: the plan's values and laying out scenes, pieces and sound. What does not: lengths (known.py), whether it can be
done (feasible.py), single layers (staging.py), cache keys (keys.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.caption_art import cut_captions, in_order
from viralsync_pipelines.movie.captioned import CaptionTrack, Scenery, tracks_of
from viralsync_pipelines.movie.feasible import faults_of, overlaps_of, span_faults
from viralsync_pipelines.movie.heard import Heard, listened
from viralsync_pipelines.movie.known import Known, KnownSource, scene_seconds
from viralsync_pipelines.movie.layers import VoiceLayer
from viralsync_pipelines.movie.mix import Cue, Mix, Point, duck_under
from viralsync_pipelines.movie.picture import Canvas, Piece, Visual, cut
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.movie.staging import Stage, cues_of, line_of, stage_visual
from viralsync_pipelines.movie.timing import SceneSpan, lay_scenes, sample_at_frame


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
    captions: tuple[CaptionTrack, ...] = ()

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.canvas.fps

    def pieces_of(self, scene: int) -> tuple[Piece, ...]:
        """What one scene step renders: the overlap that brings the scene in, and the scene's own frames."""
        return tuple(piece for piece in self.pieces if piece.scene == scene)


def plan_movie(
    movie: Movie, known: Known, *, movie_id: str, locate: Callable[[str], str] = lambda pointer: pointer
) -> tuple[MoviePlan | None, list[Problem]]:
    """Lay out the whole film. `locate` gives the user's pointer of a place in the expanded document."""
    problems = faults_of(movie, known)
    durations = [scene_seconds(scene, known, movie.fps) for scene in movie.scenes]
    known_durations = [d for d in durations if d is not None]
    if not problems and len(known_durations) == len(durations):
        spans = lay_scenes(known_durations, overlaps_of(movie), movie.fps)
        problems = span_faults(spans, movie)
        if not problems:
            return _lay_out(movie, known, movie_id, [locate(f"/scenes/{i}") for i in range(len(movie.scenes))], spans), []
    return None, [Problem(locate(p.pointer), p.code, p.message) for p in problems]


def _lay_out(movie: Movie, known: Known, movie_id: str, pointers: list[str], spans: tuple[SceneSpan, ...]) -> MoviePlan:
    canvas = Canvas(movie.width, movie.height, movie.fps)
    total = spans[-1].first + spans[-1].frames
    whole = Stage(canvas, 0, total, movie.audio, known.sources, film=total)
    stages = [
        Stage(canvas, span.first, span.frames, movie.audio, known.sources, span.overlap_in, span.overlap_out, total) for span in spans
    ]
    mix, heard = _sound(movie, known, whole, stages)
    whole = replace(whole, listen=partial(_listened, None, heard, mix.ducking))
    stages = [replace(stage, listen=partial(_listened, i, heard, mix.ducking)) for i, stage in enumerate(stages)]
    over = _visuals(movie.layers, whole)
    seen = [_visuals(scene.layers, stage) for scene, stage in zip(movie.scenes, stages, strict=True)]
    fonts = {src: source.ref.sha256 for src, source in known.sources.items() if source.ref.kind == "font"}
    tracks = tracks_of(Scenery(movie, [whole, *stages], known.speech, known.captions, fonts), pointers)
    captions = in_order(caption for track in tracks for caption in track.captions)
    pieces = []
    for index, (scene, span) in enumerate(zip(movie.scenes, spans, strict=True)):
        background = scene.bgColor or movie.bgColor
        if span.overlap_in and scene.transition is not None:
            before, count = spans[index - 1], span.overlap_in
            pieces.append(
                Piece(
                    "overlap", index, span.first, count, movie.scenes[index - 1].bgColor or movie.bgColor,
                    cut(seen[index - 1], before.frames - count, count), cut(over, span.first, count),
                    scene.transition.type, background, cut(seen[index], 0, count), cut_captions(captions, span.first, count),
                )
            )  # fmt: skip
        count = span.frames - span.overlap_in - span.overlap_out
        if count > 0:
            start = span.first + span.overlap_in
            pieces.append(
                Piece(
                    "body", index, start, count, background, cut(seen[index], span.overlap_in, count), cut(over, start, count),
                    captions=cut_captions(captions, start, count),
                )
            )
    used = {sha256 for piece in pieces for sha256 in piece.files}
    used |= {cue.source for cue in mix.cues}
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
        tracks,
    )


def _sound(movie: Movie, known: Known, whole: Stage, stages: list[Stage]) -> tuple[Mix, list[Heard]]:
    """All that is heard, and which layer each cue of it comes from."""
    heard = [Heard(layer.id, None, cue) for layer in movie.layers for cue in cues_of(layer, whole, known.speech)]
    for index, (scene, stage) in enumerate(zip(movie.scenes, stages, strict=True)):
        heard += [Heard(layer.id, index, cue) for layer in scene.layers for cue in cues_of(layer, stage, known.speech)]
    cues, duck = [each.cue for each in heard], movie.audio.ducking
    curve = duck_under(
        [(c.at, c.at + c.length) for c in cues if c.speech], duck.amount, duck.attack, duck.release, duck.merge
    )
    mix = Mix(
        sample_at_frame(whole.frames, movie.fps), tuple(cues), curve if any(c.duck for c in cues) else (),
        movie.audio.loudness, movie.audio.truePeak,
    )  # fmt: skip
    return mix, heard


def _listened(scene: int | None, heard: list[Heard], ducking: tuple[Point, ...], source: str, origin: int) -> tuple[Cue, ...]:
    return listened(source, scene, heard, ducking, origin)


def _visuals(layers: Any, stage: Stage) -> tuple[Visual, ...]:
    staged = [(layer.zIndex, visual) for layer in layers for visual in stage_visual(layer, stage)]
    return tuple(visual for _, visual in sorted(staged, key=lambda pair: pair[0]))


def lines(movie: Movie) -> tuple[Line, ...]:
    """Every distinct line to be spoken, in order of the film."""
    layers = [*movie.layers, *(layer for scene in movie.scenes for layer in scene.layers)]
    return tuple(dict.fromkeys(line_of(layer) for layer in layers if isinstance(layer, VoiceLayer)))
