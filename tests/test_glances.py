"""What a piece gives beside its clip: its end frames and the picture that stands for it are frames of that very clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.films import FINE, SIDE, Lab, decoded, lab, movie, planes
from viralsync_pipelines.movie.glances import REACH, end_frames, end_size, shown_frame, split_ends, tile_size, tile_width
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.render.scenes import render_piece

# Fills the canvas with another grey in every frame, and another colour on its right half.
SWEEP = [
    {"type": "shape", "color": "#101010"},
    {"type": "shape", "color": "#f0f0f0", "keyframes": {"opacity": [{"at": 0, "value": 0.05}, {"at": 2, "value": 0.9}]}},
    {"type": "shape", "color": "#c02020", "width": "50%", "x": "75%"},
]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("glances"))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40])
def test_glances_are_frames_of_the_clip(room: Lab, count: int) -> None:
    prepared = room.plan(movie(SWEEP, count / 30))
    plan = prepared.plan
    (piece,) = plan.pieces
    assert piece.count == count
    folder = room.scratch()
    given = render_piece(piece, plan.canvas, FINE, room.easel(prepared), folder, folder / "clip.mp4")

    ends = split_ends(given.ends, count, plan.canvas)
    wide, tall = end_size(plan.canvas)
    luma = [y for y, _, _ in planes(folder / "clip.mp4")]
    assert len(luma) == count
    assert ends is not None
    assert len(ends) == min(count, 2 * REACH)
    for number, frame in zip(end_frames(count), ends, strict=True):
        small = np.frombuffer(frame, np.uint8).reshape(tall, wide).astype(float)
        half = SIDE // 2 - 4
        assert abs(small[:, : wide // 2 - 2].mean() - luma[number][:, :half].astype(float).mean()) < 1.5

    wide, tall = tile_size(plan.canvas)
    shown = np.frombuffer(given.shown, np.uint8).reshape(tall, wide, 3).astype(float)
    frame = decoded(folder / "clip.mp4")[shown_frame(count)]
    for side, columns in (("left", (0.1, 0.4)), ("right", (0.6, 0.9))):
        first, last = columns
        mine = shown[:, int(first * wide) : int(last * wide)].mean((0, 1))
        theirs = frame[:, int(first * SIDE) : int(last * SIDE)].mean((0, 1))
        assert mine == pytest.approx(theirs, abs=2.5), side


def test_the_ends_of_neighbours_meet_without_a_gap() -> None:
    for count in range(1, 40):
        frames = end_frames(count)
        assert set(range(min(REACH, count))) | set(range(max(0, count - REACH), count)) == set(frames)
        assert list(frames) == sorted(frames)
        assert 0 <= shown_frame(count) < count


def test_bytes_that_are_not_a_piece_s_ends_are_told_apart(tmp_path: Path) -> None:
    canvas = Canvas(1080, 1920, 30)
    wide, tall = end_size(canvas)
    assert (wide, tall) == (64, 114)
    assert split_ends(bytes(wide * tall * 16), 40, canvas) is not None
    assert split_ends(bytes(wide * tall * 16), 10, canvas) is None
    assert split_ends(b"", 10, canvas) is None
    assert tile_width((1080, 1920)) == 200 < tile_width((1920, 1080))
