"""The process that steps are forked from, made of this one: whatever has been imported here need not be imported there.

What belongs here: starting multiprocessing's forkserver as a fork. What does not: what is loaded beforehand (defs/warm.py).
multiprocessing starts its forkserver as a new program, which imports Dagster and the rest a second time: 3.7 CPU-s and as many
seconds before the first scene. This process has just imported the same things to plan the film.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from unittest.mock import patch

from viralsync_pipelines.render.lifeline import die_with_parent

_start_program = multiprocessing.util.spawnv_passfds


def fork_steps_from_here() -> bool:
    """Start multiprocessing's forkserver as a copy of this process as it stands; False where that cannot be done safely.

    Nothing is lost then: the forkserver is started as usual by whoever needs it first. Call it before there are threads (a fork
    takes only one along, and locks that others hold would stay locked for ever) or open databases.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    multiprocessing.get_context("forkserver").set_forkserver_preload([])
    # Its companion, which clears up shared memory after killed processes, stays a program of its own.
    multiprocessing.resource_tracker.ensure_running()
    with patch.object(multiprocessing.util, "spawnv_passfds", _fork):
        multiprocessing.forkserver.ensure_running()
    return True


def _fork(_path: object, args: Sequence[str], passfds: Sequence[int]) -> int:
    """Like spawnv_passfds, but what would be a new program's command is run by a fork. The process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        multiprocessing.util.spawnv_passfds = _start_program
        die_with_parent()
        # As a new program has it: no file of this process but those it is given. One of them is our end of the pipe by which the
        # forkserver learns that nobody needs it any more.
        # By name, not up to the limit: containers allow a thousand million.
        keep = {0, 1, 2, *passfds}
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names
            if int(name) not in keep:
                with suppress(OSError):
                    os.close(int(name))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        exec(args[-1], {})  # noqa: S102 - multiprocessing's own words, "from multiprocessing.forkserver import main; main(...)"
    except SystemExit:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)
