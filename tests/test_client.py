"""The typed client: what it sends, what it makes of answers, what it tries again, and that a stream loses nothing, in both flavours."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.servers.api import (
    JOB,
    Api,
    Behaviour,
    Cut,
    Exchange,
    Stream,
    answer,
    api_server,
    beating,
    hang_up,
    history,
    in_turn,
    job,
    nobody,
    stalling,
)
from viralsync_pipelines.client import ApiError, AsyncClient, Client, Event, JobView, OutputLine, StillRunning
from viralsync_pipelines.client.answers import LONGEST_PAUSE_S, Pacing
from viralsync_pipelines.client.values import Eta, Queue
from viralsync_pipelines.errors import Problem, SettingsError, ViralsyncError
from viralsync_pipelines.jobs.model import Counts, Stage, Status

PROGRESS = f"GET /v1/jobs/{JOB}/progress"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def __call__(self) -> float:
        return self.now


class Blocking:
    """The client's methods, called from ordinary code."""

    def __init__(self, url: str, clock: Clock, **options: Any) -> None:
        self.client = Client(url, sleep=clock.sleep, clock=clock, jitter=lambda: 0.0, **options)

    def do(self, name: str, *args: Any, **named: Any) -> Any:
        """What a method gives; a list of what it yields."""
        found = getattr(self.client, name)(*args, **named)
        return list(found) if isinstance(found, Iterator) else found

    def of(self, handle: Any, name: str, *args: Any, **named: Any) -> Any:
        found = getattr(handle, name)(*args, **named)
        return list(found) if isinstance(found, Iterator) else found

    def close(self) -> None:
        self.client.close()


class Awaited(Blocking):
    """The same of the asynchronous client."""

    def __init__(self, url: str, clock: Clock, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.awaited = AsyncClient(url, sleep=clock.sleep_async, clock=clock, jitter=lambda: 0.0, **options)

    def do(self, name: str, *args: Any, **named: Any) -> Any:
        return self.of(self.awaited, name, *args, **named)

    def of(self, handle: Any, name: str, *args: Any, **named: Any) -> Any:
        async def done() -> Any:
            found = getattr(handle, name)(*args, **named)
            return [each async for each in found] if inspect.isasyncgen(found) else await found

        return self.loop.run_until_complete(done())

    def close(self) -> None:
        self.loop.run_until_complete(self.awaited.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture
def api() -> Iterator[Api]:
    with api_server() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[Blocking, Awaited], ids=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> type[Blocking]:
    kind: type[Blocking] = request.param
    return kind


@pytest.fixture
def client(flavour: type[Blocking], api: Api, clock: Clock) -> Iterator[Blocking]:
    made = flavour(api.url, clock)
    yield made
    made.close()


# ---- what is sent ----------------------------------------------------------------------------------------------------

SENT: list[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, str], Any]] = [
    ("get", (JOB,), {}, f"GET /v1/jobs/{JOB}", {}, None),
    ("page", (), {"limit": 10, "status": ["queued", "running"], "type": "render", "project_id": "p", "channel": "c", "parent": JOB,
                  "since": datetime(2026, 4, 2, 12, tzinfo=timezone(timedelta(hours=2))), "until": "2026-05-01T00:00:00Z", "cursor": "abc"},
     "GET /v1/jobs", {"limit": "10", "status": "queued,running", "type": "render", "projectId": "p", "channel": "c", "parent": JOB,
                      "from": "2026-04-02T10:00:00.000Z", "to": "2026-05-01T00:00:00Z", "cursor": "abc"}, None),
    ("output", (JOB,), {"cursor": "7"}, f"GET /v1/jobs/{JOB}/output", {"cursor": "7"}, None),
    ("delete", (JOB,), {}, f"DELETE /v1/jobs/{JOB}", {}, None),
    ("cancel", (JOB,), {}, f"POST /v1/jobs/{JOB}/cancel", {}, None),
    ("cancel", (JOB,), {"force": True}, f"POST /v1/jobs/{JOB}/cancel", {"force": "true"}, None),
    ("stream_token", (JOB,), {}, f"POST /v1/jobs/{JOB}/stream-token", {}, None),
    ("retry", (JOB,), {"scope": "failed", "set": {"price": 3}}, f"POST /v1/jobs/{JOB}/retry", {}, {"scope": "failed", "set": {"price": 3}}),
    ("render", ({"scenes": []},), {"project_id": "p", "callback_url": "https://x/y", "preset": "fast", "concurrency": 3,
                                   "variables": {"a": 1}, "priority": "high"}, "POST /v1/render/jobs", {},
     {"kind": "movie", "projectId": "p", "movie": {"scenes": []}, "callbackUrl": "https://x/y", "variables": {"a": 1}, "priority": "high",
      "renderOptions": {"qualityPreset": "fast", "requestedConcurrency": 3}}),
    ("render", ({},), {}, "POST /v1/render/jobs", {}, {"kind": "movie", "projectId": "default", "movie": {}}),
    ("start", ("encode", "Encoding"), {"user_id": "u", "metadata": {"k": 1}, "ttl_seconds": 60, "queue": {"position": 2},
                                       "stage": {"name": "s", "current": 1, "total": 2}, "estimated_duration_ms": 5},
     "POST /v1/jobs", {}, {"jobType": "encode", "title": "Encoding", "userId": "u", "metadata": {"k": 1}, "ttlSeconds": 60,
                           "queue": {"position": 2}, "stage": {"name": "s", "current": 1, "total": 2}, "estimatedDuration": 5}),
    ("create_parent", ("pack", "Pack"), {"child_count": 5, "child_progress_mode": "sequential", "on_child_failure": "continue"},
     "POST /v1/jobs", {}, {"jobType": "pack", "title": "Pack", "userId": "local", "childCount": 5, "childProgressMode": "sequential",
                           "onChildFailure": "continue"}),
    ("create_child", (JOB, 2, "image", "Santa"), {"weight": 3}, "POST /v1/jobs", {},
     {"parentJobId": JOB, "childIndex": 2, "jobType": "image", "title": "Santa", "userId": "local", "weight": 3}),
    ("set_progress", (JOB, 45.5), {"message": "m", "estimated_completion_at": datetime(2026, 4, 2, tzinfo=UTC), "metadata": {}},
     f"POST /v1/jobs/{JOB}/progress", {},
     {"progress": 45.5, "message": "m", "estimatedCompletionAt": "2026-04-02T00:00:00.000Z", "metadata": {}}),
    ("complete", (JOB, {"url": "https://x"}), {}, f"POST /v1/jobs/{JOB}/complete", {}, {"result": {"url": "https://x"}}),
    ("fail", (JOB, "BROKEN", "it broke"), {"retryable": False, "details": {"line": 3}}, f"POST /v1/jobs/{JOB}/fail", {},
     {"error": {"code": "BROKEN", "message": "it broke", "details": {"line": 3}}, "retryable": False}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "named", "route", "query", "body"), SENT, ids=[f"{s[0]}-{n}" for n, s in enumerate(SENT)])
def test_each_method_sends_the_documented_request(
    client: Blocking, api: Api, name: str, args: tuple[Any, ...], named: dict[str, Any], route: str, query: dict[str, str], body: Any
) -> None:  # fmt: skip
    """Nothing is sent that was not given: what is left out is the server's own choice."""
    replies = {"page": {"jobs": [], "nextCursor": None}, "output": {"output": [], "cursor": None},
               "stream_token": {"token": "t", "expiresAt": None, "url": "u"}}  # fmt: skip
    api.routes[route] = answer(202, replies.get(name, job()))
    client.do(name, *args, **named)
    (asked,) = api.asked
    assert f"{asked.method} {asked.path}" == route
    assert asked.query == query
    assert asked.body == body
    again = asked.method == "POST" and name not in {"cancel", "retry", "stream_token"}
    assert ("idempotency-key" in asked.headers) == again, "what makes or reports something counts once; what the gateway does not know again is sent once"


def test_a_batch_gives_handles_that_report(client: Blocking, api: Api) -> None:
    children = [job("queued", 0, f"job_00000000000{n}", childIndex=n, parentJobId=JOB) for n in range(2)]
    api.routes["POST /v1/jobs/batch"] = answer(201, {"parent": job("queued", 0), "children": children})
    batch = client.do("create_batch", "image", "Pack", ["Snow", "Tree"], user_id="u", child_progress_mode="average")
    assert api.asked[0].body == {"jobType": "image", "userId": "u", "parentTitle": "Pack", "childTitles": ["Snow", "Tree"], "childProgressMode": "average"}
    assert [handle.id for handle in batch.children] == ["job_000000000000", "job_000000000001"]
    api.routes["POST /v1/jobs/job_000000000001/progress"] = answer(200, {**children[1], "status": "running", "progress": 0.5})
    assert client.of(batch.children[1], "set_progress", 50).progress == 0.5
    assert batch.children[1].status is Status.RUNNING, "the handle knows what the answer said"
    api.routes["POST /v1/jobs/job_000000000001/cancel"] = answer(202, {"jobId": "job_000000000001", "status": "cancelled", "cancelRequestedAt": None})
    client.of(batch.children[1], "cancel")
    assert (batch.children[1].status, batch.children[1].job.child_index) == (Status.CANCELLED, 1), "a short answer leaves the rest as it was"


def test_the_key_goes_with_every_request_and_is_never_shown(flavour: type[Blocking], api: Api, clock: Clock) -> None:
    api.routes["GET /v1/me"] = answer(200, {"plan": "pro"})
    client = flavour(api.url + "/v1/", clock, api_key=" vs_prod_secret\n")
    assert client.do("me") == {"plan": "pro"}
    assert api.asked[0].headers["x-api-key"] == "vs_prod_secret"
    api.routes["GET /v1/usage"] = answer(401, {"error": "no such key", "code": "UNAUTHORIZED"})
    with pytest.raises(ApiError) as told:
        client.do("usage")
    assert "secret" not in str(told.value) + repr(told.value) + repr(vars(client))
    client.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:3000", "ftp://host", "http://", "http://host:port", "http://[::1"])
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="API_URL_INVALID"):
        Client(url)


@pytest.mark.parametrize("job_id", ["", "..", ".", "a/b", "../me", "job_1?x", "job 1", "job_é"])
def test_no_id_reaches_another_path(client: Blocking, api: Api, job_id: str) -> None:
    for name in ("get", "delete", "cancel", "follow"):
        with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
            client.do(name, job_id)
    assert api.asked == []


def test_what_json_cannot_say_is_told_before_it_is_sent(client: Blocking, api: Api) -> None:
    for movie in ({"x": float("nan")}, {"x": object()}, {"x": b"bytes"}):
        with pytest.raises(ApiError, match="VALIDATION_ERROR"):
            client.do("render", movie)
    assert api.asked == []


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    flavour: type[Blocking], api: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Where HTTP_PROXY is set, loopback would otherwise be looked for in the proxy."""
    monkeypatch.setenv("HTTP_PROXY", nobody())
    monkeypatch.setenv("http_proxy", nobody())
    api.routes["GET /v1/me"] = answer(200, {})
    client = flavour(api.url, clock)
    assert client.do("me") == {}
    client.close()


# ---- what answers mean -----------------------------------------------------------------------------------------------


def test_a_job_object_is_read_whole(client: Blocking, api: Api) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job(
        "waiting", 0.6234, phase="rendering", parentJobId="job_000000000000", payload={"projectId": "p"},
        children={"total": 3, "succeeded": 1, "running": 1, "queued": 0, "failed": 1, "cancelled": 0, "skipped": 9},
        stage={"name": "scenes", "current": 3, "total": 5, "description": "Rendering scenes", "colour": "red"},
        queue={"position": 2, "total": 7, "queueName": "default"}, message="hello", title="A film", attempt=2, sequence=41, newField={"a": 1},
        eta={"at": "2026-04-02T10:01:00.000Z", "p50Ms": 900, "p90Ms": 1200.0, "basis": 50, "confidence": 0.75, "longerThanUsual": True},
        attempts=[{"attempt": 1, "status": "failed", "startedAt": "2026-04-02T09:00:00.000Z", "finishedAt": None, "error": "X: y", "runId": "r"}],
        mediaData={"duration": 12.5}, links={"self": "http://x", "dagster": None}, startedAt="2026-04-02T10:00:01.000Z",
    ))  # fmt: skip
    found: JobView = client.do("get", JOB)
    assert (found.id, found.type, found.status, found.phase) == (JOB, "render.movie", Status.WAITING, "rendering")
    assert (found.progress, found.title, found.message, found.attempt, found.sequence) == (0.6234, "A film", "hello", 2, 41)
    assert found.children == Counts(total=3, succeeded=1, running=1, failed=1)
    assert found.stage == Stage("scenes", 3, 5, "Rendering scenes")
    assert found.queue == Queue(2, 7, "default")
    assert found.eta == Eta(datetime(2026, 4, 2, 10, 1, tzinfo=UTC), 900, 1200, 50, 0.75, True)
    assert (found.attempts[0].status, found.attempts[0].error, found.attempts[0].run_id) == (Status.FAILED, "X: y", "r")
    assert found.created_at == datetime(2026, 4, 2, 10, tzinfo=UTC)
    assert found.finished_at is None
    assert not found.terminal
    assert found.raw["newField"] == {"a": 1}, "what this version does not know is there all the same"


def test_the_acknowledgement_of_a_submission_is_a_job(client: Blocking, api: Api) -> None:
    api.routes["POST /v1/render/jobs"] = answer(202, {"jobId": JOB, "status": "queued"})
    handle = client.do("render", {"scenes": []})
    assert (handle.id, handle.status, handle.job.children) == (JOB, Status.QUEUED, None)


def test_listing_asks_page_after_page_until_the_limit(client: Blocking, api: Api) -> None:
    pages = {None: ("a", [job(job_id=f"job_{n:012d}") for n in range(100)]), "a": (None, [job(job_id="job_0000000000ff")])}

    def play(x: Exchange) -> None:
        after, jobs = pages[x.asked.query.get("cursor")]
        answer(200, {"jobs": jobs[: int(x.asked.query["limit"])], "nextCursor": after})(x)

    api.routes["GET /v1/jobs"] = play
    assert len(client.do("list", type="render")) == 101
    assert [a.query for a in api.asked] == [{"limit": "100", "type": "render"}, {"limit": "100", "type": "render", "cursor": "a"}]
    api.asked.clear()
    assert len(client.do("list", limit=7)) == 7
    assert [a.query["limit"] for a in api.asked] == ["7"]
    assert client.do("list", limit=0) == []


def test_events_children_and_output_are_read(client: Blocking, api: Api) -> None:
    told = history(5)
    raw = [{"sequence": t.sequence, "name": t.name, "job": t.job} for t in told]

    def play(x: Exchange) -> None:
        after = int(x.asked.query["after"])
        answer(200, {"events": raw[after : after + 2], "nextAfter": min(after + 2, 5)})(x)

    api.routes[f"GET /v1/jobs/{JOB}/events"] = play
    assert [e.sequence for e in client.do("events", JOB)] == [1, 2, 3, 4, 5]
    assert [e.sequence for e in client.do("events", JOB, after=3)] == [4, 5]
    api.routes[f"GET /v1/jobs/{JOB}/children"] = answer(200, {"parent": job(), "jobs": [job(job_id=f"scene_{JOB}_001")]})
    assert [c.id for c in client.do("children", JOB)] == [f"scene_{JOB}_001"]
    api.routes[f"GET /v1/jobs/{JOB}/output"] = answer(200, {"output": [{"jobId": JOB, "step": "s", "stream": "stdout", "text": "hi"}], "cursor": 17})
    page = client.do("output", JOB)
    assert (page.lines, page.cursor) == ((OutputLine(JOB, "s", "stdout", "hi"),), "17")


REFUSALS: list[tuple[int, Any, str, str]] = [
    (404, {"error": "no job here", "code": "JOB_NOT_FOUND"}, "JOB_NOT_FOUND", "no job here"),
    (409, {"error": "it is done", "code": "INVALID_STATE"}, "INVALID_STATE", "it is done"),
    (400, {"title": "Bad Request", "detail": "bad cursor", "code": "CURSOR_INVALID"}, "CURSOR_INVALID", "bad cursor"),
    (401, b"<html>sign in</html>", "HTTP_401", "answered 401"),
    (403, b"", "HTTP_403", "answered 403"),
    (418, ["tea"], "HTTP_418", "answered 418"),
]


@pytest.mark.parametrize(("status", "body", "code", "said"), REFUSALS)
def test_a_refusal_is_an_error_in_the_servers_words_and_is_not_repeated(
    client: Blocking, api: Api, clock: Clock, status: int, body: Any, code: str, said: str
) -> None:  # fmt: skip
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(status, body)
    with pytest.raises(ApiError) as told:
        client.do("get", JOB)
    assert isinstance(told.value, ViralsyncError)
    assert (told.value.status, told.value.code) == (status, code)
    assert said in told.value.message
    assert (len(api.asked), clock.slept) == (1, [])


def test_every_problem_of_a_refused_movie_is_in_the_error(client: Blocking, api: Api) -> None:
    problem = {"pointer": "/movie/scenes/0/duration", "code": "VALUE_OUT_OF_RANGE", "message": "0 is too short"}
    api.routes["POST /v1/render/jobs"] = answer(400, {"error": "1 problem", "code": "VALIDATION_ERROR", "problems": [problem]})
    with pytest.raises(ApiError) as told:
        client.do("render", {})
    assert told.value.problems == (Problem(**problem),)


@pytest.mark.parametrize(
    "body",
    [b"{", b"<html>", b"null", b"[]", b'"x"', {"status": "done"}, {"jobId": JOB, "status": "melted"}, {"jobId": 1, "status": "done"},
     {"jobId": JOB, "status": "done", "progress": "half"}, {"jobId": JOB, "status": "done", "createdAt": "yesterday"},
     b'{"jobId": "job_a1b2c3d4e5f6", "status": "done", "sequence": Infinity}', b'{"jobId": "\xff"}', b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_is_none_is_told_and_not_repeated(client: Blocking, api: Api, body: Any) -> None:
    """Something else may listen on the port, or a proxy may answer for the gateway."""
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, body)
    with pytest.raises(ApiError, match="ANSWER_UNREADABLE"):
        client.do("get", JOB)
    assert len(api.asked) == 1


def test_a_redirect_is_told_and_not_followed(client: Blocking, api: Api) -> None:
    """Followed, a POST would become a GET, and the key would go to whoever the answer names."""
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(301, None, Location="https://elsewhere.example/v1")
    with pytest.raises(ApiError, match=r"points to https://elsewhere\.example"):
        client.do("get", JOB)


# ---- what is tried again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [answer(503, {"error": "away", "code": "RENDER_UNAVAILABLE"}), answer(500), answer(502, b"<html>"), hang_up])
@pytest.mark.parametrize(("name", "args", "route"), [("get", (JOB,), f"GET /v1/jobs/{JOB}"), ("render", ({},), "POST /v1/render/jobs"),
                                                     ("complete", (JOB,), f"POST /v1/jobs/{JOB}/complete")])  # fmt: skip
def test_what_may_pass_is_tried_three_times(
    client: Blocking, api: Api, clock: Clock, trouble: Behaviour, name: str, args: tuple[Any, ...], route: str
) -> None:  # fmt: skip
    api.routes[route] = in_turn(trouble, trouble, answer(200, job("queued")))
    assert client.do(name, *args).status is Status.QUEUED
    assert clock.slept == [1, 2]
    assert len({a.headers.get("idempotency-key") for a in api.asked}) == 1, "all tries carry the same key: they count once"
    api.routes[route] = trouble
    with pytest.raises(ApiError) as told:
        client.do(name, *args)
    assert told.value.status != 200
    assert len(api.asked) == 6


def test_two_submissions_have_two_keys_and_a_given_one_is_kept(client: Blocking, api: Api) -> None:
    api.routes["POST /v1/render/jobs"] = answer(202, job("queued"))
    for key in (None, None, "mine"):
        client.do("render", {}, idempotency_key=key)
    one, other, mine = (a.headers["idempotency-key"] for a in api.asked)
    assert one != other
    assert mine == "mine"


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_the_server_asks_for_is_kept(client: Blocking, api: Api, clock: Clock, status: int) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = in_turn(answer(status, {"error": "slow down", "code": "RATE_LIMITED"}, Retry_After="7"), answer(200, job()))
    assert client.do("get", JOB).id == JOB
    assert clock.slept == [7]


def test_a_pause_of_an_hour_is_not_slept_through(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(429, {"error": "quota", "code": "RATE_LIMITED"}, Retry_After="3600")
    with pytest.raises(ApiError) as told:
        client.do("get", JOB)
    assert (told.value.retry_after, clock.slept) == (3600, [])


@pytest.mark.parametrize(("name", "route"), [("delete", f"DELETE /v1/jobs/{JOB}"), ("retry", f"POST /v1/jobs/{JOB}/retry"),
                                             ("cancel", f"POST /v1/jobs/{JOB}/cancel")])  # fmt: skip
def test_what_carries_no_key_is_sent_once(client: Blocking, api: Api, name: str, route: str) -> None:
    """The second answer would be that the job is gone, or has ended: nobody could tell what became of the first."""
    for trouble in (answer(503), hang_up):
        api.routes[route] = trouble
        api.asked.clear()
        with pytest.raises(ApiError):
            client.do(name, JOB)
        assert len(api.asked) == 1


def test_a_request_still_at_work_under_its_key_is_asked_for_again(client: Blocking, api: Api) -> None:
    """The first try's connection broke while the gateway worked on; its answer is there in a moment."""
    busy = answer(409, {"error": "still running", "code": "IDEMPOTENCY_IN_PROGRESS"})
    api.routes["POST /v1/render/jobs"] = in_turn(hang_up, busy, answer(202, job("queued")))
    assert client.do("render", {}).id == JOB


def test_where_nobody_listens_one_sentence_says_what_to_do(flavour: type[Blocking], clock: Clock) -> None:
    url = nobody()
    client = flavour(url, clock)
    with pytest.raises(ApiError, match="GATEWAY_UNREACHABLE") as told:
        client.do("get", JOB)
    assert url in told.value.message
    assert "`viralsync up`" in told.value.message
    assert "\n" not in told.value.message
    assert told.value.status is None
    client.close()


def test_pauses_double_up_to_half_a_minute_with_some_jitter() -> None:
    assert [Pacing(lambda: 0.0).pause(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert Pacing(lambda: 1.0).pause(100) == pytest.approx(LONGEST_PAUSE_S * 1.2)


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_wait_gives_the_job_when_it_has_ended(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = in_turn(answer(200, job()), hang_up, answer(503), answer(503), answer(503), answer(200, job("failed")))
    found = client.do("wait", JOB)
    assert found.status is Status.FAILED
    assert api.asked[0].headers["prefer"] == "wait=30"
    assert clock.slept[0] == 2, "a gateway that does not hold its answer back is not asked without a pause"


def test_wait_gives_up_in_time_and_says_how_the_job_stands(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job(progress=0.25))
    with pytest.raises(StillRunning) as told:
        client.do("wait", JOB, timeout=5)
    assert told.value.job.progress == 0.25
    assert clock.now == 5
    assert [a.headers["prefer"] for a in api.asked] == ["wait=5", "wait=3", "wait=1", "wait=0"]


def test_wait_for_what_is_not_there_fails_at_once(client: Blocking, api: Api, clock: Clock) -> None:
    with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
        client.do("wait", JOB)
    assert clock.slept == []


# ---- following -------------------------------------------------------------------------------------------------------

_cuts = st.builds(Cut, share=st.floats(0, 1), now=st.floats(0, 1), sync=st.sampled_from(["", "bare", "id"]), piece=st.sampled_from([1, 7, 100, 4096])) | st.builds(
    Cut, share=st.floats(0, 1), now=st.floats(0, 1), clean=st.just(True)
)


_BACK, _BARE = Cut(share=0.7, now=0.8, sync="id"), Cut(share=0.6, now=0.8)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(1, 12), cuts=st.lists(_cuts, max_size=6), after=st.none() | st.integers(0, 12), end=st.sampled_from(["done", "failed", "cancelled"]))
@example(length=9, cuts=[Cut(share=0.5, now=0.1), _BACK, _BACK, Cut(sync="id")], after=None, end="done")
@example(length=9, cuts=[Cut(share=0.5, clean=True), Cut(share=0.6, clean=True), Cut(share=0.2, clean=True), Cut(share=0.2, clean=True)], after=1, end="done")
@example(length=1, cuts=[Cut(share=0.7, clean=True)], after=None, end="done")
@example(length=9, cuts=[Cut(share=0.5), _BACK, Cut(share=0.0), _BARE, _BACK], after=2, end="failed")
def test_every_sequence_comes_once_and_in_order_wherever_the_stream_is_cut(
    client: Blocking, api: Api, length: int, cuts: list[Cut], after: int | None, end: str
) -> None:  # fmt: skip
    told = history(length, end)
    stream = Stream(told, cuts)
    api.routes[PROGRESS] = stream
    seen: list[Event] = client.do("follow", JOB, after=after)
    sequences = [event.sequence for event in seen]
    if after is None:
        assert seen[0].name == "job.sync"
        assert sequences == list(range(stream.snapshots[-1], length + 1))
    else:
        assert sequences == list(range(after + 1, length + 1))
        assert all(event.name == t.name and event.job.raw == t.job for event, t in zip(seen, told[after:], strict=True))
    if sequences:
        assert seen[-1].job.status == end


def test_pauses_between_connections_double_and_begin_anew_after_progress(client: Blocking, api: Api, clock: Clock) -> None:
    told = history(4)
    head = told[0].frame()
    api.routes[PROGRESS] = in_turn(
        hang_up, answer(502), hang_up, answer(503, None, Retry_After="11"), hang_up, Stream(told, [Cut(share=(len(head) + 1) / 9e9)], retry_ms=None),
        hang_up, Stream(told, retry_ms=None),
    )  # fmt: skip
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3, 4]
    assert clock.slept == [1, 2, 4, 11, 16, 30, 30]


def test_progress_resets_the_pause(client: Blocking, api: Api, clock: Clock) -> None:
    told = history(4)

    def one_more(x: Exchange) -> None:
        known = int(x.asked.headers.get("last-event-id", "0"))
        x.open_stream()
        x.chunk(told[known].frame())
        x.hang_up()

    api.routes[PROGRESS] = in_turn(hang_up, hang_up, one_more, one_more, hang_up, one_more, Stream(told, retry_ms=None))
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3, 4]
    assert clock.slept == [1, 2, 1, 1, 2, 1]


def test_the_servers_own_pause_is_where_doubling_begins(client: Blocking, api: Api, clock: Clock) -> None:
    told = history(2)
    api.routes[PROGRESS] = in_turn(Stream(told, [Cut(share=0.5)], retry_ms=3000), hang_up, Stream(told))
    client.do("follow", JOB, after=0)
    assert clock.slept == [3, 6]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_stream_is_given_up(client: Blocking, api: Api, clock: Clock, status: int) -> None:
    api.routes[PROGRESS] = in_turn(Stream(history(4), [Cut(share=0.8)]), answer(status, {"error": "no", "code": "SOMETHING"}))
    with pytest.raises(ApiError, match="SOMETHING"):
        client.do("follow", JOB, after=0)
    assert len(api.asked) == 2


def test_a_rate_limit_is_waited_out(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[PROGRESS] = in_turn(answer(429, {"error": "slow", "code": "RATE_LIMITED"}, Retry_After="20"), Stream(history(3)))
    assert len(client.do("follow", JOB, after=0)) == 3
    assert clock.slept == [20]


def test_a_job_that_is_over_and_known_has_no_events(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[PROGRESS] = answer(204)
    assert client.do("follow", JOB, after=9) == []
    assert (api.asked[0].headers["last-event-id"], clock.slept) == ("9", [])


def test_an_ended_job_is_a_snapshot_and_its_end(client: Blocking, api: Api, clock: Clock) -> None:
    api.routes[PROGRESS] = Stream(history(6, "failed"))
    assert [(e.name, e.sequence, e.job.status) for e in client.do("follow", JOB)] == [("job.sync", 5, "failed"), ("job.failed", 6, "failed")]
    assert len(api.asked) == 1, "the server closed in good order after the end: nothing more is asked"


def test_a_retry_goes_on_after_an_end_that_was_missed(client: Blocking, api: Api) -> None:
    """The end of the first attempt is history when the job is at work again: only the server knows what the last word is."""
    first, second = history(3, "failed"), history(3)
    told = first + [type(t)(t.sequence + 3, t.name, {**t.job, "attempt": 2}) for t in second]
    api.routes[PROGRESS] = Stream(told)
    assert [e.job.status for e in client.do("follow", JOB, after=2)][-4:] == ["failed", "running", "running", "done"]


def test_children_that_report_after_their_parents_end_are_told(client: Blocking, api: Api) -> None:
    told = history(3, "failed")
    late = type(told[0])(4, "child.progress", job("done", 1.0, f"scene_{JOB}_001"))
    api.routes[PROGRESS] = Stream([*told, late])
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3, 4]


def test_silence_is_a_broken_connection_and_heartbeats_are_not_silence(flavour: type[Blocking], api: Api, clock: Clock) -> None:
    told = history(3)
    client = flavour(api.url, clock, silence_s=0.8)
    api.routes[PROGRESS] = in_turn(stalling([told[0].frame()]), Stream(told))
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3]
    assert len(api.asked) == 2
    assert api.asked[1].headers["last-event-id"] == "1"
    api.asked.clear()
    api.routes[PROGRESS] = beating(told[0].frame() + told[1].frame(), told[2].frame(), every_s=0.05, beats=30)
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3]
    assert len(api.asked) == 1, "a server that is alive but has nothing to say is not left"
    client.close()


def test_an_event_that_cannot_be_read_is_asked_for_again_and_then_told(client: Blocking, api: Api) -> None:
    told = history(3)
    broken = b'event: job.progress\nid: 2\ndata: {"jobId": \n\n'

    def half(x: Exchange) -> None:
        x.open_stream()
        x.chunk((told[0].frame() if x.asked.headers.get("last-event-id") == "0" else b"") + broken)
        x.end_stream()

    api.routes[PROGRESS] = in_turn(half, half, Stream(told))
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3]
    api.routes[PROGRESS] = half
    with pytest.raises(ApiError, match="ANSWER_UNREADABLE"):
        client.do("follow", JOB, after=0)


def test_what_is_no_stream_is_told(client: Blocking, api: Api) -> None:
    api.routes[PROGRESS] = answer(200, b"<html>welcome</html>")
    with pytest.raises(ApiError, match="ANSWER_UNREADABLE"):
        client.do("follow", JOB)


def _line(text: str) -> dict[str, str]:
    return {"jobId": JOB, "step": "speak", "stream": "stdout", "text": text}


def _printed(text: str, cursor: str | None = None) -> bytes:
    said = {**_line(text), **({} if cursor is None else {"cursor": cursor})}
    return f"event: output\ndata: {json.dumps(said, ensure_ascii=False)}\n\n".encode()


def sends(*frames: bytes, cut: bool = False) -> Behaviour:
    def play(x: Exchange) -> None:
        x.open_stream()
        x.chunk(b"".join(frames))
        x.hang_up() if cut else x.end_stream()

    return play


def test_output_comes_between_events_when_it_is_asked_for(client: Blocking, api: Api) -> None:
    told = [t.frame() for t in history(3)]
    api.routes[PROGRESS] = sends(told[0], _printed("line\u2028two"), told[1], told[2])
    found = client.do("follow", JOB, after=0, output=True)
    assert [type(f).__name__ for f in found] == ["Event", "OutputLine", "Event", "Event"]
    assert found[1] == OutputLine(JOB, "speak", "stdout", "line\u2028two")
    assert [e.sequence for e in client.do("follow", JOB, after=0)] == [1, 2, 3]
    assert [a.query for a in api.asked] == [{"output": "true"}, {"output": "false"}]


def test_lines_come_once_when_the_stream_is_cut_between_two_cursors(client: Blocking, api: Api) -> None:
    """Only the last line of each reading bears a cursor; those after it come again with the next connection, and the last ones at the end."""
    told = [t.frame() for t in history(3)]
    api.routes[PROGRESS] = in_turn(
        sends(told[0], _printed("a"), _printed("b", "one"), _printed("c"), _printed("c"), cut=True),
        sends(_printed("c"), cut=True),
        sends(_printed("c"), _printed("c"), _printed("c", "two"), _printed("d", "three"), told[1], told[2]),
    )  # fmt: skip
    api.routes[f"GET /v1/jobs/{JOB}/output"] = in_turn(answer(200, {"output": [_line("e")], "cursor": "four"}), answer(200, {"output": [], "cursor": "four"}))
    found = client.do("follow", JOB, after=0, output=True, output_cursor="zero")
    assert "".join(f.text for f in found if isinstance(f, OutputLine)) == "abcccde"
    streams, rest = api.asked[:3], api.asked[3:]
    assert [a.query["outputCursor"] for a in streams] == ["zero", "one", "one"]
    assert [(a.path, a.query["cursor"]) for a in rest] == [(f"/v1/jobs/{JOB}/output", "three"), (f"/v1/jobs/{JOB}/output", "four")]


def test_numbers_that_began_anew_are_followed_from_there(client: Blocking, api: Api) -> None:
    """A database put back from a copy has fewer changes than its reader has seen."""
    told = history(3)
    reset = type(told[0])(1, "job.sync", {**told[0].job, "reset": True})
    api.routes[PROGRESS] = sends(reset.frame(), told[1].frame(), told[2].frame())
    assert [(e.sequence, e.name) for e in client.do("follow", JOB, after=500)] == [(1, "job.sync"), (2, "job.progress"), (3, "job.completed")]


def test_a_handle_knows_its_job_as_it_is_followed(client: Blocking, api: Api) -> None:
    api.routes["POST /v1/render/jobs"] = answer(202, {"jobId": JOB, "status": "queued"})
    api.routes[PROGRESS] = Stream(history(5), [Cut(now=0.5)])
    handle = client.do("render", {})
    names = [event.name for event in client.of(handle, "follow")]
    assert (names[0], names[-1], handle.status, handle.job.progress) == ("job.sync", "job.completed", Status.DONE, 1.0)


def test_many_streams_are_followed_at_once_by_one_client(api: Api) -> None:
    """No pool of a hundred connections: each stream holds one for as long as its job takes."""
    count = 120
    gate = asyncio.Event()

    async def all_of_them() -> list[list[int]]:
        async with AsyncClient(api.url, silence_s=60) as client:
            begun = 0

            async def one(job_id: str) -> list[int]:
                nonlocal begun
                seen = []
                async for event in client.follow(job_id, after=0):
                    seen.append(event.sequence)
                    if len(seen) == 1:
                        begun += 1
                        if begun == count:
                            gate.set()
                        await gate.wait()
                return seen

            return await asyncio.gather(*(one(f"job_{n:012d}") for n in range(count)))

    for n in range(count):
        api.routes[f"GET /v1/jobs/job_{n:012d}/progress"] = Stream(history(3, job_id=f"job_{n:012d}"))
    assert asyncio.run(all_of_them()) == [[1, 2, 3]] * count


# ---- both are the same -----------------------------------------------------------------------------------------------


def test_both_clients_have_the_same_methods_with_the_same_arguments_and_words() -> None:
    def public(kind: type) -> dict[str, Callable[..., Any]]:
        return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}

    one, other = public(Client), public(AsyncClient)
    assert one.keys() == other.keys()
    for name, method in one.items():
        assert [*inspect.signature(method).parameters] == [*inspect.signature(other[name]).parameters], name
        assert name == "close" or (method.__doc__ or "").strip(), f"{name} says what it does"
    assert "project_id" in inspect.signature(Client("http://localhost:1").render).parameters


def test_importing_the_client_is_cheap() -> None:
    """Steps and commands that never ask the API do not pay for httpx."""
    probe = "import sys, viralsync_pipelines.client; print([m for m in ('httpx', 'dagster', 'pydantic', 'asyncio', 'fastapi') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
