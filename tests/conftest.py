"""Shared by all tests: a clean environment, no network but loopback, and clips made by ffmpeg when first asked for."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the machine it runs on, and none writes outside its own folder."""
    for name in list(os.environ):
        if name.startswith(("VIRALSYNC_", "S3_", "AWS_", "DAGSTER_")) or name in {"DATABASE_URL", "API_BASE_URL"}:
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
