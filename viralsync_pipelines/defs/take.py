"""What a run is asked to make, and the ground every op stands on: its document, its studio, its failures as Dagster shows them.

What belongs here: what `narration` and `movie` share. What does not: their ops.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from viralsync_pipelines.defs.resources import StudioResource, settings_now, store_of
from viralsync_pipelines.defs.studio import Studio, is_generation, made_by
from viralsync_pipelines.defs.voices import speech_of_channel
from viralsync_pipelines.errors import MovieInvalid, ViralsyncError
from viralsync_pipelines.jobs.orders import CHANNEL_TAG, DEFAULT_WORKSPACE, JOB_TAG, WORKSPACE_TAG
from viralsync_pipelines.movie.script import Spoken
from viralsync_pipelines.movie.voicing import with_speech
from viralsync_pipelines.render.lifeline import tie_to_parent
from viralsync_pipelines.render.prepare import movie_id_of
from viralsync_pipelines.render.registry import find_registered, find_version
from viralsync_pipelines.storage.keys import INBOX, output_key
from viralsync_pipelines.storage.store import Store

# The inbox file that a run was started for: what the run itself refuses is told beside that file too.
INBOX_TAG = "viralsync/inbox"
MOVIES = dg.DynamicPartitionsDefinition(name="movies")


class Take(dg.Config):
    """What to render when it is not simply the registered movie. All empty: the partition's movie as it is registered."""

    movie: dict[str, Any] = Field(default_factory=dict, description="A movie JSON that replaces the registered one for this run.")
    document: str = Field(default="", description="Store key of a movie JSON that replaces the registered one for this run.")
    folder: str = Field(default="", description="Folder that the movie's relative paths start from (command line only).")
    variables: dict[str, Any] = Field(default_factory=dict, description="Values for the movie's variables.")
    draft: bool = Field(default=False, description="Half size and fast; the same timing.")
    fresh: list[str] = Field(default_factory=list, description="Numbers of scenes to render anew although they are cached; * for all.")


def job_id_of(context: dg.OpExecutionContext) -> str:
    """The job this run belongs to: its tag, or for a run launched in the Dagster UI the id of its first attempt's run."""
    tagged = context.run.tags.get(JOB_TAG)
    return tagged or "job_" + (context.run.root_run_id or context.run_id).replace("-", "")[:12]


def tell(context: dg.OpExecutionContext, line: str) -> None:
    """Say what a step does: in the run's log, and on standard output, which is shown as it comes."""
    context.log.info(line)
    print(line, flush=True)


def tell_timing(context: dg.OpExecutionContext, spoken: Spoken) -> None:
    """Say it where the times of a line's words were not told by the engine: never silently."""
    if spoken.timing == "estimate":
        tell(context, f"{spoken.engine} told no times of words: they are an estimate from the sound, and captions may be off by a syllable")


@contextmanager
def at_work(resource: StudioResource, folder: str = "") -> Iterator[Studio]:
    """The studio for one step: tied to its run, and with its temporary files gone afterwards."""
    tie_to_parent()
    studio = resource.create_studio()
    try:
        yield studio.beside(Path(folder)) if folder else studio
    finally:
        with suppress(OSError):
            studio.scratch.rmdir()


def within(studio: Studio, instance: dg.DagsterInstance, workspace: str) -> Studio:
    """The studio as a movie of this workspace may use it: sources are films of its own jobs, and only `default` reads the store by s3://.

    The gateway refuses what it can see of the same when a movie is sent in; what templates make of measured times is seen here alone.
    """

    def film_of(job_id: str) -> str | None:
        if is_generation(studio.store, job_id):
            return made_by(studio.store, job_id, workspace)
        tagged = instance.get_runs(dg.RunsFilter(tags={JOB_TAG: job_id}), limit=1)
        # Without a run by that tag it was launched by hand, or its run is gone: it is the operator's, as everything untagged.
        owner = tagged[0].tags.get(WORKSPACE_TAG, DEFAULT_WORKSPACE) if tagged else DEFAULT_WORKSPACE
        return output_key(job_id) if owner == workspace else None

    bucket = studio.sources.bucket if workspace == DEFAULT_WORKSPACE else None
    return replace(studio, sources=replace(studio.sources, job_output=film_of, bucket=bucket))


def wanted(context: dg.OpExecutionContext, config: Take) -> tuple[dict[str, Any], str]:
    """The document to render, and the folder its relative paths start from ("" for none).

    A folder opens files of this machine to the movie. It comes from the command line alone: with a render, or kept with the
    registered document. A document from anywhere else never inherits it. What the movie does not say of how it is spoken comes from
    the channel of the run.
    """
    document, folder = _wanted(context, config)
    channel = context.run.tags.get(CHANNEL_TAG)
    given = speech_of_channel(store_of(settings_now()), channel) if channel else {}
    # With the id it has without: a channel's voice makes no other movie of it.
    return ({**with_speech(document, given), "id": movie_id_of(document)} if given else document), folder


def _wanted(context: dg.OpExecutionContext, config: Take) -> tuple[dict[str, Any], str]:
    if config.movie:
        return config.movie, config.folder
    store = store_of(settings_now())
    if config.document:
        return find_version(store, config.document), config.folder
    document, folder = find_registered(store, context.partition_key)
    return document, config.folder or folder


def failure_of(error: ViralsyncError) -> dg.Failure:
    """The error as Dagster shows it. Running the same bytes again would end the same way, so Dagster must not retry."""
    metadata: dict[str, Any] = {"code": error.code}
    said = getattr(error.__cause__, "stderr_tail", None) or getattr(error, "stderr_tail", None)
    if said:
        metadata["ffmpeg"] = dg.MetadataValue.md(f"```\n{said[-4000:]}\n```")
    if isinstance(error, MovieInvalid):
        metadata["problems"] = dg.MetadataValue.json([p.as_json() for p in error.problems])
    return dg.Failure(description=str(error), metadata=metadata, allow_retries=False)


def refusal_of(context: dg.OpExecutionContext, error: ViralsyncError) -> dg.Failure:
    """failure_of for a movie that cannot be planned: one that came through the inbox gets its reasons beside it."""
    key = context.run.tags.get(INBOX_TAG)
    if key is not None and key.startswith(INBOX) and isinstance(error, MovieInvalid):
        write_reasons(store_of(settings_now()), key, error)
    return failure_of(error)


def reasons_key(key: str) -> str:
    """Where an inbox file's reasons stand: movie.json -> movie.problems.json."""
    return key.removesuffix(".json") + ".problems.json"


def write_reasons(store: Store, key: str, error: MovieInvalid) -> None:
    """Tell beside an inbox file why it is refused."""
    reasons = {"problems": [p.as_json() for p in error.problems]}
    store.put_bytes(reasons_key(key), json.dumps(reasons, indent=2, ensure_ascii=False).encode())
