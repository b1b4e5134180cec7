"""What a film of a plan is made from, by the results of jobs that are done: markers become sources, and words where words go.

What belongs here: that, and what is known of each source. What does not: the film (montage.py), reading rows (submit.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from viralsync_pipelines.generate.markers import Marker, filled, marker_of
from viralsync_pipelines.generate.materials import Material
from viralsync_pipelines.generate.provider import Blame, CallFailed

Results = Mapping[str, Mapping[str, Any]]
"""Results of finished jobs by their names in the plan."""
# Params that take words with their times.
_WORDS = ("words", "transcript")


def with_sources(params: Mapping[str, Any], near: Results, read: Callable[[str], bytes]) -> tuple[dict[str, Any], dict[str, Material]]:
    """The params with other jobs' results put in, and what is known of those. read: an object of the store by its key.

    Raises CallFailed DEPENDENCY_UNFIT when a job has no such result.
    """
    known: dict[str, Material] = {}

    def fill(marker: Marker) -> str:
        source, material = source_of(near, marker)
        known[source] = material
        return source

    own = dict(params)
    for name in _WORDS:
        marker = marker_of(own[name]) if isinstance(own.get(name), str) else None
        if marker is not None and marker.job in near:
            own[name] = words_of(near, marker, read)
    whole: dict[str, Any] = filled(own, fill, near.__contains__)
    return whole, known


def source_of(near: Results, marker: Marker) -> tuple[str, Material]:
    """How a movie names what a marker stands for, and what it is: by its content, or as the film of a run's job."""
    outputs = near[marker.job].get("outputs") or []
    fitting = [each for each in outputs if not marker.media or each.get("type") == marker.media]
    if marker.output >= len(fitting):
        kind = f" {marker.media}" if marker.media else ""
        told = f"{marker.job} has {len(fitting)}{kind} outputs, and number {marker.output} is wanted"
        raise CallFailed(told, blame=Blame.INPUT, code="DEPENDENCY_UNFIT")
    chosen = fitting[marker.output]
    material = Material(str(chosen.get("type") or "video"), chosen.get("width"), chosen.get("height"), chosen.get("duration"))
    return _named(chosen), material


def _named(output: Mapping[str, Any]) -> str:
    key = str(output.get("key") or "")
    if key.startswith("media/"):
        return f"resource:{key}"
    folder, _, name = key.rpartition("/")
    if folder.startswith("outputs/") and name == "output.mp4":
        return f"job:{folder.removeprefix('outputs/')}"
    return str(output["url"])


def words_of(near: Results, marker: Marker, read: Callable[[str], bytes]) -> list[dict[str, Any]]:
    """Words with their times that a job made besides: [{word, start, end}]."""
    result = near[marker.job]
    transcript = next((each for each in result.get("outputs") or [] if each.get("type") == "transcript" and each.get("key")), None)
    extra = result.get("extra")
    told = json.loads(read(transcript["key"])) if transcript is not None else extra if isinstance(extra, Mapping) else {}
    words = [
        {"word": text, "start": float(each["start"]), "end": float(each["end"])}
        for each in told.get("words") or []
        if isinstance(each, Mapping) and (text := str(each.get("word") or each.get("text") or "").strip()) and _times(each)
    ]
    if not words:
        missing = f"{marker.job} gives no words with their times; take those of a narration, or give your own"
        raise CallFailed(missing, blame=Blame.INPUT, code="DEPENDENCY_UNFIT")
    return words


def _times(word: Mapping[str, Any]) -> bool:
    return all(isinstance(word.get(name), int | float) and not isinstance(word[name], bool) for name in ("start", "end"))
