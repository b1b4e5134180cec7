"""Webhooks as they arrive: believed by their signature, kept once, answered at once, and read soon after. On both databases."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from tests.puppet import Bench, bench_at, done, image
from tests.servers.gateway import Gateway, gateway, until
from tests.servers.provider import ScriptedProvider, provider_server, reply
from viralsync_pipelines.gateway.plans import BUILT_IN, Plan, Plans
from viralsync_pipelines.gateway.webhooks import MOST_BYTES
from viralsync_pipelines.generate.desk import webhook_token
from viralsync_pipelines.generate.models import Registry, load_registry
from viralsync_pipelines.generate.providers.replicate import Replicate
from viralsync_pipelines.generate.submit import submit_batch
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.ledger_tables import webhook_inbox

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECRET_PATH = "/webhooks/default/secret"


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    made = bench_at(database, tmp_path / "bench")
    made.clock.ms = time.time_ns() // 1_000_000
    return made


@pytest.fixture
def gate(bench: Bench, database: Database, tmp_path: Path) -> Iterator[Gateway]:
    with gateway(database, tmp_path, desk=bench.desk, reported=bench.reported) as made:
        made.clock.ms = bench.clock.ms
        yield made


def submitted(bench: Bench, *names: str) -> str:
    """An execution whose jobs the provider has; its id."""
    execution = bench.open([image(name, model="puppet/image") for name in names or ("a",)])
    bench.take("ready", execution)
    submit_batch(bench.desk, execution)
    return execution


def path_of(bench: Bench, execution: str, name: str = "a") -> str:
    url = bench.desk.webhook_url(bench.row(execution, name), bench.row(execution, name).submits)
    assert url is not None
    return url.removeprefix("https://api.example.com")


def inbox(database: Database) -> list[Any]:
    with database.reading() as connection:
        return list(connection.execute(select(webhook_inbox).order_by(webhook_inbox.c.id)))


def test_a_webhook_is_kept_answered_and_settles_its_job_by_asking_the_provider(
    gate: Gateway, bench: Bench, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a signature its words are a hint: what the provider says when asked is what counts."""
    execution = submitted(bench)
    row = bench.row(execution, "a")
    bench.puppet.states["p1"] = done("https://cdn.example/real.png")
    told = {"id": "p1", "status": "succeeded", "output": ["https://evil.example/forged.png"]}
    with caplog.at_level(logging.INFO):
        answer = gate.client().post(path_of(bench, execution), json=told)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "status": "received"})
    assert f"[Webhook] Received webhook for job {row.id}, model puppet/image" in caplog.text
    until(lambda: bench.row(execution, "a").stage == "settled")
    assert bench.row(execution, "a").outcome["outputs"][0]["url"] == "https://cdn.example/real.png"
    assert bench.row(execution, "a").settled_by == "webhook"
    again = gate.client().post(path_of(bench, execution), json=told)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert [(each.trust, each.submit, json.loads(each.body)) for each in inbox(database)] == [("hint", 1, told)]


def test_an_address_that_was_not_given_out_is_nobodys(gate: Gateway, bench: Bench, database: Database) -> None:
    """And all such addresses get the same answer, whether or not there is such a job."""
    execution = submitted(bench, "a", "b")
    client, right = gate.client(), path_of(bench, execution)
    plain, query = right.split("?")
    token = query.rpartition("=")[2]
    record = bench.row(execution, "a").id
    wrong = [
        plain, f"{plain}?s=1", f"{plain}?t={token}", f"{plain}?s=2&t={token}", f"{plain}?s=01&t={token}", f"{plain}?s=-1&t={token}",
        f"{plain}?s=1&t={token[:-1]}x", f"{plain}?s=1&t=%00", f"{plain}?s=x&t={token}", f"{plain}?s=1&t=", right.replace(record, "job_ffffffffffff"),
        right.replace(record, bench.row(execution, "b").id),
        f"/api/webhooks/job/job_eeeeeeeeeeee?s=1&t={webhook_token(b'secret', 'job_eeeeeeeeeeee', 1)}",
    ]  # fmt: skip
    answers = [client.post(path, json={}) for path in wrong]
    assert {each.status_code for each in answers} == {404}
    assert len({each.text for each in answers}) == 1
    assert inbox(database) == []
    assert client.get(right).status_code == 405
    assert client.post(right, json={}).status_code == 200


def test_what_is_too_large_is_refused_and_what_makes_no_sense_is_kept_and_changes_nothing(gate: Gateway, bench: Bench, database: Database) -> None:
    execution = submitted(bench)
    client, path = gate.client(), path_of(bench, execution)
    assert client.post(path, content=b"x" * (MOST_BYTES + 1)).status_code == 413
    for body in (b"", b"null", b"[" * 2_000, b"\x00\xff", b'{"id": 5}'):
        assert client.post(path, content=body).status_code == 200
    until(lambda: all(each.state != "new" for each in inbox(database)))
    assert bench.row(execution, "a").stage == "waiting"


def test_no_key_is_asked_for_and_no_limit_counts(bench: Bench, database: Database, tmp_path: Path) -> None:
    with gateway(database, tmp_path, desk=bench.desk, plans=Plans({**BUILT_IN, "selfhosted": Plan(requests_per_minute=2)})) as gate:
        secret, client = gate.key(), gate.client()
        execution = submitted(bench)
        assert client.get("/v1/jobs").status_code == 401
        assert [gate.client(secret).get("/v1/jobs").status_code for _ in range(3)] == [200, 200, 429]
        answers = [client.post(path_of(bench, execution), json={"n": n}) for n in range(5)]
        assert {each.status_code for each in answers} == {200}
        assert "ratelimit" not in answers[-1].headers


# ---- signatures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with provider_server() as running:
        running.on("GET", SECRET_PATH, reply(200, {"key": SECRET}))
        running.on("POST", "/models/*", reply(201, {"id": "r1", "status": "starting", "urls": {}}))
        yield running


def signing(bench: Bench, provider: ScriptedProvider) -> Bench:
    """The bench with Replicate and the sandbox, both at the scripted provider."""
    calls = replace(bench.desk.calls, keys={"REPLICATE_API_TOKEN": "r8_x"}, bases={"replicate": provider.url, "sandbox": provider.url})
    shipped = Registry({each.id: each for each in load_registry()})
    bench.desk = replace(bench.desk, calls=calls, providers={"replicate": Replicate(), "sandbox": Replicate("sandbox", key=None)}, registry=shipped)
    return bench


def signed(body: bytes, at_s: float, name: str = "msg_1") -> dict[str, str]:
    moment = datetime.fromtimestamp(int(at_s), UTC)
    return {
        "webhook-id": name, "webhook-timestamp": str(int(at_s)), "webhook-signature": Webhook(SECRET).sign(name, moment, body.decode()),
        "content-type": "application/json",
    }  # fmt: skip


def test_replicates_signature_is_checked_and_then_believed(bench: Bench, database: Database, provider: ScriptedProvider, tmp_path: Path) -> None:
    signing(bench, provider)
    with gateway(database, tmp_path, desk=bench.desk) as gate:
        execution = bench.open([{"id": "v", "operation": "generate", "params": {"modelId": "bytedance/seedance-1-pro", "prompt": "x"}}])
        bench.take("ready", execution)
        submit_batch(bench.desk, execution)
        assert bench.row(execution, "v").stage == "waiting"
        path, client = path_of(bench, execution, "v"), gate.client()
        body = json.dumps({"id": "r1", "status": "succeeded", "output": f"{provider.url}/x.mp4"}).encode()
        now = bench.clock.now() / 1000
        good = signed(body, now)
        for headers in ({}, {**good, "webhook-id": "msg_2"}, {**good, "webhook-timestamp": str(int(now) + 1)}, signed(body, now - 301)):
            refused = client.post(path, content=body, headers=headers)
            assert (refused.status_code, refused.json()["code"].partition("_")[0]) == (401, "SIGNATURE"), headers
        assert client.post(path, content=body + b" ", headers=good).status_code == 401
        assert inbox(database) == []
        assert client.post(path, content=body, headers=good).json() == {"success": True, "status": "received"}
        assert client.post(path, content=body, headers=good).json()["status"] == "duplicate"
        until(lambda: bench.row(execution, "v").stage == "settled")
        assert [each.trust for each in inbox(database)] == ["signed"]
        assert provider.asked("GET", "/predictions/*") == []


def test_while_keys_cannot_be_had_the_sender_is_asked_to_come_again(
    bench: Bench, database: Database, provider: ScriptedProvider, tmp_path: Path
) -> None:
    signing(bench, provider)
    provider.on("GET", SECRET_PATH, reply(500, {}))
    with gateway(database, tmp_path, desk=bench.desk) as gate:
        execution = bench.open([{"id": "v", "operation": "generate", "params": {"modelId": "sandbox/video", "prompt": "x"}}])
        bench.take("ready", execution)
        submit_batch(bench.desk, execution)
        path = path_of(bench, execution, "v").removeprefix("http://127.0.0.1:3000")
        answer = gate.client().post(path, content=b"{}", headers=signed(b"{}", bench.clock.now() / 1000))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert inbox(database) == []


# ---- many ------------------------------------------------------------------------------------------------------------


def test_many_at_once_are_each_kept_once(gate: Gateway, bench: Bench, database: Database) -> None:
    """Each sent three times, by several senders; whatever is answered is committed."""
    names = [f"n{n}" for n in range(20)]
    execution = submitted(bench, *names)
    paths = {name: path_of(bench, execution, name) for name in names}
    with httpx.Client(base_url=gate.url, trust_env=False, verify=False) as client, ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda name: client.post(paths[name], json={"n": name}).json()["status"], names * 3))
    assert sorted(sent) == ["duplicate"] * 40 + ["received"] * 20
    assert len(inbox(database)) == 20
