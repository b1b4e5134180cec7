"""What a file is, by its first bytes alone: pure bytes -> `Sniffed`, or a SourceError that says what it is instead.

What belongs here: signatures of what is let in, and the ffmpeg demuxer to force so that ffmpeg never guesses.
What does not: opening or decoding (probe.py); names for what is turned away (refusals.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.media import Kind
from viralsync_pipelines.render.refusals import refusal

HEAD_BYTES = 65536  # an APNG's acTL chunk may stand behind a colour profile of some kilobytes

# Shorter than any real file of a kind that is let in, so that less is "empty" rather than "unknown".
_LEAST_BYTES = 12


@dataclass(frozen=True)
class Sniffed:
    """`kind` is the widest thing the container holds (an MP4 without picture is found out by the probe).

    container: our name ("mp4", "webm", "png", ...). demuxer: what `-f` must say; "" for fonts, which ffmpeg never sees.
    """

    kind: Kind
    container: str
    demuxer: str

    @property
    def still(self) -> bool:
        """One picture rather than a stream of them; drawn by Pillow, no clock."""
        return self.kind == "image" and self.demuxer not in {"gif", "apng", "webp_anim"} and self.container != "avis"


def _s(kind: Kind, container: str, demuxer: str) -> Sniffed:
    return Sniffed(kind, container, demuxer)


_PREFIXES: tuple[tuple[bytes, Sniffed], ...] = (
    (b"\xff\xd8\xff", _s("image", "jpeg", "jpeg_pipe")),
    (b"GIF87a", _s("image", "gif", "gif")),
    (b"GIF89a", _s("image", "gif", "gif")),
    (b"fLaC", _s("audio", "flac", "flac")),
    (b"\x00\x01\x00\x00", _s("font", "ttf", "")),
    (b"true\x00", _s("font", "ttf", "")),  # the zero is the high byte of the table count; without it, text
    (b"OTTO\x00", _s("font", "otf", "")),
    (b"ttcf\x00", _s("font", "ttc", "")),
    (b"wOFF", _s("font", "woff", "")),
    (b"wOF2", _s("font", "woff2", "")),
)

# QuickTime files older than 2003 have no ftyp box; they open with one of these.
_MOV_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
_FOREIGN_BRANDS = frozenset({b"crx ", b"jp2 ", b"jpx ", b"jxl "})


def sniff(head: bytes) -> Sniffed:
    """Judge a file by its first bytes: HEAD_BYTES of them, or all there are.

    Raises SourceError SOURCE_REFUSED, or SOURCE_UNREADABLE for an empty file.
    """
    if not head.strip(b"\x00"):
        raise SourceError(
            "the file is empty; give one that holds a picture, a clip, a sound or a font", code="SOURCE_UNREADABLE"
        )
    found = _known(head) if len(head) >= _LEAST_BYTES else None
    if found is None:
        raise SourceError(refusal(head), code="SOURCE_REFUSED")
    return found


def sniff_file(path: Path) -> Sniffed:
    """Sniff a file on disk, looking past an ID3 tag (which may carry a cover of megabytes) at what follows it."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head.startswith(b"ID3") and len(head) > 10:
            file.seek(id3_length(head))
            behind = file.read(HEAD_BYTES)
            found = _known(behind) if behind else None
            return found if found is not None and found.kind == "audio" else _s("audio", "mp3", "mp3")
    return sniff(head)


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag at the start of `head`, 0 when there is none. Sizes are four bytes of seven bits."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    a, b, c, d = (x & 0x7F for x in head[6:10])
    footer = 10 if head[5] & 0x10 else 0
    return 10 + footer + (a << 21 | b << 14 | c << 7 | d)


def _known(head: bytes) -> Sniffed | None:
    for prefix, found in _PREFIXES:
        if head.startswith(prefix):
            return found
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        animated = b"acTL" in head.partition(b"IDAT")[0]
        return _s("image", "png", "apng") if animated else _s("image", "png", "png_pipe")
    if head[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return _riff(head)
    if head.startswith(b"BM") and head[6:10] == b"\x00\x00\x00\x00":
        return _s("image", "bmp", "bmp_pipe")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _s("video", "webm" if b"webm" in head[:64] else "mkv", "matroska")
    if head.startswith(b"OggS"):
        return _s("video" if b"\x80theora" in head[:256] else "audio", "ogg", "ogg")
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[4:8] in _MOV_ATOMS and head[:2] in {b"\x00\x00", b"\x00\x01"}:
        return _s("video", "mov", "mov")
    if _every(head, 0x47, start=0, step=188) or _every(head, 0x47, start=4, step=192):
        return _s("video", "mpegts", "mpegts")
    return _naked_sound(head)


def _riff(head: bytes) -> Sniffed | None:
    form = head[8:12]
    if form == b"WAVE":
        return _s("audio", "wav", "wav")
    if head[:4] != b"RIFF":
        return None
    if form == b"AVI ":
        return _s("video", "avi", "avi")
    if form == b"WEBP":
        animated = head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)
        return _s("image", "webp", "webp_anim" if animated else "webp_pipe")
    return None


def _iso_media(head: bytes) -> Sniffed | None:
    length = int.from_bytes(head[:4], "big")
    major = head[8:12]
    brands = {major, *(head[i : i + 4] for i in range(16, min(length, len(head), 256) - 3, 4))}
    if major in _FOREIGN_BRANDS:
        return None
    if b"avis" in brands and major in {b"avis", b"avif", b"msf1"}:
        return _s("image", "avis", "mov")
    if major == b"avif" or (major == b"mif1" and b"avif" in brands):
        return _s("image", "avif", "mov")
    if major in _HEIC_BRANDS or (major in {b"mif1", b"msf1"} and brands & _HEIC_BRANDS):
        return _s("image", "heic", "mov")
    if major in _AUDIO_BRANDS:
        return _s("audio", "m4a", "mov")
    return _s("video", "mov" if major == b"qt  " else "mp4", "mov")


def _every(head: bytes, value: int, *, start: int, step: int) -> bool:
    """Whether the sync byte stands at the first five packet starts: one alone is chance, five are not."""
    places = range(start, start + 5 * step, step)
    return len(head) > places[-1] and all(head[i] == value for i in places)


def _naked_sound(head: bytes) -> Sniffed | None:
    """Frames without a container: ADTS AAC and MPEG audio layer II and III, believed when a second frame follows the first."""
    if head.startswith(b"ID3"):
        return _s("audio", "mp3", "mp3")
    if head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 0x0F < 13:
        length = (head[3] & 0x03) << 11 | head[4] << 3 | head[5] >> 5
        return _s("audio", "aac", "aac") if length > 7 and _sync(head, length, head[1]) else None
    length = _mpeg_frame(head)
    return _s("audio", "mp3", "mp3") if length and _sync(head, length, head[1]) else None


def _sync(head: bytes, at: int, second: int) -> bool:
    return len(head) < at + 2 or (head[at] == 0xFF and head[at + 1] == second)


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS = {
    "1-3": (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    "1-2": (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    "2": (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mpeg_frame(head: bytes) -> int:
    """Bytes of the MPEG audio frame (layer II or III) at the start of `head`; 0 when there is none."""
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate, padding = head[2] >> 4, (head[2] >> 2) & 3, (head[2] >> 1) & 1
    if head[1] & 0xE0 != 0xE0 or version == 1 or layer not in {1, 2} or bitrate in {0, 15} or rate == 3:
        return 0
    table = _KBITS["2" if version != 3 else "1-3" if layer == 1 else "1-2"]
    samples = 72 if version != 3 and layer == 1 else 144
    return samples * 1000 * table[bitrate] // _RATES[version][rate] + padding
