"""The captions of a whole film as values: every page with its frames, its words and its look, in tracks that never show two at once. Pure.

What belongs here: from layers and what is known to tracks, and cutting tracks to a window. What does not: words (caption_words.py), pages
(captions.py), looks (caption_look.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from viralsync_pipelines.movie.art import CaptionLook
from viralsync_pipelines.movie.caption_art import Caption, shortened
from viralsync_pipelines.movie.caption_files import Cue
from viralsync_pipelines.movie.caption_look import emphasised, limits_of, look_of
from viralsync_pipelines.movie.caption_words import cue_words, entry_words, is_unspaced, voice_words
from viralsync_pipelines.movie.captions import HeardWord, Page, ems, pages_of
from viralsync_pipelines.movie.layers import Captions, CaptionsLayer, TextLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.script import Spoken
from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.movie.staging import PIVOTS, Stage
from viralsync_pipelines.movie.timing import frame_at


@dataclass(frozen=True)
class CaptionTrack:
    """Captions of one layer in film frames. pointer: its place in the user's document."""

    pointer: str
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Scenery:
    """A film as far as captions need it: its stages (that of the whole film first, then each scene's), what is spoken, caption files by
    their `src`, fonts by theirs."""

    movie: Movie
    stages: Sequence[Stage]
    speech: Mapping[str, Spoken]
    files: Mapping[str, Sequence[Cue]]
    fonts: Mapping[str, str]


def tracks_of(scenery: Scenery, pointers: Sequence[str]) -> tuple[CaptionTrack, ...]:
    """pointers: of each scene in the user's document."""
    movie, (whole, *scenes) = scenery.movie, scenery.stages
    stacks: list[tuple[str, Sequence[Any], Stage]] = [("/layers", movie.layers, whole)]
    stacks += [(f"{at}/layers", scene.layers, stage) for at, scene, stage in zip(pointers, movie.scenes, scenes, strict=True)]
    found = []
    if movie.captions is not None:
        found.append(CaptionTrack("/captions", _captions(movie.captions, whole, None, scenery)))
    for number, (at, layers, stage) in enumerate(stacks):
        for place, layer in enumerate(layers):
            if isinstance(layer, CaptionsLayer):
                found.append(CaptionTrack(f"{at}/{place}", _captions(layer, stage, number - 1 if number else None, scenery)))
    return _one_at_a_time(found)


def _captions(layer: Captions, stage: Stage, scene: int | None, scenery: Scenery) -> tuple[Caption, ...]:
    canvas = stage.canvas
    begin, end = stage.first, stage.first + stage.frames
    if isinstance(layer, CaptionsLayer):
        begin = min(end, stage.first + frame_at(exact(layer.start), canvas.fps))
        if isinstance(layer.duration, float):
            end = min(end, stage.first + frame_at(exact(layer.start) + exact(layer.duration), canvas.fps))
    words = _words(layer, stage, scene, begin, scenery)
    if not words or begin >= end:
        return ()
    preset = scenery.movie.preset
    font_sha = scenery.fonts.get(layer.fontUrl) if layer.fontUrl is not None else None
    look = look_of(layer, canvas, preset, font_sha, ())
    cut = any(word.ends for word in words) and not _is_spoken(layer, scenery)
    limits = limits_of(layer, look, glued=is_unspaced(words), cut=cut)
    pages = pages_of(
        words, limits, lambda seconds: frame_at(exact(round(seconds, 6)), canvas.fps) - begin,
        end - begin, strong=emphasised(layer), hold=not cut,
    )  # fmt: skip
    looks: dict[tuple[tuple[float, float], ...], CaptionLook] = {}
    texts = _Texts(scenery) if layer.position == "auto" else None
    found = []
    for page in pages:
        taken = texts.between(page.first + begin, page.last + begin) if texts is not None else ()
        if taken not in looks:
            looks[taken] = look_of(layer, canvas, preset, font_sha, taken)
        found.append(_placed(page, begin, looks[taken]))
    # A page does not linger in the next scene, which has its own; nor is that scene made anew when this one says something else.
    return tuple(_within(caption, scenery.stages[1:]) for caption in found) if scene is None and not cut else tuple(found)


def _within(caption: Caption, scenes: Sequence[Stage]) -> Caption:
    # The last scene that has begun when its last word is said; of two that overlap the later one.
    scene = scenes[max(0, bisect_right(scenes, caption.words[-1].first, key=lambda stage: stage.first) - 1)]
    end = scene.first + scene.frames
    return shortened(caption, end) if end < caption.last else caption


def _is_spoken(layer: Captions, scenery: Scenery) -> bool:
    return isinstance(layer.source, str) and layer.source not in scenery.files


def _placed(page: Page, begin: int, look: CaptionLook) -> Caption:
    words = tuple(replace(word, first=word.first + begin, last=word.last + begin) for word in page.words)
    return Caption(page.first + begin, page.last - page.first, words, look)


def _words(layer: Captions, stage: Stage, scene: int | None, begin: int, scenery: Scenery) -> list[HeardWord]:
    if not isinstance(layer.source, str):
        return entry_words(layer.source, float(begin / stage.canvas.fps))
    if layer.source in scenery.files:
        return cue_words(scenery.files[layer.source], float(begin / stage.canvas.fps))
    only = None if layer.source == "voice" else layer.source
    movie, (whole, *scenes) = scenery.movie, scenery.stages
    found = voice_words(movie.layers, whole, scenery.speech, only) if scene is None or only is not None else []
    for number, (each, own) in enumerate(zip(movie.scenes, scenes, strict=True)):
        if scene is None or scene == number:
            found += voice_words(each.layers, own, scenery.speech, only)
    return found


class _Texts:
    """Heights that other text takes, scene by scene: as long as a scene lasts, captions stay in one place. Looked up by frames, for a film
    of a thousand scenes has thousands of pages."""

    def __init__(self, scenery: Scenery) -> None:
        movie, (whole, *self._scenes) = scenery.movie, scenery.stages
        self._over = tuple(_heights_in(movie.layers, whole))
        self._within = [tuple(_heights_in(scene.layers, stage)) for scene, stage in zip(movie.scenes, self._scenes, strict=True)]

    def between(self, first: int, last: int) -> tuple[tuple[float, float], ...]:
        """Of the scenes that frames [first, last) lie in."""
        stop = bisect_left(self._scenes, last, key=lambda stage: stage.first)
        start = bisect_right(self._scenes, first, key=lambda stage: stage.first + stage.frames)
        return (*self._over, *(heights for own in self._within[start:stop] for heights in own))


def _heights_in(layers: Sequence[Any], stage: Stage) -> Iterator[tuple[float, float]]:
    return (_heights(layer, stage) for layer in layers if isinstance(layer, TextLayer) and layer.opacity > 0)


def _heights(layer: TextLayer, stage: Stage) -> tuple[float, float]:
    """About where a text stands: it is measured with its fonts only when it is drawn."""
    canvas = stage.canvas
    size = layer.fontSize.of(canvas.height)
    wide = layer.width.of(canvas.width) if layer.width is not None else 0.9 * canvas.width
    if layer.autoFit is not None:
        tall = layer.height.of(canvas.height) if layer.height is not None else 0.9 * canvas.height
    else:
        lines = sum(max(1, ceil(ems(line) * size / max(wide, 1.0))) for line in layer.text.split("\n"))
        tall = max(lines * layer.lineHeight * size, layer.height.of(canvas.height) if layer.height is not None else 0.0)
    pivot = PIVOTS[layer.anchor][1]
    y = layer.y.of(canvas.height) if layer.y is not None else pivot * canvas.height
    around = layer.background.padding if layer.background is not None else 0.0
    return y - pivot * tall - around, y + (1 - pivot) * tall + around


def _one_at_a_time(tracks: Sequence[CaptionTrack]) -> tuple[CaptionTrack, ...]:
    """Where scenes overlap, a page of the earlier one goes when a page of the later one comes to its place."""
    every = sorted((caption.first, n, k) for n, track in enumerate(tracks) for k, caption in enumerate(track.captions))
    kept = [list(track.captions) for track in tracks]
    latest: dict[tuple[str, float | None], tuple[int, int]] = {}
    for first, n, k in every:
        place = kept[n][k].look.side, kept[n][k].look.centre
        if place in latest:
            m, j = latest[place]
            before = kept[m][j]
            if before.last > first:
                kept[m][j] = shortened(before, first)
        latest[place] = n, k
    return tuple(CaptionTrack(track.pointer, tuple(c for c in own if c.frames > 0)) for track, own in zip(tracks, kept, strict=True))
