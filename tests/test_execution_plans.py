"""Execution plans are judged as a whole before anything is written; waits, markers and settling are pure and total."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.puppet import POLLED_MODEL, PUPPET_MODEL
from viralsync_pipelines.errors import Problem
from viralsync_pipelines.generate.markers import Marker, filled, marker_of, markers_in
from viralsync_pipelines.generate.models import Registry, check_params, load_registry
from viralsync_pipelines.generate.operations import OPERATIONS
from viralsync_pipelines.generate.plans import PlanInvalid, read_plan
from viralsync_pipelines.generate.provider import Blame, Fault, Output, Said, Seen
from viralsync_pipelines.generate.settle import MOST_SUBMITS, OPEN, PATIENCE_POLLS, Outcome, settle
from viralsync_pipelines.generate.waits import LONGEST_MS, Waits

REGISTRY = Registry({PUPPET_MODEL.id: PUPPET_MODEL, POLLED_MODEL.id: POLLED_MODEL})
STAGES = ["blocked", "ready", "submitting", "unsure", "waiting", "settled", "collecting", "ended"]


def image(job: str, *after: str, **params: Any) -> dict[str, Any]:
    return {"id": job, "operation": "generateImage", "params": {"modelId": "puppet/image", "prompt": "a cat", **params}, "dependsOn": list(after)}


def problems_of(document: Any, **options: Any) -> dict[str, str]:
    with pytest.raises(PlanInvalid) as caught:
        read_plan(document, REGISTRY, **options)
    return {problem.pointer: problem.code for problem in caught.value.problems}


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_every_fault_of_a_plan_is_told_at_once_with_its_place() -> None:
    plan = {
        "jobs": [
            image("a", "nobody"), {"id": "a", "operation": "fly", "params": {}}, {"id": "!", "operation": "generateImage", "params": 5},
            {**image("m"), "params": {"modelId": "puppet/imag", "prompt": "x"}}, image("p", seed="many", colour="red"),
            {"id": "v", "operation": "generate", "params": {"modelId": "puppet/image", "prompt": "x"}}, "nonsense", {**image("q"), "extra": 1},
            {"id": "out", "operation": "publish"}, image("uses", image="$ghost"), {**image("n"), "params": {"modelId": "puppet/image"}},
        ]
    }  # fmt: skip
    at = "/executionPlan/jobs"
    assert problems_of(plan) == {
        f"{at}/0/dependsOn/0": "DEPENDENCY_UNKNOWN", f"{at}/1/operation": "OPERATION_UNKNOWN", f"{at}/2/id": "JOB_ID_INVALID",
        f"{at}/2/params": "TYPE_WRONG", f"{at}/2/params/modelId": "MODEL_MISSING", f"{at}/3/params/modelId": "MODEL_UNKNOWN",
        f"{at}/4/params": "PARAM_INVALID", f"{at}/4/params/seed": "PARAM_INVALID", f"{at}/5/params/modelId": "MODEL_UNFIT",
        f"{at}/6": "TYPE_WRONG", f"{at}/7/extra": "FIELD_UNKNOWN", f"{at}/8/operation": "OPERATION_UNKNOWN",
        f"{at}/9/params/image": "DEPENDENCY_UNKNOWN", f"{at}/10/params": "PARAM_INVALID",
    }  # fmt: skip


def test_a_doubled_id_is_told_at_the_second_one() -> None:
    assert problems_of({"jobs": [image("a"), image("b"), image("a")]}) == {"/executionPlan/jobs/2/id": "JOB_ID_DUPLICATE"}


@pytest.mark.parametrize("jobs", [[image("a", "a")], [image("a", "b"), image("b", "c"), image("c", "a")], [image("a", image="$b"), image("b", "a")]])
def test_circles_are_refused(jobs: list[Any]) -> None:
    assert "DEPENDENCY_CYCLE" in problems_of({"jobs": jobs}).values()


@pytest.mark.parametrize("document", [None, [], {}, {"jobs": None}, {"jobs": []}, {"jobs": {}}])
def test_a_plan_without_jobs_is_refused(document: Any) -> None:
    assert problems_of(document) == {"/executionPlan/jobs": "PLAN_EMPTY"}


def test_a_marker_makes_its_job_wait() -> None:
    plan = read_plan({"jobs": [image("a"), image("b", image="_imageJobDependency:a"), image("c", "a", image="$b.outputs[1].url")]}, REGISTRY)
    assert [job.needs for job in plan.jobs] == [(), ("a",), ("a", "b")]


def test_finished_jobs_of_the_base_are_there_to_be_named_and_not_waited_for() -> None:
    plan = read_plan({"jobs": [image("b", image="$old")]}, REGISTRY, finished=["old"])
    assert (plan.jobs[0].needs, plan.jobs[0].base) == ((), ("old",))


def test_older_names_of_fields_are_understood() -> None:
    plan = read_plan({"jobs": [image("a"), {"id": "b", "type": "generateImage", "params": image("b")["params"], "dependencies": ["a"]}]}, REGISTRY)
    assert plan.jobs[1].needs == ("a",)


def test_words_for_models_are_no_markers_unless_a_job_has_that_name() -> None:
    plan = read_plan({"jobs": [{**image("a"), "params": {"modelId": "puppet/image", "prompt": "$100"}}, {**image("b"), "params": {"modelId": "puppet/image", "prompt": "$money"}}]}, REGISTRY)
    assert [job.needs for job in plan.jobs] == [(), ()]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["jobs", "id", "operation", "params", "dependsOn", "modelId", "prompt", "image"]), inner, max_size=5), max_leaves=25))
def test_any_document_is_a_plan_or_refused(document: Any) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        jobs = read_plan(document, REGISTRY).jobs
    except PlanInvalid as error:
        jobs, problems = (), error.problems
    assert bool(jobs) != bool(problems)
    assert all(problem.pointer.startswith("/executionPlan") for problem in problems)


# ---- markers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("$a", Marker("a")), ("$a-1.url", Marker("a-1")), ("$a.outputs[2]", Marker("a", 2)), ("$a.outputs[2].url", Marker("a", 2)),
        ("_videoJobDependency:x", Marker("x", media="video")), ("_transcriptJobDependency:x", Marker("x")), ("$", None), ("a$b", None),
        ("$a b", None), ("$1", None), ("_otherJobDependency:x", None), ("", None),
    ],
)  # fmt: skip
def test_what_is_a_marker(text: str, marker: Marker | None) -> None:
    assert marker_of(text) == marker


def test_markers_are_filled_wherever_they_stand_and_nothing_else_changes() -> None:
    params = {"image": "$a", "items": [{"url": "$b"}, "$a"], "prompt": "$a is not $a", "n": 3, "none": None, "other": "$c"}
    result = filled(params, lambda marker: f"url of {marker.job}", {"a", "b"}.__contains__)
    assert result == {"image": "url of a", "items": [{"url": "url of b"}, "url of a"], "prompt": "$a is not $a", "n": 3, "none": None, "other": "$c"}
    assert [pointer for pointer, _ in markers_in(params, {"a", "b"}.__contains__, "/p")] == ["/p/image", "/p/items/0/url", "/p/items/1", "/p/other"]


# ---- models ----------------------------------------------------------------------------------------------------------


def test_every_model_that_is_shipped_is_whole() -> None:
    """Its schema is one, refuses what it does not name, and its default strategy is one of its own."""
    from jsonschema import Draft202012Validator

    models = list(load_registry())
    assert models
    for model in models:
        Draft202012Validator.check_schema(model.params)
        assert model.params["additionalProperties"] is False, model.id
        assert check_params(model, {"no such thing": 1}, ""), model.id
        assert model.default_strategy in model.strategies
        assert model.type in {each.type for each in OPERATIONS.values()}, model.id


def test_a_wrong_model_name_is_told_with_the_nearest() -> None:
    assert "puppet/image" in REGISTRY.unknown("puppet/imagine", "/m").message


# ---- settling --------------------------------------------------------------------------------------------------------

_seen = st.builds(
    Seen, st.sampled_from(Said), st.text(max_size=8),
    st.lists(st.builds(Output, st.sampled_from(["image", "video", "audio"]), st.just("https://x.test/1")), max_size=3).map(tuple),
    st.none() | st.builds(Fault, st.sampled_from(Blame), st.just("CODE"), st.text(max_size=8)),
)  # fmt: skip


@given(st.sampled_from(STAGES), _seen, st.integers(1, 5), st.integers(0, 200))
def test_settling_is_total_and_final(stage: str, seen: Seen, submits: int, polls: int) -> None:
    outcome = settle(stage, seen, submits=submits, polls=polls)
    if stage not in OPEN or not seen.said.over:
        assert outcome is None
        return
    if outcome is None:
        assert (seen.said, seen.outputs, seen.fault) == (Said.DONE, (), None)
        assert polls < PATIENCE_POLLS
        return
    assert outcome.status in {"done", "failed", "cancelled"}
    assert (outcome.status == "done") == (bool(seen.outputs) and seen.said is Said.DONE)
    assert outcome.fault is not None or outcome.status == "done"
    assert not outcome.again or (submits < MOST_SUBMITS and outcome.fault is not None and outcome.fault.blame is Blame.PASSING)
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == (outcome if not outcome.again else Outcome(outcome.status, outcome.outputs, outcome.fault))


def test_done_without_anything_made_is_no_success() -> None:
    outcome = settle("waiting", Seen(Said.DONE, "succeeded"), submits=2, polls=50)
    assert outcome is not None
    assert (outcome.status, outcome.fault and outcome.fault.code) == ("failed", "NO_OUTPUT")


# ---- waits -----------------------------------------------------------------------------------------------------------


def test_the_waits_of_the_guide_up_to_the_ceiling() -> None:
    waits = Waits(jitter=0)
    assert [waits.after(polls, 0.5) for polls in range(8)] == [5_000, 7_500, 11_250, 16_875, 25_312, 37_969, 56_953, 60_000]
    assert waits.after(5_000, 0.5) == 60_000
    assert waits.after(0, 0, asked_ms=30_000) == 30_000


@given(st.integers(0, 10**6), st.floats(0, 1), st.none() | st.floats(0, 1e12))
def test_a_wait_is_never_shorter_than_asked_nor_longer_than_an_hour(polls: int, chance: float, asked_ms: float | None) -> None:
    waits = Waits()
    wait = waits.after(polls, chance, asked_ms=asked_ms)
    assert min(asked_ms or 0, LONGEST_MS) <= wait + 1
    assert 5_000 <= wait <= LONGEST_MS
    assert waits.late(chance) <= waits.ceiling_ms
