"""Shared values about media: what a file is and where it came from. No I/O and no guessing; probing fills them in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

Kind = Literal["video", "image", "audio", "font"]


@dataclass(frozen=True)
class MediaRef:
    """One piece of media by content: where it was asked for (`uri`), the sha256 of its bytes (hex), and its kind."""

    uri: str
    sha256: str
    kind: Kind


@dataclass(frozen=True)
class MediaInfo:
    """What a probe measured.

    width, height: displayed pixels, rotation already applied; 0 for sound without picture.
    duration: seconds of the longest usable stream, None for a still.
    fps: average frames per second, None for a still or sound. frames: declared or counted, None if unknown.
    sample_rate (Hz) and channels: of the first audio stream, None without sound.
    codec, pix_fmt: ffmpeg's names of the first picture stream; "" without picture.
    colour: matrix / transfer / range as ffmpeg names them, "" when untagged. `hdr` is decided by transfer, never primaries.
    rotation: degrees clockwise (0, 90, 180, 270) by which the stored picture is turned to be looked at.
    alpha: the stream carries transparency. animated: a still format (GIF, WebP) that holds several frames.
    sar: width of a stored pixel over its height; width and height count stored pixels, whatever their shape.
    vfr: frames do not lie at even distances. video_start, audio_start: seconds by which a stream begins after the earliest one.
    video_stream, audio_stream: index in the container of the streams described here (for `-map 0:<index>`), None when absent.
    """

    width: int = 0
    height: int = 0
    duration: Fraction | None = None
    fps: Fraction | None = None
    frames: int | None = None
    video_duration: Fraction | None = None
    audio_duration: Fraction | None = None
    sample_rate: int | None = None
    channels: int | None = None
    container: str = ""
    codec: str = ""
    audio_codec: str = ""
    pix_fmt: str = ""
    matrix: str = ""
    transfer: str = ""
    colour_range: str = ""
    rotation: int = 0
    hdr: bool = False
    alpha: bool = False
    animated: bool = False
    primaries: str = ""
    sar: Fraction = Fraction(1)
    vfr: bool = False
    video_start: Fraction = Fraction(0)
    audio_start: Fraction = Fraction(0)
    video_stream: int | None = None
    audio_stream: int | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-safe form; fractions as "n/d" so that nothing is rounded on the way through a store."""
        return {k: str(v) if isinstance(v, Fraction) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> MediaInfo:
        fractions = {"duration", "fps", "video_duration", "audio_duration", "sar", "video_start", "audio_start"}
        known = {f.name for f in fields(MediaInfo)}
        values: dict[str, Any] = {k: Fraction(v) if k in fractions and v is not None else v for k, v in data.items()}
        return MediaInfo(**{k: v for k, v in values.items() if k in known})
