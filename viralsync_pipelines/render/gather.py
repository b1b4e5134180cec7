"""Bringing together what a movie names: its sources from disk, store and network, and its lines from the speech engine.

What belongs here: asking for each thing once, several at a time, and every failure as a Problem at its place.
What does not: how one source comes in (sources.py), planning (prepare.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from viralsync_pipelines.errors import CaptionsInvalid, Problem, SourceError, SpeechError
from viralsync_pipelines.movie.caption_files import Cue, read_captions
from viralsync_pipelines.movie.known import Known, KnownSource
from viralsync_pipelines.movie.layers import Captions, VoiceLayer, caption_src
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.staging import line_of
from viralsync_pipelines.movie.voicing import Speech
from viralsync_pipelines.render.sources import Source, Sources, bring_all, bring_text

# A film of two hours has room for fewer: one new picture every four seconds.
MAX_SOURCES = 2_000
# Spoken at four times the usual speed these still last two hours.
MAX_SPOKEN_CHARS = 500_000


@dataclass
class Gathered:
    """What was brought and spoken so far, by `src` and by Line.key; `failed` holds what need not be asked for again."""

    brought: dict[str, Source] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    speech: dict[str, Spoken] = field(default_factory=dict)
    captions: dict[str, tuple[Cue, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def known(self) -> Known:
        return Known(
            {src: KnownSource(s.ref, s.info, s.sniffed.demuxer, str(s.path)) for src, s in self.brought.items()}, self.speech,
            self.captions,
        )  # fmt: skip


def gather(
    layers: Mapping[str, Any],
    gathered: Gathered,
    bench: Sources,
    speak: Callable[[Line], Spoken],
    *,
    pending: Collection[str] = (),
    locate: Callable[[str], str] = lambda pointer: pointer,
    threads: int = 2,
    voiced: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Bring in and speak what `layers` (by pointer) name and what is not there yet, except fields that are still pending.

    voiced: fields that voice layers have from the movie's `speech`, where their faults are told.
    """
    wanted: list[tuple[str, str]] = []
    spoken: dict[Line, tuple[str, VoiceLayer]] = {}
    for place, layer in layers.items():
        for name in ("src", "fontUrl"):
            src = getattr(layer, name, None)
            known = src is None or src in gathered.brought or src in gathered.failed
            if not known and f"{place}/{name}" not in pending:
                wanted.append((str(src), locate(f"{place}/{name}")))
        if isinstance(layer, Captions) and f"{place}/source" not in pending:
            _read_captions(caption_src(layer), locate(f"{place}/source"), gathered, bench)
        if isinstance(layer, VoiceLayer) and pending_line(place, pending) is None:
            line = line_of(layer)
            if line.key not in gathered.speech and line.key not in gathered.failed:
                spoken.setdefault(line, (place, layer))
    _bring(wanted, gathered, bench)
    if sum(len(line.text) for line in spoken) + sum(len(s.words) for s in gathered.speech.values()) > MAX_SPOKEN_CHARS:
        told = f"the movie has more than {MAX_SPOKEN_CHARS:,} characters to speak; split it into parts"
        gathered.problems.append(Problem("", "TOO_MUCH_SPEECH", told))
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="speech") as pool:
        outcomes = pool.map(lambda line: _say(speak, line), spoken)
        for (line, (place, layer)), outcome in zip(spoken.items(), outcomes, strict=True):
            if isinstance(outcome, Spoken):
                gathered.speech[line.key] = outcome
            else:
                gathered.failed.add(line.key)
                name = _blamed(outcome, layer)
                pointer = locate(f"/speech/{name}" if name in voiced.get(place, ()) else f"{place}/{name}")
                gathered.problems.append(Problem(pointer, outcome.code, outcome.message))


def pending_line(place: str, pending: Collection[str]) -> str | None:
    """The pending field that keeps a voice layer from being spoken yet."""
    waits = next((name for name in ("text", "ssml", *Speech.model_fields) if f"{place}/{name}" in pending), None)
    return waits or next((pointer[1:] for pointer in pending if pointer == "/speech" or pointer.startswith("/speech/")), None)


def _bring(wanted: list[tuple[str, str]], gathered: Gathered, bench: Sources) -> None:
    fresh = {src for src, _ in wanted}
    if len(gathered.brought) + len(fresh) > MAX_SOURCES:
        told = f"the movie uses more than {MAX_SOURCES:,} different files; split it into parts"
        gathered.problems.append(Problem("", "TOO_MANY_SOURCES", told))
        gathered.failed |= fresh
        return
    brought, problems = bring_all(wanted, bench=bench)
    gathered.brought |= brought
    gathered.failed |= fresh - set(brought)
    gathered.problems += problems


def _read_captions(src: str | None, pointer: str, gathered: Gathered, bench: Sources) -> None:
    if src is None or src in gathered.captions or src in gathered.failed:
        return
    try:
        gathered.captions[src] = read_captions(bring_text(src, pointer=pointer, bench=bench), src)
    except (SourceError, CaptionsInvalid) as error:
        gathered.failed.add(src)
        gathered.problems.append(Problem(pointer, error.code, error.message))


def _say(speak: Callable[[Line], Spoken], line: Line) -> Spoken | SpeechError:
    try:
        return speak(line)
    except SpeechError as error:
        return error


def _blamed(error: SpeechError, layer: VoiceLayer) -> str:
    """The field that a failure to speak is about."""
    if error.pointer is not None:
        return error.pointer
    if error.code == "VOICE_NOT_FOUND" and layer.voice is not None:
        return "voice"
    if error.code == "ENGINE_NOT_FOUND" and layer.engine is not None:
        return "engine"
    if error.code in {"SPEECH_SPEED_REFUSED", "SPEECH_PITCH_REFUSED", "SPEECH_STYLE_REFUSED"}:
        return error.code.split("_")[1].lower()
    if error.others_may and layer.engine is not None:
        return "engine"
    return "text" if layer.text is not None else "ssml"
