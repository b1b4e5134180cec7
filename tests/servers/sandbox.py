"""The sandbox provider in a thread on a free port, and a client that speaks to it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.servers.app import served
from viralsync_pipelines.sandbox.running import open_sandbox
from viralsync_pipelines.sandbox.working import Pace

TOKEN = {"Authorization": "Bearer anything"}


@contextmanager
def sandbox(folder: Path, *, pace: Pace | None = None, **options: Any) -> Iterator[str]:
    """Its address. Done at once, unless `pace` says otherwise; options: those of open_sandbox."""
    with open_sandbox(folder, pace=pace or Pace(), **options) as app, served(app) as url:
        yield url


class Caller:
    """Requests with a token; `run` submits and polls to the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, headers=TOKEN, trust_env=False, timeout=30, verify=False)  # without TLS: 30 ms less

    def submit(self, model: str, given: dict[str, Any], **more: Any) -> httpx.Response:
        body = json.dumps({"input": given, **more}).encode()
        return self.client.post(f"/v1/models/{model}/predictions", content=body, headers={"Content-Type": "application/json"})

    def get(self, prediction_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/predictions/{prediction_id}").raise_for_status().json()
        return found

    def wait(self, prediction_id: str) -> dict[str, Any]:
        until = time.monotonic() + 60
        while (found := self.get(prediction_id))["status"] in {"starting", "processing"}:
            if time.monotonic() > until:
                raise AssertionError(f"it does not end: {found}")
            time.sleep(0.01)
        return found

    def run(self, model: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        answer = self.submit(model, given, **more)
        assert answer.status_code == 201, answer.text
        return self.wait(answer.json()["id"])

    def download(self, address: str) -> httpx.Response:
        return self.client.get(address)

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/sandbox/counts?most=1000").json()
        return found


@contextmanager
def calling(folder: Path, **options: Any) -> Iterator[Caller]:
    with sandbox(folder, **options) as url:
        caller = Caller(url)
        with caller.client:
            yield caller
