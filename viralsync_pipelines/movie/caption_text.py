"""SRT and VTT, read and written so that nothing is lost between the two. Pure.

What belongs here: these two formats. What does not: telling files apart (caption_files.py), ASS, word JSON.
"""

# pysubs2 reads and writes both, and is not used for them: it drops the line numbers that an error must name, has no words, reads
# neither VTT's entities nor its notes, joins lines over an empty one, takes a last line that is a number for the next cue's, and
# writes "<b>" or "-->" of a text as they are, so that reading them back loses them.

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.movie.cues import Cue, CueWord, bounded, checked, clean, counted, timed, within_limits

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,9}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# A line with an arrow is one of times, told wrong, when it begins like one.
_LIKE_TIMES = re.compile(r"\s*-?\d.*-->")
_INDEX = re.compile(r"\s*\d+\s*")
_TAG = re.compile(r"<[^<>]*>")
# What SRT files hold in practice; "<3" and "a < b" are words.
_SRT_TAG = re.compile(
    r"</?\s*(?:b|i|u|s|font|c|v|br|p|em|strong|small|big|tt|span|lang|ruby|rt|strike)(?:[\s./][^<>]*)?>"
    r"|<\d{1,4}(?::\d{2}){1,2}[.,]\d{1,3}>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_MOMENT = re.compile(rf"<{_TIME}>")
# No player shows it, and with it behind them these begin no tag: SRT has no escapes.
_JOINER = "\u2060"
_ESCAPED = re.compile(f"(?<=[<{{]){_JOINER}|(?<=--){_JOINER}(?={_JOINER}*>)")
_ENTITY = re.compile(r"&#?\w{1,32};")
# What players of SRT would show as it stands.
_VTT_ONLY = re.compile(r"<\d+:|</?(?:c|v|lang|ruby|rt)\b", re.IGNORECASE)


def read_srt(text: str) -> tuple[Cue, ...]:
    """The cues of an SRT, in the file's order. Empty lines inside a cue belong to it. Raises CaptionsInvalid."""
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if _are_times(line, number)]
    counted(len(places))
    cues: list[Cue] = []
    for count, place in enumerate(places):
        after = places[count + 1] if count + 1 < len(places) else len(lines)
        body = lines[place + 1 : after]
        if count + 1 < len(places) and body and _INDEX.fullmatch(body[-1]) and _is_index(body, lines[place - 1] if place else ""):
            body.pop()
        cues.append(_cue(lines[place], place, "\n".join(body), srt_text, _srt_plain))
    return within_limits(cues, "SRT; write a line such as 00:00:01,000 --> 00:00:02,500 with its words below")


def _is_index(body: Sequence[str], own: str) -> bool:
    """Whether the number before the next cue's times counts it, or is the last line of this one."""
    if len(body) == 1 or not body[-2].strip():
        return True
    # Without an empty line before it, only a number that counts on is taken for one.
    return bool(_INDEX.fullmatch(own)) and int(body[-1]) == int(own) + 1


def read_vtt(text: str) -> tuple[Cue, ...]:
    """The cues of a VTT, in the file's order; notes, styles, regions and places are passed over. Raises CaptionsInvalid."""
    lines = text.split("\n")
    cues: list[Cue] = []
    number = 0
    while number < len(lines):
        if not _are_times(lines[number], number):
            number += 1
            continue
        counted(len(cues) + 1)
        place = number
        number += 1
        while number < len(lines) and lines[number].strip() and not _LIKE_TIMES.match(lines[number]):
            number += 1
        cues.append(_cue(lines[place], place, "\n".join(lines[place + 1 : number]), vtt_text, _vtt_plain))
    return within_limits(cues, "VTT; write a line such as 00:01.000 --> 00:02.500 with its words below")


def has_times(text: str) -> bool:
    """Whether some line of it is one of times."""
    return any(_TIMES.fullmatch(line) for line in text.split("\n"))


def srt_text(raw: str) -> list[tuple[str, int | None]]:
    """The text between SRT's tags, as pieces with the moment each begins at, where a tag tells one."""
    return _pieces(raw, _SRT_TAG, lambda text: _ESCAPED.sub("", text))


def vtt_text(raw: str) -> list[tuple[str, int | None]]:
    """The same for VTT, entities resolved; what stands above a word (ruby) is left out."""
    return _pieces(re.sub(r"<rt[^>]*>[^<]*(?:</rt>)?", "", raw), _TAG, _resolved)


def _resolved(text: str) -> str:
    # Only whole ones: "R&D" and "&notes" are words.
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text)


def _pieces(raw: str, tag: re.Pattern[str], plain: Callable[[str], str]) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    text, moment, at = "", None, 0
    for each in tag.finditer(raw):
        text += plain(raw[at : each.start()])
        at = each.end()
        told = _MOMENT.fullmatch(each[0])
        if told is not None:
            found.append((text, moment))
            text, moment = "", _ms(told.groups())
        elif re.fullmatch(r"<br\s*/?>", each[0], re.IGNORECASE):
            text += "\n"
    found.append((text + plain(raw[at:]), moment))
    return found


def _times_of(line: str) -> tuple[int, int]:
    found = _TIMES.fullmatch(line)
    parts = found.groups() if found is not None else ()
    return _ms(parts[:4]), _ms(parts[4:])


def _cue(
    times: str, place: int, body: str, pieces_of: Callable[[str], list[tuple[str, int | None]]], plain: Callable[[str], str]
) -> Cue:
    start, end = _times_of(times)
    raw = clean(bounded(body, place + 1))
    pieces = pieces_of(raw)
    text = clean("".join(piece for piece, _ in pieces))
    return checked(Cue(start, end, text, timed(pieces, start, end), raw if raw != clean(plain(text)) else None), place + 1)


def _are_times(line: str, number: int) -> bool:
    if "-->" not in line:
        return False
    found = _TIMES.fullmatch(line)
    if found is None:
        if _LIKE_TIMES.match(line):
            raise CaptionsInvalid("these times cannot be read; write 00:00:01,000 --> 00:00:02,500", line=number + 1)
        return False
    if any(int(part) > 59 for part in (*found.groups()[1:3], *found.groups()[5:7])):
        raise CaptionsInvalid("a minute has 60 seconds and an hour 60 minutes; write 00:00:01,000 --> 00:00:02,500", line=number + 1)
    return True


def _ms(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    return (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)) * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def write_srt(cues: Iterable[Cue]) -> str:
    """The cues as an SRT, in their order, with the markup they came with. Reading it gives the same texts and times."""
    return "".join(
        f"{number}\n{_stamp(cue.start_ms, ',')} --> {_stamp(cue.end_ms, ',')}\n{_srt_body(cue)}\n\n"
        for number, cue in enumerate(cues, 1)
    )


def write_vtt(cues: Iterable[Cue], *, words: bool = True) -> str:
    """The cues as a VTT, in their order, with the markup they came with. words: also when each is said, which players that know
    VTT show as they please, and others leave out."""
    return "WEBVTT\n" + "".join(
        f"\n{_stamp(cue.start_ms, '.')} --> {_stamp(cue.end_ms, '.')}\n{_vtt_body(cue, words)}\n" for cue in cues
    )


def _srt_body(cue: Cue) -> str:
    raw = clean(cue.raw or "")
    # Markup of another format does not read as this text, and is not written.
    if raw and not _VTT_ONLY.search(raw) and _read(cue, raw, srt_text, _srt_plain)[0] == cue.text:
        return _srt_lines(raw.replace("-->", f"--{_JOINER}>"))
    return _srt_lines(_srt_plain(cue.text))


def _vtt_body(cue: Cue, words: bool) -> str:
    own = [clean(cue.raw)] if cue.raw and words else []
    for body in [*own, *_marked(cue, words)]:
        if _read(cue, body, vtt_text, _vtt_plain) == (cue.text, cue.words) and "-->" not in body and "\n\n" not in body:
            return body
    return _vtt_plain(cue.text)


def _read(
    cue: Cue, raw: str, pieces_of: Callable[[str], list[tuple[str, int | None]]], plain: Callable[[str], str]
) -> tuple[str, tuple[CueWord, ...]]:
    """The text and the words that this body gives when it is read at the cue's times; nothing when it cannot be read."""
    try:
        read = _cue(f"{_stamp(cue.start_ms, '.')} --> {_stamp(cue.end_ms, '.')}", 0, raw, pieces_of, plain)
    except CaptionsInvalid:
        return "", ()
    return read.text, read.words


def _srt_plain(text: str) -> str:
    if _SRT_TAG.search(text) or re.search(f"[<{{]{_JOINER}", text):
        text = re.sub(r"([<{])", rf"\1{_JOINER}", text)
    return re.sub(rf"--({_JOINER}*)>", rf"--{_JOINER}\1>", text)


def _srt_lines(text: str) -> str:
    # An empty line would end the cue in most players.
    return "\n".join(line or "\u00a0" for line in text.split("\n"))


def _vtt_plain(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "\n".join(line or "&nbsp;" for line in escaped.split("\n"))


def _marked(cue: Cue, words: bool) -> list[str]:
    """The text with a time tag where a word begins, and where it ends before the next one begins; [] if it cannot be told so."""
    if not words or not cue.words:
        return []
    parts: list[str] = []
    at, now = 0, cue.start_ms
    for number, word in enumerate(cue.words):
        place = cue.text.find(word.text, at)
        if place < 0 or word.start_ms < now:
            return []
        parts.append(_vtt_plain(cue.text[at:place]) if place > at else "")
        # A lone word that lasts as long as its cue has a tag too, for without one it would not be timed.
        if word.start_ms > now or len(cue.words) == 1:
            parts.append(f"<{_stamp(word.start_ms, '.')}>")
        parts.append(_vtt_plain(word.text))
        now, at = word.start_ms, place + len(word.text)
        until = cue.words[number + 1].start_ms if number + 1 < len(cue.words) else cue.end_ms
        if word.end_ms != until:
            parts.append(f"<{_stamp(word.end_ms, '.')}>")
            now = word.end_ms
    return ["".join(parts) + _vtt_plain(cue.text[at:])]


def _stamp(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
