"""Narrations as a Dagster job: a script laid out, a step for each of its lines, and one track of them with captions and chapters.

What belongs here: ops, their metadata and how they hang together; the same job whoever asks: the API, the command line, an execution
plan. What does not: the work (narrated.py), the asset of a movie's lines (narration.py).
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from viralsync_pipelines.defs.resources import StudioResource, settings_now
from viralsync_pipelines.defs.scratch import sweep_scratch
from viralsync_pipelines.defs.shown import link_to, picture_of
from viralsync_pipelines.defs.studio import Studio, scratch_root
from viralsync_pipelines.defs.take import at_work, failure_of, job_id_of, tell, tell_timing, within
from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.jobs.lines import spoken_line
from viralsync_pipelines.jobs.orders import CHANNEL_TAG, DEFAULT_WORKSPACE, WORKSPACE_TAG
from viralsync_pipelines.jobs.run_config import EVERY_SCENE, NARRATE_JOB
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.movie.script import Spoken as SpokenLine
from viralsync_pipelines.storage.keys import speech_timings_key

# Away for the moment: the same line may be spoken a little later. Everything else would end the same way.
PASSING = frozenset({"SPEECH_BUSY", "SPEECH_UNAVAILABLE", "SOURCE_UNAVAILABLE", "STORE_UNAVAILABLE", "FFMPEG_STALLED"})


class Script(dg.Config):
    """What is to be spoken."""

    document: str = Field(description="Store key of the narration's order: a script or lines, voices, a bed.")
    folder: str = Field(default="", description="Folder that relative paths of sounds start from (command line only).")
    fresh: list[str] = Field(default_factory=list, description="Numbers of lines to speak anew although they are kept; * for all.")


def _desk(context: dg.OpExecutionContext, desk: Studio) -> Studio:
    return within(desk, context.instance, context.run.tags.get(WORKSPACE_TAG, DEFAULT_WORKSPACE))


@dg.op(
    out={"lines": dg.DynamicOut(dict)}, description="Reads the script and brings its sounds in; a step for every line of it."
)  # fmt: skip
def lay_out_script(context: dg.OpExecutionContext, config: Script, studio: StudioResource) -> Iterator[Any]:
    from viralsync_pipelines.defs import narrated

    job = job_id_of(context)
    sweep_scratch(scratch_root(settings_now()), time.time())
    try:
        with at_work(studio, config.folder) as desk:
            script = narrated.current_script(desk.store, job, config.document, context.run.tags.get(CHANNEL_TAG))
            narration = narrated.read_narration(script)
            narrated.bring_sounds(_desk(context, desk), script)
    except ViralsyncError as error:
        raise failure_of(error) from error
    words = sum(len(row.text.split()) for row in narration.lines)
    tell(context, f"lines: {len(narration.lines)}, sections: {len(narration.parts)}, words: {words}")
    for row in narration.lines:
        number = str(row.number)
        yield dg.DynamicOutput(
            {
                "number": row.number, "of": len(narration.lines), "line": row.line.as_json(), "text": row.text, "folder": config.folder,
                "own": row.own.model_dump(mode="json") if row.own is not None else None,
                "anew": number in config.fresh or EVERY_SCENE in config.fresh,
            },
            output_name="lines", mapping_key=f"line_{row.number:03d}",
            metadata={"line": " ".join(row.text.split())[:80] or "A recording", "name": row.name or "", "characters": len(row.line.text)},
        )  # fmt: skip


@dg.op(
    description="Speaks one line, or finds it spoken already; a recording in its place is cut.",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)
def speak_script_line(context: dg.OpExecutionContext, line: dict[str, Any], studio: StudioResource) -> dict[str, Any]:
    # Not above: whoever renders a film imports this module, and needs none of it (0.1 s).
    from viralsync_pipelines.defs import narrated
    from viralsync_pipelines.speech.order import OwnAudio

    own = OwnAudio.model_validate(line["own"]) if line["own"] is not None else None
    try:
        with at_work(studio, line["folder"]) as desk:
            if own is not None:
                spoken, hit = narrated.own_line(_desk(context, desk), own, line["text"])
            else:
                spoken, hit = _said(desk, Line.from_json(line["line"]), anew=line["anew"])
            link = desk.store.url(spoken.audio_key)
    except ViralsyncError as error:
        failure = failure_of(error)
        raise dg.Failure(failure.description, failure.metadata, allow_retries=error.code in PASSING) from error
    except Exception as error:
        # Running the same line again would end the same way.
        raise dg.Failure(f"SPEECH_FAILED: {type(error).__name__}: {error}", allow_retries=False) from error
    cost = 0.0 if hit else spoken.cost_usd
    verb = "found" if hit else "cut" if own is not None else "spoke"
    told = f"{verb} {spoken.duration:.2f} s: {' '.join(line['text'].split())[:80]}"
    tell(context, spoken_line(line["number"], line["of"], told))
    tell_timing(context, spoken)
    context.add_output_metadata(
        {"cache": "hit" if hit else "miss", "seconds": round(spoken.duration, 3), "words": len(spoken.words), "text": line["text"],
         "engine": spoken.engine, "voice": spoken.voice, "timing": spoken.timing, "characters": len(line["line"]["text"]),
         "sound": link_to(link), "billed": 0 if hit else spoken.characters, "cost_usd": cost if cost is not None else "unknown"}
    )  # fmt: skip
    return {"number": line["number"], "fresh": not hit, "spoken": spoken.as_json()}


def _said(desk: Studio, line: Line, *, anew: bool) -> tuple[SpokenLine, bool]:
    from viralsync_pipelines.speech.cache import digest_of, fallbacks_of
    from viralsync_pipelines.speech.engine import engine_named

    for each in (replace(line, fallback=()), *fallbacks_of(line)) if anew else ():
        # Without its timings a sound is not trusted, and is spoken again.
        desk.store.delete(speech_timings_key(digest_of(each, engine_named(each.engine, desk.means))))
    return desk.spoken(line)


@dg.op(description="Joins the lines to the sample, with sounds and bed; captions, words, chapters. A missing line is an error.")
def join_lines(context: dg.OpExecutionContext, config: Script, lines: list[dict[str, Any]], studio: StudioResource) -> dict[str, Any]:
    from viralsync_pipelines.defs import narrated

    job, workspace = job_id_of(context), context.run.tags.get(WORKSPACE_TAG, DEFAULT_WORKSPACE)
    heard = {each["number"]: narrated.Heard(SpokenLine.from_json(each["spoken"]), each["fresh"]) for each in lines}
    try:
        with at_work(studio, config.folder) as desk:
            script = narrated.current_script(desk.store, job, config.document)
            made = narrated.join_track(_desk(context, desk), job, script, heard, workspace)
            link = desk.store.url(made.receipt["files"]["narration.wav"]["key"])
    except ViralsyncError as error:
        raise failure_of(error) from error
    receipt = made.receipt
    # Browsers play what a gateway serves; the UI itself plays nothing.
    gateway = settings_now().api_base_url
    played = f"{gateway.rstrip('/')}/v1/jobs/{job}/files/narration.mp3" if gateway else link
    spent = f", {receipt['costUsd']:.4f} USD" if receipt["costUsd"] else ""
    billed = f"{receipt['billedCharacters']} characters billed{spent}"
    tell(context, f"joined {receipt['duration']:.2f} s of sound from {len(receipt['lines'])} spoken; {billed}")
    context.add_output_metadata(
        {"play": link_to(played), "waveform": picture_of(made.picture), "duration_s": receipt["duration"], "lines": len(receipt["lines"]),
         "chapters": len(receipt["chapters"]), "characters": receipt["characters"], "billed": receipt["billedCharacters"],
         "cost_usd": receipt["costUsd"] if receipt["costUsd"] is not None else "unknown", "job": job,
         "size_bytes": receipt["files"]["narration.wav"]["bytes"], "key": f"outputs/{job}/narration.wav",
         "voice": receipt["lines"][0]["voice"]}
    )  # fmt: skip
    return {"job": job, "duration": receipt["duration"]}


# Bound here, as in generations.py: what Dagster binds itself makes it copy the sensor, with a warning on every command.
# In one process: a line of the embedded voice takes 60 ms, and a process for it 300.
@dg.job(
    name=NARRATE_JOB, executor_def=dg.in_process_executor, resource_defs={"studio": StudioResource(), "io_manager": dg.mem_io_manager},
    description="Speaks a script, line by line, and joins it to one track.",
)  # fmt: skip
def narrate_text() -> None:
    join_lines(lay_out_script().map(speak_script_line).collect())
