"""Indexes of lines leave out those that have no such instant and no cause: nobody looks for them by it, and a line that
moves is written into fewer trees."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"

INDEXES = {
    "ix_line_tenant_cause_since_ticket_line": ["tenant", "cause", "since", "ticket", "line"],
    "ix_line_tenant_phase_ends_at": ["tenant", "phase", "ends_at"],
    "ix_line_tenant_next_at": ["tenant", "next_at"],
    "ix_line_tenant_ends_at": ["tenant", "ends_at"],
}


def upgrade() -> None:
    for name, columns in INDEXES.items():
        named = next(column for column in ("cause", "next_at", "ends_at") if column in columns)
        is_there = sa.text(f"{named} IS NOT NULL")
        op.drop_index(name, table_name="line")
        op.create_index(name, "line", columns, sqlite_where=is_there, postgresql_where=is_there)


def downgrade() -> None:
    for name, columns in INDEXES.items():
        op.drop_index(name, table_name="line")
        op.create_index(name, "line", columns)
