"""An index for whom of the people that moved a line is about: asked at each poll that has news."""

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.create_index("ix_line_tenant_user", "line", ["tenant", "user"])


def downgrade() -> None:
    op.drop_index("ix_line_tenant_user", table_name="line")
