"""Backgrounds of the quote and the data example: mountain ridges at dawn, and colours that drift in a circle.

What belongs here: these two drawings. What does not: models (robot.py), files (make_media.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import pi
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _rgb(color: str) -> Array:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def _gradient(share: Array, colors: tuple[str, ...]) -> Array:
    """Colours evenly spaced over 0-1, at each share."""
    at = np.linspace(0, 1, len(colors))
    stops = np.stack([_rgb(color) for color in colors])
    return np.stack([np.interp(share, at, stops[:, i]) for i in range(3)], -1).astype(np.float32)


def _skyline(x: Array, seed: int, rough: float) -> Array:
    """A jagged line around 0: folded sines, each octave finer and flatter than the one before."""
    rng = np.random.default_rng(seed)
    line = np.zeros_like(x)
    wave, height = 1.3, 1.0
    for _ in range(8):
        phase = rng.uniform(0, 2 * pi)
        fold = 1 - 2 * np.abs(((x * wave + phase) % 2) - 1)
        line += height * (fold + 0.5 * np.sin(x * wave * 2.3 + phase * 2))
        wave, height = wave * 1.93, height * rough
    return np.asarray(line / 2)


def ridges(width: int, height: int) -> Array:
    """Six ridges at dawn, the near ones dark: height x width x 3 uint8."""
    x, y = np.meshgrid(np.arange(width) / height, (np.arange(height) + 0.5) / height)
    x, y = x.astype(np.float32), y.astype(np.float32)
    out = _gradient(np.clip(y / 0.78, 0, 1), ("#0b1533", "#152a5c", "#3a4f8f", "#8f7aa8", "#f0a58a", "#ffd9a8"))
    sun = np.exp(-(((x - 1.25) / 0.55) ** 2 + ((y - 0.70) / 0.22) ** 2))[..., None]
    out = out + sun * (_rgb("#fff0c8") - out) * 0.45
    stars = np.random.default_rng(4)
    for _ in range(90):
        sx, sy, bright = stars.uniform(0, width / height), stars.uniform(0, 0.34), stars.uniform(0.1, 0.6)
        spot = np.exp(-(((x - sx) ** 2 + (y - sy) ** 2) / (0.0011 * (0.6 + bright)) ** 2))[..., None]
        out = out + spot * bright * (1 - np.float32(sy) / 0.4)
    colors = ("#b98a9c", "#8b7199", "#5d5687", "#3a3f6f", "#222a54", "#121a3a")
    for k, color in enumerate(colors):
        far = 1 - k / 5
        line = 0.66 + 0.066 * k - (0.075 + 0.035 * far) * _skyline(x[0] * (2.6 - 0.25 * k), 20 + k, 0.52)
        below = np.clip((y - line[None, :]) * height, 0, 1)[..., None]
        haze = np.exp(-np.maximum(y - line[None, :], 0) / 0.12)[..., None]
        paint = _rgb(color) * (0.86 + 0.14 * haze) + (1 - haze) * _rgb("#e9b59b") * (0.22 * far)
        out = out * (1 - below) + paint * below
    noise = np.random.default_rng(9).uniform(-0.8, 0.8, (height, width, 1))
    return np.asarray(np.clip(out * 255 + noise + 0.5, 0, 255), np.uint8)


def drift(width: int, height: int, frames: int) -> Iterator[Array]:
    """Clouds of colour that come back to where they began after `frames` frames."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    clouds = (
        ("#4b1fb8", 0.20, 0.25, 0.20, 0.14, 0.42, 1), ("#c2265f", 0.82, 0.30, -0.16, 0.20, 0.36, 1),
        ("#0f6fae", 0.25, 0.85, 0.16, -0.18, 0.40, 1), ("#e8703a", 0.85, 0.88, -0.14, -0.12, 0.30, 1),
    )  # fmt: skip
    base = np.broadcast_to(_rgb("#170b38"), (height, width, 3))
    rng = np.random.default_rng(2)
    noise = rng.uniform(-0.7, 0.7, (height, width, 1))
    for frame in range(frames):
        a = 2 * pi * frame / frames
        out = base
        for k, (color, cx, cy, dx, dy, size, turns) in enumerate(clouds):
            px, py = cx + dx * np.sin(a * turns + k * 1.3), cy + dy * np.cos(a * turns + k * 0.7)
            weight = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * (size * 0.62) ** 2))[..., None]
            out = out * (1 - 0.85 * weight) + _rgb(color) * (0.85 * weight)
        yield np.clip(out * 255 + noise + 0.5, 0, 255).astype(np.uint8)
