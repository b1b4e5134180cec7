"""When each word is heard: the engine's word events laid over the words people read. Pure.

What belongs here: cutting content into words, and the rule that turns events and samples into times.
What does not: reading markup (ssml.py), and whatever captions make of the words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.speech.ssml import Utterance

QUIET = 64  # of 32,768 (-54 dBFS); the engine's pauses are exact zeros, its softest consonants reach 400
BLOCK_MS = 5
BRIDGE_S = 0.12  # shorter silences are stop consonants, not pauses: a word lasts until the next one starts

# Scripts written without spaces: there the engine's events cut the words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class WordEvent:
    """The engine starts a word: index into the content, seconds into the sound."""

    index: int
    at: float


def timed_words(
    utterance: Utterance, events: Sequence[WordEvent], samples: Sequence[int], sample_rate: int
) -> tuple[Word, ...]:
    """Words of the content with times, in order, not overlapping, inside the sound.

    A word is what stands between spaces, its punctuation included ("3,000", "world,"), so that the words joined give
    the content back; a lone dash or ellipsis belongs to the word before it. Starts and ends after a pause sit on the first and
    last audible 5 ms. Words the engine runs together ("of the") share their time by length. No events: no words.
    """
    if not events:
        return ()
    units = _units(utterance.content, events)
    duration = len(samples) / sample_rate
    groups: list[tuple[float, list[_Unit]]] = []
    for unit in units:
        if groups and (unit.at is None or unit.at <= groups[-1][0]):
            groups[-1][1].append(unit)
        else:
            groups.append((min(unit.at or 0.0, duration), [unit]))
    bounds = [at for at, _ in groups] + [duration]
    spans = [_audible(samples, sample_rate, start, end) for start, end in itertools.pairwise(bounds)]
    words: list[Word] = []
    for number, (_, members) in enumerate(groups):
        start, end = spans[number]
        if number + 1 < len(spans) and spans[number + 1][0] - end < BRIDGE_S:
            end = spans[number + 1][0]
        words.extend(_shared(utterance, members, start, end))
    return tuple(words)


@dataclass(frozen=True)
class _Unit:
    start: int
    end: int
    at: float | None


def _units(content: str, events: Sequence[WordEvent]) -> list[_Unit]:
    """Words with the time of their first event, None where the engine reported nothing. The first one always has a time."""
    cuts = {event.index for event in events if event.index < len(content) and _UNSPACED.match(content[event.index])}
    tokens: list[tuple[int, int]] = []
    for match in re.finditer(r"\S+", content):
        inside = sorted(cut for cut in cuts if match.start() < cut < match.end())
        tokens.extend(itertools.pairwise([match.start(), *inside, match.end()]))
    times: list[float | None] = [None] * len(tokens)
    current = 0
    for event in events:
        # Positions may point at the space before a word or inside a number; they never lead back.
        while current + 1 < len(tokens) and event.index >= tokens[current][1]:
            current += 1
        if tokens and times[current] is None:
            times[current] = event.at
    units: list[_Unit] = []
    first: int | None = None  # punctuation before the first word belongs to it
    for (start, end), at in zip(tokens, times, strict=True):
        if at is None and not any(char.isalnum() for char in content[start:end]):
            if units:
                units[-1] = _Unit(units[-1].start, end, units[-1].at)
            elif first is None:
                first = start
            continue
        units.append(_Unit(start if first is None else first, end, at if units or at is not None else events[0].at))
        first = None
    return units


def _audible(samples: Sequence[int], sample_rate: int, start: float, end: float) -> tuple[float, float]:
    """The part of [start, end) seconds between its first and last audible block; all of it when nothing is heard."""
    block = max(1, sample_rate * BLOCK_MS // 1000)
    low, high = round(start * sample_rate), min(round(end * sample_rate), len(samples))

    def heard(at: int) -> bool:
        part = samples[at : min(at + block, high)]
        return max(part) > QUIET or min(part) < -QUIET

    first = next((at for at in range(low, high, block) if heard(at)), None)
    if first is None:
        return start, end
    last = next(at for at in reversed(range(low, high, block)) if heard(at))
    return max(start, first / sample_rate), min(end, (last + block) / sample_rate)


def _shared(utterance: Utterance, members: Sequence[_Unit], start: float, end: float) -> list[Word]:
    lengths = [unit.end - unit.start for unit in members]
    edges = [start + (end - start) * done / sum(lengths) for done in itertools.accumulate(lengths, initial=0)]
    return [
        Word(
            text=" ".join(utterance.content[unit.start : unit.end].split()),
            start=round(edges[i], 4),
            end=round(edges[i + 1], 4),
            char_start=utterance.source[unit.start][0],
            char_end=utterance.source[unit.end - 1][1],
        )
        for i, unit in enumerate(members)
    ]
