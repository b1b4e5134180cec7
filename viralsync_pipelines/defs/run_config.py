"""Run configuration of `render_movie` as data, the same for every door: command line, inbox, API.

What belongs here: its shape, and how many scenes are rendered at a time. What does not: launching. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Parallel scenes by renderOptions.qualityPreset: the wire's names, which never change picture quality.
PRESETS: Mapping[str, int] = {"stable": 2, "balanced": 3, "fast": 4, "turbo": 6}
DEFAULT_PRESET = "balanced"
MAX_CONCURRENCY = 32


def parallel_scenes(preset: str = DEFAULT_PRESET, requested: int | None = None, scenes: int | None = None) -> int:
    """Scenes at a time: as requested (1 to 32), or else as the preset says; never more than there are scenes, when that is known.

    Raises ValueError for what is no preset.
    """
    if requested is None and preset not in PRESETS:
        raise ValueError(f"{preset!r} is no preset; take one of {', '.join(PRESETS)}")
    asked = PRESETS[preset] if requested is None else requested
    return max(1, min(asked, MAX_CONCURRENCY, MAX_CONCURRENCY if scenes is None else scenes))


def run_config_for(take: Mapping[str, Any], *, concurrency: int, in_process: bool = False) -> dict[str, Any]:
    """take: fields of movies.Take. concurrency: parallel scenes. in_process: no step processes, for runs that find everything made."""
    return {
        "ops": ops_config(take),
        "execution": {"config": {"requestedConcurrency": concurrency, "inProcess": in_process}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def ops_config(take: Mapping[str, Any]) -> dict[str, Any]:
    """The part that says what is rendered: both assets read the same movie."""
    config = {"config": {k: v for k, v in take.items() if v}}
    return {"narration": {"ops": {"find_lines": config}}, "movie": {"ops": {"plan_film": config}}}
