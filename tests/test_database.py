"""The door to the project's own tables: the same promises over SQLite and PostgreSQL."""

from __future__ import annotations

import os
import select as waiting
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc, func, insert, select, text, update

from tests.servers.postgres import PostgresServer
from viralsync_pipelines.errors import DatabaseBehind, DatabaseError, DatabaseTooNew, DatabaseUnavailable, SettingsError
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage import connections, ledger_tables, tables
from viralsync_pipelines.storage.connections import open_postgres, postgres_url
from viralsync_pipelines.storage.database import FILE, VERSION_TABLE, Database, insert_once, open_database

VERSIONS = Path(tables.__file__).parent / "migrations" / "versions"


def workspace(name: str, plan: str = "free") -> dict[str, Any]:
    return {"id": name, "plan": plan, "webhook_secret": "whsec_x", "created_ms": 1}


def plans(database: Database) -> dict[str, str]:
    with database.reading() as connection:
        return {row.id: row.plan for row in connection.execute(select(tables.workspaces))}


def together(work: Callable[[int], None], count: int) -> None:
    """Run in threads that start at once; what any of them raised."""
    gate, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        with closing(open_database(None, tmp_path / "empty")) as database:
            yield database
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create()
        with closing(open_database(url, tmp_path)) as database:
            yield database
        server.drop(url)


# ---- transactions -----------------------------------------------------------------------------------------------------


def test_what_a_block_writes_is_kept_and_what_raises_is_undone(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(tables.workspaces), [workspace("a"), workspace("b")])
    with suppress(ZeroDivisionError), database.writing() as connection:
        connection.execute(tables.workspaces.delete())
        raise ZeroDivisionError
    assert plans(database) == {"a": "free", "b": "free"}


def test_a_reader_sees_one_state_however_long_it_reads(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(tables.workspaces), workspace("a"))
    with database.reading() as connection:
        before = connection.execute(select(func.count()).select_from(tables.workspaces)).scalar()
        with database.writing() as other:
            other.execute(insert(tables.workspaces), workspace("b"))
        after = connection.execute(select(func.count()).select_from(tables.workspaces)).scalar()
    assert (before, after) == (1, 1)
    assert set(plans(database)) == {"a", "b"}


def test_a_reader_cannot_write(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(exc.DBAPIError, match=r"read-?only"), database.reading() as connection:
            connection.execute(insert(tables.workspaces), workspace("a"))
        # On the same connection a writer still may.
        with database.writing() as connection:
            connection.execute(tables.workspaces.delete())
    assert plans(database) == {}


def test_writers_that_change_what_they_read_lose_nothing(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(tables.workspaces), workspace("a", "0"))
    row = tables.workspaces.c.id == "a"

    def count(_: int) -> None:
        for _ in range(10):
            with database.writing() as connection:
                plan = connection.execute(select(tables.workspaces.c.plan).where(row).with_for_update()).scalar_one()
                connection.execute(update(tables.workspaces).where(row).values(plan=str(int(plan) + 1)))

    together(count, 8)
    assert plans(database) == {"a": "80"}


def test_one_of_many_inserts_a_key(database: Database) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        for key in range(10):
            with database.writing() as connection:
                if insert_once(connection, tables.workspaces, workspace(f"w{key}", str(number))):
                    won.append(key)

    together(claim, 6)
    assert sorted(won) == list(range(10))
    # A key that the database itself hands out is no obstacle.
    with database.writing() as connection:
        assert insert_once(connection, tables.deliveries, {"message_id": "m", "at_ms": 1, "took_ms": 1})


def test_what_a_statement_gets_wrong_comes_as_sqlalchemy_has_it(database: Database) -> None:
    with pytest.raises(exc.IntegrityError), database.writing() as connection:
        connection.execute(insert(tables.workspaces), [workspace("a"), workspace("a")])


def test_more_threads_than_connections_are_all_served(database: Database) -> None:
    inside = threading.Barrier(2 * connections.KEPT + 3)

    def read(_: int) -> None:
        with database.reading() as connection:
            connection.execute(select(tables.workspaces)).all()
            inside.wait(60)

    together(read, inside.parties)


def test_a_fork_has_connections_of_its_own(database: Database) -> None:
    """Two processes on one connection would read each other's answers, and SQLite's locks belong to a process."""
    assert plans(database) == {}
    pool = database.engine.pool
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert database.engine.pool is not pool
            with database.writing() as connection:
                connection.execute(insert(tables.workspaces), workspace("from the child"))
            status = 0
        finally:
            os._exit(status)
    with database.writing() as connection:
        connection.execute(insert(tables.workspaces), workspace("from the parent"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database.engine.pool is pool
    assert set(plans(database)) == {"from the child", "from the parent"}


def test_a_closed_database_opens_again(database: Database) -> None:
    database.close()
    assert plans(database) == {}


# ---- migrations -------------------------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, ledger_tables.metadata) == []


def test_migrations_are_numbered_without_a_gap() -> None:
    """The door knows a database's age by the names of these files alone."""
    found = {}
    for file in sorted(VERSIONS.glob("[0-9]*.py")):
        said: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), said)
        found[file.name[:4]] = (said["revision"], said["down_revision"])
    numbers = [f"{number:04}" for number in range(1, len(found) + 1)]
    assert found == {number: (number, None if number == "0001" else f"{int(number) - 1:04}") for number in numbers}


def test_a_database_without_tables_says_how_to_get_them(empty: Database) -> None:
    for action in (empty.check, lambda: plans(empty)):
        with pytest.raises(DatabaseBehind, match="run `viralsync up`") as caught:
            action()
        assert caught.value.code == "DATABASE_BEHIND"
    empty.migrate()
    empty.check()
    assert plans(empty) == {}
    with empty.writing() as connection:
        connection.execute(insert(tables.workspaces), workspace("a"))
    empty.migrate()
    assert plans(empty) == {"a": "free"}


def test_a_newer_database_is_refused_and_left_alone(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9001'"))
    for action in (database.check, database.migrate):
        with pytest.raises(DatabaseTooNew, match=r"newer ViralSync.*9001.*upgrade ViralSync") as caught:
            action()
        assert caught.value.code == "DATABASE_TOO_NEW"
    with database.reading() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "9001"


def test_a_migration_that_fails_leaves_nothing_behind(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables made before the fault are gone again: the next try starts from where this one did."""
    from alembic import op

    real = op.create_table

    def create_table(name: str, *args: Any, **more: Any) -> Any:
        if name == "usage":
            raise ZeroDivisionError
        return real(name, *args, **more)

    monkeypatch.setattr(op, "create_table", create_table)
    with pytest.raises(ZeroDivisionError):
        empty.migrate()
    monkeypatch.undo()
    with empty.reading() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
    empty.migrate()
    empty.check()


def test_processes_and_threads_that_migrate_at_once_do_it_once(empty: Database, tmp_path: Path) -> None:
    url = None if empty.engine.name == "sqlite" else empty.engine.url.render_as_string(hide_password=False)
    home = tmp_path / "empty"
    program = (
        "import pathlib, sys\n"
        "from viralsync_pipelines.storage.database import open_database\n"
        "import alembic.command\n"
        f"database = open_database({url!r}, pathlib.Path({str(home)!r}))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "database.migrate(); database.check(); database.close()\n"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    together(lambda _: empty.migrate(), 3)
    for other in others:
        other.communicate(timeout=60)
    assert [other.returncode for other in others] == [0, 0, 0]
    empty.check()
    with empty.reading() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {VERSION_TABLE}")).scalar() == 1


def test_looking_at_the_age_needs_no_alembic(tmp_path: Path) -> None:
    """It takes 0.3 s to import, and the gateway looks at every start."""
    with closing(open_database(None, tmp_path)) as database:
        database.migrate()
    program = (
        "import pathlib, sys\n"
        "from viralsync_pipelines.storage.database import open_database\n"
        f"database = open_database(None, pathlib.Path({str(tmp_path)!r}))\n"
        "database.migrate(); database.check(); database.close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- what goes wrong --------------------------------------------------------------------------------------------------


def test_opening_touches_nothing(tmp_path: Path) -> None:
    open_database(None, tmp_path / "home").close()
    assert not (tmp_path / "home" / FILE).exists()
    open_database("postgresql://127.0.0.1:1/nowhere", tmp_path).close()


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    database = open_database("postgresql://me:s3cret@127.0.0.1:1/studio", tmp_path)
    for action in (database.check, database.migrate):
        with pytest.raises(DatabaseUnavailable, match=r"postgresql://me:\*\*\*@127.0.0.1:1/studio does not answer .*check DATABASE_URL") as caught:
            action()
        assert caught.value.code == "DATABASE_UNAVAILABLE"
        assert "s3cret" not in str(caught.value)


def test_connections_cut_while_they_rest_are_replaced_unnoticed(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.create()
    with closing(open_database(url, Path())) as database:
        database.migrate()
        monkeypatch.setattr(connections, "REST_S", 0.0)
        for _ in range(3):
            together(lambda _: database.check(), 3)
            postgres.command("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'viralsync'")
            assert plans(database) == {}
    postgres.drop(url)


def test_a_server_that_goes_away_in_the_middle_is_unavailable_and_then_back(postgres: PostgresServer) -> None:
    url = postgres.create()
    with closing(open_database(url, Path())) as database:
        database.migrate()

        def write() -> None:
            with database.writing() as connection:
                connection.execute(insert(tables.workspaces), workspace("a"))
                postgres.command("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'viralsync'")
                connection.execute(insert(tables.workspaces), workspace("b"))

        with pytest.raises(DatabaseUnavailable):
            write()
        assert plans(database) == {}
    postgres.drop(url)


def test_a_statement_that_takes_longer_than_allowed_is_ended(postgres: PostgresServer) -> None:
    engine = open_postgres(f"{postgres.url()}?options=-c%20work_mem%3D5MB", statement_timeout_ms=50)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW work_mem")).scalar() == "5MB"
        with pytest.raises(exc.OperationalError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(60)"))
    engine.dispose()


def test_a_user_without_rights_is_told_which(postgres: PostgresServer) -> None:
    url = postgres.create()
    postgres.command("CREATE ROLE guest LOGIN")
    with closing(open_database(url.replace("studio@", "guest@"), Path())) as database:
        with pytest.raises(DatabaseError, match=r"permission denied.*grant its user CREATE") as caught:
            database.migrate()
        assert caught.value.code == "DATABASE_REFUSED"
    postgres.drop(url)
    postgres.command("DROP ROLE guest")


def test_a_writer_that_waits_too_long_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.05)
    with closing(open_database(None, tmp_path)) as one, closing(open_database(None, tmp_path)) as two:
        one.migrate()
        with one.writing(), pytest.raises(DatabaseUnavailable, match=f"another program holds .*{FILE}"), two.writing():
            pass
        two.check()


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    with closing(open_database(None, tmp_path)) as database:
        database.migrate()
        with database.writing() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseError) as caught, database.writing() as connection:
            connection.execute(insert(tables.workspaces), workspace("a", "x" * 100_000))
        assert caught.value.code == "DISK_FULL"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all" * 100)
    with closing(open_database(None, tmp_path)) as database, pytest.raises(DatabaseError, match="put a copy back"):
        database.check()


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with closing(open_database(None, tmp_path)) as database, pytest.raises(DatabaseUnavailable, match=FILE):
        database.check()
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match="VIRALSYNC_HOME"):
        open_database(None, tmp_path / "file")


# ---- addresses --------------------------------------------------------------------------------------------------------


def test_the_driver_of_postgresql_is_named() -> None:
    """SQLAlchemy 2.1 takes the bare name for psycopg 3, which dagster-postgres does not bring."""
    assert postgres_url("postgresql://u:p@h/d") == "postgresql+psycopg2://u:p@h/d"
    assert postgres_url("postgres://h/d") == "postgresql+psycopg2://h/d"
    assert postgres_url("postgresql+psycopg2://h/d") == "postgresql+psycopg2://h/d"


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql://u:p%40ss@h:5432/d?sslmode=require", "postgresql:///d?host=/run/pg", ""])
def test_an_address_of_postgresql_is_taken_as_it_stands(url: str) -> None:
    settings = Settings.from_env({"DATABASE_URL": url}, cwd=Path("/"))
    assert settings.database_url == (url or None)
    assert "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["mysql://u:s3cret@h/d", "sqlite:///x.db", "postgresql+asyncpg://u:s3cret@h/d", "host=h password=s3cret", "postgresql://u:s3cret/x@h/d"]
)
def test_any_other_address_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL .*write postgresql://user:password@host:5432/name") as caught:
        Settings.from_env({"DATABASE_URL": url}, cwd=Path("/"))
    assert "s3cret" not in str(caught.value)


# ---- the server of these tests ----------------------------------------------------------------------------------------


def test_the_server_ends_with_its_tests_however_they_end() -> None:
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.servers.postgres import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server.command(\"SHOW data_directory\")[0][0], flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    root = Path(__file__).parents[1]
    tests = subprocess.Popen([sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    data = Path(tests.stdout.readline().strip())
    server = int((data / "postmaster.pid").read_text().split()[0])
    ended = os.pidfd_open(server)
    tests.kill()
    tests.communicate()
    try:
        assert waiting.select([ended], [], [], 30)[0]
    finally:
        os.close(ended)
    shutil.rmtree(data.parent)
