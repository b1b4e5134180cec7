"""Callbacks over HTTP: a workspace's own messages with every try, page by page, replay by hand, and nothing of anybody else's."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.servers.app import served
from viralsync_pipelines.cli.main import main
from viralsync_pipelines.gateway import callbacks, faults, limiting
from viralsync_pipelines.gateway.deps import put_together
from viralsync_pipelines.jobs.callbacks import Message
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import Job
from viralsync_pipelines.storage import outbox
from viralsync_pipelines.storage.accounts import Accounts
from viralsync_pipelines.storage.database import Database, open_database

NOW = 1_764_244_800_000
WHEN = "2025-11-27T12:00:00.000Z"
MINE, OTHER, QUIET = "job_aaaaaaaaaaaa", "job_bbbbbbbbbbbb", "job_cccccccccccc"
WORKSPACES = {MINE: "mine", OTHER: "other", QUIET: "mine"}


class Families:
    """The one thing that these routes ask of the board."""

    def family(self, job_id: str) -> Family | None:
        workspace = WORKSPACES.get(job_id)
        return Family(Job(id=job_id, type="render.movie", workspace=workspace)) if workspace else None


@pytest.fixture
def keys(database: Database) -> dict[str, str]:
    accounts = Accounts(database, lambda: NOW)
    made = {"mine": ("mine", False), "looker": ("mine", True), "other": ("other", False)}
    return {name: accounts.create_key(name, workspace, read_only=ro)[0] for name, (workspace, ro) in made.items()}


@pytest.fixture
def api(database: Database, keys: dict[str, str]) -> Iterator[httpx.Client]:
    board: Any = Families()
    nothing: Any = SimpleNamespace()
    app = FastAPI()
    app.state.deps = put_together(board=board, launcher=nothing, database=database, store=nothing, host="127.0.0.1", now_ms=lambda: NOW)
    faults.install(app)
    limiting.install(app)
    app.include_router(callbacks.router)
    with served(app) as url, httpx.Client(base_url=url, headers={"x-api-key": keys["mine"]}, trust_env=False) as client:
        yield client


def put(database: Database, job_id: str, sequences: range, url: str = "https://user:pw@hook.test/x?token=secret") -> None:
    with database.writing() as connection:
        for sequence in sequences:
            message = Message(
                f"msg_{job_id}_{sequence}", job_id, sequence, "progress", NOW + sequence // 2, json.dumps({"jobId": job_id, "n": sequence})
            )
            outbox.put(connection, asdict(message), workspace=WORKSPACES[job_id], url=url, now_ms=NOW)


def answered(database: Database, status: int | None, due_ms: int | None = None) -> None:
    """The message that is next in line gets this answer."""
    with database.writing() as connection:
        claimed = outbox.claim(connection, next(outbox.waiting(connection, NOW)), NOW, 1_000)
        assert claimed is not None
        if status == 200:
            outbox.settle_delivered(connection, claimed, outbox.Answer(NOW, 12, 200))
        else:
            outbox.settle_failed(connection, claimed, outbox.Answer(NOW, 12, status, "no answer within 15 s"), due_ms)


def test_a_message_shows_what_was_sent_and_every_try(api: httpx.Client, database: Database) -> None:
    put(database, MINE, range(2, 3))
    answered(database, None, NOW)
    answered(database, None, NOW + 5_000)
    first = {
        "messageId": f"msg_{MINE}_2", "jobId": MINE, "sequence": 2, "kind": "progress", "url": "https://hook.test/x?...", "state": "due",
        "tries": 2, "createdAt": "2025-11-27T12:00:00.001Z", "nextTryAt": "2025-11-27T12:00:05.000Z", "deliveredAt": None,
        "body": {"jobId": MINE, "n": 2},
        "deliveries": [{"at": WHEN, "status": None, "error": "no answer within 15 s", "tookMs": 12}] * 2,
    }  # fmt: skip
    assert api.get(f"/v1/jobs/{MINE}/callbacks").json() == {"callbacks": [first], "nextCursor": None}
    assert api.get("/v1/callbacks").json() == {"callbacks": [first], "nextCursor": None}


@pytest.mark.parametrize("path", ["/v1/callbacks", f"/v1/jobs/{MINE}/callbacks"])
def test_pages_show_every_message_once_newest_first(path: str, api: httpx.Client, database: Database) -> None:
    put(database, MINE, range(1, 24))
    seen, cursor = [], None
    while True:
        page = api.get(path, params={"limit": 5, **({"cursor": cursor} if cursor else {})}).json()
        seen += [each["sequence"] for each in page["callbacks"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == list(range(23, 0, -1))


def test_a_job_without_callbacks_has_none(api: httpx.Client) -> None:
    assert api.get(f"/v1/jobs/{QUIET}/callbacks").json() == {"callbacks": [], "nextCursor": None}


def test_nothing_of_another_workspace_is_seen_or_replayed(api: httpx.Client, database: Database) -> None:
    """In the same words as for what never was."""
    put(database, OTHER, range(1, 3))
    answered(database, 200)
    assert api.get("/v1/callbacks").json()["callbacks"] == []
    for job_id, never in ((OTHER, "job_dddddddddddd"),):
        got, absent = (api.get(f"/v1/jobs/{each}/callbacks") for each in (job_id, never))
        assert (got.status_code, got.json()["code"]) == (404, "JOB_NOT_FOUND")
        assert got.text == absent.text.replace(never, job_id)
    got, absent = (api.post(f"/v1/callbacks/{each}/replay") for each in (f"msg_{OTHER}_1", f"msg_{OTHER}_9"))
    assert (got.status_code, got.json()["code"]) == (404, "NOT_FOUND")
    assert got.text == absent.text.replace(f"{OTHER}_9", f"{OTHER}_1")
    with database.reading() as connection:
        assert [each.id for each in outbox.waiting(connection, NOW)] == [f"msg_{OTHER}_2"]


def test_a_replay_is_accepted_and_the_message_is_due_again(api: httpx.Client, database: Database, keys: dict[str, str]) -> None:
    put(database, MINE, range(1, 2))
    answered(database, 200)
    looker = {"x-api-key": keys["looker"]}
    assert api.get("/v1/callbacks", headers=looker).json()["callbacks"][0]["state"] == "delivered"
    refused = api.post(f"/v1/callbacks/msg_{MINE}_1/replay", headers=looker)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    accepted = api.post(f"/v1/callbacks/msg_{MINE}_1/replay")
    assert (accepted.status_code, accepted.json()) == (202, {"messageId": f"msg_{MINE}_1", "state": "due"})
    (message,) = api.get("/v1/callbacks").json()["callbacks"]
    assert (message["state"], message["nextTryAt"], message["tries"], message["deliveredAt"]) == ("due", WHEN, 0, None)


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!", "W10", base64.urlsafe_b64encode(b'[1, 2, "a\\u0000b"]').decode(), base64.urlsafe_b64encode(b"[1e99, 2, 3]").decode()]
)
def test_a_cursor_that_nobody_gave_is_refused(cursor: str, api: httpx.Client) -> None:
    got = api.get("/v1/callbacks", params={"cursor": cursor})
    assert (got.status_code, got.json()["code"]) == (400, "CURSOR_INVALID")


@pytest.mark.parametrize(
    ("query", "code"), [("status=due", "UNKNOWN_FILTER"), ("limit=0", "VALIDATION_ERROR"), ("limit=101", "VALIDATION_ERROR")]
)
def test_what_is_asked_for_must_make_sense(query: str, code: str, api: httpx.Client) -> None:
    got = api.get(f"/v1/callbacks?{query}")
    assert (got.status_code, got.json()["code"]) == (400, code)


@pytest.mark.parametrize("odd", ["%00", "a%00b", "%ff", "msg_" + "x" * 300, "..%2f..", "%f0%9f%98%80"])
def test_odd_ids_are_just_not_found(odd: str, api: httpx.Client) -> None:
    assert api.post(f"/v1/callbacks/{odd}/replay").status_code == 404
    assert api.get(f"/v1/jobs/{odd}/callbacks").status_code == 404


def test_the_secret_that_signs_is_nowhere_in_the_api(api: httpx.Client, database: Database) -> None:
    put(database, MINE, range(1, 2))
    workspace = Accounts(database, lambda: NOW).workspace("mine")
    assert workspace is not None
    for path in ("/v1/callbacks", f"/v1/jobs/{MINE}/callbacks", "/v1/callbacks/secret", "/openapi.json"):
        assert workspace.webhook_secret not in api.get(path).text


def test_the_command_line_shows_the_secret_of_a_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "create", "app", "--workspace", "film"]) == 0
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    assert "whsec_" not in capsys.readouterr().out
    assert main(["keys", "secret", "--workspace", "film"]) == 0
    secret = capsys.readouterr().out.strip()
    kept = open_database(None, tmp_path / "home")
    workspace = Accounts(kept, lambda: NOW).workspace("film")
    kept.close()
    assert workspace is not None
    assert secret == workspace.webhook_secret
    assert main(["keys", "secret", "--workspace", "nobody"]) != 0
    assert "WORKSPACE_NOT_FOUND" in capsys.readouterr().err
