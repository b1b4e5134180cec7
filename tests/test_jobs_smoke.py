"""The whole product once: web server, daemon and gateway as processes, real films, HTTP from outside. What takes longer is in
test_jobs_end_to_end.py and test_jobs_chaos.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from tests.reels import alive, clip, files, packets, wait_until
from tests.servers.stack import Stack, small, stack


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files any movie may use."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, media: Path) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("smoke"), VIRALSYNC_MEDIA=str(media)) as made:
        yield made


def follow(studio: Stack, job_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) of the job's stream, until it ends by itself."""
    with httpx.Client(base_url=studio.api, timeout=60, trust_env=False) as client, connect_sse(client, "GET", f"/v1/jobs/{job_id}/progress") as source:
        assert source.response.status_code == 200
        for event in source.iter_sse():
            if not event.data:
                continue  # a heartbeat: httpx-sse makes an event without data of a comment
            yield event.event, event.id, json.loads(event.data)


@dataclass
class Followed:
    """What came over the stream of a job: numbers of its family's changes, lines that its steps printed, the job at the end."""

    job_id: str
    numbers: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def film(studio: Stack) -> Followed:
    """A job that is done."""
    told = Followed(studio.submit(small("film")))
    for name, number, data in follow(studio, told.job_id):
        if name == "output":
            told.lines.append(data["text"])
            continue
        told.numbers.append(int(number))
        if data["jobId"] == told.job_id:
            told.job = data
    return told


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_film_is_submitted_followed_and_fetched(studio: Stack, film: Followed, tmp_path: Path) -> None:
    """Every change arrives once and in order, what steps print comes along, and the address in the end gives the film."""
    job_id, job = film.job_id, film.job
    assert film.numbers == list(range(film.numbers[0], job["sequence"] + 1))
    assert (job["status"], job["progress"]) == ("done", 1.0)
    assert job["children"] == {"total": 2, "succeeded": 2, "running": 0, "queued": 0, "failed": 0, "cancelled": 0}
    assert [event["sequence"] for event in studio.history(job_id)] == list(range(1, job["sequence"] + 1))
    assert "scene 1: frame 9 of 9" in "\n".join(film.lines)
    printed = studio.get(f"/v1/jobs/{job_id}/output").json()["output"]
    # Two scenes print at once, and whose line is seen first is chance; each one's own lines come in their order, and every line once.
    assert sorted(line["text"] for line in printed) == sorted(film.lines)
    for scene in ("scene 1:", "scene 2:"):
        assert [line["text"] for line in printed if line["text"].startswith(scene)] == [text for text in film.lines if text.startswith(scene)]
    assert {line["jobId"] for line in printed} >= {job_id, f"scene_{job_id}_001", f"scene_{job_id}_002"}
    fetched = tmp_path / "film.mp4"
    fetched.write_bytes(httpx.get(job["outputUrl"], timeout=30, trust_env=False).content)
    assert packets(fetched) == 18
    assert job["mediaData"]["fileSize"] == fetched.stat().st_size


def test_cancelling_what_has_ended_is_refused(studio: Stack, film: Followed) -> None:
    answer = studio.post(f"/v1/jobs/{film.job_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "INVALID_STATE")
    assert studio.job(film.job_id)["status"] == "done"


def test_a_run_launched_in_dagsters_ui_is_a_job_within_two_seconds(studio: Stack, film: Followed) -> None:
    run_id = studio.materialize(["movie"], "film")
    launched = time.monotonic()
    job_id = "job_" + run_id.replace("-", "")[:12]

    def listed() -> bool:
        return job_id in {job["jobId"] for job in studio.get("/v1/jobs").json()["jobs"]}

    seen = listed()
    print(f"listed {'at once' if seen else 'not at once'}, asked {time.monotonic() - launched:.3f} s after the launch")
    time.sleep(max(0.0, launched + 2 - time.monotonic()))
    assert listed()
    job = studio.ended(job_id)
    assert (job["type"], job["status"], job["payload"]["movieId"]) == ("render.movie", "done", "film")


def test_cancelling_a_waiting_parent_cancels_its_children(studio: Stack) -> None:
    job_id = studio.submit({**small("long", 3, 300), "width": 720, "height": 720})
    for _, _, job in follow(studio, job_id):
        if (job.get("jobId"), job.get("status"), job.get("phase")) == (job_id, "waiting", "rendering"):
            break
    answer = studio.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    asked = moment(answer.json()["cancelRequestedAt"])
    job = studio.ended(job_id)
    children = studio.children(job_id)
    assert job["status"] == "cancelled"
    assert {child["status"] for child in children} == {"cancelled"}
    assert len(children) == 5
    last = max(moment(child["finishedAt"]) for child in children)
    print(f"its last child was cancelled {last - asked:.2f} s after it was asked for")
    wait_until(lambda: not alive(studio.home, only="ffmpeg"), 30)


def test_a_failed_scene_is_named_and_its_retry_leaves_the_others_alone(studio: Stack, media: Path) -> None:
    whole = clip(media / "whole.mkv", 2.0, extra=("-f", "matroska")).read_bytes()
    # Cut so little that planning takes it for whole; rendering meets the end.
    (media / "torn.mkv").write_bytes(whole[: int(len(whole) * 0.93)])
    movie = small("torn", 3)
    movie["variables"]["footage"] = "torn.mkv"
    movie["scenes"][1] |= {"duration": "auto", "layers": [{"type": "video", "src": "{{ footage }}", "width": "100%", "muted": True}]}
    job_id = studio.submit(movie)
    job = studio.ended(job_id)
    assert job["status"] == "failed"
    assert job["error"].startswith("SCENE_RENDER_FAILED: s2: SOURCE_CUT_SHORT: ")
    assert (job["children"]["succeeded"], job["children"]["failed"]) == (2, 1)
    scenes = {child["jobId"][-3:]: child for child in studio.children(job_id) if child["type"] == "render.scene"}
    assert {number: child["status"] for number, child in scenes.items()} == {"001": "done", "002": "failed", "003": "done"}
    before = clips(studio)
    answer = studio.post(f"/v1/jobs/{scenes['002']['jobId']}/retry", {"set": {"footage": "whole.mkv"}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["attempt"] == 2
    again = studio.ended(job_id)
    assert (again["status"], again["attempt"], again["error"]) == ("done", 2, None)
    assert [attempt["status"] for attempt in again["attempts"]] == ["failed", "done"]
    assert {child["status"] for child in studio.children(job_id)} == {"done"}
    after = clips(studio)
    assert {name: after[name] for name in before} == before
    assert len([name for name in after if name.endswith(".mp4") and name not in before]) == 1


def clips(studio: Stack) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(studio.home / "store" / "cache" / "clips")}
