"""Who was asked to approve in ServiceNow, what became of it, and by whom. Reads only; judging is `approvals.native`.

Names of columns: servicenow.md section 7 and 9; sys_user_delegate and sys_audit as the base platform has them. The
history may be closed to the integration user: then it is None, which is not the same as "nothing happened".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.clients.servicenow.hydrate import IDS_MAX
from reconciler.clients.servicenow.queries import among, chunks, instant, is_sys_id
from reconciler.clients.servicenow.records import USER_TABLE
from reconciler.clients.servicenow.tables import Row, Tables
from reconciler.errors import Forbidden, NotFound, Rejected

APPROVER_TABLE, HISTORY, DELEGATES, EVENTS = "sysapproval_approver", "sys_audit", "sys_user_delegate", "sysevent"
_ASKED = (
    *("state", "approver", "approver.user_name", "sysapproval", "document_id", "comments", "due_date"),
    *("sys_updated_on", "sys_updated_by"),
)
_CHANGE = ("documentkey", "tablename", "fieldname", "oldvalue", "newvalue", "user", "sys_created_on")
_EVENT = ("name", "parm1", "parm2", "sys_created_on")
_STANDS_IN = ("user", "delegate", "starts", "ends", "approvals")


@dataclass(frozen=True, slots=True)
class Asked:
    """One approver's row. None is "not shown"."""

    sys_id: str
    subjects: frozenset[str]
    approver: str
    approver_user: str | None
    state: str
    comment: str
    touched_at: datetime | None
    touched_by: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a row's state by the history: to what, when, by which user name."""

    row: str
    to: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StandsIn:
    """`delegate` may approve for `user` (sys_ids) from one instant until another."""

    user: str
    delegate: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Impersonation:
    """`by` acted in the name of `name` (user names, the second in lower case) from one instant until another."""

    by: str
    name: str
    starts_at: datetime
    ends_at: datetime | None


def asked(tables: Tables, subjects: Collection[str]) -> tuple[Asked, ...]:
    """Every approver's row about these records, whichever of its two links names them."""
    wanted = sorted({one for one in subjects if is_sys_id(one)})
    found: dict[str, Asked] = {}
    for chunk in chunks(wanted, IDS_MAX):
        query = "^OR".join(among(link, chunk) for link in ("sysapproval", "document_id"))
        ids = set(chunk)

        def fits(row: Row, ids: set[str] = ids) -> bool:
            return row.text("sysapproval") in ids or row.text("document_id") in ids

        for row in tables.rows(APPROVER_TABLE, query, _ASKED, operation="asked", fits=fits):
            found[row.need("sys_id")] = Asked(
                sys_id=row.need("sys_id"),
                subjects=frozenset(s for s in (row.text("sysapproval"), row.text("document_id")) if s),
                approver=row.text("approver") or "",
                approver_user=row.text("approver.user_name"),
                state=row.text("state") or "",
                comment=row.text("comments") or row.shown("comments"),
                touched_at=row.instant("sys_updated_on"),
                touched_by=row.text("sys_updated_by"),
            )
    return tuple(found[key] for key in sorted(found))


def _all(
    tables: Tables, table: str, query: str, fields: Sequence[str], operation: str, fits: Callable[[Row], bool]
) -> list[Row] | None:
    """Every row that matches, None where some are there and hidden from us: a closed table looks like an empty one."""
    totals: list[int] = []
    found = list(tables.rows(table, query, fields, operation=operation, fits=fits, counted=totals.append))
    return None if sum(totals) > len(found) else found


def changes(tables: Tables, rows: Collection[str]) -> dict[str, tuple[Change, ...]] | None:
    """The changes of these rows' state, oldest first; None where the history is closed to us."""
    found: dict[str, list[Change]] = defaultdict(list)
    try:
        for chunk in chunks(sorted(rows), IDS_MAX):
            query = f"tablename={APPROVER_TABLE}^fieldname=state^{among('documentkey', chunk)}"
            ids = set(chunk)

            def fits(row: Row, ids: set[str] = ids) -> bool:
                return row.text("documentkey") in ids and row.text("fieldname") == "state"

            shown = _all(tables, HISTORY, query, _CHANGE, "approval_history", fits)
            if shown is None:
                return None
            for row in shown:
                at = row.instant("sys_created_on")
                if at is not None:
                    change = Change(row.need("documentkey"), row.text("newvalue") or "", row.text("user") or "", at)
                    found[change.row].append(change)
    except (Forbidden, NotFound, Rejected):
        return None
    return {row: tuple(sorted(made, key=lambda c: c.at)) for row, made in found.items()}


def impersonations(tables: Tables, names: Collection[str], since: datetime) -> tuple[Impersonation, ...] | None:
    """When somebody acted in the name of these users (user names); None where the events are closed to us.

    One that has not ended yet ends never. The names of event and parameters are unconfirmed for real instances.
    """
    wanted = sorted({name for name in names if name})
    opened: list[tuple[str, str, datetime]] = []
    closed: list[tuple[str, str, datetime]] = []
    try:
        for chunk in chunks(wanted, IDS_MAX):
            query = f"nameSTARTSWITHimpersonation.^{among('parm2', chunk)}^sys_created_on>={instant(since)}"
            known = {name.lower() for name in chunk}

            def fits(row: Row, known: set[str] = known) -> bool:
                return (row.text("parm2") or "").lower() in known

            rows = _all(tables, EVENTS, query, _EVENT, "impersonations", fits)
            if rows is None:
                return None
            for row in rows:
                at = row.instant("sys_created_on")
                if at is None:
                    continue
                one = (row.text("parm1") or "", (row.text("parm2") or "").lower(), at)
                (opened if (row.text("name") or "").endswith("start") else closed).append(one)
    except (Forbidden, NotFound, Rejected):
        return None
    found = []
    for by, name, at in sorted(opened, key=lambda o: o[2]):
        ends = min((end for who, whom, end in closed if (who, whom) == (by, name) and end >= at), default=None)
        found.append(Impersonation(by, name, at, ends))
    return tuple(found)


def delegates(tables: Tables, users: Collection[str]) -> tuple[StandsIn, ...]:
    """Who may approve for these people (sys_ids); nobody where the table is closed to us."""
    found: list[StandsIn] = []
    try:
        for chunk in chunks(sorted({u for u in users if is_sys_id(u)}), IDS_MAX):
            ids = set(chunk)

            def fits(row: Row, ids: set[str] = ids) -> bool:
                return row.text("user") in ids

            for row in tables.rows(DELEGATES, among("user", chunk), _STANDS_IN, operation="delegates", fits=fits):
                starts_at, ends_at = row.instant("starts"), row.instant("ends")
                is_whole = starts_at is not None and ends_at is not None and row.text("delegate")
                if is_whole and row.flag("approvals") is True:
                    assert starts_at is not None
                    assert ends_at is not None
                    found.append(StandsIn(row.need("user"), row.need("delegate"), starts_at, ends_at))
    except (Forbidden, NotFound, Rejected):
        return ()
    return tuple(found)


def cost_center_owner(tables: Tables, person: str) -> str | None:
    """sys_id of the manager of the cost centre that a person (sys_id) belongs to; "" for none, None for not shown."""
    row = tables.one(USER_TABLE, person, ("cost_center", "cost_center.manager"), operation="cost_center_owner")
    if row.text("cost_center") == "":
        return ""
    return row.text("cost_center.manager")
