"""Who is signed in to the pages, and sign-ins that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "sign_in",
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("browser", sa.String(), nullable=False),
        sa.Column("flow", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("replaces", sa.String(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_sign_in"),
    )
    op.create_index("ix_sign_in_begun_at", "sign_in", ["begun_at"])
    op.create_table(
        "web_session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("tid", sa.String(), nullable=False),
        sa.Column("oid", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("upn", sa.String(), nullable=False),
        sa.Column("roles", sa.String(), nullable=False),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.Column("credentials_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_web_session"),
    )


def downgrade() -> None:
    op.drop_table("web_session")
    op.drop_index("ix_sign_in_begun_at", "sign_in")
    op.drop_table("sign_in")
