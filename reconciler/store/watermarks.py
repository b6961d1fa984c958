"""How far each source was read. Saved in the transaction of the rows that it stands for, never before them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session

from desired_state.rows import is_row, table_of
from reconciler.store.rows.tickets import WatermarkRow

_TABLE = table_of(WatermarkRow)
_OF_TENANT = select(_TABLE.c.source, _TABLE.c.at, _TABLE.c.sys_id).where(_TABLE.c.tenant == bindparam("tenant"))
_ONE = _OF_TENANT.where(_TABLE.c.source == bindparam("source"))
_ADD, _MOVE = insert(_TABLE), update(_TABLE).where(is_row(_TABLE))


class Mark(Protocol):
    """What a source itself calls its watermark."""

    @property
    def at(self) -> datetime: ...

    @property
    def sys_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Watermark:
    """Everything up to this instant and, within it, this id is known."""

    at: datetime
    sys_id: str


def load(session: Session, tenant: str, source: str) -> Watermark | None:
    """The saved mark, None when the source was never read."""
    row = session.connection().execute(_ONE, {"tenant": tenant, "source": source}).first()
    return Watermark(row.at, row.sys_id) if row is not None else None


def load_all(session: Session, tenant: str) -> dict[str, Watermark]:
    """The saved marks of a tenant, by source."""
    rows = session.connection().execute(_OF_TENANT, {"tenant": tenant})
    return {row.source: Watermark(row.at, row.sys_id) for row in rows}


def save(session: Session, tenant: str, source: str, mark: Mark) -> bool:
    """Keep the mark; returns whether it moved. It may move back: an overlap is read again on purpose."""
    known = load(session, tenant, source)
    values = {"at": mark.at, "sys_id": mark.sys_id}
    if known is None:
        session.connection().execute(_ADD, {"tenant": tenant, "source": source} | values)
    elif (known.at, known.sys_id) != (mark.at, mark.sys_id):
        session.connection().execute(_MOVE, {"of_tenant": tenant, "of_source": source} | values)
    else:
        return False
    return True
