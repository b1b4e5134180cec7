"""What a narration is asked to be, as it comes in: a script or lines, voices by name, a bed, words to be said otherwise.

What belongs here: the fields with their limits, and each fault with its place. What does not: what becomes of it (narration.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.movie.layers import MAX_TEXT, Volume
from viralsync_pipelines.movie.wording import problems_of

MOST_LINES = 500
MOST_SCRIPT = 200_000
MOST_FRONT = 20_000
Name = Annotated[str, Field(min_length=1, max_length=200)]
Key = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Pause = Annotated[float, Field(ge=0, le=60)]
Rate = Annotated[float, Field(ge=0.25, le=4)]
Share = Annotated[float, Field(ge=0, le=1)]
Src = Annotated[str, Field(min_length=1, max_length=2_000)]
# mm:ss, hh:mm:ss or seconds, each with up to a millisecond.
STAMP = r"^(?:(?:\d{1,2}:)?\d{1,3}:)?\d{1,5}(?:\.\d{1,3})?$"
Stamp = Annotated[str, Field(pattern=STAMP, max_length=20)] | Annotated[float, Field(ge=0, le=36_000)]

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)(?:\r?\n)?^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class _Fields(BaseModel):
    """Unknown fields are errors; values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Voice(_Fields):
    """Who speaks, and how; what is left out is as for the whole narration. style, stability, similarity: for engines that have them."""

    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    voice: Name | None = None
    speed: Rate | None = None
    pitch: Annotated[float, Field(ge=0.25, le=4)] | None = None
    style: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    stability: Share | None = None
    similarity: Share | None = None
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$")] | None = None
    fallback: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=264)], ...], Field(max_length=8)] | None = None


class OwnAudio(_Fields):
    """One's own recording in place of a voice. start, end: the part of it that is the line, as mm:ss or in seconds."""

    src: Src
    start: Stamp = 0.0
    end: Stamp | None = None


class Row(Voice):
    """A line (text, or audio of one's own, or both), or a sound effect (sfx). section: its title begins a new section here.

    delayAfter: seconds of silence after it. under: the sound plays beneath what follows.
    """

    text: Text | None = None
    ssml: bool = False
    name: Key | None = None
    audio: OwnAudio | None = None
    sfx: Src | None = None
    volume: Volume = 1.0
    under: bool = False
    delayAfter: Pause | None = None  # noqa: N815 - the wire's name
    section: Annotated[str, Field(max_length=300)] | None = None
    context: Annotated[tuple[Annotated[str, Field(max_length=5_000)], ...], Field(max_length=200)] = ()


def _as_row(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


# A text alone is a line. No union: of one that is wrong it tells what is wrong with both.
Line = Annotated[Row, BeforeValidator(_as_row, json_schema_input_type=Row | Text)]


class Bed(_Fields):
    """Music beneath the voice. mode: loop fills the narration, trim ends with it, once plays to its own end. duck: under words."""

    src: Src
    volume: Volume = 0.2
    mode: Literal["loop", "trim", "once"] = "loop"
    fadeIn: Pause = 0.5  # noqa: N815 - the wire's name
    fadeOut: Pause = 1.5  # noqa: N815 - the wire's name
    duck: bool = False


class NarrationOrder(Voice):
    """Either script, in Markdown, or lines. The voice's fields hold for every line that has none of its own; cast: voices by name.

    gap: seconds between lines; sectionGap: between sections. lead: before the first line. dictionary: word -> how it is said, for all
    languages or for one. normalize: numbers, units and signs are said in the language's own words.
    """

    shown: ClassVar[str] = "narration"

    title: Annotated[str, Field(max_length=300)] = ""
    script: Annotated[str, Field(min_length=1, max_length=MOST_SCRIPT)] | None = None
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=2 * MOST_LINES)] | None = None
    cast: Annotated[dict[Key, Voice], Field(max_length=100)] = Field(default_factory=dict)
    dictionary: Annotated[dict[Key, Name | Annotated[dict[Key, Name], Field(max_length=2_000)]], Field(max_length=2_000)] = Field(
        default_factory=dict
    )
    normalize: bool = True
    gap: Pause = 0.3
    sectionGap: Pause = 0.8  # noqa: N815 - the wire's name
    lead: Pause = 0.0
    bed: Bed | None = None


class NarrationInvalid(MovieInvalid):
    what = "narration"


def read_order(document: Mapping[str, Any], at: str = "") -> NarrationOrder:
    """The order, with what the script's front matter says where the document says nothing. Raises NarrationInvalid."""
    order = _validated(document, at)
    if (order.script is None) == (order.lines is None):
        told = "say what is to be spoken: either `script` or `lines`, exactly one of them"
        raise NarrationInvalid([Problem(f"{at}/script", "FIELD_MISSING", told)])
    if order.script is None:
        return order
    front, body = front_matter(order.script, f"{at}/script")
    own = {name: value for name, value in front.items() if name in NarrationOrder.model_fields and name not in {"script", "lines"}}
    merged = {**own, **document, "script": body or " "}
    for name in ("cast", "dictionary"):
        if isinstance(own.get(name), Mapping) and isinstance(document.get(name), Mapping):
            merged[name] = {**own[name], **document[name]}
    try:
        return _validated(merged, at)
    except NarrationInvalid as error:
        # The document alone was right: whatever is wrong stands in the script.
        faults = [Problem(f"{at}/script", p.code, f"front matter, {p.pointer or '/'}: {p.message}") for p in error.problems]
        raise NarrationInvalid(faults) from None


def _validated(document: Mapping[str, Any], at: str) -> NarrationOrder:
    try:
        return NarrationOrder.model_validate(dict(document))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = sorted(problems_of(found, dict(document), NarrationOrder, at))
        # Where two kinds of value are taken, a fault inside of one of them tells more than that it is not the other.
        inner = [p for p in problems if p.code != "TYPE_WRONG" or not any(other.pointer.startswith(f"{p.pointer}/") for other in problems)]
        raise NarrationInvalid(inner[:100]) from None


def front_matter(script: str, at: str = "/script") -> tuple[dict[str, Any], str]:
    """What stands in YAML between `---` at a script's very beginning, and the rest of it. No such block: nothing, and all of it.

    Raises NarrationInvalid for a block that is no YAML. One that is no mapping is text between two rules, as Markdown has it.
    """
    found = _FRONT.match(script[:MOST_FRONT])
    if found is None or not re.match(r"\s*[\w\"'#-]+[^\n]*:|\s*#", found[1]):
        return {}, script.removeprefix("\ufeff")
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    try:
        # An alias may stand for a billion values.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(found[1], yaml.SafeLoader)):
            raise NarrationInvalid([Problem(at, "FRONT_MATTER_INVALID", "the front matter has an alias (*name); write the value out")])
        values = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 2}" if mark is not None else ""
        why = getattr(error, "problem", None) or type(error).__name__
        told = f"the front matter is no YAML{place}: {why}; mend it, or remove the block"
        raise NarrationInvalid([Problem(at, "FRONT_MATTER_INVALID", told)]) from None
    if not isinstance(values, dict):
        return {}, script
    return {str(name): value for name, value in values.items()}, script[found.end() :]


def seconds_of(stamp: str | float) -> float:
    """Seconds of a stamp such as 1:02.5; of a number, itself."""
    if not isinstance(stamp, str):
        return float(stamp)
    seconds = 0.0
    for part in stamp.split(":"):
        seconds = 60 * seconds + float(part)
    return round(seconds, 3)
