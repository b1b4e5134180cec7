"""What follows from what was seen of a job: the one rule that webhooks, polls and submits share. Pure.

What belongs here: whether something was decided, and what. What does not: writing it down so that only the first counts (outcomes.py).

A job that is over stays as it is, whatever comes later. What nobody understands decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from viralsync_pipelines.generate.provider import Blame, Fault, Output, Said, Seen

OPEN = frozenset({"submitting", "unsure", "waiting"})
"""Stages of a row in which its outcome is not known."""
# A job that failed for a passing reason is given to the provider once more.
MOST_SUBMITS = 2
# Providers have said that a job is done before its result was to be had.
PATIENCE_POLLS = 5

NO_OUTPUT = Fault(Blame.PASSING, "NO_OUTPUT", "the provider says that it is done and gives nothing that was made")
GIVEN_UP = Fault(Blame.PASSING, "POLL_LIMIT", "Exceeded maximum polling attempts")
UNCONFIRMED = Fault(
    Blame.PASSING, "SUBMIT_UNCONFIRMED",
    "the answer to the submit was lost, and the provider cannot tell whether it has the job; it is not sent again by itself, since it "
    "might be paid for twice",
)  # fmt: skip
CANCELLED = Fault(Blame.PASSING, "CANCELLED", "the job was cancelled at the provider")


@dataclass(frozen=True)
class Outcome:
    """How a submit ended. outputs: addresses, never bytes. again: it may be given to the provider once more."""

    status: str
    outputs: tuple[Output, ...] = ()
    fault: Fault | None = None
    again: bool = False
    cost_usd: float | None = None
    extra: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"status": self.status}
        if self.outputs:
            told["outputs"] = [
                {"media": each.media, "url": each.url, "mime": each.mime, "authorised": each.authorised} for each in self.outputs
            ]  # fmt: skip
        if self.fault is not None:
            told["fault"] = {"blame": self.fault.blame.value, "code": self.fault.code, "message": self.fault.message}
        if self.cost_usd is not None:
            told["costUsd"] = self.cost_usd
        if self.extra:
            told["extra"] = dict(self.extra)
        return told

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Outcome:
        fault = told.get("fault")
        return Outcome(
            told["status"], tuple(Output(each["media"], each["url"], mime=each["mime"], authorised=each["authorised"])
                                  for each in told.get("outputs", ())),
            Fault(Blame(fault["blame"]), fault["code"], fault["message"]) if fault else None, cost_usd=told.get("costUsd"),
            extra=told.get("extra"),
        )  # fmt: skip


def settle(stage: str, seen: Seen, *, submits: int, polls: int = 0) -> Outcome | None:
    """The outcome of a row in this stage by what was just seen; None when it is not over, or was decided before.

    submits: how often this attempt was given to the provider. polls: how often it was asked.
    """
    if stage not in OPEN or not seen.said.over:
        return None
    if seen.said is Said.DONE and seen.outputs:
        return Outcome("done", seen.outputs, cost_usd=seen.cost_usd, extra=seen.extra or None)
    if seen.said is Said.CANCELLED:
        return Outcome("cancelled", fault=seen.fault or CANCELLED, cost_usd=seen.cost_usd)
    if seen.said is Said.DONE and seen.fault is None and polls < PATIENCE_POLLS:
        return None
    untold = NO_OUTPUT if seen.said is Said.DONE else Fault(Blame.PASSING, "PROVIDER_FAILED", seen.word)
    return failed(seen.fault or untold, submits, seen)


def failed(fault: Fault, submits: int, seen: Seen | None = None) -> Outcome:
    """A failure, and whether another submit may mend it: only what the provider itself says to be passing, and once."""
    again = fault.blame is Blame.PASSING and fault.code not in {UNCONFIRMED.code, GIVEN_UP.code} and submits < MOST_SUBMITS
    return Outcome("failed", fault=fault, again=again, cost_usd=seen.cost_usd if seen is not None else None)


def without_bytes(outcome: Outcome, addresses: Mapping[int, str]) -> Outcome:
    """The outcome with the bytes of its outputs replaced by where they were put, by their place."""
    outputs = tuple(replace(each, data=b"", url=addresses.get(n, each.url)) for n, each in enumerate(outcome.outputs))
    return replace(outcome, outputs=outputs)
