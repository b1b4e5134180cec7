"""Small pictures that a piece gives beside its clip, out of the same graph: the frames at its two ends, and one to show.

What belongs here: which frames, and how large. What does not: the graph (filters.py), judging joins (render/joins.py).
A clip's frames cost 0.1 s each to get back out of it, and those before a join a whole group of pictures; here they are free.
"""

from __future__ import annotations

from collections.abc import Sequence

from viralsync_pipelines.movie.picture import Canvas

# Frames judged on either side of a join: the repeats of 24 and 25 fps footage in a film of 30 show at least twice among them.
REACH = 8
# Of an end only the luma counts, every so many pixels of it: 64 along the shorter side are enough to tell two frames apart, and
# sixteen frames of them take 120 kB.
_END_SIDE = 64
# A contact sheet's tile on a vertical canvas; landscape ones get wider tiles, so that all are about as large.
_TILE = 200


def end_frames(count: int) -> tuple[int, ...]:
    """The frames of a piece that lie within reach of a join, in order."""
    return tuple(n for n in range(count) if n < REACH or n >= count - REACH)


def end_size(canvas: Canvas) -> tuple[int, int]:
    """Width and height of an end frame."""
    return _scaled(canvas, _END_SIDE / min(canvas.width, canvas.height))


def shown_frame(count: int) -> int:
    """The frame that stands for a piece: two thirds into it titles are complete, and nothing leaves yet."""
    return count * 2 // 3


def tile_width(canvas: tuple[int, int]) -> int:
    """The width of a contact sheet's tile, for pixels of the canvas."""
    width, height = canvas
    return int(_TILE * max(1.0, (width / height) ** 0.5) / 2) * 2


def tile_size(canvas: Canvas) -> tuple[int, int]:
    """Width and height of the picture that stands for a piece."""
    return _scaled(canvas, tile_width((canvas.width, canvas.height)) / canvas.width)


def split_ends(data: bytes, count: int, canvas: Canvas) -> Sequence[bytes] | None:
    """The end frames of a piece, each as rows of luma; None when these bytes are not what a piece of `count` frames gives."""
    width, height = end_size(canvas)
    if len(data) != width * height * len(end_frames(count)):
        return None
    return [data[at : at + width * height] for at in range(0, len(data), width * height)]


def _scaled(canvas: Canvas, factor: float) -> tuple[int, int]:
    return max(2, round(canvas.width * factor / 2) * 2), max(2, round(canvas.height * factor / 2) * 2)
