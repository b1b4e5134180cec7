"""Replicate's adapter against a scripted server: the whole life of a prediction, everything that can go wrong on the way, and its models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.provider import HastyCalls, Reply, Request, ScriptedProvider, client, hang, hang_up, provider_server, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.models import Model, check_params, load_registry
from viralsync_pipelines.generate.provider import Blame, Gone, KeyMissing, NotSent, Order, Output, Refused, Said, Ticket, Unsure
from viralsync_pipelines.generate.providers.replicate import Replicate
from viralsync_pipelines.generate.settle import settle
from viralsync_pipelines.generate.walk import outputs_in, plain_values, same_origin

KEY = "r8_secret"
NOW_MS = 1_800_000_000_000
CLIP = "https://replicate.delivery/xezq/out.mp4"
HOOK = "https://example.com/api/webhooks/job/rec1?t=abc"
POLL = "/v1/predictions/p1"


@pytest.fixture
def server() -> Iterator[ScriptedProvider]:
    with provider_server() as running:
        yield running


@pytest.fixture
def calls(server: ScriptedProvider) -> Calls:
    return Calls(client(), {"REPLICATE_API_TOKEN": KEY}, {"replicate": f"{server.url}/v1/"}, lambda: NOW_MS)


def hasty(calls: Calls, answer: Reply) -> Calls:
    """These calls; without patience for an answer that never comes to its end."""
    return HastyCalls(**vars(calls)) if answer.silent or answer.drip_s is not None else calls


def model(name: str = "bytedance/seedance-1-pro") -> Model:
    found = load_registry().get(name)
    assert found is not None
    return found


def order(name: str = "bytedance/seedance-1-pro", webhook: str | None = HOOK, **params: Any) -> Order:
    return Order("rec1", 1, model(name), params or {"prompt": "a sunset", "duration": 5}, webhook, "n1")


def prediction(status: str = "starting", **more: Any) -> dict[str, Any]:
    return {
        "id": "p1", "model": "bytedance/seedance-1-pro", "version": "hidden", "input": {"prompt": "a sunset", "duration": 5}, "logs": "",
        "output": None, "error": None, "status": status, "created_at": moment(NOW_MS), "data_removed": False, "started_at": None,
        "completed_at": None, "metrics": {}, "urls": {"get": "https://api.replicate.com/v1/predictions/p1", "web": "https://replicate.com/p/p1"}, **more,
    }  # fmt: skip


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


TICKET = Ticket("p1", model=model())


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_an_official_model_is_asked_for_by_name_with_the_webhook_of_this_job(server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", "/v1/models/bytedance/seedance-1-pro/predictions", reply(201, prediction()))
    taken = Replicate().submit(calls, order())
    assert (taken.ticket.provider_job_id, taken.seen.said, taken.seen.word) == ("p1", Said.QUEUED, "starting")
    assert taken.ticket.urls == {"web": "https://replicate.com/p/p1"}
    (asked,) = server.requests
    assert asked.json == {"input": {"prompt": "a sunset", "duration": 5}, "webhook": HOOK, "webhook_events_filter": ["start", "completed"]}
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "prefer" not in asked.headers


def test_other_models_are_asked_for_by_version_and_without_a_webhook_none_is_named(server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", "/v1/predictions", reply(201, prediction()))
    Replicate().submit(calls, order("meta/musicgen", webhook=None, prompt="drums"))
    assert server.requests[0].json == {"version": "meta/musicgen", "input": {"prompt": "drums"}}


def test_the_sandbox_is_the_same_adapter_without_a_key_of_its_own(server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", "*", reply(201, prediction()))
    server.on("GET", POLL, reply(200, prediction("succeeded", output=[f"{server.url}/v1/files/p1/a.mp4"])))
    sandbox = Replicate("sandbox", f"{server.url}/v1", key=None)
    taken = sandbox.submit(calls, order())
    assert server.requests[0].headers["authorization"] == "Bearer sandbox"
    (made,) = sandbox.poll(calls, taken.ticket).outputs
    assert made == Output("video", f"{server.url}/v1/files/p1/a.mp4", mime="video/mp4", authorised=True)


def test_without_a_key_nothing_is_sent(server: ScriptedProvider, calls: Calls) -> None:
    bare = Calls(calls.client, {}, calls.bases, calls.now_ms)
    with pytest.raises(KeyMissing, match="REPLICATE_API_TOKEN"):
        Replicate().submit(bare, order())
    assert server.requests == []


LOST = [hang_up(), hang(), reply(201, prediction(), cut=30), reply(201, prediction(), drip_s=0.05), reply(500, {"detail": "oops"}), reply(502, b"<html>"),
        reply(504), reply(201, b"<html>ok</html>"), reply(201, {"status": "starting"}), reply(201, {"id": "../x"}), reply(200, ["p1"])]  # fmt: skip


@pytest.mark.parametrize("answer", LOST)
def test_a_submit_whose_answer_is_lost_is_unsure_and_sent_once(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(Unsure) as caught:
        Replicate().submit(hasty(calls, answer), order())
    assert caught.value.code == "SUBMIT_UNCONFIRMED"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (reply(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."}), 30.0),
        (reply(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."}, Retry_After="7"), 7.0),
        (reply(429, {"detail": "slow down"}, ratelimit_reset="12"), 12.0),
        (reply(429, {"detail": "slow down"}, ratelimit_reset="1700000000"), None),
        (reply(429), None),
    ],
)
def test_429_says_that_nothing_was_taken_and_how_long_to_wait(server: ScriptedProvider, calls: Calls, answer: Reply, pause: float | None) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(NotSent) as caught:
        Replicate().submit(calls, order())
    assert (caught.value.retry_after_s, caught.value.code) == (pause, "PROVIDER_BUSY")


@pytest.mark.parametrize(
    ("answer", "blame"),
    [
        (reply(401, {"title": "Unauthenticated", "detail": "You did not pass a valid token"}), Blame.ACCOUNT),
        (reply(402, {"title": "Insufficient credit", "detail": "You have insufficient credit to run this model"}), Blame.ACCOUNT),
        (reply(403, {"detail": "no"}), Blame.ACCOUNT),
        (reply(422, {"detail": "- input.duration must be between 2 and 12"}), Blame.INPUT),
        (reply(422, {"detail": "The prompt was flagged as sensitive"}), Blame.POLICY),
        (reply(404, {"detail": "The requested resource could not be found."}), Blame.INPUT),
        (reply(301, None, Location="https://elsewhere.example/"), Blame.INPUT),
    ],
)
def test_a_refused_submit_says_who_is_to_see_to_it(server: ScriptedProvider, calls: Calls, answer: Reply, blame: Blame) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(Refused) as caught:
        Replicate().submit(calls, order())
    assert caught.value.blame is blame
    assert len(server.requests) == 1


def test_no_connection_means_not_sent(calls: Calls) -> None:
    with provider_server() as gone:
        pass
    away = Calls(calls.client, calls.keys, {"replicate": gone.url}, calls.now_ms)
    with pytest.raises(NotSent):
        Replicate().submit(away, order())


# ---- poll ------------------------------------------------------------------------------------------------------------


def test_a_life_is_followed_from_the_queue_to_what_was_made(server: ScriptedProvider, calls: Calls) -> None:
    log = "loading\n  4%|4    | 2/50\r 48%|####   | 24/50"
    server.on("GET", POLL, reply(200, prediction("starting")), reply(200, prediction("processing", logs=log)), reply(200, prediction("pondering")),
              reply(200, prediction("succeeded", output=CLIP, metrics={"predict_time": 12.5})))  # fmt: skip
    seen = [Replicate().poll(calls, TICKET) for _ in range(4)]
    assert [each.said for each in seen] == [Said.QUEUED, Said.RUNNING, Said.RUNNING, Said.DONE]
    assert [each.word for each in seen] == ["starting", "processing", "pondering", "succeeded"]
    assert seen[1].progress == 0.48
    assert seen[1].log == "loading\n 48%|####   | 24/50"
    assert seen[3].outputs == (Output("video", CLIP, mime="video/mp4", authorised=True),)
    assert seen[3].extra == {"predictSeconds": 12.5}
    assert {each.headers["authorization"] for each in server.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("body", "blame", "code"),
    [
        (prediction("failed", error="NSFW content detected. Try another prompt."), Blame.POLICY, "CONTENT_REFUSED"),
        (prediction("failed", error="The input or output was flagged as sensitive. (E005)"), Blame.POLICY, "CONTENT_REFUSED"),
        (prediction("failed", error="Content policy violation"), Blame.POLICY, "CONTENT_REFUSED"),
        (prediction("failed", error="Failed to download image from https://x.example/a.png"), Blame.SOURCE, "SOURCE_UNREADABLE"),
        (prediction("failed", error="safety_tolerance must be between 1 and 6"), Blame.INPUT, "INPUT_REFUSED"),
        (prediction("failed", error="CUDA out of memory"), Blame.PASSING, "PROVIDER_FAILED"),
        (prediction("failed", error={"message": "Prediction interrupted"}), Blame.PASSING, "PROVIDER_FAILED"),
        (prediction("failed"), Blame.PASSING, "PROVIDER_FAILED"),
        (prediction("aborted"), Blame.PASSING, "PROVIDER_FAILED"),
        (prediction("succeeded", output=None, data_removed=True), Blame.EXPIRED, "OUTPUT_EXPIRED"),
    ],
)
def test_a_failure_is_told_in_the_providers_words_and_by_what_helps(
    server: ScriptedProvider, calls: Calls, body: dict[str, Any], blame: Blame, code: str
) -> None:
    server.on("GET", POLL, reply(200, body))
    seen = Replicate().poll(calls, TICKET)
    assert seen.said is Said.FAILED
    assert seen.fault is not None
    assert (seen.fault.blame, seen.fault.code) == (blame, code)
    assert seen.fault.message
    if isinstance(body["error"], str):
        assert seen.fault.message == body["error"]
    outcome = settle("waiting", seen, submits=1)
    assert outcome is not None
    assert outcome.again is (blame is Blame.PASSING)


def test_a_cancelled_job_is_no_failure(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", POLL, reply(200, prediction("canceled")))
    assert Replicate().poll(calls, TICKET).said is Said.CANCELLED


@pytest.mark.parametrize("answer", [*LOST[:7], reply(200, b"<html>"), reply(200, {"id": "other", "status": "succeeded"}), reply(200, [])])
def test_a_poll_that_is_not_answered_says_nothing_of_the_job(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("GET", POLL, answer)
    with pytest.raises(NotSent):
        Replicate().poll(hasty(calls, answer), TICKET)


@pytest.mark.parametrize(("answer", "pause"), [(reply(429, {"detail": "slow down"}, Retry_After="9"), 9.0), (reply(429), None)])
def test_a_poll_that_finds_the_house_full_waits_as_it_is_told(server: ScriptedProvider, calls: Calls, answer: Reply, pause: float | None) -> None:
    server.on("GET", POLL, answer)
    with pytest.raises(NotSent) as caught:
        Replicate().poll(calls, TICKET)
    assert caught.value.retry_after_s == pause


def test_a_job_that_nobody_knows_is_gone(server: ScriptedProvider, calls: Calls) -> None:
    with pytest.raises(Gone):
        Replicate().poll(calls, TICKET)


def test_the_key_goes_only_with_files_of_the_provider(server: ScriptedProvider, calls: Calls) -> None:
    addresses = {
        "https://replicate.delivery/a.mp4": True, "https://pbxt.replicate.delivery/a.mp4": True, f"{server.url}/v1/files/a.mp4": True,
        "https://replicate.delivery.evil.example/a.mp4": False, "https://evilreplicate.delivery/a.mp4": False, "http://replicate.delivery/a.mp4": False,
        "https://storage.example/a.mp4": False, "https://replicate.delivery@evil.example/a.mp4": False,
    }  # fmt: skip
    server.on("GET", POLL, reply(200, prediction("succeeded", output=list(addresses))))
    seen = Replicate().poll(calls, TICKET)
    assert {each.url: each.authorised for each in seen.outputs} == addresses
    for url, ours in addresses.items():
        assert bool(Replicate().file_headers(calls, url)) is ours


# ---- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [reply(200, prediction("canceled")), reply(200, prediction("succeeded")), reply(404), reply(409), reply(422, {"detail": "x"})])
def test_cancel_returns_whether_or_not_the_job_is_over(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("POST", f"{POLL}/cancel", answer)
    Replicate().cancel(calls, TICKET)
    assert len(server.asked("POST", f"{POLL}/cancel")) == 1


@pytest.mark.parametrize(("answer", "error"), [(reply(503), NotSent), (hang_up(), NotSent), (reply(401), Refused)])
def test_a_cancel_that_did_not_arrive_is_told(server: ScriptedProvider, calls: Calls, answer: Reply, error: type[Exception]) -> None:
    server.on("POST", f"{POLL}/cancel", answer)
    with pytest.raises(error):
        Replicate().cancel(calls, TICKET)


# ---- find ------------------------------------------------------------------------------------------------------------

SINCE = NOW_MS - 60_000


def listed(server: ScriptedProvider, *pages: list[dict[str, Any]], onward: str | None = None) -> None:
    def page(request: Request) -> Reply:
        number = int(request.query.get("cursor", "0"))
        after = f"{onward or server.url}/v1/predictions?cursor={number + 1}" if number + 1 < len(pages) else None
        return reply(200, {"previous": None, "next": after, "results": pages[number]})

    server.on("GET", "/v1/predictions", page)


def other(number: int, **more: Any) -> dict[str, Any]:
    return prediction(**{"id": f"o{number}", "input": {"prompt": f"another {number}"}, **more})


def test_a_lost_job_is_found_by_its_input_on_whatever_page(server: ScriptedProvider, calls: Calls) -> None:
    listed(server, [other(1), other(2, model="minimax/video-01", input={"prompt": "a sunset", "duration": 5})], [other(3), prediction("processing")])
    taken = Replicate().find(calls, order(), SINCE)
    assert taken is not None
    assert (taken.ticket.provider_job_id, taken.seen.said) == ("p1", Said.RUNNING)
    first = server.requests[0]
    assert first.query == {"created_after": moment(SINCE - 30_000)}


def test_an_echoed_webhook_decides_between_equal_jobs(server: ScriptedProvider, calls: Calls) -> None:
    listed(server, [prediction(id="a", webhook="https://example.com/other"), prediction(id="b", webhook=HOOK)])
    taken = Replicate().find(calls, order(), SINCE)
    assert taken is not None
    assert taken.ticket.provider_job_id == "b"


def test_no_such_job_in_a_whole_listing_means_none(server: ScriptedProvider, calls: Calls) -> None:
    listed(server, [other(1), other(2)], [other(3)])
    assert Replicate().find(calls, order(), SINCE) is None
    listed(server, [])
    assert Replicate().find(calls, order(), SINCE) is None


def test_older_jobs_are_not_looked_through(server: ScriptedProvider, calls: Calls) -> None:
    old = [other(n, created_at=moment(SINCE - 3_600_000)) for n in range(3)]
    listed(server, [other(9)], old, [prediction()])
    assert Replicate().find(calls, order(), SINCE) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "results",
    [
        [prediction(id="a"), prediction(id="b")],
        [prediction(id="a", created_at=moment(SINCE - 10_000))],
        [prediction(id="a", input={}, data_removed=True)],
        [prediction(id="a"), prediction(id="b", created_at=moment(SINCE - 10_000))],
        [prediction(id="a", input={"prompt": "a sunset", "duration": 5, "resolution": "1080p"})],
        [{"no": "id"}],
        ["text"],
    ],
)
def test_what_only_may_be_the_job_is_no_answer(server: ScriptedProvider, calls: Calls, results: list[Any]) -> None:
    listed(server, results)
    with pytest.raises(Unsure):
        Replicate().find(calls, order(), SINCE)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(reply(500), NotSent), (reply(429), NotSent), (hang_up(), NotSent), (hang(), NotSent), (reply(200, b"<html>"), Unsure), (reply(200, {"next": None}), Unsure),
     (reply(401), Unsure), (reply(404), Unsure)],
)  # fmt: skip
def test_a_listing_that_fails_on_any_page_is_no_answer(server: ScriptedProvider, calls: Calls, answer: Reply, error: type[Exception]) -> None:
    """And one that may not fail the next time may be asked for again."""
    first = reply(200, {"next": f"{server.url}/v1/predictions?cursor=1", "results": [prediction()]})
    server.on("GET", "/v1/predictions", first, answer)
    with pytest.raises(error):
        Replicate().find(hasty(calls, answer), order(), SINCE)


SIGNED = {"prompt": "move", "image": "https://store.example/media/a.png?X-Signature=new"}


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        ({"prompt": "move", "image": "https://store.example/media/a.png?X-Signature=old"}, True),
        ({"prompt": "move", "image": "https://replicate.delivery/copy.png"}, None),
        ({"prompt": "move", "image": "https://store.example/media/b.png?X-Signature=old"}, None),
        ({"prompt": "stand", "image": "https://store.example/media/a.png?X-Signature=new"}, False),
        ({"prompt": "move"}, False),
    ],
)
def test_addresses_that_are_signed_anew_do_not_make_another_job(
    server: ScriptedProvider, calls: Calls, theirs: dict[str, Any], found: bool | None
) -> None:
    listed(server, [other(1), prediction(input=theirs)])
    if found is None:
        with pytest.raises(Unsure):
            Replicate().find(calls, order(**SIGNED), SINCE)
    else:
        assert (Replicate().find(calls, order(**SIGNED), SINCE) is not None) is found


def test_jobs_that_are_only_alike_do_not_hide_the_one_that_is_equal(server: ScriptedProvider, calls: Calls) -> None:
    listed(server, [prediction(id="b", input={**SIGNED, "image": "https://store.example/media/b.png"}), prediction(input=SIGNED)])
    taken = Replicate().find(calls, order(**SIGNED), SINCE)
    assert taken is not None
    assert taken.ticket.provider_job_id == "p1"


def test_a_next_page_at_another_host_is_not_asked_for(server: ScriptedProvider, calls: Calls) -> None:
    with provider_server() as elsewhere:
        listed(server, [other(1)], [prediction()], onward=elsewhere.url)
        with pytest.raises(Unsure, match="another host"):
            Replicate().find(calls, order(), SINCE)
        assert elsewhere.requests == []


def test_none_is_not_believed_a_moment_after_the_submit(server: ScriptedProvider, calls: Calls) -> None:
    listed(server, [other(1)])
    with pytest.raises(NotSent) as caught:
        Replicate().find(calls, order(), NOW_MS - 4_000)
    assert caught.value.retry_after_s == 6.0


# ---- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_says_what_a_poll_would_say() -> None:
    read = Replicate().read_webhook(TICKET, prediction("succeeded", output=[CLIP]))
    assert read is not None
    assert (read[0], read[1].said, read[1].outputs[0].url) == ("p1", Said.DONE, CLIP)
    early = Replicate().read_webhook(Ticket(""), prediction("processing"))
    assert early is not None
    assert (early[0], early[1].said) == ("p1", Said.RUNNING)
    empty = Replicate().read_webhook(TICKET, prediction("succeeded"))
    assert empty is not None
    assert empty[1].said is Said.RUNNING  # the next poll judges
    for nothing in (None, [], "x", {}, {"id": "p1"}, {"status": "succeeded"}, {"id": 1, "status": "succeeded"}, {"id": "p1", "status": 5}):
        assert Replicate().read_webhook(TICKET, nothing) is None


def test_whatever_a_provider_says_can_be_written_down() -> None:
    """PostgreSQL refuses NUL, and UTF-8 half a surrogate pair; JSON has no word for what is no number."""
    odd = "bad\0 \ud800"
    for body in (prediction("failed", error=odd, logs=odd), prediction("failed", error={"message": odd}), prediction("failed", error={"code": float("nan"), odd: odd}), prediction(odd)):
        read = Replicate().read_webhook(TICKET, body)
        assert read is not None
        seen = read[1]
        for text in (seen.word, seen.log, seen.fault.message if seen.fault else ""):
            assert "\0" not in text
            text.encode()
    assert plain_values({"seed": 7, "odd": odd, odd: 1, "nan": float("nan"), "flags": [False], "url": CLIP, "inner": {}}) == {"seed": 7, "flags": [False]}


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from([CLIP, "data:image/png;base64,eA==", "https://["]),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "message", "predict_time", "output", "web"]), inner, max_size=3), max_leaves=8)  # fmt: skip


@given(st.fixed_dictionaries({"id": st.just("p1"), "status": st.sampled_from(["succeeded", "failed", "processing", "aborted", "?"])},
                             optional=dict.fromkeys(("output", "error", "logs", "metrics", "data_removed", "urls", "created_at"), JSON)) | JSON)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_no_json_makes_reading_a_webhook_fail(body: Any) -> None:
    read = Replicate().read_webhook(TICKET, body)
    assert read is None or read[0] == "p1"


# ---- the walker ------------------------------------------------------------------------------------------------------


def test_outputs_are_found_in_every_shape_in_the_order_of_the_document() -> None:
    data = base64.b64encode(b"png").decode()
    value = {
        "text": "see https://x.example/a.png for more", "seed": 7, "license": "https://x.example/terms.html",
        "thumbnail": {"url": "https://x.example/t", "content_type": "image/png"},
        "video": {"url": "https://x.example/v.bin", "content_type": "application/octet-stream", "file_name": "v.mp4"},
        "more": [[f"data:image/png;base64,{data}", "https://x.example/s?x=.png"], {"audio_url": "https://x.example/a.mp3"}, "https://x.example/v.bin"],
        "broken": ["data:image/png;base64,%%%", "https://", "https://[", "ftp://x.example/a", "https://a b.example/"],
    }  # fmt: skip
    assert outputs_in(value, "video") == (
        Output("video", "https://x.example/v.bin", mime="video/mp4"),
        Output("video", "https://x.example/s?x=.png"),
        Output("image", "https://x.example/t", mime="image/png"),
        Output("image", data=b"png", mime="image/png"),
        Output("audio", "https://x.example/a.mp3", mime="audio/mpeg"),
    )


def test_an_answer_of_any_depth_is_walked() -> None:
    deep: Any = CLIP
    for _ in range(50_000):
        deep = [deep]
    assert [each.url for each in outputs_in(deep, "video")] == [CLIP]


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://a.example/x", True), ("https://a.example:443/", True), ("https://A.example/x", True), ("http://a.example/x", False),
        ("https://a.example:444/x", False), ("https://a.example.evil.example/", False), ("https://a.example@evil.example/", False),
        ("https://evil.example\\@a.example/", False), ("https://a.example\\.evil.example", False), ("//a.example/x", False), ("https://[", False), ("", False),
    ],
)  # fmt: skip
def test_an_origin_is_scheme_host_and_port(url: str, same: bool) -> None:
    assert same_origin(url, "https://a.example/v1") is same


# ---- models ----------------------------------------------------------------------------------------------------------


def test_every_model_of_the_catalogue_is_whole_and_knows_how_it_is_waited_for() -> None:
    from jsonschema import Draft202012Validator

    models = [each for each in load_registry() if each.provider == "replicate"]
    assert {"bytedance/seedance-1-pro", "minimax/video-01", "bytedance/seedream-4", "google/nano-banana", "google/nano-banana-pro"} <= {m.id for m in models}
    for each in models:
        Draft202012Validator.check_schema(each.params)
        assert each.params["additionalProperties"] is False
        assert each.default_strategy == ("webhook" if each.media == "video" else "polling")
        assert set(each.strategies) == {"webhook", "polling"}
        assert each.price is not None
        assert "estimate" in each.options["note"]


def test_the_contracts_parameters_are_taken_and_others_refused() -> None:
    whole = {"prompt": "x", "image": "https://x.example/a.png", "last_frame_image": "https://x.example/b.png", "duration": 5, "resolution": "720p",
             "aspect_ratio": "9:21", "seed": 1, "camera_fixed": True}  # fmt: skip
    assert check_params(model(), whole, "/params") == []
    assert len(model().params["properties"]["aspect_ratio"]["enum"]) == 7
    found = check_params(model(), {"duration": 99, "resolution": "4k", "colour": "red"}, "/params")
    assert [each.pointer for each in found] == ["/params", "/params", "/params/duration", "/params/resolution"]
    assert check_params(model("minimax/video-01"), {"prompt": "x", "prompt_optimizer": False}, "") == []
