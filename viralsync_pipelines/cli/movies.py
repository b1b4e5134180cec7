"""`viralsync movies add|list`: registering movies, so that Dagster's Materialize button and backfills need no configuration.

What belongs here: these commands. What does not: how documents are kept (defs/registry.py).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from viralsync_pipelines.cli.render import read_movie_file, studio_for
from viralsync_pipelines.defs.registry import register
from viralsync_pipelines.render.prepare import movie_id_of, read_spec
from viralsync_pipelines.settings import Settings


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    movies = commands.add_parser("movies", help="register movies for the Dagster UI, and list them")
    inner = movies.add_subparsers(title="commands", metavar="<command>", required=True)
    add = inner.add_parser("add", help="register movie files under their ids")
    add.add_argument("movie", type=Path, nargs="+")
    add.add_argument("--json", action="store_true", help="print JSON for scripts")
    add.set_defaults(run=add_command)
    show = inner.add_parser("list", help="list registered ids")
    show.add_argument("--json", action="store_true", help="print JSON for scripts")
    show.set_defaults(run=list_command)


def add_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.instance import open_instance

    added = []
    for path in args.movie:
        document, folder = read_movie_file(path)
        read_spec(document, {})
        movie_id = movie_id_of(document)
        register(studio_for(settings, folder).store, movie_id, document, str(folder))
        added.append(movie_id)
    with open_instance(settings, os.environ) as instance:
        instance.add_dynamic_partitions("movies", added)
    print(json.dumps(added) if args.json else "\n".join(added))
    return 0


def list_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.defs.instance import open_instance

    with open_instance(settings, os.environ) as instance:
        ids = sorted(instance.get_dynamic_partitions("movies"))
    print(json.dumps(ids) if args.json else "\n".join(ids))
    return 0
