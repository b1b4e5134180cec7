"""Moving layers frame by frame: bitmaps and clips turned, grown, panned and revealed with sub-pixel precision, as raw frames for ffmpeg.

What belongs here: one layer's frames. What does not: where the bitmaps come from (artwork.py), full-canvas Ken Burns (kenburns.py),
composing layers (movie/filters.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, cos, floor, radians, sin
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.motion import Pose, pose_at, view_at
from viralsync_pipelines.movie.picture import Canvas, Visual
from viralsync_pipelines.render.artwork import Sprite, rounded, with_alpha

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

# Seconds of a reveal's steps; all of it takes at most four fifths of the layer's life.
_REVEAL_STEP_S = {"typewriter": 0.05, "words": 0.22, "lines": 0.6}


@dataclass(frozen=True)
class Region:
    """The even-sized part of the canvas that a moving layer ever touches."""

    x: int
    y: int
    width: int
    height: int


def region_of(visual: Visual, sprite: Sprite, canvas: Canvas, first: int, count: int) -> Region:
    """The union of where the layer is in frames [first, first + count) of its own life, cut to the canvas."""
    x0, y0, x1, y1 = float(canvas.width), float(canvas.height), 0.0, 0.0
    for k in range(first, first + count):
        pose = pose_at(visual.motion, k, visual.frames, sprite.size, (canvas.width, canvas.height))
        spread = pose.blur * 3 + 1
        for corner in _corners(_matrix(visual, sprite, pose), *_extent(visual, sprite)):
            x0, x1 = min(x0, corner[0] - spread), max(x1, corner[0] + spread)
            y0, y1 = min(y0, corner[1] - spread), max(y1, corner[1] + spread)
    left, top = max(0, floor(x0) // 2 * 2), max(0, floor(y0) // 2 * 2)
    right, bottom = min(canvas.width, ceil(x1 / 2) * 2), min(canvas.height, ceil(y1 / 2) * 2)
    if right <= left or bottom <= top:
        return Region(0, 0, 2, 2)
    return Region(left, top, right - left, bottom - top)


def _extent(visual: Visual, sprite: Sprite) -> tuple[float, float]:
    """Size of the layer's own plane: the bitmap's, or for Ken Burns the box that the bitmap is seen through."""
    if visual.motion.ken_burns is not None:
        return sprite.size
    return float(sprite.pixels.shape[1]), float(sprite.pixels.shape[0])


def _matrix(visual: Visual, sprite: Sprite, pose: Pose) -> tuple[tuple[float, float, float], ...]:
    """Layer plane to canvas: grow and turn about the centre, then go where it stands."""
    wide, tall = _extent(visual, sprite)
    # Pictures are drawn at whole pixels; the fraction their size was rounded by is put back here. Text is not: its bitmap
    # holds shadow and plate too, and centred in a wide box it was once squeezed to the width of its letters.
    drawn = not isinstance(visual.content, TextArt)
    fx = sprite.size[0] / wide if drawn and sprite.centre[0] * 2 == wide else 1.0
    fy = sprite.size[1] / tall if drawn and sprite.centre[1] * 2 == tall else 1.0
    centre = (wide / 2, tall / 2) if visual.motion.ken_burns is not None else sprite.centre
    angle = radians(pose.rotation + visual.look.rotation)
    a, b = pose.scale * pose.width * fx, pose.scale * pose.height * fy
    m00, m01, m10, m11 = a * cos(angle), -b * sin(angle), a * sin(angle), b * cos(angle)
    cx, cy = sprite.x + sprite.size[0] / 2 + pose.x, sprite.y + sprite.size[1] / 2 + pose.y
    if visual.motion.ken_burns is None and fx == 1.0:
        cx, cy = sprite.x + sprite.centre[0] + pose.x, sprite.y + sprite.centre[1] + pose.y
    # Width and height grow from the anchor, as they would if they had been written so: a bar that stands stays on its foot.
    cx += (0.5 - visual.placement.pivot_x) * sprite.size[0] * (pose.width - 1)
    cy += (0.5 - visual.placement.pivot_y) * sprite.size[1] * (pose.height - 1)
    return (
        (m00, m01, cx - m00 * centre[0] - m01 * centre[1]),
        (m10, m11, cy - m10 * centre[0] - m11 * centre[1]),
    )


def _corners(m: tuple[tuple[float, float, float], ...], wide: float, tall: float) -> list[tuple[float, float]]:
    return [
        (m[0][0] * x + m[0][1] * y + m[0][2], m[1][0] * x + m[1][1] * y + m[1][2])
        for x, y in ((0, 0), (wide, 0), (0, tall), (wide, tall))
    ]


def longest_rest(visual: Visual, sprite: Sprite, canvas: Canvas, first: int, count: int) -> tuple[int, int]:
    """(index of a frame, frames after it that look the same): the longest rest in frames [first, first + count) of a bitmap's life."""
    if visual.motion.ken_burns is not None:
        return 0, 0
    reveal = _Reveal(visual, sprite, canvas) if sprite.groups else None
    best, start, before = (0, 0), 0, None
    for index in range(count):
        k = first + index
        pose = pose_at(visual.motion, k, visual.frames, sprite.size, (canvas.width, canvas.height))
        seen = pose, reveal.due(k) if reveal is not None else 0
        start, before = (start if seen == before else index), seen
        best = max(best, (start, index - start), key=lambda rest: rest[1])
    return best


def posed_frames(
    visual: Visual, sprite: Sprite, canvas: Canvas, region: Region, numbers: Iterable[int], moving: Iterable[Pixels] | None = None
) -> Iterator[memoryview]:
    """Straight RGBA frames of `region`, for the given frames of the layer's life in rising order.

    `moving` gives the layer's picture per frame (a clip); without it the sprite's is used.
    """
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    base = bled(with_alpha(sprite.pixels)) if moving is None else None
    clip = iter(moving) if moving is not None else iter(())
    steps = _Reveal(visual, sprite, canvas) if sprite.groups else None
    mask = None
    if visual.look.radius > 0 and (moving is not None or visual.motion.ken_burns is not None):
        wide, tall = (round(v) for v in _extent(visual, sprite))
        mask = rounded(max(1, wide), max(1, tall), visual.look.radius)
    last: Pixels | None = base
    for k in numbers:
        pose = pose_at(visual.motion, k, visual.frames, sprite.size, (canvas.width, canvas.height))
        if moving is not None:
            last = next(clip, last)
        if last is None:
            yield np.zeros((region.height, region.width, 4), np.uint8).data
            continue
        plane = _viewed(last, visual, sprite, k)
        if steps is not None:
            plane = steps.shown(plane, k)
        if mask is not None or pose.wipe is not None:
            plane = _masked(plane, mask, pose)
        yield _placed(plane, _matrix(visual, sprite, pose), region, pose.opacity * visual.look.opacity, pose.blur).data


def _viewed(pixels: Pixels, visual: Visual, sprite: Sprite, k: int) -> Pixels:
    """The picture through a Ken Burns window, or as it is."""
    import cv2
    import numpy as np

    move = visual.motion.ken_burns
    if move is None:
        return pixels
    left, top, share = view_at(move, k, visual.frames)
    tall, wide = pixels.shape[:2]
    w, h = max(1, round(sprite.size[0])), max(1, round(sprite.size[1]))
    sx, sy = share * wide / w, share * tall / h
    matrix = np.array([[sx, 0, left * wide + 0.5 * sx - 0.5], [0, sy, top * tall + 0.5 * sy - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _placed(plane: Pixels, matrix: tuple[tuple[float, float, float], ...], region: Region, opacity: float, blur: float) -> Pixels:
    import cv2
    import numpy as np

    m = np.array(matrix)
    if abs(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) < 1e-9 or opacity <= 0:
        return np.zeros((region.height, region.width, 4), np.uint8)
    # Sampling between neighbours skips what lies between them in a picture shrunk to less than half: it is averaged first.
    size = abs(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) ** 0.5
    if size < 0.5 and min(plane.shape[:2]) >= 8:
        tall, wide = plane.shape[:2]
        times = min(floor(1 / size), min(tall, wide) // 4)
        plane = cv2.resize(plane, (wide // times, tall // times), interpolation=cv2.INTER_AREA)
        m[:, 0] *= wide / plane.shape[1]
        m[:, 1] *= tall / plane.shape[0]
    # From corner to centre coordinates on both sides, and into the region.
    m[:, 2] += m[:, :2] @ np.array([0.5, 0.5]) - 0.5 - np.array([region.x, region.y])
    right, down = round(m[0, 2]), round(m[1, 2])
    if blur <= 0.1 and (m == np.array([[1, 0, right], [0, 1, down]])).all():
        return _copied(plane, right, down, region, opacity)
    view = (region.width, region.height)
    out = np.empty((region.height, region.width, 4), np.uint8)
    out[..., :3] = cv2.warpAffine(plane[..., :3], m, view, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(plane[..., 3], m, view, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    out[..., 3] = alpha if opacity >= 1 else cv2.convertScaleAbs(alpha, alpha=opacity)
    if blur > 0.1:
        out[..., 3] = cv2.GaussianBlur(out[..., 3], (0, 0), blur)
        out[..., :3] = cv2.GaussianBlur(out[..., :3], (0, 0), blur)
    return out


def _copied(plane: Pixels, right: int, down: int, region: Region, opacity: float) -> Pixels:
    """What stands on whole pixels, to the byte as sampling would have it, in a quarter of the time."""
    import cv2
    import numpy as np

    tall, wide = plane.shape[:2]
    x0, y0, x1, y1 = max(0, -right), max(0, -down), min(wide, region.width - right), min(tall, region.height - down)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((region.height, region.width, 4), np.uint8)
    left, top = right + x0, down + y0
    after, below = region.width - left - (x1 - x0), region.height - top - (y1 - y0)
    out = cv2.copyMakeBorder(plane[y0:y1, x0:x1], top, below, left, after, cv2.BORDER_REPLICATE)
    out[:top, :, 3], out[region.height - below :, :, 3], out[:, :left, 3], out[:, region.width - after :, 3] = 0, 0, 0, 0
    if opacity < 1:
        out[..., 3] = cv2.convertScaleAbs(np.ascontiguousarray(out[..., 3]), alpha=opacity)
    return np.asarray(out)


def _masked(plane: Pixels, mask: Pixels | None, pose: Pose) -> Pixels:
    import cv2
    import numpy as np

    out = plane.copy()
    tall, wide = out.shape[:2]
    if mask is not None:
        fitted = mask if mask.shape == (tall, wide) else cv2.resize(mask, (wide, tall))
        out[..., 3] = cv2.multiply(out[..., 3], fitted, scale=1 / 255)
    if pose.wipe is not None:
        way, shown = pose.wipe
        extent = wide if way in {"left", "right"} else tall
        edge = shown * extent - np.arange(extent, dtype=np.float32)
        ramp = (np.clip(edge, 0, 1) * 255).astype(np.uint8)
        # wipe-right uncovers towards the right, so it begins at the left edge.
        ramp = ramp[::-1] if way in {"left", "up"} else ramp
        rows = np.broadcast_to(ramp[None, :] if way in {"left", "right"} else ramp[:, None], (tall, wide))
        out[..., 3] = cv2.multiply(out[..., 3], np.ascontiguousarray(rows), scale=1 / 255)
    return out


def bled(pixels: Pixels) -> Pixels:
    """The bitmap with the colour of its visible pixels carried into the clear ones around them, so that sampling between a
    drawn and a clear pixel does not darken the edge."""
    import cv2
    import numpy as np

    alpha = pixels[..., 3]
    if alpha.min() > 0:
        return pixels
    weight = alpha.astype(np.float32) / 255
    color = pixels[..., :3].astype(np.float32) * weight[..., None]
    near = cv2.blur(weight, (5, 5))
    spread = cv2.blur(color, (5, 5)) / np.maximum(near, 1e-4)[..., None]
    out = pixels.copy()
    clear = (alpha == 0) & (near > 0)
    out[clear, :3] = np.clip(spread[clear], 0, 255).astype(np.uint8)
    return out


class _Reveal:
    """Text that appears group by group: keeps the alpha of what is shown so far, so that each frame adds only what is new."""

    def __init__(self, visual: Visual, sprite: Sprite, canvas: Canvas) -> None:
        import numpy as np

        self._groups = sprite.groups
        step = _REVEAL_STEP_S[visual.motion.reveal or "words"] * float(canvas.fps)
        self._step = min(step, 0.8 * visual.frames / max(1, len(sprite.groups)))
        self._owner = _owners(sprite.groups, sprite.reach, sprite.pixels.shape[:2])
        self._mask = np.zeros(sprite.pixels.shape[:2], np.uint8)
        self._done = 0

    def due(self, frame: int) -> int:
        """How many groups are shown at a frame."""
        return min(len(self._groups), int(frame / self._step) + 1)

    def shown(self, plane: Pixels, frame: int) -> Pixels:
        import cv2

        if self._done != self.due(frame):
            self._done = self.due(frame)
            self._mask = ((self._owner < self._done) * 255).astype("uint8")
        out = plane.copy()
        out[..., 3] = cv2.bitwise_and(out[..., 3], self._mask)
        return out


def _owners(groups: tuple[tuple[tuple[int, int, int, int], ...], ...], reach: int, shape: tuple[int, ...]) -> Pixels:
    """For each pixel, the group it appears with. Strokes and overhang reach into the neighbours' boxes, but what lies in a
    letter's own box waits for that letter: else a slice of the next one shows early. The rest comes with the last group."""
    import numpy as np

    owner = np.full(shape, len(groups) - 1, np.int32)
    for number in range(len(groups) - 1, -1, -1):
        for x0, y0, x1, y1 in groups[number]:
            owner[max(0, y0) : y1, max(0, x0) : x1] = number
    for number, group in enumerate(groups):
        for x0, y0, x1, y1 in group:
            owner[max(0, y0 + reach) : max(0, y1 - reach), max(0, x0 + reach) : max(0, x1 - reach)] = number
    return owner
