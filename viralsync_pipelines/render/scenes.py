"""One piece of film on this machine: draw what is drawn once, feed what moves, let ffmpeg compose and encode, count the frames.

What belongs here: carrying out a Piece. What does not: the graph (movie/filters.py), the store and its cache (clips.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.movie.conform import conform_argv
from viralsync_pipelines.movie.encoding import Encoder
from viralsync_pipelines.movie.filters import Delivered, piece_argv, still_argv
from viralsync_pipelines.movie.motion import is_still
from viralsync_pipelines.movie.picture import Canvas, Footage, Piece, Visual, cut
from viralsync_pipelines.render.artwork import Easel, Sprite, draw, magnified, rounded, with_alpha
from viralsync_pipelines.render.ffmpeg import Feed, Progress, read_frames, run
from viralsync_pipelines.render.frames import (
    is_ken_burns_floor,
    ken_burns_frames,
    longest_rest,
    posed_frames,
    region_of,
    yuv_planes,
)

if TYPE_CHECKING:
    import numpy as np

    from viralsync_pipelines.render.frames import Planes


@dataclass
class _Table:
    """What a graph's placeholders stand for, gathered while visuals are made ready."""

    scratch: Path
    feeds: dict[str, Feed]
    made: int = 0

    def keep(self, pixels: Any) -> str:
        self.made += 1
        path = self.scratch / f"art{self.made}.raw"
        path.write_bytes(memoryview(pixels).cast("B"))
        return str(path)

    def feed(self, frames: Feed) -> str:
        self.made += 1
        name = f"feed:{self.made}"
        self.feeds[name] = frames
        return name


def render_piece(
    piece: Piece,
    canvas: Canvas,
    encoder: Encoder,
    easel: Easel,
    scratch: Path,
    out: Path,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Encode one piece into `out` (an .mp4 that holds exactly piece.count frames). `scratch` is an empty folder for temporary files.

    Raises RenderError, FfmpegFailed, SourceError.
    """
    piece, delivered, table = _prepare(piece, canvas, easel, scratch)
    argv = piece_argv(piece, delivered, canvas, encoder, str(out))
    run(argv, feeds=table.feeds, on_progress=on_progress, scratch=scratch)
    frames = count_frames(out)
    if frames != piece.count:
        raise RenderError(
            f"{frames} of {piece.count} frames came out: a source ends before the length it claims; "
            "check that the file is whole, or give the layer a shorter duration",
            code="SOURCE_ENDED_EARLY",
        )


def render_still(piece: Piece, canvas: Canvas, easel: Easel, scratch: Path, frame: int, out: Path) -> None:
    """One frame of a piece as a PNG; `frame` counts from the piece's start."""
    if piece.kind == "body":
        piece = replace(piece, count=1, under=cut(piece.under, frame, 1), over=cut(piece.over, frame, 1))
        frame = 0
    piece, delivered, table = _prepare(piece, canvas, easel, scratch)
    run(still_argv(piece, delivered, canvas, frame, str(out)), feeds=table.feeds, scratch=scratch)


def count_frames(path: Path) -> int:
    """Packets of the first picture stream: what a copy would carry into the film."""
    import av

    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _prepare(piece: Piece, canvas: Canvas, easel: Easel, scratch: Path) -> tuple[Piece, list[Delivered], _Table]:
    table = _Table(scratch, {})
    under, into, over = (
        [_deliver(v, canvas, easel, table, piece.count) for v in layers] for layers in (piece.under, piece.into, piece.over)
    )
    ready = replace(
        piece, under=tuple(v for v, _ in under), into=tuple(v for v, _ in into), over=tuple(v for v, _ in over)
    )
    return ready, [given for _, given in (*under, *into, *over)], table


def _deliver(visual: Visual, canvas: Canvas, easel: Easel, table: _Table, count: int) -> tuple[Visual, Delivered]:
    first, last = max(0, visual.first), min(count, visual.last)
    skip, frames = first - visual.first, last - first
    if isinstance(visual.content, Footage) and visual.content.moving:
        return _as_moving(visual, canvas, easel, table, first, skip, frames)
    sprite = draw(visual, canvas, easel)
    if is_still(visual.motion):
        return visual, _as_still(visual, sprite, canvas, table)
    if is_ken_burns_floor(visual, sprite, canvas):
        planes = yuv_planes(sprite.pixels)
        return visual, _floor(ken_burns_frames(visual, canvas, skip, frames, [planes]), canvas, table, first, frames)
    region = region_of(visual, sprite, canvas, skip, frames)
    at, more = longest_rest(visual, sprite, canvas, skip, frames)
    fed = [skip + index for index in range(frames) if not at < index <= at + more]
    name = table.feed(posed_frames(visual, sprite, canvas, region, fed))
    given = Delivered("feed", name, region.x, region.y, region.width, region.height, begin=first, frames=frames, rest=(at, more))
    return visual, given


def _floor(frames: Feed, canvas: Canvas, table: _Table, begin: int, count: int) -> Delivered:
    """Opaque 4:2:0 frames that cover the canvas."""
    return Delivered(
        "feed", table.feed(frames), 0, 0, canvas.width, canvas.height, "yuv420p", opaque=True, begin=begin, frames=count
    )


def _as_moving(
    visual: Visual, canvas: Canvas, easel: Easel, table: _Table, first: int, skip: int, frames: int
) -> tuple[Visual, Delivered]:
    """A clip: decoded inside the piece's graph where it only stands or fades, else posed frame by frame."""
    footage = _footage(visual)
    place = visual.placement
    size = max(2, round(place.width)), max(2, round(place.height or 2))
    stands = is_still(visual.motion) and visual.look.rotation % 360 == 0
    factor = 1.0 if stands else magnified(visual)
    # Even, so that its chroma planes are halves.
    inner = size if stands else (_even(size[0] * factor), _even(size[1] * factor))
    if footage.loop:
        visual = _looped(visual, inner, canvas, easel, table, skip, frames)
    if stands:
        return visual, _as_clip(visual, size, easel, table)
    sprite = _clip_sprite(visual, size, inner)
    if is_ken_burns_floor(visual, sprite, canvas):
        planes = _clip_planes(visual, inner, canvas, easel, skip, frames)
        return visual, _floor(ken_burns_frames(visual, canvas, skip, frames, planes), canvas, table, first, frames)
    region = region_of(visual, sprite, canvas, skip, frames)
    moving = _clip_frames(visual, inner, canvas, easel, skip, frames)
    name = table.feed(posed_frames(visual, sprite, canvas, region, range(skip, skip + frames), moving))
    return visual, Delivered("feed", name, region.x, region.y, region.width, region.height, begin=first, frames=frames)


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def _footage(visual: Visual) -> Footage:
    if not isinstance(visual.content, Footage):
        raise TypeError("only footage is decoded by ffmpeg")
    return visual.content


def _path(footage: Footage, easel: Easel) -> str:
    # A round of a loop is a file of this piece's own and goes by its path.
    return footage.sha256 if footage.sha256.startswith("/") else str(easel.path_of(footage.sha256))


def _as_clip(visual: Visual, size: tuple[int, int], easel: Easel, table: _Table) -> Delivered:
    content, look = _footage(visual), visual.look
    cx, cy = visual.placement.centre(*size)
    mask = table.keep(rounded(*size, look.radius)) if look.radius > 0 else ""
    opaque = not content.alpha and look.opacity == 1 and not mask and look.key is None
    x, y = floor(cx - size[0] / 2 + 0.5), floor(cy - size[1] / 2 + 0.5)
    return Delivered("clip", _path(content, easel), x, y, *size, opaque=opaque, mask=mask)


def _clip_sprite(visual: Visual, size: tuple[int, int], inner: tuple[int, int]) -> Sprite:
    """A stand-in with a clip's geometry (`size` as placed, `inner` as decoded), for what needs to know where it goes."""
    import numpy as np

    cx, cy = visual.placement.centre(*size)
    opaque = not _footage(visual).alpha and visual.look.key is None
    depth = 3 if opaque else 4
    empty = np.broadcast_to(np.zeros(depth, np.uint8), (inner[1], inner[0], depth))
    x, y = floor(cx - size[0] / 2 + 0.5), floor(cy - size[1] / 2 + 0.5)
    return Sprite(empty, float(x), float(y), (inner[0] / 2, inner[1] / 2), (float(size[0]), float(size[1])))


def _clip_frames(
    visual: Visual, size: tuple[int, int], canvas: Canvas, easel: Easel, skip: int, frames: int
) -> Iterator[np.ndarray[Any, Any]]:
    import numpy as np

    content = _footage(visual)
    argv = conform_argv(
        content, visual.look, _path(content, easel), size, canvas.fps, skip, frames, "rgba", ("-f", "rawvideo"), "pipe:1"
    )
    for frame in read_frames(argv, size[0] * size[1] * 4):
        yield np.frombuffer(frame, np.uint8).reshape(size[1], size[0], 4)


def _clip_planes(visual: Visual, size: tuple[int, int], canvas: Canvas, easel: Easel, skip: int, frames: int) -> Iterator[Planes]:
    import numpy as np

    content, (w, h) = _footage(visual), size
    argv = conform_argv(
        content, visual.look, _path(content, easel), size, canvas.fps, skip, frames, "yuv420p", ("-f", "rawvideo"), "pipe:1"
    )
    for frame in read_frames(argv, w * h * 3 // 2):
        flat = np.frombuffer(frame, np.uint8)
        luma, blue, red = flat[: w * h], flat[w * h : w * h * 5 // 4], flat[w * h * 5 // 4 :]
        yield luma.reshape(h, w), blue.reshape(h // 2, w // 2), red.reshape(h // 2, w // 2)


def _looped(
    visual: Visual, size: tuple[int, int], canvas: Canvas, easel: Easel, table: _Table, skip: int, frames: int
) -> Visual:
    """Footage that repeats. A window inside one round is read as it is; else the round is cut once to whole frames at its
    final size, lossless, and then read over and over."""
    content = _footage(visual)
    rounds = skip // content.loop
    if skip + frames <= (rounds + 1) * content.loop:
        start = content.start - rounds * content.loop / canvas.fps * content.speed
        return replace(visual, content=replace(content, loop=0, start=start))
    table.made += 1
    unit = table.scratch / f"round{table.made}.mkv"
    once = replace(content, loop=0)
    pixels = "yuva420p" if content.alpha or visual.look.key is not None else "yuv420p"
    codec = ("-c:v", "ffv1", "-level", "3", "-threads", "1", "-f", "matroska")
    argv = conform_argv(once, visual.look, _path(content, easel), size, canvas.fps, 0, content.loop, pixels, codec, str(unit))
    run(argv, scratch=table.scratch)
    ready = Footage(
        str(unit), "matroska", "", size, (0.0, 0.0, float(size[0]), float(size[1])), moving=True, fps=canvas.fps,
        loop=count_frames(unit), alpha=pixels == "yuva420p", matrix="bt709",
    )  # fmt: skip
    return replace(visual, content=ready, look=replace(visual.look, flip="none", tone=None, key=None))


def _on_even_pixels(pixels: Any, x: int, y: int, left: int, top: int) -> tuple[Any, int, int]:
    """A clear row and column more where a bitmap would begin between two chroma samples, which tints its edges."""
    import numpy as np

    across, down = (x + left) % 2, (y + top) % 2
    return np.pad(pixels, ((down, 0), (across, 0), (0, 0))), left - across, top - down


def _as_still(visual: Visual, sprite: Sprite, canvas: Canvas, table: _Table) -> Delivered:
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
