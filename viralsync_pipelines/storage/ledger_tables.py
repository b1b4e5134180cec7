"""The ledger's tables: execution plans, their jobs as they stand with providers, every move they made, and webhooks as they came.

What belongs here: columns and what they mean. Names of the requirement are kept as they are (`provider_job_id`, `waiting_strategy`,
`next_poll_at`, `poll_attempts`), and so are its SQL queries. What does not: moving rows (generate/).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Float, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator

from viralsync_pipelines.storage.tables import metadata

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


class Moment(TypeDecorator[int]):
    """Unix milliseconds to the program, a TIMESTAMP in UTC to whoever asks the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> datetime | None:
        return _EPOCH + timedelta(milliseconds=value) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> int | None:
        return (value - _EPOCH) // timedelta(milliseconds=1) if value is not None else None


executions = Table(
    "executions", metadata,
    # The id of its job, too: a workflow.run whose children are the plan's jobs.
    Column("id", String(64), primary_key=True),
    Column("workspace", String(64), nullable=False),
    # pending, processing, completed, failed, cancelled
    Column("status", String(16), nullable=False),
    Column("execution_plan", JSON, nullable=False),
    Column("base_execution_id", String(64)),
    # Keys of providers that came with the request, sealed; by provider.
    Column("provider_api_keys", Text),
    Column("result", JSON),
    Column("error", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("completed_at", Moment),
    Index("executions_by_workspace", "workspace", "created_at"),
)  # fmt: skip

execution_jobs = Table(
    "execution_jobs", metadata,
    # The id of the job's record, and of its Job.
    Column("id", String(64), primary_key=True),
    Column("execution_id", String(64), nullable=False),
    # Its name within the plan, and its place there.
    Column("job_id", String(100), nullable=False),
    Column("position", Integer, nullable=False),
    Column("workspace", String(64), nullable=False),
    # pending, processing, completed, failed, cancelled: as the requirement has it. `stage` tells more.
    Column("status", String(16), nullable=False),
    # blocked, ready, submitting, unsure, waiting, settled, collecting, ended
    Column("stage", String(16), nullable=False),
    Column("operation", String(40), nullable=False),
    Column("type", String(40), nullable=False),
    Column("dependencies", JSON, nullable=False),
    # As the plan has them, markers and all.
    Column("params", JSON, nullable=False),
    Column("model_id", String(200)),
    Column("provider", String(40)),
    Column("attempt", Integer, nullable=False),
    # Times that it was given to a provider, in all and in this attempt: what fails for a passing reason is given once more.
    Column("submits", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("provider_job_id", String(200)),
    Column("provider_job_status", String(64)),
    # Addresses that the provider gave for this job, by what they are for.
    Column("provider_urls", JSON),
    # webhook, polling, or none for what is done at once
    Column("waiting_strategy", String(16)),
    Column("next_poll_at", Moment),
    # Honest answers that it is not done; and answers that were none, in a row.
    Column("poll_attempts", Integer, nullable=False),
    Column("poll_errors", Integer, nullable=False),
    # Whose turn it is: the run that was asked for, until when nobody else takes the row.
    Column("batch", String(100)),
    Column("lease_until", Moment),
    # What the provider made, or why it failed; written once for each submit, by whoever learns of it first.
    Column("outcome", JSON),
    Column("settled_by", String(16)),
    # asked: the provider is yet to be told; told; and nothing when it need not know.
    Column("cancelling", String(8)),
    Column("progress", JSON),
    Column("result", JSON),
    Column("error", Text),
    Column("cost_usd", Float),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("submitted_at", Moment),
    Column("settled_at", Moment),
    Column("completed_at", Moment),
    UniqueConstraint("execution_id", "job_id", name="execution_jobs_once"),
    # Due polls, and rows by what has to be done for them.
    Index("execution_jobs_due", "stage", "next_poll_at"),
    Index("execution_jobs_leases", "stage", "lease_until"),
    Index("execution_jobs_cancelling", "cancelling"),
    Index("execution_jobs_by_batch", "batch"),
    Index("execution_jobs_of_workspace", "workspace", "completed_at"),
)  # fmt: skip

transitions = Table(
    "execution_transitions", metadata,
    # Only ever added to: what became of each job, when, and by whose doing.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("record_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("from_stage", String(16), nullable=False),
    Column("to_stage", String(16), nullable=False),
    # submit, webhook, poll, collect, user, sensor
    Column("by", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Index("transitions_by_record", "record_id"),
)  # fmt: skip

webhook_inbox = Table(
    "webhook_inbox", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("record_id", String(64), nullable=False),
    Column("provider", String(40), nullable=False),
    # The provider's own id of the message, or a hash of it: what comes twice is kept once.
    Column("event_key", String(200), nullable=False),
    # Of the submit that it answers, as its address says.
    Column("submit", Integer, nullable=False),
    # signed: its body may be believed. hint: the provider is asked before anything follows from it.
    Column("trust", String(8), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    # new, applied, kept (told nothing new, or came too late), unread (made no sense)
    Column("state", String(8), nullable=False),
    UniqueConstraint("record_id", "event_key", name="webhook_inbox_once"),
    Index("webhook_inbox_new", "state", "id"),
    Index("webhook_inbox_by_age", "received_ms"),
)  # fmt: skip
