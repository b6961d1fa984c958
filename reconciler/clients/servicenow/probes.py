"""A self test on the real instance, read-only: what may be read, and how queries are treated.

Every finding is a value with a sentence that names what to do. Only a failed sign-in ends the test early, with one
finding that says so. Source: servicenow.md sections 12 and 17.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from reconciler.clients.servicenow import names, records
from reconciler.clients.servicenow.answers import JOURNAL
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import among, equal, instant, sys_id
from reconciler.clients.servicenow.records import ITEM_TABLE, TASK_TABLE, TICKET_FIELDS, USER_TABLE, TicketFields
from reconciler.clients.servicenow.tables import Row, Tables
from reconciler.clock import Clock
from reconciler.errors import Malformed, RemoteError, SignInFailed

OPTIONAL = frozenset({"cat_item.name", "request.requested_for", "recurring_price", "priority"})
# Roles with which every ticket, approval, user or script can be written. The last names are general knowledge.
TOO_MUCH = frozenset({"admin", "security_admin", "catalog_admin", "user_admin", "approval_admin", "impersonator"})
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Probe:
    """One finding. `ok` None: could not be told, mostly because there was nothing to look at."""

    name: str
    ok: bool | None
    sentence: str


def probe(
    tables: Tables, clock: Clock, fields: TicketFields, *, items: Collection[str], group: str, account: str = ""
) -> tuple[Probe, ...]:
    """All findings, in the order in which problems should be mended.

    `items` are sys_ids, `group` is a name, `account` our own user name where we know it.
    """
    test = _Test(tables, clock, fields, among("cat_item", sorted(map(sys_id, items))) if items else "")
    checks: list[tuple[str, Callable[[], Probe]]] = [
        ("tickets", test.tickets),
        ("paging", test.paging),
        ("unknown_fields", test.unknown_fields),
        ("time", test.time),
        ("variables", test.variables),
        ("multi_rows", lambda: test.readable("multi_rows", records.MULTI_ROW, ("parent_id", "value", "row_index"))),
        ("approvals", lambda: test.readable("approvals", "sysapproval_approver", records.APPROVAL_FIELDS)),
        ("tasks", lambda: test.readable("tasks", TASK_TABLE, records.TASK_FIELDS)),
        ("people", lambda: test.readable("people", USER_TABLE, fields.of_users())),
        ("journal", lambda: test.readable("journal", JOURNAL, ("element_id", "element", "value"))),
    ]
    if group:
        checks.append(("group", lambda: test.group(group)))
    if account:
        checks.append(("roles", lambda: test.roles(account)))
    return tuple(_all(checks))


def _all(checks: Sequence[tuple[str, Callable[[], Probe]]]) -> Iterator[Probe]:
    for name, check in checks:
        try:
            yield check()
        except SignInFailed as error:
            yield Probe("sign_in", False, str(error))
            return
        except (RemoteError, ValueError) as error:
            yield Probe(name, False, str(error))


class _Count(msgspec.Struct):
    count: str = ""


class _Stats(msgspec.Struct):
    stats: _Count


class _Result(msgspec.Struct):
    result: _Stats


class _Test:
    def __init__(self, tables: Tables, clock: Clock, fields: TicketFields, base: str) -> None:
        self._tables, self._clock, self._fields, self._base = tables, clock, fields, base

    def _rows(self, query: str, limit: int, fields: Sequence[str] = TICKET_FIELDS) -> tuple[Row, ...]:
        full = "^".join(part for part in (self._base, query, "ORDERBYsys_updated_on^ORDERBYsys_id") if part)
        return self._tables.page(ITEM_TABLE, full, fields, limit=limit, operation="probe").rows

    def tickets(self) -> Probe:
        rows = self._rows("", 1)
        if not rows:
            return Probe("tickets", None, "No ticket of the configured items is visible: nothing to test.")
        hidden = sorted(set(TICKET_FIELDS) - rows[0].names() - OPTIONAL)
        if hidden:
            return Probe("tickets", False, f"These fields of {ITEM_TABLE} are not shown to us: {', '.join(hidden)}.")
        return Probe("tickets", True, "Tickets and all their fields can be read.")

    def paging(self) -> Probe:
        """The keyset condition is inferred from the grammar: two pages by key have to equal one page of twice."""
        both = self._rows("", 4)
        if len(both) < 4:
            return Probe("paging", None, "Fewer than four tickets are visible: paging by key was not tested.")
        at, last = records.updated(both[1]), both[1].need("sys_id")
        after = f"sys_updated_on>={instant(at)}^sys_updated_on>{instant(at)}^ORsys_id>{last}"
        second = [row.need("sys_id") for row in self._rows(after, 2)]
        if second != [row.need("sys_id") for row in both[2:]]:
            return Probe(
                "paging",
                False,
                "Paging by key does not continue where it left off. Check query ACLs (query_range) on sys_updated_on "
                "and sys_id.",
            )
        return Probe("paging", True, "Paging by key loses nothing.")

    def unknown_fields(self) -> Probe:
        rows = self._rows("m365r_no_such_field=1", 1)
        if rows:
            said = "The instance ignores query parts that it does not know; we check every row, so this is safe."
            return Probe("unknown_fields", True, said)
        return Probe("unknown_fields", True, "A query with an unknown field returns nothing.")

    def roles(self, account: str) -> Probe:
        """Roles that write more than tickets. Which table says so is from ServiceNow's own data model; the contract
        does not have it, and an instance that does not show it is asked by hand."""
        by_hand = f"check by hand that {account} holds none of {', '.join(sorted(TOO_MUCH))}"
        try:
            rows = self._tables.page(
                "sys_user_has_role", equal("user.user_name", account), ("role.name",), limit=200, operation="probe"
            ).rows
        except SignInFailed:
            raise
        except RemoteError:
            rows = ()
        held = {name for row in rows if (name := row.text("role.name"))}
        if not held:
            return Probe("roles", None, f"Which roles our account holds is not shown to it: {by_hand}.")
        more = sorted(held & TOO_MUCH)
        if more:
            what = "it could write far more than tickets; take them away"
            return Probe("roles", None, f"{account} holds {', '.join(more)}: {what}.")
        return Probe("roles", True, f"{account} holds {', '.join(sorted(held))}, and no role that writes much more.")

    def time(self) -> Probe:
        """Counts and rows of the last day have to agree, or a time literal is read in another zone."""
        since = self._clock.now() - DAY
        query = "^".join(part for part in (self._base, f"sys_updated_on>={instant(since)}") if part)
        params = {"sysparm_count": "true", "sysparm_query": query}
        answer = self._tables.wire.get(f"/api/now/stats/{ITEM_TABLE}", params=params, operation="probe")
        try:
            count = int(msgspec.json.decode(answer.body, type=_Result).result.stats.count)
        except (msgspec.DecodeError, ValueError):
            raise Malformed(SYSTEM, "a count that is none", request_id=answer.request_id) from None
        rows = self._rows(f"sys_updated_on>={instant(since)}", 1)
        if any(records.updated(row) < since.replace(microsecond=0) for row in rows):
            return Probe(
                "time", False, "Times in queries are not read as UTC: give the integration user time zone GMT."
            )
        if count and not rows:
            return Probe("time", None, f"{count} tickets changed within a day, but the oldest is hidden from us.")
        return Probe("time", True, f"Times are read as UTC; {count} tickets changed within a day.")

    def variables(self) -> Probe:
        newest = "^".join(part for part in (self._base, "ORDERBYDESCsys_updated_on") if part)
        found = self._tables.page(ITEM_TABLE, newest, ("number",), limit=20, operation="probe").rows
        if not found:
            return Probe("variables", None, "No ticket of the configured items is visible.")
        query = f"{among('request_item', [row.need('sys_id') for row in found])}^ORDERBYsys_id"
        fields = records.VARIABLE_FIELDS
        rows = self._tables.page("sc_item_option_mtom", query, fields, limit=100, operation="probe").rows
        if not rows or records.variables(rows).named is None:
            return Probe(
                "variables",
                False,
                "What tickets ask for cannot be read. Grant the integration user read on sc_item_option_mtom, "
                "sc_item_option and item_option_new; until then every ticket is held.",
            )
        return Probe("variables", True, "What tickets ask for can be read.")

    def readable(self, name: str, table: str, fields: Sequence[str]) -> Probe:
        page = self._tables.page(table, "ORDERBYsys_id", fields, limit=5, operation="probe")
        if not page.rows:
            if page.total:
                return Probe(name, False, f"{table} has rows, but none is visible: grant read on it.")
            return Probe(name, None, f"{table} shows no row: either it is empty or it is hidden from us.")
        shown = frozenset().union(*(row.names() for row in page.rows))
        hidden = sorted(set(fields) - shown)
        if hidden:
            return Probe(name, False, f"These fields of {table} are not shown to us: {', '.join(hidden)}.")
        return Probe(name, True, f"{table} can be read.")

    def group(self, name: str) -> Probe:
        found = names.group(self._tables, name)
        if found is None:
            return Probe("group", False, f"There is no visible group called {name!r} to hand tickets to.")
        return Probe("group", True, f"The group {name!r} is there.")
