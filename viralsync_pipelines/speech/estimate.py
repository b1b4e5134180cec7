"""When each word is heard, reckoned from the sound itself: silences laid at punctuation, the rest shared by syllables. Pure.

What belongs here: that estimate, for engines that tell no times. What does not: engines; whoever uses it says timing="estimate".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.speech.tokens import tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_S = 0.01
_PART = 1_000
# Shorter silences are stop consonants.
PAUSE_S = 0.1
# Below the loud parts of the same sound by so much: 36 dB. Engines differ in noise floor more than in that.
_FLOOR, _LEAST = 0.016, 24.0
# A boundary may move to the quietest place near it.
_SNAP_S = 0.06
# How far the pair before may lie back, in marks and in silences.
_BACK = 4
# What it costs, in seconds, to hold a mark for unspoken, or a silence for none of the marks'.
_MARKS = {".": 0.7, "!": 0.7, "?": 0.7, "…": 0.6, ":": 0.5, ";": 0.5, ",": 0.3, "-": 0.2}
_LIKE = str.maketrans("。！？｡、，；：､،؛؟।॥۔—–", ".!?.,,;:,,;?...--")
_VOWELS = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœāēīōūąęıőűаеёиоуыэюяіїєαεηιουωάέήίόύώ]+", re.IGNORECASE)
# One sound a letter, or nearly.
_SYLLABIC = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class _Silence:
    """Blocks [first, end)."""

    first: int
    end: int


def estimated_words(text: str, samples: Sequence[int], sample_rate: int) -> tuple[Word, ...]:
    """Every word of the text, in order, not overlapping, inside the sound. Mono samples of 16 bits.

    Off by some 0.1 s on the whole; a sound in which nothing is heard is shared by syllables alone.
    """
    import numpy as np

    cut = tokens(text)
    if not cut or not len(samples):
        return ()
    duration = len(samples) / sample_rate
    size = max(1, round(sample_rate * BLOCK_S))
    loud = _loudness(np.asarray(samples, dtype=np.int16), size)
    block = size / sample_rate
    first, last, silences = _silences(loud, round(PAUSE_S / block))
    weights = [_weight(text[start:end]) for start, end in cut]
    marks = [_mark(text[start:end]) for start, end in cut[:-1]]
    taken = _matched(weights, marks, first, last, silences, block)
    spans: list[tuple[float, float]] = []
    begin, done = first, 0
    for at, silence in [*taken, (len(cut) - 1, None)]:
        stop = last if silence is None else silence.first
        edges = _shared(weights[done : at + 1], begin, stop, silences, loud, block)
        spans += zip(edges, edges[1:], strict=False)
        begin, done = (last if silence is None else silence.end), at + 1
    return tuple(
        Word(" ".join(text[a:b].split()), _inside(start, duration), _inside(end, duration), a, b)
        for (a, b), (start, end) in zip(cut, spans, strict=True)
    )


def _inside(seconds: float, duration: float) -> float:
    return round(min(max(seconds, 0.0), duration), 4)


def _loudness(samples: NDArray[np.int16], size: int) -> NDArray[np.float64]:
    """Root mean square of each block, the last one as long as it is. A part at a time: in floating point all of it takes a gigabyte."""
    import numpy as np

    found = []
    for first in range(0, len(samples), size * _PART):
        part = samples[first : first + size * _PART].astype(np.float64)
        starts = np.arange(0, len(part), size)
        found.append(np.sqrt(np.add.reduceat(part * part, starts) / np.minimum(size, len(part) - starts)))
    return np.concatenate(found)


def _silences(loud: NDArray[np.float64], least: int) -> tuple[int, int, list[_Silence]]:
    """First heard block, end of the last one, and the silences of at least so many blocks between them."""
    import numpy as np

    floor = max(_LEAST, _FLOOR * float(np.percentile(loud, 95)))
    heard = np.flatnonzero(loud > floor)
    if not len(heard):
        return 0, len(loud), []
    gaps = np.flatnonzero(np.diff(heard) > least)
    return int(heard[0]), int(heard[-1]) + 1, [_Silence(int(heard[i]) + 1, int(heard[i + 1])) for i in gaps]


def _weight(word: str) -> float:
    """Syllables, and a little for each letter: "strengths" takes longer than "a"."""
    plain = unicodedata.normalize("NFC", word)
    letters = sum(char.isalnum() for char in plain)
    digits = sum(char.isdigit() for char in plain)
    zeros = plain.count("0")
    whole = len(_SYLLABIC.findall(plain))
    vowels = len(_VOWELS.findall(plain))
    others = letters - digits - whole
    # Abjads and abugidas write few vowels of their own: two letters make a syllable.
    sung = vowels if vowels else others / 2
    return 0.3 + 1.5 * digits - zeros + whole + sung + 0.12 * max(0, others)


def _mark(word: str) -> float:
    """What it costs to take the mark after this word for unspoken; 0 for none."""
    for char in reversed(word.translate(_LIKE)):
        if char in _MARKS:
            return _MARKS[char]
        if char.isalnum():
            return 0.0
    return 0.0


def _matched(
    weights: Sequence[float], marks: Sequence[float], first: int, last: int, silences: Sequence[_Silence], block: float
) -> list[tuple[int, _Silence]]:
    """Which silence follows which word: the assignment, in order, that moves words the least from where syllables put them."""
    places = [at for at, cost in enumerate(marks) if cost]
    if not places or not silences:
        return []
    done = list(accumulate(weights))
    quiet = list(accumulate((each.end - each.first for each in silences), initial=0))
    spoken = (last - first - quiet[-1]) * block
    at_mark = [spoken * done[at] / done[-1] for at in places]
    at_silence = [(each.first - first - quiet[number]) * block for number, each in enumerate(silences)]
    # A long silence that stands at no mark is rare; a short one is not.
    unmatched = [min(1.5, 1.2 * (each.end - each.first) * block) for each in silences]
    rows, columns = len(places), len(silences)
    skipped = list(accumulate((marks[at] for at in places), initial=0.0))
    silent = list(accumulate(unmatched, initial=0.0))
    # best[r][c]: mark r is silence c. What counts is the time since the pair before, so that a slow sentence shifts none after it.
    best: list[list[float]] = [[0.0] * columns for _ in range(rows)]
    back: list[list[tuple[int, int] | None]] = [[None] * columns for _ in range(rows)]
    for row in range(rows):
        for column in range(columns):
            cost, way = skipped[row] + silent[column] + abs(at_mark[row] - at_silence[column]), None
            for r in range(max(0, row - _BACK), row):
                for c in range(max(0, column - _BACK), column):
                    drift = abs((at_mark[row] - at_mark[r]) - (at_silence[column] - at_silence[c]))
                    other = best[r][c] + drift + skipped[row] - skipped[r + 1] + silent[column] - silent[c + 1]
                    if other < cost:
                        cost, way = other, (r, c)
            best[row][column], back[row][column] = cost, way
    ends = [
        (best[r][c] + skipped[-1] - skipped[r + 1] + silent[-1] - silent[c + 1] + abs(at_mark[r] - at_silence[c]), r, c)
        for r in range(rows)
        for c in range(columns)
    ]
    least, row, column = min(ends)
    if least >= skipped[-1] + silent[-1]:
        return []
    found: list[tuple[int, _Silence]] = []
    at: tuple[int, int] | None = (row, column)
    while at is not None:
        found.append((places[at[0]], silences[at[1]]))
        at = back[at[0]][at[1]]
    return found[::-1]


def _shared(
    weights: Sequence[float], first: int, end: int, silences: Sequence[_Silence], loud: Any, block: float
) -> list[float]:
    """Edges, in seconds, of words that share the heard blocks of [first, end) by weight, each moved to the quietest place near it."""
    inner = [each for each in silences if first < each.first and each.end < end]
    heard = end - first - sum(each.end - each.first for each in inner)
    whole = sum(weights)
    edges = [float(first)]
    done = 0.0
    reach = round(_SNAP_S / block)
    share = [heard * weight / whole for weight in weights]
    for number, weight in enumerate(weights[:-1]):
        done += weight
        place = first + heard * done / whole
        for each in inner:
            if place > each.first:
                place += each.end - each.first
        near = min(reach, share[number] * 0.4, share[number + 1] * 0.4)
        low, high = max(first, round(place - near)), min(end, round(place + near) + 1)
        if high - low > 1:
            place = float(low + int(loud[low:high].argmin())) + 0.5
        edges.append(min(max(place, edges[-1]), float(end)))
    edges.append(float(end))
    return [edge * block for edge in edges]
