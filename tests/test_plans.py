"""Plans: what each lets through, for any film and whatever was spent; and the file that an operator writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.gateway.plans import BUILT_IN, Plan, Plans, Used, judge, judge_active, judge_film, judge_minutes, load_plans

limits = st.none() | st.integers(1, 600)
plans = st.builds(
    Plan, concurrency=st.none() | st.integers(1, 9), minutes_per_month=limits, minutes_per_day=limits, max_minutes=limits,
    max_resolution=st.none() | st.builds("{}x{}".format, st.integers(1, 4000), st.integers(1, 4000)),
)  # fmt: skip
seconds = st.floats(0, 50_000)
used = st.builds(Used, seconds, seconds, seconds, st.integers(0, 12))
films = st.fixed_dictionaries({"width": st.integers(1, 5000), "height": st.integers(1, 5000), "seconds": seconds})


@given(used, films)
def test_a_self_hosted_studio_has_no_limits(spent: Used, film: dict[str, Any]) -> None:
    assert judge(BUILT_IN["selfhosted"], spent, **film) is None
    assert judge(Plan(), spent, **film) is None


@given(plans, used, films)
def test_portrait_counts_like_landscape(plan: Plan, spent: Used, film: dict[str, Any]) -> None:
    turned = {**film, "width": film["height"], "height": film["width"]}
    assert (judge(plan, spent, **film) is None) == (judge(plan, spent, **turned) is None)


@given(plans, used, films, st.integers(1, 500), seconds)
def test_less_is_never_refused_where_more_is_allowed(plan: Plan, spent: Used, film: dict[str, Any], smaller: int, shorter: float) -> None:
    if judge(plan, spent, **film) is None:
        less = {
            "width": min(smaller, film["width"]), "height": min(smaller, film["height"]), "seconds": min(shorter, film["seconds"]),
        }  # fmt: skip
        assert judge(plan, spent, **less) is None


@given(plans, used, films)
def test_every_refusal_is_a_documented_one_that_says_what_to_do(plan: Plan, spent: Used, film: dict[str, Any]) -> None:
    refused = judge(plan, spent, **film)
    if refused is not None:
        assert (refused.status, refused.code) in {
            (402, "PLAN_LIMIT_EXCEEDED"), (402, "RENDER_QUOTA_EXCEEDED"), (402, "RENDER_QUOTA_DAILY_EXCEEDED"),
            (409, "CONCURRENCY_LIMIT_EXCEEDED"),
        }  # fmt: skip
        assert "; " in refused.message


def code_of(refused: Refused | None) -> str | None:
    return refused.code if refused is not None else None


@pytest.mark.parametrize(
    ("plan", "width", "height", "minutes", "code"),
    [
        ("pro", 1920, 1080, 10, None),
        ("pro", 1080, 1920, 10, None),
        ("pro", 1080, 1080, 10, None),
        ("pro", 1920, 1082, 1, "PLAN_LIMIT_EXCEEDED"),
        ("pro", 1440, 1440, 1, "PLAN_LIMIT_EXCEEDED"),
        ("pro", 1922, 2, 1, "PLAN_LIMIT_EXCEEDED"),
        ("pro", 1920, 1080, 10.001, "PLAN_LIMIT_EXCEEDED"),
        ("free", 720, 1280, 5, None),
        ("free", 1080, 1920, 5, "PLAN_LIMIT_EXCEEDED"),
        ("business", 1440, 2560, 20, None),
        ("business", 1440, 2560, 20.01, "PLAN_LIMIT_EXCEEDED"),
        ("enterprise", 2160, 3840, 120, None),
        ("enterprise", 2160, 3840, 120.1, "PLAN_LIMIT_EXCEEDED"),
    ],
)
def test_length_and_size_are_those_documented(plan: str, width: int, height: int, minutes: float, code: str | None) -> None:
    assert code_of(judge_film(BUILT_IN[plan], width, height, minutes * 60)) == code


def test_a_film_of_exactly_the_longest_length_is_allowed_however_its_length_was_added_up() -> None:
    assert judge_film(BUILT_IN["pro"], 2, 2, sum([0.1] * 6000)) is None


@pytest.mark.parametrize(
    ("plan", "spent", "minutes", "code"),
    [
        ("pro", Used(month_s=199 * 60), 1, None),
        ("pro", Used(month_s=199 * 60), 1.01, "RENDER_QUOTA_EXCEEDED"),
        ("pro", Used(month_s=190 * 60, under_way_s=9.5 * 60), 1, "RENDER_QUOTA_EXCEEDED"),
        ("pro", Used(today_s=199 * 60), 1, None),
        ("free", Used(month_s=4 * 60, today_s=4 * 60), 1, None),
        ("free", Used(month_s=4 * 60, today_s=4 * 60), 2, "RENDER_QUOTA_DAILY_EXCEEDED"),
        ("free", Used(month_s=30 * 60, today_s=5 * 60), 1, "RENDER_QUOTA_EXCEEDED"),
        ("enterprise", Used(month_s=1e9), 120, None),
    ],
)
def test_minutes_are_those_documented(plan: str, spent: Used, minutes: float, code: str | None) -> None:
    assert code_of(judge_minutes(BUILT_IN[plan], spent, minutes * 60)) == code


@pytest.mark.parametrize(("plan", "most"), [("free", 1), ("pro", 3), ("business", 6)])
def test_films_at_once_are_those_documented(plan: str, most: int) -> None:
    assert judge_active(BUILT_IN[plan], most - 1) is None
    refused = judge_active(BUILT_IN[plan], most)
    assert refused is not None
    assert (refused.status, refused.code) == (409, "CONCURRENCY_LIMIT_EXCEEDED")
    assert judge_active(BUILT_IN["enterprise"], 10_000) is None


def test_what_will_never_be_allowed_is_told_before_what_passes_by_itself() -> None:
    spent = Used(month_s=1e6, today_s=1e6, active=99)
    assert code_of(judge(BUILT_IN["free"], spent, width=9999, height=9999, seconds=60)) == "PLAN_LIMIT_EXCEEDED"
    assert code_of(judge(BUILT_IN["free"], spent, width=100, height=100, seconds=60)) == "RENDER_QUOTA_EXCEEDED"
    assert code_of(judge(BUILT_IN["free"], Used(active=99), width=100, height=100, seconds=60)) == "CONCURRENCY_LIMIT_EXCEEDED"


def test_only_the_free_plan_is_without_the_api() -> None:
    assert [name for name, plan in BUILT_IN.items() if not plan.api] == ["free"]


def test_a_file_adds_plans_and_replaces_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "plans.json"
    file.write_text(json.dumps({"pro": {"concurrency": 9}, "team": {"minutesPerMonth": 7.5, "maxResolution": "1080x1920", "api": False}}))
    loaded = load_plans(file)
    assert loaded.of("pro") == Plan(concurrency=9)
    assert loaded.of("team").edges == (1920, 1080)
    assert loaded.of("team").minutes_per_month == 7.5
    assert loaded.of("selfhosted") == Plan()
    assert load_plans(None).by_name == BUILT_IN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "plans.json"),
        ("[]", "plans.json"),
        ('{"pro": {"concurency": 3}}', "/pro/concurency"),
        ('{"pro": {"concurrency": 0}}', "/pro/concurrency"),
        ('{"pro": {"concurrency": "three"}}', "/pro/concurrency"),
        ('{"pro": {"maxResolution": "HD"}}', "/pro/maxResolution"),
        ('{"pro": {"maxResolution": "0x10"}}', "/pro/maxResolution"),
        ('{"pro": {"minutesPerMonth": -1}}', "/pro/minutesPerMonth"),
        ('{"pro": {"minutesPerMonth": NaN}}', "plans.json"),
        ('{"No Such Name": {}}', "/No Such Name"),
    ],
)
def test_a_wrong_file_is_refused_by_variable_and_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "plans.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_plans(file)
    assert "VIRALSYNC_PLANS" in caught.value.message
    assert told in caught.value.message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="VIRALSYNC_PLANS"):
        load_plans(tmp_path / "none.json")


def test_a_workspace_whose_plan_is_gone_may_do_nothing() -> None:
    with pytest.raises(Refused) as caught:
        Plans().of("gold")
    assert (caught.value.status, caught.value.code) == (403, "FORBIDDEN")
