"""What every provider is to the rest of the program: how a job is given to it, what is seen of it afterwards, and how it fails.

What belongs here: values and the protocol. What does not: any provider's own fields (providers/, one file each), HTTP (calls.py).
Statuses and fields that nobody knew when an adapter was written are never an error: unknown is `running`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from viralsync_pipelines.errors import ViralsyncError

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls
    from viralsync_pipelines.generate.models import Model

Media = Literal["video", "image", "audio"]


class Said(StrEnum):
    """What a provider says of a job, in our words."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in {Said.DONE, Said.FAILED, Said.CANCELLED}


class Blame(StrEnum):
    """Why a job failed, by what helps."""

    #: Passing trouble on the provider's side: the same job may be given to it once more.
    PASSING = "passing"
    #: The input: it fails again until it is changed.
    INPUT = "input"
    #: The provider's content policy.
    POLICY = "policy"
    #: Key, rights, money: nothing of this provider works until somebody sees to it.
    ACCOUNT = "account"
    #: It was made, and is no longer to be had.
    EXPIRED = "expired"
    #: An address in the input that the provider could not read.
    SOURCE = "source"


@dataclass(frozen=True)
class Fault:
    """A failure as the provider words it. code: stable, ours (PROVIDER_FAILED, CONTENT_REFUSED, ...) . message: the provider's own."""

    blame: Blame
    code: str
    message: str

    @property
    def hint(self) -> str:
        """What to do about it, in a sentence."""
        return HINTS[self.blame]


HINTS: Mapping[Blame, str] = {
    Blame.PASSING: "the model is not available for the moment; retry the job in a minute",
    Blame.INPUT: "the model does not take this input; change it and retry the job",
    Blame.POLICY: "the provider's content policy refuses this; change the prompt or the pictures and retry the job",
    Blame.ACCOUNT: "the provider does not accept the key, or the account's balance or rights; see to it there and retry the job",
    Blame.EXPIRED: "the provider no longer has what it made; retry the job, which generates it again",
    Blame.SOURCE: "the provider could not read an address in the input; make it public, or give another, and retry the job",
}


@dataclass(frozen=True)
class Output:
    """One thing that was made: at `url`, or `data` for what came in the answer itself. mime: as the provider has it, "" for unsaid.

    authorised: fetching the address takes the provider's key.
    """

    media: Media
    url: str = ""
    data: bytes = b""
    mime: str = ""
    authorised: bool = False


@dataclass(frozen=True)
class Seen:
    """What a provider says of a job at one time. word: its own name of the status. progress: 0 to 1, None when untold.

    queue_position: how many are before it. log: the last lines of its log. cost_usd: when told. poll_after_s: when it asks for patience.
    extra: beyond outputs, plain JSON (seed, word timings, ...).
    """

    said: Said
    word: str
    outputs: tuple[Output, ...] = ()
    fault: Fault | None = None
    progress: float | None = None
    queue_position: int | None = None
    log: str = ""
    cost_usd: float | None = None
    poll_after_s: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """A job to be given to a provider. record_id and submit: ours, in the webhook's address too. params: checked against the model.

    webhook_url: None where none is wanted. nonce: a value that is different for each submit, for providers that can be asked by it.
    """

    record_id: str
    submit: int
    model: Model
    params: Mapping[str, Any]
    webhook_url: str | None = None
    nonce: str = ""


@dataclass(frozen=True)
class Ticket:
    """A job that a provider has taken. urls: addresses it gave for asking about this job, by what they are for."""

    provider_job_id: str
    urls: Mapping[str, str] = field(default_factory=dict)
    model: Model | None = None

    @property
    def media(self) -> Media:
        """What it makes, as far as is known."""
        return self.model.media if self.model is not None else "video"


@dataclass(frozen=True)
class Taken:
    """The answer to a submit. A provider that works while we wait has the end of it in `seen` already."""

    ticket: Ticket
    seen: Seen


class CallFailed(ViralsyncError):
    """A call to a provider came to nothing. retry_after_s: when it says so. blame: what helps."""

    code = "PROVIDER_UNAVAILABLE"

    def __init__(self, message: str, *, blame: Blame = Blame.PASSING, retry_after_s: float | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.blame, self.retry_after_s = blame, retry_after_s

    @property
    def fault(self) -> Fault:
        return Fault(self.blame, self.code, self.message)


class NotSent(CallFailed):
    """The provider did not take it, that is certain: no connection, 429, a full house. The same may be sent again."""


class Unsure(CallFailed):
    """Whether the provider took it is not known: the answer was lost, cut off, or 5xx. Never sent again unasked."""

    code = "SUBMIT_UNCONFIRMED"


class Refused(CallFailed):
    """The provider answered, and will not do it: 4xx."""

    code = "PROVIDER_REFUSED"

    def __init__(self, message: str, *, blame: Blame = Blame.INPUT, retry_after_s: float | None = None, code: str | None = None) -> None:
        super().__init__(message, blame=blame, retry_after_s=retry_after_s, code=code)


class Gone(CallFailed):
    """The provider knows no such job (404, 410)."""

    code = "PROVIDER_JOB_GONE"


class KeyMissing(CallFailed):
    """No key for this provider; the message names the setting."""

    code = "PROVIDER_KEY_MISSING"

    def __init__(self, message: str) -> None:
        super().__init__(message, blame=Blame.ACCOUNT)


class Provider(Protocol):
    """One provider's wire. Every method may raise CallFailed; nothing here waits, sleeps or tries again."""

    name: str

    def submit(self, calls: Calls, order: Order) -> Taken:
        """Give it a job: exactly one request that makes anything. Raises NotSent, Unsure, Refused."""
        ...

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        """What has become of a job. Raises NotSent or Unsure for no answer, Gone, Refused."""
        ...

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """Ask it to stop; returns also when it is over already, or cannot be stopped (then nothing is sent)."""
        ...

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        """The job of an order whose answer was lost; None when the provider can tell that it has none.

        Raises Unsure when it cannot tell.
        """
        ...

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """What fetching an authorised output takes: the key, for addresses of the provider's own hosts only."""
        ...

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        """The provider's id of the job, and what a webhook's JSON says of it; None for what makes no sense or is about nothing.
        ticket: as far as it is known."""
        ...
