"""Run configuration of a movie's run as data, the same for every door: command line, inbox, API, retries.

What belongs here: its shape, and how many scenes are rendered at a time. What does not: launching. Imports nothing heavy.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

# Parallel scenes by renderOptions.qualityPreset: the wire's names, which never change picture quality.
PRESETS: Mapping[str, int] = {"stable": 2, "balanced": 3, "fast": 4, "turbo": 6}
DEFAULT_PRESET = "balanced"
MAX_CONCURRENCY = 32
EVERY_SCENE = "*"
"""In place of a scene's number among those to make anew."""

RENDER_JOB = "render_movie"
NARRATE_JOB = "narrate_text"
# What Dagster calls the job behind the Materialize of its UI.
_ASSET_JOB = "__ASSET_JOB"

# The op that hands out a narration's lines.
_LINE_READER = "lay_out_script"
# The op of each asset that reads the movie.
_READERS: Mapping[str, str] = {"narration": "find_lines", "movie": "plan_film"}


def parallel_scenes(preset: str = DEFAULT_PRESET, requested: int | None = None, scenes: int | None = None) -> int:
    """Scenes at a time: as requested (1 to 32), or else as the preset says; never more than there are scenes, when that is known.

    Raises ValueError for what is no preset.
    """
    if requested is None and preset not in PRESETS:
        raise ValueError(f"{preset!r} is no preset; take one of {', '.join(PRESETS)}")
    asked = PRESETS[preset] if requested is None else requested
    return max(1, min(asked, MAX_CONCURRENCY, MAX_CONCURRENCY if scenes is None else scenes))


def run_config_for(take: Mapping[str, Any], *, concurrency: int, in_process: bool = False) -> dict[str, Any]:
    """take: fields of defs/take.py: Take. concurrency: parallel scenes. in_process: no step processes, for runs that find everything
    made."""
    return {
        "ops": ops_config(take),
        "execution": {"config": {"requestedConcurrency": concurrency, "inProcess": in_process}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def ordered_config(take: Mapping[str, Any], *, preset: str | None, concurrency: int | None) -> dict[str, Any]:
    """The same for a run that Dagster's queue takes: how many scenes at a time is said as it was asked for."""
    options = {"qualityPreset": preset, "requestedConcurrency": concurrency}
    return {"ops": ops_config(take), "execution": {"config": {k: v for k, v in options.items() if v is not None}}}


def ops_config(take: Mapping[str, Any]) -> dict[str, Any]:
    """The part that says what is rendered: both assets read the same movie."""
    config = {"config": {k: v for k, v in take.items() if v}}
    return {asset: {"ops": {op: config}} for asset, op in _READERS.items()}


def narration_config(document: str, folder: str = "", fresh: Sequence[str] = ()) -> dict[str, Any]:
    """Of a narration's run. document: store key of its order. fresh: numbers of lines to speak anew."""
    where = {"document": document} | ({"folder": folder} if folder else {})
    reader = where | ({"fresh": list(fresh)} if fresh else {})
    return {"ops": {_LINE_READER: {"config": reader}, "join_lines": {"config": where}}}


def assets_of(job_name: str, selection: Collection[str]) -> frozenset[str]:
    """The movie's assets that a run makes, by its job and the assets selected (none: all); none for runs of other kinds."""
    if job_name not in {RENDER_JOB, _ASSET_JOB}:
        return frozenset()
    return frozenset(_READERS) & set(selection) if selection else frozenset(_READERS)


def config_again(
    config: Mapping[str, Any], changes: Mapping[str, Any], fresh: Sequence[str], assets: Collection[str]
) -> dict[str, Any]:
    """The configuration of a run for another try of it. changes: over its variables. assets: those that are made."""
    again = copy.deepcopy(dict(config))
    for asset, op in _READERS.items():
        if asset not in assets:
            continue
        old: Mapping[str, Any] = again.get("ops", {}).get(asset, {}).get("ops", {}).get(op, {}).get("config", {})
        new = {k: v for k, v in old.items() if k != "fresh"}
        if changes:
            new["variables"] = {**old.get("variables", {}), **changes}
        if fresh:
            new["fresh"] = list(fresh)
        if new or old:
            reader = again.setdefault("ops", {}).setdefault(asset, {}).setdefault("ops", {}).setdefault(op, {})
            reader["config"] = new
    if _LINE_READER in again.get("ops", {}):
        kept = {k: v for k, v in again["ops"][_LINE_READER].get("config", {}).items() if k != "fresh"}
        again["ops"][_LINE_READER]["config"] = kept | ({"fresh": list(fresh)} if fresh else {})
    # Meant for a run that would find everything made; this one may have to make it.
    again.get("execution", {}).get("config", {}).pop("inProcess", None)
    return again
