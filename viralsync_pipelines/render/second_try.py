"""A second try for an ffmpeg that stands still: its threads can come to wait for one another, and then nothing ever comes.

What belongs here: when to begin again. What does not: noticing it (ffmpeg.py, signs.py). What was seen: ffmpeg 9.0 with eight inputs and
three outputs, all frames written and the end of one input missing: its reader had ended, its decoder waited on a queue that the
scheduler keeps shut, and all others for that decoder. 14 of 3,834 runs of one graph, on a machine with more to do than cores; none of
1,483 that end with the last frame of every output (movie/filters.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from viralsync_pipelines.errors import FfmpegFailed

# Without a frame, a byte read, or two hundredths of a core. Feeds are drawn in milliseconds a frame.
IDLE_S = 20.0

_log = logging.getLogger("viralsync.render")

_T = TypeVar("_T")


def with_second_try(attempt: Callable[[float | None], _T]) -> _T:
    """What `attempt` gives; begun once more when it raises FFMPEG_STALLED.

    Its argument is how many seconds of silence to bear (`idle_s` of `run`): few at first, and in the second try as many as
    a run has without a frame, so that a source that is only slow gets its time.
    """
    try:
        return attempt(IDLE_S)
    except FfmpegFailed as error:
        if error.code != "FFMPEG_STALLED":
            raise
        _log.warning("%s: begun once more", error.message)
    return attempt(None)
