"""`viralsync up`: Dagster's web UI and daemon with one command, ended together.

What belongs here: starting and ending the processes. What does not: what they serve.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from viralsync_pipelines.settings import Settings


def add_to(commands: Any) -> None:
    """The command's arguments."""
    up = commands.add_parser("up", help="start the Dagster UI and the daemon; Ctrl-C ends both")
    up.add_argument("--port", type=int, default=3001, help="port of the Dagster UI (default 3001)")
    up.add_argument("--host", default="127.0.0.1", help="address of the Dagster UI; it has no login, so keep it inside")
    up.set_defaults(run=up_command)


def up_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.instance import dagster_home

    env = {**os.environ, "VIRALSYNC_HOME": str(settings.home)}
    env.setdefault("DAGSTER_HOME", str(dagster_home(settings)))
    module = ["-m", "viralsync_pipelines.definitions"]
    tools = Path(sys.executable).parent
    commands = {
        "ui": [str(tools / "dagster-webserver"), *module, "-h", args.host, "-p", str(args.port)],
        "daemon": [str(tools / "dagster-daemon"), "run", *module],
    }
    print(f"Dagster UI: http://{args.host}:{args.port}   (Ctrl-C ends everything)", flush=True)
    processes = {name: subprocess.Popen(command, env=env, start_new_session=True) for name, command in commands.items()}  # noqa: S603 - our own programs
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: stopping.append(got))
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


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask first, insist after ten seconds."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
