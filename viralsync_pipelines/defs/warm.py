"""Imported once by each run's forkserver, or by the command line that becomes one, so that every step starts with all it needs.

What belongs here: imports and constructions that every step pays for otherwise, and nothing that a fork cannot share (threads,
connections, open files). Measured: with Dagster and the definitions alone preloaded, a step imports 520 modules and burns 0.7 CPU-s
before its first line; with this it imports none and burns 0.1.
"""

import contextlib
import gc
import importlib

import dagster as dg
import PIL.Image

import viralsync_pipelines.definitions
from viralsync_pipelines.defs.build import render_movie_job
from viralsync_pipelines.defs.home import load_machinery, read_migrations_once
from viralsync_pipelines.render.ffmpeg import ffmpeg_path
from viralsync_pipelines.render.fonts import open_font_book
from viralsync_pipelines.render.lifeline import tie_forkserver
from viralsync_pipelines.render.prepare import read_prepared

# What ops import when they run, so that others need not: in the order of their weight.
_LATER = (
    "cv2", "av", "av.subtitles.stream", "numpy", "uharfbuzz", "fontTools.ttLib", "ffmpeg", "tinycss2", "espeakng_loader",
    "concurrent.futures.thread", "PIL._imagingft", "PIL.ImageOps", "PIL.ImageFile", "PIL.ImageSequence", "PIL.features",
    "viralsync_pipelines.storage.local", "viralsync_pipelines.speech.cache",
    "viralsync_pipelines.speech.espeak", "viralsync_pipelines.render.lettering", "viralsync_pipelines.render.previews",
    "viralsync_pipelines.render.frames",
)  # fmt: skip


def _warm() -> None:
    tie_forkserver()
    for name in _LATER:
        importlib.import_module(name)
    with contextlib.suppress(ValueError):
        read_prepared(b"")  # builds its reader, 20 ms of it, before the first step asks
    ffmpeg_path()
    open_font_book()
    read_migrations_once()
    PIL.Image.preinit()
    # The job as the command line builds it, and as the web UI's runs find it.
    dg.reconstructable(render_movie_job).get_definition()
    viralsync_pipelines.definitions.defs.resolve_job_def("render_movie")
    viralsync_pipelines.definitions.defs.resolve_implicit_global_asset_job_def()
    load_machinery()
    # What is here now stays for good: the collector of each step need not look at it, nor touch the pages it shares.
    gc.collect()
    gc.freeze()


_warm()
__all__ = ["viralsync_pipelines"]
