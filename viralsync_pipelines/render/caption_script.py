"""Pages of captions as an ASS script on a piece's clock: each word stands where it was set, in the colour it has at each frame.

What belongs here: events and their tags. What does not: layout (caption_page.py), fonts (caption_fonts.py), running ffmpeg.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import pysubs2

from viralsync_pipelines.movie.art import CaptionLook, Rgba
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.captions import ShownWord
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.render.caption_page import ASCENT, PlacedPage, PlacedWord
from viralsync_pipelines.render.fontfile import FontFace

# How a word comes that pops: larger than it stays, for so many milliseconds each way.
_POP = r"\fscx70\fscy70\t(0,70,\fscx112\fscy112)\t(70,150,\fscx100\fscy100)"
_PIN = r"{\p1}m 0 0 l 0 0{\p0}"
_PLATE, _SHADOW, _WORD, _LIT = range(4)


def script_of(
    pages: Sequence[tuple[Caption, PlacedPage]], names: Mapping[FontFace, str], canvas: Canvas, count: int
) -> str:  # fmt: skip
    """The script for a window of `count` frames."""
    script = pysubs2.SSAFile()
    script.info = {
        "ScriptType": "v4.00+", "PlayResX": str(canvas.width), "PlayResY": str(canvas.height), "ScaledBorderAndShadow": "yes",
        "WrapStyle": "2", "YCbCr Matrix": "TV.709",
    }  # fmt: skip
    style = pysubs2.SSAStyle(fontname=next(iter(names.values()), "VS0"), fontsize=40, outline=0, shadow=0, encoding=-1)
    style.alignment = pysubs2.Alignment.TOP_LEFT
    script.styles = {"Default": style}
    for caption, page in pages:
        for layer, first, last, text in _events(caption, page, names, canvas.fps):
            begin, end = max(0, first), min(count, last)
            if begin < end:
                script.append(pysubs2.SSAEvent(start=ms_of(begin, canvas.fps), end=ms_of(end, canvas.fps), text=text, layer=layer))
    return script.to_string("ass")


def ms_of(frame: int, fps: Fraction) -> int:
    """A time that libass takes for the start of this frame: ASS knows hundredths of seconds only, and the frame before lies 16 ms back."""
    return int(frame * 100 / fps) * 10


def _events(caption: Caption, page: PlacedPage, names: Mapping[FontFace, str], fps: Fraction) -> Iterator[tuple[int, int, int, str]]:
    look = caption.look
    if look.plate is not None:
        yield _PLATE, caption.first, caption.last, _plate(look, page)
    for placed in page.words:
        word = caption.words[placed.number]
        text = _text(placed, names)
        if not text:
            continue
        colour = look.strong if word.strong and look.strong is not None else look.color
        if look.shadow is not None:
            yield _SHADOW, _begin(caption, word), caption.last, _shadow(look, placed, page.size) + text
        for layer, first, last, lit in _states(caption, word):
            shown = look.highlight if lit and look.highlight is not None else colour
            pops = look.pops and lit
            yield layer, first, last, _tags(look, placed, page.size, shown, pops=pops) + text


def _begin(caption: Caption, word: ShownWord) -> int:
    return word.first if caption.look.pops else caption.first


def _states(caption: Caption, word: ShownWord) -> Iterator[tuple[int, int, int, bool]]:
    """(layer, first, last, whether it is spoken) of a word that is lit while it is spoken; one state where nothing is lit."""
    if caption.look.highlight is None and not caption.look.pops:
        yield _WORD, caption.first, caption.last, False
        return
    if word.first > caption.first and not caption.look.pops:
        yield _WORD, caption.first, word.first, False
    yield _LIT, word.first, word.last, True
    if word.last < caption.last:
        yield _WORD, word.last, caption.last, False


def _tags(look: CaptionLook, placed: PlacedWord, size: float, colour: Rgba, *, pops: bool) -> str:
    stroke = ""
    if look.stroke is not None:
        stroke = rf"\bord{look.stroke.width:.2f}{_colour(3, look.stroke.color)}"
    if look.pops:
        # Grown about its own middle.
        x, y = placed.x + placed.width / 2, placed.baseline + (0.5 - ASCENT) * size
        return rf"{{\an5\pos({x:.2f},{y:.2f})\fs{size:.3f}{_colour(1, colour)}{stroke}{_POP if pops else ''}}}"
    return rf"{{\pos({placed.x:.2f},{placed.baseline - ASCENT * size:.2f})\fs{size:.3f}{_colour(1, colour)}{stroke}}}"


def _shadow(look: CaptionLook, placed: PlacedWord, size: float) -> str:
    shadow = look.shadow
    assert shadow is not None  # noqa: S101 - asked before
    x, y = placed.x + shadow.x, placed.baseline - ASCENT * size + shadow.y
    return rf"{{\pos({x:.2f},{y:.2f})\fs{size:.3f}{_colour(1, shadow.color)}\blur{shadow.blur / 2:.2f}}}"


def _plate(look: CaptionLook, page: PlacedPage) -> str:
    plate = look.plate
    assert plate is not None  # noqa: S101 - asked before
    x0, y0, x1, y1 = page.box
    # Lines are higher than letters: as much room above and below as at the sides, by eye.
    inset = 0.08 * page.size
    x, y = x0 - plate.padding, y0 - plate.padding + inset
    width, height = x1 - x0 + 2 * plate.padding, y1 - y0 + 2 * (plate.padding - inset)
    radius = min(plate.radius, width / 2, height / 2)
    return rf"{{\pos({x:.2f},{y:.2f}){_colour(1, plate.color)}\p1}}{_rounded(width, height, radius)}{{\p0}}"


def _rounded(width: float, height: float, radius: float) -> str:
    """A box with round corners as an ASS drawing. A quarter of a circle is a curve whose handles reach 0.5523 of the radius."""
    w, h, r = round(width), round(height), round(radius)
    k = round(radius * (1 - 0.5523))
    return (
        f"m {r} 0 l {w - r} 0 b {w - k} 0 {w} {k} {w} {r} l {w} {h - r} b {w} {h - k} {w - k} {h} {w - r} {h} "
        f"l {r} {h} b {k} {h} 0 {h - k} 0 {h - r} l 0 {r} b 0 {k} {k} 0 {r} 0"
    )


def _colour(number: int, colour: Rgba) -> str:
    red, green, blue, alpha = colour
    return rf"\{number}c&H{blue:02X}{green:02X}{red:02X}&\{number}a&H{255 - alpha:02X}&"


def _text(placed: PlacedWord, names: Mapping[FontFace, str]) -> str:
    """The word by its fonts. What has colours of its own is left out: bitmaps come in its place."""
    parts = []
    for face, text in placed.runs:
        if not face.colour:
            style = (r"\b1" if face.embolden else "") + (r"\i1" if face.slant else "")
            parts.append(rf"{{\fn{names[face]}{style}}}{escaped(text)}")
    # libass takes a word to begin with the first glyph of its first cluster, and where that is a dot over an Arabic letter the word stood
    # 24 pixels too far left. A drawing without any width at each end says where it begins, whichever way it is read.
    return _PIN + "".join(parts) + _PIN if parts else ""


def escaped(text: str) -> str:
    """Letters and nothing else to libass: braces open tags, and a backslash may begin a line break."""
    # A word joiner after it: libass shows a backslash that nothing it knows follows.
    return text.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}").replace("\n", " ")
