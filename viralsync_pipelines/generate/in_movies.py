"""Layers that are yet to be generated, `{"type": "video", "src": "generate:", "prompt": ..., "model": ...}`: a movie with them becomes an
execution plan of generations and the render that uses them. Pure.

What belongs here: finding such layers and putting the plan together. What does not: judging models and params (plans.py), the rest of the
movie (movie/).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.document import child
from viralsync_pipelines.movie.templates import expand

SCHEME = "generate:"
FILM = "film"
# Of a layer, and no movie's own: they are the generation's.
_OURS = ("prompt", "model", "params")
_OPERATIONS: Mapping[str, str] = {"video": "generate", "image": "generateImage", "audio": "generateAudio"}
_BY_TYPE: Mapping[str, str] = {
    "generate.video": "generate", "generate.image": "generateImage", "generate.audio": "generateAudio", "generate.voice": "generateVoice",
    "generate.talking_head": "talkingHead",
}  # fmt: skip


@dataclass(frozen=True)
class Expanded:
    """plan: {jobs: [...]}, generations first and the render `film` last. places: of each generation's first layer, by its job's id."""

    plan: Mapping[str, Any]
    places: Mapping[str, str]


def has_generated(movie: Any) -> bool:
    return next(_layers(movie), None) is not None


def worked_out(movie: Mapping[str, Any], variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The movie with its templates worked out, so that prompts are what they will be; as it is when some wait for measured times."""
    expansion = expand(movie, variables, {})
    if expansion.pending or expansion.problems or not expansion.document:
        return movie, variables
    return expansion.document, {}


def with_generations(
    movie: Mapping[str, Any], *, type_of: Callable[[str], str | None], variables: Mapping[str, Any] | None = None, draft: bool = False
) -> tuple[Expanded, list[Problem]]:  # fmt: skip
    """The plan for a movie, and what is wrong with its layers. type_of: of a model, the type of its jobs, None for an unknown one.

    Layers that ask for the same are generated once.
    """
    jobs: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[Problem] = []
    filled: dict[str, str] = {}
    for at, layer in _layers(movie):
        faults, asked = _asked(layer, at)
        problems += faults
        same = json.dumps([layer.get("type"), asked], sort_keys=True, default=str)
        if same not in names:
            names[same] = name = f"gen{len(names) + 1}"
            operation = _OPERATIONS.get(str(layer.get("type")), "generate")
            model = asked.get("modelId")
            known = type_of(model) if isinstance(model, str) else None
            jobs.append({"id": name, "operation": _BY_TYPE.get(known or "", operation), "params": asked})
            places[name] = at
        filled[at] = f"${names[same]}"
    render: dict[str, Any] = {"movie": _filled(movie, filled)}
    if variables:
        render["variables"] = dict(variables)
    if draft:
        render["draft"] = True
    jobs.append({"id": FILM, "operation": "render", "params": render, "dependsOn": [job["id"] for job in jobs]})
    return Expanded({"jobs": jobs}, places), problems


def at_layers(problems: list[Problem], expanded: Expanded, plan_at: str, movie_at: str) -> list[Problem]:
    """Problems of the plan with the places they have in the movie it was made of."""
    jobs = expanded.plan["jobs"]
    found = []
    for each in problems:
        pointer = each.pointer
        for number, job in enumerate(jobs):
            own = f"{plan_at}/jobs/{number}"
            if pointer != own and not pointer.startswith(f"{own}/"):
                continue
            rest = pointer.removeprefix(own).removeprefix("/params")
            if job["id"] == FILM:
                pointer = movie_at + rest.removeprefix("/movie")
            else:
                field = {"/modelId": "/model", "/prompt": "/prompt", "": ""}.get(rest, f"/params{rest}")
                pointer = movie_at + expanded.places[job["id"]] + field
            break
        found.append(Problem(pointer, each.code, each.message))
    return found


def _layers(movie: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Layers to be generated with their pointers: of scenes in their order, then those of the whole film."""
    if not isinstance(movie, Mapping):
        return
    scenes = movie.get("scenes")
    holders = [(f"/scenes/{number}", scene) for number, scene in enumerate(scenes if isinstance(scenes, list) else [])]
    for at, holder in [*holders, ("", movie)]:
        layers = holder.get("layers") if isinstance(holder, Mapping) else None
        for number, layer in enumerate(layers if isinstance(layers, list) else []):
            if isinstance(layer, Mapping) and isinstance(layer.get("src"), str) and layer["src"].startswith(SCHEME):
                yield child(child(at, "layers"), number), layer


def _asked(layer: Mapping[str, Any], at: str) -> tuple[list[Problem], dict[str, Any]]:
    """What a layer wants made, as params of a job. The model may stand behind `generate:` as well."""
    problems: list[Problem] = []
    given = layer.get("params", {})
    if not isinstance(given, Mapping):
        problems.append(Problem(f"{at}/params", "TYPE_WRONG", "params is an object of the model's parameters"))
        given = {}
    if layer.get("type") not in _OPERATIONS:
        told = f"only {', '.join(_OPERATIONS)} layers can be generated"
        problems.append(Problem(f"{at}/type", "VALUE_NOT_ALLOWED", told))
    asked = dict(given)
    prompt = layer.get("prompt")
    if isinstance(prompt, str):
        # What speaks takes its words as `text`.
        asked.setdefault("prompt", prompt)
    elif "prompt" in layer or ("prompt" not in asked and "text" not in asked):
        problems.append(Problem(f"{at}/prompt", "FIELD_MISSING", "say in `prompt` what is to be generated"))
    model = layer.get("model", layer["src"].removeprefix(SCHEME).strip() or None)
    if model is not None:
        asked["modelId"] = model
    for name, value in [("prompt", prompt), ("model", model)]:
        if isinstance(value, str) and "{{" in value:
            told = "this waits for times that are only known when the film is made; use the movie's variables alone in what is generated"
            problems.append(Problem(f"{at}/{name}", "TEMPLATE_UNFILLED", told))
    return problems, asked


def _filled(movie: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    def layers_of(holder: Any, at: str) -> Any:
        if not isinstance(holder, Mapping) or not isinstance(holder.get("layers"), list):
            return holder
        changed = []
        for number, layer in enumerate(holder["layers"]):
            source = sources.get(child(child(at, "layers"), number))
            own = {k: v for k, v in layer.items() if k not in _OURS} | {"src": source} if source is not None else layer
            changed.append(own)
        return {**holder, "layers": changed}

    whole: dict[str, Any] = dict(layers_of(movie, ""))
    if isinstance(movie.get("scenes"), list):
        whole["scenes"] = [layers_of(scene, f"/scenes/{number}") for number, scene in enumerate(movie["scenes"])]
    return whole
