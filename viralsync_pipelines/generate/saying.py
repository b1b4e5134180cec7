"""The lines that generating says of itself, on standard error: what the guide promises to whoever watches a log.

What belongs here: where they go. What does not: the lines, which stand where things happen.
"""

from __future__ import annotations

import logging
import sys

NAMES = ("viralsync.generate", "viralsync.gateway")


def speak_up() -> None:
    """From now on this process says what it does. Called by programs, never by libraries; twice is once."""
    for name in NAMES:
        logger = logging.getLogger(name)
        if any(isinstance(each, logging.StreamHandler) for each in logger.handlers):
            continue
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
