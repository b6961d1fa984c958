"""What would have been done for a line, and what people made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "shadow",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("ticket", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("axis", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("would", sa.String(), nullable=False),
        sa.Column("base", sa.String(), nullable=False),
        sa.Column("is_removal", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("acted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "ticket", "line", "axis", "digest", name="pk_shadow"),
    )
    op.create_index("ix_shadow_tenant_outcome", "shadow", ["tenant", "outcome"])
    op.create_index("ix_shadow_tenant_decided_at", "shadow", ["tenant", "decided_at"])


def downgrade() -> None:
    op.drop_table("shadow")
