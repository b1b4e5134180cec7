"""Temporary files of renders: each process has a folder of its own, and what a killed one left behind is recognised and removed.

What belongs here: naming these folders and sweeping them. What does not: what is put into them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from viralsync_pipelines.render.lifeline import has_ended, process_mark

# Folders of other machines that share the home: nothing can be known of their processes, and no render takes so long.
_FOREIGN_S = 2 * 86400.0


def own_scratch(root: Path) -> Path:
    """The folder of this process below `root`; not made yet. Its name says whose it is."""
    return root / process_mark()


def sweep_scratch(root: Path, now_s: float) -> int:
    """Remove the folders of processes that have ended; how many. Those that still run, here or on other machines, are left alone."""
    gone = 0
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        if _abandoned(entry, now_s):
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
            gone += 1
    return gone


def _abandoned(entry: Path, now_s: float) -> bool:
    ended = has_ended(entry.name)
    if ended is not None:
        return ended
    try:
        return now_s - entry.stat().st_mtime > _FOREIGN_S
    except FileNotFoundError:
        return False
