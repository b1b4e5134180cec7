"""The HTTP contract of reported jobs: the whole gateway behind a real server, on both databases; Dagster's place is taken by one run."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.app import served
from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.board.sources import Page, RunFacts
from viralsync_pipelines.gateway.app import build_app
from viralsync_pipelines.gateway.deps import Deps, put_together
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore

T0 = 1_764_244_800_000
DAGSTERS = "job_dddddddddddd"
PICTURE = {"jobType": "image-generation", "userId": "user_123", "title": "Snowflake"}
BATCH = {"jobType": "image-generation", "userId": "user_123", "parentTitle": "Christmas pack", "childTitles": ["Snowflake", "Tree", "Santa", "Reindeer", "Gift"]}


class OneRun:
    """An engine with one run at work, of the workspace `mine`."""

    def changed(self, since_ms: int | None) -> list[RunFacts]:
        return [RunFacts("run", 1, DAGSTERS, "render.movie", "STARTED", T0, T0, T0, workspace="mine")] if since_ms is None else []

    def count(self) -> int:
        return 1

    def events(self, run_id: str, cursor: str | None) -> Page:
        return Page([], cursor, False)

    def marks(self, run_ids: Any) -> dict[str, object]:
        return {}


class Away:
    """A launcher that nobody may ask anything here."""


@dataclass
class Api:
    url: str
    deps: Deps
    key: str
    others_key: str
    reading_key: str

    def post(self, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers={"x-api-key": key or self.key, **headers}, timeout=30)

    def get(self, path: str, *, key: str | None = None) -> Any:
        return httpx.get(self.url + path, headers={"x-api-key": key or self.key}, timeout=30).json()

    def made(self, **body: Any) -> dict[str, Any]:
        reply = self.post("/v1/jobs", {**PICTURE, **body})
        assert reply.status_code == 201, reply.text
        job: dict[str, Any] = reply.json()
        return job


@pytest.fixture
def api(database: Database, tmp_path: Path) -> Iterator[Api]:
    def now_ms() -> int:
        return T0

    reported = ReportedJobs(database, now_ms)
    deps = put_together(
        board=Board(OneRun(), now_ms, reports=reported), launcher=Away(), database=database, store=LocalStore(tmp_path / "store"), host="127.0.0.1",  # type: ignore[arg-type]
        now_ms=now_ms, reported=reported,
    )  # fmt: skip
    keys = [deps.accounts.create_key("k", workspace, read_only=only)[0] for workspace, only in (("mine", False), ("theirs", False), ("mine", True))]
    with served(build_app(deps)) as url:
        yield Api(url, deps, *keys)


def test_a_program_reports_a_job_from_its_place_in_a_queue_to_its_result(api: Api) -> None:
    reply = api.post("/v1/jobs", {**PICTURE, "queue": {"position": 5, "total": 12, "queueName": "free-tier"}, "projectId": "proj_1", "metadata": {"a": 1}})
    job = reply.json()
    assert reply.status_code == 201
    assert reply.headers["location"].endswith(f"/v1/jobs/{job['jobId']}")
    assert httpx.get(reply.headers["location"], headers={"x-api-key": api.key}).json() == job
    assert (job["status"], job["type"], job["title"]) == ("queued", "image-generation", "Snowflake")
    assert job["queue"] == {"position": 5, "total": 12, "queueName": "free-tier"}
    assert job["payload"] == {"projectId": "proj_1", "userId": "user_123", "metadata": {"a": 1}}
    own = f"/v1/jobs/{job['jobId']}"
    waiting = api.post(f"{own}/progress", {"progress": 0, "message": "Waiting in queue...", "queue": {"position": 3, "total": 10}})
    assert (waiting.status_code, waiting.json()["status"]) == (200, "queued")
    stage = {"name": "analysis", "current": 1, "total": 3, "description": "Understanding"}
    at = "2025-11-27T12:01:00.000Z"
    going = api.post(f"{own}/progress", {"progress": 33, "message": "Analysing", "stage": stage, "estimatedCompletionAt": at, "metadata": {"b": 2}}).json()
    assert (going["status"], going["progress"], going["message"], going["stage"], going["queue"]) == ("running", 0.33, "Analysing", stage, None)
    assert going["estimatedCompletionAt"] == at
    assert going["payload"]["metadata"] == {"a": 1, "b": 2}
    assert api.post(f"{own}/progress", {"progress": 20}).json()["progress"] == 0.33
    done = api.post(f"{own}/complete", {"result": {"type": "image", "url": "https://cdn.test/s.png"}, "message": "Ready"}).json()
    assert (done["status"], done["progress"], done["outputUrl"], done["result"]["type"]) == ("done", 1.0, "https://cdn.test/s.png", "image")
    assert [event["name"] for event in api.get(f"{own}/events")["events"]] == ["job.progress", "job.progress", "job.started", "job.completed"]
    assert [each["jobId"] for each in api.get("/v1/jobs?type=image-generation&status=done&projectId=proj_1")["jobs"]] == [job["jobId"]]


def test_a_batch_makes_a_parent_and_its_children_and_the_parent_follows_them(api: Api) -> None:
    """The documented example: five pictures at [100, 100, 100, 45, 0] are 69 per cent of the pack."""
    reply = api.post("/v1/jobs/batch", BATCH)
    assert reply.status_code == 201
    parent, children = reply.json()["parent"], reply.json()["jobs"]
    assert reply.headers["location"].endswith(parent["jobId"])
    assert (parent["title"], parent["childProgressMode"], parent["children"]["queued"]) == ("Christmas pack", "average", 5)
    assert [(c["title"], c["childIndex"], c["parentJobId"], c["status"]) for c in children] == [
        (title, index, parent["jobId"], "queued") for index, title in enumerate(BATCH["childTitles"])
    ]
    for child in children[:3]:
        api.post(f"/v1/jobs/{child['jobId']}/complete")
    api.post(f"/v1/jobs/{children[3]['jobId']}/progress", {"progress": 45})
    parent = api.get(f"/v1/jobs/{parent['jobId']}")
    assert (parent["status"], parent["progress"]) == ("waiting", 0.69)
    assert parent["children"] == {"total": 5, "succeeded": 3, "running": 1, "queued": 1, "failed": 0, "cancelled": 0}
    for child in children[3:]:
        api.post(f"/v1/jobs/{child['jobId']}/complete", {})
    family = api.get(f"/v1/jobs/{parent['jobId']}/children")
    assert (family["parent"]["status"], {c["status"] for c in family["jobs"]}) == ("done", {"done"})


@pytest.mark.parametrize("name", ["childCount", "totalChildren"])
def test_a_parent_is_created_first_and_its_children_after_it(api: Api, name: str) -> None:
    parent = api.made(**{name: 2, "childProgressMode": "weighted", "onChildFailure": "continue"})
    assert parent["children"]["total"] == 2
    child = api.made(parentJobId=parent["jobId"], childIndex=0, weight=3)
    assert (child["parentJobId"], child["childIndex"]) == (parent["jobId"], 0)
    api.post(f"/v1/jobs/{child['jobId']}/complete")
    assert api.get(f"/v1/jobs/{parent['jobId']}")["progress"] == 0.75
    taken = api.post("/v1/jobs", {**PICTURE, "parentJobId": parent["jobId"], "childIndex": 0})
    assert (taken.status_code, taken.json()["code"]) == (409, "INVALID_STATE")
    outside = api.post("/v1/jobs", {**PICTURE, "parentJobId": parent["jobId"], "childIndex": 2})
    assert (outside.status_code, outside.json()["problems"][0]["pointer"]) == (400, "/childIndex")
    nobodys = api.post("/v1/jobs", {**PICTURE, "parentJobId": "job_ffffffffffff", "childIndex": 0})
    assert (nobodys.status_code, nobodys.json()["code"]) == (404, "JOB_NOT_FOUND")


def test_a_failed_job_is_retried_and_a_failed_child_fails_its_parent(api: Api) -> None:
    family = api.post("/v1/jobs/batch", BATCH).json()
    parent, child = family["parent"]["jobId"], family["jobs"][1]["jobId"]
    failed = api.post(f"/v1/jobs/{child}/fail", {"error": {"code": "NSFW", "message": "refused"}, "retryable": True}).json()
    assert (failed["status"], failed["error"], failed["result"]["error"]["retryable"]) == ("failed", "NSFW: refused", True)
    shown = api.get(f"/v1/jobs/{parent}")
    assert (shown["status"], shown["error"]) == ("failed", f"CHILD_FAILED: {child} (Tree): NSFW: refused")
    retried = api.post(f"/v1/jobs/{parent}/retry", {"scope": "failed"})
    assert (retried.status_code, retried.json()) == (202, {"jobId": parent, "status": "queued", "attempt": 2})
    assert api.get(f"/v1/jobs/{child}")["attempt"] == 2


def test_cancelling_a_parent_ends_its_children_and_later_reports_are_conflicts(api: Api) -> None:
    family = api.post("/v1/jobs/batch", BATCH).json()
    parent, child = family["parent"]["jobId"], family["jobs"][0]["jobId"]
    cancelled = api.post(f"/v1/jobs/{parent}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    for path, body in (("progress", {"progress": 5}), ("complete", {}), ("fail", {"error": {"code": "X", "message": "y"}}), ("cancel", None)):
        late = api.post(f"/v1/jobs/{child}/{path}", body)
        assert (late.status_code, late.json()["code"]) == (409, "INVALID_STATE")
    assert httpx.delete(f"{api.url}/v1/jobs/{child}", headers={"x-api-key": api.key}).status_code == 409
    assert httpx.delete(f"{api.url}/v1/jobs/{parent}", headers={"x-api-key": api.key}).status_code == 204
    assert api.post(f"/v1/jobs/{child}/progress", {"progress": 5}).status_code == 404


REPORTS: list[tuple[str, dict[str, Any]]] = [("progress", {"progress": 5}), ("complete", {}), ("fail", {"error": {"code": "X", "message": "y"}})]


@pytest.mark.parametrize(("path", "body"), REPORTS)
def test_what_dagster_does_takes_no_reports(api: Api, path: str, body: dict[str, Any]) -> None:
    refused = api.post(f"/v1/jobs/{DAGSTERS}/{path}", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "INVALID_STATE")
    assert "done by Dagster" in refused.json()["error"]
    assert api.post(f"/v1/jobs/{DAGSTERS}/{path}", body, key=api.others_key).status_code == 404
    child = api.post("/v1/jobs", {**PICTURE, "parentJobId": DAGSTERS, "childIndex": 0})
    assert child.status_code == 409


@pytest.mark.parametrize(("path", "body"), REPORTS)
def test_another_workspace_and_a_key_that_may_only_read_change_nothing(api: Api, path: str, body: dict[str, Any]) -> None:
    job = api.made()
    foreign = api.post(f"/v1/jobs/{job['jobId']}/{path}", body, key=api.others_key)
    unknown = api.post(f"/v1/jobs/job_ffffffffffff/{path}", body, key=api.others_key)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "JOB_NOT_FOUND")
    assert foreign.text.replace(job["jobId"], "job_ffffffffffff") == unknown.text
    assert api.post(f"/v1/jobs/{job['jobId']}/{path}", body, key=api.reading_key).status_code == 403
    assert api.post("/v1/jobs", PICTURE, key=api.reading_key).status_code == 403
    assert api.get("/v1/jobs", key=api.others_key)["jobs"] == []
    assert api.get(f"/v1/jobs/{job['jobId']}", key=api.reading_key) == job


LIMITS: list[tuple[dict[str, Any], str, str]] = [
    ({"jobType": ""}, "/jobType", "FIELD_MISSING"),
    ({"jobType": "x" * 101}, "/jobType", "TEXT_TOO_LONG"),
    ({"jobType": "render.movie"}, "/jobType", "VALUE_INVALID"),
    ({"jobType": "Publish.youtube"}, "/jobType", "VALUE_INVALID"),
    ({"jobType": "speech.line"}, "/jobType", "VALUE_INVALID"),
    ({"jobType": "a\u0000b"}, "/jobType", "VALUE_INVALID"),
    ({"userId": "x" * 256}, "/userId", "TEXT_TOO_LONG"),
    ({"title": "x" * 201}, "/title", "TEXT_TOO_LONG"),
    ({"title": None}, "/title", "TYPE_WRONG"),
    ({"metadata": {"a": "x" * 10_240}}, "/metadata", "TOO_MANY"),
    ({"metadata": [1]}, "/metadata", "TYPE_WRONG"),
    ({"ttlSeconds": 59}, "/ttlSeconds", "VALUE_OUT_OF_RANGE"),
    ({"ttlSeconds": 2_592_001}, "/ttlSeconds", "VALUE_OUT_OF_RANGE"),
    ({"childCount": 0}, "/childCount", "VALUE_OUT_OF_RANGE"),
    ({"childCount": 1_001}, "/childCount", "VALUE_OUT_OF_RANGE"),
    ({"childCount": 2, "childProgressMode": "guessed"}, "/childProgressMode", "VALUE_NOT_ALLOWED"),
    ({"onChildFailure": "fail"}, "/onChildFailure", "VALUE_INVALID"),
    ({"parentJobId": "job_ffffffffffff"}, "/childIndex", "FIELD_MISSING"),
    ({"parentJobId": "job_ffffffffffff", "childIndex": -1}, "/childIndex", "VALUE_OUT_OF_RANGE"),
    ({"parentJobId": "job_ffffffffffff", "childIndex": 0, "childCount": 1}, "/childCount", "VALUE_INVALID"),
    ({"childIndex": 0}, "/childIndex", "VALUE_INVALID"),
    ({"queue": {"position": "first"}}, "/queue/position", "TYPE_WRONG"),
    ({"stage": {"name": "s", "current": 4, "total": 3}}, "/stage/total", "VALUE_INVALID"),
    ({"estimatedCompletionAt": "tomorrow"}, "/estimatedCompletionAt", "TYPE_WRONG"),
    ({"callbackUrl": "http://10.0.0.1/"}, "/callbackUrl", "CALLBACK_REFUSED"),
    ({"callbackUrl": "ftp://a.test/"}, "/callbackUrl", "CALLBACK_REFUSED"),
    ({"titel": "typo"}, "/titel", "FIELD_UNKNOWN"),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_beyond_the_limits_is_told_with_its_place(api: Api) -> None:
    for changes, pointer, code in LIMITS:
        reply = api.post("/v1/jobs", {**PICTURE, **changes})
        assert (reply.status_code, reply.json()["code"]) == (400, "VALIDATION_ERROR"), changes
        assert [(p["pointer"], p["code"]) for p in reply.json()["problems"]] == [(pointer, code)], changes
    assert api.get("/v1/jobs?type=image-generation")["jobs"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_limits_themselves_are_taken(api: Api) -> None:
    room = 10_240 - len(json.dumps({"a": ""}, separators=(",", ":")))
    job = api.made(jobType="x" * 100, userId="ü" * 255, title="x" * 200, metadata={"a": "x" * room}, ttlSeconds=60, childCount=1_000)
    assert job["children"]["total"] == 1_000
    child = api.made(parentJobId=job["jobId"], childIndex=999)
    room = 102_400 - len(json.dumps({"a": ""}, separators=(",", ":")))
    over = api.post(f"/v1/jobs/{child['jobId']}/complete", {"result": {"a": "x" * (room + 1)}})
    assert (over.status_code, over.json()["problems"][0]["pointer"]) == (400, "/result")
    assert api.post(f"/v1/jobs/{child['jobId']}/complete", {"result": {"a": "x" * room}}).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_report_beyond_the_limits_changes_nothing(api: Api) -> None:
    job = api.made()
    for body in ({"progress": 100.1}, {"progress": -1}, {"progress": "half"}, {"message": "x" * 2_001}, {"metadata": {"a": "x" * 10_240}}):
        assert api.post(f"/v1/jobs/{job['jobId']}/progress", body).status_code == 400
    assert api.get(f"/v1/jobs/{job['jobId']}") == job


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_no_json_is_refused_and_breaks_nothing(api: Api) -> None:
    """Numbers that are none, half a surrogate pair, and nesting that ends parsers."""
    job = api.made()
    headers = {"x-api-key": api.key, "content-type": "application/json"}
    bodies = ['{"metadata": {"a": NaN}}', '{"metadata": {"a": "\\ud800"}}', '{"progress": NaN}', '{"message": "\\ud800"}', "[" * 100_000]
    bodies += ['{"metadata": ' + '{"a":' * depth + "1" + "}" * depth + "}" for depth in (40, 900, 5_000)]
    for text in bodies:
        reply = httpx.post(f"{api.url}/v1/jobs/{job['jobId']}/progress", content=text, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (400, "VALIDATION_ERROR"), text[:50]


def test_no_id_whatever_breaks_anything(api: Api) -> None:
    for place in ("job_%00", "job_" + "f" * 400, "..%2f..", "job_FFFFFFFFFFFF", "%F0%9F%92%A9"):
        assert api.post(f"/v1/jobs/{place}/progress", {"progress": 5}).status_code == 404
        assert api.post("/v1/jobs", {**PICTURE, "parentJobId": place.replace("%00", "x"), "childIndex": 0}).status_code in {400, 404}


# ---- Idempotency-Key -------------------------------------------------------------------------------------------------


def test_a_request_sent_again_under_its_key_makes_no_second_job(api: Api) -> None:
    for path, body in (("/v1/jobs", PICTURE), ("/v1/jobs/batch", BATCH)):
        first, again = (api.post(path, body, **{"Idempotency-Key": "one"}) for _ in range(2))
        assert (first.status_code, first.json(), first.headers["location"]) == (again.status_code, again.json(), again.headers["location"])
        assert again.headers["idempotent-replayed"] == "true"
        assert api.post(path, {**body, "userId": "another"}, **{"Idempotency-Key": "one"}).status_code == 422
    assert len(api.get("/v1/jobs?type=image-generation")["jobs"]) == 2


def test_a_completion_sent_again_under_its_key_is_no_conflict(api: Api) -> None:
    own = f"/v1/jobs/{api.made()['jobId']}/complete"
    first, again = (api.post(own, {"result": {"a": 1}}, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert api.post(own, {"result": {"a": 1}}).status_code == 409


def test_a_gateway_that_died_between_the_report_and_its_answer_is_taken_over_from(api: Api) -> None:
    """For a creation, a batch and a completion: the same jobs, the same answer, once."""
    for path, body in (("/v1/jobs", PICTURE), ("/v1/jobs/batch", BATCH)):
        with dying(api, "shown"):
            assert api.post(path, body, **{"Idempotency-Key": "k"}).status_code == 500
        assert api.post(path, body, **{"Idempotency-Key": "k"}).status_code == 201
    jobs = api.get("/v1/jobs?type=image-generation")["jobs"]
    assert len(jobs) == 2
    own = next(f"/v1/jobs/{job['jobId']}/complete" for job in jobs if job["children"] is None)
    with dying(api, "shown"):
        assert api.post(own, {}, **{"Idempotency-Key": "k"}).status_code == 500
    assert api.post(own, {}, **{"Idempotency-Key": "k"}).json()["status"] == "done"


class dying:  # noqa: N801 - reads like a function
    """Routes of reports break off in `name` while this lasts."""

    def __init__(self, _api: Api, name: str) -> None:
        self._patch = pytest.MonkeyPatch()
        self._name = name

    def __enter__(self) -> None:
        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        self._patch.setattr(f"viralsync_pipelines.gateway.reports.{self._name}", broken)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def test_many_programs_at_once_report_on_one_parent_over_http(api: Api) -> None:
    family = api.post("/v1/jobs/batch", BATCH).json()
    together = threading.Barrier(5)

    def work(job_id: str) -> None:
        together.wait(60)
        for percent in (20, 60):
            assert api.post(f"/v1/jobs/{job_id}/progress", {"progress": percent}).status_code == 200
        assert api.post(f"/v1/jobs/{job_id}/complete").status_code == 200

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, [child["jobId"] for child in family["jobs"]]))
    parent = api.get(f"/v1/jobs/{family['parent']['jobId']}")
    assert (parent["status"], parent["progress"], parent["result"]["succeeded"]) == ("done", 1.0, 5)
    events = api.get(f"/v1/jobs/{parent['jobId']}/events?limit=500")["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_body_is_documented_with_an_example_that_is_taken(api: Api) -> None:
    schemas = api.get("/openapi.json")["components"]["schemas"]
    for name in ("JobReport", "BatchReport", "ProgressReport", "CompleteReport", "FailReport"):
        assert schemas[name].get("example") or schemas[name].get("examples"), name
    plain, parent, child = schemas["JobReport"]["examples"]
    assert api.post("/v1/jobs", plain).status_code == 201
    made = api.post("/v1/jobs", parent).json()
    made = api.post("/v1/jobs", {**child, "parentJobId": made["jobId"]}).json()
    assert api.post("/v1/jobs/batch", schemas["BatchReport"]["example"]).status_code == 201
    for path, name in (("progress", "ProgressReport"), ("complete", "CompleteReport")):
        assert api.post(f"/v1/jobs/{made['jobId']}/{path}", schemas[name]["example"]).status_code == 200
    other = api.made()
    assert api.post(f"/v1/jobs/{other['jobId']}/fail", schemas["FailReport"]["example"]).json()["status"] == "failed"


def test_a_callback_address_is_kept_for_the_job(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viralsync_pipelines.board.deliveries.callback_fault", lambda *_: None)
    job = api.made(callbackUrl="https://a.test/hook")
    api.post(f"/v1/jobs/{job['jobId']}/complete", {"result": {"url": "https://cdn.test/x"}})
    sent = api.get(f"/v1/jobs/{job['jobId']}/callbacks")["callbacks"]
    assert [(each["kind"], each["url"], each["body"]["outputUrl"]) for each in sent if each["kind"] == "done"] == [("done", "https://a.test/hook", "https://cdn.test/x")]


def test_deps_hold_the_jobs_that_the_board_reads(api: Api) -> None:
    assert dataclasses.is_dataclass(api.deps)
    job = api.made()
    assert api.deps.board.find(job["jobId"]) == api.deps.reported.family(job["jobId"]).job  # type: ignore[union-attr]
