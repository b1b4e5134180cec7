"""The sensor that sends callbacks: every five seconds it takes up what changed, and sends what is due.

What belongs here: the sensor, and putting together what it works with. What does not: which messages there are and what is metered
(board/outgoing.py), sending (board/deliveries.py).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from viralsync_pipelines.board.deliveries import Sender, deliver_due
from viralsync_pipelines.board.outgoing import Jobs, collect
from viralsync_pipelines.board.results import output_url_at
from viralsync_pipelines.defs.kept import kept
from viralsync_pipelines.defs.resources import settings_now
from viralsync_pipelines.errors import DatabaseBehind
from viralsync_pipelines.jobs.callbacks import OutputUrl
from viralsync_pipelines.storage.database import Database

# Dagster gives a tick 60 s: ten for looking, these, and fifteen for the last requests begun.
SENDING_S = 20.0


@dataclass(frozen=True)
class Post:
    """What a tick works with."""

    jobs: Jobs
    database: Database
    sender: Sender
    output_url: OutputUrl


def callbacks_sensor(open_post: Callable[[dg.DagsterInstance], Post] | None = None) -> dg.SensorDefinition:
    """The sensor; on as soon as the daemon runs. It starts no runs."""

    @dg.sensor(
        minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING, name="callbacks",
        description="Sends callbacks of jobs that changed, signed, in order and until they are received; counts render minutes.",
    )  # fmt: skip
    def callbacks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        post = open_post(context.instance) if open_post is not None else kept(context, _posts, new_post)
        try:
            look = collect(post.jobs, post.database, context.cursor, post.output_url, post.sender.now_ms)
            sent = deliver_due(post.sender, budget_s=SENDING_S)
        except DatabaseBehind as error:
            # Dagster was started without `viralsync up`, which makes the tables. Nothing is lost: the cursor stays where it is.
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(sent.verdicts.items()))
        return dg.SensorResult(
            cursor=look.cursor, skip_reason=dg.SkipReason(f"{look.queued} new, {look.metered} metered; sent: {told or 'none'}")
        )

    return callbacks


_posts: dict[str, Post] = {}


def new_post(instance: dg.DagsterInstance) -> Post:
    """As the environment says."""
    from viralsync_pipelines.defs.home import event_marks
    from viralsync_pipelines.orchestrator.runs import open_board
    from viralsync_pipelines.storage.accounts import Accounts
    from viralsync_pipelines.storage.database import open_database

    settings = settings_now()
    database = open_database(settings.database_url, settings.home)
    accounts = Accounts(database, now_ms)
    sender = Sender(
        database, lambda workspace: (accounts.workspace(workspace) or accounts.ensure_workspace(workspace)).webhook_secret, now_ms,
        allow=settings.allow_hosts,
    )  # fmt: skip
    board = open_board(instance, database, event_marks, now_ms)
    return Post(board, database, sender, output_url_at(settings.api_base_url or settings.local_gateway))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
