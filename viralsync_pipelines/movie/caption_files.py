"""Caption files: SRT, VTT, ASS, SSA and word JSON, told apart by what is in them, read into cues; and cues written out again. Pure.

What belongs here: bytes to text, and which reader takes it. What does not: the formats (caption_text.py, caption_ass.py,
caption_json.py), the values (cues.py).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.movie.caption_ass import read_ass
from viralsync_pipelines.movie.caption_json import read_words, write_words
from viralsync_pipelines.movie.caption_text import has_times, read_srt, read_vtt, write_srt, write_vtt
from viralsync_pipelines.movie.cues import MAX_BYTES, Cue, CueWord

__all__ = ["Cue", "CueWord", "captions_in", "read_captions", "write_srt", "write_vtt", "write_words"]

# The longer mark first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_SCRIPT = re.compile(r"(?:\s|;[^\n]*\n)*\[(?:script info|v4\+? styles|events)\]", re.IGNORECASE)
_READERS: dict[str, Callable[[str], tuple[Cue, ...]]] = {
    ".srt": read_srt, ".vtt": read_vtt, ".ass": read_ass, ".ssa": read_ass, ".json": read_words,
}  # fmt: skip


def read_captions(data: bytes, name: str = "") -> tuple[Cue, ...]:
    """The cues of a file, in its order, overlapping ones as they are; those without words are left out.

    UTF-8, or UTF-16 and UTF-32 with a mark (UTF-16 also without one); lines may end in any way. name: decides where the content does
    not. Raises CaptionsInvalid with the line and the remedy.
    """
    if len(data) > MAX_BYTES:
        raise CaptionsInvalid(f"this has {len(data):,} bytes; captions have at most {MAX_BYTES:,}, so split the file")
    return captions_in(_text(data), name)


def captions_in(text: str, name: str = "") -> tuple[Cue, ...]:
    """The same for a file's text."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise CaptionsInvalid("there is nothing in this; give an SRT, VTT, ASS or word JSON")
    return _reader(text, name)(text)


def _reader(text: str, name: str) -> Callable[[str], tuple[Cue, ...]]:
    start = text.lstrip()
    if re.match(r"WEBVTT(?:\s|$)", start):
        return read_vtt
    if _SCRIPT.match(text):
        return read_ass
    named = _READERS.get("." + name.rpartition(".")[2].lower())
    if re.match(r'\[\s*[{\]]|\{\s*["}]', start):
        return read_words
    if has_times(text):
        # A VTT whose first line is missing is still known by its name.
        return read_vtt if named is read_vtt else read_srt
    return named or read_srt


def _text(data: bytes) -> str:
    mark = next((each for each in _MARKS if data.startswith(each[0])), None)
    encoding = mark[1] if mark is not None else _unmarked(data)
    body = data[len(mark[0]) :] if mark is not None else data
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(encoding, "replace").count("\n") + 1
        told = f"this is not {encoding.upper()} (byte 0x{body[error.start]:02x}); save the file as UTF-8 in the program that made it"
        raise CaptionsInvalid(told, line=line) from None


def _unmarked(data: bytes) -> str:
    """UTF-16 without a mark has a zero in every other byte of its numbers and arrows."""
    some = data[:2000]
    zeros = some[0::2].count(0), some[1::2].count(0)
    if sum(zeros) * 5 < len(some):
        return "utf-8"
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
