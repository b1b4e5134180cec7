"""Drawing text: glyphs, outline, shadow and plate become one straight RGBA bitmap in which nothing is cut off.

What belongs here: the plan-time check, bounds, layering of plate, shadow, stroke and letters, groups for a reveal.
What does not: shaping and lines (typeset.py), font choice (glyphs.py), masks (raster.py), placing it on the canvas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from viralsync_pipelines.errors import FontError, Problem, RenderError
from viralsync_pipelines.movie.art import Rgba, TextArt
from viralsync_pipelines.render.fontfile import EM, FontFace, open_font
from viralsync_pipelines.render.fonts import FontBook
from viralsync_pipelines.render.glyphs import Missing, font_chooser, missing_glyphs, primary_face
from viralsync_pipelines.render.raster import Floats, blurred, emoji_layer, glyph_mask, outline
from viralsync_pipelines.render.shapes import Pixels, box_mask, paint_box
from viralsync_pipelines.render.shaping import clusters_of
from viralsync_pipelines.render.typeset import SetText, set_text

MAX_CHARS = 20_000
MAX_SIDE = 16_384  # pixels; a canvas has at most 3840
MAX_AREA = 48_000_000  # pixels: 190 MB of RGBA, six full 4K frames
Reveal = Literal["typewriter", "words", "lines"]


@dataclass(frozen=True)
class ClusterBox:
    """A visible cluster's advance box in bitmap pixels, with its line and word number (both count from 0)."""

    text: str
    line: int
    word: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Lettering:
    """Drawn text.

    pixels: height x width x 4 uint8, straight RGBA. inset: (left, top) of the text box inside the bitmap, in pixels;
    the box is `block` = (box width, height of all lines). ink: (x0, y0, x1, y1) of the lines without stroke, shadow and plate.
    reach: how far stroke and overhang may go beyond a cluster's box, pixels. size: the em size used.
    """

    pixels: Pixels
    inset: tuple[int, int]
    block: tuple[float, float]
    ink: tuple[float, float, float, float]
    clusters: tuple[ClusterBox, ...]
    lines: int
    size: float
    reach: float


def check_text(art: TextArt, book: FontBook, font_file: Path | None, pointer: str) -> list[Problem]:
    """Everything that would keep `draw_text` from drawing the art as meant, each with a remedy."""
    if len(art.text) > MAX_CHARS:
        message = f"the text has {len(art.text)} characters; split it into layers of at most {MAX_CHARS}"
        return [Problem(pointer, "TEXT_TOO_LONG", message)]
    try:
        choose = font_chooser(art, book, font_file)
        clusters = clusters_of(art.text)
        missing = missing_glyphs(clusters, choose)
        if not missing:
            _bounds(set_text(art, choose, primary_face(art, book, font_file)), art)
    except (FontError, RenderError) as error:
        return [Problem(pointer, error.code, error.message)]
    return [_missing(gap, pointer) for gap in missing]


def check_glyphs(art: TextArt, book: FontBook, font_file: Path | None, pointer: str) -> list[Problem]:
    """As check_text, for a text of any length that is drawn in parts."""
    try:
        missing = missing_glyphs(clusters_of(art.text), font_chooser(art, book, font_file))
    except (FontError, RenderError) as error:
        return [Problem(pointer, error.code, error.message)]
    return [_missing(gap, pointer) for gap in missing]


def _missing(gap: Missing, pointer: str) -> Problem:
    return Problem(pointer, "GLYPH_MISSING", f"no font at hand has the {gap.script} {_name_chars(gap.chars)}: {gap.remedy}")


def faces_used(art: TextArt, book: FontBook, font_file: Path | None = None) -> tuple[FontFace, ...]:
    """Every face that draws the art, the one that sets the lines first. Their `identity` belongs into the cache key."""
    choose = font_chooser(art, book, font_file)
    drawing = [choose(cluster) for cluster in clusters_of(art.text)]
    return tuple(dict.fromkeys([primary_face(art, book, font_file), *(face for face in drawing if face)]))


def draw_text(art: TextArt, book: FontBook, font_file: Path | None = None) -> Lettering:
    """Draw the art. The same art and fonts give the same bytes.

    Raises FontError (FONT_NOT_FOUND, FONT_UNREADABLE, GLYPH_MISSING) and RenderError (TEXT_TOO_LONG, TEXT_TOO_LARGE).
    """
    if len(art.text) > MAX_CHARS:
        raise RenderError(f"the text is longer than {MAX_CHARS} characters; split it into layers", code="TEXT_TOO_LONG")
    choose = font_chooser(art, book, font_file)
    for gap in missing_glyphs(clusters_of(art.text), choose):
        raise FontError(f"no font has the {gap.script} {_name_chars(gap.chars)}: {gap.remedy}", code="GLYPH_MISSING")
    block = set_text(art, choose, primary_face(art, book, font_file))
    x0, y0, x1, y1 = _bounds(block, art)
    width, height = x1 - x0, y1 - y0
    ink = _ink(block)
    shifted = (ink[0] - x0, ink[1] - y0, ink[2] - x0, ink[3] - y0)
    return Lettering(
        pixels=_compose(art, block, x0, y0, width, height, shifted),
        inset=(-x0, -y0),
        block=(float(art.box_width), block.height),
        ink=shifted,
        clusters=tuple(
            ClusterBox(c.text, c.line, c.word, c.x0 - x0, c.y0 - y0, c.x1 - x0, c.y1 - y0) for c in block.clusters
        ),
        lines=len(block.lines),
        size=block.size,
        reach=(art.stroke.width if art.stroke else 0.0) + 0.1 * block.size,
    )


def reveal_boxes(lettering: Lettering, mode: Reveal) -> list[tuple[ClusterBox, ...]]:
    """Clusters in the groups that appear together, in reading order: each alone, by word, or by line."""
    if mode == "typewriter":
        return [(box,) for box in lettering.clusters]
    key = (lambda box: box.word) if mode == "words" else (lambda box: box.line)
    return [tuple(group) for _, group in groupby(lettering.clusters, key=key)]


def _name_chars(chars: Sequence[str]) -> str:
    shown = ", ".join(f"{char} (U+{ord(char):04X})" for char in chars[:8])
    more = f" and {len(chars) - 8} more" if len(chars) > 8 else ""
    return f"character{'' if len(chars) == 1 else 's'} {shown}{more}"


def _ink(block: SetText) -> tuple[float, float, float, float]:
    """The box around the lines that hold anything; the whole first line's place when none does."""
    filled = [line for line in block.lines if line.width > 0] or list(block.lines[:1])
    right = max(line.x + line.width for line in filled)
    return min(line.x for line in filled), filled[0].top, right, filled[-1].top + filled[-1].height


def glyph_edges(block: SetText) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) around all outlines, in box coordinates: letters reach out of their lines, those of Arabic by a tenth of the size.
    x0 > x1 when there are none."""
    x0, y0, x1, y1 = math.inf, math.inf, -math.inf, -math.inf
    scale = block.size / EM
    for line in block.lines:
        for run in line.runs:
            font = open_font(run.face)
            for glyph in run.glyphs:
                box = font.get_glyph_extents(glyph.gid)
                if box is None:
                    continue
                left, up = glyph.x + box.x_bearing * scale, glyph.y - box.y_bearing * scale
                x0, x1 = min(x0, left), max(x1, left + box.width * scale)
                y0, y1 = min(y0, up), max(y1, up - box.height * scale)
    return x0, y0, x1, y1


def _bounds(block: SetText, art: TextArt) -> tuple[int, int, int, int]:
    """The bitmap's edges in box coordinates, so that glyphs, stroke, shadow and plate all fit."""
    stroke = art.stroke.width if art.stroke else 0.0
    left, up, right, down = glyph_edges(block)
    x0, y0, x1, y1 = min(0.0, left - stroke), min(0.0, up - stroke), max(art.box_width, right + stroke), max(block.height, down + stroke)
    if art.shadow:
        spread = _shadow_reach(art.shadow.blur)
        x0, x1 = min(x0, x0 + art.shadow.x - spread), max(x1, x1 + art.shadow.x + spread)
        y0, y1 = min(y0, y0 + art.shadow.y - spread), max(y1, y1 + art.shadow.y + spread)
    if art.background:
        ink, pad = _ink(block), art.background.padding
        x0, y0 = min(x0, ink[0] - pad), min(y0, ink[1] - pad)
        x1, y1 = max(x1, ink[2] + pad), max(y1, ink[3] + pad)
    edges = (math.floor(x0) - 2, math.floor(y0) - 2, math.ceil(x1) + 2, math.ceil(y1) + 2)
    width, height = edges[2] - edges[0], edges[3] - edges[1]
    if max(width, height) > MAX_SIDE or width * height > MAX_AREA:
        raise RenderError(
            f"the text would be {width}x{height} pixels; make it shorter or smaller, or use autoFit", code="TEXT_TOO_LARGE"
        )
    return edges


def _shadow_reach(blur: float) -> float:
    return 3.0 * blur / 2  # three standard deviations


def _compose(
    art: TextArt, block: SetText, x0: int, y0: int, width: int, height: int, ink: tuple[float, float, float, float]
) -> Pixels:
    """Plate, shadow, outline, letters and emoji, bottom to top."""
    foreground = art.paint if isinstance(art.paint, tuple) else (255, 255, 255, 255)
    mask = glyph_mask(block, x0, y0, width, height, 1).astype(np.float32) / 255.0
    emoji = emoji_layer(block, x0, y0, width, height, foreground)
    stroke = None
    if art.stroke and art.stroke.width > 0:
        stroke = outline(block, x0, y0, width, height, art.stroke.width)
    canvas = np.zeros((height, width, 4), np.float32)
    if art.background:
        pad = art.background.padding
        plate = box_mask(width, height, ink[0] - pad, ink[1] - pad, ink[2] + pad, ink[3] + pad, art.background.radius)
        if block.clusters:
            _over(canvas, art.background.color, plate)
    if art.shadow:
        body = mask if stroke is None else np.maximum(mask, stroke)
        if emoji is not None:
            body = np.maximum(body, emoji[..., 3] / 255.0)
        _over(canvas, art.shadow.color, blurred(body, art.shadow.x, art.shadow.y, art.shadow.blur))
    if stroke is not None and art.stroke:
        _over(canvas, art.stroke.color, stroke)
    _over_paint(canvas, art, mask, ink)
    if emoji is not None:
        canvas *= 1.0 - emoji[..., 3:] / 255.0
        canvas += emoji
    alpha = canvas[..., 3:]
    canvas[..., :3] *= 255.0 / np.maximum(alpha, 1e-3)
    canvas += 0.5
    return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def _over(canvas: Floats, colour: Rgba, mask: Floats) -> None:
    """Premultiplied source-over of one colour through a mask."""
    alpha = mask * np.float32(colour[3] / 255.0)
    canvas *= (1.0 - alpha)[..., None]
    canvas += alpha[..., None] * np.array([*colour[:3], 255], np.float32)


def _over_paint(canvas: Floats, art: TextArt, mask: Floats, ink: tuple[float, float, float, float]) -> None:
    if isinstance(art.paint, tuple):
        _over(canvas, art.paint, mask)
        return
    height, width = mask.shape
    left, top = math.floor(ink[0]), math.floor(ink[1])
    block = paint_box(art.paint, max(1, math.ceil(ink[2]) - left), max(1, math.ceil(ink[3]) - top))
    rows = np.clip(np.arange(height) - top, 0, block.shape[0] - 1)
    columns = np.clip(np.arange(width) - left, 0, block.shape[1] - 1)
    colour = block[rows][:, columns]
    alpha = mask * (colour[..., 3] / 255.0)
    canvas *= (1.0 - alpha)[..., None]
    canvas[..., :3] += alpha[..., None] * colour[..., :3]
    canvas[..., 3] += 255.0 * alpha
