"""A movie with layers that are yet to be generated, for `viralsync render`: the gateway has them generated, then the film is rendered here.

What belongs here: asking the gateway and waiting. What does not: which layers these are (generate/in_movies.py), rendering.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.jobs import at_gateway
from viralsync_pipelines.cli.words import count
from viralsync_pipelines.errors import MovieInvalid, ViralsyncError
from viralsync_pipelines.generate.in_movies import Expanded, at_layers, with_generations, worked_out
from viralsync_pipelines.generate.markers import filled
from viralsync_pipelines.generate.plans import PlanInvalid

if TYPE_CHECKING:
    from viralsync_pipelines.client import Client, ExecutionView
    from viralsync_pipelines.settings import Settings


def generated_first(movie: Mapping[str, Any], variables: Mapping[str, Any], settings: Settings, *, quiet: bool) -> dict[str, Any]:
    """The movie with `job:` sources in place of what was generated, its variables worked out. Asked for again, the same is found again.

    Raises MovieInvalid with places in the movie, and ViralsyncError for what could not be generated.
    """
    document, left = worked_out(movie, variables)
    with at_gateway(argparse.Namespace(url=None, key=None), settings, tries=3) as client:
        types = {model.id: model.type for model in client.models()}
        expanded, problems = with_generations(document, type_of=types.get, variables=left)
        if problems:
            raise MovieInvalid(sorted(problems))
        *jobs, film = expanded.plan["jobs"]
        if not quiet:
            print(f"{count(len(jobs), 'generation')} first, at {client.base_url}", file=sys.stderr, flush=True)
        made = _generated(client, jobs, expanded)
    sources = {job.id: f"job:{job.record_id}" for job in made.jobs}
    whole: dict[str, Any] = filled(film["params"]["movie"], lambda marker: sources[marker.job], sources.__contains__)
    return {**whole, "variables": {**whole.get("variables", {}), **left}} if left else whole


def _generated(client: Client, jobs: list[Any], expanded: Expanded) -> ExecutionView:
    # One key for what is the same: a film that is rendered again is not paid for again.
    key = "render-" + hashlib.sha256(json.dumps(jobs, sort_keys=True).encode()).hexdigest()[:40]
    from viralsync_pipelines.client import ApiError

    try:
        made = client.execute(jobs, idempotency_key=key)
    except ApiError as error:
        if not error.problems:
            raise
        raise PlanInvalid(at_layers(list(error.problems), expanded, "/executionPlan", "")) from error
    before = client.execution(made.id)
    if before.terminal and before.status != "completed":
        # An earlier render came to nothing by it.
        client.retry(made.id)
    client.wait(made.id)
    ended = client.execution(made.id)
    if ended.status != "completed":
        told = "; ".join(f"{expanded.places.get(job.id, job.id)}: {job.error}" for job in ended.jobs if job.error is not None)
        raise ViralsyncError(told or f"{made.id} was {ended.status}; run the same command again", code="GENERATION_FAILED")
    return ended
