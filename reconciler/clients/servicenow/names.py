"""From names that people configure to the one record they mean. A name that means two records is an error.

Names are compared exactly; the server compares in any case (servicenow.md section 2), so what it returns beside the
exact one is dropped, and what is not even similar means that the query was ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from desired_state.model import Person
from reconciler.clients.servicenow import records
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import any_of, chunks, equal
from reconciler.clients.servicenow.records import USER_TABLE, TicketFields
from reconciler.clients.servicenow.tables import Page, Row, Tables
from reconciler.errors import Rejected, RemoteError, Unavailable

NAMES_MAX = 20  # of one query
USERS_MAX = 5 * NAMES_MAX  # rows of one page; more than the names can have


def items(tables: Tables, names: Collection[str]) -> dict[str, str | Rejected]:
    """sys_id of the active catalogue item of each name; names that nothing carries are left out."""
    return _by_name(tables, "sc_cat_item", names, "items")


def group(tables: Tables, name: str) -> str | None:
    """sys_id of the active group of that name, None when there is none. Raises Rejected when it means several."""
    found = _by_name(tables, "sys_user_group", [name], "group").get(name)
    if isinstance(found, Rejected):
        raise found
    return found


def person_by(tables: Tables, fields: TicketFields, *, email: str | None, user_name: str | None) -> Person | None:
    """The one person of an address or user name, active ones first. Raises Rejected when it means several."""
    if (email is None) == (user_name is None):
        raise ValueError("give either an email or a user name")
    column, value = ("email", email) if email is not None else ("user_name", user_name)
    assert value is not None
    rows = tables.rows(
        USER_TABLE,
        equal(column, value),
        fields.of_users(),
        operation="person_by",
        fits=lambda row: (row.text(column) or "").lower() == value.lower(),
    )
    found = [records.person(row, fields) for row in rows]
    meant = [one for one in found if one.is_active] or found
    if len(meant) > 1:
        raise _ambiguous(value, len(meant), "people")
    return meant[0] if meant else None


def people_named(tables: Tables, fields: TicketFields, names: Collection[str]) -> dict[str, Person | RemoteError]:
    """Who has each of these user names, exactly as written; names that nobody has are left out.

    Rejected (code "ambiguous") for a name of several, Unavailable for a name whose owner is there and not shown. One
    request for each `NAMES_MAX` names; where some are hidden, one more for each name that was not found.
    """
    found: dict[str, Person | RemoteError] = {}
    for chunk in chunks(sorted(set(names)), NAMES_MAX):
        page = _users(tables, fields, chunk)
        shown: dict[str, list[Person]] = {}
        for row in page.rows:
            shown.setdefault(row.text("user_name") or "", []).append(records.person(row, fields))
        for name in chunk:
            people = shown.get(name, [])
            meant = [one for one in people if one.is_active] or people
            if len(meant) == 1:
                found[name] = meant[0]
            elif meant:
                found[name] = _ambiguous(name, len(meant), "people")
            elif not _is_whole(page) and not _is_whole(_users(tables, fields, [name])):
                found[name] = Unavailable(SYSTEM, f"somebody called {name!r} exists and is not shown to us")
    return found


def _users(tables: Tables, fields: TicketFields, names: Sequence[str]) -> Page:
    """One page is all there can be: a user name is one person's.

    Another name among the rows is no error: what a requester typed may be equal to it to a database that knows no
    accents, and must not end a cycle. Only the exact name counts.
    """
    query = any_of("user_name", names)
    return tables.page(USER_TABLE, query, fields.of_users(), limit=USERS_MAX, operation="people_named")


def _is_whole(page: Page) -> bool:
    """Whether everybody who was asked for is shown, with the name: X-Total-Count is taken before rows are hidden."""
    is_named = all(row.text("user_name") is not None for row in page.rows)
    return is_named and not page.has_more and (page.total or 0) <= len(page.rows)


def _by_name(tables: Tables, table: str, names: Collection[str], operation: str) -> dict[str, str | Rejected]:
    found: dict[str, list[Row]] = {}
    for chunk in chunks(sorted(set(names)), NAMES_MAX):
        for row in _named(tables, table, chunk, operation):
            found.setdefault(row.need("name"), []).append(row)
    _none_is_hidden(tables, table, sorted(set(names) - found.keys()), operation)
    meant: dict[str, str | Rejected] = {}
    for name in sorted(set(names) & found.keys()):
        # An inactive record is no competition to an active one; where nobody says, it counts as active.
        active = [row for row in found[name] if row.flag("active") is not False]
        if len(active) > 1:
            meant[name] = _ambiguous(name, len(active), "records")
        elif active:
            meant[name] = active[0].need("sys_id")
    return meant


def _none_is_hidden(tables: Tables, table: str, missing: Sequence[str], operation: str) -> None:
    """Absent is not empty: what is counted and not shown exists, and somebody hides it from us.

    X-Total-Count is taken before rows are hidden (servicenow.md section 4).
    """
    for name in missing:
        page = tables.page(table, equal("name", name), ("name",), limit=1, operation=operation)
        texts = [row.text("name") or "" for row in page.rows]
        is_other = bool(texts) and all(t != name and t.lower() == name.lower() for t in texts)
        if page.total and not is_other:  # the same name in other letters is really another one
            raise Unavailable(SYSTEM, f"a record named {name!r} in {table} exists and is not shown to us")


def _named(tables: Tables, table: str, names: Sequence[str], operation: str) -> list[Row]:
    similar = {name.lower() for name in names}
    return list(
        tables.rows(
            table,
            any_of("name", names),
            ("name", "active"),
            operation=operation,
            fits=lambda row: (row.text("name") or "").lower() in similar,
        )
    )


def _ambiguous(name: str, count: int, what: str) -> Rejected:
    return Rejected(SYSTEM, status=200, code="ambiguous", detail=f"{count} {what} are called {name!r}")
