"""`viralsync sandbox`: a provider of generated media on this machine, for trying webhooks and polling without an account.

What belongs here: the command. What does not: the sandbox itself (sandbox/).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings

PORT = 3002


def add_to(commands: Any) -> None:
    """The command's arguments."""
    sandbox = commands.add_parser("sandbox", help="start the sandbox provider alone; `up` starts it with everything else")
    sandbox.add_argument("--port", type=int, default=PORT, help=f"its port on this machine (default {PORT})")
    sandbox.add_argument("--seconds", type=float, default=2.0, help="how long a job takes at least (default 2)")
    sandbox.add_argument("--canned", action="store_true", help="hand out media made once, in another copy for each job: for loads")
    sandbox.set_defaults(run=sandbox_command)


def sandbox_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.sandbox.running import LOOPBACK, run_sandbox
    from viralsync_pipelines.sandbox.working import Pace

    # On loopback whatever happens: any token opens it.
    run_sandbox(
        settings.home / "sandbox", "127.0.0.1", args.port, pace=Pace(seconds=args.seconds, canned=args.canned),
        allow=(*LOOPBACK, *settings.allow_hosts),
    )  # fmt: skip
    return 0
