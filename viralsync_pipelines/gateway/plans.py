"""What a workspace may do: plans as data, and pure functions that judge a film and what was spent against one.

What belongs here: the limits and their refusals. What does not: counting (storage/metering.py), who asks (auth.py).
How many films run at once is also kept by Dagster's own queue; here a submission is refused before it gets there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.gateway.faults import Refused

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
# Lengths are sums of frames over a rate: a film of exactly ten minutes may come out a hair longer in floating point.
_HAIR_S = 1e-6


def _is_size(value: str) -> str:
    if _SIZE.fullmatch(value) is None:
        raise ValueError("write a size as 1920x1080")
    return value


class Plan(BaseModel):
    """Limits of one plan; None is no limit. concurrency: films at work at once. max_resolution: "1920x1080", held either way up.
    api: whether the HTTP API is open at all. requests_per_minute: of each key."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    concurrency: Annotated[int, Field(ge=1)] | None = None
    minutes_per_month: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    minutes_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_resolution: Annotated[str, AfterValidator(_is_size)] | None = None
    api: bool = True
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = 120

    @property
    def edges(self) -> tuple[int, int] | None:
        """The longest long and short edge of a picture."""
        found = _SIZE.fullmatch(self.max_resolution or "")
        if found is None:
            return None
        one, other = int(found[1]), int(found[2])
        return max(one, other), min(one, other)


BUILT_IN: Mapping[str, Plan] = {
    "selfhosted": Plan(),
    "free": Plan(concurrency=1, minutes_per_month=30, minutes_per_day=5, max_minutes=10, max_resolution="1280x720", api=False),
    "pro": Plan(concurrency=3, minutes_per_month=200, max_minutes=10, max_resolution="1920x1080"),
    "business": Plan(concurrency=6, minutes_per_month=600, max_minutes=20, max_resolution="2560x1440"),
    "enterprise": Plan(max_minutes=120, max_resolution="3840x2160"),
}
"""`selfhosted` is what a workspace has unless it is given another."""


@dataclass(frozen=True)
class Plans:
    """Plans by name."""

    by_name: Mapping[str, Plan] = field(default_factory=lambda: BUILT_IN)

    def of(self, name: str) -> Plan:
        """Refused (403 FORBIDDEN) when the operator has taken the plan away: no plan is no permission."""
        plan = self.by_name.get(name)
        if plan is None:
            raise Refused(403, "FORBIDDEN", f"this workspace's plan {name!r} is not set up here; its operator has to name another")
        return plan


def load_plans(file: Path | None) -> Plans:
    """The built-in plans, with those of a JSON file over them: {"pro": {"concurrency": 3, "minutesPerMonth": 200, ...}, ...}.

    Raises SettingsError that names VIRALSYNC_PLANS and the place.
    """
    if file is None:
        return Plans()
    try:
        given = _FILE.validate_json(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"VIRALSYNC_PLANS names {file}, which cannot be read ({error.strerror or error}); check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(part) for part in first["loc"])
        raise SettingsError(f"VIRALSYNC_PLANS: {file} is no list of plans; at /{place}: {first['msg']}") from error
    return Plans({**BUILT_IN, **given})


_FILE = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")], Plan])


@dataclass(frozen=True)
class Used:
    """Of a workspace: seconds of films done this month and today, seconds of films accepted and not yet ended, and how many those are."""

    month_s: float = 0.0
    today_s: float = 0.0
    under_way_s: float = 0.0
    active: int = 0


def judge(plan: Plan, used: Used, *, width: int, height: int, seconds: float) -> Refused | None:
    """Why this film may not be made, None when it may. What is never allowed comes first, what will pass by itself last."""
    return judge_film(plan, width, height, seconds) or judge_minutes(plan, used, seconds) or judge_active(plan, used.active)


def judge_film(plan: Plan, width: int, height: int, seconds: float) -> Refused | None:
    """402 PLAN_LIMIT_EXCEEDED for a film too long or too large. Portrait counts like landscape: edges are compared, not sides."""
    if plan.max_minutes is not None and seconds > plan.max_minutes * 60 + _HAIR_S:
        return _limited(f"this film plays {_minutes(seconds)} min, and the plan takes {plan.max_minutes:g} at most; shorten it or split it")
    edges = plan.edges
    if edges is not None and (max(width, height) > edges[0] or min(width, height) > edges[1]):
        return _limited(f"this film is {width}x{height} and the plan takes {plan.max_resolution} at most, either way up; make it smaller")
    return None


def judge_minutes(plan: Plan, used: Used, seconds: float) -> Refused | None:
    """402 RENDER_QUOTA_EXCEEDED and RENDER_QUOTA_DAILY_EXCEEDED. Films under way count: they will have to be paid too."""
    for allowed, spent, code, when in (
        (plan.minutes_per_month, used.month_s, "RENDER_QUOTA_EXCEEDED", "month; it starts anew on the 1st at 00:00 UTC"),
        (plan.minutes_per_day, used.today_s, "RENDER_QUOTA_DAILY_EXCEEDED", "day; it starts anew at 00:00 UTC"),
    ):
        if allowed is not None and spent + used.under_way_s + seconds > allowed * 60 + _HAIR_S:
            left = max(0.0, allowed * 60 - spent - used.under_way_s)
            told = f"this film plays {_minutes(seconds)} min, and {_minutes(left)} of {allowed:g} min are left of this {when}"
            return Refused(402, code, told)
    return None


def judge_active(plan: Plan, active: int) -> Refused | None:
    """409 CONCURRENCY_LIMIT_EXCEEDED when as many films as the plan allows are running or waiting for their scenes."""
    if plan.concurrency is None or active < plan.concurrency:
        return None
    told = f"{active} film{'' if active == 1 else 's'} of this workspace are at work, and the plan allows {plan.concurrency}"
    return Refused(409, "CONCURRENCY_LIMIT_EXCEEDED", f"{told}; wait for one to end, or cancel one", headers={"Retry-After": "15"})


def _limited(message: str) -> Refused:
    return Refused(402, "PLAN_LIMIT_EXCEEDED", message)


def _minutes(seconds: float) -> str:
    return f"{round(seconds / 60, 2):g}"
