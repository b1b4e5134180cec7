"""Jobs while the gateway, the daemon and the web server are killed at random and come back: what was accepted comes to an end, is told
to its receiver, and was made once."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.receiver import Behaviour, Exchange, Received, Receiver, answer, hang_up, receiver
from tests.servers.stack import NAMES, TERMINAL, Stack, small, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
JOBS = int(os.environ.get("CHAOS_JOBS", "200"))
# Distinct films; all other jobs find their scenes made.
FILMS = 8
# Seconds between two kills, and until the killed one is started again.
EVERY_S, AWAY_S = (6.0, 20.0), (0.0, 4.0)
# Before each order of one of six customers: orders are to come while servers are being killed.
PAUSE_S = (0.0, 10.0)


def moody(seed: int) -> Behaviour:
    """Fails at every sixth message the first time it comes, by a status or without a word; takes it when it comes again."""
    mood, seen, lock = random.Random(seed), set[str](), threading.Lock()

    def play(x: Exchange) -> None:
        with lock:
            first, luck = x.headers["webhook-id"] not in seen, mood.random()
            seen.add(x.headers["webhook-id"])
        (answer(500) if luck < 0.08 else hang_up)(x) if first and luck < 0.16 else answer(200)(x)

    return play


class Killer(threading.Thread):
    """Kills one of the three at random and starts it again, until it is told to stop; all three run afterwards."""

    def __init__(self, studio: Stack, seed: int) -> None:
        super().__init__(daemon=True)
        self.studio, self.kills, self.over = studio, Counter[str](), threading.Event()
        self._random = random.Random(seed)

    def run(self) -> None:
        while not self.over.wait(self._random.uniform(*EVERY_S)):
            name = self._random.choice(NAMES)
            self.studio.kill(name)
            self.kills[name] += 1
            self.over.wait(self._random.uniform(*AWAY_S))
            self.studio.start(name)


class Customer:
    """Sends orders, each with a key of its own, again and again until they are accepted, and sometimes once more after that."""

    def __init__(self, studio: Stack, hooks: Receiver) -> None:
        self.studio, self.hooks = studio, hooks
        self.refusals = Counter[str]()

    def order(self, number: int) -> str:
        chance = random.Random(number)
        time.sleep(chance.uniform(*PAUSE_S))
        body = {
            "kind": "movie", "projectId": f"chaos-{number}", "movie": small(f"chaos{number % FILMS}", 1, 0.2),
            "callbackUrl": self.hooks.url(f"/{number}"),
        }  # fmt: skip
        job_id = self._until_accepted(number, body)
        if chance.random() < 0.3:
            assert self._until_accepted(number, body) == job_id
        return job_id

    def _until_accepted(self, number: int, body: dict[str, Any]) -> str:
        while True:
            try:
                said = self.studio.post("/v1/render/jobs", body, headers={"idempotency-key": f"order-{number}"})
            except httpx.HTTPError as error:
                self.refusals[type(error).__name__] += 1
                time.sleep(0.3)
                continue
            if said.status_code == 202:
                return str(said.json()["jobId"])
            # Nothing else may be said to a good order.
            assert said.status_code in {409, 503}, said.text
            self.refusals[said.json()["code"]] += 1
            time.sleep(min(float(said.headers.get("retry-after", "1")), 1.0))


def patiently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, whoever is being killed meanwhile."""
    while True:
        try:
            said = ask()
        except httpx.HTTPError:
            time.sleep(0.3)
            continue
        if said.status_code == 200:
            return said
        assert said.status_code == 503, said.text
        time.sleep(0.3)


def all_jobs(studio: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": "100", **({"cursor": cursor} if cursor is not None else {})}
        page = patiently(lambda params=params: studio.get("/v1/jobs", params=params)).json()
        found += page["jobs"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def waited(what: str, seconds: float, happens: Callable[[], Any]) -> None:
    """Until nothing is left of what `happens` gives."""
    deadline = time.monotonic() + seconds
    while left := happens():
        assert time.monotonic() < deadline, f"{what}, in vain: {left}"
        time.sleep(1.0)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres").create())


def test_nothing_that_was_accepted_is_lost_or_made_twice(url: str | None, tmp_path: Path) -> None:
    seed = 20 if url is None else 21
    with receiver() as hooks, stack(tmp_path, database_url=url, VIRALSYNC_ALLOW_HOSTS=hooks.authority) as studio:
        mood = moody(seed)
        hooks.scripts = {f"/{number}": [mood] for number in range(JOBS)}
        customer, killer, began = Customer(studio, hooks), Killer(studio, seed), time.monotonic()
        killer.start()
        try:
            with ThreadPoolExecutor(6) as pool:
                ids = dict(enumerate(pool.map(customer.order, range(JOBS))))
            accepted = time.monotonic() - began
            waited("most jobs should end while servers are killed", 5400, lambda: _not_ended(studio, spare=JOBS // 20))
        finally:
            killer.over.set()
            killer.join(60)
        # From here on nobody is killed, and everything has to come to its end.
        waited("every job should end", 900, lambda: _not_ended(studio))
        jobs = all_jobs(studio)
        ended = time.monotonic() - began
        waited("every callback should arrive", 900, lambda: _untold(studio, hooks, ids))
        told = {job_id: noted(studio, job_id) for job_id in ids.values()}
        lost = time.monotonic() - began
        print(
            f"\n{JOBS} jobs: accepted within {accepted:.0f} s, ended {ended:.0f} s, told {lost:.0f} s; killed {dict(killer.kills)}; "
            f"{dict(Counter(job['status'] for job in jobs))}; refused meanwhile {dict(customer.refusals)}; "
            f"{len(hooks.received)} deliveries of {len(set(hooks.ids()))} messages; errors {dict(Counter(_code(job) for job in jobs))}"
        )
    assert sum(killer.kills.values()) >= 3
    # Each order made one job, the one that was answered, in one run.
    assert Counter(job["payload"]["projectId"] for job in jobs) == {f"chaos-{number}": 1 for number in range(JOBS)}
    assert {job["jobId"]: job["payload"]["projectId"] for job in jobs} == {job_id: f"chaos-{number}" for number, job_id in ids.items()}
    assert {len(job["attempts"]) for job in jobs} == {1}
    assert {job["status"] for job in jobs} <= TERMINAL - {"cancelled"}
    assert Counter(job["status"] for job in jobs)["done"] > JOBS / 2
    check_deliveries(hooks, ids, {job["jobId"]: job for job in jobs}, told)


def _not_ended(studio: Stack, spare: int = 0) -> list[str]:
    left = [f"{job['jobId']} {job['status']} {job['message']}" for job in all_jobs(studio) if job["status"] not in TERMINAL]
    return left if len(left) > spare else []


def _code(job: dict[str, Any]) -> str | None:
    return job["error"].partition(":")[0] if job["error"] else None


def _untold(studio: Stack, hooks: Receiver, ids: dict[int, str]) -> list[str]:
    """Jobs whose receiver has not been told of their end, or to whom something is still to be sent."""
    with hooks.lock:
        ends = {body["jobId"] for body in map(_body, hooks.received) if body["status"] in TERMINAL}
    left = [job_id for job_id in ids.values() if job_id not in ends]
    if not left:
        for job_id in ids.values():
            left += [job_id] if any(each["deliveredAt"] is None for each in noted(studio, job_id)) else []
    return left


def noted(studio: Stack, job_id: str) -> list[dict[str, Any]]:
    """What the delivery log says of a job's messages."""
    said = patiently(lambda: studio.get(f"/v1/jobs/{job_id}/callbacks", params={"limit": 100})).json()
    found: list[dict[str, Any]] = said["callbacks"]
    return found


def _body(received: Received) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(received.body)
    return body


def check_deliveries(hooks: Receiver, ids: dict[int, str], jobs: dict[str, dict[str, Any]], told: dict[str, list[dict[str, Any]]]) -> None:
    by_path = defaultdict[str, list[Received]](list)
    for each in hooks.received:
        by_path[each.path].append(each)
    for number, job_id in ids.items():
        got = by_path[f"/{number}"]
        # The same id is the same message: what came twice was sent again, and nothing else.
        assert len({(each.id, each.body) for each in got}) == len({each.id for each in got})
        firsts = {each.id: _body(each) for each in got}.values()
        assert [body["sequence"] for body in firsts] == sorted({body["sequence"] for body in firsts})
        ends = [body for body in firsts if body["status"] in TERMINAL]
        assert [(end["jobId"], end["status"], end["sequence"]) for end in ends] == [(job_id, jobs[job_id]["status"], jobs[job_id]["sequence"])]
        assert {each.id for each in got} == {each["messageId"] for each in told[job_id]}
