"""What providers have in common that answer a submit with what they made: there is no job to be asked about afterwards.

What belongs here: the methods that have nothing to do, and sound as an answer's body. What does not: any provider's own fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate.loose import job_id
from viralsync_pipelines.generate.provider import Gone, Order, Seen, Taken, Ticket, Unsure

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Answer, Calls


class AtOnce:
    """A generate.provider.Provider but for `submit`. There is nothing to poll and nothing to find: a submit whose answer is lost stays
    open."""

    name: str

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        raise Gone(f"{self.name} answers with what it made at once, and keeps nothing to be asked for")

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """Nothing is sent: it is over when its answer is there."""

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        raise Unsure(f"{self.name} keeps nothing of what it made, so it cannot be asked whether it has this one")

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """Nothing: what it made came in the answer."""
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        return None


def sound_of(name: str, answer: Answer) -> bytes:
    """The answer's body, which is sound. name: of the provider. Raises Unsure for what says that it is something else."""
    if not answer.content or not (answer.mime.startswith("audio/") or answer.mime in {"", "application/octet-stream"}):
        raise Unsure(f"{name} answered with {answer.mime[:60] or 'nothing'} instead of sound, which may be paid for all the same")
    return answer.content


def ticket_for(order: Order, named: str | None) -> Ticket:
    """Under the provider's own name of the request, or one of ours where it gives none."""
    return Ticket(job_id(named) or f"{order.record_id}.{order.submit}", model=order.model)
