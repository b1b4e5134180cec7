"""The gateway's door: keys, tokens, this machine without a key, the sliding minute, and how refusals look. A real server.

What asks the database runs on both; what looks at a request alone runs on one gateway that all of it shares, `open_door`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tests.servers.app import served
from viralsync_pipelines.errors import MovieInvalid, Problem, SettingsError, SourceError, StoreError
from viralsync_pipelines.gateway import account, faults, limiting
from viralsync_pipelines.gateway.auth import Principal, check_bind, is_loopback, reader, still_welcome, viewer, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of, put_together
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.gateway.known_keys import KEEP_S, KnownKeys
from viralsync_pipelines.gateway.limiting import Limiter
from viralsync_pipelines.gateway.plans import Plan, Plans
from viralsync_pipelines.gateway.tokens import LIFETIME_MS, mint, verify
from viralsync_pipelines.storage.database import Database, open_database
from viralsync_pipelines.storage.metering import meter_once

NOW = 1_764_244_800_000  # 2025-11-27 12:00 UTC
JOB = "job_0123456789ab"


class Text(BaseModel):
    kind: str = "text"
    text: str


class Sound(BaseModel):
    kind: str = "sound"
    volume: int = Field(le=10)


class Sent(BaseModel):
    model_config = {"extra": "forbid"}
    name: str
    layers: list[Text | Sound] = []


class Roots:
    """The one thing that the door asks of the board: which family a job belongs to."""

    def root_of(self, job_id: str) -> str | None:
        return {"job_reportedchild": JOB}.get(job_id)


def an_app(deps: Deps) -> FastAPI:
    app = FastAPI()
    app.state.deps = deps
    faults.install(app)
    limiting.install(app)
    app.include_router(account.router)

    @app.get("/healthz")
    def healthz() -> str:
        return "fine"

    @app.post("/v1/jobs")
    def write(principal: Annotated[Principal, Depends(writer)], sent: Sent | None = None) -> str:
        return principal.workspace

    @app.get("/v1/twice")
    def twice(one: Annotated[Principal, Depends(reader)], other: Annotated[Principal, Depends(writer)]) -> bool:
        return one is other

    @app.get("/v1/jobs/{job_id}/progress")
    def progress(job_id: str, principal: Annotated[Principal, Depends(viewer)]) -> StreamingResponse:
        return StreamingResponse(iter([f"data: {n} {principal.workspace} {principal.read_only}\n\n" for n in range(50)]), media_type="text/event-stream")

    @app.get("/v1/all")
    def everything(principal: Annotated[Principal, Depends(viewer)]) -> str:
        return principal.workspace

    @app.get("/v1/welcome")
    async def welcome(request: Request, principal: Annotated[Principal, Depends(reader)]) -> bool:
        return await still_welcome(deps_of(request), principal)

    @app.get("/v1/broken/{how}")
    def broken(how: str, principal: Annotated[Principal, Depends(reader)], limit: Annotated[int, Query(ge=1, le=100)] = 25) -> str:
        errors = {
            "refused": Refused(409, "INVALID_STATE", "the job is done; start another", headers={"Retry-After": "7"}),
            "movie": MovieInvalid([Problem("/scenes/0/src", "FIELD_MISSING", "add it"), Problem("/fps", "TYPE_WRONG", "write a number")]),
            "source": SourceError("cat.png is not there; check the name", code="SOURCE_NOT_FOUND"),
            "store": StoreError("bucket at 10.0.0.7 says no"),
            "unlisted": SettingsError("/etc/secret/place is odd"),
            "crash": ZeroDivisionError("secret detail"),
        }
        raise errors[how]

    @app.get("/v1/half")
    def half() -> StreamingResponse:
        def lines() -> Iterator[str]:
            yield "one\n"
            raise ZeroDivisionError

        return StreamingResponse(lines())

    return app


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.s = NOW / 1000

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Also the clock that `limits` goes by."""
    ticking = Clock()
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=ticking))
    return ticking


@pytest.fixture
def deps(database: Database, clock: Clock) -> Deps:
    nothing: Any = None
    roots: Any = Roots()
    made = put_together(
        board=roots, launcher=nothing, database=database, store=nothing, host="127.0.0.1", now_ms=lambda: int(clock.s * 1000),
        limiter=Limiter(clock=clock),
    )  # fmt: skip
    return dataclasses.replace(made, keys=KnownKeys(made.accounts, clock))


@contextmanager
def talking(deps: Deps) -> Iterator[httpx.Client]:
    with served(an_app(deps)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as opened:
        yield opened


@pytest.fixture
def client(deps: Deps) -> Iterator[httpx.Client]:
    with talking(deps) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_deps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deps]:
    """On SQLite, without a key; nobody makes one."""
    database = open_database(None, tmp_path_factory.mktemp("open"))
    database.migrate()
    nothing: Any = None
    yield put_together(board=nothing, launcher=nothing, database=database, store=nothing, host="127.0.0.1", now_ms=lambda: NOW)
    database.close()


@pytest.fixture(scope="module")
def open_door(open_deps: Deps) -> Iterator[httpx.Client]:
    with talking(open_deps) as opened:
        yield opened


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def key(secret: str) -> dict[str, str]:
    return {"x-api-key": secret}


# ---- keys ---------------------------------------------------------------------------------------------------------------------


def test_a_key_opens_its_workspace_from_either_header(deps: Deps, client: httpx.Client) -> None:
    deps.accounts.ensure_workspace("team", "pro")
    secret, made = deps.accounts.create_key("app", "team", read_only=True)
    for headers in (key(secret), {"Authorization": f"Bearer {secret}"}, {"authorization": f"bearer  {secret}"}):
        me = client.get("/v1/me", headers=headers).json()
        assert me == {
            "userId": "team", "plan": "pro", "email": None, "workspace": "team", "keyId": made.id, "readOnly": True,
            "limits": {
                "concurrency": 3, "minutesPerMonth": 200.0, "minutesPerDay": None, "maxMinutes": 10.0, "maxResolution": "1920x1080",
                "api": True, "requestsPerMinute": 120,
            },
        }  # fmt: skip


def test_whatever_is_no_key_is_refused_in_the_same_words(deps: Deps, client: httpx.Client) -> None:
    _, made = deps.accounts.create_key("app")
    client.get("/v1/me")
    answers = [
        client.get("/v1/me", headers=headers)
        for headers in (
            {}, key(""), key("vs_prod_" + "a" * 32), key("vs_prod_short"), key("x" * 5_000), {"Authorization": "Basic abc"},
            {"Authorization": "Bearer"},
            # What lists and logs show is not enough.
            key(made.id), key(made.shown), {"Authorization": f"Bearer {made.id}"},
        )
    ]  # fmt: skip
    assert {told(answer) for answer in answers} == {(401, "UNAUTHORIZED")}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_the_id_of_a_key_in_use_is_no_key(deps: Deps, client: httpx.Client) -> None:
    """Ids are remembered too, by tokens and streams; they must not be taken for keys."""
    secret, made = deps.accounts.create_key("app")
    assert client.get("/v1/welcome", headers=key(secret)).json() is True
    assert told(client.get("/v1/me", headers=key(made.id))) == (401, "UNAUTHORIZED")


def test_a_revoked_key_is_refused_within_two_seconds_and_a_new_one_works_at_once(deps: Deps, client: httpx.Client, clock: Clock) -> None:
    assert KEEP_S <= 2
    secret, made = deps.accounts.create_key("app")
    assert client.get("/v1/me", headers=key(secret)).status_code == 200
    deps.accounts.revoke(made.id)
    clock.s += KEEP_S
    assert told(client.get("/v1/me", headers=key(secret))) == (401, "API_KEY_REVOKED")
    other, _ = deps.accounts.create_key("app 2")
    assert client.get("/v1/me", headers=key(other)).status_code == 200


def test_a_read_only_key_reads_and_does_not_write(deps: Deps, client: httpx.Client) -> None:
    reads, writes = (deps.accounts.create_key("app", read_only=each)[0] for each in (True, False))
    assert client.get("/v1/me", headers=key(reads)).status_code == 200
    assert told(client.post("/v1/jobs", headers=key(reads))) == (403, "FORBIDDEN")
    assert client.post("/v1/jobs", headers=key(writes)).status_code == 200


def test_a_key_works_from_a_page_of_any_site(deps: Deps, client: httpx.Client) -> None:
    """Whoever has the key may use it from anywhere; only what works without one needs a guard against other people's pages."""
    secret, _ = deps.accounts.create_key("app")
    headers = {**key(secret), "Origin": "https://example.com", "Host": "api.example.com", "X-Forwarded-For": "203.0.113.7"}
    assert client.post("/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("plan", ["free", "gone"])
def test_a_plan_without_the_api_or_no_plan_at_all_is_refused(deps: Deps, client: httpx.Client, plan: str) -> None:
    secret, _ = deps.accounts.create_key("app", "team")
    deps.accounts.ensure_workspace("team", plan)
    assert told(client.get("/v1/me", headers=key(secret))) == (403, "FORBIDDEN")


# ---- without a key ------------------------------------------------------------------------------------------------------------


def test_this_machine_needs_no_key_until_there_is_one_and_is_told_so_once(deps: Deps, client: httpx.Client, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "viralsync.gateway"):
        for _ in range(3):
            assert client.get("/v1/me").json()["workspace"] == "default"
            clock.s += 10
        assert client.post("/v1/jobs").json() == "default"
    assert [record for record in caplog.records if "no API key exists" in record.message] == [caplog.records[0]]
    _, made = deps.accounts.create_key("app")
    clock.s += KEEP_S
    assert told(client.get("/v1/me")) == (401, "UNAUTHORIZED")
    # Taking the last key away does not open the door to everybody.
    deps.accounts.revoke(made.id)
    clock.s += 100
    assert told(client.get("/v1/me")) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "studio.example.com"])
def test_bound_to_more_than_this_machine_a_key_is_needed_whatever_the_headers_say(open_deps: Deps, host: str) -> None:
    with talking(dataclasses.replace(open_deps, host=host)) as client:
        for headers in ({}, {"Host": "localhost"}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}):
            assert told(client.get("/v1/me", headers=headers)) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:3000", "127.0.0.1:80", "[::1]:3000", "LOCALHOST:3000"])
def test_without_a_key_the_names_of_this_machine_are_heard(open_door: httpx.Client, host: str) -> None:
    assert open_door.get("/v1/me", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.com", "evil.com:3000", "192.168.1.5:3000", "localhost@evil.com", "[::2]", "localhost.", ":"])
def test_without_a_key_no_other_name_is_heard_so_that_rebinding_a_name_gains_nothing(open_door: httpx.Client, host: str) -> None:
    assert told(open_door.get("/v1/me", headers={"Host": host})) == (403, "FORBIDDEN")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_without_a_key_a_proxy_is_not_taken_for_this_machine(open_door: httpx.Client, header: str) -> None:
    assert told(open_door.get("/v1/me", headers={header: "203.0.113.7"})) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Origin": "http://localhost.evil.com"}, {"Origin": "file://"},
        {"Origin": "chrome-extension://abc"}, {"Sec-Fetch-Site": "cross-site"},
    ],
)  # fmt: skip
def test_without_a_key_pages_of_other_sites_change_nothing(open_door: httpx.Client, headers: dict[str, str]) -> None:
    assert told(open_door.post("/v1/jobs", headers=headers)) == (403, "FORBIDDEN")
    # They may ask; their browser does not show them the answer.
    assert open_door.get("/v1/me", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost:5173"}, {"Origin": "http://127.0.0.1:3000"}, {"Origin": "http://[::1]:1"}, {"Sec-Fetch-Site": "same-origin"}])
def test_without_a_key_pages_and_programs_of_this_machine_may_write(open_door: httpx.Client, headers: dict[str, str]) -> None:
    assert open_door.post("/v1/jobs", headers=headers).status_code == 200


def test_nobody_serves_others_before_a_key_exists(deps: Deps) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1"):
        check_bind(host, deps.accounts)
    for host in ("0.0.0.0", "::", "", "10.0.0.1", "studio.local"):
        assert not is_loopback(host)
        with pytest.raises(SettingsError, match="keys create") as caught:
            check_bind(host, deps.accounts)
        assert caught.value.code == "API_KEY_NEEDED"
    _, made = deps.accounts.create_key("app")
    check_bind("0.0.0.0", deps.accounts)
    deps.accounts.revoke(made.id)
    with pytest.raises(SettingsError):
        check_bind("0.0.0.0", deps.accounts)


# ---- tokens -------------------------------------------------------------------------------------------------------------------

names = st.text(max_size=64)
secrets_ = st.binary(min_size=32, max_size=32)


@given(secrets_, names, names, names, st.integers(0, 2**45))
def test_a_token_says_what_it_was_minted_for_until_it_is_over(secret: bytes, job: str, workspace: str, key_id: str, now: int) -> None:
    token, ends = mint(secret, job_id=job, workspace=workspace, key_id=key_id, now_ms=now)
    grant = verify(secret, token, ends - 1)
    assert grant is not None
    assert (grant.job_id, grant.workspace, grant.key_id, grant.expires_ms) == (job, workspace, key_id, now + LIFETIME_MS)
    assert verify(secret, token, ends) is None
    assert str(httpx.URL("http://x/", params={"token": token})) == f"http://x/?token={token}"


@given(secrets_, st.data())
def test_no_changed_token_is_taken(secret: bytes, data: st.DataObject) -> None:
    token, _ = mint(secret, job_id=JOB, workspace="team", key_id="key_1", now_ms=NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda c: c != token[place]))
    assert verify(secret, token[:place] + other + token[place + 1 :], NOW) is None
    assert verify(secret, token[:place], NOW) is None
    assert verify(secret, token + other, NOW) is None


@given(secrets_, st.text())
def test_no_text_is_a_token_by_chance(secret: bytes, text: str) -> None:
    assert verify(secret, text, NOW) is None
    assert verify(secret, f"v1.{text}.{text}", NOW) is None


def test_a_token_of_another_database_is_not_taken() -> None:
    token, _ = mint(b"a" * 32, job_id=JOB, workspace="team", key_id="key_1", now_ms=NOW)
    assert verify(b"b" * 32, token, NOW) is None


def test_gateways_on_one_database_take_each_others_tokens(deps: Deps, client: httpx.Client) -> None:
    nothing: Any = None
    other = put_together(board=nothing, launcher=nothing, database=deps.database, store=nothing, host="0.0.0.0", now_ms=deps.now_ms)
    _, made = deps.accounts.create_key("app")
    token, _ = mint(other.token_secret, job_id=JOB, workspace="default", key_id=made.id, now_ms=deps.now_ms())
    assert client.get(f"/v1/jobs/{JOB}/progress", params={"token": token}).status_code == 200


def test_a_token_opens_its_job_and_family_to_readers_and_nothing_else(deps: Deps, client: httpx.Client) -> None:
    _, made = deps.accounts.create_key("app", "team")
    token, _ = mint(deps.token_secret, job_id=JOB, workspace="team", key_id=made.id, now_ms=deps.now_ms())
    for job in (JOB, f"scene_{JOB}_001", f"assemble_{JOB}", "job_reportedchild"):
        answer = client.get(f"/v1/jobs/{job}/progress", params={"token": token})
        assert answer.text.startswith("data: 0 team True\n"), answer.text
    for path in ("/v1/jobs/job_fedcba987654/progress", "/v1/jobs/scene_job_fedcba987654_001/progress", "/v1/all"):
        assert told(client.get(path, params={"token": token})) == (403, "FORBIDDEN")
    for method, path in (("GET", "/v1/me"), ("POST", "/v1/jobs")):
        assert told(client.request(method, path, params={"token": token})) == (401, "UNAUTHORIZED")
    # A scene's token is not its parent's.
    scene, _ = mint(deps.token_secret, job_id=f"scene_{JOB}_001", workspace="team", key_id=made.id, now_ms=deps.now_ms())
    assert client.get(f"/v1/jobs/scene_{JOB}_001/progress", params={"token": scene}).status_code == 200
    assert told(client.get(f"/v1/jobs/{JOB}/progress", params={"token": scene})) == (403, "FORBIDDEN")


def test_a_token_ends_after_five_minutes_and_with_its_key(deps: Deps, client: httpx.Client, clock: Clock) -> None:
    _, made = deps.accounts.create_key("app")
    token, _ = mint(deps.token_secret, job_id=JOB, workspace="default", key_id=made.id, now_ms=deps.now_ms())
    path = f"/v1/jobs/{JOB}/progress"
    clock.s += 299
    assert client.get(path, params={"token": token}).status_code == 200
    clock.s += 1
    assert told(client.get(path, params={"token": token})) == (401, "UNAUTHORIZED")
    token, _ = mint(deps.token_secret, job_id=JOB, workspace="default", key_id=made.id, now_ms=deps.now_ms())
    deps.accounts.revoke(made.id)
    clock.s += KEEP_S
    assert told(client.get(path, params={"token": token})) == (401, "API_KEY_REVOKED")


def test_a_token_minted_without_a_key_ends_when_the_first_key_is_made(deps: Deps, client: httpx.Client, clock: Clock) -> None:
    token, _ = mint(deps.token_secret, job_id=JOB, workspace="default", key_id="loopback", now_ms=deps.now_ms())
    path = f"/v1/jobs/{JOB}/progress"
    assert client.get(path, params={"token": token}).status_code == 200
    assert told(client.get(path, params={"token": token}, headers={"Host": "evil.com"})) == (403, "FORBIDDEN")
    deps.accounts.create_key("app")
    clock.s += KEEP_S
    assert told(client.get(path, params={"token": token})) == (401, "UNAUTHORIZED")


# ---- the sliding minute -------------------------------------------------------------------------------------------------------


def test_the_121st_request_of_a_minute_waits_until_the_oldest_is_a_minute_old(deps: Deps, client: httpx.Client, clock: Clock) -> None:
    secret, _ = deps.accounts.create_key("app")
    start = clock.s
    for number in range(120):
        clock.s = start + number / 4
        answer = client.get("/v1/me", headers=key(secret))
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-remaining"] == str(119 - number)
    clock.s = start + 40
    refused = client.get("/v1/me", headers=key(secret))
    assert told(refused) == (429, "RATE_LIMITED")
    assert refused.headers["retry-after"] == "20"
    assert refused.headers["ratelimit-policy"] == '"requests";q=120;w=60'
    assert refused.headers["ratelimit"] == '"requests";r=0;t=20'
    assert refused.headers["x-ratelimit-limit"] == "120"
    assert refused.headers["x-ratelimit-reset"] == str(int(start) + 60)
    # What was refused did not count: one falls out, one comes in.
    clock.s = start + 60.1
    assert client.get("/v1/me", headers=key(secret)).status_code == 200
    assert client.get("/v1/me", headers=key(secret)).status_code == 429


def test_each_key_has_a_minute_of_its_own(deps: Deps, client: httpx.Client) -> None:
    one, other = (deps.accounts.create_key("app")[0] for _ in range(2))
    for _ in range(121):
        last = client.get("/v1/me", headers=key(one))
    assert last.status_code == 429
    assert client.get("/v1/me", headers=key(other)).headers["x-ratelimit-remaining"] == "119"


def test_a_stream_counts_once_and_what_is_open_to_all_not_at_all(deps: Deps, client: httpx.Client) -> None:
    secret, _ = deps.accounts.create_key("app")
    streamed = client.get(f"/v1/jobs/{JOB}/progress", headers=key(secret))
    assert streamed.text.count("data:") == 50
    assert streamed.headers["x-ratelimit-remaining"] == "119"
    for path in ("/healthz", "/docs", "/openapi.json"):
        answer = client.get(path, headers=key(secret))
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
    assert client.get("/v1/twice", headers=key(secret)).json() is True
    assert client.get("/v1/me", headers=key(secret)).headers["x-ratelimit-remaining"] == "117"


@pytest.mark.parametrize("how", ["refused", "movie", "crash", "store"])
def test_refusals_carry_the_count_too(deps: Deps, client: httpx.Client, how: str) -> None:
    secret, _ = deps.accounts.create_key("app")
    answer = client.get(f"/v1/broken/{how}", headers=key(secret))
    assert answer.status_code >= 400
    assert answer.headers["x-ratelimit-remaining"] == "119"


def test_a_token_counts_for_the_key_it_was_minted_with(deps: Deps, client: httpx.Client) -> None:
    secret, made = deps.accounts.create_key("app")
    token, _ = mint(deps.token_secret, job_id=JOB, workspace="default", key_id=made.id, now_ms=deps.now_ms())
    client.get(f"/v1/jobs/{JOB}/progress", params={"token": token})
    assert client.get("/v1/me", headers=key(secret)).headers["x-ratelimit-remaining"] == "118"


def test_without_a_key_nothing_is_counted_unless_it_is_asked_for(deps: Deps, clock: Clock) -> None:
    with talking(deps) as client:
        answers = [client.get("/v1/me") for _ in range(130)]
        assert {answer.status_code for answer in answers} == {200}
        assert "ratelimit" not in answers[0].headers
    with talking(dataclasses.replace(deps, limiter=Limiter(keyless=3, clock=clock))) as client:
        assert [client.get("/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_plan_says_how_many(deps: Deps) -> None:
    plans = Plans({"small": Plan(requests_per_minute=2), "large": Plan(requests_per_minute=None)})
    with talking(dataclasses.replace(deps, plans=plans)) as client:
        for plan, seen in (("small", [200, 200, 429]), ("large", [200] * 3)):
            secret, _ = deps.accounts.create_key("app", plan)
            deps.accounts.ensure_workspace(plan, plan)
            assert [client.get("/v1/me", headers=key(secret)).status_code for _ in range(3)] == seen


# ---- refusals -----------------------------------------------------------------------------------------------------------------


def test_errors_of_the_project_have_the_status_of_their_code(open_door: httpx.Client) -> None:
    refused = open_door.get("/v1/broken/refused")
    assert (refused.status_code, refused.json()) == (409, {"error": "the job is done; start another", "code": "INVALID_STATE"})
    assert refused.headers["retry-after"] == "7"
    movie = open_door.get("/v1/broken/movie")
    assert (movie.status_code, movie.json()) == (400, {
        "error": "the movie has 2 problems; the first: add it", "code": "VALIDATION_ERROR",
        "problems": [
            {"pointer": "/scenes/0/src", "code": "FIELD_MISSING", "message": "add it"},
            {"pointer": "/fps", "code": "TYPE_WRONG", "message": "write a number"},
        ],
    })  # fmt: skip
    source = open_door.get("/v1/broken/source")
    assert (source.status_code, source.json()["error"]) == (400, "cat.png is not there; check the name")
    store = open_door.get("/v1/broken/store")
    assert told(store) == (503, "STORE_UNAVAILABLE")
    assert int(store.headers["retry-after"]) > 0
    assert "10.0.0.7" not in store.text


@pytest.mark.parametrize("how", ["crash", "unlisted"])
def test_what_nobody_foresaw_is_answered_with_an_id_and_told_in_the_log(open_door: httpx.Client, caplog: pytest.LogCaptureFixture, how: str) -> None:
    answer = open_door.get(f"/v1/broken/{how}")
    assert told(answer) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    number = answer.json()["requestId"]
    assert number in answer.json()["error"]
    assert answer.headers["x-request-id"] == number
    (record,) = [record for record in caplog.records if number in record.getMessage()]
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


def test_half_an_answer_is_broken_off_not_taken_for_a_whole_one(open_door: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        open_door.get("/v1/half")


PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "problem"),
    [
        ("application/problem+json", True), ("application/problem+json, application/json", True), ("application/json, */*", False),
        ("text/html, application/problem+json;q=0.5", True), ("application/problem+json;q=0", False), ("*/*", False), ("", False),
        ("application/json, application/problem+json;q=0.1", False), ("APPLICATION/PROBLEM+JSON", True), ("application/problem+json;q=x", False),
    ],
)  # fmt: skip
def test_problem_json_is_for_those_who_ask_for_it(open_door: httpx.Client, accept: str, problem: bool) -> None:
    for path in ("/v1/broken/movie", "/v1/broken/crash", "/v1/nothing"):
        answer = open_door.get(path, headers={"Accept": accept})
        assert answer.headers["content-type"] == (PROBLEM if problem else "application/json")
        assert answer.headers["vary"] == "Accept"


def test_problem_json_has_the_fields_of_rfc_9457(open_door: httpx.Client) -> None:
    answer = open_door.get("/v1/broken/movie", headers={"Accept": PROBLEM}).json()
    assert answer == {
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "the movie has 2 problems; the first: add it",
        "instance": "/v1/broken/movie", "code": "VALIDATION_ERROR",
        "errors": [
            {"pointer": "/scenes/0/src", "code": "FIELD_MISSING", "detail": "add it"},
            {"pointer": "/fps", "code": "TYPE_WRONG", "detail": "write a number"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({}, [("/name", "FIELD_MISSING")]),
        ({"name": 3}, [("/name", "TYPE_WRONG")]),
        ({"name": "a", "nmae": 1}, [("/nmae", "FIELD_UNKNOWN")]),
        ({"name": "a", "layers": {}}, [("/layers", "TYPE_WRONG")]),
        ({"name": "a", "a/b~c": 1}, [("/a~1b~0c", "FIELD_UNKNOWN")]),
        ({"name": "a", "layers": [{"text": "x"}, {"volume": 11}]}, [("/layers/1/text", "FIELD_MISSING"), ("/layers/1/volume", "VALUE_OUT_OF_RANGE")]),
        ([], [("", "TYPE_WRONG")]),
    ],
)
def test_each_fault_of_a_body_is_told_with_its_place(open_door: httpx.Client, body: Any, problems: list[tuple[str, str]]) -> None:
    answer = open_door.post("/v1/jobs", json=body)
    assert told(answer) == (400, "VALIDATION_ERROR")
    assert [(each["pointer"], each["code"]) for each in answer.json()["problems"]] == problems


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"{", "application/json", "DOCUMENT_INVALID"),
        (b'{"name": "a"}', "text/plain", "TYPE_WRONG"),
        (b'{"name": "\xff"}', "application/json", None),
    ],
)
def test_what_is_no_json_is_told(open_door: httpx.Client, content: bytes, kind: str, code: str | None) -> None:
    answer = open_door.post("/v1/jobs", content=content, headers={"Content-Type": kind})
    assert told(answer) == (400, "VALIDATION_ERROR")
    assert [each["code"] for each in answer.json().get("problems", [])] == ([code] if code else [])


def test_a_wrong_parameter_is_told_by_name(open_door: httpx.Client) -> None:
    answer = open_door.get("/v1/broken/refused", params={"limit": 101})
    assert told(answer) == (400, "VALIDATION_ERROR")
    (problem,) = answer.json()["problems"]
    assert (problem["pointer"], problem["code"]) == ("/query/limit", "VALUE_OUT_OF_RANGE")
    assert problem["message"].startswith("limit, in the query: ")


def test_routes_and_methods_that_are_not_there_look_alike(open_door: httpx.Client) -> None:
    assert told(open_door.get("/v1/nothing")) == (404, "NOT_FOUND")
    refused = open_door.put("/v1/jobs")
    assert told(refused) == (405, "METHOD_NOT_ALLOWED")
    assert refused.headers["allow"] == "POST"


# ---- usage --------------------------------------------------------------------------------------------------------------------


def test_usage_is_the_workspaces_own_and_says_when_it_starts_anew(deps: Deps, client: httpx.Client) -> None:
    deps.accounts.ensure_workspace("team", "pro")
    secret, _ = deps.accounts.create_key("app", "team")
    day = 86_400_000
    meter_once(deps.database, "job_a", 1, "team", "render.movie", 90.0, NOW)
    meter_once(deps.database, "job_b", 1, "team", "render.movie", 30.0, NOW - day)
    meter_once(deps.database, "job_c", 1, "team", "speech.narrate", 10.0, NOW)
    meter_once(deps.database, "job_d", 1, "other", "render.movie", 999.0, NOW)
    assert client.get("/v1/usage", headers=key(secret)).json() == {
        "workspace": "team", "plan": "pro", "minutesThisMonth": 2.0, "minutesToday": 1.5,
        "allowed": {"minutesPerMonth": 200.0, "minutesPerDay": None},
        "resets": {"month": "2025-12-01T00:00:00.000Z", "day": "2025-11-28T00:00:00.000Z"},
        "jobs": {"thisMonth": 3, "today": 2, "byType": {"render.movie": 2, "speech.narrate": 1}},
    }  # fmt: skip


def test_the_openapi_document_names_the_keys_and_the_refusals(open_door: httpx.Client) -> None:
    document = open_door.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"apiKey", "http"}
    me = document["paths"]["/v1/me"]["get"]
    assert set(me["responses"]) >= {"200", "401", "403", "429"}
    assert me["security"]
    assert set(document["components"]["schemas"]["Me"]["required"]) == {"userId", "plan", "email", "workspace", "keyId", "readOnly", "limits"}
