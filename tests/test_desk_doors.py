"""What a desk may reach on this machine: the providers and the gateway that its settings name there, and no other program."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from viralsync_pipelines.addresses import AddressRefused
from viralsync_pipelines.defs.desks import open_desk
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.database import open_database
from viralsync_pipelines.storage.local import LocalStore


def test_a_provider_on_this_machine_opens_its_own_port_and_no_other(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = Settings(
        home=tmp_path, store=(tmp_path / "store").as_uri(), provider_bases={"replicate": f"http://localhost:{port}/v1"},
        local_gateway=f"http://127.0.0.1:{port}",
    )  # fmt: skip
    database = open_database(None, tmp_path)
    database.migrate()
    desk = open_desk(settings, database, LocalStore(tmp_path / "store"), lambda: 0)
    with desk.calls.client as client:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(httpx.ConnectError):
                client.get(f"http://{host}:{port}/")
            with pytest.raises(AddressRefused):
                client.get(f"http://{host}:{port - 1}/")
    assert desk.near == {"sandbox", "replicate"}
    database.close()
