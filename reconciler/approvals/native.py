"""Whether an approval that was given in ServiceNow counts, and how sure it is who gave it. Pure; section 1.4 b.

The row's state says nothing about who set it: a due date approves by itself, an administrator can write any row, and
somebody can act in another's name. So the change of state is judged, with whoever made it, and not the row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.approvals.values import Assurance, Delegation, Human, Stage, Verdict, among, same

SOFTWARE = frozenset({"system", "admin", "guest", "maint"})  # of ServiceNow itself: nobody's own account
DIGEST_SHOWN = 12  # first digits of a digest, as cards and pages show it
NO_REASON = "Rejected in ServiceNow; no reason was given."


@dataclass(frozen=True, slots=True)
class NativeRow:
    """One row of sysapproval_approver and what is known of its last change of state. None is "could not be read".

    `actor` is the user name that the change of state was made by, from the history where that is readable;
    `touched_by` the one that touched the row last. `impersonator` is "" where nobody acted in another's name.
    """

    sys_id: str
    subjects: Collection[str]  # sys_ids of what it is about
    approver: str  # sys_id
    approver_user: str | None  # user name
    state: str
    changed_at: datetime | None
    actor: str | None = None
    touched_by: str | None = None
    impersonator: str | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that counts: of whom, for whom, and how sure that is."""

    verdict: Verdict
    actor: Human
    acting_for: Human | None
    assurance: Assurance
    comment: str
    at: datetime
    how: str = ""  # by what it was told who it was, for the record


@dataclass(frozen=True, slots=True)
class NotGiven:
    """Why a row is no answer. `is_odd`: it claims to be one, and a person should look at it."""

    why: str
    is_odd: bool = False


def read(
    row: NativeRow,
    stage: Stage,
    *,
    subjects: Collection[str],
    people: Mapping[str, Human],
    delegations: Collection[Delegation],
    software: Collection[str],
    digest: str,
    asked_at: datetime,
) -> Given | NotGiven:
    """What a row says about one stage of a request that was asked at `asked_at` for `digest`.

    `subjects` are the sys_ids of the ticket and its request, `people` the accounts of user names in the directory, each
    exactly one human, and `software` the user names of integrations and agents, ours among them.
    """
    if not set(row.subjects) & set(subjects):
        return NotGiven("it is about something else", is_odd=True)
    verdict = {"approved": Verdict.APPROVE, "rejected": Verdict.REJECT}.get(row.state)
    if verdict is None or row.changed_at is None:
        return NotGiven("it is not decided")
    approver = people.get((row.approver_user or "").lower())
    if approver is None:
        return NotGiven("whom it names has no single account in the directory", is_odd=True)
    acted, assurance, how = _actor(row)
    if not acted:  # a due date would approve like this, and so would a script
        return NotGiven("who decided it cannot be read", is_odd=True)
    if acted.lower() in {name.lower() for name in software} | SOFTWARE:
        return NotGiven(f"it was decided by {acted}, which is software", is_odd=True)
    if row.impersonator:
        return NotGiven(f"{row.impersonator} acted in the name of {acted}", is_odd=True)
    actor = people.get(acted.lower())
    if actor is None:
        return NotGiven(f"{acted} has no single account in the directory", is_odd=True)
    acting_for = None
    if not same(actor, approver):
        at = row.changed_at
        if not any(same(d.of, approver) and same(d.to, actor) and d.starts_at <= at < d.ends_at for d in delegations):
            return NotGiven(f"{acted} decided it, who is neither its approver nor a delegate", is_odd=True)
        acting_for = approver
    if not among(approver, stage.everyone):
        return NotGiven("its approver is not one of this stage")
    if verdict is Verdict.APPROVE and not stage.accepts_ticket_approval:
        if row.changed_at < asked_at:
            return NotGiven("it is older than what is to be approved")
        if digest[:DIGEST_SHOWN] not in row.comment:
            return NotGiven("it does not name what is to be approved")
    comment = row.comment.strip()
    if verdict is Verdict.REJECT and len(comment) < len(NO_REASON):
        comment = f"{comment} ({NO_REASON})" if comment else NO_REASON
    return Given(verdict, actor, acting_for, assurance, comment, row.changed_at, how)


def _actor(row: NativeRow) -> tuple[str, Assurance, str]:
    """Who changed the state: by the history, else, less sure, who touched it last; "" where neither can be read."""
    names = "; whether somebody acted in their name could not be read" if row.impersonator is None else ""
    if row.actor:
        return row.actor, Assurance.MEDIUM, f"by the history of the row{names}"
    return row.touched_by or "", Assurance.LOW, f"by who touched the row last{names}"
