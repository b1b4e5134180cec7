"""An ffmpeg whose threads wait for one another is begun again, once, and from the first frame; whatever else fails, fails."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.films import FINE, lab, movie
from viralsync_pipelines.errors import FfmpegFailed
from viralsync_pipelines.render import scenes
from viralsync_pipelines.render.boxes import frames_of
from viralsync_pipelines.render.ffmpeg import Ended, run
from viralsync_pipelines.render.second_try import IDLE_S, with_second_try

# Fades in from the left: a feed, drawn while it is read.
MOVING = [{"type": "shape", "color": "#c02020", "width": "50%", "enter": {"type": "slide-left", "duration": 0.3}}]


def stalled() -> FfmpegFailed:
    return FfmpegFailed("ffmpeg wrote nothing for 20 s and was stopped", argv=(), stderr_tail="", code="FFMPEG_STALLED")


def test_a_piece_that_stood_still_is_whole_after_its_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its feeds are drawn anew: those of the first try have been read from."""
    room = lab(tmp_path / "room")
    prepared = room.plan(movie(MOVING, 0.5))
    (piece,) = prepared.plan.pieces
    tries: list[float | None] = []

    def first_stands(argv: Any, *, feeds: Any, idle_s: float | None, **more: Any) -> Ended:
        tries.append(idle_s)
        assert feeds
        if len(tries) == 1:
            for feed in feeds.values():
                next(iter(feed))
            raise stalled()
        return run(argv, feeds=feeds, idle_s=idle_s, **more)

    monkeypatch.setattr(scenes, "run", first_stands)
    made = {}
    for name in ("stood", "went"):
        folder = room.scratch()
        with caplog.at_level(logging.WARNING, logger="viralsync.render"):
            scenes.render_piece(piece, prepared.plan.canvas, FINE, room.easel(prepared), folder, folder / "clip.mp4")
        assert frames_of(folder / "clip.mp4") == piece.count == 15
        made[name] = (folder / "clip.mp4").read_bytes()
    assert made["stood"] == made["went"]
    assert tries == [IDLE_S, None, IDLE_S]
    assert [record.message for record in caplog.records] == ["ffmpeg wrote nothing for 20 s and was stopped: begun once more"]


def test_one_that_stands_still_twice_is_told() -> None:
    tries: list[float | None] = []

    def stands(idle_s: float | None) -> None:
        tries.append(idle_s)
        raise stalled()

    with pytest.raises(FfmpegFailed, match="wrote nothing"):
        with_second_try(stands)
    assert tries == [IDLE_S, None]


def test_other_failures_are_not_tried_again() -> None:
    tries: list[float | None] = []

    def fails(idle_s: float | None) -> None:
        tries.append(idle_s)
        raise FfmpegFailed("ffmpeg ended with status 1: no message", argv=(), stderr_tail="")

    with pytest.raises(FfmpegFailed, match="status 1"):
        with_second_try(fails)
    assert tries == [IDLE_S]
