"""Facts that several processes count on at once: changed by one conditional UPDATE, so that of two who change one at
once the second begins anew from what the first left.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from desired_state.rows import is_row, table_of
from reconciler.store.rows.guards import GuardFactRow

_FACTS = table_of(GuardFactRow)
_KEPT = select(_FACTS.c.body).where(is_row(_FACTS))
_CHANGE = update(_FACTS).where(is_row(_FACTS), _FACTS.c.body == bindparam("before"))
_ADD = insert(_FACTS)


def kept(session: Session, owner: str, name: str) -> str | None:
    """The text that is kept under an owner and a name; None for nothing."""
    return session.connection().execute(_KEPT, {"of_tenant": owner, "of_name": name}).scalar_one_or_none()


def swap(session: Session, owner: str, name: str, before: str | None, body: str, at: datetime) -> bool:
    """Keep `body` where `before` stands; False: something else does by now, and nothing was changed."""
    values = {"body": body, "at": at}
    if before is not None:
        key = {"of_tenant": owner, "of_name": name, "before": before}
        return session.connection().execute(_CHANGE, key | values).rowcount == 1
    try:
        with session.begin_nested():
            session.connection().execute(_ADD, {"tenant": owner, "name": name} | values)
    except IntegrityError:  # somebody else began it meanwhile
        return False
    return True
