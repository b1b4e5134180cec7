"""`narrate` of an execution plan: which lines are spoken, in which order and how far apart. Pure.

What belongs here: from params to the order of a narration. What does not: what becomes of it (speech/narration.py, defs/narrating.py).
"""

from __future__ import annotations

from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.film_params import MOST_LINES, Narrate

# One line, as engines take it; a paragraph that is longer is cut after a sentence.
MOST_CHARS = 4_000


def order_of(asked: Narrate) -> dict[str, Any]:
    """The narration as it is asked for everywhere (speech/order.py): every line in order."""
    if asked.lines is not None:
        given = [(each.text, each.voice, each.speed, each.pauseAfter) for each in asked.lines]
    else:
        given = [(text, None, None, None) for text in paragraphs(asked.text or "")]
    lines = [_present(text=text, voice=voice, speed=speed, delayAfter=pause) for text, voice, speed, pause in given]
    # None after the last, whatever was asked for.
    lines[-1]["delayAfter"] = 0.0
    return {"lines": lines, **_present(voice=asked.voice, engine=asked.engine), "speed": asked.speed, "gap": asked.gap}


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
