"""The JSON Schema of movies, from the models, for editors: every value may also be a template.

What belongs here: the schema. What does not: the models.
"""

from __future__ import annotations

from typing import Any

from viralsync_pipelines.movie.spec import Movie

_TEMPLATE = {"type": "string", "pattern": r"\{\{.*\}\}", "description": "a template, such as {{ price }}"}


def movie_schema() -> dict[str, Any]:
    """Draft 2020-12 schema of a movie as users write it, templates, conditions and repetition included."""
    schema = Movie.model_json_schema(by_alias=True)
    for name, model in schema.get("$defs", {}).items():
        if name == "Scene" or name.endswith("Layer"):
            model["properties"]["condition"] = {"anyOf": [{"type": "boolean"}, {"type": "string"}]}
        if name == "Scene":
            # An id is given to scenes that have none.
            model["required"] = [field for field in model.get("required", []) if field != "id"]
            model["properties"]["iterate"] = {"anyOf": [{"type": "string"}, {"type": "array"}]}
            model["properties"]["iterateAs"] = {"type": "string"}
            model["properties"]["variables"] = {"type": "object"}
        _open(model)
    schema["properties"]["variables"] = {"type": "object"}
    _open(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _open(model: dict[str, Any]) -> None:
    """Let every property that is not plain text be a template as well."""
    for name, value in model.get("properties", {}).items():
        if name in {"type", "id", "variables", "condition", "iterate", "iterateAs"} or value.get("type") == "string":
            continue
        options = value.get("anyOf", [{k: v for k, v in value.items() if k not in {"default", "title", "description"}}])
        kept = {k: v for k, v in value.items() if k in {"default", "title", "description"}}
        model["properties"][name] = {**kept, "anyOf": [*options, _TEMPLATE]}
