"""Where a line of text may end: grapheme clusters (UAX #29) and break opportunities between them (UAX #14, tailored).

What belongs here: cutting a string into clusters, and one yes or no per gap between clusters. Pure.
What does not: widths and fitting (typeset.py). Thai, Lao, Khmer and Burmese need a dictionary to break inside a phrase:
they break at their spaces, at zero-width spaces, and by cluster when a phrase is wider than the box.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import regex

_CLUSTER = regex.compile(r"\X")
_CLASSES = "BA|HH|B2|BB|CL|CP|EX|GL|HY|IN|IS|NS|NU|OP|PO|PR|QU|SY|WJ|ZW|SP|CB|ID|CJ|EB|EM|RI|BK|CR|LF|NL"
_CLASS = regex.compile("|".join(rf"(?P<{name}>\p{{Line_Break={name}}})" for name in _CLASSES.split("|")))
# CJ (small kana, the long sign) never opens a line. Hangul stays AL: Korean breaks at spaces, as its typesetters prefer.
_RESOLVED = {"CJ": "NS", "HH": "BA", "EB": "ID", "EM": "ID", "RI": "ID"}
_WIDE = regex.compile(
    r"[\p{Script_Extensions=Han}\p{Script_Extensions=Hiragana}\p{Script_Extensions=Katakana}\p{Script_Extensions=Bopomofo}]"
)
_NEVER_BEFORE = frozenset({"SP", "ZW", "WJ", "CL", "CP", "EX", "IS", "SY"})
_ALSO_NOT_BEFORE = frozenset({"BA", "HY", "NS", "IN"})
_JOINED = frozenset(
    pair
    for left, rights in {
        "AL": "AL NU PR PO OP",
        "NU": "AL NU PR PO OP",
        "PR": "AL NU ID OP",
        "PO": "AL NU OP",
        "HY": "NU",
        "IS": "NU AL",
        "SY": "NU",
        "CP": "AL NU PO PR",
        "CL": "PO PR",
        "ID": "PO",
    }.items()
    for pair in ((left, right) for right in rights.split())
)
_BLANK = re.compile(r"\s+")


def split_clusters(text: str) -> list[str]:
    """The grapheme clusters of `text`: emoji sequences, flags and letters with their marks stay whole."""
    return list(_CLUSTER.findall(text))


def break_after(clusters: Sequence[str]) -> list[bool]:
    """For each cluster, whether a line may end after it. The last one is always True; spaces belong to the line before."""
    kinds = [line_class(cluster) for cluster in clusters]
    result = [False] * len(kinds)
    solid = ""  # the last class before any spaces
    for i, right in enumerate(kinds):
        if i:
            left = kinds[i - 1]
            if "QU" in {left, right} and left != "SP":
                result[i - 1] = _quote_breaks(clusters, i)
            else:
                result[i - 1] = _may_break(solid, left, right, kinds[i - 2] if i > 1 else "SP", is_east(clusters[i]))
        if right != "SP":
            solid = right
    if result:
        result[-1] = True
    return result


def is_blank(cluster: str) -> bool:
    """White space only: it takes room inside a line, none at its end, and draws nothing."""
    return _BLANK.fullmatch(cluster) is not None


def is_wide(cluster: str) -> bool:
    """Written without spaces between words: Han, kana, bopomofo and their punctuation."""
    return _WIDE.match(cluster) is not None


@lru_cache(maxsize=8192)
def line_class(cluster: str) -> str:
    """Resolved Line_Break class of a cluster, that of its first character; AL where the rules make no difference."""
    found = _CLASS.match(cluster)
    name = str(found.lastgroup) if found else "AL"
    return _RESOLVED.get(name, name)


@lru_cache(maxsize=8192)
def is_east(cluster: str) -> bool:
    """East Asian wide, full width or half width."""
    return unicodedata.east_asian_width(cluster[0]) in {"W", "F", "H"}


def _quote_breaks(clusters: Sequence[str], i: int) -> bool:
    """LB 19 and 19a: a quotation mark holds to both sides, except Chinese ones, which hold to what they enclose."""
    left, right = clusters[i - 1], clusters[i]
    if line_class(right) == "QU":
        after = clusters[i + 1] if i + 1 < len(clusters) else " "
        return unicodedata.category(right[0]) == "Pi" and is_east(left) and is_east(after) and line_class(left) != "OP"
    before = clusters[i - 2] if i > 1 else " "
    closes = unicodedata.category(left[0]) == "Pf" and is_east(before) and is_east(right)
    return closes and line_class(right) in {"ID", "AL", "OP", "PR"}


def _may_break(solid: str, left: str, right: str, before_left: str, east: bool) -> bool:
    spaced = left == "SP"
    if right in _NEVER_BEFORE or left == "WJ" or solid == "OP":  # LB 7, 11, 13, 14
        return solid == "ZW" and right != "SP"
    if solid == "ZW":  # LB 8
        return True
    if (solid in {"CL", "CP"} and right == "NS") or (solid == "B2" and right == "B2"):  # LB 16, 17
        return False
    if spaced:  # LB 18
        return True
    if left == "GL" or (right == "GL" and left not in {"BA", "HY"}):  # LB 12
        return False
    if "CB" in {left, right}:  # LB 20
        return True
    if left == "HY" and right == "AL" and before_left == "SP":  # LB 20a: "-v" stays whole
        return False
    if right in _ALSO_NOT_BEFORE or left == "BB":  # LB 21, 22
        return False
    if right == "OP" and east:  # LB 30 is for narrow brackets
        return True
    return (left, right) not in _JOINED  # LB 23 to 30
