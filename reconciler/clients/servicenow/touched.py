"""Which items and tasks of the whole catalogue changed since a mark, in one request: a hint that nothing has.

Tickets and their tasks are both of the table `task`; two equal answers mean that none of them was written in between:
each row carries how often it was. What a form says hangs on rows of other tables and is not seen here. Whether an
integration user reads through the parent table whatever they may read through its children is UNCONFIRMED; rows that
are counted and not shown make the answer None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.clients.servicenow.keys import Watermark
from reconciler.clients.servicenow.queries import among, equal, instant
from reconciler.clients.servicenow.reading import OVERLAP
from reconciler.clients.servicenow.records import ITEM_TABLE, TASK_TABLE
from reconciler.clients.servicenow.tables import Tables

PARENT = "task"
ROWS_MAX = 1000  # more of them say nothing that is cheaper than asking what they are


@dataclass(frozen=True, slots=True)
class Touched:
    """Each item and task that changed: id, instant, number of changes.

    `rows` are None where it cannot be told: there are too many, or none where the one of the mark should be, or some
    are hidden. `shown` is the id of one that was, "" where none was. `served_at` is the instance's own Date, None when
    it gave none.
    """

    rows: frozenset[tuple[str, str, str]] | None
    shown: str
    served_at: datetime | None


def touched(tables: Tables, *, since: datetime, told: Watermark | None = None) -> Touched:
    """What changed since a mark, a little earlier included.

    `told`: until when it is known already, and a record that was shown then. Where that is later than the mark, only
    what changed since is asked for, and that record with it, so that an empty answer is never a good one.
    """
    from_at, about = since, ""
    if told is not None and told.at > since:
        from_at, about = told.at, f"^OR{equal('sys_id', told.sys_id)}"
    query = f"{among('sys_class_name', (ITEM_TABLE, TASK_TABLE))}^sys_updated_on>={instant(from_at - OVERLAP)}{about}"
    fields = ("sys_id", "sys_updated_on", "sys_mod_count")
    page = tables.page(PARENT, f"{query}^ORDERBYsys_id", fields, limit=ROWS_MAX, operation="touched")
    shown = (page.rows[-1].text("sys_id") or "") if page.rows else ""
    if page.has_more or not page.rows or page.total != len(page.rows):
        return Touched(None, shown, page.served_at)
    rows = ((row.need("sys_id"), row.need("sys_updated_on"), row.need("sys_mod_count")) for row in page.rows)
    return Touched(frozenset(rows), shown, page.served_at)
