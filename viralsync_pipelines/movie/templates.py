"""From the document users write to the one that is validated: variables, repetition, conditions and `{{ }}` worked out.

What belongs here: which scenes and layers there are after all, their ids, and where each stood in the source.
What does not: filling one value (filling.py), the fields' own rules (spec.py), measuring times.

Scope of names, nearest first: `item` (or iterateAs) and `index` from 0, the scene's variables, the movie's variables;
then measured times (measured.py). Variables given with the request replace the movie's and are data: braces in them stay.
The expanded document shares what holds no templates with its source; treat both as read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.arithmetic import Meter, spell
from viralsync_pipelines.movie.document import Budget, Stop, Survey, faults, survey
from viralsync_pipelines.movie.expressions import Broken, Pending
from viralsync_pipelines.movie.filling import INSIDE, Filler, Scope
from viralsync_pipelines.movie.grammar import ExpressionError
from viralsync_pipelines.movie.measured import Times, Timing, declared_ids, index
from viralsync_pipelines.movie.takes import (
    MAX_SCENES,
    NO_VARIABLES,
    NOT_FROM_TIMES,
    Standing,
    Take,
    as_list,
    computed_ids,
    declared,
    default_id,
    dropped,
    literal_ids,
    standing,
    stays,
    takes,
    too_many,
    variables_of,
)

__all__ = ["Expansion", "Timing", "declared_ids", "expand", "locate", "unexplained"]

# Fields that are worked out here and gone afterwards.
_SCENE_WORK = frozenset({"condition", "iterate", "iterateAs", "variables"})
_LAYER_WORK = frozenset({"condition"})


@dataclass(frozen=True)
class Expansion:
    """A document without templates, and what was found on the way.

    document: scenes have ids; condition, iterate, iterateAs and variables are gone; {} when a limit stopped everything.
    problems: every fault, with pointers into the source. A field that could not be computed is left out of `document`, so
        validation may miss it: see unexplained().
    pending: pointers into `document` of fields left out because they wait for measured times, lists as a whole.
        `.../condition` among them means that the scene or layer was kept for now.
    origins: see locate().
    lost: pointers into `document` of fields left out for good: what is wrong with them, or with a variable they use, is told.
    """

    document: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    pending: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def expand(document: Mapping[str, Any], variables: Mapping[str, Any], measured: Mapping[str, Timing]) -> Expansion:
    """Expand a movie document. Never raises for anything json.loads can give.

    variables: of the request. measured: times known so far, by the keys of measured.py. Collects every problem:
    EXPRESSION_ERROR, NUMBER_INVALID, TYPE_WRONG, VALUE_NOT_ALLOWED, and the limits DOCUMENT_TOO_LARGE,
    DOCUMENT_TOO_DEEP, TOO_MANY_SCENES and TOO_MANY_PROBLEMS, which end the expansion.
    """
    filler = Filler(Survey(), Budget())
    problems: list[Problem] = []
    try:
        for part in (document, variables):
            survey(part, filler.survey)
        if filler.survey.faulty or filler.survey.deep:
            problems = [*faults(document), *faults(variables, "/variables")]
        if filler.survey.deep:
            return Expansion({}, tuple(problems))
        if not isinstance(document, dict) or not isinstance(variables, dict):
            return Expansion({}, (*problems, Problem("", "TYPE_WRONG", "the movie and its variables must be JSON objects")))
        if filler.survey.clean_size(document) is not None and not _directed(document):
            return Expansion(_named(document), ())
        expanded = _expand(document, variables, measured, filler)
    except Stop as stop:
        return Expansion({}, (*problems, *filler.problems.values(), stop.problem))
    return Expansion(
        expanded, (*problems, *filler.problems.values()), tuple(filler.pending), filler.origins, tuple(filler.lost)
    )


def locate(pointer: str, origins: Mapping[str, str]) -> str:
    """Where in the source the place `pointer` of the expanded document was written.

    `origins` maps pointers of the expanded document to pointers of the source; the longest one that begins `pointer`
    counts, and a pointer without any stays as it is. Whatever lies inside a value that one expression gave is found at it.
    """
    end = len(pointer)
    while end > 0:
        prefix = pointer[:end]
        if end < len(pointer) and prefix + INSIDE in origins:
            return origins[prefix + INSIDE]
        if prefix in origins:
            return origins[prefix] + pointer[end:]
        end = pointer.rfind("/", 0, end)
    return pointer


def unexplained(later: Iterable[Problem], expansion: Expansion) -> list[Problem]:
    """Problems of validation (already located) that do not merely follow from what the expansion had to leave out."""
    known = {problem.pointer for problem in expansion.problems} | {
        locate(each, expansion.origins) for each in (*expansion.pending, *expansion.lost)
    }
    above = {pointer[:end] for pointer in known for end in range(len(pointer)) if pointer[end] == "/"}
    return [
        problem
        for problem in later
        if problem.pointer not in known and not (problem.code == "FIELD_MISSING" and problem.pointer in above)
    ]


def _directed(document: Mapping[str, Any]) -> bool:
    """Whether scenes or layers carry conditions, repetition or variables, so that there is something to work out."""
    scenes = [scene for scene in as_list(document.get("scenes")) if isinstance(scene, dict)]
    if variables_of(document) is None or any(not _SCENE_WORK.isdisjoint(scene) for scene in scenes):
        return True
    stacks = [as_list(holder.get("layers")) for holder in (document, *scenes)]
    return any("condition" in layer for stack in stacks for layer in stack if isinstance(layer, dict))


def _named(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its variables and with every scene named: all there is to do when nothing is templated."""
    named = {key: value for key, value in document.items() if key != "variables"}
    scenes = as_list(document.get("scenes"))
    if len(scenes) > MAX_SCENES:
        raise Stop(too_many(f"/scenes/{MAX_SCENES}"))
    nameless = [isinstance(scene, dict) and scene.get("id") is None for scene in scenes]
    if any(nameless):
        taken = literal_ids(scenes)
        named["scenes"] = [{**scene, "id": default_id(n, taken)} if nameless[n] else scene for n, scene in enumerate(scenes)]
    return named


def _expand(
    document: dict[str, Any], given: Mapping[str, Any], measured: Mapping[str, Timing], filler: Filler
) -> dict[str, Any]:
    variables = variables_of(document)
    if variables is None:
        filler.note("/variables", "TYPE_WRONG", NO_VARIABLES)
        variables = {}
    # Ids may be computed and repetition decides how many there are, while variables may use the times of any id. So
    # variables are worked out twice: first what needs no times, for ids and repetition, then all of them.
    with filler.aside() as unsettled:
        names = filler.settle(variables, given, Times(), "/variables")
    scenes, layers = as_list(document.get("scenes")), as_list(document.get("layers"))
    cast = list(takes(scenes, names, filler))
    filler.budget.at = ""
    written = [layer.get("id") if isinstance(layer, dict) else None for layer in layers]
    own_ids = computed_ids(written, Scope(names, Times()), filler)
    gone: set[str] = set()
    times = Times(index(declared(cast, own_ids)), measured, dropped=gone)
    if unsettled:
        names = filler.settle(variables, given, times, "/variables")
    movie = Scope(names, times)
    own = list(standing(layers, movie, "/layers", filler))
    kept = [take for take in cast if stays(take, movie, filler)]
    gone |= dropped(cast, kept, own_ids, own)

    expanded: dict[str, Any] = {}
    for key, value in document.items():
        filler.budget.at = f"/{key}" if isinstance(key, str) else ""
        if key == "scenes" and isinstance(value, list):
            expanded[key] = _scenes(value, kept, movie, filler)
        elif key == "layers" and isinstance(value, list):
            expanded[key] = _Stack(value, own, movie, "/layers", "/layers").build(filler)
        elif key != "variables":
            expanded.update(filler.fill_object({key: value}, movie, "", ""))
    return _spelled(expanded, document)


def _scenes(source: list[Any], kept: list[Take], movie: Scope, filler: Filler) -> list[Any]:
    by_source: dict[int, list[Take]] = {}
    for take in kept:
        by_source.setdefault(take.at, []).append(take)
    expanded: list[Any] = []
    for at, scene in enumerate(source):
        filler.budget.at = f"/scenes/{at}"
        if not isinstance(scene, dict):
            _append(expanded, scene, movie, (f"/scenes/{at}", "/scenes"), filler)
        for take in by_source.get(at, ()):
            if len(expanded) >= MAX_SCENES:
                raise Stop(too_many(f"/scenes/{at}"))
            if len(expanded) != at:
                filler.origins[f"/scenes/{len(expanded)}"] = f"/scenes/{at}"
            expanded.append(_scene(take, f"/scenes/{len(expanded)}", filler))
    return expanded


def _scene(take: Take, out: str, filler: Filler) -> dict[str, Any]:
    at, source, scope = f"/scenes/{take.at}", take.scene, take.scope
    expanded: dict[str, Any] = {}
    for key, value in source.items():
        if key == "layers" and isinstance(value, list):
            expanded[key] = _Stack(value, take.layers, scope, f"{at}/layers", f"{out}/layers").build(filler)
        elif key != "id" and key not in _SCENE_WORK:
            expanded.update(filler.fill_object({key: value}, scope, at, out))
    named = take.id if take.id is not None else _late_id(source.get("id"), scope, f"{at}/id", filler)
    if named is not None:
        expanded["id"] = named
    if take.unsure:
        filler.pending.append(f"{out}/condition")
    return expanded


def _late_id(written: object, scope: Scope, at: str, filler: Filler) -> object:
    """The id of a scene whose id could not be had early: a problem, or no text and so for validation to name."""
    late = filler.fill(written, scope, at)
    if isinstance(written, str) and not isinstance(late, Broken):
        filler.note(at, ExpressionError.code, NOT_FROM_TIMES, scope)
        return None
    return None if isinstance(late, Broken | Pending) else late


@dataclass(frozen=True)
class _Stack:
    """Layers to build: the list in the source, which of them stand, and the pointers of the list in source and result."""

    source: list[Any]
    standing: Standing
    scope: Scope
    at: str
    out: str

    def build(self, filler: Filler) -> list[Any]:
        expanded: list[Any] = []
        for n, unsure in self.standing:
            layer, at, out = self.source[n], f"{self.at}/{n}", f"{self.out}/{len(expanded)}"
            if not isinstance(layer, dict):
                _append(expanded, layer, self.scope, (at, self.out), filler)
                continue
            if len(expanded) != n:
                filler.origins[out] = at
            size = filler.survey.clean_size(layer)
            if size is not None and "condition" not in layer:
                filler.budget.spend(size)
                expanded.append(layer)
                continue
            expanded.append(self._layer(layer, at, out, filler))
            if unsure:
                filler.pending.append(f"{out}/condition")
        return expanded

    def _layer(self, layer: dict[str, Any], at: str, out: str, filler: Filler) -> dict[str, Any]:
        filled: dict[str, Any] = filler.fill_object(layer, self.scope, at, out, without=_LAYER_WORK)
        if isinstance(layer.get("id"), str) and "{{" in layer["id"]:
            if f"{out}/id" in filler.pending:
                filler.pending.remove(f"{out}/id")
                filler.note(f"{at}/id", ExpressionError.code, NOT_FROM_TIMES, self.scope)
            elif "id" in filled and not isinstance(filled["id"], list | dict):
                filled["id"] = spell(filled["id"], Meter())
        return _spelled(filled, layer)


# Fields that hold words: "text": "{{ price }}" shows a price that is a number.
_WORDS = ("title", "text", "ssml")


def _spelled(filled: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """Spell out the numbers that expressions gave to fields of words; what was written as a number stays a fault."""
    for name in _WORDS:
        if isinstance(filled.get(name), int | float) and isinstance(source.get(name), str):
            filled[name] = spell(filled[name], Meter())
    return filled


def _append(expanded: list[Any], value: object, scope: Scope, places: tuple[str, str], filler: Filler) -> None:
    """Fill something that stands where a scene or layer should. places: its own, and the list it goes to."""
    at, out = places[0], f"{places[1]}/{len(expanded)}"
    if out != at:
        filler.origins[out] = at
    result = filler.fill(value, scope, at, out)
    if isinstance(result, Pending):
        filler.note(at, ExpressionError.code, NOT_FROM_TIMES, scope)
    elif not isinstance(result, Broken):
        expanded.append(result)
