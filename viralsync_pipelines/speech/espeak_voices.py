"""The voices that came with the embedded engine: language codes and variants, read from its data folder.

What belongs here: names and what they stand for. What does not: speaking; the library is never loaded here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.speech.engine import one_of

DEFAULT_VOICE = "en-us"


@dataclass(frozen=True)
class Voices:
    """languages: accepted name -> the engine's name ("zh" -> "cmn"). variants: lower case -> file name ("f3", "adam")."""

    languages: dict[str, str]
    variants: dict[str, str]

    def resolve(self, wanted: str | None) -> str:
        """The engine's name of a voice: "en-us" for None, "en-us+f3" for "en_US+F3". Raises SpeechError VOICE_NOT_FOUND."""
        language, plus, variant = (wanted or DEFAULT_VOICE).strip().lower().replace("_", "-").partition("+")
        if language not in self.languages:
            raise SpeechError(
                f"there is no voice {(wanted or '')[:64]!r}; use {one_of(self.languages, language)}, or leave `voice` out for "
                f"{DEFAULT_VOICE!r}",
                code="VOICE_NOT_FOUND",
            )
        if not plus:
            return self.languages[language]
        if variant not in self.variants:
            raise SpeechError(
                f"voice {language!r} has no variant {variant[:64]!r}; use {one_of(self.variants, variant)} after the +",
                code="VOICE_NOT_FOUND",
            )
        return f"{self.languages[language]}+{self.variants[variant]}"

    def of_language(self, language: str | None) -> str | None:
        """The voice of a BCP-47 language: its own, or without the region ("pt-AO" is "pt"). None for none, or one that is not known."""
        name = (language or "").strip().lower().replace("_", "-")
        while name and name not in self.languages:
            name = name.rpartition("-")[0]
        return name or None


def voices_in(data: Path) -> Voices:
    """Read the data folder (some 150 small files, 10 ms). Languages whose dictionary was not shipped are left out."""
    own: dict[str, str] = {}
    aliases: dict[str, tuple[int, str]] = {}
    for file in sorted(path for path in (data / "lang").rglob("*") if path.is_file()):
        text = file.read_text("utf-8", errors="replace")
        if not (data / f"{_dictionary(file.name, text)}_dict").is_file():
            continue
        name = file.name.lower()
        own[name] = name
        for alias, priority in re.findall(r"^[ \t]*language[ \t]+(\S+)[ \t]*(\d*)", text, re.M):
            rank = (int(priority or 5), name)
            aliases[alias.lower()] = min(rank, aliases.get(alias.lower(), rank))
    variants = {
        file.name.lower(): file.name
        for file in sorted((data / "voices" / "!v").iterdir())
        if re.fullmatch(r"[A-Za-z0-9-]{1,20}", file.name)
    }
    return Voices({alias: name for alias, (_, name) in aliases.items()} | own, variants)


def _dictionary(file_name: str, text: str) -> str:
    """The dictionary a language names, else that of its code's first part."""
    named = re.search(r"^[ \t]*dictionary[ \t]+(\S+)", text, re.M)
    return named.group(1) if named else file_name.partition("-")[0].lower()
