"""Words as captions show them, and their times from the times of whatever stretches of text an engine reports. Pure.

What belongs here: cutting text into words, and laying times over them. What does not: the embedded engine's own events (words.py),
times that nobody reports (estimate.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from viralsync_pipelines.movie.script import Word

# Written without spaces between words: each of a class is cut after so many letters, so that a caption can follow the voice.
_UNSPACED = (
    (re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"), 2),
    (re.compile("[\u3040-\u30ff\u31f0-\u31ff]"), 4),
    (re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"), 6),
)
# Never at the start of a piece: vowel signs, tone marks, small kana, the long-vowel mark; nor right after a vowel written in front.
_TRAILING = re.compile(
    "[\u0300-\u036f\u0e30-\u0e3a\u0e45-\u0e4e\u0eb0-\u0ebc\u0ec6-\u0ecd\u102b-\u103e\u1056-\u1064\u17b4-\u17d3"
    "\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u3099-\u309c\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30fc]"
)
_LEADING = re.compile("[\u0e40-\u0e44\u0ec0-\u0ec4]")


@dataclass(frozen=True)
class Heard:
    """Characters [first, end) of the text are heard from `start` until `stop`, in seconds."""

    first: int
    end: int
    start: float
    stop: float


def tokens(text: str) -> list[tuple[int, int]]:
    """The words of a text as half-open ranges of characters, in order, punctuation included; every letter and digit is in one.

    A lone dash belongs to the word before it, or at the start to the one after. Text of nothing but punctuation has no words.
    """
    found: list[tuple[int, int]] = []
    first: int | None = None
    for match in re.finditer(r"\S+", text):
        for start, end in _pieces(text, match.start(), match.end()):
            if any(char.isalnum() for char in text[start:end]):
                found.append((start if first is None else first, end))
                first = None
            elif found:
                found[-1] = (found[-1][0], end)
            elif first is None:
                first = start
    return found


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A run without spaces, cut where its script has none."""
    cuts = [start]
    kind, count = _kind(text[start]), 0
    for at in range(start, end):
        char = text[at]
        other = _kind(char)
        if not char.isalnum() or _TRAILING.match(char):
            continue  # belongs to what stands before it
        if at > start and _LEADING.match(text[at - 1]):
            continue
        limit = _UNSPACED[kind][1] if kind is not None else 0
        # After a mark of punctuation inside such a run a phrase ends, and with it the piece.
        ended = kind is not None and at > cuts[-1] and not text[at - 1].isalnum() and not _TRAILING.match(text[at - 1])
        if at > cuts[-1] and (other != kind or ended or (limit and count >= limit)):
            cuts.append(at)
            count = 0
        kind, count = other, count + 1
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def _kind(char: str) -> int | None:
    return next((number for number, (pattern, _) in enumerate(_UNSPACED) if pattern.match(char)), None)


def words_from(text: str, heard: Sequence[Heard], duration: float) -> tuple[Word, ...]:
    """The words of the text with the times of the stretches that lie in them, in order, not overlapping, inside the sound.

    Words nobody reported share what their neighbours leave, by their letters. When that is more than half of them: no words.
    """
    cut = tokens(text)
    spans: list[tuple[float, float] | None] = []
    now, at = 0.0, 0
    ordered = sorted(heard, key=lambda each: (each.first, each.end))
    for start, end in cut:
        while at < len(ordered) and ordered[at].end <= start:
            at += 1
        inside = []
        number = at
        while number < len(ordered) and ordered[number].first < end:
            inside.append(ordered[number])
            number += 1
        if not inside:
            spans.append(None)
            continue
        begin = min(max(now, min(each.start for each in inside)), duration)
        now = min(max(begin, *(each.stop for each in inside)), duration)
        spans.append((begin, now))
    if 2 * sum(span is None for span in spans) > len(spans):
        return ()
    return tuple(
        Word(" ".join(text[start:end].split()), round(begin, 4), round(stop, 4), start, end)
        for (start, end), (begin, stop) in zip(cut, _filled(cut, spans, duration), strict=True)
    )


def _filled(cut: Sequence[tuple[int, int]], spans: Sequence[tuple[float, float] | None], duration: float) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    at = 0
    while at < len(spans):
        span = spans[at]
        if span is not None:
            found.append(span)
            at += 1
            continue
        last = at
        while last < len(spans) and spans[last] is None:
            last += 1
        left = found[-1][1] if found else 0.0
        after = spans[last] if last < len(spans) else None
        right = after[0] if after is not None else duration
        whole = sum(end - start for start, end in cut[at:last])
        done = 0
        for start, end in cut[at:last]:
            begin = left + (right - left) * done / whole
            done += end - start
            found.append((begin, left + (right - left) * done / whole))
        at = last
    return found


def placed(text: str, parts: Sequence[str]) -> list[tuple[int, int] | None]:
    """Where each part stands in the text, one after the other; None for one that is written otherwise there."""
    found: list[tuple[int, int] | None] = []
    at = 0
    for part in parts:
        # Not far ahead: a part that is not there must not swallow the text up to its next namesake.
        place = text.find(part, at, at + len(part) + 40) if part else -1
        found.append((place, place + len(part)) if place >= 0 else None)
        at = place + len(part) if place >= 0 else at
    return found
