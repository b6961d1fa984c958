"""The first schema: ledger, lines, answers, audit log, leases, heartbeat, switches, ticket copies.

The ledger and the audit log are append-only: triggers refuse UPDATE and DELETE, whoever tries.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("audit", "ledger")


def upgrade() -> None:
    op.create_table('answer',
    sa.Column('id', ROW_ID, nullable=False),
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('op_key', sa.String(), nullable=False),
    sa.Column('ticket', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('group', sa.String(), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('remote_id', sa.String(), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('intended_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name='pk_answer'),
    sa.UniqueConstraint('tenant', 'op_key', name='uq_answer_tenant_op_key'),
    sqlite_autoincrement=True
    )
    op.create_index('ix_answer_tenant_sent_at', 'answer', ['tenant', 'sent_at'], unique=False)
    op.create_index('ix_answer_tenant_state', 'answer', ['tenant', 'state'], unique=False)
    op.create_index('ix_answer_tenant_ticket', 'answer', ['tenant', 'ticket'], unique=False)
    op.create_table('audit',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('at', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('actor', sa.String(), nullable=False),
    sa.Column('cycle', sa.String(), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('prev', sa.String(), nullable=False),
    sa.Column('hash', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'seq', name='pk_audit')
    )
    op.create_index('ix_audit_tenant_kind_at', 'audit', ['tenant', 'kind', 'at'], unique=False)
    op.create_index('ix_audit_tenant_subject', 'audit', ['tenant', 'subject'], unique=False)
    op.create_table('audit_about',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'subject', 'seq', name='pk_audit_about')
    )
    op.create_index('ix_audit_about_tenant_seq', 'audit_about', ['tenant', 'seq'], unique=False)
    op.create_table('cycle',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('cycle', sa.String(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('is_converged', sa.Boolean(), nullable=True),
    sa.Column('counts', sa.String(), nullable=False),
    sa.Column('error', sa.String(), nullable=False),
    sa.Column('audit_size', sa.BigInteger(), nullable=False),
    sa.Column('audit_head', sa.String(), nullable=False),
    sa.Column('last_finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('tenant', name='pk_cycle')
    )
    op.create_table('lease',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('owner', sa.String(), nullable=True),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('since_s', sa.Float(), nullable=False),
    sa.Column('until_s', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('tenant', name='pk_lease')
    )
    op.create_table('ledger',
    sa.Column('id', ROW_ID, nullable=False),
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('ticket', sa.String(), nullable=False),
    sa.Column('line', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name='pk_ledger'),
    sqlite_autoincrement=True
    )
    op.create_index('ix_ledger_tenant_ticket_id', 'ledger', ['tenant', 'ticket', 'id'], unique=False)
    op.create_table('line',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('ticket', sa.String(), nullable=False),
    sa.Column('line', sa.Integer(), nullable=False),
    sa.Column('phase', sa.String(), nullable=False),
    sa.Column('verdict', sa.String(), nullable=True),
    sa.Column('first_verdict', sa.String(), nullable=True),
    sa.Column('cause', sa.String(), nullable=True),
    sa.Column('tier', sa.String(), nullable=True),
    sa.Column('user', sa.String(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.Column('granted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('episode', sa.Integer(), nullable=False),
    sa.Column('note', sa.String(), nullable=False),
    sa.Column('first_seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'ticket', 'line', name='pk_line')
    )
    op.create_table('switch',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('is_on', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('by', sa.String(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('from_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('until_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('tenant', 'name', name='pk_switch')
    )
    op.create_table('ticket_copy',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('sys_id', sa.String(), nullable=False),
    sa.Column('number', sa.String(), nullable=False),
    sa.Column('mod_count', sa.Integer(), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'sys_id', name='pk_ticket_copy')
    )
    op.create_index('ix_ticket_copy_tenant_number', 'ticket_copy', ['tenant', 'number'], unique=False)
    op.create_table('watermark',
    sa.Column('tenant', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sys_id', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'source', name='pk_watermark')
    )
    for table in APPEND_ONLY:
        _refuse_changes(table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
        op.execute("DROP FUNCTION reconciler_append_only()")
    op.drop_table('watermark')
    op.drop_index('ix_ticket_copy_tenant_number', table_name='ticket_copy')
    op.drop_table('ticket_copy')
    op.drop_table('switch')
    op.drop_table('line')
    op.drop_index('ix_ledger_tenant_ticket_id', table_name='ledger')
    op.drop_table('ledger')
    op.drop_table('lease')
    op.drop_table('cycle')
    op.drop_index('ix_audit_about_tenant_seq', table_name='audit_about')
    op.drop_table('audit_about')
    op.drop_index('ix_audit_tenant_subject', table_name='audit')
    op.drop_index('ix_audit_tenant_kind_at', table_name='audit')
    op.drop_table('audit')
    op.drop_index('ix_answer_tenant_ticket', table_name='answer')
    op.drop_index('ix_answer_tenant_state', table_name='answer')
    op.drop_index('ix_answer_tenant_sent_at', table_name='answer')
    op.drop_table('answer')


def _refuse_changes(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION reconciler_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION reconciler_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION reconciler_append_only()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_refuses_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
