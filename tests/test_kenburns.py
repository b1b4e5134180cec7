"""Cutting a view out of a picture: the fast way and the plain one show the same, in luma and in chroma."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import Pixels
from viralsync_pipelines.movie.motion import Framing, KenBurnsMove, Motion
from viralsync_pipelines.movie.picture import Canvas, Footage, Look, Placement, Visual
from viralsync_pipelines.render import kenburns
from viralsync_pipelines.render.kenburns import Axis, ken_burns_frames, show, yuv_planes

WIDE, TALL = 120, 200


def plane(seed: int, wide: int = 150, tall: int = 250) -> Pixels:
    """Detail at every scale but the finest."""
    rng = np.random.default_rng(seed)
    return cv2.normalize(cv2.GaussianBlur(rng.integers(0, 256, (tall, wide)).astype(np.float32), (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def exact(of: Pixels, x: Axis, y: Axis) -> Pixels:
    """Linear interpolation in floating point, edges repeated."""

    def taps(axis: Axis, size: int) -> tuple[Pixels, Pixels, Pixels]:
        at = axis.begin + (np.arange(axis.count) + 0.5) * axis.step - 0.5
        low = np.floor(at).astype(int)
        return np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1), at - low

    left, right, u = taps(x, of.shape[1])
    top, bottom, v = taps(y, of.shape[0])
    rows = of[top].astype(float) * (1 - v)[:, None] + of[bottom] * v[:, None]
    return rows[:, left] * (1 - u) + rows[:, right] * u


@settings(max_examples=150, deadline=None)
@given(st.floats(0.15, 1.25), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_a_view_is_what_linear_interpolation_says(step: float, across: float, down: float, seed: int) -> None:
    """Whichever way it is made: within what a 64th of a sample makes on this picture's steepest slope, and rounding."""
    of = plane(seed)
    x = Axis(across * (of.shape[1] - WIDE * step), step, WIDE) if WIDE * step <= of.shape[1] else Axis(0, of.shape[1] / WIDE, WIDE)
    y = Axis(down * (of.shape[0] - TALL * step), step, TALL) if TALL * step <= of.shape[0] else Axis(0, of.shape[0] / TALL, TALL)
    out = np.empty((TALL, WIDE), np.uint8)
    show(kenburns._framed(of), x, y, out)
    slope = sum(np.abs(np.diff(of.astype(float), axis=axis)).max() for axis in (0, 1))
    assert np.abs(out - exact(of, x, y)).max() <= slope / 64 + 1.5


@given(st.floats(0, 4000), st.floats(0.05, 8))
def test_a_grid_that_begins_earlier_falls_on_the_wanted_one(begin: float, step: float) -> None:
    found = Axis(begin, step, 100).start()
    if found is not None:
        before, sample = found
        assert abs(sample + before * step - begin) <= kenburns._NEAR + 1e-9
        assert 0 <= before <= kenburns._BEFORE
        assert sample >= -kenburns._FRAME


def test_most_frames_of_a_zoom_are_made_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure the fast way was built for; all others go through warpAffine, as all once did."""
    slow = []
    real = cv2.warpAffine
    monkeypatch.setattr(cv2, "warpAffine", lambda *a: (slow.append(1), real(*a))[1])
    of = kenburns._framed(plane(1, 1296, 2304))
    out = np.empty((1920, 1080), np.uint8)
    for k in range(120):
        share = 1 / (1 + 0.2 * k / 119)
        show(of, Axis((1 - share) / 2 * 1296, share * 1.2, 1080), Axis((1 - share) / 2 * 2304, share * 1.2, 1920), out)
    assert len(slow) < 24


def visual(move: KenBurnsMove, frames: int) -> Visual:
    footage = Footage("0" * 64, "png", "", (WIDE, TALL), (0, 0, WIDE, TALL), moving=False)
    return Visual(0, frames, Placement(0, 0, 0, 0, WIDE, TALL), Look(), Motion(ken_burns=move), footage)


def test_a_view_of_all_of_a_picture_of_the_canvas_size_is_that_picture() -> None:
    """Chroma was once a quarter of its sample, half a pixel, to the right of where it belongs."""
    rng = np.random.default_rng(5)
    planes = yuv_planes(rng.integers(0, 256, (TALL, WIDE, 3)).astype(np.uint8))
    whole = KenBurnsMove(Framing(0.5, 0.5, 1.0), Framing(0.5, 0.5, 1.0), "linear")
    (frame,) = (bytes(f) for f in ken_burns_frames(visual(whole, 1), Canvas(WIDE, TALL, Fraction(30)), 0, 1, [planes]))
    assert frame == b"".join(p.tobytes() for p in planes)


@pytest.mark.parametrize("scale", [1.0, 1.13, 1.5])
def test_colour_stays_on_the_edge_it_belongs_to(scale: float) -> None:
    """A picture that turns from red to blue within 40 of its pixels: both colour planes pass the middle where luma does, at any zoom."""
    tall, wide = 2 * TALL, 2 * WIDE
    turned = np.clip((np.arange(wide) + 0.5 - wide / 2) / 40 + 0.5, 0, 1)
    picture = np.zeros((tall, wide, 3), np.uint8)
    picture[..., 0] = np.rint(255 * (1 - turned))
    picture[..., 2] = np.rint(255 * turned)
    move = KenBurnsMove(Framing(0.5, 0.5, scale), Framing(0.5, 0.5, scale), "linear")
    (data,) = (bytes(f) for f in ken_burns_frames(visual(move, 1), Canvas(WIDE, TALL, Fraction(30)), 0, 1, [yuv_planes(picture)]))
    flat = np.frombuffer(data, np.uint8).astype(float)
    luma = flat[: WIDE * TALL].reshape(TALL, WIDE)[TALL // 2]
    chroma = flat[WIDE * TALL :].reshape(2, TALL // 2, WIDE // 2)[:, TALL // 4]

    def edge(row: Pixels, unit: float, offset: float) -> float:
        """Where a row passes half way between its ends, in canvas pixels from the left."""
        half = (row[0] + row[-1]) / 2
        at = int(np.flatnonzero((row[:-1] - half) * (row[1:] - half) <= 0)[0])
        return (at + (half - row[at]) / (row[at + 1] - row[at])) * unit + offset

    assert edge(luma, 1, 0.5) == pytest.approx(WIDE / 2, abs=0.05)
    for row in chroma:
        # Sample j lies on the middle of luma column 2j.
        assert edge(row, 2, 0.5) == pytest.approx(WIDE / 2, abs=0.15)


def test_the_last_planes_stay_when_a_clip_ends_early() -> None:
    first, second = ([p.copy() for p in yuv_planes(np.full((TALL, WIDE, 3), level, np.uint8))] for level in (60, 200))
    move = KenBurnsMove(Framing(0.5, 0.5, 1.0), Framing(0.5, 0.5, 1.2), "linear")
    frames = [bytes(f)[0] for f in ken_burns_frames(visual(move, 5), Canvas(WIDE, TALL, Fraction(30)), 0, 5, [tuple(first), tuple(second)])]
    assert frames[1:] == [frames[1]] * 4
    assert frames[0] != frames[1]
    assert frames[0] == first[0][0, 0]
