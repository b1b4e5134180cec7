"""What is odd about Luma's Agents API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lives import Life, Stage, life, ok, stage
from tests.servers.provider import reply
from viralsync_pipelines.generate.provider import Blame, NotSent, Refused, Said


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


LUMA = life("luma")
PICTURES = Life(
    "luma pictures", LUMA.provider, "luma/uni-1", {"prompt": "a lighthouse"}, LUMA.key, LUMA.submit, {"id": "g1", "state": "queued"}, "g1",
    LUMA.poll,
)  # fmt: skip


def test_a_video_is_asked_for_with_its_frames(played: Stage) -> None:
    sent = played.sent(
        LUMA, duration=5, resolution="720p", aspect_ratio="9:16", image="https://files.example/a.png",
        last_frame_image="data:image/png;base64,AAAA",
    )  # fmt: skip
    assert sent == {
        "model": "ray-3.2", "type": "video", "prompt": "a lighthouse", "aspect_ratio": "9:16",
        "video": {
            "duration": "5s", "resolution": "720p", "start_frame": {"url": "https://files.example/a.png"},
            "end_frame": {"data": "AAAA", "media_type": "image/png"},
        },
    }  # fmt: skip


def test_ten_seconds_take_their_pictures_by_frame(played: Stage) -> None:
    """start_frame and end_frame are for five."""
    sent = played.sent(LUMA, duration=10, image="https://files.example/a.png", last_frame_image="https://files.example/b.png")
    assert sent["video"] == {
        "duration": "10s", "keyframes": [{"url": "https://files.example/a.png"}, {"url": "https://files.example/b.png"}],
        "keyframe_indexes": [0, 240],
    }  # fmt: skip


def test_a_picture_is_asked_for_with_references(played: Stage) -> None:
    assert played.sent(PICTURES, image="https://files.example/a.png", images=["https://files.example/b.png"], style="manga") == {
        "model": "uni-1", "type": "image", "prompt": "a lighthouse", "style": "manga",
        "image_ref": [{"url": "https://files.example/a.png"}, {"url": "https://files.example/b.png"}],
    }  # fmt: skip
    done = played.see(PICTURES, {"id": "g1", "state": "completed", "output": [{"type": "image", "url": "https://files.example/signed?x=1"}]})
    assert (done.said, [each.media for each in done.outputs]) == (Said.DONE, ["image"])


@pytest.mark.parametrize(
    ("code", "blame"),
    [("content_moderated", Blame.POLICY), ("generation_failed", Blame.PASSING), ("rate_limited", Blame.PASSING),
     ("output_not_found", Blame.PASSING), ("budget_exhausted", Blame.ACCOUNT), ("image_too_large", Blame.INPUT),
     ("unsupported_format", Blame.INPUT), ("corrupt_input", Blame.INPUT), ("invalid_request", Blame.INPUT), ("new_code", Blame.PASSING)],
)  # fmt: skip
def test_failures_go_by_their_code(code: str, blame: Blame, played: Stage) -> None:
    seen = played.see(LUMA, {"id": "g1", "state": "failed", "failure_code": code, "failure_reason": "no"})
    assert seen.fault is not None
    assert (seen.fault.blame, seen.fault.message) == (blame, f"no ({code})")


@pytest.mark.parametrize(
    ("status", "code", "blame"), [(400, "content_moderated", Blame.POLICY), (429, "budget_exhausted", Blame.ACCOUNT), (422, "image_too_large", Blame.INPUT)]
)  # fmt: skip
def test_a_submit_may_be_refused_by_the_same_codes(status: int, code: str, blame: Blame, played: Stage) -> None:
    with pytest.raises(Refused) as caught:
        played.give(LUMA, reply(status, {"error": {"code": code, "message": "no"}}))
    assert caught.value.blame is blame
    with pytest.raises(NotSent):
        played.give(LUMA, reply(429, {"error": {"code": "rate_limited", "message": "wait"}}))


def test_a_submit_that_failed_at_once_says_so(played: Stage) -> None:
    seen = played.give(LUMA, ok({"id": "g1", "state": "failed", "failure_code": "content_moderated"})).seen
    assert seen.said is Said.FAILED
