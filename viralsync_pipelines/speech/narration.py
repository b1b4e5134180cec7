"""From what is asked for to rows in their order: who says what, how it is said, and how long the silence after it is. Pure.

What belongs here: expanding a script into lines, and lines into what engines are given. What does not: fields (order.py), reading
Markdown (script.py), where everything stands in time (track.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.engine import ENGINES, one_of
from viralsync_pipelines.speech.normal import spoken_form
from viralsync_pipelines.speech.order import (
    MOST_LINES,
    Bed,
    NarrationInvalid,
    NarrationOrder,
    OwnAudio,
    Row,
    Voice,
    read_order,
    seconds_of,
)
from viralsync_pipelines.speech.reading import Reading, as_written
from viralsync_pipelines.speech.script import Say, Sound, read_script

_LINE = frozenset(each.name for each in fields(Line))
_VOICE = tuple(Voice.model_fields)


@dataclass(frozen=True)
class Spoken:
    """A line. number: among lines, from 1; section: which, from 0. reading: as written and as said, None for SSML. own: a recording in
    place of a voice. pause: seconds after it."""

    number: int
    section: int
    name: str | None
    line: Line
    reading: Reading | None
    own: OwnAudio | None
    pause: float

    @property
    def text(self) -> str:
        return self.reading.written if self.reading is not None else self.line.text


@dataclass(frozen=True)
class Effect:
    """A sound between lines. under: what follows does not wait for it."""

    section: int
    src: str
    volume: float
    under: bool
    pause: float


@dataclass(frozen=True)
class Part:
    """A section. context: its directions."""

    title: str
    context: tuple[str, ...]


@dataclass(frozen=True)
class Narration:
    title: str
    parts: tuple[Part, ...]
    rows: tuple[Spoken | Effect, ...]
    lead: float
    bed: Bed | None

    @property
    def lines(self) -> tuple[Spoken, ...]:
        return tuple(row for row in self.rows if isinstance(row, Spoken))


def expanded(order: NarrationOrder) -> dict[str, Any]:
    """The same order as JSON values with every line on its own, so that single ones can be changed. What it is given has been read."""
    document = order.model_dump(mode="json", exclude_unset=True)
    if order.script is None:
        return document
    script = read_script(order.script)
    rows: list[dict[str, Any]] = []
    for section in script.sections:
        for number, row in enumerate(section.rows):
            made = _row_of(row)
            if number == 0 and (len(script.sections) > 1 or section.title or section.context):
                made = {**made, "section": section.title, "context": list(section.context)}
            rows.append(made)
    document = {name: value for name, value in document.items() if name != "script"}
    title = order.title or script.title
    return {**document, "lines": rows, **({"title": title[:300]} if title else {}), "lead": max(order.lead, script.lead)}


def planned(document: Mapping[str, Any], at: str = "") -> tuple[dict[str, Any], Narration]:
    """An order as it came in, expanded, and its rows. Raises NarrationInvalid; faults of a script's lines are faults of the script."""
    order = read_order(document, at)
    script = expanded(order)
    try:
        return script, narration_of(read_order(script), at)
    except NarrationInvalid as error:
        if order.script is None:
            raise
        own, lines = f"{at}/script", f"{at}/lines"
        moved = {Problem(own, p.code, p.message) if p.pointer.startswith(lines) else p for p in error.problems}
        raise NarrationInvalid(sorted(moved)) from None


def place_of_line(script: Mapping[str, Any], number: int) -> int | None:
    """Where among all rows of an expanded order its n-th line stands, from 0; None for a line that is not there."""
    places = [at for at, row in enumerate(script["lines"]) if row.get("sfx") is None]
    return places[number - 1] if 1 <= number <= len(places) else None


def with_line(script: Mapping[str, Any], place: int, change: Mapping[str, Any]) -> dict[str, Any]:
    """The order with one of its rows changed; None takes a field out. Raises NarrationInvalid, with places in the change."""
    rows = list(script["lines"])
    rows[place] = {name: value for name, value in {**rows[place], **change}.items() if value is not None}
    changed = {**script, "lines": rows}
    try:
        narration_of(read_order(changed))
    except NarrationInvalid as error:
        own = f"/lines/{place}"
        raise NarrationInvalid([Problem(p.pointer.removeprefix(own), p.code, p.message) for p in error.problems]) from None
    return changed


def _row_of(row: Say | Sound) -> dict[str, Any]:
    pause = {"delayAfter": row.pause} if row.pause is not None else {}
    if isinstance(row, Sound):
        return {"sfx": row.src, "volume": row.volume, "under": row.under, **pause}
    return {"text": row.text, **({"name": row.name[:80]} if row.name else {}), **pause}


def narration_of(order: NarrationOrder, at: str = "") -> Narration:
    """The rows. order: expanded. Raises NarrationInvalid, every fault with its place."""
    given = order.lines or ()
    problems = [Problem(f"{at}/lines/{n}{place}", code, told) for n, row in enumerate(given) for place, code, told in _faults(row)]
    count = sum(row.sfx is None for row in given)
    if count == 0:
        problems.append(Problem(f"{at}/lines", "FIELD_MISSING", "there is nothing to say in this; write something"))
    if count > MOST_LINES:
        told = f"this has {count:,} lines; at most {MOST_LINES} are spoken at once, so split it"
        problems.append(Problem(f"{at}/lines", "TOO_MANY", told))
    named = [("", order), *((f"/cast/{name.replace('~', '~0').replace('/', '~1')}", voice) for name, voice in order.cast.items())]
    for place, voice in named:
        if voice.engine is not None and voice.engine not in ENGINES:
            told = f"there is no speech engine {voice.engine!r}; use {one_of(ENGINES, voice.engine)}"
            problems.append(Problem(f"{at}{place}/engine", "ENGINE_NOT_FOUND", told))
    if problems:
        raise NarrationInvalid(sorted(problems)[:100])
    cast = {name.casefold(): voice for name, voice in order.cast.items()}
    parts: list[Part] = []
    rows: list[Spoken | Effect] = []
    number = 0
    for at_row, row in enumerate(given):
        if row.section is not None or not parts:
            parts.append(Part(row.section or "", row.context))
        following = given[at_row + 1] if at_row + 1 < len(given) else None
        usual = 0.0 if following is None else order.gap if following.section is None else max(order.gap, order.sectionGap)
        # A sound that plays beneath what follows takes no time of its own.
        pause = row.delayAfter if row.delayAfter is not None else 0.0 if row.sfx is not None and row.under else usual
        if row.sfx is not None:
            rows.append(Effect(len(parts) - 1, row.sfx, row.volume, row.under, pause))
            continue
        number += 1
        line, reading = _line_of(row, order, cast.get((row.name or "").casefold()))
        rows.append(Spoken(number, len(parts) - 1, row.name, line, reading, row.audio, pause))
    return Narration(order.title, tuple(parts), tuple(rows), order.lead, order.bed)


def _faults(row: Row) -> Iterator[tuple[str, str, str]]:
    if row.sfx is not None:
        for name in ("text", "audio", "name"):
            if getattr(row, name) is not None:
                yield f"/{name}", "VALUE_NOT_ALLOWED", f"a sound effect has no {name}; give it a row of its own"
    elif row.engine is not None and row.engine not in ENGINES:
        yield "/engine", "ENGINE_NOT_FOUND", f"there is no speech engine {row.engine!r}; use {one_of(ENGINES, row.engine)}"
    elif row.audio is None and not (row.text or "").strip():
        yield "/text", "FIELD_MISSING", "there is nothing to say here; write something, or give `audio` or `sfx`"
    elif row.audio is not None and row.audio.end is not None and seconds_of(row.audio.end) <= seconds_of(row.audio.start):
        yield "/audio/end", "VALUE_OUT_OF_RANGE", "this ends before it begins; put its times in order"


def _line_of(row: Row, order: NarrationOrder, cast: Voice | None) -> tuple[Line, Reading | None]:
    chosen: dict[str, Any] = {}
    # From the nearest outwards; another engine's voice and its ways mean nothing to this one.
    for level in (row, cast, order):
        if level is None:
            continue
        foreign = level is not row and chosen.get("engine") is not None and level.engine != chosen["engine"]
        own = {name: getattr(level, name) for name in _VOICE if getattr(level, name) is not None}
        if foreign:
            own = {name: value for name, value in own.items() if name in {"speed", "pitch", "language", "fallback"}}
        chosen = {**own, **chosen}
    language = chosen.get("language") or "en"
    text = row.text or ""
    ways = {name: value for name, value in chosen.items() if name in _LINE}
    if row.ssml:
        return Line(text, ssml=True, **ways), None
    reading = spoken_form(text, language, order.dictionary) if order.normalize else _by_dictionary(text, order.dictionary, language)
    return Line(reading.said, **ways), reading


def _by_dictionary(text: str, dictionary: Mapping[str, Any], language: str) -> Reading:
    from viralsync_pipelines.speech.pronounce import pronounced

    return pronounced(as_written(text), dictionary, language)
