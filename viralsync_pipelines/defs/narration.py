"""The asset `narration`: every line of a movie, spoken once.

What belongs here: its ops and their metadata. What does not: speaking (speech/).
"""

from collections.abc import Collection, Iterator
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.resources import StudioResource
from viralsync_pipelines.defs.shown import link_to
from viralsync_pipelines.defs.take import MOVIES, Take, at_work, failure_of, refusal_of, tell, tell_timing, wanted
from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.movie.layers import VoiceLayer
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.movie.staging import line_of
from viralsync_pipelines.render.gather import pending_line
from viralsync_pipelines.render.prepare import read_spec


def known_lines(movie: Movie, pending: Collection[str]) -> tuple[Line, ...]:
    """Every distinct line in order of the film, but for those whose words wait for a measured time: planning speaks these."""
    stacks = [("", movie.layers), *((f"/scenes/{i}", scene.layers) for i, scene in enumerate(movie.scenes))]
    return tuple(
        dict.fromkeys(
            line_of(layer)
            for at, layers in stacks
            for number, layer in enumerate(layers)
            if isinstance(layer, VoiceLayer) and pending_line(f"{at}/layers/{number}", pending) is None
        )
    )


@dg.op(out=dg.DynamicOut(dict), description="Every distinct line that the movie has spoken.")
def find_lines(context: dg.OpExecutionContext, config: Take) -> Iterator[dg.DynamicOutput[dict[str, Any]]]:
    try:
        movie, expansion = read_spec(wanted(context, config)[0], config.variables)
    except ViralsyncError as error:
        raise refusal_of(context, error) from error
    for number, line in enumerate(known_lines(movie, expansion.pending), 1):
        yield dg.DynamicOutput(line.as_json(), mapping_key=f"line_{number:03d}")


@dg.op(description="Speaks one line, or finds it spoken already.")
def speak_line(context: dg.OpExecutionContext, line: dict[str, Any], studio: StudioResource) -> dict[str, Any]:
    with at_work(studio) as desk:
        try:
            spoken, hit = desk.spoken(Line.from_json(line))
            link = desk.store.url(spoken.audio_key)
        except ViralsyncError as error:
            raise failure_of(error) from error
    tell(context, f"{'found' if hit else 'spoke'} {spoken.duration:.2f} s: {' '.join(line['text'].split())[:80]}")
    tell_timing(context, spoken)
    context.add_output_metadata(
        {"cache": "hit" if hit else "miss", "sound": link_to(link), "seconds": round(spoken.duration, 3), "words": len(spoken.words),
         "text": line["text"], "engine": spoken.engine, "voice": spoken.voice, "timing": spoken.timing,
         "characters": 0 if hit else spoken.characters,
         "cost_usd": 0.0 if hit else spoken.cost_usd if spoken.cost_usd is not None else "unknown"}
    )  # fmt: skip
    return spoken.as_json()


@dg.op(description="The movie's narration: every line with its words and their times.")
def gather_narration(context: dg.OpExecutionContext, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seconds = sum(line["samples"] / line["sample_rate"] for line in lines)
    context.add_output_metadata({"lines": len(lines), "seconds": round(seconds, 2), "words": sum(len(line["words"]) for line in lines)})
    return lines


@dg.graph_asset(partitions_def=MOVIES, group_name="movies", description="Every spoken line of the movie, with word timings.")
def narration() -> Any:
    return gather_narration(find_lines().map(speak_line).collect())
