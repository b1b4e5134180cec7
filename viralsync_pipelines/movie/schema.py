"""The JSON Schema of movies, from the models, for editors: every value may also be a template.

What belongs here: the schema. What does not: the models.
"""

from __future__ import annotations

from typing import Any

from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.movie.wording import WORKED_OUT

_TEMPLATE = {"type": "string", "pattern": r"\{\{", "description": "a template, such as {{ price }}"}
_WORKED_OUT: dict[str, dict[str, Any]] = {
    "condition": {"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "null"}], "description": "false drops this"},
    "iterate": {"anyOf": [{"type": "string"}, {"type": "array"}], "description": "a list, or an expression that gives one"},
    "iterateAs": {"type": "string", "default": "item", "description": "what each item is called"},
    "variables": {"type": "object", "description": "values for {{ name }}"},
}


def movie_schema() -> dict[str, Any]:
    """Draft 2020-12 schema of a movie as users write it, templates, conditions and repetition included."""
    schema = Movie.model_json_schema(by_alias=True)
    models = {**schema.get("$defs", {}), "Movie": schema}
    for name, model in models.items():
        kind = "Layer" if name.endswith("Layer") else name
        _open(model, layer=kind == "Layer")
        for field in WORKED_OUT.get(kind, ()):
            model["properties"][field] = _WORKED_OUT[field]
    # An id is given to scenes that have none.
    models["Scene"]["required"] = [field for field in models["Scene"].get("required", []) if field != "id"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _open(model: dict[str, Any], *, layer: bool) -> None:
    """Let every property that is not plain text be a template as well; a layer's type decides its fields and so stays as it is."""
    for name, value in model.get("properties", {}).items():
        text = value.get("type") == "string" and not value.keys() & {"pattern", "enum", "const", "minLength"}
        if text or (layer and name == "type"):
            continue
        kept = {k: v for k, v in value.items() if k in {"default", "title", "description"}}
        rest = {k: v for k, v in value.items() if k not in kept}
        options = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
        model["properties"][name] = {**kept, "anyOf": [*options, _TEMPLATE]}
