"""Run configuration of `render_movie` as data, the same for every door: command line, inbox, API.

What belongs here: its shape. What does not: launching.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_config_for(take: Mapping[str, Any], *, concurrency: int, in_process: bool = False) -> dict[str, Any]:
    """take: fields of movies.Take. concurrency: parallel scenes. in_process: no step processes, for runs that find everything made."""
    config = {"config": {k: v for k, v in take.items() if v}}
    multiprocess = {
        "max_concurrent": concurrency,
        "start_method": {"forkserver": {"preload_modules": ["viralsync_pipelines.defs.warm"]}},
    }
    executor: dict[str, Any] = {"in_process": {}} if in_process else {"multiprocess": multiprocess}
    return {
        "ops": {"narration": {"ops": {"find_lines": config}}, "movie": {"ops": {"plan_film": config}}},
        "execution": {"config": executor},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
