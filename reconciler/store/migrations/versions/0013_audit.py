"""Signed checkpoints, sealed segments, second sinks and pseudonyms beside the audit log; the log's table is strict.

A row of the log may be deleted only where a sealed segment covers it, and checkpoints and segments never change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

COLUMNS = ("tenant", "seq", "at", "kind", "subject", "actor", "cycle", "body", "prev", "hash")
TEXTS = tuple(name for name in COLUMNS if name != "seq")
APPEND_ONLY = ("audit_checkpoint", "audit_segment")
SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("size", SEQ, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("frontier", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "size", name="pk_audit_checkpoint"),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_segment",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("last", SEQ, nullable=False),
        sa.Column("first", SEQ, nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("frontier", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("proofs", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "last", name="pk_audit_segment"),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_sink",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("checkpoint", SEQ, nullable=False),
        sa.Column("failing_since", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sink", name="pk_audit_sink"),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_person",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("erased_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "pseudonym", name="pk_audit_person"),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_veil",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sign", sa.Text(), nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("cipher", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sign", name="pk_audit_veil"),
        sqlite_strict=True,
    )
    op.create_index("ix_audit_veil_tenant_pseudonym", "audit_veil", ["tenant", "pseudonym"])
    if op.get_bind().dialect.name == "postgresql":
        for name in TEXTS:
            op.alter_column("audit", name, type_=sa.Text())
        op.execute("DROP TRIGGER audit_append_only ON audit")
        op.execute(
            "CREATE FUNCTION reconciler_audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM audit_segment s WHERE s.tenant = OLD.tenant "
            "AND OLD.seq BETWEEN s.first AND s.last) THEN RETURN OLD; END IF; "
            "RAISE EXCEPTION 'audit is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION reconciler_audit_guard()"
        )
        for table in APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION reconciler_append_only()"
            )
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION reconciler_append_only()"
            )
        return
    _rebuild(" STRICT")
    op.execute(
        "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit WHEN NOT EXISTS (SELECT 1 FROM audit_segment s "
        "WHERE s.tenant = OLD.tenant AND OLD.seq BETWEEN s.first AND s.last) "
        "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
    )
    for table in APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuses_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
        op.execute("DROP TRIGGER audit_append_only ON audit")
        op.execute("DROP FUNCTION reconciler_audit_guard()")
        op.execute(
            "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION reconciler_append_only()"
        )
        for name in TEXTS:
            op.alter_column("audit", name, type_=sa.String())
    else:
        _rebuild("")
        op.execute(
            "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
        )
    op.drop_index("ix_audit_veil_tenant_pseudonym", table_name="audit_veil")
    for table in ("audit_veil", "audit_person", "audit_sink", "audit_segment", "audit_checkpoint"):
        op.drop_table(table)


def _rebuild(options: str) -> None:
    """The audit table anew with the same rows; SQLite cannot change a table's kind. Its triggers go with the old one."""
    kind = "TEXT" if options else "VARCHAR"
    number = "INTEGER" if options else "BIGINT"
    columns = ", ".join(f"{name} {number if name == 'seq' else kind} NOT NULL" for name in COLUMNS)
    op.execute("ALTER TABLE audit RENAME TO audit_old")
    for index in ("ix_audit_tenant_kind_at", "ix_audit_tenant_subject"):
        op.execute(f"DROP INDEX {index}")
    op.execute(f"CREATE TABLE audit ({columns}, CONSTRAINT pk_audit PRIMARY KEY (tenant, seq)){options}")
    names = ", ".join(COLUMNS)
    op.execute(f"INSERT INTO audit ({names}) SELECT {names} FROM audit_old ORDER BY tenant, seq")
    op.execute("DROP TABLE audit_old")
    op.create_index("ix_audit_tenant_kind_at", "audit", ["tenant", "kind", "at"])
    op.create_index("ix_audit_tenant_subject", "audit", ["tenant", "subject"])
    op.execute(
        "CREATE TRIGGER audit_refuses_update BEFORE UPDATE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
    )
