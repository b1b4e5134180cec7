"""What a provider's free text says of a failure: some put everything into one sentence, and what helps has to be read out of it.

What belongs here: words that providers use. Pure. What does not: codes and statuses of one provider, which count for more (providers/).
"""

from __future__ import annotations

import re

from viralsync_pipelines.generate.provider import Blame, Fault, Refused

LONGEST = 1_000
CODES = {
    Blame.PASSING: "PROVIDER_FAILED",
    Blame.INPUT: "INPUT_REFUSED",
    Blame.POLICY: "CONTENT_REFUSED",
    Blame.ACCOUNT: "PROVIDER_ACCOUNT",
    Blame.EXPIRED: "OUTPUT_EXPIRED",
    Blame.SOURCE: "SOURCE_UNREADABLE",
}
# "safety" alone is no refusal: safety_tolerance is a parameter of many image models.
_POLICY = re.compile(
    r"nsfw|not safe for work|flagged as (sensitive|inappropriate|unsafe)|sensitive (content|words?|information)|\bE005\b"
    r"|content[ _-]?(polic|moderation|filter|violation)|moderat(ion|ed)"
    r"|(prohibited|inappropriate|unsafe|explicit|harmful) (content|prompt|image)"
    r"|safety (filter|system|check|polic|guideline|reason)|violat\w+ .{0,60}(polic|guideline|terms)|(usage|acceptable use) polic",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"(fail\w*|unable|could ?n.?t|could not|cannot|can.t|error)( to)? (download|fetch|load|read|open|access|retriev|get)\w*"
    r".{0,60}(\burl|image|audio|video|file|http)|\burl .{0,40}(not (publicly )?(accessible|reachable|found)|unreachable|invalid)"
    r"|http error 4\d\d|4\d\d client error",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"validation error|invalid (input|value|param|argument|type|image|audio|video|prompt|aspect|resolution|duration|size|format)"
    r"|is not (a )?(valid|supported)|unsupported|must be (one of|at (least|most)|less|greater|between|smaller|larger|a )|out of range"
    r"|too (long|large|small|many|short|big)|(field|parameter|input) (is )?required",
    re.IGNORECASE,
)


def blame_in(text: str, otherwise: Blame) -> Blame:
    """Who is to blame by the words; policy before all, since a refusal may name the picture that it did not like."""
    for pattern, blame in ((_POLICY, Blame.POLICY), (_SOURCE, Blame.SOURCE), (_INPUT, Blame.INPUT)):
        if pattern.search(text[:4_000]):
            return blame
    return otherwise


def fault_in(text: str, otherwise: Blame = Blame.PASSING) -> Fault:
    """The fault that a sentence tells of. otherwise: what it is when no word is known."""
    return fault(blame_in(text, otherwise), text)


def clean(text: str) -> str:
    """Text that any database takes: PostgreSQL refuses NUL, and UTF-8 half a surrogate pair."""
    return text.replace("\0", "").encode(errors="replace").decode()


def fault(blame: Blame, text: str) -> Fault:
    words = clean(text).strip() or "the provider says no more than that it failed"
    return Fault(blame, CODES[blame], words if len(words) <= LONGEST else words[: LONGEST - 3] + "...")


def refused(blame: Blame, told: str) -> Refused:
    """A refusal, under the code of what is to blame."""
    return Refused(told, blame=blame, code=CODES[blame])


def refused_in(told: str) -> Refused:
    """The refusal of an input that a sentence tells of."""
    return refused(blame_in(told, Blame.INPUT), told)


def last_lines(log: str, *, lines: int = 20, letters: int = 2_000) -> str:
    """The end of a log as it may be shown; of a bar that redraws its line, only how it stands."""
    kept = [line.rpartition("\r")[2] for line in clean(log[-letters * 4 :]).rstrip().split("\n")[-lines:]]
    return "\n".join(kept)[-letters:]


_BAR = re.compile(r"(\d{1,3})%\s*\|")


def progress_in(log: str) -> float | None:
    """0 to 1 by the last progress bar in a log ("  48%|####  | 24/50"), None without one."""
    found = _BAR.findall(log[-4_000:])
    return min(int(found[-1]), 100) / 100 if found else None
