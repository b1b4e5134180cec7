"""The OpenAPI document is what the API does: whatever is sent, no reply is a fault of ours, and every reply is one that is documented.

Schemathesis makes requests from the document, right and wrong ones, and sends them to a real server whose jobs are of every kind.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.puppet import bench_at, done
from tests.servers.gateway import Gateway, built, gateway, new_id, order_of
from viralsync_pipelines.generate.desk import webhook_token
from viralsync_pipelines.storage.database import Database, open_database
from viralsync_pipelines.storage.outbox import put

ROUTES = (
    "POST /v1/render/jobs", "GET /v1/jobs", "POST /v1/jobs", "POST /v1/jobs/batch", "GET /v1/jobs/{job_id}", "DELETE /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/children", "GET /v1/jobs/{job_id}/events", "GET /v1/jobs/{job_id}/output", "GET /v1/jobs/{job_id}/files/{name}",
    "GET /v1/jobs/{job_id}/progress", "POST /v1/jobs/{job_id}/progress", "POST /v1/jobs/{job_id}/complete", "POST /v1/jobs/{job_id}/fail",
    "POST /v1/jobs/{job_id}/cancel", "POST /v1/jobs/{job_id}/retry", "POST /v1/jobs/{job_id}/stream-token",
    "GET /v1/jobs/{job_id}/callbacks", "GET /v1/callbacks", "POST /v1/callbacks/{message_id}/replay", "GET /v1/me", "GET /v1/usage",
    "GET /healthz", "GET /metrics", "POST /api/execute", "GET /api/status/{execution_id}", "GET /api/execute/{execution_id}/status",
    "POST /api/webhooks/job/{record_id}", "GET /v1/models", "GET /v1/generations", "DELETE /v1/generations",
    "POST /v1/movies/{movie_id}/timeline", "GET /v1/shared/{key}", "GET /v1/speech/voices",
    "POST /v1/speech/narrate", "GET /v1/speech/{job_id}", "PUT /v1/speech/{job_id}", "PUT /v1/speech/{job_id}/lines/{number}",
    "POST /v1/speech/{job_id}/lines/{number}/regenerate", "PUT /v1/speech/{job_id}/lines/{number}/audio",
    "PUT /v1/speech/{job_id}/recording",
)  # fmt: skip
STREAM = "GET /v1/jobs/{job_id}/progress"
EXAMPLES = 5


@cache
def document() -> dict[str, Any]:
    """Of the app alone: nothing of it depends on what is behind."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(None, Path(folder))
        database.migrate()
        made: dict[str, Any] = built(database, Path(folder)).app.openapi()
        database.close()
        return made


@cache
def operations() -> dict[str, Any]:
    import schemathesis

    schema = schemathesis.openapi.from_dict(document())
    return {operation.label: operation for operation in (each.ok() for each in schema.get_all_operations())}


@pytest.fixture
def gate(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setitem(sys.modules, "edge_tts", None)  # would ask its service for voices
    bench = bench_at(database, tmp_path / "bench")
    with gateway(database, tmp_path, desk=bench.desk) as made:
        made.bench = bench
        yield made


class Studio:
    """Jobs of every kind and state, made anew for each request."""

    def __init__(self, gate: Gateway) -> None:
        self.gate, self.client, self.bench = gate, gate.client(), gate.bench

    def job(self, chance: random.Random, *, ended: bool = False) -> str:
        ends = ("done", "failed", "reported done", "generated")
        return self._made(chance.choice(ends if ended else (*ends, "queued", "running", "scene", "reported", "reported parent", "reported child", "generating")))

    def execution(self, *, done_too: bool = True) -> str:
        """One with a job "a", made when it is asked for."""
        job = {"id": "a", "operation": "generateImage", "params": {"modelId": "puppet/polled", "prompt": "x"}}
        execution = self.bench.open([job])
        if done_too:
            self.bench.puppet.default = done()
            self.bench.pump(2)
        return execution

    def message(self) -> str:
        job_id = new_id()
        message = {"id": f"msg_{job_id}_1", "job_id": job_id, "sequence": 1, "kind": "done", "at_ms": self.gate.clock(), "body": "{}"}
        with self.gate.database.writing() as connection:
            put(connection, message, workspace="default", url="https://93.184.216.34/hook", now_ms=self.gate.clock())
        return str(message["id"])

    def _made(self, kind: str) -> str:
        if kind.startswith("reported"):
            return self._reported(kind)
        if kind.startswith("generat"):
            execution = self.execution(done_too=kind == "generated")
            return execution if kind == "generating" else self.bench.row(execution, "a").id
        job_id = new_id()
        film = self.gate.film(job_id, size=90)
        if kind == "done":
            film.whole()
            self.gate.store.put_bytes(f"outputs/{job_id}/output.mp4", b"film")
            self.gate.printed.print(film.run_id, "movie.plan_film", "hello")
        elif kind == "failed":
            film.failed()
        elif kind in {"running", "scene"}:
            film.start().plan().scene(1).frame(1, 10)
        return f"scene_{job_id}_001" if kind == "scene" else job_id

    def _reported(self, kind: str) -> str:
        def post(path: str, **body: Any) -> str:
            answer = self.client.post(path, json=body)
            assert answer.is_success, answer.text
            return str(answer.json()["jobId"])

        about = {"jobType": "image", "userId": "u", "title": "x", "callbackUrl": "https://93.184.216.34/hook"}
        parental = {"childCount": 2} if kind.endswith(("parent", "child")) else {}
        job_id = post("/v1/jobs", **about, **parental)
        if kind.endswith("child"):
            return post("/v1/jobs", **about, parentJobId=job_id, childIndex=0)
        if kind.endswith("done"):
            post(f"/v1/jobs/{job_id}/complete", result={"url": "https://cdn.example/x.png"})
        return job_id


def aim(case: Any, studio: Studio, chance: random.Random) -> None:
    """Ids that are made up are nobody's: three of four requests get a real one. And no request is let wait for what never comes."""
    parameters = case.path_parameters
    if chance.random() < 0.75:
        if "job_id" in parameters:
            parameters["job_id"] = studio.job(chance, ended=case.operation.label == STREAM)
        if "message_id" in parameters:
            parameters["message_id"] = studio.message()
        if "execution_id" in parameters:
            parameters["execution_id"] = studio.execution(done_too=chance.random() < 0.5)
        if "record_id" in parameters:
            record = studio.bench.row(studio.execution(done_too=False), "a").id
            parameters["record_id"], case.query = record, {"s": "1", "t": webhook_token(b"secret", record, 1)}
        if isinstance(case.body, dict) and "jobId" in case.body:
            case.body["jobId"] = studio.job(chance)
        if "name" in parameters and chance.random() < 0.5:
            parameters["name"] = "output.mp4"
    if case.headers and "Prefer" in case.headers:
        case.headers["Prefer"] = "wait=0"
    if chance.random() < 0.2:
        case.headers = {**(case.headers or {}), "Accept": "application/problem+json"}


@pytest.mark.parametrize("route", ROUTES)
def test_right_requests_and_wrong_ones_get_documented_replies(gate: Gateway, route: str) -> None:
    """No 500, no status, type, header or shape that the document does not have."""
    import requests
    from schemathesis import GenerationMode
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    checks = CHECKS.get_by_names(
        ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance", "response_schema_conformance"]
    )
    operation, studio = operations()[route], Studio(gate)
    takes = operation.path_parameters or operation.query or operation.headers or operation.body
    with requests.Session() as session:
        session.trust_env = False
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if takes else (GenerationMode.POSITIVE,):

            @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                aim(case, studio, random.Random(repr((case.path_parameters, case.query, case.body))))
                answer = case.call(base_url=gate.url, session=session, timeout=30)
                # Header fields that no HTTP has are refused by the server, whatever stands behind it.
                if answer.content != b"Invalid HTTP request received.":
                    case.validate_response(answer, checks=checks)

            send()


def test_every_route_is_in_the_document_with_all_it_may_answer(gate: Gateway) -> None:
    made = gate.client().get("/openapi.json").json()
    assert made == document()
    assert set(operations()) == set(ROUTES)
    assert "HTTPValidationError" not in made["components"]["schemas"]
    submit = made["paths"]["/v1/render/jobs"]["post"]
    assert {"202", "400", "401", "402", "403", "409", "413", "422", "429", "500", "503"} <= set(submit["responses"])
    assert "application/problem+json" in submit["responses"]["400"]["content"]
    listed = {each["name"] for each in made["paths"]["/v1/jobs"]["get"]["parameters"]}
    assert listed == {"limit", "cursor", "type", "status", "projectId", "channel", "parent", "from", "to"}


def test_the_example_of_the_document_is_taken_as_it_stands(gate: Gateway) -> None:
    client = gate.client()
    example = document()["components"]["schemas"]["RenderRequest"]["example"]
    assert client.post("/v1/render/jobs", json=example).status_code == 202
    assert client.post("/v1/render/jobs", json=order_of()).status_code == 202
