"""The Jobs API over a real server and both databases, with an engine that does what the test says: what each route promises."""

from __future__ import annotations

import base64
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from tests.servers.engine import T0, Film
from tests.servers.gateway import MOVIE, Gateway, gateway, new_id, order_of, until
from tests.servers.reader import Reader
from viralsync_pipelines.board import lists
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.errors import DatabaseUnavailable
from viralsync_pipelines.gateway.app import MAX_BODY_BYTES
from viralsync_pipelines.jobs.orders import WORKSPACE_TAG
from viralsync_pipelines.orchestrator.runs import open_board
from viralsync_pipelines.render.registry import find_registered, find_version
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage import tables
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore
from viralsync_pipelines.storage.metering import meter_once

NOBODYS = "job_ffffffffffff"


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Iterator[Gateway]:
    with gateway(database, tmp_path) as made:
        yield made


@pytest.fixture
def client(gate: Gateway) -> httpx.Client:
    return gate.client()


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def pointers(answer: httpx.Response) -> set[str]:
    return {problem["pointer"] for problem in answer.json()["problems"]}


def rows(gate: Gateway, table: Any) -> int:
    with gate.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def submitted(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/v1/render/jobs", json=order_of(**more))
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["jobId"]
    return job_id


# ---- submitting ------------------------------------------------------------------------------------------------------


def test_a_submission_is_one_order_with_all_that_was_asked(gate: Gateway, client: httpx.Client) -> None:
    answer = client.post(
        "/v1/render/jobs",
        json=order_of(
            renderOptions={"qualityPreset": "turbo", "requestedConcurrency": 7}, variables={"name": "Zoë"}, draft=True, priority="high",
            channel="shorts", queue="night", callbackUrl="https://93.184.216.34/hook?x=1",
        ),
    )  # fmt: skip
    job_id = answer.json()["jobId"]
    assert (answer.status_code, answer.json()) == (202, {"jobId": job_id, "status": "queued"})
    assert answer.headers["location"] == f"{gate.url}/v1/jobs/{job_id}"
    assert int(answer.headers["retry-after"]) > 0
    (order,) = gate.launcher.orders
    assert order.tags == {
        "viralsync/job_id": job_id, "viralsync/workspace": "default", "viralsync/project_id": "proj_abc123", "viralsync/channel": "shorts",
        "viralsync/callback_url": "https://93.184.216.34/hook?x=1", "viralsync/queue": "night", "viralsync/plan.selfhosted": "default",
        "viralsync/size": "90", "viralsync/draft": "true", "dagster/priority": "5",
    }  # fmt: skip
    assert (order.job_id, order.partition, order.variables, order.draft) == (job_id, "intro", {"name": "Zoë"}, True)
    assert (order.preset, order.concurrency, order.fresh) == ("turbo", 7, ())
    assert find_version(gate.store, order.document) == MOVIE
    # Materialize in Dagster's UI makes the same film again.
    assert find_registered(gate.store, "intro") == (MOVIE, "")
    shown = client.get(answer.headers["location"]).json()
    assert (shown["jobId"], shown["status"], shown["type"], shown["title"]) == (job_id, "queued", "render.movie", "intro")
    assert shown["payload"] == {"projectId": "proj_abc123", "movieId": "intro", "channel": "shorts", "draft": True}
    assert shown["queue"] == {"position": 1, "total": 1, "queueName": "night"}


def test_films_of_another_workspace_have_partitions_of_their_own_and_are_not_registered(gate: Gateway) -> None:
    client = gate.client(gate.key("team"))
    submitted(client)
    (order,) = gate.launcher.orders
    assert order.partition == "team.intro"
    assert order.tags["viralsync/workspace"] == order.tags["viralsync/plan.selfhosted"] == "team"
    assert find_version(gate.store, order.document) == MOVIE
    assert gate.store.stat("movies/intro.json") is None


def test_every_fault_of_a_request_is_told_at_its_place(gate: Gateway, client: httpx.Client) -> None:
    movie = {**MOVIE, "fps": 0, "scenes": [{"id": "a", "duration": -1, "layers": [{"type": "text"}]}, {"id": "a", "colour": "red"}]}
    answer = client.post("/v1/render/jobs", json=order_of(movie=movie, callbackUrl="http://127.0.0.1:9/hook"))
    assert told(answer) == (400, "VALIDATION_ERROR")
    assert pointers(answer) >= {"/callbackUrl", "/movie/fps", "/movie/scenes/0/duration", "/movie/scenes/0/layers/0/text", "/movie/scenes/1/colour"}
    assert gate.launcher.orders == []


def test_a_wrong_field_is_named(client: httpx.Client) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"kind": "film"}, "/kind", "VALUE_NOT_ALLOWED"),
        ({"projectId": "a\nb"}, "/projectId", "VALUE_INVALID"),
        ({"projectId": None}, "/projectId", "TYPE_WRONG"),
        ({"movie": []}, "/movie", "TYPE_WRONG"),
        ({"colour": 1}, "/colour", "FIELD_UNKNOWN"),
        ({"renderOptions": {"requestedConcurrency": 33}}, "/renderOptions/requestedConcurrency", "VALUE_OUT_OF_RANGE"),
        ({"renderOptions": {"speed": 1}}, "/renderOptions/speed", "FIELD_UNKNOWN"),
        ({"queue": "a/b"}, "/queue", "VALUE_INVALID"),
        ({"variables": {"a": float("nan")}}, "/variables", "VALUE_INVALID"),
        ({"variables": {"a": "\ud800"}}, "/variables", "VALUE_INVALID"),
    ]
    for change, pointer, code in cases:
        answer = client.post("/v1/render/jobs", content=json.dumps(order_of(**change)), headers={"Content-Type": "application/json"})
        assert told(answer) == (400, "VALIDATION_ERROR")
        assert {(each["pointer"], each["code"]) for each in answer.json()["problems"]} == {(pointer, code)}


def test_a_body_that_is_no_request_is_refused_whatever_it_is(client: httpx.Client) -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    nested = json.dumps(order_of(movie=json.loads('{"a":' * 60 + "1" + "}" * 60)))
    as_json = {"Content-Type": "application/json"}
    for content, headers in (
        (b"", as_json), (b"{", as_json), (b"\xff\xfe", as_json), (b"[]", as_json), (b"null", as_json), (deep.encode(), as_json),
        (nested.encode(), as_json), (b'{"a": 1e99999, "b": %s}' % (b"9" * 10_000), as_json),
        (json.dumps(order_of()).encode(), {"Content-Type": "text/plain"}),
    ):  # fmt: skip
        assert told(client.post("/v1/render/jobs", content=content, headers=headers)) == (400, "VALIDATION_ERROR"), content[:40]


def test_a_plan_refuses_what_it_does_not_take_before_dagster_is_asked(gate: Gateway) -> None:
    client = gate.client(gate.key("team", plan="pro"))
    large = {**MOVIE, "width": 2560, "height": 1440}
    assert told(client.post("/v1/render/jobs", json=order_of(movie=large))) == (402, "PLAN_LIMIT_EXCEEDED")
    long = {**MOVIE, "scenes": [{**MOVIE["scenes"][0], "duration": 601}]}
    assert told(client.post("/v1/render/jobs", json=order_of(movie=long))) == (402, "PLAN_LIMIT_EXCEEDED")
    assert gate.launcher.orders == []
    for _ in range(3):
        submitted(client)
    answer = client.post("/v1/render/jobs", json=order_of())
    assert told(answer) == (409, "CONCURRENCY_LIMIT_EXCEEDED")
    assert int(answer.headers["retry-after"]) > 0
    for run in gate.runs.everything():
        Film(gate.runs, run.run_id).whole()
    meter_once(gate.database, NOBODYS, 1, "team", "render.movie", 200 * 60 - 2, gate.clock())
    assert told(client.post("/v1/render/jobs", json=order_of())) == (402, "RENDER_QUOTA_EXCEEDED")
    assert len(gate.launcher.orders) == 3
    free = gate.client(gate.key("poor", plan="free"))
    assert told(free.post("/v1/render/jobs", json=order_of())) == (403, "FORBIDDEN")


def test_while_dagster_is_away_nothing_is_half_submitted(gate: Gateway, client: httpx.Client) -> None:
    key = {"Idempotency-Key": "k1"}
    gate.launcher.away = True
    answer = client.post("/v1/render/jobs", json=order_of(), headers=key)
    assert told(answer) == (503, "RENDER_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0
    assert "10.1.2.3" not in answer.text
    assert gate.runs.everything() == []
    assert rows(gate, tables.idempotency) == 0
    assert client.get("/v1/jobs").json() == {"jobs": [], "nextCursor": None}
    # Nor is the movie registered that nobody made.
    assert gate.store.stat("movies/intro.json") is None
    gate.launcher.away = False
    # Not even the body has to be the same: the key was never used.
    first = client.post("/v1/render/jobs", json=order_of(draft=True), headers=key)
    again = client.post("/v1/render/jobs", json=order_of(draft=True), headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len(gate.runs.everything()) == 1


def test_an_order_whose_answer_was_lost_is_not_given_twice(gate: Gateway, client: httpx.Client) -> None:
    key = {"Idempotency-Key": "k1"}
    gate.launcher.lose = 1
    assert told(client.post("/v1/render/jobs", json=order_of(), headers=key)) == (503, "RENDER_UNAVAILABLE")
    answer = client.post("/v1/render/jobs", json=order_of(), headers=key)
    (run,) = gate.runs.everything()
    assert (answer.status_code, answer.json()["jobId"]) == (202, run.job_id)


def test_of_many_submissions_with_one_key_one_makes_a_job(gate: Gateway, client: httpx.Client) -> None:
    gate.launcher.hold = threading.Event()
    key = {"Idempotency-Key": "k1"}
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(client.post, "/v1/render/jobs", json=order_of(), headers=key) for _ in range(6)]
        until(lambda: sum(answer.done() for answer in answers) == 5)
        gate.launcher.hold.set()
    got = sorted(told(a.result()) if a.result().status_code != 202 else (202, "") for a in answers)
    assert got == [(202, ""), *[(409, "IDEMPOTENCY_IN_PROGRESS")] * 5]
    other = client.post("/v1/render/jobs", json=order_of(draft=True), headers=key)
    assert told(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(gate.runs.everything()) == 1


def test_a_read_only_key_reads_and_changes_nothing(gate: Gateway) -> None:
    job_id = submitted(gate.client(gate.key()))
    client = gate.client(gate.key(read_only=True))
    assert client.get(f"/v1/jobs/{job_id}").status_code == 200
    assert client.post(f"/v1/jobs/{job_id}/stream-token").status_code == 201
    for method, path in (
        ("POST", "/v1/render/jobs"), ("POST", "/v1/jobs"), ("POST", "/v1/jobs/batch"), ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("POST", f"/v1/jobs/{job_id}/retry"), ("DELETE", f"/v1/jobs/{job_id}"), ("POST", f"/v1/jobs/{job_id}/progress"),
        ("POST", f"/v1/jobs/{job_id}/complete"), ("POST", f"/v1/jobs/{job_id}/fail"), ("POST", "/v1/callbacks/msg_1/replay"),
    ):  # fmt: skip
        assert told(client.request(method, path)) == (403, "FORBIDDEN"), path
    assert gate.runs.runs_of(job_id)[0].status == "QUEUED"


# ---- lists -----------------------------------------------------------------------------------------------------------


def reported(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/v1/jobs", json={"jobType": "image-generation", "userId": "u", "title": "A picture", **more})
    assert answer.status_code == 201, answer.text
    job_id: str = answer.json()["jobId"]
    return job_id


def walked(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    """Every job of every page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(1_000):
        page = client.get("/v1/jobs", params={**params, **({"cursor": cursor} if cursor is not None else {})}).json()
        found += page["jobs"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found
    raise AssertionError("there is no end of pages")


def ids(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["jobId"] for job in jobs]


def test_the_newest_job_comes_first_and_a_page_has_as_many_as_asked(gate: Gateway, client: httpx.Client) -> None:
    made = [gate.film().runs.everything()[-1].job_id for _ in range(28)]
    page = client.get("/v1/jobs").json()
    assert ids(page["jobs"]) == made[:-26:-1]
    assert client.get("/v1/jobs", params={"limit": 28}).json()["nextCursor"] is None
    assert ids(client.get("/v1/jobs", params={"limit": 1}).json()["jobs"]) == made[-1:]
    assert len(client.get("/v1/jobs", params={"limit": 100}).json()["jobs"]) == 28
    for limit in ("0", "101", "-1", "x", "1.5", "", "٣", "1e1"):
        assert told(client.get("/v1/jobs", params={"limit": limit})) == (400, "VALIDATION_ERROR"), limit


@pytest.mark.parametrize("seed", range(3))
def test_pages_walk_over_every_job_exactly_once_while_jobs_are_added(gate: Gateway, client: httpx.Client, seed: int) -> None:
    """Runs' and reported jobs mixed, many of one millisecond, and new ones after every page."""
    chance = random.Random(seed)

    def add() -> str:
        if chance.random() < 0.3:
            return reported(client)
        # Runs of one millisecond: the clock is put back.
        gate.clock.ms -= 101 if chance.random() < 0.5 else 0
        return gate.runs.run(gate.film().run_id).job_id

    there = {add() for _ in range(40)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": chance.choice((1, 3, 7))} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/jobs", params=params).json()
        assert len(page["jobs"]) <= params["limit"]
        seen += ids(page["jobs"])
        cursor = page["nextCursor"]
        if cursor is None:
            break
        gate.clock.tick()
        add()
    assert len(seen) == len(set(seen))
    assert set(seen) == there
    order = [(job["createdAt"], job["jobId"]) for job in walked(client, limit=100)]
    assert order == sorted(order, reverse=True)


def test_filters_give_those_jobs_that_fit_and_no_others(gate: Gateway, client: httpx.Client) -> None:
    queued = submitted(client, projectId="p1", channel="c1")
    done = submitted(client, projectId="p1", channel="c2")
    gate.film_of(done).whole()
    failed = submitted(client, projectId="p2", channel="c1")
    gate.film_of(failed).failed()
    spoken = gate.runs.run(gate.runs.create(new_id(), type="speech.narrate")).job_id
    gate.clock.tick()
    picture = reported(client, projectId="p1", channel="c1")
    gate.clock.tick()
    parent = reported(client, title="Pack", childCount=3)
    first = reported(client, parentJobId=parent, childIndex=0, projectId="p9")
    gate.clock.tick()
    second = reported(client, parentJobId=parent, childIndex=1, channel="c9")
    client.post(f"/v1/jobs/{first}/complete").raise_for_status()
    own = gate.runs.run(gate.runs.create(new_id(), type="workflow.run", parent_id=done, project_id="p3")).job_id
    at = {job["jobId"]: job["createdAt"] for job in walked(client)}
    everything = [parent, picture, spoken, failed, done, queued]
    steps = [f"finalize_{done}", f"assemble_{done}", *(f"scene_{done}_{n:03d}" for n in (3, 2, 1))]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, everything),
        ({"type": "render.movie"}, [failed, done, queued]),
        ({"type": "render"}, [failed, done, queued]),
        ({"type": "speech,image-generation"}, [parent, picture, spoken]),
        ({"type": ["speech.narrate", "render.movie"]}, [spoken, failed, done, queued]),
        ({"type": "publish"}, []),
        ({"type": "rend"}, []),
        ({"status": "done"}, [done]),
        ({"status": "failed,queued"}, [picture, spoken, failed, queued]),
        ({"status": ["cancelled", "failed"]}, [failed]),
        ({"projectId": "p1"}, [picture, done, queued]),
        ({"projectId": "p1", "channel": "c1"}, [picture, queued]),
        ({"channel": "c1", "status": "queued", "type": "render"}, [queued]),
        ({"projectId": "P1"}, []),
        ({"from": at[failed]}, [parent, picture, spoken, failed]),
        ({"to": at[failed]}, [done, queued]),
        ({"from": at[done], "to": at[spoken]}, [failed, done]),
        ({"from": at[done].replace("Z", "+00:00"), "to": at[failed]}, [done]),
        ({"parent": parent}, [second, first]),
        ({"parent": parent, "status": "done"}, [first]),
        ({"parent": parent, "projectId": "p9"}, [first]),
        ({"parent": parent, "channel": "c9"}, [second]),
        ({"parent": parent, "type": "render"}, []),
        ({"parent": done, "type": "workflow"}, [own]),
        ({"parent": done, "projectId": "p3"}, [own]),
        ({"parent": done, "type": "render.scene", "status": "done"}, steps[2:]),
        ({"parent": queued}, []),
        ({"type": "render.assemble"}, [f"assemble_{failed}", f"assemble_{done}"]),
        ({"type": "render.scene", "projectId": "p1"}, steps[2:]),
        ({"type": "render.scene,render.finalize", "status": "cancelled"}, [f"finalize_{failed}"]),
        ({"type": "render.scene", "status": "failed"}, [f"scene_{failed}_002"]),
    ]  # fmt: skip
    for params, wanted in cases:
        for limit in (100, 2):
            assert ids(walked(client, limit=limit, **params)) == wanted, (params, limit)
    assert set(ids(walked(client, parent=done))) == {own, *steps}


def test_what_is_no_filter_or_no_value_is_refused(client: httpx.Client) -> None:
    for name in ("typ", "Type", "sort", "workspace", "", "limit "):
        assert told(client.get("/v1/jobs", params={name: "1"})) == (400, "UNKNOWN_FILTER"), name
    for params in (
        {"status": "finished"}, {"status": ""}, {"type": ""}, {"type": "render.movie,"}, {"from": "yesterday"}, {"to": "2026-13-01"}, {"from": ""},
        {"projectId": "a\x00b"}, {"channel": "x" * 256}, {"to": "9" * 200},
    ):  # fmt: skip
        assert told(client.get("/v1/jobs", params=params)) == (400, "VALIDATION_ERROR"), params
    assert told(client.get("/v1/jobs", params={"parent": NOBODYS})) == (404, "JOB_NOT_FOUND")


def test_a_cursor_that_was_never_given_out_is_refused(gate: Gateway, client: httpx.Client) -> None:
    def packed(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()

    good = {"lastId": NOBODYS, "createdAt": T0}
    assert client.get("/v1/jobs", params={"cursor": packed(good)}).status_code == 200
    for cursor in (
        "", "x", "%%%", "é", packed([]), packed(1), packed(good)[:-5], "[" * 900, base64.urlsafe_b64encode(b"[" * 500).decode(),
        *(packed({**good, **wrong}) for wrong in (
            {"lastId": None}, {"lastId": "a\x00b"}, {"lastId": "\ud800"}, {"lastId": ""}, {"lastId": "x" * 101}, {"lastId": ["a"]}, {"createdAt": "1"},
            {"createdAt": -1}, {"createdAt": 2**63}, {"createdAt": 1.5}, {"createdAt": True},
        )),
    ):  # fmt: skip
        assert told(client.get("/v1/jobs", params={"cursor": cursor})) == (400, "CURSOR_INVALID"), cursor
    assert told(client.get("/v1/jobs", params={"cursor": "x" * 1_001})) == (400, "VALIDATION_ERROR")


def test_a_filter_that_fits_hardly_any_job_gives_short_pages_and_loses_none(
    gate: Gateway, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at so many jobs and no more; here at 40, of a board that reads 8 at a time."""
    monkeypatch.setattr(lists, "_MOST_LOOKED_AT", 40)
    monkeypatch.setattr(lists, "_CHUNK", 8)
    chance = random.Random(4)
    wanted: list[str] = []
    scenes: list[str] = []
    for number in range(150):
        if number % 29 == 3:
            gate.clock.tick()
            wanted.append(reported(client))
            continue
        film = gate.film(scenes=1)
        job_id = gate.runs.run(film.run_id).job_id
        if chance.random() < 0.1:
            wanted.append(job_id)
            continue
        film.start()
        if chance.random() < 0.06:
            film.plan().scene(1).broke(1)
            scenes.append(f"scene_{job_id}_001")
    for limit in (1, 3, 100):
        assert ids(walked(client, limit=limit, status="queued")) == wanted[::-1]
        assert ids(walked(client, limit=limit, type="render.scene", status="failed")) == scenes[::-1]
    ends = walked(client, type="render.finalize,render.assemble,render.scene")
    assert len(ids(ends)) == len(set(ids(ends))) == 3 * len(scenes)


# ---- one job ---------------------------------------------------------------------------------------------------------


def test_an_unchanged_job_costs_304(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    first = client.get(f"/v1/jobs/{job_id}")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f'"other", {tag}', "*"):
        again = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    # One that was submitted after it and comes before it moves it in the queue.
    submitted(client, priority="high")
    moved = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
    assert (moved.status_code, moved.json()["queue"]["position"]) == (200, 2)
    gate.film_of(job_id).start()
    started = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": moved.headers["etag"]})
    assert (started.status_code, started.json()["status"]) == (200, "running")
    assert started.headers["retry-after"] == "3"
    gate.film_of(job_id).plan().join().succeed()
    assert "retry-after" not in client.get(f"/v1/jobs/{job_id}").headers


def test_prefer_wait_holds_the_reply_until_the_job_changes(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    path = f"/v1/jobs/{job_id}"
    tag = client.get(path).headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, path, headers={"If-None-Match": tag, "Prefer": "respond-async, wait=50"})
        until(lambda: gate.app.state.hub.watched)
        film = gate.film_of(job_id).start()
        changed = waiting.result()
        assert (changed.status_code, changed.json()["status"]) == (200, "running")
        assert changed.headers["preference-applied"] == "wait=50"
        # Without a tag it waits for the end, whatever changes before.
        waiting = pool.submit(client.get, path, headers={"Prefer": "wait=50"})
        film.plan().scene(1).made(1)
        film.scene(2).made(2).scene(3).made(3).join().succeed()
        assert waiting.result().json()["status"] == "done"
    # What has changed or ended already is not waited for.
    assert client.get(path, headers={"Prefer": "wait=50", "If-None-Match": tag}).json()["status"] == "done"
    assert client.get(path, headers={"Prefer": "wait"}).headers["preference-applied"] == "wait=60"
    assert gate.app.state.hub.watched == 0


def test_prefer_wait_ends_when_its_time_is_up(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    path = f"/v1/jobs/{job_id}"
    tag = client.get(path).headers["etag"]
    answer = client.get(path, headers={"Prefer": "wait=1", "If-None-Match": tag})
    assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")
    assert client.get(path, headers={"Prefer": "wait=0"}).json()["status"] == "queued"
    for other in ("return=minimal", "wait=x", "waiting=5", "await=5"):
        assert "preference-applied" not in client.get(path, headers={"Prefer": other}).headers, other
    assert told(client.get(f"/v1/jobs/{NOBODYS}", headers={"Prefer": "wait=50"})) == (404, "JOB_NOT_FOUND")


def test_whatever_is_no_job_is_answered_in_the_same_words(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    for name in (
        NOBODYS, "job_", "x", "JOB_" + job_id[4:], job_id + "0", f"scene_{job_id}_009", f"assemble_{job_id}", f"scene_{NOBODYS}_001", "scene_x", "a" * 500,
        "%00", "%ff", "job_%0a", "..%2f..%2fetc", "'; DROP TABLE reported_jobs; --",
    ):  # fmt: skip
        for method, path in (
            ("GET", ""), ("GET", "/children"), ("GET", "/events"), ("GET", "/output"), ("GET", "/progress"), ("GET", "/files/output.mp4"),
            ("GET", "/callbacks"), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/stream-token"), ("DELETE", ""),
        ):  # fmt: skip
            answer = client.request(method, f"/v1/jobs/{name}{path}")
            if answer.json()["code"] != "NOT_FOUND":  # a slash in the id: no such route
                assert told(answer) == (404, "JOB_NOT_FOUND"), (name, method, path)


def test_children_stand_in_the_order_of_the_film(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    own = gate.runs.run(gate.runs.create(new_id(), type="workflow.run", parent_id=job_id)).job_id
    gate.runs.create(new_id(), parent_id=job_id, workspace="other")
    gate.film_of(job_id).start()
    film = Film(gate.runs, gate.runs.runs_of(job_id)[0].run_id, 11).plan()
    film.scene(2).made(2).scene(1).broke(1)
    reply = client.get(f"/v1/jobs/{job_id}/children").json()
    assert reply["parent"]["jobId"] == job_id
    assert reply["parent"]["children"] == {"total": 11, "succeeded": 1, "running": 0, "queued": 9, "failed": 1, "cancelled": 0}
    assert ids(reply["jobs"]) == [*(f"scene_{job_id}_{n:03d}" for n in range(1, 12)), f"assemble_{job_id}", f"finalize_{job_id}", own]
    first = reply["jobs"][0]
    assert (first["status"], first["parentJobId"], first["childIndex"]) == ("failed", job_id, 0)
    assert first["links"]["parent"] == f"{gate.url}/v1/jobs/{job_id}"
    assert client.get(f"/v1/jobs/{first['jobId']}").json() == first
    assert client.get(f"/v1/jobs/{first['jobId']}/children").json()["jobs"] == []


def test_events_page_over_every_change_once(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.film_of(job_id).whole()
    whole = client.get(f"/v1/jobs/{job_id}/events", params={"limit": 500}).json()
    assert whole["nextAfter"] is None
    last = whole["events"][-1]
    assert [event["sequence"] for event in whole["events"]] == list(range(1, last["sequence"] + 1))
    assert (last["name"], last["job"]["status"]) == ("job.completed", "done")
    for limit in (1, 7, 100):
        events: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = client.get(f"/v1/jobs/{job_id}/events", params={"limit": limit, "after": after}).json()
            assert len(page["events"]) <= limit
            events += page["events"]
            after = page["nextAfter"]
        assert events == whole["events"]
    child = f"scene_{job_id}_002"
    mine = client.get(f"/v1/jobs/{child}/events").json()["events"]
    assert mine == [event for event in whole["events"] if event["job"]["jobId"] == child]
    assert [event["job"]["status"] for event in mine] == ["queued", "queued", "running", "running", "done"]
    assert client.get(f"/v1/jobs/{job_id}/events", params={"after": 10**9}).json() == {"events": [], "nextAfter": None}
    for params in ({"limit": 0}, {"limit": 501}, {"after": -1}, {"after": "x"}, {"after": 2**60}):
        assert told(client.get(f"/v1/jobs/{job_id}/events", params=params)) == (400, "VALIDATION_ERROR"), params


def test_output_is_read_on_from_a_cursor_and_every_line_comes_once(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    film = gate.film_of(job_id).start()
    path = f"/v1/jobs/{job_id}/output"

    def read(cursor: str | None, **params: Any) -> dict[str, Any]:
        answer = client.get(path, params={**params, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    page = read(None)
    assert page["output"] == []
    for number in range(23):
        gate.printed.print(film.run_id, "movie.plan_film", f"plan {number}")
        gate.printed.print(film.run_id, "movie.render_scene[scene_002]", f"scene {number}")
        gate.printed.print(film.run_id, "movie.plan_film", f"oops {number}", "stderr")
    lines: list[Any] = []
    while (page := read(page["cursor"]))["output"]:
        lines += page["output"]
    assert [line["text"] for line in lines if line["jobId"] == job_id] == [f"plan {n}" for n in range(23)]
    assert [line for line in lines if line["jobId"] != job_id] == [
        {"jobId": f"scene_{job_id}_002", "step": "movie.render_scene[scene_002]", "stream": "stdout", "text": f"scene {n}"} for n in range(23)
    ]
    gate.printed.print(film.run_id, "movie.plan_film", "one more")
    assert [line["text"] for line in read(page["cursor"])["output"]] == ["one more"]
    assert {line["stream"] for line in read(None, stream="all")["output"]} == {"stdout", "stderr"}
    assert {line["stream"] for line in read(None, stream="stderr")["output"]} == {"stderr"}
    film.plan().scene(2)
    child = client.get(f"/v1/jobs/scene_{job_id}_002/output").json()["output"]
    assert [line["text"] for line in child] == [f"scene {n}" for n in range(5)]
    bomb = base64.urlsafe_b64encode(__import__("zlib").compress(b"[" * 50_000_000)).decode()
    for cursor in ("x", "é", "AAAA", page["cursor"][:-12], bomb[:19_000]):
        assert told(client.get(path, params={"cursor": cursor})) == (400, "CURSOR_INVALID"), cursor[:40]
    for params in ({"stream": "stdin"}, {"cursor": "x" * 20_001}):
        assert told(client.get(path, params=params)) == (400, "VALIDATION_ERROR")


def test_a_film_is_sent_whole_and_in_ranges(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.film_of(job_id).whole()
    film = bytes(range(256)) * 40
    gate.store.put_bytes(f"outputs/{job_id}/output.mp4", film)
    gate.store.put_bytes(f"outputs/{job_id}/secret.txt", b"not for anybody")
    url = client.get(f"/v1/jobs/{job_id}").json()["outputUrl"]
    assert url == f"{gate.url}/v1/jobs/{job_id}/files/output.mp4"
    whole = client.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, film, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    for wanted, first, last in (("0-0", 0, 0), ("100-299", 100, 299), ("10000-", 10_000, 10_239), ("-10", 10_230, 10_239), ("0-99999", 0, 10_239)):
        part = client.get(url, headers={"Range": f"bytes={wanted}"})
        assert (part.status_code, part.content) == (206, film[first : last + 1]), wanted
        assert part.headers["content-range"] == f"bytes {first}-{last}/10240"
    assert client.get(url, headers={"Range": "bytes=20000-"}).status_code == 416
    # A child's link leads to the film of the whole.
    assert client.get(f"/v1/jobs/scene_{job_id}_001/files/output.mp4").content == film
    for name in ("poster.jpg", "secret.txt", "x", "..%2foutput.mp4", "%2e%2e", "output.mp4%00", "a" * 3_000):
        answer = client.get(f"/v1/jobs/{job_id}/files/{name}")
        assert answer.status_code == 404, name
        assert b"not for anybody" not in answer.content


class _Bucket(LocalStore):
    """A store that is not on this machine, as far as the gateway can see."""

    def local_path(self, key: str) -> Path | None:
        return None

    def url(self, key: str) -> str:
        return f"https://bucket.example/{key}?signature=abc"


def test_a_film_in_a_bucket_is_fetched_from_there(database: Database, tmp_path: Path) -> None:
    with gateway(database, tmp_path, store=_Bucket(tmp_path / "store")) as gate:
        client = gate.client()
        job_id = submitted(client)
        gate.film_of(job_id).whole()
        gate.store.put_bytes(f"outputs/{job_id}/output.mp4", b"film")
        answer = client.get(f"/v1/jobs/{job_id}/files/output.mp4")
        assert (answer.status_code, answer.headers["location"]) == (307, f"https://bucket.example/outputs/{job_id}/output.mp4?signature=abc")
        assert answer.headers["cache-control"] == "no-store"
        assert told(client.get(f"/v1/jobs/{job_id}/files/poster.jpg")) == (404, "FILE_NOT_FOUND")


# ---- ending and beginning anew ---------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked_to_end(gate: Gateway, client: httpx.Client) -> None:
    queued, running = submitted(client), submitted(client)
    film = gate.film_of(running).start().plan().scene(1)
    answer = client.post(f"/v1/jobs/{queued}/cancel")
    assert answer.status_code == 202
    assert (answer.json()["jobId"], answer.json()["status"]) == (queued, "cancelled")
    asked = client.post(f"/v1/jobs/{running}/cancel")
    assert (asked.status_code, asked.json()["status"]) == (202, "waiting")
    shown = client.get(f"/v1/jobs/{running}").json()
    assert shown["cancelRequestedAt"] == asked.json()["cancelRequestedAt"]
    # Asking twice is not wrong, and the first time counts.
    assert client.post(f"/v1/jobs/{running}/cancel").json() == asked.json()
    film.log("step.failed", "movie.render_scene[scene_001]", error="interrupted").log("run.canceled")
    ended = client.get(f"/v1/jobs/{running}").json()
    assert (ended["status"], ended["error"], ended["children"]["cancelled"]) == ("cancelled", None, 3)
    for job_id in (queued, running):
        assert told(client.post(f"/v1/jobs/{job_id}/cancel")) == (409, "INVALID_STATE")


def test_what_has_ended_or_is_a_part_cannot_be_cancelled(gate: Gateway, client: httpx.Client) -> None:
    done, failed, running = (submitted(client) for _ in range(3))
    gate.film_of(done).whole()
    gate.film_of(failed).failed()
    gate.film_of(running).start().plan().scene(1)
    for job_id in (done, failed, f"scene_{done}_001"):
        answer = client.post(f"/v1/jobs/{job_id}/cancel")
        assert told(answer) == (409, "INVALID_STATE")
    part = client.post(f"/v1/jobs/scene_{running}_001/cancel")
    assert told(part) == (409, "INVALID_STATE")
    assert f"is a part of {running}" in part.json()["error"]
    assert gate.launcher.cancelled == []
    gate.launcher.away = True
    away = client.post(f"/v1/jobs/{running}/cancel")
    assert told(away) == (503, "RENDER_UNAVAILABLE")
    assert "retry-after" in away.headers


def test_cancelling_a_parent_cancels_the_runs_that_belong_to_it(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    film = gate.film_of(job_id).start()
    child, ended, foreign = (gate.runs.create(new_id(), parent_id=job_id, workspace=w) for w in ("default", "default", "other"))
    Film(gate.runs, ended).whole()
    client.post(f"/v1/jobs/{job_id}/cancel", params={"force": True}).raise_for_status()
    assert gate.launcher.cancelled == [(child, True), (film.run_id, True)]
    assert gate.runs.run(foreign).status == "QUEUED"
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "cancelled"


def test_a_failed_job_is_tried_again_under_its_id(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    first = gate.film_of(job_id).failed().run_id
    answer = client.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()) == (202, {"jobId": job_id, "status": "queued", "attempt": 2})
    assert gate.launcher.agains == [(first, {}, ())]
    shown = client.get(f"/v1/jobs/{job_id}").json()
    assert (shown["status"], shown["attempt"], shown["error"], shown["progress"]) == ("queued", 2, None, 0)
    assert [(each["attempt"], each["status"]) for each in shown["attempts"]] == [(1, "failed"), (2, "queued")]
    assert shown["attempts"][0]["error"].startswith("SCENE_RENDER_FAILED")
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (409, "INVALID_STATE")
    gate.film_of(job_id).whole()
    done = client.get(f"/v1/jobs/{job_id}").json()
    assert (done["status"], done["attempt"], done["children"]["succeeded"]) == ("done", 2, 3)
    # Nothing of it failed any more; it can be made anew, or otherwise.
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (409, "INVALID_STATE")
    assert client.post(f"/v1/jobs/{job_id}/retry", json={"set": {"name": "Zoë"}}).json()["attempt"] == 3
    gate.film_of(job_id).whole()
    assert client.post(f"/v1/jobs/{job_id}/retry", json={"scope": "all"}).json()["attempt"] == 4
    assert [(changes, fresh) for _, changes, fresh in gate.launcher.agains[1:]] == [({"name": "Zoë"}, ()), ({}, ("*",))]


def test_one_scene_is_tried_again_and_its_siblings_are_left(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.film_of(job_id).failed()
    assert told(client.post(f"/v1/jobs/scene_{job_id}_001/retry")) == (409, "INVALID_STATE")
    answer = client.post(f"/v1/jobs/scene_{job_id}_002/retry")
    assert (answer.status_code, answer.json()) == (202, {"jobId": f"scene_{job_id}_002", "status": "queued", "attempt": 2})
    gate.film_of(job_id).whole()
    assert client.post(f"/v1/jobs/scene_{job_id}_003/retry", json={"scope": "all"}).status_code == 202
    assert [fresh for _, _, fresh in gate.launcher.agains] == [(), ("3",)]


def test_of_many_who_retry_a_job_at_once_one_begins_an_attempt(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.film_of(job_id).failed()
    gate.launcher.hold = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(client.post, f"/v1/jobs/{job_id}/retry") for _ in range(6)]
        until(lambda: sum(answer.done() for answer in answers) == 5)
        gate.launcher.hold.set()
    assert sorted(answer.result().status_code for answer in answers) == [202, *[409] * 5]
    assert len(gate.runs.runs_of(job_id)) == 2


def test_a_retry_whose_answer_was_lost_may_be_asked_for_again(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.film_of(job_id).failed()
    gate.launcher.lose = 1
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (503, "RENDER_UNAVAILABLE")
    # It had begun.
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (409, "INVALID_STATE")
    assert client.get(f"/v1/jobs/{job_id}").json()["attempt"] == 2


def test_a_retry_is_refused_while_it_cannot_be_or_makes_no_sense(gate: Gateway) -> None:
    client = gate.client(gate.key("team", plan="pro"))
    job_id = submitted(client)
    for body in ({"scope": "some"}, {"set": []}, {"extra": 1}, []):
        assert told(client.post(f"/v1/jobs/{job_id}/retry", json=body)) == (400, "VALIDATION_ERROR"), body
    for set_ in ('{"a": NaN}', '{"a": "\\ud800"}', '{"a":' * 60 + "1" + "}" * 60):
        answer = client.post(f"/v1/jobs/{job_id}/retry", content='{"set": ' + set_ + "}", headers={"Content-Type": "application/json"})
        assert (told(answer), pointers(answer)) == ((400, "VALIDATION_ERROR"), {"/set"})
    for _ in range(2):
        assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (409, "INVALID_STATE")
        gate.film_of(job_id).start()
    gate.film_of(job_id).fail()
    others = [submitted(client) for _ in range(3)]
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (409, "CONCURRENCY_LIMIT_EXCEEDED")
    client.post(f"/v1/jobs/{others[0]}/cancel").raise_for_status()
    gate.launcher.away = True
    assert told(client.post(f"/v1/jobs/{job_id}/retry")) == (503, "RENDER_UNAVAILABLE")
    assert client.get(f"/v1/jobs/{job_id}").json()["attempt"] == 1
    picture = reported(client)
    client.post(f"/v1/jobs/{picture}/fail", json={"error": {"code": "X", "message": "y"}}).raise_for_status()
    answer = client.post(f"/v1/jobs/{picture}/retry", json={"set": {"a": 1}})
    assert (told(answer), pointers(answer)) == ((400, "VALIDATION_ERROR"), {"/set"})
    assert client.post(f"/v1/jobs/{picture}/retry").json() == {"jobId": picture, "status": "queued", "attempt": 2}


def test_only_what_has_ended_is_deleted_and_then_with_all_it_put_out(gate: Gateway, client: httpx.Client) -> None:
    job_id, kept = (submitted(client, callbackUrl="https://93.184.216.34/hook") for _ in range(2))
    assert told(client.delete(f"/v1/jobs/{job_id}")) == (409, "INVALID_STATE")
    for each in (job_id, kept):
        gate.film_of(each).failed()
        client.post(f"/v1/jobs/{each}/retry").raise_for_status()
        gate.film_of(each).whole()
        for key in (f"outputs/{each}/output.mp4", f"outputs/{each}/poster.jpg", f"render-plans/{each}/plan.json", f"render-plans/{each}/plan-2.json"):
            gate.store.put_bytes(key, b"x")
    clip = "cache/clips/ab/clip.mp4"
    gate.store.put_bytes(clip, b"x")
    assert told(client.delete(f"/v1/jobs/scene_{job_id}_001")) == (409, "INVALID_STATE")
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "done"
    assert rows(gate, tables.snapshots) > 0
    gate.launcher.away = True
    assert told(client.delete(f"/v1/jobs/{job_id}")) == (503, "RENDER_UNAVAILABLE")
    assert gate.store.stat(f"outputs/{job_id}/output.mp4") is not None
    gate.launcher.away = False
    answer = client.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert gate.runs.runs_of(job_id) == []
    left = {key for prefix in ("outputs/", "render-plans/", "cache/") for key in gate.store.list(prefix)}
    assert left == {clip, *(k for k in left if f"/{kept}/" in k)}
    assert len(left) == 5
    with gate.database.reading() as connection:
        assert job_id not in set(connection.execute(select(tables.snapshots.c.job_id)).scalars())
        # What its receiver was not told yet is still told.
        states = connection.execute(select(tables.outbox.c.kind, tables.outbox.c.state).where(tables.outbox.c.job_id == job_id)).all()
    assert {state for _, state in states} == {"due"}
    assert {"failed", "done"} <= {kind for kind, _ in states}
    # What it cost stays counted, also when it was deleted before anybody else looked.
    assert client.get("/v1/usage").json()["minutesThisMonth"] == 0.05
    for path in ("", "/children", "/events", "/output", "/progress", "/files/output.mp4"):
        assert told(client.get(f"/v1/jobs/{job_id}{path}")) == (404, "JOB_NOT_FOUND")
    assert told(client.delete(f"/v1/jobs/{job_id}")) == (404, "JOB_NOT_FOUND")
    assert ids(walked(client)) == [kept]


def test_a_reported_family_is_deleted_with_its_children_and_callbacks(gate: Gateway, client: httpx.Client) -> None:
    parent = reported(client, childCount=1, callbackUrl="https://93.184.216.34/parent")
    child = reported(client, parentJobId=parent, childIndex=0, callbackUrl="https://93.184.216.34/child")
    assert told(client.delete(f"/v1/jobs/{parent}")) == (409, "INVALID_STATE")
    client.post(f"/v1/jobs/{child}/complete").raise_for_status()
    assert told(client.delete(f"/v1/jobs/{child}")) == (409, "INVALID_STATE")
    with gate.database.writing() as connection:
        connection.execute(tables.outbox.update().values(state="delivered"))
    assert rows(gate, tables.outbox) >= 2
    assert client.delete(f"/v1/jobs/{parent}").status_code == 204
    assert rows(gate, tables.outbox) == 0
    for job_id in (parent, child):
        assert told(client.get(f"/v1/jobs/{job_id}")) == (404, "JOB_NOT_FOUND")


def test_no_reply_depends_on_what_is_kept_in_memory_or_as_snapshots(gate: Gateway, client: httpx.Client) -> None:
    """Dropping either cache at any moment changes nothing that anybody sees."""
    jobs = [submitted(client) for _ in range(4)]
    gate.film_of(jobs[0]).whole()
    gate.film_of(jobs[1]).failed()
    client.post(f"/v1/jobs/{jobs[1]}/retry").raise_for_status()
    gate.film_of(jobs[1]).start().plan().scene(1)
    gate.film_of(jobs[2]).start().plan().scene(1).frame(1, 10)
    paths = ["/v1/jobs", "/v1/jobs?type=render.scene", *(f"/v1/jobs/{j}{p}" for j in jobs for p in ("", "/children", "/events?limit=500"))]

    def seen() -> list[Any]:
        return [client.get(path).json() for path in paths]

    first = seen()
    gate.board.forget()
    assert seen() == first
    with gate.database.writing() as connection:
        connection.execute(tables.snapshots.delete())
    gate.board.forget()
    assert seen() == first
    assert seen() == first


# ---- tokens, limits, refusals ----------------------------------------------------------------------------------------


def test_a_stream_token_opens_its_family_and_nothing_else(gate: Gateway) -> None:
    secret = gate.key("team")
    client = gate.client(secret)
    job_id, other = submitted(client), submitted(client)
    gate.film_of(job_id).whole()
    gate.film_of(other).whole()
    for each in (job_id, other):
        gate.store.put_bytes(f"outputs/{each}/output.mp4", b"film")
    made = client.post(f"/v1/jobs/{job_id}/stream-token").json()
    token, stranger = made["token"], gate.client()
    assert made["url"] == f"{gate.url}/v1/jobs/{job_id}/progress?token={token}"
    assert stranger.get(made["url"]).status_code == 200
    assert stranger.get(f"/v1/jobs/scene_{job_id}_001/progress", params={"token": token}).status_code == 200
    assert stranger.get(f"/v1/jobs/{job_id}/files/output.mp4", params={"token": token}).content == b"film"
    for path in (f"/v1/jobs/{other}/progress", f"/v1/jobs/{other}/files/output.mp4", f"/v1/jobs/{NOBODYS}/progress"):
        assert told(stranger.get(path, params={"token": token})) == (403, "FORBIDDEN")
    # Only streams and files take one.
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events", "/v1/jobs", "/v1/me"):
        assert told(stranger.get(path, params={"token": token})) in {(401, "UNAUTHORIZED"), (400, "UNKNOWN_FILTER")}
    child = client.post(f"/v1/jobs/scene_{job_id}_001/stream-token").json()["token"]
    assert stranger.get(f"/v1/jobs/scene_{job_id}_001/progress", params={"token": child}).status_code == 200
    assert told(stranger.get(f"/v1/jobs/{job_id}/progress", params={"token": child})) == (403, "FORBIDDEN")
    gate.clock.tick(300_000)
    assert told(stranger.get(made["url"])) == (401, "UNAUTHORIZED")
    fresh = client.post(f"/v1/jobs/{job_id}/stream-token").json()["url"]
    gate.deps.accounts.revoke(gate.deps.accounts.list_keys("team")[0].id)
    gate.clock.tick(1_001)
    assert told(stranger.get(fresh)) == (401, "API_KEY_REVOKED")


def test_a_body_beyond_the_limit_is_refused_announced_or_not(gate: Gateway, client: httpx.Client) -> None:
    as_json = {"Content-Type": "application/json"}
    pieces = MAX_BODY_BYTES // 100_000 + 1

    def streamed(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b" " * 100_000

    for path in ("/v1/render/jobs", "/v1/jobs", f"/v1/jobs/{NOBODYS}/retry"):
        announced = client.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=as_json)
        assert told(announced) == (413, "PAYLOAD_TOO_LARGE")
        assert told(client.post(path, content=streamed(pieces), headers=as_json)) == (413, "PAYLOAD_TOO_LARGE")
    problem = client.post("/v1/jobs", content=streamed(pieces), headers={**as_json, "Accept": "application/problem+json"})
    assert (problem.status_code, problem.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    # One byte less is read.
    body = json.dumps(order_of()).encode()
    assert client.post("/v1/render/jobs", content=body + b" " * (MAX_BODY_BYTES - len(body)), headers=as_json).status_code == 202
    assert len(gate.launcher.orders) == 1


def test_refusals_are_problem_json_for_those_who_ask(client: httpx.Client) -> None:
    accept = {"Accept": "application/problem+json"}
    missing = client.get(f"/v1/jobs/{NOBODYS}", headers=accept)
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.headers["vary"] == "Accept"
    assert missing.json() == {
        "type": "about:blank", "title": "Not Found", "status": 404, "code": "JOB_NOT_FOUND", "instance": f"/v1/jobs/{NOBODYS}",
        "detail": client.get(f"/v1/jobs/{NOBODYS}").json()["error"],
    }  # fmt: skip
    invalid = client.post("/v1/render/jobs", json=order_of(movie={**MOVIE, "fps": 0}), headers=accept)
    assert [each["pointer"] for each in invalid.json()["errors"]] == ["/movie/fps"]
    assert set(invalid.json()["errors"][0]) == {"pointer", "code", "detail"}


# ---- the service -----------------------------------------------------------------------------------------------------


def test_me_and_usage_tell_of_the_key_and_its_workspace(gate: Gateway) -> None:
    client = gate.client(gate.key("team", plan="pro"))
    me = client.get("/v1/me").json()
    assert (me["userId"], me["workspace"], me["plan"], me["readOnly"], me["limits"]["concurrency"]) == ("team", "team", "pro", False, 3)
    job_id = submitted(client)
    gate.film_of(job_id).whole()
    meter_once(gate.database, job_id, 1, "team", "render.movie", 90.0, gate.clock())
    usage = client.get("/v1/usage").json()
    assert (usage["workspace"], usage["minutesThisMonth"], usage["minutesToday"]) == ("team", 1.5, 1.5)
    assert usage["jobs"] == {"thisMonth": 1, "today": 1, "byType": {"render.movie": 1}}
    assert usage["resets"] == {"month": "2026-05-01T00:00:00.000Z", "day": "2026-04-03T00:00:00.000Z"}


def test_healthz_tells_what_works_and_needs_no_key(gate: Gateway) -> None:
    gate.key()
    client = gate.client()
    assert client.get("/healthz").json() == {"status": "ok", "database": True, "dagster": True}
    gate.launcher.away = True
    degraded = client.get("/healthz")
    assert (degraded.status_code, degraded.json()) == (200, {"status": "degraded", "database": True, "dagster": False})
    gate.launcher.away = False
    gate.runs.broken = DatabaseUnavailable("the database at 10.1.2.3 does not answer")
    gate.clock.tick()
    down = client.get("/healthz")
    assert (down.status_code, down.json()) == (503, {"status": "down", "database": False, "dagster": True})


def test_when_a_database_is_away_the_answer_says_when_to_come_again_and_no_more(gate: Gateway, client: httpx.Client) -> None:
    job_id = submitted(client)
    gate.runs.broken = DatabaseUnavailable("the database at 10.1.2.3 does not answer")
    gate.clock.tick()
    for path in (f"/v1/jobs/{job_id}", "/v1/jobs", f"/v1/jobs/{job_id}/events", f"/v1/jobs/{job_id}/progress"):
        answer = client.get(path)
        assert told(answer) == (503, "DATABASE_UNAVAILABLE"), path
        assert "retry-after" in answer.headers
        assert "10.1.2.3" not in answer.text
    # Prometheus reads on meanwhile.
    assert client.get("/metrics").status_code == 200
    gate.runs.broken = None
    assert client.get(f"/v1/jobs/{job_id}").status_code == 200


def test_metrics_count_by_route_never_by_job(gate: Gateway, client: httpx.Client) -> None:
    job_ids = [submitted(client) for _ in range(3)]
    gate.film_of(job_ids[0]).start()
    for job_id in (*job_ids, NOBODYS):
        client.get(f"/v1/jobs/{job_id}")
    client.request("BREW", "/v1/jobs")
    client.request("PROPFIND", f"/{NOBODYS}")
    text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    replies = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for s in families["viralsync_http_requests"].samples if s.name.endswith("_total")
    }  # fmt: skip
    assert replies["POST", "/v1/render/jobs", "202"] == 3
    assert replies["GET", "/v1/jobs/{job_id}", "200"] == 3
    assert replies["GET", "/v1/jobs/{job_id}", "404"] == 1
    assert {method for method, _, _ in replies} == {"GET", "POST", "other"}
    assert not any(job_id in text for job_id in (*job_ids, NOBODYS))
    jobs = {tuple(sorted(s.labels.items())): s.value for s in families["viralsync_jobs"].samples}
    assert jobs == {(("status", "queued"), ("type", "render.movie")): 2, (("status", "started"), ("type", "render.movie")): 1}
    assert families["viralsync_streams"].samples[0].value == 0


@dg.op
def say(context):  # type: ignore[no-untyped-def]  # Dagster reads annotations, which are strings here
    if context.run.tags.get("fail"):
        raise dg.Failure("TOO_LATE: it is past midnight", allow_retries=False)


@dg.job
def launched_by_hand() -> None:
    say()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
def test_a_run_that_somebody_launched_by_hand_is_a_job_of_the_workspace_default(
    database: Database, dagster_storage: Settings, tmp_path: Path
) -> None:
    """On a real Dagster instance, as from its UI: no tag of ours on it."""
    with open_instance(dagster_storage, os.environ) as instance:
        done = launched_by_hand.execute_in_process(instance=instance).run_id
        failed = launched_by_hand.execute_in_process(instance=instance, tags={"fail": "yes"}, raise_on_error=False).run_id
        teams = launched_by_hand.execute_in_process(instance=instance, tags={WORKSPACE_TAG: "team"}).run_id
        board = open_board(instance, database, event_marks, lambda: time.time_ns() // 1_000_000)
        with gateway(database, tmp_path, board=board) as gate:
            mine, other = gate.client(gate.key()), gate.client(gate.key("team"))
            job_ids = ["job_" + run_id.replace("-", "")[:12] for run_id in (failed, done)]
            assert ids(walked(mine)) == job_ids
            shown = [mine.get(f"/v1/jobs/{job_id}").json() for job_id in job_ids]
            assert [(job["type"], job["status"]) for job in shown] == [("workflow.run", "failed"), ("workflow.run", "done")]
            assert shown[0]["error"] == "TOO_LATE: it is past midnight"
            assert shown[1]["links"]["dagster"] == f"http://127.0.0.1:3001/runs/{done}"
            names = [event["name"] for event in mine.get(f"/v1/jobs/{job_ids[1]}/events").json()["events"]]
            assert (names[0], names[-1]) == ("job.progress", "job.completed")
            late = Reader(f"/v1/jobs/{job_ids[0]}/progress")
            late.connect(mine)
            assert [frame.event for frame in late.got] == ["job.sync", "job.failed"]
            assert ids(walked(other)) == ["job_" + teams.replace("-", "")[:12]]
            for job_id in job_ids:
                assert told(other.get(f"/v1/jobs/{job_id}")) == (404, "JOB_NOT_FOUND")
