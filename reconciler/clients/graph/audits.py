"""Who did what to one user: directoryAudits, evidence of best effort and never a trigger. Source: graph.md section 5.

The log is short (30 days, 7 in small plans), late, and often cut: what it does not show may have happened all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import field

from desired_state.model import UserId
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.wire import Budget, Wire
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed
from reconciler.model import AuditEvent, AuditTrail

AUDITS = "directory_audits"
PATH = "/auditLogs/directoryAudits"
REQUESTS, WINDOW_S = 5, 10.0  # the log's own allowance (graph.md section 5)
PAGES_MAX = 5


class _Actor(msgspec.Struct, gc=False, rename="camel"):
    id: str | None = None
    display_name: str | None = None
    user_principal_name: str | None = None
    app_id: str | None = None


class _Initiator(msgspec.Struct, gc=False):
    user: _Actor | None = None
    app: _Actor | None = None


class _Property(msgspec.Struct, gc=False, rename="camel"):
    display_name: str | None = None
    old_value: str | None = None
    new_value: str | None = None


class _Target(msgspec.Struct, gc=False, rename="camel"):
    id: str | None = None
    modified_properties: list[_Property] | None = None


class _Row(msgspec.Struct, gc=False, rename="camel"):
    id: str
    activity_date_time: datetime
    activity_display_name: str | None = None
    category: str | None = None
    logged_by_service: str | None = None
    result: str | None = None
    correlation_id: str | None = None
    initiated_by: _Initiator | None = None
    target_resources: list[_Target] | None = None


class _Page(msgspec.Struct, gc=False):
    value: list[_Row]
    next_link: str | None = field(name="@odata.nextLink", default=None)


_PAGE = msgspec.json.Decoder(_Page)


def directory_audits(wire: Wire, user: UserId, since: datetime, budget: Budget) -> AuditTrail:
    """Events that name `user` (a checked object id) as a target, from `since` on, newest first as far as shown.

    Raises:
        Forbidden: the permission AuditLog.Read.All is missing, or the tenant's plan has no log.
        Malformed: a reply that breaks the contract, or one that the filter was not applied to.
    """
    wanted = f"activityDateTime ge {since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    wanted += f" and targetResources/any(t:t/id eq '{user}')"
    wire.clock.sleep(budget.take(1.0))
    answer = wire.get(PATH, params={"$filter": wanted}, operation=AUDITS)
    events: dict[str, AuditEvent] = {}
    for number in range(1, PAGES_MAX + 1):
        try:
            page = _PAGE.decode(answer.body)
        except msgspec.DecodeError as error:
            raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
        for row in page.value:
            if all((t.id or "").lower() != user for t in row.target_resources or ()):
                raise Malformed(SYSTEM, "the filter on the audit log was not applied", request_id=answer.request_id)
            events[row.id] = _event(row, user)
        if page.next_link is None:
            return AuditTrail(tuple(events.values()))
        if number < PAGES_MAX:
            wire.clock.sleep(budget.take(1.0))
            answer = wire.follow(page.next_link, operation=AUDITS, under=PATH)
    return AuditTrail(tuple(events.values()), is_whole=False)


def _event(row: _Row, user: UserId) -> AuditEvent:
    by = row.initiated_by or _Initiator()
    person, app = by.user or _Actor(), by.app or _Actor()
    mine = [t for t in row.target_resources or () if (t.id or "").lower() == user]
    changes = tuple(
        (p.display_name or "", p.old_value or "", p.new_value or "")
        for target in mine
        for p in target.modified_properties or ()
    )
    return AuditEvent(
        id=row.id,
        at=row.activity_date_time,
        activity=row.activity_display_name or "",
        category=row.category or "",
        service=row.logged_by_service or "",
        result=row.result or "",
        user_id=(person.id or "").lower(),
        user_upn=person.user_principal_name or "",
        user_name=person.display_name or "",
        app_id=(app.app_id or "").lower(),
        app_name=app.display_name or "",
        changes=changes,
        correlation_id=row.correlation_id or "",
    )
