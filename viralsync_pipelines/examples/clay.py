"""A small studio for clay models: solids as signed distances, marched and lit in numpy, so that the examples' pictures come from code.

What belongs here: solids, light, one picture. What does not: what is modelled (robot.py). Points are (3, n) float32 arrays, y up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Solid = Callable[[Array], Array]
# Points on a surface -> (albedo, glow), both (3, n) linear.
Paint = Callable[[Array], tuple[Array, Array]]
Triple = tuple[float, float, float]

_FAR = 30.0
_STEPS = 64
_TOUCH = 0.0015
# Every model stands inside this ball (its middle, and the square of its radius): what misses it is paper.
_MIDDLE, _REACH = np.array(((0,), (1.25,), (0,)), np.float32), np.float32(1.75**2)
# Where the big soft lamp stands, seen from the model.
_LAMP = np.array(((-0.48,), (0.74,), (0.47,)), np.float32)


@dataclass(frozen=True)
class Part:
    """A solid and its surface. gloss: 0 matt clay to 1 glass. paint: what to use instead of one colour."""

    solid: Solid
    color: str
    gloss: float = 0.3
    paint: Paint | None = None


@dataclass(frozen=True)
class Group:
    """Parts that are turned together: by `matrix` (3 x 3) about `pivot`."""

    parts: tuple[Part, ...]
    pivot: Triple = (0.0, 0.0, 0.0)
    matrix: Array = field(default_factory=lambda: np.eye(3, dtype=np.float32))

    def local(self, p: Array) -> Array:
        """World points as the parts see them."""
        c = np.array(self.pivot, np.float32)[:, None]
        return np.asarray(self.matrix.T @ (p - c) + c)


Model = tuple[Group, ...]


@dataclass(frozen=True)
class Camera:
    """eye and aim in model units; lens: height of the picture at distance 1; shift: how far the picture is moved up, in heights."""

    eye: Triple
    aim: Triple
    lens: float
    shift: float = 0.0


@dataclass(frozen=True)
class Backdrop:
    """A seamless paper: its colour above and below, and how bright the room is."""

    top: str
    bottom: str
    light: float = 1.0


def linear(color: str) -> Array:
    """#rrggbb as linear light, shape (3, 1)."""
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], np.float32)[:, None] / 255
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4), np.float32)


def _length(*axes: Array) -> Array:
    return np.asarray(np.sqrt(sum(axis * axis for axis in axes)))


def box(centre: Triple, half: Triple, radius: float) -> Solid:
    """A box of half sizes `half`, its edges rounded by `radius`."""

    def distance(p: Array) -> Array:
        x, y, z = (np.abs(p[i] - centre[i]) - np.float32(half[i] - radius) for i in range(3))
        inside = np.minimum(np.maximum(np.maximum(x, y), z), 0)
        return np.asarray(_length(np.maximum(x, 0), np.maximum(y, 0), np.maximum(z, 0)) + inside - np.float32(radius))

    return distance


def slab(centre: Triple, half: Triple, corner: float, edge: float) -> Solid:
    """A plate in the xy plane: corners rounded by `corner`, edges by `edge`."""

    def distance(p: Array) -> Array:
        x, y = (np.abs(p[i] - centre[i]) - np.float32(half[i] - corner) for i in range(2))
        rim = _length(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - np.float32(corner - edge)
        z = np.abs(p[2] - centre[2]) - np.float32(half[2] - edge)
        return np.asarray(_length(np.maximum(rim, 0), np.maximum(z, 0)) + np.minimum(np.maximum(rim, z), 0) - np.float32(edge))

    return distance


def ball(centre: Triple, radius: float) -> Solid:
    return lambda p: _length(p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]) - np.float32(radius)


def stick(a: Triple, b: Triple, radius: float) -> Solid:
    """A capsule from a to b."""
    way = tuple(q - p for p, q in zip(a, b, strict=True))
    square = sum(w * w for w in way)

    def distance(p: Array) -> Array:
        x, y, z = (p[i] - a[i] for i in range(3))
        u = np.clip((x * way[0] + y * way[1] + z * way[2]) / square, 0, 1)
        return _length(x - u * way[0], y - u * way[1], z - u * way[2]) - np.float32(radius)

    return distance


def ring(centre: Triple, radius: float, thick: float) -> Solid:
    """A torus lying flat."""
    return lambda p: _length(_length(p[0] - centre[0], p[2] - centre[2]) - np.float32(radius), p[1] - centre[1]) - np.float32(thick)


def turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """The rotation matrix of three angles in degrees (about y, x, z)."""
    y, x, z = (np.radians(v) for v in (yaw, pitch, roll))
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z, np.float32)


def picture(model: Model, camera: Camera, backdrop: Backdrop, size: tuple[int, int]) -> Array:
    """The model on its paper: height x width x 3 uint8. Edges are sampled nine times."""
    width, height = size
    x, y = (axis.ravel().astype(np.float32) for axis in np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    color, part = _shoot(model, camera, backdrop, x, y, size)
    color = _encoded(color)
    seam = np.zeros((height, width), bool)
    for plane, step in ((part.reshape(height, width), 0.5), (color.mean(0).reshape(height, width), 0.04)):
        seam[:, 1:] |= np.abs(np.diff(plane, axis=1)) > step
        seam[1:] |= np.abs(np.diff(plane, axis=0)) > step
    seam[:, :-1] |= seam[:, 1:].copy()
    seam[:-1] |= seam[1:].copy()
    again = np.flatnonzero(seam.ravel())
    shifts = [(dx, dy) for dx in (-1 / 3, 0, 1 / 3) for dy in (-1 / 3, 0, 1 / 3)]
    fine = sum(_encoded(_shoot(model, camera, backdrop, x[again] + dx, y[again] + dy, size)[0]) for dx, dy in shifts)
    color[:, again] = fine / len(shifts)
    # Half a step of fixed noise hides the bands that eight bits would show in a smooth paper.
    noise = np.random.default_rng(7).uniform(-0.9, 0.9, color.shape[1])
    return np.asarray(np.clip(color * 255 + noise + 0.5, 0, 255).T.reshape(height, width, 3), np.uint8)


def _encoded(light: Array) -> Array:
    """Linear light to sRGB 0-1, highlights rolled off."""
    light = np.where(light > 0.8, 0.8 + 0.2 * np.tanh((light - 0.8) * 4), light)
    return np.asarray(np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055), np.float32)


def _shoot(model: Model, camera: Camera, backdrop: Backdrop, x: Array, y: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Linear colour of the pixels at (x, y), and the number of the part each one shows (-1 paper)."""
    width, height = size
    eye, aim = np.array(camera.eye), np.array(camera.aim)
    ahead = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(ahead, (0, 1, 0))
    right /= np.linalg.norm(right)
    sx, sy = (x - width / 2) / height * camera.lens, (0.5 - y / height - camera.shift) * camera.lens
    ray = ahead[:, None] + sx * right[:, None] + sy * np.cross(right, ahead)[:, None]
    ray = (ray / _length(*ray)).astype(np.float32)
    start = eye.astype(np.float32)[:, None]
    share = np.clip(y / height, 0, 1)
    share = share * share * (3 - 2 * share)
    # A pool of light behind the model.
    pool = 1 + 0.16 * np.exp(-(((x / width - 0.5) / 0.55) ** 2 + ((y / height - 0.52 - camera.shift) / 0.34) ** 2))
    paper = ((linear(backdrop.top) * (1 - share) + linear(backdrop.bottom) * share) * pool).astype(np.float32)
    far = _march(model, start, ray)
    floor = np.where(ray[1] < -1e-4, -eye[1] / np.minimum(ray[1], -1e-4), _FAR * 9).astype(np.float32)
    color, part = paper.copy(), np.full(ray.shape[1], -1)
    ground = np.flatnonzero((floor < far) & (floor < _FAR))
    color[:, ground] *= _grounded(model, start + ray[:, ground] * floor[ground])
    hit = np.flatnonzero((far < _FAR) & (far <= floor))
    if len(hit):
        color[:, hit], part[hit] = _lit(model, start + ray[:, hit] * far[hit], ray[:, hit], paper[:, hit], backdrop.light)
    return color, part


def _distances(model: Model, p: Array) -> list[Array]:
    """From every part, in order."""
    found = []
    for group in model:
        q = group.local(p)
        found += [part.solid(q) for part in group.parts]
    return found


def _nearest(model: Model, p: Array) -> Array:
    return np.asarray(np.minimum.reduce(_distances(model, p)))


def _march(model: Model, start: Array, ray: Array) -> Array:
    """Distance along each ray to the model, _FAR or more when it misses."""
    centre = _MIDDLE - start
    along = (ray * centre).sum(0)
    half = _REACH - ((centre * centre).sum() - along * along)
    far = np.full(ray.shape[1], _FAR * 2, np.float32)
    live = np.flatnonzero(half > 0)
    half = np.sqrt(half[live])
    t, end = np.maximum(along[live] - half, 0), along[live] + half
    for _ in range(_STEPS):
        if not len(live):
            break
        near = _nearest(model, start + ray[:, live] * t)
        done = near < _TOUCH
        far[live[done]] = t[done]
        t = t + near * np.float32(0.97)
        stay = ~done & (t < end)
        live, t, end = live[stay], t[stay], end[stay]
    return far


def _shadow(model: Model, p: Array) -> Array:
    """Light that reaches each point from the lamp: 0 dark, 1 full. Penumbras widen with distance, as a soft box throws them."""
    away = _MIDDLE - p
    along = (away * _LAMP).sum(0)
    light = np.ones(p.shape[1], np.float32)
    live = np.flatnonzero(((away * away).sum(0) - along * along < 1.5 * _REACH) & (along > -1.75))
    t = np.full(len(live), 0.03, np.float32)
    for _ in range(30):
        near = _nearest(model, p[:, live] + _LAMP * t)
        light[live] = np.minimum(light[live], 0.5 + 0.5 * near / (0.16 * t))
        t = t + np.clip(near, 0.02, 0.22)
        # Done: fully dark, or above the model.
        stay = (light[live] > 0) & (p[1, live] + _LAMP[1] * t < 2.7)
        live, t = live[stay], t[stay]
    light = np.clip(light, 0, 1)
    return np.asarray(light * light * (3 - 2 * light))


def _openness(model: Model, p: Array, n: Array, reach: float) -> Array:
    """How much of the room a point sees (ambient occlusion)."""
    shut = np.zeros(p.shape[1], np.float32)
    for k in range(1, 6):
        step = reach * k / 5
        shut += np.maximum(step - _nearest(model, p + n * np.float32(step)), 0) / step * 0.78**k
    return np.clip(1 - 0.5 * shut, 0.18, 1)


def _grounded(model: Model, p: Array) -> Array:
    """The factor by which the paper is darkened by what stands on it."""
    out = np.ones((3, p.shape[1]), np.float32)
    near = np.flatnonzero(_length(p[0], p[2]) < 4)
    up = np.array(((0,), (1,), (0,)), np.float32)
    lamp = _shadow(model, p[:, near] + np.float32(0.004) * up)
    dark = (0.52 + 0.48 * lamp) * (0.35 + 0.65 * _openness(model, p[:, near], up, 0.9))
    # Shadows keep some of the paper's colour.
    out[:, near] = np.stack([dark**0.92, dark, dark**0.96])
    return out


def _lit(model: Model, p: Array, ray: Array, paper: Array, light: float) -> tuple[Array, Array]:
    which = np.stack(_distances(model, p)).argmin(0)
    n = np.zeros_like(p)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        way = np.array(corner, np.float32)[:, None]
        n += way * _nearest(model, p + way * np.float32(0.002))
    n /= np.maximum(_length(*n), 1e-6)
    albedo, glow, gloss = _surfaces(model, p, which)
    lamp, room = _shadow(model, p + n * np.float32(0.02)), _openness(model, p, n, 0.45)
    facing = np.clip(((n * _LAMP).sum(0) + 0.22) / 1.22, 0, 1)
    sky = np.clip(n[1] * 0.5 + 0.5, 0, 1)
    around = paper * 0.75 * (1 - sky) + (0.45 + 0.35 * paper) * sky
    color = albedo * light * (1.08 * facing * lamp + 0.62 * around * room)
    # A second lamp behind, to the right, draws the rim.
    view = np.clip(-(n * ray).sum(0), 0, 1)
    back = np.clip(0.75 * n[0] + 0.35 * n[1] - 0.56 * n[2], 0, 1)
    color += (1 - view) ** 2.5 * (0.10 + 0.55 * back) * light * room * (0.5 + 0.5 * paper)
    mirror = ray - 2 * (ray * n).sum(0) * n
    window = _soft_box(mirror) * (0.05 + 0.6 * (1 - view) ** 4) * gloss * 2.2 * light
    spot = np.clip((mirror * _LAMP).sum(0), 0, 1) ** (12 + 90 * gloss) * gloss * 0.55 * light * lamp
    return np.asarray(color + window + spot + glow, np.float32), which


def _surfaces(model: Model, p: Array, which: Array) -> tuple[Array, Array, Array]:
    """Albedo, glow and gloss of each point."""
    albedo, glow, gloss = np.zeros_like(p), np.zeros_like(p), np.zeros(p.shape[1], np.float32)
    number = 0
    for group in model:
        for part in group.parts:
            mine = np.flatnonzero(which == number)
            number += 1
            if len(mine):
                gloss[mine] = part.gloss
                shown = part.paint(group.local(p[:, mine])) if part.paint is not None else (linear(part.color), np.float32(0))
                albedo[:, mine], glow[:, mine] = shown
    return albedo, glow, gloss


def _soft_box(mirror: Array) -> Array:
    """What glossy surfaces mirror: a wide lamp above on the left, with soft edges."""
    y = np.maximum(mirror[1], 1e-3)
    u, v = mirror[0] / y + 0.65, -mirror[2] / y + 0.5
    edge = np.maximum(np.abs(u) / 0.75, np.abs(v) / 1.1)
    return np.where(mirror[1] > 0, np.clip((1.25 - edge) / 0.5, 0, 1), 0).astype(np.float32)
