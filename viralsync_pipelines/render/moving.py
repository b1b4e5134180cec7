"""Clips on their way into a graph: decoded inside it where they only stand or fade, else posed frame by frame; loops cut to rounds.

What belongs here: delivering footage that moves, and the table of what a graph's placeholders stand for. What does not: stills
(scenes.py), the graph (movie/filters.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.conform import conform_argv
from viralsync_pipelines.movie.filters import Delivered
from viralsync_pipelines.movie.motion import is_still
from viralsync_pipelines.movie.picture import Canvas, Footage, Visual
from viralsync_pipelines.render.artwork import Easel, Sprite, magnified, rounded
from viralsync_pipelines.render.ffmpeg import Feed, read_frames, run
from viralsync_pipelines.render.frames import posed_frames, region_of
from viralsync_pipelines.render.kenburns import is_ken_burns_floor, ken_burns_frames

if TYPE_CHECKING:
    import numpy as np

    from viralsync_pipelines.render.kenburns import Planes


@dataclass
class Table:
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


def count_frames(path: Path) -> int:
    """Packets of the first picture stream: what a copy would carry into the film."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            return 0  # what ffmpeg leaves when a source gave it nothing
        return sum(1 for packet in container.demux(video=0) if packet.size)


def floor_feed(frames: Feed, canvas: Canvas, table: Table, begin: int, count: int) -> Delivered:
    """Opaque 4:2:0 frames that cover the canvas."""
    return Delivered(
        "feed", table.feed(frames), 0, 0, canvas.width, canvas.height, "yuv420p", opaque=True, begin=begin, frames=count
    )


def as_moving(
    visual: Visual, canvas: Canvas, easel: Easel, table: Table, first: int, skip: int, frames: int
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
        return visual, floor_feed(ken_burns_frames(visual, canvas, skip, frames, planes), canvas, table, first, frames)
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


def _as_clip(visual: Visual, size: tuple[int, int], easel: Easel, table: Table) -> Delivered:
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
    visual: Visual, size: tuple[int, int], canvas: Canvas, easel: Easel, table: Table, skip: int, frames: int
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
