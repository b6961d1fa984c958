"""What guards keep: plans that they stopped, who let one through, and what they remember between cycles.

A stopped plan is named by its digest and kept once; a release is for that digest alone, by a named person with a
reason, for an hour, and for one cycle. Stopping and letting through are told in the audit log in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlmodel import Session, col, delete
from sqlmodel import select as select_rows

from desired_state.rows import is_row, table_of
from reconciler.store import journal
from reconciler.store.rows.guards import GuardFactRow, GuardPlanRow

RELEASE = timedelta(hours=1)
KEPT = timedelta(days=30)
Fact = tuple[Mapping[str, Any], datetime]  # what is remembered, and since when
FORECAST = "forecast"  # the guard's name of a plan that is let through before it comes

_PLANS, _FACTS = table_of(GuardPlanRow), table_of(GuardFactRow)
_OF_TENANT = select(_PLANS).where(_PLANS.c.tenant == bindparam("tenant")).order_by(_PLANS.c.at.desc())
_FACT = select(_FACTS.c.body, _FACTS.c.at).where(is_row(_FACTS))
_SOME_FACTS = select(_FACTS).where(
    _FACTS.c.tenant.in_(bindparam("tenants", expanding=True)), _FACTS.c.name.in_(bindparam("names", expanding=True))
)
_ADD_FACT, _CHANGE_FACT = insert(_FACTS), update(_FACTS).where(is_row(_FACTS))
_FORGET = delete(_FACTS).where(is_row(_FACTS))


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """A stopped plan. `changes` say for whom what would be done; `released_by` "" while nobody let it through."""

    digest: str
    guard: str
    lane: str
    wanted: int
    allowed: int
    sentence: str
    changes: Sequence[Mapping[str, Any]]
    cycle: str
    at: datetime
    released_by: str = ""
    reason: str = ""
    released_at: datetime | None = None
    expires_at: datetime | None = None
    used_at: datetime | None = None

    def is_released(self, at: datetime) -> bool:
        """Whether it may go out now: let through, not expired, not used."""
        return self.expires_at is not None and at < self.expires_at and self.used_at is None


def keep(session: Session, tenant: str, plan: GuardPlan) -> bool:
    """Keep a plan that a guard stopped; False when it is known and stopped by the same guard still."""
    row = session.get(GuardPlanRow, (tenant, plan.digest))
    if row is not None and row.guard == plan.guard and row.used_at is None:
        return False
    old = col(GuardPlanRow.at) < plan.at - KEPT
    session.execute(delete(GuardPlanRow).where(col(GuardPlanRow.tenant) == tenant, old))
    put(session, tenant, plan)
    journal.append(
        session,
        tenant,
        kind="guard.tripped",
        subject=plan.guard,
        body={
            "guard": plan.guard,
            "lane": plan.lane,
            "plan": plan.digest,
            "wanted": plan.wanted,
            "allowed": plan.allowed,
            "sentence": plan.sentence,
            "requests": sorted({str(c["digest"]) for c in plan.changes if c.get("digest")}),
            "lines": sorted({str(c["line"]) for c in plan.changes if c.get("line")}),
        },
        at=plan.at,
        cycle=plan.cycle,
    )
    return True


def put(session: Session, tenant: str, plan: GuardPlan) -> None:
    """Keep a plan that nothing has stopped yet."""
    session.merge(_row(tenant, plan))
    session.flush()


def plans(session: Session, tenant: str) -> list[GuardPlan]:
    """Every plan that is kept, newest first."""
    return [_plan(row) for row in session.connection().execute(_OF_TENANT, {"tenant": tenant})]


def released(session: Session, tenant: str, at: datetime) -> list[GuardPlan]:
    """The plans that may go out now."""
    return [plan for plan in plans(session, tenant) if plan.is_released(at)]


def release(
    session: Session, tenant: str, digest: str, *, by: str, reason: str, at: datetime, until: datetime
) -> GuardPlan:
    """Let a plan through, once.

    Raises:
        ValueError: no such plan, several that begin so, no name, no reason, or an end that is over.
    """
    if not by.strip() or not reason.strip():
        raise ValueError("a release needs a name and a reason")
    if until <= at:
        raise ValueError("a release ends after it begins")
    query = select_rows(GuardPlanRow).where(GuardPlanRow.tenant == tenant, col(GuardPlanRow.digest).startswith(digest))
    found = session.exec(query).all() if digest.strip() else []
    if len(found) != 1:
        what = "several plans begin with" if found else "no guard has stopped a plan that is named"
        raise ValueError(f"{what} {digest or '(nothing)'}; see `reconciler guards show`")
    (row,) = found
    row.released_by, row.reason, row.released_at, row.expires_at, row.used_at = by, reason, at, until, None
    session.flush()
    told = {"guard": row.guard, "lane": row.lane, "plan": row.digest, "reason": reason, "until": until.isoformat()}
    journal.append(session, tenant, kind="guard.released", subject=row.guard, body=told, at=at, actor=by)
    return _plan(row)


def use(session: Session, tenant: str, digest: str, *, cycle: str, at: datetime) -> None:
    """The release has been used by this cycle; the next one is guarded again."""
    row = session.get(GuardPlanRow, (tenant, digest))
    if row is None or row.used_at is not None:
        return
    row.used_at = at
    session.flush()
    told = {"guard": row.guard, "lane": row.lane, "plan": digest, "by": row.released_by}
    journal.append(session, tenant, kind="guard.release_used", subject=row.guard, body=told, at=at, cycle=cycle)


def fact(session: Session, tenant: str, name: str) -> Fact | None:
    """What is remembered under a name, and since when; None for nothing."""
    row = session.connection().execute(_FACT, {"of_tenant": tenant, "of_name": name}).first()
    return (json.loads(row.body), row.at) if row is not None else None


def facts(session: Session, tenants: Iterable[str], names: Iterable[str]) -> dict[tuple[str, str], Fact]:
    """What is remembered under some names by some tenants, by tenant and name; what is not there is left out."""
    found = session.connection().execute(_SOME_FACTS, {"tenants": list(tenants), "names": list(names)})
    return {(row.tenant, row.name): (json.loads(row.body), row.at) for row in found}


def remember(session: Session, tenant: str, name: str, body: Mapping[str, Any], at: datetime) -> None:
    """Remember under a name, in place of what was there."""
    values = {"body": json.dumps(dict(body), sort_keys=True), "at": at}
    key = {"of_tenant": tenant, "of_name": name}
    if session.connection().execute(_CHANGE_FACT, key | values).rowcount == 0:
        session.connection().execute(_ADD_FACT, {"tenant": tenant, "name": name} | values)


def forget(session: Session, tenant: str, name: str) -> None:
    session.connection().execute(_FORGET, {"of_tenant": tenant, "of_name": name})


def _row(tenant: str, plan: GuardPlan) -> GuardPlanRow:
    return GuardPlanRow(
        tenant=tenant,
        digest=plan.digest,
        guard=plan.guard,
        lane=plan.lane,
        wanted=plan.wanted,
        allowed=plan.allowed,
        sentence=plan.sentence,
        body=json.dumps([dict(c) for c in plan.changes], sort_keys=True),
        cycle=plan.cycle,
        at=plan.at,
        released_by=plan.released_by,
        reason=plan.reason,
        released_at=plan.released_at,
        expires_at=plan.expires_at,
        used_at=plan.used_at,
    )


def _plan(row: GuardPlanRow | Row[Any]) -> GuardPlan:
    return GuardPlan(
        digest=row.digest,
        guard=row.guard,
        lane=row.lane,
        wanted=row.wanted,
        allowed=row.allowed,
        sentence=row.sentence,
        changes=json.loads(row.body),
        cycle=row.cycle,
        at=row.at,
        released_by=row.released_by,
        reason=row.reason,
        released_at=row.released_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
