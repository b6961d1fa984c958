"""Which items and tasks of the whole catalogue changed since a mark, in one request: a hint that nothing has.

Tickets and their tasks are both of the table `task`; two equal answers mean that none of them was written in between:
each row carries how often it was. What a form says hangs on rows of other tables and is not seen here. Whether an
integration user reads through the parent table whatever they may read through its children is UNCONFIRMED; rows that
are counted and not shown make the answer None.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.clients.servicenow.queries import among, instant
from reconciler.clients.servicenow.reading import OVERLAP
from reconciler.clients.servicenow.records import ITEM_TABLE, TASK_TABLE
from reconciler.clients.servicenow.tables import Tables

PARENT = "task"
ROWS_MAX = 500  # more of them say nothing that is cheaper than asking what they are
Touched = frozenset[tuple[str, str, str]]


def touched(tables: Tables, *, since: datetime) -> Touched | None:
    """Each item and task that changed since then, a little earlier ones included: id, instant, number of changes.

    None: it cannot be told. There are too many, or none where the one of the mark should be, or some are hidden.
    """
    query = f"{among('sys_class_name', (ITEM_TABLE, TASK_TABLE))}^sys_updated_on>={instant(since - OVERLAP)}"
    fields = ("sys_id", "sys_updated_on", "sys_mod_count")
    page = tables.page(PARENT, f"{query}^ORDERBYsys_id", fields, limit=ROWS_MAX, operation="touched")
    if page.has_more or not page.rows or page.total != len(page.rows):
        return None
    return frozenset((row.need("sys_id"), row.need("sys_updated_on"), row.need("sys_mod_count")) for row in page.rows)
