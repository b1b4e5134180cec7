"""`viralsync gateway`: the HTTP API alone; `viralsync up` starts it beside Dagster.

What belongs here: opening what the gateway works with, and serving it. What does not: routes (gateway/).
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings

PORT = 3000


def add_to(commands: Any) -> None:
    """The command's arguments."""
    gateway = commands.add_parser("gateway", help="start the HTTP Jobs API alone; `up` starts it with everything else")
    gateway.add_argument("--port", type=int, default=PORT, help=f"port of the API (default {PORT})")
    gateway.add_argument("--host", default="127.0.0.1", help="address of the API; others can reach it only once an API key exists")
    gateway.add_argument("--dagster", default="http://127.0.0.1:3001", help="where Dagster's web server is (default http://127.0.0.1:3001)")
    gateway.set_defaults(run=gateway_command)


def gateway_command(args: argparse.Namespace, settings: Settings) -> int:
    import uvicorn

    from viralsync_pipelines.board.reported import ReportedJobs
    from viralsync_pipelines.board.results import output_url_at
    from viralsync_pipelines.defs.desks import open_desk
    from viralsync_pipelines.defs.home import event_marks
    from viralsync_pipelines.defs.instance import open_instance
    from viralsync_pipelines.defs.studio import store_without_dagster
    from viralsync_pipelines.defs.voices import means_of
    from viralsync_pipelines.gateway.app import build_app
    from viralsync_pipelines.gateway.auth import check_bind
    from viralsync_pipelines.gateway.deps import put_together
    from viralsync_pipelines.gateway.plans import load_plans
    from viralsync_pipelines.generate.saying import speak_up
    from viralsync_pipelines.orchestrator.captured import CapturedOutput
    from viralsync_pipelines.orchestrator.graphql import DagsterApi
    from viralsync_pipelines.orchestrator.runs import open_board
    from viralsync_pipelines.storage.database import open_database

    settings.home.mkdir(parents=True, exist_ok=True)
    settings = replace(settings, local_gateway=settings.local_gateway or f"http://127.0.0.1:{args.port}")
    database = open_database(settings.database_url, settings.home)
    database.migrate()
    with open_instance(settings, os.environ) as instance:
        launcher, store = DagsterApi(args.dagster), store_without_dagster(settings)
        reported = ReportedJobs(database, now_ms, output_url=output_url_at(settings.api_base_url or settings.local_gateway))
        desk = open_desk(settings, database, store, now_ms, reported=reported)
        deps = put_together(
            board=open_board(instance, database, event_marks, now_ms, reported), reported=reported, launcher=launcher, database=database,
            store=store, host=args.host, now_ms=now_ms, plans=load_plans(settings.plans_file),
            api_base_url=settings.api_base_url, output=CapturedOutput(instance), dagster_url=args.dagster, allow_hosts=settings.allow_hosts,
            desk=desk, speech=means_of(settings),
        )  # fmt: skip
        check_bind(args.host, deps.accounts)
        speak_up()
        config = uvicorn.Config(
            build_app(deps, cors_origins=settings.cors_origins), host=args.host, port=args.port, log_level="warning", access_log=False,
            timeout_graceful_shutdown=5, server_header=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.run()
        launcher.close()
    database.close()
    return 0 if server.started else 1


def now_ms() -> int:
    return time.time_ns() // 1_000_000
