"""A job in hand, for both clients: what the client does with an id, this does with its job, which it then knows as it is now.

What belongs here: handles, and batches of them. What does not: requests (calls.py, reports.py), sending.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from viralsync_pipelines.client import calls, reports
from viralsync_pipelines.client.connection import as_method
from viralsync_pipelines.client.reading import later
from viralsync_pipelines.client.values import Event, FamilyView, JobView

if TYPE_CHECKING:
    from viralsync_pipelines.client.asynchronous import AsyncClient
    from viralsync_pipelines.client.synchronous import Client
    from viralsync_pipelines.jobs.model import Status

_P = ParamSpec("_P")


class _InHand:
    """`job`: as it was last seen."""

    def __init__(self, job: JobView) -> None:
        self.job = job

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.status.value}, {self.job.progress:.0%})"

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def status(self) -> Status:
        return self.job.status

    def know(self, job: JobView) -> JobView:
        """The job as a newer answer has it."""
        self.job = later(self.job, job)
        return self.job


def _sends(make: Callable[Concatenate[str, _P], calls.Call[JobView]]) -> Callable[Concatenate[JobHandle, _P], JobView]:
    """A method that sends what `make` describes, for this job."""

    def method(self: JobHandle, /, *args: _P.args, **named: _P.kwargs) -> JobView:
        return self.know(self.client.send(make(self.id, *args, **named)))

    return as_method(method, make, without_job=True)


def _sends_async(
    make: Callable[Concatenate[str, _P], calls.Call[JobView]],
) -> Callable[Concatenate[AsyncJobHandle, _P], Coroutine[Any, Any, JobView]]:
    async def method(self: AsyncJobHandle, /, *args: _P.args, **named: _P.kwargs) -> JobView:
        return self.know(await self.client.send(make(self.id, *args, **named)))

    return as_method(method, make, without_job=True)


class JobHandle(_InHand):
    """A job to work with. `job`: as it was last seen."""

    def __init__(self, client: Client, job: JobView) -> None:
        super().__init__(job)
        self.client = client

    refresh = _sends(calls.get)
    cancel = _sends(calls.cancel)
    retry = _sends(calls.retry)
    set_progress = _sends(reports.set_progress)
    complete = _sends(reports.complete)
    fail = _sends(reports.fail)

    def wait(self, timeout: float | None = None) -> JobView:
        """Until it has ended; StillRunning when that takes longer than `timeout` seconds."""
        return self.know(self.client.wait(self.id, timeout))

    def follow(self, after: int | None = None) -> Iterator[Event]:
        """Its changes as they happen; see Client.follow."""
        for event in self.client.follow(self.id, after):
            if event.job.id == self.id:
                self.know(event.job)
            yield event

    def children(self) -> tuple[JobView, ...]:
        return self.client.children(self.id)


class AsyncJobHandle(_InHand):
    """A job to work with. `job`: as it was last seen."""

    def __init__(self, client: AsyncClient, job: JobView) -> None:
        super().__init__(job)
        self.client = client

    refresh = _sends_async(calls.get)
    cancel = _sends_async(calls.cancel)
    retry = _sends_async(calls.retry)
    set_progress = _sends_async(reports.set_progress)
    complete = _sends_async(reports.complete)
    fail = _sends_async(reports.fail)

    async def wait(self, timeout: float | None = None) -> JobView:
        """Until it has ended; StillRunning when that takes longer than `timeout` seconds."""
        return self.know(await self.client.wait(self.id, timeout))

    async def follow(self, after: int | None = None) -> AsyncIterator[Event]:
        """Its changes as they happen; see AsyncClient.follow."""
        async for event in self.client.follow(self.id, after):
            if event.job.id == self.id:
                self.know(event.job)
            yield event

    async def children(self) -> tuple[JobView, ...]:
        return await self.client.children(self.id)


@dataclass(frozen=True)
class Batch:
    """A parent and its children, to be reported on."""

    parent: JobHandle
    children: tuple[JobHandle, ...]

    @staticmethod
    def of(client: Client, family: FamilyView) -> Batch:
        return Batch(JobHandle(client, family.parent), tuple(JobHandle(client, child) for child in family.children))


@dataclass(frozen=True)
class AsyncBatch:
    """A parent and its children, to be reported on."""

    parent: AsyncJobHandle
    children: tuple[AsyncJobHandle, ...]

    @staticmethod
    def of(client: AsyncClient, family: FamilyView) -> AsyncBatch:
        return AsyncBatch(AsyncJobHandle(client, family.parent), tuple(AsyncJobHandle(client, child) for child in family.children))
