"""What the answers of people do to a line that awaits one. Pure; invariants I7 and I8.

Only an approval of exactly this digest, given in time and by all its stages, clears a line, and only here. Nothing
else that waits for a person ever becomes something that is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from desired_state.model import LineKey
from desired_state.text import one_line
from reconciler.approvals.clocks import has_lapsed, is_ahead
from reconciler.approvals.values import Approval, State
from reconciler.causes import Cause
from reconciler.line import Decision, Gated

Approvals = Mapping[LineKey, Approval]


def is_valid(approval: Approval, digest: str, at: datetime) -> bool:
    """Whether this may be done now because these people said so. What was begun in time may be finished.

    After our clock went back nothing is done until it has caught up with the answers.
    """
    is_given = approval.state in (State.APPROVED, State.EXECUTING) and not is_ahead(approval, at)
    return bool(digest) and is_given and approval.digest == digest and not has_lapsed(approval, at)


def approved(gated: Gated, approvals: Approvals, mode: str, at: datetime) -> Gated:
    """The line after its people were asked. `mode` is the one of its product: observe changes nothing, whoever agrees.

    A request that was refused or has expired says so; until the plan is another one, it is not asked again.
    """
    if gated.decision is not Decision.AWAITING:
        return gated
    proposal = gated.proposal
    approval = approvals.get(proposal.finding.key)
    if approval is None or approval.digest != proposal.digest:
        return gated
    if approval.state is State.REJECTED:
        return replace(gated, decision=Decision.REFUSED, cause=Cause.POLICY_REFUSED, sentence=refusal(approval))
    if approval.is_renewed:
        return gated
    if approval.state is State.EXPIRED or has_lapsed(approval, at):
        return replace(gated, decision=Decision.LAPSED, cause=Cause.POLICY_REFUSED, sentence=lapse(approval))
    if not is_valid(approval, proposal.digest, at):
        cause = None if gated.cause is Cause.POLICY_REFUSED else gated.cause  # nothing is wrong: people are asked
        return replace(gated, cause=cause, sentence=f"{gated.sentence} {waiting(approval)}".strip())
    if mode not in ("enforce", "suggest"):
        sentence = "It is approved; in mode observe nothing is changed."
        return replace(gated, decision=Decision.PLANNED, cause=proposal.finding.cause, sentence=sentence)
    if proposal.short_of:
        return replace(
            gated,
            decision=Decision.QUEUED,
            cause=proposal.blocked,
            sentence=proposal.sentence,
            approval=approval.id,
        )
    return replace(gated, decision=Decision.CLEARED, cause=None, sentence="", approval=approval.id)


def refusal(approval: Approval) -> str:
    """Why a person said no, for the ticket: the reason is what the approver typed."""
    last = approval.decisions[-1] if approval.decisions else None
    who = f" ({last.stage.replace('_', ' ')})" if last is not None else ""
    return f"The request was rejected{who}: {one_line(approval.reason, 600).rstrip('.')}."


def lapse(approval: Approval) -> str:
    if approval.state is State.EXPIRED and approval.reason:
        return approval.reason
    return f"Request {approval.id} was approved and could not be carried out in time; a person has to decide anew."


def waiting(approval: Approval) -> str:
    """Who is asked and until when, for people; "" where nobody is yet."""
    stage = approval.stage
    if stage is None or stage.opened_at is None or stage.expires_at is None:
        return ""
    names = ", ".join(h.name or h.upn for h in stage.everyone) or "the service desk"
    return (
        f"Request {approval.id} waits for {names} ({stage.name.replace('_', ' ')}, stage {approval.at + 1} of "
        f"{len(approval.stages)}) until {stage.expires_at:%Y-%m-%d %H:%M} UTC."
    )
