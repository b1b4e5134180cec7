"""A whole sandbox: everything opened in order and closed in order, and the server that `viralsync sandbox` runs.

What belongs here: putting the parts together. What does not: any of them.
"""

from __future__ import annotations

import fcntl
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from starlette.applications import Starlette

from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.http import open_client
from viralsync_pipelines.sandbox.agenda import Agenda
from viralsync_pipelines.sandbox.canned import Shelf
from viralsync_pipelines.sandbox.ledger import Ledger
from viralsync_pipelines.sandbox.making import Maker
from viralsync_pipelines.sandbox.mischief import Dice, Mischief
from viralsync_pipelines.sandbox.server import Desk
from viralsync_pipelines.sandbox.signing import kept_secret
from viralsync_pipelines.sandbox.sources import Sources, own_file
from viralsync_pipelines.sandbox.telling import PAUSES_S, Telling
from viralsync_pipelines.sandbox.working import Pace, Workshop

PORT = 3002
# Webhooks and inputs on this machine are what a sandbox is for.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A clip takes a second to make; what is done at once shows nobody how waiting looks.
SECONDS = 2.0


def system_ms() -> int:
    return time.time_ns() // 1_000_000


def fresh_id() -> str:
    """26 letters and digits, as there."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(26))


@contextmanager
def open_sandbox(
    folder: Path, *, pace: Pace | None = None, mischief: Mischief | None = None, allow: tuple[str, ...] = LOOPBACK,
    creates_per_minute: int | None = None, pauses_s: tuple[float, ...] = PAUSES_S, now_ms: Callable[[], int] = system_ms,
    new_id: Callable[[], str] = fresh_id,
) -> Iterator[Starlette]:  # fmt: skip
    """The ASGI application of the sandbox that lives in `folder`, at work until the block ends.

    allow: private hosts that webhooks and inputs may reach. pauses_s: between the tries of a last webhook.
    Raises SettingsError when another sandbox is at work in this folder.
    """
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(folder))
        ledger = Ledger(folder / "predictions.sqlite")
        stack.callback(ledger.close)
        secret, dice = kept_secret(folder), Dice(mischief or Mischief())
        client = stack.enter_context(open_client(allow=allow))
        agenda = Agenda()
        telling = Telling(
            ledger, secret, client, dice, agenda, now_ms=now_ms, new_id=lambda: f"msg_{new_id()}", pauses_s=pauses_s
        )  # fmt: skip
        stack.callback(telling.close)
        maker = Maker(Sources(client, own_file(ledger, files)))
        workshop = Workshop(
            ledger, telling, dice, agenda, maker, Shelf(folder / "canned"), files, pace or Pace(seconds=SECONDS), now_ms
        )  # fmt: skip
        stack.callback(workshop.close)
        # First of all: nothing that was due is begun while the rest is being closed.
        stack.callback(agenda.close)
        workshop.start()
        yield Desk(ledger, workshop, telling, dice, secret, files, now_ms, new_id, creates_per_minute).app()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two at once would make what is under way twice, and tell of it twice."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"a sandbox is at work in {folder} already; end that one, or choose another folder") from error
        yield


def run_sandbox(
    folder: Path, host: str = "127.0.0.1", port: int = PORT, *, pace: Pace | None = None, mischief: Mischief | None = None,
    allow: tuple[str, ...] = (), creates_per_minute: int | None = None,
) -> int:  # fmt: skip
    """Serve until SIGINT or SIGTERM. 0, or 1 when the port cannot be had.

    Keep it on loopback: any token opens it, and it reaches loopback for whoever asks.
    """
    import uvicorn

    with open_sandbox(folder, pace=pace, mischief=mischief, allow=(*LOOPBACK, *allow), creates_per_minute=creates_per_minute) as app:
        config = uvicorn.Config(
            app, host=host, port=port, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=5,
            server_header=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.run()
    return 0 if server.started else 1
