"""Turns a line's text into what the embedded engine is given, and keeps the way back to the characters the user wrote.

What belongs here: the SSML that is accepted, and the mapping spoken -> content -> source. Pure.
What does not: timing, and the engine itself. Its own SSML reader copies into fixed buffers and opens the files that <audio>
names, so it never sees the user's markup: accepted elements are written anew, everything else is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from xml.parsers import expat

from viralsync_pipelines.errors import SpeechError

MAX_DEPTH = 10  # the engine's own stacks hold 20
MAX_BREAK_MS = 10_000
MAX_ALIAS = 200

_CHANGE = r"[+-]?\d{1,3}%"
_NAME = r"[\w:-]{0,20}"
# Element and attribute -> what its value has to match, and how to say so.
_VALUES: dict[tuple[str, str], tuple[str, str]] = {
    ("prosody", "rate"): (rf"x-slow|slow|medium|fast|x-fast|default|\d(\.\d{{1,2}})?|{_CHANGE}", "slow, fast, 80% or +20%"),
    ("prosody", "pitch"): (rf"x-low|low|medium|high|x-high|default|[+-]\d{{1,2}}st|{_CHANGE}", "low, high, +10% or +2st"),
    ("prosody", "range"): (rf"x-low|low|medium|high|x-high|default|{_CHANGE}", "low, high or +10%"),
    ("prosody", "volume"): (rf"silent|x-soft|soft|medium|loud|x-loud|default|{_CHANGE}", "soft, loud or +10%"),
    ("emphasis", "level"): (r"none|reduced|moderate|strong", "none, reduced, moderate or strong"),
    ("break", "strength"): (r"none|x-weak|weak|medium|strong|x-strong", "none, weak, medium, strong or x-strong"),
    ("break", "time"): (r"\d{1,9}(\.\d{1,3})?(ms|s)", "500ms or 1.5s"),
    ("voice", "gender"): (r"male|female", "male or female"),
    ("say-as", "interpret-as"): (
        r"characters|spell-out|digits|telephone|cardinal|ordinal|number|date|time",
        "characters, digits, telephone, number, date or time",
    ),
    ("say-as", "format"): (_NAME, "one word"),
    ("say-as", "detail"): (_NAME, "one word"),
    ("sub", "alias"): (rf"(?s).{{1,{MAX_ALIAS}}}", f"1 to {MAX_ALIAS} characters"),
    ("mark", "name"): (r"(?s).*", "anything"),
}
_LANGUAGE_ON = ("speak", "p", "s", "voice")
_ELEMENTS = ("speak", "p", "s", "voice", "prosody", "emphasis", "break", "say-as", "sub", "mark")
_UNWRITTEN = ("sub", "mark")
_BREAKS_WORDS = ("p", "s", "break", "say-as", "sub")
# Only these two change how the engine reads digits and letters; what the others ask for is its normal reading.
_SAY_AS = {"characters": "characters", "spell-out": "characters", "digits": "tts:digits", "telephone": "telephone"}


@dataclass(frozen=True)
class Utterance:
    """A line in three aligned forms.

    spoken: what the engine gets. origin: for each character of `spoken`, an index into `content`.
    content: the words to show, markup gone, entities decoded. source: for each character of `content`, its half-open
    range in the line's text; empty where an element stands between two words.
    """

    spoken: str
    ssml: bool
    content: str
    origin: tuple[int, ...]
    source: tuple[tuple[int, int], ...]


def plain_utterance(text: str) -> Utterance:
    """Text as written. Control characters become spaces: the engine takes Ctrl-A as a command and NUL as the end."""
    clean = "".join(" " if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in text)
    return Utterance(clean, False, clean, tuple(range(len(clean))), tuple((i, i + 1) for i in range(len(clean))))


def ssml_utterance(text: str, resolve_voice: Callable[[str], str]) -> Utterance:
    """Text with SSML; a missing <speak> around it is added. `resolve_voice` turns a language code into the engine's voice.

    Raises SpeechError SPEECH_SSML_REFUSED, naming the element or the line and column.
    """
    wrapped = not re.match(r"\s*<(\?xml|!DOCTYPE|speak[\s>/])", text)
    lead, tail = ("<speak>", "</speak>") if wrapped else ("", "")
    writer = _Writer(f"{lead}{text}{tail}", len(lead), len(text), resolve_voice)
    return writer.utterance()


@dataclass
class _Writer:
    """Reads the user's SSML with expat and writes the engine's, character by character."""

    document: str
    shift: int
    length: int
    resolve_voice: Callable[[str], str]
    spoken: list[str] = field(default_factory=list)
    origin: list[int] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    source: list[tuple[int, int]] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)  # what ends each open element; "" for those not written
    aliased: int = 0

    def __post_init__(self) -> None:
        self.char_at = _char_of_byte(self.document)
        self.parser = expat.ParserCreate("utf-8")

    def utterance(self) -> Utterance:
        parser = self.parser
        parser.buffer_text = False  # each chunk is then contiguous in the source, an entity being a chunk of its own
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartCdataSectionHandler = _refuse_cdata
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        try:
            parser.Parse(self.document.encode(), True)
        except expat.ExpatError as error:
            column = error.offset - (self.shift if error.lineno == 1 else 0)
            raise _refused(
                f"the SSML is not well-formed at line {error.lineno}, column {column + 1}: {expat.ErrorString(error.code)}; "
                "close every element and write & as &amp; and < as &lt;"
            ) from None
        return Utterance("".join(self.spoken), True, "".join(self.content), tuple(self.origin), tuple(self.source))

    def here(self) -> int:
        """Character of the line's text at which the parser stands."""
        return min(max(self.char_at[self.parser.CurrentByteIndex] - self.shift, 0), self.length)

    def markup(self, text: str) -> None:
        self.spoken.append(text)
        self.origin.extend([len(self.content)] * len(text))

    def boundary(self) -> None:
        self.content.append(" ")
        self.source.append((self.here(), self.here()))

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name not in _ELEMENTS:
            raise _refused(f"<{name[:40]}> is not spoken by this engine; it takes {', '.join(f'<{e}>' for e in _ELEMENTS)}")
        if (name == "speak") == bool(self.closing):
            raise _refused("<speak> has to be the one outermost element")
        if len(self.closing) >= MAX_DEPTH:
            raise _refused(f"elements stand more than {MAX_DEPTH} deep in each other; flatten the SSML")
        if "</say-as>" in self.closing:
            # <say-as interpret-as='characters'><p>: "stack smashing detected" in version 1.52.
            raise _refused(f"<{name}> stands inside <say-as>, which takes nothing but text; move it out")
        if name in _BREAKS_WORDS:
            self.boundary()
        kept = self.accepted(name, attributes)
        written = name not in _UNWRITTEN and not (name == "say-as" and not kept)
        if written:
            attributes_text = "".join(f' {key}="{escape(value)}"' for key, value in kept.items())
            self.markup(f"<{name}{attributes_text}>")
        if name == "sub":
            # Said by its alias, shown as written: the alias goes out as text that belongs to the first character inside.
            self.aliased += 1
            if self.aliased == 1:
                self.markup(f" {escape(kept['alias'], quote=False)} ")
        self.closing.append(f"</{name}>" if written else "")

    def end(self, name: str) -> None:
        self.markup(self.closing.pop())
        if name == "sub":
            self.aliased -= 1
        if name in _BREAKS_WORDS:
            self.boundary()

    def text(self, chunk: str) -> None:
        at = self.here()
        entity = self.document.startswith("&", at + self.shift)
        for char in chunk:
            end = self.document.index(";", at + self.shift) + 1 - self.shift if entity else at + 1
            index = len(self.content)
            self.content.append(char)
            self.source.append((at, end))
            if not self.aliased:
                said = escape(char, quote=False)
                self.spoken.append(said)
                self.origin.extend([index] * len(said))
            at = end

    def accepted(self, name: str, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes to write, checked; languages resolved to voices, times to whole milliseconds."""
        if name == "sub" and "alias" not in attributes:
            raise _refused('<sub> needs alias="what to say instead"')
        kept: dict[str, str] = {}
        for key, value in attributes.items():
            if name == "speak" and (key in ("version", "xmlns") or key.startswith(("xmlns:", "xsi:"))):
                continue
            if (key == "xml:lang" and name in _LANGUAGE_ON) or (name, key) == ("voice", "name"):
                kept[key] = self.resolve_voice(value)
                continue
            if (name, key) not in _VALUES:
                raise _refused(f"<{name}> takes no attribute {key[:40]!r}; remove it")
            pattern, hint = _VALUES[name, key]
            if not re.fullmatch(pattern, value):
                raise _refused(f"{key}={value[:40]!r} of <{name}> is not understood; write {hint}")
            kept[key] = value
        if "time" in kept:
            kept["time"] = f"{_milliseconds(kept['time'])}ms"
        if name == "say-as":
            reading = _SAY_AS.get(kept.get("interpret-as", ""))
            return {"interpret-as": reading} if reading else {}
        return kept


def _milliseconds(time: str) -> int:
    number = float(time.removesuffix("s").removesuffix("m"))
    value = round(number if time.endswith("ms") else number * 1000)
    if value > MAX_BREAK_MS:
        raise _refused(f"a break of {time} is longer than {MAX_BREAK_MS // 1000} s; start another voice layer later instead")
    return value


def _char_of_byte(text: str) -> list[int]:
    """Character index for every byte offset of the text in UTF-8, the end included."""
    table: list[int] = []
    for index, char in enumerate(text):
        table.extend([index] * len(char.encode()))
    return [*table, len(text)]


def _refuse_doctype(*_: object) -> None:
    # Entities are declared in a DOCTYPE: without one there is nothing to expand, a billion times or from another file.
    raise _refused("the SSML has a DOCTYPE, which voice layers do not take; remove it")


def _refuse_cdata(*_: object) -> None:
    raise _refused("the SSML has a CDATA section, which voice layers do not take; write & as &amp; and < as &lt; instead")


def _refused(message: str) -> SpeechError:
    return SpeechError(message, code="SPEECH_SSML_REFUSED")
