"""What is remembered of lines between cycles: one row a line, written only when something changed (I10).

Moves are checked by `lifecycle.move` before anything is written. The caller appends the audit row in the same
transaction, so a phase and the account of how it came about are kept together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlmodel import Session, col, select

from desired_state.ledger import CHUNK
from desired_state.model import Given, LineKey, UserId
from reconciler.lifecycle import Phase, move
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.store.tables import LineRow


def load(session: Session, tenant: str, tickets: Collection[str] | None = None) -> dict[LineKey, LineState]:
    """The states of all lines of a tenant, or of the lines of some tickets (numbers)."""
    query = select(LineRow).where(LineRow.tenant == tenant)
    if tickets is None:
        queries = [query]
    else:
        some = sorted(tickets)
        queries = [query.where(col(LineRow.ticket).in_(some[i : i + CHUNK])) for i in range(0, len(some), CHUNK)]
    return {state.key: state for q in queries for state in map(_state, session.exec(q))}


def ending(session: Session, tenant: str, phases: Collection[Phase], before: datetime) -> list[LineState]:
    """The states of lines in some phases whose period ends before an instant."""
    is_so = col(LineRow.phase).in_([phase.value for phase in phases])
    query = select(LineRow).where(LineRow.tenant == tenant, is_so, col(LineRow.ends_at) < before)
    return [_state(row) for row in session.exec(query)]


def save(session: Session, tenant: str, state: LineState, at: datetime) -> bool:
    """Keep the state; False, and nothing written, when it is remembered so already.

    A state without `since` gets one: when its phase began, which is `at` for a phase that begins now.

    Raises:
        IllegalMove: a line cannot go from its phase to this one; nothing was written.
    """
    row = session.get(LineRow, (tenant, state.key.ticket, state.key.line))
    old = _state(row) if row is not None else None
    move(old.phase if old is not None else None, state.phase)
    if state.since is None:
        state = replace(state, since=old.since if old is not None and old.phase is state.phase else at)
    if old == state:
        return False
    assert state.since is not None
    if row is None:
        row = LineRow(
            tenant=tenant,
            ticket=state.key.ticket,
            line=state.key.line,
            phase=state.phase.value,
            since=state.since,
            first_seen_at=at,
            changed_at=at,
        )
        session.add(row)
    row.phase = state.phase.value
    row.verdict = state.verdict.value if state.verdict is not None else None
    row.first_verdict = state.first_verdict.value if state.first_verdict is not None else None
    row.cause = str(state.cause) if state.cause is not None else None
    row.tier = str(state.tier) if state.tier is not None else None
    row.user, row.attempts, row.next_at, row.since = state.user, state.attempts, state.next_at, state.since
    row.granted_at, row.ends_at, row.episode, row.note = state.granted_at, state.ends_at, state.episode, state.note
    row.given, row.reversals = msgspec.json.encode(state.given).decode(), state.reversals
    row.told, row.product, row.person = state.told, state.product, state.person
    row.changed_at = at
    session.flush()
    return True


def _state(row: LineRow) -> LineState:
    return LineState(
        key=LineKey(row.ticket, row.line),
        phase=Phase(row.phase),
        verdict=Verdict(row.verdict) if row.verdict is not None else None,
        first_verdict=Verdict(row.first_verdict) if row.first_verdict is not None else None,
        cause=row.cause,
        tier=row.tier,
        user=UserId(row.user) if row.user is not None else None,
        attempts=row.attempts,
        next_at=row.next_at,
        since=row.since,
        granted_at=row.granted_at,
        ends_at=row.ends_at,
        episode=row.episode,
        note=row.note,
        given=msgspec.json.decode(row.given, type=tuple[Given, ...]) if row.given != "[]" else (),
        reversals=row.reversals,
        told=row.told,
        product=row.product,
        person=row.person,
    )
