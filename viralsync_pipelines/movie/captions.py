"""Words with times, cut into pages that are shown one after the other: never two at once, never more words than asked. Pure.

What belongs here: where a page ends, and from which frame to which it and each of its words is shown. What does not: how pages look and
where they stand (caption_look.py), which words there are (caption_words.py), lines within a page (render/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

# A silence that ends a page, and how long one stays when nothing follows, in seconds.
PAUSE_S, HOLD_S = 0.7, 0.35
_SENTENCE = re.compile(r"[.!?…。！？؟।॥][\"'”’»)\]]*$")  # noqa: RUF001 - full stops of other scripts
_CLAUSE = re.compile(r"[,;:、，；：،—–][\"'”’»)\]]*$")  # noqa: RUF001
# Words that lean on the next one: a page does not end with them when it need not.
_LEANING = frozenset({
    "a", "an", "the", "of", "to", "in", "on", "at", "by", "for", "from", "with", "and", "or", "but", "as", "if", "that", "this",
    "my", "your", "his", "her", "its", "our", "their", "is", "are", "was", "were", "be", "i", "we", "you", "he", "she", "der",
    "die", "das", "den", "dem", "des", "ein", "eine", "einen", "und", "oder", "mit", "von", "zu", "im", "am", "ist", "sind", "le",
    "la", "les", "un", "une", "du", "de", "et", "ou", "en", "à", "est", "el", "los", "las", "y", "o", "con", "por", "para", "il",
    "lo", "gli", "di", "e", "che", "del", "della", "os", "um", "uma", "do", "da", "em", "no", "na", "que", "и", "в", "на", "с",  # noqa: RUF001 - Russian
    "по", "к", "у", "о", "за", "из", "не", "что", "как", "а", "но",  # noqa: RUF001 - Russian
})  # fmt: skip


@dataclass(frozen=True)
class HeardWord:
    """A word and when it is heard: seconds on the clock of whatever stage it is for. glued: no space stands before it.

    ends: a page ends with it, whatever comes next, for whoever wrote it said so. broken: a line begins with it, for the same reason.
    """

    text: str
    start: float
    end: float
    glued: bool = False
    ends: bool = False
    broken: bool = False


@dataclass(frozen=True)
class PageLimits:
    """Of one page: words, width in ems (a Latin letter has 0.55), seconds."""

    words: int
    ems: float
    seconds: float


@dataclass(frozen=True)
class ShownWord:
    """A word on a page, lit from frame `first` until `last` (not included). strong: one that is emphasised."""

    text: str
    first: int
    last: int
    glued: bool = False
    strong: bool = False
    broken: bool = False


@dataclass(frozen=True)
class Page:
    """Words on screen from frame `first` until `last` (not included)."""

    first: int
    last: int
    words: tuple[ShownWord, ...]

    @property
    def text(self) -> str:
        return joined(self.words)


def joined(words: Sequence[HeardWord | ShownWord]) -> str:
    """The words as they are read: with spaces, but where a script has none, and with the line breaks that somebody wrote."""
    return "".join(("" if n == 0 else "\n" if word.broken else "" if word.glued else " ") + word.text for n, word in enumerate(words))


def pages_of(
    words: Sequence[HeardWord],
    limits: PageLimits,
    frame: Callable[[float], int],
    until: int,
    *,
    strong: Callable[[str], bool] | None = None,
    hold: bool = True,
) -> tuple[Page, ...]:
    """Every word in its place, in pages that follow one another. frame: seconds to frames; until: the stage's last frame, not included.
    hold: a page stays for a moment after its last word, or until the next comes; otherwise it ends with that word.

    A word whose time is over before the stage begins, or begins after its end, is left out.
    """
    heard = [word for word in sorted(words, key=lambda word: word.start) if word.text.strip() and frame(word.start) < until]
    heard = [word for word in heard if frame(word.end) > 0 or frame(word.start) >= 0]
    groups = [group for phrase in _phrases(heard) for group in _cut(phrase, limits)]
    firsts: list[int] = []
    for group in groups:
        # Two pages in one frame: the later one a frame later.
        firsts.append(max(0, frame(group[0].start), firsts[-1] + 1 if firsts else 0))
    pages = []
    for number, (group, first) in enumerate(zip(groups, firsts, strict=True)):
        after = firsts[number + 1] if number + 1 < len(groups) else until
        gap = groups[number + 1][0].start - group[-1].end if number + 1 < len(groups) else PAUSE_S + 1
        stays = frame(group[-1].end + HOLD_S) if hold else frame(group[-1].end)
        last = min(until, after, stays) if gap >= PAUSE_S or not hold else min(until, after)
        last = max(last, min(first + 1, until))
        if first < last:
            pages.append(Page(first, last, tuple(_shown(group, first, last, frame, strong))))
    return tuple(pages)


def _shown(
    group: Sequence[HeardWord], first: int, last: int, frame: Callable[[float], int], strong: Callable[[str], bool] | None
) -> Iterator[ShownWord]:
    starts = [first]
    for word in group[1:]:
        starts.append(min(last, max(starts[-1], frame(word.start))))
    for word, (begin, end) in zip(group, pairwise([*starts, last]), strict=True):
        yield ShownWord(word.text, begin, end, word.glued, strong is not None and strong(word.text), word.broken)


def _phrases(words: Sequence[HeardWord]) -> list[list[HeardWord]]:
    """Parted where somebody said so, at the ends of sentences and at pauses."""
    phrases: list[list[HeardWord]] = []
    for number, word in enumerate(words):
        last = words[number - 1] if number else None
        if last is None or last.ends or _SENTENCE.search(last.text) or word.start - last.end > PAUSE_S:
            phrases.append([])
        phrases[-1].append(word)
    return phrases


def _cut(phrase: Sequence[HeardWord], limits: PageLimits) -> list[Sequence[HeardWord]]:
    """A phrase in as few pages as it takes, evenly filled, ended where one would draw breath: the cheapest of all ways to cut it."""
    count = len(phrase)
    widths = [ems(word.text) + (0 if word.glued else _SPACE) for word in phrase]
    fair = _fair_share(phrase, limits)
    best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * count
    for end in range(1, count + 1):
        width = 0.0
        for start in range(end - 1, max(-1, end - 1 - limits.words), -1):
            width += widths[start]
            too_much = width > limits.ems + _SPACE or phrase[end - 1].end - phrase[start].start > limits.seconds
            if too_much and end - start > 1:
                break
            cost = best[start][0] + 1.5 + ((end - start - fair) / fair) ** 2 + (_break_cost(phrase[end - 1]) if end < count else 0.0)
            if cost < best[end][0]:
                best[end] = cost, start
    groups: list[Sequence[HeardWord]] = []
    end = count
    while end:
        start = best[end][1]
        groups.append(phrase[start:end])
        end = start
    return groups[::-1]


def _fair_share(phrase: Sequence[HeardWord], limits: PageLimits) -> float:
    width = sum(ems(word.text) + _SPACE for word in phrase)
    pages = max(1, -(-len(phrase) // limits.words), -(-width // max(limits.ems, 1.0)))
    return len(phrase) / pages


def _break_cost(word: HeardWord) -> float:
    if _CLAUSE.search(word.text):
        return -0.6
    return 0.5 if word.text.casefold().strip("\"'“”‘’«»(") in _LEANING else 0.0  # noqa: RUF001 - quotation marks


_SPACE = 0.28


def ems(text: str) -> float:
    """About how wide a text is, in ems of its size: enough to choose where pages end; lines are measured with their fonts."""
    return sum(1.0 if char > "\u2e7f" else 0.0 if "\u0300" <= char <= "\u036f" else 0.55 for char in text)
