"""Pip, the desk robot of the product example: its model, its faces, and the phone it is there to replace.

What belongs here: models and cameras. What does not: light (clay.py), files (make_media.py).
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

from viralsync_pipelines.examples.clay import (
    Array,
    Backdrop,
    Camera,
    Group,
    Model,
    Paint,
    Part,
    ball,
    box,
    linear,
    ring,
    slab,
    stick,
    turn,
)

CREAM, CORAL, INK, SUN, MINT, SKY, BADGE = "#fff3e2", "#ff6b4a", "#191331", "#ffc24b", "#5ff0cf", "#a8f0ff", "#ff3b4e"
# Height of the screen's middle, on the head before it is turned.
_SCREEN = 1.47

Face = Callable[[Array, Array], Array]


def _near(distance: Array, width: float) -> Array:
    """Coverage of a drawn shape whose edge is `width` soft."""
    return np.clip(0.5 - distance / width, 0, 1)


def _pill(x: Array, y: Array, half: float, radius: float) -> Array:
    return np.hypot(x, np.maximum(np.abs(y) - half, 0)) - radius


def _arc(x: Array, y: Array, radius: float, thick: float, *, up: bool) -> Array:
    """Half a ring, open below (up) or above."""
    y = y if up else -y
    below = np.hypot(np.abs(x) - radius, y)
    return np.where(y > 0, np.abs(np.hypot(x, y) - radius), below) - thick


def eyes(x: Array, y: Array) -> Array:
    """Two bright eyes and a small smile."""
    both = np.minimum(_pill(x - 0.24, y - 0.04, 0.055, 0.072), _pill(x + 0.24, y - 0.04, 0.055, 0.072))
    return np.minimum(both, _arc(x, y + 0.12, 0.075, 0.022, up=False))


def happy(x: Array, y: Array) -> Array:
    """Eyes closed in a smile, mouth open a little."""
    both = np.minimum(_arc(x - 0.24, y, 0.1, 0.038, up=True), _arc(x + 0.24, y, 0.1, 0.038, up=True))
    return np.minimum(both, _arc(x, y + 0.13, 0.09, 0.026, up=False))


def asleep(x: Array, y: Array) -> Array:
    """Eyes shut: nothing to see, nothing to say."""
    both = np.minimum(_arc(x - 0.24, y + 0.02, 0.1, 0.034, up=False), _arc(x + 0.24, y + 0.02, 0.1, 0.034, up=False))
    return np.minimum(both, np.hypot(np.maximum(np.abs(x) - 0.03, 0), y + 0.2) - 0.02)


def wink(x: Array, y: Array) -> Array:
    left = _pill(x + 0.24, y - 0.04, 0.05, 0.075)
    right = _arc(x - 0.24, y, 0.1, 0.038, up=True)
    return np.minimum(np.minimum(left, right), _arc(x - 0.02, y + 0.12, 0.085, 0.024, up=False))


def timer(x: Array, y: Array) -> Array:
    """A ring three quarters full, with two hands."""
    angle = np.arctan2(x, y) % (2 * pi)
    track = np.abs(np.hypot(x, y) - 0.27) - 0.036
    track = np.where(angle < 1.5 * pi, track, np.minimum(np.hypot(x, y - 0.27), np.hypot(x + 0.27, y)) - 0.036)
    ticking = np.minimum(_stroke(x, y, 0.0, 0.0, 0.0, 0.15), _stroke(x, y, 0.0, 0.0, -0.1, -0.03))
    return np.minimum(track, ticking - 0.026)


def sunrise(x: Array, y: Array) -> Array:
    """Half a sun over a line, seven rays around it."""
    low = y + 0.13
    disc = np.where(low > 0, np.hypot(x, low) - 0.145, np.hypot(np.maximum(np.abs(x) - 0.145, 0), low))
    line = np.hypot(np.maximum(np.abs(x) - 0.34, 0), low + 0.075) - 0.024
    out = np.minimum(disc, line)
    for k in range(5):
        a = pi * (k + 0.5) / 5
        ray = _stroke(x, low, 0.215 * cos(a), 0.215 * sin(a), 0.295 * cos(a), 0.295 * sin(a))
        out = np.minimum(out, ray - 0.024)
    return out


def _stroke(x: Array, y: Array, x0: float, y0: float, x1: float, y1: float) -> Array:
    dx, dy = x1 - x0, y1 - y0
    u = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - x0 - u * dx, y - y0 - u * dy)


def _screen(face: Face, color: str) -> Paint:
    """Dark glass with a face of light, and the glow around it."""
    ink, shine = linear("#120d26"), linear(color)
    cheeks = linear(CORAL) * np.float32(0.0 if face in {timer, sunrise} else 0.3)

    def paint(p: Array) -> tuple[Array, Array]:
        x, y = p[0], p[1] - _SCREEN
        d = face(x, y)
        halo = 0.16 * np.exp(-np.maximum(d, 0) * 13)
        blush = np.exp(-(((np.abs(x) - 0.4) / 0.075) ** 2 + ((y + 0.13) / 0.05) ** 2))
        glow = np.where(p[2] > 0.5, shine * (1.05 * _near(d, 0.008) + halo) + cheeks * blush, 0)
        return ink, glow.astype(np.float32)

    return paint


def _lamp(color: str) -> Paint:
    shine = linear(color)
    return lambda p: (shine, shine * np.float32(0.55))


def pip(face: Face, color: str = SKY, *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, wave: float = 0.0) -> Model:
    """The robot. yaw, pitch, roll: of its head, in degrees. wave: how far the left arm is raised, 0-1."""
    head = (
        Part(box((0, 1.47, 0), (0.80, 0.60, 0.54), 0.40), CREAM),
        Part(slab((0, 1.47, 0.44), (0.625, 0.43, 0.145), 0.26, 0.045), INK, 1.0, _screen(face, color)),
        Part(box((0.82, 1.47, 0), (0.13, 0.22, 0.22), 0.11), CORAL, 0.4),
        Part(box((-0.82, 1.47, 0), (0.13, 0.22, 0.22), 0.11), CORAL, 0.4),
        Part(stick((0, 2.02, 0), (0, 2.3, 0), 0.035), CREAM),
        Part(ball((0, 2.4, 0), 0.12), color, 0.5, _lamp(color)),
    )
    lift = wave * 1.9
    hand = (0.48 + 0.5 * sin(0.45 + lift * 0.5), 0.74 - 0.42 * cos(0.45 + lift), 0.12 + 0.22 * wave)
    body = (
        Part(box((0, 0.54, 0), (0.46, 0.46, 0.38), 0.34), CREAM),
        Part(ring((0, 0.965, 0), 0.24, 0.075), CORAL, 0.4),
        Part(stick((0.44, 0.74, 0), hand, 0.115), CORAL, 0.4),
        Part(stick((-0.44, 0.74, 0), (-0.68, 0.36, 0.14), 0.115), CORAL, 0.4),
        Part(box((0.23, 0.09, 0.08), (0.19, 0.09, 0.25), 0.088), CORAL, 0.4),
        Part(box((-0.23, 0.09, 0.08), (0.19, 0.09, 0.25), 0.088), CORAL, 0.4),
        Part(ball((0, 0.56, 0.355), 0.062), SUN, 0.5, _lamp(SUN)),
    )
    return (Group(head, (0.0, 0.98, 0.0), turn(yaw, pitch, roll)), Group(body))


def _notices(p: Array) -> tuple[Array, Array]:
    """A lock screen full of notices, each with its little coloured icon."""
    x, y = p[0], p[1] - 1.3
    glow = linear("#241a55") + np.clip(y / 2.4 + 0.5, 0, 1) * (linear("#5b3fd0") - linear("#241a55"))
    for k, cx in enumerate((-0.3, -0.13, 0.13, 0.3)):
        digit = np.abs(_pill(x - cx, y - 0.8, 0.07, 0.045)) - 0.018 if k else _pill(x - cx, y - 0.8, 0.09, 0.018)
        glow = glow + _near(digit, 0.01) * np.float32(0.85)
    for k, color in enumerate((CORAL, MINT, SUN, "#ff4d8d", SKY)):
        cy = 0.42 - 0.36 * k
        glow = _over(glow, _bar(x, y - cy, 0.46, 0.06) - 0.08, "#f4efff", 0.86)
        glow = _over(glow, _bar(x + 0.4, y - cy, 0.035, 0.035) - 0.04, color)
        for row, half in enumerate((0.16 + 0.04 * (k % 3), 0.27 - 0.05 * (k % 2))):
            glow = _over(glow, _bar(x + 0.25 - half, y - cy - 0.045 + 0.09 * row, half, 0.0) - 0.02, ("#3a3466", "#6b6390")[row])
    return linear("#07050f"), np.where(p[2] > 0.03, glow, 0).astype(np.float32)


def _bar(x: Array, y: Array, half_x: float, half_y: float) -> Array:
    return np.hypot(np.maximum(np.abs(x) - half_x, 0), np.maximum(np.abs(y) - half_y, 0))


def _over(light: Array, distance: Array, color: str, share: float = 1.0) -> Array:
    """A flat shape of light over what is there."""
    mask = _near(distance, 0.01) * np.float32(share)
    return np.asarray(light * (1 - mask) + mask * linear(color))


def phone() -> Model:
    """A phone that cannot leave anybody alone: notices on its screen, red badges in the air around it."""
    slabs = (
        Part(slab((0, 1.3, -0.02), (0.75, 1.28, 0.1), 0.2, 0.06), "#3a3466", 0.7),
        Part(slab((0, 1.3, 0.02), (0.68, 1.21, 0.075), 0.15, 0.02), INK, 0.9, _notices),
    )
    badges = (
        (0.78, 2.45, 0.25, 0.2), (-0.92, 2.05, 0.15, 0.145), (1.0, 1.45, 0.35, 0.12), (-0.86, 0.95, 0.4, 0.17), (0.86, 0.55, 0.45, 0.14),
    )  # fmt: skip
    air = tuple(Part(ball((x, y, z), r), BADGE, 0.7, _lamp(BADGE)) for x, y, z, r in badges)
    return (Group(slabs, (0.0, 1.3, 0.0), turn(-16, -6, 5)), Group(air))


Shot = tuple[Model, Camera, Backdrop]


def _portrait(x: float, y: float, shift: float = -0.15) -> Camera:
    return Camera((x, y, 7.1), (0.0, 1.2, 0.0), 0.66, shift)


def stills() -> dict[str, Shot]:
    """The stills of the product example by name."""
    return {
        "phone": (phone(), Camera((0.4, 1.5, 7.4), (0, 1.25, 0), 0.7, -0.14), Backdrop("#120d2b", "#2c2068", 0.6)),
        "focus": (pip(timer, SUN, yaw=-14, pitch=4), _portrait(-1.5, 1.9), Backdrop("#5a49d6", "#8f80ff")),
        "quiet": (pip(asleep, MINT, yaw=8, pitch=7, roll=5), _portrait(1.4, 1.6), Backdrop("#12a78b", "#5fdcc2")),
        "sunrise": (pip(sunrise, SUN, yaw=6, pitch=-4), _portrait(0.6, 0.9), Backdrop("#ffb52e", "#ffe3a1")),
        "home": (pip(wink, SKY, yaw=-8, roll=6, wave=0.9), _portrait(-0.6, 1.5, -0.13), Backdrop("#f2492b", "#ff8a63")),
    }


def hello(share: float) -> Shot:
    """One moment, 0-1, of a second in which Pip waves twice."""
    swing = sin(4 * pi * share)
    return (
        pip(happy, yaw=10, roll=-5 + 2.5 * sin(2 * pi * share), wave=0.86 + 0.14 * swing),
        _portrait(0.5, 1.5), Backdrop("#ffb088", "#ffd9b8"),
    )  # fmt: skip


def no(share: float) -> Shot:
    """One moment, 0-1, of a second in which Pip shakes its head once."""
    swing = sin(2 * pi * share)
    return (
        pip(eyes, yaw=26 * swing, roll=-3 * swing, pitch=2), _portrait(0.2, 1.5), Backdrop("#fbe3cb", "#fff3e3"),
    )  # fmt: skip
