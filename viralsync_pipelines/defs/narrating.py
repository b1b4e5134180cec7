"""Narrations that a plan asks for, as a small Dagster job: lines spoken once each, and one sound of them with the times of its words.

What belongs here: that op and its job. What does not: which lines (generate/utterances.py), speaking (speech/), the asset of a movie's
lines (narration.py).
"""

import hashlib
import json
import tempfile
import wave
from pathlib import Path
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.resources import StudioResource
from viralsync_pipelines.defs.take import at_work, failure_of, job_id_of, tell
from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.storage.keys import media_key, words_key

NARRATE_JOB = "narrate_text"
_CHUNK = 1 << 20


class Script(dg.Config):
    """What is to be spoken. document: store key of the params of a `narrate`."""

    document: str


@dg.op(description="Speaks the lines of a narration, or finds them spoken, and joins them to the sample.")
def speak_text(context: dg.OpExecutionContext, config: Script, studio: StudioResource) -> None:
    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.generate.film_params import Narrate
    from viralsync_pipelines.generate.utterances import Stretch, laid_out, lines_of, told_of

    def joined(desk: Studio, stretches: list[Stretch], file: Path) -> None:
        with wave.open(str(file), "wb") as out:
            for number, each in enumerate(stretches):
                part = file.with_name("line.wav")
                desk.store.fetch(each.spoken.audio_key, part)
                with wave.open(str(part)) as line:
                    if number == 0:
                        out.setparams(line.getparams())
                    shape = (line.getnchannels(), line.getsampwidth())
                    if shape != (out.getnchannels(), out.getsampwidth()) or line.getnframes() != each.spoken.samples:
                        raise dg.Failure(f"line {number + 1} is not like the first; take voices of one engine", allow_retries=False)
                    while frames := line.readframes(_CHUNK):
                        out.writeframesraw(frames)
                    out.writeframesraw(bytes(each.silence * shape[0] * shape[1]))

    job = job_id_of(context)
    with at_work(studio) as desk:
        desk.scratch.mkdir(parents=True, exist_ok=True)
        try:
            said = lines_of(Narrate.model_validate(json.loads(desk.store.get_bytes(config.document))))
            spoken = []
            for number, each in enumerate(said, 1):
                spoken.append(desk.speak(each.line))
                tell(context, f"line {number} of {len(said)}: {spoken[-1].duration:.2f} s: {' '.join(each.line.text.split())[:80]}")
            stretches = laid_out(said, spoken)
            with tempfile.TemporaryDirectory(dir=desk.scratch, prefix="narration-") as folder:
                file = Path(folder) / "narration.wav"
                joined(desk, stretches, file)
                with file.open("rb") as opened:
                    digest = hashlib.file_digest(opened, "sha256").hexdigest()
                key, size = media_key(digest, "wav"), file.stat().st_size
                if desk.store.stat(key) is None:
                    desk.store.put_file(key, file, content_type="audio/wav", take=True)
            told: dict[str, Any] = {"key": key, "sha256": digest, "bytes": size, "voice": spoken[0].voice, **told_of(stretches)}
            desk.store.put_bytes(words_key(job), json.dumps(told, ensure_ascii=False).encode(), content_type="application/json")
        except ViralsyncError as error:
            raise failure_of(error) from error
    tell(context, f"{len(said)} lines, {told['duration']:.2f} s of sound")
    context.add_output_metadata(
        {"job": job, "lines": len(said), "seconds": round(told["duration"], 3), "words": len(told["words"]), "key": key,
         "voice": told["voice"]}
    )  # fmt: skip


# Bound here, as in generations.py: what Dagster binds itself makes it copy the sensor, with a warning on every command.
@dg.job(
    name=NARRATE_JOB, executor_def=dg.in_process_executor, resource_defs={"studio": StudioResource(), "io_manager": dg.mem_io_manager},
    description="Speaks what an execution plan has to be narrated.",
)  # fmt: skip
def narrate_text() -> None:
    speak_text()
