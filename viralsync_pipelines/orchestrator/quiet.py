"""Keeping a terminal clean while a run's processes write: what they print goes to a file, what we draw goes to the terminal.

What belongs here: moving file descriptors. What does not: what is drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stdout_aside(log: Path) -> Iterator[None]:
    """Inside, standard output is the file `log`: steps in this very process say there what they do, for the run's own record."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stdout
    before.flush()
    kept = os.dup(1)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
        # Over the descriptor's number: Dagster puts a file of its own there for each step.
        with open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False) as aside:
            sys.stdout = aside
            try:
                yield
            finally:
                sys.stdout = before
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def stderr_aside(log: Path) -> Iterator[None]:
    """Inside, descriptor 2 and so every child's stderr is the file `log`, while sys.stderr still is the terminal.

    Without it, Dagster's step processes print a line each between the progress bars.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stderr
    before.flush()
    terminal = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        with os.fdopen(os.dup(terminal), "w", encoding=before.encoding or "utf-8", errors="backslashreplace", buffering=1) as shown:
            sys.stderr = shown
            try:
                yield
            finally:
                sys.stderr = before
                shown.flush()
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
