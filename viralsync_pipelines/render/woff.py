"""Web fonts to plain sfnt bytes, under a size cap: WOFF by hand, WOFF2 through fontTools and Brotli.

What belongs here: unpacking untrusted bytes. What does not: judging the font inside (fontfile.py).
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

MAX_FONT_BYTES = 64 << 20  # the largest useful one, Noto Sans CJK with five languages, has 33 MB
SFNT = (b"\0\1\0\0", b"OTTO", b"true", b"ttcf")
_ENTRY = struct.Struct(">4sLLLL")


def unpack_font(data: bytes) -> bytes:
    """sfnt bytes of a TrueType, OpenType, WOFF or WOFF2 file. Raises ValueError, struct.error and whatever fontTools meets."""
    if data[:4] == b"wOFF":
        return _unpack_woff(data)
    if data[:4] == b"wOF2":
        return _unpack_woff2(data)
    if data[:4] not in SFNT:
        raise ValueError("it is not a TrueType, OpenType, WOFF or WOFF2 font")
    return data


def _unpack_woff(data: bytes) -> bytes:
    """WOFF 1, table by table: zlib with the declared length as a limit, so that a bomb stops at its own promise."""
    flavor, _, count, _, total = struct.unpack_from(">4sLHHL", data, 4)
    if total > MAX_FONT_BYTES:
        raise ValueError("it unpacks to more than 64 MB")
    entries = [_ENTRY.unpack_from(data, 44 + 20 * i) for i in range(count)]
    offset = 12 + 16 * count
    directory, body = b"", b""
    if sum(length for _, _, _, length, _ in entries) > MAX_FONT_BYTES:
        raise ValueError("it unpacks to more than 64 MB")
    for tag, start, packed, length, checksum in entries:
        table = data[start : start + packed]
        if packed < length:
            table = zlib.decompressobj().decompress(table, length)
        if len(table) != length:
            raise ValueError("a table is cut short")
        directory += struct.pack(">4sLLL", tag, checksum, offset + len(body), length)
        body += table + b"\0" * (-length % 4)
    return struct.pack(">4sHHHH", flavor, count, 0, 0, 0) + directory + body


def _unpack_woff2(data: bytes) -> bytes:
    try:
        import brotli
    except ImportError as missing:
        raise ValueError("WOFF2 needs Brotli: run `pip install brotli`, or give a .ttf, .otf or .woff file") from missing
    flavor, total, packed = struct.unpack_from(">4s8xLL", data, 4)
    if flavor == b"ttcf" or total > MAX_FONT_BYTES:
        raise ValueError("it is a collection, or unpacks to more than 64 MB")
    start = _woff2_stream(data)
    # A dry run under a limit, since fontTools unpacks without one.
    if len(brotli.Decompressor().process(data[start : start + packed], output_buffer_limit=MAX_FONT_BYTES)) >= MAX_FONT_BYTES:
        raise ValueError("it unpacks to more than 64 MB")
    from fontTools.ttLib.woff2 import decompress

    out = BytesIO()
    decompress(BytesIO(data), out)
    return out.getvalue()


def _woff2_stream(data: bytes) -> int:
    """Offset of the Brotli stream: behind the header and the table directory with its lengths of 1 to 5 bytes."""
    place = 48
    for _ in range(struct.unpack_from(">H", data, 12)[0]):
        flags = data[place]
        place += 5 if flags & 63 == 63 else 1
        # glyf and loca (10, 11) are transformed unless version 3 says otherwise; all others only when it is not 0.
        transformed = (flags >> 6 != 3) if flags & 63 in {10, 11} else flags >> 6 != 0
        for _ in range(1 + transformed):
            while data[place] & 128:
                place += 1
            place += 1
    return place
