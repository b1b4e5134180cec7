"""Films and narrations of a plan, as runs of Dagster: each begun once, followed to its end, cancelled with its row, and real ones made."""

from __future__ import annotations

import io
import json
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from tests.engines import Engine, Recorded
from tests.puppet import Bench, bench_at, done, image
from tests.recordings.tape import tape
from viralsync_pipelines.board.board import Board
from viralsync_pipelines.defs.build import build_defs
from viralsync_pipelines.defs.films import APPEAR_MS, begin_films, follow_films
from viralsync_pipelines.defs.generating import tick_with
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.defs.kit import Kit
from viralsync_pipelines.defs.resources import settings_now
from viralsync_pipelines.generate import changes
from viralsync_pipelines.generate.collect import collect_batch
from viralsync_pipelines.generate.film_moves import run_job_of
from viralsync_pipelines.generate.poll import cancel_asked, confirm_due, poll_due
from viralsync_pipelines.generate.submit import submit_batch
from viralsync_pipelines.jobs.orders import JOB_TAG, PARENT_TAG, WORKSPACE_TAG
from viralsync_pipelines.orchestrator.runs import open_board
from viralsync_pipelines.storage.database import Database

# Dagster 1.13 calls what it deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
# What a database cannot make different is tried on one.
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PLAIN = {"width": 360, "height": 360, "scenes": [{"id": "s", "duration": 0.2, "bgColor": "#336699"}]}


class Stage:
    """A desk, and Dagster's runs in the test's hand."""

    def __init__(self, database: Database, folder: Path, instance: dg.DagsterInstance) -> None:
        self.bench: Bench = bench_at(database, folder)
        self.engine = Engine()
        self.kit = Kit(self.bench.desk, Board(self.engine, self.engine.clock), instance, database)

    def run(self, record_id: str, recording: str, *, attempt: int = 1) -> Recorded:
        """A recorded run as that of a row's attempt, nothing of it told yet."""
        number = int(run_job_of(record_id, attempt).removeprefix("job_"), 16)
        return self.engine.add(tape(f"sqlite_{recording}"), number)

    def tell(self, run: Recorded, events: int | None = None) -> None:
        self.engine.tell(run, events)
        self.engine.wait()


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Stage(database, tmp_path / "bench", instance)


def merge(job: str, *items: Any, **params: Any) -> dict[str, Any]:
    return {"id": job, "operation": "merge", "params": {"items": list(items) or ["https://x.example/a.png"], **params}}


# ---- rows and runs ---------------------------------------------------------------------------------------------------


def test_a_films_row_waits_for_its_run_shows_it_and_takes_over_what_it_made(stage: Stage) -> None:
    bench = stage.bench
    execution = bench.open([merge("film", preset="square"), image("after", "film")])
    (run,) = begin_films(stage.kit).runs
    row = bench.row(execution, "film")
    job_id = run_job_of(row.id, 1)
    assert run.tags == {JOB_TAG: job_id, PARENT_TAG: row.id, WORKSPACE_TAG: "default"}
    assert (run.job_name, run.run_key) == ("render_movie", f"film:{row.id}:1")
    assert (row.stage, row.status, row.provider, row.provider_job_id) == ("waiting", "processing", "dagster", job_id)
    assert (bench.job(execution, "film").status, bench.execution(execution).status) == ("waiting", "processing")
    document = json.loads(bench.desk.store.get_bytes(run.run_config["ops"]["movie"]["ops"]["plan_film"]["config"]["document"]))
    assert (document["width"], document["scenes"][0]["layers"][0]["src"]) == (1080, "https://x.example/a.png")

    # Nobody else has anything to do with it.
    bench.clock.wait(10 * 60_000 - 1)
    assert (poll_due(bench.desk, budget_s=5).found, confirm_due(bench.desk), begin_films(stage.kit).runs) == (0, 0, ())

    recorded = stage.run(row.id, "success")
    assert (follow_films(stage.kit).count, bench.job(execution, "film").message) == (1, "In the queue")
    stage.tell(recorded, 40)
    assert follow_films(stage.kit).count == 1
    shown = bench.job(execution, "film")
    assert (shown.status, shown.phase) == ("running", "rendering")
    assert 0 < shown.progress < 10_000
    assert shown.stage is not None
    sequence = shown.sequence
    assert follow_films(stage.kit).count == 0
    assert bench.job(execution, "film").sequence == sequence

    bench.desk.store.put_bytes(f"outputs/{job_id}/output.mp4", b"film")
    stage.tell(recorded)
    assert follow_films(stage.kit).count == 1
    row, job = bench.row(execution, "film"), bench.job(execution, "film")
    assert row.result is not None
    (output,) = row.result["outputs"]
    assert (row.status, job.status, job.output) == ("completed", "done", f"outputs/{row.id}/output.mp4")
    assert output["url"] == row.result["url"] == f"https://api.example.com/v1/jobs/{row.id}/files/output.mp4"
    assert (output["key"], output["type"], output["bytes"]) == (f"outputs/{job_id}/output.mp4", "video", 4)
    assert {"width", "height", "duration"} <= set(output)
    assert json.loads(bench.desk.store.get_bytes(f"outputs/{row.id}/outputs.json")) == {"workspace": "default", "outputs": [output]}
    assert bench.row(execution, "after").stage == "ready"


def test_a_film_fails_in_its_runs_own_words_and_takes_its_dependents_with_it(stage: Stage) -> None:
    bench = stage.bench
    execution = bench.open([merge("film"), image("after", "film")])
    begin_films(stage.kit)
    row = bench.row(execution, "film")
    stage.tell(stage.run(row.id, "scene_failed"))
    follow_films(stage.kit)
    row = bench.row(execution, "film")
    assert (row.stage, row.status) == ("ended", "failed")
    assert (row.error or "").startswith("SCENE_RENDER_FAILED: ")
    assert bench.job(execution, "film").error == row.error
    assert bench.row(execution, "after").error == "DEPENDENCY_FAILED: Dependency film failed"
    assert bench.execution(execution).status == "failed"

    changes.retry(bench.desk.ledger, bench.desk.registry, execution)
    (again,) = begin_films(stage.kit).runs
    assert (again.run_key, again.tags[JOB_TAG]) == (f"film:{row.id}:2", run_job_of(row.id, 2))
    assert follow_films(stage.kit).count == 0


@ONE
def test_a_film_whose_run_was_cancelled_by_hand_is_cancelled(stage: Stage) -> None:
    execution = stage.bench.open([merge("film")])
    begin_films(stage.kit)
    stage.tell(stage.run(stage.bench.row(execution, "film").id, "cancelled"))
    follow_films(stage.kit)
    assert (stage.bench.row(execution, "film").status, stage.bench.job(execution, "film").status) == ("cancelled", "cancelled")


@ONE
def test_a_run_that_never_appeared_is_asked_for_again_by_the_same_key(stage: Stage) -> None:
    """Whoever began the row may have died before Dagster was told; with the same key it is made once all the same."""
    stage.bench.open([merge("film")])
    (first,) = begin_films(stage.kit).runs
    assert follow_films(stage.kit).runs == ()
    stage.bench.clock.wait(APPEAR_MS)
    (second,) = follow_films(stage.kit).runs
    assert (second.run_key, second.tags, second.run_config) == (first.run_key, first.tags, first.run_config)
    assert follow_films(stage.kit).runs == ()


@ONE
def test_what_cannot_be_made_fails_before_there_is_a_run(stage: Stage) -> None:
    bench = stage.bench
    speech = {"id": "speech", "operation": "narrate", "params": {}}
    execution = bench.open([image("still"), merge("film", "$still.outputs[3]"), {**merge("odd"), "params": {"items": 3}}, speech])
    assert begin_films(stage.kit).runs == ()
    bench.puppet.default = done()
    bench.pump(1)
    assert bench.row(execution, "still").status == "completed"
    assert begin_films(stage.kit).runs == ()
    found = {each.job_id: (each.status, (each.error or "").partition(":")[0]) for each in bench.rows(execution)[1:]}
    assert found == {"film": ("failed", "DEPENDENCY_UNFIT"), "odd": ("failed", "VALIDATION_ERROR"), "speech": ("failed", "VALIDATION_ERROR")}


@ONE
def test_films_of_other_workspaces_have_partitions_of_their_own_and_drafts_are_drafts(stage: Stage) -> None:
    draft = {"id": "film", "operation": "render", "params": {"movie": {**PLAIN, "id": "mine"}, "draft": True}}
    stage.bench.open([draft], workspace="studio")
    (run,) = begin_films(stage.kit).runs
    assert (run.partition_key, run.tags[WORKSPACE_TAG]) == ("studio.mine", "studio")
    assert run.run_config["ops"]["movie"]["ops"]["plan_film"]["config"]["draft"] is True


# ---- with Dagster ----------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bench, Kit]]:
    """A desk whose store is the one that runs use, and an instance on disk."""
    from viralsync_pipelines.storage.database import open_database

    settings = settings_now()
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
    database = open_database(None, settings.home)
    database.migrate()
    bench = bench_at(database, settings.home)
    with open_instance(settings, os.environ) as instance:
        yield bench, Kit(bench.desk, open_board(instance, database, event_marks, bench.clock.now), instance, database)
    database.close()


def test_cancelling_a_film_ends_its_run(real: tuple[Bench, Kit]) -> None:
    bench, kit = real
    execution = bench.open([merge("film")])
    (asked,) = begin_films(kit).runs
    changes.cancel(bench.desk.ledger, execution)
    # The run is yet to be made: it is waited for.
    assert cancel_asked(bench.desk) == 0
    follow_films(kit)
    assert bench.row(execution, "film").cancelling == "asked"
    place = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="m"), location_name="l"), "r")
    run = dg.DagsterRun(
        job_name="render_movie", status=dg.DagsterRunStatus.QUEUED, tags=dict(asked.tags),
        remote_job_origin=RemoteJobOrigin(place, "render_movie"),
    )  # fmt: skip
    kit.instance.add_run(run)
    follow_films(kit)
    ended = kit.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED
    assert (bench.row(execution, "film").cancelling, bench.row(execution, "film").status) == ("told", "cancelled")


def carry_out(bench: Bench, kit: Kit, request: dg.RunRequest) -> None:
    """What the run that was asked for does, in this process."""
    if request.job_name == "submit_generations":
        submit_batch(bench.desk, request.run_config["ops"]["submit"]["config"]["batch"])
        return
    if request.job_name == "collect_generations":
        collect_batch(bench.desk, request.run_config["ops"]["collect"]["config"]["batch"], bench.work, bench.facts)
        return
    job = build_defs().resolve_job_def(request.job_name or "")
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": request.run_config["ops"]}
    if request.partition_key is not None:
        kit.instance.add_dynamic_partitions("movies", [request.partition_key])
    result = job.execute_in_process(instance=kit.instance, partition_key=request.partition_key, run_config=config, tags=dict(request.tags))
    assert result.success


def test_a_plan_is_narrated_joined_and_subtitled_by_real_runs(real: tuple[Bench, Kit]) -> None:
    """A picture and a voice become a film, and the voice's words its captions; the tick asks for each as soon as it can be made."""
    bench, kit = real
    execution = bench.open(
        [
            image("still"),
            {"id": "voice", "operation": "narrate", "params": {"lines": ["Hi.", "You!"], "gap": 0.1, "speed": 1.5}},
            merge("film", {"url": "$still", "duration": 0.3}, {"url": "$voice", "volume": 0.5}, width=360, height=360),
            {"id": "final", "operation": "addSubtitles", "params": {"video": "$film", "words": "$voice"}},
        ]
    )
    bench.puppet.default = done()
    asked = []
    for _ in range(5):
        result = tick_with(kit, "submit_generations", "collect_generations")
        requests = result.run_requests or ()
        asked.append([each.job_name for each in requests])
        wanted = [each.partition_keys for each in result.dynamic_partitions_requests or ()]
        assert wanted == [[each.partition_key] for each in requests if each.partition_key is not None]
        for request in requests:
            carry_out(bench, kit, request)
        bench.clock.wait(60_000)
    assert asked == [["narrate_text", "submit_generations"], ["collect_generations"], ["render_movie"], ["render_movie"], []]
    assert [(each.job_id, each.status, each.error) for each in bench.rows(execution)] == [
        (name, "completed", None) for name in ("still", "voice", "film", "final")
    ]
    store = bench.desk.store
    voice, film, final = (bench.row(execution, name).result or {} for name in ("voice", "film", "final"))
    sound, transcript = voice["outputs"]
    with wave.open(io.BytesIO(store.get_bytes(sound["key"]))) as opened:
        assert opened.getnframes() / opened.getframerate() == sound["duration"]
    assert [each["word"].strip(".!") for each in voice["words"]] == ["Hi", "You"]
    assert voice["lines"][1]["start"] == pytest.approx(voice["lines"][0]["end"] + 0.1, abs=1e-4)
    assert json.loads(store.get_bytes(transcript["key"]))["words"] == voice["words"]
    (made,), (shown,) = film["outputs"], final["outputs"]
    assert (made["width"], made["height"], made["duration"]) == (360, 360, pytest.approx(0.3))
    assert (shown["width"], shown["height"], shown["duration"]) == (360, 360, pytest.approx(0.3))
    assert white(store.get_bytes(shown["key"])) > 100 + white(store.get_bytes(made["key"]))
    assert bench.execution(execution).result["url"] == final["url"]


def white(film: bytes) -> int:
    """White pixels in the lower half of a film's last frame: captions are."""
    import av
    import numpy as np

    with av.open(io.BytesIO(film), "r") as box:
        last = [frame.to_ndarray(format="gray") for frame in box.decode(video=0)][-1]
    return int(np.count_nonzero(last[last.shape[0] // 2 :] > 230))
