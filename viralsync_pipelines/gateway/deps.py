"""What the gateway's routes work with, put together once by whoever starts it and found at `app.state.deps`.

What belongs here: the list. What does not: opening databases, stores and boards (the command line does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.gateway.known_keys import KnownKeys
from viralsync_pipelines.gateway.limiting import Limiter
from viralsync_pipelines.gateway.plans import Plans
from viralsync_pipelines.generate.sealing import SEALING
from viralsync_pipelines.speech.engine import NO_MEANS, Means
from viralsync_pipelines.storage.accounts import Accounts

if TYPE_CHECKING:
    from viralsync_pipelines.board.board import Board
    from viralsync_pipelines.board.printed import OutputSource
    from viralsync_pipelines.generate.desk import Desk
    from viralsync_pipelines.jobs.orders import Launcher
    from viralsync_pipelines.storage.database import Database
    from viralsync_pipelines.storage.store import Store


@dataclass(frozen=True)
class Deps:
    """host: the address the server is bound to; it decides whether a request without a key is heard. keys: look-ups of `accounts`,
    kept for a moment. token_secret: signs the short tokens of streams; the same in every gateway on this database.
    api_base_url: the gateway's address as others know it, None for what the request says.
    """

    board: Board
    launcher: Launcher
    database: Database
    store: Store
    host: str
    now_ms: Callable[[], int]
    plans: Plans
    accounts: Accounts
    keys: KnownKeys
    limiter: Limiter
    token_secret: bytes
    reported: ReportedJobs
    api_base_url: str | None = None
    # Where steps' captured output is read; Dagster's UI, for links; private hosts that callbacks may go to.
    output: OutputSource | None = None
    dagster_url: str | None = None
    allow_hosts: tuple[str, ...] = ()
    # Where generation is done; without one nothing is generated. Seals the keys of providers that come with a plan.
    desk: Desk | None = None
    seal_secret: bytes = b""
    # What speech engines are asked for their voices with.
    speech: Means = NO_MEANS


def put_together(
    *,
    board: Board,
    launcher: Launcher,
    database: Database,
    store: Store,
    host: str,
    now_ms: Callable[[], int],
    reported: ReportedJobs | None = None,
    plans: Plans | None = None,
    limiter: Limiter | None = None,
    api_base_url: str | None = None,
    output: OutputSource | None = None,
    dagster_url: str | None = None,
    allow_hosts: tuple[str, ...] = (),
    desk: Desk | None = None,
    speech: Means = NO_MEANS,
) -> Deps:
    """Deps with everything that stands on the database alone made from it. The database is migrated."""
    accounts = Accounts(database, now_ms)
    return Deps(
        board=board,
        launcher=launcher,
        database=database,
        store=store,
        host=host,
        now_ms=now_ms,
        plans=plans or Plans(),
        accounts=accounts,
        keys=KnownKeys(accounts),
        limiter=limiter or Limiter(),
        token_secret=accounts.shared_secret("stream-tokens"),
        reported=reported or ReportedJobs(database, now_ms),
        api_base_url=api_base_url,
        output=output,
        dagster_url=dagster_url,
        allow_hosts=allow_hosts,
        desk=desk,
        seal_secret=accounts.shared_secret(SEALING) if desk is not None else b"",
        speech=speech,
    )


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps
