"""The picture as a user sees it: colours come back, files are what joins cleanly, layers lie where and as the document says."""

from __future__ import annotations

import itertools
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.films import (
    BT709,
    FINE,
    SIDE,
    X264,
    Lab,
    Pixels,
    decoded,
    encode,
    lab,
    middle,
    movie,
    number_plate,
    numbered,
    picture,
    psnr,
    read_numbers,
    scenes,
    solid,
    to_rgb,
)
from viralsync_pipelines.movie.picture import Piece
from viralsync_pipelines.movie.spec import XFADES
from viralsync_pipelines.render.previews import contact_sheet, grab, jpeg
from viralsync_pipelines.render.scenes import render_piece

# Primaries, mixtures, near black, near white, a skin tone.
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 90), (12, 12, 14), (250, 250, 245), (224, 172, 105), (0, 0, 0), (255, 255, 255)]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("picture"))


def hexed(color: tuple[int, ...]) -> str:
    return "#" + "".join(f"{c:02x}" for c in color)


def close(seen: Pixels, wanted: Any, by: float = 3) -> None:
    worst = float(np.abs(np.asarray(seen, np.float32) - np.asarray(wanted, np.float32)).max())
    assert worst <= by, f"{seen} is not {wanted}"


def shape(x: float, y: float, width: float, height: float, color: str, **fields: Any) -> dict[str, Any]:
    return {"type": "shape", "x": x, "y": y, "width": width, "height": height, "anchor": "top-left", "color": color, **fields}


# Colours


@pytest.mark.parametrize("color", COLORS, ids=hexed)
def test_a_colour_comes_back_from_every_kind_of_layer(room: Lab, color: tuple[int, int, int]) -> None:
    """Within 3 of 255 after decoding: ground, shape, a text's plate, PNG, JPEG, tagged and untagged clips, HD and SD."""
    name = hexed(color)[1:]
    picture(room.folder / f"{name}.png", solid(color))
    picture(room.folder / f"{name}.jpg", solid(color), quality=95, subsampling=0)
    small, large = [solid(color, 160, 120)] * 4, [solid(color, 160, 722)] * 4
    encode(room.folder / f"{name}-tagged.mp4", small, 30, *X264, *BT709)
    encode(room.folder / f"{name}-sd.mp4", small, 30, *X264, "-vf", "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p")
    encode(room.folder / f"{name}-hd.mp4", large, 30, *X264, *BT709[:2])
    parts: list[dict[str, Any]] = [
        {"duration": 0.1, "bgColor": hexed(color)},
        {"duration": 0.1, "layers": [shape(0, 0, SIDE, SIDE, hexed(color))]},
        {"duration": 0.1, "layers": [{"type": "text", "text": " x ", "fontSize": 4, "color": hexed(color),
                                      "background": {"color": hexed(color), "padding": 150, "radius": 0}}]},
        *({"duration": 0.1, "layers": [{"type": "image", "src": f"{name}{kind}"}]} for kind in (".png", ".jpg")),
        *({"duration": 0.1, "layers": [{"type": "video", "src": f"{name}-{kind}.mp4"}]} for kind in ("tagged", "sd", "hd")),
    ]  # fmt: skip
    frames = room.frames(scenes(*parts))
    assert len(frames) == 3 * len(parts)
    for index, frame in enumerate(frames):
        close(middle(frame), color)
        assert index or np.ptp(frame.reshape(-1, 3), axis=0).max() <= 2


def test_opacity_mixes_are_exact(room: Lab) -> None:
    picture(room.folder / "red.png", solid((255, 0, 0)))
    encode(room.folder / "red.mp4", [solid((255, 0, 0))] * 4, 30, *X264, *BT709)
    for layer in ({"type": "image", "src": "red.png"}, {"type": "video", "src": "red.mp4"}, shape(0, 0, SIDE, SIDE, "#ff0000")):
        for opacity in (0.25, 0.5, 0.8):
            frame = room.frames(movie([{**layer, "opacity": opacity}], 0.1, bgColor="#0000ff"))[0]
            close(middle(frame), (255 * opacity, 0, 255 * (1 - opacity)))


def test_translucent_over_translucent_over_ground(room: Lab) -> None:
    layers = [shape(0, 0, 240, SIDE, "#ff000080"), shape(120, 0, 240, SIDE, "#00ff0040")]
    frame = room.frames(movie(layers, 0.1, bgColor="#0000ff"))[0]
    a, b = 128 / 255, 64 / 255
    close(frame[180, 60], (255 * a, 0, 255 * (1 - a)))
    close(frame[180, 180], (255 * a * (1 - b), 255 * b, 255 * (1 - a) * (1 - b)))
    close(frame[180, 300], (0, 255 * b, 255 * (1 - b)))


def test_overlaps_and_moving_layers_keep_colours(room: Lab) -> None:
    a, b = (200, 30, 90), (30, 160, 220)
    moving = shape(60, 60, 240, 240, "#e0ac69", keyframes={"x": [{"at": 0, "value": 50}, {"at": 0.4, "value": 70}]})
    document = scenes({"duration": 0.4, "bgColor": hexed(a)},
                      {"duration": 0.4, "bgColor": hexed(b), "transition": {"type": "fade", "duration": 0.2}}, layers=[])  # fmt: skip
    frames = room.frames(document)
    assert len(frames) == 18
    for k in range(6):
        share = k / 6
        close(middle(frames[6 + k]), np.array(a) * (1 - share) + np.array(b) * share, 4)
    frames = room.frames(movie([moving], 0.4))
    assert all(np.abs(middle(f) - (0xE0, 0xAC, 0x69)).max() <= 3 for f in frames)


def rgb_blend(mode: str, s: Pixels, b: Pixels) -> Pixels:
    """W3C Compositing: source s over backdrop b, 0-1."""
    if mode == "overlay":
        return rgb_blend("hardlight", b, s)
    soft = np.where(b <= 0.25, ((16 * b - 12) * b + 4) * b, np.sqrt(b))
    return {
        "multiply": s * b, "screen": s + b - s * b, "darken": np.minimum(s, b), "lighten": np.maximum(s, b),
        "addition": np.minimum(1, s + b), "difference": np.abs(s - b),
        "hardlight": np.where(s <= 0.5, 2 * s * b, 1 - 2 * (1 - s) * (1 - b)),
        "softlight": np.where(s <= 0.5, b - (1 - 2 * s) * b * (1 - b), b + (2 * s - 1) * (soft - b)),
    }[mode]  # fmt: skip


@pytest.mark.parametrize("mode", ["multiply", "screen", "overlay", "darken", "lighten", "addition", "difference", "softlight", "hardlight"])
def test_blend_modes_are_those_of_the_web(room: Lab, mode: str) -> None:
    grounds = [(40, 90, 200), (210, 180, 60), (128, 20, 128), (240, 240, 240)]
    tops = [(200, 60, 30), (30, 200, 120), (128, 128, 128), (10, 60, 220)]
    base, top = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)
    for i in range(4):
        base[i * 90 : i * 90 + 90], top[:, i * 90 : i * 90 + 90] = grounds[i], tops[i]
    picture(room.folder / "base.png", base)
    picture(room.folder / "top.png", top)
    for opacity in (1, 0.5):
        frame = room.frames(
            movie([{"type": "image", "src": "base.png"}, {"type": "image", "src": "top.png", "blend": mode, "opacity": opacity}], 0.1)
        )[0]
        for i, ground in enumerate(grounds):
            for j, over in enumerate(tops):
                b, s = np.array(ground) / 255, np.array(over) / 255
                wanted = 255 * ((1 - opacity) * b + opacity * rgb_blend(mode, s, b))
                close(frame[i * 90 + 30 : i * 90 + 60, j * 90 + 30 : j * 90 + 60].mean((0, 1)), wanted, 5)


def test_a_blended_layer_touches_only_its_own_place_and_time(room: Lab) -> None:
    layer = shape(90, 90, 180, 180, "#808080", blend="multiply", start=0.1, duration=0.1)
    frames = room.frames(movie([layer], 0.3, bgColor="#c86432"))
    for k, frame in enumerate(frames):
        close(middle(frame), np.array((200, 100, 50)) * (128 / 255 if 3 <= k < 6 else 1), 4)
        close(frame[40, 40], (200, 100, 50))


# The files


def test_files_join_by_copying(room: Lab) -> None:
    """4:2:0, Rec. 709 limited and said so, closed groups, rising times, the exact number of frames, equal headers."""
    numbered(room.folder / "long.mp4", "30", 150)
    parts = [
        {"duration": 5, "layers": [{"type": "video", "src": "long.mp4"}]},
        {"duration": 0.5, "bgColor": "#123456", "transition": {"type": "circleopen", "duration": 0.2}},
    ]
    prepared = room.plan(scenes(*parts))
    headers = set()
    for piece, path in zip(prepared.plan.pieces, room.clips(prepared), strict=True):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            assert (context.codec.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
            headers.add((bytes(context.extradata or b""), stream.time_base))
            packets = [p for p in container.demux(stream) if p.size]
            assert len(packets) == piece.count
            dts, pts = [p.dts for p in packets], sorted(p.pts for p in packets)
            assert all(b > a for a, b in itertools.pairwise(dts))
            assert [b - a for a, b in itertools.pairwise(pts)] == [512] * (piece.count - 1)
            keys = [p for p in packets if p.is_keyframe]
            assert packets[0].is_keyframe
            for key in keys:
                assert 5 in nal_types(bytes(key)), "a key frame that is no IDR"
                # Closed: what is decoded after a key frame is shown after it.
                assert all(p.pts > key.pts for p in packets[packets.index(key) + 1 :])
            assert piece.count <= 60 or len(keys) > 1
            if piece.count > 60:
                assert max(b.dts - a.dts for a, b in itertools.pairwise(keys)) <= 60 * 512
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
    assert len(headers) == 1, "one film, one header"


def nal_types(data: bytes) -> list[int]:
    found, at = [], 0
    while at + 4 < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4] & 31)
        at += 4 + length
    return found


@pytest.mark.parametrize("fps", ["24", "25", "30000/1001", "60", "12.5", "1"])
def test_every_rate_gives_whole_ticks(room: Lab, fps: str) -> None:
    prepared = room.plan(movie([shape(0, 0, 100, 100, "red")], 2, fps=fps if "/" in fps else float(fps)))
    path = room.clips(prepared)[0]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [f.pts * stream.time_base for f in container.decode(stream)]
    rate = Fraction(fps)
    assert times == [k / rate for k in range(prepared.plan.frames)]


@pytest.mark.parametrize("transition", XFADES)
def test_every_transition_renders(room: Lab, transition: str) -> None:
    """It begins as the earlier scene and ends almost as the later one, in 4:2:0 and with exact frames."""
    document = scenes({"duration": 0.3, "bgColor": "#c81e5a"},
                      {"duration": 0.3, "bgColor": "#1ea0dc", "transition": {"type": transition, "duration": 0.3}})  # fmt: skip
    prepared = room.plan(document)
    assert [p.kind for p in prepared.plan.pieces] == ["overlap"]
    frames = decoded(room.clips(prepared)[0])
    assert len(frames) == 9
    close(np.median(frames[0].reshape(-1, 3), axis=0), (200, 30, 90), 4)
    assert frames.max() < 256


@pytest.mark.parametrize(("transition", "between"), [("fadeblack", 0), ("fadewhite", 255)])
def test_fades_through_a_colour_reach_it(room: Lab, transition: str, between: int) -> None:
    document = scenes({"duration": 0.5, "bgColor": "#c81e5a"},
                      {"duration": 0.5, "bgColor": "#1ea0dc", "transition": {"type": transition, "duration": 0.5}})  # fmt: skip
    prepared = room.plan(document)
    path = room.clips(prepared)[0]
    frames = decoded(path)
    nearest = min(float(np.abs(middle(f) - between).max()) for f in frames)
    assert nearest < 45, "some frame is almost all of that colour"
    from tests.films import planes

    luma = np.concatenate([y.reshape(-1) for y, _, _ in planes(path)])
    assert luma.min() >= 15, "black is video black"
    assert luma.max() <= 236, "white is video white"


def test_movie_layers_run_on_over_scenes_and_overlaps(room: Lab) -> None:
    numbered(room.folder / "over.mp4", "30", 60)
    over = {"type": "video", "src": "over.mp4", "fit": "fill", "width": 160, "height": 80, "x": 180, "y": 60}
    moving = shape(0, 250, 40, 40, "#ffffff", keyframes={"x": [{"at": 0, "value": 0}, {"at": 0.9, "value": 270}]})
    document = scenes({"duration": 0.5, "bgColor": "#401010"},
                      {"duration": 0.4, "bgColor": "#104010", "transition": {"type": "fade", "duration": 0.2}},
                      {"duration": 0.5, "bgColor": "#101040", "transition": {"type": "wipeleft", "duration": 0.1}},
                      layers=[over, moving])  # fmt: skip
    frames = room.frames(document)
    assert len(frames) == 33
    assert read_numbers(f[30:90, 100:260] for f in frames) == list(range(33))
    for k, frame in enumerate(frames):
        bright = frame[260:280].mean((0, 2)) > 128
        assert abs(float(np.flatnonzero(bright).mean()) + 0.5 - (20 + 10 * min(k, 27))) <= 0.8, k


def test_one_clip_twice_and_equal_scenes(room: Lab) -> None:
    """The blurred clip behind itself, a clip in two scenes, and a fade between equal grounds: equal inputs stay apart."""
    numbered(room.folder / "twice.mp4", "30", 30)
    clip = {"type": "video", "src": "twice.mp4", "fit": "fill"}
    small = {**clip, "width": 160, "height": 80}
    both = [{**clip, "filters": {"blur": 20}}, {**small, "y": 200}, {**small, "y": 300}]
    frames = room.frames(movie(both, 0.2))
    assert read_numbers(f[165:235, 100:260] for f in frames) == read_numbers(f[265:335, 100:260] for f in frames) == list(range(6))
    part = {"duration": 0.3, "layers": [{**clip, "start": 0}]}
    assert len(room.frames(scenes(part, {**part, "transition": {"type": "fade", "duration": 0.3}}))) == 9
    plain = {"duration": 0.2, "bgColor": "#336699"}
    assert len(room.frames(scenes(plain, {**plain, "transition": {"type": "fade", "duration": 0.2}}))) == 6


# Place and look


@pytest.mark.parametrize("anchor", ["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"])
def test_anchors_place_layers_of_every_kind(room: Lab, anchor: str) -> None:
    px = {"left": 0.0, "right": 1.0}.get(anchor.rsplit("-", maxsplit=1)[-1], 0.5)
    py = {"top": 0.0, "bottom": 1.0}.get(anchor.split("-", maxsplit=1)[0], 0.5)
    picture(room.folder / "white.png", solid((255, 255, 255), 80, 40))
    encode(room.folder / "white.mp4", [solid((255, 255, 255), 80, 40)] * 3, 30, *X264, *BT709)
    for kind in ({"type": "image", "src": "white.png"}, {"type": "video", "src": "white.mp4"}, {"type": "shape"}):
        sized = {**kind, "width": 80, "height": 40, "anchor": anchor}
        left, top = px * (SIDE - 80), py * (SIDE - 40)
        box(room.frames(movie([sized], 0.1))[0], left, top, 80, 40)
        box(room.frames(movie([{**sized, "x": "50%", "y": 200}], 0.1))[0], 180 - px * 80, 200 - py * 40, 80, 40)


def box(frame: Pixels, left: float, top: float, width: float, height: float, by: float = 1) -> None:
    """What is bright covers just this rectangle."""
    bright = frame.mean(-1) > 128
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    seen = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    assert np.abs(np.array(seen) - (left, top, width, height)).max() <= by, f"{seen}, not {(left, top, width, height)}"


def ringed(width: int, height: int) -> Pixels:
    """White with a red border an eighth wide."""
    out = solid((255, 255, 255), width, height)
    bx, by = width // 8, height // 8
    out[:by], out[-by:], out[:, :bx], out[:, -bx:] = (255, 0, 0), (255, 0, 0), (255, 0, 0), (255, 0, 0)
    return out


def white_box(frame: Pixels) -> tuple[int, int, int, int]:
    bright = frame[..., 2] > 128
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1] + 1 - columns[0]), int(rows[-1] + 1 - rows[0])


@pytest.mark.parametrize("kind", ["image", "video"])
def test_fits(room: Lab, kind: str) -> None:
    picture(room.folder / "ring.png", ringed(320, 160))
    encode(room.folder / "ring.mp4", [ringed(320, 160)] * 3, 30, *X264, *BT709)
    src = "ring.png" if kind == "image" else "ring.mp4"
    wanted = {
        "fill": (45, 45, 270, 270),  # 320x160 onto 360x360
        "cover": (0, 45, 360, 270),  # scaled by 2.25: the sides are cut
        "contain": (45, 112, 270, 135),  # scaled by 1.125
        "none": (60, 120, 240, 120),
    }
    for fit, inner in wanted.items():
        frame = room.frames(movie([{"type": kind, "src": src, "fit": fit}], 0.1))[0]
        assert np.abs(np.array(white_box(frame)) - inner).max() <= 2, (fit, white_box(frame))


@pytest.mark.parametrize("kind", ["image", "video"])
def test_crop_and_flip(room: Lab, kind: str) -> None:
    frame = np.zeros((160, 160, 3), np.uint8)
    frame[:80, :80], frame[:80, 80:], frame[80:, :80], frame[80:, 80:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    picture(room.folder / "four.png", frame)
    encode(room.folder / "four.mp4", [frame] * 3, 30, *X264, *BT709)
    layer = {"type": kind, "src": "four.png" if kind == "image" else "four.mp4"}
    shown = room.frames(movie([{**layer, "crop": {"x": "50%", "y": 0, "width": "50%", "height": 80}}], 0.1))[0]
    close(middle(shown), (0, 255, 0))
    for flip, order in {"horizontal": [1, 0, 3, 2], "vertical": [2, 3, 0, 1], "both": [3, 2, 1, 0]}.items():
        shown = room.frames(movie([{**layer, "flip": flip}], 0.1))[0]
        colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
        for place, index in zip([(90, 90), (90, 270), (270, 90), (270, 270)], order, strict=True):
            close(shown[place], colors[index])


@pytest.mark.parametrize("angle", [-30, 17, 90, 45, 400])
@pytest.mark.parametrize("kind", ["image", "video", "shape"])
def test_rotation_is_exact_and_clockwise(room: Lab, kind: str, angle: float) -> None:
    picture(room.folder / "bar.png", solid((255, 255, 255), 240, 40))
    encode(room.folder / "bar.mp4", [solid((255, 255, 255), 240, 40)] * 3, 30, *X264, *BT709)
    own = {"image": {"src": "bar.png"}, "video": {"src": "bar.mp4"}, "shape": {}}[kind]
    layer = {"type": kind, **own, "width": 240, "height": 40, "rotation": angle}
    frame = room.frames(movie([layer], 0.1), FINE)[0].mean(-1)
    y, x = np.mgrid[:SIDE, :SIDE]
    x, y, weight = x - 179.5, y - 179.5, frame
    assert abs(float((x * weight).sum() / weight.sum())) < 0.1
    assert abs(float((y * weight).sum() / weight.sum())) < 0.1
    # The principal axis of what is white.
    tilt = 0.5 * np.degrees(np.arctan2(2 * (x * y * weight).sum(), ((x * x - y * y) * weight).sum()))
    assert abs((tilt - angle + 90) % 180 - 90) < 0.15, tilt
    assert abs(weight.sum() / 255 - 240 * 40) < 240 * 40 * 0.01, "nothing is lost in turning"


@pytest.mark.parametrize("kind", ["image", "video"])
def test_rounded_corners(room: Lab, kind: str) -> None:
    picture(room.folder / "w.png", solid((255, 255, 255), 200, 200))
    encode(room.folder / "w.mp4", [solid((255, 255, 255), 200, 200)] * 3, 30, *X264, *BT709)
    layer = {"type": kind, "src": "w.png" if kind == "image" else "w.mp4", "width": 200, "height": 200, "borderRadius": "50%"}
    frame = room.frames(movie([layer], 0.1), FINE)[0].mean(-1)
    y, x = np.mgrid[:SIDE, :SIDE]
    far = np.hypot(x - 179.5, y - 179.5)
    assert frame[far < 97].min() > 240
    assert frame[far > 103].max() < 16


def test_z_index_orders_layers_and_equals_keep_theirs(room: Lab) -> None:
    layers = [shape(0, 0, SIDE, SIDE, "#ff0000", zIndex=1), shape(0, 0, SIDE, SIDE, "#00ff00"),
              shape(0, 0, SIDE, SIDE, "#0000ff"), shape(0, 0, SIDE, 100, "#ffffff", zIndex=2)]  # fmt: skip
    frame = room.frames(movie(layers, 0.1))[0]
    close(frame[200, 180], (255, 0, 0))
    close(frame[50, 180], (255, 255, 255))
    frame = room.frames(movie(layers[1:3], 0.1))[0]
    close(middle(frame), (0, 0, 255))


def test_layers_come_and_go_on_their_frames(room: Lab) -> None:
    encode(room.folder / "g.mp4", [solid((0, 255, 0), 80, 80)] * 30, 30, *X264, *BT709)
    picture(room.folder / "g.png", solid((0, 255, 0), 80, 80))
    plain = {"start": 0.2, "duration": 0.3}
    turning = {**plain, "keyframes": {"rotation": [{"at": 0, "value": 0}, {"at": 1, "value": 90}]}}
    for layer in ({"type": "video", "src": "g.mp4", **plain}, {"type": "image", "src": "g.png", **plain},
                  {"type": "image", "src": "g.png", **turning}, {"type": "video", "src": "g.mp4", **turning},
                  {"type": "image", "src": "g.png", **plain, "kenBurns": {}}):  # fmt: skip
        frames = room.frames(movie([layer], 0.8))
        assert [bool(middle(f)[1] > 200) for f in frames] == [6 <= k < 15 for k in range(24)], layer


def test_a_layer_outside_of_the_canvas_is_harmless(room: Lab) -> None:
    track = [{"at": 0, "value": -4000}, {"at": 1, "value": -3000}]
    layers = [shape(900, 900, 50, 50, "red"), shape(-500, 0, 100, 100, "red"), shape(-50, -50, 100, 100, "white"),
              {"type": "text", "text": "far", "x": -4000, "y": 99, "keyframes": {"x": track}},
              shape(350, 350, 1000, 1000, "white")]  # fmt: skip
    frame = room.frames(movie(layers, 0.1))[0]
    close(frame[10:40, 10:40].mean((0, 1)), 255)
    close(middle(frame), 0)
    close(frame[355, 355], 255, 8)


def test_stills_and_clips_agree_on_filters(room: Lab) -> None:
    """A picture and a clip of it, through each filter and all of them at once."""
    swatches = np.zeros((120, 160, 3), np.uint8)
    for i, color in enumerate(COLORS[:8]):
        swatches[(i // 4) * 60 : (i // 4) * 60 + 60, (i % 4) * 40 : (i % 4) * 40 + 40] = color
    picture(room.folder / "sw.png", swatches)
    encode(room.folder / "sw.mkv", [swatches] * 3, 30, "-c:v", "ffv1", "-pix_fmt", "bgr0")
    every: list[dict[str, float]] = [
        {"brightness": 1.4}, {"brightness": 0.5}, {"contrast": 1.6}, {"contrast": 0.4}, {"saturation": 2.5}, {"saturation": 0},
        {"grayscale": 0.7}, {"sepia": 1}, {"hue": 120}, {"blur": 3},
        {"brightness": 1.2, "contrast": 1.3, "saturation": 0.6, "sepia": 0.3, "hue": -40},
    ]  # fmt: skip
    for tone in every:
        a, b = (
            room.frames(movie([{"type": kind, "src": src, "fit": "fill", "filters": tone}], 0.1), FINE)[0]
            for kind, src in (("image", "sw.png"), ("video", "sw.mkv"))
        )
        for i in range(8):
            spot = (slice((i // 4) * 180 + 60, (i // 4) * 180 + 120), slice((i % 4) * 90 + 30, (i % 4) * 90 + 60))
            close(a[spot].mean((0, 1)), b[spot].mean((0, 1)), 5)
        if tone == {"brightness": 0.5}:
            close(a[100, 320], np.array(COLORS[3]) * 0.5, 3)


@pytest.mark.parametrize("screen", [(0, 200, 60), (30, 60, 220)])
def test_chroma_key_on_stills_and_clips(room: Lab, screen: tuple[int, int, int]) -> None:
    frame = solid(screen, 160, 160)
    frame[40:120, 40:120] = (224, 172, 105)
    picture(room.folder / "screen.png", frame)
    encode(room.folder / "screen.mp4", [frame] * 3, 30, *X264, *BT709)
    key = {"color": hexed(screen), "similarity": 0.12, "blend": 0.06}
    for kind, src in (("image", "screen.png"), ("video", "screen.mp4")):
        shown = room.frames(movie([{"type": kind, "src": src, "chromaKey": key}], 0.1, bgColor="#702070"))[0]
        close(shown[40, 40], (0x70, 0x20, 0x70))
        close(middle(shown), (224, 172, 105))


def test_chroma_key_edges_agree_between_stills_and_clips(room: Lab) -> None:
    x = np.linspace(0, 1, 160)[None, :, None]
    ramp = np.broadcast_to(np.array((0, 200, 60)) * (1 - x) + np.array((224, 172, 105)) * x, (160, 160, 3)).astype(np.uint8)
    picture(room.folder / "ramp.png", ramp)
    encode(room.folder / "ramp.mkv", [ramp] * 2, 30, "-c:v", "ffv1", "-pix_fmt", "bgr0")
    key = {"color": "#00c83c", "similarity": 0.1, "blend": 0.1}
    a, b = (
        room.frames(movie([{"type": kind, "src": src, "fit": "fill", "chromaKey": key}], 0.1, bgColor="#702070"), FINE)[0]
        for kind, src in (("image", "ramp.png"), ("video", "ramp.mkv"))
    )
    assert float(np.abs(a - b).mean()) < 2
    assert psnr(a, b) > 35


# Keys


def test_equal_content_has_equal_keys_and_bytes_wherever_it_stands(room: Lab, tmp_path: Path) -> None:
    numbered(room.folder / "k.mp4", "30", 30)
    layers = [{"type": "video", "src": "k.mp4"}, {"type": "text", "text": "Same", "fontSize": 40, "enter": {"type": "pop"}}]
    one = room.plan({**movie(layers, 0.5), "id": "one", "title": "One"})
    other = lab(tmp_path / "other")
    (other.folder / "renamed.mov.bin").write_bytes((room.folder / "k.mp4").read_bytes())
    moved = [{**layers[0], "src": "renamed.mov.bin", "id": "clip"}, layers[1]]
    two = other.plan(scenes({"duration": 0.3, "bgColor": "#111111"}, {"duration": 0.5, "layers": moved, "id": "elsewhere"}, id="two"))
    assert two.clip_keys[1] == one.clip_keys[0]
    first, again, second = room.clips(one)[0], room.clips(one)[0], other.clips(two)[1]
    assert first.read_bytes() == again.read_bytes() == second.read_bytes()
    with (other.folder / "renamed.mov.bin").open("ab") as file:
        file.write(b"\0\0\0\x08free")
    changed = other.plan(movie(moved, 0.5))
    assert changed.clip_keys[0] != one.clip_keys[0], "other bytes under the same name"


def test_what_is_seen_decides_the_key(room: Lab) -> None:
    base = [shape(10, 10, 50, 50, "red")]
    key = room.plan(movie(base, 0.5)).clip_keys[0]
    assert room.plan(movie([{**base[0], "color": "#ff0000", "id": "x"}], 0.5)).clip_keys[0] == key
    others = [movie([{**base[0], "x": 11}], 0.5), movie(base, 0.6), movie(base, 0.5, bgColor="blue"), movie(base, 0.5, fps=25),
              movie(base, 0.5, height=362), movie(base, 0.5, output={"quality": "high"}),
              movie([{**base[0], "opacity": 0.5}], 0.5)]  # fmt: skip
    assert len({key, *(room.plan(d).clip_keys[0] for d in others)}) == len(others) + 1


def test_drafts_keep_every_frame(room: Lab) -> None:
    numbered(room.folder / "d.mp4", "24", 60)
    document = scenes(
        {"duration": 0.7, "layers": [{"type": "video", "src": "d.mp4", "fit": "fill", "borderRadius": 8}]},
        {"duration": 0.7, "transition": {"type": "fade", "duration": 0.3},
         "layers": [shape(100, 100, 60, 60, "white", keyframes={"x": [{"at": 0, "value": 0}, {"at": 0.5, "value": 200}]})]},
        fps="30000/1001",
    )  # fmt: skip
    plain, draft = room.plan(document), room.plan(document, draft=True)
    assert [(p.start, p.count) for p in draft.plan.pieces] == [(p.start, p.count) for p in plain.plan.pieces]
    frames = [decoded(path) for path in room.clips(draft)]
    assert [len(f) for f in frames] == [p.count for p in plain.plan.pieces]
    assert frames[0].shape[1:3] == (180, 180)
    full = [decoded(path) for path in room.clips(plain)]
    assert read_numbers(frames[0]) == read_numbers(full[0])
    # The same picture, half as large.
    halved = full[2].reshape(-1, 180, 2, 180, 2, 3).mean((2, 4))
    assert psnr(halved, frames[2]) > 25


# Previews


def test_previews_show_the_key_frame_before_a_moment_in_its_colour(room: Lab) -> None:
    document = scenes({"duration": 0.5, "bgColor": "#c81e5a"}, {"duration": 0.5, "bgColor": "#1ea0dc"})
    first, second = room.clips(room.plan(document))
    images = [*grab(first, [Fraction(0), Fraction(1, 3)], 120), *grab(second, [Fraction(0)], 120)]
    for image, color in zip(images, [(200, 30, 90), (200, 30, 90), (30, 160, 220)], strict=True):
        assert image.size == (120, 120)
        close(np.asarray(image, np.float32).mean((0, 1)), color, 4)
    sheet = contact_sheet(images * 3)
    assert sheet.size == (5 * 124 + 4, 2 * 124 + 4), "nine stand as five and four, not as six and three"
    with Image.open(BytesIO(jpeg(sheet))) as opened:
        assert opened.format == "JPEG"


# Anything


lengths = st.one_of(st.integers(-50, 400), st.sampled_from(["0%", "33.3%", "50%", "120%"]))
sizes = st.one_of(st.integers(1, 500), st.sampled_from(["10%", "50%", "100%", "150%"]))
colors = st.sampled_from(["red", "#00ff0080", "rgb(10 200 255)", "#ffffff", "transparent"])
eases = st.sampled_from(["linear", "ease", "ease-out-back", "ease-out-bounce", "step", "ease-in-out-cubic"])
passages = st.fixed_dictionaries(
    {"type": st.sampled_from(["fade", "slide-left", "slide-down", "zoom", "pop", "wipe-right", "wipe-up", "blur"]),
     "duration": st.sampled_from([0.05, 0.1, 0.3])}, optional={"easing": eases},
)  # fmt: skip


def tracks() -> st.SearchStrategy[dict[str, Any]]:
    ranges = {"x": (-50, 400), "y": (-50, 400), "width": (0, 400), "height": (0, 400), "scale": (0, 3), "rotation": (-400, 400),
              "opacity": (0, 1)}  # fmt: skip

    def track(name: str) -> st.SearchStrategy[list[dict[str, Any]]]:
        low, high = ranges[name]
        values = st.lists(st.floats(low, high).map(lambda v: round(v, 3)), min_size=1, max_size=3)
        return st.tuples(values, eases).map(lambda pair: [{"at": 0.1 * i, "value": v, "easing": pair[1]} for i, v in enumerate(pair[0])])

    return st.dictionaries(st.sampled_from(list(ranges)), st.none(), max_size=2).flatmap(
        lambda names: st.fixed_dictionaries({name: track(name) for name in names})
    )


common = {
    "x": lengths, "y": lengths, "width": sizes, "height": sizes, "anchor": st.sampled_from(["center", "top-left", "bottom"]),
    "opacity": st.floats(0, 1).map(lambda v: round(v, 3)), "rotation": st.sampled_from([0, 0, 30, -90, 12.5]),
    "flip": st.sampled_from(["none", "horizontal", "both"]), "zIndex": st.integers(-2, 2),
    "borderRadius": st.sampled_from([0, 0, 12, "50%"]),
    "blend": st.sampled_from(["normal", "normal", "normal", "screen", "overlay", "softlight"]), "enter": passages, "exit": passages,
    "keyframes": tracks(), "start": st.sampled_from([0, 0.05, 0.2]),
    "filters": st.fixed_dictionaries({"contrast": st.sampled_from([0.5, 1, 2]), "blur": st.sampled_from([0, 2.5]), "hue": st.just(40)}),
}  # fmt: skip
pictured = {"fit": st.sampled_from(["cover", "contain", "fill", "none"]), "kenBurns": st.fixed_dictionaries(
    {"from": st.just({"x": 0.2, "y": 0.8, "scale": 1.5}), "easing": eases}),
    "chromaKey": st.just({"color": "#00ff00"}),
    "crop": st.just({"x": "10%", "y": 3, "width": "33.3%", "height": "77%"})}  # fmt: skip


def layer(kind: str, required: dict[str, Any], own: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    # A handful of the optional fields each, so that they meet in pairs rather than all at once.
    optional = {**common, **own}
    names = st.lists(st.sampled_from(sorted(optional)), max_size=5, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({"type": st.just(kind), **required, **{n: optional[n] for n in chosen}}))


layers = st.one_of(
    layer("shape", {"shape": st.sampled_from(["rect", "ellipse", "line"]), "color": colors}, {"radius": st.just(9)}),
    layer("text", {"text": st.sampled_from(["Hi", "two\nlines", "wörds and more words", " "]), "fontSize": st.sampled_from([12, 60])},
          {"stroke": st.just({"width": 3}), "shadow": st.just({"x": 3}), "background": st.just({}), "reveal":
           st.sampled_from(["typewriter", "words", "lines"])}),
    layer("image", {"src": st.sampled_from(["f.png", "fa.png", "f.gif"])}, pictured),
    layer("video", {"src": st.sampled_from(["f.mp4", "fa.webm"])},
          {**pictured, "loop": st.booleans(), "trimStart": st.sampled_from([0, 0.07]), "speed": st.sampled_from([0.5, 1, 3]),
           "duration": st.sampled_from(["auto", "scene", 0.1])}),
)  # fmt: skip


@pytest.fixture(scope="module")
def props(room: Lab) -> Lab:
    picture(room.folder / "f.png", number_plate(90, 90, 70))
    picture(room.folder / "fa.png", np.dstack([number_plate(90, 64, 64), number_plate(51, 64, 64)[..., 0]]))
    frames = [np.rot90(number_plate(n, 64, 64), n % 4) for n in range(6)]
    encode(room.folder / "f.gif", frames, 10)
    encode(room.folder / "f.mp4", frames * 2, 25, *X264, *BT709)
    clear = [np.dstack([f, f[..., 0]]) for f in frames]
    encode(room.folder / "fa.webm", clear, 25, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime", "-cpu-used", "8")
    return room


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5]), st.lists(layers, max_size=3)), min_size=1, max_size=2),
    over=st.lists(layers, max_size=1), transition=st.sampled_from(["cut", "fade", "zoomin", "circlecrop"]),
    fps=st.sampled_from([30, 25, "30000/1001"]),
)  # fmt: skip
def test_any_small_movie_renders_with_its_exact_frames(props: Lab, parts: Any, over: Any, transition: str, fps: Any) -> None:
    told = [{"duration": d, "layers": ls} for d, ls in parts]
    if len(told) > 1:
        told[1]["transition"] = {"type": transition, "duration": 0.1}
    prepared = props.plan(scenes(*told, layers=over, fps=fps))
    count = 0
    for piece in prepared.plan.pieces:
        folder = props.scratch()
        render_piece(piece, prepared.plan.canvas, FINE, props.easel(prepared), folder, folder / "clip.mp4")
        with av.open(str(folder / "clip.mp4")) as container:
            count += sum(1 for _ in container.decode(video=0))
    assert count == prepared.plan.frames
    assert isinstance(prepared.plan.pieces[0], Piece)


def test_the_reader_of_these_tests_is_right() -> None:
    """Limited range grey and red by the textbook."""
    grey = np.full((2, 2), 126, np.uint8), np.full((1, 1), 128, np.uint8), np.full((1, 1), 128, np.uint8)
    close(to_rgb(grey)[0, 0], 255 * 110 / 219, 0.01)
    red = np.full((2, 2), 63, np.uint8), np.full((1, 1), 102, np.uint8), np.full((1, 1), 240, np.uint8)
    close(to_rgb(red)[0, 0], (255, 0, 0), 1.5)
