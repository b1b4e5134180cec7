"""Runs driven over Dagster's own web server: what is launched is exactly what was ordered, once, and nothing is left half done.

The first part needs a web server alone: nobody takes runs out of the queue. The second part, marked slow, has a daemon as well.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reels import alive, end, environ, files, packets, reel, viralsync, wait_until
from tests.servers.cutting import Wire, wire_to
from tests.test_dagster import instance_of, run_asset_job, steps_of
from tests.test_ui import TOOLS, free_port, serving
from viralsync_pipelines.defs.build import build_defs
from viralsync_pipelines.defs.instance import dagster_home
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.errors import RenderUnavailable, RunRefused
from viralsync_pipelines.jobs.lines import parse_progress, progress_line
from viralsync_pipelines.jobs.orders import JOB_TAG, RenderOrder, SpeechOrder
from viralsync_pipelines.jobs.run_config import config_again, narration_config, ops_config
from viralsync_pipelines.orchestrator.door import Patience, open_client
from viralsync_pipelines.orchestrator.graphql import DagsterApi
from viralsync_pipelines.render.registry import keep_version, register
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.local import LocalStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
HASTY = Patience(connect_s=1.0, launch_s=15.0, answer_s=10.0, settle_s=5.0, starting_s=180.0, look_s=0.05)


@dataclass
class Hall:
    """A home whose web server answers."""

    home: Path
    port: int
    instance: dg.DagsterInstance
    opened: list[DagsterApi] = field(default_factory=list)

    def api(self, port: int | None = None, location: str = "viralsync", **patience: float) -> DagsterApi:
        """Closed when the test is over."""
        made = DagsterApi(
            f"http://127.0.0.1:{port or self.port}", location=location, patience=Patience(**{**HASTY.__dict__, **patience})
        )
        self.opened.append(made)
        return made

    def runs(self, job_id: str) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(tags={JOB_TAG: job_id})))

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run


@pytest.fixture(autouse=True)
def close_clients(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("hall", "studio"):
        place = request.getfixturevalue(name) if name in request.fixturenames else None
        while place is not None and place.opened:
            place.opened.pop().close()


def order(number: int, **fields: Any) -> RenderOrder:
    return RenderOrder(**{"job_id": f"job_{number:012x}", "partition": f"film-{number}", "document": f"movies/film/{number:064x}.json", **fields})


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A web server without a daemon: what is launched stays in the queue."""
    home, port = tmp_path_factory.mktemp("hall") / "home", free_port()
    folder = dagster_home(Settings(home=home, store=(home / "store").as_uri()))
    argv = ["/usr/bin/env", f"DAGSTER_HOME={folder}", str(TOOLS / "dagster-webserver"), "-w", str(folder / "workspace.yaml"), "-p", str(port)]
    with pytest.MonkeyPatch.context() as patch, serving(argv, home, port), instance_of(home, patch) as instance:
        yield Hall(home, port, instance)


@pytest.fixture
def wire(hall: Hall) -> Iterator[Wire]:
    with wire_to(hall.port) as wire:
        yield wire


# ---- launching -------------------------------------------------------------------------------------------------------


def test_an_order_stands_in_the_queue_after_one_request_exactly_as_given(hall: Hall, wire: Wire) -> None:
    wanted = order(
        1, variables={"name": "Zoë", "n": 3, "deep": {"a": [1, None, True]}}, draft=True, fresh=("2", "3"), preset="stable", concurrency=5,
        tags={"viralsync/workspace": "acme", "viralsync/plan.pro": "acme", "dagster/priority": "5"},
    )  # fmt: skip
    api = hall.api(wire.port)
    run = hall.run(api.launch(wanted))
    assert wire.requests == 1
    assert (run.status, run.job_name) == (dg.DagsterRunStatus.QUEUED, "render_movie")
    assert {k: v for k, v in run.tags.items() if k != "dagster/code_location"} == {
        **wanted.tags, JOB_TAG: wanted.job_id, "dagster/partition": "film-1", "viralsync/fresh": "2,3"
    }  # fmt: skip
    take = {
        "document": wanted.document, "variables": {"name": "Zoë", "n": 3, "deep": {"a": [1, None, True]}}, "draft": True, "fresh": ["2", "3"],
    }  # fmt: skip
    assert run.run_config == {
        "ops": {"narration": {"ops": {"find_lines": {"config": take}}}, "movie": {"ops": {"plan_film": {"config": take}}}},
        "execution": {"config": {"qualityPreset": "stable", "requestedConcurrency": 5}},
    }  # fmt: skip
    assert hall.instance.has_dynamic_partition("movies", "film-1")


def test_a_narration_stands_in_the_queue_once_and_is_tried_again_with_lines_to_speak_anew(hall: Hall, wire: Wire) -> None:
    api = hall.api(wire.port)
    wanted = SpeechOrder("job_00000005bee5", "narrations/ab/abc.json", {"viralsync/workspace": "acme"})
    run_id = api.narrate(wanted)
    assert wire.requests == 1
    run = hall.run(run_id)
    assert (run.status, run.job_name, run.run_config) == (dg.DagsterRunStatus.QUEUED, "narrate_text", narration_config(wanted.document))
    assert {k: v for k, v in run.tags.items() if k != "dagster/code_location"} == {**wanted.tags, JOB_TAG: wanted.job_id}
    assert api.narrate(wanted, resumed=True) == run_id
    again = hall.run(api.again(run_id, tags={}, changes={}, fresh=("2",)))
    assert (again.parent_run_id, again.run_config) == (run_id, narration_config(wanted.document, fresh=("2",)))
    assert again.tags[JOB_TAG] == wanted.job_id


def test_a_movie_may_be_ordered_again_and_its_attempts_name_what_they_repeat(hall: Hall) -> None:
    api = hall.api()
    first = api.launch(order(2))
    second = hall.run(api.launch(order(2, parent_run=first, root_run=first)))
    assert (second.parent_run_id, second.root_run_id) == (first, first)


def test_an_order_that_is_taken_up_again_makes_no_second_run(hall: Hall) -> None:
    """Whoever sent it first was killed before it could say so."""
    api = hall.api(settle_s=0.5)
    run_id = api.launch(order(0xA))
    assert api.launch(order(0xA), resumed=True) == run_id
    again = api.launch(order(0xA, parent_run=run_id, root_run=run_id), resumed=True)
    assert api.launch(order(0xA, parent_run=run_id, root_run=run_id), resumed=True) == again != run_id
    job = build_defs().resolve_job_def("render_movie")
    hall.instance.create_run_for_job(job, tags={JOB_TAG: "job_00000000000b"})  # and died before it was in the queue
    fresh = api.launch(order(0xB), resumed=True)
    assert [(run.run_id, run.status.value) for run in hall.runs("job_00000000000b")] == [(fresh, "QUEUED")]


def test_dagster_away_is_told_and_leaves_nothing(hall: Hall) -> None:
    nobody = hall.api(free_port())
    with pytest.raises(RenderUnavailable) as told:
        nobody.launch(order(3))
    assert told.value.code == "RENDER_UNAVAILABLE"
    assert not told.value.unsure
    assert not nobody.answers()
    assert hall.api().answers()
    elsewhere = hall.api(location="elsewhere")
    assert not elsewhere.answers()
    with pytest.raises(RenderUnavailable, match="elsewhere"):
        elsewhere.launch(order(3))
    assert hall.runs("job_000000000003") == []


def test_what_is_no_dagster_is_not_taken_for_one(hall: Hall) -> None:
    """A wrong address in the settings: another server answers there."""
    import http.server

    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<h1>not here</h1>")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(RenderUnavailable, match="check the address"):
            hall.api(server.server_port).launch(order(4))
        server.shutdown()


@pytest.mark.parametrize("lose", ["answer", "hang"])
def test_a_lost_answer_is_looked_for_and_the_order_not_sent_twice(hall: Hall, wire: Wire, lose: str) -> None:
    api = hall.api(wire.port, launch_s=1.0)
    number = {"answer": 5, "hang": 6}[lose]
    wire.lose = lose
    run_id = api.launch(order(number))
    assert [run.run_id for run in hall.runs(f"job_{number:012x}")] == [run_id]
    assert hall.run(run_id).status is dg.DagsterRunStatus.QUEUED
    wire.lose = lose
    again = api.again(run_id, tags={}, changes={}, fresh=())
    assert {run.run_id for run in hall.runs(f"job_{number:012x}")} == {run_id, again}


def test_a_request_that_never_arrived_is_no_run(hall: Hall, wire: Wire) -> None:
    wire.lose = "request"
    with pytest.raises(RenderUnavailable) as told:
        hall.api(wire.port, settle_s=0.5).launch(order(7))
    assert told.value.unsure
    assert hall.runs("job_000000000007") == []


def test_a_run_that_was_made_and_never_queued_does_not_stay(hall: Hall, wire: Wire) -> None:
    """The web server was killed between the two: nobody would ever start it."""
    job = build_defs().resolve_job_def("render_movie")
    hall.instance.create_run_for_job(job, tags={JOB_TAG: "job_000000000008"})
    wire.lose = "request"
    with pytest.raises(RenderUnavailable):
        hall.api(wire.port, settle_s=0.5).launch(order(8))
    assert hall.runs("job_000000000008") == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"preset": "ludicrous"}, "qualityPreset"), ({"concurrency": 99}, "between 1 and 32"), ({"variables": {"x": float("nan")}}, "JSON")],
)
def test_what_dagster_refuses_is_told_in_its_words_and_leaves_nothing(hall: Hall, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(RunRefused, match=told) as refused:
        hall.api().launch(order(9, **fields))
    assert refused.value.code == "RUN_REFUSED"
    assert hall.runs("job_000000000009") == []


def test_many_orders_at_once_each_make_one_run(hall: Hall) -> None:
    api, made, took = hall.api(), dict[int, str](), list[float]()

    def send(number: int) -> None:
        began = time.perf_counter()
        made[number] = api.launch(order(number))
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=send, args=(0x100 + n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: [run.run_id for run in hall.runs(f"job_{number:012x}")] for number in made} == {n: [r] for n, r in made.items()}
    print(f"twelve launches at once: median {statistics.median(took) * 1000:.0f} ms")


# ---- another try -----------------------------------------------------------------------------------------------------


def test_another_try_takes_everything_over_but_what_it_is_told_to_change(hall: Hall) -> None:
    api = hall.api()
    first = api.launch(
        order(0x20, variables={"a": 1, "b": 2}, fresh=("1",), preset="fast", tags={"viralsync/project_id": "p", "dagster/priority": "-5"})
    )
    again = hall.run(api.again(first, tags={"dagster/priority": "5"}, changes={"b": 3, "c": [4]}, fresh=("3",)))
    assert (again.parent_run_id, again.root_run_id, again.status) == (first, first, dg.DagsterRunStatus.QUEUED)
    assert {k: v for k, v in again.tags.items() if k != "dagster/code_location"} == {
        JOB_TAG: "job_000000000020", "viralsync/project_id": "p", "viralsync/fresh": "3", "dagster/priority": "5", "dagster/partition": "film-32",
        "dagster/parent_run_id": first, "dagster/root_run_id": first,
    }  # fmt: skip
    for asset, op in (("narration", "find_lines"), ("movie", "plan_film")):
        take = again.run_config["ops"][asset]["ops"][op]["config"]
        assert take == {"document": order(0x20).document, "variables": {"a": 1, "b": 3, "c": [4]}, "fresh": ["3"]}
    assert again.run_config["execution"] == {"config": {"qualityPreset": "fast"}}
    assert again.step_keys_to_execute == hall.run(first).step_keys_to_execute  # every step
    third = hall.run(api.again(again.run_id, tags={}, changes={}, fresh=()))
    assert (third.parent_run_id, third.root_run_id) == (again.run_id, first)
    assert "fresh" not in third.run_config["ops"]["movie"]["ops"]["plan_film"]["config"]
    assert "viralsync/fresh" not in third.tags


def test_a_run_from_the_ui_is_tried_again_with_its_selection_and_keeps_its_job(hall: Hall) -> None:
    hall.instance.add_dynamic_partitions("movies", ["ui"])
    first = materialize(hall.port, ["movie"], "ui")
    api = hall.api()
    again = hall.run(api.again(first, tags={}, changes={"x": 1}, fresh=("*",)))
    assert again.job_name == "__ASSET_JOB"
    assert {key.path[-1] for key in again.asset_selection or ()} == {"movie"}
    assert again.tags[JOB_TAG] == "job_" + first.replace("-", "")[:12]
    assert again.tags["dagster/partition"] == "ui"
    assert again.run_config == {"ops": {"movie": {"ops": {"plan_film": {"config": {"variables": {"x": 1}, "fresh": ["*"]}}}}}}
    third = hall.run(api.again(again.run_id, tags={}, changes={}, fresh=()))
    assert third.tags[JOB_TAG] == again.tags[JOB_TAG]


def test_a_run_of_another_kind_is_tried_again_as_it_is(hall: Hall) -> None:
    job = build_defs().resolve_job_def("upkeep")
    first = hall.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE).run_id
    api = hall.api()
    with pytest.raises(RunRefused, match="no variables"):
        api.again(first, tags={}, changes={"x": 1}, fresh=())
    again = hall.run(api.again(first, tags={}, changes={}, fresh=("*",)))
    assert (again.job_name, again.parent_run_id, again.run_config) == ("upkeep", first, {})
    with pytest.raises(RunRefused) as gone:
        api.again("00000000-0000-0000-0000-000000000000", tags={}, changes={}, fresh=())
    assert gone.value.code == "RUN_NOT_FOUND"


def test_a_render_of_the_command_line_is_tried_again_in_the_queue(hall: Hall) -> None:
    """Its process is not ours: the mark of it would have the new run taken for abandoned."""
    config = {"ops": ops_config({"document": "movies/a", "folder": "/films"}), "execution": {"config": {"requestedConcurrency": 1, "inProcess": True}}}
    job = build_defs().resolve_job_def("render_movie")
    tags = {JOB_TAG: "job_000000000021", "viralsync/worker": "0123456789ab-1-1", "dagster/partition": "cli"}
    first = hall.instance.create_run_for_job(job, run_config=config, status=dg.DagsterRunStatus.FAILURE, tags=tags).run_id
    again = hall.run(hall.api().again(first, tags={}, changes={}, fresh=()))
    assert "viralsync/worker" not in again.tags
    assert again.run_config["execution"] == {"config": {"requestedConcurrency": 1}}
    assert again.run_config["ops"] == config["ops"]
    assert hall.instance.has_dynamic_partition("movies", "cli")


@pytest.mark.parametrize("config", [{}, {"ops": {}}, {"ops": {"movie": {}}}, {"ops": ops_config({"draft": True})}], ids=str)
def test_configuration_for_another_try_never_changes_the_old_one(config: dict[str, Any]) -> None:
    before = json.dumps(config)
    assert config_again(config, {}, (), {"movie"}) == config
    new = config_again(config, {"x": 1}, ("1",), {"movie"})["ops"]["movie"]["ops"]["plan_film"]["config"]
    assert (new["variables"], new["fresh"]) == ({"x": 1}, ["1"])
    assert json.dumps(config) == before


@given(st.integers(1, 10**6), st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 10**6))
def test_what_a_step_says_of_its_progress_is_read_back(scene: int, frame: int, total: int, fps: int) -> None:
    line = progress_line(scene, frame, total, fps)
    assert parse_progress(line) == parse_progress(f"12:00 {line}\n") == (scene, frame, total, fps)


@given(st.integers(0, 9), st.text(st.characters(exclude_categories=("Nd",)), max_size=8))
def test_other_lines_are_no_progress(place: int, other: str) -> None:
    words = progress_line(2, 45, 90, 30.0).split()
    assert parse_progress(" ".join(words)) == (2, 45, 90, 30.0)
    changed = " ".join((*words[:place], f"{other}-", *words[place + 1 :]))
    assert parse_progress(changed) is None
    assert parse_progress(other) is None


# ---- ending ----------------------------------------------------------------------------------------------------------


def test_a_queued_run_is_cancelled_and_then_forgotten(hall: Hall) -> None:
    api = hall.api()
    run_id = api.launch(order(0x30))
    with pytest.raises(RunRefused) as active:
        api.forget(run_id)
    assert active.value.code == "RUN_ACTIVE"
    assert api.cancel(run_id) is True
    assert hall.run(run_id).status is dg.DagsterRunStatus.CANCELED
    assert api.cancel(run_id) is False
    assert api.cancel(run_id, force=True) is False
    api.forget(run_id)
    assert hall.instance.get_run_by_id(run_id) is None
    assert not list(hall.instance.all_logs(run_id))
    api.forget(run_id)
    assert api.cancel(run_id) is False


def test_a_run_whose_process_is_gone_can_be_marked_as_ended(hall: Hall) -> None:
    job = build_defs().resolve_job_def("render_movie")
    run = hall.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    api = hall.api()
    assert api.cancel(run.run_id) is True  # asked; nobody is there to hear it
    assert hall.run(run.run_id).status is dg.DagsterRunStatus.CANCELING
    assert api.cancel(run.run_id, force=True) is True
    assert hall.run(run.run_id).status is dg.DagsterRunStatus.CANCELED


def test_a_run_that_never_reached_the_queue_can_be_cancelled(hall: Hall) -> None:
    job = build_defs().resolve_job_def("render_movie")
    run = hall.instance.create_run_for_job(job)
    assert hall.api(settle_s=0.2).cancel(run.run_id) is True
    assert hall.run(run.run_id).status is dg.DagsterRunStatus.CANCELED


def test_a_run_that_is_being_started_is_waited_for(hall: Hall) -> None:
    """Dagster can end neither the one nor tell it; marked as ended it would begin all the same."""
    job = build_defs().resolve_job_def("render_movie")
    run = hall.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING)
    with pytest.raises(RenderUnavailable, match="STARTING"):
        hall.api(starting_s=0.3).cancel(run.run_id)

    def begin() -> None:
        event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, run.job_name, message="")
        hall.instance.report_dagster_event(event, run.run_id)

    later = threading.Timer(0.5, begin)
    later.start()
    assert hall.api().cancel(run.run_id) is True
    later.join()
    assert hall.run(run.run_id).status is dg.DagsterRunStatus.CANCELING


def materialize(port: int, assets: list[str], partition: str) -> str:
    """What the UI's button sends."""
    params = {
        "selector": {
            "repositoryLocationName": "viralsync", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in assets],
        },
        "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
    }  # fmt: skip
    query = """mutation($p: ExecutionParams!) {launchPipelineExecution(executionParams: $p) {
        __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
    with open_client() as client:
        said = client.post(f"http://127.0.0.1:{port}/graphql", json={"query": query, "variables": {"p": params}}, timeout=30).json()
    return str(said["data"]["launchPipelineExecution"]["run"]["runId"])


# ---- scenes made anew ------------------------------------------------------------------------------------------------


def plain(movie_id: str, scenes: int = 3, seconds: float = 0.3, side: int = 360) -> dict[str, Any]:
    """A film of drawn titles, which needs nothing from elsewhere. Its first scenes say `{{ mark }}`."""
    parts = [
        {
            "id": f"s{n}", "duration": seconds, "bgColor": f"#3366{n:02d}",
            "layers": [{"type": "text", "text": f"{movie_id} {n} {{{{ mark }}}}", "fontSize": 40, "color": "#ffffff"}],
        }
        for n in range(scenes)
    ]  # fmt: skip
    return {"id": movie_id, "width": side, "height": side, "fps": 30, "variables": {"mark": "x"}, "scenes": parts}


Files = Mapping[str, tuple[int, int, bytes]]


def made_of(home: Path, kind: str) -> Files:
    """Cached files of a kind, each with what tells it from another of the same name and bytes."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in files(home / "store" / "cache" / kind)}


def changed(before: Files, after: Files, ending: str = "") -> set[str]:
    return {name for name in after if name.endswith(ending) and before.get(name, ())[:2] != after[name][:2]}


def test_only_the_scenes_that_are_named_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    with instance_of(home, monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        register(store_of(settings_now()), "m", plain("m"), "")

        def render(**take: Any) -> dict[str, dict[str, Any]]:
            result = run_asset_job(instance, "m", config={"ops": ops_config(take)}, **{JOB_TAG: "job_0123456789ab"})
            assert result.success
            return steps_of(instance, result.run_id)

        first = render()
        clips, films, sounds = (made_of(home, kind) for kind in ("clips", "films", "sounds"))
        own = {n: {f"{key}.mp4" for key in first[f"movie.render_scene[scene_00{n}]"]["clips"]} for n in (1, 2, 3)}
        second = render(fresh=["2"])
        assert {k[-4:-1]: v["cache"] for k, v in second.items() if "render_scene" in k} == {"001": "hit", "002": "miss", "003": "hit"}
        assert (second["movie.plan_film"]["cache_hits"], second["movie.plan_film"]["cache_misses"]) == (2, 1)
        assert (second["movie.mix_film_sound"]["cache"], second["movie.assemble_film"]["cache"]) == ("hit", "miss")
        assert changed(clips, made_of(home, "clips"), ".mp4") == own[2]
        assert {k: v[2] for k, v in made_of(home, "clips").items()} == {k: v[2] for k, v in clips.items()}
        assert changed(films, made_of(home, "films")) == set(films)
        assert changed(sounds, made_of(home, "sounds")) == set()
        third = render(fresh=["*"])
        assert {v["cache"] for k, v in third.items() if "render_scene" in k or "assemble" in k or "mix" in k} == {"miss"}
        assert changed(clips, made_of(home, "clips"), ".mp4") == own[1] | own[2] | own[3]
        assert changed(sounds, made_of(home, "sounds")) == set(sounds)
        fourth = render()
        assert {v["cache"] for k, v in fourth.items() if "render_scene" in k or "assemble" in k} == {"hit"}
        assert packets(home / "store" / "outputs" / "job_0123456789ab" / "output.mp4") == 27


def test_another_try_with_other_variables_has_a_plan_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan never changes; a job's second attempt may all the same be of another film."""
    home = tmp_path / "home"
    with instance_of(home, monkeypatch) as instance:
        instance.add_dynamic_partitions("movies", ["m"])
        store = store_of(settings_now())
        register(store, "m", plain("m", 2), "")
        tags = {JOB_TAG: "job_0123456789ab"}
        plans = []
        for variables in ({}, {"mark": "other"}, {"mark": "other"}):
            result = run_asset_job(instance, "m", config={"ops": ops_config({"variables": variables})}, **tags)
            assert result.success
            plans.append(steps_of(instance, result.run_id)["movie.plan_film"]["plan"])
        assert plans[0] == "render-plans/job_0123456789ab/plan.json"
        assert plans[1] == plans[2] != plans[0]
        assert list(store.list("render-plans/")) == sorted(set(plans))
        wrong = run_asset_job(instance, "m", config={"ops": {"movie": ops_config({"fresh": ["3"]})["movie"]}}, only="movie")
        (failed,) = [e for e in wrong.all_events if e.is_step_failure]
        assert "SCENE_NOT_FOUND" in failed.step_failure_data.user_failure_data.description


def test_steps_say_on_their_output_what_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what people watch while a film is made; a command that renders in its own process prints nothing of it."""
    home, movie = tmp_path / "home", reel(tmp_path / "movie", 2)
    done = viralsync(home, "render", "--json", movie, "-o", tmp_path / "film.mp4")
    answer = json.loads(done.stdout)
    assert done.stderr == ""
    with instance_of(home, monkeypatch) as instance:
        said = printed(instance, answer["runId"])
        facts = steps_of(instance, answer["runId"])["movie.finalize_film"]
    assert "scene 1: frame 12 of 12, " in said
    assert "scene 2: frame 15 of 15, " in said
    assert " s: Line 0.\n" in said
    assert "LUFS" in said
    assert "joined 3 clips and the sound: 27 frames" in said
    assert "frame_count: as wanted" in said
    assert facts["key"] == f"outputs/{answer['jobId']}/output.mp4"
    assert (facts["job"], facts["width"], facts["height"]) == (answer["jobId"], 360, 640)


def printed(instance: dg.DagsterInstance, run_id: str) -> str:
    """Everything that a run's steps printed to standard output."""
    said = ""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED):
        data: Any = entry.get_dagster_event().event_specific_data
        said += (instance.compute_log_manager.get_log_data([run_id, "compute_logs", data.file_key]).stdout or b"").decode()
    return said


# ---- with a daemon ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A web server and a daemon: what is launched is made."""
    home, port = tmp_path_factory.mktemp("studio") / "home", free_port()
    folder = dagster_home(Settings(home=home, store=(home / "store").as_uri()))
    web = ["/usr/bin/env", f"DAGSTER_HOME={folder}", str(TOOLS / "dagster-webserver"), "-w", str(folder / "workspace.yaml"), "-p", str(port)]
    with pytest.MonkeyPatch.context() as patch, instance_of(home, patch) as instance, serving(web, home, port):
        log = (home.parent / "daemon.log").open("ab")
        daemon = subprocess.Popen(
            [str(TOOLS / "dagster-daemon"), "run", "-w", str(folder / "workspace.yaml")],
            env=environ(home, DAGSTER_HOME=str(folder)), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        assert instance.compute_log_manager  # made when it is first asked for, from the environment of that moment
        try:
            yield Hall(home, port, instance)
        finally:
            daemon.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            log.close()
            end(daemon, home)


def kept(hall: Hall, document: dict[str, Any]) -> str:
    return keep_version(LocalStore(hall.home / "store"), document["id"], document)


def ended(hall: Hall, run_id: str, seconds: float = 240.0) -> str:
    wait_until(lambda: hall.run(run_id).is_finished, seconds, 0.1)
    return hall.run(run_id).status.value


def started(hall: Hall, run_id: str) -> None:
    wait_until(lambda: hall.run(run_id).status is dg.DagsterRunStatus.STARTED, 240, 0.05)


@pytest.mark.slow
def test_an_order_becomes_a_film_and_a_scene_of_it_is_made_anew(studio: Hall) -> None:
    api = studio.api()
    first = api.launch(order(0x40, partition="film", document=kept(studio, plain("film"))))
    assert ended(studio, first) == "SUCCESS"
    before = made_of(studio.home, "clips")
    own = steps_of(studio.instance, first)["movie.render_scene[scene_002]"]["clips"]
    again = api.again(first, tags={}, changes={}, fresh=("2",))
    assert ended(studio, again) == "SUCCESS"
    assert changed(before, made_of(studio.home, "clips"), ".mp4") == {f"{key}.mp4" for key in own}
    assert len([k for k in steps_of(studio.instance, again) if "render_scene" in k]) == 3
    assert "scene 2: frame 9 of 9, " in printed(studio.instance, again)
    other = api.again(again, tags={}, changes={"mark": "other"}, fresh=())
    assert ended(studio, other) == "SUCCESS"
    assert packets(studio.home / "store" / "outputs" / "job_000000000040" / "output.mp4") == 27


@pytest.mark.slow
def test_a_running_run_is_cancelled_with_its_processes(studio: Hall) -> None:
    api = studio.api()
    run_id = api.launch(order(0x41, partition="long", document=kept(studio, plain("long", 3, 300, 720))))
    wait_until(lambda: alive(studio.home, only="ffmpeg"), 240, 0.1)
    began = time.monotonic()
    assert api.cancel(run_id) is True
    assert ended(studio, run_id) == "CANCELED"
    print(f"a running run was cancelled {time.monotonic() - began:.2f} s after it was asked for")
    wait_until(lambda: not alive(studio.home, only="ffmpeg"), 30)
    assert api.cancel(run_id) is False


@pytest.mark.slow
def test_a_run_just_taken_from_the_queue_is_cancelled_for_good(studio: Hall) -> None:
    """Dagster marks a run that it is starting as ended, and starts it."""
    api = studio.api()
    document = kept(studio, plain("caught", 3, 300, 720))
    for number in range(2):
        run_id = api.launch(order(0x50 + number, partition="caught", document=document))
        wait_until(lambda run_id=run_id: hall_status(studio, run_id) not in {"QUEUED", "NOT_STARTED"}, 240, 0.03)
        assert api.cancel(run_id) is True
        assert ended(studio, run_id) == "CANCELED"
    time.sleep(3)
    assert [hall_status(studio, run.run_id) for n in range(2) for run in studio.runs(f"job_{0x50 + n:012x}")] == ["CANCELED"] * 2
    assert not alive(studio.home, only="ffmpeg")


def hall_status(hall: Hall, run_id: str) -> str:
    return hall.run(run_id).status.value


@pytest.mark.slow
def test_attempts_of_one_job_wait_for_each_other_and_urgent_work_goes_first(studio: Hall) -> None:
    api = studio.api()
    document = kept(studio, plain("queue", 3, 300, 720))
    free = {"viralsync/plan.free": "acme"}
    first = api.launch(order(0x60, partition="queue", document=document, tags=free))
    started(studio, first)
    attempt = api.launch(order(0x60, partition="queue", document=document, parent_run=first, root_run=first))
    low = api.launch(order(0x61, partition="queue", document=document, tags={**free, "dagster/priority": "-5"}))
    high = api.launch(order(0x62, partition="queue", document=document, tags={**free, "dagster/priority": "5"}))
    other = api.launch(order(0x63, partition="queue", document=document, tags={"viralsync/plan.free": "other"}))
    started(studio, other)  # another workspace has a place of its own
    time.sleep(3)  # three looks into the queue
    assert {hall_status(studio, run) for run in (attempt, low, high)} == {"QUEUED"}
    assert api.cancel(first)
    started(studio, attempt)
    started(studio, high)
    assert hall_status(studio, low) == "QUEUED"
    for run in (attempt, low, high, other):
        api.cancel(run)
    assert {ended(studio, run) for run in (first, attempt, low, high, other)} == {"CANCELED"}
