"""Drawn layers as values: text, shapes and pictures with every length resolved to pixels and every colour to RGBA.

What belongs here: what a drawing step needs, and no more, so that equal values mean equal pixels.
What does not: drawing (render/), spec models with percentages and defaults (spec.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from viralsync_pipelines.movie.mix import Cue

Rgba = tuple[int, int, int, int]
Align = Literal["left", "center", "right", "start", "end"]


@dataclass(frozen=True)
class Gradient:
    """A linear gradient: evenly spaced `stops` along `angle` degrees clockwise from straight up, as in CSS."""

    stops: tuple[Rgba, ...]
    angle: float = 180.0


Paint = Rgba | Gradient


@dataclass(frozen=True)
class Stroke:
    """An outline of `width` pixels, drawn outside the glyph or along a shape's edge."""

    color: Rgba
    width: float


@dataclass(frozen=True)
class Shadow:
    """A drop shadow moved by (x, y) pixels and blurred with a Gaussian whose standard deviation is `blur` / 2."""

    color: Rgba
    x: float
    y: float
    blur: float


@dataclass(frozen=True)
class Plate:
    """A filled box behind text: `padding` pixels around the lines, corners of `radius` pixels."""

    color: Rgba
    padding: float
    radius: float


@dataclass(frozen=True)
class TextArt:
    """A block of text to be set in a box.

    family: CSS-like family name, or None for the default; font_sha: the sha256 of a font file that replaces the family.
    size: pixels per em. fit: (min, max) sizes when the largest size that fits the box is to be found instead.
    box_width: wrap width in pixels. box_height: None when the block may be as tall as it needs.
    line_height: multiple of the size. letter_spacing: pixels added after each cluster.
    """

    text: str
    family: str | None
    font_sha: str | None
    weight: int
    italic: bool
    size: float
    fit: tuple[float, float] | None
    paint: Paint
    align: Align
    line_height: float
    letter_spacing: float
    box_width: int
    box_height: int | None
    background: Plate | None = None
    stroke: Stroke | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True)
class ShapeArt:
    """A rectangle, ellipse or line that fills a box of `width` x `height` pixels."""

    shape: Literal["rect", "ellipse", "line"]
    width: int
    height: int
    paint: Paint
    stroke: Stroke | None
    radius: float


@dataclass(frozen=True)
class CaptionLook:
    """How a page of captions looks and where it may stand, in pixels.

    size: pixels per em, never below `least` when a page is made to fit. box: (x, y, width, height) that nothing of it leaves; side: where
    in the box it lies, or `centre` the height of its middle. lines: how many at most. highlight: colour of the word that is spoken;
    strong: of emphasised words. quiet: commas and full stops at the ends of words are left out. pops: words come one by one.
    """

    family: str | None
    font_sha: str | None
    weight: int
    size: float
    least: float
    color: Rgba
    box: tuple[float, float, float, float]
    side: Literal["bottom", "center", "top"]
    lines: int
    line_height: float
    highlight: Rgba | None = None
    strong: Rgba | None = None
    stroke: Stroke | None = None
    shadow: Shadow | None = None
    plate: Plate | None = None
    uppercase: bool = False
    quiet: bool = False
    pops: bool = False
    centre: float | None = None


@dataclass(frozen=True)
class ProgressArt:
    """A bar in a box of `width` x `height` pixels: at frame n of its layer, (passed + n + 1) / total of the box is filled."""

    bar: Rgba
    background: Rgba | None
    width: int
    height: int
    passed: int
    total: int


@dataclass(frozen=True)
class WaveArt:
    """Sound drawn in a box of `width` x `height` pixels, anew for each frame.

    cues: what is looked at, with `at` on the layer's own clock, in samples at 48 kHz. reach: samples in view, around the middle of a
    frame's time. bars: how many of them stand side by side, 0 for a line. thick: pixels of the line, and the least height of a bar.
    """

    color: Rgba
    width: int
    height: int
    bars: int
    thick: float
    fps: Fraction
    reach: int
    cues: tuple[Cue, ...]


# What is drawn anew for each of its frames.
Redrawn = ProgressArt | WaveArt
