"""A store on PostgreSQL: its engine, and what makes its transactions those that SQLite has by itself.

A read is one view and writes nothing. Writes of one tenant queue: each begins with the tenant's turn, so what reads
first and writes then, as most of the store does, meets nobody in between; tenants do not wait for each other. Nobody
waits for ever: not for a turn, and not for a process that was stopped in the middle of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.exc import ArgumentError

from reconciler.errors import UserError

ONE_VIEW: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
REHEARSED: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}

# A body that thinks for longer was stopped, or its machine is gone; no transaction here waits for the network.
IDLE_MAX_S = 60.0

# What is asked of libpq (its documentation, section 34.1.2) unless the store's address says otherwise. A network that
# swallows everything ends a statement after a minute; without this it waits for a quarter of an hour, or for ever.
LINK = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
POOLED = 5  # connections that stay open; more come and go
CONNECTIONS = 15  # of one process, unless it says otherwise

# A commit is on the disk when it returns (I1), also where the server's own setting lets it be there a little later.
_TURN = text(
    "SELECT set_config('lock_timeout', :wait, true), set_config('idle_in_transaction_session_timeout', :idle, true), "
    "set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true), "
    "pg_advisory_xact_lock(hashtextextended('audit/' || :tenant, 0))"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('audit/' || :tenant, 0))")

# Statements name tables without their schema, and the temporary one comes first. `nextval` of a copy is the table's.
_COPY = """
DO $$ DECLARE t name; mine text; theirs text; BEGIN
  FOREACH t IN ARRAY '{TABLES}'::name[] LOOP
    mine := 'pg_temp.' || quote_ident(t);
    theirs := quote_ident(current_schema()) || '.' || quote_ident(t);
    EXECUTE 'CREATE TEMP TABLE ' || quote_ident(t) || ' (LIKE ' || theirs || ' INCLUDING ALL) ON COMMIT DROP';
    EXECUTE 'INSERT INTO ' || mine || ' SELECT * FROM ' || theirs;
  END LOOP;
END $$
"""


def lively(url: URL) -> URL:
    """The address of a PostgreSQL with what `LINK` says, where it does not say otherwise itself."""
    return url.update_query_dict({name: value for name, value in LINK.items() if name not in url.query})


def server_engine(url: URL, name: str, *, connections: int = CONNECTIONS) -> Engine:
    """An engine for PostgreSQL. Raises UserError when its driver is not installed; `name` is the store's for people.

    It opens `connections` at most.

    Whatever the server's default is, a statement of a write sees what was committed before it began: who waited for a
    turn then finds what its holder wrote.
    """
    try:
        engine = create_engine(
            lively(url) if "psycopg" in url.drivername else url,
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            pool_size=POOLED,
            max_overflow=max(0, connections - POOLED),
        )
    except (ArgumentError, ImportError) as error:
        raise UserError(f"{name} needs a database driver that is not installed: {error}", exit_code=1) from None
    event.listen(engine, "handle_error", _keep_values_back)
    event.listen(engine, "connect", _take_any_text)
    return engine


def take_turn(connection: Connection, tenant: str, *, wait_s: float) -> None:
    """Be the only writer of a tenant until the transaction ends; its first statement. It is the lock of its chain too.

    Raises:
        DBAPIError: somebody else had it for `wait_s` seconds.
    """
    limits = {"wait": f"{wait_s * 1000:.0f}", "idle": f"{IDLE_MAX_S * 1000:.0f}"}
    connection.execute(_TURN, limits | {"tenant": tenant})


def lock_chain(connection: Connection, tenant: str) -> None:
    """Be the only one to append to a tenant's audit log until the transaction ends."""
    connection.execute(_LOCK, {"tenant": tenant})


def shadow(connection: Connection, tables: Iterable[str]) -> None:
    """Put a temporary copy in front of these tables, for the transaction: what is written then is nobody else's."""
    connection.exec_driver_sql(_COPY.replace("TABLES", ",".join(sorted(tables))))


def _take_any_text(connection: Any, _record: object) -> None:
    """Let U+0000, which a person may have typed and PostgreSQL keeps in no text, be kept as U+FFFD."""
    connection.adapters.register_dumper(str, _any_text())


@cache
def _any_text() -> type[Any]:
    from psycopg.types.string import StrDumperUnknown  # the driver is an extra

    class AnyText(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)

    return AnyText


def _keep_values_back(failed: ExceptionContext) -> None:
    """PostgreSQL puts the row that it refused into the details of its message (I15); its first line is enough."""
    said = failed.original_exception
    first = getattr(getattr(said, "diag", None), "message_primary", None)
    if first:
        said.args = (first,)
        if failed.sqlalchemy_exception is not None:
            failed.sqlalchemy_exception.args = (f"({type(said).__module__}.{type(said).__name__}) {first}",)
