"""Which of the tickets that go first changed since a mark, in one request: a hint whom to read, and nothing else.

`priority` is a column of `task`, which requested items inherit; its values are numbers that an instance may add to.
The server drops a condition on a field that it does not know, so each row is judged again here, and one whose priority
is not shown is not urgent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from reconciler.clients.servicenow.hydrate import IDS_MAX
from reconciler.clients.servicenow.queries import among, chunks, instant, is_number, sys_id
from reconciler.clients.servicenow.reading import OVERLAP
from reconciler.clients.servicenow.records import ITEM_TABLE, Stamp, stamp, updated
from reconciler.clients.servicenow.tables import Tables

ROWS_MAX = 100  # the others come with the next question, which begins where this one ended
FIELDS = ("sys_id", "number", "cat_item", "priority", "sys_updated_on", "sys_mod_count")


def urgent(
    tables: Tables, *, items: Collection[str], since: datetime, priorities: Collection[str], numbers: Collection[str]
) -> tuple[Stamp, ...]:
    """Tickets of these catalogue items (sys_ids) that changed since then, a little earlier ones included, and have one
    of these priorities or numbers; oldest change first, at most ROWS_MAX for each list of numbers.

    Raises:
        Malformed: a telling field is hidden.
        ValueError: an item is no sys_id.
    """
    wanted, named = frozenset(sys_id(item) for item in items), sorted(filter(is_number, numbers))
    if not wanted or not (priorities or named):
        return ()
    found: dict[str, Stamp] = {}
    until: datetime | None = None  # as far as every list was served
    parts: Sequence[Sequence[str]] = list(chunks(named, IDS_MAX)) or [()]
    for part in parts:
        either = [among("priority", sorted(priorities))] if priorities else []
        either += [among("number", part)] if part else []
        about = f"{among('cat_item', sorted(wanted))}^sys_updated_on>={instant(since - OVERLAP)}"
        query = f"{about}^{'^OR'.join(either)}^ORDERBYsys_updated_on^ORDERBYsys_id"
        page = tables.page(ITEM_TABLE, query, FIELDS, limit=ROWS_MAX, operation="urgent")
        for row in page.rows:
            number = row.need("number")
            if row.need("cat_item") in wanted and ((row.text("priority") or "") in priorities or number in named):
                found[number] = stamp(row)
        if page.has_more and page.rows:
            until = min(until or updated(page.rows[-1]), updated(page.rows[-1]))
    served = (one for one in found.values() if until is None or one.updated_at <= until)
    return tuple(sorted(served, key=lambda one: (one.updated_at, one.number)))
