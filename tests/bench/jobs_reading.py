"""Reading jobs over HTTP with thousands of finished runs behind it, and the same facts from Dagster's own GraphQL.

What belongs here: requests and their times. What does not: filling the home (jobs_home.py), streams (jobs_streams.py).
Servers are processes of their own on loopback, one client asks one after the other; homes of different size stand side by side.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from tests.bench.jobs_home import Copied, Home
from tests.bench.jobs_process import Took, memory_mb, side_by_side, timed
from tests.servers.stack import Stack

_SOME = 150
Rows = dict[str, Took]
# A run's status, times, tags and steps: what a job object says, but for progress within a step, which is in the events alone.
_RUN = """runId status creationTime startTime endTime updateTime tags {key value}
    stepStats {stepKey status startTime endTime attempts {startTime endTime}}"""
_ONE = f"query($id: ID!) {{runOrError(runId: $id) {{__typename ... on Run {{{_RUN}}}}}}}"
_EVENTS = (
    "query($id: ID!) {runOrError(runId: $id) {__typename ... on Run {"
    + _RUN
    + """ eventConnection(limit: 1000) {cursor hasMore
    events {__typename ... on MessageEvent {timestamp message stepKey eventType}}}}}}"""
)
_LIST = f"query {{runsOrError(limit: 25) {{__typename ... on Runs {{results {{{_RUN}}}}}}}}}"


@dataclass(frozen=True)
class Studio:
    """A home, its servers and the jobs in it."""

    home: Home
    stack: Stack
    finished: Sequence[Copied]
    active: Sequence[Copied]


def reading(studios: Sequence[Studio]) -> list[Rows]:
    """Gateways just started, then warm, asked in turn; last the web server of the last studio beside them."""
    dice = random.Random(1)
    found: list[Rows] = [{} for _ in studios]
    with ExitStack() as opened:
        clients = [opened.enter_context(httpx.Client(base_url=one.stack.api, timeout=120, trust_env=False)) for one in studios]

        def ask(what: str, paths: Sequence[Sequence[str]], *, pause_s: float = 0.0) -> None:
            calls = [[_get(client, path) for path in own] for client, own in zip(clients, paths, strict=True)]
            for rows, took in zip(found, side_by_side(calls, pids, pause_s=pause_s), strict=True):
                rows[what] = took

        def any_active(count: int) -> list[list[str]]:
            return [[f"/v1/jobs/{dice.choice(one.active).job_id}" for _ in range(count)] for one in studios]

        some = [[f"/v1/jobs/{job.job_id}" for job in dice.sample(list(one.finished), _SOME)] for one in studios]
        each = [["/v1/jobs"] for _ in studios]
        pids = [_fresh_gateway(one.stack, client) for one, client in zip(studios, clients, strict=True)]
        base = [memory_mb(pid) for pid in pids]
        ask("list of 25, first of all (index is built)", each)
        ask("job, finished, never read before", some)
        pids = [_fresh_gateway(one.stack, client) for one, client in zip(studios, clients, strict=True)]
        ask("list of 25, first after a restart", each)
        ask("job, finished, first after a restart", some)
        ask("job, finished", [own * 2 for own in some])
        for one in studios:
            opened.enter_context(one.home.growing(one.active))
        ask("job, active, log grows", any_active(2 * _SOME))
        ask("job, active, log grows, asked 5 times a second", any_active(40), pause_s=0.2 / len(studios))
        ask("list of 25, newest", [["/v1/jobs?limit=25"] * 60 for _ in studios])
        # So many pages that they do not all stay in memory.
        pages = [_Pages(client) for client in clients]
        turns = side_by_side([[own.turn] * 20 for own in pages], pids)
        for rows, took in zip(found, turns, strict=True):
            rows["list of 25, next page, first time"] = took
        ask("list of 25, any page", [own.turned for own in pages])
        for rows, fresh, pid in zip(found, base, pids, strict=True):
            rows["memory of the gateway, MB (fresh, now)"] = Took(fresh, memory_mb(pid), 0, 1)
    found[-1] |= _dagster(studios[-1], dice)
    return found


def _get(client: httpx.Client, path: str) -> Callable[[], None]:
    return lambda: _ok(client.get(path))


def _fresh_gateway(stack: Stack, client: httpx.Client) -> int:
    if "gateway" in stack.processes:
        stack.stop("gateway")
    stack.start("gateway")
    for _ in range(600):
        try:
            _ok(client.get("/openapi.json"))
            _ok(client.get("/v1/me"))
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    return stack.processes["gateway"].pid


def _dagster(studio: Studio, dice: random.Random) -> Rows:
    stack, active = studio.stack, studio.active
    pid = stack.processes["web"].pid
    rows: Rows = {}
    with httpx.Client(base_url=stack.web, timeout=120, trust_env=False) as client:

        def ask(query: str, run_id: str = "") -> Callable[[], None]:
            def call() -> None:
                answer = client.post("/graphql", json={"query": query, "variables": {"id": run_id} if run_id else {}})
                _ok(answer)
                assert "errors" not in answer.json(), answer.text[:500]

            return call

        ask(_LIST)()
        some = dice.sample(list(studio.finished), 60)
        rows["Dagster: run and its steps, finished"] = timed([ask(_ONE, one.run_id) for one in some], pid)
        rows["Dagster: run, steps and events, finished"] = timed([ask(_EVENTS, one.run_id) for one in some[:30]], pid)
        with studio.home.growing(active):
            rows["Dagster: run and its steps, active"] = timed([ask(_ONE, dice.choice(active).run_id) for _ in range(60)], pid)
            rows["Dagster: run, steps and events, active"] = timed([ask(_EVENTS, dice.choice(active).run_id) for _ in range(30)], pid)
            rows["Dagster: list of 25 with steps"] = timed([ask(_LIST)] * 20, pid)
    return rows


class _Pages:
    """A reader who turns one page after the other, and begins again at the end."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._path = "/v1/jobs"
        self.turned: list[str] = []

    def turn(self) -> None:
        answer = self._client.get(self._path)
        _ok(answer)
        self.turned.append(self._path)
        cursor = answer.json()["nextCursor"]
        self._path = f"/v1/jobs?cursor={cursor}" if cursor else "/v1/jobs"


def _ok(answer: httpx.Response) -> None:
    assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text[:500]}"
