"""Rows of generation that a run held when it died: the sensor sees by Dagster that it is over, and another run has them at the next look."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tests.puppet import image
from tests.test_films import Stage
from viralsync_pipelines.defs.build import build_defs
from viralsync_pipelines.defs.generating import APPEAR_MS, BEGIN_MS, tick_with
from viralsync_pipelines.generate import ledger as moves
from viralsync_pipelines.storage.database import Database

# Dagster 1.13 calls what it deprecated itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def look(stage: Stage) -> list[dg.RunRequest]:
    return list(tick_with(stage.kit, "submit_generations", "collect_generations").run_requests or ())


def run(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> str:
    """As Dagster makes it for a sensor."""
    job = build_defs().resolve_job_def("submit_generations")
    tags = {"dagster/run_key": request.run_key or ""}
    made = instance.create_run_for_job(job, run_config=request.run_config, status=status, tags=tags)
    return made.run_id


def test_rows_of_a_run_that_is_over_go_to_another_at_once(database: Database, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        stage = Stage(database, tmp_path / "bench", instance)
        bench = stage.bench
        execution = bench.open([image("ready"), image("sent")])
        (request,) = look(stage)
        run_id = run(instance, request, dg.DagsterRunStatus.STARTED)
        moves.begin_submit(bench.desk.ledger, bench.row(execution, "sent"), bench.clock.now() + 600_000)
        bench.clock.wait(APPEAR_MS + 1)
        assert look(stage) == []
        assert bench.row(execution, "sent").stage == "submitting"
        killed = instance.get_run_by_id(run_id)
        assert killed is not None
        instance.report_run_failed(killed)
        (again,) = look(stage)
        assert again.run_key != request.run_key
        assert bench.row(execution, "ready").batch == again.run_key
        assert bench.row(execution, "sent").stage == "unsure"
        assert bench.puppet.orders == []


def test_rows_whose_run_was_never_made_wait_a_minute_and_a_half_for_it(database: Database, tmp_path: Path) -> None:
    """A tick that dies between the two: Dagster makes its runs when it is over."""
    assert APPEAR_MS < BEGIN_MS
    with dg.DagsterInstance.ephemeral() as instance:
        stage = Stage(database, tmp_path / "bench", instance)
        execution = stage.bench.open([image("a")])
        (request,) = look(stage)
        stage.bench.clock.wait(APPEAR_MS - 1)
        assert look(stage) == []
        stage.bench.clock.wait(1)
        (again,) = look(stage)
        assert stage.bench.row(execution, "a").batch == again.run_key != request.run_key
