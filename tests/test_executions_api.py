"""Execution plans over HTTP: refused as a whole or written down once, shown as they stand, changed and deleted as any job. On both databases."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.puppet import PIXEL, Bench, bench_at, done
from tests.servers.gateway import MOVIE, Gateway, gateway
from viralsync_pipelines.cli.generate_first import generated_first
from viralsync_pipelines.cli.main import main
from viralsync_pipelines.client import ApiError, Client
from viralsync_pipelines.generate.desk import share_token
from viralsync_pipelines.generate.poll import work_left
from viralsync_pipelines.generate.provider import Blame, Fault, Said, Seen
from viralsync_pipelines.generate.sealing import unsealer
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions
from viralsync_pipelines.storage.metering import meter_once

# What says nothing of rows: one kind of database is enough.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return bench_at(database, tmp_path / "bench")


@pytest.fixture
def gate(bench: Bench, database: Database, tmp_path: Path) -> Iterator[Gateway]:
    with gateway(database, tmp_path, desk=bench.desk, reported=bench.reported, store=bench.desk.store) as made:
        made.clock.ms = bench.clock.ms
        yield made


@pytest.fixture
def client(gate: Gateway) -> httpx.Client:
    return gate.client()


def image(name: str = "a", *after: str, **params: Any) -> dict[str, Any]:
    given = {"modelId": "puppet/polled", "prompt": f"a {name}", **params}
    return {"id": name, "operation": "generateImage", "params": given, "dependsOn": list(after)}


def plan(*jobs: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"executionPlan": {"jobs": list(jobs) or [image()]}, **({"options": options} if options else {})}


def execute(client: httpx.Client, *jobs: dict[str, Any], **options: Any) -> str:
    answer = client.post("/api/execute", json=plan(*jobs, **options))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["executionId"])


def finished(bench: Bench, client: httpx.Client, *jobs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An execution whose jobs were all made; its id and its status."""
    execution = execute(client, *jobs)
    bench.puppet.default = Seen(Said.DONE, "succeeded", bench_outputs())
    bench.pump(2)
    return execution, client.get(f"/api/status/{execution}").json()


def bench_outputs() -> Any:
    return done().outputs


# ---- submitting ------------------------------------------------------------------------------------------------------


@ON_ONE
def test_films_of_a_plan_are_refused_when_the_workspace_has_no_minutes_left(gate: Gateway) -> None:
    client = gate.client(gate.key("team", plan="pro"))
    film = {"id": "film", "operation": "render", "params": {"movie": MOVIE}}
    meter_once(gate.database, "job_0123456789ab", 1, "team", "render.movie", 200 * 60 + 1, gate.clock())
    answer = client.post("/api/execute", json=plan(film))
    assert (answer.status_code, answer.json()["code"]) == (402, "RENDER_QUOTA_EXCEEDED"), answer.text
    # What providers make is no film.
    execute(client, image())


def test_a_plan_is_taken_and_shown_job_by_job(client: httpx.Client, bench: Bench) -> None:
    answer = client.post("/api/execute", json=plan(image("a"), image("b", image="$a")))
    told = answer.json()
    assert (answer.status_code, told["status"], told["jobId"]) == (202, "pending", told["executionId"])
    assert answer.headers["location"].endswith(f"/api/execute/{told['executionId']}/status")
    for path in (f"/api/status/{told['executionId']}", f"/api/execute/{told['executionId']}/status"):
        body = client.get(path).json()
        assert {name: body[name] for name in ("id", "status", "result", "error", "completedAt")} == {
            "id": told["executionId"], "status": "pending", "result": None, "error": None, "completedAt": None,
        }  # fmt: skip
        assert body["createdAt"] == told["createdAt"]
        first, second = body["jobs"]
        assert (first["id"], first["operation"], first["status"], first["stage"]) == ("a", "generateImage", "pending", "ready")
        assert (second["dependsOn"], second["stage"], second["pollAttempts"], second["attempt"]) == (["a"], "blocked", 0, 1)
    job = client.get(f"/v1/jobs/{told['executionId']}").json()
    assert (job["type"], job["status"], job["children"]["total"]) == ("workflow.run", "queued", 2)
    assert [each["type"] for each in client.get(f"/v1/jobs/{told['executionId']}/children").json()["jobs"]] == ["generate.image"] * 2
    assert client.get("/v1/jobs?type=workflow").json()["jobs"][0]["jobId"] == told["executionId"]


@ON_ONE
def test_the_curl_of_the_requirement_is_taken_as_it_is_written(database: Database, bench: Bench, tmp_path: Path) -> None:
    """With the models that come with the program."""
    from dataclasses import replace

    from viralsync_pipelines.generate.models import load_registry

    body = {
        "executionPlan": {
            "jobs": [
                {
                    "id": "test-gen", "operation": "pipeline:generate",
                    "params": {"modelId": "bytedance/seedance-1-pro", "prompt": "A beautiful sunset over mountains"},
                }
            ]
        }
    }  # fmt: skip
    with gateway(database, tmp_path, desk=replace(bench.desk, registry=load_registry())) as gate:
        answer = gate.client().post("/api/execute", json=body)
        assert answer.status_code == 202, answer.text
        shown = gate.client().get(f"/api/status/{answer.json()['executionId']}").json()
        assert [(each["type"], each["provider"]) for each in shown["jobs"]] == [("generate.video", "replicate")]
        models = {each["id"]: each for each in gate.client().get("/v1/models").json()["models"]}
        assert models["sandbox/video"]["available"]
        assert not models["bytedance/seedance-1-pro"]["available"]
        assert models["bytedance/seedance-1-pro"]["defaultStrategy"] == "webhook"


def test_every_fault_of_a_request_is_told_at_once_and_nothing_is_written(client: httpx.Client, database: Database) -> None:
    jobs = [
        image("a", "b"), image("b", "a"), image("c", "nobody"), {"id": "d", "operation": "dance"}, image("e", seed="x"),
        {"id": "f", "operation": "render", "params": {"movie": {"scenes": []}}}, image("g", modelId="puppet/imge"),
        image("h", webhook="ftp://x", sendJobWebhook=True),
    ]  # fmt: skip
    options = {"webhook": "http://10.0.0.1/", "baseExecutionId": "job_ffffffffffff", "providerApiKeys": {"nobody": "x"}, "webhookSecret": "whsec_x"}
    answer = client.post("/api/execute", json=plan(*jobs, **options))
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"].startswith("the plan has ")
    found = {(each["pointer"], each["code"]) for each in answer.json()["problems"]}
    assert found >= {
        ("/executionPlan/jobs/2/dependsOn/0", "DEPENDENCY_UNKNOWN"), ("/executionPlan/jobs/3/operation", "OPERATION_UNKNOWN"),
        ("/executionPlan/jobs/4/params/seed", "PARAM_INVALID"), ("/executionPlan/jobs/6/params/modelId", "MODEL_UNKNOWN"),
        ("/options/webhook", "CALLBACK_REFUSED"), ("/options/baseExecutionId", "EXECUTION_UNKNOWN"),
        ("/options/providerApiKeys", "PROVIDER_UNKNOWN"), ("/options/webhookSecret", "VALUE_NOT_ALLOWED"),
    }  # fmt: skip
    assert any(code == "DEPENDENCY_CYCLE" for _, code in found)
    assert any(pointer.startswith("/executionPlan/jobs/5/params/movie") for pointer, _ in found)
    for body in ({}, {"executionPlan": {}}, {"executionPlan": {"jobs": []}}, {"executionPlan": {"jobs": [], "x": 1}}, {"executionPlan": 5}):
        assert client.post("/api/execute", json=body).status_code == 400
    with database.reading() as connection:
        assert connection.execute(select(executions.c.id)).first() is None


def test_with_a_key_the_same_request_makes_one_execution(client: httpx.Client) -> None:
    first, second = (client.post("/api/execute", json=plan(), headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert client.post("/api/execute", json=plan(image("z")), headers={"Idempotency-Key": "k"}).status_code == 422
    assert len(client.get("/v1/jobs?type=workflow").json()["jobs"]) == 1


def test_keys_that_come_with_a_plan_are_sealed_and_shown_nowhere(client: httpx.Client, gate: Gateway, database: Database) -> None:
    execution = execute(client, providerApiKeys={"replicate": "r8_very_secret", "google-cloud": "g_secret"})
    with database.reading() as connection:
        kept = connection.execute(select(executions.c.provider_api_keys)).scalar_one()
        rows = repr([connection.execute(select(table)).all() for table in (executions, execution_jobs)])
    assert "secret" not in rows
    opened = unsealer(gate.deps.accounts.shared_secret("provider-keys"))(kept)
    assert opened == {"REPLICATE_API_TOKEN": "r8_very_secret", "GOOGLE_GENERATIVE_AI_API_KEY": "g_secret"}
    for path in (f"/api/status/{execution}", f"/v1/jobs/{execution}", f"/v1/jobs/{execution}/events", f"/v1/jobs/{execution}/children"):
        assert "secret" not in client.get(path).text


# ---- what was made ---------------------------------------------------------------------------------------------------


def test_what_was_made_is_shown_downloaded_and_used_by_what_is_based_on_it(client: httpx.Client, bench: Bench, gate: Gateway) -> None:
    execution, status = finished(bench, client, image("a"), image("b", image="$a"))
    assert (status["status"], [each["status"] for each in status["jobs"]]) == ("completed", ["completed"] * 2)
    made = status["jobs"][0]
    assert made["result"]["url"] == f"{gate.url}/v1/jobs/{made['recordId']}/files/output.png"
    assert status["result"]["url"] == status["jobs"][1]["result"]["url"]
    assert "key" not in made["result"]["outputs"][0]
    got = client.get(made["result"]["url"])
    assert (got.status_code, got.headers["content-type"], got.content) == (200, "image/png", PIXEL)
    part = client.get(made["result"]["url"], headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert client.get(f"/v1/jobs/{made['recordId']}").json()["outputUrl"] == made["result"]["url"]
    assert client.get(made["result"]["url"].replace("output.png", "output-2.png")).status_code == 404
    # The execution's own result is that of its last job.
    whole = client.get(f"/v1/jobs/{execution}").json()["outputUrl"]
    assert whole == f"{gate.url}/v1/jobs/{execution}/files/output.png"
    assert client.get(whole).content == PIXEL
    later = execute(client, image("c", image="$a"), baseExecutionId=execution)
    bench.pump(2)
    assert client.get(f"/api/status/{later}").json()["status"] == "completed"
    assert bench.puppet.orders[-1].params["image"].startswith("https://api.example.com/v1/shared/media/")
    assert client.post("/api/execute", json=plan(image("c", "nobody"), baseExecutionId=execution)).status_code == 400


@ON_ONE
def test_a_job_that_a_program_reports_opens_nothing_of_the_store(client: httpx.Client, bench: Bench) -> None:
    """Whatever it says of its result."""
    _, status = finished(bench, client)
    bench.desk.store.put_bytes("media/ab/secret.png", b"another's")
    about = {"jobType": "image", "userId": "u", "title": "x", "metadata": {"executionId": "x"}}
    job = client.post("/v1/jobs", json=about).json()["jobId"]
    result = {"outputs": [{"name": "output.png", "key": "media/ab/secret.png", "type": "image"}], "url": "outputs/x/output.png"}
    client.post(f"/v1/jobs/{job}/complete", json={"result": result}).raise_for_status()
    assert client.get(f"/v1/jobs/{job}/files/output.png").status_code == 404
    assert client.post("/v1/movies/m/timeline", json={"jobId": job}).status_code == 409
    assert status["status"] == "completed"


@ON_ONE
def test_an_address_that_was_given_out_opens_one_object_until_its_time(client: httpx.Client, gate: Gateway, bench: Bench) -> None:
    gate.key()
    bench.desk.store.put_bytes("media/ab/one.png", PIXEL)
    bench.desk.store.put_bytes("media/ab/two.png", PIXEL)
    url = bench.desk.shared_url("media/ab/one.png", "puppet").removeprefix("https://api.example.com")
    assert client.get("/v1/jobs").status_code == 401
    got = client.get(url)
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, PIXEL, "image/png")
    assert (client.head(url).status_code, client.get(url, headers={"Range": "bytes=0-0"}).status_code) == (200, 206)
    until, token = dict(httpx.URL(url).params).values()
    other = share_token(b"secret", "media/ab/gone.png", int(until))
    wrong = [
        url.replace("one", "two"), url.replace(until, str(int(until) + 1)), url[:-1] + "x", f"/v1/shared/media/ab/one.png?until={until}",
        f"/v1/shared/media/ab/one.png?t={token}", f"/v1/shared/media/ab/gone.png?until={until}&t={other}", "/v1/shared/..%2Fx?until=1&t=é",
    ]  # fmt: skip
    answers = [client.get(each) for each in wrong]
    assert {(each.status_code, each.text) for each in answers} == {(404, answers[0].text)}
    gate.clock.ms = int(until) * 1000 + 1
    assert client.get(url).status_code == 404


# ---- changing --------------------------------------------------------------------------------------------------------


def test_cancelling_retrying_and_deleting_go_through_the_ledger(client: httpx.Client, bench: Bench, database: Database) -> None:
    execution = execute(client, image("a"), image("b", "a"))
    bench.pump(1)
    first = bench.row(execution, "a").id
    assert client.delete(f"/v1/jobs/{execution}").status_code == 409
    cancelled = client.post(f"/v1/jobs/{first}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    shown = client.get(f"/api/status/{execution}").json()
    assert [(each["status"], each["stage"]) for each in shown["jobs"]] == [("cancelled", "ended"), ("failed", "ended")]
    assert shown["jobs"][1]["hint"] == "retry the job that it depends on; this one follows"
    assert client.post(f"/v1/jobs/{first}/cancel").status_code == 409
    again = client.post(f"/v1/jobs/{first}/retry", json={"set": {"prompt": "another", "seed": 3}})
    assert (again.status_code, again.json()["attempt"]) == (202, 2)
    assert client.get(f"/v1/jobs/{first}").json()["payload"]["params"]["prompt"] == "another"
    assert [each["status"] for each in client.get(f"/api/status/{execution}").json()["jobs"]] == ["pending", "pending"]
    assert client.post(f"/v1/jobs/{execution}/retry").status_code == 409
    bench.puppet.default = Seen(Said.DONE, "succeeded", bench_outputs())
    bench.pump(2)
    assert client.get(f"/v1/jobs/{execution}").json()["status"] == "done"
    refused = client.post(f"/v1/jobs/{first}/retry", json={"set": {"seed": "x"}})
    assert (refused.status_code, [each["pointer"] for each in refused.json()["problems"]]) == (400, ["/set/seed"])
    assert client.delete(f"/v1/jobs/{first}").status_code == 409
    assert client.delete(f"/v1/jobs/{execution}").status_code == 204
    assert {client.get(path).status_code for path in (f"/v1/jobs/{execution}", f"/v1/jobs/{first}", f"/api/status/{execution}")} == {404}
    with database.reading() as connection:
        assert connection.execute(select(execution_jobs.c.id)).first() is None
    assert list(bench.desk.store.list(f"outputs/{first}/")) == []


def test_no_program_reports_on_the_ledgers_jobs_or_puts_children_among_them(client: httpx.Client, bench: Bench) -> None:
    execution = execute(client, image("a"), image("b"))
    child = bench.row(execution, "a").id
    before = client.get(f"/v1/jobs/{execution}/events").json()
    for job in (execution, child):
        answers = [
            client.post(f"/v1/jobs/{job}/progress", json={"progress": 50}), client.post(f"/v1/jobs/{job}/complete", json={}),
            client.post(f"/v1/jobs/{job}/fail", json={"error": {"code": "X", "message": "x"}}),
            client.post("/v1/jobs", json={"jobType": "x", "userId": "u", "title": "x", "parentJobId": job, "childIndex": 0}),
        ]  # fmt: skip
        assert {each.status_code for each in answers} == {409}, [each.text for each in answers]
    assert client.get(f"/v1/jobs/{execution}/events").json() == before


def test_nothing_of_one_workspace_is_another_ones(gate: Gateway, bench: Bench) -> None:
    red, blue = gate.client(gate.key("red")), gate.client(gate.key("blue"))
    execution, status = finished(bench, red)
    record = status["jobs"][0]["recordId"]
    asked = [
        ("GET", "/api/status/{}", None), ("GET", "/api/execute/{}/status", None), ("GET", "/v1/jobs/{}", None),
        ("POST", "/v1/jobs/{}/cancel", None), ("POST", "/v1/jobs/{}/retry", None), ("DELETE", "/v1/jobs/{}", None),
    ]  # fmt: skip
    for method, path, body in asked:
        theirs, never = (blue.request(method, path.format(each), json=body) for each in (execution, "job_ffffffffffff"))
        assert theirs.status_code == 404, path
        assert theirs.text.replace(execution, "job_ffffffffffff") == never.text
    assert blue.get(f"/v1/jobs/{record}/files/output.png").status_code == 404
    assert blue.get("/v1/generations").json() == {"generations": []}
    assert blue.delete("/v1/generations").json()["executions"] == 0
    assert blue.post("/v1/movies/m/timeline", json={"jobId": record}).status_code == 404
    based = blue.post("/api/execute", json=plan(image("c", image="$a"), baseExecutionId=execution))
    assert "EXECUTION_UNKNOWN" in {each["code"] for each in based.json()["problems"]}
    film = {"id": "f", "operation": "render", "params": {"movie": {**MOVIE, "layers": [{"type": "audio", "src": f"job:{record}"}]}}}
    assert "SOURCE_REFUSED" in blue.post("/api/execute", json=plan(film)).text
    assert red.post("/v1/movies/m/timeline", json={"jobId": record}).status_code == 201
    assert red.get(f"/api/status/{execution}").json() == status


# ---- the queue -------------------------------------------------------------------------------------------------------


def test_cards_show_the_newest_and_what_helps(client: httpx.Client, bench: Bench, gate: Gateway) -> None:
    execution, status = finished(bench, client, *(image(f"n{n}") for n in range(8)))
    cards = client.get("/v1/generations?status=done").json()["generations"]
    assert len(cards) == 6
    card = next(each for each in client.get("/v1/generations?limit=20").json()["generations"] if each["title"] == "a n3")
    assert (card["status"], card["type"], card["model"], card["provider"]) == ("done", "generate.image", "puppet/polled", "puppet")
    assert card["preview"] == {"kind": "image", "url": card["downloadUrl"]}
    assert card["links"]["timeline"] == f"{gate.url}/v1/movies/{{movieId}}/timeline"
    took = card["elapsedMs"]
    gate.clock.tick(60_000)
    now = next(each for each in client.get("/v1/generations?limit=20").json()["generations"] if each["jobId"] == card["jobId"])
    assert now["elapsedMs"] == took
    bench.puppet.default = Seen(Said.FAILED, "failed", fault=Fault(Blame.POLICY, "CONTENT_REFUSED", "flagged as sensitive"))
    other = execute(client, image("bad"))
    assert client.get("/v1/generations?status=queued").json()["generations"][0]["title"] == "a bad"
    bench.pump(2)
    (bad,) = client.get("/v1/generations?status=failed").json()["generations"]
    assert (bad["executionId"], bad["downloadUrl"]) == (other, None)
    assert "flagged as sensitive" in bad["error"]
    assert "content policy" in bad["hint"]
    going = execute(client, image("c"))
    assert client.delete("/v1/generations").json() == {"executions": 2, "more": False}
    assert [each["executionId"] for each in client.get("/v1/generations?limit=100").json()["generations"]] == [going]
    assert status["id"] == execution
    assert client.get(f"/v1/jobs/{execution}").status_code == 404


def test_a_generation_goes_into_a_movie_that_is_made_for_it(client: httpx.Client, bench: Bench) -> None:
    _, status = finished(bench, client)
    record = status["jobs"][0]["recordId"]
    first = client.post("/v1/movies/intro/timeline", json={"jobId": record})
    told = first.json()
    assert (first.status_code, told["created"], told["placed"]) == (201, True, {"pointer": "/scenes/0", "kind": "image", "at": 0.0, "duration": 3.0})
    assert told["movie"]["scenes"][0]["layers"] == [{"type": "image", "src": f"job:{record}"}]
    second = client.post("/v1/movies/intro/timeline", json={"jobId": record, "at": 1, "duration": 1.5}).json()
    assert (second["created"], second["placed"]["at"], len(second["movie"]["scenes"])) == (False, 3.0, 2)
    assert client.post("/v1/movies/intro/timeline", json={"jobId": record, "track": "x"}).status_code == 400
    rendered = client.post("/v1/render/jobs", json={"kind": "movie", "projectId": "p", "movie": second["movie"]})
    assert rendered.status_code == 202, rendered.text
    going = execute(client, image("later"))
    assert client.post("/v1/movies/intro/timeline", json={"jobId": bench.row(going, "later").id}).status_code == 409


# ---- the client ------------------------------------------------------------------------------------------------------


@ON_ONE
def test_the_typed_client_says_the_same(gate: Gateway, bench: Bench) -> None:
    with Client(gate.url) as client:
        execution = client.execute([image("a"), image("b", image="$a")])
        assert (execution.status, execution.jobs) == ("pending", ())
        bench.puppet.default = Seen(Said.DONE, "succeeded", bench_outputs())
        bench.pump(2)
        now = client.execution(execution.id)
        assert (now.status, now.terminal, [job.status for job in now.jobs]) == ("completed", True, ["completed"] * 2)
        assert now.jobs[1].depends_on == ("a",)
        assert {model.id for model in client.models()} == {"puppet/image", "puppet/polled"}
        card = client.generations(status="done")[0]
        added = client.add_to_timeline("intro", card.id)
        assert (added.pointer, added.kind, added.created) == ("/scenes/0", "image", True)
        assert client.clear_generations() == 1
        assert client.generations() == ()
        with pytest.raises(ApiError) as told:
            client.execute([image("a", "a")])
        assert told.value.problems[0].pointer.startswith("/executionPlan/jobs/0")
        with pytest.raises(ApiError, match="EXECUTION_NOT_FOUND"):
            client.execution(execution.id)


@contextmanager
def pumping(bench: Bench) -> Iterator[None]:
    """Whatever is asked for meanwhile is done."""
    over = threading.Event()

    def pump() -> None:
        while not over.wait(0.05):
            if work_left(bench.desk):
                bench.pump(2)

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    gate: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output, standard error."""
    monkeypatch.setenv("VIRALSYNC_API_URL", gate.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(list(words))
        told = capfd.readouterr()
        return status, told.out, told.err

    return run


@ON_ONE
def test_a_plan_file_is_carried_out_and_what_became_of_it_is_a_table(
    command: Callable[..., tuple[int, str, str]], bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"jobs": [image("sky"), image("sea", image="$sky")]}))
    status, out, err = command("execute", "plan.json")
    assert (status, out.strip().startswith("job_"), "jobs watch" in err) == (0, True, True)
    bench.puppet.default = Seen(Said.DONE, "succeeded", bench_outputs())
    bench.pump(2)
    (tmp_path / "more.json").write_text(json.dumps({"executionPlan": {"jobs": [image("more", image="$sky")]}, "options": {}}))
    assert command("execute", "more.json", "--base", out.strip())[0] == 0
    bench.puppet.default = Seen(Said.FAILED, "failed", fault=Fault(Blame.POLICY, "CONTENT_REFUSED", "flagged as sensitive"))
    # Watched to its end, which comes while it is watched.
    with pumping(bench):
        status, out, _ = command("execute", "plan.json", "--watch")
    assert status == 1
    assert re.search(r"^sky +generateImage +failed +puppet/polled", out, re.M)
    assert "flagged as sensitive" in out
    assert "Dependency sky failed" in out
    status, out, _ = command("generations", "--status", "failed")
    assert (status, "CONTENT_REFUSED" in out, "a sky" in out) == (0, True, True)
    assert len(json.loads(command("generations", "--json")[1])["generations"]) == 5
    status, out, _ = command("models", "--type", "image")
    assert (status, "puppet/image" in out, "webhook" in out) == (0, True, True)
    assert json.loads(command("models", "--json")[1])["models"][0]["params"]["required"] == ["prompt"]
    assert command("generations", "--clear")[1].strip() == "3 executions cleared"


@ON_ONE
def test_a_plan_that_is_wrong_says_where(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps([image("a", "nobody")]))
    status, _, err = command("execute", "plan.json")
    assert status == 2
    assert "The plan has 1 problem" in err
    assert "/jobs/0/dependsOn/0" in err
    assert json.loads(command("execute", "plan.json", "--json")[1])["problems"][0]["code"] == "DEPENDENCY_UNKNOWN"
    for wrong in ("{", "5", '{"scenes": []}'):
        (tmp_path / "plan.json").write_text(wrong)
        assert command("execute", "plan.json")[0] == 2
    assert command("execute", "nowhere.json")[0] == 2


# ---- movies with layers to be generated ------------------------------------------------------------------------------


def generated(kind: str = "image", prompt: str = "a {{ what }}", **more: Any) -> dict[str, Any]:
    return {"type": kind, "src": "generate:", "prompt": prompt, "model": "puppet/polled", **more}


def test_a_movie_with_layers_to_be_generated_is_one_job_that_generates_first(client: httpx.Client, bench: Bench) -> None:
    scenes = [{"id": "a", "duration": 2, "layers": [generated(opacity=0.5), generated(params={"seed": 3})]}, {"id": "b", "layers": [generated()]}]
    movie = {**MOVIE, "title": "Trip", "variables": {"what": "cat"}, "scenes": scenes}
    answer = client.post("/v1/render/jobs", json={"kind": "movie", "projectId": "p", "movie": movie, "variables": {"what": "dog"}, "channel": "news"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
    job = client.get(f"/v1/jobs/{answer.json()['jobId']}").json()
    assert (job["type"], job["title"], job["children"]["total"], job["payload"]["channel"]) == ("render.movie", "Trip", 3, "news")
    rows = {each.job_id: each for each in bench.rows(job["jobId"])}
    assert [dict(rows[name].params) for name in ("gen1", "gen2")] == [{"prompt": "a dog"}, {"prompt": "a dog", "seed": 3}]
    film = rows["film"]
    assert (film.operation, film.stage, film.dependencies) == ("render", "blocked", ["gen1", "gen2"])
    first, second = film.params["movie"]["scenes"]
    assert [each["src"] for each in (*first["layers"], *second["layers"])] == ["$gen1", "$gen2", "$gen1"]
    assert first["layers"][0]["opacity"] == 0.5
    assert "prompt" not in first["layers"][0]


@ON_ONE
def test_what_is_wrong_with_a_layer_to_be_generated_is_told_at_the_layer(client: httpx.Client, bench: Bench, database: Database) -> None:
    wrong = [
        generated(model="puppet/nope"), generated("image", params={"seed": "x"}), {"type": "image", "src": "generate:"},
        generated(opacity=5), generated(params=5),
    ]  # fmt: skip
    movie = {**MOVIE, "variables": {"what": "cat"}, "scenes": [{"id": "a", "duration": 2, "layers": wrong}]}
    answer = client.post("/v1/render/jobs", json={"kind": "movie", "projectId": "p", "movie": movie, "callbackUrl": "nonsense"})
    assert answer.status_code == 400
    found = {(each["pointer"], each["code"]) for each in answer.json()["problems"]}
    assert found >= {
        ("/callbackUrl", "CALLBACK_REFUSED"), ("/movie/scenes/0/layers/0/model", "MODEL_UNKNOWN"),
        ("/movie/scenes/0/layers/1/params/seed", "PARAM_INVALID"), ("/movie/scenes/0/layers/2/prompt", "FIELD_MISSING"),
        ("/movie/scenes/0/layers/3/opacity", "VALUE_OUT_OF_RANGE"), ("/movie/scenes/0/layers/4/params", "TYPE_WRONG"),
    }, answer.text  # fmt: skip
    with database.reading() as connection:
        assert connection.execute(select(executions.c.id)).first() is None


@ON_ONE
def test_the_command_line_has_layers_generated_and_finds_them_again(
    command: Callable[..., tuple[int, str, str]], bench: Bench, tmp_path: Path, gate: Gateway
) -> None:
    """The same movie is generated once, however often it is rendered; what was refused is told at its layer."""
    bench.puppet.default = Seen(Said.DONE, "succeeded", bench_outputs())
    settings = Settings.from_env({"VIRALSYNC_HOME": str(tmp_path), "VIRALSYNC_API_URL": gate.url}, cwd=tmp_path)
    movie = {**MOVIE, "scenes": [{"id": "a", "duration": 1, "layers": [generated(prompt="a {{ x }}")]}], "variables": {"x": "cat"}}
    with pumping(bench):
        first = generated_first(movie, {"x": "dog"}, settings, quiet=True)
    (made,) = client_cards(gate)
    assert first["scenes"][0]["layers"] == [{"type": "image", "src": f"job:{made['jobId']}"}]
    assert made["title"] == "a dog"
    assert generated_first(movie, {"x": "dog"}, settings, quiet=True) == first
    assert len(bench.puppet.orders) == 1
    (tmp_path / "movie.json").write_text(json.dumps({**movie, "scenes": [{"id": "a", "duration": 1, "layers": [generated(model="nope", prompt="x")]}]}))
    status, _, err = command("render", "movie.json")
    assert (status, "/scenes/0/layers/0/model" in err, "MODEL_UNKNOWN" in err) == (2, True, True)


def client_cards(gate: Gateway) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = gate.client().get("/v1/generations").json()["generations"]
    return cards
