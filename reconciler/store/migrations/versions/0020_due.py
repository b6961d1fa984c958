"""When a tenant's next cycle is due, and who asked for one."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("lease", sa.Column("next_due_s", sa.Float(), nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("asked", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("served", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("lease") as lease:
        lease.drop_column("served")
        lease.drop_column("asked")
        lease.drop_column("next_due_s")
