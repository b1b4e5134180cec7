"""Everything Dagster knows of ViralSync, put together. Tests and notebooks build the same graph with other parts.

What belongs here: assembling definitions, and how steps are executed. What does not: ops, assets, sensors themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.callbacks import callbacks_sensor
from viralsync_pipelines.defs.cleanup import cleanup, cleanup_schedule
from viralsync_pipelines.defs.generations import collect_generations, generated_media, generations_sensor, submit_generations
from viralsync_pipelines.defs.inbox import inbox_sensor
from viralsync_pipelines.defs.movies import movie
from viralsync_pipelines.defs.narrating import narrate_text
from viralsync_pipelines.defs.narration import narration
from viralsync_pipelines.defs.resources import StoreValues, StudioResource
from viralsync_pipelines.defs.upkeep import upkeep, upkeep_schedule
from viralsync_pipelines.jobs.run_config import DEFAULT_PRESET, MAX_CONCURRENCY, PRESETS, parallel_scenes

WARM_MODULE = "viralsync_pipelines.defs.warm"


def _executor_config(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["inProcess"]:
        return {"in_process": {}}
    asked = config.get("requestedConcurrency")
    if asked is not None and not 1 <= asked <= MAX_CONCURRENCY:
        raise dg.DagsterInvalidDefinitionError(f"requestedConcurrency is {asked}; it must lie between 1 and {MAX_CONCURRENCY}")
    # Forkserver with everything imported beforehand: 0.2-0.3 CPU-s a step, against 1.9 with Dagster's default, spawn.
    return {
        "multiprocess": {
            "max_concurrent": parallel_scenes(config["qualityPreset"], asked),
            "start_method": {"forkserver": {"preload_modules": [WARM_MODULE]}},
        }
    }


# renderOptions under `execution: config:` of a run. A function, since an executor configured with plain values takes no run config.
step_processes = dg.multi_or_in_process_executor.configured(
    _executor_config,
    name="step_processes",
    config_schema={
        "qualityPreset": dg.Field(
            dg.Enum("QualityPreset", [dg.EnumValue(name) for name in PRESETS]), default_value=DEFAULT_PRESET,
            description="Scenes at a time: " + ", ".join(f"{name} {count}" for name, count in PRESETS.items()) + ".",
        ),
        "requestedConcurrency": dg.Field(int, is_required=False, description="Scenes at a time, 1 to 32, instead of a preset."),
        "inProcess": dg.Field(bool, default_value=False, description="No process for each step: for runs that find everything made."),
    },
)  # fmt: skip

render_movie = dg.define_asset_job(
    "render_movie",
    selection=dg.AssetSelection.assets("narration", "movie"),
    description="Speak, plan, render, mix, assemble and deliver one movie.",
)


def build_defs(*, resources: dict[str, Any] | None = None) -> dg.Definitions:
    """All definitions. `resources` replaces single resources by name."""
    return dg.Definitions(
        assets=[narration, movie, generated_media],
        jobs=[render_movie, upkeep, cleanup, submit_generations, collect_generations, narrate_text],
        sensors=[inbox_sensor(render_movie), callbacks_sensor(), generations_sensor([render_movie, narrate_text])],
        schedules=[upkeep_schedule(), cleanup_schedule()],
        resources={"studio": StudioResource(), "io_manager": StoreValues(), **(resources or {})},
        executor=step_processes,
    )


def render_movie_job() -> dg.JobDefinition:
    """The job `render_movie`, for Dagster to build again in its own processes: once in each, before the steps are forked."""
    return _render_movie_job()


@cache
def _render_movie_job() -> dg.JobDefinition:
    return build_defs().resolve_job_def("render_movie")
