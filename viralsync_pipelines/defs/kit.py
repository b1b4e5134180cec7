"""What the runs and the sensor of generation work with in one process: the desk, and the board by which films of a plan are followed.

What belongs here: opening and keeping it. What does not: what is done with it (generating.py, films.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from viralsync_pipelines.board.board import Board
from viralsync_pipelines.defs.callbacks import now_ms
from viralsync_pipelines.defs.desks import open_desk
from viralsync_pipelines.defs.kept import kept
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.saying import speak_up

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database


@dataclass(frozen=True)
class Kit:
    """instance: Dagster's, for starting runs. board: jobs of runs."""

    desk: Desk
    board: Board
    instance: dg.DagsterInstance
    database: Database

    def close(self) -> None:
        self.desk.calls.client.close()
        self.database.close()


_kits: dict[str, Kit] = {}


def kit_of(context: dg.SensorEvaluationContext) -> Kit:
    """Kept from tick to tick."""
    return kept(context, _kits, new_kit)


def new_kit(instance: dg.DagsterInstance) -> Kit:
    """As the environment says."""
    from viralsync_pipelines.defs.home import event_marks
    from viralsync_pipelines.orchestrator.runs import open_board
    from viralsync_pipelines.storage.database import open_database

    speak_up()
    settings = settings_now()
    database = open_database(settings.database_url, settings.home)
    desk = open_desk(settings, database, store_of(settings), now_ms)
    return Kit(desk, open_board(instance, database, event_marks, now_ms), instance, database)
