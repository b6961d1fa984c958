"""Stops that people throw: the kill switch, and freezes of one lane or of everything for a while.

Throwing and lifting one is told in the audit log in the same transaction, with who and why. A stop that was thrown for
`EVERYONE` holds for each tenant. Planned freezes name their instants and need nobody to lift them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlmodel import Session

from desired_state.rows import table_of
from reconciler.store import directories, journal
from reconciler.store.rows.guards import SwitchRow
from reconciler.store.tables import EVERYONE

KILL = "kill-switch"
EVERYTHING = "*"
_TABLE = table_of(SwitchRow)
_ON = select(_TABLE).where(_TABLE.c.tenant.in_(bindparam("tenants", expanding=True)), _TABLE.c.is_on.is_(True))


class SwitchKind(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Switch:
    """One stop. `scope` is a lane or EVERYTHING; without instants it holds until it is lifted."""

    tenant: str
    name: str
    kind: SwitchKind
    scope: str
    is_on: bool
    reason: str
    by: str
    changed_at: datetime
    from_at: datetime | None = None
    until_at: datetime | None = None

    def stops(self, lane: str, at: datetime) -> bool:
        """Whether it stops writes of this lane at this instant; the end instant itself is free again."""
        return (
            self.is_on
            and self.scope in (EVERYTHING, lane)
            and (self.from_at is None or self.from_at <= at)
            and (self.until_at is None or at < self.until_at)
        )


def throw(session: Session, tenant: str, *, reason: str, by: str, at: datetime) -> bool:
    """Throw the kill switch; False when it is thrown already. Works without a reason: stopping is never held up."""
    return _set(session, Switch(tenant, KILL, SwitchKind.KILL, EVERYTHING, True, reason, by, at))


def lift(session: Session, tenant: str, name: str, *, reason: str, by: str, at: datetime) -> bool:
    """Lift the kill switch or a freeze; False when it is not on.

    Raises:
        ValueError: without a reason.
    """
    if not reason.strip():
        raise ValueError("lifting a stop needs a reason")
    row = session.get(SwitchRow, (tenant, name))
    if row is None or not row.is_on:
        return False
    old = _switch(row)
    return _set(session, Switch(tenant, name, old.kind, old.scope, False, reason, by, at, old.from_at, old.until_at))


def freeze(
    session: Session,
    tenant: str,
    name: str,
    *,
    reason: str,
    by: str,
    at: datetime,
    scope: str = EVERYTHING,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
) -> bool:
    """Freeze a lane or everything, at once or for a window; False when exactly this stands already.

    Raises:
        ValueError: the window ends before it begins, or the name is the kill switch's.
    """
    if name == KILL:
        raise ValueError(f"{KILL} is not the name of a freeze")
    if until_at is not None and until_at <= (from_at or at):
        raise ValueError("a freeze ends after it begins")
    return _set(session, Switch(tenant, name, SwitchKind.FREEZE, scope, True, reason, by, at, from_at, until_at))


def stops(session: Session, tenant: str, names: Sequence[str] = ()) -> list[Switch]:
    """Every stop that is on for a tenant, its own and everyone's, planned ones included; by name.

    Its own are those of its directory, under whichever name of it they were thrown; a caller that has just read these
    `names` hands them in.
    """
    tenants = [*(names or directories.names(session, tenant)), EVERYONE]
    found = session.connection().execute(_ON, {"tenants": tenants})
    return sorted(map(_switch, found), key=lambda s: (s.name, s.tenant))


def stopping(session: Session, tenant: str, lane: str, at: datetime) -> Switch | None:
    """The stop that forbids a write of this lane now; the kill switch first. None: nothing does."""
    found = [switch for switch in stops(session, tenant) if switch.stops(lane, at)]
    return min(found, key=lambda s: s.kind is not SwitchKind.KILL, default=None)


def thrown_last(session: Session, tenant: str, since: datetime) -> datetime | None:
    """When the kill switch of the directory was last thrown, at `since` or later, lifted since or not; None: never."""
    names = (*directories.names(session, tenant), EVERYONE)
    rows = (row for name in names for row in journal.rows_since(session, name, since, _told_as(KILL)))
    return max((row.at for row in rows if row.subject == KILL and row.body.get("on") is True), default=None)


def tell(session: Session, tenant: str, name: str, body: Mapping[str, Any], *, by: str, at: datetime) -> None:
    """Tell the audit log what somebody did about a stop without changing it."""
    journal.append(session, tenant, kind=_told_as(name), subject=name, body=body, at=at, actor=by)


def _set(session: Session, switch: Switch) -> bool:
    row = session.get(SwitchRow, (switch.tenant, switch.name))
    if row is None:
        row = SwitchRow(
            tenant=switch.tenant,
            name=switch.name,
            kind=switch.kind.value,
            scope=switch.scope,
            is_on=False,
            reason="",
            by="",
            changed_at=switch.changed_at,
        )
        session.add(row)
    elif _effect(_switch(row)) == _effect(switch):
        return False
    row.scope, row.is_on, row.reason, row.by = switch.scope, switch.is_on, switch.reason, switch.by
    row.changed_at, row.from_at, row.until_at = switch.changed_at, switch.from_at, switch.until_at
    session.flush()
    journal.append(
        session,
        switch.tenant,
        kind=_told_as(switch.name),
        subject=switch.name,
        body={
            "kind": switch.kind,
            "scope": switch.scope,
            "on": switch.is_on,
            "reason": switch.reason,
            "from": switch.from_at,
            "until": switch.until_at,
        },
        at=switch.changed_at,
        actor=switch.by,
    )
    return True


def _told_as(name: str) -> str:
    """The kind of the audit row that tells of a stop of this name."""
    return "killswitch.set" if name.startswith(KILL) else "freeze.set"


def _effect(switch: Switch) -> tuple[object, ...]:
    return (switch.scope, switch.is_on, switch.from_at, switch.until_at)


def _switch(row: SwitchRow | Row[Any]) -> Switch:
    return Switch(
        tenant=row.tenant,
        name=row.name,
        kind=SwitchKind(row.kind),
        scope=row.scope,
        is_on=row.is_on,
        reason=row.reason,
        by=row.by,
        changed_at=row.changed_at,
        from_at=row.from_at,
        until_at=row.until_at,
    )
