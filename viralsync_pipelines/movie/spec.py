"""The movie JSON as users write it: movie, scene, output, and reading one with every fault named at once.

What belongs here: the outer models, their limits, and turning validation faults into Problems with pointers.
What does not: layers (layers.py), templates (templates.py), anything measured or planned.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.layers import ID_PATTERN, MAX_SECONDS, Layer, Model
from viralsync_pipelines.movie.lengths import ColorField

MAX_SCENES = 2_000
MAX_LAYERS = 200

PRESETS: Mapping[str, tuple[int, int]] = {
    "shorts": (1080, 1920),
    "reels": (1080, 1920),
    "tiktok": (1080, 1920),
    "square": (1080, 1080),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "4k": (3840, 2160),
}

# ffmpeg's xfade names, as printed by the pinned build; `cut` is ours.
XFADES = [
    "fade", "wipeleft", "wiperight", "wipeup", "wipedown", "slideleft", "slideright", "slideup", "slidedown", "circlecrop",
    "rectcrop", "distance", "fadeblack", "fadewhite", "radial", "smoothleft", "smoothright", "smoothup", "smoothdown",
    "circleopen", "circleclose", "vertopen", "vertclose", "horzopen", "horzclose", "dissolve", "pixelize", "diagtl",
    "diagtr", "diagbl", "diagbr", "hlslice", "hrslice", "vuslice", "vdslice", "hblur", "fadegrays", "wipetl", "wipetr",
    "wipebl", "wipebr", "squeezeh", "squeezev", "zoomin", "fadefast", "fadeslow", "hlwind", "hrwind", "vuwind", "vdwind",
    "coverleft", "coverright", "coverup", "coverdown", "revealleft", "revealright", "revealup", "revealdown",
]


def parse_fps(value: Any) -> Fraction:
    """Frames per second from 30, 29.97 or "30000/1001"; 1 to 60."""
    try:
        fps = Fraction(value) if isinstance(value, str | int | Fraction) and len(str(value)) <= 24 else Fraction(repr(float(value)))
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise PydanticCustomError("fps", 'this is no frame rate; write 30 or "30000/1001"') from None
    if isinstance(value, bool) or not 1 <= fps <= 60 or fps.denominator > 10_000:
        raise PydanticCustomError("fps", "the frame rate must lie between 1 and 60")
    return fps


def _transition_type(value: Any) -> str:
    if value == "cut" or value in XFADES:
        return str(value)
    near = difflib.get_close_matches(str(value)[:40], ["cut", *XFADES], n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise PydanticCustomError("transition_type", "no transition has this name{hint}", {"hint": hint})


class Transition(Model):
    """How this scene takes over from the one before; the two overlap by `duration` seconds."""

    type: Annotated[
        str, PlainValidator(_transition_type), WithJsonSchema({"enum": ["cut", *XFADES], "type": "string"})
    ] = "fade"
    duration: Annotated[float, Field(ge=0, le=30)] = 0.5


class Scene(Model):
    id: Annotated[str, Field(pattern=ID_PATTERN)]
    duration: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | Literal["auto"] = "auto"
    bgColor: ColorField | None = None  # noqa: N815 - the wire's name
    layers: Annotated[list[Layer], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    transition: Transition | None = None


class Ducking(Model):
    """Beds fall to `amount` under speech, over `attack` seconds, and rise over `release`; pauses under `merge` stay low."""

    amount: Annotated[float, Field(ge=0, le=1)] = 0.25
    attack: Annotated[float, Field(ge=0.01, le=5)] = 0.15
    release: Annotated[float, Field(ge=0.01, le=10)] = 0.4
    merge: Annotated[float, Field(ge=0, le=10)] = 0.6


class Audio(Model):
    """loudness: integrated LUFS, None leaves levels alone. truePeak: dBTP ceiling."""

    loudness: Annotated[float, Field(ge=-40, le=-5)] | None = -14.0
    truePeak: Annotated[float, Field(ge=-9, le=-1)] = -1.5  # noqa: N815 - the wire's name
    ducking: Ducking = Field(default_factory=Ducking)


class Output(Model):
    """draft is half size and fast; quality never changes timing."""

    quality: Literal["draft", "standard", "high"] = "standard"
    format: Literal["mp4"] = "mp4"


class Movie(Model):
    id: Annotated[str, Field(pattern=ID_PATTERN)] | None = None
    title: Annotated[str, Field(max_length=500)] = "Untitled Movie"
    preset: Literal["shorts", "reels", "tiktok", "square", "720p", "1080p", "4k"] | None = None
    width: Annotated[int, Field(ge=360, le=3840, multiple_of=2)] = 1920
    height: Annotated[int, Field(ge=360, le=3840, multiple_of=2)] = 1080
    fps: Annotated[
        Fraction,
        PlainValidator(parse_fps),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"anyOf": [{"type": "number", "minimum": 1, "maximum": 60}, {"type": "string"}]}),
    ] = Field(default=30, validate_default=True)
    bgColor: ColorField = Field(default="#000000", validate_default=True)  # noqa: N815 - the wire's name
    scenes: Annotated[list[Scene], Field(min_length=1, max_length=MAX_SCENES)]
    layers: Annotated[list[Layer], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    audio: Audio = Field(default_factory=Audio)
    output: Output = Field(default_factory=Output)

    @model_validator(mode="before")
    @classmethod
    def _preset_gives_size(cls, data: Any) -> Any:
        size = PRESETS.get(str(data.get("preset"))) if isinstance(data, dict) else None
        return {"width": size[0], "height": size[1], **data} if size else data


# pydantic's error types on the left; the stable codes users may rely on to the right.
_CODES = {
    "missing": "FIELD_MISSING",
    "extra_forbidden": "FIELD_UNKNOWN",
    "union_tag_invalid": "LAYER_TYPE_UNKNOWN",
    "union_tag_not_found": "FIELD_MISSING",
    "literal_error": "VALUE_NOT_ALLOWED",
    "transition_type": "VALUE_NOT_ALLOWED",
    "color": "COLOR_INVALID",
    "length": "LENGTH_INVALID",
    "fps": "VALUE_OUT_OF_RANGE",
    "finite_number": "NUMBER_INVALID",
    "string_pattern_mismatch": "ID_INVALID",
    "string_too_long": "TEXT_TOO_LONG",
    "too_long": "TOO_MANY",
    "too_short": "FIELD_MISSING",
    "multiple_of": "VALUE_OUT_OF_RANGE",
    "greater_than": "VALUE_OUT_OF_RANGE",
    "greater_than_equal": "VALUE_OUT_OF_RANGE",
    "less_than": "VALUE_OUT_OF_RANGE",
    "less_than_equal": "VALUE_OUT_OF_RANGE",
    "string_too_short": "VALUE_OUT_OF_RANGE",
    "keyframes": "KEYFRAMES_INVALID",
    "auto_fit": "VALUE_OUT_OF_RANGE",
    "voice_text": "FIELD_MISSING",
}


def read_movie(document: Any, locate: Callable[[str], str] = lambda pointer: pointer) -> tuple[Movie | None, list[Problem]]:
    """Validate an expanded document. Problems point into the user's own document through `locate`."""
    problems: list[Problem] = []
    movie: Movie | None = None
    try:
        movie = Movie.model_validate(document)
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False, include_context=True), document)
    if movie is not None:
        problems = _check_whole(movie)
    unique = {(p.pointer, p.code): Problem(locate(p.pointer), p.code, p.message) for p in reversed(problems)}
    return movie, sorted(set(unique.values()))


def _problems(errors: list[ErrorDetails], document: Any) -> list[Problem]:
    grouped: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_pointer(error["loc"], document, error["type"]), []).append(error)
    return [_problem(pointer, group) for pointer, group in grouped.items()]


def _problem(pointer: str, group: list[ErrorDetails]) -> Problem:
    # A union gives one error per member; the most telling one is not a bare type mismatch.
    first = min(group, key=lambda e: (e["type"].endswith("_type"), e["type"] == "literal_error"))
    code = _CODES.get(first["type"], "TYPE_WRONG")
    message = first["msg"].replace("Input should be", "this should be").replace("Input should have", "this should have")
    if code == "FIELD_UNKNOWN":
        name = str(first["loc"][-1])[:64]
        message = f"there is no field {name!r} here; check the spelling or remove it (`viralsync schema` lists the fields)"
    elif first["type"] == "missing":
        message = f"the field {str(first['loc'][-1])!r} is required here; add it"
    elif first["type"] == "union_tag_invalid":
        ctx = first.get("ctx") or {}
        message = f"no layer has the type {ctx.get('tag')!r}; use one of {ctx.get('expected_tags')}"
    elif first["type"] == "union_tag_not_found":
        message = "a layer needs a `type`; add one"
    elif len(group) > 1 and first["type"].endswith("_type"):
        message = " or ".join(dict.fromkeys(str(e["msg"]).removeprefix("Input should be ") for e in group))
        message = f"this should be {message}"
    return Problem(pointer, code, message[:500])


def _pointer(loc: tuple[int | str, ...], document: Any, kind: str) -> str:
    """RFC 6901 pointer to the fault; names of union members in pydantic's path are no part of the document."""
    node, parts = document, []
    for index, key in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(node, dict) and node.get("type") == key and index and loc[index - 1] != "layers" and isinstance(loc[index - 1], int):
            continue  # the discriminator's tag, which for text layers is the name of a field too
        if isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        elif isinstance(node, dict) and key in node:
            node = node[str(key)]
        elif isinstance(node, dict) and last and kind == "missing":
            node = None
        else:
            continue
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _check_whole(movie: Movie) -> list[Problem]:
    """Faults that show only when the movie is seen whole: ids that clash, transitions before the first scene."""
    problems = []
    seen: dict[str, int] = {}
    for index, scene in enumerate(movie.scenes):
        if scene.id in seen:
            problems.append(
                Problem(f"/scenes/{index}/id", "SCENE_ID_DUPLICATE", f"scene {seen[scene.id]} has the id {scene.id!r} too; rename one")
            )
        seen.setdefault(scene.id, index)
        problems += _check_layer_ids(scene.layers, f"/scenes/{index}/layers")
    problems += _check_layer_ids(movie.layers, "/layers")
    return problems


def _check_layer_ids(layers: list[Any], at: str) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for index, layer in enumerate(layers):
        if layer.id is not None and layer.id in seen:
            problems.append(Problem(f"{at}/{index}/id", "LAYER_ID_DUPLICATE", f"another layer here has the id {layer.id!r}; rename one"))
        if layer.id is not None:
            seen.add(layer.id)
    return problems
