"""Jobs from outside, over wires that break: a browser's own EventSource and httpx each see every change once and in order. And what
becomes of a film when `viralsync up` is ended, or everything is killed, in the middle of it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from tests.reels import alive, wait_until
from tests.servers.chromium import Page, browser
from tests.servers.snipping import snipped
from tests.servers.stack import Stack, small, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NAMES = ("job.sync", "job.started", "job.progress", "job.completed", "job.failed", "job.cancelled", "child.progress", "parent.updated")
PAGE = """<!doctype html><meta charset="utf-8"><title>A job, live</title>
<style>body{font:16px sans-serif;margin:2em} #bar{height:1.2em;background:#ddd;width:40em} #bar div{height:100%;background:#36c}
td{padding:.1em 1em .1em 0}</style>
<h1 id="title">waiting</h1><div id="bar"><div></div></div><p id="told"></p><table id="children"></table>
<script>
const place = new URLSearchParams(location.search), names = NAMES;
window.seen = []; window.lines = []; window.syncs = 0; window.breaks = 0; window.over = false;
const stream = new EventSource(place.get("stream"));
const rows = {};
for (const name of names) stream.addEventListener(name, event => {
  const job = JSON.parse(event.data);
  if (name == "job.sync") { window.syncs++; } else window.seen.push([Number(event.lastEventId), name, job.jobId]);
  if (job.parentJobId === null) {
    title.textContent = `${job.title}: ${job.status} ${job.phase ?? ""}`;
    bar.firstChild.style.width = `${job.progress * 100}%`;
  } else {
    rows[job.jobId] ??= children.insertRow();
    rows[job.jobId].innerHTML = `<td>${job.jobId}<td>${job.status}<td>${Math.round(job.progress * 100)} %`;
  }
  told.textContent = `${window.seen.length} changes, ${window.breaks} breaks`;
});
stream.addEventListener("output", event => window.lines.push(JSON.parse(event.data).text));
stream.onerror = () => { window.breaks++; window.over = stream.readyState == EventSource.CLOSED; };
</script>""".replace("NAMES", json.dumps(NAMES))


@contextmanager
def page_server() -> Iterator[str]:
    """The page, at an origin of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Follower(threading.Thread):
    """What a program does that follows a job with httpx over a bad wire: it comes back with the last id it saw."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.seen, self.breaks = url, list[tuple[int, str, str]](), 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        last: str | None = None
        with httpx.Client(timeout=30, trust_env=False) as client:
            while True:
                try:
                    headers = {"last-event-id": last} if last is not None else {}
                    with connect_sse(client, "GET", self.url, headers=headers) as source:
                        if source.response.status_code == 204:
                            return
                        for event in source.iter_sse():
                            if event.data and event.event in NAMES and event.event != "job.sync":
                                self.seen.append((int(event.id), event.event, json.loads(event.data)["jobId"]))
                                last = event.id
                except httpx.HTTPError:
                    self.breaks += 1
                except BaseException as failure:
                    self.failure = failure
                    return
                time.sleep(0.1)


def followed_by_page(page: Page, origin: str, stream: str) -> None:
    page.open(f"{origin}/?stream={stream}")
    page.see("window.seen !== undefined")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres").create())


def test_a_browser_and_a_program_see_every_change_once_over_wires_that_break(url: str | None, tmp_path: Path) -> None:
    with page_server() as origin, stack(tmp_path, database_url=url, VIRALSYNC_CORS_ORIGINS=origin) as studio, browser(900, 700) as page:
        movie = small("broken-wires", 4, 3.0, width=720, height=720, title="A film over a bad wire")
        job_id = studio.submit(movie, renderOptions={"qualityPreset": "stable"})
        stream = f"/v1/jobs/{job_id}/progress?after=0"
        with snipped(studio.api_port, seed=7, most=20_000) as rough, snipped(studio.api_port, seed=8, most=10_000) as rougher:
            follower = Follower(f"http://127.0.0.1:{rougher.port}{stream}")
            follower.start()
            followed_by_page(page, origin, f"http://127.0.0.1:{rough.port}{stream}")
            page.see("window.seen.length > 30", 300)
            page.screenshot(tmp_path / "live.png")
            job = studio.ended(job_id, 600)
            assert job["status"] == "done"
            follower.join(300)
            # A browser waits three seconds before it comes back.
            rough.merciful = True
            page.see("window.over", 120)
            cuts = (rough.cuts, rougher.cuts)
        told = [(event["sequence"], event["name"], event["job"]["jobId"]) for event in studio.history(job_id)]
        by_page = [tuple(each) for each in page.evaluate("window.seen")]
        page.screenshot(tmp_path / "done.png")
        breaks = page.evaluate("window.breaks")
    assert not follower.is_alive()
    assert follower.failure is None
    assert [number for number, _, _ in told] == list(range(1, job["sequence"] + 1))
    assert by_page == told
    assert follower.seen == told
    print(f"{len(told)} changes; wires cut {cuts[0]} times for the browser ({breaks} breaks seen), {cuts[1]} for httpx ({follower.breaks})")
    assert min(cuts) >= 3


def test_a_cancelled_film_takes_its_scenes_along_within_two_seconds(url: str | None, tmp_path: Path) -> None:
    with stack(tmp_path, database_url=url) as studio:
        job_id = studio.submit(small("long", 4, 300, width=720, height=720))
        wait_until(lambda: studio.job(job_id)["phase"] == "rendering", 120, 0.2)
        asked = datetime.fromisoformat(studio.post(f"/v1/jobs/{job_id}/cancel").json()["cancelRequestedAt"])
        assert studio.ended(job_id)["status"] == "cancelled"
        ends = [datetime.fromisoformat(child["finishedAt"]) for child in studio.children(job_id) if child["status"] == "cancelled"]
        assert len(ends) == 6
        took = (max(ends) - asked).total_seconds()
        print(f"the last of {len(ends)} children was cancelled {took:.2f} s after it was asked for")
        assert took <= 2.0
        wait_until(lambda: not alive(studio.home, only="ffmpeg"), 30)


# ---- everything is ended ---------------------------------------------------------------------------------------------


def caught_at_work(studio: Stack, movie: dict[str, Any]) -> str:
    job_id = studio.submit(movie)
    wait_until(lambda: alive(studio.home, only="ffmpeg"), 120)
    return job_id


def test_a_run_that_was_killed_with_everything_else_fails_when_the_daemon_is_back_and_can_be_retried(url: str | None, tmp_path: Path) -> None:
    """As when the power is cut: nobody is left who could say that the run has ended."""
    with stack(tmp_path, database_url=url) as studio:
        job_id = caught_at_work(studio, small("cut", 3, 4.0, width=720, height=720))
        for pid in alive(studio.home):
            os.kill(pid, signal.SIGKILL)
        for process in studio.processes.values():
            process.wait(30)
        studio.processes.clear()
        studio.start("web", "gateway", "daemon")
        studio.wait_ready()
        back = time.monotonic()
        job = studio.ended(job_id)
        print(f"a run whose processes were all killed had failed {time.monotonic() - back:.1f} s after the servers were back")
        assert (job["status"], job["error"].partition(":")[0]) == ("failed", "WORKER_LOST")
        assert {child["status"] for child in studio.children(job_id)} <= {"done", "failed", "cancelled"}
        assert studio.post(f"/v1/jobs/{job_id}/retry").status_code == 202
        assert studio.ended(job_id)["status"] == "done"


def test_up_serves_all_of_it_and_leaves_no_job_hanging_when_it_is_ended(url: str | None, tmp_path: Path) -> None:
    with stack(tmp_path, database_url=url, start=("up",)) as studio:
        first = studio.submit(small("first"))
        assert studio.ended(first)["status"] == "done"
        second = caught_at_work(studio, small("second", 3, 300, width=720, height=720))
        assert studio.stop("up", 60) == 0
        wait_until(lambda: not alive(studio.home), 30)
        studio.start("up")
        studio.wait_ready()
        job = studio.ended(second)
        print(f"a film under way when `up` was ended: {job['status']}, {job['error']}")
        assert (job["status"], job["error"].partition(":")[0] in {"STEP_INTERRUPTED", "STEP_KILLED", "WORKER_LOST"}) == ("failed", True)
        assert studio.job(first)["status"] == "done"
