"""Whom the tickets of one read mention: each ticket gets its own people and nobody else's (I11).

People are read for all tickets of a page together, in a number of requests that the tickets bound; but a ticket that
could see the people of its page neighbours would read differently beside others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from desired_state.intake import user_names
from desired_state.items import Item
from desired_state.model import LineKey, Person, Ticket
from reconciler.clients.servicenow import ServiceNow
from reconciler.errors import RemoteError, Unavailable

_SYS_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Mentioned:
    """Those whom one ticket's form refers to by sys_id, and by user name; None for who is there and not shown."""

    people: Mapping[str, Person] = field(default_factory=dict)
    named: Mapping[str, Person | None] = field(default_factory=dict)


def mentions(
    servicenow: ServiceNow,
    tickets: Sequence[Ticket],
    items: Mapping[str, Item],
    *,
    read: Mapping[str, Person] | None = None,
    meant: Mapping[LineKey, str] | None = None,
) -> dict[str, Mentioned]:
    """By number of the ticket. Who is neither in `read` nor known by name is asked for.

    `read` are people by sys_id who were read just now. `meant` says whom (sys_id) the user name of a line was read to
    mean before: a name that was given to somebody else since does not make an old ticket mean them (I18).
    """
    typed = {t.number: _typed(t, items[t.item], meant or {}) for t in tickets}
    own = {t.number: frozenset(_references(t)) for t in tickets}
    wanted = frozenset().union(*own.values(), *(filter(None, names.values()) for names in typed.values()))
    people = {sys_id: person for sys_id, person in (read or {}).items() if sys_id in wanted}
    people |= servicenow.people(sorted(wanted - people.keys()))
    names = sorted({name for known in typed.values() for name, sys_id in known.items() if not sys_id})
    found = servicenow.people_named(names) if names else {}

    def named(known: Mapping[str, str]) -> dict[str, Person | None]:
        shown = {name: people.get(sys_id) if sys_id else _shown(found.get(name)) for name, sys_id in known.items()}
        is_hidden = {name for name, sys_id in known.items() if sys_id or isinstance(found.get(name), Unavailable)}
        return {name: person for name, person in shown.items() if person is not None or name in is_hidden}

    return {
        t.number: Mentioned(
            {sys_id: people[sys_id] for sys_id in sorted(own[t.number]) if sys_id in people}, named(typed[t.number])
        )
        for t in tickets
    }


def _typed(ticket: Ticket, item: Item, meant: Mapping[LineKey, str]) -> dict[str, str]:
    """The user names that a form holds where a person is expected, and the sys_id that is known of each, or ""."""
    known: dict[str, str] = {}
    for line, name in user_names(ticket, item).items():
        known[name] = known.get(name) or meant.get(LineKey(ticket.number, line), "")
    return known


def _shown(found: Person | RemoteError | None) -> Person | None:
    return found if isinstance(found, Person) else None


def _references(ticket: Ticket) -> Iterable[str]:
    """Values that look like sys_ids; those that are no person are simply not found."""
    answers = [*(ticket.variables or {}).values(), *(v for row in ticket.rows for v in row.values())]
    parts = (part.lower() for value in answers for part in value.replace(" ", "").split(","))
    return (part for part in parts if _SYS_ID.fullmatch(part))
