"""Requests for approval, the answers to them, and who acts for whom."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("ticket", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_approval"),
    )
    op.create_index("ix_approval_tenant_ticket_line", "approval", ["tenant", "ticket", "line"])
    op.create_index("ix_approval_tenant_state", "approval", ["tenant", "state"])
    op.create_table(
        "approval_decision",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("approval", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("human", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "approval", "stage", "human", name="pk_approval_decision"),
        sa.UniqueConstraint("tenant", "approval", "human", "key", name="uq_approval_decision_tenant_approval_human_key"),
    )
    op.create_table(
        "approval_delegation",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("deputy", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "principal", "deputy", "starts_at", name="pk_approval_delegation"),
    )


def downgrade() -> None:
    op.drop_table("approval_delegation")
    op.drop_table("approval_decision")
    op.drop_index("ix_approval_tenant_state", "approval")
    op.drop_index("ix_approval_tenant_ticket_line", "approval")
    op.drop_table("approval")
