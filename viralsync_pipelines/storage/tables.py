"""The project's own tables, for SQLite and PostgreSQL alike. Times are unix milliseconds; JSON is kept as text.

What belongs here: columns and what they mean. What does not: opening a database (database.py), reading and writing rows.
Dagster keeps runs and their events; here is only what it has no place for.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

workspaces = Table(
    "workspaces", metadata,
    Column("id", String(64), primary_key=True),
    Column("plan", String(32), nullable=False),
    # whsec_<base64>: callbacks of this workspace are signed with it.
    Column("webhook_secret", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

api_keys = Table(
    "api_keys", metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    # The first characters, to tell keys apart in a list. The key itself is never stored.
    Column("shown", String(24), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("read_only", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Index("api_keys_by_workspace", "workspace"),
)  # fmt: skip

idempotency = Table(
    "idempotency", metadata,
    # Workspace, method and path: the same key elsewhere is another key.
    Column("scope", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_sha256", String(64), nullable=False),
    # Minted with the claim, so that whoever takes a broken one up again makes the same job.
    Column("job_id", String(64), nullable=False),
    # None while the first request is at work.
    Column("status", Integer),
    Column("body", Text),
    # JSON object: Location and the like, which a replay shows again.
    Column("headers", Text),
    Column("claimed_ms", BigInteger, nullable=False),
    Index("idempotency_by_age", "claimed_ms"),
)  # fmt: skip

reported_jobs = Table(
    "reported_jobs", metadata,
    Column("id", String(64), primary_key=True),
    Column("workspace", String(64), nullable=False),
    # The parent's id for a child, its own otherwise: a family's events are numbered together.
    Column("root_id", String(64), nullable=False),
    Column("parent_id", String(64)),
    Column("child_index", Integer, nullable=False),
    Column("type", String(100), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("project_id", String(255)),
    Column("channel", String(255)),
    Column("callback_url", Text),
    # As folded at the last event, for finding rows; what is shown is folded from the events.
    Column("status", String(16), nullable=False),
    # Of the family's last event; of a child: of the last event that changed its status.
    Column("last_seq", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("reported_jobs_newest", "workspace", "created_ms", "id"),
    Index("reported_jobs_family", "root_id"),
    Index("reported_jobs_by_expiry", "expires_ms"),
)  # fmt: skip

reported_events = Table(
    "reported_events", metadata,
    Column("root_id", String(64), primary_key=True),
    # 1, 2, 3 within the family, given under a lock on its root: no reader ever sees a gap that is filled later.
    Column("seq", Integer, primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
)  # fmt: skip

snapshots = Table(
    "job_snapshots", metadata,
    Column("job_id", String(64), primary_key=True),
    # What it was folded by and from; any other is no use.
    Column("fold_version", Integer, nullable=False),
    Column("runs", Text, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
)  # fmt: skip

outbox = Table(
    "outbox", metadata,
    # msg_<job>_<sequence>: the webhook-id, the same at every try.
    Column("id", String(100), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("workspace", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    # progress, done, failed, cancelled
    Column("kind", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # due, delivered, given_up, disabled
    Column("state", String(16), nullable=False),
    # While it is being sent: when whoever sends it is taken to be dead.
    Column("due_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    # While it is being sent: since when.
    Column("claimed_ms", BigInteger),
    Column("delivered_ms", BigInteger),
    UniqueConstraint("job_id", "sequence", name="outbox_once"),
    Index("outbox_due", "state", "due_ms"),
    # A job's messages go out in order: the first one due is found without reading those before it.
    Index("outbox_heads", "state", "job_id", "sequence"),
    Index("outbox_by_workspace", "workspace", "created_ms"),
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("message_id", String(100), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # HTTP status, or None when no answer came.
    Column("status", Integer),
    Column("error", Text),
    Column("took_ms", Integer, nullable=False),
    Index("deliveries_by_message", "message_id"),
)  # fmt: skip

callback_endpoints = Table(
    "callback_endpoints", metadata,
    # Addresses that asked for no more (410 Gone); a row goes when one of its messages is replayed by hand.
    Column("workspace", String(64), primary_key=True),
    Column("url_sha256", String(64), primary_key=True),
    Column("disabled_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)  # fmt: skip

usage = Table(
    "usage", metadata,
    # Once for each attempt that ended done; kept when the job is deleted.
    Column("job_id", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("workspace", String(64), nullable=False),
    Column("type", String(100), nullable=False),
    # Length of what was made.
    Column("seconds", Float, nullable=False),
    Column("done_ms", BigInteger, nullable=False),
    Index("usage_by_month", "workspace", "done_ms"),
)  # fmt: skip

kept_secrets = Table(
    "secrets", metadata,
    # Made once by whichever process needs one first, and the same for all of them: what one gateway signs another can check.
    Column("name", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
)  # fmt: skip
