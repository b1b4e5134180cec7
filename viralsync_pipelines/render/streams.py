"""Measuring clips and sounds with PyAV: every packet's time is read, nothing declared by a header is believed unseen.

What belongs here: opening with a forced demuxer and reading what the streams say. Arithmetic on packet times is in spans.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.media import MediaInfo
from viralsync_pipelines.render import gif
from viralsync_pipelines.render.probe import MAX_PIXELS, check_size, cut_short
from viralsync_pipelines.render.sniff import Sniffed
from viralsync_pipelines.render.spans import Span, average_rate, uneven
from viralsync_pipelines.render.whole import has_box, mp3_counted, riff_missing, tail

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

OPEN_S, READ_S = 20.0, 20.0
# Reading goes at some hundred megabytes a second; a file that takes longer is measured by what it declares.
WALK_S = 120.0
WALK_PACKETS = 20_000_000
# Packets without a decoded frame after which a stream counts as undecodable (a broadcast cut may start mid-GOP: 300 = 10 s).
_PATIENCE = 300
_ATTACHED = 0x0400 | 0x0800  # AV_DISPOSITION_ATTACHED_PIC, AV_DISPOSITION_TIMED_THUMBNAILS

# AVColorSpace, AVColorTransferCharacteristic, AVColorPrimaries (ISO/IEC 23091-2) and AVColorRange by ffmpeg's names.
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc", 10: "bt2020c",
    14: "ictcp",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}
_HDR = frozenset({"smpte2084", "arib-std-b67"})


def measure_streams(path: Path, sniffed: Sniffed, *, clock: Callable[[], float] = time.monotonic) -> MediaInfo:
    """Read a clip, a sound or a GIF from end to end and decode its first picture and sound. Raises SourceError."""
    import av
    from av.error import FFmpegError

    if (missing := riff_missing(path)) > 0:
        raise cut_short(f"its header promises {missing:,} bytes more than there are")
    options = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        with av.open(
            str(path.absolute()),
            mode="r",
            format=sniffed.demuxer,
            options=options,
            timeout=(OPEN_S, READ_S),
            metadata_errors="replace",
        ) as box:
            return _measured(box, path, sniffed, clock)
    except av.error.EOFError as error:
        raise cut_short("it ends inside its header") from error
    except FFmpegError as error:
        raise _unreadable(path, sniffed, error) from error


def _unreadable(path: Path, sniffed: Sniffed, error: Exception) -> SourceError:
    if sniffed.demuxer == "mov" and not has_box(path, b"moov"):
        return cut_short("its index (moov) is missing, which is written last")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return SourceError(
        f"the {sniffed.container} file cannot be read ({reason}); it is damaged, so export it again", code="SOURCE_UNREADABLE"
    )


def _measured(box: InputContainer, path: Path, sniffed: Sniffed, clock: Callable[[], float]) -> MediaInfo:
    video, audio = _video_stream(box), _audio_stream(box)
    if video is not None:
        check_size(video.codec_context.width, video.codec_context.height)
    first: dict[int, Any] = {}
    spans = _walk(box, [s for s in (video, audio) if s is not None], first, clock)
    if audio is not None and audio.index not in first:
        audio = None  # a sound that cannot be decoded beside a good picture (Apple's spatial track) is passed over
    if video is not None and video.index not in first:
        raise SourceError("no picture of the clip can be decoded; it is damaged, so export it again", code="SOURCE_UNREADABLE")
    if video is None and audio is None:
        raise SourceError(
            "the file holds neither picture nor sound that can be decoded; export it as H.264 in MP4, or as WAV",
            code="SOURCE_UNREADABLE",
        )
    chosen = [s for s in (video, audio) if s is not None]
    origin = min(spans[s.index].start for s in chosen)
    end = max(spans[s.index].end for s in chosen)
    info = MediaInfo(container=sniffed.container, duration=end - origin)
    if audio is not None:
        info = _with_audio(info, audio, first[audio.index], spans[audio.index], origin)
    if video is not None:
        info = _with_video(info, video, first[video.index], spans[video.index], origin, path, sniffed)
    _check_whole(box, path, sniffed, info, video, spans)
    return info


def _video_stream(box: InputContainer) -> VideoStream | None:
    """The first real picture stream: no cover art, and in an animated AVIF the track rather than the still beside it."""
    usable = [s for s in box.streams.video if not int(s.disposition) & _ATTACHED and _decodable(s)]
    return max(usable, key=lambda s: (s.frames != 1, -s.index), default=None)


def _audio_stream(box: InputContainer) -> AudioStream | None:
    return next((s for s in box.streams.audio if _decodable(s)), None)


def _decodable(stream: Any) -> bool:
    # PyAV has no context for a codec it cannot decode.
    return stream.codec_context is not None


def _walk(box: InputContainer, streams: list[Any], first: dict[int, Any], clock: Callable[[], float]) -> dict[int, Span]:
    """Read every packet of `streams`; put each stream's first decoded frame into `first`."""
    from av.error import FFmpegError

    spans = {s.index: Span(time_base=s.time_base or Fraction(1, 1000)) for s in streams}
    tried = dict.fromkeys(spans, 0)
    for s in streams:
        s.codec_context.thread_count = 1  # frame threads would hold the first picture back by one packet each
    end = clock() + WALK_S
    if not streams:
        return spans
    for count, packet in enumerate(box.demux(*streams)):
        index = packet.stream_index
        if index not in spans:
            continue  # streams of a group (AVIF) come along unasked
        if packet.size:
            spans[index].add(packet.pts, packet.dts, packet.duration, packet.is_discard, _padding(packet))
        if index not in first and tried[index] < _PATIENCE:
            tried[index] += 1
            try:
                frames = packet.decode()
            except FFmpegError:
                frames = []
            if frames:
                first[index] = frames[0]
        if count >= WALK_PACKETS or (count % 1024 == 0 and clock() > end):
            for s in streams:
                if s.duration is not None:
                    spans[s.index].declare(s.start_time or 0, s.duration)
            break
    return spans


def _padding(packet: Any) -> int:
    """How much of this packet is encoder padding, in its time base; only MP3 leaves padding inside the packet's duration."""
    if packet.stream.codec_context.name not in {"mp3", "mp3float"} or not packet.has_sidedata("skip_samples"):
        return 0
    data = bytes(packet.get_sidedata("skip_samples"))
    rate = packet.stream.codec_context.sample_rate or 1
    samples = int.from_bytes(data[4:8], "little") + int.from_bytes(data[:4], "little")
    return int(Fraction(samples, rate) / packet.time_base)


def _with_audio(info: MediaInfo, audio: AudioStream, frame: Any, span: Span, origin: Fraction) -> MediaInfo:
    return replace(
        info,
        audio_duration=span.duration,
        audio_start=span.start - origin,
        sample_rate=frame.sample_rate,
        channels=frame.layout.nb_channels,
        audio_codec=audio.codec.canonical_name,
        audio_stream=audio.index,
    )


def _with_video(
    info: MediaInfo, video: VideoStream, frame: Any, span: Span, origin: Fraction, path: Path, sniffed: Sniffed
) -> MediaInfo:
    context = video.codec_context
    check_size(frame.width, frame.height)
    turn = round(-frame.rotation / 90) * 90 % 360
    width, height = (frame.width, frame.height) if turn % 180 == 0 else (frame.height, frame.width)
    pix_fmt = frame.format.name
    transfer = _TRANSFERS.get(frame.color_trc or context.color_trc) or _TRANSFERS.get(context.color_trc, "")
    colour_range = _RANGES.get(frame.color_range) or _RANGES.get(context.color_range, "")
    single = sniffed.kind == "image" and span.packets == 1
    rate = average_rate(span, video.average_rate)
    return replace(
        info,
        width=width,
        height=height,
        duration=None if single else info.duration,
        video_duration=None if single else span.duration,
        video_start=span.start - origin,
        fps=None if single else rate,
        frames=span.packets,
        codec=video.codec.canonical_name,
        pix_fmt=pix_fmt,
        matrix=_MATRICES.get(frame.colorspace) or _MATRICES.get(context.colorspace, ""),
        transfer=transfer,
        primaries=_PRIMARIES.get(frame.color_primaries) or _PRIMARIES.get(context.color_primaries, ""),
        colour_range="pc" if pix_fmt.startswith("yuvj") else colour_range,
        rotation=turn,
        hdr=transfer in _HDR,
        alpha=_alpha(video, frame, path, sniffed),
        animated=sniffed.kind == "image" and span.packets > 1,
        sar=video.sample_aspect_ratio or Fraction(1),
        vfr=uneven(span),
        video_stream=video.index,
    )


def _alpha(video: VideoStream, frame: Any, path: Path, sniffed: Sniffed) -> bool:
    if sniffed.container == "gif":
        return gif.walk(path).clear
    tags = {k.lower(): v for k, v in video.metadata.items()}
    # VP8 and VP9 carry alpha beside the picture, and ffmpeg's native decoders drop it; only the tag tells.
    if video.codec.canonical_name in {"vp8", "vp9"} and tags.get("alpha_mode") == "1":
        return True
    return any(c.is_alpha for c in frame.format.components)


def _check_whole(
    box: InputContainer, path: Path, sniffed: Sniffed, info: MediaInfo, video: VideoStream | None, spans: dict[int, Span]
) -> None:
    """Compare what was found with what was declared, where a declaration can be trusted."""
    if sniffed.container == "gif" and not gif.walk(path).whole:
        raise cut_short("the animation has no end mark")
    if sniffed.demuxer == "apng" and b"IEND" not in tail(path):
        raise cut_short("the animation has no end mark")
    if sniffed.demuxer == "mov" and video is not None:
        span = spans[video.index]
        if not span.declared and span.packets + span.discards < video.frames:
            raise cut_short(f"it holds {span.packets} of {video.frames} frames")
    trusted = sniffed.demuxer in {"mov", "matroska", "flac"} or (sniffed.demuxer == "mp3" and mp3_counted(path))
    if not trusted or box.duration is None or info.duration is None:
        return
    declared = Fraction(box.duration, 1_000_000)
    if info.duration < declared * Fraction(9, 10) - Fraction(1, 10):
        raise cut_short(f"it holds {float(info.duration):.1f} of {float(declared):.1f} seconds")
