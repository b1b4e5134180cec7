"""A PostgreSQL server on loopback for one test session, when its programs are on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """The server's address, postgresql://user@127.0.0.1:port/postgres; skips the test where PostgreSQL is not installed."""
    programs = {name: shutil.which(name) for name in ("initdb", "postgres")}
    if None in programs.values():
        pytest.skip("needs PostgreSQL's initdb and postgres on PATH")
    # PostgreSQL refuses to run as root; a user who may not enter pytest's own folders needs one of its own.
    user = None
    if os.getuid() == 0:
        user = "postgres" if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode == 0 else "nobody"
    with tempfile.TemporaryDirectory(prefix="viralsync-pg-") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [str(programs["initdb"]), "-D", str(data), "-U", "studio", "--auth=trust", "--no-sync"],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [str(programs["postgres"]), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            _wait(port, server)
            yield f"postgresql://studio@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(30)


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    import psycopg2

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="studio", dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.1)
