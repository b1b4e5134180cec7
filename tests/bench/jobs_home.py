"""A studio with thousands of finished films: one is really rendered, and its run and event log are then copied under new ids.

What belongs here: filling a home, and runs whose log goes on growing. What does not: what is measured over it.
A copy is in everything like its original (152 events, 262 kB) but for its ids and the times in the run's record.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from sqlalchemy import text

from tests.reels import viralsync
from tests.servers.stack import small
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.jobs.lines import progress_line
from viralsync_pipelines.settings import Settings

_BATCH = 250
_SCENE = "movie.render_scene[scene_001]"


@dataclass(frozen=True)
class Copied:
    """One job of the studio."""

    job_id: str
    run_id: str


@dataclass
class Home:
    """A home with its instance; `sample` is the run that was really made, `since` what times in lines count from."""

    folder: Path
    url: str | None
    instance: dg.DagsterInstance
    sample: dg.DagsterRun
    seconds: float
    since: float
    # How long the storing of each line took, in ms: a part of what a client waits for it.
    storing: list[float] = field(default_factory=list)

    # ---- filling -----------------------------------------------------------------------------------------------------

    def add_finished(self, count: int, *, first_day: float, last_day: float) -> list[Copied]:
        """So many finished films, made evenly between so many days ago and so many days ago."""
        now = datetime.now(UTC)
        made: list[Copied] = []
        while len(made) < count:
            new = [_new() for _ in range(min(_BATCH, count - len(made)))]
            ages = [first_day + (last_day - first_day) * (len(made) + place) / count for place in range(len(new))]
            self._add_runs(new, [now - timedelta(days=age) for age in ages], dg.DagsterRunStatus.SUCCESS)
            self._add_events(new, None)
            made += new
        return made

    def add_active(self, count: int) -> list[Copied]:
        """Films whose scenes are being rendered."""
        new = [_new() for _ in range(count)]
        self._add_runs(new, [datetime.now(UTC)] * count, dg.DagsterRunStatus.STARTED)
        records = self.instance.get_records_for_run(self.sample.run_id).records
        last = next(r.storage_id for r in records if r.event_log_entry.step_key == _SCENE and "STEP_START" in str(_kind(r.event_log_entry)))
        self._add_events(new, last)
        return new

    def settle(self) -> None:
        """What the system and PostgreSQL do by themselves after a while: 2.5 GB of new logs are written to the disk for a minute."""
        os.sync()
        if self.url is not None:
            storage: Any = self.instance.event_log_storage
            with storage._connect() as connection:
                connection.execute(text("VACUUM ANALYZE"))

    def _add_runs(self, new: Sequence[Copied], created: Sequence[datetime], status: dg.DagsterRunStatus) -> None:
        storage: Any = self.instance.run_storage
        rows, tags = [], []
        for copied, at in zip(new, created, strict=True):
            run = dg.DagsterRun(
                job_name=self.sample.job_name, run_id=copied.run_id, run_config=self.sample.run_config, status=status,
                tags={**self.sample.tags, "viralsync/job_id": copied.job_id, "viralsync/project_id": "proj_bench", "viralsync/size": "27"},
                job_snapshot_id=self.sample.job_snapshot_id, execution_plan_snapshot_id=self.sample.execution_plan_snapshot_id,
                asset_selection=self.sample.asset_selection, asset_check_selection=self.sample.asset_check_selection,
                remote_job_origin=self.sample.remote_job_origin, job_code_origin=self.sample.job_code_origin,
                has_repository_load_data=self.sample.has_repository_load_data,
            )  # fmt: skip
            ended = at + timedelta(seconds=self.seconds) if status is dg.DagsterRunStatus.SUCCESS else None
            times = {"update_timestamp": ended or at, "start_time": at.timestamp(), "end_time": ended.timestamp() if ended else None}
            rows.append({**storage._get_run_insertion_values(run, at), **times})
            tags += [{"run_id": run.run_id, "key": key, "value": value} for key, value in run.tags_for_storage().items()]
        with storage.connect() as connection:
            connection.execute(RunsTable.insert(), rows)
            connection.execute(RunTagsTable.insert(), tags)

    def _add_events(self, new: Sequence[Copied], last: int | None) -> None:
        """The sample's events up to number `last`."""
        storage: Any = self.instance.event_log_storage
        old_run, old_job = self.sample.run_id, self.sample.tags["viralsync/job_id"]
        if self.url is None:
            for copied, data in zip(new, _files(Path(storage.path_for_shard(old_run)), old_run, old_job, new, last), strict=True):
                Path(storage.path_for_shard(copied.run_id)).write_bytes(data)
            return
        copy = text(
            "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) "
            "SELECT n.run, replace(replace(e.event, :old_run, n.run), :old_job, n.job), e.dagster_event_type, e.timestamp, e.step_key, "
            "e.asset_key, e.partition FROM unnest(CAST(:runs AS text[]), CAST(:jobs AS text[])) AS n(run, job), event_logs e "
            "WHERE e.run_id = :old_run AND e.id <= :last ORDER BY n.run, e.id"
        )
        with storage._connect() as connection:
            runs, jobs = [one.run_id for one in new], [one.job_id for one in new]
            connection.execute(copy, {"old_run": old_run, "old_job": old_job, "runs": runs, "jobs": jobs, "last": last or 1 << 60})

    # ---- growing -----------------------------------------------------------------------------------------------------

    def log_line(self, copied: Copied) -> None:
        """One line of progress, stored as a step stores it. Its frame number says when, in tenths of a millisecond since `since`."""
        at = time.time()
        line = progress_line(1, int((at - self.since) * 10_000), 10**11, 12)
        entry = dg.EventLogEntry(
            error_info=None, level=20, user_message=line, run_id=copied.run_id, timestamp=at, step_key=_SCENE,
            job_name=self.sample.job_name, dagster_event=None,
        )  # fmt: skip
        self.instance.handle_new_event(entry)
        self.storing.append(1000 * (time.time() - at))

    @contextmanager
    def growing(self, active: Sequence[Copied], every_s: float = 1.0) -> Iterator[None]:
        """Each of them logs a line every so often, evenly spread, while the block runs."""
        over = threading.Event()

        def write() -> None:
            place, due = 0, time.monotonic()
            while not over.wait(max(0.0, due - time.monotonic())):
                self.log_line(active[place % len(active)])
                place += 1
                due += every_s / len(active)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            over.set()
            writer.join()


@contextmanager
def open_home(folder: Path, url: str | None) -> Iterator[Home]:
    """A new home in which one film was rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    home, movie = folder / "home", folder / "bench.json"
    movie.write_text(json.dumps(small("bench", 3)), encoding="utf-8")
    given = {} if url is None else {"DATABASE_URL": url}
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(given)
    os.environ["VIRALSYNC_HOME"] = str(home)
    os.environ.pop("DAGSTER_HOME", None)
    answer = json.loads(viralsync(home, "render", "--json", movie, "-o", folder / "film.mp4", env=given).stdout)
    with open_instance(Settings.from_env(os.environ, cwd=folder), os.environ) as instance:
        run = instance.get_run_by_id(answer["runId"])
        assert run is not None
        yield Home(home, url, instance, run, float(answer["elapsed"]), time.time() - 1)


def _files(template: Path, run_id: str, job_id: str, new: Sequence[Copied], last: int | None) -> Iterator[bytes]:
    """The template with each one's ids in place of its own, as a file. Changed in memory: on the disk each would be written twice."""
    with closing(sqlite3.connect(template)) as one:
        one.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(template.read_bytes())
    # Two bytes say that there is a log beside it, which there is none in memory. https://www.sqlite.org/fileformat.html
    data[18:20] = b"\x01\x01"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(bytes(data))
        one.execute("DELETE FROM event_logs WHERE id > ?", (last or 1 << 60,))
        for copied in new:
            changed = "UPDATE event_logs SET run_id = ?, event = replace(replace(event, ?, ?), ?, ?)"
            one.execute(changed, (copied.run_id, run_id, copied.run_id, job_id, copied.job_id))
            run_id, job_id = copied.run_id, copied.job_id
            data = bytearray(one.serialize())
            data[18:20] = b"\x02\x02"
            yield bytes(data)


def _new() -> Copied:
    return Copied("job_" + uuid.uuid4().hex[:12], str(uuid.uuid4()))


def _kind(entry: dg.EventLogEntry) -> str:
    return entry.get_dagster_event().event_type_value if entry.is_dagster_event else ""
