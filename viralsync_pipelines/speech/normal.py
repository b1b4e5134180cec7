# ruff: noqa: RUF001 - signs that look alike are told apart here
"""Written text as it is spoken: signs, units, abbreviations, addresses, dashes and dots, language by language. Pure.

What belongs here: finding what is not said as it is written. What does not: how it is said (tongues.py), a user's own words
(pronounce.py), numbers, which every engine reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from viralsync_pipelines.speech.pronounce import Dictionary, pronounced
from viralsync_pipelines.speech.reading import Change, Reading, as_written, rewritten
from viralsync_pipelines.speech.tongues import Tongue, form_for, tongue_of

_NUMBER = r"\d+(?:[.,\u00a0\u202f]\d+)*"
_GAP = r"[ \u00a0\u202f]?"
_TLD = "com|org|net|io|dev|app|ai|tv|co|me|info|edu|gov|de|fr|es|it|nl|pl|ru|uk|us|eu|ch|at|be|ca|au|jp|cn|in|br"
# Bounded, so that no text takes more than its length to read.
_ADDRESS = re.compile(
    rf"(?<![\w@.])(?:(https?://)(?=\S)([^\s<>\"'()\[\]]{{1,500}})|((?:[\w-]{{1,63}}\.){{1,5}}(?:{_TLD})(?:/[^\s<>\"'()\[\]]{{0,300}})?))(?![\w@])",
    re.IGNORECASE,
)
_MAIL = re.compile(r"(?<![\w.+-])([\w.+-]{1,64})@((?:[\w-]{1,63}\.){1,5}\w{2,24})(?!\w)")
_DASH = re.compile(r"[ \u00a0]*(?:[—―]|--+)[ \u00a0]*|[ \u00a0]+[–-][ \u00a0]+")
_RANGE = re.compile(rf"(?<![\w.,–-])({_NUMBER})({_GAP}[–—]{_GAP}|-)({_NUMBER})(?![\w–-])")
_DOTS = re.compile(r"…+|\.{3,}")
_DATES = re.compile(r"\d{1,4}-\d{1,2}-\d{1,4}")
_THIN = re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))")
_BETWEEN = re.compile(rf"(?<=\d)({_GAP})([+=×])({_GAP})(?=\d)")
_AND = re.compile(r"(?<=\s)&(?=\s)")
_MARKS = re.compile(r"[.?!,;:]+$")


def spoken_form(text: str, language: str = "en", dictionary: Dictionary | None = None) -> Reading:
    """How a text is said: the user's own words first, and nothing changes those afterwards.

    Dashes become commas and ellipses full stops, whatever the language; the rest is in the language's own words, where they are known.
    """
    reading = pronounced(as_written(text), dictionary or {}, language)
    tongue = tongue_of(language)
    if tongue.signs:
        reading = rewritten(reading, _MAIL, lambda found: _spelt(found[0], tongue), fix=True)
        reading = rewritten(reading, _ADDRESS, lambda found: _address(found, tongue), fix=True)
        for pattern, said in _short(tongue):
            reading = rewritten(reading, pattern, _ended(said, reading))
        reading = rewritten(reading, _money(tongue), lambda found: _paid(found, tongue))
        reading = rewritten(reading, _unit(tongue), lambda found: _measured(found, tongue))
        reading = rewritten(reading, _RANGE, lambda found: _to(found, tongue))
        reading = rewritten(reading, _BETWEEN, lambda found: [(found.start(), found.end(), f" {tongue.signs[found[2]]} ")])
        reading = rewritten(reading, _AND, lambda _: tongue.signs["&"])
        if tongue.grouped:
            reading = rewritten(reading, _thousands(tongue.grouped), lambda _: "")
    reading = rewritten(reading, _THIN, lambda _: "")
    reading = rewritten(reading, _DOTS, _stop)
    return rewritten(reading, _DASH, _comma)


def _comma(found: re.Match[str]) -> str | None:
    """A dash at either end of a line, or after another mark, needs no comma."""
    before, after = found.string[: found.start()].rstrip(), found.string[found.end() :].lstrip()
    if not before or not after:
        return " "
    return " " if before[-1] in ",.;:!?" else ", "


def _stop(found: re.Match[str]) -> str:
    before = found.string[: found.start()]
    if not before.strip():
        return " "
    following = found.string[found.end() : found.end() + 1]
    # "Wait...what" is two words.
    return ". " if following.isalnum() else "."


def _address(found: re.Match[str], tongue: Tongue) -> list[Change]:
    """Without https:// and www., and without the mark of the sentence that it ends."""
    whole = found[0]
    end = found.end() - len((_MARKS.search(whole) or [""])[0])
    bare = re.sub(r"^(https?://)?(www\.)?", "", found.string[found.start() : end], flags=re.IGNORECASE).rstrip("/")
    return [(found.start(), end, _spelt(bare, tongue))] if bare else []


def _spelt(address: str, tongue: Tongue) -> str:
    said = "".join(f" {tongue.signs[char]} " if char in "@./-_" else char for char in address)
    return " ".join(re.sub(r"[?=&%#:;,~+]+", " ", said).split())


def _ended(said: str, reading: Reading) -> Callable[[re.Match[str]], str]:
    """An abbreviation that ends the line keeps its full stop."""

    def change(found: re.Match[str]) -> str:
        last = found[0].endswith(".") and not reading.said[found.end() :].strip()
        return f"{said}." if last else said

    return change


def _paid(found: re.Match[str], tongue: Tongue) -> Iterator[Change]:
    """$5 million -> 5 million dollars; the sign alone moves, so that the number stays what it was."""
    sign, number, scale = found["sign"], found["number"], found["scale"] or ""
    forms = tongue.money[sign]
    said = forms[-1] if scale else form_for(forms, number, tongue)
    yield found.start(), found.end(), f"{number}{scale} {said}"


def _measured(found: re.Match[str], tongue: Tongue) -> Iterator[Change]:
    number, sign = found["number"], found["unit"]
    if sign == "s" and not found["gap"]:
        return  # the 1990s
    forms = tongue.units[sign] if sign in tongue.units else tongue.money[sign]
    yield found.start("gap"), found.end("unit"), f" {form_for(forms, number, tongue)}"


def _to(found: re.Match[str], tongue: Tongue) -> Iterator[Change]:
    """10-20, but neither 2024-05-01 nor a telephone's 555-0100."""
    telephone = found[3].startswith("0") or (len(found[1]), len(found[3])) == (3, 4)
    if found[2] == "-" and (telephone or _DATES.match(found.string, found.start())):
        return
    yield found.start(2), found.end(2), f" {tongue.signs['to']} "


@cache
def _short(tongue_key: Tongue) -> tuple[tuple[re.Pattern[str], str], ...]:
    found = []
    for short, said in sorted(tongue_key.short.items(), key=lambda each: -len(each[0])):
        after = r"(?=\s*\d)" if short in {"No.", "no."} else r"(?!\w)"
        found.append((re.compile(rf"(?<![\w.]){re.escape(short)}{after}"), said))
    return tuple(found)


@cache
def _money(tongue: Tongue) -> re.Pattern[str]:
    signs = "|".join(re.escape(sign) for sign in sorted(tongue.money, key=len, reverse=True)) or r"(?!)"
    scale = r"(?: (?:thousand|million|billion|trillion))?"
    return re.compile(rf"(?<!\w)(?P<sign>{signs}){_GAP}(?P<number>{_NUMBER})(?P<scale>{scale})(?!\w)")


@cache
def _unit(tongue: Tongue) -> re.Pattern[str]:
    signs = "|".join(re.escape(sign) for sign in sorted({*tongue.units, *tongue.money}, key=lambda sign: (-len(sign), sign)))
    return re.compile(rf"(?<![\w.,])(?P<number>{_NUMBER})(?P<gap>{_GAP})(?P<unit>{signs})(?![\w/²³°])")


@cache
def _thousands(mark: str) -> re.Pattern[str]:
    """Every mark of 1.234.567, and none of 3.14 or 192.168.1.1."""
    sign = re.escape(mark)
    return re.compile(rf"(?<=\d){sign}(?=\d{{3}}(?:{sign}\d{{3}}){{0,6}}(?![\d{sign}]))")
