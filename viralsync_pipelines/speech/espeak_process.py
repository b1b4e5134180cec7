"""The process in which libespeak-ng speaks one line: request on stdin, events and samples on stdout.

What belongs here: the C library and nothing else. Run as a file with `-I -S`, standard library only, so that it starts fast.
It reads one JSON line and answers one JSON line followed by raw 16-bit samples; it writes no file, and dies with its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

_RETRIEVE_SYNCHRONOUSLY = 2
_DO_NOT_EXIT = 0x8000
_UTF8, _SSML = 1, 0x10
_RATE, _PITCH = 1, 3
_EVENT_WORD = 1
_PR_SET_PDEATHSIG = 1
_SEED = 1
_CPU_SECONDS = 60
_MEMORY = 1 << 30


class _Event(ctypes.Structure):
    """espeak_EVENT; the union at its end is as wide as a pointer."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, the first is 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_ON_SOUND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_ON_URI = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)


def main() -> None:
    _die_with(int(sys.argv[1]))
    line = _read_line()
    threading.Thread(target=_die_at_end_of_input, daemon=True).start()
    _confine()
    header, samples = _speak(json.loads(line))
    out = sys.stdout.buffer
    out.write(json.dumps(header).encode() + b"\n")
    out.write(samples)
    out.flush()
    # Not sys.exit: the thread holds stdin, and the library frees nothing that the end of the process does not.
    os._exit(0)


def _speak(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The answer's JSON line, and the samples. `events` are [position in the text from 0, milliseconds] of each word."""
    lib = ctypes.CDLL(request["library"])
    sample_rate = lib.espeak_Initialize(_RETRIEVE_SYNCHRONOUSLY, 0, os.fsencode(request["data"]), _DO_NOT_EXIT)
    if sample_rate <= 0:
        return {"error": "library", "detail": "espeak_Initialize failed"}, b""
    events: list[tuple[int, int]] = []
    samples = bytearray()
    most = int(request["max_samples"]) * 2

    def on_sound(sound: Any, count: int, happened: Any) -> int:
        if sound and count > 0:
            samples.extend(ctypes.string_at(sound, count * 2))
        index = 0
        while happened[index].type:
            if happened[index].type == _EVENT_WORD:
                events.append((happened[index].text_position - 1, happened[index].audio_position))
            index += 1
        return int(len(samples) > most)

    keep = (_ON_SOUND(on_sound), _ON_URI(lambda *_: 1))  # 1: never play the file an <audio> names
    lib.espeak_SetSynthCallback(keep[0])
    lib.espeak_SetUriCallback(keep[1])
    if lib.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": "voice", "detail": request["voice"]}, b""
    lib.espeak_SetParameter(_RATE, int(request["rate"]), 0)
    lib.espeak_SetParameter(_PITCH, int(request.get("pitch", 50)), 0)
    # The noise in its consonants is random, and versions after 1.52 seed it with the clock: equal input, unequal bytes.
    lib.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
    text = request["text"].encode() + b"\0"
    flags = _UTF8 | (_SSML if request["ssml"] else 0)
    status = lib.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, flags, None, None)
    if status != 0:
        return {"error": "library", "detail": f"espeak_Synth answered {status}"}, b""
    if len(samples) > most:
        return {"error": "long", "detail": ""}, b""
    return {"sample_rate": sample_rate, "events": events, "bytes": len(samples)}, bytes(samples)


def _die_with(parent: int) -> None:
    """On Linux the kernel kills this process when its parent goes, also by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before the call above
        os._exit(1)


def _die_at_end_of_input() -> None:
    """The parent keeps its end of stdin open while it wants the answer; everywhere else than on Linux that is all there is."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _confine() -> None:
    """No files written, no core dumps, bounded memory and CPU time, whatever the text makes the library do."""
    try:
        import resource
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
    ):
        _, hard = resource.getrlimit(kind)
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def _read_line() -> bytes:
    """Up to the first newline, unbuffered: what follows is the watching thread's."""
    read = bytearray()
    while not read.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            os._exit(1)
        read += part
    return bytes(read)


if __name__ == "__main__":
    main()
