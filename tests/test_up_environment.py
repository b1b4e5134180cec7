"""What `viralsync up` tells its processes, so that the first plan of the guide runs without an account."""

from __future__ import annotations

from pathlib import Path

import pytest

from viralsync_pipelines.cli.serve import environment_of
from viralsync_pipelines.settings import Settings

API = "http://127.0.0.1:3000"
SANDBOX = "http://127.0.0.1:3002/v1"


def told(environ: dict[str, str], sandbox: int = 3002) -> dict[str, str]:
    settings = Settings(home=Path("/home/x"), store="file:///home/x/store")
    return environment_of(environ, settings, Path("/home/x/dagster"), api=API, sandbox=sandbox)


def test_without_a_key_the_sandbox_plays_replicate() -> None:
    env = told({})
    assert (env["REPLICATE_BASE_URL"], env["SANDBOX_BASE_URL"], env["VIRALSYNC_LOCAL_URL"]) == (SANDBOX, SANDBOX, API)
    assert env["REPLICATE_API_TOKEN"] == "sandbox"


@pytest.mark.parametrize("own", [{"REPLICATE_API_TOKEN": "r8_mine"}, {"REPLICATE_BASE_URL": "https://replicate.example"}])
def test_an_account_of_ones_own_is_left_alone(own: dict[str, str]) -> None:
    env = told(own)
    assert {name: env.get(name) for name in ("REPLICATE_API_TOKEN", "REPLICATE_BASE_URL")} == {"REPLICATE_API_TOKEN": None, "REPLICATE_BASE_URL": None, **own}


def test_without_a_sandbox_nothing_is_played() -> None:
    assert not {"REPLICATE_API_TOKEN", "REPLICATE_BASE_URL", "SANDBOX_BASE_URL"} & set(told({}, sandbox=0))
