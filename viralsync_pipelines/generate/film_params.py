"""What merge, layer, addSubtitles, render and narrate are asked to do: their params as they come in, each fault with its place.

What belongs here: fields, their limits, other names by which they are known. What does not: the films made of them (montage.py,
layering.py, subtitles.py), spoken lines (utterances.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.markers import marker_of
from viralsync_pipelines.movie.layers import MAX_SECONDS, MAX_TEXT, Anchor, Model, Seconds
from viralsync_pipelines.movie.lengths import ColorField, LengthField
from viralsync_pipelines.movie.spec import MAX_LAYERS, Transition, parse_fps
from viralsync_pipelines.movie.wording import problems_of

MOST_ITEMS = 500
# Two hours at three words a second.
MOST_WORDS = 20_000
MOST_CUE = 1_000
MOST_LINES = 500
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}):")
_OPEN = frozenset({"http", "https", "s3", "job", "resource", "file"})


def _source(value: str) -> str:
    """A source that can be one: whether it is there is seen when it is brought in."""
    if marker_of(value) is not None:
        return value
    if value.startswith("$") or "JobDependency" in value[:30]:
        raise PydanticCustomError("source", "this names no job; write $jobId, or $jobId.outputs[1] for its second result")
    scheme = _SCHEME.match(value)
    if not value.strip() or (scheme is not None and scheme[1].lower() not in _OPEN):
        told = "this is no source; give an https:// address, job:<jobId>, or $jobId for the result of another job"
        raise PydanticCustomError("source", told)
    return value


Source = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_source)]
Length = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=360, le=3840, multiple_of=2)]
Media = Literal["video", "image", "audio"]
Fit = Literal["cover", "contain", "fill", "none"]


class _Params(Model):
    """A field that is null is one that was left out, and some have a second name."""

    also: ClassVar[Mapping[str, str]] = {}
    alone: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _as_object(cls, data: Any) -> Any:
        if isinstance(data, str) and cls.alone:
            return {cls.alone: data}
        if not isinstance(data, Mapping):
            return data
        own = {name: value for name, value in data.items() if value is not None}
        for other, name in cls.also.items():
            if other in own and name not in own:
                own[name] = own.pop(other)
        return own


class Frame(_Params):
    """The film's size and rate; what is left out comes from the first picture, or is 1080 x 1920 at 30."""

    preset: Literal["shorts", "reels", "tiktok", "square", "720p", "1080p", "4k"] | None = None
    width: Side | None = None
    height: Side | None = None
    fps: Any = None
    duration: Length | None = None

    @model_validator(mode="after")
    def _rate(self) -> Frame:
        if self.fps is not None:
            parse_fps(self.fps)
        return self


class _Film(_Params):
    output: Frame = Field(default_factory=Frame)
    bgColor: ColorField | None = None  # noqa: N815 - the wire's name

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        """The output's fields may stand beside the others."""
        if not isinstance(data, Mapping) or not isinstance(data.get("output", {}), Mapping):
            return data
        flat = {name: data[name] for name in Frame.model_fields if name in data and name not in cls.model_fields}
        kept = {name: value for name, value in data.items() if name not in flat}
        return {**kept, "output": {**flat, **(data.get("output") or {})}} if flat else kept


class Item(_Params):
    """One thing to be joined: pictures and clips one after the other, sounds at their offset over all of them."""

    also: ClassVar[Mapping[str, str]] = {"media": "url", "src": "url"}
    alone: ClassVar[str] = "url"

    url: Source
    type: Media | None = None
    duration: Length | None = None
    offset: Seconds | None = None
    volume: Share = 1.0
    fit: Fit | None = None
    transition: Transition | None = None


class Merge(_Film):
    items: Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
    transition: Transition | None = None
    fit: Fit = "cover"


class Box(_Params):
    """A place of one's own: the top left corner unless `anchor` says otherwise."""

    x: LengthField | None = None
    y: LengthField | None = None
    width: LengthField | None = None
    height: LengthField | None = None
    anchor: Anchor = "top-left"


class ChromaKeyed(_Params):
    alone: ClassVar[str] = "color"

    color: ColorField | None = None
    similarity: Annotated[float, Field(gt=0, le=1)] | None = None
    blend: Share | None = None


class LayerParams(_Params):
    also: ClassVar[Mapping[str, str]] = {"url": "media", "src": "media"}

    media: Source
    type: Media | None = None
    placement: Annotated[str, Field(max_length=100)] | Box | None = None
    chromaKey: bool | ChromaKeyed | None = None  # noqa: N815 - the wire's name
    chromaKeyColor: ColorField | None = None  # noqa: N815 - the wire's name
    similarity: Annotated[float, Field(gt=0, le=1)] | None = None
    blend: Share | None = None
    duration: Length | None = None
    start: Seconds = 0.0
    main: bool = False
    loop: bool = False
    volume: Share = 1.0
    fit: Fit | None = None


class Layered(_Film):
    layers: Annotated[list[LayerParams], Field(min_length=1, max_length=MAX_LAYERS)]


class TimedWord(_Params):
    also: ClassVar[Mapping[str, str]] = {"text": "word"}

    word: Annotated[str, Field(min_length=1, max_length=200)]
    start: Seconds
    end: Seconds


class Segment(_Params):
    text: Annotated[str, Field(min_length=1, max_length=MOST_CUE)]
    start: Seconds
    end: Seconds


class Subtitles(_Film):
    """Exactly one of words, segments and srt. words may be a marker: of a job that spoke them."""

    also: ClassVar[Mapping[str, str]] = {"videoUrl": "video", "url": "video", "transcript": "words", "subtitles": "srt"}

    video: Source
    words: Annotated[list[TimedWord], Field(min_length=1, max_length=MOST_WORDS)] | Source | None = None
    segments: Annotated[list[Segment], Field(min_length=1, max_length=MOST_WORDS)] | None = None
    srt: Annotated[str, Field(min_length=1, max_length=2_000_000)] | None = None
    style: Literal["tiktok", "youtube", "story", "minimal", "cinematic"] = "tiktok"
    highlight: Literal["none", "color", "scale", "glow"] = "none"
    wordsPerCaption: Annotated[int, Field(ge=1, le=50)] | None = None  # noqa: N815 - the wire's name
    secondsPerCaption: Annotated[float, Field(ge=0.2, le=60)] | None = None  # noqa: N815 - the wire's name
    charactersPerCaption: Annotated[int, Field(ge=1, le=500)] | None = None  # noqa: N815 - the wire's name
    position: Literal["bottom", "center", "top"] = "bottom"
    fontFamily: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # noqa: N815 - the wire's name
    fontSize: LengthField | None = None  # noqa: N815 - the wire's name
    color: ColorField | None = None


class Render(_Params):
    """movie: a movie JSON, markers in place of sources. variables: values for its `variables`."""

    movie: dict[str, Any]
    variables: dict[str, Any] = Field(default_factory=dict)
    draft: bool = False


class Utterance(_Params):
    alone: ClassVar[str] = "text"

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    voice: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    speed: Annotated[float, Field(ge=0.25, le=4)] | None = None
    pauseAfter: Annotated[float, Field(ge=0, le=60)] | None = None  # noqa: N815 - the wire's name


class Narrate(_Params):
    """Either text, each paragraph a line, or lines. gap: seconds between lines."""

    text: Annotated[str, Field(min_length=1, max_length=200_000)] | None = None
    lines: Annotated[list[Utterance], Field(min_length=1, max_length=MOST_LINES)] | None = None
    voice: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    gap: Annotated[float, Field(ge=0, le=10)] = 0.3


PARAMS: Mapping[str, type[_Params]] = {
    "merge": Merge, "layer": Layered, "addSubtitles": Subtitles, "render": Render, "narrate": Narrate,
}  # fmt: skip


def read_params(operation: str, params: Mapping[str, Any], at: str) -> tuple[Any, list[Problem]]:
    """The params as their model, or None and what is wrong with them."""
    model = PARAMS[operation]
    try:
        return model.model_validate(dict(params)), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = problems_of([each for each in found if each["type"] != "source"], dict(params), model, at)
        refused = problems_of([each for each in found if each["type"] == "source"], dict(params), model, at)
        every = {*problems, *(replace(each, code="SOURCE_REFUSED") for each in refused)}
        # Where two kinds of value are taken, a fault inside of one of them tells more than that it is not the other.
        above = tuple(each.pointer for each in every)
        return None, sorted(
            each for each in every if each.code != "TYPE_WRONG" or not any(one.startswith(f"{each.pointer}/") for one in above)
        )
