"""What is odd about Runway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lives import CLIP, Stage, life, ok, stage
from tests.servers.provider import reply
from viralsync_pipelines.generate.provider import Blame, Gone, NotSent, Refused, Said


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


RUNWAY = life("runway")


def test_a_picture_decides_which_way_it_is_made(played: Stage) -> None:
    assert played.sent(RUNWAY) == {"model": "gen4.5", "promptText": "a lighthouse", "duration": 5, "ratio": "1280:720"}
    played.server.on("POST", "/v1/image_to_video", ok(RUNWAY.taken))
    params = {**RUNWAY.params, "image": "https://files.example/a.png", "duration": 8, "aspect_ratio": "3:4", "seed": 7}
    RUNWAY.provider.submit(played.calls, RUNWAY.order(params=params))
    assert played.server.requests[-1].json == {
        "model": "gen4.5", "promptText": "a lighthouse", "promptImage": "https://files.example/a.png", "duration": 8, "ratio": "832:1104",
        "seed": 7,
    }  # fmt: skip


def test_every_request_says_which_version_it_speaks(played: Stage) -> None:
    played.sent(RUNWAY)
    played.see(RUNWAY, RUNWAY.done)
    played.server.on("DELETE", "/v1/tasks/t1", reply(204))
    RUNWAY.provider.cancel(played.calls, RUNWAY.ticket)
    assert [each.headers["x-runway-version"] for each in played.server.requests] == ["2024-11-06"] * 3


def test_it_is_never_asked_more_than_every_five_seconds(played: Stage) -> None:
    assert played.give(RUNWAY, ok(RUNWAY.taken)).seen.poll_after_s == 5.0
    running = played.see(RUNWAY, {"id": "t1", "status": "RUNNING", "progress": 0.4})
    assert (running.poll_after_s, running.progress) == (5.0, 0.4)
    assert played.see(RUNWAY, RUNWAY.done).poll_after_s is None


def test_over_the_limit_of_tasks_is_queued_and_no_error(played: Stage) -> None:
    assert played.see(RUNWAY, {"id": "t1", "status": "THROTTLED", "estimatedCost": {"credits": 5}}).said is Said.QUEUED


def test_what_it_cost_is_told_in_dollars(played: Stage) -> None:
    done = played.see(RUNWAY, RUNWAY.done)
    assert (done.cost_usd, [each.url for each in done.outputs]) == (0.6, [CLIP])


@pytest.mark.parametrize(
    ("code", "blame"),
    [("SAFETY.INPUT.IMAGE", Blame.POLICY), ("SAFETY.OUTPUT.VIDEO", Blame.POLICY), ("INPUT_PREPROCESSING.SAFETY.TEXT", Blame.POLICY),
     ("INPUT_PREPROCESSING.INTERNAL", Blame.PASSING), ("INTERNAL.BAD_OUTPUT.CODE01", Blame.PASSING), ("INTERNAL", Blame.PASSING),
     ("THIRD_PARTY.X", Blame.PASSING), ("ASSET.INVALID", Blame.SOURCE), ("SAFETYNET", Blame.PASSING), ("", Blame.PASSING)],
)  # fmt: skip
def test_failures_go_by_their_code(code: str, blame: Blame, played: Stage) -> None:
    seen = played.see(RUNWAY, {"id": "t1", "status": "FAILED", "failure": "no", "failureCode": code})
    assert seen.fault is not None
    assert seen.fault.blame is blame
    untold = played.see(RUNWAY, {"id": "t1", "status": "FAILED", "failure": "no"})
    assert untold.fault is not None
    assert untold.fault.blame is Blame.PASSING


def test_a_cancelled_task_ends(played: Stage) -> None:
    """The vendor's own client waits for it until its time is over."""
    assert played.see(RUNWAY, {"id": "t1", "status": "CANCELLED"}).said is Said.CANCELLED


def test_a_task_that_was_deleted_is_gone(played: Stage) -> None:
    played.server.on("DELETE", "/v1/tasks/t1", reply(204))
    RUNWAY.provider.cancel(played.calls, RUNWAY.ticket)
    with pytest.raises(Gone):
        played.see(RUNWAY, reply(404, {"error": "not found"}))


def test_generations_of_a_day_that_are_used_up_are_waited_for_long(played: Stage) -> None:
    with pytest.raises(NotSent) as caught:
        played.give(RUNWAY, reply(429, {"error": "You have reached your daily limit"}))
    assert caught.value.retry_after_s == 60.0


def test_a_picture_that_it_cannot_read_is_the_sources_fault(played: Stage) -> None:
    with pytest.raises(Refused) as caught:
        played.give(RUNWAY, reply(400, {"error": "Failed to fetch image at the given URL"}))
    assert caught.value.blame is Blame.SOURCE
