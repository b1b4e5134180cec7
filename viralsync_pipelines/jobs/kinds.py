"""Which run is which type of job, and which step is which child: tables, to be extended by a line for each new kind of work.

What belongs here: names of jobs, assets and steps, and what they mean to people. What does not: what happens to them (run_rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

UNKNOWN = "workflow.run"

JOB_TYPES: Mapping[str, str] = {"render_movie": "render.movie", "narrate_text": "speech.narrate"}
"""Type by the name of Dagster's job; jobs of assets are told apart by what they make."""

ASSET_TYPES: Sequence[tuple[str, str]] = (
    ("movie", "render.movie"),
    ("narration", "speech.narrate"),
    ("candidates", "discover.search"),
    ("youtube_post", "publish.youtube"),
    ("tiktok_post", "publish.tiktok"),
    ("instagram_post", "publish.instagram"),
)
"""The first asset of a run that stands here gives its type."""

DOMAINS = ("render", "agent", "workflow", "publish", "speech", "generate", "discover", "resource")
CHILD_TYPES = frozenset({"render.scene", "render.assemble", "render.finalize", "speech.line"})


@dataclass(frozen=True)
class StepKind:
    """A step that is a child job. prefix: of its id. counted_in: the parent's type whose `children` count it."""

    type: str
    prefix: str
    counted_in: str = ""


CHILD_STEPS: Mapping[str, StepKind] = {
    "movie.render_scene": StepKind("render.scene", "scene", "render.movie"),
    "movie.assemble_film": StepKind("render.assemble", "assemble"),
    "movie.finalize_film": StepKind("render.finalize", "finalize"),
    "narration.speak_line": StepKind("speech.line", "line", "speech.narrate"),
    "speak_script_line": StepKind("speech.line", "line", "speech.narrate"),
}

FANOUTS: Mapping[tuple[str, str], str] = {
    ("movie.plan_film", "scenes"): "movie.render_scene",
    ("narration.find_lines", "result"): "narration.speak_line",
    ("lay_out_script", "lines"): "speak_script_line",
}
"""A step's dynamic output -> the step that is run for each value of it."""
_FANNED = frozenset(FANOUTS.values())
_NUMBER = re.compile(r"[0-9]{3,9}")

PLANNED: Mapping[tuple[str, str], tuple[str, ...]] = {("movie.plan_film", "plan"): ("movie.assemble_film", "movie.finalize_film")}
"""A step's output -> steps that will follow once each, and can be shown from then on."""


@dataclass(frozen=True)
class StepPlace:
    """What a step's beginning says about its parent: its phase, and the stage it has come to."""

    phase: str
    stage: str


STAGES: Mapping[str, Sequence[tuple[str, str]]] = {
    "render.movie": (
        ("speech", "Speaking the lines"), ("plan", "Laying out every frame and sample"), ("scenes", "Rendering scenes"),
        ("assemble", "Joining scenes and sound"), ("deliver", "Putting the film into the store"),
    ),
    "speech.narrate": (("speech", "Speaking the lines"), ("join", "Joining them to one track")),
}  # fmt: skip

PLACES: Mapping[str, StepPlace] = {
    "narration.find_lines": StepPlace("planning", "speech"),
    "narration.speak_line": StepPlace("planning", "speech"),
    "narration.gather_narration": StepPlace("planning", "join"),
    "lay_out_script": StepPlace("planning", "speech"),
    "speak_script_line": StepPlace("planning", "speech"),
    "join_lines": StepPlace("assembling", "join"),
    "movie.plan_film": StepPlace("planning", "plan"),
    "movie.render_scene": StepPlace("rendering", "scenes"),
    "movie.assemble_film": StepPlace("assembling", "assemble"),
    "movie.finalize_film": StepPlace("uploading", "deliver"),
}
PHASES = ("planning", "dispatching", "waiting", "rendering", "assembling", "uploading")
"""Of a render, in their order."""


def type_of_run(job_name: str, assets: Sequence[str]) -> str:
    """The type of a run by what it is asked to make; `workflow.run` for what nobody has named yet."""
    named = JOB_TYPES.get(job_name)
    return named or next((kind for asset, kind in ASSET_TYPES if asset in assets), UNKNOWN)


def is_part(job_type: str, steps: Collection[str] | None) -> bool:
    """Whether a run of these steps (None for all) goes on with what an earlier run of the job began.

    A whole run names its steps too. What tells one that goes on is that it does not hand out the job's children anew.
    """
    handing_out = hands_out(job_type)
    return steps is not None and bool(handing_out) and handing_out.isdisjoint(steps)


@cache
def hands_out(job_type: str) -> frozenset[str]:
    """The steps after whose end a job of this type waits for its children."""
    return frozenset(op for (op, _), step in FANOUTS.items() if CHILD_STEPS[step].counted_in == job_type)


def domain_of(job_type: str) -> str:
    return job_type.partition(".")[0]


def op_and_mapping(step: str) -> tuple[str, str]:
    """movie.render_scene[scene_002] -> ("movie.render_scene", "scene_002")."""
    op, _, rest = step.partition("[")
    return op, rest.removesuffix("]")


def child_id(job_id: str, step: str) -> str | None:
    """The id of the child that a step is, or None: scene_job_a1b2c3d4e5f6_002, assemble_job_a1b2c3d4e5f6."""
    op, mapping = op_and_mapping(step)
    kind = CHILD_STEPS.get(op)
    if kind is None or step != (f"{op}[{mapping}]" if op in _FANNED else op):
        return None
    if op not in _FANNED:
        return f"{kind.prefix}_{job_id}"
    number = mapping.rpartition("_")[2]
    return f"{kind.prefix}_{job_id}_{number}" if _NUMBER.fullmatch(number) else None


def parent_of_child(child: str) -> str | None:
    """The job a child's id belongs to, or None for an id of another shape."""
    prefix, _, rest = child.partition("_")
    if prefix not in {kind.prefix for kind in CHILD_STEPS.values()} or not rest.startswith("job_"):
        return None
    return "_".join(rest.split("_")[:2])
