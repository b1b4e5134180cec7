"""The whole product with a provider, as `make up` starts it: a plan goes in, its media come out, by polling and by webhook."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.reels import wait_until
from tests.servers.stack import Stack, stack

ENDED = {"completed", "failed", "cancelled"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Without an account: the sandbox plays Replicate, seedance-1-pro too."""
    with stack(tmp_path_factory.mktemp("generation"), start=("up",), VIRALSYNC_POLL_INITIAL_S="1") as made:
        yield made


def execute(studio: Stack, jobs: list[dict[str, Any]], **more: Any) -> str:
    answer = studio.post("/api/execute", {"executionPlan": {"jobs": jobs}, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["executionId"])


def finished(studio: Stack, execution: str, seconds: float = 150.0) -> dict[str, Any]:
    wait_until(lambda: studio.get(f"/api/status/{execution}").json()["status"] in ENDED, seconds, 0.3)
    found: dict[str, Any] = studio.get(f"/api/execute/{execution}/status").json()
    return found


def test_a_plan_runs_through_provider_webhook_poll_and_store(studio: Stack) -> None:
    """A picture by polling, a clip made from it by webhook, a voice beside them, and the job of the guide's curl as it is written there;
    every result fetched and decoded."""
    jobs = [
        {"id": "still", "operation": "generateImage", "params": {"modelId": "sandbox/image", "prompt": "a lighthouse at dusk", "seed": 7}},
        {"id": "clip", "operation": "pipeline:generate", "params": {"modelId": "bytedance/seedance-1-pro", "prompt": "waves", "image": "$still", "duration": 2, "resolution": "480p"}},
        {"id": "voice", "operation": "generateVoice", "params": {"modelId": "sandbox/voice", "text": "The sea at night."}},
        {"id": "test-gen", "operation": "pipeline:generate", "params": {"modelId": "bytedance/seedance-1-pro", "prompt": "A beautiful sunset over mountains"}},
    ]  # fmt: skip
    execution = execute(studio, jobs)
    status = finished(studio, execution)
    told = {job["id"]: job for job in status["jobs"]}
    assert {name: job["status"] for name, job in told.items()} == dict.fromkeys(told, "completed"), status
    assert told["clip"]["waitingStrategy"] == "webhook"
    assert told["still"]["waitingStrategy"] == "polling"
    assert "[Webhook] Received webhook for job" in studio.log("up")
    parent = studio.ended(execution)
    assert (parent["type"], parent["status"], parent["children"]["succeeded"]) == ("workflow.run", "done", 4)
    children = {child["title"]: child for child in studio.children(execution)}
    assert {child["type"] for child in children.values()} == {"generate.image", "generate.video", "generate.voice"}

    import av
    from PIL import Image

    picture = studio.get(children["still"]["outputUrl"].removeprefix(studio.api))
    assert Image.open(io.BytesIO(picture.content)).format == "PNG"
    film = studio.get(children["clip"]["outputUrl"].removeprefix(studio.api))
    with av.open(io.BytesIO(film.content)) as opened:
        assert abs(float(opened.duration) / 1e6 - 2) < 0.2
    asset = studio.ask("""{assetOrError(assetKey: {path: ["generated_media"]}) {... on Asset {
        assetMaterializations(limit: 10) {metadataEntries {label ... on MarkdownMetadataEntry {mdStr} ... on TextMetadataEntry {text}}}}}}""")
    made = [{entry["label"]: entry for entry in each["metadataEntries"]} for each in asset["assetOrError"]["assetMaterializations"]]
    assert {entries["job"]["text"] for entries in made} == {child["jobId"] for child in children.values()}
    assert sum("data:image/jpeg" in entries["preview"]["mdStr"] for entries in made if "preview" in entries) == 3


def test_what_a_provider_refuses_is_told_with_its_words_and_a_hint(studio: Stack) -> None:
    import httpx

    sandbox = httpx.Client(base_url=f"http://127.0.0.1:{studio.sandbox_port}", headers={"Authorization": "Bearer any"}, trust_env=False)
    sandbox.post("/sandbox/mischief", json={"refusing": 1.0}).raise_for_status()
    try:
        execution = execute(studio, [
            {"id": "a", "operation": "generateImage", "params": {"modelId": "sandbox/image", "prompt": "no"}},
            {"id": "b", "operation": "generateImage", "params": {"modelId": "sandbox/image", "prompt": "after"}, "dependsOn": ["a"]},
        ])  # fmt: skip
        status = finished(studio, execution)
    finally:
        sandbox.delete("/sandbox/mischief").raise_for_status()
        sandbox.close()
    errors = {job["id"]: job["error"] for job in status["jobs"]}
    assert "NSFW content detected" in errors["a"]
    assert "policy" in errors["a"]
    assert errors["b"] == "DEPENDENCY_FAILED: Dependency a failed"
    assert studio.job(execution)["status"] == "failed"
