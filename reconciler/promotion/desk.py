"""What people made of a ticket, against how it would have been answered. Pure.

Compared is what people do too: a hand-over (a task, another group), a reopening, a closing. A note is no deed, and
nobody writes the same one; where only notes would have been written there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from desired_state.model import OUR_MARK, Says, Task, Ticket
from reconciler.answers.values import COMPLETE, INCOMPLETE
from reconciler.line import Finding, Rest
from reconciler.promotion.effects import Effect
from reconciler.promotion.judge import Now
from reconciler.promotion.values import STILL, Found, Outcome, Shadow

_WITHDRAWN = frozenset({Says.REJECTED, Says.CANCELLED})
_BY_LEVEL = {"silent": (), "note": (), "task": ("task",), "full": ("task", "reopened", "closed")}


def base(ticket: Ticket) -> dict[str, Any]:
    """What a later look is compared with: JSON values."""
    tasks = {t.sys_id: {"group": t.assignment_group, "is_active": t.is_active} for t in ticket.tasks}
    return {"is_active": ticket.is_active, "group": ticket.assignment_group, "tasks": tasks}


def judge(shadow: Shadow, now: Now) -> Found:
    """What became of an answer that was not given; `STILL` while nothing has.

    Where a level gives tasks, the task is ours, and what people made of it counts.
    """
    found = now.finding
    if found is None and now.state is not None:  # a ticket that moves is looked at
        return _over(shadow, now, Outcome.NOBODY_ACTED, "Nobody did anything about the ticket in time.")
    if found is None:
        return _over(shadow, now, Outcome.CANNOT_TELL, "The ticket was not looked at any more.")
    ticket, main = found.line.ticket, _main(shadow)
    if main["do"] == "closed":
        seen = _closing(main, ticket, found, shadow.base)
    elif main["do"] in _BY_LEVEL.get(shadow.step, ()):
        seen = _our_task(ticket, shadow.base)
    else:
        seen = _hand_over(main, ticket, found, shadow.base)
    if seen is not None:
        return seen
    return _over(shadow, now, Outcome.NOBODY_ACTED, "Nobody did anything about the ticket in time.")


def _over(shadow: Shadow, now: Now, outcome: Outcome, why: str) -> Found:
    return Found(outcome, why) if now.at - shadow.recorded_at >= now.wait else STILL


def _main(shadow: Shadow) -> Effect:
    """What counts of several answers: a reopening more than its task."""
    return min(shadow.would, key=lambda e: ("closed", "reopened", "task").index(str(e["do"])))


_STATES = {COMPLETE: "closed complete", INCOMPLETE: "closed incomplete"}


def _state(value: str) -> str:
    return f"state {value} ({_STATES[value]})" if value in _STATES else f"state {value}"


Seen = Found | None  # who it was and when is known of the closing of a ticket alone


def _closed(outcome: Outcome, why: str, ticket: Ticket) -> Found:
    return Found(outcome, why, ticket.closed_by, ticket.closed_at)


def _closing(main: Effect, ticket: Ticket, found: Finding, before: Mapping[str, Any]) -> Seen:
    says = found.line.says
    task = next((t for t in ticket.tasks if t.sys_id == main["target"]), None)
    if task is not None and task.is_active is False:
        if task.state == main["state"]:
            return Found(Outcome.AGREED, f"{task.number} was closed as we would have closed it.")
        return Found(
            Outcome.DIFFERED, f"{task.number} was closed in {_state(task.state)}, not {_state(main['state'])}."
        )
    if before.get("is_active") is not False and ticket.is_active is False:
        if (says is Says.FULFILLED) == (main["state"] == COMPLETE):
            return _closed(Outcome.AGREED, "The ticket was closed as we would have closed it.", ticket)
        return _closed(Outcome.DIFFERED, f"The ticket was closed, and says {says.value}.", ticket)
    if task is not None and main["target"] in (before.get("tasks") or {}):
        group = before["tasks"][main["target"]].get("group")
        if task.assignment_group != group:
            return Found(Outcome.DIFFERED, f"{task.number} was given to another group instead of being closed.")
    return None


def _our_task(ticket: Ticket, before: Mapping[str, Any]) -> Seen:
    """The newest task that we opened: closed complete, people took it as right; closed otherwise, as wrong."""
    known = before.get("tasks") or {}
    ours = [t for t in ticket.tasks if t.correlation_id.startswith(OUR_MARK) and t.sys_id not in known]
    if not ours or ours[-1].is_active is not False:
        return None
    task = ours[-1]
    if task.state == COMPLETE:
        return Found(Outcome.AGREED, f"{task.number}, our task, was closed complete.")
    return Found(Outcome.DIFFERED, f"{task.number}, our task, was closed in {_state(task.state)}, not complete.")


def _hand_over(main: Effect, ticket: Ticket, found: Finding, before: Mapping[str, Any]) -> Seen:
    says, was_active = found.line.says, before.get("is_active")
    is_reopened = was_active is False and ticket.is_active is True
    new = [t for t in ticket.tasks if t.sys_id not in (before.get("tasks") or {})]
    theirs = [t for t in new if not t.correlation_id.startswith(OUR_MARK)]
    moved = _moved(ticket, before)
    if main["do"] == "reopened":
        if is_reopened:
            return Found(Outcome.AGREED, "The ticket was reopened.")
        if theirs:
            return Found(Outcome.DIFFERED, f"{theirs[-1].number} was opened, and the ticket stayed closed.")
    else:
        if is_reopened:
            return Found(Outcome.DIFFERED, "The ticket was reopened; we would only have opened a task.")
        given = [*theirs, *moved]
        if given:
            return _to_group(main, given[-1])
    if was_active is not False and ticket.is_active is False and says is Says.FULFILLED:
        why = "The ticket was closed as fulfilled; we would have handed it over."
        return _closed(Outcome.DIFFERED, why, ticket)
    if says in _WITHDRAWN:
        return Found(Outcome.CANNOT_TELL, "The request was withdrawn before anybody acted.")
    if found.rest is Rest.PROVEN:
        return Found(Outcome.CANNOT_TELL, "The access came, and nothing was done in the ticket.")
    return None


def _moved(ticket: Ticket, before: Mapping[str, Any]) -> list[Task]:
    """Open tasks that went to another group since."""
    known = before.get("tasks") or {}
    open_ = [t for t in ticket.tasks if t.is_active is True and t.sys_id in known]
    return [t for t in open_ if t.assignment_group != known[t.sys_id].get("group")]


def _to_group(main: Effect, task: Task) -> Seen:
    if not main.get("group") or task.assignment_group == main["group"]:
        return Found(Outcome.AGREED, f"{task.number} went to the group that we would have asked.")
    return Found(Outcome.DIFFERED, f"{task.number} went to another group than we would have asked.")
