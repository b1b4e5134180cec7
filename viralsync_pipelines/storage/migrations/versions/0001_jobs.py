"""The tables of jobs: workspaces and their keys, claims, reported work, callbacks, usage."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, String, Text, UniqueConstraint

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "workspaces",
        Column("id", String(64), primary_key=True),
        Column("plan", String(32), nullable=False),
        Column("webhook_secret", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "api_keys",
        Column("id", String(32), primary_key=True),
        Column("workspace", String(64), nullable=False),
        Column("name", String(200), nullable=False),
        Column("shown", String(24), nullable=False),
        Column("sha256", String(64), nullable=False, unique=True),
        Column("read_only", Boolean, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("revoked_ms", BigInteger),
    )
    op.create_index("api_keys_by_workspace", "api_keys", ["workspace"])
    op.create_table(
        "idempotency",
        Column("scope", String(255), primary_key=True),
        Column("key", String(255), primary_key=True),
        Column("request_sha256", String(64), nullable=False),
        Column("job_id", String(64), nullable=False),
        Column("status", Integer),
        Column("body", Text),
        Column("headers", Text),
        Column("claimed_ms", BigInteger, nullable=False),
    )
    op.create_index("idempotency_by_age", "idempotency", ["claimed_ms"])
    op.create_table(
        "reported_jobs",
        Column("id", String(64), primary_key=True),
        Column("workspace", String(64), nullable=False),
        Column("root_id", String(64), nullable=False),
        Column("parent_id", String(64)),
        Column("child_index", Integer, nullable=False),
        Column("type", String(100), nullable=False),
        Column("user_id", String(255), nullable=False),
        Column("project_id", String(255)),
        Column("channel", String(255)),
        Column("callback_url", Text),
        Column("status", String(16), nullable=False),
        Column("last_seq", Integer, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
    )
    op.create_index("reported_jobs_by_expiry", "reported_jobs", ["expires_ms"])
    op.create_index("reported_jobs_family", "reported_jobs", ["root_id"])
    op.create_index("reported_jobs_newest", "reported_jobs", ["workspace", "created_ms", "id"])
    op.create_table(
        "reported_events",
        Column("root_id", String(64), primary_key=True),
        Column("seq", Integer, primary_key=True),
        Column("job_id", String(64), nullable=False),
        Column("kind", String(32), nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("data", Text, nullable=False),
    )
    op.create_table(
        "job_snapshots",
        Column("job_id", String(64), primary_key=True),
        Column("fold_version", Integer, nullable=False),
        Column("runs", Text, nullable=False),
        Column("state", LargeBinary, nullable=False),
        Column("saved_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "outbox",
        Column("id", String(100), primary_key=True),
        Column("job_id", String(64), nullable=False),
        Column("workspace", String(64), nullable=False),
        Column("sequence", Integer, nullable=False),
        Column("kind", String(16), nullable=False),
        Column("url", Text, nullable=False),
        Column("body", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("state", String(16), nullable=False),
        Column("due_ms", BigInteger, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("claimed_ms", BigInteger),
        Column("delivered_ms", BigInteger),
        UniqueConstraint("job_id", "sequence", name="outbox_once"),
    )
    op.create_index("outbox_by_workspace", "outbox", ["workspace", "created_ms"])
    op.create_index("outbox_due", "outbox", ["state", "due_ms"])
    op.create_index("outbox_heads", "outbox", ["state", "job_id", "sequence"])
    op.create_table(
        "deliveries",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("message_id", String(100), nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("status", Integer),
        Column("error", Text),
        Column("took_ms", Integer, nullable=False),
    )
    op.create_index("deliveries_by_message", "deliveries", ["message_id"])
    op.create_table(
        "callback_endpoints",
        Column("workspace", String(64), primary_key=True),
        Column("url_sha256", String(64), primary_key=True),
        Column("disabled_ms", BigInteger, nullable=False),
        Column("reason", Text, nullable=False),
    )
    op.create_table(
        "usage",
        Column("job_id", String(64), primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("workspace", String(64), nullable=False),
        Column("type", String(100), nullable=False),
        Column("seconds", Float, nullable=False),
        Column("done_ms", BigInteger, nullable=False),
    )
    op.create_index("usage_by_month", "usage", ["workspace", "done_ms"])
    op.create_table(
        "secrets",
        Column("name", String(64), primary_key=True),
        Column("value", String(255), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("secrets")
    op.drop_table("usage")
    op.drop_table("callback_endpoints")
    op.drop_table("deliveries")
    op.drop_table("outbox")
    op.drop_table("job_snapshots")
    op.drop_table("reported_events")
    op.drop_table("reported_jobs")
    op.drop_table("idempotency")
    op.drop_table("api_keys")
    op.drop_table("workspaces")
