"""Speech by content: a line that was spoken once is never spoken again, by any movie.

What belongs here: the key of a spoken line, and when what lies in the store may be trusted. What does not: speaking.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from viralsync_pipelines.errors import ObjectMissing
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.speech.engine import SpeechEngine, engine_named, refuse_unspeakable
from viralsync_pipelines.storage.keys import speech_key, speech_timings_key
from viralsync_pipelines.storage.store import Store

FORMAT = 1  # raise it when the same samples would get other words, or the sidecar other fields


def speak_cached(line: Line, store: Store, work: Path, engine: SpeechEngine | None = None) -> tuple[Spoken, bool]:
    """The line, spoken, in the store; and whether it was there already.

    The WAV lies under `Spoken.audio_key`; its word timings are written beside it afterwards, so timings in the store mean
    that the sound is complete. A sound that is missing, or not as long as its timings say (on a local store: not the same
    bytes), is spoken again. `work` is a folder for temporary files; nothing stays in it.
    Raises SpeechError as SpeechEngine.speak does, ENGINE_NOT_FOUND, and StoreError.
    """
    refuse_unspeakable(line)
    engine = engine or engine_named(line.engine)
    digest = digest_of(line, engine)
    kept = _kept(digest, store)
    if kept is not None:
        return kept, True
    with tempfile.TemporaryDirectory(dir=work, prefix="speech-") as folder:
        file = Path(folder) / "line.wav"
        take = engine.speak(line, file)
        content = file.read_bytes()
        spoken = Spoken(
            line_key=line.key,
            audio_key=speech_key(digest),
            sha256=hashlib.sha256(content).hexdigest(),
            samples=take.samples,
            sample_rate=take.sample_rate,
            words=take.words,
            engine=engine.name,
            voice=take.voice,
        )
        store.put_file(spoken.audio_key, file, content_type="audio/wav")
    sidecar = {"spoken": spoken.as_json(), "bytes": len(content)}
    store.put_bytes(
        speech_timings_key(digest), json.dumps(sidecar, ensure_ascii=False).encode(), content_type="application/json"
    )
    return spoken, False


def digest_of(line: Line, engine: SpeechEngine) -> str:
    """Hash of all that decides how the line sounds: 64 hex digits."""
    parts = (line.key, engine.name, engine.version(), str(FORMAT))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _kept(digest: str, store: Store) -> Spoken | None:
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
