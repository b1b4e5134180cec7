"""The Unicode bidirectional algorithm (UAX #9): embedding levels of one paragraph and the order in which runs are seen.

What belongs here: rules P, X, W, N, I and L2 over plain strings, isolates and bracket pairs included. Pure.
What does not: mirrored glyphs (HarfBuzz mirrors inside a right-to-left run), fonts, line breaking.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# BidiBrackets.txt: opening and closing characters in turn.
_PAIRS = (
    "()[]{}\u0f3a\u0f3b\u0f3c\u0f3d\u169b\u169c\u2045\u2046\u207d\u207e\u208d\u208e\u2308\u2309\u230a\u230b\u2329\u232a"
    "\u2768\u2769\u276a\u276b\u276c\u276d\u276e\u276f\u2770\u2771\u2772\u2773\u2774\u2775\u27c5\u27c6\u27e6\u27e7\u27e8\u27e9"
    "\u27ea\u27eb\u27ec\u27ed\u27ee\u27ef\u2983\u2984\u2985\u2986\u2987\u2988\u2989\u298a\u298b\u298c\u298d\u2990\u298f\u298e"
    "\u2991\u2992\u2993\u2994\u2995\u2996\u2997\u2998\u29d8\u29d9\u29da\u29db\u29fc\u29fd\u2e22\u2e23\u2e24\u2e25\u2e26\u2e27"
    "\u2e28\u2e29\u2e55\u2e56\u2e57\u2e58\u2e59\u2e5a\u2e5b\u2e5c\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011"
    "\u3014\u3015\u3016\u3017\u3018\u3019\u301a\u301b\ufe59\ufe5a\ufe5b\ufe5c\ufe5d\ufe5e\uff08\uff09\uff3b\uff3d\uff5b\uff5d"
    "\uff5f\uff60\uff62\uff63"
)
_OPEN = {_PAIRS[i]: _PAIRS[i + 1] for i in range(0, len(_PAIRS), 2)}
_CLOSE = frozenset(_OPEN.values())
_CANONICAL = {"\u2329": "\u3008", "\u232a": "\u3009"}

_MAX_DEPTH = 125
_MAX_BRACKETS = 63
_REMOVED = frozenset({"RLE", "LRE", "RLO", "LRO", "PDF", "BN"})
_ISOLATES = frozenset({"RLI", "LRI", "FSI"})
_NEUTRAL = frozenset({"B", "S", "WS", "ON", "RLI", "LRI", "FSI", "PDI"})
_STRONG = {"L": "L", "R": "R", "EN": "R", "AN": "R"}
_TURNING = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI", "PDI", "PDF"})


@lru_cache(maxsize=8192)
def bidi_class(char: str) -> str:
    """Bidi_Class of one character; unassigned ones get the default of their block."""
    found = unicodedata.bidirectional(char)
    if found:
        return found
    code = ord(char)
    if 0x600 <= code <= 0x7BF or 0x860 <= code <= 0x8FF or 0xFB50 <= code <= 0xFDFF or 0xFE70 <= code <= 0xFEFF:
        return "AL"
    if 0x590 <= code <= 0x8FF or 0xFB1D <= code <= 0xFB4F or 0x10800 <= code <= 0x10FFF or 0x1E800 <= code <= 0x1EFFF:
        return "R"
    return "L"


def embedding_levels(text: str, base: int | None = None) -> tuple[int, list[int]]:
    """(base level, level of each character) of one paragraph. `base` 0 or 1 overrides the first strong character."""
    classes = [bidi_class(char) for char in text]
    if base is None:
        base = _first_strong(classes, 0, len(classes))
    if base == 0 and _TURNING.isdisjoint(classes):
        return 0, [0] * len(text)
    original = list(classes)
    levels, matches = _explicit(classes, base)
    kept = [i for i, kind in enumerate(original) if kind not in _REMOVED]
    for sequence, start, end in _sequences(kept, levels, original, matches, base):
        _weak(sequence, classes, start)
        _brackets(sequence, text, classes, levels[sequence[0]], start, original)
        _neutral(sequence, classes, levels[sequence[0]], start, end)
    for i in kept:
        odd = levels[i] & 1
        if classes[i] in {"EN", "AN"}:
            levels[i] += 1 if odd else 2
        elif classes[i] == ("L" if odd else "R"):
            levels[i] += 1
    _trailing(original, levels, base)
    return base, levels


def visual_order(levels: Sequence[int]) -> list[int]:
    """Rule L2: the logical indices of one line's items, from left to right."""
    order = list(range(len(levels)))
    odd = [level for level in levels if level & 1]
    if not odd:
        return order
    for level in range(max(levels), min(odd) - 1, -1):
        i = 0
        while i < len(order):
            if levels[order[i]] < level:
                i += 1
                continue
            j = i
            while j < len(order) and levels[order[j]] >= level:
                j += 1
            order[i:j] = order[i:j][::-1]
            i = j
    return order


def _first_strong(classes: Sequence[str], start: int, end: int) -> int:
    """P2 and P3: what stands inside isolates is skipped."""
    depth = 0
    for kind in classes[start:end]:
        if kind in _ISOLATES:
            depth += 1
        elif kind == "PDI":
            depth = max(0, depth - 1)
        elif depth == 0 and kind in {"L", "R", "AL"}:
            return 0 if kind == "L" else 1
    return 0


def _match_isolates(classes: Sequence[str]) -> dict[int, int]:
    """BD9: index of each isolate initiator -> index of its PDI."""
    stack: list[int] = []
    matches: dict[int, int] = {}
    for i, kind in enumerate(classes):
        if kind in _ISOLATES:
            stack.append(i)
        elif kind == "PDI" and stack:
            matches[stack.pop()] = i
    return matches


def _explicit(classes: list[str], base: int) -> tuple[list[int], dict[int, int]]:
    """X1 to X8. Writes overrides into `classes`; gives levels and the isolate pairs."""
    matches = _match_isolates(classes)
    levels = [base] * len(classes)
    stack: list[tuple[int, str, bool]] = [(base, "", False)]
    lost_isolates = lost_embeddings = valid_isolates = 0
    for i, own in enumerate(classes):
        kind = own
        level, override, _ = stack[-1]
        levels[i] = level
        if kind in {"RLE", "LRE", "RLO", "LRO"} or kind in _ISOLATES:
            isolate = kind in _ISOLATES
            if kind == "FSI":
                kind = "RLI" if _first_strong(classes, i + 1, matches.get(i, len(classes))) else "LRI"
            deeper = (level + 1) | 1 if kind[0] == "R" else (level + 2) & ~1
            if isolate and override:
                classes[i] = override
            if deeper <= _MAX_DEPTH and not lost_isolates and not lost_embeddings:
                valid_isolates += isolate
                stack.append((deeper, {"RLO": "R", "LRO": "L"}.get(kind, ""), isolate))
            elif isolate:
                lost_isolates += 1
            elif not lost_isolates:
                lost_embeddings += 1
        elif kind == "PDI":
            if lost_isolates:
                lost_isolates -= 1
            elif valid_isolates:
                lost_embeddings = 0
                while not stack[-1][2]:
                    stack.pop()
                stack.pop()
                valid_isolates -= 1
            levels[i] = stack[-1][0]
            classes[i] = stack[-1][1] or kind
        elif kind == "PDF":
            if lost_isolates:
                continue
            if lost_embeddings:
                lost_embeddings -= 1
            elif not stack[-1][2] and len(stack) > 1:
                stack.pop()
        elif kind == "B":
            levels[i] = base
        elif kind != "BN" and override:
            classes[i] = override
    return levels, matches


def _sequences(
    kept: list[int], levels: list[int], original: Sequence[str], matches: dict[int, int], base: int
) -> list[tuple[list[int], str, str]]:
    """X10: isolating run sequences, each with its start-of and end-of-sequence class."""
    runs: list[list[int]] = []
    for i in kept:
        if runs and levels[runs[-1][-1]] == levels[i]:
            runs[-1].append(i)
        else:
            runs.append([i])
    at_start = {run[0]: run for run in runs}
    closers = set(matches.values())
    position = {i: n for n, i in enumerate(kept)}
    found = []
    for run in runs:
        if original[run[0]] == "PDI" and run[0] in closers:
            continue
        sequence = list(run)
        while sequence[-1] in matches and matches[sequence[-1]] in at_start:
            sequence += at_start[matches[sequence[-1]]]
        level = levels[sequence[0]]
        first, last = position[sequence[0]], position[sequence[-1]]
        before = levels[kept[first - 1]] if first else base
        open_end = original[sequence[-1]] in _ISOLATES
        after = levels[kept[last + 1]] if last + 1 < len(kept) and not open_end else base
        found.append((sequence, "LR"[max(level, before) & 1], "LR"[max(level, after) & 1]))
    return found


def _weak(sequence: list[int], classes: list[str], start: str) -> None:
    """W1 to W7."""
    previous, strong = start, start
    for i in sequence:
        kind = classes[i]
        if kind == "NSM":
            kind = "ON" if previous in _ISOLATES or previous == "PDI" else previous
        previous = kind
        if kind == "EN" and strong == "AL":
            kind = "AN"
        if kind in {"L", "R", "AL"}:
            strong = kind
        classes[i] = kind
    for n, i in enumerate(sequence):
        if classes[i] == "AL":
            classes[i] = "R"
        elif classes[i] in {"ES", "CS"} and 0 < n < len(sequence) - 1:
            left, right = classes[sequence[n - 1]], classes[sequence[n + 1]]
            if left == right and (left == "EN" or (left == "AN" and classes[i] == "CS")):
                classes[i] = left
    n = 0
    while n < len(sequence):
        end = n
        while end < len(sequence) and classes[sequence[end]] == "ET":
            end += 1
        if end > n:
            touches = (n > 0 and classes[sequence[n - 1]] == "EN") or (
                end < len(sequence) and classes[sequence[end]] == "EN"
            )
            for i in sequence[n:end]:
                classes[i] = "EN" if touches else "ON"
        n = max(end, n + 1)
    strong = start
    for i in sequence:
        if classes[i] in {"ES", "CS"}:
            classes[i] = "ON"
        elif classes[i] in {"L", "R"}:
            strong = classes[i]
        elif classes[i] == "EN" and strong == "L":
            classes[i] = "L"


def _brackets(
    sequence: list[int], text: str, classes: list[str], level: int, start: str, original: Sequence[str]
) -> None:
    """N0: a pair of brackets takes the direction of what it holds, else of what stands before it."""
    stack: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for n, i in enumerate(sequence):
        char = text[i]
        if classes[i] != "ON":
            continue
        if char in _OPEN:
            if len(stack) == _MAX_BRACKETS:
                break
            closing = _OPEN[char]
            stack.append((_CANONICAL.get(closing, closing), n))
        elif char in _CLOSE:
            wanted = _CANONICAL.get(char, char)
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth][0] == wanted:
                    pairs.append((stack[depth][1], n))
                    del stack[depth:]
                    break
    along = "LR"[level & 1]
    for first, last in sorted(pairs):
        inside = {_STRONG[classes[i]] for i in sequence[first + 1 : last] if classes[i] in _STRONG}
        if not inside:
            continue
        if along in inside:
            chosen = along
        else:
            context = next((_STRONG[classes[i]] for i in reversed(sequence[:first]) if classes[i] in _STRONG), start)
            chosen = context if context != along else along
        for n in (first, last):
            classes[sequence[n]] = chosen
            for i in sequence[n + 1 :]:
                if original[i] != "NSM":
                    break
                classes[i] = chosen


def _neutral(sequence: list[int], classes: list[str], level: int, start: str, end: str) -> None:
    """N1 and N2."""
    n = 0
    while n < len(sequence):
        stop = n
        while stop < len(sequence) and classes[sequence[stop]] in _NEUTRAL:
            stop += 1
        if stop > n:
            left = _STRONG[classes[sequence[n - 1]]] if n else start
            right = _STRONG[classes[sequence[stop]]] if stop < len(sequence) else end
            for i in sequence[n:stop]:
                classes[i] = left if left == right else "LR"[level & 1]
        n = max(stop, n + 1)


def _trailing(original: Sequence[str], levels: list[int], base: int) -> None:
    """L1, and a level for the characters X9 took out: that of the character before them."""
    for i, kind in enumerate(original):
        if kind in _REMOVED:
            levels[i] = levels[i - 1] if i else base
    reset = True
    for i in range(len(original) - 1, -1, -1):
        kind = original[i]
        if kind in {"B", "S"}:
            reset = True
            levels[i] = base
        elif reset and (kind == "WS" or kind in _ISOLATES or kind == "PDI" or kind in _REMOVED):
            levels[i] = base
        else:
            reset = False
