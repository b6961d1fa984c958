"""Everything that hangs on a page of tickets, read in bulk: a page costs the same few requests for 1 or 100 tickets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from desired_state.model import Person, Task, Ticket
from reconciler.clients.servicenow import records
from reconciler.clients.servicenow.bulk import OPTION_TABLE, CannotWalk, Ready
from reconciler.clients.servicenow.counts import hidden_rows
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import among, chunks, is_sys_id
from reconciler.clients.servicenow.records import TASK_TABLE, USER_TABLE, TicketFields
from reconciler.clients.servicenow.tables import Row, Tables
from reconciler.errors import Malformed

IDS_MAX = 200  # ids in one address: 7,000 characters, below what instances and gateways take (servicenow.md section 2)


def people(tables: Tables, sys_ids: Collection[str], fields: TicketFields) -> dict[str, Person]:
    """People by sys_id. Who is not in the result is not there or not visible; what is no sys_id is left out."""
    found: dict[str, Person] = {}
    for row in _linked(tables, USER_TABLE, ("sys_id",), sys_ids, fields.of_users(), "people"):
        found[row.need("sys_id")] = records.person(row, fields)
    return found


def tasks(tables: Tables, sys_ids: Collection[str]) -> dict[str, Task]:
    """Catalogue tasks by sys_id. Which is not in the result is not there or not visible."""
    rows = _linked(tables, TASK_TABLE, ("sys_id",), sys_ids, records.TASK_FIELDS, "tasks")
    return {row.need("sys_id"): records.task(row) for row in rows}


def hydrate(
    tables: Tables, rows: Sequence[Row], fields: TicketFields, ready: Ready | None = None
) -> tuple[tuple[Ticket, ...], dict[str, Person]]:
    """The rows as tickets, and everybody they mention, by sys_id. What is `ready` is not asked for again."""
    items = [row.need("sys_id") for row in rows]
    subjects = [*items, *(row.text("request") or "" for row in rows)]
    options, hidden = _options(tables, items, ready)
    cells, hidden_cells = _counted(tables, records.MULTI_ROW, "parent_id", items, records.CELL_FIELDS, "multi_rows")
    shown, unread = _tasks_of(tables, items, ready)
    by_item = _grouped(shown, "request_item")
    asked = _approvals(tables, subjects)
    read = {item: records.variables(options.get(item, ())) for item in items}
    read = {item: replace(said, hidden=said.hidden + hidden.get(item, 0)) for item, said in read.items()}
    lines = {item: records.multi_rows(cells.get(item, ())) for item in items}
    known = people(tables, _mentioned(rows, read, lines.values()), fields)
    return tuple(
        records.ticket(
            row,
            people=known,
            read=read[item],
            rows=None if item in unread else lines[item][0],
            approvals=tuple(records.approval(a) for a in _of(asked, item, row.text("request") or "")),
            tasks=tuple(records.task(t) for t in sorted(by_item.get(item, ()), key=_created)),
            hidden_cells=hidden_cells.get(item, 0),
        )
        for item, row in zip(items, rows, strict=True)
    ), known


def _options(tables: Tables, items: Sequence[str], ready: Ready | None) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """Rows of forms by ticket, and how many of each are hidden. Tickets that seem to have none are asked about by
    their ids, and of those of which some may be hidden the rows are counted.

    Raises CannotWalk where that shows rows and walking showed none at all: a column that may not be sorted by makes a
    list empty, without a word (servicenow.md section 2, query ACLs).
    """
    found = _grouped(ready.options, "request_item") if ready is not None else {}
    missing = [item for item in items if item not in found]
    asked, hidden = _counted(tables, OPTION_TABLE, "request_item", missing, records.VARIABLE_FIELDS, "variables")
    if asked and ready is not None and not found:
        raise CannotWalk(Malformed(SYSTEM, "the rows of forms are there and not shown in the order of their tickets"))
    unsure = [item for item in items if ready is not None and item in ready.unsure_forms and item in found]
    return found | asked, hidden | _hidden(tables, OPTION_TABLE, "request_item", unsure, found, "variables")


def _counted(
    tables: Tables, table: str, link: str, items: Sequence[str], fields: Sequence[str], operation: str
) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """The rows that point at the tickets, by ticket, and how many more of each are there and not shown (I4)."""
    totals: list[int] = []
    rows = _linked(tables, table, (link,), items, fields, operation, counted=totals.append)
    found = _grouped(rows, link)
    return found, _hidden(tables, table, link, items, found, operation) if sum(totals) > len(rows) else {}


def _hidden(
    tables: Tables, table: str, link: str, items: Sequence[str], shown: Mapping[str, Sequence[Row]], operation: str
) -> dict[str, int]:
    """How many rows of which tickets are there and not shown, by the instance's own count."""
    found: dict[str, int] = {}
    for chunk in chunks(sorted({one for one in items if is_sys_id(one)}), IDS_MAX):
        theirs = {item: len(shown.get(item, ())) for item in chunk}
        found |= hidden_rows(tables, table, link, theirs, operation=operation)
    return found


def _tasks_of(tables: Tables, items: Sequence[str], ready: Ready | None) -> tuple[list[Row], frozenset[str]]:
    """As `_tasks`, from rows that were read ahead: only where some may be hidden is it asked ticket by ticket."""
    if ready is None or ready.tasks is None:
        return _tasks(tables, items)
    unsure = [item for item in items if item in ready.unsure]
    if not unsure:
        return list(ready.tasks), frozenset()
    shown, unread = _tasks(tables, unsure)
    return [row for row in ready.tasks if row.text("request_item") not in ready.unsure] + shown, unread


def _tasks(tables: Tables, items: Sequence[str]) -> tuple[list[Row], frozenset[str]]:
    """The tasks that are shown, and the tickets of which some are not: nobody may guess what those say (I4)."""
    totals: list[int] = []
    rows = list(
        _linked(tables, TASK_TABLE, ("request_item",), items, records.TASK_FIELDS, "tasks", counted=totals.append)
    )
    if sum(totals) <= len(rows):
        return rows, frozenset()
    shown = _grouped(rows, "request_item")
    unread = set()
    for item in items:
        counts: list[int] = []
        again = list(
            _linked(tables, TASK_TABLE, ("request_item",), [item], records.TASK_FIELDS, "tasks", counted=counts.append)
        )
        if max(len(again), len(shown.get(item, ()))) < max(counts, default=0):
            unread.add(item)
        elif len(again) > len(shown.get(item, ())):
            rows = [r for r in rows if r.text("request_item") != item] + again
    return rows, frozenset(unread)


def _mentioned(
    rows: Sequence[Row],
    read: dict[str, records.Variables],
    lines: Iterable[tuple[object, frozenset[str]]],
) -> set[str]:
    wanted = {records.requested_for(row) for row in rows}
    wanted.update(row.text(name) or "" for row in rows for name in ("opened_by", "closed_by"))
    for variables in read.values():
        wanted |= variables.people
    for _, named in lines:
        wanted |= named
    return wanted


def _approvals(tables: Tables, subjects: Collection[str]) -> dict[str, list[Row]]:
    """Approver rows by the record they are about. Some flows fill only document_id (servicenow.md section 9)."""
    found: dict[str, list[Row]] = defaultdict(list)
    fields = ("sysapproval", "document_id")
    for row in _linked(tables, "sysapproval_approver", fields, subjects, records.APPROVAL_FIELDS, "approvals"):
        for subject in {row.text("sysapproval"), row.text("document_id")} - {None, ""}:
            found[str(subject)].append(row)
    return found


def _of(asked: dict[str, list[Row]], *subjects: str) -> list[Row]:
    unique = {row.need("sys_id"): row for subject in subjects if subject for row in asked.get(subject, ())}
    return sorted(unique.values(), key=_created)


def _created(row: Row) -> tuple[str, str]:
    return row.text("sys_created_on") or "", row.need("sys_id")


def _linked(
    tables: Tables,
    table: str,
    links: Sequence[str],
    ids: Iterable[str],
    fields: Sequence[str],
    operation: str,
    *,
    counted: Callable[[int], None] | None = None,
) -> list[Row]:
    """Rows of `table` that point with any of `links` at one of `ids`."""
    wanted = sorted({one for one in ids if is_sys_id(one)})
    found: list[Row] = []
    for chunk in chunks(wanted, IDS_MAX // len(links)):
        query = "^OR".join(among(link, chunk) for link in links)
        fits = _points(links, set(chunk))
        found.extend(tables.rows(table, query, fields, operation=operation, fits=fits, counted=counted))
    return found


def _points(links: Sequence[str], ids: set[str]) -> Callable[[Row], bool]:
    return lambda row: any(row.text(link) in ids for link in links)


def _grouped(rows: Iterable[Row], link: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.need(link)].append(row)
    return groups
