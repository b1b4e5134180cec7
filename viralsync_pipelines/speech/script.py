"""A script in Markdown as sections of lines, sounds and pauses. Pure.

What belongs here: which text is spoken by whom, and what is only a direction. What does not: Markdown inside a line (markdown.py), which
voice a name has (order.py), how a line is said (normal.py).

A script with `**Name:** line` is a screenplay. In all scripts headings, `---` and bold lines begin sections; in one that has no such
marks, or only one, every paragraph is a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from viralsync_pipelines.speech.markdown import WHOLE_DIRECTION, plain, without_directions

# One line, as engines take it; what is longer is cut after a sentence.
MOST_CHARS = 4_000
PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
Form = Literal["screenplay", "markers", "paragraphs"]

_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+(.*))?")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|={3,})[ \t]*")
_BOLD = re.compile(r"[ \t]*(?:\*\*([^*]{1,200})\*\*|__([^_]{1,200})__):?[ \t]*")
_ASIDE = r"(?:[ \t]*\*\([^)]{0,300}\)\*[ \t]*)?"
_NAMED = re.compile(rf"[ \t]*(?:[-*+][ \t]+)?\*\*([^*:]{{1,80}})(?::\*\*{_ASIDE}|\*\*{_ASIDE}[ \t]*:)[ \t]*(.*)")
_SOUND = re.compile(r"[ \t]*\[sfx:[ \t]*([^\]\n]{1,2000})\][ \t]*", re.IGNORECASE)
_PAUSE = re.compile(r"\[pause(?:[ \t]*:?[ \t]*(\d{1,6}(?:\.\d{1,3})?)[ \t]*(ms|s|sec|seconds?)?)?\]", re.IGNORECASE)
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+(?=\S)")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")


@dataclass(frozen=True)
class Say:
    """A line. name: who says it, None for the narrator. pause: seconds after it, None for the usual gap. row: of the script, from 1."""

    text: str
    name: str | None = None
    pause: float | None = None
    row: int = 0


@dataclass(frozen=True)
class Sound:
    """A sound between lines. under: it plays beneath what follows, which does not wait for it."""

    src: str
    volume: float = 1.0
    under: bool = False
    pause: float | None = None
    row: int = 0


@dataclass(frozen=True)
class Section:
    """title: "" for none. context: its directions, which nobody says."""

    title: str
    rows: tuple[Say | Sound, ...]
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class Script:
    """title: a heading over everything. lead: seconds of silence before the first line."""

    title: str
    sections: tuple[Section, ...]
    form: Form
    lead: float = 0.0

    @property
    def lines(self) -> tuple[Say, ...]:
        return tuple(row for section in self.sections for row in section.rows if isinstance(row, Say))


def read_script(text: str) -> Script:
    """Every text is a script; one without a word to say has no sections with lines."""
    rows = _uncommented(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    screenplay = any((found := _NAMED.fullmatch(row)) is not None and found[2].strip() for row in rows)
    reader = _Reader(screenplay)
    for number, row in enumerate(rows, 1):
        reader.take(row, number)
    reader.end_paragraph()
    drafts = [Section(each.title, tuple(each.rows), tuple(each.context)) for each in reader.sections]
    title, sections = _titled([section for section in drafts if section.rows or section.title or section.context])
    form: Form = "screenplay" if screenplay else "markers"
    if not screenplay and len(sections) <= 1:
        form = "paragraphs"
        title = ": ".join(part for part in (title, *(each.title for each in sections)) if part)
        sections = [part for each in sections for part in _paragraphs(each)]
    return Script(title, tuple(sections), form, reader.lead)


def _titled(sections: Sequence[Section]) -> tuple[str, list[Section]]:
    """A title with nothing below it belongs to what follows; the first one, when others follow, is the script's own."""
    title, waiting = "", ""
    found: list[Section] = []
    context: tuple[str, ...] = ()
    for number, section in enumerate(sections):
        if not section.rows and number + 1 < len(sections):
            if number == 0 and section.title:
                title = section.title
            elif section.title:
                waiting = f"{waiting}: {section.title}" if waiting else section.title
            context += section.context
            continue
        named = ": ".join(part for part in (waiting, section.title) if part)
        if not section.rows and found:
            # Nothing is said at the end any more.
            last = found[-1]
            told = tuple(part for part in (named,) if part)
            found[-1] = replace(last, context=(*last.context, *context, *told, *section.context))
        else:
            found.append(replace(section, title=named, context=(*context, *section.context)))
        waiting, context = "", ()
    return title, found


def _paragraphs(section: Section) -> Iterator[Section]:
    """Each line a section; sounds go with the line after them."""
    waiting: list[Say | Sound] = []
    first = True
    for row in section.rows:
        waiting.append(row)
        if isinstance(row, Say):
            yield Section("", tuple(waiting), section.context if first else ())
            waiting, first = [], False
    if waiting or first:
        yield Section("", tuple(waiting), section.context if first else ())


def _uncommented(text: str) -> str:
    """Without <!-- comments -->; rows keep their numbers."""
    parts, done = [], 0
    while (start := text.find("<!--", done)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts += [text[done:start], "\n" * text.count("\n", start, end)]
        done = end + 3
    return "".join([*parts, text[done:]])


@dataclass
class _Draft:
    title: str = ""
    rows: list[Say | Sound] = field(default_factory=list)
    context: list[str] = field(default_factory=list)


@dataclass
class _Reader:
    """Takes a script row by row."""

    screenplay: bool
    sections: list[_Draft] = field(default_factory=lambda: [_Draft()])
    lead: float = 0.0
    name: str | None = None
    waiting: list[str] = field(default_factory=list)
    since: int = 0

    def take(self, row: str, number: int) -> None:
        if not row.strip():
            self.end_paragraph()
            return
        heading, bold, sound = _HEADING.fullmatch(row), _BOLD.fullmatch(row), _SOUND.fullmatch(row)
        named = _NAMED.fullmatch(row) if self.screenplay else None
        if named is not None:
            self.end_paragraph()
            self.directed(row[: named.start(2)])
            self.name = " ".join(plain(named[1]).split()) or None
            self.wait(named[2], number)
        elif heading is not None:
            self.begin((heading[1] or "").rstrip(" \t#"))
        elif bold is not None:
            self.begin(bold[1] or bold[2])
        elif _RULE.fullmatch(row):
            self.begin("")
        elif sound is not None:
            self.end_paragraph()
            self.sound(sound[1], number)
        elif WHOLE_DIRECTION.fullmatch(row.strip()):
            # On a row of its own, in the middle of a paragraph too.
            self.end_paragraph()
            self.directed(row)
        else:
            item = _ITEM.match(row)
            if item is not None:
                self.end_paragraph()
                row = row[item.end() :]
            self.wait(_QUOTE.sub("", row, count=1) if _QUOTE.match(row) else row, number)

    def wait(self, row: str, number: int) -> None:
        if not self.waiting:
            self.since = number
        if row.strip():
            self.waiting.append(row.strip())

    def begin(self, title: str) -> None:
        self.end_paragraph()
        self.name = None
        said, directions = without_directions(title)
        self.sections.append(_Draft(" ".join(plain(said).rstrip(":").split()), context=list(directions)))

    def directed(self, text: str) -> None:
        """What a row that is no line holds of directions."""
        whole = WHOLE_DIRECTION.fullmatch(text.strip())
        found = (whole[1] or whole[2] or whole[3],) if whole is not None else without_directions(text)[1]
        self.sections[-1].context += [words for each in found if (words := " ".join(plain(each).split()))]

    def sound(self, told: str, number: int) -> None:
        src, *options = (part.strip() for part in told.split("|"))
        volume, under = 1.0, False
        for option in options:
            level = re.fullmatch(r"volume[ =:]*(\d(?:\.\d{1,3})?)", option, re.IGNORECASE)
            volume = min(2.0, float(level[1])) if level is not None else volume
            under = under or option.lower() == "under"
        self.add(Sound(src, volume, under, row=number))

    def end_paragraph(self) -> None:
        text, self.waiting = "\n".join(self.waiting), []
        if not text:
            return
        said, directions = without_directions(text)
        self.sections[-1].context += directions
        done = 0
        for found in (*_PAUSE.finditer(said), None):
            part = said[done : found.start() if found is not None else len(said)]
            for line in cut_lines(" ".join(plain(part).split())):
                self.add(Say(line, self.name, None, self.since))
            if found is not None:
                self.pause(_seconds(found))
                done = found.end()

    def add(self, row: Say | Sound) -> None:
        self.sections[-1].rows.append(row)

    def pause(self, seconds: float) -> None:
        """After what was there last; several in a row are one."""
        section = next((each for each in reversed(self.sections) if each.rows), None)
        if section is not None:
            last = section.rows[-1]
            section.rows[-1] = replace(last, pause=min(LONGEST_PAUSE_S, (last.pause or 0.0) + seconds))
            return
        self.lead = min(LONGEST_PAUSE_S, self.lead + seconds)


def _seconds(found: re.Match[str]) -> float:
    if found[1] is None:
        return PAUSE_S
    return min(LONGEST_PAUSE_S, float(found[1]) / (1000 if (found[2] or "").lower() == "ms" else 1))


def cut_lines(text: str) -> list[str]:
    """What is too long for a line is cut after a sentence, else between words."""
    found, rest = [], text.strip()
    while len(rest) > MOST_CHARS:
        cut = max(rest.rfind(mark, 0, MOST_CHARS) + 1 for mark in (". ", "! ", "? ", "; ", "。", "\uff01", "\uff1f"))
        cut = cut if cut > 0 else rest.rfind(" ", 0, MOST_CHARS)
        cut = cut if cut > 0 else MOST_CHARS
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*found, rest] if rest else found
