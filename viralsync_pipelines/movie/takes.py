"""Which scenes and layers there are: repetition, ids, the variables of a scene, and conditions.

What belongs here: a Take for each scene or repetition of one, and the decision whether it stays.
What does not: building the expanded document (templates.py), filling values (filling.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.arithmetic import Meter, kind, spell
from viralsync_pipelines.movie.document import Stop, child
from viralsync_pipelines.movie.expressions import Broken, Pending
from viralsync_pipelines.movie.filling import Filler, Names, Scope, declare
from viralsync_pipelines.movie.grammar import LITERALS, SHIELD, WORDS, ExpressionError
from viralsync_pipelines.movie.measured import Declared, Times

MAX_SCENES = 2_000
MAX_TAKES = 20_000  # repetitions before conditions have chosen among them

NOT_FROM_TIMES = "how many scenes there are and what they are called cannot depend on measured times; use variables only"
NO_VARIABLES = 'variables are an object of names and values, such as {"title": "Hello"}'

Standing = list[tuple[int, bool]]  # layers that stay: place in the source, and whether their condition is still open


@dataclass
class Take:
    """A scene, or one repetition of it.

    at: its place in the source. local: its own variables. id: None when it cannot be had without measured times.
    base: the id as written, for repetitions. blocked: `iterate` could not be worked out; it stands in for all repetitions.
    unsure: kept while its condition waits for measured times.
    """

    at: int
    scene: dict[str, Any]
    local: dict[str, Any]
    layer_ids: tuple[str | None, ...]
    id: str | None = None
    base: str | None = None
    label: str = ""
    blocked: bool = False
    scope: Scope = field(default_factory=lambda: Scope({}, Times()))
    unsure: bool = False
    layers: Standing = field(default_factory=list)


def takes(scenes: Sequence[Any], names: Mapping[str, Any], filler: Filler) -> Iterator[Take]:
    """Every scene and every repetition, with its id. `names` are the variables that need no measured times.

    Faults of ids and of `iterate` are noted by `stays` and the builder, when all variables are known.
    """
    taken = literal_ids(scenes)
    count = 0
    for at, scene in enumerate(scenes):
        if not isinstance(scene, dict):
            continue
        place = filler.budget.at = f"/scenes/{at}"
        called = _item_name(scene.get("iterateAs"), f"{place}/iterateAs", filler)
        with filler.aside():
            items = _items(scene, Scope(names, Times()), place, filler)
        repeated = scene.get("iterate") is not None and items is not None
        base = scene.get("id") if scene.get("id") is not None else default_id(at, taken)
        literal = base if isinstance(base, str) and "{{" not in base else None
        written = [each.get("id") if isinstance(each, dict) else None for each in as_list(scene.get("layers"))]
        computed = any("{{" in each for each in (base, *written) if isinstance(each, str))
        layer_ids = tuple(each if isinstance(each, str) else None for each in written)
        for n, item in enumerate([None] if items is None else items):
            count += 1
            if count > MAX_TAKES:
                raise Stop(too_many(place))
            filler.budget.spend(0, 2 + len(written))
            take = Take(at, scene, {}, layer_ids, blocked=items is None)
            if repeated:
                declare(take.local, called, item)
                take.local["index"] = n
            if computed:
                _compute_ids(take, [base, *written], names, filler)
            if literal is not None:
                take.id = f"{literal}_{n + 1}" if repeated else literal
                take.base = literal if repeated else None
            take.label = f" (in scene {take.id or n + 1})" if repeated else ""
            yield take


def _compute_ids(take: Take, written: list[Any], names: Mapping[str, Any], filler: Filler) -> None:
    """Ids of the scene and its layers that are templates, as far as they can be had without measured times."""
    local = dict(take.local)
    with filler.aside():
        _settle_variables(take, local, Scope(Names(local, names), Times()), filler)
        take.id, *layers = computed_ids(written, Scope(Names(local, names), Times()), filler)
    take.layer_ids = tuple(layers)


def computed_ids(written: Sequence[Any], scope: Scope, filler: Filler) -> list[str | None]:
    """Each id as text, None for what is no text or cannot be computed. Problems are the builder's to note."""
    with filler.aside():
        ids = [filler.fill(each, scope, f"/{n}") if isinstance(each, str) else None for n, each in enumerate(written)]
    return [None if each is None or isinstance(each, Pending | Broken | list | dict) else spell(each, Meter()) for each in ids]


def _items(scene: Mapping[str, Any], scope: Scope, place: str, filler: Filler) -> list[Any] | None:
    """What a scene is repeated for, [None] without `iterate`; None, with the problem noted, when there is no such list."""
    written, at = scene.get("iterate"), f"{place}/iterate"
    if written is None:
        return [None]
    if isinstance(written, str):
        items = filler.expression(written, scope, at)
    elif isinstance(written, list):
        items = filler.fill(written, scope, at)
    else:
        filler.note(at, "TYPE_WRONG", "iterate takes the name of a list variable, an expression that gives a list, or a list")
        return None
    if isinstance(items, list):
        return items
    if isinstance(items, Pending):
        filler.note(at, ExpressionError.code, NOT_FROM_TIMES)
    elif not isinstance(items, Broken):
        filler.note(at, ExpressionError.code, f"iterate needs a list, and this is {kind(items)}; name a list variable")
    return None


def _item_name(written: object, at: str, filler: Filler) -> str:
    if written is None:
        return "item"
    usable = isinstance(written, str) and written.isidentifier() and not written.startswith(SHIELD)
    if usable and written != "index" and written not in WORDS and written not in LITERALS:
        return str(written)
    filler.note(at, "VALUE_NOT_ALLOWED", "iterateAs takes a name of letters, digits and '_' that is not in use, such as item")
    return "item"


def stays(take: Take, movie: Scope, filler: Filler) -> bool:
    """Work out the variables and conditions of a take; False when its condition drops it, and its problems with it."""
    place = filler.budget.at = f"/scenes/{take.at}"
    if take.blocked:
        # Without the item every use of it would be a problem; the one that counts is noted.
        if _items(take.scene, movie, place, filler) is not None:
            filler.note(f"{place}/iterate", ExpressionError.code, NOT_FROM_TIMES)
        return False
    times = replace(movie.times, scene=take.id, base=take.base)
    take.scope = Scope(Names(take.local, movie.names), times, take.label)
    with filler.aside() as found:
        _settle_variables(take, take.local, take.scope, filler)
        verdict = _condition(take.scene.get("condition"), take.scope, f"{place}/condition", filler)
    if verdict is False:
        return False
    filler.keep(found)
    take.unsure = verdict is None
    take.layers = list(standing(as_list(take.scene.get("layers")), take.scope, f"{place}/layers", filler))
    return True


def _settle_variables(take: Take, local: dict[str, Any], scope: Scope, filler: Filler) -> None:
    """The scene's variables in the order they are written; each may use the ones before it, and replace one of the movie."""
    at = f"/scenes/{take.at}/variables"
    variables = variables_of(take.scene)
    if variables is None:
        filler.note(at, "TYPE_WRONG", NO_VARIABLES)
    for key, value in (variables or {}).items():
        if isinstance(key, str):
            declare(local, key, filler.fill(value, scope, child(at, key)))


def standing(layers: Sequence[Any], scope: Scope, at: str, filler: Filler) -> Iterator[tuple[int, bool]]:
    """Layers that their conditions leave, and whether that is still open."""
    for n, layer in enumerate(layers):
        written = layer.get("condition") if isinstance(layer, dict) else None
        verdict = True if written is None else _condition(written, scope, f"{at}/{n}/condition", filler)
        if verdict is not False:
            yield n, verdict is None


def _condition(written: object, scope: Scope, at: str, filler: Filler) -> bool | None:
    """True, False, or None while it waits for measured times. A faulty condition drops nothing."""
    if written is None or isinstance(written, bool):
        return written is not False
    if not isinstance(written, str):
        filler.note(at, "TYPE_WRONG", 'a condition is true, false or an expression such as "index > 0"')
        return True
    value = filler.expression(written, scope, at)
    if isinstance(value, Pending):
        return None
    return True if isinstance(value, Broken) else bool(value)


def declared(cast: Sequence[Take], own: Sequence[str | None]) -> Declared:
    """The ids of all takes, staying or not, and of the movie's own layers."""
    scenes: dict[str, tuple[str, ...]] = {}
    for take in cast:
        if take.id is not None:
            ids = tuple(each for each in take.layer_ids if each is not None)
            scenes[take.id] = scenes[take.id] + ids if take.id in scenes else ids
    return Declared(scenes, tuple(each for each in own if each is not None))


def dropped(cast: Sequence[Take], kept: Sequence[Take], own: Sequence[str | None], own_standing: Standing) -> set[str]:
    """Keys of measured times of what conditions took out, unless something that stays has the same id."""
    gone = {f"/{each}" for each in own}
    stay = {f"/{own[n]}" for n, _ in own_standing}
    for take in cast:
        if not take.blocked and take.id is not None:
            gone |= {take.id, *(f"{take.id}/{each}" for each in take.layer_ids)}
    for take in kept:
        if take.id is not None:
            stay |= {take.id, *(f"{take.id}/{take.layer_ids[n]}" for n, _ in take.layers)}
    return gone - stay


def literal_ids(scenes: Sequence[Any]) -> set[str]:
    return {scene["id"] for scene in scenes if isinstance(scene, dict) and isinstance(scene.get("id"), str)}


def default_id(at: int, taken: set[str]) -> str:
    """`scene_<n>`, n from 1 in the source, so that dropping another scene renames nothing; never an id somebody wrote."""
    name = f"scene_{at + 1}"
    while name in taken:
        name += "_"
    return name


def variables_of(holder: Mapping[str, Any]) -> dict[str, Any] | None:
    """The variables of a movie or scene; None when they are no object."""
    written = holder.get("variables")
    return {} if written is None else written if isinstance(written, dict) else None


def too_many(at: str) -> Problem:
    message = f"the movie has more than {MAX_SCENES:,} scenes from here on; repeat less or split the movie"
    return Problem(at, "TOO_MANY_SCENES", message)


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
