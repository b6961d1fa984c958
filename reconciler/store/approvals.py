"""Requests for approval and the answers to them: who approved which digest, until when.

Every change works in its caller's write transaction, on the row as it is now and not as somebody read it before: two
approvers at once queue, the second finds what the first has made of it (A14). Each move writes one row of the audit
log in that transaction. `tell` is called there too, so that whoever has to be told is queued with what they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlmodel import Session, col, func, select

from desired_state.model import LineKey
from reconciler.approvals.judge import judge, waits_for
from reconciler.approvals.machine import OPEN, move
from reconciler.approvals.values import (
    Approval,
    Code,
    Decision,
    Human,
    Refusal,
    State,
    same,
)
from reconciler.store import approval_reading as reading
from reconciler.store import journal
from reconciler.store.delegations import who as _who
from reconciler.store.rows.approvals import ApprovalDecisionRow, ApprovalRow

Tell = Callable[[Session, str, Approval, datetime], None]
"""Queues what an event of a request has to be told: approval.request, .reminder, .escalated, .outcome."""

COMMENT_MAX, ADDRESS_MAX = 4000, 500
_CONFIG_KINDS = ("config.changed", "config.accepted")


def open_(session: Session, approval: Approval, *, cycle: str = "", tell: Tell | None = None) -> Approval:
    """Keep a draft as a request that waits for its first stage. Its audit row carries everything that was asked.

    Raises:
        IllegalMove: it is no draft.
    """
    opened = move(approval, State.PENDING)
    row = ApprovalRow(
        tenant=opened.tenant,
        id=opened.id,
        ticket=opened.line.ticket,
        line=opened.line.line,
        digest=opened.digest,
        state=opened.state.value,
        stage=opened.at,
        body=_text(opened),
        created_at=opened.created_at,
        changed_at=opened.created_at,
    )
    session.add(row)
    session.flush()
    stages = [
        {"name": s.name, "resolver": s.resolver, "quorum": s.quorum, "approvers": [_who(h) for h in s.approvers]}
        for s in opened.stages
    ]
    body = {
        "subject": dict(opened.subject),
        "label": opened.label,
        "stages": stages,
        "opener_may_approve": opened.terms.opener_may_approve,
    }
    _audit(session, approval, opened, "approval.requested", opened.created_at, body, cycle=cycle)
    if tell is not None:
        tell(session, "approval.request", opened, opened.created_at)
    return opened


def load(session: Session, tenant: str, id: str) -> Approval | None:
    """One request with all its answers, None when there is none of this id."""
    row = session.get(ApprovalRow, (tenant, id))
    return reading.read(session, [row])[0] if row is not None else None


def of_line(session: Session, tenant: str, key: LineKey) -> tuple[Approval, ...]:
    """Every request there ever was for a line, the newest first."""
    where = (ApprovalRow.tenant == tenant, ApprovalRow.ticket == key.ticket, ApprovalRow.line == key.line)
    order = (col(ApprovalRow.created_at).desc(), col(ApprovalRow.id))
    return tuple(reading.read(session, session.exec(select(ApprovalRow).where(*where).order_by(*order)).all()))


def newest(session: Session, tenant: str, tickets: Collection[str]) -> dict[LineKey, Approval]:
    """The newest request of each line of these tickets (numbers) that has one."""
    return reading.newest(session, tenant, tickets)


def pending(session: Session, tenant: str) -> tuple[Approval, ...]:
    """Requests that wait for an answer, the oldest first."""
    return reading.in_states(session, tenant, (State.PENDING,))


def unfinished(session: Session, tenant: str) -> tuple[Approval, ...]:
    """Requests that can still move: pending, approved, executing; the oldest first."""
    return reading.in_states(session, tenant, tuple(OPEN))


def inbox(session: Session, tenant: str, human: Human, at: datetime) -> tuple[Approval, ...]:
    """Requests that this person can answer now, for themselves or for whom they stand in, the oldest first."""
    return tuple(
        a for a in pending(session, tenant) if waits_for(a, human, at, changers=changers(session, tenant, a, at))
    )


def answers(session: Session, tenant: str) -> int:
    """How many answers people ever gave, and how often they wanted to be asked anew: another number is news."""
    given = select(func.count()).select_from(ApprovalDecisionRow).where(ApprovalDecisionRow.tenant == tenant)
    return int(session.exec(given).one()) + journal.count(session, tenant, "approval.renewed")


def renew(session: Session, tenant: str, id: str, *, by: str, reason: str, at: datetime) -> Approval:
    """Have people asked anew about a line whose request expired. The next cycle asks, over what would be done then.

    Raises:
        ValueError: no name, no reason, no such request, it did not expire, or a newer one is there.
    """
    if not by.strip() or not reason.strip():
        raise ValueError("asking anew needs a name and a reason")
    found = load(session, tenant, id)
    if found is None:
        raise ValueError(f"there is no request {id}")
    if found.state is not State.EXPIRED:
        raise ValueError(f"request {id} did not expire, it is {found.state.value}; nothing is to be asked anew")
    if of_line(session, tenant, found.line)[0].id != id:
        raise ValueError(f"line {found.line} has a newer request than {id}; see `reconciler approvals list`")
    body = {"by": by, "reason": reason}
    renewed = change(
        session, tenant, id, lambda a: replace(a, renewed_by=by), at, kind="approval.renewed", body=body, actor=by
    )
    return renewed or found


def decide(
    session: Session, tenant: str, id: str, decision: Decision, at: datetime, *, tell: Tell | None = None
) -> Approval | Refusal:
    """Take in one answer, or say why it does not count; then nothing was changed.

    Sent again with the same key by the same human, it changes nothing and returns the request with the first answer.
    """
    row = session.exec(
        select(ApprovalRow).where(ApprovalRow.tenant == tenant, ApprovalRow.id == id).with_for_update()
    ).first()
    if row is None:
        return Refusal(Code.NOT_FOUND, "There is no such request for you.")
    before = reading.read(session, [row])[0]
    decision = _trimmed(decision)
    if decision.key and any(same(d.actor, decision.actor) and d.key == decision.key for d in before.decisions):
        return before
    judged = judge(before, decision, at=at, changers=changers(session, tenant, before, at))
    if isinstance(judged, Refusal):
        return judged
    counted = judged.decisions[-1]
    session.add(
        ApprovalDecisionRow(
            tenant=tenant,
            approval=id,
            stage=counted.stage,
            human=counted.actor.one,
            number=len(judged.decisions),
            key=counted.key or f"{counted.stage}/{counted.channel.value}",
            verdict=counted.verdict.value,
            digest=counted.digest,
            body=msgspec.json.encode(counted).decode(),
            decided_at=at,
        )
    )
    _keep(session, row, judged, at)
    actor = counted.actor.account
    _audit(session, before, judged, "approval.decided", at, _told(counted), actor=actor)
    if tell is not None:
        tell(session, "approval.outcome" if judged.stage is None else "approval.decided", judged, at)
    return judged


def change(
    session: Session,
    tenant: str,
    id: str,
    changed: Callable[[Approval], Approval | None],
    at: datetime,
    *,
    kind: str = "",
    body: Mapping[str, Any] | None = None,
    cycle: str = "",
    event: str = "",
    tell: Tell | None = None,
    actor: str = journal.US,
) -> Approval | None:
    """Change a request as it is now: `changed` gets it and returns what it becomes, None to leave it as it is.

    `kind` is that of the audit row; without one it is named after the new state, and a change that moves nothing is
    not told. `event` is what `tell` is told. Returns None when nothing was changed.
    """
    row = session.exec(
        select(ApprovalRow).where(ApprovalRow.tenant == tenant, ApprovalRow.id == id).with_for_update()
    ).first()
    before = reading.read(session, [row])[0] if row is not None else None
    after = changed(before) if before is not None else None
    if row is None or before is None or after is None or after == before:
        return None
    _keep(session, row, after, at)
    named = kind or (f"approval.{after.state.value}" if after.state is not before.state else "")
    if named:
        _audit(session, before, after, named, at, body or {}, cycle=cycle, actor=actor)
    if event and tell is not None:
        tell(session, event, after, at)
    return after


def note_view(session: Session, tenant: str, id: str, human: Human, allowed: bool, at: datetime) -> None:
    """Record that somebody opened a request, or tried to."""
    kind = "approval.viewed" if allowed else "approval.view_denied"
    found = session.get(ApprovalRow, (tenant, id))
    about = [f"{found.ticket}/{found.line}"] if found is not None else []
    body: dict[str, Any] = {"approval": id[:ADDRESS_MAX], "who": _who(human), "lines": about}
    if found is not None:
        body["digest"] = found.digest
    actor = human.account
    journal.append(session, tenant, kind=kind, subject=id[:ADDRESS_MAX], body=body, at=at, actor=actor)


def changers(session: Session, tenant: str, approval: Approval, at: datetime) -> frozenset[str]:
    """Who changed the configuration so recently that they may not approve this request: names, lower case (A4).

    Those are the accounts under which it was changed, and the people who signed for one that allows more. A name that
    ends with "@" is the first part of one: the account of a machine says nothing of the directory's domain.
    """
    if approval.terms.config_change_s <= 0:
        return frozenset()
    since = at - timedelta(seconds=approval.terms.config_change_s)
    rows = [row for kind in _CONFIG_KINDS for row in journal.rows_since(session, tenant, since, kind)]
    accounts = {str(by) for row in rows for by in _listed(row.body.get("by"))}
    signers = {str(by) for row in rows for by in _listed(row.body.get("accepted_by"))}
    names = {row.actor for row in rows} | accounts | signers
    short = {name.rpartition("/")[2] for name in names}  # an actor is a sign-in name, or tenant and object id
    short |= {f"{name.partition('@')[0]}@" for name in accounts}  # an account of a machine, whatever its domain
    return frozenset(name.lower() for name in names | short if name and name != journal.US)


def _listed(by: object) -> Collection[object]:
    return by if isinstance(by, list | tuple) else [by] if by else []


def _text(approval: Approval) -> str:
    return msgspec.json.encode(replace(approval, decisions=())).decode()


def _keep(session: Session, row: ApprovalRow, approval: Approval, at: datetime) -> None:
    row.state, row.stage, row.body, row.changed_at = approval.state.value, approval.at, _text(approval), at
    session.flush()


def _trimmed(decision: Decision) -> Decision:
    """Text from outside, cut to what is kept, without halves of characters."""

    def clean(text: str, limit: int) -> str:
        return text.encode("utf-8", "replace").decode()[:limit]

    return replace(
        decision,
        comment=clean(decision.comment, COMMENT_MAX),
        source=clean(decision.source, ADDRESS_MAX),
        agent=clean(decision.agent, ADDRESS_MAX),
        correlation=clean(decision.correlation, ADDRESS_MAX),
        key=clean(decision.key, ADDRESS_MAX),
    )


def _told(decision: Decision) -> dict[str, Any]:
    """The record of rule A13, as the log keeps it."""
    return {
        "verdict": decision.verdict.value,
        "actor": _who(decision.actor),
        "acting_for": _who(decision.acting_for),
        "channel": decision.channel.value,
        "assurance": decision.assurance.value,
        "evidence": decision.evidence,
        "comment": decision.comment,
        "asked_at": decision.asked_at,
        "opened_at": decision.opened_at,
        "decided_at": decision.decided_at,
        "source": decision.source,
        "agent": decision.agent,
        "correlation": decision.correlation,
    }


def _audit(
    session: Session,
    before: Approval,
    after: Approval,
    kind: str,
    at: datetime,
    body: Mapping[str, Any],
    *,
    cycle: str = "",
    actor: str = journal.US,
) -> None:
    stage = before.stages[min(before.at, len(before.stages) - 1)].name if before.stages else ""
    told = {
        "id": after.id,
        "lines": [str(after.line)],
        "digest": after.digest,
        "from": before.state.value,
        "state": after.state.value,
        "stage": stage,
        "requester": _who(after.requester),
        "beneficiary": _who(after.beneficiary),
        "opener": _who(after.opener),
        **({"reason": after.reason} if after.reason else {}),
        **body,
    }
    journal.append(session, after.tenant, kind=kind, subject=after.id, body=told, at=at, cycle=cycle, actor=actor)
