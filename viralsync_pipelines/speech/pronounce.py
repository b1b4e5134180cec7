"""A dictionary of how words are to be said: whole words, by language, minding capitals. Pure.

What belongs here: that. What does not: numbers, units and signs (normal.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from viralsync_pipelines.speech.reading import Reading, rewritten

Dictionary = Mapping[str, str | Mapping[str, str]]
"""Word -> how it is said; or a language -> words of its own, which come before those of all languages."""


def pronounced(reading: Reading, dictionary: Dictionary, language: str = "en") -> Reading:
    """Every word of the dictionary said as it says, and fixed: nothing changes it afterwards.

    Longer words come first. A word in small letters is meant however it is written ("sql" is also "SQL"); one with a capital is meant
    as it stands ("US" is not "us"). Words are whole: "cat" is not in "catalogue".
    """
    words = entries(dictionary, language)
    if not words:
        return reading
    exact = {word: said for word, said in words.items() if word != word.lower()}
    loose = {word: said for word, said in words.items() if word == word.lower()}
    either = "|".join(
        re.escape(word) if word in exact else f"(?i:{re.escape(word)})" for word in sorted(words, key=lambda word: (-len(word), word))
    )
    pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)")

    def change(match: re.Match[str]) -> str | None:
        found = match[0]
        return exact.get(found) or loose.get(found.lower())

    return rewritten(reading, pattern, change, fix=True)


def entries(dictionary: Dictionary, language: str) -> dict[str, str]:
    """Words that hold for a language: of all languages, of its first part ("pt"), of itself ("pt-BR"), the later before the earlier."""
    found = {word: said for word, said in dictionary.items() if isinstance(said, str)}
    wanted = language.lower()
    for name in (wanted.partition("-")[0], wanted):
        for known, words in dictionary.items():
            if not isinstance(words, str) and known.lower() == name:
                found |= words
    return {word: said for word, said in found.items() if word.strip() and said.strip()}
