"""The typed client and the real gateway understand each other, over a wire that breaks and with both kinds of database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.gateway import MOVIE, Gateway, gateway
from tests.servers.snipping import snipped
from viralsync_pipelines.client import ApiError, AsyncClient, Client, Event, OutputLine
from viralsync_pipelines.jobs.model import Counts, Status
from viralsync_pipelines.storage.database import Database


@pytest.fixture
def real(database: Database, tmp_path: Path) -> Iterator[Gateway]:
    with gateway(database, tmp_path, heartbeat_s=0.5) as served:
        yield served


@pytest.fixture
def client(real: Gateway) -> Iterator[Client]:
    with Client(real.url) as made:
        yield made


def test_a_film_from_submission_to_its_end(real: Gateway, client: Client) -> None:
    job = client.render(MOVIE, project_id="proj_1", preset="fast", variables={"a": 1}, priority="high", channel="news", queue="slow", draft=True)
    assert (job.status, real.launcher.orders[0].preset, real.launcher.orders[0].draft) == (Status.QUEUED, "fast", True)
    assert job.refresh().payload["projectId"] == "proj_1"
    real.film_of(job.id).whole()
    done = job.wait(30)
    assert (done.status, done.progress, done.type) == (Status.DONE, 1.0, "render.movie")
    assert done.children == Counts(total=3, succeeded=3)
    assert (done.media or {})["duration"] == 3.0
    assert done.attempts[0].run_id == real.runs.runs_of(job.id)[0].run_id
    assert [child.type for child in job.children()][:3] == ["render.scene"] * 3
    events = list(client.events(job.id))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [found.id for found in client.list(type="render", status=["done"], project_id="proj_1", channel="news")] == [job.id]
    assert client.page(limit=1, status="queued").jobs == ()
    assert client.stream_token(job.id).url.startswith(f"{real.url}/v1/jobs/{job.id}/progress?token=")
    client.delete(job.id)
    with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
        job.refresh()


def test_what_the_gateway_refuses_says_where_and_why(real: Gateway, client: Client) -> None:
    with pytest.raises(ApiError) as told:
        client.render({**MOVIE, "fps": 1000, "colour": "red"}, callback_url="nonsense")
    assert (told.value.status, told.value.code) == (400, "VALIDATION_ERROR")
    assert {problem.pointer for problem in told.value.problems} >= {"/movie/fps", "/callbackUrl"}
    with pytest.raises(ApiError, match="CURSOR_INVALID"):
        client.page(cursor="nonsense")
    real.launcher.away = True
    waits: list[float] = []
    with Client(real.url, sleep=waits.append) as other, pytest.raises(ApiError) as away:
        other.render(MOVIE)
    assert (away.value.code, len(waits)) == ("RENDER_UNAVAILABLE", 2)
    real.launcher.away = False


def test_cancelling_and_trying_again(real: Gateway, client: Client) -> None:
    job = client.render(MOVIE)
    real.film_of(job.id).failed()
    assert job.wait(30).status is Status.FAILED
    assert (job.job.error or "").startswith("SCENE_RENDER_FAILED")
    with pytest.raises(ApiError, match="INVALID_STATE"):
        job.cancel()
    assert (job.retry(set={"mark": 2}).status, job.job.attempt) == (Status.QUEUED, 2)
    assert real.launcher.agains[0][1] == {"mark": 2}
    assert job.cancel().status in {Status.QUEUED, Status.CANCELLED}
    assert job.wait(30).status is Status.CANCELLED
    assert [attempt.status for attempt in job.job.attempts] == [Status.FAILED, Status.CANCELLED]


def test_jobs_of_a_programs_own(client: Client) -> None:
    job = client.start("encode", "Encoding", "me", metadata={"file": "a.mov"}, queue={"position": 3}, estimated_duration_ms=1000, ttl_seconds=600)
    assert job.status is Status.QUEUED
    job.set_progress(33, message="half way", stage={"name": "pass 1", "current": 1, "total": 2}, metadata={"passes": 2})
    assert (job.status, job.job.progress, job.job.message) == (Status.RUNNING, 0.33, "half way")
    assert job.job.payload["metadata"] == {"file": "a.mov", "passes": 2}
    assert job.complete({"url": "https://example.com/a.mp4"}).output_url == "https://example.com/a.mp4"
    batch = client.create_batch("image", "Pack", ["Snow", "Tree", "Santa"], on_child_failure="continue")
    batch.children[0].complete()
    batch.children[1].set_progress(50)
    assert batch.parent.refresh().progress == 0.5
    batch.children[1].fail("BROKEN", "no paint", retryable=True)
    batch.children[2].complete()
    assert (batch.parent.refresh().status, batch.parent.job.children) == (Status.DONE, Counts(total=3, succeeded=2, failed=1))
    parent = client.create_parent("pack", "By hand", child_count=1, child_progress_mode="weighted")
    child = client.create_child(parent.id, 0, "image", "One", weight=3)
    child.complete()
    family = client.get_with_children(parent.id)
    assert (family.parent.status, [c.id for c in family.children]) == (Status.DONE, [child.id])


def test_me_and_usage(real: Gateway) -> None:
    with Client(real.url, real.key("acme", read_only=True)) as client:
        assert (client.me()["workspace"], client.me()["readOnly"]) == ("acme", True)
        assert client.usage()["minutesThisMonth"] == 0
        with pytest.raises(ApiError, match="FORBIDDEN"):
            client.render(MOVIE)


def _slowly(real: Gateway, job_id: str, scenes: int) -> threading.Thread:
    """A film's life, a little at a time, while somebody watches."""

    def live() -> None:
        film = real.film_of(job_id, scenes)
        for number, step in enumerate(film.steps()):
            step()
            real.printed.print(film.run_id, "movie.assemble_film", f"line {number}")
            time.sleep(0.02)

    thread = threading.Thread(target=live)
    thread.start()
    return thread


@pytest.mark.parametrize("seed", range(3))
def test_no_sequence_is_lost_or_seen_twice_over_a_wire_that_breaks(real: Gateway, client: Client, seed: int) -> None:
    """Two watch the same job, one of either kind; their connections last for a few events at most."""
    job = client.render(MOVIE)

    async def watch(url: str) -> list[Event]:
        async with AsyncClient(url, sleep=lambda _: asyncio.sleep(0.01)) as other:
            return [event async for event in other.follow(job.id, after=0)]

    found: dict[str, list[Any]] = {}
    cursor = client.output(job.id).cursor
    with snipped(int(real.url.rpartition(":")[2]), seed=seed, most=9_000) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        awaited = threading.Thread(target=lambda: found.update(awaited=asyncio.run(watch(url))))
        lived = _slowly(real, job.id, scenes=6)
        awaited.start()
        with Client(url, sleep=lambda _: time.sleep(0.01)) as broken:
            found["plain"] = list(broken.follow(job.id, after=0, output=True, output_cursor=cursor))
        awaited.join()
        lived.join()
    events = list(client.events(job.id))
    assert wire.cuts > 6, "the wire did break"
    for kind in ("plain", "awaited"):
        seen = [each for each in found[kind] if isinstance(each, Event)]
        assert [(event.sequence, event.name) for event in seen] == [(event.sequence, event.name) for event in events], kind
        assert [event.job.progress for event in seen] == [event.job.progress for event in events]
    lines = [each.text for each in found["plain"] if isinstance(each, OutputLine)]
    assert lines == [f"line {number}" for number in range(len(lines))], "each line once, in order"
    assert len(lines) > 20
    assert seen[-1].job.status is Status.DONE


def test_streams_that_the_gateway_ends_in_good_order_go_on(real: Gateway, client: Client) -> None:
    """A gateway that is shut down ends its streams as it would after a job's end; here it ends every new one as well, after the replay."""
    job = client.render(MOVIE)
    film = real.film_of(job.id).start().plan()
    with Client(real.url, sleep=lambda _: time.sleep(0.02)) as patient:
        followed = patient.follow(job.id)
        seen = [next(followed)]
        assert real.loop is not None
        asyncio.run_coroutine_threadsafe(real.app.state.hub.close(), real.loop).result(10)
        film.scene(1)
        seen.append(next(followed))
        film.made(1).scene(2).made(2).scene(3).made(3).join().succeed()
        seen += followed
    events = list(client.events(job.id))
    assert [event.sequence for event in seen] == [event.sequence for event in events[seen[0].sequence - 1 :]]
    assert seen[-1].job.status is Status.DONE
