"""Runs migrations on the connection that `open_database` hands over."""

from alembic import context

from trainer.adapters.sql_schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="trainer_alembic_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
