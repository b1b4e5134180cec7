"""The real gateway over a real database, and an engine that does what a test says; served on loopback, sockets and all.

What belongs here: putting it together and serving it. What does not: the engine itself (engine.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.servers.app import listening_socket
from tests.servers.engine import Clock, Film, ScriptedLauncher, ScriptedOutput, ScriptedRuns
from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.gateway.app import build_app
from viralsync_pipelines.gateway.deps import Deps, put_together
from viralsync_pipelines.gateway.known_keys import KnownKeys
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore
from viralsync_pipelines.storage.snapshots import KeptEnds
from viralsync_pipelines.storage.store import Store

MOVIE: Mapping[str, Any] = {
    "id": "intro", "width": 640, "height": 360, "fps": 30,
    "scenes": [{"id": f"s{n}", "duration": 1, "bgColor": "#1a1a2e", "layers": []} for n in (1, 2, 3)],
}  # fmt: skip


@dataclass
class Gateway:
    """Everything behind the API, at hand."""

    clock: Clock
    runs: ScriptedRuns
    launcher: ScriptedLauncher
    printed: ScriptedOutput
    database: Database
    store: Store
    deps: Deps
    app: Any
    url: str = ""
    loop: asyncio.AbstractEventLoop | None = None
    # Of tests that generate: tests.puppet.Bench.
    bench: Any = None
    _clients: list[httpx.Client] = field(default_factory=list)

    @property
    def board(self) -> Board:
        return self.deps.board

    def client(self, secret: str | None = None) -> httpx.Client:
        """A client that shows this key, or none; closed with the gateway."""
        headers = {} if secret is None else {"x-api-key": secret}
        # verify: nothing here is encrypted, and reading certificates takes longer than a test.
        self._clients.append(httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60, verify=False))
        return self._clients[-1]

    def key(self, workspace: str = "default", *, plan: str | None = None, read_only: bool = False) -> str:
        self.deps.accounts.ensure_workspace(workspace, plan)
        return self.deps.accounts.create_key("a test's", workspace, read_only=read_only)[0]

    def film(self, job_id: str | None = None, scenes: int = 3, **facts: Any) -> Film:
        """A film in the queue, as if it was launched from somewhere."""
        return Film(self.runs, self.runs.create(job_id or new_id(), **facts), scenes)

    def film_of(self, job_id: str, scenes: int = 3) -> Film:
        """The last run of a job that was submitted."""
        return Film(self.runs, self.runs.runs_of(job_id)[-1].run_id, scenes)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def new_id() -> str:
    return "job_" + secrets.token_hex(6)


def order_of(**more: Any) -> dict[str, Any]:
    """A body for POST /v1/render/jobs."""
    return {"kind": "movie", "projectId": "proj_abc123", "movie": dict(MOVIE), **more}


def built(
    database: Database, folder: Path, *, heartbeat_s: float = 15.0, store: Store | None = None, beside: Gateway | None = None, **given: Any
) -> Gateway:  # fmt: skip
    """The app, not yet served. beside: another gateway over the same engine. given: for put_together."""
    clock = Clock() if beside is None else beside.clock
    runs, printed = (ScriptedRuns(clock), ScriptedOutput()) if beside is None else (beside.runs, beside.printed)
    launcher = ScriptedLauncher(runs) if beside is None else beside.launcher
    kept = store or LocalStore(folder / "store")
    reported = ReportedJobs(database, clock)
    board = Board(runs, clock, reports=reported, snapshots=KeptEnds(database, clock))
    deps = put_together(
        **{
            "board": board, "launcher": launcher, "database": database, "store": kept, "host": "127.0.0.1", "now_ms": clock,
            "reported": reported, "output": printed, "dagster_url": "http://127.0.0.1:3001", **given,
        }
    )  # fmt: skip
    deps = dataclasses.replace(deps, keys=KnownKeys(deps.accounts, lambda: clock.ms / 1000))
    return Gateway(clock, runs, launcher, printed, database, kept, deps, build_app(deps, heartbeat_s=heartbeat_s))


@contextmanager
def gateway(database: Database, folder: Path, *, send_buffer: int | None = None, **given: Any) -> Iterator[Gateway]:
    made = built(database, folder, **given)
    with serving(made, send_buffer):
        yield made


@contextmanager
def serving(made: Gateway, send_buffer: int | None = None) -> Iterator[None]:
    """At made.url until the block ends; streams that are still open then are ended first. send_buffer: bytes that the kernel takes off
    the server's hands before a reader reads them; by default some MB."""
    with listening_socket() as listening:
        if send_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(made.app, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False)
        server = uvicorn.Server(config)

        async def serve() -> None:
            made.loop = asyncio.get_running_loop()
            await server.serve(sockets=[listening])

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="gateway")
        thread.start()
        try:
            yield
        finally:
            made.close()
            until(lambda: server.started or not thread.is_alive())
            if made.loop is not None:
                asyncio.run_coroutine_threadsafe(made.app.state.hub.close(), made.loop).result(10)
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread brings about; a test that waits for half a minute has failed."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


def main(home: str) -> None:
    """A process of its own, served as `viralsync gateway` serves: says its address and a running job's id, and ends by a signal."""
    from viralsync_pipelines.storage.database import open_database

    database = open_database(None, Path(home))
    database.migrate()
    made = built(database, Path(home))
    film = made.film().start()
    with listening_socket() as listening:
        # Longer than any test waits: whatever is still open then would hold the process up.
        server = uvicorn.Server(uvicorn.Config(made.app, log_config=None, access_log=False, timeout_graceful_shutdown=600))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", made.runs.run(film.run_id).job_id, flush=True)
        server.run(sockets=[listening])
    database.close()


if __name__ == "__main__":
    main(sys.argv[1])
