"""The promises of what a job shows: estimates, progress of parents, types and ids, and the job object itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viralsync_pipelines.jobs import kinds
from viralsync_pipelines.jobs.eta import Estimate, estimate, size_class
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Counts, Job, Mode, Stage, Status
from viralsync_pipelines.jobs.view import Surroundings, iso, job_object

# ---- when it will be done --------------------------------------------------------------------------------------------

NOW = 1_700_000_000_000
durations = st.lists(st.integers(1, 10**8), max_size=60)
elapsed = st.integers(0, 10**9)
shares = st.integers(0, WHOLE)


@given(durations, elapsed, shares)
def test_an_estimate_is_never_in_the_past_and_its_confidence_is_a_share(known: list[int], elapsed_ms: int, progress: int) -> None:
    told = estimate(known, elapsed_ms=elapsed_ms, progress=progress, now_ms=NOW)
    if told is None:
        assert known == []
        return
    assert told.at_ms >= NOW
    assert 0 <= told.confidence <= 1
    assert told.basis == len(known)
    if known:
        assert told.p50_ms is not None
        assert told.p90_ms is not None
        assert min(known) <= told.p50_ms <= told.p90_ms <= max(known)
        assert told.overdue == (elapsed_ms > told.p90_ms)


def test_without_history_and_without_progress_there_is_nothing_to_say() -> None:
    assert estimate([], elapsed_ms=60_000, progress=0, now_ms=NOW) is None
    assert estimate([], elapsed_ms=60_000, progress=WHOLE // 50, now_ms=NOW) is None
    assert estimate([], elapsed_ms=0, progress=0, now_ms=NOW) is None


def test_a_queued_job_takes_as_long_as_half_of_its_like_did() -> None:
    told = estimate([60_000, 80_000, 100_000], elapsed_ms=0, progress=0, now_ms=NOW)
    assert told == Estimate(NOW + 80_000, 80_000, 96_000, 3, told.confidence if told else 0, False)


@given(st.integers(1_000, 10**7), st.integers(1, 40))
def test_every_further_job_alike_makes_it_surer(took: int, count: int) -> None:
    sure = []
    for number in (count, count + 1):
        told = estimate([took] * number, elapsed_ms=0, progress=0, now_ms=NOW)
        assert told is not None
        sure.append(told.confidence)
    assert sure[0] <= sure[1]


def test_jobs_that_differ_say_less_than_jobs_alike() -> None:
    alike, scattered = (estimate(known, elapsed_ms=0, progress=0, now_ms=NOW) for known in ([60_000] * 10, [10_000 * n for n in range(1, 11)]))
    assert alike is not None
    assert scattered is not None
    assert alike.confidence == 0.83
    assert scattered.confidence < alike.confidence / 1.5


@given(st.integers(10_000, 10**7), st.integers(10_000, 10**7), st.integers(WHOLE // 20, WHOLE))
def test_its_own_pace_takes_over_as_it_goes_on(usual: int, own: int, progress: int) -> None:
    """own: how long this one will take if it goes on as it does."""
    told = estimate([usual] * 5, elapsed_ms=own * progress // WHOLE, progress=progress, now_ms=NOW)
    assert told is not None
    left = told.at_ms - NOW
    # At any moment between what history says and what its pace says, by the share of it that is done.
    by_usual, by_own = (max(0.0, total - own * progress / WHOLE) for total in (usual, own))
    assert min(by_usual, by_own) - 2 <= left <= max(by_usual, by_own) + 2
    if progress > 0.99 * WHOLE:
        assert abs(left - by_own) <= 0.01 * max(usual, own) + 2
    earlier = estimate([usual] * 5, elapsed_ms=own // 20, progress=WHOLE // 20, now_ms=NOW)
    assert earlier is not None
    assert told.confidence >= earlier.confidence


def test_a_job_that_takes_longer_than_nine_of_ten_says_so_and_is_due_any_moment() -> None:
    told = estimate([10_000] * 8, elapsed_ms=25_000, progress=0, now_ms=NOW)
    assert told is not None
    assert (told.overdue, told.at_ms) == (True, NOW)
    going = estimate([10_000] * 8, elapsed_ms=25_000, progress=WHOLE // 2, now_ms=NOW)
    assert going is not None
    # Half done in 25 s: 50 s by its own pace, 10 s by history, of which half counts each.
    assert (going.overdue, going.at_ms) == (True, NOW + 30_000 - 25_000)


@given(st.integers(1, 2**40))
def test_films_are_alike_up_to_twice_the_frames(size: int) -> None:
    assert size_class(size) <= size_class(2 * size - 1) <= size_class(size) + 1
    assert size_class(2 * size) == size_class(size) + 1


def test_without_a_size_there_is_a_class_of_its_own() -> None:
    assert size_class(None) == size_class(0) == size_class(-5) != size_class(1)


# ---- progress of parents ---------------------------------------------------------------------------------------------


def parent_of(mode: Mode, progress: list[int], weights: list[int] | None = None) -> Family:
    family = Family(Job("job_000000000000", "image-pack", counts=Counts(), mode=mode))
    for number, percent in enumerate(progress):
        done = percent == 100
        family.add_child(
            Job(
                f"job_{number:012x}", "image", parent_id="job_000000000000", index=number, progress=100 * percent,
                status=Status.DONE if done else Status.RUNNING if percent else Status.QUEUED, weight=weights[number] if weights else 1,
            ),
            1_000,
        )  # fmt: skip
    family.settle(1_000)
    return family


@pytest.mark.parametrize(("mode", "share"), [(Mode.AVERAGE, 6_900), (Mode.WEIGHTED, 6_900), (Mode.SEQUENTIAL, 6_000)])
def test_the_documented_example(mode: Mode, share: int) -> None:
    assert parent_of(mode, [100, 100, 100, 45, 0]).children_progress(mode) == share


def test_long_scenes_weigh_more() -> None:
    assert parent_of(Mode.WEIGHTED, [100, 0], [30, 270]).children_progress(Mode.WEIGHTED) == WHOLE // 10
    assert parent_of(Mode.WEIGHTED, [0, 50], [30, 270]).children_progress(Mode.WEIGHTED) == WHOLE * 45 // 100


@given(st.sampled_from(Mode), st.lists(st.tuples(st.integers(0, 100), st.integers(1, 5_000)), max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_children_does_not_matter_and_all_of_them_done_is_the_whole(mode: Mode, children: list[tuple[int, int]], dice: Any) -> None:
    def share(of: list[tuple[int, int]]) -> int:
        return parent_of(mode, [percent for percent, _ in of], [weight for _, weight in of]).children_progress(mode)

    shuffled = list(children)
    dice.shuffle(shuffled)
    assert share(children) == share(shuffled)
    assert share([(100, weight) for _, weight in children]) == (WHOLE if children else 0)
    if any(percent < 100 for percent, _ in children):
        assert share(children) < WHOLE


# ---- types, steps, ids -----------------------------------------------------------------------------------------------

job_ids = st.from_regex(r"job_[0-9a-f]{12}", fullmatch=True)


@given(job_ids, st.integers(1, 99_999))
def test_ids_of_children_are_as_documented_and_name_their_job(job: str, number: int) -> None:
    scene = kinds.child_id(job, f"movie.render_scene[scene_{number:03d}]")
    assert scene == f"scene_{job}_{number:03d}"
    assert kinds.child_id(job, "movie.assemble_film") == f"assemble_{job}"
    assert kinds.child_id(job, "movie.finalize_film") == f"finalize_{job}"
    assert kinds.child_id(job, f"narration.speak_line[line_{number:03d}]") == f"line_{job}_{number:03d}"
    for child in (scene, f"assemble_{job}", f"finalize_{job}", f"line_{job}_{number:03d}"):
        assert kinds.parent_of_child(child) == job


@pytest.mark.parametrize(
    "step",
    ["", "movie.plan_film", "movie.render_scene", "movie.render_scene[", "movie.render_scene[]", "movie.render_scene[?]", "movie.render_scene[scene_x]",
     "movie.render_scene[scene_001]x", "movie.assemble_film[scene_001]", "render_scene[scene_001]", "movie.render_scene[scene_\u0661\u0662\u0663]"],
)  # fmt: skip
def test_other_steps_are_no_children(step: str) -> None:
    assert kinds.child_id("job_a1b2c3d4e5f6", step) is None


@pytest.mark.parametrize("name", ["", "job_a1b2c3d4e5f6", "scene_", "scene_x_001", "other_job_a1b2c3d4e5f6_001", "_job_a1b2c3d4e5f6"])
def test_other_ids_are_no_childrens(name: str) -> None:
    assert kinds.parent_of_child(name) is None


@pytest.mark.parametrize(
    ("job", "assets", "kind"),
    [("render_movie", [], "render.movie"), ("__ASSET_JOB", ["movie"], "render.movie"), ("__ASSET_JOB", ["narration", "movie"], "render.movie"),
     ("__ASSET_JOB", ["narration"], "speech.narrate"), ("__ASSET_JOB", ["candidates"], "discover.search"),
     ("__ASSET_JOB", ["youtube_post"], "publish.youtube"), ("nightly", [], "workflow.run"), ("__ASSET_JOB", ["something"], "workflow.run")],
)  # fmt: skip
def test_runs_have_types_and_an_unknown_one_is_still_a_job(job: str, assets: list[str], kind: str) -> None:
    assert kinds.type_of_run(job, assets) == kind
    assert kinds.domain_of(kind) in kinds.DOMAINS


def test_a_run_goes_on_with_another_when_it_hands_out_no_scenes() -> None:
    """Dagster notes the steps of every run that comes through its API, of whole ones too."""
    whole = ["narration.find_lines", "narration.speak_line[?]", "movie.plan_film", "movie.render_scene[?]", "movie.assemble_film"]
    assert not kinds.is_part("render.movie", None)
    assert not kinds.is_part("render.movie", whole)
    assert not kinds.is_part("render.movie", whole[2:])
    assert kinds.is_part("render.movie", ["movie.render_scene[scene_002]", "movie.assemble_film"])
    assert kinds.is_part("speech.narrate", ["narration.gather_narration"])
    assert not kinds.is_part("workflow.run", ["anything"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
def test_every_step_in_the_tables_is_one_of_the_projects() -> None:
    from viralsync_pipelines.defs.build import build_defs

    graph = build_defs().resolve_job_def("render_movie").graph
    ops: dict[str, dg.OpDefinition] = {}
    for outer in graph.nodes:
        assert isinstance(outer.definition, dg.GraphDefinition)
        for inner in outer.definition.nodes:
            assert isinstance(inner.definition, dg.OpDefinition)
            ops[f"{outer.name}.{inner.name}"] = inner.definition
    for node in build_defs().resolve_job_def("narrate_text").graph.nodes:
        assert isinstance(node.definition, dg.OpDefinition)
        ops[node.name] = node.definition
    assert {*kinds.CHILD_STEPS, *kinds.PLACES} <= set(ops)
    for op, output in (*kinds.FANOUTS, *kinds.PLANNED):
        assert output in ops[op].output_dict
    assert all(ops[op].output_dict[output].is_dynamic for op, output in kinds.FANOUTS)


def test_the_tables_fit_together() -> None:
    assert {kind.type for kind in kinds.CHILD_STEPS.values()} == kinds.CHILD_TYPES
    assert {kind.counted_in for kind in kinds.CHILD_STEPS.values()} - {""} == set(kinds.STAGES)
    assert set(kinds.FANOUTS.values()) | {step for steps in kinds.PLANNED.values() for step in steps} == set(kinds.CHILD_STEPS)
    stages = {name for each in kinds.STAGES.values() for name, _ in each}
    for place in kinds.PLACES.values():
        assert place.phase in kinds.PHASES
        assert place.stage in stages
    for each in kinds.STAGES.values():
        assert all(told and told[0].isupper() for _, told in each)


# ---- the job object --------------------------------------------------------------------------------------------------

DOCUMENTED = [
    "jobId", "type", "status", "phase", "progress", "parentJobId", "outputUrl", "error", "mediaData", "payload", "children", "createdAt", "updatedAt",
]  # fmt: skip
MORE = [
    "stage", "message", "queue", "eta", "estimatedCompletionAt", "attempt", "attempts", "retryAt", "cancelRequestedAt", "sequence", "startedAt",
    "finishedAt", "title", "result", "childIndex", "childProgressMode", "links",
]  # fmt: skip
CREATED = 1_775_124_000_000


def a_parent() -> Job:
    return Job(
        "job_a1b2c3d4e5f6", "render.movie", "studio", Status.WAITING, "rendering", 6_200, title="reel", payload={"projectId": "proj_abc123"},
        counts=Counts(3, 1, 1, 1), mode=Mode.WEIGHTED, stage=Stage("scenes", 3, 5, "Rendering scenes"), message="1 of 3 scenes done",
        attempt=2, attempts=(Attempt(1, Status.FAILED, "r1", 1, 2, "BAD: no"), Attempt(2, Status.RUNNING, "r2", CREATED)), sequence=41,
        created_ms=CREATED, updated_ms=CREATED + 8_432, started_ms=CREATED + 1,
    )  # fmt: skip


def test_the_job_object_has_every_documented_field_whatever_the_job() -> None:
    for job in (a_parent(), Job("scene_job_a1b2c3d4e5f6_001", "render.scene", parent_id="job_a1b2c3d4e5f6")):
        shown = job_object(job)
        assert sorted(shown) == sorted(DOCUMENTED + MORE)
        assert list(shown)[: len(DOCUMENTED)] == DOCUMENTED
        assert set(shown["links"]) == {"self", "children", "events", "output", "progress", "cancel", "retry", "parent", "dagster"}


def test_a_parent_reads_as_in_the_documentation() -> None:
    shown = job_object(a_parent(), Surroundings(base="https://api.example.com", dagster_url="http://dagster/runs/r2"))
    assert {name: shown[name] for name in DOCUMENTED} == {
        "jobId": "job_a1b2c3d4e5f6", "type": "render.movie", "status": "waiting", "phase": "rendering", "progress": 0.62, "parentJobId": None,
        "outputUrl": None, "error": None, "mediaData": None, "payload": {"projectId": "proj_abc123"},
        "children": {"total": 3, "succeeded": 1, "running": 1, "queued": 1, "failed": 0, "cancelled": 0},
        "createdAt": "2026-04-02T10:00:00.000Z", "updatedAt": "2026-04-02T10:00:08.432Z",
    }  # fmt: skip
    assert shown["attempts"] == [
        {"attempt": 1, "status": "failed", "startedAt": "1970-01-01T00:00:00.001Z", "finishedAt": "1970-01-01T00:00:00.002Z", "error": "BAD: no", "runId": "r1"},
        {"attempt": 2, "status": "running", "startedAt": "2026-04-02T10:00:00.000Z", "finishedAt": None, "error": None, "runId": "r2"},
    ]
    assert shown["stage"] == {"name": "scenes", "current": 3, "total": 5, "description": "Rendering scenes"}
    assert shown["links"]["children"] == "https://api.example.com/v1/jobs/job_a1b2c3d4e5f6/children"
    assert shown["links"]["dagster"] == "http://dagster/runs/r2"
    assert (shown["childIndex"], shown["childProgressMode"]) == (None, "weighted")


def test_a_child_names_its_parent_and_has_no_children() -> None:
    shown = job_object(Job("scene_job_a1b2c3d4e5f6_001", "render.scene", parent_id="job_a1b2c3d4e5f6", index=4), Surroundings(base="/x"))
    assert (shown["parentJobId"], shown["childIndex"], shown["children"]) == ("job_a1b2c3d4e5f6", 4, None)
    assert shown["links"]["parent"] == "/x/v1/jobs/job_a1b2c3d4e5f6"
    assert shown["links"]["children"] is None


def test_what_surrounds_a_job_is_shown_with_it() -> None:
    told = Estimate(CREATED + 60_000, 50_000, 90_000, 12, 0.7, False)
    place = {"position": 2, "total": 5, "queueName": "default"}
    shown = job_object(Job("job_a1b2c3d4e5f6", "render.movie"), Surroundings("https://x/y.mp4", place, told))
    assert shown["queue"] == place
    assert shown["outputUrl"] == "https://x/y.mp4"
    assert shown["eta"] == {
        "at": "2026-04-02T10:01:00.000Z", "p50Ms": 50_000, "p90Ms": 90_000, "basis": 12, "confidence": 0.7, "longerThanUsual": False,
    }  # fmt: skip
    assert shown["estimatedCompletionAt"] == "2026-04-02T10:01:00.000Z"
    # What the job's own program expects comes first.
    own = job_object(Job("job_a1b2c3d4e5f6", "render.movie", estimated_ms=CREATED), Surroundings(estimate=told))
    assert own["estimatedCompletionAt"] == "2026-04-02T10:00:00.000Z"


@given(st.integers(-(10**12), 10**14))
def test_times_are_utc_with_milliseconds(ms: int) -> None:
    told = iso(ms)
    assert told is not None
    assert re.fullmatch(r"-?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told)
    assert datetime.fromisoformat(told) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def test_no_time_and_no_possible_time_are_null() -> None:
    assert iso(None) is None
    assert iso(10**18) is None


@given(st.integers(0, WHOLE))
def test_progress_has_at_most_four_decimals(progress: int) -> None:
    shown = job_object(Job("job_a1b2c3d4e5f6", "render.movie", progress=progress))["progress"]
    assert 0 <= shown <= 1
    assert len(repr(shown).partition(".")[2]) <= 4 or "e" in repr(shown)
