"""`viralsync movies add|list`: registering movies, so that Dagster's Materialize button and backfills need no configuration.

What belongs here: these commands. What does not: how documents are kept (defs/registry.py).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import json_argument, read_movie_file, studio_for

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    movies = commands.add_parser("movies", help="register movies for the Dagster UI, and list them")
    inner = movies.add_subparsers(title="commands", metavar="<command>", required=True)
    add = inner.add_parser("add", help="register movie files under their ids")
    add.add_argument("movie", type=Path, nargs="+", help="a movie JSON")
    json_argument(add)
    add.set_defaults(run=add_command)
    show = inner.add_parser("list", help="list registered ids")
    json_argument(show)
    show.set_defaults(run=list_command)


def add_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.render.prepare import movie_id_of, read_spec
    from viralsync_pipelines.render.registry import register

    movies = []
    for path in args.movie:
        document, folder = read_movie_file(path)
        movie, _ = read_spec(document, {})
        movies.append((movie.id or movie_id_of(document), document, folder))
    # All of them are read before the first is registered: a fault in the last file leaves nothing half done.
    for movie_id, document, folder in movies:
        register(studio_for(settings, folder).store, movie_id, document, str(folder))
    added = [movie_id for movie_id, _, _ in movies]

    from viralsync_pipelines.defs.instance import open_instance

    with open_instance(settings, os.environ) as instance:
        instance.add_dynamic_partitions("movies", added)
    print(json.dumps({"added": added}) if args.json else "\n".join(added))
    return 0


def list_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.instance import open_instance

    with open_instance(settings, os.environ) as instance:
        ids = sorted(instance.get_dynamic_partitions("movies"))
    if args.json:
        print(json.dumps({"movies": ids}))
    else:
        print("\n".join(ids) if ids else "No movies yet; register one with `viralsync movies add movie.json`.")
    return 0
