"""The ledger of generation: executions, their jobs, their history, and webhooks as they came."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, DateTime, Float, Integer, LargeBinary, String, Text, UniqueConstraint

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "executions",
        Column("id", String(64), primary_key=True),
        Column("workspace", String(64), nullable=False),
        Column("status", String(16), nullable=False),
        Column("execution_plan", JSON, nullable=False),
        Column("base_execution_id", String(64)),
        Column("provider_api_keys", Text),
        Column("result", JSON),
        Column("error", Text),
        Column("created_at", DateTime, nullable=False),
        Column("updated_at", DateTime, nullable=False),
        Column("completed_at", DateTime),
    )
    op.create_index("executions_by_workspace", "executions", ["workspace", "created_at"])
    op.create_table(
        "execution_jobs",
        Column("id", String(64), primary_key=True),
        Column("execution_id", String(64), nullable=False),
        Column("job_id", String(100), nullable=False),
        Column("position", Integer, nullable=False),
        Column("workspace", String(64), nullable=False),
        Column("status", String(16), nullable=False),
        Column("stage", String(16), nullable=False),
        Column("operation", String(40), nullable=False),
        Column("type", String(40), nullable=False),
        Column("dependencies", JSON, nullable=False),
        Column("params", JSON, nullable=False),
        Column("model_id", String(200)),
        Column("provider", String(40)),
        Column("attempt", Integer, nullable=False),
        Column("submits", Integer, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("provider_job_id", String(200)),
        Column("provider_job_status", String(64)),
        Column("provider_urls", JSON),
        Column("waiting_strategy", String(16)),
        Column("next_poll_at", DateTime),
        Column("poll_attempts", Integer, nullable=False),
        Column("poll_errors", Integer, nullable=False),
        Column("batch", String(100)),
        Column("lease_until", DateTime),
        Column("outcome", JSON),
        Column("settled_by", String(16)),
        Column("cancelling", String(8)),
        Column("progress", JSON),
        Column("result", JSON),
        Column("error", Text),
        Column("cost_usd", Float),
        Column("created_at", DateTime, nullable=False),
        Column("started_at", DateTime),
        Column("submitted_at", DateTime),
        Column("settled_at", DateTime),
        Column("completed_at", DateTime),
        UniqueConstraint("execution_id", "job_id", name="execution_jobs_once"),
    )
    op.create_index("execution_jobs_by_batch", "execution_jobs", ["batch"])
    op.create_index("execution_jobs_cancelling", "execution_jobs", ["cancelling"])
    op.create_index("execution_jobs_due", "execution_jobs", ["stage", "next_poll_at"])
    op.create_index("execution_jobs_leases", "execution_jobs", ["stage", "lease_until"])
    op.create_index("execution_jobs_of_workspace", "execution_jobs", ["workspace", "completed_at"])
    op.create_table(
        "execution_transitions",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("record_id", String(64), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("at", DateTime, nullable=False),
        Column("from_stage", String(16), nullable=False),
        Column("to_stage", String(16), nullable=False),
        Column("by", String(16), nullable=False),
        Column("detail", Text, nullable=False),
    )
    op.create_index("transitions_by_record", "execution_transitions", ["record_id"])
    op.create_table(
        "webhook_inbox",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("record_id", String(64), nullable=False),
        Column("provider", String(40), nullable=False),
        Column("event_key", String(200), nullable=False),
        Column("submit", Integer, nullable=False),
        Column("trust", String(8), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("received_ms", BigInteger, nullable=False),
        Column("state", String(8), nullable=False),
        UniqueConstraint("record_id", "event_key", name="webhook_inbox_once"),
    )
    op.create_index("webhook_inbox_by_age", "webhook_inbox", ["received_ms"])
    op.create_index("webhook_inbox_new", "webhook_inbox", ["state", "id"])
