"""Pages of other web sites may use the API when the operator names the site, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.gateway import built, gateway, serving
from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.gateway.app import build_app
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.database import Database

SITE = {"origin": "https://app.example.com"}
ASK = {**SITE, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key,idempotency-key,content-type"}


def test_other_sites_are_served_once_they_are_named(database: Database, tmp_path: Path) -> None:
    with gateway(database, tmp_path) as made:
        closed = made.client()
        assert "access-control-allow-origin" not in closed.get("/v1/jobs", headers=SITE).headers
        assert closed.options("/v1/render/jobs", headers=ASK).status_code == 405
    made = built(database, tmp_path)
    made.app = build_app(made.deps, cors_origins=["https://app.example.com"])
    with serving(made):
        site = made.client()
        listed = site.get("/v1/jobs", headers=SITE)
        assert (listed.status_code, listed.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
        assert {"etag", "location", "retry-after", "ratelimit"} <= set(listed.headers["access-control-expose-headers"].lower().split(", "))
        assert "access-control-allow-credentials" not in listed.headers
        # Refusals too: a page must be able to read why.
        missing = site.get("/v1/jobs/job_000000000000", headers=SITE)
        assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, "https://app.example.com")
        assert site.options("/v1/render/jobs", headers=ASK).status_code == 200
        assert "access-control-allow-origin" not in site.get("/v1/jobs", headers={"origin": "https://evil.example.com"}).headers


def test_sites_are_named_as_origins(tmp_path: Path) -> None:
    def read(value: str) -> tuple[str, ...]:
        return Settings.from_env({"VIRALSYNC_CORS_ORIGINS": value}, cwd=tmp_path).cors_origins

    assert read("") == ()
    assert read("https://App.example.com/, http://127.0.0.1:5173") == ("https://app.example.com", "http://127.0.0.1:5173")
    assert read("*") == ("*",)
    for wrong in ("app.example.com", "https://", "ftp://x", "https://a.example.com/path", "https://u@x", "https://*.example.com"):
        with pytest.raises(SettingsError, match="VIRALSYNC_CORS_ORIGINS"):
            read(wrong)
