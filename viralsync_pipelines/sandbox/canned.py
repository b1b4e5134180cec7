"""Media made once and given many times, each time with other bytes: a thousand jobs need not run ffmpeg a thousand times.

What belongs here: keeping one file for each model and size, and varying it. What does not: making it (making.py).
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# What a canned file is kept by: the words in it are those of who came first.
_SIZES = ("aspect_ratio", "resolution", "width", "height", "duration", "speed")


class Shelf:
    """Safe to use from several threads: of two that want the same file one makes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def give(self, model: str, values: Mapping[str, Any], mark: str, to: Path, make: Callable[[Path], Path]) -> Path:
        """A file of that model and size in the folder `to`, which differs from every other one by `mark`."""
        sizes = {name: values.get(name) for name in _SIZES}
        key = hashlib.sha256(json.dumps([model, sizes]).encode()).hexdigest()[:16]
        home = self._folder / key
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            found = next(iter(home.glob("out*")), None) if home.is_dir() else None
            if found is None:
                fresh = self._folder / f".{key}"
                fresh.mkdir(parents=True, exist_ok=True)
                made = make(fresh)
                fresh.rename(home)
                found = home / made.name
        out = to / found.name
        out.write_bytes(varied(found.read_bytes(), mark))
        return out


def varied(data: bytes, mark: str) -> bytes:
    """The same picture or sound in other bytes: `mark` goes where PNG, WAV and MP4 keep what nobody looks at."""
    note = mark.encode()
    if data.startswith(b"\x89PNG"):
        body = b"tEXt" + b"Comment\0" + note
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:-12] + chunk + data[-12:]
    if data.startswith(b"RIFF"):
        note += b"\0" * (1 + (len(note) + 1) % 2)
        info = b"INFO" + b"ICMT" + struct.pack("<I", len(note)) + note
        grown = data + b"LIST" + struct.pack("<I", len(info)) + info
        return grown[:4] + struct.pack("<I", len(grown) - 8) + grown[8:]
    return data + struct.pack(">I", 8 + len(note)) + b"free" + note
