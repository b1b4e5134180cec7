"""How a layer moves: easings, keyframe tracks, entrances and exits, all evaluated per frame as plain numbers.

What belongs here: values of motion and their evaluation at a frame. What does not: pixels (render/), the spec's wording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sin


@dataclass(frozen=True)
class Key:
    """`value` at `frame` (frames from the layer's first, may be fractional); `easing` leads into this key."""

    frame: float
    value: float
    easing: str = "linear"


Track = tuple[Key, ...]


@dataclass(frozen=True)
class Passage:
    """An entrance or an exit that takes `frames` frames."""

    type: str
    frames: float
    easing: str


@dataclass(frozen=True)
class Framing:
    """A Ken Burns view: centre as shares of the picture, and scale (1 shows all of it)."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class KenBurnsMove:
    start: Framing
    end: Framing
    easing: str


@dataclass(frozen=True)
class Motion:
    """Everything that changes over a layer's life. `tracks` are sorted by property name."""

    tracks: tuple[tuple[str, Track], ...] = ()
    enter: Passage | None = None
    exit: Passage | None = None
    ken_burns: KenBurnsMove | None = None
    reveal: str | None = None

    def track(self, name: str) -> Track | None:
        return next((track for key, track in self.tracks if key == name), None)


@dataclass(frozen=True)
class Pose:
    """A layer at one frame.

    x, y: pixels by which its placed centre is moved. width, height, scale: factors on its placed size. rotation: degrees
    clockwise. opacity: 0-1. wipe: (edge it comes from, share shown) or None. blur: pixels.
    """

    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0
    scale: float = 1.0
    rotation: float = 0.0
    opacity: float = 1.0
    wipe: tuple[str, float] | None = None
    blur: float = 0.0


def _back(u: float) -> float:
    c = 1.70158
    return 1 + (c + 1) * (u - 1) ** 3 + c * (u - 1) ** 2


def _bounce(u: float) -> float:
    n, d = 7.5625, 2.75
    if u < 1 / d:
        return n * u * u
    if u < 2 / d:
        return n * (u - 1.5 / d) ** 2 + 0.75
    if u < 2.5 / d:
        return n * (u - 2.25 / d) ** 2 + 0.9375
    return n * (u - 2.625 / d) ** 2 + 0.984375


# Penner's curves, under the names of CSS where CSS has one.
EASINGS: Mapping[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "ease": lambda u: u * u * (3 - 2 * u),
    "ease-in": lambda u: u * u,
    "ease-out": lambda u: 1 - (1 - u) ** 2,
    "ease-in-out": lambda u: 2 * u * u if u < 0.5 else 1 - 2 * (1 - u) ** 2,
    "ease-in-cubic": lambda u: u**3,
    "ease-out-cubic": lambda u: 1 - (1 - u) ** 3,
    "ease-in-out-cubic": lambda u: 4 * u**3 if u < 0.5 else 1 - 4 * (1 - u) ** 3,
    "ease-out-back": _back,
    "ease-out-bounce": _bounce,
    "step": lambda u: 0.0 if u < 1 else 1.0,
}


def ease(name: str, u: float) -> float:
    """Progress 0-1 bent by an easing; outside of 0-1 it is held."""
    return EASINGS[name](min(1.0, max(0.0, u)))


def value_at(track: Track, frame: float) -> float:
    """The track's value at a frame; held before the first and after the last key."""
    if frame <= track[0].frame:
        return track[0].value
    for before, after in zip(track, track[1:], strict=False):
        if frame < after.frame:
            u = (frame - before.frame) / (after.frame - before.frame)
            return before.value + (after.value - before.value) * ease(after.easing, u)
    return track[-1].value


def is_still(motion: Motion) -> bool:
    """True when nothing about the layer changes but, at most, a linear fade of its opacity."""
    fades = all(p is None or (p.type == "fade" and p.easing == "linear") for p in (motion.enter, motion.exit))
    return fades and not motion.tracks and motion.ken_burns is None and motion.reveal is None


def pose_at(motion: Motion, frame: int, frames: int, size: tuple[float, float], canvas: tuple[int, int]) -> Pose:
    """The pose at `frame` of a layer that lives `frames` frames and is `size` pixels large on a `canvas`.

    Slides come from, and go to, just outside of the canvas; zoom grows from nothing; pop overshoots by a tenth.
    """
    values = {name: value_at(track, frame) for name, track in motion.tracks}
    x, y = values.get("x", 0.0), values.get("y", 0.0)
    scale, opacity = values.get("scale", 1.0), values.get("opacity", 1.0)
    wipe: tuple[str, float] | None = None
    blur = 0.0
    for passage, u in _passages(motion, frame, frames):
        shown = ease(passage.easing, u)
        kind, _, way = passage.type.partition("-")
        if kind == "fade":
            opacity *= shown
        elif kind == "slide":
            dx, dy = _off_canvas(way, size, canvas)
            x, y = x + dx * (1 - shown), y + dy * (1 - shown)
        elif kind == "zoom":
            scale *= max(0.0, shown)
        elif kind == "pop":
            scale *= max(0.0, 1 - (1 - u) ** 3 + 0.35 * sin(pi * u) * u)
        elif kind == "wipe":
            wipe = (way, shown)
        elif kind == "blur":
            blur, opacity = (1 - shown) * 0.04 * max(size), opacity * min(1.0, shown * 2)
    return Pose(
        x, y, values.get("width", 1.0), values.get("height", 1.0), scale, values.get("rotation", 0.0),
        min(1.0, max(0.0, opacity)), wipe, blur,
    )  # fmt: skip


def _passages(motion: Motion, frame: int, frames: int) -> list[tuple[Passage, float]]:
    """Entrances and exits under way at a frame, with how far the layer is in (0 = out, 1 = fully there)."""
    found = []
    if motion.enter is not None and frame < motion.enter.frames:
        found.append((motion.enter, max(0.0, frame / motion.enter.frames)))
    if motion.exit is not None and frame > frames - motion.exit.frames:
        found.append((motion.exit, max(0.0, (frames - frame) / motion.exit.frames)))
    return found


def _off_canvas(way: str, size: tuple[float, float], canvas: tuple[int, int]) -> tuple[float, float]:
    # slide-left moves leftwards, so it starts at the right. Half the layer plus the whole canvas always clears the edge.
    dx, dy = canvas[0] / 2 + size[0] / 2, canvas[1] / 2 + size[1] / 2
    return {"left": (dx, 0.0), "right": (-dx, 0.0), "up": (0.0, dy), "down": (0.0, -dy)}[way]


def view_at(move: KenBurnsMove, frame: int, frames: int) -> tuple[float, float, float]:
    """The part of the picture a Ken Burns move shows at a frame: left edge, top edge and size, as shares of the picture.

    Both ends are first kept inside the picture, then the window goes from one to the other in a straight line, so that
    the view never leaves the picture and every corner moves evenly.
    """
    (x0, y0, s0), (x1, y1, s1) = _window(move.start), _window(move.end)
    u = ease(move.easing, frame / (frames - 1) if frames > 1 else 0.0)
    return x0 + (x1 - x0) * u, y0 + (y1 - y0) * u, s0 + (s1 - s0) * u


def _window(view: Framing) -> tuple[float, float, float]:
    share = 1 / view.scale
    left = min(max(view.x - share / 2, 0.0), 1 - share)
    top = min(max(view.y - share / 2, 0.0), 1 - share)
    return left, top, share
