"""The sessions of a store. Each is one transaction on one connection, so it asks for its connection once.

SQLAlchemy's session walks its table of states for every statement that is run on its connection, which costs as much
as the statement; a cycle runs a hundred of them in dozens of transactions.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlmodel import Session


class Transaction(Session):
    """A session that is used for one transaction and then thrown away."""

    turn = ""  # the tenant whose only writer this transaction is
    _held: Connection | None = None

    def connection(self, *args: Any, **options: Any) -> Connection:
        """The connection of this transaction; arguments count when it is first asked for."""
        if self._held is None:
            self._held = super().connection(*args, **options)
        return self._held

    def close(self) -> None:
        """End it; one that asked its connection and loaded no objects has nothing to let go of."""
        if self.in_transaction():
            super().close()


class Reading(Transaction):
    """A session over a connection that its owner opened and will roll back. What is added is not kept."""

    def __init__(self, connection: Connection, info: dict[str, Any]) -> None:
        super().__init__(connection, expire_on_commit=False, autoflush=False, info=info)
        self._held = connection


class Writing(Transaction):
    """A session over a connection that its owner opened, and rolls back unless `keep` was called."""

    def __init__(self, connection: Connection, info: dict[str, Any]) -> None:
        super().__init__(connection, expire_on_commit=False, info=info)
        self._held = connection

    def keep(self) -> None:
        """Commit all that was added and run. The last thing to do with it."""
        if self.new or self.dirty or self.deleted:
            self.flush()
        assert self._held is not None
        if self._held.in_transaction():
            self._held.commit()
        self.dispatch.after_commit(self)  # whoever waits for what is kept listens to the session
