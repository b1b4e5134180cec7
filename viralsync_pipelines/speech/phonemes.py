"""Word times from the times of phonemes, for engines whose phonemizer runs words together ("of the") or makes several of one ("25"). Pure.

What belongs here: matching groups of phonemes with the words of the text. What does not: engines, and text that nobody times (estimate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.speech.tokens import Heard, tokens, words_from

# Words in one group, and groups in one word: "3,724" is said in eight.
_MOST_WORDS, _MOST_GROUPS = 5, 9
# What it costs to run words together or take one apart, and to part a mark of punctuation from the pause it stands for.
_JOINT, _MARK = 0.6, 1.5
# A match that costs more than this for each word is none.
_WORST = 1.6
# How far a match may stray from the straight way, in groups: what keeps nine hundred words at a second.
_BAND = 40
_MARKS = frozenset(".,;:!?…。、，！？؟،۔।")


@dataclass(frozen=True)
class Phoneme:
    """text: as the engine writes it, a space between words, marks of punctuation as they are. Seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class _Group:
    count: int
    start: float
    end: float
    marked: bool


def words_by_phonemes(text: str, spoken: Sequence[Phoneme], duration: float) -> tuple[Word, ...]:
    """Every word of the text, in order, inside the sound; words that the engine runs together share their time by length.

    () when there are no phonemes, or none that fit the words.
    """
    cut = tokens(text)
    groups = _groups(spoken)
    if not cut or not groups:
        return ()
    matched = _matched([text[start:end] for start, end in cut], groups)
    heard = []
    for first, end, low, high in matched:
        whole = sum(b - a for a, b in cut[first:end])
        start, stop, done = groups[low].start, groups[high - 1].end, 0
        for a, b in cut[first:end]:
            heard.append(Heard(a, b, start + (stop - start) * done / whole, start + (stop - start) * (done + b - a) / whole))
            done += b - a
    return words_from(text, heard, duration)


def _groups(spoken: Sequence[Phoneme]) -> list[_Group]:
    """What stands between spaces and marks."""
    found: list[_Group] = []
    inside = False
    for each in spoken:
        if any(char.isalpha() for char in each.text):
            if inside:
                last = found[-1]
                found[-1] = _Group(last.count + 1, last.start, each.end, False)
            else:
                found.append(_Group(1, each.start, each.end, False))
            inside = True
        elif any(char in _MARKS for char in each.text):
            if found:
                found[-1] = _Group(found[-1].count, found[-1].start, found[-1].end, True)
            inside = False
        elif not each.text.strip():
            inside = False
    return found


def _matched(words: Sequence[str], groups: Sequence[_Group]) -> list[tuple[int, int, int, int]]:
    """Words [first, end) are groups [low, high): the cheapest way through both; [] when even that fits badly."""
    lengths = [sum(5.0 if char.isdigit() else 1.0 for char in word if char.isalnum()) for word in words]
    marks = [any(char in _MARKS for char in word[-2:]) for word in words]
    scale = sum(group.count for group in groups) / sum(lengths)
    # Sums from the start, so that what lies between two places is one subtraction.
    expected = list(accumulate((length * scale for length in lengths), initial=0.0))
    counted = list(accumulate((group.count for group in groups), initial=0))
    marked = list(accumulate(marks, initial=0))
    slope, endless = len(groups) / len(words), float("inf")
    best = [[endless] * (len(groups) + 1) for _ in range(len(words) + 1)]
    back: list[list[tuple[int, int]]] = [[(0, 0)] * (len(groups) + 1) for _ in range(len(words) + 1)]
    best[0][0] = 0.0
    steps = [(1, 1), *((n, 1) for n in range(2, _MOST_WORDS + 1)), *((1, n) for n in range(2, _MOST_GROUPS + 1))]
    for row in range(len(words)):
        for column in range(len(groups)):
            if best[row][column] == endless:
                continue
            for down, right in steps:
                i, j = row + down, column + right
                if i > len(words) or j > len(groups) or abs(j - i * slope) > _BAND:
                    continue
                due, there = expected[i] - expected[row], counted[j] - counted[column]
                cost = best[row][column] + abs(due - there) / (1 + (due * there) ** 0.5) + _JOINT * (down + right - 2)
                cost += _MARK * (marks[i - 1] != groups[j - 1].marked) + _MARK * (marked[i - 1] - marked[row])
                if cost < best[i][j]:
                    best[i][j], back[i][j] = cost, (row, column)
    if best[-1][-1] > _WORST * len(words):
        return []
    found = []
    i, j = len(words), len(groups)
    while i:
        row, column = back[i][j]
        found.append((row, i, column, j))
        i, j = row, column
    return found[::-1]
