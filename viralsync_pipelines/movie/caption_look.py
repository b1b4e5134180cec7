"""Styles of captions, the parts of the picture that players leave free, and which of them a caption takes. Pure.

What belongs here: from what a user wrote to a CaptionLook. What does not: words and pages (captions.py), drawing (render/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from viralsync_pipelines.movie.art import CaptionLook, Plate, Rgba, Shadow, Stroke
from viralsync_pipelines.movie.captions import PageLimits
from viralsync_pipelines.movie.layers import Captions
from viralsync_pipelines.movie.lengths import Length
from viralsync_pipelines.movie.picture import Canvas

Side = Literal["bottom", "center", "top"]
_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
_YELLOW, _GREEN = (255, 212, 0, 255), (61, 255, 98, 255)


@dataclass(frozen=True)
class Style:
    """Lengths as shares of the shorter side. words: of a page; of scripts without spaces it takes three times as many pieces."""

    words: int
    seconds: float
    size: float
    weight: int
    lines: int = 2
    stroke: float = 0.0
    highlight: Rgba | None = None
    uppercase: bool = False
    quiet: bool = False
    pops: bool = False
    plate: float = 0.0
    shadow: float = 0.0


STYLES: Mapping[str, Style] = {
    "karaoke": Style(4, 3.0, 0.072, 800, stroke=0.0095, highlight=_YELLOW, quiet=True),
    "pop": Style(3, 2.5, 0.084, 900, stroke=0.012, highlight=_GREEN, uppercase=True, quiet=True, pops=True),
    "boxed": Style(6, 4.0, 0.055, 700, highlight=_YELLOW, plate=0.020),
    "minimal": Style(7, 4.0, 0.048, 600, shadow=0.006),
    "subtitle": Style(14, 6.0, 0.044, 500, stroke=0.004),
}

# Shares of width and height that are kept clear: left, top, right, bottom. What stands over a picture differs by platform; the first is
# their union but for Meta's lower third, from the platforms' own pages and the studios that measured them.
_SAFE: Mapping[str, tuple[float, float, float, float]] = {
    "upright": (0.10, 0.20, 0.10, 0.20),
    "shorts": (0.06, 0.12, 0.14, 0.25),
    "tiktok": (0.10, 0.12, 0.14, 0.22),
    "reels": (0.06, 0.14, 0.06, 0.35),
    "wide": (0.06, 0.07, 0.06, 0.07),
    "none": (0.02, 0.02, 0.02, 0.02),
}
LEAST_SHARE = 0.6
_LINE = 1.18


def look_of(
    captions: Captions, canvas: Canvas, preset: str | None, font_sha: str | None, taken: Sequence[tuple[float, float]]
) -> CaptionLook:  # fmt: skip
    """taken: from which to which height (pixels) other text stands; with position `auto` captions go where there is none."""
    style = STYLES[captions.style]
    short = min(canvas.width, canvas.height)
    box = safe_box(captions.safeArea, canvas, preset)
    size = captions.fontSize.of(canvas.height) if captions.fontSize is not None else style.size * short
    size = min(max(size, 8.0), 0.4 * short)
    weight = captions.fontWeight
    weight = {"normal": 400, "bold": 700}[weight] if isinstance(weight, str) else weight
    stroke = Stroke(captions.stroke.color, captions.stroke.width) if captions.stroke is not None else Stroke(_BLACK, style.stroke * short)
    plate = None
    if captions.background is not None:
        plate = Plate(captions.background.color, captions.background.padding, captions.background.radius)
    elif style.plate:
        plate = Plate((0, 0, 0, 190), style.plate * short, style.plate * short)
    look = CaptionLook(
        captions.fontFamily, font_sha, weight or style.weight, size, size * LEAST_SHARE, captions.color or _WHITE, box, "bottom",
        captions.maxLines or style.lines, _LINE, captions.highlight or style.highlight,
        captions.emphasis.color if captions.emphasis is not None else None, stroke if stroke.width > 0 else None,
        Shadow((0, 0, 0, 200), 0.0, style.shadow * short, 2 * style.shadow * short) if style.shadow else None, plate,
        style.uppercase if captions.uppercase is None else captions.uppercase, style.quiet, style.pops,
    )  # fmt: skip
    if isinstance(captions.position, Length):
        return replace(look, side="center", centre=captions.position.of(canvas.height))
    return replace(look, side=free_side(look, taken) if captions.position == "auto" else captions.position)


def limits_of(captions: Captions, look: CaptionLook, *, glued: bool, cut: bool = False) -> PageLimits:
    """Of a page in this look. glued: in a script without spaces, where what is one word to an engine may be a single sign. cut: whoever
    wrote the captions has cut them; they are parted only when they have more words than asked, or do not fit at the least size."""
    style = STYLES[captions.style]
    if cut:
        return PageLimits(captions.maxWords or 100, 0.9 * look.lines * look.box[2] / look.least, 3_600.0)
    words = captions.maxWords or (style.words * 3 if glued else style.words)
    # Lines are never filled to the last letter.
    return PageLimits(words, 0.9 * look.lines * look.box[2] / look.size, style.seconds)


def safe_box(area: str, canvas: Canvas, preset: str | None) -> tuple[float, float, float, float]:
    """(x, y, width, height) of what a platform leaves free. auto: by the movie's preset, else by its shape."""
    if area == "auto":
        area = preset if preset in {"shorts", "tiktok", "reels"} else "upright" if canvas.height > canvas.width else "wide"
    left, top, right, bottom = _SAFE[area]
    # In the middle of the picture, however unequal the sides are: a caption out of the middle looks like a mistake.
    side = max(left, right)
    return side * canvas.width, top * canvas.height, (1 - 2 * side) * canvas.width, (1 - top - bottom) * canvas.height


def block_height(look: CaptionLook) -> float:
    """Of a full page, with what surrounds its letters."""
    around = 2 * (look.plate.padding if look.plate is not None else look.stroke.width if look.stroke is not None else 0.0)
    return look.lines * look.line_height * look.size + around


def free_side(look: CaptionLook, taken: Sequence[tuple[float, float]]) -> Side:
    """Where the page covers the least of other text; the bottom when it is free."""
    height, (_, y, _, tall) = block_height(look), look.box
    places: dict[Side, float] = {"bottom": y + tall - height, "center": y + (tall - height) / 2, "top": y}

    def covered(side: Side) -> float:
        begin = places[side]
        return sum(max(0.0, min(begin + height, below) - max(begin, above)) for above, below in taken)

    sides: tuple[Side, ...] = ("bottom", "center", "top")
    return min(sides, key=covered)


_EDGES = re.compile(r"^\W+|\W+$")


def emphasised(captions: Captions) -> Callable[[str], bool] | None:
    """Whether a word is one of those that are emphasised."""
    if captions.emphasis is None:
        return None
    wanted = {_bare(word) for word in captions.emphasis.words}
    return lambda word: _bare(word) in wanted


def _bare(word: str) -> str:
    return _EDGES.sub("", word).casefold()
