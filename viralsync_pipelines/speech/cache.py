"""Speech by content: a line that was spoken once is never spoken again, by any movie.

What belongs here: the key of a spoken line, and when what lies in the store may be trusted, and who speaks when an
engine cannot. What does not: speaking.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from viralsync_pipelines.errors import ObjectMissing, SpeechError
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.speech.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    NO_MEANS,
    Means,
    SpeechEngine,
    engine_named,
    one_of,
    refuse_unspeakable,
)
from viralsync_pipelines.storage.keys import speech_key, speech_timings_key
from viralsync_pipelines.storage.store import Store

FORMAT = 1  # raise it when the same samples would get other words, or the sidecar other fields


def speak_cached(line: Line, store: Store, work: Path, engine: SpeechEngine | None = None, means: Means = NO_MEANS) -> tuple[Spoken, bool]:
    """The line, spoken, in the store; and whether it was there already.

    The WAV lies under `Spoken.audio_key`; its word timings are written beside it afterwards, so timings in the store mean
    that the sound is complete. A sound that is missing, or not as long as its timings say (on a local store: not the same
    bytes), is spoken again. `work` is a folder for temporary files; nothing stays in it.
    An engine that fails with what another may do better is followed by those of `line.fallback`, in turn; `Spoken.engine` says who spoke.
    Raises SpeechError as SpeechEngine.speak does (with fallbacks: what became of each), ENGINE_NOT_FOUND, and StoreError.
    """
    refuse_unspeakable(line)
    for each in fallbacks_of(line):
        if each.engine not in ENGINES:  # seen today, not on the day it is needed
            told = f"the fallback {each.engine!r} is no speech engine; use {one_of(ENGINES, each.engine or '')}"
            raise SpeechError(told, code="ENGINE_NOT_FOUND", pointer="fallback")
    failed: list[tuple[str, SpeechError]] = []
    for each in (replace(line, fallback=()), *fallbacks_of(line)):
        try:
            spoken, hit = _by_one(each, store, work, engine if not failed and engine is not None else engine_named(each.engine, means))
        except SpeechError as error:
            if not (error.others_may or failed):
                raise
            failed.append((each.engine or DEFAULT_ENGINE, error))
        else:
            return replace(spoken, line_key=line.key), hit
    first = failed[0][1]
    if len(failed) == 1:
        raise first
    told = "; ".join(f"{name}: {error.message}" for name, error in failed)
    raise SpeechError(f"no engine could speak this line. {told}", code=first.code) from first


def fallbacks_of(line: Line) -> Iterator[Line]:
    """The line as each of its fallbacks would say it."""
    for each in line.fallback:
        engine, _, voice = each.partition("/")
        yield line.by(engine, voice or None)


def _by_one(line: Line, store: Store, work: Path, engine: SpeechEngine) -> tuple[Spoken, bool]:
    digest = digest_of(line, engine)
    found = kept(digest, store)
    if found is not None:
        return found, True
    with tempfile.TemporaryDirectory(dir=work, prefix="speech-") as folder:
        file = Path(folder) / "line.wav"
        take = engine.speak(line, file)
        spoken = Spoken(
            line_key=line.key,
            audio_key=speech_key(digest),
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            samples=take.samples,
            sample_rate=take.sample_rate,
            words=take.words,
            engine=engine.name,
            voice=take.voice,
            timing=take.timing,
            characters=take.characters,
            cost_usd=take.cost_usd,
        )
        keep(digest, spoken, file, store)
    return spoken, False


def keep(digest: str, spoken: Spoken, file: Path, store: Store) -> None:
    """The sound under its key; its words beside it, written afterwards, so that they mean that the sound is complete."""
    size = file.stat().st_size
    store.put_file(spoken.audio_key, file, content_type="audio/wav")
    sidecar = {"spoken": spoken.as_json(), "bytes": size}
    store.put_bytes(
        speech_timings_key(digest), json.dumps(sidecar, ensure_ascii=False).encode(), content_type="application/json"
    )


def digest_of(line: Line, engine: SpeechEngine) -> str:
    """Hash of all that decides how the line sounds when this engine says it: 64 hex digits."""
    parts = (replace(line, fallback=()).key, engine.name, engine.version(), str(FORMAT))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def kept(digest: str, store: Store) -> Spoken | None:
    """What lies under this digest, whole and with its words; None for anything else."""
    try:
        sidecar = json.loads(store.get_bytes(speech_timings_key(digest)))
        spoken, size = Spoken.from_json(sidecar["spoken"]), sidecar["bytes"]
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return None
    stat = store.stat(speech_key(digest))
    if spoken.audio_key != speech_key(digest) or stat is None or stat.size != size:
        return None
    # A bucket checks its own bytes; a disk that filled up or was edited by hand does not.
    path = store.local_path(spoken.audio_key)
    if path is not None and hashlib.sha256(path.read_bytes()).hexdigest() != spoken.sha256:
        return None
    return spoken
