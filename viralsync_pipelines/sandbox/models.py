"""The sandbox's models: which there are, what each takes, and what is wrong with an input.

What belongs here: names, fields, the check that a submit passes before anything is taken. What does not: making media (making.py).
The program's own catalogue of them is generate/catalog/sandbox.json; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Makes = Literal["image", "video", "audio", "voice", "talking_head"]
# Width over height.
ASPECTS: Mapping[str, tuple[int, int]] = {
    "16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "3:2": (3, 2), "2:3": (2, 3), "4:5": (4, 5),
    "5:4": (5, 4), "21:9": (21, 9), "9:21": (9, 21),
}  # fmt: skip
RESOLUTIONS: Mapping[str, int] = {"240p": 240, "480p": 480, "720p": 720, "1080p": 1080}
_KINDS: Mapping[str, Any] = {"string": (str,), "uri": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}


@dataclass(frozen=True)
class Field:
    """One input. low and high: bounds of a number, or of a text's length."""

    name: str
    kind: str = "string"
    required: bool = False
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A model. either: of these inputs at least one is given."""

    name: str
    makes: Makes
    fields: tuple[Field, ...]
    either: tuple[str, ...] = ()


_PROMPT = Field("prompt", required=True, low=1, high=4000)
_SEED = Field("seed", "integer", low=0, high=2**32 - 1)
_CANNED = Field("canned", "boolean", default=False)
_SPEED = Field("speed", "number", default=1.0, low=0.5, high=2.5)
_VOICE = Field("voice", high=100)


def _aspect(default: str) -> Field:
    return Field("aspect_ratio", default=default, choices=tuple(ASPECTS))


def _side(name: str) -> Field:
    return Field(name, "integer", low=64, high=2048)


_VIDEO = (
    _PROMPT, Field("image", "uri"), _aspect("16:9"), Field("resolution", default="480p", choices=tuple(RESOLUTIONS)), _SEED, _CANNED,
)  # fmt: skip
_RECIPES = (
    Recipe(
        "sandbox/image", "image",
        (_PROMPT, _SEED, _aspect("1:1"), _side("width"), _side("height"), _CANNED),
    ),
    Recipe("sandbox/video", "video", (*_VIDEO, Field("duration", "number", default=5, low=1, high=10))),
    Recipe("sandbox/audio", "audio", (_PROMPT, Field("duration", "number", default=10, low=1, high=60), _SEED, _CANNED)),
    Recipe("sandbox/voice", "voice", (Field("text", required=True, low=1, high=5000), _VOICE, _SPEED, _CANNED)),
    Recipe(
        "sandbox/talking_head", "talking_head",
        (Field("image", "uri", required=True), Field("audio", "uri"), Field("text", low=1, high=5000), _VOICE, _SPEED, _CANNED),
        either=("audio", "text"),
    ),
    # So that what is written for the real one can be tried here; its own default of 1080p would only cost time.
    Recipe("bytedance/seedance-1-pro", "video", (*_VIDEO, Field("duration", "number", default=5, low=1, high=12))),
)  # fmt: skip
MODELS: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _RECIPES}


def checked(recipe: Recipe, given: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The input with its defaults, and faults as (place, sentence). Inputs that the model does not know are left out, as there. Pure."""
    if not isinstance(given, Mapping):
        return {}, [("input", "Invalid type. Expected: object")]
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for field in recipe.fields:
        value = given.get(field.name)
        if value is None:
            if field.required:
                faults.append((f"input.{field.name}", f"{field.name} is required"))
            values[field.name] = field.default
            continue
        wrong = _fault(field, value)
        if wrong:
            faults.append((f"input.{field.name}", wrong))
        values[field.name] = value
    if recipe.either and not any(values.get(name) for name in recipe.either):
        faults.append((f"input.{recipe.either[0]}", f"one of {' and '.join(recipe.either)} is required"))
    return values, faults


def _fault(field: Field, value: Any) -> str:
    if not isinstance(value, _KINDS[field.kind]) or (isinstance(value, bool) and field.kind != "boolean"):
        return f"Invalid type. Expected: {'string' if field.kind == 'uri' else field.kind}, given: {_json_type(value)}"
    if field.choices and value not in field.choices:
        return f"{field.name} must be one of the following: {', '.join(map(repr, field.choices))}"
    if field.kind == "uri" and not str(value).startswith(("https://", "http://", "data:")):
        return "Does not match format 'uri'"
    size: float = len(value) if isinstance(value, str) else value
    if field.low is not None and size < field.low:
        return f"Must be greater than or equal to {field.low:g}" if not isinstance(value, str) else "String length must be at least 1"
    # Written so that a number that is none (NaN) is refused too.
    if field.high is not None and not size <= field.high:
        return f"Must be {'at most' if isinstance(value, str) else 'less than or equal to'} {field.high:g}"
    return ""


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
