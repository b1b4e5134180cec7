"""Webhook and poll racing on two processes, on both databases, a thousand times with `make test-slow`: one outcome each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.puppet import bench_at, image
from viralsync_pipelines.generate.submit import submit_batch
from viralsync_pipelines.storage.database import Database

ROOT = Path(__file__).parents[1]
RACER = """
import sys
from pathlib import Path
from tests.puppet import bench_at, done
from viralsync_pipelines.generate import outcomes, records
from viralsync_pipelines.generate.provider import Blame, Fault
from viralsync_pipelines.generate.settle import Outcome, failed
from viralsync_pipelines.storage.database import open_database

url, home, by = sys.argv[1:4]
database = open_database(url or None, Path(home))
bench = bench_at(database, Path(home) / by)
outcome = Outcome("done", done("https://x.test/a.png").outputs) if by == "webhook" else failed(Fault(Blame.POLICY, "CONTENT_REFUSED", "no"), 9)
with database.reading() as connection:
    rows = records.where(connection, records.row.stage == "waiting")
print("ready", flush=True)
sys.stdin.readline()
won = [row.id for row in rows if outcomes.settle_row(bench.desk.ledger, row, outcome, by)]
print(" ".join(won))
"""


@pytest.mark.parametrize("rounds", [60, pytest.param(1_000, marks=pytest.mark.slow)])
def test_of_a_webhook_and_a_poll_on_two_processes_one_decides_each_time(
    rounds: int, database: Database, database_url: str | None, tmp_path: Path
) -> None:  # fmt: skip
    """Executions of twenty jobs: both processes go through all of them, from the same end."""
    bench = bench_at(database, tmp_path / "bench")
    jobs = [image(f"j{n}", model="puppet/image") for n in range(20)]
    executions = [bench.open(jobs) for _ in range(rounds // len(jobs))]
    while bench.take("ready", f"b{bench.clock.ms}"):
        submit_batch(bench.desk, f"b{bench.clock.ms}")
        bench.clock.wait(1)
    command = [sys.executable, "-c", RACER, database_url or "", str(tmp_path / "home")]
    racers = [
        subprocess.Popen([*command, by], cwd=ROOT, env=dict(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for by in ("webhook", "poll")
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    won = {}
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for by, racer in zip(("webhook", "poll"), racers, strict=True):
        said, _ = racer.communicate(timeout=300)
        assert racer.returncode == 0
        won[by] = set(said.split())
    rows = [row for execution in executions for row in bench.rows(execution)]
    assert len(rows) == rounds
    assert won["webhook"] | won["poll"] == {row.id for row in rows}
    assert not won["webhook"] & won["poll"]
    assert all((row.settled_by == "webhook") == (row.id in won["webhook"]) for row in rows)
    assert all((row.stage == "settled") == (row.settled_by == "webhook") for row in rows)
    for execution in executions:
        family = bench.reported.family(execution)
        assert family is not None
        settled = {row.id: row.settled_by for row in bench.rows(execution)}
        assert all((child.status == "running") == (settled[child.id] == "webhook") for child in family.children.values())
