"""Sniffing and probing: what is measured is what ffmpeg plays, whatever the header claims; what is cut or hostile is named."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import imageio_ffmpeg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.media import MediaInfo
from viralsync_pipelines.render.probe import kind_of, probe
from viralsync_pipelines.render.sniff import Sniffed, sniff, sniff_file
from viralsync_pipelines.render.spans import Span, average_rate, uneven

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4"]
SOUND = ["-f", "lavfi", "-i", "sine=440:r=44100:d=0.5"]
CLEAR = ["-f", "lavfi", "-i", "color=red@0.5:s=64x48:r=25:d=0.4,format=yuva420p"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
X265 = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=none",
    "-pix_fmt",
    "yuv420p10le",
    "-tag:v",
    "hvc1",
]
# Five frames at 25 a second, then five that last three times as long: 0.72 s that no frame rate gives.
SLOWING = ["-vf", "setpts='if(lt(N,5),N,5+(N-5)*3)/25/TB'", "-fps_mode", "vfr"]

RECIPES: dict[str, list[str]] = {
    "h264.mp4": [*PICTURE, *SOUND, *X264, "-c:a", "aac"],
    "faststart.mp4": [*PICTURE, *SOUND, *X264, "-c:a", "aac", "-movflags", "+faststart"],
    "hevc10.mp4": [*PICTURE, *X265],
    "alpha-vp9.webm": [*CLEAR, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"],
    "alpha-vp8.webm": [*CLEAR, "-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"],
    "opaque.webm": [*PICTURE, "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"],
    "av1.mp4": [*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8"],
    "prores4444.mov": [*CLEAR, "-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"],
    "prores422.mov": [*PICTURE, "-c:v", "prores_ks", "-profile:v", "2"],
    "mpeg4.avi": [*PICTURE, *SOUND, "-c:v", "mpeg4", "-c:a", "libmp3lame"],
    "h264.mkv": [*PICTURE, *SOUND, *X264, "-c:a", "flac"],
    "h264.ts": [*PICTURE, *SOUND, *X264, "-c:a", "aac"],
    "loop.gif": [*PICTURE, "-loop", "0"],
    "loop.webp": [*PICTURE, "-c:v", "libwebp_anim", "-loop", "0"],
    "loop.apng": [*PICTURE, "-plays", "0", "-f", "apng"],
    "loop.avif": [*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8"],
    "still.avif": [*PICTURE, "-frames:v", "1", "-c:v", "libaom-av1", "-cpu-used", "8", "-still-picture", "1"],
    "vfr.mp4": [*PICTURE, *SLOWING, *X264],
    "live.webm": [*PICTURE, *SLOWING, "-c:v", "libvpx", "-f", "webm", "-live", "1"],
    "ntsc.mkv": ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=30000/1001:d=0.9", *X264],
    "wide-pixels.mp4": [*PICTURE, "-vf", "setsar=4/3", *X264],
    "pq.mp4": [*PICTURE, "-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv", *X265],
    "hlg.mp4": [*PICTURE, "-vf", "setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc:range=tv", *X265],
    "wide-gamut.mp4": [*PICTURE, "-vf", "setparams=color_primaries=bt2020:color_trc=bt709:colorspace=bt2020nc:range=tv", *X265],
    "bt709.mp4": [*PICTURE, "-vf", "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv", *X264],
    "surround.m4a": ["-f", "lavfi", "-i", "sine=440:r=48000:d=0.3,pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", "-c:a", "aac"],
    "mono8k.wav": ["-f", "lavfi", "-i", "sine=440:r=8000:d=0.3"],
    "sound.flac": SOUND,
    "sound.mp3": SOUND,
    "sound.opus": [*SOUND, "-c:a", "libopus"],
    "sound.aac": SOUND,
    "cover.mp3": [
        *SOUND,
        "-f",
        "lavfi",
        "-i",
        "color=red:s=300x300:d=0.04",
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "mjpeg",
        "-disposition:v",
        "attached_pic",
        "-c:a",
        "libmp3lame",
    ],
    "cover.m4a": [
        *SOUND,
        "-f",
        "lavfi",
        "-i",
        "color=red:s=300x300:d=0.04",
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "mjpeg",
        "-disposition:v",
        "attached_pic",
        "-c:a",
        "aac",
    ],
    "sound-only.webm": [*SOUND, "-c:a", "libopus"],
    "two-sounds.mkv": [
        "-f",
        "lavfi",
        "-i",
        "sine=440:r=22050:d=0.5",
        *SOUND,
        *PICTURE,
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        *X264,
        "-c:a",
        "flac",
    ],
    "late-sound.mkv": [*PICTURE, "-itsoffset", "0.2", *SOUND, "-map", "0", "-map", "1", *X264, "-c:a", "flac"],
}

Film = Callable[[str], Path]
T = TypeVar("T")


def ffmpeg(*args: str) -> bytes:
    return subprocess.run([FFMPEG, "-v", "error", "-nostdin", "-y", *args], check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Make the named clip on first use; nothing is kept between sessions."""
    folder = tmp_path_factory.mktemp("films")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            ffmpeg(*RECIPES[name], str(path))
        return path

    return make


def measured(path: Path) -> MediaInfo:
    return probe(path, sniff_file(path))


def outcome(action: Callable[[], T]) -> T | SourceError:
    try:
        return action()
    except SourceError as error:
        return error


def decoded_frames(path: Path) -> int:
    lines = ffmpeg("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-").decode().splitlines()
    return sum(1 for line in lines if line and not line.startswith("#"))


def decoded_samples(path: Path, channels: int) -> int:
    return len(ffmpeg("-i", str(path), "-map", "0:a:0", "-f", "s16le", "-")) // 2 // channels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "h264.mp4",
            {
                "width": 64,
                "height": 48,
                "frames": 10,
                "fps": 25,
                "codec": "h264",
                "pix_fmt": "yuv420p",
                "container": "mp4",
                "audio_codec": "aac",
                "sample_rate": 44100,
                "channels": 1,
                "video_duration": Fraction(2, 5),
                "audio_duration": Fraction(1, 2),
                "duration": Fraction(1, 2),
                "video_stream": 0,
                "audio_stream": 1,
            },
        ),
        (
            "hevc10.mp4",
            {"codec": "hevc", "pix_fmt": "yuv420p10le", "frames": 10, "hdr": False, "alpha": False, "audio_stream": None},
        ),
        ("alpha-vp9.webm", {"codec": "vp9", "alpha": True, "duration": Fraction(2, 5), "container": "webm"}),
        ("alpha-vp8.webm", {"codec": "vp8", "alpha": True}),
        ("opaque.webm", {"codec": "vp9", "alpha": False, "vfr": False}),
        ("av1.mp4", {"codec": "av1", "frames": 10, "duration": Fraction(2, 5)}),
        ("prores4444.mov", {"codec": "prores", "alpha": True, "container": "mov"}),
        ("prores422.mov", {"codec": "prores", "alpha": False}),
        ("mpeg4.avi", {"codec": "mpeg4", "container": "avi", "audio_codec": "mp3", "sample_rate": 44100}),
        ("h264.mkv", {"codec": "h264", "container": "mkv", "audio_codec": "flac", "audio_duration": Fraction(1, 2)}),
        ("h264.ts", {"codec": "h264", "container": "mpegts", "frames": 10, "video_duration": Fraction(2, 5)}),
        ("loop.gif", {"codec": "gif", "animated": True, "frames": 10, "duration": Fraction(2, 5), "alpha": False}),
        ("loop.webp", {"codec": "webp", "animated": True, "duration": Fraction(2, 5), "width": 64}),
        ("loop.apng", {"codec": "apng", "animated": True, "frames": 10, "duration": Fraction(2, 5), "alpha": False}),
        ("loop.avif", {"codec": "av1", "animated": True, "frames": 10, "duration": Fraction(2, 5), "video_stream": 1}),
        ("still.avif", {"codec": "av1", "animated": False, "frames": 1, "duration": None, "width": 64, "height": 48}),
        ("vfr.mp4", {"vfr": True, "frames": 10, "duration": Fraction(18, 25), "fps": Fraction(125, 9)}),
        ("live.webm", {"vfr": True, "frames": 10, "duration": Fraction(18, 25)}),
        ("ntsc.mkv", {"fps": Fraction(30000, 1001), "vfr": False, "frames": 27}),
        ("wide-pixels.mp4", {"width": 64, "height": 48, "sar": Fraction(4, 3)}),
        ("pq.mp4", {"hdr": True, "transfer": "smpte2084", "matrix": "bt2020nc", "primaries": "bt2020", "colour_range": "tv"}),
        ("hlg.mp4", {"hdr": True, "transfer": "arib-std-b67"}),
        ("wide-gamut.mp4", {"hdr": False, "transfer": "bt709", "primaries": "bt2020"}),
        ("bt709.mp4", {"hdr": False, "transfer": "bt709", "primaries": "bt709", "matrix": "bt709", "colour_range": "tv"}),
        ("surround.m4a", {"channels": 6, "sample_rate": 48000, "width": 0, "duration": Fraction(3, 10), "fps": None}),
        ("mono8k.wav", {"channels": 1, "sample_rate": 8000, "duration": Fraction(3, 10), "audio_codec": "pcm_s16le"}),
        ("cover.mp3", {"width": 0, "codec": "", "video_stream": None, "audio_codec": "mp3", "duration": Fraction(1, 2)}),
        ("cover.m4a", {"width": 0, "codec": "", "video_stream": None, "audio_codec": "aac", "duration": Fraction(1, 2)}),
        ("sound-only.webm", {"width": 0, "audio_codec": "opus", "sample_rate": 48000}),
        ("two-sounds.mkv", {"sample_rate": 22050, "width": 64}),
        (
            "late-sound.mkv",
            {"audio_start": Fraction(1, 5), "video_start": 0, "duration": Fraction(7, 10), "audio_duration": Fraction(1, 2)},
        ),
    ],
)
def test_every_kind_of_clip_is_measured_right(name: str, expected: dict[str, object], film: Film) -> None:
    info = measured(film(name))
    assert {field: getattr(info, field) for field in expected} == expected


@pytest.mark.parametrize(
    "name", ["h264.mp4", "hevc10.mp4", "alpha-vp9.webm", "av1.mp4", "mpeg4.avi", "h264.ts", "loop.gif", "loop.apng", "vfr.mp4"]
)
def test_the_counted_frames_are_the_ones_ffmpeg_decodes(name: str, film: Film) -> None:
    assert measured(film(name)).frames == decoded_frames(film(name))


@pytest.mark.parametrize(
    "name",
    ["h264.mp4", "surround.m4a", "mono8k.wav", "sound.flac", "sound.mp3", "sound.opus", "sound.aac", "cover.mp3", "h264.mkv"],
)
def test_the_length_of_sound_is_what_ffmpeg_decodes_to_the_sample(name: str, film: Film) -> None:
    """Encoder padding is neither counted at the start nor at the end."""
    info = measured(film(name))
    assert info.audio_duration is not None
    assert info.channels is not None
    assert info.audio_duration * (info.sample_rate or 0) == decoded_samples(film(name), info.channels)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("h264.mp4", "video"),
        ("surround.m4a", "audio"),
        ("sound-only.webm", "audio"),
        ("cover.mp3", "audio"),
        ("loop.gif", "image"),
        ("loop.apng", "image"),
        ("loop.webp", "image"),
        ("loop.avif", "image"),
        ("sound.opus", "audio"),
        ("h264.ts", "video"),
    ],
)
def test_the_kind_is_what_the_file_holds_rather_than_its_container(name: str, kind: str, film: Film) -> None:
    path = film(name)
    sniffed = sniff_file(path)
    assert kind_of(sniffed, probe(path, sniffed)) == kind


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_rotated_clip_is_measured_as_it_is_looked_at(turn: int, film: Film, tmp_path: Path) -> None:
    """Against ffmpeg itself: undoing the measured rotation on the upright output gives the stored picture again."""
    path = tmp_path / "rotated.mp4"
    ffmpeg("-display_rotation", str(turn), "-i", str(film("h264.mp4")), "-c", "copy", str(path))
    info = measured(path)
    assert (info.width, info.height) == ((64, 48) if turn in {0, 180} else (48, 64))

    def first(*options: str) -> Image.Image:
        size = (64, 48) if "-noautorotate" in options else (info.width, info.height)
        return Image.frombytes(
            "RGB", size, ffmpeg(*options, "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
        )

    stored, seen = first("-noautorotate"), first()
    turned = stored.rotate(-info.rotation, expand=True)  # Pillow turns counter-clockwise
    pairs = zip(turned.resize((8, 8)).tobytes(), seen.resize((8, 8)).tobytes(), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 24


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_a_picture_is_measured_with_its_exif_orientation(orientation: int, extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"turned.{extension}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 20), "navy").save(path, exif=exif)
    info = measured(path)
    assert (info.width, info.height) == ((40, 20) if orientation <= 4 else (20, 40))
    assert info.rotation == {1: 0, 2: 0, 3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}[orientation]


@pytest.mark.parametrize(
    ("name", "mode", "alpha"),
    [
        ("a.png", "RGBA", True),
        ("a.png", "RGB", False),
        ("a.png", "LA", True),
        ("a.webp", "RGBA", True),
        ("a.webp", "RGB", False),
        ("a.jpg", "RGB", False),
        ("a.jpg", "CMYK", False),
        ("a.jpg", "L", False),
        ("a.bmp", "RGB", False),
        ("a.avif", "RGBA", True),
    ],
)
def test_transparency_of_pictures_is_seen(name: str, mode: str, alpha: bool, tmp_path: Path) -> None:
    Image.new(mode, (30, 20), 0 if mode in {"L"} else None or tuple([7] * len(mode))).save(tmp_path / name)
    info = measured(tmp_path / name)
    assert (info.alpha, info.width, info.height, info.duration, info.animated) == (alpha, 30, 20, None, False)


def test_a_heic_picture_is_measured_where_the_extra_is_installed_and_named_where_not(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC)
    assert sniff_file(tmp_path / "a.heic") == Sniffed("image", "heic", "mov")
    if importlib.util.find_spec("pi_heif") is None:
        with pytest.raises(SourceError, match=r"viralsync-pipelines\[heic\]"):
            measured(tmp_path / "a.heic")
    else:
        info = measured(tmp_path / "a.heic")
        assert (info.width, info.height, info.alpha, info.codec) == (64, 48, False, "hevc")


def test_a_palette_picture_with_a_transparent_colour_has_alpha(tmp_path: Path) -> None:
    Image.new("P", (8, 8)).save(tmp_path / "p.png", transparency=0)
    assert measured(tmp_path / "p.png").alpha


def gif(path: Path, frames: list[Image.Image], **options: object) -> Path:
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)  # type: ignore[arg-type]
    return path


def test_a_gif_is_clear_only_where_the_ground_can_show(tmp_path: Path) -> None:
    """ffmpeg hands out every GIF as BGRA; a later frame's transparent colour only keeps what lies below."""
    red, blue = (Image.new("RGB", (16, 16), c) for c in ("red", "blue"))
    blue.paste("red", (0, 0, 8, 8))
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (4, 4, 8, 8))
    assert not measured(gif(tmp_path / "opaque.gif", [red, blue], duration=100)).alpha
    assert measured(gif(tmp_path / "clear.gif", [clear], duration=100)).alpha
    assert measured(gif(tmp_path / "wiped.gif", [red, blue, red], duration=100, disposal=2)).alpha


def played_seconds(path: Path) -> Fraction:
    """The sum of the frame durations ffmpeg gives out."""
    lines = ffmpeg("-i", str(path), "-c", "copy", "-f", "framecrc", "-").decode().splitlines()
    base = next(Fraction(line.split(":")[1].strip()) for line in lines if line.startswith("#tb"))
    return base * sum(int(line.split(",")[3]) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("delay", [0, 10, 20, 50])
@pytest.mark.parametrize("extension", ["gif", "webp", "png"])
def test_an_animation_too_fast_to_be_true_lasts_as_long_as_ffmpeg_plays_it(extension: str, delay: int, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (40 * n, 0, 0)) for n in range(4)]
    info = measured(gif(tmp_path / f"fast.{extension}", frames, duration=delay))
    assert info.frames == 4
    assert info.duration == played_seconds(tmp_path / f"fast.{extension}")


def test_frames_of_an_animated_webp_are_timed_by_its_own_chunks(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (60 * n, 0, 0)) for n in range(4)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=[40, 100, 250, 110], lossless=True)
    info = measured(tmp_path / "a.webp")
    assert (info.frames, info.duration, info.vfr, info.animated) == (4, Fraction(1, 2), True, True)


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("h264.mp4", 0.7),
        ("faststart.mp4", 0.6),
        ("h264.mkv", 0.5),
        ("opaque.webm", 0.6),
        ("prores422.mov", 0.5),
        ("mpeg4.avi", 0.6),
        ("mono8k.wav", 0.5),
        ("sound.flac", 0.5),
        ("sound.mp3", 0.5),
        ("surround.m4a", 0.6),
        ("loop.gif", 0.6),
        ("loop.webp", 0.6),
        ("loop.apng", 0.6),
        ("still.avif", 0.6),
    ],
)
def test_a_file_that_is_cut_short_is_never_taken_for_a_whole_one(name: str, keep: float, film: Film, tmp_path: Path) -> None:
    data = film(name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(SourceError) as caught:
        measured(cut)
    assert caught.value.code == "SOURCE_UNREADABLE"
    assert re.search("cut short|damaged", caught.value.message)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp"])
def test_a_picture_that_is_cut_short_is_unreadable(extension: str, tmp_path: Path) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    noise.save(tmp_path / f"n.{extension}")
    data = (tmp_path / f"n.{extension}").read_bytes()
    (tmp_path / f"n.{extension}").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError) as caught:
        measured(tmp_path / f"n.{extension}")
    assert caught.value.code == "SOURCE_UNREADABLE"


def test_an_mp4_without_its_index_says_so(film: Film, tmp_path: Path) -> None:
    data = film("h264.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(SourceError, match=r"cut short.*moov"):
        measured(tmp_path / "a.mp4")


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(16385, 10), (10, 16385), (12000, 12000), (60000, 60000), (2**31 - 1, 2**31 - 1)]
)
def test_a_picture_of_impossible_size_is_refused_before_it_is_decoded(width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(width, height))
    with pytest.raises(SourceError) as caught:
        measured(tmp_path / "bomb.png")
    assert caught.value.code == "SOURCE_TOO_LARGE"


def test_a_clip_of_impossible_size_is_refused(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=16400x16:d=0.04", "-c:v", "libvpx-vp9", str(tmp_path / "wide.webm"))
    ffmpeg("-f", "lavfi", "-i", "color=s=12000x12000:d=0.04", "-c:v", "mjpeg", "-q:v", "31", str(tmp_path / "large.avi"))
    for name, code in [("wide.webm", "SOURCE_TOO_LARGE"), ("large.avi", "SOURCE_UNREADABLE")]:
        with pytest.raises(SourceError, match="megapixels") as caught:
            measured(tmp_path / name)
        assert caught.value.code == code


def test_a_container_without_picture_or_sound_is_unreadable(film: Film, tmp_path: Path) -> None:
    (tmp_path / "t.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nhello\n")
    ffmpeg("-i", str(tmp_path / "t.srt"), "-c:s", "srt", str(tmp_path / "t.mkv"))
    with pytest.raises(SourceError, match="neither picture nor sound"):
        measured(tmp_path / "t.mkv")


def test_what_was_measured_comes_back_from_json_unrounded(film: Film) -> None:
    for name in ("vfr.mp4", "ntsc.mkv", "late-sound.mkv", "mono8k.wav"):
        info = measured(film(name))
        assert MediaInfo.from_json(json.loads(json.dumps(info.as_json()))) == info


# ------------------------------------------------------------------------------------------------------------ sniffing

# A red picture of 64x48 in one HEVC item, made for this test.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAABgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAC"
    "BtZGF0AAAAFCgBrwQY+Mpx1//zIR+fgLhh0hHn"
)

SCRIPTS = {
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "M3U": b"#EXTM3U\nhttp://10.0.0.1/a.mp3\n",
    "DASH": b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "XSPF": b'<?xml version="1.0"?><playlist version="1"><trackList/></playlist>',
    "PLS": b"[playlist]\nFile1=http://10.0.0.1/\n",
    "ASX": b'<asx version="3.0"><entry><ref href="file:///etc/passwd"/></entry></asx>',
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg><image href="file:///etc/passwd"/></svg>',
    "HTML": b"\xef\xbb\xbf  <!DOCTYPE html><html><body>404</body></html>",
    "XML": b"<?xml version='1.0'?><rss/>",
    "SDP": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 10.0.0.1\r\n",
    "CUE": b'FILE "/etc/passwd" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "SRT": b"1\r\n00:00:01,000 --> 00:00:02,000\r\nhello\r\n",
    "WebVTT": b"WEBVTT\n\n00:01.000 --> 00:02.000\nhello",
    "ASS": b"[Script Info]\nTitle: x\n",
    "JSON": b'{"error": "not found"}',
    "script": b"#!/bin/sh\nrm -rf /\n",
    "plain text": b"root:x:0:0:root:/root:/bin/bash\n",
    "TIFF": b"II*\x00\x08\x00\x00\x00" + b"\0\1" * 20,
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\x77" * 20,
    "ZIP": b"PK\x03\x04\x14\0\0\0\x08\0" + b"\x77" * 20,
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "Flash": b"FLV\x01\x05\0\0\0\x09\0\0\0\0",
    "no kind": b"\x93\x8a\x01\x00\xfe" * 20,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_playlists_scripts_and_documents_are_refused_by_name(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        sniff(SCRIPTS[name])
    assert caught.value.code == "SOURCE_REFUSED"
    assert name in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_playlist_in_another_encoding_is_still_refused(encoding: str) -> None:
    with pytest.raises(SourceError) as caught:
        sniff("#EXTM3U\n#EXT-X-VERSION:3\nfile:///etc/passwd\n".encode(encoding))
    assert caught.value.code == "SOURCE_REFUSED"


def test_a_script_under_a_media_name_is_judged_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "innocent.mp4").write_bytes(SCRIPTS["HLS"])
    with pytest.raises(SourceError, match="HLS"):
        sniff_file(tmp_path / "innocent.mp4")


@pytest.mark.parametrize("data", [b"", b"\0" * 500])
def test_an_empty_file_is_called_empty(data: bytes) -> None:
    with pytest.raises(SourceError, match="empty") as caught:
        sniff(data)
    assert caught.value.code == "SOURCE_UNREADABLE"


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_kind_let_in_is_known_by_its_bytes_and_its_demuxer_opens_it(name: str, film: Film) -> None:
    sniffed = sniff_file(film(name))
    ffmpeg("-protocol_whitelist", "file,pipe", "-f", sniffed.demuxer, "-i", str(film(name)), "-f", "null", "-")


def test_a_large_tag_before_the_sound_does_not_hide_it(film: Film, tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00" + bytes([0, 6, 0, 0]) + b"\0" * (6 << 14)
    for name, demuxer in [("sound.mp3", "mp3"), ("sound.aac", "aac"), ("sound.flac", "flac")]:
        (tmp_path / name).write_bytes(tag + film(name).read_bytes())
        assert sniff_file(tmp_path / name) == Sniffed("audio", demuxer, demuxer)


PREFIXES = [
    b"",
    b"\xff\xfb\x90\x00",
    b"\xff\xf1\x50\x80",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"\0\0\0\x18ftypmif1",
    b"\x1a\x45\xdf\xa3",
    b"OggS",
    b"GIF89a",
    b"\x89PNG\r\n\x1a\n",
    b"BM\0\0\0\0\0\0\0\0",
    b"ID3\4\0\0",
    b"G" + b"\0" * 187,
    b"<svg",
    b"true",
    b"\0\1\0\0",
]


@settings(deadline=None)
@given(st.sampled_from(PREFIXES), st.binary(max_size=400))
@example(b"ID3", b"")
@example(b"\xff", b"\xfb")
def test_any_bytes_are_either_known_or_refused_with_a_sentence(prefix: bytes, rest: bytes) -> None:
    found = outcome(lambda: sniff(prefix + rest))
    if isinstance(found, SourceError):
        assert found.code in {"SOURCE_REFUSED", "SOURCE_UNREADABLE"}
        assert len(found.message) > 20
    else:
        assert found.kind == "font" or found.demuxer


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_is_ever_let_in(text: str) -> None:
    """Text is what scripts are made of. (Text that begins with GIF89a would pass, and fail in the forced demuxer.)"""
    with pytest.raises(SourceError):
        sniff(text.encode(errors="replace"))


@settings(deadline=None)
@given(data=st.data())
def test_damaged_files_are_measured_or_refused_but_never_crash(data: st.DataObject, film: Film) -> None:
    name = data.draw(
        st.sampled_from(["loop.gif", "loop.webp", "loop.apng", "still.avif", "mono8k.wav", "sound.mp3", "av1.mp4"])
    )
    content = bytearray(film(name).read_bytes())
    for at, value in data.draw(st.lists(st.tuples(st.integers(16, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[at] = value
    path = film(name).with_name("damaged")
    path.write_bytes(content)
    found = outcome(lambda: measured(path))
    assert not isinstance(found, SourceError) or found.code in {"SOURCE_UNREADABLE", "SOURCE_TOO_LARGE", "SOURCE_REFUSED"}


# ------------------------------------------------------------------------------------------------------------ packet times


def span(times: list[int], duration: int = 0, base: Fraction = Fraction(1, 1000)) -> Span:
    made = Span(base)
    for t in times:
        made.add(t, None, duration, False)
    return made


@settings(deadline=None)
@given(st.permutations([n * 40 for n in range(12)]))
def test_the_order_of_packets_does_not_matter(times: list[int]) -> None:
    """Frames come in decoding order, which B-frames mix up."""
    assert (span(times, 40).duration, uneven(span(times, 40))) == (Fraction(12 * 40, 1000), False)


def test_a_last_frame_without_a_duration_lasts_as_long_as_the_others() -> None:
    assert span([0, 33, 67, 100]).duration == Fraction(133, 1000)


def test_millisecond_rounding_is_not_a_variable_frame_rate() -> None:
    times = [round(n * 1001 / 30) for n in range(200)]
    assert not uneven(span(times, 33))
    assert average_rate(span(times, 33), Fraction(30000, 1001)) == Fraction(30000, 1001)


def test_a_nominal_rate_that_the_packets_contradict_is_not_believed() -> None:
    assert average_rate(span([0, 100, 200, 300], 100), Fraction(30)) == 10


def test_priming_before_zero_and_hidden_packets_do_not_count() -> None:
    made = Span(Fraction(1, 48000))
    made.add(-1024, None, 1024, True)
    made.add(-312, None, 960, False)
    made.add(648, None, 960, False)
    assert (made.start, made.end) == (Fraction(0), Fraction(1608, 48000))
    assert (made.packets, made.discards) == (2, 1)
