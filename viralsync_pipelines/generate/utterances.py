"""`narrate`: which lines are spoken, in which order and how far apart; and what they come to when they are. Pure.

What belongs here: from params to lines, from spoken lines to one sound's samples and words. What does not: speaking (defs/narrating.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from viralsync_pipelines.errors import Problem, SpeechError
from viralsync_pipelines.generate.film_params import MOST_LINES, Narrate
from viralsync_pipelines.movie.script import Line, Spoken

# One line, as engines take it; a paragraph that is longer is cut after a sentence.
MOST_CHARS = 4_000


@dataclass(frozen=True)
class Said:
    """A line, and the silence after it in seconds, none after the last."""

    line: Line
    pause: float


@dataclass(frozen=True)
class Stretch:
    """A spoken line in the whole sound: its first sample, and samples of silence after it."""

    spoken: Spoken
    text: str
    at: int
    silence: int


def lines_of(asked: Narrate) -> list[Said]:
    """Every line in order."""
    if asked.lines is not None:
        said = [
            Said(
                Line(each.text, voice=each.voice or asked.voice, engine=asked.engine, speed=each.speed or asked.speed),
                each.pauseAfter if each.pauseAfter is not None else asked.gap,
            )
            for each in asked.lines
        ]  # fmt: skip
    else:
        texts = paragraphs(asked.text or "")
        said = [Said(Line(text, voice=asked.voice, engine=asked.engine, speed=asked.speed), asked.gap) for text in texts]
    return [*said[:-1], Said(said[-1].line, 0.0)] if said else []


def paragraphs(text: str) -> list[str]:
    """Paragraphs, those that are too long for a line cut after a sentence, else between words."""
    found = []
    for paragraph in text.splitlines():
        rest = paragraph.strip()
        while len(rest) > MOST_CHARS:
            cut = max(rest.rfind(mark, 0, MOST_CHARS) + 1 for mark in (". ", "! ", "? ", "; "))
            cut = cut if cut > 0 else rest.rfind(" ", 0, MOST_CHARS)
            cut = cut if cut > 0 else MOST_CHARS
            found.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        if rest:
            found.append(rest)
    return found


def narrate_faults(asked: Narrate, at: str) -> list[Problem]:
    """What is wrong beyond the form."""
    if (asked.text is None) == (asked.lines is None):
        return [Problem(f"{at}/text", "FIELD_MISSING", "say what is to be spoken: either `text` or `lines`, exactly one of them")]
    if asked.lines is not None:
        empty = [number for number, each in enumerate(asked.lines) if not each.text.strip()]
        return [Problem(f"{at}/lines/{number}/text", "FIELD_MISSING", "there is nothing to say here; write something") for number in empty]
    count = len(paragraphs(asked.text or ""))
    if count == 0:
        return [Problem(f"{at}/text", "FIELD_MISSING", "there is nothing to say in this; write something")]
    if count > MOST_LINES:
        told = f"this has {count:,} paragraphs; at most {MOST_LINES} are spoken at once, so split it"
        return [Problem(f"{at}/text", "TOO_MANY", told)]
    return []


def laid_out(said: Sequence[Said], spoken: Sequence[Spoken]) -> list[Stretch]:
    """Lines one after the other, to the sample. Raises SpeechError when they cannot be one sound."""
    rates = {each.sample_rate for each in spoken}
    if len(rates) > 1:
        told = f"the lines are spoken at {', '.join(f'{rate:,} Hz' for rate in sorted(rates))}; take voices of one engine"
        raise SpeechError(told, code="SPEECH_FAILED")
    stretches, at = [], 0
    for each, made in zip(said, spoken, strict=True):
        silence = round(each.pause * made.sample_rate)
        stretches.append(Stretch(made, each.line.text, at, silence))
        at += made.samples + silence
    return stretches


def told_of(stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Lines and words with their times in the whole, in seconds."""
    rate = stretches[0].spoken.sample_rate
    last = stretches[-1]
    lines = [
        {"text": each.text, "start": round(each.at / rate, 6), "end": round((each.at + each.spoken.samples) / rate, 6)}
        for each in stretches
    ]
    words = [
        {"word": word.text, "start": round(each.at / rate + word.start, 6), "end": round(each.at / rate + word.end, 6)}
        for each in stretches
        for word in each.spoken.words
    ]
    return {"duration": (last.at + last.spoken.samples + last.silence) / rate, "sampleRate": rate, "lines": lines, "words": words}
