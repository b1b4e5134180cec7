"""`viralsync ...`: the composition root outside Dagster. Parses arguments, runs one command, says what went wrong.

What belongs here: the parser, and errors as words and exit codes. What does not: how a terminal is drawn (terminal.py), commands.

Exit codes: 0 done, 1 the render failed, 2 the movie or the arguments are wrong, 3 a setting, the store or the database is unusable,
130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from viralsync_pipelines.cli.inputs import ArgumentsWrong
from viralsync_pipelines.errors import DatabaseError, MovieInvalid, SettingsError, StoreError, ViralsyncError

EXIT_DONE, EXIT_FAILED, EXIT_INVALID, EXIT_SETTINGS, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_CODES = """\
exit codes:
  0    done
  1    the render failed; finished scenes are kept, run it again
  2    the movie or the arguments are wrong
  3    a setting, the store or the database is unusable
  130  interrupted; finished scenes are kept, run it again
"""


class _Parser(argparse.ArgumentParser):
    """argparse that raises: faults are told by main(), as JSON when JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentsWrong(f"{message}; `{self.prog} --help` shows what is understood")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in words
    try:
        parser = _parser()
        args = parser.parse_args(words)
        if not hasattr(args, "run"):
            parser.print_help()
            return EXIT_INVALID
        return _run(args)
    except (MovieInvalid, ArgumentsWrong) as error:
        return _told(error, EXIT_INVALID, as_json)
    except (SettingsError, StoreError, DatabaseError) as error:
        return _told(error, EXIT_SETTINGS, as_json)
    except ViralsyncError as error:
        return _told(error, EXIT_FAILED, as_json)
    except KeyboardInterrupt:
        return _told(
            ViralsyncError("interrupted; run the same command again, finished scenes are kept", code="INTERRUPTED"),
            EXIT_INTERRUPTED, as_json,
        )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from viralsync_pipelines.settings import Settings

    try:
        status = int(args.run(args, Settings.from_env(os.environ, cwd=Path.cwd())))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read our output has had enough, as `| head` does. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        place = error.filename or "a file"
        told = f"{place} cannot be used ({error.strerror or error}); check VIRALSYNC_HOME and VIRALSYNC_STORE, and the disk's space"
        raise SettingsError(told) from error


def _told(error: ViralsyncError, status: int, as_json: bool) -> int:
    if as_json:
        body: dict[str, Any] = {"error": error.message, "code": error.code}
        if isinstance(error, MovieInvalid):
            body["problems"] = [p.as_json() for p in error.problems]
        print(json.dumps(body))
    elif isinstance(error, MovieInvalid):
        from viralsync_pipelines.cli.terminal import show_problems

        show_problems(error.problems, error.what)
    else:
        print(f"{error.code}: {error.message}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    from viralsync_pipelines.cli import demo, executions, gateway, jobs, keys, movies, narrate, plan, render, sandbox, serve, voices

    parser = _Parser(
        prog="viralsync",
        description="A movie JSON goes in, a finished short film comes out.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="<command>")
    for module in (demo, render, narrate, plan, movies, jobs, executions, voices, keys, serve, gateway, sandbox):
        module.add_to(commands)
    return parser


def entry() -> NoReturn:
    """The program."""
    # Importing makes a million objects and hardly any garbage; to look through them every 700 takes a tenth of the time.
    gc.set_threshold(100_000, 50, 50)
    status = main()
    # Gone without taking every module apart first, which takes 0.5 s once Dagster is among them. What asked to be run at the end is.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
