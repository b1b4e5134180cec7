"""Markdown inside a line: what is left of it when only words are, and directions, which are taken out. Pure.

What belongs here: marks within a row. What does not: rows and sections (script.py).
"""

from __future__ import annotations

import re

# *(softly)*, _(softly)_, with one pair of parentheses inside.
_INSIDE = r"(?:[^()\n]|\n(?!\n)|\([^()\n]*\))*"
_DIRECTION = re.compile(rf"\*\(({_INSIDE})\)\*|(?<!\w)_\(({_INSIDE})\)_(?!\w)")
WHOLE_DIRECTION = re.compile(rf"\*\(({_INSIDE})\)\*|_\(({_INSIDE})\)_|\(({_INSIDE})\)")
"""A row that is nothing but a direction, which then needs no stars."""
_PICTURE = re.compile(r"!\[([^\]\n]{0,200})\]\([^()\s]{0,2000}(?:\s+\"[^\"\n]{0,300}\")?\)")
_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\([^()\s]{1,2000}(?:\s+\"[^\"\n]{0,300}\")?\)")
_CODE = re.compile(r"(`{1,3})([^`\n]{1,1000})\1")
_STRONG = re.compile(r"(?<![\w\\*])(\*{1,3})(?=[^\s*])([^*]{0,4000}[^\s*\\])\1(?![\w*])")
_UNDERLINED = re.compile(r"(?<![\w\\_])(_{1,3})(?=[^\s_])([^_]{0,4000}[^\s_\\])\1(?![\w_])")
_STRUCK = re.compile(r"~~(?=\S)([^~]{1,4000})~~")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!~>|-])")


def without_directions(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without `*(directions)*`, and those, each on one row."""
    found: list[str] = []

    def taken(match: re.Match[str]) -> str:
        words = " ".join(plain(match[1] or match[2] or "").split())
        if words:
            found.append(words)
        return " "

    return _DIRECTION.sub(taken, text), tuple(found)


def plain(text: str) -> str:
    """Only words: links by their text, pictures by what they show, emphasis without its marks."""
    code: list[str] = []

    def kept(match: re.Match[str]) -> str:
        code.append(match[2])
        return f"\ue000{len(code) - 1}\ue001"

    # What is code stays as it is; private characters hold its place, and a script has none of its own.
    shown = _CODE.sub(kept, text.replace("\ue000", "").replace("\ue001", ""))
    shown = _LINK.sub(r"\1", _PICTURE.sub(r"\1", shown))
    for _ in range(3):
        before = shown
        shown = _STRUCK.sub(r"\1", _UNDERLINED.sub(r"\2", _STRONG.sub(r"\2", shown)))
        if shown == before:
            break
    shown = _ESCAPED.sub(r"\1", shown)
    return re.sub("\ue000([0-9]+)\ue001", lambda found: code[int(found[1])], shown)
