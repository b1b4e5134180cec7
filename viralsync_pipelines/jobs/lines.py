"""Lines that steps say while they work: read by people as they stand, and by programs.

What belongs here: writing such a line and reading it back. What does not: where lines are kept.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PROGRESS = re.compile(r"scene (\d{1,9}): frame (\d{1,12}) of (\d{1,12}), (\d{1,9}) frames a second")


class SceneProgress(NamedTuple):
    """How far a scene is. scene: its number in the film, from 1. total: frames it has, its transition included."""

    scene: int
    frame: int
    total: int
    fps: float


def progress_line(scene: int, frame: int, total: int, fps: float) -> str:
    return f"scene {scene}: frame {frame} of {total}, {fps:.0f} frames a second"


def parse_progress(line: str) -> SceneProgress | None:
    """What progress_line said, wherever it stands in the line; None for any other line."""
    found = _PROGRESS.search(line)
    if found is None:
        return None
    scene, frame, total, fps = (int(v) for v in found.groups())
    return SceneProgress(scene, frame, total, float(fps))


_SPOKEN = re.compile(r"line (\d{1,6}) of \d{1,6}: ")


def spoken_line(number: int, of: int, told: str) -> str:
    """What became of a narration's line. number: from 1."""
    return f"line {number} of {of}: {told}"


def parse_spoken(line: str) -> int | None:
    """The number of the line that spoken_line spoke of; None for any other line."""
    found = _SPOKEN.match(line)
    return int(found[1]) if found is not None else None
