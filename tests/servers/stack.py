"""The whole product as processes: web server, daemon and gateway on a home of their own, each to be killed and started alone.

What belongs here: starting and ending them, and the few requests that every test makes. What does not: what is expected of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.reels import alive, command, environ, wait_until
from tests.servers.receiver import unused_port
from viralsync_pipelines.defs.instance import dagster_home
from viralsync_pipelines.settings import Settings

TOOLS = Path(sys.executable).parent
NAMES = ("web", "daemon", "gateway")
TERMINAL = frozenset({"done", "failed", "cancelled"})


def small(movie_id: str, scenes: int = 2, seconds: float = 0.3, **more: Any) -> dict[str, Any]:
    """A film of drawn titles without a voice, which needs nothing from elsewhere. Its scenes say `{{ mark }}`."""
    parts = [
        {
            "id": f"s{n}", "duration": seconds, "bgColor": f"#3366{n % 100:02d}",
            "layers": [{"type": "text", "text": f"{movie_id} {n} {{{{ mark }}}}", "fontSize": 40, "color": "#ffffff"}],
        }
        for n in range(1, scenes + 1)
    ]  # fmt: skip
    return {"id": movie_id, "width": 360, "height": 360, "fps": 30, "variables": {"mark": "x"}, "scenes": parts, **more}


@dataclass
class Stack:
    """The processes and their addresses. `processes` holds those that were started and not been waited for."""

    home: Path
    web_port: int
    api_port: int
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    sandbox_port: int = field(default_factory=unused_port)
    sandbox_options: tuple[str, ...] = ()

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    # ---- processes ---------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        workspace = ["-w", str(self.home / "dagster" / "workspace.yaml")]
        argv = {
            "web": [str(TOOLS / "dagster-webserver"), *workspace, "-h", "127.0.0.1", "-p", str(self.web_port)],
            "daemon": [str(TOOLS / "dagster-daemon"), "run", *workspace],
            "gateway": command("gateway", "--port", str(self.api_port), "--dagster", self.web),
            "up": command("up", "--port", str(self.web_port), "--api-port", str(self.api_port), "--sandbox-port", str(self.sandbox_port)),
            "sandbox": command("sandbox", "--port", str(self.sandbox_port), "--seconds", "0.5", *self.sandbox_options),
        }  # fmt: skip
        for name in names:
            with (self.home.parent / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    argv[name], env=dict(self.environment), cwd=self.home.parent, stdout=log, stderr=log, start_new_session=True
                )

    def kill(self, name: str) -> None:
        """SIGKILL for this process alone; what it started lives on, as it would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(30)

    def stop(self, name: str, seconds: float = 30.0) -> int:
        """As by Ctrl-C; its exit status."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(seconds)

    def log(self, name: str) -> str:
        path = self.home.parent / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def answers(self, url: str) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log(name)[-3000:]}"
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, seconds: float = 180.0) -> None:
        """Until jobs are accepted: the gateway says so once Dagster's web server has loaded the code."""
        wait_until(lambda: self.answers(f"{self.web}/server_info"), seconds, 0.1)
        wait_until(lambda: self.answers(f"{self.api}/healthz"), seconds, 0.1)

    def end(self) -> None:
        """Ask all of them, insist after a while; nothing that works in this home is left."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        deadline = time.monotonic() + 20
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait(30)
        for pid in alive(self.home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- requests ----------------------------------------------------------------------------------------------------

    @contextmanager
    def client(self, **more: Any) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.api, timeout=30, trust_env=False, **more) as client:
            yield client

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"{self.api}{path}", timeout=90, trust_env=False, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.api}{path}", json=body, timeout=60, trust_env=False, **more)

    def submit(self, movie: Mapping[str, Any], **more: Any) -> str:
        """An accepted job's id."""
        answer = self.post("/v1/render/jobs", {"kind": "movie", "projectId": "p", "movie": movie, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, job_id: str, seconds: float = 240.0) -> dict[str, Any]:
        """The job once it has ended, waited for as a client does who asks the server to hold its reply."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.get(f"/v1/jobs/{job_id}", headers={"prefer": "wait=20"})
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            if job["status"] in TERMINAL:
                return job
            assert time.monotonic() < deadline, f"{job_id} did not end: {job}\n{self.log('daemon')[-2000:]}"

    def children(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/v1/jobs/{job_id}/children").json()["jobs"]
        return found

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """Every change of a job's family, in order."""
        events: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.get(f"/v1/jobs/{job_id}/events", params={"after": after, "limit": 500}).json()
            events += page["events"]
            if page["nextAfter"] is None:
                return events
            after = page["nextAfter"]

    def ask(self, query: str, **variables: Any) -> Any:
        """Dagster's web server, as its UI asks it."""
        said = httpx.post(f"{self.web}/graphql", json={"query": query, "variables": variables}, timeout=120, trust_env=False).json()
        assert "errors" not in said, said
        return said["data"]

    def materialize(self, assets: list[str], partition: str) -> str:
        """What the UI's button does: the implicit asset job, a selection, a partition, no configuration and no tags of ours."""
        params = {
            "selector": {
                "repositoryLocationName": "viralsync", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [name]} for name in assets],
            },
            "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }  # fmt: skip
        query = """mutation($p: ExecutionParams!) {launchPipelineExecution(executionParams: $p) {
            __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
        said = self.ask(query, p=params)["launchPipelineExecution"]
        assert said["__typename"] == "LaunchRunSuccess", json.dumps(said)
        return str(said["run"]["runId"])


@contextmanager
def stack(base: Path, *, database_url: str | None = None, start: tuple[str, ...] = NAMES, **environment: str) -> Iterator[Stack]:
    """A stack in a folder of its own, ready unless `start` is empty; nothing of it is left afterwards. environment: more variables."""
    home = base / "home"
    folder = dagster_home(Settings(home=home, store=(home / "store").as_uri()))
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    env = environ(home, DAGSTER_HOME=str(folder), **environment)
    made = Stack(home, unused_port(), unused_port(), env)
    made.environment = {
        **env, "API_BASE_URL": environment.get("API_BASE_URL", made.api), "VIRALSYNC_LOCAL_URL": made.api,
        "SANDBOX_BASE_URL": f"http://127.0.0.1:{made.sandbox_port}/v1",
    }  # fmt: skip
    try:
        if start:
            made.start(*start)
            made.wait_ready()
        yield made
    finally:
        made.end()
