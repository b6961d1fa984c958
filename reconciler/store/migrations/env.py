"""Run by alembic: migrate over the connection that `reconciler.store.schema` hands in, in its transaction."""

from __future__ import annotations

from alembic import context

from reconciler.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
