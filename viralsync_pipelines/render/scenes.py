"""One piece of film on this machine: draw what is drawn once, feed what moves, let ffmpeg compose and encode, count the frames.

What belongs here: carrying out a Piece. What does not: the graph (movie/filters.py), the store and its cache (clips.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.movie.art import ProgressArt, WaveArt
from viralsync_pipelines.movie.caption_art import cut_captions, in_order
from viralsync_pipelines.movie.encoding import Encoder
from viralsync_pipelines.movie.filters import Delivered, Lettered, Outputs, piece_argv, still_argv
from viralsync_pipelines.movie.motion import is_still
from viralsync_pipelines.movie.picture import Canvas, Footage, Piece, Visual, cut
from viralsync_pipelines.render.artwork import Easel, Sprite, draw, with_alpha
from viralsync_pipelines.render.boxes import frames_of
from viralsync_pipelines.render.ffmpeg import Progress, run
from viralsync_pipelines.render.frames import longest_rest, posed_frames, region_of
from viralsync_pipelines.render.kenburns import is_ken_burns_floor, ken_burns_frames, yuv_planes
from viralsync_pipelines.render.moving import Table, as_moving, floor_feed
from viralsync_pipelines.render.redrawn import as_redrawn
from viralsync_pipelines.render.second_try import with_second_try


@dataclass(frozen=True)
class Glances:
    """What a piece gives beside its clip: its end frames (raw luma) and the picture that stands for it (raw rgb24)."""

    ends: bytes
    shown: bytes


def render_piece(
    piece: Piece,
    canvas: Canvas,
    encoder: Encoder,
    easel: Easel,
    scratch: Path,
    out: Path,
    on_progress: Callable[[Progress], None] | None = None,
) -> Glances:
    """Encode one piece into `out` (an .mp4 that holds exactly piece.count frames). `scratch` is an empty folder for temporary files.

    Raises RenderError, FfmpegFailed, SourceError.
    """
    ends, shown = scratch / "ends.raw", scratch / "shown.raw"

    def encode(idle_s: float | None) -> None:
        # From the start: feeds are drawn as they are read, and those of a first try are spent.
        ready, delivered, table = _prepare(piece, canvas, easel, scratch)
        lettered = _lettered(ready, canvas, easel, table, scratch)
        argv = piece_argv(ready, delivered, canvas, encoder, Outputs(str(out), str(ends), str(shown)), lettered)
        run(argv, feeds=table.feeds, on_progress=on_progress, scratch=scratch, idle_s=idle_s)

    with_second_try(encode)
    frames = frames_of(out)
    if frames != piece.count:
        raise RenderError(
            f"{frames} of {piece.count} frames came out: a source ends before the length it claims; "
            "check that the file is whole, or give the layer a shorter duration",
            code="SOURCE_ENDED_EARLY",
        )
    return Glances(ends.read_bytes(), shown.read_bytes())


def render_still(piece: Piece, canvas: Canvas, easel: Easel, scratch: Path, frame: int, out: Path) -> None:
    """One frame of a piece as a PNG; `frame` counts from the piece's start."""
    if piece.kind == "body":
        piece = replace(piece, count=1, under=cut(piece.under, frame, 1), over=cut(piece.over, frame, 1),
                        captions=cut_captions(in_order(piece.captions), frame, 1))  # fmt: skip
        frame = 0
    piece, delivered, table = _prepare(piece, canvas, easel, scratch)
    lettered = _lettered(piece, canvas, easel, table, scratch)
    run(still_argv(piece, delivered, canvas, frame, str(out), lettered), feeds=table.feeds, scratch=scratch)


def _lettered(piece: Piece, canvas: Canvas, easel: Easel, table: Table, scratch: Path) -> Lettered | None:
    if not piece.captions:
        return None
    # Not above: scenes without captions need none of it, and pysubs2 alone takes 50 ms to import.
    from viralsync_pipelines.render.caption_burn import letter

    return letter(piece.captions, canvas, easel, table, scratch, piece.count)


def _prepare(piece: Piece, canvas: Canvas, easel: Easel, scratch: Path) -> tuple[Piece, list[Delivered], Table]:
    table = Table(scratch, {})
    under, into, over = (
        [_deliver(v, canvas, easel, table, piece.count) for v in layers] for layers in (piece.under, piece.into, piece.over)
    )
    ready = replace(
        piece, under=tuple(v for v, _ in under), into=tuple(v for v, _ in into), over=tuple(v for v, _ in over)
    )
    return ready, [given for _, given in (*under, *into, *over)], table


def _deliver(visual: Visual, canvas: Canvas, easel: Easel, table: Table, count: int) -> tuple[Visual, Delivered]:
    first, last = max(0, visual.first), min(count, visual.last)
    skip, frames = first - visual.first, last - first
    if isinstance(visual.content, Footage) and visual.content.moving:
        return as_moving(visual, canvas, easel, table, first, skip, frames)
    if isinstance(visual.content, ProgressArt | WaveArt):
        return visual, as_redrawn(visual, canvas, easel, table, first, skip, frames)
    sprite = draw(visual, canvas, easel)
    if is_still(visual.motion):
        return visual, _as_still(visual, sprite, canvas, table)
    if is_ken_burns_floor(visual, sprite, canvas):
        planes = yuv_planes(sprite.pixels)
        return visual, floor_feed(ken_burns_frames(visual, canvas, skip, frames, [planes]), canvas, table, first, frames)
    region = region_of(visual, sprite, canvas, skip, frames)
    at, more = longest_rest(visual, sprite, canvas, skip, frames)
    fed = [skip + index for index in range(frames) if not at < index <= at + more]
    name = table.feed(posed_frames(visual, sprite, canvas, region, fed))
    given = Delivered("feed", name, region.x, region.y, region.width, region.height, begin=first, frames=frames, rest=(at, more))
    return visual, given


def _on_even_pixels(pixels: Any, x: int, y: int, left: int, top: int) -> tuple[Any, int, int]:
    """A clear row and column more where a bitmap would begin between two chroma samples, which tints its edges."""
    import numpy as np

    across, down = (x + left) % 2, (y + top) % 2
    return np.pad(pixels, ((down, 0), (across, 0), (0, 0))), left - across, top - down


def _as_still(visual: Visual, sprite: Sprite, canvas: Canvas, table: Table) -> Delivered:
    """One frame: turned and made translucent as the look says, and cut to the canvas."""
    import numpy as np

    look = visual.look
    pixels, x, y = sprite.pixels, round(sprite.x), round(sprite.y)
    if look.rotation % 360 != 0:
        region = region_of(visual, sprite, canvas, 0, 1)
        settled = replace(visual, motion=replace(visual.motion, enter=None, exit=None), look=replace(look, opacity=1.0))
        frame = next(posed_frames(settled, sprite, canvas, region, [0]))
        pixels = np.frombuffer(frame, np.uint8).reshape(region.height, region.width, 4)
        x, y = region.x, region.y
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(pixels.shape[1], canvas.width - x), min(pixels.shape[0], canvas.height - y)
    if right <= left or bottom <= top:
        clear = table.keep(np.zeros((2, 2, 4), np.uint8))
        return Delivered("still", clear, 0, 0, 2, 2)
    pixels = pixels[top:bottom, left:right]
    if look.opacity < 1:
        pixels = with_alpha(pixels).copy()
        pixels[..., 3] = (pixels[..., 3] * look.opacity + 0.5).astype(np.uint8)
    opaque = pixels.shape[2] == 3
    if not opaque:
        pixels, left, top = _on_even_pixels(pixels, x, y, left, top)
    name = table.keep(np.ascontiguousarray(pixels))
    return Delivered(
        "still", name, x + left, y + top, pixels.shape[1], pixels.shape[0], "rgb24" if opaque else "rgba", opaque=opaque
    )
