"""`viralsync up` and the servers that people start by hand: runs launched, cancelled and killed through the web UI's own door,
the inbox under a real daemon, and what the UI shows, seen by a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.reels import alive, changed, command, end, environ, files, packets, reel, rendered, viralsync, wait_until
from tests.servers.chromium import browser
from tests.test_faults import PATIENCE, clips_of, encoding, seconds_until_gone, whole
from viralsync_pipelines.storage.local import LocalStore

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with _LOCAL.open(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(argv: list[str], home: Path, port: int, *, cwd: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers; afterwards it was interrupted as by Ctrl-C, and nothing of it is left."""
    log = (home.parent / "server.log").open("ab")
    with log:
        process = subprocess.Popen(argv, env=environ(home), cwd=cwd, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, 180, 0.2)
        assert process.poll() is None, (home.parent / "server.log").read_text()[-3000:]
        yield process
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        wait_until(lambda: not alive(home), 60)
    finally:
        end(process, home)


# ---- the files at the root work as they stand ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        [str(TOOLS / "dagster-webserver"), "-w", "workspace.yaml", "-p"],
        [str(TOOLS / "dagster"), "dev", "-w", "workspace.yaml", "-p"],
        [str(TOOLS / "dg"), "dev", "--port"],
    ],
    ids=lambda argv: Path(argv[0]).name,
)
def test_the_usual_servers_start_and_leave_the_root_as_it_was(argv: list[str], tmp_path: Path) -> None:
    if not Path(argv[0]).exists():
        pytest.skip(f"{argv[0]} is not installed")
    before = {p.name for p in ROOT.iterdir()}
    port, home = free_port(), tmp_path / "home"
    with serving([*argv, str(port)], home, port):
        studio = Studio(home, port)
        assert {node["assetKey"]["path"][0] for node in studio.ask("{assetNodes {assetKey {path}}}")["assetNodes"]} == {"movie", "narration"}
        new = {p.name for p in ROOT.iterdir()} - before
        assert all(name.startswith(".tmp_dagster_home_") for name in new), new
    assert {p.name for p in ROOT.iterdir()} - before == set()
    assert (home / "dagster" / "history").is_dir()


def test_the_definitions_validate(tmp_path: Path) -> None:
    subprocess.run(
        [str(TOOLS / "dagster"), "definitions", "validate", "-w", "workspace.yaml"], cwd=ROOT, env=environ(tmp_path / "home"), check=True,
        capture_output=True,
    )  # fmt: skip


def test_a_port_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = viralsync(tmp_path / "home", "up", "--port", str(taken.getsockname()[1]), check=False)
    assert done.returncode == 3
    assert "--port" in done.stderr


# ---- everything with one command -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Studio:
    """A home whose UI answers, asked as the UI asks."""

    home: Path
    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, {"content-type": "application/json"})
        with _LOCAL.open(request, timeout=120) as answer:
            said = json.loads(answer.read())
        assert "errors" not in said, said
        return said["data"]

    def launch(self, assets: list[str], partition: str, config: dict[str, Any] | None = None) -> str:
        """What Materialize does: the implicit asset job, a selection, a partition, no configuration."""
        params = {
            "selector": {
                "repositoryLocationName": "viralsync", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [name]} for name in assets],
            },
            "runConfigData": config or {}, "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }  # fmt: skip
        query = """mutation($p: ExecutionParams!) {launchPipelineExecution(executionParams: $p) {
            __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
            ... on RunConfigValidationInvalid {errors {message}}}}"""
        said = self.ask(query, p=params)["launchPipelineExecution"]
        assert said["__typename"] == "LaunchRunSuccess", said
        return str(said["run"]["runId"])

    def status(self, run_id: str) -> str:
        return str(self.ask("query($r: ID!) {runOrError(runId: $r) {... on Run {status}}}", r=run_id)["runOrError"]["status"])

    def ended(self, run_id: str, seconds: float = 240.0) -> str:
        over = {"SUCCESS", "FAILURE", "CANCELED"}
        return str(wait_until(lambda: (s := self.status(run_id)) in over and s, seconds, 0.3))

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("{runsOrError {... on Runs {results {runId status tags {key value}}}}}")["runsOrError"]["results"]
        return found

    def film(self, run_id: str) -> Path:
        job = "job_" + run_id.replace("-", "")[:12]
        return self.home / "store" / "outputs" / job / "output.mp4"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """`viralsync up` with three movies: two small ones, and one that takes long enough to be caught at work."""
    base = tmp_path_factory.mktemp("studio")
    home, port = base / "home", free_port()
    small = [reel(base / name, 2, movie_id=name, moving=False) for name in ("one", "two")]
    long = reel(base / "long", 4, movie_id="long", seconds=1.5)

    def mark(document: dict[str, Any]) -> None:
        document["variables"] = {"mark": "0"}
        for scene in document["scenes"]:
            scene["layers"][1]["text"] += " {{ mark }}"

    viralsync(home, "movies", "add", *small, changed(long, mark))
    with serving(command("up", "--port", str(port)), home, port, cwd=base):
        yield Studio(home, port)
    assert sorted(p.name for p in base.iterdir()) == ["home", "long", "one", "server.log", "two"]


def test_materialize_needs_no_configuration(studio: Studio) -> None:
    alone = studio.launch(["movie"], "one")
    assert studio.ended(alone) == "SUCCESS"
    assert packets(studio.film(alone)) == 27
    both = studio.launch(["narration", "movie"], "two")
    assert studio.ended(both) == "SUCCESS"
    assert packets(studio.film(both)) == 27


def test_a_backfill_renders_every_partition(studio: Studio) -> None:
    query = """mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {
        __typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}"""
    params = {"assetSelection": [{"path": ["narration"]}, {"path": ["movie"]}], "partitionNames": ["one", "two"]}
    said = studio.ask(query, p=params)["launchPartitionBackfill"]
    assert said["__typename"] == "LaunchBackfillSuccess", said
    tag = {"key": "dagster/backfill", "value": said["backfillId"]}
    mine = wait_until(lambda: (found := [r for r in studio.runs() if tag in r["tags"]]) and len(found) == 2 and found, 120, 0.5)
    assert [studio.ended(run["runId"]) for run in mine] == ["SUCCESS", "SUCCESS"]


def marked(mark: str) -> dict[str, Any]:
    take = {"config": {"variables": {"mark": mark}}}
    return {"ops": {"movie": {"ops": {"plan_film": take}}}, "execution": {"config": {"qualityPreset": "stable"}}}


def test_a_cancelled_run_is_gone_with_all_its_processes(studio: Studio) -> None:
    run_id = studio.launch(["movie"], "long", marked("cancel"))
    wait_until(lambda: encoding(studio.home), 120)
    servers = set(alive(studio.home, only="dagster-")) | set(alive(studio.home, only="api grpc"))
    since = time.monotonic()
    studio.ask(
        "mutation($r: String!) {terminateRun(runId: $r, terminatePolicy: SAFE_TERMINATE) {__typename}}", r=run_id
    )  # fmt: skip
    first = seconds_until_gone(studio.home, since, "ffmpeg")
    wait_until(lambda: not [c for c in alive(studio.home, only="multiprocessing").values() if "dagster" in c and "warm" in c], PATIENCE)
    last = time.monotonic() - since
    print(f"after a cancel ffmpeg lived {first:.2f} s, the run's last process {last:.2f} s")
    assert servers
    assert studio.ended(run_id) == "CANCELED"
    assert files(studio.home / "scratch") == []
    finished = clips_of(studio.home)
    again = studio.launch(["movie"], "long", marked("cancel"))
    assert studio.ended(again) == "SUCCESS"
    after = clips_of(studio.home)
    assert {name: after[name] for name in finished} == finished
    assert packets(studio.film(again)) == 45 * 4 - 9


def worker_of(studio: Studio, run_id: str) -> int:
    """The process of a run, as Dagster names it in the run's log."""
    query = """query($r: ID!) {logsForRun(runId: $r) {... on EventConnection {events {... on EngineEvent {message
        metadataEntries {label ... on TextMetadataEntry {text}}}}}}}"""
    for event in studio.ask(query, r=run_id)["logsForRun"]["events"]:
        if str(event.get("message", "")).startswith("Started process for run"):
            for entry in event["metadataEntries"]:
                if entry["label"] == "pid":
                    return int(entry["text"])
            return int(event["message"].rpartition("pid: ")[2].rstrip(")."))
    raise AssertionError("the run's log names no process")


def test_a_run_worker_killed_under_the_daemon_leaves_nothing_alive(studio: Studio) -> None:
    run_id = studio.launch(["movie"], "long", marked("kill"))
    wait_until(lambda: encoding(studio.home), 120)
    since = time.monotonic()
    os.kill(worker_of(studio, run_id), signal.SIGKILL)
    took = seconds_until_gone(studio.home, since, "ffmpeg")
    wait_until(lambda: not [c for c in alive(studio.home, only="forkserver").values() if "warm" in c], PATIENCE)
    print(f"after kill -9 of the run worker ffmpeg lived {took:.2f} s, its steps {time.monotonic() - since:.2f} s")
    assert studio.ended(run_id, 60) == "FAILURE"
    whole(studio.home)
    finished = clips_of(studio.home)
    again = studio.launch(["movie"], "long", marked("kill"))
    assert studio.ended(again) == "SUCCESS"
    after = clips_of(studio.home)
    assert {name: after[name] for name in finished} == finished
    assert files(studio.home / "scratch") == []


def test_the_inbox_under_a_real_daemon(studio: Studio) -> None:
    store = LocalStore(studio.home / "store")
    document = {"id": "dropped", "width": 360, "height": 360, "scenes": [{"id": "x", "duration": 0.2, "bgColor": "#336699", "layers": []}]}
    store.put_bytes("inbox/dropped.json", json.dumps(document).encode())
    store.put_bytes("inbox/wrong.json", json.dumps({**document, "width": 7}).encode())
    tag = {"key": "viralsync/inbox", "value": "inbox/dropped.json"}

    def mine() -> list[dict[str, Any]]:
        return [run for run in studio.runs() if tag in run["tags"]]

    (run,) = wait_until(mine, 60, 0.5)
    assert studio.ended(run["runId"]) == "SUCCESS"
    wait_until(lambda: store.stat("inbox/wrong.problems.json"), 30, 0.5)
    store.put_bytes("inbox/dropped.json", json.dumps(document, indent=1).encode())
    time.sleep(12)  # two ticks
    assert len(mine()) == 1


def test_a_browser_sees_the_contact_sheet_and_the_checks(studio: Studio, tmp_path: Path) -> None:
    run_id = studio.launch(["movie"], "one")
    assert studio.ended(run_id) == "SUCCESS"
    base = f"http://127.0.0.1:{studio.port}"
    leaves = "[...document.querySelectorAll('*')].filter(e => e.children.length == 0)"
    with browser() as page:
        page.open(f"{base}/assets/movie?view=partitions&partition=one")
        page.see(f"{leaves}.some(e => e.textContent.includes('[Show Markdown]'))")
        page.evaluate(f"{leaves}.find(e => e.textContent.includes('[Show Markdown]')).click()")
        width, shown, room = page.see(
            "(() => {const i = document.images[0]; return i && i.naturalWidth && "
            "[i.naturalWidth, i.getBoundingClientRect().right, innerWidth]})()"
        )
        assert width > 300
        assert shown <= room
        page.screenshot(tmp_path / "contact-sheet.png")
        assert "Join the Dagster community" not in page.evaluate("document.body.innerText")
        page.open(f"{base}/runs/{run_id}")
        page.see("document.body.innerText.includes('RUN_SUCCESS')")
        page.open(f"{base}/assets/movie")
        page.see("document.body.innerText.includes('Latest check results')")


def test_rendering_from_the_command_line_beside_the_servers(studio: Studio, tmp_path: Path) -> None:
    answer = rendered(studio.home, studio.home.parent / "one" / "one.json", "-o", tmp_path / "one.mp4")
    assert studio.status(answer["runId"]) == "SUCCESS"
