"""Placed glyphs to pixels: coverage masks, colour emoji, outlines by distance, soft shadows. HarfBuzz draws the outlines.

What belongs here: one layer at a time, as an array of the bitmap's size. What does not: the order of layers (lettering.py).
`x0, y0` are the bitmap's top left corner in box coordinates, `width, height` its size.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from viralsync_pipelines.movie.art import Rgba
from viralsync_pipelines.render.fontfile import EM, open_font
from viralsync_pipelines.render.typeset import SetText

Floats = npt.NDArray[np.float32]
_FINE_AREA = 6_000_000  # pixels; larger bitmaps get their outline at single resolution
_MAX_STRIKE = 2048  # pixels; Apple's largest strike has 160


def glyph_mask(block: SetText, x0: int, y0: int, width: int, height: int, times: int) -> npt.NDArray[np.uint8]:
    """Coverage of all outline glyphs, `times` as large in both directions."""
    import uharfbuzz

    raster: Any = uharfbuzz.RasterDraw()
    wide, tall = width * times, height * times
    raster.extents = uharfbuzz.RasterExtents(0, 0, wide, tall, 0)
    scale = block.size / EM * times
    drawn = False
    for line in block.lines:
        for run in line.runs:
            if run.face.colour:
                continue
            font = open_font(run.face)
            for glyph in run.glyphs:
                # HarfBuzz counts rows from the bottom.
                raster.transform = (scale, 0, 0, scale, (glyph.x - x0) * times, tall - (glyph.y - y0) * times)
                raster.draw_glyph(font, glyph.gid)
                drawn = True
    return _rows(raster.render(), wide, tall, 1)[..., 0] if drawn else np.zeros((tall, wide), np.uint8)


def emoji_layer(block: SetText, x0: int, y0: int, width: int, height: int, foreground: Rgba) -> Floats | None:
    """Premultiplied RGBA, 0 to 255, of the glyphs that bring their own colours; None without any."""
    runs = [run for line in block.lines for run in line.runs if run.face.colour and run.glyphs]
    if not runs:
        return None
    import uharfbuzz

    layer = np.zeros((height, width, 4), np.float32)
    scale = block.size / EM
    for run in runs:
        font = open_font(run.face)
        for glyph in run.glyphs:
            box = font.get_glyph_extents(glyph.gid)
            if box is None or not box.width:
                continue
            # Painted in a window of its own: a surface as large as the bitmap for each of COLR's layers costs 100 times more.
            left = max(0, math.floor(glyph.x - x0 + box.x_bearing * scale) - 2)
            top = max(0, math.floor(glyph.y - y0 - box.y_bearing * scale) - 2)
            wide = min(width - left, math.ceil(box.width * scale) + 5)
            tall = min(height - top, math.ceil(-box.height * scale) + 5)
            if wide <= 0 or tall <= 0:
                continue
            x, y = glyph.x - x0 - left, glyph.y - y0 - top
            strike = bytes(font.get_glyph_color_png(glyph.gid).data)
            if strike:
                corners = (x + box.x_bearing * scale, y - box.y_bearing * scale, box.width * scale, -box.height * scale)
                piece = _bitmap_glyph(strike, wide, tall, corners)
            else:
                paint: Any = uharfbuzz.RasterPaint()
                paint.extents = uharfbuzz.RasterExtents(0, 0, wide, tall, 0)
                paint.foreground = uharfbuzz.Color(*foreground[:3], 255)
                paint.transform = (scale, 0, 0, scale, x, tall - y)
                paint.paint_glyph(font, glyph.gid)
                piece = _rows(paint.render(), wide, tall, 4)[..., [2, 1, 0, 3]].astype(np.float32)
            piece *= np.float32(foreground[3] / 255.0)
            window = layer[top : top + tall, left : left + wide]
            window *= 1.0 - piece[..., 3:] / 255.0
            window += piece
    return layer


def _bitmap_glyph(png: bytes, width: int, height: int, box: tuple[float, float, float, float]) -> Floats:
    """A PNG strike (CBDT, sbix) scaled into `box` (x, y, width, height) of a window; premultiplied RGBA, 0 to 255."""
    import cv2

    empty = np.zeros((height, width, 4), np.float32)
    if len(png) < 24 or max(struct.unpack_from(">LL", png, 16)) > _MAX_STRIKE:
        return empty
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        return empty
    source = picture[..., [2, 1, 0, 3]].astype(np.float32)
    source[..., :3] *= source[..., 3:] / 255.0
    shrink = max(1.0, source.shape[1] / max(box[2], 1.0))
    if shrink > 1.5:  # averaged down first: a plain warp would skip pixels
        size = (max(1, round(source.shape[1] / shrink)), max(1, round(source.shape[0] / shrink)))
        source = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.float32)
    across, down = box[2] / source.shape[1], box[3] / source.shape[0]
    place = np.array([[across, 0, box[0] + across / 2 - 0.5], [0, down, box[1] + down / 2 - 0.5]], np.float64)
    return np.asarray(cv2.warpAffine(source, place, (width, height), flags=cv2.INTER_LINEAR), np.float32)


def _rows(image: Any, width: int, height: int, depth: int) -> npt.NDArray[np.uint8]:
    """A HarfBuzz raster image as height x width x depth, top row first."""
    if image is None or not image.buffer:
        return np.zeros((height, width, depth), np.uint8)
    rows = np.frombuffer(image.buffer, np.uint8).reshape(image.extents.height, image.extents.stride)
    return rows[::-1, : width * depth].reshape(height, width, depth)


def outline(block: SetText, x0: int, y0: int, width: int, height: int, stroke: float) -> Floats:
    """Coverage within `stroke` pixels of a glyph, letters included, from exact distances at twice the size."""
    import cv2

    times = 2 if width * height < _FINE_AREA else 1
    mask = glyph_mask(block, x0, y0, width, height, times)
    outside = (mask < 128).astype(np.uint8)
    if outside.all():
        return np.zeros((height, width), np.float32)
    # The distances that come with labels are 2 % off by direction, which a wide outline shows as bumps: only labels are used.
    _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    far = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The nearest glyph pixel lies with its centre inside; its own coverage tells how far the true edge is beyond it.
    edge = np.zeros(int(labels.max()) + 1, np.float32)
    inside = outside == 0
    edge[labels[inside]] = mask[inside].astype(np.float32) / 255.0 - 0.5
    cover = np.asarray(np.clip(stroke * times + 0.5 - (far - edge[labels]), 0.0, 1.0), np.float32)
    cover[inside] = 1.0
    if times == 1:
        return cover
    return np.asarray(cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def blurred(mask: Floats, dx: float, dy: float, blur: float) -> Floats:
    """The mask moved by (dx, dy), sub-pixel, and blurred with standard deviation `blur` / 2."""
    import cv2

    height, width = mask.shape
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(mask, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    sigma = blur / 2
    if sigma <= 0:
        return np.asarray(moved, np.float32)
    # A wide blur is made at a fraction of the size: its cost would grow with `blur`, and nothing fine is left to see.
    times = max(1, min(int(sigma / 8), width // 8, height // 8))
    if times > 1:
        small = (math.ceil(width / times), math.ceil(height / times))
        moved = cv2.copyMakeBorder(moved, 0, small[1] * times - height, 0, small[0] * times - width, cv2.BORDER_CONSTANT)
        moved = cv2.resize(moved, small, interpolation=cv2.INTER_AREA)
    moved = cv2.GaussianBlur(moved, (0, 0), sigma / times, borderType=cv2.BORDER_CONSTANT)
    if times > 1:
        moved = cv2.resize(moved, (small[0] * times, small[1] * times), interpolation=cv2.INTER_CUBIC)[:height, :width]
    return np.asarray(np.clip(moved, 0.0, 1.0), np.float32)
