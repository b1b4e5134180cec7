"""Movement: the numbers of motion.py, and that decoded frames show just those numbers, Ken Burns to a tenth of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.films import (
    BT709,
    FINE,
    SIDE,
    X264,
    Lab,
    Pixels,
    encode,
    lab,
    movie,
    number_plate,
    picture,
    read_number,
    solid,
)
from viralsync_pipelines.movie.motion import (
    EASINGS,
    Framing,
    KenBurnsMove,
    Key,
    Motion,
    Passage,
    ease,
    is_still,
    pose_at,
    value_at,
    view_at,
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("motion"))


# Numbers


@pytest.mark.parametrize("name", list(EASINGS))
def test_easings_begin_at_0_end_at_1_and_hold_outside(name: str) -> None:
    assert ease(name, 0) == pytest.approx(0, abs=1e-9)
    assert ease(name, 1) == pytest.approx(1, abs=1e-9)
    assert (ease(name, -1), ease(name, 2)) == (ease(name, 0), ease(name, 1))
    if name not in {"ease-out-back", "step"}:
        assert max(ease(name, i / 100) for i in range(101)) <= 1 + 1e-9


def test_easings_bend_as_their_names_say() -> None:
    assert ease("ease-in", 0.5) == 0.25
    assert ease("ease-out", 0.5) == 0.75
    assert ease("ease-in-out", 0.25) == 0.125
    assert ease("ease-in-cubic", 0.5) == 0.125
    assert max(ease("ease-out-back", i / 100) for i in range(101)) == pytest.approx(1.1, abs=0.005)
    assert ease("step", 0.999) == 0


def test_tracks_hold_before_and_after_and_bend_between() -> None:
    track = (Key(3, 10.0), Key(9, 40.0, "ease-in"), Key(12, 0.0))
    assert [value_at(track, f) for f in (0, 3, 6, 9, 10.5, 12, 99)] == [10, 10, 10 + 30 * 0.25, 40, 20, 0, 0]


def test_only_what_never_changes_but_fades_is_still() -> None:
    fade = Passage("fade", 10, "linear")
    assert is_still(Motion(enter=fade, exit=fade))
    assert not is_still(Motion(enter=Passage("fade", 10, "ease")))
    assert not is_still(Motion(exit=Passage("zoom", 10, "linear")))
    assert not is_still(Motion((("x", (Key(0, 1.0),)),)))
    assert not is_still(Motion(reveal="words"))


def test_a_view_stays_inside_the_picture_and_moves_in_a_straight_line() -> None:
    move = KenBurnsMove(Framing(0.0, 1.0, 2.0), Framing(1.0, 0.0, 4.0), "linear")
    views = [view_at(move, k, 11) for k in range(11)]
    assert views[0] == (0.0, 0.5, 0.5)
    assert views[-1] == (0.75, 0.0, 0.25)
    assert all(0 <= left <= 1 - share and 0 <= top <= 1 - share for left, top, share in views)
    assert np.diff(views, axis=0) == pytest.approx(np.tile([0.075, -0.05, -0.025], (10, 1)))
    assert view_at(move, 0, 1) == views[0]


# Ken Burns, tracked through the encoded film

SPOTS = [(0.35, 0.4), (0.62, 0.35), (0.5, 0.55), (0.4, 0.66), (0.63, 0.62)]


def dots(width: int, height: int, sigma: float) -> Pixels:
    """Soft white dots on dark grey, at SPOTS (shares of the picture)."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    image = np.full((height, width), 30.0, np.float32)
    for sx, sy in SPOTS:
        image += 200 * np.exp(-((x - sx * width) ** 2 + (y - sy * height) ** 2) / (2 * sigma**2))
    return np.repeat(np.clip(image + 0.5, 0, 255).astype(np.uint8)[..., None], 3, 2)


def centroid(frame: Pixels, x: float, y: float, reach: int) -> tuple[float, float]:
    """Centre of what is brighter than the ground, around a point; in canvas pixels with the corner as origin."""
    left, top = round(x) - reach, round(y) - reach
    part = np.clip(frame[top : top + 2 * reach, left : left + 2 * reach].mean(-1) - 36, 0, None)
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    return left + float((columns * part).sum() / part.sum()), top + float((rows * part).sum() / part.sum())


def jitter(frames: Pixels, move: KenBurnsMove, reach: int) -> tuple[float, float]:
    """(rms, largest) difference between a dot's step from frame to frame and the ideal path's, in pixels."""
    errors = []
    for sx, sy in SPOTS:
        seen, ideal = [], []
        for k, frame in enumerate(frames):
            left, top, share = view_at(move, k, len(frames))
            x, y = (sx - left) / share * SIDE, (sy - top) / share * SIDE
            ideal.append((x, y))
            seen.append(centroid(frame, x, y, reach))
        errors.append(np.diff(np.array(seen) - np.array(ideal), axis=0))
        assert np.abs(np.array(seen) - np.array(ideal)).max() < 0.3, "and it is where it should be"
    lengths = np.hypot(*np.concatenate(errors).T)
    return float(np.sqrt((lengths**2).mean())), float(lengths.max())


MOVES = {
    "in": {"from": {"scale": 1.0}, "to": {"scale": 1.2}},
    "out": {"from": {"scale": 1.3, "x": 0.45}, "to": {"scale": 1.0}},
    "pan": {"from": {"scale": 1.4, "x": 0.4, "y": 0.5}, "to": {"scale": 1.4, "x": 0.6, "y": 0.52}},
    "eased": {"from": {"scale": 1.1, "x": 0.6}, "to": {"scale": 1.35, "y": 0.45}, "easing": "ease-in-out"},
}


def as_move(told: dict[str, Any]) -> KenBurnsMove:
    views = [Framing(v.get("x", 0.5), v.get("y", 0.5), v.get("scale", 1.0)) for v in (told["from"], told["to"])]
    return KenBurnsMove(views[0], views[1], told.get("easing", "linear"))


@pytest.mark.parametrize("source", ["still", "part of a canvas", "clip"])
@pytest.mark.parametrize("name", list(MOVES))
def test_ken_burns_is_smooth_to_a_tenth_of_a_pixel(room: Lab, name: str, source: str, record_property: Any) -> None:
    """Dots tracked through the encoded film: steps differ from the ideal path's by less than 0.1 px."""
    told = MOVES[name]
    layer: dict[str, Any] = {"type": "image", "src": "dots.png", "kenBurns": told}
    if source == "clip":
        layer |= {"type": "video", "src": "dots.mp4"}
        if not (room.folder / "dots.mp4").exists():
            encode(room.folder / "dots.mp4", [dots(720, 720, 14)] * 61, 30, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", *BT709)
    elif not (room.folder / "dots.png").exists():
        picture(room.folder / "dots.png", dots(900, 900, 17))
    if source == "part of a canvas":
        layer |= {"rotation": 0.0, "opacity": 0.999}
    frames = room.frames(movie([layer], 2), FINE)
    rms, largest = jitter(frames, as_move(told), 24)
    record_property("jitter", f"{rms:.4f} {largest:.4f}")
    print(f"{source} {name}: rms {rms:.4f} px, largest {largest:.4f} px")
    assert largest < 0.1


# Poses in decoded frames


@pytest.fixture(scope="module")
def white(room: Lab) -> Lab:
    picture(room.folder / "white.png", solid((255, 255, 255), 200, 200))
    encode(room.folder / "white.mp4", [solid((255, 255, 255), 200, 200)] * 40, 30, *X264, *BT709)
    return room


def seen_box(frame: Pixels) -> np.ndarray[Any, Any]:
    """Centre x, y and size of what is white, by its weight; zero size when there is nothing."""
    weight = frame.mean(-1) / 255
    total = weight.sum()
    if total < 20:
        return np.zeros(4)
    across, down = weight.sum(0), weight.sum(1)
    x, y = (np.arange(SIDE) + 0.5) @ across / total, (np.arange(SIDE) + 0.5) @ down / total
    return np.array([x, y, total / across.max(), total / down.max()])


KINDS = {
    "shape": {"type": "shape", "width": 80, "height": 60},
    "image": {"type": "image", "src": "white.png", "width": 80, "height": 60},
    "video": {"type": "video", "src": "white.mp4", "width": 80, "height": 60},
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("easing", ["linear", "ease-in-out", "ease-out-back"])
def test_keyframed_place_and_size_are_seen_as_computed(white: Lab, kind: str, easing: str) -> None:
    def track(*values: float) -> list[dict[str, Any]]:
        return [{"at": 0.1 + 0.3 * i, "value": v, "easing": easing} for i, v in enumerate(values)]

    layer = {**KINDS[kind], "keyframes": {"x": track(120, 240), "y": track(200, 150), "width": track(80, 120), "height": track(60, 90)}}
    frames = white.frames(movie([layer], 0.5), FINE)
    for k in (0, 3, 5, 8, 11, 14):
        u = ease(easing, (k / 30 - 0.1) / 0.3)
        wanted = [120 + 120 * u, 200 - 50 * u, 80 + 40 * u, 60 + 30 * u]
        assert np.abs(seen_box(frames[k]) - wanted).max() < 0.6, (k, seen_box(frames[k]), wanted)


@pytest.mark.parametrize("kind", list(KINDS))
def test_keyframed_scale_opacity_and_rotation_are_seen_as_computed(white: Lab, kind: str) -> None:
    grown = {**KINDS[kind], "keyframes": {"scale": [{"at": 0, "value": 0.5}, {"at": 0.4, "value": 2, "easing": "ease-in"}]}}
    frames = white.frames(movie([grown], 0.4), FINE)
    for k in (0, 4, 8, 11):
        scale = 0.5 + 1.5 * (k / 12) ** 2
        assert np.abs(seen_box(frames[k]) - (180, 180, 80 * scale, 60 * scale)).max() < 0.8, k
    faded = {**KINDS[kind], "keyframes": {"opacity": [{"at": 0, "value": 0}, {"at": 0.2, "value": 1}, {"at": 0.4, "value": 0.25}]}}
    frames = white.frames(movie([faded], 0.5), FINE)
    for k in (0, 2, 6, 9, 12, 14):
        opacity = np.interp(k / 30, [0, 0.2, 0.4], [0, 1, 0.25])
        assert abs(float(frames[k][170:190, 170:190].mean()) - 255 * opacity) <= 3, k
    turned = {**KINDS[kind], "width": 200, "height": 30, "keyframes": {"rotation": [{"at": 0, "value": -20}, {"at": 0.4, "value": 70}]}}
    frames = white.frames(movie([turned], 0.4), FINE)
    y, x = np.mgrid[:SIDE, :SIDE] - 179.5
    for k in (0, 3, 7, 11):
        weight = frames[k].mean(-1)
        tilt = 0.5 * np.degrees(np.arctan2(2 * (x * y * weight).sum(), ((x * x - y * y) * weight).sum()))
        assert abs(tilt - (-20 + 90 * k / 12)) < 0.2, (k, tilt)


ENTRANCES = ["fade", "slide-left", "slide-right", "slide-up", "slide-down", "zoom", "pop", "wipe-left", "wipe-right", "wipe-up",
             "wipe-down", "blur"]  # fmt: skip


@pytest.mark.parametrize("kind", ["shape", "video"])
@pytest.mark.parametrize("way", ENTRANCES)
def test_entrances_and_exits_of_every_type(white: Lab, way: str, kind: str) -> None:
    """Out at first, fully there in the middle, and on its way out at the end; the frames between as pose_at says."""
    layer = {**KINDS[kind], "enter": {"type": way, "duration": 0.2}, "exit": {"type": way, "duration": 0.2}}
    prepared = white.plan(movie([layer], 0.8))
    motion = prepared.plan.pieces[0].under[0].motion
    frames = white.frames(movie([layer], 0.8), FINE)
    assert len(frames) == 24
    for k in (8, 12, 17):
        assert np.abs(seen_box(frames[k]) - (180, 180, 80, 60)).max() < 0.3
    total = 80 * 60 * 255
    assert frames[0].mean(-1).sum() < 0.03 * total, "not there yet"
    for k in (1, 3, 5, 19, 21, 23):
        pose = pose_at(motion, k, 24, (80, 60), (SIDE, SIDE))
        weight = float(frames[k].mean(-1).sum()) / total
        area = pose.scale**2 * pose.opacity * (pose.wipe[1] if pose.wipe else 1)
        if way.startswith("slide"):
            seen = seen_box(frames[k])
            if seen[2] > 79 and seen[3] > 59:  # else it is cut by the edge
                assert np.abs(seen[:2] - (180 + pose.x, 180 + pose.y)).max() < 0.6, k
            assert weight <= 1.02
        else:
            assert abs(weight - area) < 0.03, (k, weight, area)
    if way.startswith("wipe"):
        side = {"wipe-right": (0, -1), "wipe-left": (0, 1), "wipe-down": (1, -1), "wipe-up": (1, 1)}[way]
        centre = seen_box(frames[2])[side[0]]
        assert (centre - 180) * side[1] > 10, "it is uncovered from the side it moves away from"


@pytest.mark.parametrize("mode", ["typewriter", "words", "lines"])
def test_reveals_only_ever_add_and_end_complete(room: Lab, mode: str) -> None:
    text = {"type": "text", "text": "one two\nthree four", "fontSize": 48}
    plain = room.frames(movie([text], 0.1), FINE)[0]
    frames = room.frames(movie([{**text, "reveal": mode}], 3), FINE)
    ink = [float((f > 128).sum()) for f in frames]
    assert all(b >= a - 12 for a, b in zip(ink, ink[1:], strict=False)), "letters do not go away again"
    steps = sum(b > a + 40 for a, b in zip(ink, ink[1:], strict=False))
    assert steps == {"typewriter": 14, "words": 3, "lines": 1}[mode]
    assert abs(ink[-1] - float((plain > 128).sum())) < 30
    assert np.abs(frames[-1] - plain).max() < 24


def test_what_rests_is_fed_once_and_looks_the_same(white: Lab) -> None:
    """A title that pops in and stays: the pause in the middle is one frame, repeated in the graph, at its exact place."""
    come, go = {"type": "pop", "duration": 0.3}, {"type": "zoom", "duration": 0.2}
    layer = {"type": "text", "text": "Rest", "fontSize": 60, "enter": come, "exit": go}
    frames = white.frames(movie([layer], 1), FINE)
    assert len(frames) == 30
    middle = frames[9:25]
    assert np.abs(middle - middle[0]).max() < 12
    assert np.abs(frames[8] - frames[9]).mean() > 0.02, "the last frame of the entrance still moves"
    assert np.abs(frames[25] - frames[24]).mean() > 0.02, "and the exit begins on its frame"


def test_a_clip_plays_on_while_it_moves(white: Lab) -> None:
    encode(white.folder / "playing.mp4", [number_plate(n) for n in range(30)], 30, *X264, *BT709)
    layer = {"type": "video", "src": "playing.mp4", "fit": "fill", "width": 160, "height": 80,
             "keyframes": {"x": [{"at": 0, "value": 100}, {"at": 0.9, "value": 260}]}}  # fmt: skip
    for k, frame in enumerate(white.frames(movie([layer], 0.9))):
        x = round(100 + 160 * k / 27)
        assert read_number(frame[150:210, x - 80 : x + 80]) == k
    still = white.still(movie([layer], 0.9), 13)
    assert read_number(still[150:210, 177 - 80 : 177 + 80]) == 13
