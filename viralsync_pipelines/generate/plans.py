"""Execution plans as they come in: read, judged as a whole, every fault with its place, before anything is written or called. Pure.

What belongs here: the plan's shape, its graph, its jobs' params against their models. What does not: the wire's other fields (the gateway),
writing it down (ledger.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.generate.markers import filled, markers_in
from viralsync_pipelines.generate.models import Model, Registry, check_params
from viralsync_pipelines.generate.operations import NOT_YET, OPERATIONS
from viralsync_pipelines.movie.document import child

MOST_JOBS = 1_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# Params that are the plan's, not the model's.
_PLANS = frozenset({"modelId", "model", "sendJobWebhook", "webhook"})
_FIELDS = frozenset({"id", "operation", "type", "params", "dependsOn", "dependencies", "output"})


@dataclass(frozen=True)
class PlanJob:
    """One job. needs: jobs of this plan it comes after. base: jobs of the base execution whose results it uses. model: a provider's.

    params: without modelId and the like, markers as they are. told: it has a callback of its own, at this address.
    """

    id: str
    operation: str
    type: str
    params: Mapping[str, Any]
    needs: tuple[str, ...]
    base: tuple[str, ...] = ()
    model: Model | None = None
    told: str | None = None


@dataclass(frozen=True)
class Plan:
    """Jobs as they were listed; no circle among them. document: as it came."""

    jobs: tuple[PlanJob, ...]
    document: Mapping[str, Any] = field(default_factory=dict)


# Whether a job's own params are right, for operations that are no provider's: problems with pointers under the given one.
CheckFilm = Callable[[str, Mapping[str, Any], str], Sequence[Problem]]


class PlanInvalid(MovieInvalid):
    """The plan has faults; `problems` lists every one of them."""

    what = "plan"


def read_plan(
    document: Any, registry: Registry, *, finished: Collection[str] = (), check_film: CheckFilm | None = None, at: str = "/executionPlan"
) -> Plan:  # fmt: skip
    """The plan in a document. finished: jobs of the base execution that are done. Raises PlanInvalid with every problem."""
    problems: list[Problem] = []
    listed = document.get("jobs") if isinstance(document, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise PlanInvalid([Problem(f"{at}/jobs", "PLAN_EMPTY", "a plan has a list `jobs` with one job or more")])
    if len(listed) > MOST_JOBS:
        told = f"there are {len(listed):,} jobs; at most {MOST_JOBS:,} are taken, so split it"
        raise PlanInvalid([Problem(f"{at}/jobs", "TOO_MANY", told)])
    # Each id with the place of the first job that has it.
    first: dict[str, int] = {}
    for number, each in enumerate(listed):
        if isinstance(each, Mapping) and isinstance(each.get("id"), str):
            first.setdefault(each["id"], number)
    mine, base = set(first), set(finished)
    jobs = []
    for number, each in enumerate(listed):
        place = child(child(at, "jobs"), number)
        job = _job(each, place, registry, mine, base - mine, check_film, problems)
        if job is not None:
            if job.id and first[job.id] != number:
                problems.append(Problem(f"{place}/id", "JOB_ID_DUPLICATE", f"another job has the id {job.id!r} too; rename one of them"))
            jobs.append(job)
    _check_circles(jobs, listed, at, problems)
    if problems:
        raise PlanInvalid(sorted(set(problems)))
    return Plan(tuple(jobs), document)


def _job(
    each: Any, at: str, registry: Registry, mine: set[str], base: set[str], check_film: CheckFilm | None, problems: list[Problem]
) -> PlanJob | None:  # fmt: skip
    if not isinstance(each, Mapping):
        problems.append(Problem(at, "TYPE_WRONG", "a job is an object with id, operation and params"))
        return None
    problems += [
        Problem(child(at, str(name)), "FIELD_UNKNOWN", f"a job has no {str(name)[:60]!r}; it takes id, operation, params, dependsOn")
        for name in each
        if name not in _FIELDS
    ]
    job_id: Any = each.get("id")
    operation: Any = each.get("operation", each.get("type"))
    if not isinstance(job_id, str) or _ID.fullmatch(job_id) is None:
        told = "an id is 1 to 100 letters, digits, _ and -, and begins with a letter or digit"
        problems.append(Problem(f"{at}/id", "JOB_ID_INVALID", told))
        job_id = ""
    params = each.get("params", {})
    if not isinstance(params, Mapping):
        problems.append(Problem(f"{at}/params", "TYPE_WRONG", "params is an object"))
        params = {}
    known = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if known is None:
        problems.append(Problem(f"{at}/operation", "OPERATION_UNKNOWN", _no_operation(operation)))
    needs, of_base = _needs(each, params, at, mine, base, job_id, problems)
    model: Model | None = None
    own = {name: value for name, value in params.items() if name not in _PLANS}
    if known is not None and known.by == "provider":
        model = _model(params, known.type, registry, f"{at}/params", problems)
        if model is not None:
            problems += check_params(model, _with_addresses(own, mine | base), f"{at}/params")
    elif known is not None and check_film is not None:
        problems += check_film(str(operation), own, f"{at}/params")
    hook = params.get("webhook")
    callback = hook if isinstance(hook, str) and params.get("sendJobWebhook", True) else None
    if known is None:
        return None
    return PlanJob(job_id, str(operation), known.type, own, needs, of_base, model, callback)


def _no_operation(operation: Any) -> str:
    if isinstance(operation, str) and operation in NOT_YET:
        return NOT_YET[operation]
    return f"there is no operation {str(operation)[:60]!r}; there are {', '.join(OPERATIONS)}"


def _model(params: Mapping[str, Any], wanted: str, registry: Registry, at: str, problems: list[Problem]) -> Model | None:
    named = params.get("modelId", params.get("model"))
    if named is None:
        found = registry.default_for(wanted)
        if found is None:
            problems.append(Problem(f"{at}/modelId", "MODEL_MISSING", "name a model; `viralsync models` lists them"))
        return found
    model = registry.get(named) if isinstance(named, str) else None
    if model is None:
        problems.append(registry.unknown(named, f"{at}/modelId"))
    elif model.type != wanted:
        told = f"{model.id} is a model for {model.type}, and this operation is {wanted}; choose another of them"
        problems.append(Problem(f"{at}/modelId", "MODEL_UNFIT", told))
        return None
    return model


def _needs(
    each: Mapping[str, Any], params: Mapping[str, Any], at: str, mine: set[str], base: set[str], own: str, problems: list[Problem]
) -> tuple[tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    name = "dependsOn" if "dependsOn" in each else "dependencies"
    listed = each.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        problems.append(Problem(f"{at}/{name}", "TYPE_WRONG", "this is a list of ids of jobs"))
        listed = []
    wanted = [(f"{at}/{name}/{number}", one) for number, one in enumerate(listed)]
    known = mine | base
    wanted += [(pointer, marker.job) for pointer, marker in markers_in(params, known.__contains__, f"{at}/params")]
    for pointer, one in wanted:
        if one not in known:
            told = f"there is no job {one[:100]!r} in this plan, nor a finished one in its base"
            problems.append(Problem(pointer, "DEPENDENCY_UNKNOWN", told))
        elif one == own:
            problems.append(Problem(pointer, "DEPENDENCY_CYCLE", f"{own} waits for itself"))
    return tuple(dict.fromkeys(one for _, one in wanted if one in mine and one != own)), tuple(
        dict.fromkeys(one for _, one in wanted if one in base)
    )


def _with_addresses(params: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Params as they will be: an address where another job's result goes."""
    whole: dict[str, Any] = filled(params, lambda _: "https://example.com/result", known.__contains__)
    return whole


def _check_circles(jobs: Iterable[PlanJob], listed: Sequence[Any], at: str, problems: list[Problem]) -> None:
    graph = {job.id: job.needs for job in jobs if job.id}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(error.args[1])
        number = next((n for n, each in enumerate(listed) if isinstance(each, Mapping) and each.get("id") == circle[0]), 0)
        told = f"these wait for one another: {' -> '.join(circle[:12])}; take one dependency out"
        problems.append(Problem(f"{at}/jobs/{number}/dependsOn", "DEPENDENCY_CYCLE", told))
