"""A step must not outlive the run that asked for it: when the run worker is killed, its steps and their ffmpeg go too.

What belongs here: noticing the death of the process that made this one. Measured without it: after kill -9 of a run worker, the
forkserver, its steps and their ffmpeg were all alive 8 s later, and a new run would have raced them.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading

from viralsync_pipelines.render import ffmpeg

_tied = threading.Event()


def tie_to_parent() -> None:
    """From now on, end this process at once when the process that started it through multiprocessing ends.

    Outside of a multiprocessing child this does nothing: there the kernel's parent-death signal on ffmpeg is enough.
    """
    parent = multiprocessing.parent_process()
    if parent is None or _tied.is_set():
        return
    _tied.set()
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        ffmpeg.kill_all()
        os._exit(70)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
