"""What is odd about HeyGen: one submit under one key, found again by sending it again, and events of other videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.lives import CLIP, NOW_MS, Life, Stage, heygen_video, life, ok, stage
from tests.servers.provider import Reply, Request, hang_up, reply
from viralsync_pipelines.generate.provider import Blame, NotSent, Refused, Said, Unsure
from viralsync_pipelines.generate.providers.heygen import REPLAYED_MS, idempotency_key


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


HEYGEN = life("heygen")
PHOTO = Life(
    "photo", HEYGEN.provider, "heygen/photo", {"image": "https://files.example/a.png", "audio": "https://files.example/a.mp3"}, HEYGEN.key,
    HEYGEN.submit, HEYGEN.taken, "vid_1", HEYGEN.poll,
)  # fmt: skip


class Remembering:
    """A HeyGen that answers the same key with the same video, as it does for 24 hours."""

    def __init__(self) -> None:
        self.made: dict[str, int] = {}

    def __call__(self, request: Request) -> Reply:
        number = self.made.setdefault(request.headers["idempotency-key"], len(self.made) + 1)
        return ok({"data": {"video_id": f"vid_{number}", "status": "waiting"}})


def test_a_talking_head_is_asked_for_by_its_kind(played: Stage) -> None:
    params = {"avatar": "a1", "text": "Hello", "voice": "v1", "aspect_ratio": "9:16", "resolution": "1080p", "background": "#00ff00"}
    played.give(HEYGEN, ok(HEYGEN.taken), params=params, webhook_url="https://us.example/hook")
    assert played.server.requests[-1].json == {
        "type": "avatar", "avatar_id": "a1", "script": "Hello", "voice_id": "v1", "aspect_ratio": "9:16", "resolution": "1080p",
        "background": {"type": "color", "value": "#00ff00"}, "callback_url": "https://us.example/hook", "callback_id": "job_1:1",
    }  # fmt: skip
    assert played.sent(PHOTO) == {
        "type": "image", "image": {"type": "url", "url": "https://files.example/a.png"}, "audio_url": "https://files.example/a.mp3",
        "callback_id": "job_1:1",
    }  # fmt: skip
    assert played.sent(PHOTO, image="data:image/png;base64,AAAA")["image"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def test_a_lost_submit_is_found_by_sending_it_again_under_its_key_and_makes_one_video(played: Stage) -> None:
    service = Remembering()

    def lost(request: Request) -> Reply:
        service(request)
        return hang_up()

    played.server.on("POST", "/v3/videos", lost, service)
    with pytest.raises(Unsure):
        HEYGEN.provider.submit(played.calls, HEYGEN.order())
    for _ in range(2):
        found = HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS - 60_000)
        assert found is not None
        assert found.ticket.provider_job_id == "vid_1"
    assert len(service.made) == 1
    first, *others = [each.json for each in played.server.requests]
    assert all(other == first for other in others)


def test_the_key_is_one_for_each_submit_and_fit_for_a_header() -> None:
    order = HEYGEN.order()
    orders = [order, replace(order, submit=2, nonce="job_1-1-2"), replace(order, nonce="job_1-2-1"), replace(order, nonce=""),
              replace(order, nonce="", submit=2), replace(order, nonce="größer"), replace(order, nonce="x" * 300)]  # fmt: skip
    keys = [idempotency_key(each) for each in orders]
    assert len(set(keys)) == len(keys)
    assert all(len(key) <= 255 and key.isascii() and " " not in key for key in keys)
    assert idempotency_key(HEYGEN.order()) == keys[0]


def test_an_old_submit_is_never_sent_again(played: Stage) -> None:
    """Its key is forgotten after 24 hours: it would be a second video."""
    with pytest.raises(Unsure):
        HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS - REPLAYED_MS - 1)
    assert not played.server.requests


def test_a_submit_that_is_still_being_answered_is_open(played: Stage) -> None:
    busy = reply(409, {"error": {"code": "request_in_progress", "message": "in progress"}})
    with pytest.raises(Unsure):
        played.give(HEYGEN, busy)
    with pytest.raises(NotSent) as caught:
        HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS)
    assert caught.value.retry_after_s == 5.0


@pytest.mark.parametrize("answer", [reply(503), reply(429), hang_up(), reply(200, {"data": {}})])
def test_finding_that_comes_to_nothing_may_be_tried_again(answer: Reply, played: Stage) -> None:
    played.server.on("POST", "/v3/videos", answer)
    with pytest.raises(NotSent):
        HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS)


def test_what_is_refused_now_was_never_made_but_a_key_that_is_refused_tells_nothing(played: Stage) -> None:
    played.server.on("POST", "/v3/videos", reply(400, {"error": {"code": "invalid_parameter", "message": "no"}}), reply(401))
    assert HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS) is None
    with pytest.raises(Unsure):
        HEYGEN.provider.find(played.calls, HEYGEN.order(), NOW_MS)


@pytest.mark.parametrize(
    ("code", "message", "blame"),
    [("CONTENT_MODERATION_FAILED", "", Blame.POLICY), ("insufficient_credit", "", Blame.ACCOUNT), ("voice_not_found", "", Blame.INPUT),
     ("audio_download_failed", "", Blame.SOURCE), ("E500", "the script is too long", Blame.INPUT), ("", "", Blame.PASSING),
     ("internal_error", "try again", Blame.PASSING)],
)  # fmt: skip
def test_failures_go_by_their_code_and_then_by_their_words(code: str, message: str, blame: Blame, played: Stage) -> None:
    seen = played.see(HEYGEN, heygen_video("failed", failure_code=code or None, failure_message=message or None))
    assert seen.fault is not None
    assert seen.fault.blame is blame


@pytest.mark.parametrize(("code", "blame"), [("content_policy", Blame.POLICY), ("quota_exceeded", Blame.ACCOUNT), ("whatever", Blame.INPUT)])
def test_a_submit_is_refused_by_the_same_words(code: str, blame: Blame, played: Stage) -> None:
    with pytest.raises(Refused) as caught:
        played.give(HEYGEN, reply(400, {"error": {"code": code, "message": "no"}}))
    assert caught.value.blame is blame


def test_events_tell_of_success_and_failure() -> None:
    def read(kind: str, **data: Any) -> Any:
        return HEYGEN.provider.read_webhook(HEYGEN.ticket, {"event_type": kind, "event_data": {"video_id": "vid_1", **data}})

    job, done = read("avatar_video.success", url=CLIP, callback_id="job_1:1")
    assert (job, done.said, [each.url for each in done.outputs]) == ("vid_1", Said.DONE, [CLIP])
    _, failed = read("avatar_video.fail", msg="content moderation")
    assert (failed.said, failed.fault.blame) == (Said.FAILED, Blame.POLICY)
    assert read("video_translate.success", url=CLIP) is None, "accounts have been sent events that they did not ask for"
    assert HEYGEN.provider.read_webhook(HEYGEN.ticket, {"event_type": "avatar_video.success", "event_data": {"url": CLIP}}) is None


def test_a_video_says_how_long_it_is(played: Stage) -> None:
    assert played.see(HEYGEN, HEYGEN.done).extra == {"duration": 3.5}
