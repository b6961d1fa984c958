"""How far each source was read. Saved in the transaction of the rows that it stands for, never before them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlmodel import Session

from reconciler.store.tables import WatermarkRow


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
    row = session.get(WatermarkRow, (tenant, source))
    return Watermark(row.at, row.sys_id) if row is not None else None


def save(session: Session, tenant: str, source: str, mark: Mark) -> bool:
    """Keep the mark; returns whether it moved. It may move back: an overlap is read again on purpose."""
    row = session.get(WatermarkRow, (tenant, source))
    if row is None:
        session.add(WatermarkRow(tenant=tenant, source=source, at=mark.at, sys_id=mark.sys_id))
    elif (row.at, row.sys_id) != (mark.at, mark.sys_id):
        row.at, row.sys_id = mark.at, mark.sys_id
    else:
        return False
    session.flush()
    return True
