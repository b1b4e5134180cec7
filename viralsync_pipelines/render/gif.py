"""Walking a GIF's blocks: whether it is whole, and whether any pixel of it may stay clear. Bytes only, no decoding.

ffmpeg hands out every GIF as BGRA and plays a cut one as far as it goes, so neither can be told from its answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class GifFacts:
    """whole: the trailer was reached. clear: some pixel may be transparent when played."""

    whole: bool
    clear: bool


def walk(path: Path) -> GifFacts:
    """Read the block structure of a GIF file. Never raises for damaged content; a damaged file is not whole."""
    with path.open("rb") as file:
        return _walk(file)


def _walk(file: BinaryIO) -> GifFacts:
    head = file.read(13)
    if len(head) < 13:
        return GifFacts(False, True)
    screen = head[6:10]
    _skip_palette(file, head[10])
    images, clear, transparent = 0, False, False
    while block := file.read(1):
        if block == b";":
            return GifFacts(images > 0, clear)
        if block == b"!":
            label = file.read(1)
            if label == b"\xf9":
                control = file.read(6)
                if len(control) < 6:
                    break
                transparent = bool(control[1] & 1)
                # Disposal 2 clears the frame's area once it was shown; 0 and 1 keep what is there, 3 brings back what was.
                clear = clear or (control[1] >> 2) & 7 == 2
            elif not _skip_blocks(file):
                break
        elif block == b",":
            place = file.read(9)
            if len(place) < 9:
                break
            # A transparent index in a later frame keeps what lies below; only the first frame lets the ground show.
            if images == 0 and (transparent or place[:8] != b"\x00\x00\x00\x00" + screen):
                clear = True
            _skip_palette(file, place[8])
            file.read(1)  # the LZW code size
            if not _skip_blocks(file):
                break
            images += 1
            transparent = False
        elif block != b"\x00":
            break
    return GifFacts(False, True)


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.read(3 << (flags & 7) + 1)


def _skip_blocks(file: BinaryIO) -> bool:
    """Skip sub-blocks up to the empty one; False when the file ends first."""
    while length := file.read(1):
        if length == b"\x00":
            return True
        if len(file.read(length[0])) < length[0]:
            return False
    return False
