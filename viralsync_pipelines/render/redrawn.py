"""Layers that are drawn anew for each frame: progress bars and waveforms, exact to a fraction of a pixel, fed through the pipe.

What belongs here: their bitmaps and their way into the graph. What does not: the samples of a waveform (listening.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import floor
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.art import ProgressArt, WaveArt
from viralsync_pipelines.movie.filters import Delivered
from viralsync_pipelines.movie.picture import Canvas, Visual
from viralsync_pipelines.movie.waves import window_at
from viralsync_pipelines.render.artwork import Easel, Sprite, finished
from viralsync_pipelines.render.frames import posed_frames, region_of
from viralsync_pipelines.render.listening import listen
from viralsync_pipelines.render.moving import Table

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

# Of the way from one bar to the next, how much a bar takes.
_FILLED = 0.6


def as_redrawn(visual: Visual, canvas: Canvas, easel: Easel, table: Table, first: int, skip: int, frames: int) -> Delivered:
    """Frames [skip, skip + frames) of the layer's life, the first of them standing at frame `first` of the piece."""
    import numpy as np

    art = visual.content
    if not isinstance(art, ProgressArt | WaveArt):
        raise TypeError("only progress bars and waveforms are drawn anew")
    cx, cy = visual.placement.centre(art.width, art.height)
    x, y = floor(cx - art.width / 2 + 0.5), floor(cy - art.height / 2 + 0.5)
    empty = np.broadcast_to(np.zeros(4, np.uint8), (art.height, art.width, 4))
    sprite = Sprite(empty, float(x), float(y), (art.width / 2, art.height / 2), (float(art.width), float(art.height)))
    region = region_of(visual, sprite, canvas, skip, frames)
    numbers = range(skip, skip + frames)
    drawn = _progress(art, numbers) if isinstance(art, ProgressArt) else _wave(art, numbers, easel, table)
    # Rounded corners are cut by posed_frames.
    plain = replace(visual, look=replace(visual.look, radius=0.0))
    name = table.feed(posed_frames(visual, sprite, canvas, region, numbers, (finished(each, plain) for each in drawn)))
    return Delivered("feed", name, region.x, region.y, region.width, region.height, begin=first, frames=frames)


def _progress(art: ProgressArt, numbers: range) -> Iterator[Pixels]:
    import numpy as np

    bar = np.array(art.bar, np.float32)
    ground = np.array(art.background if art.background is not None else (*art.bar[:3], 0), np.float32)
    columns = np.arange(art.width, dtype=np.float64)
    for number in numbers:
        share = min(1.0, (art.passed + number + 1) / art.total)
        filled = np.clip(share * art.width - columns, 0, 1).astype(np.float32)[:, None]
        # Mixed with their opacity, as one colour over a clear ground must not darken where the two meet.
        alpha = filled * bar[3] + (1 - filled) * ground[3]
        color = (filled * bar[3] * bar[:3] + (1 - filled) * ground[3] * ground[:3]) / np.maximum(alpha, 1e-3)
        row = np.concatenate([np.where(alpha > 0, color, bar[:3]), alpha], axis=1)
        yield np.broadcast_to((row + 0.5).astype(np.uint8), (art.height, art.width, 4))


def _wave(art: WaveArt, numbers: range, easel: Easel, table: Table) -> Iterator[Pixels]:
    first, last = window_at(numbers[0], art)[0], window_at(numbers[-1], art)[1]
    # Decoded before the graph starts: a feed that waits for an ffmpeg of its own while the graph waits for the feed stood still.
    sound = listen(art.cues, first, last, easel.path_of, table.scratch)
    return _waves(art, numbers, sound, first)


def _waves(art: WaveArt, numbers: range, sound: Pixels, first: int) -> Iterator[Pixels]:
    import cv2
    import numpy as np

    draw = _Bars(art) if art.bars else _Line(art)
    ground = np.broadcast_to(np.array((*art.color[:3], 0), np.uint8), (art.height, art.width, 4))
    for number in numbers:
        at = window_at(number, art)[0] - first
        plane = ground.copy()
        plane[..., 3] = cv2.convertScaleAbs(draw.mask(np.asarray(sound[at : at + art.reach])), alpha=float(art.color[3]))
        yield plane


class _Bars:
    """Bars side by side, each as tall as the loudest sample of its share of the sound; silence leaves a dot."""

    def __init__(self, art: WaveArt) -> None:
        import numpy as np

        self._art = art
        self._edges = [art.reach * n // art.bars for n in range(art.bars)]
        pitch = art.width / art.bars
        left = (np.arange(art.bars) + (1 - _FILLED) / 2) * pitch
        columns = _covered(art.width, left, left + _FILLED * pitch)
        # Between two bars is more than a pixel, so no column has a part of both. A product of matrices would say the same, and
        # wake every core for it: it took 30 ms of CPU a frame.
        self._owner, self._share = columns.argmax(0), columns.max(0)

    def mask(self, window: Pixels) -> Pixels:
        import numpy as np

        tall = self._art.height
        peaks = np.maximum.reduceat(np.abs(window), self._edges)
        heights = np.maximum(np.minimum(1.0, peaks) * tall, min(self._art.thick, tall))
        rows = _covered(tall, (tall - heights) / 2, (tall + heights) / 2).T
        return np.asarray(rows[:, self._owner] * self._share)


class _Line:
    """The wave itself, from left to right: in each column between its lowest and its highest sample, as thick as the line."""

    def __init__(self, art: WaveArt) -> None:
        self._art = art
        self._edges = [art.reach * n // art.width for n in range(art.width)]

    def mask(self, window: Pixels) -> Pixels:
        import numpy as np

        tall, thick = self._art.height, min(self._art.thick, self._art.height)
        high, low = np.maximum.reduceat(window, self._edges), np.minimum.reduceat(window, self._edges)
        # Neighbouring columns touch: each reaches to where the one before it ended.
        ends = window[[max(0, edge - 1) for edge in self._edges]]
        high, low = np.clip(np.maximum(high, ends), -1, 1), np.clip(np.minimum(low, ends), -1, 1)
        # As thick where it is steep as where it is level.
        side = max(0, round((thick - 1) / 2))
        high = np.lib.stride_tricks.sliding_window_view(np.pad(high, side, "edge"), 2 * side + 1).max(-1)
        low = np.lib.stride_tricks.sliding_window_view(np.pad(low, side, "edge"), 2 * side + 1).min(-1)
        middle, swing = tall / 2, (tall - thick) / 2
        return np.ascontiguousarray(_covered(tall, middle - high * swing - thick / 2, middle - low * swing + thick / 2).T)


def _covered(size: int, low: Any, high: Any) -> Pixels:
    """How much of each of `size` pixels lies between `low` and `high`: one row for each pair."""
    import numpy as np

    edges = np.arange(size, dtype=np.float32)[None, :]
    low, high = np.asarray(low, np.float32)[:, None], np.asarray(high, np.float32)[:, None]
    return np.asarray(np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, 1), np.float32)
