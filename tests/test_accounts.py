"""Workspaces, API keys and what was spent: the promises of their rows, on both databases; and `viralsync keys`."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from viralsync_pipelines.cli.main import main
from viralsync_pipelines.storage.accounts import AccountError, Accounts
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.metering import day_of, meter_once, month_of, report
from viralsync_pipelines.storage.tables import metadata


@pytest.fixture
def accounts(database: Database) -> Accounts:
    ticks = count(1_000)
    return Accounts(database, lambda: next(ticks))


def everything(database: Database) -> str:
    """All rows of all tables, as text."""
    with database.reading() as connection:
        return "\n".join(str(row) for table in metadata.sorted_tables for row in connection.execute(select(table)))


# ---- keys ---------------------------------------------------------------------------------------------------------------------


def test_a_key_is_found_by_its_characters_and_stands_nowhere_in_the_database(accounts: Accounts) -> None:
    secret, key = accounts.create_key("my app", read_only=True)
    assert re.fullmatch(r"vs_prod_[A-Za-z0-9]{32}", secret)
    found = accounts.find(secret)
    assert found is not None
    assert found[0] == key
    assert (key.workspace, key.name, key.read_only, key.revoked_ms) == ("default", "my app", True, None)
    kept = everything(accounts.database)
    assert key.id in kept
    # Enough to tell keys apart in a list, far too little to guess one by.
    assert key.shown == secret[:12]
    assert secret not in kept
    assert secret[12:] not in kept
    assert accounts.find_by_id(key.id) == found


def test_no_two_keys_are_alike(accounts: Accounts) -> None:
    made = [accounts.create_key("app") for _ in range(20)]
    assert len({secret for secret, _ in made}) == len({key.id for _, key in made}) == 20
    assert [key.id for key in accounts.list_keys()] == [key.id for _, key in made]


@pytest.mark.parametrize("secret", ["", "vs_prod_", "vs_prod_" + "a" * 31, "vs_prod_" + "a" * 33, "vs_prod_" + "é" * 32, "x" * 10_000, "vs_prod_" + "a" * 32])
def test_what_is_no_key_is_not_found(accounts: Accounts, secret: str) -> None:
    accounts.create_key("app")
    assert accounts.find(secret) is None


def test_finding_a_key_never_reads_the_whole_table(tmp_path: Path) -> None:
    from viralsync_pipelines.storage.database import open_database

    database = open_database(None, tmp_path)
    database.migrate()
    database.close()
    with sqlite3.connect(tmp_path / "viralsync.db") as plain:
        for column in ("sha256", "id"):
            (plan,) = plain.execute(f"EXPLAIN QUERY PLAN SELECT * FROM api_keys WHERE {column} = 'x'").fetchall()
            assert plan[3].startswith("SEARCH api_keys USING INDEX"), plan
    plain.close()


def test_a_revoked_key_is_found_as_revoked_and_stays_so(accounts: Accounts) -> None:
    secret, key = accounts.create_key("app")
    first = accounts.revoke(key.id)
    assert first.revoked_ms is not None
    assert accounts.revoke(key.id) == first
    found = accounts.find(secret)
    assert found is not None
    assert found[0] == first
    assert accounts.any_key()
    assert not accounts.any_usable_key()


def test_revoking_what_is_no_key_says_so(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="keys list") as caught:
        accounts.revoke("key_none")
    assert caught.value.code == "KEY_NOT_FOUND"
    assert not accounts.any_key()


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_key_needs_a_name(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError) as caught:
        accounts.create_key(name)
    assert caught.value.code == "KEY_NAME_INVALID"


# ---- workspaces ---------------------------------------------------------------------------------------------------------------


def test_the_default_workspace_is_always_there(accounts: Accounts) -> None:
    home = accounts.workspace("default")
    assert home is not None
    assert home.plan == "selfhosted"
    assert accounts.workspace("default") == home
    assert accounts.workspace("other") is None


def test_each_workspace_has_a_webhook_secret_of_32_bytes_that_never_changes(accounts: Accounts) -> None:
    one, other = accounts.ensure_workspace("one"), accounts.ensure_workspace("other", "pro")
    assert one.webhook_secret != other.webhook_secret
    for each in (one, other):
        assert each.webhook_secret.startswith("whsec_")
        assert len(base64.b64decode(each.webhook_secret.removeprefix("whsec_"), validate=True)) == 32
    assert accounts.ensure_workspace("one", "business").webhook_secret == one.webhook_secret


def test_a_plan_that_is_named_is_taken_and_one_that_is_not_stays(accounts: Accounts) -> None:
    assert accounts.ensure_workspace("team", "pro").plan == "pro"
    assert accounts.ensure_workspace("team").plan == "pro"
    assert accounts.ensure_workspace("team", "business").plan == "business"
    accounts.create_key("app", "team")
    home = accounts.workspace("team")
    assert home is not None
    assert home.plan == "business"


@pytest.mark.parametrize("name", ["", "a/b", "a" * 65, "ä", "a b", "../x"])
def test_a_workspace_name_can_stand_in_a_path(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError) as caught:
        accounts.create_key("app", name)
    assert caught.value.code == "WORKSPACE_INVALID"
    assert not accounts.any_key()


def test_many_who_ask_first_make_one_workspace_and_one_secret(accounts: Accounts) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: accounts.workspace("default"), range(16)))
        shared = set(pool.map(lambda _: accounts.shared_secret("stream-tokens"), range(16)))
    assert len(made) == 1
    assert len(shared) == 1
    assert len(shared.pop()) == 32
    assert accounts.shared_secret("another") != accounts.shared_secret("stream-tokens")


# ---- what was spent -----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_an_attempt_counts_once_however_many_tell_it(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: meter_once(database, "job_a", 1, "default", "render.movie", 30.0, ms(NOON)), range(16)))
    assert told.count(True) == 1
    assert meter_once(database, "job_a", 2, "default", "render.movie", 30.0, ms(NOON))
    assert report(database, "default", ms(NOON)).month.seconds == 60


def test_months_begin_on_the_1st_and_days_at_midnight_utc(database: Database) -> None:
    first, midnight, second = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC), timedelta(milliseconds=1)
    for number, moment in enumerate([first - second, first, midnight - second, midnight, NOON]):
        meter_once(database, f"job_{number}", 1, "default", "render.movie", 10.0**number, ms(moment))
    spent = report(database, "default", ms(NOON))
    assert (spent.month.seconds, spent.today.seconds) == (11110.0, 11000.0)
    assert (spent.month.jobs, spent.today.jobs) == (4, 2)
    assert (spent.month_resets_ms, spent.today_resets_ms) == (ms(datetime(2026, 12, 1, tzinfo=UTC)), ms(midnight + timedelta(days=1)))
    assert report(database, "default", ms(datetime(2026, 12, 1, tzinfo=UTC))).month.jobs == 0


def test_only_films_cost_minutes_and_other_jobs_are_counted(database: Database) -> None:
    meter_once(database, "job_a", 1, "default", "render.movie", 90.0, ms(NOON))
    meter_once(database, "job_b", 1, "default", "speech.narrate", 500.0, ms(NOON))
    spent = report(database, "default", ms(NOON))
    assert (spent.month.seconds, spent.today.seconds, spent.month.jobs) == (90.0, 90.0, 2)
    assert {type_: each.jobs for type_, each in spent.by_type.items()} == {"render.movie": 1, "speech.narrate": 1}


def test_no_workspace_pays_for_another(database: Database) -> None:
    meter_once(database, "job_a", 1, "one", "render.movie", 90.0, ms(NOON))
    assert report(database, "other", ms(NOON)).month.jobs == 0
    assert report(database, "other", ms(NOON)).month.seconds == 0.0


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants bounds without
def test_every_moment_lies_in_its_month_and_its_day(moment: datetime) -> None:
    at = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    month, day = month_of(at), day_of(at)
    assert month[0] <= day[0] <= at < day[1] <= month[1]
    assert day[1] - day[0] == 86_400_000
    first = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=month[1])
    assert (first.day, first.hour, first.minute, first.second, first.microsecond) == (1, 0, 0, 0, 0)
    assert month_of(month[1])[0] == month[1]


# ---- the command line ---------------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(words)
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return command


def answer(told: tuple[int, str, str]) -> Any:
    assert told[0] == 0, told
    return json.loads(told[1])


def test_a_key_made_on_the_command_line_is_shown_once(run: Run) -> None:
    status, out, _ = run("keys", "create", "my app")
    assert status == 0
    secret, sentence = out.splitlines()
    assert re.fullmatch(r"vs_prod_[A-Za-z0-9]{32}", secret)
    assert "only time" in sentence
    for words in (("keys", "list"), ("keys", "list", "--json")):
        status, out, _ = run(*words)
        assert status == 0
        assert secret not in out
        assert secret[:12] in out
        assert "my app" in out


def test_keys_as_json(run: Run) -> None:
    made = answer(run("keys", "create", "bot", "--workspace", "team", "--plan", "pro", "--read-only", "--json"))
    assert (made["name"], made["workspace"], made["plan"], made["readOnly"], made["revokedAt"]) == ("bot", "team", "pro", True, None)
    assert made["key"].startswith("vs_prod_")
    other = answer(run("keys", "create", "app", "--json"))
    assert [key["id"] for key in answer(run("keys", "list", "--json"))["keys"]] == [made["id"], other["id"]]
    assert [key["id"] for key in answer(run("keys", "list", "--workspace", "team", "--json"))["keys"]] == [made["id"]]
    revoked = answer(run("keys", "revoke", made["id"], "--json"))
    assert revoked["revokedAt"] is not None
    assert "key" not in revoked


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("keys", "revoke", "key_none"), "KEY_NOT_FOUND"),
        (("keys", "create", " "), "KEY_NAME_INVALID"),
        (("keys", "create", "a", "--workspace", "a/b"), "WORKSPACE_INVALID"),
        (("keys", "create", "a", "--plan", "gold"), "PLAN_UNKNOWN"),
        (("keys",), "ARGUMENTS_WRONG"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_code(run: Run, words: tuple[str, ...], code: str) -> None:
    status, out, _ = run(*words, "--json")
    assert status == 2
    assert json.loads(out)["code"] == code
    assert answer(run("keys", "list", "--json")) == {"keys": []}


def test_plans_of_the_operator_can_be_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plans.json").write_text('{"gold": {}}')
    monkeypatch.setenv("VIRALSYNC_PLANS", "plans.json")
    assert answer(run("keys", "create", "a", "--plan", "gold", "--json"))["plan"] == "gold"
    (tmp_path / "plans.json").write_text("{")
    assert run("keys", "create", "a")[0] == 3


def test_keys_go_where_database_url_says(database_url: str | None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if database_url is not None:
        monkeypatch.setenv("DATABASE_URL", database_url)
    made = answer(run("keys", "create", "app", "--json"))
    assert [key["id"] for key in answer(run("keys", "list", "--json"))["keys"]] == [made["id"]]
    assert answer(run("keys", "list", "--json"))["keys"][0]["createdAt"] == made["createdAt"]
