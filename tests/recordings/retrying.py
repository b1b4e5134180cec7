"""A film's graph with the names of the real one and work of another kind: its second scene fails once and is tried again.

The project's own ops have no retry policy of Dagster's, but Dagster has; what it logs then is recorded from here.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

SCENES, DELAY_S = 3, 1.0


@dg.op(out={"plan": dg.Out(str), "scenes": dg.DynamicOut(int)})
def plan_film(context: dg.OpExecutionContext) -> Iterator[Any]:
    yield dg.Output("plan", "plan", metadata={"scenes": SCENES, "frames": 15 * SCENES})
    for number in range(1, SCENES + 1):
        scene = {"scene": f"s{number - 1}", "frames": 15}
        yield dg.DynamicOutput(number, mapping_key=f"scene_{number:03d}", output_name="scenes", metadata=scene)


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=DELAY_S))
def render_scene(context: dg.OpExecutionContext, number: int) -> int:
    context.log.info(f"scene {number}: frame {5 + 5 * context.retry_number} of 15, 30 frames a second")
    if number == 2 and context.retry_number == 0:
        raise dg.Failure("SCENE_FAILED: the encoder was taken away; it comes back", metadata={"code": "SCENE_FAILED"})
    context.add_output_metadata({"cache": "miss"})
    return number


@dg.op
def assemble_film(plan: str, clips: list[int]) -> int:
    return len(clips)


@dg.op(out={"film": dg.Out(dict)})
def finalize_film(plan: str, film: int) -> Iterator[Any]:
    facts = {"duration_s": 1.5, "width": 360, "height": 640, "size_bytes": 12_345}
    yield dg.Output(facts, "film", metadata=facts)


@dg.graph_asset
def movie() -> Any:
    plan, scenes = plan_film()
    return finalize_film(plan, assemble_film(plan, scenes.map(render_scene).collect()))


def retrying_job() -> dg.JobDefinition:
    """Named as the real one, for the table of types."""
    return _job(dg.multiprocess_executor.configured({"max_concurrent": 3, "start_method": {"forkserver": {}}}))


def retrying_job_in_one_process() -> dg.JobDefinition:
    """The same for whoever has not the time."""
    return _job(dg.in_process_executor)


def _job(executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    job = dg.define_asset_job("render_movie", selection=[movie], executor_def=executor)
    return dg.Definitions(assets=[movie], jobs=[job]).resolve_job_def("render_movie")
