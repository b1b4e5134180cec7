"""Shared by all tests: a clean environment, no network but loopback, and both kinds of database."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer
    from viralsync_pipelines.settings import Settings
    from viralsync_pipelines.storage.database import Database


# Modules that take longest, so that they begin first: handed out by their number of tests, the last two minutes were one module's alone.
_LONGEST = (
    "test_flash_beep", "test_notebook_generation", "test_notebook_jobs", "test_faults", "test_notebooks", "test_generation_smoke",
    "test_jobs_smoke", "test_caption_pixels", "test_same_bytes", "test_dagster", "test_picture", "test_sound", "test_openapi", "test_examples",
    "test_bucket_render", "test_hostile", "test_cli", "test_films", "test_home", "test_formats", "test_launching", "test_board_dagster",
)  # fmt: skip


def pytest_configure() -> None:
    """A shell ignores interrupts for what it starts in the background, and children inherit that: tests that interrupt would wait for good."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first, in one process each; the rest in their order."""
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the machine it runs on, and none writes outside its own folder."""
    from viralsync_pipelines.settings import PROVIDER_KEYS

    for name in list(os.environ):
        ours = name.startswith(("VIRALSYNC_", "S3_", "AWS_", "DAGSTER_", "PG")) or name in {"DATABASE_URL", *PROVIDER_KEYS}
        if ours or name.endswith("_BASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails and says where it went."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            try:
                loopback = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
            except ValueError:
                loopback = address[0] == "localhost"
            if not loopback:
                raise AssertionError(f"a test tried to reach {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process, started when the first asks for it."""
    from tests.servers.postgres import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None for SQLite, the address of a new database for PostgreSQL: every test that asks for it, or for the two below, runs on both.

    Its tables are there already (Dagster's only for a test that asks for `dagster_storage`), as copies of a template.
    """
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create(_template(server, dagster="dagster_storage" in request.fixturenames))
    yield url
    server.drop(url)


@pytest.fixture
def database(database_url: str | None, tmp_path: Path) -> Iterator[Database]:
    """The project's own tables, up to date and empty."""
    from viralsync_pipelines.storage.database import open_database

    opened = open_database(database_url, tmp_path / "home")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def dagster_storage(database_url: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """An environment, told to child processes too, in which the project's Dagster instance keeps its state there. Its settings.

    `with open_instance(dagster_storage, os.environ) as instance:` opens it. A test that also asks for `database` has both in one.
    """
    from viralsync_pipelines.defs.instance import dagster_home
    from viralsync_pipelines.settings import Settings

    if database_url is not None:
        monkeypatch.setenv("DATABASE_URL", database_url)
    settings = Settings.from_env(os.environ, cwd=tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
    return settings


def _template(server: PostgresServer, *, dagster: bool) -> str:
    """A database to copy, made at the first call: 0.02 s a test instead of one or two."""
    from viralsync_pipelines.storage.database import open_database

    name = "with_dagster" if dagster else "own"
    if name not in server.made:
        server.command(f"CREATE DATABASE {name}")
        tables = open_database(server.url(name), Path())
        tables.migrate()
        tables.close()
        if dagster:
            from viralsync_pipelines.defs.home_postgres import PostgresHome

            home = PostgresHome(server.url(name))
            home.run_storage.dispose()
        server.made.add(name)
    return name
