"""Captions of a piece made ready for ffmpeg: the script and fonts for libass, and bitmaps of emoji, which it cannot draw in colour.

What belongs here: bringing these together. What does not: each of them (caption_page.py, caption_script.py, caption_fonts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.filters import Delivered, Lettered
from viralsync_pipelines.movie.motion import Motion
from viralsync_pipelines.movie.picture import Canvas, Look, Placement, Visual
from viralsync_pipelines.render.artwork import Easel
from viralsync_pipelines.render.caption_fonts import lay_fonts
from viralsync_pipelines.render.caption_page import PlacedPage, PlacedWord, place_page
from viralsync_pipelines.render.caption_script import script_of
from viralsync_pipelines.render.fontfile import FontFace

if TYPE_CHECKING:
    from viralsync_pipelines.render.moving import Table


def letter(captions: Sequence[Caption], canvas: Canvas, easel: Easel, table: Table, scratch: Path, count: int) -> Lettered:
    """What ffmpeg needs to burn them. Raises FontError."""
    pages = [(each, place_page(each, easel.fonts, easel.path_of(each.look.font_sha) if each.look.font_sha else None)) for each in captions]
    texts: dict[FontFace, str] = {}
    for _, page in pages:
        for word in page.words:
            for face, text in word.runs:
                if not face.colour:
                    texts[face] = texts.get(face, "") + text
    folder = scratch / "caption-fonts"
    names = lay_fonts(texts, folder)
    script = scratch / "captions.ass"
    script.write_text(script_of(pages, names, canvas, count), encoding="utf-8")
    emoji = [pair for caption, page in pages for pair in _emoji(caption, page, canvas, easel, table, count)]
    return Lettered(str(script), str(folder), tuple(visual for visual, _ in emoji), tuple(given for _, given in emoji))


def _emoji(caption: Caption, page: PlacedPage, canvas: Canvas, easel: Easel, table: Table, count: int) -> list[tuple[Visual, Delivered]]:
    found = []
    for placed in page.words:
        coloured = [n for n, (face, _) in enumerate(placed.runs) if face.colour]
        if not coloured:
            continue
        word = caption.words[placed.number]
        begin = max(0, word.first if caption.look.pops else caption.first)
        end = min(count, caption.last)
        if begin >= end:
            continue
        for n in coloured:
            pixels, x, y = _bitmap(caption, placed, n, page.size, easel, canvas)
            if pixels is None:
                continue
            name = table.keep(pixels)
            given = Delivered("still", name, x, y, pixels.shape[1], pixels.shape[0])
            place = Placement(float(x), float(y), 0, 0, pixels.shape[1], pixels.shape[0])
            found.append((Visual(begin, end - begin, place, Look(), Motion(), _art(placed.runs[n][1], page.size)), given))
    return found


def _art(text: str, size: float) -> TextArt:
    return TextArt(text, "emoji", None, 400, False, size, None, (255, 255, 255, 255), "left", 1.0, 0.0, 10_000, None)


def _bitmap(caption: Caption, placed: PlacedWord, number: int, size: float, easel: Easel, canvas: Canvas) -> tuple[Any, int, int]:
    """An emoji's pixels and where on the canvas they stand, on even pixels and cut to it; None when nothing of it is there."""
    import numpy as np

    from viralsync_pipelines.render.lettering import draw_text

    drawn = draw_text(_art(placed.runs[number][1], size), easel.fonts)
    before = _advance(placed, number, size, easel)
    # The art's own baseline, found as typeset.py lays it: lines of one em.
    x = floor(placed.x + before - drawn.inset[0] + 0.5)
    y = floor(placed.baseline - _baseline(placed.runs[number], size, easel) - drawn.inset[1] + 0.5)
    pixels = drawn.pixels
    left, top = max(0, -x), max(0, -y)
    pixels = pixels[top : max(top, canvas.height - y), left : max(left, canvas.width - x)]
    x, y = x + left, y + top
    if 0 in pixels.shape[:2]:
        return None, 0, 0
    return np.ascontiguousarray(np.pad(pixels, ((y % 2, 0), (x % 2, 0), (0, 0)))), x - x % 2, y - y % 2


def _set(text: str, size: float, easel: Easel) -> Any:
    from viralsync_pipelines.render.glyphs import font_chooser, primary_face
    from viralsync_pipelines.render.typeset import set_text

    art = _art(text, size)
    return set_text(art, font_chooser(art, easel.fonts, None), primary_face(art, easel.fonts, None))


def _baseline(run: tuple[FontFace, str], size: float, easel: Easel) -> float:
    return float(_set(run[1], size, easel).lines[0].baseline)


def _advance(placed: PlacedWord, number: int, size: float, easel: Easel) -> float:
    """How far into its word the emoji begins. Most stand alone; in a word the others' share of its width is taken."""
    if number == 0:
        return 0.0
    lengths = [len(text) for _, text in placed.runs]
    own = float(_set(placed.runs[number][1], size, easel).width)
    others = sum(lengths) - lengths[number]
    return (placed.width - own) * sum(lengths[:number]) / max(1, others)
