"""The clean-up: what is old and done goes whole, what anybody may still need stays, and a dry run tells the same without doing it.

On a real Dagster instance with its tables and the project's own, in SQLite and in PostgreSQL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from sqlalchemy import insert, select

from tests.reels import files
from tests.test_dagster import steps_of
from viralsync_pipelines.board.sources import RunFacts
from viralsync_pipelines.defs.build import build_defs
from viralsync_pipelines.defs.cleanup import CleanUp, clean, cleanup_schedule, old_families
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.defs.resources import store_of
from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.jobs.orders import JOB_TAG, PARENT_TAG
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage import claims, keys, tables
from viralsync_pipelines.storage.aging import Tally
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
NOW = datetime.now(UTC)
OLD, YOUNG = 100, 10  # days
DONE, FAILED, GOING = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


class Place:
    """A home with runs of several ages."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        store = store_of(settings)
        assert isinstance(store, LocalStore)
        self.store = store
        self._job = build_defs().resolve_job_def("upkeep")

    def run(self, status: dg.DagsterRunStatus, age_days: float, job: str = "", **fields: Any) -> str:
        """A run that was made and last changed so long ago, with an event and something that it printed."""
        tags = {**({JOB_TAG: job} if job else {}), **fields.pop("tags", {})}
        run = self.instance.create_run_for_job(self._job, status=status, tags=tags, **fields)
        self.instance.report_engine_event("something happened", run)
        folder = self.settings.dagster_home / "logs" / run.run_id / "compute_logs"
        folder.mkdir(parents=True)
        (folder / "abc.out").write_bytes(b"said " * 20)
        then = NOW - timedelta(days=age_days)
        with self.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            connection.execute(
                sqlalchemy.text("UPDATE runs SET create_timestamp = :then, update_timestamp = :then WHERE run_id = :run"),
                {"then": then.replace(tzinfo=None), "run": run.run_id},
            )
        return str(run.run_id)

    def put(self, key: str, age_days: float, data: bytes = b"x") -> str:
        self.store.put_bytes(key, data)
        path = self.store.local_path(key)
        assert path is not None
        aged(path, age_days)
        return key

    def clean(self, **wanted: Any) -> dict[str, Tally]:
        return clean(self.instance, self.settings, self.store, CleanUp(**wanted), NOW)

    def runs(self) -> set[str]:
        return {run.run_id for run in self.instance.get_runs()}

    def objects(self) -> set[str]:
        return set(self.store.list(""))


def aged(path: Path, age_days: float) -> Path:
    then = NOW.timestamp() - age_days * 86400
    os.utime(path, (then, then))
    return path


@pytest.fixture
def place(dagster_storage: Settings) -> Iterator[Place]:
    with open_instance(dagster_storage, os.environ) as instance:
        yield Place(dagster_storage, instance)


def state_of(place: Place) -> tuple[Any, ...]:
    logs = [path for path in files(place.settings.home) if path.suffix in {".out", ".log"}]
    return place.runs(), place.objects(), logs


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_old_jobs_go_whole_and_everything_else_stays(place: Place) -> None:
    first = place.run(FAILED, OLD, "job_aaaaaaaaaaaa")
    gone = {first, place.run(DONE, OLD, "job_aaaaaaaaaaaa", parent_run_id=first, root_run_id=first)}
    from_ui = place.run(FAILED, OLD)
    gone |= {from_ui, place.run(DONE, OLD - 1, parent_run_id=from_ui, root_run_id=from_ui)}
    kept = {
        place.run(DONE, OLD, "job_bbbbbbbbbbbb"), place.run(DONE, YOUNG, "job_bbbbbbbbbbbb"),  # tried again since
        place.run(DONE, OLD, "job_cccccccccccc"), place.run(GOING, OLD, "job_dddddddddddd", tags={PARENT_TAG: "job_cccccccccccc"}),
        place.run(dg.DagsterRunStatus.STARTING, OLD, "job_eeeeeeeeeeee"), place.run(dg.DagsterRunStatus.CANCELING, OLD),
    }  # fmt: skip
    job = "job_aaaaaaaaaaaa"
    plans = {place.put(keys.plan_key(name), OLD) for name in (job, "job_bbbbbbbbbbbb")}
    films = {place.put(keys.output_key(name), OLD) for name in (job, "job_bbbbbbbbbbbb")}
    before = state_of(place)
    told = place.clean(dry_run=True)
    assert state_of(place) == before
    done = place.clean(dry_run=False)
    assert {kind: tally.as_json() for kind, tally in told.items()} == {kind: tally.as_json() for kind, tally in done.items()}
    assert place.runs() == kept
    assert place.objects() == (plans | films) - {keys.plan_key(job)}
    assert (done["jobs"].count, done["runs"].count, done["plans"].first) == (2, 4, [keys.plan_key(job)])
    assert done["logs"].count == 4
    assert done["logs"].size == 4 * 100
    for run in gone:
        assert not list(place.instance.all_logs(run))
        assert not (place.settings.dagster_home / "logs" / run).exists()
    for run in kept:
        assert list(place.instance.all_logs(run))
        assert (place.settings.dagster_home / "logs" / run).exists()
    again = place.clean(dry_run=False)
    assert sum(tally.count for tally in again.values()) == 0


def test_films_of_old_jobs_go_only_when_that_is_asked_for(place: Place) -> None:
    place.run(DONE, OLD, "job_aaaaaaaaaaaa")
    place.run(DONE, YOUNG, "job_bbbbbbbbbbbb")
    for job in ("job_aaaaaaaaaaaa", "job_bbbbbbbbbbbb", "job_cccccccccccc", "job_dddddddddddd"):
        place.put(keys.output_key(job), YOUNG if job.endswith("d") else OLD)
    done = place.clean(dry_run=False, outputs=True)
    # c has no run any more, and is old; d is a film whose run may only just be made elsewhere.
    assert sorted(done["outputs"].first) == [keys.output_key("job_aaaaaaaaaaaa"), keys.output_key("job_cccccccccccc")]
    assert place.objects() == {keys.output_key("job_bbbbbbbbbbbb"), keys.output_key("job_dddddddddddd")}


def test_a_run_that_never_reached_the_queue_goes_after_a_day(place: Place) -> None:
    fresh = place.run(dg.DagsterRunStatus.NOT_STARTED, 0.5, "job_aaaaaaaaaaaa")
    place.run(dg.DagsterRunStatus.NOT_STARTED, 2, "job_bbbbbbbbbbbb")
    earlier = place.run(FAILED, YOUNG, "job_bbbbbbbbbbbb")
    place.clean(dry_run=False)
    assert place.runs() == {fresh, earlier}


def facts(number: int, job: str, age_days: float, status: str = "SUCCESS", parent: str | None = None) -> RunFacts:
    at = round((NOW.timestamp() - age_days * 86400) * 1000)
    return RunFacts(f"run-{number}", number, job, "workflow.run", status, at, at, parent_id=parent)


def test_a_family_is_as_old_as_its_youngest_run() -> None:
    before = round((NOW.timestamp() - 90 * 86400) * 1000)
    runs = [
        facts(1, "a", 100), facts(2, "a", 91, "CANCELED"), facts(3, "b", 100), facts(4, "b1", 91, parent="b"), facts(5, "c", 100),
        facts(6, "c1", 89, parent="c"), facts(7, "d", 91, "STARTING"), facts(8, "e", 89),
    ]  # fmt: skip
    assert [[run.order for run in family] for family in old_families(runs, before)] == [[1, 2], [3, 4]]


# ---- cached files ----------------------------------------------------------------------------------------------------


def test_cached_files_go_when_they_are_old_and_no_kept_job_names_them(place: Place) -> None:
    place.run(DONE, YOUNG, "job_aaaaaaaaaaaa")
    place.run(DONE, OLD, "job_bbbbbbbbbbbb")
    used, unused, young = ("a" * 64, "b" * 64, "c" * 64)
    place.put(keys.plan_key("job_aaaaaaaaaaaa"), YOUNG, json.dumps({"clip_keys": [used]}).encode())
    place.put(keys.plan_key("job_bbbbbbbbbbbb"), OLD, json.dumps({"clip_keys": [unused]}).encode())
    kinds = (keys.clip_key, keys.clip_picture_key, keys.clip_ends_key, keys.source_key, keys.speech_key, keys.speech_timings_key,
             keys.sound_key, keys.film_cache_key, keys.film_notes_key)  # fmt: skip
    old = {place.put(kind(unused), OLD) for kind in kinds} | {place.put(f"cache/films/bb/{unused}.sheet.jpg", OLD)}
    kept = {place.put(kind(used), OLD) for kind in kinds} | {place.put(kind(young), YOUNG) for kind in kinds}
    # Rendered anew since: its picture is old, the clip is not.
    kept |= {place.put(keys.clip_key("d" * 64), YOUNG), place.put(keys.clip_picture_key("d" * 64), OLD)}
    place.clean(dry_run=False)
    assert place.objects() >= old | kept  # nothing without being asked to
    told = place.clean(dry_run=True, cache_days=30)
    assert place.objects() >= old | kept
    done = place.clean(dry_run=False, cache_days=30)
    assert told["cached"].as_json() == done["cached"].as_json()
    assert done["cached"].count == done["cached"].size == len(old)
    assert place.objects() == kept | {keys.plan_key("job_aaaaaaaaaaaa")}


def test_what_makes_a_cached_file_count_as_whole_goes_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle, the clean-up leaves nothing that a render would take for finished and then miss a part of."""
    digest = "b" * 64
    for key in (keys.clip_key(digest), keys.clip_ends_key(digest), keys.film_cache_key(digest), keys.film_notes_key(digest)):
        place.put(key, OLD)
    deleted: list[str] = []
    monkeypatch.setattr(place.store, "delete", deleted.append)
    place.clean(dry_run=False, cache_days=30)
    assert deleted.index(keys.clip_key(digest)) < deleted.index(keys.clip_ends_key(digest))
    assert deleted.index(keys.film_notes_key(digest)) < deleted.index(keys.film_cache_key(digest))


# ---- files of runs that are gone -------------------------------------------------------------------------------------


def test_files_of_runs_that_nobody_knows_go_after_a_day(place: Place) -> None:
    known = place.run(DONE, YOUNG)
    logs, events = place.settings.dagster_home / "logs", place.settings.dagster_home / "history" / "runs"
    events.mkdir(parents=True, exist_ok=True)
    ours = place.settings.home / "logs"
    ours.mkdir(exist_ok=True)
    gone, kept = [], []
    for name, age in (("0" * 8 + "-1111-1111-1111-" + "2" * 12, 2.0), ("0" * 8 + "-1111-1111-1111-" + "3" * 12, 0.5), ("index", 900.0)):
        (logs / name).mkdir()
        (logs / name / "x.out").write_bytes(b"said")
        (events / f"{name}.db").write_bytes(b"events") if name != "index" else None
        for path in (logs / name, events / f"{name}.db"):
            if path.exists():
                aged(path, age)
        (gone if age == 2.0 else kept).extend([logs / name, *([events / f"{name}.db"] if name != "index" else [])])
    for name, age in (("job_1.log", OLD), ("job_2.log", YOUNG), ("mine.log", OLD)):
        (ours / name).write_bytes(b"said")
        (gone if name == "job_1.log" else kept).append(aged(ours / name, age))
    aged(logs / known, YOUNG)
    place.clean(dry_run=True)
    assert all(path.exists() for path in [*gone, *kept])
    done = place.clean(dry_run=False)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    assert (logs / known).exists()
    assert (done["event_files"].count, done["logs"].count) == (1, 2)


# ---- rows ------------------------------------------------------------------------------------------------------------


def message(job: str, sequence: int, age_days: float, state: str = "delivered") -> dict[str, Any]:
    at = round((NOW.timestamp() - age_days * 86400) * 1000)
    return {"id": f"msg_{job}_{sequence}", "job_id": job, "workspace": "w", "sequence": sequence, "kind": "done", "url": "https://x", "body": "{}",
            "created_ms": at, "state": state, "due_ms": at, "tries": 1}  # fmt: skip


def claim(key: str, age_days: float) -> dict[str, Any]:
    at = round((NOW.timestamp() - age_days * 86400) * 1000)
    return {"scope": "w", "key": key, "request_sha256": "0", "job_id": "job_1", "claimed_ms": at}


def test_rows_of_old_jobs_and_of_old_requests_go(place: Place, database: Database) -> None:
    place.run(DONE, OLD, "job_aaaaaaaaaaaa")
    place.run(DONE, YOUNG, "job_bbbbbbbbbbbb")
    with database.writing() as connection:
        connection.execute(insert(tables.outbox), [
            message("job_aaaaaaaaaaaa", 1, OLD), message("job_aaaaaaaaaaaa", 2, OLD, "due"), message("job_bbbbbbbbbbbb", 1, OLD),
            message("job_bbbbbbbbbbbb", 2, YOUNG),
        ])  # fmt: skip
        connection.execute(insert(tables.idempotency), [claim("old", 3), claim("young", 1)])
        connection.execute(insert(tables.snapshots), [
            {"job_id": job, "fold_version": 1, "runs": "", "state": b"", "saved_ms": 0} for job in ("job_aaaaaaaaaaaa", "job_bbbbbbbbbbbb")
        ])  # fmt: skip

    def rows() -> tuple[set[str], ...]:
        with database.reading() as connection:
            columns = (tables.outbox.c.id, tables.idempotency.c.key, tables.snapshots.c.job_id)
            return tuple(set(connection.execute(select(column)).scalars()) for column in columns)

    before = rows()
    told = place.clean(dry_run=True)
    assert rows() == before
    done = place.clean(dry_run=False)
    assert {k: t.count for k, t in told.items()} == {k: t.count for k, t in done.items()}
    assert (done["callbacks"].count, done["request_claims"].count) == (2, 1)
    assert claims.KEPT_MS < 3 * 86_400_000
    assert rows() == ({"msg_job_aaaaaaaaaaaa_2", "msg_job_bbbbbbbbbbbb_2"}, {"young"}, {"job_bbbbbbbbbbbb"})


def test_a_studio_without_tables_of_its_own_gets_none(place: Place) -> None:
    place.run(DONE, OLD, "job_aaaaaaaaaaaa")
    place.clean(dry_run=False)
    assert place.runs() == set()
    assert not (place.settings.home / "viralsync.db").exists()


# ---- as Dagster's job ------------------------------------------------------------------------------------------------


def test_started_by_hand_it_only_tells(place: Place) -> None:
    old = place.run(DONE, OLD, "job_aaaaaaaaaaaa")
    job = build_defs().resolve_job_def("cleanup")
    result = job.execute_in_process(instance=place.instance)
    assert result.success
    assert old in place.runs()
    told = steps_of(place.instance, result.run_id)["clean_up"]
    assert told["dry_run"] is True
    assert told["runs"] == {"count": 1, "bytes": 0, "first": [old]}
    real = job.execute_in_process(instance=place.instance, run_config={"ops": {"clean_up": {"config": {"dry_run": False}}}})
    assert place.runs() == {result.run_id, real.run_id}


def test_every_night_it_deletes_once_somebody_said_how_long_jobs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = cleanup_schedule()
    with dg.build_schedule_context() as context:
        assert [str(r.skip_message) for r in [schedule.evaluate_tick(context)]] == ["VIRALSYNC_KEEP_DAYS is not set: everything is kept"]
        monkeypatch.setenv("VIRALSYNC_KEEP_DAYS", "30")
        monkeypatch.setenv("VIRALSYNC_KEEP_CACHE_DAYS", "60")
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config == {"ops": {"clean_up": {"config": {"dry_run": False, "days": 30, "cache_days": 60}}}}
    assert dg.validate_run_config(build_defs().resolve_job_def("cleanup"), request.run_config)


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "1.5", "99999", "٣"])
def test_a_number_of_days_that_is_none_is_told(wrong: str) -> None:
    with pytest.raises(SettingsError, match="VIRALSYNC_KEEP_DAYS"):
        Settings.from_env({"VIRALSYNC_KEEP_DAYS": wrong}, cwd=Path("/"))
