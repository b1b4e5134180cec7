"""What is odd about Google's three APIs for videos."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lives import B64, CLIP, NOW_MS, SECRET, SOUND, VERTEX_JOB, Stage, filtered, life, ok, stage, veo_done
from tests.servers.provider import client, provider_server, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.provider import Blame, KeyMissing, NotSent, Refused, Said
from viralsync_pipelines.generate.settle import settle


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


GEMINI, VEO, VERTEX = life("gemini"), life("veo"), life("vertex")
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def interaction(*blocks: Any, **more: Any) -> Any:
    return {"id": "int_1", "status": "completed", "steps": [{"type": "model_output", "content": list(blocks)}], **more}


# ---- interactions ----------------------------------------------------------------------------------------------------


def test_an_interaction_is_asked_for_in_the_background_with_its_shape_and_webhook(played: Stage) -> None:
    params = {"prompt": "a lighthouse", "duration": 8, "aspect_ratio": "9:16", "resolution": "720p"}
    played.give(GEMINI, ok(GEMINI.taken), params=params, webhook_url="https://us.example/hook?t=1")
    assert played.server.requests[0].json == {
        "model": "gemini-omni-1.1-flash", "input": "a lighthouse", "background": True,
        "response_format": {"type": "video", "delivery": "uri", "duration": "8s", "aspect_ratio": "9:16", "resolution": "720p"},
        "webhook_config": {"uris": ["https://us.example/hook?t=1"], "user_metadata": {"record": "job_1", "submit": "1"}},
    }  # fmt: skip


def test_pictures_and_clips_go_along_as_content(played: Stage) -> None:
    sent = played.sent(GEMINI, image=PIXEL, images=["https://files.example/a.png"], video="https://files.example/a.mp4")
    assert sent["input"] == [
        {"type": "text", "text": "a lighthouse"}, {"type": "image", "mime_type": "image/png", "data": "iVBORw0KGgo="},
        {"type": "image", "uri": "https://files.example/a.png"}, {"type": "video", "uri": "https://files.example/a.mp4"},
    ]  # fmt: skip
    assert "webhook_config" not in sent


def test_what_the_user_sent_is_no_output_and_each_output_counts_once(played: Stage) -> None:
    video = {"type": "video", "uri": CLIP, "mime_type": "video/mp4"}
    body = interaction({"type": "text", "text": "here"}, video, {"type": "image", "uri": "https://files.example/cover.png"}, output_video=video)
    body["steps"].insert(0, {"type": "user_input", "content": [{"type": "video", "uri": "https://files.example/mine.mp4"}]})
    assert [each.url for each in played.see(GEMINI, body).outputs] == [CLIP]


def test_a_video_may_lie_in_the_answer(played: Stage) -> None:
    (output,) = played.see(GEMINI, interaction({"type": "video", "data": B64, "mime_type": "video/mp4"})).outputs
    assert (output.data, output.url, output.mime) == (SOUND, "", "video/mp4")


def test_only_addresses_of_the_api_itself_take_the_key(played: Stage) -> None:
    own = f"{played.server.url}/v1beta/files/1:download?alt=media"
    port = int(played.server.authority.rpartition(":")[2])
    others = [
        CLIP, own.replace("127.0.0.1", "127.0.0.1.files.example"), own.replace("http://", "http://user@"), own.replace(":", "s:", 1),
        own.replace(str(port), str(port + 1)), f"https://files.example/?{own}",
    ]  # fmt: skip
    seen = played.see(GEMINI, interaction(*({"type": "video", "uri": url} for url in (own, *others))))
    assert {each.url: each.authorised for each in seen.outputs} == {own: True} | dict.fromkeys(others, False)
    assert GEMINI.provider.file_headers(played.calls, own) == {"x-goog-api-key": SECRET}
    assert all(GEMINI.provider.file_headers(played.calls, url) == {} for url in others)


def test_done_without_an_output_is_asked_again_for_a_while(played: Stage) -> None:
    """The status has said `completed` while the file was not to be had yet."""
    seen = played.see(GEMINI, {"id": "int_1", "status": "completed"})
    assert (seen.said, seen.outputs, seen.fault) == (Said.DONE, (), None)
    assert settle("waiting", seen, submits=1, polls=1) is None
    given_up = settle("waiting", seen, submits=1, polls=99)
    assert given_up is not None
    assert given_up.status == "failed"
    assert played.give(GEMINI, ok({"id": "int_1", "status": "completed"})).seen.said is Said.RUNNING


@pytest.mark.parametrize(
    ("status", "blame"),
    [("incomplete", Blame.PASSING), ("budget_exceeded", Blame.ACCOUNT), ("requires_action", Blame.INPUT), ("requires_continuation", Blame.INPUT)],
)
def test_ends_that_are_none_are_failures(status: str, blame: Blame, played: Stage) -> None:
    seen = played.see(GEMINI, {"id": "int_1", "status": status})
    assert seen.said is Said.FAILED
    assert seen.fault is not None
    assert seen.fault.blame is blame


@pytest.mark.parametrize("event", ["interaction.completed", "interaction.failed", "interaction.cancelled", "video.generated"])
def test_a_webhook_is_a_hint_that_decides_nothing(event: str) -> None:
    read = GEMINI.provider.read_webhook(GEMINI.ticket, {"type": event, "version": "v1", "data": {"id": "int_1", "output_file_uri": CLIP}})
    assert read is not None
    job, seen = read
    assert (job, seen.said, seen.outputs) == ("int_1", Said.RUNNING, ())
    assert settle("waiting", seen, submits=1) is None


@pytest.mark.parametrize("body", [{"type": "batch.succeeded", "data": {"id": "b1"}}, {"type": "interaction.completed", "data": {}}, {}])
def test_a_webhook_about_something_else_is_none(body: Any) -> None:
    assert GEMINI.provider.read_webhook(GEMINI.ticket, body) is None


# ---- errors ----------------------------------------------------------------------------------------------------------


def google_error(code: int, status: str, message: str, *details: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


def test_a_pause_may_stand_among_the_details(played: Stage) -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    with pytest.raises(NotSent) as caught:
        played.give(GEMINI, reply(429, google_error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", retry)))
    assert caught.value.retry_after_s == 34.5


@pytest.mark.parametrize(
    ("answer", "blame"),
    [
        (reply(400, google_error(400, "INVALID_ARGUMENT", "API key not valid", {"reason": "API_KEY_INVALID"})), Blame.ACCOUNT),
        (reply(400, google_error(400, "FAILED_PRECONDITION", "User location is not supported")), Blame.ACCOUNT),
        (reply(403, google_error(403, "PERMISSION_DENIED", "no")), Blame.ACCOUNT),
        (reply(400, [google_error(400, "INVALID_ARGUMENT", "The prompt violates our usage guidelines")]), Blame.POLICY),
        (reply(400, google_error(400, "INVALID_ARGUMENT", "aspect_ratio is unsupported")), Blame.INPUT),
        (reply(404, google_error(404, "NOT_FOUND", "models/gemini-omni is not found")), Blame.INPUT),
    ],
)  # fmt: skip
def test_refusals_are_told_apart(answer: Any, blame: Blame, played: Stage) -> None:
    with pytest.raises(Refused) as caught:
        played.give(GEMINI, answer)
    assert caught.value.blame is blame


# ---- veo -------------------------------------------------------------------------------------------------------------


def test_veo_takes_instances_and_parameters(played: Stage) -> None:
    sent = played.sent(
        VERTEX, duration=8, aspect_ratio="9:16", resolution="1080p", seed=7, negative_prompt="rain", generate_audio=False, image=PIXEL,
        last_frame_image="gs://films/end.png",
    )  # fmt: skip
    assert sent == {
        "instances": [{
            "prompt": "a lighthouse", "image": {"bytesBase64Encoded": "iVBORw0KGgo=", "mimeType": "image/png"},
            "lastFrame": {"gcsUri": "gs://films/end.png", "mimeType": "image/png"},
        }],
        "parameters": {
            "sampleCount": 1, "durationSeconds": 8, "aspectRatio": "9:16", "resolution": "1080p", "seed": 7, "negativePrompt": "rain",
            "generateAudio": False,
        },
    }  # fmt: skip


def test_a_picture_at_an_address_is_read_without_the_key_and_sent_along(played: Stage) -> None:
    with provider_server() as other:
        other.on("GET", "/a.jpg", reply(200, b"a picture", Content_Type="image/jpeg; charset=binary"))
        sent = played.sent(VEO, image=f"{other.url}/a.jpg")
        assert SECRET not in str(other.requests)
    assert sent["instances"][0]["image"] == {"bytesBase64Encoded": base64.b64encode(b"a picture").decode(), "mimeType": "image/jpeg"}


@pytest.mark.parametrize("answer", [reply(404), reply(503), reply(200, b"<html>", Content_Type="text/html"), reply(302, Location="/b.png")])
def test_a_picture_that_cannot_be_read_is_the_sources_fault_and_nothing_is_submitted(answer: Any, played: Stage) -> None:
    played.server.on("GET", "/a.png", answer)
    with pytest.raises(Refused) as caught:
        played.sent(VEO, image=f"{played.server.url}/a.png")
    assert caught.value.blame is Blame.SOURCE
    assert not played.server.asked("POST")


def test_veos_own_addresses_take_the_key_and_bytes_may_lie_in_the_answer(played: Stage) -> None:
    own = f"{played.server.url}/v1beta/files/1:download?alt=media"
    first, second, third = played.see(
        VEO, veo_done({"video": {"uri": own}}, {"video": {"uri": CLIP}}, {"video": {"encodedVideo": B64, "encoding": "video/mp4"}})
    ).outputs  # fmt: skip
    assert (first.authorised, second.authorised) == (True, False)
    assert (third.data, third.mime) == (SOUND, "video/mp4")
    (inline,) = played.see(VERTEX, {"done": True, "response": {"videos": [{"bytesBase64Encoded": B64, "mimeType": "video/mp4"}]}}).outputs
    assert inline.data == SOUND


def test_a_video_in_ones_own_bucket_never_takes_the_key(played: Stage) -> None:
    (output,) = played.see(VERTEX, VERTEX.done).outputs
    assert (output.url, output.authorised) == ("https://storage.googleapis.com/films/out.mp4", False)


@pytest.mark.parametrize(("veo", "nested"), [(VEO, True), (VERTEX, False)])
def test_done_and_filtered_is_a_refusal_and_no_success(veo: Any, nested: bool, played: Stage) -> None:
    for body in (filtered(nested, "Support codes: 58061214"), filtered(nested)):
        seen = played.see(veo, body)
        assert (seen.said, seen.outputs) == (Said.FAILED, ())
        assert seen.fault is not None
        assert seen.fault.blame is Blame.POLICY


def test_the_filter_of_sound_is_given_a_second_chance_and_no_third(played: Stage) -> None:
    """It refuses by chance and charges nothing."""
    seen = played.see(VEO, filtered(True, "We encountered an issue with the audio for your prompt."))
    assert seen.fault is not None
    assert (seen.fault.blame, seen.fault.code) == (Blame.PASSING, "AUDIO_FILTERED")
    first, second = settle("waiting", seen, submits=1), settle("waiting", seen, submits=2)
    assert first is not None
    assert second is not None
    assert (first.again, second.again) == (True, False)
    mixed = played.see(VEO, filtered(True, "an issue with the audio", "violence"))
    assert mixed.fault is not None
    assert mixed.fault.blame is Blame.POLICY


def test_videos_that_passed_the_filters_count_though_others_did_not(played: Stage) -> None:
    body = veo_done({"video": {"uri": CLIP}})
    body["response"]["generateVideoResponse"] |= {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["violence"]}
    seen = played.see(VEO, body)
    assert (seen.said, len(seen.outputs)) == (Said.DONE, 1)


def test_done_without_videos_and_without_a_reason_is_asked_again(played: Stage) -> None:
    for body in ({"done": True}, {"done": True, "response": {}}, veo_done()):
        seen = played.see(VEO, body)
        assert (seen.said, seen.outputs, seen.fault) == (Said.DONE, (), None)


@pytest.mark.parametrize(
    ("code", "blame"), [(3, Blame.INPUT), (7, Blame.ACCOUNT), (8, Blame.PASSING), (13, Blame.PASSING), (16, Blame.ACCOUNT), (99, Blame.PASSING)]
)  # fmt: skip
def test_operations_fail_by_code(code: int, blame: Blame, played: Stage) -> None:
    seen = played.see(VEO, {"done": True, "error": {"code": code, "message": "no"}})
    assert seen.fault is not None
    assert seen.fault.blame is blame


def test_a_cancelled_operation_is_cancelled(played: Stage) -> None:
    assert played.see(VEO, {"done": True, "error": {"code": 1, "message": "cancelled"}}).said is Said.CANCELLED


def test_vertex_is_polled_by_post_with_the_operations_name(played: Stage) -> None:
    """A GET is answered with 404."""
    played.see(VERTEX, {"name": VERTEX_JOB})
    (request,) = played.server.requests
    assert (request.method, request.json) == ("POST", {"operationName": VERTEX_JOB})
    assert "x-goog-api-key" not in request.headers


def test_vertex_without_an_address_is_named() -> None:
    calls = Calls(client(), {"GOOGLE_GENERATIVE_AI_API_KEY": SECRET}, {}, lambda: NOW_MS)
    with pytest.raises(KeyMissing, match="VERTEX_BASE_URL"):
        VERTEX.provider.submit(calls, VERTEX.order())
