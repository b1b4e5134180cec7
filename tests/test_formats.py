"""Every kind of picture file a film may use: the right frames of it, at the right moment, the right way up, in the right colours.

All is judged by decoded frames of rendered pieces.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.films import (
    BT709,
    FINE,
    SIDE,
    X264,
    Lab,
    Pixels,
    decoded,
    encode,
    ffmpeg,
    lab,
    middle,
    movie,
    number_plate,
    numbered,
    picture,
    read_number,
    read_numbers,
    solid,
)
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.picture import Piece, cut
from viralsync_pipelines.render.prepare import Prepared
from viralsync_pipelines.render.scenes import render_piece

RED, GREEN, BLUE, YELLOW, WHITE = (220, 40, 40), (40, 180, 60), (40, 60, 200), (220, 210, 50), (240, 240, 240)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("formats"))


def clip(room: Lab, name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "video", "src": name, "fit": "fill", **fields}


def window(room: Lab, prepared: Prepared, first: int, count: int) -> Pixels:
    """Frames of a scene as a piece that begins in its middle sees them (an overlap, or a body behind one)."""
    whole = prepared.plan.pieces[0]
    piece = Piece("body", 0, first, count, whole.background, cut(whole.under, first, count), cut(whole.over, first, count))
    folder = room.scratch()
    render_piece(piece, prepared.plan.canvas, ENCODERS["standard"], room.easel(prepared), folder, folder / "w.mp4")
    return decoded(folder / "w.mp4")


def on_show(frame: int, source: Fraction, film: Fraction, speed: Fraction = Fraction(1), start: Fraction = Fraction(0)) -> int:
    """The source frame that a film's frame shows: the last that began at most three tenths of a film frame late."""
    return floor((start + (frame + Fraction(3, 10)) / film * speed) * source)


# Which frame


@pytest.mark.parametrize("film", ["30", "30000/1001"])
@pytest.mark.parametrize("rate", ["24", "25", "30000/1001", "30", "50", "60"])
def test_source_frames_are_shown_at_their_time_in_every_window(room: Lab, rate: str, film: str) -> None:
    name = f"rate{rate.replace('/', '_')}.mp4"
    if not (room.folder / name).exists():
        numbered(room.folder / name, rate, 100)
    prepared = room.plan(movie([clip(room, name)], 1.2, fps=film))
    count = prepared.plan.frames
    expected = [on_show(k, Fraction(rate), Fraction(film)) for k in range(count)]
    assert read_numbers(decoded(room.clips(prepared)[0])) == expected
    for first, length in ((1, 5), (14, 4), (19, count - 19)):
        assert read_numbers(window(room, prepared, first, length)) == expected[first : first + length]
    for k in (2, 3, 17, count - 1):
        assert read_number(room.still(movie([clip(room, name)], 1.2, fps=film), k)) == expected[k]


def test_matroska_times_rounded_to_milliseconds_pick_the_same_frames(room: Lab) -> None:
    numbered(room.folder / "ms.mkv", "60", 80)
    prepared = room.plan(movie([clip(room, "ms.mkv")], 1.2))
    assert read_numbers(decoded(room.clips(prepared)[0])) == [2 * k for k in range(36)]
    assert read_numbers(window(room, prepared, 7, 5)) == [14, 16, 18, 20, 22]


def uneven(room: Lab) -> tuple[str, list[Fraction]]:
    """A clip whose frames come at uneven times, as a phone or a screen recorder makes it, and those times."""
    gaps = [1, 1, 3, 1, 9, 2, 1, 1, 4, 1, 1, 2, 12, 1, 1, 5, 1, 2, 1, 1]
    times = [Fraction(sum(gaps[:i]), 30) for i in range(len(gaps))]
    if not (room.folder / "vfr.mp4").exists():
        numbered(room.folder / "even.mkv", "30", len(gaps), "-c:v", "ffv1")
        steps = "+".join(f"gte(N\\,{i + 1})*{gap - 1}" for i, gap in enumerate(gaps))
        ffmpeg("-i", room.folder / "even.mkv", "-vf", f"settb=1/30,setpts=N+{steps}", "-fps_mode", "passthrough", "-enc_time_base",
               "1/30", *X264, "-g", "5", "-pix_fmt", "yuv420p", room.folder / "vfr.mp4")  # fmt: skip
    return "vfr.mp4", times


def test_variable_frame_rate_is_followed_in_every_window(room: Lab) -> None:
    name, times = uneven(room)
    prepared = room.plan(movie([clip(room, name)], 1.6))
    expected = [max(i for i, at in enumerate(times) if at * 30 <= k) for k in range(48)]
    assert read_numbers(decoded(room.clips(prepared)[0])) == expected
    for first in (10, 12, 29, 40):
        assert read_numbers(window(room, prepared, first, 3)) == expected[first : first + 3]


@pytest.mark.parametrize("speed", [0.5, 2, 1.25])
def test_speed_maps_frames_and_shortens_the_layer(room: Lab, speed: float) -> None:
    numbered(room.folder / "speed.mp4", "30", 60)
    prepared = room.plan(movie([clip(room, "speed.mp4", speed=speed)], 0.8))
    expected = [on_show(k, Fraction(30), Fraction(30), Fraction(str(speed))) for k in range(24)]
    assert read_numbers(decoded(room.clips(prepared)[0])) == expected
    assert read_numbers(window(room, prepared, 9, 4)) == expected[9:13]
    whole = room.plan({**movie([clip(room, "speed.mp4", speed=speed)]), "scenes": [
        {"id": "s", "layers": [clip(room, "speed.mp4", speed=speed)]}]})  # fmt: skip
    assert whole.plan.frames == round(60 / speed)


def test_trims_are_exact_to_the_frame_and_the_layer_ends_with_them(room: Lab) -> None:
    numbered(room.folder / "trim.mp4", "30", 60)
    frames = room.frames(movie([clip(room, "trim.mp4", trimStart=0.5, trimEnd=1.1)], 0.8, bgColor="#00ff00"))
    assert read_numbers(frames[:18]) == list(range(15, 33))
    assert all(middle(f)[1] > 240 and middle(f)[0] < 10 for f in frames[18:]), "the ground shows when the clip is over"


def test_a_clip_longer_than_its_scene_is_cut_and_a_shorter_one_ends(room: Lab) -> None:
    numbered(room.folder / "length.mp4", "30", 12)
    assert read_numbers(room.frames(movie([clip(room, "length.mp4")], 0.2))) == list(range(6))
    frames = room.frames(movie([clip(room, "length.mp4")], 0.6, bgColor="#00ff00"))
    assert read_numbers(frames[:12]) == list(range(12))
    assert len(frames) == 18
    assert middle(frames[12])[1] > 240


def test_a_slow_source_holds_its_last_frame_to_its_own_end(room: Lab) -> None:
    numbered(room.folder / "slow.mp4", "5", 4)
    frames = room.frames({**movie([]), "scenes": [{"id": "s", "layers": [clip(room, "slow.mp4")]}]})
    assert read_numbers(frames) == [k // 6 for k in range(24)]


@pytest.mark.parametrize("rate", ["30", "24"])
def test_a_loop_repeats_exactly_its_trimmed_frames_in_every_window(room: Lab, rate: str) -> None:
    name = f"loop{rate}.mp4"
    numbered(room.folder / name, rate, 60)
    prepared = room.plan(movie([clip(room, name, loop=True, trimStart=0.5, trimEnd=0.9)], 2.5))
    period = [on_show(k, Fraction(rate), Fraction(30), start=Fraction(1, 2)) for k in range(12)]
    expected = (period * 7)[:75]
    assert read_numbers(decoded(room.clips(prepared)[0])) == expected
    for first, count in ((3, 5), (13, 4), (34, 30), (60, 15)):
        assert read_numbers(window(room, prepared, first, count)) == expected[first : first + count]


def test_a_long_loop_does_not_drift(room: Lab) -> None:
    numbered(room.folder / "short.mp4", "30", 7)
    numbers = read_numbers(room.frames(movie([clip(room, "short.mp4", loop=True)], 8)))
    assert numbers == [k % 7 for k in range(240)]


def test_a_picture_that_starts_after_its_sound_waits_for_it(room: Lab) -> None:
    numbered(room.folder / "v.mp4", "30", 30)
    ffmpeg("-itsoffset", "0.2", "-i", room.folder / "v.mp4", "-f", "lavfi", "-i", "sine=d=1.2", "-map", "0:v", "-map", "1:a",
           "-c:v", "copy", "-c:a", "aac", room.folder / "late.mkv")  # fmt: skip
    numbers = read_numbers(room.frames(movie([clip(room, "late.mkv")], 0.6)))
    assert numbers == [0] * 6 + list(range(12))


def test_a_clip_cut_without_encoding_starts_where_its_edit_list_says(room: Lab) -> None:
    numbered(room.folder / "whole.mp4", "30", 60)
    ffmpeg("-ss", "0.5", "-i", room.folder / "whole.mp4", "-c", "copy", room.folder / "edited.mp4")
    prepared = room.plan(movie([clip(room, "edited.mp4", trimStart=0.1)], 0.6))
    assert read_numbers(decoded(room.clips(prepared)[0])) == list(range(18, 36))
    assert read_numbers(window(room, prepared, 9, 3)) == [27, 28, 29]


# Which container and codec

# Codecs that cannot name their matrix are Rec. 601 at this size.
SD = ("-vf", "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p")
CODECS: dict[str, tuple[str, ...]] = {
    "h264.mov": (*X264, *BT709),
    "h264.mkv": (*X264, *BT709),
    "h264.ts": (*X264, *BT709),
    "h264_open_gop.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=6:bframes=3", *BT709),
    "fragments.mp4": (*X264, "-g", "6", "-movflags", "frag_keyframe+empty_moov", *BT709),
    "live.webm": ("-c:v", "libvpx-vp9", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "6", "-f", "webm", "-live", "1",
                  *BT709),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1", "-tag:v", "hvc1", *BT709),
    "hevc10.mkv": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1", "-vf",
                   "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p10le", *BT709[2:]),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", *SD),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", *BT709),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-svtav1-params", "lp=1", *BT709),
    "av1.webm": ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-crf", "20", "-threads", "1", *BT709),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "2", "-threads", "1", "-vf",
                   "scale=out_color_matrix=bt709:out_range=tv,format=yuv422p10le", *BT709[2:]),
    "mpeg4.mp4": ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2", *SD),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "2", *SD),
    "mjpeg.mov": ("-c:v", "mjpeg", "-q:v", "2", "-vf", "scale=out_color_matrix=bt601:out_range=pc,format=yuvj420p"),
    "h264_444.mp4": (*X264, "-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p", *BT709[2:]),
    "h264_full.mp4": (*X264, "-vf", "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p", "-color_range", "pc",
                      *BT709[2:4], *BT709[6:]),
    "rle.mov": ("-c:v", "qtrle"),
    "ffv1_rgb.mkv": ("-c:v", "ffv1", "-pix_fmt", "bgr0"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CODECS))
def test_every_codec_and_container_gives_its_frames_and_colours(room: Lab, name: str) -> None:
    plates = []
    for number in range(20):
        plate = np.concatenate([number_plate(number, 160, 80), solid(RED, 160, 80)])
        plates.append(plate)
    encode(room.folder / name, plates, 30, *CODECS[name])
    prepared = room.plan(movie([clip(room, name)], 0.6))
    frames = decoded(room.clips(prepared)[0])
    assert read_numbers(f[:SIDE // 2] for f in frames) == list(range(18))
    assert read_numbers(f[:SIDE // 2] for f in window(room, prepared, 7, 5)) == [7, 8, 9, 10, 11]
    tolerance = 3 if "mjpeg" not in name else 5
    assert np.abs(frames[9][200:340, 20:340].mean((0, 1)) - RED).max() <= tolerance


# Transparency


def half_clear(number: int, size: int = 160) -> Pixels:
    """Left half clear (over a colour that must not be seen), right half a colour; every third frame another."""
    color = (RED, GREEN, YELLOW)[number % 3]
    frame = np.zeros((size, size, 4), np.uint8)
    frame[:, : size // 2] = (*WHITE, 0)
    frame[:, size // 2 :] = (*color, 255)
    return frame


ALPHA: dict[str, tuple[str, ...]] = {
    "vp9a.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-b:v", "2M", "-deadline", "realtime", "-auto-alt-ref", "0"),
    "vp8a.webm": ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-b:v", "2M", "-deadline", "realtime", "-auto-alt-ref", "0"),
    "prores4444.mov": ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le", "-alpha_bits", "16", "-threads", "1"),
    "rlea.mov": ("-c:v", "qtrle", "-pix_fmt", "argb"),
    "png.mov": ("-c:v", "png", "-pix_fmt", "rgba"),
    "apng.png": ("-c:v", "apng", "-f", "apng", "-plays", "0", "-pix_fmt", "rgba"),
}


@pytest.mark.parametrize("name", list(ALPHA))
def test_clear_parts_of_a_clip_let_the_ground_show(room: Lab, name: str) -> None:
    encode(room.folder / name, [half_clear(n) for n in range(12)], 30, *ALPHA[name])
    kind = "image" if name.endswith("png") and "mov" not in name else "video"
    frames = room.frames(movie([{"type": kind, "src": name, "fit": "fill"}], 0.3, bgColor="#2838a0"))
    for k in (0, 1, 2, 5, 8):
        assert np.abs(frames[k][:, 20:160].mean((0, 1)) - (0x28, 0x38, 0xA0)).max() <= 3, k
        assert np.abs(frames[k][:, 200:340].mean((0, 1)) - (RED, GREEN, YELLOW)[k % 3]).max() <= 4, k
    # No fringe: at the border colours lie between the two sides, and no third one (the clear white) comes in.
    edge = frames[0][180, 168:192]
    assert edge[:, 1].max() <= 0x38 + 12


def animated(path: Path, delays: list[int], colors: list[tuple[int, ...]], **options: Any) -> None:
    frames = [Image.fromarray(solid(c, 40, 40)) for c in colors]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=delays, loop=0, **options)


@pytest.mark.parametrize(("name", "options"), [("dance.gif", {"disposal": 2}), ("dance.webp", {"lossless": True})])
def test_animated_pictures_play_by_their_delays_and_start_over(room: Lab, name: str, options: dict[str, Any]) -> None:
    animated(room.folder / name, [100, 200, 100], [RED, GREEN, BLUE], **options)
    prepared = room.plan(movie([{"type": "image", "src": name}], 1.0))
    shown = decoded(room.clips(prepared)[0])
    period = [RED] * 3 + [GREEN] * 6 + [BLUE] * 3
    wanted = (period * 3)[:30]
    for k, (frame, color) in enumerate(zip(shown, wanted, strict=True)):
        assert np.abs(middle(frame) - color).max() <= 6, k
    for k, frame in enumerate(window(room, prepared, 10, 10)):
        assert np.abs(middle(frame) - wanted[10 + k]).max() <= 6, k


def test_a_gif_sticker_has_no_dark_fringe_when_enlarged(room: Lab) -> None:
    disc = np.zeros((40, 40, 4), np.uint8)
    y, x = np.mgrid[:40, :40]
    disc[(x - 19.5) ** 2 + (y - 19.5) ** 2 < 225] = (250, 250, 250, 255)
    frames = [Image.fromarray(disc), Image.fromarray(np.roll(disc, 1, 0))]
    frames[0].save(room.folder / "sticker.gif", save_all=True, append_images=frames[1:], duration=100, loop=0, disposal=2)
    shown = room.frames(movie([{"type": "image", "src": "sticker.gif"}], 0.1, bgColor="#e0e0e0"))[0]
    assert shown.min() > 0xE0 - 8, "something darker than both sticker and ground"
    assert np.abs(middle(shown) - 250).max() <= 3


def test_a_gif_or_webp_of_one_frame_is_a_still(room: Lab) -> None:
    for name in ("one.gif", "one.webp"):
        Image.fromarray(solid(GREEN, 60, 40)).save(room.folder / name, **({"lossless": True} if "webp" in name else {}))
        frames = room.frames(movie([{"type": "image", "src": name}], 0.2))
        assert all(np.abs(middle(f) - GREEN).max() <= 4 for f in frames)


# Stills


def quarters(width: int = 80, height: int = 60) -> Pixels:
    """Red, green / blue, yellow."""
    out = np.zeros((height, width, 3), np.uint8)
    out[: height // 2, : width // 2], out[: height // 2, width // 2 :] = RED, GREEN
    out[height // 2 :, : width // 2], out[height // 2 :, width // 2 :] = BLUE, YELLOW
    return out


def seen_quarters(frame: Pixels) -> list[tuple[int, ...]]:
    """Which colour each quarter shows: top left, top right, bottom left, bottom right."""
    h, w = frame.shape[:2]
    spots = [frame[y - 8 : y + 8, x - 8 : x + 8].mean((0, 1)) for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)]
    colors = [RED, GREEN, BLUE, YELLOW]
    found = []
    for spot in spots:
        nearest = min(colors, key=lambda c: float(np.abs(spot - c).max()))
        assert np.abs(spot - nearest).max() <= 8, f"{spot} is none of the colours"
        found.append(nearest)
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(room: Lab, orientation: int) -> None:
    upright = Image.fromarray(quarters())
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    # Stored as the camera held it: the transposition that turning it back will undo.
    stored = upright if undo is None else upright.transpose({0: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        1: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 2: Image.Transpose.ROTATE_90,
        6: Image.Transpose.TRANSVERSE, 4: Image.Transpose.ROTATE_270}[undo])  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(room.folder / f"exif{orientation}.jpg", quality=95, subsampling=0, exif=exif)
    frame = room.frames(movie([{"type": "image", "src": f"exif{orientation}.jpg", "fit": "contain"}], 0.1))[0]
    assert seen_quarters(frame[45:315]) == [RED, GREEN, BLUE, YELLOW]
    assert middle(frame[:40]).max() < 6, "wider than high, so there is ground above it"


STILLS = ["cmyk.jpg", "grey16.png", "rgb16.png", "palette.png", "grey.jpg", "la.png", "photo.avif", "photo.bmp", "one_bit.png"]


@pytest.mark.parametrize("name", STILLS)
def test_stills_of_every_depth_and_model_keep_their_colour(room: Lab, name: str) -> None:
    color: tuple[int, ...] = RED
    image = Image.fromarray(solid(RED, 64, 64))
    path = room.folder / name
    if name == "cmyk.jpg":
        Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(path, quality=95)
        color = (254, 0, 0)
    elif name == "grey16.png":
        Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(path)
        color = (156, 156, 156)
    elif name == "rgb16.png":
        ffmpeg("-f", "lavfi", "-i", "color=c=0xdc2828:s=64x64,format=gbrp,format=rgb48be", "-frames:v", "1", "-update", "1", path)
    elif name == "palette.png":
        image.convert("P").save(path, transparency=255)
    elif name == "grey.jpg":
        Image.new("L", (64, 64), 90).save(path, quality=95)
        color = (90, 90, 90)
    elif name == "la.png":
        Image.new("LA", (64, 64), (200, 128)).save(path)
        color = (100, 100, 100)
    elif name == "one_bit.png":
        Image.new("1", (64, 64), 1).save(path)
        color = (255, 255, 255)
    else:
        image.save(path, **({"quality": 95} if "avif" in name else {}))
    frame = room.frames(movie([{"type": "image", "src": name}], 0.1))[0]
    assert np.abs(middle(frame) - color).max() <= 3, middle(frame)


def test_png_alpha_mixes_with_the_ground(room: Lab) -> None:
    picture(room.folder / "half.png", solid((255, 0, 0, 128), 90, 90))
    frame = room.frames(movie([{"type": "image", "src": "half.png"}], 0.1, bgColor="#0000ff"))[0]
    assert np.abs(middle(frame) - (128, 0, 127)).max() <= 3


def test_display_p3_becomes_srgb(room: Lab) -> None:
    # sRGB (0, 200, 0) written in Display P3, as a phone would: these are its P3 numbers.
    profile = display_p3()
    Image.fromarray(solid((92, 198, 60), 64, 64)).save(room.folder / "p3.png", icc_profile=profile)
    frame = room.frames(movie([{"type": "image", "src": "p3.png"}], 0.1))[0]
    straight = ImageCms.profileToProfile(
        Image.fromarray(solid((92, 198, 60), 4, 4)), ImageCms.ImageCmsProfile(_io(profile)), ImageCms.createProfile("sRGB")
    )
    assert straight is not None
    assert np.abs(middle(frame) - np.array(straight.getpixel((0, 0)))).max() <= 3
    assert middle(frame)[0] < 60, "the profile was left aside"


def _io(data: bytes) -> Any:
    from io import BytesIO

    return BytesIO(data)


def display_p3() -> bytes:
    """A small Display P3 profile: sRGB's with the primaries replaced."""
    import struct

    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189), b"bXYZ": (0.1571, 0.06657, 0.78407)}
    for i in range(struct.unpack(">I", data[128:132])[0]):
        tag, at, _ = struct.unpack(">4sII", data[132 + 12 * i : 144 + 12 * i])
        if tag in primaries:
            data[at + 8 : at + 20] = struct.pack(">3i", *(round(v * 65536) for v in primaries[tag]))
        if tag == b"desc":
            text = bytes(data[at:])
            for name in ("sRGB", "sRGB"[0]):
                wide = name.encode("utf-16-be")
                if wide in text[:200]:
                    spot = data.index(wide, at)
                    data[spot : spot + len(wide)] = ("Dsp3" if len(name) == 4 else "D").encode("utf-16-be")[: len(wide)]
                    break
    return bytes(data)


def test_heic_pictures_are_read(room: Lab) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pytest.importorskip("pi_heif")
    heif = pillow_heif.from_pillow(Image.fromarray(quarters(160, 120)))
    heif.save(room.folder / "phone.heic", quality=90)
    frame = room.frames(movie([{"type": "image", "src": "phone.heic", "fit": "fill"}], 0.1))[0]
    assert seen_quarters(frame) == [RED, GREEN, BLUE, YELLOW]


# Shape


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_video_stands_upright(room: Lab, degrees: int) -> None:
    encode(room.folder / "lying.mp4", [quarters()] * 10, 30, *X264, "-g", "5", *BT709)
    name = f"turned{degrees}.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", room.folder / "lying.mp4", "-c", "copy", room.folder / name)
    prepared = room.plan(movie([{"type": "video", "src": name, "fit": "contain"}], 0.2))
    frame = decoded(room.clips(prepared)[0])[3]
    # Display matrices turn counter-clockwise.
    upright = np.rot90(np.array([[0, 1], [2, 3]]), degrees // 90).reshape(-1)
    wanted = [[RED, GREEN, BLUE, YELLOW][i] for i in upright]
    inner = frame[45:315] if degrees == 180 else frame[:, 45:315]
    assert seen_quarters(inner) == wanted
    outer = frame[:36] if degrees == 180 else frame[:, :36]
    assert outer.max() < 20, "turned by a quarter it is higher than wide"
    # The picture is seekable just as well.
    part = window(room, prepared, 3, 2)[0]
    assert seen_quarters(part[45:315] if degrees == 180 else part[:, 45:315]) == wanted


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_widened(room: Lab, turned: bool) -> None:
    encode(room.folder / "dv.mp4", [quarters(90, 120)] * 6, 30, *X264, "-vf",
           "setsar=16/9,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", *BT709[2:])  # fmt: skip
    name = "dv.mp4"
    if turned:
        name = "dv_turned.mp4"
        ffmpeg("-display_rotation", "90", "-i", room.folder / "dv.mp4", "-c", "copy", room.folder / name)
    # 90x120 at 16:9 is seen as 160x120.
    frame = room.frames(movie([{"type": "video", "src": name, "fit": "contain"}], 0.1))[0]
    frame = np.rot90(frame, -1) if turned else frame
    assert seen_quarters(frame[45:315]) == [RED, GREEN, BLUE, YELLOW]
    assert frame[:40].max() < 20
    assert np.abs(frame[60:160, 3:20].mean((0, 1)) - RED).max() < 10, "it reaches the sides"


@pytest.mark.parametrize(("width", "height"), [(161, 121), (90, 161), (53, 41), (2, 2)])
def test_odd_sizes_fill_the_canvas(room: Lab, width: int, height: int) -> None:
    name = f"odd{width}.mkv"
    encode(room.folder / name, [solid(RED, width, height)] * 4, 30, "-c:v", "ffv1", "-pix_fmt", "bgr0")
    frames = room.frames(movie([{"type": "video", "src": name}], 0.1))
    assert all(np.abs(f.reshape(-1, 3) - RED).max() <= 4 for f in frames)
    small = {"type": "video", "src": name, "width": 101, "height": 67, "x": 55, "y": 41}
    frame = room.frames(movie([small], 0.1))[0]
    assert np.abs(frame[20:60, 20:90].mean((0, 1)) - RED).max() <= 3


def test_interlaced_video_is_shown_without_combing(room: Lab) -> None:
    # A bar that moves four pixels between fields, so that weaving the fields would tear its edges.
    fields = []
    for n in range(40):
        frame = solid((30, 30, 30), 160, 160)
        frame[:, 20 + 3 * n : 40 + 3 * n] = 230
        fields.append(frame)
    woven = "tinterlace=interleave_top,scale=interl=1:out_color_matrix=bt709:out_range=tv,format=yuv420p,setfield=tff"
    encode(room.folder / "comb.mp4", fields, 60, *X264, "-vf", woven, "-flags", "+ildct+ilme", "-x264-params", "tff=1", *BT709[2:])
    frame = room.frames(movie([clip(room, "comb.mp4")], 0.5))[7]
    luma = frame.mean(-1)
    # Rows alternate where fields are woven: the second difference between rows.
    tearing = np.abs(luma[2:] - 2 * luma[1:-1] + luma[:-2])[40:-40].mean()
    assert tearing < 2, tearing


# Depth and range


def hdr_ramp(room: Lab, transfer: str) -> str:
    """A grey ramp of 16 steps of the signal, in PQ or HLG."""
    name = f"{transfer}.mp4"
    levels = np.linspace(64, 940, 16).astype(np.uint16)
    luma = np.broadcast_to(np.repeat(levels, 20)[None], (160, 320)).astype("<u2")
    chroma = np.full((80, 160), 512, "<u2")
    data = (luma.tobytes() + chroma.tobytes() * 2) * 5
    ffmpeg("-f", "rawvideo", "-pixel_format", "yuv420p10le", "-video_size", "320x160", "-framerate", "30", "-i", "pipe:0",
           "-vf", f"setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}",
           "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
           f"log-level=none:pools=1:crf=5:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc", "-tag:v", "hvc1",
           room.folder / name, data=data)  # fmt: skip
    return name


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_becomes_a_sensible_sdr_picture(room: Lab, transfer: str) -> None:
    frame = room.frames(movie([clip(room, hdr_ramp(room, transfer))], 0.1))[0]
    steps = [frame[180, int((i + 0.5) * SIDE / 16)] for i in range(16)]
    grey = np.array([s.mean() for s in steps])
    assert all(np.ptp(s) <= 4 for s in steps), "grey stays grey"
    assert (np.diff(grey) >= -0.5).all(), "and the ramp monotone"
    assert grey[0] < 6
    signal = np.linspace(0, 1, 16)
    # Diffuse white, 203 nits: 58 % of PQ and 75 % of HLG (BT.2408). A grey card, 26 nits: 38 %.
    white = np.interp(0.58 if transfer == "smpte2084" else 0.75, signal, grey)
    card = np.interp(0.38, signal, grey)
    assert 195 <= white <= 240, white
    assert 75 <= card <= 135, card


def test_untagged_hdr_has_no_place_and_ten_bit_sdr_keeps_its_colour(room: Lab) -> None:
    encode(room.folder / "ten.mp4", [solid(GREEN, 160, 160)] * 5, 30, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
           "log-level=none:pools=1:crf=8", "-tag:v", "hvc1", "-vf",
           "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p10le", *BT709[2:])  # fmt: skip
    frame = room.frames(movie([clip(room, "ten.mp4")], 0.1))[0]
    assert np.abs(middle(frame) - GREEN).max() <= 3


def test_a_clip_cut_out_of_a_scene_looks_like_the_scene(room: Lab) -> None:
    """Frame for frame the same picture (above 40 dB) in a body, in an overlap's window, and as a still."""
    from tests.films import psnr

    x = np.arange(240) / 12
    waves = [np.sin(x[None] + n / 2) + np.cos(x[:, None] - n / 3) for n in range(30)]
    frames = [np.stack([128 + 50 * w, 120 + 30 * np.roll(w, 30, 1), 128 - 40 * w], -1).astype(np.uint8) for w in waves]
    encode(room.folder / "texture.mp4", frames, 25, *X264, "-g", "8", *BT709)
    layers = [clip(room, "texture.mp4", fit="cover", enter={"type": "fade", "duration": 0.3}, borderRadius=30, opacity=0.9),
              {"type": "video", "src": "texture.mp4", "width": 120, "height": 90, "rotation": 20, "x": 100, "y": 100}]  # fmt: skip
    document = movie(layers, 0.9)
    prepared = room.plan(document)
    whole = decoded(room.clips(prepared, FINE)[0])
    for first in (4, 13, 20):
        piece = prepared.plan.pieces[0]
        part = Piece("body", 0, first, 3, piece.background, cut(piece.under, first, 3))
        folder = room.scratch()
        render_piece(part, prepared.plan.canvas, FINE, room.easel(prepared), folder, folder / "w.mp4")
        for k, frame in enumerate(decoded(folder / "w.mp4")):
            assert psnr(frame, whole[first + k]) > 40, (first, k)
        assert psnr(room.still(document, first), whole[first]) > 40, first
