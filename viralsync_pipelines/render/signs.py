"""Whether a process that writes nothing is at work all the same: what it computes and what it reads, as the kernel counts it.

What belongs here: those two counts. What does not: what follows from them (ffmpeg.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

# An ffmpeg that waits for itself still wakes four times a second to say that nothing is new: 0.1 % of a core. One that hardly gets
# a turn on a crowded machine has more than this.
_IDLE_SHARE = 0.02


@dataclass(frozen=True)
class _Seen:
    ticks: int
    read_bytes: int


@dataclass
class Quiet:
    """For how long a process has neither computed nor read. Ask a few times a second: a gap between two questions counts for a
    second at most, since a machine that slept put the process to sleep as well."""

    pid: int
    _before: _Seen | None = field(default=None, init=False)
    _asked: float = field(default=0.0, init=False)
    _quiet_s: float = field(default=0.0, init=False)

    def seconds(self, now: float) -> float:
        """Seconds without a sign of life up to `now` (monotonic); always 0 where the kernel does not say."""
        seen = _seen(self.pid)
        if seen is None:
            return 0.0
        if self._before is not None:
            self._quiet_s += min(1.0, now - self._asked)
            worked_s = (seen.ticks - self._before.ticks) / os.sysconf("SC_CLK_TCK")
            # Two ticks: one that falls between two looks is no work yet.
            if seen.read_bytes == self._before.read_bytes and worked_s <= max(0.02, _IDLE_SHARE * self._quiet_s):
                self._asked = now
                return self._quiet_s
        self._before, self._asked, self._quiet_s = seen, now, 0.0
        return 0.0


def _seen(pid: int) -> _Seen | None:
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        rows = (folder / "io").read_text(encoding="utf-8").split()
        return _Seen(int(fields[11]) + int(fields[12]), int(rows[rows.index("rchar:") + 1]))
    except (OSError, ValueError, IndexError):
        return None
