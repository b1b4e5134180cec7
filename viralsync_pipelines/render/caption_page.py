"""Setting a page of captions: lines that are as long as each other, at a size at which they fit, and the place of every word.

What belongs here: layout in pixels of the canvas. What does not: how words are coloured and when (caption_script.py), pixels (libass).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from pathlib import Path

from viralsync_pipelines.movie.art import CaptionLook, TextArt
from viralsync_pipelines.movie.caption_art import Caption, shown_text, text_of
from viralsync_pipelines.render.fontfile import FontFace
from viralsync_pipelines.render.fonts import FontBook
from viralsync_pipelines.render.glyphs import font_chooser, primary_face
from viralsync_pipelines.render.lettering import glyph_edges
from viralsync_pipelines.render.linebreak import is_blank, split_clusters
from viralsync_pipelines.render.typeset import PlacedCluster, SetText, set_text

Chooser = Callable[[str], FontFace | None]
# Of the height of an em: where a line's box has its baseline (caption_fonts.py gives every font the same measures).
ASCENT = 0.8
_STEPS = 7


@dataclass(frozen=True)
class PlacedWord:
    """A word, or the part of one that stands on a line. runs: its text by font, in reading order. x, baseline: of its start, pixels;
    width: its advance. number: which of the page's words it is."""

    number: int
    runs: tuple[tuple[FontFace, str], ...]
    x: float
    baseline: float
    width: float


@dataclass(frozen=True)
class PlacedPage:
    """size: pixels per em that are used. box: (x0, y0, x1, y1) of all lines, without outline and plate."""

    size: float
    words: tuple[PlacedWord, ...]
    box: tuple[float, float, float, float]
    lines: int


def place_page(caption: Caption, fonts: FontBook, font_file: Path | None) -> PlacedPage:
    """The page at the largest size, down to its least, at which it has no more lines than it may and keeps inside its box."""
    look, art = caption.look, text_of(caption)
    choose, primary = font_chooser(art, fonts, font_file), primary_face(art, fonts, font_file)
    around = _around(look)
    width = max(1, int(look.box[2] - 2 * around))
    steps = [look.size - (look.size - look.least) * step / _STEPS for step in range(_STEPS + 1)]
    block, lines = None, 0
    for size in steps:
        wide = replace(art, size=size, box_width=width)
        block = set_text(wide, choose, primary)
        lines = len(block.lines)
        _, up, _, down = _edges(block)
        fits = lines <= look.lines and down - up + 2 * around <= look.box[3] and block.width <= width + 0.5
        if fits and not _cuts_words(block, caption):
            break
    assert block is not None  # noqa: S101 - there is a first step
    narrow = _balanced(replace(art, size=block.size), width, lines, choose, primary)
    block = set_text(replace(art, size=block.size, box_width=narrow), choose, primary)
    left = look.box[0] + (look.box[2] - narrow) / 2
    top = _top(look, block, around)
    return PlacedPage(
        block.size, tuple(_words(block, caption, choose, primary, left, top)),
        (left + (narrow - block.width) / 2, top, left + (narrow + block.width) / 2, top + block.height), len(block.lines),
    )  # fmt: skip


def _around(look: CaptionLook) -> float:
    """How far outline, plate and the growth of a word that pops reach beyond the letters."""
    stroke = look.stroke.width if look.stroke is not None else 0.0
    plate = look.plate.padding if look.plate is not None else 0.0
    shadow = abs(look.shadow.y) + look.shadow.blur if look.shadow is not None else 0.0
    return max(stroke, plate, shadow) + (0.1 * look.size if look.pops else 0.0)


def _cuts_words(block: SetText, caption: Caption) -> bool:
    """Whether a word of a script with spaces had to be parted: it is wider than a line."""
    glued = any(word.glued for word in caption.words)
    lines: dict[int, set[int]] = {}
    for cluster in block.clusters:
        lines.setdefault(cluster.word, set()).add(cluster.line)
    return not glued and any(len(each) > 1 for each in lines.values())


def _balanced(art: TextArt, width: int, lines: int, choose: Chooser, primary: FontFace) -> int:
    """The narrowest width that takes no more lines: what is left of the last line is shared among all."""
    if lines < 2:
        return width
    low, high = width // (lines + 1), width
    while high - low > max(4, width // 64):
        middle = (low + high) // 2
        block = set_text(replace(art, box_width=middle), choose, primary)
        if len(block.lines) <= lines and block.width <= middle + 0.5:
            high = middle
        else:
            low = middle
    return high


def _edges(block: SetText) -> tuple[float, float, float, float]:
    """Lines and whatever letters reach out of them."""
    left, up, right, down = glyph_edges(block)
    return min(0.0, left), min(0.0, up), max(block.width, right), max(block.height, down)


def _top(look: CaptionLook, block: SetText, around: float) -> float:
    """The height of the first line's top."""
    _, y, _, tall = look.box
    _, up, _, down = _edges(block)
    first, last = y + around - up, y + tall - around - down
    middle = (first + last) / 2 if look.centre is None else look.centre - block.height / 2
    asked = {"bottom": last, "top": first, "center": middle}[look.side]
    return float(min(max(ceil(first), floor(asked)), max(ceil(first), floor(last))))


def _words(block: SetText, caption: Caption, choose: Chooser, primary: FontFace, left: float, top: float) -> list[PlacedWord]:
    """Clusters come in reading order, without blanks; each word takes as many of them as it has."""
    clusters = list(block.clusters)
    found: list[PlacedWord] = []
    at = 0
    for number, word in enumerate(caption.words):
        count = sum(1 for cluster in split_clusters(shown_text(word, caption.look)) if not is_blank(cluster))
        mine, at = clusters[at : at + count], at + count
        for line in sorted({cluster.line for cluster in mine}):
            part = [cluster for cluster in mine if cluster.line == line]
            x0, x1 = min(c.x0 for c in part), max(c.x1 for c in part)
            found.append(PlacedWord(number, _runs(part, choose, primary), left + x0, top + block.lines[line].baseline, x1 - x0))
    return found


def _runs(clusters: Sequence[PlacedCluster], choose: Chooser, primary: FontFace) -> tuple[tuple[FontFace, str], ...]:
    runs: list[tuple[FontFace, str]] = []
    for cluster in clusters:
        face = choose(cluster.text) or primary
        if runs and runs[-1][0] == face and not face.colour:
            runs[-1] = face, runs[-1][1] + cluster.text
        else:
            runs.append((face, cluster.text))
    return tuple(runs)
