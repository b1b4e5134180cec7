"""What alembic runs around the migrations: on the connection of Database.migrate, inside its transaction."""

from alembic import context

from viralsync_pipelines.storage.database import VERSION_TABLE
from viralsync_pipelines.storage.ledger_tables import executions

context.configure(connection=context.config.attributes["connection"], target_metadata=executions.metadata, version_table=VERSION_TABLE)
context.run_migrations()
