"""Typed client of the HTTP API, sync and async: `Client` and `AsyncClient`, with everything they give and raise.

What belongs here: the names a program imports. What does not: anything that runs. httpx is imported by the first client, not before.
"""

from viralsync_pipelines.client.answers import ApiError, StillRunning
from viralsync_pipelines.client.asynchronous import AsyncClient
from viralsync_pipelines.client.connection import DEFAULT_URL
from viralsync_pipelines.client.generating import Added, ExecutionJob, ExecutionView, Generation, ModelView
from viralsync_pipelines.client.handles import AsyncBatch, AsyncJobHandle, Batch, JobHandle
from viralsync_pipelines.client.synchronous import Client
from viralsync_pipelines.client.values import Event, FamilyView, JobView, OutputLine, OutputPage, Page

__all__ = [
    "DEFAULT_URL", "Added", "ApiError", "AsyncBatch", "AsyncClient", "AsyncJobHandle", "Batch", "Client", "Event", "ExecutionJob",
    "ExecutionView", "FamilyView", "Generation", "JobHandle", "JobView", "ModelView", "OutputLine", "OutputPage", "Page", "StillRunning",
]  # fmt: skip
