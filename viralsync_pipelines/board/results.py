"""Where a job's result is found: a file of its own behind the gateway, or what a program reported.

What belongs here: that address, the same in replies, streams and callbacks. What does not: who may fetch it (gateway/files.py).
"""

from __future__ import annotations

from viralsync_pipelines.jobs.callbacks import LOCAL_GATEWAY, OutputUrl
from viralsync_pipelines.jobs.model import Job

_OUTPUTS = "outputs/"


def output_url_at(base: str | None) -> OutputUrl:
    """Addresses of results as the gateway at `base` has them: its own file of a film, and what a program reported as it stands."""
    gateway = (base or LOCAL_GATEWAY).rstrip("/")

    def output_url(job: Job) -> str | None:
        if job.output is None or not job.output.startswith(_OUTPUTS):
            return job.output
        return f"{gateway}/v1/jobs/{job.id}/files/{job.output.rpartition('/')[2]}"

    return output_url
