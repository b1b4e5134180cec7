"""`viralsync up`: Dagster's web UI and daemon, the Jobs API and the sandbox provider with one command, ended together.

What belongs here: starting and ending the processes. What does not: what they serve.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.gateway import PORT
from viralsync_pipelines.cli.sandbox import PORT as SANDBOX_PORT
from viralsync_pipelines.errors import SettingsError

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings

_PR_SET_PDEATHSIG = 1
_REPLICATE_KEY = "REPLICATE_API_TOKEN"
# Dagster's servers end their own children, running films included, when they are asked to.
_GRACE_S = 10.0


def add_to(commands: Any) -> None:
    """The command's arguments."""
    up = commands.add_parser("up", help="start the Dagster UI, the daemon, the Jobs API and the sandbox; Ctrl-C ends all")
    up.add_argument("--port", type=int, default=3001, help="port of the Dagster UI (default 3001)")
    up.add_argument("--host", default="127.0.0.1", help="address of the Dagster UI; it has no login, so keep it inside")
    up.add_argument("--api-port", type=int, default=PORT, help=f"port of the Jobs API (default {PORT})")
    up.add_argument("--api-host", default="127.0.0.1", help="address of the Jobs API; others can reach it only once an API key exists")
    up.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT, help=f"port of the sandbox (default {SANDBOX_PORT}; 0: none)")
    up.set_defaults(run=up_command)


def up_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.instance import dagster_home

    _check_free(args.host, args.port, "--port")
    _check_free(args.api_host, args.api_port, "--api-port")
    if args.sandbox_port:
        _check_free("127.0.0.1", args.sandbox_port, "--sandbox-port")
    home = dagster_home(settings)
    _bring_up_to_date(args.api_host, settings)
    env = environment_of(os.environ, settings, home, api=f"http://{_reached(args.api_host)}:{args.api_port}", sandbox=args.sandbox_port)
    tools, workspace = Path(sys.executable).parent, ["-w", str(home / "workspace.yaml")]
    commands = {
        "ui": [str(tools / "dagster-webserver"), *workspace, "-h", args.host, "-p", str(args.port)],
        "daemon": [str(tools / "dagster-daemon"), "run", *workspace],
        "gateway": [
            sys.executable, "-m", "viralsync_pipelines.cli.main", "gateway", "--host", args.api_host, "--port", str(args.api_port),
            "--dagster", f"http://{_reached(args.host)}:{args.port}",
        ],
    }  # fmt: skip
    if args.sandbox_port:
        commands["sandbox"] = [
            sys.executable, "-m", "viralsync_pipelines.cli.main", "sandbox", "--port", str(args.sandbox_port),
        ]  # fmt: skip
    if not os.environ.get(_REPLICATE_KEY) and env.get(_REPLICATE_KEY):
        print(f"No {_REPLICATE_KEY}: models of Replicate are played by the sandbox, as far as it knows them.", flush=True)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    print(f"Dagster UI: http://{args.host}:{args.port}", flush=True)
    print(f"Jobs API:   http://{args.api_host}:{args.api_port}   (/docs shows all of it; Ctrl-C ends everything)", flush=True)
    call = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def end_with_us() -> None:
        # Runs between fork and exec: should this process be killed, the servers are asked to end all the same.
        if call is not None:
            call(_PR_SET_PDEATHSIG, signal.SIGTERM)

    processes = {
        name: subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=end_with_us)  # noqa: S603, PLW1509 - our own programs
        for name, command in commands.items()
    }
    status = 0
    while not stopping:
        ended = next((name for name, process in processes.items() if process.poll() is not None), None)
        if ended is not None:
            print(f"The {ended} ended with status {processes[ended].returncode}; stopping the rest.", file=sys.stderr)
            status = 1
            break
        time.sleep(0.2)
    _end(list(processes.values()))
    return status


def environment_of(
    environ: Mapping[str, str], settings: Settings, dagster_home: Path, *, api: str, sandbox: int
) -> dict[str, str]:  # fmt: skip
    """What the processes of `up` are told. api: the gateway as this machine reaches it. sandbox: its port, 0 for none."""
    env = {**environ, "VIRALSYNC_HOME": str(settings.home)}
    env.setdefault("DAGSTER_HOME", str(dagster_home))
    # What is generated is fetched by the daemon's runs, and told to the gateway: all of them on this machine.
    env.setdefault("VIRALSYNC_LOCAL_URL", api)
    if sandbox:
        address = f"http://127.0.0.1:{sandbox}/v1"
        env.setdefault("SANDBOX_BASE_URL", address)
        if not environ.get(_REPLICATE_KEY) and not environ.get("REPLICATE_BASE_URL"):
            # So that the first plan of the guide runs without an account; told when it is so.
            env |= {_REPLICATE_KEY: "sandbox", "REPLICATE_BASE_URL": address}
    return env


def _bring_up_to_date(api_host: str, settings: Settings) -> None:
    """The project's own tables, once, before three processes want them; and keys, before the API is where others reach it."""
    from viralsync_pipelines.cli.gateway import now_ms
    from viralsync_pipelines.gateway.auth import check_bind
    from viralsync_pipelines.storage.accounts import Accounts
    from viralsync_pipelines.storage.database import open_database

    database = open_database(settings.database_url, settings.home)
    try:
        database.migrate()
        check_bind(api_host, Accounts(database, now_ms))
    finally:
        database.close()


def _reached(host: str) -> str:
    """An address to connect to, for one that is listened on."""
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound


def _check_free(host: str, port: int, option: str) -> None:
    """Told before anything is started: the web server would only end, some seconds later and in other words."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise SettingsError(f"{host}:{port} cannot be used ({error.strerror or error}); choose another with {option}") from error


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask first, insist after ten seconds; whatever is left of their process groups goes in the end."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
