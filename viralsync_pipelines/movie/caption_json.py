"""Words with their times as JSON: `[{text | word, start, end}]` in seconds, or the same in `words` or `segments`. Pure.

What belongs here: reading and writing it. What does not: cutting words into captions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.movie.cues import MAX_CUE_TEXT, MAX_CUES, MAX_MS, MAX_WORDS, Cue, CueWord, clean, said, within_limits

_SHAPE = 'write [{"text": "Hello", "start": 0.0, "end": 0.4}, ...] with times in seconds'


def read_words(text: str) -> tuple[Cue, ...]:
    """A cue for each entry that has text, in the file's order. An entry of one word is that word; one with `words` of its own (as
    speech recognition gives segments) has those. Raises CaptionsInvalid; it names the entry's place."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CaptionsInvalid(f"this is no JSON: {error.msg}; {_SHAPE}", line=error.lineno) from None
    except (RecursionError, ValueError):
        raise CaptionsInvalid(f"this is JSON that cannot be read; {_SHAPE}") from None
    entries, at = document, ""
    if isinstance(document, dict):
        name = next((name for name in ("segments", "words") if isinstance(document.get(name), list) and document[name]), "words")
        entries, at = document.get(name), f"/{name}"
    if not isinstance(entries, list):
        raise CaptionsInvalid(f"there is no list of words in this JSON; {_SHAPE}", place=at)
    if len(entries) > max(MAX_CUES, MAX_WORDS):
        raise CaptionsInvalid(f"there are {len(entries):,} entries; at most {MAX_CUES:,} are taken, so split the file", place=at)
    return within_limits([_cue(entry, f"{at}/{number}") for number, entry in enumerate(entries)], f"JSON; {_SHAPE}")


def _cue(entry: Any, at: str) -> Cue:
    word = _word(entry, at)
    inner = entry.get("words")
    if inner is None:
        one = bool(word.text) and not any(letter.isspace() for letter in word.text)
        return Cue(word.start_ms, word.end_ms, word.text, (word,) if one else ())
    if not isinstance(inner, list) or len(inner) > MAX_WORDS:
        raise CaptionsInvalid(f"these are no words; {_SHAPE}", place=f"{at}/words")
    words = [_word(each, f"{at}/words/{number}") for number, each in enumerate(inner)]
    return Cue(word.start_ms, word.end_ms, word.text, tuple(each for each in words if each.text))


def _word(entry: Any, at: str) -> CueWord:
    if not isinstance(entry, dict):
        raise CaptionsInvalid(f"this is no word with its times; {_SHAPE}", place=at)
    text = entry.get("text", entry.get("word"))
    if not isinstance(text, str):
        raise CaptionsInvalid(f"`text` (or `word`) is missing; {_SHAPE}", place=f"{at}/text")
    if len(text) > MAX_CUE_TEXT:
        told = f"this has {len(text):,} characters; an entry takes {MAX_CUE_TEXT:,}, so split it"
        raise CaptionsInvalid(told, place=f"{at}/text")
    start, end = (_ms(entry.get(name), f"{at}/{name}") for name in ("start", "end"))
    if end < start:
        raise CaptionsInvalid("this ends before it begins; put its times in order", place=f"{at}/end")
    return CueWord(clean(text), start, end)


def _ms(value: Any, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CaptionsInvalid("this is no time; write seconds, such as 1.25", place=at)
    # NaN, which Python's JSON takes, is refused here too.
    if not 0 <= value <= MAX_MS / 1000:
        raise CaptionsInvalid("this is no time in a film; write seconds from its start, such as 1.25", place=at)
    return round(value * 1000)


def write_words(cues: Iterable[Cue]) -> str:
    """`{"words": [{text, start, end}]}`, one a line: each word, and where a cue does not tell its words, its text as one entry."""
    lines = ",\n".join(
        f'{{"text": {json.dumps(word.text, ensure_ascii=False)}, "start": {_seconds(word.start_ms)}, "end": {_seconds(word.end_ms)}}}'
        for cue in cues
        for word in said(cue)
    )
    return f'{{"words": [\n{lines}\n]}}\n'


def _seconds(ms: int) -> str:
    return f"{Decimal(ms) / 1000:.3f}"
