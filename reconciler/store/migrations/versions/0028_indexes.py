"""Indexes for what a large tenant asks at each cycle: what is due next, and which tickets were read anew."""

from alembic import op

revision = "0028"
down_revision = "0027"

INDEXES = {
    "ix_line_tenant_next_at": ("line", ["tenant", "next_at"]),
    "ix_line_tenant_ends_at": ("line", ["tenant", "ends_at"]),
    "ix_ticket_copy_tenant_read_at": ("ticket_copy", ["tenant", "read_at"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table_name=table)
