"""The ledger from a provider's answer on: what decides nothing is noted, the first outcome is written down and every later one is not, and
what was made is collected.

What belongs here: these moves. What does not: what was seen and what it means (settle.py), who sees it (submit.py, poll.py, inbox.py,
collect.py), what follows an end (ending.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.ledger import Ledger, seen_data
from viralsync_pipelines.generate.records import ENDED, Record
from viralsync_pipelines.generate.settle import OPEN, Outcome
from viralsync_pipelines.jobs import ledger_rules as told
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.ledger_rules import Note

if TYPE_CHECKING:
    from viralsync_pipelines.generate.provider import Fault, Seen

# ---- settling --------------------------------------------------------------------------------------------------------


def settle_row(ledger: Ledger, record: Record, outcome: Outcome, by: str, *, word: str = "") -> bool:
    """Write an outcome down, unless there is one: True for the one caller of many who did. What follows is in the same transaction."""
    with ledger.moving(record.execution_id) as move:
        values: dict[str, Any] = {
            "outcome": outcome.to_json(), "settled_by": by, "settled_at": move.now_ms, "lease_until": None, "batch": None,
            "next_poll_at": None,
        }  # fmt: skip
        if word:
            values["provider_job_status"] = word[:64]
        if outcome.status == "done":
            values |= {"stage": "settled", "progress": {"stage": "collecting", "percentage": 90}}
            data = {"status": "running", "phase": "collecting", "message": f"fetching what {record.provider} made"}
            note = Note(record.id, told.MOVED, data)
        elif outcome.again and outcome.fault is not None:
            wait = ledger.waits.after(0, ledger.chance())
            values |= {"stage": "ready", "lease_until": move.now_ms + wait, "outcome": None, "settled_by": None, "settled_at": None}
            note = Note(record.id, told.AGAIN, {"error": f"{outcome.fault.code}: {outcome.fault.message}"})
        else:
            status = "cancelled" if outcome.status == "cancelled" else "failed"
            values |= {"stage": ENDED, "status": status, "completed_at": move.now_ms, "error": _error_of(outcome.fault),
                       "cost_usd": outcome.cost_usd}  # fmt: skip
            note = Note(record.id, moves.CANCELLED) if status == "cancelled" else _failure_note(record, outcome.fault)
        if not records.move(move.connection, record, OPEN, values):
            return False
        detail = outcome.status if outcome.fault is None else f"{outcome.status}, {outcome.fault.code}: {outcome.fault.message}"
        records.mark(move.connection, record, str(values["stage"]), by, move.now_ms, detail)
        if values["stage"] == ENDED:
            move.end(record, str(values["status"]), note)
        else:
            move.notes.append(note)
    return True


def _error_of(fault: Fault | None) -> str | None:
    return f"{fault.code}: {fault.message}. {fault.hint}." if fault is not None else None


def _failure_note(record: Record, fault: Fault | None) -> Note:
    """With the provider's own words, and what helps."""
    if fault is None:
        return Note(record.id, moves.FAILED, {"code": "PROVIDER_FAILED"})
    details = {"cause": fault.blame.value, "hint": fault.hint, "provider": record.provider}
    words = f"{fault.message.rstrip('. ')} ({fault.hint})"
    return Note(record.id, moves.FAILED, {"code": fault.code, "message": words, "details": details, "retryable": True})


@dataclass(frozen=True)
class Polled:
    """An answer that decided nothing: seen, or None for no answer at all."""

    record: Record
    seen: Seen | None
    next_poll_at: int


def keep_polls(ledger: Ledger, polls: Iterable[Polled], *, counted: bool = True) -> None:
    """Note many answers at once; the Jobs only of those in which something shows. counted: they were polls, not webhooks."""
    changed: dict[str, list[Note]] = {}
    # Most show nothing new, and are written together: one by one they cost as much as asking does.
    silent: list[tuple[Record, Mapping[str, Any]]] = []
    failed: list[tuple[Record, Mapping[str, Any]]] = []
    with ledger.database.writing() as connection:
        for each in polls:
            record, seen = each.record, each.seen
            if seen is None:
                failed.append((record, {"poll_errors": record.poll_errors + 1, "next_poll_at": each.next_poll_at}))
                continue
            values = {
                "poll_attempts": record.poll_attempts + counted, "poll_errors": 0, "next_poll_at": each.next_poll_at,
                "provider_job_status": seen.word[:64],
            }  # fmt: skip
            if seen.word == record.provider_job_status and seen.queue_position is None and seen.progress is None:
                silent.append((record, values))
            elif records.move(connection, record, ["waiting"], values):
                changed.setdefault(record.execution_id, []).append(Note(record.id, told.MOVED, seen_data(record, seen)))
        records.move_all(connection, "waiting", silent)
        records.move_all(connection, "waiting", failed)
    for execution_id, notes in changed.items():
        with ledger.moving(execution_id) as move:
            move.notes.extend(notes)


# ---- collecting ------------------------------------------------------------------------------------------------------


def begin_collect(ledger: Ledger, record: Record, until_ms: int) -> Record | None:
    """None when somebody else has it, or it was cancelled."""
    with ledger.moving(record.execution_id) as move:
        if not records.move(move.connection, record, ["settled"], {"stage": "collecting", "lease_until": until_ms}):
            return None
        records.mark(move.connection, record, "collecting", "collect", move.now_ms)
    return replace(record, stage="collecting")


@dataclass(frozen=True)
class Made:
    """What a job came to. result: as the status endpoints show it. output: the public name of its first output. media: of that."""

    result: Mapping[str, Any]
    output: str | None = None
    media: Mapping[str, Any] | None = None
    cost_usd: float | None = None
    message: str = ""


def collected(ledger: Ledger, record: Record, made: Made, *, stages: Sequence[str] = ("collecting",)) -> bool:
    """Done: the result is stored, dependents may begin. False when it was cancelled meanwhile, or somebody else was first."""
    with ledger.moving(record.execution_id) as move:
        values = {
            "stage": ENDED, "status": "completed", "result": dict(made.result), "completed_at": move.now_ms, "lease_until": None,
            "cost_usd": made.cost_usd, "progress": {"stage": "completed", "percentage": 100}, "error": None,
        }  # fmt: skip
        if not records.move(move.connection, record, stages, values):
            return False
        records.mark(move.connection, record, ENDED, "collect", move.now_ms, made.message)
        data = {"result": made.result, "output": made.output, "media": made.media, "message": made.message}
        move.end(record, "completed", Note(record.id, told.COMPLETED, data))
    return True


def collect_failed(ledger: Ledger, record: Record, fault: Fault, *, again: bool) -> bool:
    """What was made could not be had, or is not what it should be. again: the provider is asked to make it once more."""
    with ledger.moving(record.execution_id) as move:
        if again:
            values: dict[str, Any] = {"stage": "ready", "lease_until": None, "batch": None, "outcome": None, "settled_by": None,
                                      "settled_at": None}  # fmt: skip
        else:
            values = {"stage": ENDED, "status": "failed", "completed_at": move.now_ms, "error": f"Completion failed: {_error_of(fault)}"}
        if not records.move(move.connection, record, ["collecting", "settled"], values):
            return False
        records.mark(move.connection, record, str(values["stage"]), "collect", move.now_ms, f"{fault.code}: {fault.message}")
        if again:
            move.notes.append(Note(record.id, told.AGAIN, {"error": f"{fault.code}: {fault.message}"}))
        else:
            move.end(record, "failed", _failure_note(record, fault))
    return True
