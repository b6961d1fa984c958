"""Tickets that changed since a watermark, page by page, none skipped on a live table.

Pages continue from the last row's (sys_updated_on, sys_id), never from an offset, because rows move while one reads.
Each run starts a little before the watermark, as a row can become visible late with an older time stamp; the reader
upserts. A watermark is safe to keep once the page's tickets are stored. Source: servicenow.md sections 4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Protocol

from desired_state.model import Person, Task, Ticket
from reconciler.clients.servicenow import records
from reconciler.clients.servicenow.bulk import CannotWalk, in_bulk
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.hydrate import IDS_MAX, hydrate
from reconciler.clients.servicenow.keys import Span, Watermark, behind
from reconciler.clients.servicenow.queries import among, chunks, instant, is_number, sys_id
from reconciler.clients.servicenow.records import ITEM_TABLE, TASK_TABLE, TICKET_FIELDS, TicketFields
from reconciler.clients.servicenow.tables import Page, Row, Tables
from reconciler.clock import Clock
from reconciler.errors import Malformed

OVERLAP = timedelta(seconds=120)
SETTLING = timedelta(seconds=5)  # rows of these last seconds may still be joined by others of the same second
PAGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class TicketPage:
    """Tickets in the order they changed, the watermark to keep once they are stored, and everybody they mention.

    `named` are the tickets that were asked for by number, on the first page only; `people` are theirs too. Of `kept`
    tickets (sys_ids) the row alone was read.
    """

    tickets: tuple[Ticket, ...]
    watermark: Watermark | None
    people: Mapping[str, Person] = field(default_factory=dict)
    named: tuple[Ticket, ...] = ()
    kept: frozenset[str] = frozenset()


class Copies(Protocol):
    """What is known of tickets, so that what hangs on them need not be read again."""

    def of(self, number: str) -> Ticket | None:
        """The copy of a ticket."""

    def holds(self, copy: Ticket, now: Ticket) -> bool:
        """Whether `now`, the copy with what the ticket's own row says now, is all that reading it would show."""


Also = Callable[[frozenset[str]], tuple[Collection[str], "Copies | None"]]


def changed(
    tables: Tables,
    clock: Clock,
    fields: TicketFields,
    *,
    items: Collection[str],
    watermark: Watermark | None,
    page_size: int,
    numbers: Collection[str] = (),
    copies: Copies | None = None,
    also: Also | None = None,
) -> Iterator[TicketPage]:
    """Pages of tickets of the catalogue items (sys_ids), oldest change first; at least one page, perhaps empty.

    Tickets of these `numbers` come with the first page, and what hangs on them is read together with what hangs on it.
    What hangs on a ticket whose copy holds is not read. `also` is told which numbers the first page has, before
    anything that hangs on them is read, and says both.

    Raises:
        Malformed: the server ignored a part of the query, or the order.
        ValueError: an item is no sys_id, or none was given.
    """
    wanted = frozenset(sys_id(item) for item in items)
    base = among("cat_item", sorted(wanted))
    since = None if watermark is None else watermark.at - OVERLAP
    key: Watermark | None = None
    began_at: datetime | None = None
    mark = watermark
    named, walks = _numbered(tables, numbers) if also is None else [], True
    for _ in range(PAGES_MAX):
        page = _page(tables, f"{base}{_after(key, since)}", page_size)
        served_at = page.served_at or clock.now()
        began_at = began_at or served_at
        if also is not None:
            numbers, copies = also(frozenset(row.text("number") or "" for row in page.rows))
            named, also = _numbered(tables, numbers), None
        until = _settled(served_at)
        kept = _known(page.rows, copies)
        is_news = not kept or len(page.rows) - len(kept) > tables.sizes.few
        if walks and is_news and _is_many(page, tables.sizes.few) and records.updated(page.rows[0]) <= until:
            passed = list(takewhile(partial(_is_kept, kept, until), page.rows))
            if named or passed:
                key = _checked(passed, wanted, since, key)
                mark = _advanced(mark, key, served_at)
                read, known = hydrate(tables, named, fields)
                behind = {row.need("sys_id"): kept[row.need("sys_id")] for row in passed}
                yield TicketPage(tuple(behind.values()), mark, known, _by_number(read), frozenset(behind))
                named = []
            try:
                for rows, ready in in_bulk(tables, Span(tuple(sorted(wanted)), key, since, until), page_size):
                    tickets, known = hydrate(tables, rows, fields, ready)
                    key = Watermark(records.updated(rows[-1]), rows[-1].need("sys_id")) if rows else key
                    mark = _advanced(mark, key, served_at)
                    yield TicketPage(tickets, mark, known)
            except CannotWalk:
                walks = False  # page by page with lists of ids from here on
                continue
            if until >= began_at:
                return
            continue
        key = _checked(page.rows, wanted, since, key)
        mark = _advanced(mark, key, served_at)
        fresh = [row for row in page.rows if row.need("sys_id") not in kept]
        read, known = hydrate(tables, _once([*named, *fresh]), fields)
        by_id = kept | {ticket.sys_id: ticket for ticket in read}
        found = tuple(by_id[row.need("sys_id")] for row in page.rows)
        same = frozenset(kept.keys() - {ticket.sys_id for ticket in read})
        yield TicketPage(found, mark, known, _by_number(by_id[row.need("sys_id")] for row in named), same)
        named = []
        # What changed after we began belongs to the next run; otherwise a busy table would never let us end.
        if not page.has_more or not page.rows or (key and key.at > began_at):
            return
    raise Malformed(SYSTEM, "the list of tickets does not end")


def _checked(
    rows: Iterable[Row], wanted: Collection[str], since: datetime | None, key: Watermark | None
) -> Watermark | None:
    """The place behind these rows, which follow `key` in their order. Raises Malformed when they do not."""
    for row in rows:
        here = Watermark(records.updated(row), row.need("sys_id"))
        if row.need("cat_item") not in wanted or (since and here.at < since) or (key and here <= key):
            raise Malformed(SYSTEM, "a ticket that was not asked for: a part of the query or its order is ignored")
        key = here
    return key


def _is_kept(kept: Collection[str], until: datetime, row: Row) -> bool:
    """Whether the walk may begin behind it: nothing of it has to be read, and it is settled."""
    return row.need("sys_id") in kept and records.updated(row) <= until


def _known(rows: Iterable[Row], copies: Copies | None) -> dict[str, Ticket]:
    """The tickets of which nothing else has to be read, by sys_id."""
    if copies is None:
        return {}
    found: dict[str, Ticket] = {}
    for row in rows:
        copy = copies.of(row.text("number") or "")
        if copy is not None and copy.sys_id == row.need("sys_id"):
            now = records.again(row, copy)
            if copies.holds(copy, now):
                found[copy.sys_id] = now
    return found


def stamps(tables: Tables, *, items: Collection[str], since: Watermark) -> tuple[records.Stamp, ...]:
    """The tickets of the catalogue items that changed since a mark, a little earlier ones included.

    Raises:
        Malformed: the server ignored a part of the query.
    """
    from_at, wanted = since.at - OVERLAP, frozenset(sys_id(item) for item in items)
    rows = tables.rows(
        ITEM_TABLE,
        f"{among('cat_item', sorted(wanted))}^sys_updated_on>={instant(from_at)}",
        ("number", "cat_item", "sys_updated_on", "sys_mod_count"),
        operation="tickets",
        fits=lambda row: row.text("cat_item") in wanted and records.updated(row) >= from_at,
    )
    return tuple(map(records.stamp, rows))


@dataclass(frozen=True, slots=True)
class Moved:
    """Numbers of tickets with a task that changed, and up to when the tasks are known now; None: read them again.

    `tasks` are those that changed, by the number of their ticket.
    """

    numbers: frozenset[str]
    until: Watermark | None
    tasks: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)


def with_changed_tasks(tables: Tables, clock: Clock, *, items: Collection[str], since: Watermark) -> Moved:
    """Tickets of the catalogue items with a task that changed since a mark, a little earlier ones included.

    A change of a task leaves no trace on its ticket: neither who has taken it, nor that it was given back
    (servicenow.md section 6, child tables).

    Raises:
        Malformed: the server ignored a part of the query.
    """
    from_at, counts = since.at - OVERLAP, list[int]()
    rows = list(
        tables.rows(
            TASK_TABLE,
            f"{among('request_item.cat_item', sorted(sys_id(i) for i in items))}^sys_updated_on>={instant(from_at)}",
            ("request_item.number", "sys_updated_on", *records.TASK_FIELDS),
            operation="changed_tasks",
            fits=lambda row: records.updated(row) >= from_at,
            counted=counts.append,
        )
    )
    tasks: dict[str, tuple[Task, ...]] = {}
    for row in rows:
        if number := row.text("request_item.number"):
            tasks[number] = (*tasks.get(number, ()), records.task(row))
    numbers = frozenset(tasks)
    if not rows or len(rows) < max(counts, default=0):  # some are not shown: nothing says that they were read
        return Moved(numbers, None)
    latest = max(Watermark(records.updated(row), row.need("sys_id")) for row in rows)
    return Moved(numbers, _advanced(since, latest, clock.now()), tasks)


def by_number(tables: Tables, fields: TicketFields, numbers: Collection[str]) -> tuple[Ticket, ...]:
    """The tickets of these numbers that are there and visible, by number.

    What has not the form of a record number is left out: a table may number its records as it likes, and such a text
    in a query could ask for other records.
    """
    tickets, _ = hydrate(tables, _numbered(tables, numbers), fields)
    return _by_number(tickets)


def _numbered(tables: Tables, numbers: Collection[str]) -> list[Row]:
    wanted = {one for one in numbers if is_number(one)}
    found: list[Row] = []
    for chunk in chunks(sorted(wanted), IDS_MAX):  # thousands at once make an address that nobody takes
        found += tables.rows(
            ITEM_TABLE,
            among("number", chunk),
            TICKET_FIELDS,
            operation="tickets",
            fits=lambda row: row.text("number") in wanted,
        )
    return found


def _by_number(tickets: Iterable[Ticket]) -> tuple[Ticket, ...]:
    return tuple(sorted(tickets, key=lambda ticket: ticket.number))


def _once(rows: Iterable[Row]) -> list[Row]:
    """Each record once, as it was read last."""
    return list({row.need("sys_id"): row for row in rows}.values())


def _page(tables: Tables, query: str, limit: int) -> Page:
    ordered = f"{query}^ORDERBYsys_updated_on^ORDERBYsys_id"
    page = tables.page(ITEM_TABLE, ordered, TICKET_FIELDS, limit=limit, operation="tickets")
    while not page.rows and page.has_more:
        page = tables.more(page, ITEM_TABLE, operation="tickets")
    return page


def _is_many(page: Page, few: int) -> bool:
    """Whether more than a few tickets are behind the key, as far as the server says."""
    if not page.rows:
        return False
    return page.total > few if page.total is not None else len(page.rows) > min(few, page.limit - 1)


def _after(key: Watermark | None, since: datetime | None) -> str:
    if key is not None:
        return f"^{behind(key)}"
    return "" if since is None else f"^sys_updated_on>={instant(since)}"


def _settled(served_at: datetime) -> datetime:
    """The last second that nobody writes to any more."""
    return (served_at - SETTLING).replace(microsecond=0)


def _advanced(kept: Watermark | None, key: Watermark | None, served_at: datetime) -> Watermark | None:
    """Up to the last row read, never ahead of what can be settled by now, and never backwards."""
    if key is None:
        return kept
    reached = min(key, Watermark(_settled(served_at)))
    return reached if kept is None or reached > kept else kept
