"""The movie JSON as users write it: movie, scene, output, and reading one with every fault named at once.

What belongs here: the outer models, their limits, and turning validation faults into Problems with pointers.
What does not: layers (layers.py), templates (templates.py), anything measured or planned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.layers import ID_PATTERN, MAX_SECONDS, Captions, Layer, Model, Timed
from viralsync_pipelines.movie.lengths import ColorField
from viralsync_pipelines.movie.voicing import Speech, filled
from viralsync_pipelines.movie.wording import near, problems_of

MAX_SCENES = 2_000
MAX_LAYERS = 200
# In the whole movie: 1,000 scenes of 20 layers are planned in seconds, and a plan of 400,000 would fill the memory.
MAX_ALL_LAYERS = 20_000
# Values in one layer, scene or movie (without its parts); the largest layer that is worth anything has 5,000. pydantic keeps
# 600 bytes for each fault: a document of 8 MB full of faults would otherwise take a gigabyte to refuse.
MAX_VALUES = 10_000
MAX_PROBLEMS = 500

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


_FPS = re.compile(r"\d{1,8}(\.\d{1,8})?|\d{1,8}/\d{1,8}")


def parse_fps(value: Any) -> Fraction:
    """Frames per second from 30, 29.97 or "30000/1001"; 1 to 60."""
    # Fraction alone would take "1e999999999" as well, and work on it until the memory is full.
    text = value if isinstance(value, str) else repr(value) if isinstance(value, int | float) and abs(value) < 1e6 else ""
    try:
        fps = value if isinstance(value, Fraction) else Fraction(text) if _FPS.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        fps = Fraction(0)
    if isinstance(value, bool) or not 1 <= fps <= 60 or fps.denominator > 10_000:
        raise PydanticCustomError("fps", 'this is no frame rate between 1 and 60; write a number such as 30, or "30000/1001"')
    return fps


def _transition_type(value: Any) -> str:
    if value == "cut" or value in XFADES:
        return str(value)
    hint = near(str(value)[:40], ["cut", *XFADES], 0.4) or "; `viralsync schema` lists them"
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
    captions: Captions | None = None
    audio: Audio = Field(default_factory=Audio)
    speech: Speech | None = None
    output: Output = Field(default_factory=Output)

    @model_validator(mode="before")
    @classmethod
    def _preset_gives_size(cls, data: Any) -> Any:
        size = PRESETS.get(str(data.get("preset"))) if isinstance(data, dict) else None
        return {"width": size[0], "height": size[1], **data} if size else data


@dataclass
class Reading:
    """What a document turned out to be. movie: None when there are problems of form.

    For finding more faults of a movie that is not valid as a whole. layers: every valid layer by its pointer in the expanded
    document. rough: the movie with blanks for its faulty layers and scenes; blanks: pointers of scenes that hold any.
    voiced: for each voice layer, by its pointer, the fields that it has from the movie's `speech`.
    """

    movie: Movie | None = None
    problems: list[Problem] = field(default_factory=list)
    layers: dict[str, Any] = field(default_factory=dict)
    rough: Movie | None = None
    blanks: frozenset[str] = frozenset()
    voiced: dict[str, frozenset[str]] = field(default_factory=dict)


_LAYER: TypeAdapter[Any] = TypeAdapter(Layer)


def read_movie(document: Any, locate: Callable[[str], str] = lambda pointer: pointer) -> Reading:
    """Validate an expanded document. Problems point into the user's own document through `locate`, at most 500 of them.

    Part by part, so that memory and time stay bounded however many faults there are.
    """
    reading = Reading()
    reading.problems = list(_problems(document, reading))
    if len(reading.problems) > MAX_PROBLEMS:
        more = Problem("", "TOO_MANY_PROBLEMS", f"there are more than {MAX_PROBLEMS} problems; the rest is not listed")
        reading.problems = [*reading.problems[:MAX_PROBLEMS], more]
        reading.movie = None
    unique = {(p.pointer, p.code): Problem(locate(p.pointer), p.code, p.message) for p in reversed(reading.problems)}
    reading.problems = sorted(set(unique.values()))
    return reading


def _problems(document: Any, reading: Reading) -> Iterator[Problem]:
    problems: list[Problem] = []
    crowd = _crowd(document)
    if crowd is not None:
        yield crowd
        return
    scenes = _list_in(document, "scenes")
    problems += _doubled_ids(scenes, "/scenes", "SCENE_ID_DUPLICATE", "scene")
    speech = _speech_in(document)
    read: list[Any] = []
    for index, scene in enumerate(scenes):
        at = f"/scenes/{index}"
        parts = {**scene, "layers": _layers(scene, at, problems, reading, speech)} if _list_in(scene, "layers") else scene
        read.append(_read(Scene.model_validate, parts, Scene, scene, at, problems))
        if len(problems) > MAX_PROBLEMS:
            break
    whole = document
    if isinstance(document, dict):
        whole = {**document, **({"scenes": read} if scenes else {})}
        if _list_in(document, "layers"):
            whole["layers"] = _layers(document, "", problems, reading, speech)
    movie = _read(Movie.model_validate, whole, Movie, document, "", problems)
    if isinstance(movie, Movie):
        reading.rough = movie
        if movie.captions is not None:
            reading.layers["/captions"] = movie.captions
        reading.movie = movie if not problems else None
        reading.blanks = frozenset("/".join(p.pointer.split("/")[:3]) for p in problems if p.pointer.startswith("/scenes/"))
    yield from problems


# Stands where a part has faults of its own, so that the rest can be judged.
_BLANK_LAYER = _LAYER.validate_python({"type": "shape"})
_BLANK_SCENE = Scene(id="blank")


def _speech_in(document: Any) -> dict[str, Any]:
    """The movie's `speech` as written; nothing when it is faulty, which is then told at its own place."""
    found = document.get("speech") if isinstance(document, dict) else None
    try:
        Speech.model_validate(found)
    except ValidationError:
        return {}
    return found if isinstance(found, dict) else {}


def _layers(holder: Any, at: str, problems: list[Problem], reading: Reading, speech: Mapping[str, Any]) -> list[Any]:
    layers = holder["layers"]
    problems += _doubled_ids(layers, f"{at}/layers", "LAYER_ID_DUPLICATE", "layer")
    if len(layers) > MAX_LAYERS:
        told = f"there are {len(layers):,} layers; at most {MAX_LAYERS} are taken, so split the scene"
        problems.append(Problem(f"{at}/layers", "TOO_MANY", told))
    read = []
    for index, layer in enumerate(layers[:MAX_LAYERS]):
        place = f"{at}/layers/{index}"
        before = len(problems)
        said = layer
        if speech and isinstance(layer, dict) and layer.get("type") == "voice":
            said = filled(layer, speech)
            reading.voiced[place] = frozenset(said.keys() - layer.keys())
        read.append(_read(_LAYER.validate_python, said, Timed, layer, place, problems))
        if len(problems) == before:
            reading.layers[place] = read[-1]
        elif len(problems) > MAX_PROBLEMS:
            break
    return read


def _read(
    validate: Callable[[Any], Any], value: Any, model: type[BaseModel], source: Any, at: str, problems: list[Problem]
) -> Any:
    """The value as its model, or a blank that is valid in its place, its faults being noted."""
    try:
        if _values(source) > MAX_VALUES:
            problems.append(Problem(at, "TOO_MANY", f"there are more than {MAX_VALUES:,} values in here; use fewer"))
        else:
            return validate(value)
    except ValidationError as error:
        problems += problems_of(error.errors(include_url=False, include_input=False), source, model, at)
    return _BLANK_LAYER if model is Timed else _BLANK_SCENE


def _values(node: Any) -> int:
    """Values in a document's part without the scenes and layers in it; stops counting a little above MAX_VALUES."""
    count, waiting = 0, [node]
    while waiting and count <= MAX_VALUES:
        each = waiting.pop()
        if isinstance(each, dict):
            count += len(each)
            if count <= MAX_VALUES:
                waiting += [v for k, v in each.items() if isinstance(v, dict | list) and k not in {"scenes", "layers"}]
        elif isinstance(each, list):
            count += len(each)
            if count <= MAX_VALUES:
                waiting += [v for v in each if isinstance(v, dict | list)]
    return count


def _crowd(document: Any) -> Problem | None:
    scenes = _list_in(document, "scenes")
    if len(scenes) > MAX_SCENES:
        told = f"there are {len(scenes):,} scenes; at most {MAX_SCENES:,} are taken, so split the movie"
        return Problem("/scenes", "TOO_MANY_SCENES", told)
    count = sum(len(_list_in(holder, "layers")) for holder in (document, *scenes))
    if count > MAX_ALL_LAYERS:
        told = f"the movie has {count:,} layers in all; at most {MAX_ALL_LAYERS:,} are taken, so split it into parts"
        return Problem("/scenes", "TOO_MANY_LAYERS", told)
    return None


def _list_in(holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def _doubled_ids(items: list[Any], at: str, code: str, what: str) -> list[Problem]:
    ids = [item.get("id") if isinstance(item, dict) else None for item in items]
    count = Counter(each for each in ids if isinstance(each, str))
    first = {each: ids.index(each) for each, times in count.items() if times > 1}
    return [
        Problem(f"{at}/{n}/id", code, f"{what} {first[each]} has the id {each[:64]!r} too; rename one of them")
        for n, each in enumerate(ids)
        if isinstance(each, str) and n > first.get(each, n)
    ]
