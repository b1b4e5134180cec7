"""Numbers, times and the user's own texts as a terminal shows them.

What belongs here: one value into words. What does not: tables, bars, colours (terminal.py, job_pictures.py).
"""

from __future__ import annotations


def count(number: int, thing: str) -> str:
    """3 scenes."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """8.5 s, or 2:05 min."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def age(seconds: float) -> str:
    """How long ago, or how long still, in its largest unit: 12 s, 3 min, 5 h, 2 d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def plain(text: str) -> str:
    """Text of the user's for a terminal: no control characters, which could move the cursor or colour what follows."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
