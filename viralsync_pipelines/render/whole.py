"""Signs by which a file cut short is told from a whole one, read from its bytes: end marks, promised lengths, missing indexes.

What belongs here: facts about containers that ffmpeg keeps to itself. What does not: judging them (streams.py).
"""

from __future__ import annotations

from pathlib import Path

from viralsync_pipelines.render.sniff import id3_length

_MOST_BOXES = 65536


def tail(path: Path) -> bytes:
    """The last 4096 bytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read()


def mp3_counted(path: Path) -> bool:
    """Whether an MP3 says how many frames it has (a Xing or Info frame); without one its length is a guess from the bitrate."""
    with path.open("rb") as file:
        file.seek(id3_length(file.read(10)))
        head = file.read(4096)
    return b"Xing" in head or b"Info" in head


def riff_missing(path: Path) -> int:
    """Bytes that a RIFF header (WAV, AVI) promises and the file lacks; 0 for others and for lengths left open."""
    with path.open("rb") as file:
        head = file.read(8)
    promised = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or promised in {0, 0xFFFFFFFF, 0x7FFFFFFF} or promised > 0xFFFFFF00:
        return 0
    return max(0, promised + 8 - path.stat().st_size)


def has_box(path: Path, name: bytes) -> bool:
    """Whether a top-level box of an ISO media file is called `name`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        for _ in range(_MOST_BOXES):
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if len(header) < 8:
                return False
            if header[4:8] == name:
                return at + max(length, 8) <= size
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                return False
            at += length
    return False
