"""Whether one answer counts, and what the request becomes by it. Pure; rules A4 to A6 and A8 to A10.

Nobody answers for themselves by any account, no human counts twice in one request, and a no is final. Whoever is no
approver learns nothing else about the request: that is looked at first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.approvals.machine import move
from reconciler.approvals.values import (
    Approval,
    Channel,
    Code,
    Decision,
    Human,
    Refusal,
    Stage,
    State,
    Verdict,
    among,
    may_be_same,
    same,
)

BREAK_GLASS_SIGNERS = 2


def judge(
    approval: Approval, decision: Decision, *, at: datetime, changers: Collection[str] = ()
) -> Approval | Refusal:
    """The request with the answer in it, moved on where that was the last one needed; or why it does not count.

    `changers` are who changed the configuration so recently that they may not approve (A4), in lower case: sign-in
    names, first parts of them with "@", or object ids. A passed stage leaves the next one unopened: whoever calls
    resolves and opens it. For a break-glass answer the caller has checked the signature: the signers' list stands for
    the stage's approvers.
    """
    decision = replace(decision, actor=known(approval, decision.actor))
    if decision.channel is not Channel.BREAK_GLASS:
        settled = _acting(approval, decision, at)
        if isinstance(settled, Refusal):
            return settled
        decision = settled
    refusal = _parties(approval, decision, changers) or _state(approval, decision, at) or _form(approval, decision)
    if refusal is not None:
        return refusal
    return _counted(approval, replace(decision, decided_at=at), at)


def known(approval: Approval, human: Human) -> Human:
    """The account with the employee id that the request knows it by: a sign-in does not tell one."""
    if human.employee_id:
        return human
    accounts = (h for s in approval.stages for h in (*s.approvers, *s.alternates, *(d.to for d in s.delegations)))
    account = next((h for h in (*accounts, *approval.parties) if h.employee_id and same(h, human)), None)
    return replace(human, employee_id=account.employee_id) if account is not None else human


def opens_next(approval: Approval) -> bool:
    """Whether the stage that is next has still to be resolved and opened."""
    stage = approval.stage
    return stage is not None and stage.opened_at is None


def may_see(approval: Approval, human: Human, at: datetime) -> bool:
    """Whether a person is, was or stands in for an approver of the request: everybody else sees nothing of it."""
    human = known(approval, human)
    return any(_role(approval, stage, human, at) is not None for stage in approval.stages) or among(
        human, (h for d in approval.decisions for h in d.humans)
    )


def waits_for(approval: Approval, human: Human, at: datetime, *, changers: Collection[str] = ()) -> bool:
    """Whether the open stage can still be answered by this person: what their inbox lists."""
    stage = approval.stage
    if stage is None or stage.opened_at is None or (stage.expires_at is not None and stage.expires_at <= at):
        return False
    probe = Decision(stage.name, Verdict.APPROVE, known(approval, human), approval.digest, at, channel=Channel.PAGE)
    settled = _acting(approval, probe, at)
    return not isinstance(settled, Refusal) and _parties(approval, settled, changers) is None


def _role(approval: Approval, stage: Stage, human: Human, at: datetime) -> tuple[Human, ...] | None:
    """() for an approver, whom they stand in for otherwise; None for somebody who has no part in the stage.

    Nobody finds a deputy for the approver of their own request: what a party of it arranged counts for nothing here.
    """
    if among(human, (*stage.approvers, *stage.alternates)):
        return ()
    named = tuple(
        d.of
        for d in stage.delegations
        if same(d.to, human)
        and d.starts_at <= at < d.ends_at
        and among(d.of, stage.everyone)
        and not any(may_be_same(d.arranged_by, party) for party in approval.parties)
    )
    return named or None


def _acting(approval: Approval, decision: Decision, at: datetime) -> Decision | Refusal:
    """The answer with whom it is given for; a refusal for who may not answer in this stage."""
    actor, stage = decision.actor, next((s for s in approval.stages if s.name == decision.stage), None)
    if stage is None:
        return _not_approver()
    role = _role(approval, stage, actor, at)
    if role is None:
        if among(actor, (h for d in approval.decisions for h in d.humans)):
            return _already()
        return _not_approver()
    if role == ():
        if not among(actor, stage.everyone):
            return Refusal(Code.LOST_ROLE, "You were an approver of this request and are none any more.")
        own = decision.acting_for
        if own is None or same(own, actor):
            return replace(decision, acting_for=None)
        return _not_approver()  # an approver answers in their own name
    if decision.acting_for is not None:
        role = tuple(of for of in role if same(of, decision.acting_for))
    if not role:
        return _not_approver()
    return replace(decision, acting_for=role[0])


def _parties(approval: Approval, decision: Decision, changers: Collection[str]) -> Refusal | None:
    for human in decision.humans:
        if may_be_same(human, approval.beneficiary) or may_be_same(human, approval.requester):
            return Refusal(Code.SELF, "Nobody approves for themselves: this request is yours or for you.")
        if may_be_same(human, approval.opener) and not approval.terms.opener_may_approve:
            return Refusal(Code.SELF, "Nobody approves what they ordered themselves.")
        name = human.upn.lower()
        if {name, f"{name.partition('@')[0]}@", human.oid.lower()} & set(changers):
            return Refusal(
                Code.SELF,
                "Whoever changed the configuration a short time ago cannot approve under it yet; ask another.",
            )
    if any(among(human, before.humans) for before in approval.decisions for human in decision.humans):
        return _already()
    return None


def _state(approval: Approval, decision: Decision, at: datetime) -> Refusal | None:
    stage = approval.stage
    if approval.state is State.EXPIRED:
        return Refusal(Code.EXPIRED, "The request has expired; the licence desk decides whether it is asked anew.")
    if stage is None:
        return Refusal(Code.CLOSED, f"The request is closed: it is {approval.state.value}.")
    if stage.opened_at is None:
        return Refusal(Code.CLOSED, "The next stage is not open yet: the next cycle looks up who answers it.")
    if stage.name != decision.stage:
        return Refusal(Code.CLOSED, "This stage of the request has been decided.")
    if stage.expires_at is not None and stage.expires_at <= at:
        return Refusal(Code.EXPIRED, f"The request expired at {stage.expires_at:%Y-%m-%d %H:%M} UTC.")
    if decision.digest != approval.digest:
        return Refusal(Code.STALE, "What you were shown is not what would be done now; open the request again.")
    return None


def _form(approval: Approval, decision: Decision) -> Refusal | None:
    stage = approval.stage
    assert stage is not None
    is_glass = decision.channel is Channel.BREAK_GLASS
    if not is_glass and decision.channel not in stage.channels:
        return Refusal(Code.CHANNEL, f"This stage is not decided by way of {decision.channel.value}.")
    if not is_glass and not decision.assurance.is_at_least(stage.assurance):
        wanted = f"it is {decision.assurance.value}, and {stage.assurance.value} is needed"
        return Refusal(Code.CHANNEL, f"How sure it is who answered does not suffice here: {wanted}.")
    needs = decision.verdict is Verdict.REJECT or is_glass or stage.needs_comment
    if needs and len(decision.comment.strip()) < approval.terms.comment_min:
        return Refusal(Code.COMMENT, f"A reason of at least {approval.terms.comment_min} characters is needed.")
    return None


def _counted(approval: Approval, decision: Decision, at: datetime) -> Approval:
    decided = replace(approval, decisions=(*approval.decisions, decision))
    if decision.verdict is Verdict.REJECT:
        return move(decided, State.REJECTED, reason=decision.comment.strip())
    if decision.channel is Channel.BREAK_GLASS:
        return _broken(decided, at)
    stage = approval.stage
    assert stage is not None
    yes = [d for d in decided.decisions if d.stage == stage.name and d.channel is not Channel.BREAK_GLASS]
    if len(yes) < stage.quorum:
        return decided
    if approval.at + 1 < len(approval.stages):
        return replace(decided, at=approval.at + 1)
    passed = replace(decided, at=len(approval.stages), valid_until=at + timedelta(seconds=approval.terms.valid_s))
    return move(passed, State.APPROVED)


def _broken(decided: Approval, at: datetime) -> Approval:
    """Two different people within the hour stand for every stage that is left."""
    span = timedelta(seconds=decided.terms.break_glass_s)
    signed = [d for d in decided.decisions if d.channel is Channel.BREAK_GLASS and abs(at - d.decided_at) < span]
    if len(signed) < BREAK_GLASS_SIGNERS:
        return decided
    return move(replace(decided, at=len(decided.stages), valid_until=at + span), State.APPROVED)


def _not_approver() -> Refusal:
    return Refusal(Code.NOT_APPROVER, "There is no such request for you.")


def _already() -> Refusal:
    return Refusal(Code.ALREADY, "You have answered this request already; one person counts once.")
