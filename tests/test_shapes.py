"""Shapes fill their box with smooth edges, exact colours and true areas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viralsync_pipelines.movie.art import Gradient, Rgba, ShapeArt, Stroke
from viralsync_pipelines.render.shapes import draw_shape

RED: Rgba = (255, 0, 0, 255)
BLUE: Rgba = (0, 0, 255, 255)


def test_a_rectangle_fills_its_box_exactly() -> None:
    assert (draw_shape(ShapeArt("rect", 40, 30, (10, 20, 30, 128), None, 0.0)) == (10, 20, 30, 128)).all()


@pytest.mark.parametrize("radius", [0.0, 8.0, 25.0, 1000.0])
def test_rounded_corners_take_away_what_geometry_says(radius: float) -> None:
    alpha = draw_shape(ShapeArt("rect", 120, 80, RED, None, radius))[..., 3] / 255.0
    r = min(radius, 40.0)
    assert alpha.sum() == pytest.approx(120 * 80 - (4 - math.pi) * r * r, rel=0.003)


@pytest.mark.parametrize(("width", "height"), [(100, 100), (200, 60), (33, 91)])
def test_an_ellipse_has_its_area_and_smooth_edges(width: int, height: int) -> None:
    alpha = draw_shape(ShapeArt("ellipse", width, height, RED, None, 0.0))[..., 3] / 255.0
    assert alpha.sum() == pytest.approx(math.pi * width * height / 4, rel=0.005)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 20
    assert np.allclose(alpha, alpha[::-1], atol=0.01)
    assert np.allclose(alpha, alpha[:, ::-1], atol=0.01)


@pytest.mark.parametrize("shape", ["rect", "ellipse"])
def test_a_stroke_lies_inside_the_edge(shape: str) -> None:
    pixels = draw_shape(ShapeArt(shape, 100, 60, RED, Stroke(BLUE, 10.0), 12.0))  # type: ignore[arg-type]
    assert tuple(pixels[30, 3]) == BLUE
    assert tuple(pixels[3, 50]) == BLUE
    assert tuple(pixels[30, 50]) == RED
    assert tuple(pixels[30, 13]) == RED


def test_a_stroke_without_fill_leaves_a_hole() -> None:
    pixels = draw_shape(ShapeArt("rect", 50, 50, (0, 0, 0, 0), Stroke(BLUE, 4.0), 0.0))
    assert pixels[25, 25, 3] == 0
    assert tuple(pixels[1, 25]) == BLUE


def test_a_line_runs_through_the_middle_with_the_strokes_width() -> None:
    pixels = draw_shape(ShapeArt("line", 100, 20, RED, Stroke(BLUE, 4.0), 0.0))
    assert tuple(pixels[10, 50]) == BLUE
    assert pixels[3, 50, 3] == 0
    assert pixels[..., 3].sum() / 255 == pytest.approx(400)


def test_gradients_run_as_in_css() -> None:
    """0 degrees rises, 90 goes right, and both corners have the end colours."""
    right = draw_shape(ShapeArt("rect", 256, 10, Gradient((RED, BLUE), 90.0), None, 0.0))
    assert right[5, 0, 0] > 250
    assert right[5, 255, 2] > 250
    assert abs(int(right[5, 128, 0]) - 127) <= 2
    up = draw_shape(ShapeArt("rect", 10, 256, Gradient((RED, BLUE), 0.0), None, 0.0))
    assert up[255, 5, 0] > 250
    assert up[0, 5, 2] > 250
    corner = draw_shape(ShapeArt("rect", 200, 100, Gradient((RED, BLUE), 45.0), None, 0.0))
    assert corner[99, 0, 0] > 250
    assert corner[0, 199, 2] > 250


def test_fading_to_transparent_keeps_the_colour() -> None:
    pixels = draw_shape(ShapeArt("rect", 200, 4, Gradient((RED, (0, 0, 0, 0)), 90.0), None, 0.0))
    assert pixels[2, 100, 0] > 250
    assert abs(int(pixels[2, 100, 3]) - 127) <= 2


@given(
    st.sampled_from(["rect", "ellipse", "line"]),
    st.integers(0, 60),
    st.integers(0, 60),
    st.floats(0, 200),
    st.floats(0, 200),
)
def test_any_size_draws(shape: str, width: int, height: int, stroke: float, radius: float) -> None:
    art = ShapeArt(shape, width, height, RED, Stroke(BLUE, stroke), radius)  # type: ignore[arg-type]
    assert draw_shape(art).shape == (max(1, height), max(1, width), 4)
