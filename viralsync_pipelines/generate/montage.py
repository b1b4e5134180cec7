"""Films that a plan asks for, as movies: `merge` here, `layer` and `addSubtitles` in modules of their own, and `render` as it comes. Pure.

What belongs here: from an operation and its params, other jobs' results put in, to a movie JSON; and judging params at submit. What does
not: rendering (it is the same run for all), where sources come from (film_sources.py), speech (utterances.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.generate.film_params import Item, Merge, Narrate, Render, Subtitles, read_params
from viralsync_pipelines.generate.layering import layer_faults, layered
from viralsync_pipelines.generate.markers import filled, marker_of
from viralsync_pipelines.generate.materials import STILL_S, Materials, kind_of, kind_unknown, literal, outline, size_of
from viralsync_pipelines.generate.subtitles import subtitle_faults, subtitled
from viralsync_pipelines.generate.utterances import narrate_faults
from viralsync_pipelines.movie.spec import MAX_LAYERS, Reading, read_movie
from viralsync_pipelines.movie.templates import Expansion, expand, locate, unexplained
from viralsync_pipelines.movie.waiting import with_stand_ins

# Where another job's result will go.
_PLACEHOLDER = "https://example.com/result"


def check_film(operation: str, params: Mapping[str, Any], at: str) -> list[Problem]:
    """Every fault of the params of a film or a narration, with its place under `at`; markers count as sources. For read_plan."""
    asked, problems = read_params(operation, params, at)
    if asked is None:
        return problems
    if isinstance(asked, Narrate):
        return narrate_faults(asked, at)
    if isinstance(asked, Render):
        whole: dict[str, Any] = filled(asked.movie, lambda _: _PLACEHOLDER, lambda _: True)
        return [*_variable_faults(asked, at), *movie_faults(whole, asked.variables, f"{at}/movie", f"{at}/variables")]
    problems = _faults(asked, {}, at)
    # What the params' own rules let through and a movie does not take is told at the params as a whole.
    return problems or [Problem(at, each.code, each.message) for each in movie_faults(_movie(asked, {}), {}, "", "")]


def film_of(operation: str, params: Mapping[str, Any], known: Materials) -> tuple[dict[str, Any], bool]:
    """The movie JSON, its variables in it, and whether it is a draft. params: markers replaced by sources. known: those sources.

    Raises MovieInvalid for what only shows now, with pointers from /params.
    """
    asked, problems = read_params(operation, params, "/params")
    if asked is not None and not isinstance(asked, Render):
        problems = _faults(asked, known, "/params")
    if problems:
        raise MovieInvalid(problems)
    if isinstance(asked, Render):
        given = literal(asked.variables)
        return ({**asked.movie, "variables": {**asked.movie.get("variables", {}), **given}} if given else asked.movie), asked.draft
    return _movie(asked, known), False


def _faults(asked: Any, known: Materials, at: str) -> list[Problem]:
    if isinstance(asked, Merge):
        return _merge_faults(asked, known, at)
    return subtitle_faults(asked, known, at) if isinstance(asked, Subtitles) else layer_faults(asked, known, at)


def _movie(asked: Any, known: Materials) -> dict[str, Any]:
    if isinstance(asked, Merge):
        return _merged(asked, known)
    return subtitled(asked, known) if isinstance(asked, Subtitles) else layered(asked, known)


# ---- merge -----------------------------------------------------------------------------------------------------------


def _merged(params: Merge, known: Materials) -> dict[str, Any]:
    """Pictures and clips one after the other; sounds over the whole film at their offsets."""
    kinds = [kind_of(each.url, each.type, known) or "video" for each in params.items]
    pairs = list(zip(params.items, kinds, strict=True))
    size = size_of(params.output, [item.url for item, kind in pairs if kind != "audio"], known)
    scenes: list[dict[str, Any]] = []
    for item, kind in pairs:
        if kind == "audio":
            continue
        scene = _scene(item, kind, params.fit, f"item_{len(scenes) + 1:03d}")
        transition = item.transition or params.transition
        if scenes and transition is not None:
            scene["transition"] = transition.model_dump()
        scenes.append(scene)
    movie = {**outline(params.output, size, params.bgColor), "title": "Merged", "scenes": scenes}
    sounds = [_sound(item) for item, kind in pairs if kind == "audio"]
    return {**movie, "layers": sounds} if sounds else movie


def _scene(item: Item, kind: str, fit: str, name: str) -> dict[str, Any]:
    layer: dict[str, Any] = {"type": kind, "src": literal(item.url), "width": "100%", "height": "100%", "fit": item.fit or fit}
    if kind == "image":
        return {"id": name, "duration": item.duration or STILL_S, "layers": [layer]}
    # A clip is cut by its duration and never drawn out by it: an "auto" scene is as long as what is left of it.
    layer |= {"volume": item.volume, **({"duration": item.duration} if item.duration is not None else {})}
    return {"id": name, "duration": "auto", "layers": [layer]}


def _sound(item: Item) -> dict[str, Any]:
    sound: dict[str, Any] = {"type": "audio", "src": literal(item.url), "volume": item.volume, "start": item.offset or 0.0}
    return {**sound, "duration": item.duration} if item.duration is not None else sound


def _merge_faults(params: Merge, known: Materials, at: str) -> list[Problem]:
    problems, sounds, seen = [], 0, False
    for number, item in enumerate(params.items):
        place, kind = f"{at}/items/{number}", kind_of(item.url, item.type, known)
        if kind is None:
            problems.append(kind_unknown(place))
        sounds += kind == "audio"
        seen = seen or kind != "audio"
        if kind != "audio" and item.offset is not None and (item.type is not None or marker_of(item.url) is None):
            told = "an offset is for sounds: pictures and clips come one after the other, in the order of `items`"
            problems.append(Problem(f"{place}/offset", "VALUE_NOT_ALLOWED", told))
    if not seen:
        told = "there is nothing to be seen in this; add a video or an image, or use `narrate` for sound alone"
        problems.append(Problem(f"{at}/items", "FIELD_MISSING", told))
    if sounds > MAX_LAYERS:
        told = f"there are {sounds} sounds; at most {MAX_LAYERS} are taken, so merge in two steps"
        problems.append(Problem(f"{at}/items", "TOO_MANY", told))
    return problems


# ---- any movie -------------------------------------------------------------------------------------------------------


def movie_faults(document: Mapping[str, Any], variables: Mapping[str, Any], at: str, at_variables: str) -> list[Problem]:
    """Every fault of a movie that shows without bringing anything in; at, at_variables: where the two stand."""
    expansion = expand(document, variables, {})
    absent = frozenset((*expansion.pending, *expansion.lost))
    reading: Reading = read_movie(with_stand_ins(expansion.document, absent), lambda pointer: locate(pointer, expansion.origins))
    problems = [*expansion.problems, *_explained(reading, expansion)]
    return sorted({_placed(each, at, at_variables, document) for each in problems})


def _explained(reading: Reading, expansion: Expansion) -> list[Problem]:
    # A limit stopped everything, and what is left is no document to find fault with.
    return [] if not expansion.document and expansion.problems else unexplained(reading.problems, expansion)


def _placed(problem: Problem, at: str, at_variables: str, document: Mapping[str, Any]) -> Problem:
    """Variables of the request are told of under /variables, and so are the movie's own."""
    given = problem.pointer.startswith("/variables") and "variables" not in document
    place = at_variables + problem.pointer.removeprefix("/variables") if given else at + problem.pointer
    return Problem(place, problem.code, problem.message)


def _variable_faults(asked: Render, at: str) -> list[Problem]:
    own = asked.movie.get("variables", {})
    if asked.variables and not isinstance(own, Mapping):
        return [Problem(f"{at}/movie/variables", "TYPE_WRONG", "the movie's variables are an object with a value for each name")]
    return []
