"""Setting text: from a TextArt and fonts to lines of placed glyphs, with a box for every cluster. Draws nothing.

What belongs here: line filling, size fitting, bidirectional order, alignment.
What does not: glyphs and their advances (shaping.py), pixels (lettering.py). Coordinates are pixels, x right and y down
from the top left of the text's box, which is `box_width` wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.render.bidi import visual_order
from viralsync_pipelines.render.fontfile import EM, FontFace, open_font
from viralsync_pipelines.render.shaping import Paragraph, by_cluster, clean_text, runs_of, shape, shape_paragraph


@dataclass(frozen=True)
class PlacedGlyph:
    """A glyph id and the place of its origin on the baseline, in pixels."""

    gid: int
    x: float
    y: float


@dataclass(frozen=True)
class GlyphRun:
    """Glyphs of one face, left to right."""

    face: FontFace
    glyphs: tuple[PlacedGlyph, ...]


@dataclass(frozen=True)
class PlacedCluster:
    """One visible grapheme cluster in reading order: its text, line and word number, and its advance box."""

    text: str
    line: int
    word: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class SetLine:
    """One line: its left edge, width without trailing spaces, top, height, baseline, and its runs from left to right."""

    x: float
    width: float
    top: float
    height: float
    baseline: float
    runs: tuple[GlyphRun, ...]


@dataclass(frozen=True)
class SetText:
    """A set block. `size` is the size used, `width` the widest line's; `height` that of all lines."""

    size: float
    width: float
    height: float
    lines: tuple[SetLine, ...]
    clusters: tuple[PlacedCluster, ...]


def set_text(art: TextArt, choose: Callable[[str], FontFace | None], primary: FontFace) -> SetText:
    """Set the art's text. `choose` must give a face for every cluster; those without one take `primary`."""
    paragraphs: list[Paragraph] = []
    words = 0
    for text in clean_text(art.text).split("\n"):
        paragraphs.append(shape_paragraph(text, choose, primary, art.letter_spacing, words))
        words = paragraphs[-1].words[-1] + 1 if text else words
    size = art.size if art.fit is None else _fitting_size(art, art.fit, paragraphs)
    lines: list[SetLine] = []
    clusters: list[PlacedCluster] = []
    for paragraph in paragraphs:
        for start, end in _fill(paragraph, size, art.letter_spacing, art.box_width, True) or []:
            line, boxes = _set_line(paragraph, start, end, len(lines), size, art, primary)
            lines.append(line)
            clusters += boxes
    width = max((line.width for line in lines), default=0.0)
    return SetText(size, width, len(lines) * art.line_height * size, tuple(lines), tuple(clusters))


def _fill(p: Paragraph, size: float, spacing: float, width: float, may_cut: bool) -> list[tuple[int, int]] | None:
    """Cluster ranges of the lines. None when a piece is wider than the box and may not be cut."""
    scale = size / EM

    def extent(start: int, end: int) -> float:
        count = p.spaced[end] - p.spaced[start]
        return (p.advance[end] - p.advance[start]) * scale + spacing * max(0, count - 1)

    lines: list[tuple[int, int]] = []
    start = done = 0
    for visible, end in p.segments:
        if extent(start, max(visible, start)) > width + 0.01:
            if done > start:
                lines.append((start, done))
                start = done
            if extent(start, max(visible, start)) > width + 0.01:
                if not may_cut:
                    return None
                for k in range(start + 1, visible):
                    if extent(start, k + 1) > width + 0.01:
                        lines.append((start, k))
                        start = k
        done = end
    lines.append((start, len(p.clusters)))
    return lines


def _fitting_size(art: TextArt, bounds: tuple[float, float], paragraphs: Sequence[Paragraph]) -> float:
    """The largest size whose lines fit the box, to a quarter pixel. Words are cut only when even the smallest needs it."""
    low, high = min(bounds), max(bounds)

    def fits(size: float, may_cut: bool) -> bool:
        count = 0
        for paragraph in paragraphs:
            lines = _fill(paragraph, size, art.letter_spacing, art.box_width, may_cut)
            if lines is None:
                return False
            count += len(lines)
        return art.box_height is None or count * art.line_height * size <= art.box_height + 0.01

    for may_cut in (False, True):
        if not fits(low, may_cut):
            continue
        good, bad = low, high
        if fits(high, may_cut):
            return high
        while bad - good > 0.25:
            middle = (good + bad) / 2
            good, bad = (middle, bad) if fits(middle, may_cut) else (good, middle)
        return good
    return low


def _set_line(
    p: Paragraph, start: int, end: int, number: int, size: float, art: TextArt, primary: FontFace
) -> tuple[SetLine, list[PlacedCluster]]:
    scale = size / EM
    while end > start and p.blank[end - 1]:
        end -= 1
    text, origin = p.text[: p.starts[end]], p.starts[start]
    runs = runs_of(p.faces, p.scripts, p.levels, start, end)
    spans: dict[int, tuple[float, float]] = {}
    placed: list[tuple[FontFace, list[PlacedGlyph]]] = []
    pen = trailing = 0.0
    for r in visual_order([p.levels[i] for i, _ in runs]):
        i, j = runs[r]
        spaced = art.letter_spacing if p.spaced[j] > p.spaced[i] else 0.0
        starts = [s - origin for s in p.starts[: j + 1]]
        shaped = shape(text[origin:], starts[i], starts[j], p.faces[i], p.scripts[i], p.levels[i], spaced != 0)
        glyphs: list[PlacedGlyph] = []
        for first, last, advance, members in by_cluster(shaped, starts, i, j):
            left = pen
            for gid, _, step, dx, dy in members:
                if not p.blank[first]:
                    glyphs.append(PlacedGlyph(gid, pen + dx * scale, -dy * scale))
                pen += step * scale
            share = advance * scale / (last - first)
            for n, k in enumerate(range(first, last) if not p.levels[i] & 1 else reversed(range(first, last))):
                spans[k] = (left + n * share, left + (n + 1) * share)
            pen += spaced
        trailing = spaced
        placed.append((p.faces[i], glyphs))
    width = max(0.0, pen - trailing)
    side = {"start": "right" if p.base else "left", "end": "left" if p.base else "right"}.get(art.align, art.align)
    x = (art.box_width - width) * {"left": 0.0, "center": 0.5, "right": 1.0}[side]
    height = art.line_height * size
    top = number * height
    extents = open_font(primary).get_font_extents("ltr")
    content = (extents.ascender - extents.descender) * scale
    # A whole-pixel baseline keeps the feet of letters sharp.
    baseline = float(round(top + (height - content) / 2 + extents.ascender * scale))
    moved = [
        GlyphRun(face, tuple(PlacedGlyph(g.gid, g.x + x, g.y + baseline) for g in glyphs)) for face, glyphs in placed
    ]
    boxes = [
        PlacedCluster(p.clusters[k], number, p.words[k], x + spans[k][0], top, x + spans[k][1], top + height)
        for k in range(start, end)
        if not p.blank[k] and k in spans
    ]
    return SetLine(x, width, top, height, baseline, tuple(moved)), boxes
