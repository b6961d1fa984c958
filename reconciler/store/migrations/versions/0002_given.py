"""What was given for a line, so that exactly that can be taken back; how often others undid it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("line") as line:
        line.add_column(sa.Column("given", sa.String(), nullable=False, server_default="[]"))
        line.add_column(sa.Column("reversals", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("line") as line:
        line.drop_column("reversals")
        line.drop_column("given")
