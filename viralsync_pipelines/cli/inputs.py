"""What every command starts from: the movie file, its variables, and the studio of this machine.

What belongs here: reading arguments into values. What does not: commands (render.py, plan.py, movies.py).
Nothing heavy is imported at the top: `viralsync --help` answers in a tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import MovieInvalid, Problem, ViralsyncError

if TYPE_CHECKING:
    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.settings import Settings


class ArgumentsWrong(ViralsyncError):
    """The command line itself is wrong: ARGUMENTS_WRONG, VARIABLE_INVALID, VALUE_OUT_OF_RANGE, SCENE_NOT_FOUND, OUTPUT_UNWRITABLE."""

    code = "ARGUMENTS_WRONG"


def movie_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that works on one movie."""
    parser.add_argument("movie", type=Path, help="a movie JSON, or - for standard input")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable; JSON, or else a plain string")
    json_argument(parser)


def json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, and nothing else")


def read_movie_file(path: Path) -> tuple[dict[str, Any], Path]:
    """The document of a movie file (or of standard input for "-"), and the folder its relative paths start from."""
    from viralsync_pipelines.render.registry import MAX_DOCUMENT_BYTES, parse_document

    if str(path) == "-":
        return parse_document(sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)), Path.cwd()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = "it is a folder; give the movie JSON in it" if path.is_dir() else "check the name"
        told = getattr(error, "strerror", None) or str(error)
        raise MovieInvalid([Problem("", "DOCUMENT_INVALID", f"{path} cannot be read ({told}); {why}")]) from error
    return parse_document(data), path.parent.absolute()


def variables_of(pairs: list[str]) -> dict[str, Any]:
    """`--set name=value` pairs; a value is JSON when it can be read as such."""
    variables: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ArgumentsWrong(f"--set {pair!r} is not understood; write --set name=value", code="VARIABLE_INVALID")
        try:
            variables[name] = json.loads(value)
        except (ValueError, RecursionError):
            variables[name] = value
    return variables


def studio_for(settings: Settings, folder: Path) -> Studio:
    """The studio of this machine, open to the movie's own folder. Dagster is not imported."""
    from viralsync_pipelines.defs.studio import open_studio, store_without_dagster

    return open_studio(settings, store_without_dagster(settings)).beside(folder)


def output_path(given: Path | None, movie: Path, suffix: str) -> Path:
    """Where the result goes: as given, into a folder that was given, or beside the movie under its name.

    Told before anything is rendered: OUTPUT_UNWRITABLE for a place that cannot be written, or that would bury the movie itself.
    """
    stem = "movie" if str(movie) == "-" else movie.stem
    beside = Path.cwd() if str(movie) == "-" else movie.parent
    out = (beside / f"{stem}{suffix}" if given is None else given).absolute()
    if out.is_dir():
        out /= f"{stem}{suffix}"
    folder = out.parent
    if not folder.is_dir():
        raise ArgumentsWrong(f"the folder {folder} does not exist; make it, or choose another place with -o", code="OUTPUT_UNWRITABLE")
    if not os.access(folder, os.W_OK | os.X_OK) or out.is_dir():
        raise ArgumentsWrong(f"{out} cannot be written; choose another place with -o", code="OUTPUT_UNWRITABLE")
    if str(movie) != "-" and out.exists() and movie.exists() and out.samefile(movie):
        raise ArgumentsWrong(f"{out} is the movie JSON itself; choose another name with -o", code="OUTPUT_UNWRITABLE")
    return out
