"""Generation while the web server, the daemon, the gateway and runs are killed at random, webhooks are lost or come twice, and answers to
submits are lost: everything comes to its end, each job was given to its provider once, and what it made is stored once."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from sqlalchemy import select

from tests.reels import alive
from tests.servers.stack import NAMES, TERMINAL, Stack, stack
from tests.test_dagster import instance_of
from tests.test_jobs_chaos import patiently, waited
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.records import ENDED, Record, row
from viralsync_pipelines.storage.database import Database, open_database
from viralsync_pipelines.storage.ledger_tables import transitions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(10_800), pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")]
JOBS = int(os.environ.get("CHAOS_GENERATIONS", "1000"))
OF_A_PLAN = 50
# Seconds between two kills, and until a killed server is started again.
EVERY_S, AWAY_S = (4.0, 14.0), (0.0, 4.0)
# Between two plans: they are to come while processes are being killed.
PAUSE_S = (5.0, 15.0)
# Of a lost webhook; and as long as a submit whose answer was lost is left alone before the provider is asked for it.
CEILING_S = 30.0
# Polls are put off by up to a tenth, and looked for every five seconds. A tick may take as long as its budget.
JITTER, TICK_S = 0.1, 5.0 + 25.0
MISCHIEF = {"lost": 0.1, "doubled": 0.1, "answers_lost": 0.02, "errors_taken": 0.02}
CHORES = ("submit_generations", "collect_generations")


def plan(number: int, size: int) -> list[dict[str, Any]]:
    """Half pictures, which are polled, and half clips, which a webhook tells of. Of ten jobs three need another, one of them two."""
    jobs: list[dict[str, Any]] = []
    for place in range(size):
        name, seed = f"j{place}", number * 1_000 + place
        if place % 2 == 0:
            jobs.append({"id": name, "operation": "generateImage", "params": {"modelId": "sandbox/image", "prompt": f"picture {seed}", "seed": seed}})
        else:
            params = {"modelId": "sandbox/video", "prompt": f"clip {seed}", "seed": seed, "duration": 1, "resolution": "240p"}
            jobs.append({"id": name, "operation": "pipeline:generate", "params": params})
        within = place % 10
        if within == 5:
            jobs[-1]["params"]["image"] = "$j" + str(place - 1)
        elif within == 7:
            jobs[-1]["dependsOn"] = [f"j{place - 1}", f"j{place - 2}"]
        elif within == 8:
            jobs[-1]["dependsOn"] = [f"j{place - 3}"]
    return jobs


# ---- killing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Away:
    """When something was not at work, in unix seconds."""

    what: str
    began: float
    ended: float


class Killer(threading.Thread):
    """Kills a server or a run's process at random; servers are started again, runs are not. All servers run afterwards."""

    def __init__(self, studio: Stack, seed: int) -> None:
        super().__init__(daemon=True)
        self.studio, self.kills, self.over = studio, Counter[str](), threading.Event()
        self.away: list[Away] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self._random = random.Random(seed)

    def run(self) -> None:
        while not self.over.wait(self._random.uniform(*EVERY_S)):
            name = self._random.choice([*NAMES, "run", "run"])
            self._kill_a_run() if name == "run" else self._kill_a_server(name)

    def _kill_a_server(self, name: str) -> None:
        began = time.time()
        self.studio.kill(name)
        self.kills[name] += 1
        self.times[name].append(began)
        self.over.wait(self._random.uniform(*AWAY_S))
        self.studio.start(name)
        if name == "gateway":
            while not self._answers() and time.time() < began + 120:
                time.sleep(0.2)
            self.away.append(Away(name, began, time.time()))

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.studio.api}/healthz", timeout=5, trust_env=False).status_code == 200
        return False

    def _kill_a_run(self) -> None:
        """One of those that are at work now, waited for a little: most of the time there is none."""
        until = time.monotonic() + 8
        while not (going := sorted(alive(self.studio.home, only="spawn_main"))) and time.monotonic() < until and not self.over.is_set():
            time.sleep(0.1)
        if going:
            # It takes two seconds to start, and works for a few after that.
            self.over.wait(self._random.uniform(0.0, 5.0))
            going = sorted(set(going) & set(alive(self.studio.home, only="spawn_main"))) or sorted(alive(self.studio.home, only="spawn_main"))
        if going:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(going), signal.SIGKILL)
                self.kills["run"] += 1
                self.times["run"].append(time.time())


# ---- asking ----------------------------------------------------------------------------------------------------------


def execute(studio: Stack, number: int, size: int, refusals: Counter[str]) -> str:
    """Sent with a key of its own until it is accepted."""
    body = {"executionPlan": {"jobs": plan(number, size)}}
    while True:
        try:
            said = studio.post("/api/execute", body, headers={"idempotency-key": f"plan-{number}"})
        except httpx.HTTPError as error:
            refusals[type(error).__name__] += 1
            time.sleep(0.3)
            continue
        if said.status_code == 202:
            return str(said.json()["executionId"])
        assert said.status_code in {409, 503}, said.text
        refusals[said.json()["code"]] += 1
        time.sleep(0.5)


def predictions(studio: Stack) -> list[dict[str, Any]]:
    """Everything that the provider was ever given, as it lists it."""
    found: list[dict[str, Any]] = []
    url: str | None = f"http://127.0.0.1:{studio.sandbox_port}/v1/predictions"
    while url is not None:
        page = httpx.get(url, headers={"authorization": "Bearer x"}, timeout=30, trust_env=False).raise_for_status().json()
        found += page["results"]
        url = page["next"]
    return found


def counts(studio: Stack) -> dict[str, Any]:
    url = f"http://127.0.0.1:{studio.sandbox_port}/sandbox/counts"
    said: dict[str, Any] = httpx.get(url, headers={"authorization": "Bearer x"}, timeout=30, trust_env=False).raise_for_status().json()
    return said


def left(database: Database, spare: int = 0) -> list[str]:
    with database.reading() as connection:
        rows = records.where(connection, row.stage != ENDED)
    return [f"{each.id} {each.stage} {each.operation}" for each in rows] if len(rows) > spare else []


@contextmanager
def opened(url: str | None, home: Path) -> Iterator[Database]:
    database = open_database(url, home)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres").create())


# ---- the test --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    """What is judged, once everything has ended. history: transitions by record. stored: keys of media in the store."""

    rows: Sequence[Record]
    history: dict[str, list[Any]]
    made: Sequence[dict[str, Any]]
    stored: frozenset[str]


def test_whatever_dies_each_job_is_given_once_stored_once_and_ends(url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, refusals = (40 if url is None else 41), Counter[str]()
    waits = {"VIRALSYNC_POLL_INITIAL_S": "1", "VIRALSYNC_POLL_CEILING_S": str(CEILING_S)}
    with stack(tmp_path, database_url=url, start=(), **waits) as studio, opened(url, studio.home) as database:
        studio.sandbox_options = ("--canned", "--seconds", "2")
        studio.start("sandbox", *NAMES)
        studio.wait_ready()
        httpx.post(
            f"http://127.0.0.1:{studio.sandbox_port}/sandbox/mischief", json={**MISCHIEF, "seed": seed}, headers={"authorization": "Bearer x"},
            trust_env=False,
        ).raise_for_status()  # fmt: skip
        killer, began, pause = Killer(studio, seed), time.monotonic(), random.Random(seed)
        killer.start()
        executions = []
        try:
            for number, first in enumerate(range(0, JOBS, OF_A_PLAN)):
                executions.append(execute(studio, number, min(OF_A_PLAN, JOBS - first), refusals))
                time.sleep(pause.uniform(*PAUSE_S))
            waited("most jobs should end while processes are killed", 7200, lambda: left(database, spare=JOBS // 20))
        finally:
            killer.over.set()
            killer.join(180)
        waited("every job should end", 1200, lambda: left(database))
        took = time.monotonic() - began
        ends = gathered(studio, database)
        told = counts(studio)
        patiently(lambda: studio.get("/healthz"))
        check_http(studio, executions)
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    with instance_of(studio.home, monkeypatch) as instance:
        away = killer.away + daemon_away(instance, killer.times["daemon"]) + runs_away(instance, killer)
    print(f"\n{JOBS} jobs in {took:.0f} s; killed {dict(killer.kills)}; refused meanwhile {dict(refusals)}")
    print(f"{dict(Counter(each.status for each in ends.rows))}; errors {dict(Counter(_code(each) for each in ends.rows))}")
    print(f"settled by {dict(Counter(each.settled_by for each in ends.rows))}; submits at the provider {told['submits']['times']}, {told['webhooks']}")
    check_waits(ends, away)
    check_submits(ends)
    check_once(ends)
    assert len(ends.rows) == JOBS
    assert Counter(each.status for each in ends.rows)["completed"] > 0.8 * JOBS
    assert killer.kills.total() >= 3
    # The listing forgets inputs after an hour; the counts do not.
    assert set(told["inputs"]["times"]) == {"1"}


def gathered(studio: Stack, database: Database) -> Ends:
    with database.reading() as connection:
        rows = records.where(connection, row.stage == ENDED)
        history: dict[str, list[Any]] = defaultdict(list)
        # What changes no stage says that an answer came late.
        for step in connection.execute(select(transitions).where(transitions.c.from_stage != transitions.c.to_stage).order_by(transitions.c.id)):
            history[step.record_id].append(step)
    media = studio.home / "store" / "media"
    stored = frozenset(str(file.relative_to(studio.home / "store")) for file in media.rglob("*") if file.is_file() and not file.name.startswith("."))
    return Ends(rows, history, predictions(studio), stored)


def check_http(studio: Stack, executions: Iterable[str]) -> None:
    for execution in executions:
        job = studio.job(execution)
        children = studio.children(execution)
        assert job["status"] in TERMINAL, job
        assert {child["status"] for child in children} <= TERMINAL
        assert job["children"]["total"] == len(children)
        status = studio.get(f"/api/status/{execution}").json()
        assert status["status"] in {"completed", "failed"}


# ---- how long anything waited ----------------------------------------------------------------------------------------


def daemon_away(instance: dg.DagsterInstance, kills: Sequence[float]) -> list[Away]:
    """From each kill until the sensor's first look after it that came to its end."""
    state = next(each for each in instance.all_instigator_state() if each.instigator_name == "generations")
    ticks = sorted((each.timestamp, each.end_timestamp or 0.0) for each in instance.get_ticks(state.instigator_origin_id, state.selector_id))
    return [Away("daemon", kill, min((end for start, end in ticks if start > kill and end), default=kill)) for kill in kills]


def runs_away(instance: dg.DagsterInstance, killer: Killer) -> list[Away]:
    """From the kill of each run that did not come to its end until Dagster had it as ended, and the sensor's next look."""
    kills = sorted(killer.times["run"] + killer.times["daemon"])
    away = []
    for chore in CHORES:
        for record in instance.get_run_records(dg.RunsFilter(job_name=chore, statuses=[dg.DagsterRunStatus.FAILURE])):
            ended = record.end_time or record.update_timestamp.timestamp()
            away.append(Away(chore, max((kill for kill in kills if kill <= ended), default=ended), ended + TICK_S))
    return away


def within(away: Iterable[Away], began: float, ended: float) -> float:
    """Seconds of a wait in which something was away."""
    total, until = 0.0, began
    for each in sorted(away, key=lambda each: each.began):
        start, stop = max(each.began, until), min(each.ended, ended)
        if stop > start:
            total, until = total + stop - start, stop
    return total


def check_waits(ends: Ends, away: Sequence[Away]) -> None:
    """From the provider's end of a job until the ledger had it, less what processes were away meanwhile: one ceiling, and one look."""
    finished = {each["id"]: datetime.fromisoformat(each["completed_at"]).timestamp() for each in ends.made}
    waits, late = [], []
    for each in ends.rows:
        if each.settled_at is None or each.provider_job_id not in finished:
            continue
        done, settled = finished[each.provider_job_id], each.settled_at / 1000
        wait = settled - done
        net = wait - within(away, done, settled)
        waits.append((net, wait))
        if net > CEILING_S * (1 + JITTER) + TICK_S:
            late.append((each.id, round(wait, 1), round(net, 1), [(round(s.at / 1000 - done, 1), s.from_stage, s.to_stage, s.by) for s in ends.history[each.id]]))
    nets, walls = sorted(net for net, _ in waits), sorted(wall for _, wall in waits)
    print(f"from the provider's end to ours: median {statistics.median(walls):.1f} s, nine of ten {walls[int(0.9 * len(walls))]:.1f} s, "
          f"worst {walls[-1]:.1f} s; less what was away {nets[-1]:.1f} s; over a ceiling {sum(net > CEILING_S for net in nets)}; "
          f"away {dict(Counter(each.what for each in away))}, {sum(each.ended - each.began for each in away):.0f} s in all")  # fmt: skip
    assert not late


# ---- each once -------------------------------------------------------------------------------------------------------


def check_submits(ends: Ends) -> None:
    """The provider has each job once. One that it has and no row names was reported: its submit could not be confirmed."""
    named = Counter(each.provider_job_id for each in ends.rows if each.provider_job_id)
    assert max(named.values()) == 1
    unknown = {each["id"] for each in ends.made} - set(named)
    ambiguous = [each for each in ends.rows if (each.error or "").startswith("SUBMIT_UNCONFIRMED")]
    print(f"{len(ends.made)} predictions, {len(unknown)} of them no row's, {len(ambiguous)} submits reported as unconfirmed")
    by_prompt = Counter(each["input"].get("prompt") for each in ends.made if each["input"])
    reported = {each.params["prompt"] for each in ambiguous}
    twice = {prompt: times for prompt, times in by_prompt.items() if times > 1}
    assert not twice
    assert {each["input"]["prompt"] for each in ends.made if each["id"] in unknown and each["input"]} <= reported
    for each in ends.rows:
        steps = ends.history[each.id]
        submits = [step for step in steps if step.to_stage == "submitting"]
        assert len(submits) == each.submits
        # What was sent again had certainly not been taken.
        again = [step for step in steps if step.to_stage == "ready"]
        assert len(again) >= each.submits - 1, steps
        assert all("SUBMIT_LOST" in step.detail or "cannot be reached" in step.detail for step in again), again


def check_once(ends: Ends) -> None:
    """Each row ended once and was settled once; each dependent began once, and after what it needs; each output is stored once."""
    by_name = {(each.execution_id, each.job_id): each for each in ends.rows}
    keys: Counter[str] = Counter()
    for each in ends.rows:
        steps = Counter(step.to_stage for step in ends.history[each.id])
        assert steps[ENDED] == 1, ends.history[each.id]
        if each.status == "completed":
            assert sum(step.to_stage == "settled" and step.from_stage != "collecting" for step in ends.history[each.id]) == 1
            assert each.result is not None
            keys.update(output["key"] for output in each.result["outputs"])
        began = [step.at for step in ends.history[each.id] if step.to_stage == "submitting"]
        needs = [by_name[each.execution_id, name] for name in each.dependencies]
        assert all(need.completed_at is not None and need.completed_at <= at for need in needs for at in began)
        if any(need.status != "completed" for need in needs):
            assert (each.error or "").startswith("DEPENDENCY_FAILED")
            assert not began
    # Every prediction gives other bytes: as many keys as jobs that are done, and nothing else in the store.
    assert set(keys.values()) == {1}
    assert ends.stored == set(keys)


def _code(each: Record) -> str | None:
    return each.error.partition(":")[0] if each.error else None
