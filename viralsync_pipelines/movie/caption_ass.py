"""ASS and SSA, read into cues: text, times, and words where syllables are timed for karaoke. Pure.

What belongs here: that. What does not: writing ASS, which is a look as much as a text; SRT and VTT (caption_text.py).
"""

# pysubs2 reads both, and writes what we burn. It is not used here: it takes fields by their usual order and not by the file's own
# Format line, has no line numbers for errors, warns where a number cannot be read, and knows no karaoke.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.movie.cues import Cue, Piece, bounded, checked, clean, counted, within_limits, words_in

_USUAL = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_TIME = re.compile(r"(-?)(\d{1,4}):(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,3}))?")
_BLOCK = re.compile(r"(\{[^{}]*\}|\\[NnhH{}])")
_KARAOKE = re.compile(r"\\(kt|kf|ko|k|K)(\d{1,7}(?:\.\d+)?)")
_DRAWING = re.compile(r"\\p(\d+)")


def read_ass(text: str) -> tuple[Cue, ...]:
    """The spoken lines of an ASS or SSA script, in the file's order; comments and drawings are passed over. Raises CaptionsInvalid."""
    fields: Sequence[str] = _USUAL
    section, wrapped = "", True
    cues: list[Cue] = []
    for number, line in enumerate(text.split("\n"), 1):
        kind, colon, rest = line.strip().partition(":")
        kind = kind.lower()
        if kind.startswith("[") and "]" in kind:
            section = kind
        elif kind == "wrapstyle":
            wrapped = rest.strip() != "2"
        elif colon and kind == "format" and section == "[events]":
            fields = [name.strip().lower() for name in rest.split(",")]
            if not {"start", "end", "text"} <= set(fields) or fields[-1] != "text":
                raise CaptionsInvalid("this Format line must name Start, End and, at its end, Text", line=number)
        elif colon and kind == "dialogue":
            parts = rest.lstrip().split(",", len(fields) - 1)
            if len(parts) < len(fields):
                told = f"this line has {len(parts)} of its {len(fields)} fields; write {', '.join(fields)}"
                raise CaptionsInvalid(told, line=number)
            counted(len(cues) + 1)
            cues.append(_cue(dict(zip(fields, parts, strict=True)), wrapped, number))
    return within_limits(cues, "ASS; write Dialogue lines with words below [Events]")


def _cue(line: Mapping[str, str], wrapped: bool, number: int) -> Cue:
    start, end = _ms(line["start"], number), _ms(line["end"], number)
    pieces, karaoke = _pieces(bounded(line["text"], number), start, end, wrapped)
    text = clean("".join(piece.text for piece in pieces))
    raw = line["text"].strip()
    return checked(Cue(start, end, text, words_in(pieces) if karaoke else (), raw if raw != text else None), number)


def _pieces(text: str, start: int, end: int, wrapped: bool) -> tuple[list[Piece], bool]:
    """The text between the tags by syllables, each with its time, and whether any is timed."""
    pieces = [Piece("", start, start)]
    # In hundredths of a second, from the line's start: summed before it is rounded.
    clock, drawing, karaoke = 0.0, False, False
    for part in _BLOCK.split(text):
        if part.startswith("{") and part.endswith("}"):
            for tag, value in _KARAOKE.findall(part):
                karaoke = True
                begins = float(value) if tag == "kt" else clock
                clock = begins if tag == "kt" else clock + float(value)
                now, until = (min(end, start + round(10 * at)) for at in (begins, clock))
                pieces.append(Piece("", now, max(now, until)))
            for value in _DRAWING.findall(part):
                drawing = int(value) > 0
        elif not drawing and part:
            last = pieces[-1]
            pieces[-1] = replace(last, text=last.text + _plain(part, wrapped))
    return pieces, karaoke


def _plain(part: str, wrapped: bool) -> str:
    # \n breaks a line only where the script does not wrap lines by itself.
    return {"\\N": "\n", "\\n": " " if wrapped else "\n", "\\h": "\u00a0", "\\{": "{", "\\}": "}"}.get(part, part)


def _ms(text: str, number: int) -> int:
    found = _TIME.fullmatch(text.strip())
    if found is None or int(found[3]) > 59 or int(found[4]) > 59:
        raise CaptionsInvalid(f"{text.strip()[:40]!r} is no time; write 0:00:01.00", line=number)
    ms = (int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4])) * 1000 + int((found[5] or "0").ljust(3, "0"))
    return -ms if found[1] else ms
