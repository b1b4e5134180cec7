"""Generated media in Dagster: two small jobs that give jobs to providers and fetch what they made, and the sensor that keeps both going.

What belongs here: definitions. What does not: what they do (generating.py). A wait holds no process: between the two jobs there is only a
row, which a webhook or this sensor settles.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.take import tell
from viralsync_pipelines.errors import DatabaseBehind

GENERATED = dg.AssetKey("generated_media")
# Nothing is handed on. Bound here: a sensor over jobs that Dagster still has to bind is copied by it, with a warning on every command.
_OWN = {"io_manager": dg.mem_io_manager}

generated_media = dg.AssetSpec(
    GENERATED, group_name="generated", description="What providers made, stored by content: one materialization for each finished job.",
)  # fmt: skip


class Batch(dg.Config):
    """Rows of the ledger that this run was started for."""

    batch: str


@dg.op(description="Gives ready jobs to their providers, each once; their rows wait, this run does not.")
def submit(context: dg.OpExecutionContext, config: Batch) -> None:
    from viralsync_pipelines.defs.generating import submit_all

    count, left = submit_all(config.batch)
    tell(context, f"{count} jobs given to their providers" + (f", {left} of them to be sent again" if left else ""))
    context.add_output_metadata({"submitted": count, "to_be_sent_again": left})


@dg.op(description="Fetches what providers made, checks it, stores it by content, and lets what depends on it begin.")
def collect(context: dg.OpExecutionContext, config: Batch) -> None:
    from viralsync_pipelines.defs.generating import collect_all

    done = collect_all(config.batch)
    for _, shown in done:
        context.log_event(dg.AssetMaterialization(GENERATED, metadata=shown))
    tell(context, f"{len(done)} jobs collected")
    context.add_output_metadata({"collected": len(done), "jobs": [job for job, _ in done]})


@dg.job(executor_def=dg.in_process_executor, resource_defs=_OWN, description="Gives jobs of execution plans to their providers.")
def submit_generations() -> None:
    submit()


@dg.job(executor_def=dg.in_process_executor, resource_defs=_OWN, description="Fetches what providers made.")
def collect_generations() -> None:
    collect()


def generations_sensor(films: Sequence[Any]) -> dg.SensorDefinition:
    """Ticks every five seconds. films: the jobs that make films and narrations of plans."""

    @dg.sensor(
        jobs=[submit_generations, collect_generations, *films], minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING,
        name="generations", description="Polls providers, reads webhooks, and starts the runs that submit, collect, render and speak.",
    )  # fmt: skip
    def generations(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from viralsync_pipelines.defs.generating import tick

        try:
            return tick(context, submit_generations.name, collect_generations.name)
        except DatabaseBehind as error:
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))

    return generations
