"""`viralsync ...`: the composition root outside Dagster. Parses arguments, opens the studio, prints what happened.

What belongs here: commands and their exit codes. What does not: how a terminal is drawn (terminal.py) or anything is made.

Exit codes: 0 done, 1 the render failed, 2 the movie or the arguments are wrong, 3 a setting or the store is unusable, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, SettingsError, StoreError, ViralsyncError
from viralsync_pipelines.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_INVALID, EXIT_SETTINGS, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help()
        return EXIT_INVALID
    try:
        settings = Settings.from_env(os.environ, cwd=Path.cwd())
        return int(args.run(args, settings))
    except MovieInvalid as error:
        return _told(args, error, EXIT_INVALID)
    except (SettingsError, StoreError) as error:
        return _told(args, error, EXIT_SETTINGS)
    except ViralsyncError as error:
        return _told(args, error, EXIT_FAILED)
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: finished scenes are kept.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _told(args: argparse.Namespace, error: ViralsyncError, status: int) -> int:
    if getattr(args, "json", False):
        body: dict[str, Any] = {"error": error.message, "code": error.code}
        if isinstance(error, MovieInvalid):
            body["problems"] = [p.as_json() for p in error.problems]
        print(json.dumps(body, ensure_ascii=False))
    else:
        print(str(error), file=sys.stderr)
    return status


_CODES = "Exit codes: 0 done, 1 failed, 2 wrong movie or arguments, 3 settings or store, 130 interrupted."


def _parser() -> argparse.ArgumentParser:
    from viralsync_pipelines.cli import movies, render, serve

    parser = argparse.ArgumentParser(prog="viralsync", description="A movie JSON goes in, a finished short film comes out.", epilog=_CODES)
    commands = parser.add_subparsers(title="commands", metavar="<command>")
    render.add_to(commands)
    movies.add_to(commands)
    serve.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
