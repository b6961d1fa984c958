"""What was given for a line, so that exactly that can be taken back; how often others undid it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("line") as line:
        line.add_column(sa.Column("given", sa.String(), nullable=False, server_default="[]"))
        line.add_column(sa.Column("reversals", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "seat",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sku", name="pk_seat"),
    )


def downgrade() -> None:
    op.drop_table("seat")
    with op.batch_alter_table("line") as line:
        line.drop_column("reversals")
        line.drop_column("given")
