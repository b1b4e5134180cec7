"""`viralsync demo`: an example movie rendered like any other, so that a fresh clone shows in one command what it can do.

What belongs here: choosing an example and its output. What does not: rendering (render.py), the examples (examples/).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import json_argument
from viralsync_pipelines.cli.render import render_command
from viralsync_pipelines.examples.catalog import DEMO, example_names, example_path

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings


def add_to(commands: Any) -> None:
    """The command's arguments."""
    demo = commands.add_parser("demo", help="render an example movie; the path of the film is the last line")
    demo.add_argument("example", nargs="?", choices=example_names(), default=DEMO, help=f"which one (default {DEMO})")
    demo.add_argument("-o", "--output", type=Path, help="where the film goes; default demo.mp4, or <example>.mp4 for the others")
    demo.add_argument("--draft", action="store_true", help="half size and fast; the same timing")
    demo.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable, such as price='$39'")
    json_argument(demo)
    # Two scenes at a time: one x264 thread each keeps two cores busy, and a third scene would only wait.
    demo.set_defaults(run=demo_command, scene=None, still=None, preset="stable", concurrency=None)


def demo_command(args: argparse.Namespace, settings: Settings) -> int:
    args.movie = example_path(args.example)
    args.output = args.output or Path("demo.mp4" if args.example == DEMO else f"{args.example}.mp4")
    return render_command(args, settings)
