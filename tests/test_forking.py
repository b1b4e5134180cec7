"""The forkserver as a fork of the process that planned the film: nothing is imported twice, and it ends with that process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reels import alive, environ, wait_until
from viralsync_pipelines.orchestrator.forking import fork_steps_from_here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the forkserver is started as usual")

PROGRAM = """
import multiprocessing, os, sys, threading, types
from viralsync_pipelines.orchestrator.forking import fork_steps_from_here

def child(queue):
    import loaded_before
    open_files = sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}"))
    own = multiprocessing.get_context("spawn").Process(target=int)  # a step can start programs of its own
    own.start()
    own.join()
    assert own.exitcode == 0
    queue.put((loaded_before.mark, os.getppid(), open_files, multiprocessing.parent_process().pid))

if __name__ == "__main__":
    sys.modules["loaded_before"] = types.SimpleNamespace(mark=os.getpid())
    held = open(sys.argv[1], "w")
    assert fork_steps_from_here()
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue()
    steps = [context.Process(target=child, args=(queue,)) for _ in range(2)]
    for step in steps:
        step.start()
    got = [queue.get(timeout=20) for _ in steps]
    for step in steps:
        step.join()
        assert step.exitcode == 0
    for mark, parent, files, asked_by in got:
        assert mark == asked_by == os.getpid(), "the module was imported anew"
        assert parent != os.getpid(), "a step is the forkserver's child"
        assert sys.argv[1] not in files, "a file of this process leaked into a step"
    print(got[0][1], flush=True)
    sys.stdin.read()
"""


def test_steps_find_what_was_imported_before_and_the_forkserver_ends_with_its_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    for kill in (False, True):
        child = subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "held")], env=environ(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert child.stdout is not None
            server = int(child.stdout.readline())
            assert str(server) in {str(pid) for pid in alive(tmp_path)}
            if kill:
                child.kill()
            child.communicate(timeout=20)
            assert kill or child.returncode == 0
            wait_until(lambda: not alive(tmp_path), 5)
        finally:
            child.kill()


def test_a_process_with_threads_is_not_forked() -> None:
    """A fork takes one thread along; locks that others hold would stay locked in every step."""
    import threading

    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert fork_steps_from_here() is False
    finally:
        over.set()
        thread.join()
