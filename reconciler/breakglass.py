"""Deciding a request from the terminal, by people who sign with their SSH keys; for when the pages cannot be used.

Whoever may do so is listed in `approvals.break_glass_signers` and has a key in the accepted configuration's list of
signers. An approval takes two of them within an hour, is over one digest, and holds for an hour; a rejection takes one.
It changes nothing else: the cycle that carries it out checks scope, budgets, kill switch and freezes as ever, and a
third person has to look at it afterwards (approvals.md 1.4 c, A12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from desired_state.text import one_line
from reconciler.approvals.clocks import Calendar
from reconciler.approvals.values import (
    Approval,
    Assurance,
    Channel,
    Decision,
    Human,
    Refusal,
    State,
    Verdict,
    may_be_same,
)
from reconciler.errors import UserError
from reconciler.governance.payloads import APPROVAL, REASON_MAX, TICKET_MAX, decision
from reconciler.loop.approvers import Approvers
from reconciler.signatures import BadSignature, fingerprint, signed_by, verified
from reconciler.signers import allowed
from reconciler.store import approvals, breakglass
from reconciler.wiring import App
from reconciler.wiring.configured import zone
from reconciler.wiring.governing import signers_of

REVIEW_WITHIN = timedelta(days=2)  # working days
_MONDAY_TO_FRIDAY = frozenset(range(5))
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Signed:
    """Whose signature it is: the account, the key's fingerprint and the signature's SHA-256."""

    human: Human
    key: str
    evidence: str


def request(app: App, id: str) -> Approval:
    """The request of this id. Raises UserError."""
    with app.database.read() as session:
        found = approvals.load(session, app.name, id.strip().upper())
    if found is None:
        raise UserError(
            f"there is no request '{one_line(id, 60)}'; `reconciler approvals list` shows them", exit_code=1
        )
    return found


def to_sign(app: App, approval: Approval, verb: str, *, reason: str, ticket: str = "") -> bytes:
    """The bytes that somebody signs for this decision: approve, reject or review. Raises UserError."""
    why, incident = one_line(reason, REASON_MAX), one_line(ticket, TICKET_MAX)
    if len(why) < approval.terms.comment_min:
        raise UserError(f"--reason needs at least {approval.terms.comment_min} characters")
    if verb == "approve" and not incident:
        raise UserError("--ticket names the incident that this is for")
    return decision(app.name, verb, approval.id, approval.digest, reason=why, ticket=incident)


def approve(app: App, approval: Approval, signatures: Sequence[str], *, reason: str, ticket: str, by: str) -> Approval:
    """Count these signatures as answers; with the second one the request is approved for an hour.

    `by` is the account at the keyboard. All signatures count, or none.

    Raises:
        UserError: a signature does not count, or whoever made it may not approve this.
        RemoteError: the accounts of the signers cannot be read.
    """
    signed = people_behind(app, to_sign(app, approval, "approve", reason=reason, ticket=ticket), signatures)
    for one in signed:
        if may_be_same(one.human, approval.opener):
            raise UserError("nobody approves what they ordered themselves, by break-glass neither", exit_code=1)
    at = app.clock.now()
    with app.database.write() as session:
        now = approval
        for one in signed:
            earlier = approvals.load(session, app.name, approval.id)
            glass = [d for d in earlier.decisions if d.channel is Channel.BREAK_GLASS] if earlier is not None else []
            if any(d.agent == one.key and d.key != one.evidence for d in glass):
                raise UserError(f"the key {one.key} has signed for this request already", exit_code=1)
            now = _decided(app, session, approval, one, Verdict.APPROVE, reason=reason, ticket=ticket, by=by)
        if now.state is State.APPROVED and breakglass.load(session, app.name, approval.id) is None:
            names = [d.actor.upn or d.actor.one for d in now.decisions if d.channel is Channel.BREAK_GLASS][-2:]
            breakglass.used(
                session,
                app.name,
                now,
                signers=names,
                reason=one_line(reason, REASON_MAX),
                incident=one_line(ticket, TICKET_MAX),
                at=at,
                review_by=review_calendar(app).after(at, REVIEW_WITHIN),
            )
            if app.tell is not None:
                app.tell(session, "breakglass.used", now, at)
    return now


def reject(app: App, approval: Approval, signature: str, *, reason: str, by: str) -> Approval:
    """Reject the request, by one of the people who may decide from the terminal. Raises as `approve`."""
    (signed,) = people_behind(app, to_sign(app, approval, "reject", reason=reason), [signature])
    with app.database.write() as session:
        return _decided(app, session, approval, signed, Verdict.REJECT, reason=reason, ticket="", by=by)


def review(app: App, approval: Approval, signature: str, *, note: str) -> str:
    """Note that somebody who did not sign has looked at a use of break-glass; who it was. Raises as `approve`."""
    (signed,) = people_behind(app, to_sign(app, approval, "review", reason=note), [signature], is_review=True)
    deciders = [h for d in approval.decisions for h in d.humans]
    if any(may_be_same(signed.human, h) for h in (*deciders, *approval.parties)):
        raise UserError("it is looked at by somebody who neither signed it nor is a party to it", exit_code=1)
    who = signed.human.upn or signed.human.one
    with app.database.write() as session:
        told = one_line(note, REASON_MAX)
        if not breakglass.reviewed(session, app.name, approval.id, by=who, note=told, at=app.clock.now()):
            raise UserError("break-glass was not used for this request, or it was looked at already", exit_code=1)
    return who


def review_calendar(app: App) -> Calendar:
    """The working days of the tenant; Monday to Friday where it does not say."""
    settings = app.tenant.approvals
    days = frozenset(_DAYS.index(day) for day in settings.working_days) or _MONDAY_TO_FRIDAY
    return Calendar(days, frozenset(settings.holidays), zone(app.tenant))


def _decided(
    app: App,
    session: Session,
    approval: Approval,
    signed: Signed,
    verdict: Verdict,
    *,
    reason: str,
    ticket: str,
    by: str,
) -> Approval:
    at = app.clock.now()
    stage = approval.stage
    answer = Decision(
        stage=stage.name if stage is not None else "",
        verdict=verdict,
        actor=signed.human,
        digest=approval.digest,
        decided_at=at,
        channel=Channel.BREAK_GLASS,
        assurance=Assurance.STRONG,
        evidence=signed.evidence,
        comment=one_line(reason, REASON_MAX),
        asked_at=stage.opened_at if stage is not None else None,
        source=by,
        agent=signed.key,
        correlation=one_line(ticket, TICKET_MAX),
        key=signed.evidence,
    )
    found = approvals.decide(session, app.name, approval.id, answer, at, tell=app.tell)
    if isinstance(found, Refusal):
        raise UserError(f"{signed.human.upn}: {found.sentence}", exit_code=1)
    return found


def people_behind(
    app: App, payload: bytes, signatures: Sequence[str], *, is_review: bool = False
) -> tuple[Signed, ...]:
    """The people behind the signatures, each once, with accounts that can act. Raises UserError and RemoteError."""
    named = app.tenant.approvals.break_glass_signers
    if not named and not is_review:
        raise UserError("nobody may decide from the terminal: approvals.break_glass_signers is empty", exit_code=1)
    keys = allowed(signers_of(app), APPROVAL, app.clock.now(), None if is_review else named)
    found: dict[str, tuple[str, str]] = {}
    for signature in signatures:
        try:
            name, key = (
                signed_by(payload, signature, keys, APPROVAL),
                fingerprint(verified(payload, signature, APPROVAL)),
            )
        except BadSignature as error:
            raise UserError(f"a signature does not count: {error}", exit_code=1) from None
        if name is None:
            raise UserError(f"the key {key} is of nobody who may decide this from the terminal", exit_code=1)
        found[name] = (key, hashlib.sha256("".join(signature.split()).encode()).hexdigest())
    people = Approvers(app.systems.tenant_id, app.graph, app.servicenow)
    signed = []
    for name, (key, evidence) in found.items():
        account = next(iter(people.named([name])), None)
        if account is None or account.is_enabled is not True or account.is_guest is not False:
            raise UserError(f"{name} has no active account of the directory's own, and decides nothing", exit_code=1)
        signed.append(Signed(account.human, key, evidence))
    return tuple(signed)
