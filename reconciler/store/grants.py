"""What an account needs that runs the service on PostgreSQL and does not own its tables.

Triggers refuse to change the log and the ledger, but whoever owns a table can switch its triggers off. The application
therefore has an account of its own, which may add to them and read them; migrations, the removal of sealed segments
and the erasure of persons are for the account that owns the tables.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from reconciler.errors import UserError
from reconciler.store.tables import METADATA

# The log, what proves it and what its signs stand for, and the ledger.
ADDED_TO = frozenset({"audit", "audit_about", "audit_checkpoint", "audit_person", "audit_veil", "ledger"})
READ = frozenset({"audit_segment", "alembic_version"})
# The queue's tables are a library's, so whatever its version has. Its functions run as their caller.
_QUEUE = text(
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'procrastinate\\_%'"
)


def statements(connection: Connection, account: str) -> tuple[str, ...]:
    """SQL that gives an account exactly what the application needs, whatever it had of our tables before.

    Raises:
        UserError: the store is embedded: who may open its file may do anything to it.
    """
    if connection.dialect.name != "postgresql":
        raise UserError(
            "an embedded store has no accounts; keep its file to one account of the machine, or use PostgreSQL",
            exit_code=1,
        )
    quoted = connection.dialect.identifier_preparer.quote_identifier
    schema, database = connection.execute(text("SELECT current_schema(), current_database()")).one()
    role, of_schema = quoted(account), quoted(schema)

    def tables(names: frozenset[str]) -> str:
        return ", ".join(f"{of_schema}.{quoted(name)}" for name in sorted(names))

    changed = (frozenset(METADATA.tables) - ADDED_TO - READ) | frozenset(connection.execute(_QUEUE).scalars())
    return (
        f"GRANT CONNECT, TEMPORARY ON DATABASE {quoted(database)} TO {role}",
        f"GRANT USAGE ON SCHEMA {of_schema} TO {role}",
        f"REVOKE ALL ON {tables(ADDED_TO | READ | changed)} FROM {role}",
        f"GRANT SELECT ON {tables(READ)} TO {role}",
        f"GRANT SELECT, INSERT ON {tables(ADDED_TO)} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables(changed)} TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {of_schema} TO {role}",
    )


def apply(connection: Connection, account: str) -> None:
    """Give an account what it needs, in the transaction of `connection`, which is the owner's. Raises UserError."""
    for statement in statements(connection, account):
        connection.exec_driver_sql(statement.replace("%", "%%"))
