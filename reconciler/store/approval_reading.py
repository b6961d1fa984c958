"""Requests for approval out of their rows: with the answers to them, and with who stands in for whom as it is arranged
now. `approvals` is how everybody else reads and changes them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Row, Select, bindparam, select
from sqlmodel import Session

from desired_state.ledger import CHUNK
from desired_state.model import LineKey
from desired_state.rows import table_of
from reconciler.approvals.values import Approval, Decision, Delegation, State, among
from reconciler.store.delegations import OURS, delegations
from reconciler.store.rows.approvals import ApprovalDecisionRow, ApprovalRow

_C, _D = table_of(ApprovalRow).c, table_of(ApprovalDecisionRow).c
_ALL: Select[Any] = select(_C.tenant, _C.id, _C.ticket, _C.line, _C.state, _C.body).where(
    _C.tenant == bindparam("tenant")
)
_OF_TICKETS = _ALL.where(_C.ticket.in_(bindparam("tickets", expanding=True))).order_by(_C.created_at, _C.id)
_IN_STATES = _ALL.where(_C.state.in_(bindparam("states", expanding=True))).order_by(_C.created_at, _C.id)
_ANSWERS = (
    select(_D.approval, _D.body)
    .where(_D.tenant == bindparam("tenant"), _D.approval.in_(bindparam("approvals", expanding=True)))
    .order_by(_D.number)
)
_APPROVAL, _DECISION = msgspec.json.Decoder(Approval).decode, msgspec.json.Decoder(Decision).decode


def newest(session: Session, tenant: str, tickets: Collection[str]) -> dict[LineKey, Approval]:
    """The newest request of each line of these tickets (numbers) that has one."""
    last: dict[LineKey, Row[Any]] = {}
    some = sorted(set(tickets))
    for start in range(0, len(some), CHUNK):
        named = {"tenant": tenant, "tickets": some[start : start + CHUNK]}
        for row in session.connection().execute(_OF_TICKETS, named):
            last[LineKey(row.ticket, row.line)] = row
    return {a.line: a for a in read(session, list(last.values()))}


def in_states(session: Session, tenant: str, states: Collection[State]) -> tuple[Approval, ...]:
    """The requests that stand so, the oldest first."""
    named = {"tenant": tenant, "states": sorted(s.value for s in states)}
    return tuple(read(session, session.connection().execute(_IN_STATES, named).all()))


def read(session: Session, rows: Collection[ApprovalRow | Row[Any]]) -> list[Approval]:
    """The rows as values, with their answers, and with who stands in for whom as it is arranged now."""
    if not rows:
        return []
    tenant, ids = next(iter(rows)).tenant, [row.id for row in rows]
    answers: dict[str, list[Decision]] = {}
    for start in range(0, len(ids), CHUNK):
        named = {"tenant": tenant, "approvals": ids[start : start + CHUNK]}
        for answer in session.connection().execute(_ANSWERS, named):
            answers.setdefault(answer.approval, []).append(_DECISION(answer.body))
    arranged = delegations(session, tenant) if any(row.state == State.PENDING.value for row in rows) else ()
    found = []
    for row in rows:
        decisions = tuple(answers.get(row.id, ()))
        found.append(replace(_with_deputies(_APPROVAL(row.body), arranged), decisions=decisions))
    return found


def _with_deputies(approval: Approval, arranged: tuple[Delegation, ...]) -> Approval:
    """What ServiceNow knew when the stage opened, and what stands here now: one of ours may have been ended since."""
    stage = approval.stage
    if stage is None:
        return approval
    elsewhere = tuple(d for d in stage.delegations if d.source != OURS)
    ours = tuple(d for d in arranged if among(d.of, stage.everyone))
    if stage.delegations == (*elsewhere, *ours):
        return approval
    stages = list(approval.stages)
    stages[approval.at] = replace(stage, delegations=(*elsewhere, *ours))
    return replace(approval, stages=tuple(stages))
