"""What a ticket says about itself, from its own fields. Pure.

The rule is servicenow.md section 8, "fulfilled and approved": closed complete alone is no proof, and any disagreement
among state, active, stage and approval is a person's to settle. Choice lists differ per customer, so every word is
configurable and a word that is not configured is a disagreement, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

from desired_state.items import Item
from desired_state.model import Says, Ticket
from desired_state.text import one_line


@dataclass(frozen=True, slots=True)
class TicketWords:
    """The stored values of one instance; defaults are those of servicenow.md section 8. Letter case does not matter."""

    open_states: frozenset[str] = frozenset({"-5", "1", "2"})
    complete_states: frozenset[str] = frozenset({"3"})
    ended_states: frozenset[str] = frozenset({"4", "7"})  # closed, and not fulfilled
    cancelled_stages: frozenset[str] = frozenset(
        {"request cancelled", "request_cancelled", "cancelled", "canceled", "closed_cancelled", "closed_rejected"}
    )
    completed_stages: frozenset[str] = frozenset({"complete", "completed", "closed_complete", "request_completed"})
    approved: frozenset[str] = frozenset({"approved"})
    asked: frozenset[str] = frozenset({"requested"})  # and not answered yet
    rejected: frozenset[str] = frozenset({"rejected"})
    cancelled_approvals: frozenset[str] = frozenset({"cancelled", "canceled"})


@dataclass(frozen=True, slots=True)
class Said:
    """What the ticket says; `sentence` names the fields that disagree when it is INCONSISTENT, else ""."""

    says: Says
    sentence: str = ""


def what_it_says(ticket: Ticket, item: Item, words: TicketWords) -> Said:
    """Judge a ticket by its state, active, stage and approvals together."""
    state = _folded(ticket.state)
    if state in words.complete_states:
        return _complete(ticket, item, words)
    if state in words.ended_states:
        return _ended(ticket, words)
    if state in words.open_states:
        return _open(ticket, item, words)
    return _disagrees(f"Its state '{ticket.state}' is not one of the configured states")


def _complete(ticket: Ticket, item: Item, words: TicketWords) -> Said:
    if ticket.is_active is None:
        return _disagrees(f"It is closed complete (state {ticket.state}), but the field 'active' could not be read")
    if ticket.is_active:
        return _disagrees(f"It is closed complete (state {ticket.state}) and still active")
    if _folded(ticket.stage) in words.cancelled_stages:
        return _disagrees(f"It is closed complete (state {ticket.state}), but its stage is '{ticket.stage}'")
    against = _against(ticket, words)
    if against:
        return _disagrees(f"It is closed complete (state {ticket.state}), but {against}")
    failed = [task for task in ticket.tasks if _folded(task.state) in words.ended_states]
    if failed and not any(_folded(task.state) in words.complete_states for task in ticket.tasks):
        return _disagrees(
            f"It is closed complete (state {ticket.state}), but its task {failed[0].number} was closed incomplete"
        )
    if item.approval == "required" and not _is_approved(ticket, words):
        return _disagrees(
            f"It is closed complete (state {ticket.state}), but nobody approved it ({_approvals(ticket)})"
        )
    return Said(Says.FULFILLED)


def _ended(ticket: Ticket, words: TicketWords) -> Said:
    if ticket.is_active:
        return _disagrees(f"It is closed without fulfilment (state {ticket.state}) and still active")
    if _folded(ticket.stage) in words.completed_stages:
        return _disagrees(f"It is closed without fulfilment (state {ticket.state}), but its stage is '{ticket.stage}'")
    return Said(Says.REJECTED if _against(ticket, words) else Says.CANCELLED)


def _open(ticket: Ticket, item: Item, words: TicketWords) -> Said:
    if ticket.is_active is False:
        return _disagrees(f"It is open (state {ticket.state}), but not active")
    approval, request = _folded(ticket.approval), _folded(ticket.request_approval)
    if approval in words.rejected or request in words.rejected:
        return Said(Says.REJECTED)
    if _folded(ticket.stage) in words.cancelled_stages:
        return _disagrees(f"It is open (state {ticket.state}), but its stage is '{ticket.stage}'")
    rows = [_folded(row.state) for row in ticket.approvals]
    if any(row in words.rejected for row in rows):
        if approval in words.approved:
            return _disagrees("Its approval is 'approved', but one of its approvers rejected it")
        return Said(Says.REJECTED)
    if approval in words.cancelled_approvals or request in words.cancelled_approvals:
        return _disagrees(f"It is open (state {ticket.state}), but {_approvals(ticket)}")
    if approval in words.approved:
        return Said(Says.APPROVED)
    # A roll-up that nobody configured leaves "requested" on the item after the last approver said yes, and an approval
    # of the whole order comes before the item's own. So an open question always means that we wait.
    if any(row in words.asked for row in rows):
        return Said(Says.WAITING)
    if any(row in words.approved for row in rows):
        return Said(Says.APPROVED)
    if approval in words.asked:
        return Said(Says.WAITING)
    if request in words.approved or item.approval == "none":
        return Said(Says.APPROVED)
    return Said(Says.WAITING)


def _is_approved(ticket: Ticket, words: TicketWords) -> bool:
    if _folded(ticket.approval) in words.approved:
        return True
    rows = [_folded(row.state) for row in ticket.approvals]
    if any(row in words.asked for row in rows):
        return False
    return any(row in words.approved for row in rows) or _folded(ticket.request_approval) in words.approved


def _against(ticket: Ticket, words: TicketWords) -> str:
    """Who said no, in words; "" when nobody did."""
    no = words.rejected | words.cancelled_approvals
    if _folded(ticket.approval) in no:
        return f"its approval is '{ticket.approval}'"
    if _folded(ticket.request_approval) in no:
        return f"the approval of its request is '{ticket.request_approval}'"
    if any(_folded(row.state) in words.rejected for row in ticket.approvals):
        return "one of its approvers rejected it"
    return ""


def _approvals(ticket: Ticket) -> str:
    return f"its approval is '{ticket.approval}', that of its request '{ticket.request_approval}'"


def _disagrees(fields: str) -> Said:
    told = one_line(f"{fields[0].lower()}{fields[1:]}", 400)  # stages and states are text of the ticket (I17)
    return Said(Says.INCONSISTENT, f"The ticket contradicts itself: {told}.")


def _folded(text: str) -> str:
    return text.strip().casefold()
