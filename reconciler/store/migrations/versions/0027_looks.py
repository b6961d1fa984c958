"""When the workers of a fleet have to look at a tenant, and what one leaves to the next."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("lease", sa.Column("look_s", sa.Float(), nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("duty", sa.String(), nullable=False, server_default=""))
    op.add_column("lease", sa.Column("is_troubled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("lease", sa.Column("left_over", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_lease_look_s", "lease", ["look_s"])
    op.create_index("ix_notice_state_next_at", "notice", ["state", "next_at"])


def downgrade() -> None:
    op.drop_index("ix_notice_state_next_at", "notice")
    op.drop_index("ix_lease_look_s", "lease")
    for name in ("left_over", "is_troubled", "duty", "look_s"):
        op.drop_column("lease", name)
