"""A pan or zoom over a picture that fills the canvas, warped in 4:2:0 with sub-pixel precision, as raw frames for ffmpeg.

What belongs here: this one fast path. What does not: pictures that are smaller, turned, faded or rounded (frames.py).
zoompan rounds to whole pixels (a step error of 1 px, 0.3 px even when enlarged eight times); warpAffine stays below 0.07 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.motion import view_at
from viralsync_pipelines.movie.picture import Canvas, Visual
from viralsync_pipelines.render.artwork import Sprite

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]
    Planes = tuple[Pixels, Pixels, Pixels]

# Rec. 709, RGB 0-255 to limited range YUV.
_TO_YUV = (
    (0.182586, 0.614231, 0.062007, 16.0),
    (-0.100644, -0.338572, 0.439216, 128.0),
    (0.439216, -0.398942, -0.040274, 128.0),
)


def is_ken_burns_floor(visual: Visual, sprite: Sprite, canvas: Canvas) -> bool:
    """True for an opaque picture over the whole canvas that does nothing but pan and zoom: warped in 4:2:0, half the work."""
    motion, look = visual.motion, visual.look
    plain = not motion.tracks and motion.enter is None and motion.exit is None and motion.ken_burns is not None
    whole = (round(sprite.x), round(sprite.y), round(sprite.size[0]), round(sprite.size[1])) == (0, 0, canvas.width, canvas.height)
    untouched = look.opacity == 1 and look.rotation == 0 and look.radius == 0 and look.blend == "normal"
    return plain and whole and untouched and sprite.opaque


def yuv_planes(pixels: Pixels) -> Planes:
    """RGB as limited range Rec. 709 planes, chroma at half size and sited left, as H.264 has it."""
    import cv2
    import numpy as np

    yuv = cv2.transform(pixels, np.array(_TO_YUV, np.float32))
    tall, wide = yuv.shape[:2]
    # Down: the mean of two rows. Across: column 2j, with half of each neighbour, lies on luma column 2j.
    rows = cv2.resize(yuv[..., 1:], (wide, ceil(tall / 2)), interpolation=cv2.INTER_AREA)
    half = cv2.sepFilter2D(rows, -1, np.array([0.25, 0.5, 0.25]), np.array([1.0]), borderType=cv2.BORDER_REPLICATE)[:, ::2]
    return np.ascontiguousarray(yuv[..., 0]), np.ascontiguousarray(half[..., 0]), np.ascontiguousarray(half[..., 1])


def ken_burns_frames(
    visual: Visual, canvas: Canvas, first: int, count: int, planes_of: Iterable[Planes]
) -> Iterator[memoryview]:
    """yuv420p frames of a full-canvas Ken Burns move; `first` is the layer's own frame number of the first one.

    planes_of: the picture's 4:2:0 planes for each frame; when they end, the last ones stay.
    """
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    move = visual.motion.ken_burns
    if move is None:
        raise ValueError("this layer has no Ken Burns move")
    w, h = canvas.width, canvas.height
    frame = np.empty(w * h * 3 // 2, np.uint8)
    planes = (
        frame[: w * h].reshape(h, w),
        frame[w * h : w * h * 5 // 4].reshape(h // 2, w // 2),
        frame[w * h * 5 // 4 :].reshape(h // 2, w // 2),
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    source = iter(planes_of)
    given = next(source)
    for k in range(first, first + count):
        luma, blue, red = given
        tall, wide = luma.shape
        left, top, share = view_at(move, k, visual.frames)
        sx, sy = share * wide / w, share * tall / h
        # Centres of pixels: canvas pixel i looks at picture pixel left + (i + 1/2) * s - 1/2.
        ox, oy = left * wide + 0.5 * sx - 0.5, top * tall + 0.5 * sy - 0.5
        cv2.warpAffine(luma, np.array([[sx, 0, ox], [0, sy, oy]]), (w, h), planes[0], flags, cv2.BORDER_REPLICATE)
        # Chroma is sited left: its sample j lies on luma column 2j and between rows 2j and 2j+1.
        cx, cy = (ox - 0.5) / 2, (oy + 0.5 * sy - 0.5) / 2
        chroma = np.array([[sx, 0, cx], [0, sy, cy]])
        cv2.warpAffine(blue, chroma, (w // 2, h // 2), planes[1], flags, cv2.BORDER_REPLICATE)
        cv2.warpAffine(red, chroma, (w // 2, h // 2), planes[2], flags, cv2.BORDER_REPLICATE)
        yield frame.data
        given = next(source, given)
