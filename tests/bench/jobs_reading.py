"""Reading jobs over HTTP with thousands of finished runs behind it, and the same facts from Dagster's own GraphQL.

What belongs here: requests and their times. What does not: filling the home (jobs_home.py), streams (jobs_streams.py).
Both servers are processes of their own on loopback, over the same storage; one client asks one after the other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import httpx

from tests.bench.jobs_home import Copied, Home
from tests.bench.jobs_process import Took, memory_mb, timed
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


def reading(home: Home, stack: Stack, finished: Sequence[Copied], active: Sequence[Copied], *, dagster: bool) -> Rows:
    """A gateway just started, then warm; Dagster's web server beside it."""
    dice = random.Random(len(finished))
    rows: Rows = {}
    with httpx.Client(base_url=stack.api, timeout=120, trust_env=False) as client:

        def get(path: str) -> Callable[[], None]:
            return lambda: _ok(client.get(path))

        some = [get(f"/v1/jobs/{one.job_id}") for one in dice.sample(list(finished), min(_SOME, len(finished)))]
        pid = _fresh_gateway(stack, client)
        base = memory_mb(pid)
        rows["list of 25, first of all (index is built)"] = timed([get("/v1/jobs")], pid)
        rows["job, finished, never read before"] = timed(some, pid)
        pid = _fresh_gateway(stack, client)
        rows["list of 25, first after a restart"] = timed([get("/v1/jobs")], pid)
        rows["job, finished, first after a restart"] = timed(some, pid)
        rows["job, finished"] = timed(some * 2, pid)
        with home.growing(active):
            rows["job, active, log grows"] = timed([get(f"/v1/jobs/{dice.choice(active).job_id}") for _ in range(2 * _SOME)], pid)
            slow = [get(f"/v1/jobs/{dice.choice(active).job_id}") for _ in range(40)]
            rows["job, active, log grows, asked 5 times a second"] = timed(slow, pid, pause_s=0.2)
            rows["list of 25, newest"] = timed([get("/v1/jobs?limit=25")] * 60, pid)
            # So many pages that they do not all stay in memory.
            pages = _Pages(client)
            rows["list of 25, next page, first time"] = timed([pages.turn] * 20, pid)
            rows["list of 25, any page"] = timed([get(path) for path in pages.turned], pid)
        rows["memory of the gateway, MB (fresh, now)"] = Took(base, memory_mb(pid), 0, 1)
    if dagster:
        rows |= _dagster(home, stack, finished, active, dice)
    return rows


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


def _dagster(home: Home, stack: Stack, finished: Sequence[Copied], active: Sequence[Copied], dice: random.Random) -> Rows:
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
        some = dice.sample(list(finished), 60)
        rows["Dagster: run and its steps, finished"] = timed([ask(_ONE, one.run_id) for one in some], pid)
        rows["Dagster: run, steps and events, finished"] = timed([ask(_EVENTS, one.run_id) for one in some[:30]], pid)
        with home.growing(active):
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
