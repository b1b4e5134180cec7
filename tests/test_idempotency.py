"""`Idempotency-Key`: of any number of requests with one key exactly one makes a job, whatever dies in between. On both databases."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.servers.app import served
from viralsync_pipelines.errors import RenderUnavailable
from viralsync_pipelines.gateway import faults
from viralsync_pipelines.gateway.auth import Principal, writer
from viralsync_pipelines.gateway.deps import Deps, put_together
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.gateway.idempotency import claimed, key_of
from viralsync_pipelines.storage.claims import (
    KEPT_MS,
    STALE_MS,
    Answered,
    Busy,
    Differs,
    Held,
    abandon,
    claim,
    forget_claims,
    release,
    renew,
    settle,
)
from viralsync_pipelines.storage.database import Database, open_database

T0 = 1_764_244_800_000


def held(outcome: object) -> Held:
    assert isinstance(outcome, Held), outcome
    return outcome


# ---- rows ---------------------------------------------------------------------------------------------------------------------


def test_of_many_at_once_exactly_one_goes_on(database: Database) -> None:
    """Twelve threads, each with a job id of its own, over twenty keys."""
    together = threading.Barrier(12)

    def ask(number: int) -> list[object]:
        got: list[object] = []
        for key in range(20):
            together.wait(60)
            got.append(claim(database, "s", f"k{key}", "same", f"job_{number}", T0))
        return got

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(ask, range(12)))
    for key in range(20):
        of_key = [each[key] for each in outcomes]
        assert sum(isinstance(each, Held) for each in of_key) == 1
        assert sum(isinstance(each, Busy) for each in of_key) == 11


def test_of_many_who_take_over_a_broken_claim_exactly_one_does_and_makes_the_same_job(database: Database) -> None:
    first = held(claim(database, "s", "k", "same", "job_first", T0))
    assert claim(database, "s", "k", "same", "job_late", T0 + STALE_MS - 1) == Busy()
    together = threading.Barrier(12)

    def ask(number: int) -> object:
        together.wait(60)
        return claim(database, "s", "k", "same", f"job_{number}", T0 + STALE_MS)

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(ask, range(12)))
    (taken,) = [each for each in outcomes if isinstance(each, Held)]
    assert (taken.job_id, taken.resumed) == ("job_first", True)
    # Whoever was thought dead is told before it does what must not happen twice, and its answer is not kept.
    assert renew(database, first, T0 + STALE_MS) is None
    assert not settle(database, first, 500, "late", "{}")
    assert not release(database, first)
    assert settle(database, taken, 202, "{}", "{}")
    assert claim(database, "s", "k", "same", "job_x", T0 + STALE_MS) == Answered(202, "{}", "{}")


def test_holding_on_puts_off_being_taken_over(database: Database) -> None:
    first = held(claim(database, "s", "k", "same", "job_a", T0))
    renewed = renew(database, first, T0 + STALE_MS - 1)
    assert renewed is not None
    assert claim(database, "s", "k", "same", "job_b", T0 + 2 * STALE_MS - 2) == Busy()
    assert settle(database, renewed, 202, "{}", "{}")


def test_a_key_given_free_is_as_if_never_used(database: Database) -> None:
    assert release(database, held(claim(database, "s", "k", "one", "job_a", T0)))
    assert held(claim(database, "s", "k", "other", "job_b", T0)) == Held("s", "k", "job_b", T0)


def test_what_may_have_happened_goes_on_at_once_under_the_same_id(database: Database) -> None:
    assert abandon(database, held(claim(database, "s", "k", "one", "job_a", T0)))
    assert claim(database, "s", "k", "other", "job_b", T0) == Differs()
    assert held(claim(database, "s", "k", "one", "job_b", T0)) == Held("s", "k", "job_a", T0, resumed=True)


def test_answers_are_kept_for_a_day_and_then_forgotten(database: Database) -> None:
    assert KEPT_MS >= 86_400_000
    settle(database, held(claim(database, "s", "old", "x", "job_a", T0)), 202, "{}", "{}")
    settle(database, held(claim(database, "s", "new", "x", "job_b", T0 + 1_000)), 202, "{}", "{}")
    now = T0 + KEPT_MS + 1
    assert forget_claims(database, now - KEPT_MS, dry_run=True) == 1
    assert isinstance(claim(database, "s", "old", "x", "job_c", now), Answered)
    assert forget_claims(database, now - KEPT_MS) == 1
    assert isinstance(claim(database, "s", "new", "x", "job_c", now), Answered)
    assert isinstance(claim(database, "s", "old", "x", "job_c", now), Held)


# ---- the header ---------------------------------------------------------------------------------------------------------------

printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), min_size=1, max_size=255)


@given(printable)
def test_a_key_is_the_same_quoted_or_bare(key: str) -> None:
    assert key_of([key]) == key
    escaped = key.replace("\\", "\\\\")
    assert key_of([f'"{escaped}"']) == key


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_quoted_key_may_hold_anything_printable(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert key_of([f'"{escaped}"']) == key


@given(st.text(max_size=300))
def test_any_header_is_a_key_or_is_refused(value: str) -> None:
    try:
        key = key_of([value])
    except Refused as refused:
        key = refused.code
    assert key is not None
    assert 1 <= len(key) <= 255


@pytest.mark.parametrize("values", [[""], ['""'], ['"open'], ["a b"], ["k" * 256], ["ä"], ["a", "a"], ['"a\\n"']])
def test_what_is_no_key_is_refused(values: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        key_of(values)
    assert caught.value.status == 400
    assert key_of([]) is None


# ---- over HTTP ----------------------------------------------------------------------------------------------------------------


class Order(BaseModel):
    projectId: str
    fail: str | None = None


class Studio:
    """A gateway with one route, and a list of what it had made. `during` runs in the route, just before the job is made."""

    def __init__(self, deps: Deps) -> None:
        self.now = T0
        self.deps = dataclasses.replace(deps, now_ms=lambda: self.now)
        self.made: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self.app = FastAPI()
        self.app.state.deps = self.deps
        faults.install(self.app)
        self.app.post("/v1/render/jobs")(self.submit)
        self.app.post("/v1/other/{name}")(self.submit)

    def submit(self, request: Request, order: Order, principal: Annotated[Principal, Depends(writer)]) -> Response:
        with claimed(request, principal, order.model_dump(mode="json")) as mine:
            if mine.replayed is not None:
                return mine.replayed
            if not (mine.resumed and mine.job_id in self.made):
                if order.fail == "refused":
                    raise Refused(402, "RENDER_QUOTA_EXCEEDED", "no minutes are left; wait")
                if order.fail == "away":
                    raise RenderUnavailable("Dagster is away")
                self.during()
                mine.hold()
                self.made.append(mine.job_id)
                if order.fail == "lost":
                    raise RenderUnavailable("the answer was lost", unsure=True)
                if order.fail == "broken":
                    raise ZeroDivisionError
            return mine.reply(202, {"jobId": mine.job_id, "status": "queued"}, {"Location": f"/v1/jobs/{mine.job_id}"})


@pytest.fixture
def studio(database: Database) -> Studio:
    nothing: Any = None
    return Studio(put_together(board=nothing, launcher=nothing, database=database, store=nothing, host="127.0.0.1", now_ms=lambda: T0))


@pytest.fixture
def client(studio: Studio) -> Iterator[httpx.Client]:
    with served(studio.app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as opened:
        yield opened


def send(client: httpx.Client, key: str | None = "k1", *, path: str = "/v1/render/jobs", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    more = {"Idempotency-Key": key} if key is not None else {}
    return client.post(path, json={"projectId": "p", **body}, headers={**more, **(headers or {})})


def test_a_request_sent_again_gets_the_same_answer_and_makes_nothing(studio: Studio, client: httpx.Client) -> None:
    first, again = send(client), send(client, '"k1"')
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"] == f"/v1/jobs/{first.json()['jobId']}"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert studio.made == [first.json()["jobId"]]


def test_the_order_of_fields_makes_no_other_request(studio: Studio, client: httpx.Client) -> None:
    for body in ('{"projectId": "p", "fail": null}', '{"fail":null,"projectId":"p"}', '{"projectId":"p"}'):
        kind = {"Content-Type": "application/json", "Idempotency-Key": "k1"}
        assert client.post("/v1/render/jobs", content=body, headers=kind).status_code == 202
    assert len(studio.made) == 1


def test_a_key_used_for_something_else_is_refused(studio: Studio, client: httpx.Client) -> None:
    send(client)
    other = send(client, projectId="q")
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(studio.made) == 1


def test_the_same_key_elsewhere_is_another_key(studio: Studio, client: httpx.Client) -> None:
    accounts = studio.deps.accounts
    one, other = (accounts.create_key("a", name)[0] for name in ("one", "other"))
    for headers in ({"x-api-key": one}, {"x-api-key": other}):
        for path in ("/v1/render/jobs", "/v1/other/a", "/v1/other/" + "b" * 2_000):
            answer = send(client, path=path, headers=headers)
            assert answer.status_code == 202
            assert "idempotent-replayed" not in answer.headers
    # Two keys of one workspace are one user's.
    second = accounts.create_key("b", "one")[0]
    assert send(client, headers={"x-api-key": second}).headers["idempotent-replayed"] == "true"
    assert len(set(studio.made)) == 6


def test_without_a_key_every_request_makes_a_job(studio: Studio, client: httpx.Client) -> None:
    assert [send(client, None).status_code for _ in range(3)] == [202] * 3
    assert len(set(studio.made)) == 3


def test_while_the_first_is_at_work_others_are_asked_to_wait(studio: Studio, client: httpx.Client) -> None:
    """Eight at once: one makes the job, the others get 409 with Retry-After, and its answer when they ask again."""
    at_work, go_on = threading.Event(), threading.Event()

    def during() -> None:
        at_work.set()
        assert go_on.wait(60)

    studio.during = during
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(send, client)
        assert at_work.wait(60)
        others = list(pool.map(lambda _: send(client), range(7)))
        go_on.set()
        made = first.result()
    for other in others:
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
        assert int(other.headers["retry-after"]) >= 1
    assert made.status_code == 202
    assert send(client).content == made.content
    assert studio.made == [made.json()["jobId"]]


def test_many_at_once_make_one_job(studio: Studio, client: httpx.Client) -> None:
    def until_answered(_: int) -> httpx.Response:
        while (answer := send(client)).status_code == 409:
            pass
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(until_answered, range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len(studio.made) == 1


@pytest.mark.parametrize("fail", ["refused", "away"])
def test_when_nothing_happened_the_key_is_free_again(studio: Studio, client: httpx.Client, fail: str) -> None:
    assert send(client, fail=fail).status_code in {402, 503}
    # As if never used: even for another request.
    assert send(client).status_code == 202
    assert len(studio.made) == 1


@pytest.mark.parametrize("fail", ["lost", "broken"])
def test_when_something_may_have_happened_the_next_request_finds_it(studio: Studio, client: httpx.Client, fail: str) -> None:
    assert send(client, fail=fail).status_code in {500, 503}
    again = send(client, fail=fail)
    assert again.status_code == 202
    assert [again.json()["jobId"]] == studio.made


def test_a_gateway_that_died_in_between_leaves_a_claim_that_another_takes_over(
    studio: Studio, client: httpx.Client, database_url: str | None, tmp_path: Path
) -> None:
    """It died with the job made and nothing answered; for a minute nobody touches the claim."""
    own = open_database(database_url, tmp_path / "home")
    dead = Studio(dataclasses.replace(studio.deps, database=own))
    request = Request({
        "type": "http", "app": dead.app, "method": "POST", "path": "/v1/render/jobs", "query_string": b"", "scheme": "http",
        "server": ("127.0.0.1", 80), "headers": [(b"idempotency-key", b"k1")],
    })  # fmt: skip
    principal = Principal("default", "loopback", False, studio.deps.plans.of("selfhosted"), loopback=True)
    # What `kill -9` leaves behind: the row, and no further word.
    entered = claimed(request, principal, Order(projectId="p").model_dump(mode="json"))
    studio.made.append(entered.__enter__().job_id)
    assert send(client).status_code == 409
    studio.now += STALE_MS
    again = send(client)
    assert (again.status_code, again.json()["jobId"]) == (202, studio.made[0])
    assert len(studio.made) == 1
    own.close()


def test_one_that_was_only_slow_makes_no_second_job(studio: Studio, client: httpx.Client) -> None:
    """It stood still for a minute before it asked Dagster; another took over meanwhile."""
    answers: list[httpx.Response] = []

    def stand_still() -> None:
        studio.during = lambda: None
        studio.now += STALE_MS
        answers.append(send(client))

    studio.during = stand_still
    late = send(client)
    assert (late.status_code, late.json()["code"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert answers[0].status_code == 202
    assert studio.made == [answers[0].json()["jobId"]]
    assert send(client).content == answers[0].content


def test_a_bad_key_is_refused_before_anything_is_made(studio: Studio, client: httpx.Client) -> None:
    assert send(client, "k" * 256).status_code == 400
    assert client.post("/v1/render/jobs", json={"projectId": "p"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")]).status_code == 400
    assert studio.made == []


def test_a_body_nested_without_end_is_refused_in_words(studio: Studio, client: httpx.Client) -> None:
    body = '{"projectId": "p", "fail": ' + "[" * 5_000 + "]" * 5_000 + "}"
    answer = client.post("/v1/render/jobs", content=body, headers={"Content-Type": "application/json", "Idempotency-Key": "deep"})
    assert answer.status_code == 400
    assert json.loads(answer.text)["code"] == "VALIDATION_ERROR"
