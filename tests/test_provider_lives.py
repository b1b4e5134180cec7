"""Every provider's whole life against a scripted one, well and badly: what is sent once, what is told apart, where the key goes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lives import ALL, AT_ONCE, BASES, KEYS, NOW_MS, SECRET, SOUND, WAITING, Life, Stage, calls_to, ok, stage
from tests.servers.provider import HastyCalls, ScriptedProvider, client, hang, hang_up, provider_server, reply
from tests.servers.receiver import unused_port
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.models import check_params, load_registry
from viralsync_pipelines.generate.provider import Blame, CallFailed, Gone, KeyMissing, NotSent, Refused, Said, Seen, Unsure
from viralsync_pipelines.generate.providers import google, heygen, luma, runway, veo

named = {"ids": lambda life: life.name.replace(" ", "-")}
waiting = pytest.mark.parametrize("life", WAITING, **named)
every = pytest.mark.parametrize("life", ALL, **named)


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def server(played: Stage) -> ScriptedProvider:
    return played.server


@pytest.fixture
def calls(played: Stage) -> Calls:
    return played.calls


def ask(life: Life, calls: Calls) -> Seen:
    return life.provider.poll(calls, life.ticket)


def give(life: Life, calls: Calls) -> Any:
    return life.provider.submit(calls, life.order())


# ---- well ------------------------------------------------------------------------------------------------------------


@waiting
def test_a_job_is_given_once_and_seen_queued_running_and_done(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, ok(life.taken))
    server.on(*life.poll, *[ok(body) for body, _ in life.waits], ok(life.done))
    taken = give(life, calls)
    assert taken.ticket.provider_job_id == life.job
    assert not taken.seen.said.over
    assert len(server.asked("POST", life.submit)) == 1
    for _, said in life.waits:
        assert life.provider.poll(calls, taken.ticket).said is said
    done = life.provider.poll(calls, taken.ticket)
    assert done.said is Said.DONE
    assert [each.media for each in done.outputs] == ["video"]
    assert done.outputs[0].url.endswith("/out.mp4")
    assert not done.outputs[0].authorised, "files.example is not the API's own host"
    assert {request.headers[life.key[0]] for request in server.requests} == {life.key[1]}


@pytest.mark.parametrize("life", AT_ONCE, **named)
def test_who_answers_at_once_has_the_bytes_in_the_submit(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, ok(life.taken))
    taken = give(life, calls)
    assert taken.seen.said is Said.DONE
    assert [each.data for each in taken.seen.outputs] == [SOUND]
    assert taken.seen.outputs[0].mime in {"audio/mpeg", "image/png"}
    assert taken.ticket.provider_job_id == life.job
    assert len(server.requests) == 1
    assert server.requests[0].headers[life.key[0]] == life.key[1]
    with pytest.raises(Gone):
        ask(life, calls)
    assert life.whole.strategies == ("none",)


@waiting
def test_failures_are_told_apart_by_what_helps(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on(*life.poll, ok(life.failed), ok(life.refused))
    failed, refused = ask(life, calls), ask(life, calls)
    assert failed.said is refused.said is Said.FAILED
    assert failed.fault is not None
    assert failed.fault.blame is Blame.PASSING
    assert refused.fault is not None
    assert (refused.fault.blame, refused.fault.code) == (Blame.POLICY, "CONTENT_REFUSED")
    assert refused.fault.message


@waiting
def test_a_word_that_nobody_knows_is_running(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on(*life.poll, ok(life.odd))
    assert ask(life, calls).said is Said.RUNNING


def test_every_model_of_the_catalogues_is_spoken_to_here() -> None:
    mine = {model.id: model for model in load_registry() if model.provider in BASES}
    assert {life.model for life in ALL} | {"luma/uni-1", "heygen/photo"} == set(mine)
    assert all(model.params["additionalProperties"] is False for model in mine.values())
    assert all(not check_params(life.whole, life.params, "/params") for life in ALL)


# ---- badly -----------------------------------------------------------------------------------------------------------

LOST = {
    "500": reply(500, {"error": {"message": "oops"}}), "502": reply(502, b"<html>bad gateway"), "503": reply(503), "504": reply(504),
    "408": reply(408), "cut": reply(200, {"id": "x", "name": "x", "data": {"video_id": "x"}}, cut=9), "no word": hang_up(),
}  # fmt: skip
SLOW = reply(200, {"id": "a-very-long-id" * 20}, drip_s=0.02)


@every
def test_a_lost_answer_to_a_submit_leaves_it_open(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, *LOST.values())
    for number, how in enumerate(LOST, 1):
        with pytest.raises(Unsure) as caught:
            give(life, calls)
        assert caught.value.code == "SUBMIT_UNCONFIRMED", how
        assert len(server.requests) == number, "and it is not sent again"


@waiting
def test_a_lost_answer_to_a_poll_tells_nothing(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on(*life.poll, *LOST.values())
    for number, _ in enumerate(LOST, 1):
        with pytest.raises(NotSent):
            ask(life, calls)
        assert len(server.requests) == number


@every
def test_an_answer_that_is_too_slow_leaves_a_submit_open(life: Life, server: ScriptedProvider) -> None:
    server.on("POST", life.submit, SLOW, hang())
    for _ in range(2):
        with pytest.raises(Unsure):
            give(life, calls_to(server.url, HastyCalls))


def test_a_slow_answer_to_a_poll_tells_nothing(server: ScriptedProvider) -> None:
    life = WAITING[3]
    server.on(*life.poll, SLOW)
    with pytest.raises(NotSent):
        ask(life, calls_to(server.url, HastyCalls))


NONSENSE = [reply(200, body, Content_Type="text/html") for body in (b"", b"<html>welcome</html>", b"[]", b"null", b"\xff\xfe")]


@every
def test_a_good_answer_without_sense_leaves_a_submit_open(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    """It may have been taken, and paid for."""
    server.on("POST", life.submit, reply(200, {"unknown": 1}), *NONSENSE)
    for _ in range(1 + len(NONSENSE)):
        with pytest.raises(Unsure):
            give(life, calls)


@waiting
def test_a_good_answer_without_sense_to_a_poll_tells_nothing(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on(*life.poll, *NONSENSE)
    for _ in NONSENSE:
        with pytest.raises(NotSent):
            ask(life, calls)


@every
def test_a_submit_that_finds_the_house_full_was_not_sent(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, reply(429, {"error": {"message": "slow down"}}, Retry_After="7"), reply(429))
    with pytest.raises(NotSent) as told:
        give(life, calls)
    assert (told.value.retry_after_s, told.value.code) == (7.0, "PROVIDER_BUSY")
    with pytest.raises(NotSent) as untold:
        give(life, calls)
    assert untold.value.retry_after_s in {None, runway.BUSY_S}


@waiting
def test_a_poll_that_finds_the_house_full_waits_as_it_is_told(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on(*life.poll, reply(429, {"error": "slow down"}, Retry_After="30"), reply(429))
    with pytest.raises(NotSent) as told:
        ask(life, calls)
    assert told.value.retry_after_s == 30.0
    with pytest.raises(NotSent):
        ask(life, calls)


@every
def test_a_key_that_is_refused_is_the_accounts_fault(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, reply(401, {"error": {"message": "who are you"}}))
    with pytest.raises(Refused) as caught:
        give(life, calls)
    assert caught.value.blame is Blame.ACCOUNT
    assert SECRET not in caught.value.message


@every
def test_input_that_is_refused_is_the_inputs_fault(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", life.submit, reply(400, {"error": {"message": "duration must be one of 5, 10"}}))
    with pytest.raises(Refused) as caught:
        give(life, calls)
    assert caught.value.blame is Blame.INPUT
    assert "duration must be one of" in caught.value.message


@waiting
def test_a_job_that_is_unknown_there_is_gone(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    with pytest.raises(Gone):
        ask(life, calls)


@every
def test_nobody_there_is_certain_not_to_have_taken_it(life: Life) -> None:
    with pytest.raises(NotSent):
        give(life, calls_to(f"http://127.0.0.1:{unused_port()}"))


@every
def test_without_a_key_nothing_is_sent_and_the_setting_is_named(life: Life, server: ScriptedProvider) -> None:
    bases = {name: server.url + path for name, path in BASES.items() if name != "openai"}
    with pytest.raises(KeyMissing, match=r"set [A-Z_]+"):
        give(life, Calls(client(), {}, bases, lambda: NOW_MS))
    assert not server.requests


@every
def test_what_cannot_be_written_is_refused_before_anything_is_sent(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    words = "prompt" if "prompt" in life.params else "text"
    with pytest.raises(Refused) as caught:
        life.provider.submit(calls, life.order(params={**life.params, words: "half a pair: \ud83d"}))
    assert caught.value.blame is Blame.INPUT
    for key in (f"{SECRET}\nX: y", "ключ"):
        with pytest.raises(KeyMissing) as refused:
            give(life, Calls(client(), dict.fromkeys(KEYS, key), calls.bases, lambda: NOW_MS))
        assert key not in refused.value.message
    assert not server.requests


def test_a_key_with_a_line_end_behind_it_is_that_key(played: Stage) -> None:
    life = WAITING[3]
    played.server.on("POST", life.submit, ok(life.taken))
    give(life, Calls(client(), dict.fromkeys(KEYS, f"{SECRET}\n"), played.calls.bases, lambda: NOW_MS))
    assert played.server.requests[0].headers[life.key[0]] == life.key[1]


# ---- where the key goes ----------------------------------------------------------------------------------------------


@every
def test_no_redirect_takes_the_key_elsewhere(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    with provider_server() as other:
        away = [reply(status, Location=f"{other.url}/stolen") for status in (301, 302, 307, 308)]
        server.on("POST", life.submit, *away)
        server.on(*life.poll, *away)
        for _ in away:
            with pytest.raises(CallFailed):
                give(life, calls)
            with pytest.raises(CallFailed):
                ask(life, calls)
        assert not other.requests


@every
def test_no_file_elsewhere_gets_the_key(life: Life, calls: Calls) -> None:
    assert life.provider.file_headers(calls, "https://files.example/out.mp4") == {}


# ---- stopping, finding ----------------------------------------------------------------------------------------------

STOPS = {"gemini": ("POST", "/v1beta/interactions/int_1/cancel"), "runway": ("DELETE", "/v1/tasks/t1")}


@every
def test_a_job_is_stopped_where_that_can_be_done_and_otherwise_nothing_is_sent(
    life: Life, server: ScriptedProvider, calls: Calls
) -> None:  # fmt: skip
    stop = STOPS.get(life.name)
    if stop is not None:
        server.on(*stop, reply(204))
    life.provider.cancel(calls, life.ticket)
    assert [(each.method, each.path) for each in server.requests] == ([stop] if stop is not None else [])


@pytest.mark.parametrize("life", [life for life in WAITING if life.name in STOPS], **named)
def test_stopping_what_is_over_is_no_error_and_stopping_at_a_provider_that_is_down_is_one(
    life: Life, server: ScriptedProvider, calls: Calls
) -> None:  # fmt: skip
    server.on(*STOPS[life.name], reply(404), reply(503), reply(401))
    life.provider.cancel(calls, life.ticket)
    for error in (NotSent, Refused):
        with pytest.raises(error):
            life.provider.cancel(calls, life.ticket)


@pytest.mark.parametrize("life", [life for life in ALL if life.name != "heygen"], **named)
def test_who_cannot_be_asked_says_so_and_is_sent_nothing(life: Life, server: ScriptedProvider, calls: Calls) -> None:
    with pytest.raises(Unsure):
        life.provider.find(calls, life.order(), NOW_MS)
    assert not server.requests


# ---- whatever comes ------------------------------------------------------------------------------------------------

WEBHOOKS = [
    {"type": "interaction.completed", "version": "v1", "data": {"id": "int_1"}},
    {"type": "video.generated", "data": {"id": "int_1", "output_file_uri": "files/1", "file_name": "x"}},
    {"event_type": "avatar_video.success", "event_data": {"video_id": "vid_1", "url": "https://files.example/v.mp4", "callback_id": "j"}},
    {"event_type": "avatar_video.fail", "event_data": {"video_id": "vid_1", "msg": "no"}},
]
STATUSES = [
    body for each in WAITING for body in (each.done, each.failed, each.refused, each.odd, each.taken, *(waits for waits, _ in each.waits))
]  # fmt: skip
_WORDS = ["completed", "failed", "video", "https://[bad", "gs://b", "data:video/mp4;base64,AAAA", "A", "\0", "\ud800", "x" * 5_000]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=4,
)  # fmt: skip


def places(body: Any) -> list[tuple[Any, Any]]:
    """Every place of a document that can be written to: its container and key."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [place for key, value in inside for place in [(body, key), *places(value)]]


@st.composite
def mutated(draw: st.DrawFn, bodies: list[Any]) -> Any:
    """One of these, with up to three of its values replaced by anything."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(body)))
        container[key] = draw(anything)
    return body


def writable(seen: Seen) -> bool:
    """Whether every database takes it: as UTF-8, without NUL, and the word in 64 characters."""
    words = [seen.word, seen.log, *(each.url for each in seen.outputs), *(each.mime for each in seen.outputs)]
    words += [seen.fault.message, seen.fault.code] if seen.fault is not None else []
    json.dumps(dict(seen.extra), allow_nan=False)
    return len(seen.word) <= 64 and all("\0" not in each and each.encode() is not None for each in words)


@settings(max_examples=100, deadline=None)
@given(body=anything | mutated(WEBHOOKS))
def test_no_webhook_is_an_error(body: Any) -> None:
    for life in ALL:
        read = life.provider.read_webhook(life.ticket, body)
        assert read is None or (read[0] and writable(read[1]))


READERS: tuple[Callable[[Any], Seen], ...] = (
    google.seen_of, runway.seen_of, luma.seen_of, heygen.seen_of, lambda body: heygen.seen_of({"data": body}),
    lambda body: veo.seen_of(body, google.fault_of_code, lambda url: False),
    lambda body: veo.seen_of({"done": True, "response": body}, google.fault_of_code, lambda url: False),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(body=anything | mutated(STATUSES))
def test_no_status_is_an_error(body: Any) -> None:
    for read in READERS:
        seen = read(body)
        assert writable(seen)
        assert not seen.outputs or seen.said is Said.DONE
        assert (seen.fault is not None) == (seen.said is Said.FAILED) or seen.said is Said.CANCELLED
