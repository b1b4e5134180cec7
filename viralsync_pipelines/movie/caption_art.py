"""A page of captions as a value of the plan: its frames, its words and theirs, its look; cut to windows as everything that is seen.

What belongs here: the value, and what of its text is shown. What does not: how it came to be (captioned.py), drawing (render/).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace

from viralsync_pipelines.movie.art import CaptionLook, TextArt
from viralsync_pipelines.movie.captions import ShownWord, joined


@dataclass(frozen=True)
class Caption:
    """A page on screen: frames [first, first + frames) of its window; `first` may lie before the window, as may its words' frames."""

    first: int
    frames: int
    words: tuple[ShownWord, ...]
    look: CaptionLook

    @property
    def last(self) -> int:
        return self.first + self.frames

    @property
    def text(self) -> str:
        return joined(self.words)


def shortened(caption: Caption, last: int) -> Caption:
    words = tuple(replace(word, first=min(word.first, last), last=min(word.last, last)) for word in caption.words)
    return replace(caption, frames=max(0, last - caption.first), words=words)


@dataclass(frozen=True)
class InOrder:
    """Captions by their first frame, and the longest of them, so that a window finds its own among thousands."""

    captions: tuple[Caption, ...]
    longest: int


def in_order(captions: Iterable[Caption]) -> InOrder:
    found = tuple(sorted(captions, key=lambda caption: caption.first))
    return InOrder(found, max((caption.frames for caption in found), default=0))


def cut_captions(captions: InOrder, first: int, count: int) -> tuple[Caption, ...]:
    """The captions as a window of `count` frames from `first` sees them, in the window's own frames."""
    start = bisect_left(captions.captions, first - captions.longest, key=lambda caption: caption.first)
    stop = bisect_left(captions.captions, first + count, key=lambda caption: caption.first)
    return tuple(_moved(caption, -first) for caption in captions.captions[start:stop] if caption.last > first)


def _moved(caption: Caption, by: int) -> Caption:
    words = tuple(replace(word, first=word.first + by, last=word.last + by) for word in caption.words)
    return replace(caption, first=caption.first + by, words=words)


def text_of(caption: Caption) -> TextArt:
    """The page as it is set: the fonts that draw it are part of its clip's key."""
    look = caption.look
    text = joined([replace(word, text=shown_text(word, look)) for word in caption.words])
    width = max(1, int(look.box[2]))
    return TextArt(
        text, look.family, look.font_sha, look.weight, False, look.size, None, look.color, "center", look.line_height, 0.0, width, None,
    )  # fmt: skip


_QUIET = ",.;:、，。；：।"  # noqa: RUF001 - of other scripts


def shown_text(word: ShownWord, look: CaptionLook) -> str:
    """The word as it is shown. Of what it ends with, an ellipsis and what is more than a pause stay."""
    text = word.text
    if look.quiet and not text.endswith(("..", "…")):
        text = text.rstrip(_QUIET) or text
    return text.upper() if look.uppercase else text
