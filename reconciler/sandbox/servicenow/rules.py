"""The base business rules on `task`, as the platform ships them. Pure.

Source: servicenow.md section 10. Rules run in their documented order on the row as it is about to be stored, each
seeing what the one before it changed. Notably `{"state": "2"}` alone on a closed row matches no rule: the row then
says work in progress and inactive at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.sandbox.servicenow.schema import Row
from reconciler.sandbox.servicenow.tables import CLOSED_STATES, OPEN_STATE


def settle_task(before: Row, after: dict[str, str]) -> None:
    """Change `after` in place as the rules do; `before` is the stored row, empty for a new one."""
    mark_closed(before, after)
    task_closer(before, after)
    task_reopener(before, after)


def mark_closed(before: Row, after: dict[str, str]) -> None:
    """A state that becomes a closed one makes the task inactive."""
    if after.get("state", "") in CLOSED_STATES and after.get("state") != before.get("state"):
        after["active"] = "false"


def task_closer(before: Row, after: dict[str, str]) -> None:
    """A task made inactive while its state is open becomes closed complete."""
    if before.get("active") == "true" and after.get("active") == "false" and after.get("state") not in CLOSED_STATES:
        after["state"] = "3"


def task_reopener(before: Row, after: dict[str, str]) -> None:
    """A closed task made active becomes open; an open one is active."""
    was_made_active = before.get("active") == "false" and after.get("active") == "true"
    if was_made_active and after.get("state") in CLOSED_STATES:
        after["state"] = OPEN_STATE
    elif after.get("state") == OPEN_STATE and after.get("active") == "false":
        after["active"] = "true"


def would_reopen(before: Row, changes: Row) -> bool:
    """Whether writing `changes` takes a closed task out of its closed state, or makes it active."""
    if before.get("state") not in CLOSED_STATES or before.get("active") != "false":
        return False
    after = {**before, **changes}
    settle_task(before, after)
    return after.get("state") not in CLOSED_STATES or after.get("active") == "true"


def rolled_up_state(states: Iterable[str]) -> str | None:
    """The state of an item whose tasks have `states`, or None while one is open (section 8, execution plans)."""
    found = set(states)
    if not found or not found <= CLOSED_STATES:
        return None
    if found == {"7"}:
        return "7"
    return "4" if "4" in found else "3"


def rolled_up_approval(states: Iterable[str]) -> str:
    """The approval of a task whose approvers have `states` (section 8)."""
    asked = [state for state in states if state not in {"cancelled", "not_required", "not_entitled"}]
    if "rejected" in asked:
        return "rejected"
    if all(state == "not requested" for state in asked):
        return "not requested"
    return "approved" if all(state == "approved" for state in asked) else "requested"
