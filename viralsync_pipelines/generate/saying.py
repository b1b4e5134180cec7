"""The lines that generating says of itself, on standard error: what the guide promises to whoever watches a log.

What belongs here: where they go. What does not: the lines, which stand where things happen.
"""

from __future__ import annotations

import logging
import sys

NAME = "viralsync.generate"


def speak_up() -> None:
    """From now on this process says what it does. Called by programs, never by libraries; twice is once."""
    logger = logging.getLogger(NAME)
    if any(isinstance(each, logging.StreamHandler) for each in logger.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
