"""Empty databases by copy: Dagster keeps each run's events in a SQLite file of its own, and making one takes 60 ms of every launch.

What belongs here: keeping one empty database and putting copies in place. What does not: what is in it (home_sqlite.py).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path


class Blanks:
    """Copies of one empty database, which lies in `folder` and is good for one `version` of its makers. `make` writes it to a path."""

    def __init__(self, folder: Path, version: str, make: Callable[[Path], None]) -> None:
        self._blank = folder / f"blank-{version}.db"
        self._make = make

    def lay(self, file: Path) -> bool:
        """Put an empty database at `file`; False when there is a file already, or this folder takes no copies that way.

        Never seen half-written, and never in place of another process's, which may hold events by then.
        """
        if file.exists():
            return False
        copy = self._blank.with_name(f".blank-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            self._keep(copy)
            shutil.copyfile(self._blank, copy)
            file.hardlink_to(copy)
        except OSError:
            return False
        finally:
            copy.unlink(missing_ok=True)
        return True

    def _keep(self, spare: Path) -> None:
        if self._blank.exists():
            return
        self._make(spare)
        spare.replace(self._blank)
        for old in self._blank.parent.glob("blank-*.db"):
            if old != self._blank:
                old.unlink(missing_ok=True)
