"""Captions as values: cues with their words, in whole milliseconds, and the rule that cuts timed pieces of text into words. Pure.

What belongs here: that, cleaning text, and the limits on what is read. What does not: any file format (caption_files.py and beside
it), how captions look or are cut for the screen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from viralsync_pipelines.errors import CaptionsInvalid

MAX_BYTES = 8_000_000
# A film of two hours in which three words a second are each a caption of their own has 21,600.
MAX_CUES = 50_000
MAX_WORDS = 100_000
MAX_CUE_TEXT = 5_000
# 99:59:59,999, the latest time an SRT can name.
MAX_MS = 360_000_000 - 1

# Scripts written without spaces: there the pieces themselves are the words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_BREAKS = re.compile("\r\n|[\r\u2028\u2029]")


@dataclass(frozen=True)
class CueWord:
    """One word and when it is said, in milliseconds."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Cue:
    """What stands on the screen from start_ms until end_ms.

    text: without markup, lines parted by "\\n". words: when each is said, () where the file does not tell.
    raw: the text with its markup as the file had it, None where it had none; the writers give it back.
    """

    start_ms: int
    end_ms: int
    text: str
    words: tuple[CueWord, ...] = ()
    raw: str | None = None


@dataclass(frozen=True)
class Piece:
    """A stretch of a cue's text that is said in one go, in milliseconds."""

    text: str
    start_ms: int
    end_ms: int


def clean(text: str) -> str:
    """Text as it is shown: no control characters, no broken surrogates, no blanks around lines, no empty lines around all."""
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "\n".join(line.strip() for line in text.split("\n")).strip()


def words_in(pieces: Sequence[Piece]) -> tuple[CueWord, ...]:
    """The words of timed pieces, in order. A word is what stands between blanks, however many pieces (syllables) it is made of.

    Several words in one piece share its time by their letters. In scripts without spaces each piece is a word of its own.
    """
    words: list[CueWord] = []
    letters: list[str] = []
    start = end = 0

    def close() -> None:
        text = clean("".join(letters))
        letters.clear()
        if text:
            words.append(CueWord(text, start, end))

    for piece in pieces:
        count = sum(not letter.isspace() for letter in piece.text)
        length, done = piece.end_ms - piece.start_ms, 0
        for index, letter in enumerate(piece.text):
            if letter.isspace():
                close()
                continue
            if index == 0 and letters and (_UNSPACED.match(letter) or _UNSPACED.match(letters[-1])):
                close()
            if not letters:
                start = piece.start_ms + length * done // count
            letters.append(letter)
            done += 1
            end = piece.start_ms + length * done // count
    close()
    return tuple(words)


def timed(pieces: Sequence[tuple[str, int | None]], start_ms: int, end_ms: int) -> tuple[CueWord, ...]:
    """Words of (text, moment it begins) pieces of one cue. Moments that are not inside the cue, or go back, are passed over.

    The first piece may have none. No moments at all: no words.
    """
    if all(at is None for _, at in pieces):
        return ()
    kept: list[tuple[str, int]] = []
    for text, at in pieces:
        before = kept[-1][1] if kept else start_ms
        if at is None or not before <= at <= end_ms:
            kept[-1:] = [(kept[-1][0] + text, before)] if kept else [(text, start_ms)]
        else:
            kept.append((text, at))
    ends = [at for _, at in kept[1:]] + [end_ms]
    return words_in([Piece(text, at, end) for (text, at), end in zip(kept, ends, strict=True)])


def checked(cue: Cue, line: int) -> Cue:
    """The cue, if its times and its length can be taken. line: where it stands in the file, from 1."""
    if cue.start_ms < 0:
        raise CaptionsInvalid("this begins before the film does; shift it to 0 or later", line=line)
    if cue.end_ms < cue.start_ms:
        raise CaptionsInvalid("this ends before it begins; put its times in order", line=line)
    if cue.end_ms > MAX_MS:
        raise CaptionsInvalid("this ends after 100 hours; check its times", line=line)
    if len(cue.text) > MAX_CUE_TEXT:
        raise _too_long(cue.text, line)
    return cue


def bounded(body: str, line: int) -> str:
    """A cue's text with its markup, if it is not too long to be looked at."""
    if len(body) > 4 * MAX_CUE_TEXT:
        raise _too_long(body, line)
    return body


def _too_long(text: str, line: int) -> CaptionsInvalid:
    return CaptionsInvalid(f"this has {len(text):,} characters; a cue takes {MAX_CUE_TEXT:,}, so split it", line=line)


def counted(cues: int) -> None:
    """Raises CaptionsInvalid where these are too many."""
    if cues > MAX_CUES:
        raise CaptionsInvalid(f"there are more than {MAX_CUES:,} cues; split the file")


def within_limits(cues: Sequence[Cue], found: str) -> tuple[Cue, ...]:
    """All cues of a file that have text. found: what the file is, and how a cue of it is written. Raises CaptionsInvalid."""
    kept = tuple(cue for cue in cues if cue.text)
    if not kept:
        raise CaptionsInvalid(f"there is no cue with words in this {found}")
    counted(len(kept))
    count = sum(len(cue.words) for cue in kept)
    if count > MAX_WORDS:
        raise CaptionsInvalid(f"there are {count:,} timed words; at most {MAX_WORDS:,} are taken, so split the file")
    return kept


def said(cue: Cue) -> tuple[CueWord, ...]:
    """The cue's words, or its whole text as one where it does not tell."""
    return cue.words or (CueWord(cue.text, cue.start_ms, cue.end_ms),)
