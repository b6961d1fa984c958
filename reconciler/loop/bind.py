"""Whom a line means: names to accounts, once per line, with doubts said aloud (I18).

A sign-in name can be reused and a ticket can name a person in two ways. Whatever could mean somebody else is a
question for a person, never a write. The decision is pure; only the look-up reads the directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from desired_state.model import Claim, Person, Request, Ticket, UserId
from reconciler.clients.graph import Graph
from reconciler.errors import NotFound, RemoteError
from reconciler.line import Binding, Known
from reconciler.loop.pauses import PIECE, Pause, uninterrupted
from reconciler.model import ObservedUser

NAME_MAX = 113  # characters of a userPrincipalName
NEWER_THAN_TICKET = timedelta(hours=1)  # clocks and imports of two systems differ by less than this


def names_of(claim: Claim) -> tuple[str, ...]:
    """Sign-in names that a claim may mean, best first, in lower case."""
    person = claim.person
    return _names([claim.upn, *([person.email, person.user_name] if person is not None else [])])


def names_of_person(person: Person) -> tuple[str, ...]:
    """Sign-in names that a person of the ticket system may have, best first, in lower case."""
    return _names([person.email, person.user_name])


def _names(typed: Iterable[str | None]) -> tuple[str, ...]:
    names = (n.strip().lower() for n in typed if n)
    return tuple(dict.fromkeys(n for n in names if _is_name(n)))


def _is_name(text: str) -> bool:
    """Whether a text can be a sign-in name at all; what cannot is never sent anywhere."""
    return "@" in text and len(text) <= NAME_MAX and text.isprintable() and " " not in text


def look_up(
    graph: Graph, requests: Iterable[Request], pause: Pause = uninterrupted
) -> dict[str, ObservedUser | RemoteError]:
    """The accounts of all names that the requests may mean, by name in lower case."""
    names = sorted({name for request in requests for name in names_of(request.claim)})
    found: dict[str, ObservedUser | RemoteError] = {}
    for n in range(0, len(names), PIECE):
        found |= graph.users_by_upn(names[n : n + PIECE])
        pause()
    return found


def bind(
    request: Request,
    ticket: Ticket,
    found: Mapping[str, ObservedUser | RemoteError],
    *,
    taken: Mapping[str, UserId],
) -> Binding:
    """Decide which account a request means.

    `taken` holds names that were bound before (name to object id): a name that means another object now is a doubt.
    """
    names = names_of(request.claim)
    if not names:
        return Binding(Known.MISSING, why="The request names no account: the person has no sign-in name or address.")
    unread = [r for n in names if isinstance(r := found.get(n), RemoteError) and not isinstance(r, NotFound)]
    accounts = {u.id: (n, u) for n in reversed(names) if isinstance(u := found.get(n), ObservedUser)}
    if unread:
        return Binding(Known.UNREAD, why=str(unread[0]))
    if any(n not in found for n in names):
        return Binding(Known.UNREAD, why="the directory left it out of its answer")
    if not accounts and _is_hidden(request, ticket):
        return Binding(Known.UNREAD, why="ServiceNow does not show the person now, who may have another name by now")
    if not accounts:
        return Binding(Known.MISSING, why=f"There is no account {' or '.join(names)} in the directory.")
    if len(accounts) > 1:
        return Binding(Known.MISMATCH, why=f"The request's names ({', '.join(names)}) belong to different accounts.")
    name, user = next(iter(accounts.values()))
    doubt = _doubt(request, ticket, user, name, taken)
    return Binding(Known.MISMATCH, why=doubt) if doubt else Binding(Known.BOUND, user.id)


def _is_hidden(request: Request, ticket: Ticket) -> bool:
    """Whether the names are those that the person had when the ticket was last shown whole (I4)."""
    person, shown = request.claim.person, (ticket.requested_for, ticket.opened_by)
    if person is None or any(p is not None and p.sys_id == person.sys_id for p in shown):
        return False
    return ticket.variables is None or None in shown


def _doubt(request: Request, ticket: Ticket, user: ObservedUser, name: str, taken: Mapping[str, UserId]) -> str:
    before = taken.get(name)
    if before is not None and before != user.id:
        return f"{name} meant another account before; it may have been given to somebody else."
    agreed = _same_employee(request.claim.person, user)
    if agreed is False:
        return f"The employee number of {name} in the directory is not the one of the person in ServiceNow."
    if agreed is True or user.created_at is None:
        return ""
    # Without a matching employee number, an account that is newer than its ticket may be anybody's.
    if user.created_at > ticket.opened_at + NEWER_THAN_TICKET:
        return f"The account {name} is newer than this ticket; the name may have been given to somebody else."
    return ""


def _same_employee(person: Person | None, user: ObservedUser) -> bool | None:
    """Whether both systems give the same employee number; None when one of them gives none."""
    theirs = (person.employee_number or "").strip().lower() if person is not None else ""
    ours = (user.employee_id or "").strip().lower()
    return theirs == ours if theirs and ours else None
