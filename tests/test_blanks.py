"""Databases by copy: each run's event database is as Dagster itself makes it, appears whole, and is never put in another's place."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import dagster as dg
import pytest

from tests.test_home import instance_in, job
from viralsync_pipelines.defs.blanks import Blanks


def schema_of(file: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        rows += connection.execute("SELECT * FROM alembic_version").fetchall()
        rows += connection.execute("PRAGMA journal_mode").fetchall()
    connection.close()
    return rows


def test_a_copied_database_is_as_dagster_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_in(tmp_path, monkeypatch) as instance:
        runs = [job.execute_in_process(instance=instance).run_id for _ in range(2)]
        for run in runs:
            assert [e.user_message for e in instance.all_logs(run) if not e.is_dagster_event] == ["at work"]
    folder = tmp_path / "dagster" / "history"
    (blank,) = folder.glob("blank-*.db")
    assert blank.name == f"blank-{dg.__version__}.db"
    assert {path.name for path in folder.iterdir()} - {"runs.db-shm", "runs.db-wal"} == {blank.name, "runs", "runs.db"}
    made = tmp_path / "other"
    made.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Blanks, "lay", lambda *_: False)
        with instance_in(made, patch) as instance:
            own = job.execute_in_process(instance=instance).run_id
    assert schema_of(folder / "runs" / f"{runs[1]}.db") == schema_of(made / "dagster" / "history" / "runs" / f"{own}.db") == schema_of(blank)


def test_of_many_at_once_one_puts_it_there_and_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(file: Path) -> None:
        made.append(file)
        file.write_bytes(b"blank")

    blanks = Blanks(tmp_path, "1", make)
    barrier, laid = threading.Barrier(8), list[bool]()

    def lay() -> None:
        barrier.wait()
        laid.append(blanks.lay(tmp_path / "runs.db"))

    threads = [threading.Thread(target=lay) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(laid) == [False] * 7 + [True]
    (tmp_path / "runs.db").write_bytes(b"events")
    assert blanks.lay(tmp_path / "runs.db") is False
    assert (tmp_path / "runs.db").read_bytes() == b"events"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank-1.db", "runs.db"]


def test_another_version_makes_its_own_and_takes_the_old_one_away(tmp_path: Path) -> None:
    for version in ("1", "2"):
        blanks = Blanks(tmp_path, version, lambda file, version=version: file.write_text(version))  # type: ignore[misc]
        assert blanks.lay(tmp_path / f"{version}.db")
        assert (tmp_path / f"{version}.db").read_text() == version
    assert [path.name for path in tmp_path.glob("blank-*")] == ["blank-2.db"]


def test_a_disk_that_takes_no_links_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster makes the database itself there."""

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with instance_in(tmp_path, monkeypatch) as instance:
        run = job.execute_in_process(instance=instance).run_id
        assert [e.user_message for e in instance.all_logs(run) if not e.is_dagster_event] == ["at work"]
