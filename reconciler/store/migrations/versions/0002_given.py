"""What was given for a line and told of it, how often others undid it, and when an answer is tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("line") as line:
        line.add_column(sa.Column("given", sa.String(), nullable=False, server_default="[]"))
        line.add_column(sa.Column("reversals", sa.Integer(), nullable=False, server_default="0"))
        line.add_column(sa.Column("told", sa.String(), nullable=False, server_default=""))
    # Lines that had come to rest were answered by the version before, which told them once a phase.
    op.execute(
        "UPDATE line SET told = CAST(episode AS VARCHAR(12)) || '/' || phase || '/' || COALESCE(cause, '-') "
        "WHERE phase IN ('granted', 'review', 'cancelled')"
    )
    with op.batch_alter_table("answer") as answer:
        answer.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        answer.add_column(sa.Column("next_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "seat",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sku", name="pk_seat"),
    )
    op.create_table(
        "learned",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("plans", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "plans", name="pk_learned"),
    )
    op.create_table(
        "published_name",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_published_name"),
    )


def downgrade() -> None:
    op.drop_table("published_name")
    op.drop_table("learned")
    op.drop_table("seat")
    with op.batch_alter_table("answer") as answer:
        answer.drop_column("next_at")
        answer.drop_column("failures")
    with op.batch_alter_table("line") as line:
        line.drop_column("told")
        line.drop_column("reversals")
        line.drop_column("given")
