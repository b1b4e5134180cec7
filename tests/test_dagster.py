"""The promises of the Dagster side: assets, fan-out, metadata, checks, partitions, runs without configuration, the inbox, the home.

Runs here go through Dagster on an instance on disk; the ones that start servers and kill processes are in test_faults.py and
test_ui.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import fontpkg_inter
import pytest
from dagster._core.system_config.objects import ResolvedRunConfig

from tests.reels import changed, clip, files, packets, picture, reel, rendered, viralsync
from tests.servers.postgres import postgres_server
from viralsync_pipelines.defs.build import build_defs, render_movie, render_movie_job
from viralsync_pipelines.defs.inbox import TICK_RUNS, inbox_sensor, look
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.defs.part import parts_of
from viralsync_pipelines.defs.resources import StudioResource, settings_now, store_of
from viralsync_pipelines.defs.scratch import own_scratch, sweep_scratch
from viralsync_pipelines.defs.studio import open_studio
from viralsync_pipelines.jobs.run_config import PRESETS, ops_config, parallel_scenes, run_config_for
from viralsync_pipelines.orchestrator.foreground import WORKER_TAG, _Follower, fail_abandoned, news_of, run_in_foreground
from viralsync_pipelines.render.lifeline import has_ended, process_mark
from viralsync_pipelines.render.prepare import prepared_json, read_prepared
from viralsync_pipelines.render.quality import CHECKS
from viralsync_pipelines.render.registry import find_registered, register
from viralsync_pipelines.storage.local import LocalStore

ROOT = Path(__file__).parents[1]
# Dagster 1.13 calls what it deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")


def instance_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The instance of a home, for reading and for runs in this process."""
    monkeypatch.setenv("VIRALSYNC_HOME", str(home))
    settings = settings_now()
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
    return open_instance(settings, os.environ)


def steps_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """Step key -> its metadata, of every step that succeeded."""
    found: dict[str, dict[str, Any]] = {}
    for entry in instance.all_logs(run_id):
        if not entry.is_dagster_event or entry.step_key is None:
            continue
        event = entry.get_dagster_event()
        if event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            found.setdefault(entry.step_key, {})
        elif event.event_type == dg.DagsterEventType.STEP_OUTPUT:
            found.setdefault(entry.step_key, {}).update({k: v.value for k, v in event.step_output_data.metadata.items()})
    return found


# ---- one film through the command line, with a process for every step -------------------------------------------------


@dataclass(frozen=True)
class Made:
    home: Path
    movie: Path
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("made")
    movie = reel(base / "movie", 3)
    return Made(base / "home", movie, rendered(base / "home", movie, "-o", base / "film.mp4", "--preset", "stable"))


@pytest.fixture
def instance(made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    with instance_of(made.home, monkeypatch) as opened:
        yield opened


def test_narration_fans_out_per_line_and_movie_per_scene(made: Made, instance: dg.DagsterInstance) -> None:
    steps = steps_of(instance, made.answer["runId"])
    assert {k for k in steps if k.startswith("narration.speak_line[")} == {f"narration.speak_line[line_00{n}]" for n in (1, 2)}
    assert {k for k in steps if "render_scene[" in k} == {f"movie.render_scene[scene_00{n}]" for n in (1, 2, 3)}
    assert packets(Path(made.answer["path"])) == made.answer["frames"] == 39


def test_every_step_says_what_it_did(made: Made, instance: dg.DagsterInstance) -> None:
    steps = steps_of(instance, made.answer["runId"])
    scene = steps["movie.render_scene[scene_002]"]
    assert scene["scene"] == "s1"
    assert scene["cache"] == "miss"
    assert scene["frames"] == scene["rendered_frames"] == 3 + 9
    assert scene["frames_per_second"] > 0
    assert scene["thumbnail"].startswith("![")
    assert steps["movie.plan_film"]["cache_misses"] == 5
    assert steps["movie.plan_film"]["hash"].startswith("sha256:")
    assert steps["narration.speak_line[line_001]"]["text"] == "Line 0."
    assert steps["movie.mix_film_sound"]["loudness"] == pytest.approx(-14, abs=0.6)
    assert steps["movie.assemble_film"]["frames"] == 39


def test_progress_lines_are_read_back_as_progress(made: Made, instance: dg.DagsterInstance) -> None:
    news = [n for n in map(news_of, instance.all_logs(made.answer["runId"])) if n is not None]
    ends = {n.scene: (n.frame, n.total) for n in news if n.kind == "progress"}
    assert ends == {1: (12, 12), 2: (12, 12), 3: (15, 15)}


def test_the_film_shows_itself(made: Made, instance: dg.DagsterInstance) -> None:
    event = instance.get_latest_materialization_event(dg.AssetKey("movie"))
    assert event is not None
    assert event.asset_materialization is not None
    facts = event.asset_materialization.metadata
    assert event.asset_materialization.partition == "reel"
    assert facts["duration_s"].value == pytest.approx(1.3)
    assert facts["frames"].value == 39
    assert facts["loudness_lufs"].value == pytest.approx(-14, abs=0.6)
    assert facts["true_peak_dbtp"].value <= -1.0
    assert facts["size_bytes"].value == made.answer["bytes"]
    assert Path(str(facts["film"].value)).read_bytes() == Path(made.answer["path"]).read_bytes()
    assert "](" in str(facts["contact_sheet"].value)
    for name in ("poster", "thumbnail"):
        assert name in facts


def test_every_check_is_recorded_and_passed(made: Made, instance: dg.DagsterInstance) -> None:
    found = {}
    for entry in instance.all_logs(made.answer["runId"], of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        data: Any = entry.get_dagster_event().event_specific_data
        found[data.check_name] = data.passed
    assert found == dict.fromkeys(CHECKS, True)


def test_rendering_registers_the_movie_and_its_folder(made: Made, instance: dg.DagsterInstance) -> None:
    assert "reel" in instance.get_dynamic_partitions("movies")
    document, folder = find_registered(LocalStore(made.home / "store"), "reel")
    assert document["id"] == "reel"
    assert folder == str(made.movie.parent)


def test_nothing_is_left_but_what_is_kept(made: Made) -> None:
    assert files(made.home / "scratch") == []
    assert files(made.home / "logs") == []
    assert sorted(p.name for p in made.home.iterdir()) == ["dagster", "logs", "scratch", "sources", "store"]


def test_a_film_that_needs_nothing_starts_no_step_processes(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    again = rendered(made.home, made.movie, "-o", made.home.parent / "again.mp4")
    assert again["cachedFrames"] == again["frames"]
    assert Path(again["path"]).read_bytes() == Path(made.answer["path"]).read_bytes()
    with instance_of(made.home, monkeypatch) as opened:
        kinds = {e.get_dagster_event().event_type for e in opened.all_logs(again["runId"]) if e.is_dagster_event}
        assert dg.DagsterEventType.STEP_WORKER_STARTED not in kinds
        steps = steps_of(opened, again["runId"])
    assert {v["cache"] for k, v in steps.items() if "render_scene" in k or "assemble" in k or "mix" in k} == {"hit"}


# ---- runs as the web UI starts them: no configuration ----------------------------------------------------------------


def run_asset_job(instance: dg.DagsterInstance, partition: str, *, only: str | None = None, config: Any = None, **tags: str) -> Any:
    job = build_defs().resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(
        instance=instance, partition_key=partition, asset_selection=[dg.AssetKey(only)] if only else None, tags=tags,
        run_config={**quiet, **(config or {})}, raise_on_error=False,
    )  # fmt: skip


def described(result: Any) -> str:
    """What the failed step of a run says."""
    (failed,) = [e for e in result.all_events if e.is_step_failure]
    return failed.step_failure_data.user_failure_data.description


def test_a_registered_movie_with_relative_sources_renders_without_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`viralsync movies add` came from this machine's command line, so the folder it named may be read."""
    home, movie = tmp_path / "home", reel(tmp_path / "movie", 1, movie_id="added", voice=False)
    viralsync(home, "movies", "add", movie)
    with instance_of(home, monkeypatch) as instance:
        assert instance.get_dynamic_partitions("movies") == ["added"]
        result = run_asset_job(instance, "added", only="movie")
        assert result.success
        facts = steps_of(instance, result.run_id)
        # The run has no job tag, so its job is named after it.
        job = "job_" + result.run_id.replace("-", "")[:12]
        assert facts["movie.finalize_film"]["job"] == job
        assert packets(home / "store" / "outputs" / job / "output.mp4") == 15
        both = run_asset_job(instance, "added")
        assert both.success


def test_an_unknown_movie_says_how_to_register_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["nobody"])
        result = run_asset_job(instance, "nobody", only="movie")
    assert not result.success
    assert "MOVIE_NOT_FOUND" in described(result)
    assert "viralsync movies add" in described(result)


def inline(source: str) -> dict[str, Any]:
    layer = {"type": "image", "src": source, "width": "100%"}
    return {"width": 360, "height": 360, "scenes": [{"id": "one", "duration": 0.2, "layers": [layer]}]}


def test_a_movie_given_with_the_run_replaces_the_registered_one_but_not_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document from elsewhere must not read the files that a registered movie may read."""
    home = tmp_path / "home"
    picture(tmp_path / "own.png")
    with instance_of(home, monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        register(store_of(settings_now()), "m", inline("own.png"), str(tmp_path))
        ops = {"movie": ops_config({"movie": inline("own.png")})["movie"]}
        stranger = run_asset_job(instance, "m", only="movie", config={"ops": ops})
        assert "SOURCE_REFUSED" in described(stranger)
        plain = {"width": 360, "height": 360, "scenes": [{"id": "x", "duration": 0.4, "bgColor": "#336699", "layers": []}]}
        result = run_asset_job(instance, "m", config={"ops": ops_config({"movie": plain})})
        assert result.success
        assert steps_of(instance, result.run_id)["movie.plan_film"]["frames"] == 12


def test_variables_and_draft_come_through_the_run_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "width": 720, "height": 720, "variables": {"long": 0.2},
        "scenes": [{"id": "x", "duration": "{{ long }}", "bgColor": "#336699", "layers": []}],
    }  # fmt: skip
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["v"])
        register(store_of(settings_now()), "v", document, "")
        result = run_asset_job(instance, "v", config={"ops": ops_config({"variables": {"long": 0.6}, "draft": True})})
        facts = steps_of(instance, result.run_id)
    assert facts["movie.plan_film"]["frames"] == 18
    assert facts["movie.finalize_film"]["width"] == 360


def test_a_movie_with_faults_fails_with_all_of_them_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"width": 361, "height": 360, "scenes": [{"id": "a", "layers": []}, {"id": "a", "duration": -1, "layers": []}]}
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["bad"])
        register(store_of(settings_now()), "bad", document, "")
        result = run_asset_job(instance, "bad", only="movie")
    (failed,) = [e for e in result.all_events if e.is_step_failure]
    told = failed.step_failure_data.user_failure_data
    assert told.metadata["code"].value == "VALIDATION_ERROR"
    assert len(told.metadata["problems"].value) >= 2


def test_a_failed_scene_leaves_its_siblings_alone_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running it again, mended, renders that scene and no other."""
    home, movie = tmp_path / "home", reel(tmp_path / "movie", 3, movie_id="torn", voice=False)
    changed(movie, lambda document: [scene.pop("transition", None) for scene in document["scenes"]])
    whole = clip(tmp_path / "whole.mkv", 2.0, extra=("-f", "matroska")).read_bytes()
    # Cut so little that planning takes it for whole; rendering meets the end.
    (movie.parent / "torn.mkv").write_bytes(whole[: int(len(whole) * 0.93)])

    def tear(document: dict[str, Any]) -> None:
        document["scenes"][1]["layers"][0] = {"type": "video", "src": "torn.mkv", "width": "100%", "muted": True}
        document["scenes"][1]["duration"] = "auto"

    changed(movie, tear)
    failed = viralsync(home, "render", "--json", movie, "-o", tmp_path / "film.mp4", check=False)
    answer = json.loads(failed.stdout)
    assert failed.returncode == 1
    (failure,) = answer["failures"]
    assert failure["step"] == "movie.render_scene[scene_002]"
    assert failure["error"].startswith("SCENE_RENDER_FAILED: s1: SOURCE_CUT_SHORT: ")
    assert "torn.mkv" in failure["error"] or "cut short" in failure["error"]
    assert not (tmp_path / "film.mp4").exists()
    with instance_of(home, monkeypatch) as instance:
        done = {k for k in steps_of(instance, answer["runId"]) if "render_scene" in k}
        assert done == {f"movie.render_scene[scene_00{n}]" for n in (1, 3)}
        (movie.parent / "torn.mkv").write_bytes(whole)
        again = rendered(home, movie, "-o", tmp_path / "film.mp4")
        steps = steps_of(instance, again["runId"])
    cached = {k[-4:-1]: v["cache"] for k, v in steps.items() if "render_scene" in k}
    assert cached == {"001": "hit", "002": "miss", "003": "hit"}
    assert files(home / "scratch") == []


def test_a_retry_that_lost_scenes_is_an_error_and_never_a_shorter_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's own retry "from failure" forgets scenes that were never started (its issues 19490, 30248)."""
    config = run_config_for({}, concurrency=1, in_process=True)
    plain = [{"id": f"x{n}", "duration": 0.2, "bgColor": f"#33669{n}", "layers": []} for n in range(2)]
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        store = store_of(settings_now())
        register(store, "m", {"width": 360, "height": 360, "scenes": plain}, "")
        job, tags = dg.reconstructable(render_movie_job), {"dagster/partition": "m"}
        with dg.execute_job(job, instance=instance, run_config=config, tags=tags) as first:
            assert first.success
        lost = [k for k in store.list("cache/") if k.startswith(("cache/clips/", "cache/films/"))]
        assert len(lost) == 2 * 3 + 5  # each clip with its ends and picture; the first stays
        for key in lost[3:]:
            store.delete(key)
        steps = ["movie.assemble_film", "movie.finalize_film"]
        options = dg.ReexecutionOptions(parent_run_id=first.run_id, step_selection=steps)
        with dg.execute_job(job, instance=instance, run_config=config, tags=tags, reexecution_options=options) as second:
            assert not second.success
            (failed,) = [e for e in second.all_events if e.is_step_failure]
    assert "CLIP_MISSING" in failed.step_failure_data.user_failure_data.description


def test_an_interrupt_cancels_the_run_even_when_its_events_are_read_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster takes an interrupt that nobody announced for a failure; the announcement once waited until a page was read."""
    plain = [{"id": f"x{n}", "duration": 300, "bgColor": f"#33669{n}"} for n in range(2)]
    read = _Follower._read
    began = threading.Event()

    def slowly(self: _Follower, run_id: str, cursor: str | None) -> str | None:
        if any((tmp_path / "home" / "scratch").rglob("clip.mp4")):
            began.set()
            time.sleep(3)
        return read(self, run_id, cursor)

    monkeypatch.setattr(_Follower, "_read", slowly)
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        store = store_of(settings_now())
        register(store, "m", {"width": 720, "height": 720, "scenes": plain}, "")
        job, config = dg.reconstructable(render_movie_job), run_config_for({}, concurrency=1, in_process=True)

        def press() -> None:
            began.wait(60)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press, daemon=True).start()
        end = run_in_foreground(instance, job, partition="m", run_config=config, tags={"viralsync/job_id": "job_0123456789ab"}, on_news=lambda _: None)
        assert end.status == "CANCELED"
        run = instance.get_run_by_id(end.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELED


# ---- how many at a time ----------------------------------------------------------------------------------------------


def test_presets_mean_scenes_at_a_time() -> None:
    assert {name: parallel_scenes(name) for name in PRESETS} == {"stable": 2, "balanced": 3, "fast": 4, "turbo": 6}
    assert parallel_scenes("turbo", 1) == 1
    assert parallel_scenes(requested=99) == 32
    assert parallel_scenes("turbo", scenes=4) == 4
    assert parallel_scenes(requested=20, scenes=5) == 5
    assert parallel_scenes(scenes=0) == 1
    with pytest.raises(ValueError, match="no preset"):
        parallel_scenes("ludicrous")


def executor_config(options: dict[str, Any]) -> Any:
    job = build_defs().resolve_job_def("render_movie")
    return ResolvedRunConfig.build(job, {"execution": {"config": options}}).execution.execution_engine_config


def test_render_options_of_a_run_reach_the_executor() -> None:
    """An executor configured with plain values would take no notice of them, and say nothing."""
    assert executor_config({})["multiprocess"]["max_concurrent"] == 3
    assert executor_config({"qualityPreset": "turbo"})["multiprocess"]["max_concurrent"] == 6
    assert executor_config({"qualityPreset": "turbo", "requestedConcurrency": 7})["multiprocess"]["max_concurrent"] == 7
    assert "in_process" in executor_config({"inProcess": True})
    assert "forkserver" in executor_config({})["multiprocess"]["start_method"]
    for wrong in ({"qualityPreset": "ludicrous"}, {"requestedConcurrency": "many"}, {"requestedConcurrency": 33}, {"speed": 2}):
        with pytest.raises(dg.DagsterError):
            executor_config(wrong)


# ---- parts: what one scene step is given ------------------------------------------------------------------------------


def test_parts_hold_each_scenes_pieces_and_sources_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))
    movie = reel(tmp_path / "movie", 4, voice=False)
    settings = settings_now()
    studio = open_studio(settings, store_of(settings)).beside(movie.parent)
    prepared = studio.prepare(json.loads(movie.read_text()), {})
    parts = list(parts_of(prepared))
    assert [p for part in parts for p in part.plan.pieces] == list(prepared.plan.pieces)
    assert [k for part in parts for k in part.clip_keys] == list(prepared.clip_keys)
    assert [[s.id for s in part.plan.scenes] for part in parts] == [["s0"], ["s1"], ["s2"], ["s3"]]
    for part in parts:
        shown = {v.content.sha256 for p in part.plan.pieces for v in p.visuals if hasattr(v.content, "sha256")}
        assert set(part.plan.sources) == shown
        assert read_prepared(prepared_json(part)) == part
    # The first scene shows the still alone; what a step reads does not grow with the film.
    assert len(parts[0].plan.sources) == 1


def test_a_font_beside_the_movie_reaches_the_step_that_draws_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = next(f for f in Path(fontpkg_inter.__file__).parent.rglob("*") if f.suffix in {".ttf", ".otf"})
    shutil.copy(font, tmp_path / "own.ttf")
    layer = {"type": "text", "text": "Hi", "fontUrl": "own.ttf", "fontSize": 60}
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        document = {"width": 360, "height": 360, "scenes": [{"id": "one", "duration": 0.2, "layers": [layer]}]}
        register(store_of(settings_now()), "m", document, str(tmp_path))
        assert run_asset_job(instance, "m", only="movie").success


# ---- processes and their folders -------------------------------------------------------------------------------------


def test_folders_of_ended_processes_are_swept_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    mine = own_scratch(tmp_path)
    machine, pid, started = mine.name.split("-")
    dead = tmp_path / f"{machine}-{pid}-{int(started) - 1}"  # the id again, of another process
    foreign = tmp_path / f"0123456789ab-{pid}-{started}"
    for folder in (mine, dead, foreign):
        (folder / "piece-x").mkdir(parents=True)
        (folder / "piece-x" / "half.mp4").write_bytes(b"half")
    now = foreign.stat().st_mtime
    assert sweep_scratch(tmp_path, now) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.name, foreign.name])
    assert sweep_scratch(tmp_path, now + 3 * 86400) == 1
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]
    assert sweep_scratch(tmp_path / "nothing", now) == 0


def test_upkeep_sweeps_what_killed_processes_left_and_old_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    with instance_of(home, monkeypatch) as instance:
        store = store_of(settings_now())
        mine = own_scratch(home / "scratch")
        machine, pid, _ = mine.name.split("-")
        left = home / "scratch" / f"{machine}-{pid}-1" / "piece-x" / "half.mp4"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
        kept = ["values/run-2/a/result.json", "values/assets/movie/m.json", "outputs/job_1/output.mp4"]
        for key in ["values/run-1/a/result.json", *kept]:
            store.put_bytes(key, b"1")
        for key in ("values/run-1/a/result.json", "values/assets/movie/m.json", "outputs/job_1/output.mp4"):
            path = store.local_path(key)
            assert path is not None
            os.utime(path, (1_700_000_000, 1_700_000_000))
        assert build_defs().resolve_job_def("upkeep").execute_in_process(instance=instance).success
    assert files(home / "scratch") == []
    assert sorted(key for key in store.list("") if not key.startswith("values/run-1")) == sorted(kept)
    assert store.stat("values/run-1/a/result.json") is None


def test_a_process_is_known_by_its_mark_while_it_runs_and_not_after() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "from viralsync_pipelines.render.lifeline import process_mark as m; print(m(), flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    mark = child.stdout.readline().strip()
    assert has_ended(mark) is False
    assert has_ended(process_mark()) is False
    child.communicate("")
    assert has_ended(mark) is True
    for no_mark in ("", "piece-abc", "0123456789ab-1-1", "x"):
        assert has_ended(no_mark) is None


def test_a_run_whose_process_was_killed_does_not_stay_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = build_defs().resolve_job_def("render_movie")
    machine, pid, started = process_mark().split("-")
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        marks = {"dead": f"{machine}-{pid}-{int(started) - 1}", "alive": process_mark(), "elsewhere": f"0123456789ab-{pid}-{started}"}
        going = {
            name: instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={WORKER_TAG: mark}).run_id
            for name, mark in marks.items()
        }
        going["other"] = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
        assert fail_abandoned(instance) == 1
        statuses = {name: instance.get_run_by_id(run_id) for name, run_id in going.items()}
    assert {n: r.status.value for n, r in statuses.items() if r is not None} == {
        "dead": "FAILURE", "alive": "STARTED", "elsewhere": "STARTED", "other": "STARTED"
    }  # fmt: skip


# ---- the inbox -------------------------------------------------------------------------------------------------------


PLAIN = {"id": "drop", "width": 360, "height": 360, "scenes": [{"id": "x", "duration": 0.2, "bgColor": "#336699", "layers": []}]}


class Inbox:
    """A store with an inbox, an instance, and the sensor's cursor from tick to tick."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.store = LocalStore(home / "store")
        self.instance = instance
        self.cursor: str | None = None
        self.sensor = inbox_sensor(render_movie)

    def drop(self, name: str, document: Any) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.store.put_bytes(f"inbox/{name}", data)

    def tick(self) -> Any:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources={"studio": StudioResource()})
        result: Any = self.sensor(context)
        self.cursor = result.cursor
        return result

    def problems(self, name: str) -> list[str]:
        return [p["code"] for p in json.loads(self.store.get_bytes(f"inbox/{name}"))["problems"]]


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        yield Inbox(tmp_path / "home", instance)


def test_each_dropped_movie_is_asked_for_once(inbox: Inbox) -> None:
    inbox.drop("a.json", PLAIN)
    first = inbox.tick()
    (request,) = first.run_requests
    assert request.partition_key == "drop"
    assert [r.partition_keys for r in first.dynamic_partitions_requests] == [["drop"]]
    assert not inbox.tick().run_requests
    # Dropped again, with other blanks or under another name: the run key is the same, and Dagster runs it once.
    inbox.drop("a.json", json.dumps(PLAIN, indent=4).encode())
    inbox.drop("copy.json", PLAIN)
    assert {r.run_key for r in inbox.tick().run_requests} == {request.run_key}
    changed_one = {**PLAIN, "title": "Another"}
    inbox.drop("a.json", changed_one)
    (other,) = inbox.tick().run_requests
    assert other.run_key != request.run_key
    assert find_registered(inbox.store, "drop") == (changed_one, "")


def test_the_run_that_is_asked_for_renders_exactly_that_version(inbox: Inbox) -> None:
    inbox.drop("a.json", PLAIN)
    (request,) = inbox.tick().run_requests
    register(inbox.store, "drop", {**PLAIN, "scenes": []}, "")  # changed meanwhile
    inbox.instance.add_dynamic_partitions("movies", ["drop"])
    result = run_asset_job(inbox.instance, "drop", config=request.run_config, **request.tags)
    assert result.success


def test_a_refused_movie_gets_its_reasons_beside_it_until_it_is_mended(inbox: Inbox) -> None:
    inbox.drop("bad.json", {**PLAIN, "width": 361})
    assert not inbox.tick().run_requests
    assert inbox.problems("bad.problems.json")
    assert not inbox.tick().run_requests
    inbox.drop("bad.json", PLAIN)
    assert len(inbox.tick().run_requests) == 1
    assert inbox.store.stat("inbox/bad.problems.json") is None


def test_a_half_written_file_is_waited_for_and_a_broken_one_refused(inbox: Inbox) -> None:
    whole = json.dumps(PLAIN).encode()
    inbox.drop("slow.json", whole[:40])
    assert not inbox.tick().run_requests
    assert inbox.store.stat("inbox/slow.problems.json") is None
    inbox.drop("slow.json", whole[:80])
    assert not inbox.tick().run_requests
    inbox.drop("slow.json", whole)
    assert len(inbox.tick().run_requests) == 1
    assert inbox.store.stat("inbox/slow.problems.json") is None
    inbox.drop("broken.json", b'{"scenes": ')
    inbox.tick()
    inbox.tick()
    assert inbox.problems("broken.problems.json") == ["DOCUMENT_INVALID"]


def test_what_only_planning_finds_is_told_beside_the_file_too(inbox: Inbox) -> None:
    inbox.drop("far.json", {**PLAIN, "scenes": [{"id": "x", "duration": 1, "layers": [{"type": "image", "src": "file:///etc/passwd"}]}]})
    (request,) = inbox.tick().run_requests
    inbox.instance.add_dynamic_partitions("movies", ["drop"])
    config = {"ops": {"movie": request.run_config["ops"]["movie"]}}
    result = run_asset_job(inbox.instance, "drop", only="movie", config=config, **request.tags)
    assert not result.success
    assert inbox.problems("far.problems.json") == ["SOURCE_REFUSED"]
    assert not inbox.tick().run_requests


def test_five_hundred_files_take_several_ticks_and_none_is_lost(inbox: Inbox) -> None:
    for number in range(500):
        inbox.drop(f"m{number:03d}.json", {**PLAIN, "id": f"m{number}"})
    seen: dict[str, str] = {}
    wanted: list[str] = []
    ticks = 0
    while len(wanted) < 500:
        ticks += 1
        tick = look(inbox.store, seen)
        assert 0 < len(tick.wanted) <= TICK_RUNS
        wanted += [movie_id for _, movie_id, _ in tick.wanted]
        seen = tick.seen
    assert ticks == 5
    assert sorted(wanted) == sorted(f"m{n}" for n in range(500))
    assert look(inbox.store, seen).wanted == []


def test_a_slow_store_does_not_make_a_tick_longer_than_dagster_waits(inbox: Inbox) -> None:
    for number in range(30):
        inbox.drop(f"m{number:03d}.json", {**PLAIN, "id": f"m{number}"})
    times = iter(range(0, 10_000, 3))  # three seconds between two looks at the clock
    first = look(inbox.store, {}, lambda: float(next(times)))
    assert 0 < len(first.wanted) < 10
    # What was not reached is neither forgotten nor taken for done.
    assert set(first.seen) == {key for key, _, _ in first.wanted}


def test_a_file_that_was_removed_is_forgotten(inbox: Inbox) -> None:
    inbox.drop("a.json", PLAIN)
    inbox.tick()
    inbox.store.delete("inbox/a.json")
    inbox.tick()
    assert json.loads(inbox.cursor or "") == {}


# ---- where Dagster keeps its state -----------------------------------------------------------------------------------


def test_dagster_yaml_and_the_package_say_the_same(tmp_path: Path) -> None:
    """One is for people who clone the repository, the other for an installed package."""
    import yaml

    from viralsync_pipelines.defs.instance import CONFIG, WORKSPACE

    assert yaml.safe_load(CONFIG) == yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert yaml.safe_load(WORKSPACE) == yaml.safe_load((ROOT / "workspace.yaml").read_text())


def test_state_lies_under_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        instance.compute_log_manager.get_log_metadata(["x"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dagster.yaml", "home"]
    assert (tmp_path / "home" / "dagster" / "history").is_dir()


def test_database_url_puts_the_state_into_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server() as url:
        monkeypatch.setenv("DATABASE_URL", url)
        with instance_of(tmp_path / "home", monkeypatch) as instance:
            instance.add_dynamic_partitions("movies", ["m"])
            register(store_of(settings_now()), "m", PLAIN, "")
            result = run_asset_job(instance, "m")
            assert result.success
            assert instance.get_run_by_id(result.run_id) is not None
            assert instance.get_latest_materialization_event(dg.AssetKey("movie")) is not None
    assert not (tmp_path / "home" / "dagster" / "history").exists()


def test_nothing_but_the_home_modules_reaches_into_dagsters_insides() -> None:
    package = ROOT / "viralsync_pipelines"
    texts = {p.relative_to(package).as_posix(): p.read_text() for p in package.rglob("*.py")}
    found = {name for name, text in texts.items() if re.search(r"(from|import) dagster\._", text)}
    # Each says why: storage and launcher classes have no public path.
    homes = {"defs/home.py", "defs/home_sqlite.py", "defs/home_postgres.py", "defs/told_events.py", "defs/run_stamps.py"}
    assert found == {*homes, "defs/launcher.py"}


def test_the_definitions_are_valid_as_dagster_checks_them() -> None:
    defs = build_defs()
    dg.Definitions.validate_loadable(defs)
    assert {str(key.path[-1]) for key in defs.resolve_asset_graph().get_all_asset_keys()} == {"generated_media", "movie", "narration"}
    assert defs.resolve_job_def("render_movie").partitions_def is not None


def test_a_step_writes_what_it_prints_where_the_ui_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        key = ["run", "compute_logs", "step"]
        with instance.compute_log_manager.capture_logs(key):
            os.write(1, b"to stdout\n")
            os.write(2, b"to stderr\n")
        data = instance.compute_log_manager.get_log_data(key)
        assert instance.compute_log_manager.is_capture_complete(key)
    assert (data.stdout, data.stderr) == (b"to stdout\n", b"to stderr\n")
