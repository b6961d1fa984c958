"""Many tickets and what hangs on them, in as many requests as their rows fill pages.

Variables and tasks are read ahead in the order of their tickets (`linked`), then the tickets themselves, up to where
both are complete. A ticket that is still in its place when it is read has not changed since before its rows were read:
they belong together. One that moved meanwhile is not among the tickets and its rows are dropped; it comes again later,
behind everything that was read here. So nothing has to be asked for twice, and what is held in memory is bounded by
pages, whatever the size of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.clients.servicenow import records
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.keys import Span, Watermark, ahead, behind
from reconciler.clients.servicenow.linked import Linked
from reconciler.clients.servicenow.queries import among, instant
from reconciler.clients.servicenow.records import ITEM_TABLE, TASK_TABLE, TICKET_FIELDS
from reconciler.clients.servicenow.tables import Page, Row, Tables
from reconciler.errors import Forbidden, Malformed, NotFound, Rejected, RemoteError, TooMuch

OPTION_TABLE = "sc_item_option_mtom"


class CannotWalk(Exception):
    """The instance does not list rows in the order of their tickets: lists of ids have to do. `why` is its error."""

    def __init__(self, why: RemoteError) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True, slots=True)
class Ready:
    """Rows that were read ahead for some tickets. Of `unsure` tickets (sys_ids) a task may be hidden from us, of
    `unsure_forms` a row of their form.

    `tasks` is None where none came in the order of their tickets although there are some: they have to be asked for.
    """

    options: Sequence[Row]
    tasks: Sequence[Row] | None
    unsure: frozenset[str]
    unsure_forms: frozenset[str] = frozenset()


def in_bulk(tables: Tables, span: Span, page_size: int) -> Iterator[tuple[tuple[Row, ...], Ready]]:
    """Tickets of the span, oldest change first, page by page, with their rows.

    Raises:
        CannotWalk: before a page, when rows cannot be had in the order of their tickets.
        Malformed: the server ignored a part of the query for tickets, or the order.
    """
    options = Linked(tables, OPTION_TABLE, "request_item", records.VARIABLE_FIELDS, span, "variables")
    tasks = Linked(tables, TASK_TABLE, "request_item", records.TASK_FIELDS, span, "tasks")
    key, may_lack_tasks = span.after, None
    while True:
        bound = _read_ahead((options, tasks), page_size)
        page = _page(tables, span, key, bound, page_size)
        for row in page.rows:
            here = Watermark(records.updated(row), row.need("sys_id"))
            is_ours = span.holds(here) and (key is None or here > key) and (bound is None or here < bound)
            if not is_ours or row.need("cat_item") not in span.items:
                raise Malformed(SYSTEM, "a ticket that was not asked for: a part of the query or its order is ignored")
            key = here
        is_cut = page.has_more and bool(page.rows)
        through, before = (key, None) if is_cut else (None, bound)
        unsure, unsure_forms = _unsure(tasks, page), _unsure(options, page)
        if may_lack_tasks is None:
            may_lack_tasks = tasks.is_done and tasks.reached is None and _has_any(tables, span)
        shown = tasks.take(through=through, before=before)
        answers = options.take(through=through, before=before)
        yield page.rows, Ready(answers, None if may_lack_tasks else shown, unsure, unsure_forms)
        if bound is None and not is_cut:
            return


def _unsure(stream: Linked, page: Page) -> frozenset[str]:
    """Tickets (sys_ids) of which a row may be hidden."""
    keys = (Watermark(records.updated(row), row.need("sys_id")) for row in page.rows)
    return frozenset(key.sys_id for key in keys if stream.may_hide(key))


def _read_ahead(streams: Sequence[Linked], page_size: int) -> Watermark | None:
    """Read until the rows of a page of tickets are complete; the first ticket for which they may not be, or None.

    The table that is furthest behind is read next: what is ahead of it waits in memory, a page of each other table.
    """
    while True:
        open_ = [stream for stream in streams if not stream.is_done]
        if not open_:
            return None
        slowest = min(open_, key=_reached)
        if slowest.reached is not None and slowest.tickets > page_size:
            return slowest.reached
        try:
            slowest.read()
        except (Malformed, Rejected, Forbidden, NotFound, TooMuch) as error:
            raise CannotWalk(error) from error


def _has_any(tables: Tables, span: Span) -> bool:
    """Whether there are tasks of these items at all. A column that may not be sorted by makes a list empty, without a
    word (servicenow.md section 2, query ACLs)."""
    query = among("request_item.cat_item", span.items)
    page = tables.page(TASK_TABLE, query, ("number",), limit=1, operation="tasks")
    return bool(page.rows or page.total)


def _reached(stream: Linked) -> tuple[bool, Watermark | None]:
    return (stream.reached is not None, stream.reached)


def _page(tables: Tables, span: Span, key: Watermark | None, bound: Watermark | None, limit: int) -> Page:
    parts = [among("cat_item", span.items)]
    if key is not None:
        parts.append(behind(key))
    elif span.since is not None:
        parts.append(f"sys_updated_on>={instant(span.since)}")
    parts.append(f"sys_updated_on<={instant(span.until)}" if bound is None else ahead(bound))
    parts += ["ORDERBYsys_updated_on", "ORDERBYsys_id"]
    page = tables.page(ITEM_TABLE, "^".join(parts), TICKET_FIELDS, limit=limit, operation="tickets")
    while not page.rows and page.has_more:
        page = tables.more(page, ITEM_TABLE, operation="tickets")
    return page
