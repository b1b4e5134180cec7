"""fal's adapter against a scripted queue: which has no word for a failure, says COMPLETED of it, and keeps the reason elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.provider import HastyCalls, Reply, ScriptedProvider, client, hang, hang_up, provider_server, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.models import Model, check_params, load_registry
from viralsync_pipelines.generate.provider import Blame, Gone, KeyMissing, NotSent, Order, Output, Refused, Said, Ticket, Unsure
from viralsync_pipelines.generate.providers.fal import Fal
from viralsync_pipelines.generate.settle import settle

KEY = "fal_secret"
HOOK = "https://example.com/api/webhooks/job/rec1?t=a&b=c d"
ID = "123e4567-e89b-12d3-a456-426614174000"
APP = "/veed/fabric-1.0"
PLACE = f"{APP}/requests/{ID}"
CLIP = {"video": {"url": "https://v3.fal.media/files/x/out.mp4", "content_type": "video/mp4", "file_size": 12}, "seed": 7}


@pytest.fixture
def server() -> Iterator[ScriptedProvider]:
    with provider_server() as running:
        yield running


@pytest.fixture
def calls(server: ScriptedProvider) -> Calls:
    return Calls(client(), {"FAL_KEY": KEY}, {"fal": server.url}, lambda: 0)


def hasty(calls: Calls, answer: Reply) -> Calls:
    """These calls; without patience for an answer that never comes to its end."""
    return HastyCalls(**vars(calls)) if answer.silent or answer.drip_s is not None else calls


def model(name: str = "veed/fabric-1.0/fast") -> Model:
    found = load_registry().get(name)
    assert found is not None
    return found


TICKET = Ticket(ID, model=model())
ORDER = Order("rec1", 1, model(), {"image": "https://x.example/a.png", "audio": "https://x.example/a.mp3", "resolution": "480p"}, HOOK, "n1")


def queued(base: str, **more: Any) -> dict[str, Any]:
    return {"request_id": ID, "status": "IN_QUEUE", "queue_position": 3, "status_url": f"{base}/given/status", "response_url": f"{base}/given",
            "cancel_url": f"{base}/given/cancel", "gateway_request_id": "g", **more}  # fmt: skip


def detail(kind: str, message: str = "no", field: str = "prompt") -> dict[str, Any]:
    return {"detail": [{"loc": ["body", field], "msg": message, "type": kind, "input": {}}]}


def completed(server: ScriptedProvider, result: Reply, **status: Any) -> None:
    server.on("GET", f"{PLACE}/status", reply(200, {"status": "COMPLETED", **status}))
    server.on("GET", PLACE, result)


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_a_submit_sends_the_models_own_names_and_the_webhook_in_the_query(server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", "/veed/fabric-1.0/fast", reply(200, queued(server.url)))
    taken = Fal().submit(calls, ORDER)
    (asked,) = server.requests
    assert asked.json == {"image_url": "https://x.example/a.png", "audio_url": "https://x.example/a.mp3", "resolution": "480p"}
    assert asked.query == {"fal_webhook": HOOK}
    assert asked.headers["authorization"] == f"Key {KEY}"
    assert taken.ticket.provider_job_id == ID
    assert taken.ticket.urls == {"status": f"{server.url}/given/status", "response": f"{server.url}/given", "cancel": f"{server.url}/given/cancel"}
    assert (taken.seen.said, taken.seen.queue_position) == (Said.QUEUED, 3)


def test_the_addresses_that_fal_gave_are_the_ones_that_are_asked(server: ScriptedProvider, calls: Calls) -> None:
    server.on("POST", "*", reply(200, queued(server.url)))
    server.on("GET", "/given/status", reply(200, {"status": "COMPLETED"}))
    server.on("GET", "/given", reply(200, CLIP))
    server.on("PUT", "/given/cancel", reply(202, {"status": "CANCELLATION_REQUESTED"}))
    ticket = Fal().submit(calls, ORDER).ticket
    assert Fal().poll(calls, ticket).said is Said.DONE
    Fal().cancel(calls, ticket)
    assert [each.path for each in server.requests[1:]] == ["/given/status", "/given", "/given/cancel"]


@pytest.mark.parametrize("stored", [False, True])
def test_the_key_goes_to_no_other_host_whatever_addresses_an_answer_gives(server: ScriptedProvider, calls: Calls, stored: bool) -> None:
    with provider_server() as elsewhere:
        server.on("POST", "*", reply(200, queued(elsewhere.url)))
        completed(server, reply(200, CLIP))
        server.on("PUT", f"{PLACE}/cancel", reply(202))
        ticket = Fal().submit(calls, ORDER).ticket
        assert ticket.urls == {}
        if stored:
            ticket = Ticket(ID, {"status": f"{elsewhere.url}/s", "response": f"{elsewhere.url}/r", "cancel": f"{elsewhere.url}/c"}, model())
        assert Fal().poll(calls, ticket).said is Said.DONE
        Fal().cancel(calls, ticket)
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [("veed/fabric-1.0/fast", "veed/fabric-1.0"), ("fal-ai/flux/dev", "fal-ai/flux"), ("workflows/me/flow/x", "workflows/me/flow"), ("a/b", "a/b")],
)
def test_without_addresses_they_are_made_by_fals_rule(server: ScriptedProvider, calls: Calls, endpoint: str, place: str) -> None:
    from dataclasses import replace

    server.on("GET", f"/{place}/requests/{ID}/status", reply(202, {"status": "IN_QUEUE", "queue_position": 0}))
    seen = Fal().poll(calls, Ticket(ID, model=replace(model(), endpoint=endpoint)))
    assert (seen.said, seen.queue_position) == (Said.QUEUED, 0)
    assert server.requests[0].query == {"logs": "1"}


LOST = [hang_up(), hang(), reply(200, queued(""), cut=30), reply(200, queued(""), drip_s=0.05), reply(500, {"detail": "Internal", "error_type": "internal_error"}),
        reply(502, b"<html>nginx</html>"), reply(504), reply(200, b"<html>"), reply(200, {"status": "IN_QUEUE"}), reply(200, {"request_id": "../x"}), reply(200, [])]  # fmt: skip


@pytest.mark.parametrize("answer", LOST)
def test_a_submit_whose_answer_is_lost_is_unsure_and_sent_once(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(Unsure):
        Fal().submit(hasty(calls, answer), ORDER)
    assert len(server.requests) == 1


def test_fal_cannot_be_asked_for_a_lost_job(calls: Calls) -> None:
    with pytest.raises(Unsure):
        Fal().find(calls, ORDER, 0)


@pytest.mark.parametrize(
    ("answer", "blame", "code"),
    [
        (reply(403, {"detail": "User is locked. Reason: Exhausted balance."}), Blame.ACCOUNT, "PROVIDER_ACCOUNT"),
        (reply(401, {"detail": "Unauthorized"}), Blame.ACCOUNT, "PROVIDER_ACCOUNT"),
        (reply(422, detail("content_policy_violation")), Blame.POLICY, "CONTENT_REFUSED"),
        (reply(422, detail("file_download_error")), Blame.SOURCE, "SOURCE_UNREADABLE"),
        (reply(422, detail("missing", "Field required")), Blame.INPUT, "PROVIDER_REFUSED"),
        (reply(400, {"detail": "bad", "error_type": "bad_request"}), Blame.INPUT, "PROVIDER_REFUSED"),
        (reply(404, {"detail": "Application not found"}), Blame.INPUT, "PROVIDER_REFUSED"),
    ],
)
def test_a_refused_submit_says_who_is_to_see_to_it(server: ScriptedProvider, calls: Calls, answer: Reply, blame: Blame, code: str) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(Refused) as caught:
        Fal().submit(calls, ORDER)
    assert (caught.value.blame, caught.value.code) == (blame, code)


@pytest.mark.parametrize(("answer", "pause"), [(reply(429, {"detail": "wait"}, Retry_After="9"), 9.0), (reply(429), None)])
def test_429_says_that_nothing_was_taken(server: ScriptedProvider, calls: Calls, answer: Reply, pause: float | None) -> None:
    server.on("POST", "*", answer)
    with pytest.raises(NotSent) as caught:
        Fal().submit(calls, ORDER)
    assert caught.value.retry_after_s == pause


def test_without_a_key_nothing_is_sent(server: ScriptedProvider, calls: Calls) -> None:
    with pytest.raises(KeyMissing, match="FAL_KEY"):
        Fal().submit(Calls(calls.client, {}, calls.bases, calls.now_ms), ORDER)
    assert server.requests == []


# ---- poll ------------------------------------------------------------------------------------------------------------


def test_a_life_is_followed_from_the_queue_to_what_was_made(server: ScriptedProvider, calls: Calls) -> None:
    logs = [{"message": "loading", "level": "INFO"}, {"message": "step 3"}, "odd"]
    server.on("GET", f"{PLACE}/status", reply(202, {"status": "IN_QUEUE", "queue_position": 12_000}), reply(202, {"status": "IN_PROGRESS", "logs": logs}),
              reply(202, {"status": "WARMING_UP"}), reply(200, {"status": "COMPLETED", "metrics": {"inference_time": 3.5}, "logs": None}))  # fmt: skip
    server.on("GET", PLACE, reply(200, CLIP))
    seen = [Fal().poll(calls, TICKET) for _ in range(4)]
    assert [each.said for each in seen] == [Said.QUEUED, Said.RUNNING, Said.RUNNING, Said.DONE]
    assert (seen[0].queue_position, seen[1].log) == (12_000, "loading\nstep 3")
    assert seen[3].outputs == (Output("video", "https://v3.fal.media/files/x/out.mp4", mime="video/mp4"),)
    assert seen[3].extra == {"inference_time": 3.5, "seed": 7}
    assert len(server.asked("GET", PLACE)) == 1
    assert Fal().file_headers(calls, seen[3].outputs[0].url) == {}


FAILURES = [
    ({"error": "Runner gone", "error_type": "runner_disconnected"}, reply(500), Blame.PASSING),
    ({"error": "too slow to begin", "error_type": "startup_timeout"}, reply(500), Blame.PASSING),
    ({"error": "bad", "error_type": "bad_request"}, reply(500), Blame.INPUT),
    ({"error": "Invalid status code: 422"}, reply(422, detail("content_policy_violation")), Blame.POLICY),
    ({"error": "Invalid status code: 422"}, reply(503), Blame.INPUT),
    ({"error": "Invalid status code: 500"}, reply(200, CLIP), Blame.PASSING),
    ({}, reply(422, detail("content_policy_violation")), Blame.POLICY),
    ({}, reply(422, detail("no_media_generated")), Blame.INPUT),
    ({}, reply(422, detail("image_too_small")), Blame.INPUT),
    ({}, reply(422, detail("file_download_error")), Blame.SOURCE),
    ({}, reply(504, detail("generation_timeout")), Blame.PASSING),
    ({}, reply(500, detail("internal_server_error"), X_Fal_Retryable="true"), Blame.PASSING),
    ({}, reply(500, detail("internal_server_error"), X_Fal_Retryable="false"), Blame.INPUT),
    ({}, reply(500, detail("something_new"), X_Fal_Retryable="true"), Blame.PASSING),
    ({}, reply(502, detail("downstream_service_error")), Blame.PASSING),
    ({}, reply(503, {"detail": "x"}, X_Fal_Error_Type="runner_scheduling_failure"), Blame.PASSING),
    ({}, reply(504, {"detail": "x", "error_type": "startup_timeout"}, X_Fal_Request_Timeout_Type="user"), Blame.INPUT),
    ({}, reply(400, {"detail": "The prompt violates our content policy"}), Blame.POLICY),
    ({}, reply(404, {"detail": "Request not found"}), Blame.EXPIRED),
    ({}, reply(410), Blame.EXPIRED),
]


@pytest.mark.parametrize(("status", "result", "blame"), FAILURES)
def test_what_is_completed_with_an_error_has_failed(
    server: ScriptedProvider, calls: Calls, status: dict[str, Any], result: Reply, blame: Blame
) -> None:
    completed(server, result, **status)
    seen = Fal().poll(calls, TICKET)
    assert seen.said is Said.FAILED
    assert seen.fault is not None
    assert seen.fault.blame is blame
    assert seen.fault.message
    outcome = settle("waiting", seen, submits=1)
    assert outcome is not None
    assert outcome.again is (blame is Blame.PASSING)


def test_a_models_sentence_is_told_with_the_field_it_is_about(server: ScriptedProvider, calls: Calls) -> None:
    completed(server, reply(422, detail("image_too_small", "Image is smaller than 256 pixels", "image_url")))
    fault = Fal().poll(calls, TICKET).fault
    assert fault is not None
    assert fault.message == "image_url: Image is smaller than 256 pixels"


@pytest.mark.parametrize("result", [reply(500), reply(503, b"<html>"), reply(408), reply(429, None, Retry_After="4"), hang_up(), hang(), reply(200, CLIP, cut=10),
                                    reply(200, CLIP, drip_s=0.05), reply(200, b"<html>"), reply(500, {"detail": "x", "error_type": "internal_error"})])  # fmt: skip
def test_a_result_that_cannot_be_read_yet_is_asked_for_again(server: ScriptedProvider, calls: Calls, result: Reply) -> None:
    completed(server, result)
    with pytest.raises(NotSent):
        Fal().poll(hasty(calls, result), TICKET)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_key_that_is_no_longer_taken_is_not_the_jobs_failure(server: ScriptedProvider, calls: Calls, status: int) -> None:
    completed(server, reply(status, {"detail": "User is locked"}))
    with pytest.raises(Refused) as caught:
        Fal().poll(calls, TICKET)
    assert caught.value.blame is Blame.ACCOUNT


@pytest.mark.parametrize("result", [reply(499, {"detail": "x", "error_type": "client_cancelled"}), reply(499)])
def test_a_cancelled_request_is_no_failure(server: ScriptedProvider, calls: Calls, result: Reply) -> None:
    completed(server, result)
    assert Fal().poll(calls, TICKET).said is Said.CANCELLED
    completed(server, reply(200, {}), error="cancelled", error_type="client_cancelled")
    assert Fal().poll(calls, TICKET).said is Said.CANCELLED


@pytest.mark.parametrize("answer", [*LOST[:8], reply(200, []), reply(200, {"status": 5}), reply(429)])
def test_a_poll_that_is_not_answered_says_nothing_of_the_job(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("GET", f"{PLACE}/status", answer)
    with pytest.raises(NotSent):
        Fal().poll(hasty(calls, answer), TICKET)


def test_a_poll_that_finds_the_house_full_waits_as_it_is_told(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", f"{PLACE}/status", reply(429, {"detail": "wait"}, Retry_After="9"))
    with pytest.raises(NotSent) as caught:
        Fal().poll(calls, TICKET)
    assert caught.value.retry_after_s == 9.0


def test_a_request_that_nobody_knows_is_gone(server: ScriptedProvider, calls: Calls) -> None:
    with pytest.raises(Gone):
        Fal().poll(calls, TICKET)


# ---- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [reply(202, {"status": "CANCELLATION_REQUESTED"}), reply(200, {"status": "OK"}), reply(400, {"status": "ALREADY_COMPLETED"}),
                                    reply(404, {"status": "NOT_FOUND"})])  # fmt: skip
def test_cancel_returns_whether_or_not_the_job_is_over(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("PUT", f"{PLACE}/cancel", answer)
    Fal().cancel(calls, TICKET)
    assert len(server.asked("PUT")) == 1


@pytest.mark.parametrize(("answer", "error"), [(reply(503), NotSent), (hang_up(), NotSent), (reply(401), Refused)])
def test_a_cancel_that_did_not_arrive_is_told(server: ScriptedProvider, calls: Calls, answer: Reply, error: type[Exception]) -> None:
    server.on("PUT", f"{PLACE}/cancel", answer)
    with pytest.raises(error):
        Fal().cancel(calls, TICKET)


# ---- webhooks --------------------------------------------------------------------------------------------------------


def read(**body: Any) -> Any:
    found = Fal().read_webhook(TICKET, {"request_id": ID, "gateway_request_id": "another", **body})
    assert found is not None
    assert found[0] == ID
    return found[1]


def test_a_webhook_says_what_was_made_or_why_not() -> None:
    done = read(status="OK", payload=CLIP)
    assert (done.said, done.outputs[0].url) == (Said.DONE, CLIP["video"]["url"])  # type: ignore[index]
    refused = read(status="ERROR", error="Invalid status code: 422", payload=detail("content_policy_violation", "Flagged"))
    assert (refused.said, refused.fault.blame, refused.fault.message) == (Said.FAILED, Blame.POLICY, "prompt: Flagged")
    assert read(status="ERROR", error="Invalid status code: 422", payload={"detail": "odd"}).fault.blame is Blame.INPUT
    assert read(status="ERROR", error="Invalid status code: 503", payload=None).fault.blame is Blame.PASSING
    assert read(status="ERROR").fault.message
    assert read(status="ERROR", payload={"detail": "x", "error_type": "client_cancelled"}).said is Said.CANCELLED


@pytest.mark.parametrize("body", [{"payload": None, "payload_error": "Response is too large"}, {"payload": None}, {}, {"payload": CLIP, "payload_error": "odd"}, {"payload": {"seed": 1}}])
def test_a_webhook_without_its_payload_leaves_the_result_to_the_next_poll(body: dict[str, Any]) -> None:
    seen = read(status="OK", **body)
    assert seen.said is Said.RUNNING
    assert settle("waiting", seen, submits=1) is None


def test_what_is_no_webhook_of_fals_is_nothing() -> None:
    for nothing in (None, [], "x", {}, {"request_id": ID}, {"status": "OK"}, {"request_id": 5, "status": "OK"}, {"request_id": ID, "status": "IN_QUEUE"}):
        assert Fal().read_webhook(TICKET, nothing) is None


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["https://x.example/a.mp4", "https://["]),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "msg", "type", "loc", "detail"]), inner, max_size=3), max_leaves=8)  # fmt: skip


@given(st.fixed_dictionaries({"request_id": st.just(ID), "status": st.sampled_from(["OK", "ERROR", "?"])},
                             optional=dict.fromkeys(("payload", "error", "payload_error", "gateway_request_id"), JSON)) | JSON)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_no_json_makes_reading_a_webhook_fail(body: Any) -> None:
    found = Fal().read_webhook(Ticket(""), body)
    assert found is None or found[0] == ID


def test_an_error_as_deep_as_json_goes_is_read() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = {"detail": [deep]}
    assert read(status="ERROR", payload=deep).said is Said.FAILED


# ---- models ----------------------------------------------------------------------------------------------------------


def test_every_model_of_the_catalogue_is_whole_and_polled_unless_asked_otherwise() -> None:
    from jsonschema import Draft202012Validator

    models = [each for each in load_registry() if each.provider == "fal"]
    assert {"veed/fabric-1.0", "veed/fabric-1.0/fast"} <= {each.id for each in models}
    for each in models:
        Draft202012Validator.check_schema(each.params)
        assert each.params["additionalProperties"] is False
        assert (each.default_strategy, set(each.strategies)) == ("polling", {"webhook", "polling"})
        assert set(each.options.get("names", {})) <= set(each.params["properties"])
        assert each.price is not None
    assert check_params(model(), dict(ORDER.params), "") == []
    assert [each.code for each in check_params(model(), {"image": "https://x.example/a.png"}, "")] == ["PARAM_INVALID"]
