"""The board: what a line is about, indexes to count and to find lines by, and their history by day, kept by triggers."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0020"

KEY = ("product", "phase", "cause", "verdict")
INDEXES = {
    "ix_line_tenant_phase_since_ticket_line": ["tenant", "phase", "since", "ticket", "line"],
    "ix_line_tenant_cause_since_ticket_line": ["tenant", "cause", "since", "ticket", "line"],
    "ix_line_tenant_product_since_ticket_line": ["tenant", "product", "since", "ticket", "line"],
    "ix_line_tenant_verdict_since_ticket_line": ["tenant", "verdict", "since", "ticket", "line"],
    "ix_line_tenant_person": ["tenant", "person"],
    "ix_line_tenant_phase_ends_at": ["tenant", "phase", "ends_at"],
}


def upgrade() -> None:
    for name in ("product", "person"):
        op.add_column("line", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.create_table(
        "line_kind",
        sa.Column("tenant", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in KEY),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", *KEY, name="pk_line_kind"),
    )
    op.create_table(
        "line_day",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in KEY),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", *KEY, name="pk_line_day"),
    )
    _fill()
    kind = "tenant, product, phase, coalesce(cause, ''), coalesce(verdict, '')"
    op.execute(f"INSERT INTO line_kind SELECT {kind}, count(*) FROM line GROUP BY {kind}")
    for name, columns in INDEXES.items():
        op.create_index(name, "line", columns)
    if op.get_bind().dialect.name == "postgresql":
        _watch_postgresql()
    else:
        _watch_sqlite()


def _fill() -> None:
    """What the ledger says about each line. Where it says it otherwise than the next cycle, that cycle puts it right."""
    if op.get_context().as_sql:
        return  # a script for an empty store
    bind, known = op.get_bind(), {}
    ledger = "SELECT tenant, ticket, line, body FROM ledger WHERE kind IN ('declared', 'bound', 'refused') ORDER BY id"
    for tenant, ticket, line, body in bind.execute(sa.text(ledger)):
        told = json.loads(body)
        said = told.get("refusal") or told.get("request") or (told.get("entitlement") or {}).get("request") or {}
        claim = said.get("claim") or {}
        named = claim.get("person") or {}
        person = said.get("person") or claim.get("upn") or named.get("email") or named.get("user_name") or ""
        known[tenant, ticket, line] = (said.get("product") or "", " ".join(person.split())[:200].lower())
    rows = [
        {"tenant": t, "ticket": k, "line": n, "product": product, "person": person}
        for (t, k, n), (product, person) in known.items()
    ]
    if rows:
        change = "UPDATE line SET product = :product, person = :person"
        bind.execute(sa.text(f"{change} WHERE tenant = :tenant AND ticket = :ticket AND line = :line"), rows)


def _moved(row: str, by: int, day: str) -> str:
    """One more, or one less, of the kind that a row of `line` is."""
    kind = f"{row}.product, {row}.phase, coalesce({row}.cause, ''), coalesce({row}.verdict, '')"
    return (
        f"INSERT INTO line_kind (tenant, product, phase, cause, verdict, lines) VALUES ({row}.tenant, {kind}, {by}) "
        f"ON CONFLICT (tenant, product, phase, cause, verdict) DO UPDATE SET lines = line_kind.lines + {by}; "
        f"INSERT INTO line_day (tenant, day, product, phase, cause, verdict, change) "
        f"VALUES ({row}.tenant, {day}, {kind}, {by}) ON CONFLICT (tenant, day, product, phase, cause, verdict) "
        f"DO UPDATE SET change = line_day.change + {by}; "
    )


def _watch_sqlite() -> None:
    new, old = "substr(NEW.changed_at, 1, 10)", "substr(OLD.changed_at, 1, 10)"
    is_other = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in KEY)
    op.execute(f"CREATE TRIGGER line_day_more AFTER INSERT ON line BEGIN {_moved('NEW', 1, new)} END")
    op.execute(
        f"CREATE TRIGGER line_day_moved AFTER UPDATE ON line WHEN {is_other} "
        f"BEGIN {_moved('OLD', -1, new)} {_moved('NEW', 1, new)} END"
    )
    op.execute(f"CREATE TRIGGER line_day_less AFTER DELETE ON line BEGIN {_moved('OLD', -1, old)} END")


def _watch_postgresql() -> None:
    new, old = (f"to_char({row}.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')" for row in ("NEW", "OLD"))
    is_same = " AND ".join(f"OLD.{name} IS NOT DISTINCT FROM NEW.{name}" for name in KEY)
    op.execute(
        "CREATE FUNCTION reconciler_line_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {_moved('NEW', 1, new)} "
        f"ELSIF TG_OP = 'DELETE' THEN {_moved('OLD', -1, old)} "
        f"ELSIF NOT ({is_same}) THEN {_moved('OLD', -1, new)} {_moved('NEW', 1, new)} "
        "END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER line_day AFTER INSERT OR UPDATE OR DELETE ON line "
        "FOR EACH ROW EXECUTE FUNCTION reconciler_line_day()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER line_day ON line")
        op.execute("DROP FUNCTION reconciler_line_day()")
    else:
        for name in ("line_day_more", "line_day_moved", "line_day_less"):
            op.execute(f"DROP TRIGGER {name}")
    for name in INDEXES:
        op.drop_index(name, table_name="line")
    op.drop_table("line_day")
    op.drop_table("line_kind")
    for name in ("person", "product"):
        op.drop_column("line", name)
