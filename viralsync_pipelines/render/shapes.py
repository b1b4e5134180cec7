"""Drawn shapes and fills: rectangles, ellipses, lines, rounded plates and gradients as straight RGBA pixels.

What belongs here: coverage masks by exact distance (antialiased without oversampling) and paint over a box.
What does not: text (lettering.py), placing or animating a picture.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from viralsync_pipelines.movie.art import Gradient, Paint, ShapeArt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.float32]


def draw_shape(art: ShapeArt) -> Pixels:
    """The shape as height x width x 4 straight RGBA, filling its box.

    A stroke lies inside the edge. A line runs along the longer side through the middle, as thick as its stroke (or as
    the shorter side without one), in the stroke's colour if it has one; `radius` rounds its ends.
    """
    width, height = max(1, art.width), max(1, art.height)
    if art.shape == "line":
        return _draw_line(art, width, height)
    inset = min(art.stroke.width, width / 2, height / 2) if art.stroke and art.stroke.width > 0 else 0.0
    if art.shape == "ellipse":
        outer = ellipse_mask(width, height, 0.0)
        inner = ellipse_mask(width, height, inset) if inset else outer
    else:
        outer = box_mask(width, height, 0.0, 0.0, width, height, art.radius)
        bounds = (inset, inset, width - inset, height - inset)
        inner = box_mask(width, height, *bounds, max(0.0, art.radius - inset)) if inset else outer
    layers = [(paint_box(art.paint, width, height), outer if not inset else inner)]
    if inset and art.stroke:
        layers.append((paint_box(art.stroke.color, width, height), outer - inner))
    # Fill and stroke share an edge and never overlap there: their coverages add up.
    return _straight(sum(_premultiplied(colour, mask) for colour, mask in layers))


def paint_box(paint: Paint, width: int, height: int) -> npt.NDArray[np.float32]:
    """Straight RGBA of a paint over a box, 0 to 255: shape (1, 1, 4) for a plain colour, else (height, width, 4)."""
    if not isinstance(paint, Gradient):
        return np.array(paint, np.float32).reshape(1, 1, 4)
    if len(paint.stops) < 2:
        return np.array(paint.stops[0] if paint.stops else (0, 0, 0, 0), np.float32).reshape(1, 1, 4)
    turn = math.radians(paint.angle)
    dx, dy = math.sin(turn), -math.cos(turn)
    # CSS: the gradient line is as long as makes both corners reach the end colours exactly.
    length = abs(width * dx) + abs(height * dy)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None, :]
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None]
    place = np.clip((x * dx + y * dy) / max(length, 1e-6) + 0.5, 0.0, 1.0)
    stops = np.array(paint.stops, np.float32)
    stops[:, :3] *= stops[:, 3:] / 255.0
    at = np.linspace(0.0, 1.0, len(stops))
    mixed = np.stack([np.interp(place, at, stops[:, i]) for i in range(4)], axis=-1).astype(np.float32)
    mixed[..., :3] *= 255.0 / np.maximum(mixed[..., 3:], 1e-3)
    return np.clip(mixed, 0.0, 255.0)


def box_mask(width: int, height: int, x0: float, y0: float, x1: float, y1: float, radius: float) -> Mask:
    """Coverage 0 to 1 of a rounded box inside a width x height picture; edges may fall between pixels."""
    radius = max(0.0, min(radius, (x1 - x0) / 2, (y1 - y0) / 2))
    if radius <= 0:
        columns = _span(width, x0, x1)
        return (columns[None, :] * _span(height, y0, y1)[:, None]).astype(np.float32)
    x = np.abs(np.arange(width, dtype=np.float32) + 0.5 - (x0 + x1) / 2)[None, :] - ((x1 - x0) / 2 - radius)
    y = np.abs(np.arange(height, dtype=np.float32) + 0.5 - (y0 + y1) / 2)[:, None] - ((y1 - y0) / 2 - radius)
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - radius
    return np.asarray(np.clip(0.5 - outside, 0.0, 1.0), np.float32)


def ellipse_mask(width: int, height: int, inset: float) -> Mask:
    """Coverage of the ellipse that fills the picture, made smaller by `inset` pixels on every side."""
    a, b = width / 2 - inset, height / 2 - inset
    if a <= 0 or b <= 0:
        return np.zeros((height, width), np.float32)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None, :]
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None]
    # First-order distance to the edge: the implicit function over its slope, exact enough within a pixel of it.
    reach = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    slope = np.sqrt((x / (a * a)) ** 2 + (y / (b * b)) ** 2)
    distance = reach * (reach - 1.0) / np.maximum(slope, 1e-9)
    return np.clip(0.5 - np.where(reach < 1e-6, -min(a, b), distance), 0.0, 1.0).astype(np.float32)


def _draw_line(art: ShapeArt, width: int, height: int) -> Pixels:
    thick = min(art.stroke.width, width, height) if art.stroke and art.stroke.width > 0 else min(width, height)
    if width >= height:
        bounds = (0.0, (height - thick) / 2, float(width), (height + thick) / 2)
    else:
        bounds = ((width - thick) / 2, 0.0, (width + thick) / 2, float(height))
    mask = box_mask(width, height, *bounds, art.radius)
    paint = art.stroke.color if art.stroke and art.stroke.width > 0 else art.paint
    return _straight(_premultiplied(paint_box(paint, width, height), mask))


def _span(size: int, low: float, high: float) -> npt.NDArray[np.float64]:
    edges = np.arange(size, dtype=np.float64)
    return np.asarray(np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0.0, 1.0))


def _premultiplied(colour: npt.NDArray[np.float32], mask: Mask) -> npt.NDArray[np.float32]:
    alpha = mask * (colour[..., 3] / 255.0)
    return np.concatenate([colour[..., :3] * alpha[..., None], 255.0 * alpha[..., None]], axis=-1)


def _straight(layer: Any) -> Pixels:
    alpha = np.maximum(layer[..., 3:], 1e-3)
    rgb = np.where(layer[..., 3:] > 0, layer[..., :3] * (255.0 / alpha), 0.0)
    return np.ascontiguousarray(np.clip(np.concatenate([rgb, layer[..., 3:]], axis=-1) + 0.5, 0, 255).astype(np.uint8))
