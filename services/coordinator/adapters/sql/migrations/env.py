"""Run by Alembic: migrates on the connection that `upgrade_to_head` hands in."""

from alembic import context

from services.coordinator.adapters.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can change little of a table in place; batch mode rebuilds it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
