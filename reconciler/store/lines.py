"""What is remembered of lines between cycles: one row a line, written only when something changed (I10).

Moves are checked by `lifecycle.move` before anything is written. The caller appends the audit row in the same
transaction, so a phase and the account of how it came about are kept together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session

from desired_state.ledger import CHUNK
from desired_state.model import Given, LineKey, UserId
from desired_state.rows import is_row, table_of
from reconciler.lifecycle import FINAL, Phase, move
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.store.prepared import Prepared
from reconciler.store.rows.tickets import LineRow

_TABLE = table_of(LineRow)
_STATE = select(*(column for column in _TABLE.c if column.name not in ("tenant", "first_seen_at", "changed_at")))
_ONE = Prepared(_STATE.where(is_row(_TABLE)))
_OF_TENANT = _STATE.where(_TABLE.c.tenant == bindparam("tenant"))
_NAMED = _OF_TENANT.where(_TABLE.c.ticket.in_(bindparam("tickets", expanding=True)))
_ENDING = _OF_TENANT.where(
    _TABLE.c.phase.in_(bindparam("phases", expanding=True)), _TABLE.c.ends_at < bindparam("before")
)
_ACCOUNTS = (
    select(_TABLE.c.user)
    .where(_TABLE.c.tenant == bindparam("tenant"), _TABLE.c.user.in_(bindparam("users", expanding=True)))
    .where(_TABLE.c.phase.not_in([phase.value for phase in FINAL]))
    .distinct()
)
_ADD, _CHANGE = insert(_TABLE).inline(), update(_TABLE).where(is_row(_TABLE))
# How each field of a state is written into the column of its name, where it is not as it stands.
_FIELDS = tuple(field.name for field in fields(LineState) if field.name != "key")
_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "phase": attrgetter("value"),
    **dict.fromkeys(("verdict", "first_verdict"), lambda verdict: verdict.value if verdict is not None else None),
    **dict.fromkeys(("cause", "tier"), lambda word: str(word) if word is not None else None),
    "given": lambda given: msgspec.json.encode(given).decode(),
}
_GIVEN = msgspec.json.Decoder(tuple[Given, ...]).decode


def load(session: Session, tenant: str, tickets: Collection[str] | None = None) -> dict[LineKey, LineState]:
    """The states of all lines of a tenant, or of the lines of some tickets (numbers)."""
    if tickets is None:
        rows = list(session.connection().execute(_OF_TENANT, {"tenant": tenant}))
    else:
        some = sorted(tickets)
        parts = (some[i : i + CHUNK] for i in range(0, len(some), CHUNK))
        rows = [r for part in parts for r in session.connection().execute(_NAMED, {"tenant": tenant, "tickets": part})]
    return {state.key: state for state in map(_state, rows)}


def accounts(session: Session, tenant: str, users: Collection[UserId]) -> frozenset[UserId]:
    """Those of the users whom a line that is not over is about."""
    some = sorted(users)
    parts = (some[i : i + CHUNK] for i in range(0, len(some), CHUNK))
    found = (r for part in parts for r in session.connection().execute(_ACCOUNTS, {"tenant": tenant, "users": part}))
    return frozenset(UserId(row.user) for row in found)


def ending(session: Session, tenant: str, phases: Collection[Phase], before: datetime) -> list[LineState]:
    """The states of lines in some phases whose period ends before an instant."""
    values = {"tenant": tenant, "phases": [phase.value for phase in phases], "before": before}
    return [_state(row) for row in session.connection().execute(_ENDING, values)]


def save(session: Session, tenant: str, state: LineState, at: datetime) -> bool:
    """Keep the state; False, and nothing written, when it is remembered so already.

    A state without `since` gets one: when its phase began, which is `at` for a phase that begins now.

    Raises:
        IllegalMove: a line cannot go from its phase to this one; nothing was written.
    """
    return bool(save_all(session, tenant, (state,), at))


def save_all(session: Session, tenant: str, states: Sequence[LineState], at: datetime) -> frozenset[LineKey]:
    """Keep these states as `save` keeps each, in as many statements as a few take. Returns the lines that were written.

    Raises:
        IllegalMove: one of the lines cannot go from its phase to this one; nothing was written.
    """
    known = _known(session, tenant, [state.key for state in states])
    there = frozenset(known)
    rows: dict[LineKey, dict[str, Any]] = {}
    for told in states:
        old = known.get(told.key)
        move(old.phase if old is not None else None, told.phase)
        is_same_phase = old is not None and old.phase is told.phase
        state = told if told.since is not None else replace(told, since=old.since if old and is_same_phase else at)
        if old == state:
            continue
        rows.setdefault(state.key, {"changed_at": at}).update(_values(state, old))
        known[state.key] = state
    _write(session, tenant, rows, there, at)
    return frozenset(rows)


def _write(
    session: Session, tenant: str, rows: Mapping[LineKey, dict[str, Any]], there: Collection[LineKey], at: datetime
) -> None:
    """Of rows that are there only the columns that change: whatever column an UPDATE names, SQLite writes all indexes
    of it anew."""
    added: list[dict[str, Any]] = []
    changed: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, values in rows.items():
        if key in there:
            changed.setdefault(tuple(sorted(values)), []).append(_key(tenant, key) | values)
        else:
            added.append({"tenant": tenant, "ticket": key.ticket, "line": key.line, "first_seen_at": at} | values)
    if added:
        session.connection().execute(_ADD, added)
    for names, some in changed.items():
        _change(names).run(session.connection(), some)


@lru_cache(maxsize=256)  # what changes together is a few dozen sets of columns
def _change(names: tuple[str, ...]) -> Prepared:
    return Prepared(_CHANGE, names)


def _known(session: Session, tenant: str, keys: Sequence[LineKey]) -> dict[LineKey, LineState]:
    connection = session.connection()
    if len(keys) > 1 and connection.dialect.name != "sqlite":  # in a file a statement more costs less than a long one
        return load(session, tenant, {key.ticket for key in keys})
    return {state.key: state for state in map(_state, _ONE.each(connection, [_key(tenant, key) for key in keys]))}


def _key(tenant: str, key: LineKey) -> dict[str, Any]:
    return {"of_tenant": tenant, "of_ticket": key.ticket, "of_line": key.line}


def _values(state: LineState, old: LineState | None = None) -> dict[str, Any]:
    """The columns of a state, or those in which it differs from an older one."""
    found = {
        name: getattr(state, name) for name in _FIELDS if old is None or getattr(state, name) != getattr(old, name)
    }
    return {name: _WRITTEN[name](value) if name in _WRITTEN else value for name, value in found.items()}


def _state(row: Any) -> LineState:
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
        given=_GIVEN(row.given) if row.given != "[]" else (),
        reversals=row.reversals,
        told=row.told,
        product=row.product,
        person=row.person,
    )
