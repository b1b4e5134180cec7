"""Words with times, cut into captions that follow one another: never two at once, none empty, every word in its place. Pure.

What belongs here: that. What does not: how captions look (subtitles.py), caption files (movie/caption_files.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.generate.film_params import MOST_CUE, Segment
from viralsync_pipelines.movie.caption_files import captions_in

# A silence that ends a caption, and how long one stays when nothing follows.
PAUSE_S, HOLD_S = 0.8, 0.3
# Shorter than a frame or two nobody sees one.
LEAST_S = 0.05
_SENTENCE = (".", "!", "?", "…", "。", "\uff01", "\uff1f")


@dataclass(frozen=True)
class Caption:
    """text from `start` until `end`, in seconds. words: when each of its words is said."""

    text: str
    start: float
    end: float
    words: tuple[Caption, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Of one caption: words, seconds, characters."""

    words: int
    seconds: float
    characters: int


class SrtInvalid(ValueError):
    """What is wrong, with its line."""


def grouped(words: Iterable[Caption], limits: Limits) -> list[Caption]:
    """Words, in the order of their times, gathered into captions within the limits; a sentence or a pause ends one early."""
    found: list[list[Caption]] = []
    for word in words:
        group = found[-1] if found else []
        if not group or _ends(group, word, limits):
            found.append([word])
        else:
            group.append(word)
    return [
        Caption(" ".join(each.text for each in group), group[0].start, max(each.end for each in group), tuple(group)) for group in found
    ]


def _ends(group: Sequence[Caption], word: Caption, limits: Limits) -> bool:
    last = group[-1]
    length = sum(len(each.text) + 1 for each in group) + len(word.text)
    return (
        len(group) >= limits.words or length > limits.characters or word.end - group[0].start > limits.seconds
        or word.start - last.end > PAUSE_S or last.text.rstrip("\"')”»").endswith(_SENTENCE)
    )  # fmt: skip


def words_of(segment: Segment | Caption) -> list[Caption]:
    """Its words, its time shared among them by their letters."""
    words = segment.text.split()
    whole = sum(len(word) for word in words) or 1
    found, done = [], 0
    for word in words:
        start = segment.start + (segment.end - segment.start) * done / whole
        done += len(word)
        found.append(Caption(word, start, segment.start + (segment.end - segment.start) * done / whole))
    return found


def one_by_one(captions: Iterable[Caption], until: float | None = None) -> list[Caption]:
    """Captions that do not meet, in whole milliseconds: each stays for a moment, or until the next comes. until: the film's end.

    What would stand for less than a frame or two is shown together with the one before.
    """
    found: list[Caption] = []
    for each in sorted(captions, key=lambda caption: caption.start):
        start, end = round(each.start, 3), round(max(each.end, each.start + LEAST_S), 3)
        if found and start - found[-1].start < LEAST_S:
            last = found[-1]
            found[-1] = replace(last, text=f"{last.text} {each.text}", end=max(last.end, end), words=last.words + each.words)
        else:
            found.append(Caption(each.text, start, end, each.words))
    shown = []
    for number, each in enumerate(found):
        after = found[number + 1].start if number + 1 < len(found) else float("inf")
        end = round(min(each.end + HOLD_S, after, until if until is not None else after), 3)
        if end > each.start:
            shown.append(replace(each, end=end))
    return shown


def read_srt(text: str) -> list[Caption]:
    """The cues of an SRT, or of another caption file, tags taken out. Raises SrtInvalid."""
    try:
        cues = captions_in(text, "captions.srt")
    except CaptionsInvalid as error:
        raise SrtInvalid(error.message) from None
    for number, cue in enumerate(cues, 1):
        if len(cue.text) > MOST_CUE:
            raise SrtInvalid(f"cue {number:,} has {len(cue.text):,} characters; at most {MOST_CUE:,} are taken, so split it")
    return [Caption(cue.text, cue.start_ms / 1000, cue.end_ms / 1000) for cue in cues]


def out_of_order(times: Iterable[tuple[float, float]]) -> Iterator[tuple[int, str]]:
    """Places and words for times that go back."""
    before = 0.0
    for number, (start, end) in enumerate(times):
        if end < start:
            yield number, "this ends before it begins; put its times in order"
        elif start < before:
            yield number, "this begins before the one above it; put them in the order of their times"
        before = max(before, start)
