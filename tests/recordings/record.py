"""Records what Dagster logs of real runs, as the job events that are read out of it: `python -m tests.recordings.record`.

Run it again when Dagster is upgraded, or when steps or what they tell of themselves change; then look through the differences:

    .venv/bin/python -m tests.recordings.record              # on SQLite and on PostgreSQL, about six minutes
    .venv/bin/python -m tests.recordings.record sqlite       # on one of them
    .venv/bin/python -m tests.recordings.record sqlite pool_wait cancelled

It starts a web server and a daemon on a home of its own in a temporary folder, and writes <storage>_<name>.json beside itself: the facts
of every run of one job, and their events. Paths of this machine are taken out; nothing else is changed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx

from tests.recordings.retrying import retrying_job
from tests.reels import alive, changed, clip, environ, reel, start, viralsync, wait_until
from tests.servers.postgres import postgres_server
from tests.test_faults import encoding, parent_of
from tests.test_ui import TOOLS, answers, free_port
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.jobs.run_config import ops_config
from viralsync_pipelines.orchestrator.runs import DagsterRuns
from viralsync_pipelines.settings import Settings

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_LOCATION = {"repositoryLocationName": "viralsync", "repositoryName": "__repository__"}
_ANSWER = """{__typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message} ... on RunConfigValidationInvalid {errors {message}}}"""


@dataclass
class Recorder:
    """A home whose web server answers, and its instance."""

    home: Path
    port: int
    daemon: int
    instance: dg.DagsterInstance
    storage: str
    more: Mapping[str, str]

    # ---- driving -----------------------------------------------------------------------------------------------------

    def ask(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        said = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=120, trust_env=False).json()
        assert "errors" not in said, said
        return said["data"]

    def launch(self, movie: str, mark: str, tags: Mapping[str, str], *, assets: list[str] | None = None, preset: str = "turbo") -> str:
        """A run of render_movie; of the implicit asset job, as the UI's Materialize launches it, when assets are named."""
        selector = {**_LOCATION, "jobName": "render_movie" if assets is None else "__ASSET_JOB"}
        if assets is not None:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        config = {} if assets is not None else {"ops": ops_config({"variables": {"mark": mark}}), "execution": {"config": {"qualityPreset": preset}}}
        tags = {"dagster/partition": movie, **tags}
        params = {
            "selector": selector, "runConfigData": config, "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }  # fmt: skip
        return self._launched(self.ask(f"mutation($p: ExecutionParams!) {{launchRun(executionParams: $p) {_ANSWER}}}", p=params)["launchRun"])

    def again(self, run_id: str, strategy: str) -> str:
        """The UI's Re-execute: ALL_STEPS or FROM_FAILURE."""
        query = f"mutation($p: ReexecutionParams!) {{launchRunReexecution(reexecutionParams: $p) {_ANSWER}}}"
        return self._launched(self.ask(query, p={"parentRunId": run_id, "strategy": strategy})["launchRunReexecution"])

    def _launched(self, said: Any) -> str:
        assert said["__typename"] == "LaunchRunSuccess", said
        return str(said["run"]["runId"])

    def terminate(self, run_id: str, policy: str = "SAFE_TERMINATE") -> None:
        query = "mutation($r: String!, $p: TerminateRunPolicy!) {terminateRun(runId: $r, terminatePolicy: $p) {__typename}}"
        said = self.ask(query, r=run_id, p=policy)["terminateRun"]
        assert said["__typename"] == "TerminateRunSuccess", said

    def ended(self, run_id: str, *ways: str) -> str:
        """How it ended, which has to be one of these ways."""

        def status() -> str | None:
            run = self.instance.get_run_by_id(run_id)
            return run.status.value if run is not None and run.status.value in ENDED else None

        ended = str(wait_until(status, 900, 0.3))
        # Dagster logs that the run's process is gone after its end.
        time.sleep(1.5)
        if ended not in ways:
            kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.PIPELINE_FAILURE, dg.DagsterEventType.ENGINE_EVENT}
            told = [entry.get_dagster_event() for entry in self.instance.all_logs(run_id, of_type=kinds)]
            raise AssertionError(f"{run_id} ended {ended}: {[(event.message, str(event.event_specific_data)) for event in told]}")
        return ended

    def at_work(self) -> dict[int, str]:
        found: dict[int, str] = wait_until(lambda: encoding(self.home), 600)
        return found

    def worker(self, run_id: str) -> int:
        for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            found = re.search(r"Started process for run \(pid: (\d+)\)", entry.get_dagster_event().message or "")
            if found is not None:
                return int(found[1])
        raise AssertionError("the run's log names no process")

    def environ(self) -> dict[str, str]:
        return environ(self.home, **self.more)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def keep(self, name: str, about: str, *run_ids: str) -> None:
        """Write the runs of one job, in order."""
        source = DagsterRuns(self.instance, lambda _instance, runs: dict.fromkeys(runs, 0))
        facts = {run.run_id: run for run in source.changed(None)}
        runs = []
        for run_id in run_ids:
            events, cursor, more = [], None, True
            while more:
                page = source.events(run_id, cursor)
                cursor, more = page.cursor, page.more
                events += [[event.kind, event.at_ms, event.step, dict(event.data)] for event in page.events]
            runs.append({"facts": dataclasses.asdict(facts[run_id]), "events": events})
        lines = [json.dumps({"facts": run["facts"]})[:-1] + ', "events": [\n' + ",\n".join(map(_plain, run["events"])) + "\n]}" for run in runs]
        text = f'{{"about": {json.dumps(about)}, "storage": "{self.storage}", "runs": [\n' + ",\n".join(lines) + "\n]}\n"
        for path, told in ((self.home, "/studio/home"), (self.home.parent, "/studio"), (ROOT, "/viralsync")):
            text = text.replace(str(path), told)
        json.loads(text)
        path = HERE / f"{self.storage}_{name}.json"
        path.write_text(text)
        kinds = [facts[run_id].status for run_id in run_ids]
        print(f"{path.name}: {len(text) / 1000:.1f} kB, {[len(run['events']) for run in runs]} events, {kinds}", flush=True)


def _plain(event: list[Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def tags(name: str, **more: str) -> dict[str, str]:
    """As the gateway sets them. A job id that tells its recording."""
    number = f"{sum(map(ord, name)) * 2654435761 % 16**12:012x}"
    return {"viralsync/job_id": f"job_{number}", "viralsync/project_id": "proj_recorded", "viralsync/channel": "main", **more}


# ---- what is recorded ------------------------------------------------------------------------------------------------


def success(at: Recorder) -> None:
    run = at.launch("short", "success", tags("success", **{"viralsync/size": "39", "dagster/priority": "5"}))
    at.ended(run, "SUCCESS")
    at.keep("success", "three scenes and two spoken lines, through the queue", run)


def all_cached(at: Recorder) -> None:
    run = at.launch("short", "success", tags("all_cached"))
    at.ended(run, "SUCCESS")
    at.keep("all_cached", "the same film once more: every clip is in the cache", run)


def scene_failed(at: Recorder) -> None:
    run = at.launch("cut", "failed", tags("scene_failed"))
    at.ended(run, "FAILURE")
    at.keep("scene_failed", "the second of three scenes fails while it is rendered: its source is cut short", run)


def refused(at: Recorder) -> None:
    run = at.launch("wrong", "refused", tags("refused"))
    at.ended(run, "FAILURE")
    at.keep("refused", "a movie that cannot be planned", run)


def step_killed(at: Recorder) -> None:
    first = at.launch("long", "step", tags("step_killed"))
    os.kill(parent_of(next(iter(at.at_work()))), signal.SIGKILL)
    at.ended(first, "FAILURE")
    second = at.again(first, "FROM_FAILURE")
    at.ended(second, "SUCCESS")
    at.keep("step_killed", "kill -9 of a scene's process; then Dagster's re-execution FROM_FAILURE, which makes only what is missing", first, second)


def worker_killed(at: Recorder) -> None:
    first = at.launch("long", "worker", tags("worker_killed"))
    at.at_work()
    os.kill(at.worker(first), signal.SIGKILL)
    at.ended(first, "FAILURE")
    wait_until(lambda: not encoding(at.home), 60)
    second = at.again(first, "ALL_STEPS")
    at.ended(second, "SUCCESS")
    at.keep("worker_killed", "kill -9 of the run's worker; then Dagster's re-execution of ALL_STEPS", first, second)


def cancelled(at: Recorder) -> None:
    first = at.launch("long", "cancel", tags("cancelled"), preset="stable")
    at.at_work()
    at.terminate(first)
    at.ended(first, "CANCELED")
    second = at.again(first, "FROM_FAILURE")
    at.ended(second, "FAILURE")
    third = at.again(second, "ALL_STEPS")
    at.ended(third, "SUCCESS")
    at.keep(
        "cancelled", "cancelled at work; then FROM_FAILURE, which forgets scenes that had never begun; then ALL_STEPS",
        first, second, third,
    )  # fmt: skip


def cancelled_in_queue(at: Recorder) -> None:
    # Nobody takes it out of the queue meanwhile.
    os.kill(at.daemon, signal.SIGSTOP)
    try:
        run = at.launch("short", "queue", tags("cancelled_in_queue"))
        at.terminate(run)
        at.ended(run, "CANCELED")
    finally:
        os.kill(at.daemon, signal.SIGCONT)
    at.keep("cancelled_in_queue", "cancelled while it stood in the queue", run)


def cancelled_by_force(at: Recorder) -> None:
    run = at.launch("long", "force", tags("cancelled_by_force"), preset="stable")
    at.at_work()
    at.terminate(run, "MARK_AS_CANCELED_IMMEDIATELY")
    at.ended(run, "CANCELED")
    wait_until(lambda: not encoding(at.home), 60)
    time.sleep(5)
    at.keep("cancelled_by_force", "noted as cancelled at once; its processes go on for a moment and log what they do", run)


def interrupted(at: Recorder) -> None:
    """In the foreground of a command, which nobody but Ctrl-C ends."""
    before = set(at.instance.get_run_ids())
    worker = start(at.home, "render", at.home.parent / "long" / "long.json", "-o", at.home.parent / "x.mp4", "--set", 'mark="ctrl-c"', **at.more)
    at.at_work()
    worker.send_signal(signal.SIGINT)
    worker.wait(60)
    (run,) = set(at.instance.get_run_ids()) - before
    at.ended(run, "CANCELED")
    at.keep("interrupted", "`viralsync render` in a terminal, ended by Ctrl-C", run)


def retried(at: Recorder) -> None:
    """Dagster's own retry of a step."""
    names = tags("retried")
    result = dg.execute_job(dg.reconstructable(retrying_job), instance=at.instance, tags=names, raise_on_error=True)
    at.keep("retried", "a scene fails and is tried again by Dagster's RetryPolicy", result.run_id)


def launched_in_ui(at: Recorder) -> None:
    run = at.launch("short", "", {}, assets=["movie"])
    at.ended(run, "SUCCESS")
    second = at.again(run, "ALL_STEPS")
    at.ended(second, "SUCCESS")
    at.keep("launched_in_ui", "Materialize of the asset movie in Dagster's UI, without any tags; then Re-execute", run, second)


def narrated_in_ui(at: Recorder) -> None:
    run = at.launch("long", "", {}, assets=["narration"])
    at.ended(run, "SUCCESS")
    at.keep("narrated_in_ui", "Materialize of the asset narration alone", run)


def both_in_ui(at: Recorder) -> None:
    run = at.launch("short", "", {}, assets=["narration", "movie"])
    at.ended(run, "SUCCESS")
    at.keep("both_in_ui", "Materialize of both assets", run)


def pool_wait(at: Recorder) -> None:
    tool = [str(TOOLS / "dagster"), "instance", "concurrency", "set", "ffmpeg", "1"]
    subprocess.run(tool, env={**at.environ(), "DAGSTER_HOME": str(at.home / "dagster")}, check=True, capture_output=True)
    run = at.launch("long", "pool", tags("pool_wait"))
    at.ended(run, "SUCCESS")
    at.keep("pool_wait", "the pool ffmpeg has one place: scenes wait for it", run)


RECORDINGS: tuple[Callable[[Recorder], None], ...] = (
    success, all_cached, scene_failed, refused, step_killed, worker_killed, cancelled, cancelled_by_force, interrupted, retried,
    launched_in_ui, narrated_in_ui, both_in_ui, cancelled_in_queue, pool_wait,
)  # fmt: skip


# ---- where -----------------------------------------------------------------------------------------------------------


def make_movies(base: Path, home: Path, more: Mapping[str, str]) -> None:
    def mark(document: dict[str, Any]) -> None:
        document["variables"] = {"mark": "0"}
        for scene in document["scenes"]:
            scene["layers"][1]["text"] += " {{ mark }}"

    def cut(document: dict[str, Any]) -> None:
        mark(document)
        whole = clip(base / "cut" / "cut.mkv")
        whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.97)])
        document["scenes"][1]["layers"][0] = {"type": "video", "src": "cut.mkv", "width": "100%", "muted": True}
        document["scenes"][1]["duration"] = "auto"
        document["scenes"][1]["layers"][1]["duration"] = 0.5
        # A transition into the next scene would show the source there too.
        del document["scenes"][2]["transition"]

    def wrong(document: dict[str, Any]) -> None:
        mark(document)
        document["scenes"][1]["layers"][0] = {"type": "image", "src": "nowhere.png"}

    made = [
        changed(reel(base / "short", 3, movie_id="short"), mark),
        changed(reel(base / "long", 4, movie_id="long", seconds=1.5), mark),
        changed(reel(base / "cut", 3, movie_id="cut", voice=False), cut),
        changed(reel(base / "wrong", 3, movie_id="wrong", voice=False), wrong),
    ]
    viralsync(home, "movies", "add", *made, env=more)


@contextmanager
def recorder(storage: str) -> Iterator[Recorder]:
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="viralsync-recording-", ignore_cleanup_errors=True)))
        home = base / "home"
        more = {"DATABASE_URL": stack.enter_context(postgres_server())} if storage == "postgres" else {}
        settings = Settings.from_env({"VIRALSYNC_HOME": str(home), **more}, cwd=base)
        os.environ.update({"DAGSTER_HOME": str(dagster_home(settings)), "VIRALSYNC_HOME": str(home), **more})
        if not more:
            os.environ.pop("DATABASE_URL", None)
        make_movies(base, home, more)
        port = free_port()
        servers = [
            [str(TOOLS / "dagster-webserver"), "-w", str(home / "dagster" / "workspace.yaml"), "-p", str(port)],
            [str(TOOLS / "dagster-daemon"), "run", "-w", str(home / "dagster" / "workspace.yaml")],
        ]
        env = {**environ(home, **more), "DAGSTER_HOME": str(home / "dagster")}
        log = stack.enter_context((base / "servers.log").open("ab"))
        processes = [subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True) for argv in servers]
        stack.callback(_end, processes, home)
        wait_until(lambda: answers(port), 180, 0.3)
        with open_instance(settings, os.environ) as instance:
            yield Recorder(home, port, processes[1].pid, instance, storage, more)


def _end(processes: list[subprocess.Popen[bytes]], home: Path) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        process.wait(60)
    for pid in alive(home):
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    storages = [word for word in sys.argv[1:] if word in {"sqlite", "postgres"}] or ["sqlite", "postgres"]
    names = [word for word in sys.argv[1:] if word not in {"sqlite", "postgres"}]
    for storage in storages:
        with recorder(storage) as at:
            for record in RECORDINGS:
                if not names or record.__name__ in names:
                    record(at)


if __name__ == "__main__":
    main()
