"""Dagster's state in SQLite and in PostgreSQL, on connections that stay open: every event is there for every process, in one order."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
import sqlalchemy

from tests.reels import reel, viralsync
from tests.servers.postgres import PostgresServer
from viralsync_pipelines.defs import home_postgres
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.home_postgres import PostgresHome
from viralsync_pipelines.defs.home_sqlite import Engines
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.errors import DatabaseUnavailable
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage import tables
from viralsync_pipelines.storage.connections import postgres_url
from viralsync_pipelines.storage.database import VERSION_TABLE, Database

# Dagster 1.13 calls what it deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def held(folder: Path) -> set[str]:
    """Databases below a folder that this process has open."""
    targets = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return {str(target) for target in targets if target.is_relative_to(folder) and target.suffix == ".db"}


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    context.log.info("at work")


@dg.job
def job() -> None:
    work()


def instance_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    (home / "dagster.yaml").write_text(
        "storage: {custom: {module: viralsync_pipelines.defs.home, class: HomeStorage, config: {}}}\ntelemetry: {enabled: false}\n", encoding="utf-8"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("VIRALSYNC_HOME", str(home))
    return dg.DagsterInstance.get()


def test_events_of_many_runs_are_read_back_and_few_databases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_in(tmp_path, monkeypatch) as instance:
        runs = [job.execute_in_process(instance=instance).run_id for _ in range(Engines.MOST + 8)]
        for run in (*runs, *reversed(runs)):
            said = [e.user_message for e in instance.all_logs(run) if not e.is_dagster_event]
            assert said == ["at work"]
            assert 0 < len(held(tmp_path)) <= Engines.MOST + 2
        assert instance.get_runs_count() == len(runs)
    assert held(tmp_path) == set()


def test_a_fork_opens_connections_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's locks belong to a process: what a parent opened must not be used by its child."""
    engines = Engines()
    url = f"sqlite:///{tmp_path / 'x.db'}"
    mine = engines.of(url)
    assert engines.of(url) is mine
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert engines.of(url) is not mine
    monkeypatch.undo()
    engines.close()


def test_two_processes_write_one_run_and_both_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is another process than its run: each writes while the other has the database open."""
    with instance_in(tmp_path, monkeypatch) as instance:
        run = job.execute_in_process(instance=instance)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with instance_in(tmp_path, monkeypatch) as other:
                    other.report_engine_event("from the child", run.dagster_run)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        instance.report_engine_event("from the parent", run.dagster_run)
        messages = [event.message for event in instance.all_logs(run.run_id)]
        assert any("from the child" in m for m in messages)
        assert any("from the parent" in m for m in messages)


# ---- both storages ----------------------------------------------------------------------------------------------------


@pytest.fixture
def instance(dagster_storage: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(dagster_storage, os.environ) as opened:
        yield opened


def queued(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run with one event, that no process works on."""
    run = instance.create_run_for_job(job)
    instance.report_engine_event("queued", run)
    return run


@contextmanager
def queries() -> Iterator[list[str]]:
    """The statements sent to any database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def test_the_projects_instance_keeps_a_run_and_its_events(instance: dg.DagsterInstance) -> None:
    done = job.execute_in_process(instance=instance)
    assert done.success
    assert [e.user_message for e in instance.all_logs(done.run_id) if not e.is_dagster_event] == ["at work"]
    assert instance.get_run_record_by_id(done.run_id) is not None


def test_looking_up_a_run_is_one_query(instance: dg.DagsterInstance) -> None:
    """Dagster asks for the table's columns each time as well, which costs more than the run."""
    run = queued(instance)
    assert instance.get_run_record_by_id(run.run_id) is not None
    with queries() as seen:
        assert instance.get_run_record_by_id(run.run_id) is not None
        assert instance.get_run_by_id(run.run_id) is not None
    assert len(seen) == 2, seen


def test_a_mark_changes_when_an_event_is_stored_and_else_stays(instance: dg.DagsterInstance, dagster_storage: Settings) -> None:
    # More than there are databases kept open: those of runs that nobody works on are closed and opened again by reading them.
    runs = [queued(instance) for _ in range(Engines.MOST + 4)]
    ids = [run.run_id for run in runs]

    def read() -> None:
        for run in ids:
            assert len(instance.all_logs(run)) == 1

    read()
    before = event_marks(instance, ids)
    assert set(before) == set(ids)
    assert None not in before.values()
    for _ in range(3):
        read()
        assert event_marks(instance, ids) == before
    # Another process, or another instance, is seen as this one is.
    with open_instance(dagster_storage, os.environ) as other:
        for storing, run in ((instance, runs[0]), (other, runs[5]), (other, runs[0])):
            storing.report_engine_event("more", run)
            after = event_marks(instance, ids)
            assert {run for run in ids if after[run] != before[run]} == {run.run_id}
            assert event_marks(instance, ids) == after
            before = after
    instance.delete_run(ids[1])
    assert event_marks(instance, ids)[ids[1]] != before[ids[1]]


def test_a_run_without_events_has_a_mark_too(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(job)
    before = event_marks(instance, [run.run_id, "nobody"])
    assert before == event_marks(instance, [run.run_id, "nobody"])
    instance.report_engine_event("first", run)
    after = event_marks(instance, [run.run_id, "nobody"])
    assert after[run.run_id] != before[run.run_id]
    assert after["nobody"] == before["nobody"]
    assert event_marks(instance, []) == {}


def test_any_other_storage_always_may_have_grown() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = queued(instance)
        assert event_marks(instance, [run.run_id]) != event_marks(instance, [run.run_id])


def test_what_marks_cost(instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]) -> None:
    """No promise in time; one in queries: none on SQLite, one on PostgreSQL, however many runs."""
    ids = [queued(instance).run_id for _ in range(50)]
    event_marks(instance, ids)
    times = []
    with queries() as seen:
        for _ in range(20):
            begun = time.perf_counter()
            event_marks(instance, ids)
            times.append(time.perf_counter() - begun)
    on_server = os.environ.get("DATABASE_URL") is not None
    assert len(seen) == (20 if on_server else 0)
    with capsys.disabled():
        print(f"\nmarks of 50 runs on {'PostgreSQL' if on_server else 'SQLite'}: {sorted(times)[10] * 1000:.2f} ms")


@on_sqlite
def test_a_mark_waits_for_the_commit(instance: dg.DagsterInstance, dagster_storage: Settings) -> None:
    """A commit is seen by readers after the file has been written: a mark taken in between must differ from one taken after it."""
    run = queued(instance).run_id
    with closing(sqlite3.connect(dagster_storage.dagster_home / "history" / "runs" / f"{run}.db", isolation_level=None)) as writer:
        log = Path(f"{dagster_storage.dagster_home}/history/runs/{run}.db-wal")
        before, size = event_marks(instance, [run]), log.stat().st_size
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        # More than is kept in memory.
        writer.execute("INSERT INTO event_logs (run_id, event, timestamp) VALUES (?, ?, '2026-01-01')", (run, "x" * 500_000))
        assert log.stat().st_size > size
        assert event_marks(instance, [run]) == before
        writer.execute("COMMIT")
        assert event_marks(instance, [run]) != before


# ---- PostgreSQL -------------------------------------------------------------------------------------------------------


def backends(server: PostgresServer, url: str) -> set[int]:
    """Process ids of the server's connections to that database."""
    name = url.rpartition("/")[2]
    return {pid for (pid,) in server.command(f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'")}


def settled(look: Callable[[], Any], wanted: Any) -> Any:
    """What `look` finds once it is `wanted`, or in the end."""
    give_up = time.monotonic() + 30
    while (found := look()) != wanted and time.monotonic() < give_up:
        time.sleep(0.01)
    return found


@on_postgres
def test_calls_share_connections_that_end_with_the_instance(dagster_storage: Settings, database_url: str, postgres: PostgresServer) -> None:
    with open_instance(dagster_storage, os.environ) as instance:
        run = queued(instance)
        mine = backends(postgres, database_url)
        assert len(mine) == 1
        for _ in range(5):
            job.execute_in_process(instance=instance)
            instance.get_run_record_by_id(run.run_id)
            instance.all_instigator_state()
        assert backends(postgres, database_url) >= mine
        assert len(backends(postgres, database_url)) <= 3
    assert settled(lambda: backends(postgres, database_url), set()) == set()


@on_postgres
def test_a_fork_connects_anew(dagster_storage: Settings, database_url: str, postgres: PostgresServer) -> None:
    with open_instance(dagster_storage, os.environ) as instance:
        run = queued(instance)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                instance.report_engine_event("from the child", run)
                status = 0
            finally:
                os._exit(status)
        instance.report_engine_event("from the parent", run)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        messages = {event.message for event in instance.all_logs(run.run_id)}
        assert {"from the child", "from the parent"} <= messages


@on_postgres
def test_no_event_of_a_run_is_seen_before_an_earlier_one(dagster_storage: Settings, database_url: str, postgres: PostgresServer) -> None:
    """Steps write side by side. Whoever has read on to an event never has to look back for one with a lower number."""
    with open_instance(dagster_storage, os.environ) as instance:
        run, other = queued(instance), queued(instance)
        entry = instance.all_logs(run.run_id)[0]
        storage: Any = instance.event_log_storage
        # A process that has sent its event and is not done yet.
        slow = sqlalchemy.create_engine(postgres_url(database_url))
        sqlalchemy.event.listen(slow, "before_cursor_execute", home_postgres._in_order, retval=True)
        with slow.connect() as connection:
            connection.execute(storage.prepare_insert_event(entry))
            before = event_marks(instance, [run.run_id])
            second = threading.Thread(target=storage.store_event, args=(entry,))
            second.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            assert settled(lambda: postgres.command(waiting), [(1,)]) == [(1,)]
            # Other runs are not held up.
            instance.report_engine_event("other", other)
            assert len(instance.all_logs(other.run_id)) == 2
            assert event_marks(instance, [run.run_id]) == before
            assert len(instance.all_logs(run.run_id)) == 1
            connection.commit()
        second.join(30)
        assert len(instance.all_logs(run.run_id)) == 3
        slow.dispose()


@on_postgres
def test_a_web_servers_statements_have_a_limit(dagster_storage: Settings, database_url: str) -> None:
    with open_instance(dagster_storage, os.environ) as instance:
        storage: Any = instance.event_log_storage

        def limit() -> str:
            with storage.index_connection() as connection:
                return str(connection.execute(sqlalchemy.text("SHOW statement_timeout")).scalar())

        assert limit() == "0"
        instance.optimize_for_webserver(statement_timeout=15000, pool_recycle=3600, max_overflow=20)
        assert limit() == "15s"
        assert instance.get_runs_count() == 0
        assert instance.all_instigator_state() == []


@pytest.mark.parametrize("storage", ["postgres", "sqlite"])
def test_processes_that_start_at_once_make_dagsters_tables_once(storage: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """`viralsync up` starts three servers at the same moment, the first time on an empty database. Stamped twice, a SQLite home could
    never be opened again."""
    server: PostgresServer | None = request.getfixturevalue("postgres") if storage == "postgres" else None
    url = server.create() if server is not None else ""
    make = f"PostgresHome({url!r})" if url else f"HomeStorage.from_local({str(tmp_path / 'dagster')!r})"
    program = (
        "import sys\n"
        "from viralsync_pipelines.defs.home import HomeStorage, read_migrations_once\n"
        "from viralsync_pipelines.defs.home_postgres import PostgresHome\n"
        "read_migrations_once()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        f"home = {make}\n"
        "assert home.run_storage.get_runs_count() == 0\n"
        "assert home.schedule_storage.all_instigator_state() == []\n"
    )
    count = 3 if server is not None else 6
    starting = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in starting:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in starting]
    assert [process.returncode for process in starting] == [0] * count, said
    assert said == [""] * count
    if server is not None:
        server.drop(url)
        return
    for file in (tmp_path / "dagster").rglob("*.db"):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,), file


def test_a_server_that_is_away_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_postgres, "_PAUSES_S", (0.01, 0.01))
    with pytest.raises(DatabaseUnavailable, match=r"PostgreSQL of DATABASE_URL does not answer .*start it, or check DATABASE_URL") as caught:
        PostgresHome("postgresql://me:s3cret@127.0.0.1:1/studio")
    assert "s3cret" not in str(caught.value)


@on_postgres
def test_own_tables_and_dagsters_stand_in_one_database(dagster_storage: Settings, database: Database, database_url: str) -> None:
    """Each with its own migrations: neither takes the other's tables or revisions for its own."""
    with open_instance(dagster_storage, os.environ) as instance:
        database.migrate()
        instance.upgrade()
        database.check()
        assert job.execute_in_process(instance=instance).success
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        there = [name for (name,) in cursor.fetchall()]
        cursor.execute(f"SELECT (SELECT version_num FROM {VERSION_TABLE}), (SELECT version_num FROM alembic_version)")
        own, dagsters = cursor.fetchall()[0]
    assert set(tables.metadata.tables) < set(there)
    assert "event_logs" in there
    # Dagster takes a database with one of these tables for its own.
    assert not {"runs", "jobs", "schedules", "event_logs", "instance_info"} & set(tables.metadata.tables)
    assert own != dagsters


@on_postgres
def test_a_film_is_rendered_with_all_state_in_postgresql(dagster_storage: Settings, database: Database, database_url: str, tmp_path: Path) -> None:
    """Its steps are processes of their own, forked from one another, and all of them write there."""
    movie = reel(tmp_path / "movie", 2, voice=False)
    done = viralsync(dagster_storage.home, "render", "--json", movie, "-o", tmp_path / "film.mp4", env={"DATABASE_URL": database_url})
    answer = json.loads(done.stdout)
    assert Path(answer["path"]).stat().st_size > 1000
    with open_instance(dagster_storage, os.environ) as instance:
        run = instance.get_run_by_id(answer["runId"])
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        entries = instance.all_logs(run.run_id)
        assert {f"movie.render_scene[scene_00{n}]" for n in (1, 2)} <= {entry.step_key for entry in entries}
    assert not (dagster_storage.dagster_home / "history").exists()
    database.check()
