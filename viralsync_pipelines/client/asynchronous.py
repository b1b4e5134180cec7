"""The client for programs on asyncio: synchronous.py, awaited.

What belongs here: sending, waiting and following without blocking. What does not: what requests are (calls.py, reports.py) and what
answers mean (answers.py, following.py), which both clients share.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

from viralsync_pipelines.client import calls, generating, reports
from viralsync_pipelines.client.answers import TRIES, ApiError, Pacing, pause_before_retry, value_of
from viralsync_pipelines.client.connection import DEFAULT_URL, Connection, as_method, repeatable
from viralsync_pipelines.client.following import SILENCE_S, Broken, Following
from viralsync_pipelines.client.handles import AsyncBatch, AsyncJobHandle
from viralsync_pipelines.client.values import Event, JobView, OutputLine
from viralsync_pipelines.client.waiting import Waiting

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

_T = TypeVar("_T")
_U = TypeVar("_U")
_P = ParamSpec("_P")


def _sends(make: Callable[_P, calls.Call[_T]]) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]:
    """A method of the client that sends what `make` describes."""

    async def method(self: AsyncClient, /, *args: _P.args, **named: _P.kwargs) -> _T:
        return await self.send(make(*args, **named))

    return as_method(method, make)


def _sends_for(
    made: Callable[[AsyncClient, _T], _U], make: Callable[_P, calls.Call[_T]]
) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _U]]:
    """The same, giving what `made` makes of the answer."""

    async def method(self: AsyncClient, /, *args: _P.args, **named: _P.kwargs) -> _U:
        return made(self, await self.send(make(*args, **named)))

    return as_method(method, make)


class AsyncClient:
    """ViralSync's HTTP API.

        async with AsyncClient() as client:
            job = await client.render(movie)
            async for event in job.follow():
                print(event.name, event.job.progress)

    base_url: of the gateway. api_key: not needed on the gateway's own machine while no key was made. tries: of what may be sent again
    (GETs, and whatever carries an Idempotency-Key). silence_s: after so long without a byte a stream is taken to be broken.
    transport, sleep, clock, jitter, new_key: for tests.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, api_key: str | None = None, *, timeout_s: float = 30.0, tries: int = TRIES,
        silence_s: float = SILENCE_S,
        transport: httpx.AsyncBaseTransport | None = None, sleep: Callable[[float], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random,
        new_key: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:  # fmt: skip
        import asyncio

        import httpx

        self._to = Connection(base_url, api_key, timeout_s, silence_s, new_key)
        self._http = httpx.AsyncClient(transport=transport, **self._to.options())
        self._sleep, self._clock, self._pacing = sleep or asyncio.sleep, clock, Pacing(jitter)
        self._tries = tries

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """The gateway's address, without /v1."""
        return self._to.base_url

    @property
    def api_key(self) -> str | None:
        return self._to.api_key

    async def close(self) -> None:
        await self._http.aclose()

    render = _sends_for(AsyncJobHandle, calls.render)
    start = _sends_for(AsyncJobHandle, reports.start)
    create_parent = _sends_for(AsyncJobHandle, reports.create_parent)
    create_child = _sends_for(AsyncJobHandle, reports.create_child)
    create_batch = _sends_for(AsyncBatch.of, reports.create_batch)

    get = _sends(calls.get)
    page = _sends(calls.page)
    get_with_children = _sends(calls.get_with_children)
    event_page = _sends(calls.event_page)
    output = _sends(calls.output)
    cancel = _sends(calls.cancel)
    retry = _sends(calls.retry)
    delete = _sends(calls.delete)
    stream_token = _sends(calls.stream_token)
    set_progress = _sends(reports.set_progress)
    complete = _sends(reports.complete)
    fail = _sends(reports.fail)
    me = _sends(calls.me)
    usage = _sends(calls.usage)
    execute = _sends(generating.execute)
    execution = _sends(generating.execution)
    models = _sends(generating.models)
    generations = _sends(generating.generations)
    clear_generations = _sends(generating.clear_generations)
    add_to_timeline = _sends(generating.add_to_timeline)

    async def handle(self, job_id: str) -> AsyncJobHandle:
        """A handle on a job that is there."""
        return AsyncJobHandle(self, await self.get(job_id))

    async def children(self, job_id: str) -> tuple[JobView, ...]:
        """All children of a job, in their order."""
        return (await self.get_with_children(job_id)).children

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Every change so far, those with a sequence above `after`."""
        here: int | None = after
        while here is not None:
            page = await self.event_page(job_id, here)
            for event in page.events:
                yield event
            here = page.next_after if page.events and page.next_after != here else None

    async def list(self, *, limit: int | None = None, **filters: Unpack[calls.Filters]) -> AsyncIterator[JobView]:
        """Jobs, newest first, at most `limit`; pages are asked for as they are needed. filters: see Filters."""
        left, cursor = limit, None
        while left is None or left > 0:
            page = await self.page(limit=100 if left is None else min(100, left), cursor=cursor, **filters)
            for job in page.jobs:
                yield job
            left, cursor = None if left is None else left - len(page.jobs), page.next_cursor
            if cursor is None:
                return

    async def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """The job when it has ended. StillRunning, with the job, when that takes longer than `timeout` seconds.

        A gateway that goes away meanwhile is waited for.
        """
        waiting = Waiting(timeout, self._clock, self._pacing)
        while True:
            try:
                job = await self.send(calls.get_within(job_id, waiting.asks_for()))
            except ApiError as error:
                waiting.failed(error)
            else:
                if waiting.over(job):
                    return job
            await self._sleep(waiting.pause())

    @overload
    def follow(self, job_id: str, after: int | None = None, *, output: Literal[False] = False) -> AsyncIterator[Event]: ...

    @overload
    def follow(
        self, job_id: str, after: int | None = None, *, output: Literal[True], output_cursor: str | None = None
    ) -> AsyncIterator[Event | OutputLine]: ...

    async def follow(
        self, job_id: str, after: int | None = None, *, output: bool = False, output_cursor: str | None = None
    ) -> AsyncIterator[Event | OutputLine]:
        """The changes of a job and its children as they happen, until it has ended: each sequence once, in order.

        after: the last sequence that is known; without it the first event is the job as it stands (`job.sync`). output: what it prints
        too, from now on, or from the cursor that `output` gave. A broken connection is opened again after 1, 2, 4 ... 30 s, and what was
        missed is caught up. ApiError when the server refuses. To leave the loop early and have the connection closed at once, wrap
        this in contextlib.aclosing.
        """
        import httpx
        from httpx_sse import EventSource

        state = Following(job_id, after, output=output, cursor=output_cursor, pacing=self._pacing)
        while True:
            try:
                async with self._http.stream(**self._to.stream(state.path, state.query(), state.headers())) as answer:
                    if not state.answered(answer.status_code, answer.headers, b"" if answer.status_code == 200 else await answer.aread()):
                        break
                    async for sse in EventSource(answer).aiter_sse():
                        for found in state.take(sse):
                            yield found
                if state.over:
                    break
            except (httpx.RequestError, Broken):
                # Whatever broke, the next connection begins after the last sequence that was seen.
                pass
            await self._sleep(state.pause())
        while state.unread is not None:
            for line in state.rest(await self.output(job_id, state.unread)):
                yield line

    async def send(self, call: calls.Call[_T]) -> _T:
        """One request, sent again where that is safe: GETs, and whatever carries an Idempotency-Key."""
        import httpx

        request, failures = self._to.request(call), 0
        while True:
            try:
                answer = await self._http.request(**request)
                return value_of(answer.status_code, answer.headers, answer.content, f"{self._to.base_url}{call.path}", call.read)
            except httpx.RequestError as error:
                failure = self._to.no_answer(error)
                failure.__cause__ = error
            except ApiError as error:
                failure = error
            failures += 1
            pause = pause_before_retry(failure, repeatable=repeatable(request), failures=failures, tries=self._tries, pacing=self._pacing)
            if pause is None:
                raise failure
            await self._sleep(pause)
