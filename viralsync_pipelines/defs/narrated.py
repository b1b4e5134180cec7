"""A narration's work on this machine, without Dagster: what it says now, sounds beside the voice, one's own recordings, the finished track.

What belongs here: bringing in, joining and putting out. What does not: ops (narrating.py), arithmetic (speech/track.py), samples
(render/joined.py).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viralsync_pipelines.defs.studio import Studio
from viralsync_pipelines.defs.voices import speech_of_channel
from viralsync_pipelines.errors import ObjectMissing, Problem, SpeechError
from viralsync_pipelines.media import Kind
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.movie.script import Spoken as SpokenLine
from viralsync_pipelines.movie.voicing import filled
from viralsync_pipelines.render.joined import cut_wav, join_alike, join_mixed, mp3_of
from viralsync_pipelines.render.sources import Source, bring, bring_all
from viralsync_pipelines.speech.narration import Effect, Narration, Spoken, expanded, narration_of
from viralsync_pipelines.speech.order import NarrationInvalid, OwnAudio, read_order, seconds_of
from viralsync_pipelines.speech.track import Chapter, Sound, Track, chapters_of, cues_of, ffmetadata_of, lay_out, mix_of, words_of
from viralsync_pipelines.storage.keys import content_type_of, manifest_key, media_key, narration_key, speech_key
from viralsync_pipelines.storage.store import Store

SCRIPT, RECEIPT = "script.json", "narration.json"
OWN = "own"
"""What stands for the engine of a line that somebody recorded."""
_KINDS: tuple[Kind, ...] = ("audio", "video")
_CUTTING = "1"  # raise it when the same recording would be cut otherwise


@dataclass(frozen=True)
class Heard:
    """A line as it came to be. fresh: it was made just now, and cost what it says."""

    spoken: SpokenLine
    fresh: bool


@dataclass(frozen=True)
class Result:
    """receipt: all that is known of the track, as JSON. picture: its waveform, a JPEG."""

    receipt: dict[str, Any]
    picture: bytes


def current_script(store: Store, job: str, document: str, channel: str | None = None) -> dict[str, Any]:
    """What a job says now: as it was changed last, else as it was asked for, line by line. Who speaks, where that is not said, its
    channel says. Raises NarrationInvalid, ChannelInvalid, StoreError."""
    key = narration_key(job, SCRIPT)
    try:
        found: dict[str, Any] = json.loads(store.get_bytes(key))
    except ObjectMissing:
        found = expanded(read_order(json.loads(store.get_bytes(document))))
        found = filled(found, {name: value for name, value in speech_of_channel(store, channel).items() if value is not None})
        keep_script(store, job, found)
    return found


def keep_script(store: Store, job: str, script: Mapping[str, Any]) -> None:
    data = json.dumps(script, ensure_ascii=False).encode()
    store.put_bytes(narration_key(job, SCRIPT), data, content_type="application/json")


def read_narration(script: Mapping[str, Any]) -> Narration:
    return narration_of(read_order(script))


# ---- sounds ----------------------------------------------------------------------------------------------------------


def bring_sounds(desk: Studio, script: Mapping[str, Any]) -> dict[str, Source]:
    """Every source that a script names, brought in. Raises NarrationInvalid with the place of each that cannot be."""
    wanted = list(_sources(script))
    if not wanted:
        return {}
    sources, problems = bring_all(wanted, bench=desk.sources)
    places = dict(reversed(wanted))
    for src, source in sources.items():
        if source.ref.kind not in _KINDS or _length(source) is None:
            problems.append(Problem(places[src], "SOURCE_UNREADABLE", "there is no sound in this; give a sound, or a film that has some"))
    if problems:
        raise NarrationInvalid(sorted(problems))
    return sources


def _sources(script: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(script["lines"]):
        if row.get("sfx") is not None:
            yield row["sfx"], f"/lines/{number}/sfx"
        if row.get("audio") is not None:
            yield row["audio"]["src"], f"/lines/{number}/audio/src"
    if script.get("bed") is not None:
        yield script["bed"]["src"], "/bed/src"


def _length(source: Source) -> int | None:
    seconds = source.info.audio_duration or source.info.duration
    return round(seconds * 48_000) if source.info.audio_stream is not None and seconds else None


def _sound(source: Source) -> Sound:
    return Sound(source.ref.sha256, _length(source) or 1, 48_000, source.info.channels or 1, source.sniffed.demuxer)


def own_line(desk: Studio, own: OwnAudio, text: str) -> tuple[SpokenLine, bool]:
    """A recording, or a part of one, as a line: 16-bit WAV at 48 kHz, kept by content; and whether it was there.

    Its words are those of `text`, their times estimated. Raises SpeechError SPEECH_EMPTY for a part without a sample.
    """
    from viralsync_pipelines.speech.cache import keep, kept
    from viralsync_pipelines.speech.estimate import estimated_words

    source = bring(own.src, pointer="/audio/src", bench=desk.sources, kinds=_KINDS)
    start, end = seconds_of(own.start), seconds_of(own.end) if own.end is not None else None
    digest = hashlib.sha256("\0".join([OWN, _CUTTING, source.ref.sha256, f"{start}", f"{end}", text]).encode()).hexdigest()
    found = kept(digest, desk.store)
    if found is not None:
        return found, True
    desk.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=desk.scratch, prefix="own-") as folder:
        file = Path(folder) / "line.wav"
        cut_wav(source.path, source.sniffed.demuxer, start, end, file)
        with wave.open(str(file)) as opened:
            samples, rate, channels = opened.getnframes(), opened.getframerate(), opened.getnchannels()
            if samples == 0:
                told = f"the recording has nothing between {start:g} s and {'its end' if end is None else f'{end:g} s'}; check its times"
                raise SpeechError(told, code="SPEECH_EMPTY")
            words = estimated_words(text, memoryview(opened.readframes(samples)).cast("h")[::channels], rate) if text.strip() else ()
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        spoken = SpokenLine(Line(text).key, speech_key(digest), sha256, samples, rate, words, OWN, OWN, timing="estimate")
        keep(digest, spoken, file, desk.store)
    return spoken, False


# ---- the track -------------------------------------------------------------------------------------------------------


def join_track(desk: Studio, job: str, script: Mapping[str, Any], heard: Mapping[int, Heard], workspace: str) -> Result:
    """The finished narration under the job's outputs. heard: by the number of the line.

    Raises SpeechError LINE_MISSING for a line that is not there, never a shorter track; SourceError, RenderError, StoreError.
    """
    narration = read_narration(script)
    missing = [row.number for row in narration.lines if row.number not in heard]
    if missing:
        told = f"line {missing[0]} was never spoken; retry the job: what is finished is kept"
        raise SpeechError(told, code="LINE_MISSING")
    sources = bring_sounds(desk, {**script, "lines": [row for row in script["lines"] if row.get("sfx") is not None]})
    desk.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=desk.scratch, prefix="narration-") as name:
        folder = Path(name)
        paths = {source.ref.sha256: source.path for source in sources.values()}
        sounds = [
            _sound(sources[row.src]) if isinstance(row, Effect) else _spoken_sound(desk.store, heard[row.number].spoken, folder, paths)
            for row in narration.rows
        ]
        bed = _sound(sources[narration.bed.src]) if narration.bed is not None else None
        track = lay_out(narration, sounds, bed)
        wav = folder / "narration.wav"
        gain = 1.0
        if track.plain:
            join_alike([(paths[place.sound.source], place.at) for place in track.places], track.rate, track.channels, track.length, wav)
        else:
            gain = join_mixed(mix_of(track, narration, bed), paths.__getitem__, folder, wav)
        return _put_out(desk, job, narration, track, heard, wav, gain, workspace)


def _spoken_sound(store: Store, spoken: SpokenLine, folder: Path, paths: dict[str, Path]) -> Sound:
    path = store.local_path(spoken.audio_key)
    if path is None:
        path = folder / f"{spoken.sha256}.wav"
        if not path.exists():
            store.fetch(spoken.audio_key, path)
    paths[spoken.sha256] = path
    with wave.open(str(path)) as file:
        channels, samples = file.getnchannels(), file.getnframes()
    if samples != spoken.samples:
        raise SpeechError("a line's sound is not as long as it was told to be; retry the job", code="SPEECH_FAILED")
    return Sound(spoken.sha256, samples, spoken.sample_rate, channels, words=spoken.words)


def _put_out(
    desk: Studio, job: str, narration: Narration, track: Track, heard: Mapping[int, Heard], wav: Path, gain: float, workspace: str
) -> Result:  # fmt: skip
    from viralsync_pipelines.defs.shown import wave_of
    from viralsync_pipelines.movie.caption_files import write_srt, write_vtt

    chapters = chapters_of(track, narration)
    lines = words_of(track, narration)
    cues = cues_of(lines)
    meta = ffmetadata_of(chapters, track.rate, {"title": narration.title})
    (wav.parent / "chapters.ffmeta").write_text(meta, encoding="utf-8")
    mp3 = wav.with_suffix(".mp3")
    mp3_of(wav, track.channels, wav.parent / "chapters.ffmeta", mp3)
    picture = wave_of(wav)
    receipt = _facts(job, narration, track, heard, chapters, gain)
    sound = {name: _kept_sound(desk.store, path) for name, path in (("narration.wav", wav), ("narration.mp3", mp3))}
    words = [
        {"word": word.text, "start": word.start, "end": word.end, "line": row.number} for row, found in lines for word in found
    ]  # fmt: skip
    spoken = {"duration": receipt["duration"], "sampleRate": track.rate, "voice": receipt["lines"][0]["voice"]}
    told = {**{name: sound["narration.wav"][name] for name in ("key", "sha256", "bytes")}, **spoken, "words": words,
            "lines": [{name: line[name] for name in ("text", "start", "end", "number", "name")} for line in receipt["lines"]]}  # fmt: skip
    written = {
        "narration.srt": write_srt(cues), "narration.vtt": write_vtt(cues), "chapters.ffmeta": meta,
        "chapters.json": json.dumps({"chapters": receipt["chapters"]}, ensure_ascii=False),
        "words.json": json.dumps(told, ensure_ascii=False),
    }  # fmt: skip
    files = dict(sound)
    for name, text in written.items():
        key, data = narration_key(job, name), text.encode()
        desk.store.put_bytes(key, data, content_type=content_type_of(key))
        files[name] = {"key": key, "bytes": len(data), "mimeType": content_type_of(key)}
    # The manifest is what `job:<id>` opens; the receipt comes last, so that one in the store means that everything is.
    outputs = [{"type": "audio", "name": name, **sound[name]} for name in sound]
    manifest = {"workspace": workspace, "outputs": outputs}
    desk.store.put_bytes(manifest_key(job), json.dumps(manifest).encode(), content_type="application/json")
    receipt = {**receipt, "files": files}
    desk.store.put_bytes(narration_key(job, RECEIPT), json.dumps(receipt, ensure_ascii=False).encode(), content_type="application/json")
    return Result(receipt, picture)


def _kept_sound(store: Store, path: Path) -> dict[str, Any]:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    key, size = media_key(digest, path.suffix[1:]), path.stat().st_size
    if store.stat(key) is None:
        store.put_file(key, path, content_type=content_type_of(key), take=True)
    return {"key": key, "sha256": digest, "bytes": size, "mimeType": content_type_of(key)}


def _facts(
    job: str, narration: Narration, track: Track, heard: Mapping[int, Heard], chapters: Sequence[Chapter], gain: float
) -> dict[str, Any]:  # fmt: skip
    """What is known of a track. Costs are those of this run; one that is not known makes the sum unknown."""
    lines: list[dict[str, Any]] = []
    for place in track.places:
        row = narration.rows[place.row]
        if not isinstance(row, Spoken):
            continue
        spoken, fresh = heard[row.number].spoken, heard[row.number].fresh
        lines.append({
            "number": row.number, "section": row.section, "name": row.name, "text": row.text, "said": row.line.text,
            "start": _seconds(place.at, track.rate), "end": _seconds(place.at + place.length, track.rate), "at": place.at,
            "samples": place.length, "delayAfter": row.pause, "engine": spoken.engine, "voice": spoken.voice, "timing": spoken.timing,
            "cache": "miss" if fresh else "hit", "characters": len(row.line.text), "billedCharacters": spoken.characters if fresh else 0,
            "costUsd": spoken.cost_usd if fresh else 0.0, "key": spoken.audio_key,
        })  # fmt: skip
    costs = [line["costUsd"] for line in lines]
    return {
        "jobId": job, "title": narration.title, "duration": track.length / track.rate, "sampleRate": track.rate,
        "samples": track.length, "channels": track.channels, "gain": round(gain, 4), "lines": lines,
        "sections": [{"title": part.title, "context": list(part.context)} for part in narration.parts],
        "chapters": [
            {"title": each.title, "start": _seconds(each.start, track.rate), "end": _seconds(each.end, track.rate)} for each in chapters
        ],
        "characters": sum(line["characters"] for line in lines), "billedCharacters": sum(line["billedCharacters"] for line in lines),
        "costUsd": None if None in costs else round(sum(costs), 6),
    }  # fmt: skip


def _seconds(samples: int, rate: int) -> float:
    return round(samples / rate, 6)
