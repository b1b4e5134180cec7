"""What jobs print while they work, as lines: the value, who can read it, and the cursor that callers are given.

What belongs here: these. What does not: where lines are captured (orchestrator/captured.py).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Printed:
    """One line of a step. stream: stdout or stderr."""

    step: str
    stream: str
    text: str


class OutputSource(Protocol):
    """Captured output of runs."""

    def read(self, run_id: str, cursor: Mapping[str, str]) -> tuple[list[Printed], dict[str, str]]:
        """Lines after `cursor` (empty: from the start), and the cursor after them."""


@dataclass(frozen=True)
class Place:
    """How far a caller has read: in which run, and in each of its files."""

    run_id: str = ""
    files: Mapping[str, str] | None = None

    def text(self) -> str:
        """As callers carry it."""
        packed = zlib.compress(json.dumps([self.run_id, dict(self.files or {})], separators=(",", ":")).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @staticmethod
    def of(text: str) -> Place | None:
        """The place a caller gave back, or None when this never gave it."""
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            unpacker = zlib.decompressobj()
            # A few kB at most come out of what this made; a bomb is not unpacked.
            plain = unpacker.decompress(packed, 2_000_000)
            run_id, files = json.loads(plain)
        except (ValueError, zlib.error, RecursionError):
            return None
        good = isinstance(run_id, str) and isinstance(files, dict) and all(isinstance(value, str) for value in files.values())
        return Place(run_id, files) if good else None
