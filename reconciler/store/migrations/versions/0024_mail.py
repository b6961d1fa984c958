"""Mail: a notice remembers the mail that it was first sent in, so that the next try is the same mail."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("notice", sa.Column("batch", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("notice", "batch")
