"""Footage brought to the film: the right frames of a source, at the film's rate, size and colour.

What belongs here: ffmpeg inputs and filters of one moving source. What does not: composing layers (filters.py), stills
(render/artwork.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import ffmpeg

from viralsync_pipelines.movie.grading import mixer_steps
from viralsync_pipelines.movie.picture import Footage, Key, Look, Tone

BT709 = {"range": "tv", "colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
# Local files only, whatever a container asks for.
GUARD = {"protocol_whitelist": "file,pipe,fd"}
# Sources keep their own times (see clip_input). Filters on one thread: scenes run side by side.
GLOBALS = ("-copyts", "-start_at_zero", "-filter_complex_threads", "1")

_EXACT = "accurate_rnd+full_chroma_int"
# Ticks to a frame of the film, while source times are compared with it.
_GRAIN = 1200
# A source frame is on show when it began at most three tenths of a frame after the film's own moment. Rates in use (24, 25, 48,
# 50, 60 on 24, 25, 30) put no frame nearer than a twentieth to that border, so times rounded to milliseconds (Matroska)
# fall on the same side as exact ones; half a frame, ffmpeg's rule, is where every second frame of 60 fps lies.
_LATENESS = _GRAIN // 2 - _GRAIN * 3 // 10
# Seeking goes to a key frame at or before a moment this many frames early, so that what is on show at the start is decoded.
_LEAD = 2
# Containers with an index of key frames. In others a seek may land behind the only one, and is not worth that.
_SEEKABLE = frozenset({"mov", "matroska", "avi"})
_MAY_BE_INTERLACED = frozenset({"mov", "matroska", "avi", "mpegts"})


def clip_input(footage: Footage, skip: int, fps: Fraction) -> dict[str, Any]:
    """Input options that open footage so that frame `skip` of its shown life, and what follows, can be had.

    Nothing is cut here: ffmpeg's exact seek drops the frame that is on show when the window begins, and moves all times by a
    rounded amount. Times stay the source's own (see GLOBALS), and `conform` picks frames by them.
    """
    options: dict[str, Any] = {"f": footage.demuxer, **GUARD, "threads": 1}
    if footage.decoder:
        options["c:v"] = footage.decoder
    if footage.loop:
        # A round was cut to whole frames beforehand (render/scenes.py): frames are counted, half a frame early is safe.
        options["stream_loop"] = -1
        at = skip % footage.loop
        return options | ({"ss": seconds(Fraction(2 * at - 1, 2) / fps)} if at else {})
    start = footage.start + (skip - _LEAD) / fps * footage.speed
    if start > 0 and footage.demuxer in _SEEKABLE:
        options |= {"ss": seconds(start), "noaccurate_seek": None}
    return options


def conform(
    source: Any, footage: Footage, size: tuple[int, int], fps: Fraction, look: Look, skip: int, *, alpha: bool
) -> Any:
    """Footage from frame `skip` of its shown life on, cropped, scaled and coloured, with flip, key and tone of its look.

    4:2:0 in limited range Rec. 709, straight alpha where asked. It may run on after its end for some frames: the caller trims.
    """
    stream = source.video if footage.stream is None else source[str(footage.stream)]
    stream = _declared(_timed(stream, footage, fps, skip), footage)
    # Clear pixels have colours of their own, often black; only multiplied in may they take part in scaling.
    if footage.alpha:
        stream = stream.filter("scale", out_range="pc", flags=_EXACT).filter("format", "gbrap").filter("premultiply", inplace=1)
    stream = _cropped(stream, footage)
    stream = stream.filter("hflip") if look.flip in {"horizontal", "both"} else stream
    stream = stream.filter("vflip") if look.flip in {"vertical", "both"} else stream
    if footage.alpha:
        stream = stream.filter("scale", *size, flags=f"bicubic+{_EXACT}").filter("format", "gbrap").filter("unpremultiply", inplace=1)
        stream = to_bt709(stream, alpha=True, pixels="yuva444p" if look.key else "yuva420p")
    elif footage.hdr:
        stream = _tone_mapped(stream.filter("scale", *size, flags="bicubic"))
    elif _is_plain(footage, size):
        # zimg scales 4:2:0 in 0.13 CPU-s for 120 frames at 1080x1920 where swscale takes 0.27; it knows even sizes only.
        stream = stream.filter("zscale", *size, filter="bicubic", range="tv").filter("format", "yuv420p")
    else:
        stream = stream.filter("scale", *size, flags="bicubic", out_color_matrix="bt709", out_range="tv")
    stream = stream.filter("setsar", 1)
    stream = _keyed(stream, look.key) if look.key is not None else stream
    stream = _toned(stream, look.tone) if look.tone is not None else stream
    return stream.filter("format", "yuva420p" if alpha else "yuv420p").filter("setparams", **BT709)


def conform_argv(
    footage: Footage, look: Look, path: str, size: tuple[int, int], fps: Fraction, skip: int, frames: int, pixels: str,
    output: Sequence[str], out: str,
) -> tuple[str, ...]:  # fmt: skip
    """Arguments that decode `frames` frames of footage, `skip` frames into it, conformed, as `pixels` into `out`."""
    alpha = footage.alpha or look.key is not None
    stream = conform(ffmpeg.input(path, **clip_input(footage, skip, fps)), footage, size, fps, look, skip, alpha=alpha)
    stream = stream.filter("trim", end_frame=frames)
    stream = to_rgb(stream, "rgba") if pixels == "rgba" else stream.filter("format", pixels)
    args = ffmpeg.get_args(ffmpeg.output(stream, out))
    return (*GLOBALS, *args[:-1], *output, "-frames:v", str(frames), "-an", args[-1])


def _timed(stream: Any, footage: Footage, fps: Fraction, skip: int) -> Any:
    if footage.loop:
        return stream.filter("settb", f"{fps.denominator}/{fps.numerator}").filter("setpts", "N")
    if footage.demuxer in _MAY_BE_INTERLACED and not footage.alpha and min(footage.size) >= 16:
        # Frames that say they are progressive pass untouched.
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    start, pace = footage.start * fps * _GRAIN, 1 / footage.speed
    moment = f"(PTS-{start.numerator}/{start.denominator})*{pace.numerator}/{pace.denominator}"
    stream = stream.filter("settb", f"{fps.denominator}/{fps.numerator * _GRAIN}")
    stream = stream.filter("setpts", f"round({moment})+{_LATENESS - skip * _GRAIN}")
    stream = stream.filter("fps", fps=str(fps), start_time=0, round="near")
    # The last frame of a slow source stands for several of the film's; some containers do not say how long.
    slowest = fps * pace / max(Fraction(1), footage.fps or Fraction(1))
    return stream.filter("tpad", stop=2 + min(60, round(slowest)), stop_mode="clone")


def _declared(stream: Any, footage: Footage) -> Any:
    """Colour tags where the source has none."""
    tags = {} if footage.matrix else {"colorspace": _matrix(footage)}
    if footage.hdr and not footage.primaries:
        tags["color_primaries"] = "bt2020"
    return stream.filter("setparams", **tags) if tags and footage.demuxer not in {"gif", "apng"} else stream


def _whole_crop(footage: Footage) -> tuple[int, int, int, int]:
    left, top, width, height = footage.crop
    x, y = max(0, round(left)), max(0, round(top))
    return x, y, max(1, min(round(width), footage.size[0] - x)), max(1, min(round(height), footage.size[1] - y))


def _cropped(stream: Any, footage: Footage) -> Any:
    """Cropped before it is scaled: a quarter less work."""
    x, y, width, height = _whole_crop(footage)
    if (x, y, width, height) == (0, 0, *footage.size):
        return stream
    return stream.filter("crop", width, height, x, y, exact=1)


def _is_plain(footage: Footage, size: tuple[int, int]) -> bool:
    """YUV in Rec. 709 and even sizes: nothing to convert but the size."""
    even = all(value % 2 == 0 for value in (*_whole_crop(footage), *size))
    return even and footage.yuv and not footage.alpha and (footage.matrix or _matrix(footage)) == "bt709"


def _matrix(footage: Footage) -> str:
    """Of untagged film: above 576 lines it is Rec. 709, smaller is Rec. 601, as players have it."""
    width, height = footage.size
    return "bt2020nc" if footage.hdr else "bt709" if width >= 1280 or height > 576 else "smpte170m"


def _tone_mapped(stream: Any) -> Any:
    """HDR to SDR, at the final size: white at 203 nits (BT.2408), highlights up to 1000 rolled off, what is below 60 left alone."""
    stream = stream.filter("zscale", transfer="linear", npl=203).filter("format", "gbrpf32le")
    stream = stream.filter("zscale", primaries="bt709").filter("tonemap", "mobius", desat=0, peak=f"{1000 / 203:.4f}")
    return stream.filter("zscale", transfer="bt709", matrix="bt709", range="tv").filter("format", "yuv420p")


def _keyed(stream: Any, key: Key) -> Any:
    # The filter's own conversion of the colour is BT.601's.
    red, green, blue = (c / 255 for c in key.color[:3])
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    y, u, v = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748
    wanted = f"0x{round(y):02x}{round(u):02x}{round(v):02x}"
    return stream.filter("format", "yuva444p").filter("chromakey", wanted, f"{key.similarity:.4f}", f"{key.blend:.4f}", yuv=1)


def _toned(stream: Any, tone: Tone) -> Any:
    stream = to_rgb(stream, "rgba")
    for step in mixer_steps(tone):
        stream = stream.filter("colorchannelmixer", **{name: f"{value:.6f}" for name, value in step.items()})
    if tone.blur > 0:
        stream = stream.filter("gblur", sigma=f"{tone.blur:.4f}")
    return to_bt709(stream, alpha=True)


def to_bt709(stream: Any, *, alpha: bool, pixels: str = "") -> Any:
    """RGB to limited range Rec. 709 in 4:2:0."""
    stream = stream.filter("scale", out_color_matrix="bt709", out_range="tv", flags=f"bicubic+{_EXACT}")
    return stream.filter("format", pixels or ("yuva420p" if alpha else "yuv420p")).filter("setparams", **BT709)


def to_rgb(stream: Any, pixels: str) -> Any:
    """Limited range Rec. 709 to full range RGB."""
    return stream.filter("scale", in_color_matrix="bt709", in_range="tv", out_range="pc", flags=_EXACT).filter("format", pixels)


def seconds(value: Fraction) -> str:
    """Seconds for an ffmpeg argument: a leading zero (".5" is refused) and whole microseconds."""
    return f"{float(value):.6f}"
