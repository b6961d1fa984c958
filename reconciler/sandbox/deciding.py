"""A person decides an approval in ServiceNow: what tests, `sandbox decide` and the control port share.

People are named as a reader of the ticket would name them: full name, user name, e-mail address or sys_id.
"""

from __future__ import annotations

from reconciler.sandbox.world import World

VERDICTS = ("approved", "rejected", "cancelled", "not_required", "requested")
NO_PERSON = frozenset({"system", "admin"})


def decide(
    world: World, ticket: str, verdict: str, *, approver: str, by: str = "", comments: str = "", impersonator: str = ""
) -> str:
    """Move the approval of `approver` on a ticket (RITM number) to `verdict`; the sentence of what happened.

    `by` does it instead of the approver: a delegate, an administrator, a program, or "system" for a due date;
    `impersonator` does it under the name of whoever that is.

    Raises:
        ValueError: no such ticket, person or verdict, or the person is not asked.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"no such verdict: {verdict!r}; there are {', '.join(VERDICTS)}")
    with world.lock:
        found = world.instance.records("sc_req_item", number=ticket)
        if not found:
            raise ValueError(f"there is no ticket {ticket!r}")
        asked = _person(world, approver)
        actor = _person(world, by)["user_name"] if by and by not in NO_PERSON else by
        hidden = _person(world, impersonator)["user_name"] if impersonator else ""
        try:
            world.instance.decide(
                found[0]["sys_id"], asked["sys_id"], verdict, comments=comments, by=actor, impersonator=hidden
            )
        except KeyError:
            raise ValueError(f"{asked['name']} is not asked about {ticket}") from None
    return f"{asked['name']}'s approval of {ticket} is {verdict}, by {actor or asked['user_name']}."


def _person(world: World, named: str) -> dict[str, str]:
    wanted = named.casefold()
    for row in world.instance.records("sys_user"):
        if wanted in {row[column].casefold() for column in ("sys_id", "user_name", "name", "email") if row[column]}:
            return row
    raise ValueError(f"nobody in ServiceNow is called {named!r}")
