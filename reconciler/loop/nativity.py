"""Approvals that were given in ServiceNow, taken in as answers to our requests. Judging them is `approvals.native`.

What counts is an answer like any other: one human, one stage, in one transaction with its audit row. What claims to
be one and does not count is told in the audit log once, for somebody to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.approvals.native import Given, NativeRow, NotGiven, read
from reconciler.approvals.values import Approval, Channel, Decision, Human, Refusal, Verdict
from reconciler.clients.servicenow import Asked, Change, ServiceNow
from reconciler.digest import digest
from reconciler.errors import Rejected
from reconciler.line import Gated
from reconciler.loop.approvers import Approvers
from reconciler.loop.asking import covered_by_ticket
from reconciler.store import approvals
from reconciler.store.approvals import Tell
from reconciler.store.database import Database

DECIDED = ("approved", "rejected")
LONGEST = timedelta(days=1)  # that somebody acts in another's name without a break


def take_in(
    database: Database,
    servicenow: ServiceNow,
    approvers: Approvers,
    approval: Approval,
    gated: Gated,
    *,
    software: Collection[str],
    at: datetime,
    tell: Tell | None,
    open_stage: Callable[[Approval], Approval | None],
) -> bool:
    """Count what ServiceNow has for this request, stage after stage. True when something counted.

    Raises:
        RemoteError: ServiceNow or the directory could not be read.
    """
    if not any(Channel.SERVICENOW in stage.channels for stage in approval.stages[approval.at :]):
        return False
    ticket = gated.proposal.finding.line.ticket
    subjects = [s for s in (ticket.sys_id, ticket.request) if s]
    rows = [row for row in servicenow.asked(subjects) if row.state in DECIDED]
    if not rows:
        return False
    history = servicenow.approval_changes([row.sys_id for row in rows])
    natives = _seen_through(servicenow, [_native(row, history) for row in rows])
    people = _people(approvers, servicenow, natives)
    outside = covered_by_ticket(gated)
    delegations = approvers.delegations(sorted({row.approver for row in rows if row.approver}))
    counted = False
    while (stage := approval.stage) is not None and Channel.SERVICENOW in stage.channels:
        if stage.opened_at is None:
            opened = open_stage(approval)
            if opened is None:
                break
            approval = opened
            continue
        judged_by = replace(stage, accepts_ticket_approval=stage.accepts_ticket_approval and not outside)
        before = approval
        for native in natives:
            said = read(
                native,
                judged_by,
                subjects=subjects,
                people=people,
                delegations=(*stage.delegations, *delegations),
                software=software,
                digest=approval.digest,
                asked_at=approval.created_at,
            )
            if isinstance(said, NotGiven):
                _note(database, approval, native, said, at)
                continue
            after = _decide(database, approval, native, said, at, tell)
            if after is not None:
                approval, counted = after, True
                break
        if approval is before:
            break
    return counted


def _native(row: Asked, history: dict[str, tuple[Change, ...]] | None) -> NativeRow:
    made = [c for c in (history or {}).get(row.sys_id, ()) if c.to == row.state]
    last = made[-1] if made else None
    return NativeRow(
        sys_id=row.sys_id,
        subjects=row.subjects,
        approver=row.approver,
        approver_user=row.approver_user,
        state=row.state,
        changed_at=last.at if last is not None else row.touched_at,
        actor=(last.by or None) if last is not None else None,
        touched_by=row.touched_by,
        comment=row.comment,
    )


def _seen_through(servicenow: ServiceNow, natives: list[NativeRow]) -> list[NativeRow]:
    """The rows with who acted in the name of whoever decided them, as far as the instance lets us read that."""
    instants = [n.changed_at for n in natives if n.changed_at is not None]
    if not instants:
        return natives
    names = {n.actor or n.touched_by or "" for n in natives}
    known = servicenow.impersonations(names, min(instants) - LONGEST)
    if known is None:
        return natives
    seen = []
    for native in natives:
        name, at = (native.actor or native.touched_by or "").lower(), native.changed_at
        by = [
            i.by
            for i in known
            if at is not None and i.name == name and i.starts_at <= at and (i.ends_at is None or at <= i.ends_at)
        ]
        seen.append(replace(native, impersonator=by[0] if by else ""))
    return seen


def _people(approvers: Approvers, servicenow: ServiceNow, natives: Collection[NativeRow]) -> dict[str, Human]:
    """The accounts of everybody that the rows name, by user name in lower case: only those that are one account."""
    approvers.know([n.approver for n in natives])
    found: dict[str, Human] = {}
    for native in natives:
        person = approvers.person(native.approver)
        human = approvers.human(person)
        if native.approver_user and human is not None and human.oid:
            found[native.approver_user.lower()] = human
    for name in sorted({n.actor or n.touched_by or "" for n in natives} - {""}):
        if name.lower() in found:
            continue
        try:
            human = approvers.human(servicenow.person_by(user_name=name))
        except Rejected:  # a name of several people is nobody's
            human = None
        if human is not None and human.oid:
            found[name.lower()] = human
    return found


def _decide(
    database: Database, approval: Approval, native: NativeRow, said: Given, at: datetime, tell: Tell | None
) -> Approval | None:
    stage = approval.stage
    assert stage is not None
    decision = Decision(
        stage=stage.name,
        verdict=said.verdict,
        actor=said.actor,
        acting_for=said.acting_for,
        digest=approval.digest,
        decided_at=at,
        channel=Channel.SERVICENOW,
        assurance=said.assurance,
        evidence=digest(native),
        comment=said.comment,
        asked_at=stage.opened_at,
        opened_at=said.at,
        source=f"sysapproval_approver/{native.sys_id}",
        agent=said.how,
        key=f"servicenow/{native.sys_id}/{native.state}",
    )
    with database.write() as session:
        judged = approvals.decide(session, approval.tenant, approval.id, decision, at, tell=tell)
    if isinstance(judged, Refusal):
        is_odd = said.verdict is Verdict.APPROVE
        _note(database, approval, native, NotGiven(judged.sentence, is_odd=is_odd), at)
        return None
    return judged if len(judged.decisions) > len(approval.decisions) else None


def _note(database: Database, approval: Approval, native: NativeRow, said: NotGiven, at: datetime) -> None:
    """Told once for each state of a row."""
    mark = f"{native.sys_id}/{native.state}"
    if not said.is_odd or mark in approval.noted:
        return
    body = {"row": native.sys_id, "why": said.why, "state_there": native.state}
    with database.write() as session:
        approvals.change(
            session,
            approval.tenant,
            approval.id,
            lambda a: replace(a, noted=(*a.noted, mark)) if mark not in a.noted else None,
            at,
            kind="approval.not_counted",
            body=body,
        )
