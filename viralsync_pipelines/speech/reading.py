"""A text as it is written and as it is said, each said character knowing what it stands for. Pure.

What belongs here: the map between both, changing what is said, and words of the sound as they are written. What does not: what is to be
changed (normal.py, pronounce.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from viralsync_pipelines.movie.script import Word

Change = tuple[int, int, str]
"""Said characters [start, end), and what is said in their place."""


@dataclass(frozen=True)
class Reading:
    """written: what captions show. said: what the engine gets. spans: for each said character the half-open range of `written` that it
    stands for; neither their starts nor their ends ever go back. fixed: said characters that nobody may change any more."""

    written: str
    said: str
    spans: tuple[tuple[int, int], ...]
    fixed: tuple[bool, ...]


def as_written(text: str) -> Reading:
    """Said as it stands."""
    return Reading(text, text, tuple((i, i + 1) for i in range(len(text))), (False,) * len(text))


def rewritten(
    reading: Reading, pattern: re.Pattern[str], change: Callable[[re.Match[str]], str | Iterable[Change] | None], *, fix: bool = False
) -> Reading:
    """Every match said otherwise: the whole of it by a text, parts of it by changes in order; None leaves it. Fixed characters are never
    touched. fix: what is put in becomes fixed, as does a text equal to what it stands for."""
    changes: list[Change] = []
    for match in pattern.finditer(reading.said):
        told = change(match)
        found = [] if told is None else [(match.start(), match.end(), told)] if isinstance(told, str) else list(told)
        changes += [each for each in found if each[1] > each[0] and not any(reading.fixed[each[0] : each[1]])]
    return _changed(reading, changes, fix)


def _changed(reading: Reading, changes: Sequence[Change], fix: bool) -> Reading:
    if not changes:
        return reading
    said: list[str] = []
    spans: list[tuple[int, int]] = []
    fixed: list[bool] = []
    done = 0
    for start, end, text in changes:
        said.append(reading.said[done:start])
        spans += reading.spans[done:start]
        fixed += reading.fixed[done:start]
        if text == reading.said[start:end]:
            spans += reading.spans[start:end]
        else:
            spans += [(reading.spans[start][0], reading.spans[end - 1][1])] * len(text)
        said.append(text)
        fixed += [fix] * len(text)
        done = end
    said.append(reading.said[done:])
    return Reading(reading.written, "".join(said), (*spans, *reading.spans[done:]), (*fixed, *reading.fixed[done:]))


def written_words(reading: Reading, words: Sequence[Word]) -> tuple[Word, ...]:
    """Words of the sound, whose ranges are of `said`, as words of `written`: in order, nothing written is lost.

    What several said words stand for is one written word ("20 °C": three said, two written), heard from the first to the last. What
    nobody says, such as an emoji or a dash, belongs to the word before it. Joined without spaces they give `written` without spaces.
    """
    groups: list[Word] = []
    last = 0
    for word in words:
        said_from, said_to = max(0, word.char_start), min(len(reading.said), word.char_end)
        if said_from >= said_to:
            continue
        start, end = _trimmed(reading.written, reading.spans[said_from][0], reading.spans[said_to - 1][1])
        here = replace(word, char_start=start, char_end=end)
        if groups and _one(reading, groups[-1], here, reading.said[last:said_from]):
            before = groups[-1]
            here = replace(before, end=max(before.end, word.end), char_end=max(before.char_end, end))
            groups.pop()
        groups.append(here)
        last = said_to
    return _covering(reading.written, groups)


def _trimmed(written: str, start: int, end: int) -> tuple[int, int]:
    """Without the spaces at its ends: a dash is said as a comma together with those around it."""
    while end > start and written[end - 1].isspace():
        end -= 1
    while start < end and written[start].isspace():
        start += 1
    return start, end


def _one(reading: Reading, before: Word, here: Word, said_between: str) -> bool:
    """Whether two said words are one as written. Scripts without spaces have words that touch in both forms."""
    if here.char_start < before.char_end:
        return True
    written_between = reading.written[before.char_end : here.char_start]
    apart = any(char.isspace() for char in written_between)
    return not apart and any(char.isspace() for char in said_between)


def _covering(written: str, words: Sequence[Word]) -> tuple[Word, ...]:
    """The same words, grown until every written character but spaces is in one."""
    found: list[Word] = []
    for number, word in enumerate(words):
        start = found[-1].char_end if found else 0
        between = written[start : word.char_start]
        # What touches the word from the left, as a quotation mark does, is its own; what stands alone belongs to the one before.
        own = len(between) - len(between.rstrip()) if not between.strip() else _own(between)
        cut = word.char_start - own if between.strip() else word.char_start
        if number == 0:
            cut = start + len(between) - len(between.lstrip()) if between.strip() else word.char_start
        elif written[start:cut].strip():
            found[-1] = _stretched(written, found[-1], found[-1].char_start, start + len(written[start:cut].rstrip()))
        found.append(_stretched(written, word, cut, word.char_end))
    if found and written[found[-1].char_end :].strip():
        found[-1] = _stretched(written, found[-1], found[-1].char_start, len(written.rstrip()))
    return tuple(found)


def _own(between: str) -> int:
    """Characters at the end of what stands between two words that belong to the second: those after its last space, if it has one."""
    spaced = [at for at, char in enumerate(between) if char.isspace()]
    return len(between) - spaced[-1] - 1 if spaced else 0


def _stretched(written: str, word: Word, start: int, end: int) -> Word:
    return replace(word, text=" ".join(written[start:end].split()), char_start=start, char_end=end)
