"""Imported once by each run's forkserver, so that every step starts with all it needs: see EXECUTION in build.py.

What belongs here: imports that every step pays for otherwise. Measured: with Dagster and the definitions alone preloaded, a step
still imports 520 modules and burns 0.7 CPU-s before its first line; running one tiny job here brings that to 0.2.
"""

import av
import cv2
import dagster as dg
import ffmpeg
import PIL.Image

import viralsync_pipelines.definitions
import viralsync_pipelines.render.lettering
import viralsync_pipelines.render.previews
import viralsync_pipelines.speech.espeak

__all__ = ["PIL", "av", "cv2", "ffmpeg", "viralsync_pipelines"]


@dg.op
def _rehearse() -> None: ...


@dg.job
def _rehearsal() -> None:
    _rehearse()


with dg.DagsterInstance.ephemeral() as _instance:
    _rehearsal.execute_in_process(instance=_instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
