"""What pydantic found, in the words of the person who wrote the document: one Problem for each place.

What belongs here: codes, sentences, pointers, suggestions. What does not: the fields themselves (spec.py, layers.py), and faults
that show only when a movie is seen whole (spec.py, plan.py).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.layers import Layer, Timed

# pydantic's error types on the left; the stable codes users may rely on to the right. What is not listed is TYPE_WRONG.
_CODES: Mapping[str, str] = {
    "missing": "FIELD_MISSING",
    "extra_forbidden": "FIELD_UNKNOWN",
    "union_tag_invalid": "LAYER_TYPE_UNKNOWN",
    "union_tag_not_found": "FIELD_MISSING",
    "literal_error": "VALUE_NOT_ALLOWED",
    "transition_type": "VALUE_NOT_ALLOWED",
    "color": "COLOR_INVALID",
    "length": "LENGTH_INVALID",
    "length_range": "VALUE_OUT_OF_RANGE",
    "fps": "VALUE_OUT_OF_RANGE",
    "finite_number": "NUMBER_INVALID",
    "string_pattern_mismatch": "ID_INVALID",
    "string_too_long": "TEXT_TOO_LONG",
    "too_long": "TOO_MANY",
    "too_short": "FIELD_MISSING",
    "string_too_short": "FIELD_MISSING",
    "multiple_of": "VALUE_OUT_OF_RANGE",
    "greater_than": "VALUE_OUT_OF_RANGE",
    "greater_than_equal": "VALUE_OUT_OF_RANGE",
    "less_than": "VALUE_OUT_OF_RANGE",
    "less_than_equal": "VALUE_OUT_OF_RANGE",
    "keyframes": "KEYFRAMES_INVALID",
    "keyframe_range": "VALUE_OUT_OF_RANGE",
    "caption_times": "VALUE_OUT_OF_RANGE",
    "auto_fit": "VALUE_OUT_OF_RANGE",
    "voice_text": "FIELD_MISSING",
}

# What a field wants to be, by pydantic's error type.
_WANTED: Mapping[str, str] = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list [ ]",
    "dict_type": "an object { }",
    "model_type": "an object { }",
    "model_attributes_type": "an object { }",
}

# Fields that are worked out before validation and so stand in no model.
WORKED_OUT: Mapping[str, tuple[str, ...]] = {
    "Movie": ("variables",),
    "Scene": ("condition", "iterate", "iterateAs", "variables"),
    "Layer": ("condition",),
}


def problems_of(errors: Iterable[ErrorDetails], document: Any, model: type[BaseModel], at: str = "") -> list[Problem]:
    """A Problem for each place that `errors` (of validating `document` as `model`) name; `at` is the document's own pointer."""
    grouped: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        pointer = _pointer(error, document, model) + str((error.get("ctx") or {}).get("at", ""))
        grouped.setdefault(pointer, []).append(error)
    return [Problem(at + pointer, *_told(pointer, group, document, model)) for pointer, group in grouped.items()]


def near(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """What to add to a sentence: "; did you mean 'x' or 'y'?", or "" when nothing is close."""
    lower = {each.lower(): each for each in words}
    short = word[:64].lower()
    found = difflib.get_close_matches(short, lower, n=2, cutoff=cutoff)
    if len(found) == 2:
        best, other = (difflib.SequenceMatcher(None, short, each).ratio() for each in found)
        found = found if best - other < 0.15 else found[:1]
    return f"; did you mean {' or '.join(repr(lower[each]) for each in found)}?" if found else ""


def _told(pointer: str, group: list[ErrorDetails], document: Any, model: type[BaseModel]) -> tuple[str, str]:
    """Code and sentence for all errors of one place."""
    # A union gives one error for each member; the most telling is neither a wrong type nor a wrong word.
    first = min(group, key=lambda e: (e["type"].endswith(("_type", "_parsing")), e["type"] == "literal_error"))
    kind, ctx = first["type"], first.get("ctx") or {}
    if first["loc"] and first["loc"][-1] == "[key]":
        name, allowed = str(first["loc"][-2]), _literals([first])
        hint = near(name, allowed) or f"; the keys are {', '.join(allowed)}"
        return "FIELD_UNKNOWN", f"{_shown(name)} cannot be animated{hint}"
    if kind in _WANTED or kind == "literal_error":
        return _wanted(group, _value_at(document, pointer))
    code = _CODES.get(kind, "TYPE_WRONG")
    match kind:
        case "missing":
            told = f"the field {str(first['loc'][-1])!r} is missing here; add it"
        case "extra_forbidden":
            told = _unknown_field(pointer, document, model)
        case "union_tag_invalid":
            types = [each.strip().strip("'") for each in str(ctx.get("expected_tags", "")).split(",")]
            hint = near(str(ctx.get("tag")), types)
            told = f"no layer has the type {_shown(ctx.get('tag'))}{hint or '; the types are ' + ', '.join(types)}"
        case "union_tag_not_found":
            told = "the field 'type' is missing here; add it, such as \"type\": \"text\""
        case "string_pattern_mismatch":
            told = f"{_shown(_value_at(document, pointer))} is no id; use 1 to 64 letters, digits, '-' and '_'"
        case "string_too_long":
            length = len(str(_value_at(document, pointer)))
            told = f"this text has {length:,} characters; at most {ctx.get('max_length', 0):,} are taken, so shorten or split it"
        case "string_too_short":
            told = "this is empty; write something, or remove it"
        case "too_long":
            told = f"there are {ctx.get('actual_length', 0):,} entries; at most {ctx.get('max_length', 0):,} are taken, so use fewer"
        case "too_short":
            least = ctx.get("min_length", 1)
            told = f"{ctx.get('actual_length', 0)} here is too few; at least {least} are needed" if least > 1 else "this is empty; add one"
        case "greater_than":
            told = f"{_shown(_value_at(document, pointer))} is too small; it must be more than {ctx.get('gt'):g}"
        case "greater_than_equal":
            told = f"{_shown(_value_at(document, pointer))} is too small; the least is {ctx.get('ge'):g}"
        case "less_than_equal" | "less_than":
            told = f"{_shown(_value_at(document, pointer))} is too large; the most is {ctx.get('le', ctx.get('lt')):g}"
        case "multiple_of":
            told = f"{_shown(_value_at(document, pointer))} is odd; videos have even sides, so write an even number"
        case "string_unicode":
            told = "this text holds half a character (a lone surrogate); write it again"
        case _:
            told = first["msg"]
    return code, told[:600]


def _wanted(group: Sequence[ErrorDetails], value: Any) -> tuple[str, str]:
    """The sentence for a value of the wrong kind, or a word that is not one of those allowed."""
    kinds = list(dict.fromkeys(_WANTED[e["type"]] for e in group if e["type"] in _WANTED))
    words = _literals(group)
    if isinstance(value, str) and words:
        hint = near(value, words)
        right = " or ".join([*kinds, _listed(words)])
        return "VALUE_NOT_ALLOWED", f"{_shown(value)} is not known here{hint or f'; write {right}'}"
    right = " or ".join([*kinds, *([_listed(words)] if words else [])])
    remedy = ""
    if value is None:
        remedy = "; leave the field out to get its default"
    elif isinstance(value, str) and "number" in right and _is_number(value):
        remedy = "; take the quotes away"
    elif "text" in kinds and isinstance(value, int | float):
        remedy = "; put it in quotes"
    return "TYPE_WRONG", f"this should be {right}, not {_kind(value)}{remedy}"


def _literals(group: Iterable[ErrorDetails]) -> list[str]:
    words: list[str] = []
    for error in group:
        if error["type"] == "literal_error":
            expected = str((error.get("ctx") or {}).get("expected", "")).replace(" or ", ", ")
            words += [each.strip().strip("'") for each in expected.split(",")]
    return list(dict.fromkeys(words))


def _listed(words: Sequence[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {_shown(value)}"
    if isinstance(value, str):
        return f"the text {_shown(value)}"
    return "a list" if isinstance(value, list) else "an object"


def _shown(value: Any) -> str:
    """A value of the user's as it stands in a sentence: short, in one line, and possible to encode."""
    if isinstance(value, str):
        text = value if len(value) <= 48 else value[:45] + "..."
        return json.dumps(text, ensure_ascii=not text.isprintable())
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)
    return text if len(text) <= 48 else text[:45] + "..."


def _unknown_field(pointer: str, document: Any, model: type[BaseModel]) -> str:
    parent, _, last = pointer.rpartition("/")
    name = last.replace("~1", "/").replace("~0", "~")
    fields, owner = _fields_at(parent, document, model)
    hint = near(name, fields)
    if not hint:
        others = [kind for kind, names in _layer_fields().items() if name in names and owner.endswith("layer")]
        hint = f"; {', '.join(others)} layers have it" if others else "; remove it (`viralsync schema` lists what there is)"
    return f"{owner} has no field {_shown(name)}{hint}"


def _fields_at(pointer: str, document: Any, model: type[BaseModel]) -> tuple[list[str], str]:
    """Names of the fields that an object at a place may have, and what to call the object."""
    current, node = _model_here(model, document), document
    owner = _called(current)
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            node = node[int(key)]
        else:
            node = node[key]
            found = _models(_annotation(current, key))
            if not found:
                return [], "this object"
            current = found[0]
            owner = f"`{key}`"
        if isinstance(node, dict):
            current = _model_here(current, node)
            owner = _called(current, owner)
    extra = WORKED_OUT.get("Layer" if _tag(current) else current.__name__, ())
    return [*(field.alias or name for name, field in current.model_fields.items()), *extra], owner


def _model_here(model: type[BaseModel], node: Any) -> type[BaseModel]:
    """The model of the layer's own type where any layer may stand, else `model` itself."""
    if not issubclass(model, Timed):
        return model
    return next((each for each in _models(Layer) if isinstance(node, dict) and _tag(each) == node.get("type")), model)


def _called(model: type[BaseModel], default: str = "this object") -> str:
    tag = _tag(model)
    if tag:
        return f"{'an' if tag[0] in 'aeiou' else 'a'} {tag} layer"
    return {"Movie": "a movie", "Scene": "a scene"}.get(model.__name__, default)


def _annotation(model: type[BaseModel], key: str) -> Any:
    return next((f.annotation for name, f in model.model_fields.items() if key in {name, f.alias}), None)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for each in get_args(annotation) for model in _models(each)]


def _tag(model: type[BaseModel]) -> str:
    field = model.model_fields.get("type")
    words = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    return str(words[0]) if len(words) == 1 else ""


@cache
def _layer_fields() -> dict[str, frozenset[str]]:
    return {_tag(model): frozenset(model.model_fields) for model in _models(Layer)}


def _value_at(document: Any, pointer: str) -> Any:
    node = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, TypeError, ValueError):
            return None
    return node


def _pointer(error: ErrorDetails, document: Any, model: type[BaseModel]) -> str:
    """RFC 6901 pointer to the fault; names of union members in pydantic's path are no part of the document."""
    loc, node, parts = error["loc"], document, []
    # The discriminator's tag follows a layer, and for text layers it is the name of a field too.
    at_layer = issubclass(model, Timed)
    for index, key in enumerate(loc):
        if at_layer and isinstance(node, dict) and node.get("type") == key:
            at_layer = False
            continue
        if isinstance(node, list) and isinstance(key, int) and key < len(node):
            node, at_layer = node[key], index > 0 and loc[index - 1] == "layers"
        elif isinstance(node, dict) and key in node:
            node, at_layer = node[str(key)], False
        elif isinstance(node, dict) and index == len(loc) - 1 and error["type"] == "missing":
            node = None
        else:
            continue
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    if error["type"] == "union_tag_invalid":
        parts.append("type")
    return "".join(f"/{part}" for part in parts)
