"""Reading what rules ask about besides the lines: who is in which group, and what rules approved lately.

Groups are read only where a rule names one, and only of people for whom something would be changed. A group that does
not exist, has a namesake or cannot be read is not known for anybody, so that a mistyped deny list asks a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from desired_state.model import GroupId, Product, ProductKey, Request, Says, UserId
from desired_state.rules import Rules, group_key
from reconciler.clients.graph import GUID
from reconciler.errors import RemoteError
from reconciler.line import Finding, Rest
from reconciler.loop.belonging import Belonging
from reconciler.loop.judging import Evidence
from reconciler.model import ObservedGroup
from reconciler.store import rulings
from reconciler.store.database import Database

DAY = timedelta(hours=24)


def evidence(
    groups: Belonging,
    database: Database,
    tenant: str,
    rules: Rules,
    products: Mapping[ProductKey, Product],
    findings: Iterable[Finding],
    at: datetime,
) -> Evidence:
    """Everything that the rules of a tenant may ask about the lines of one cycle."""
    with database.read() as session:
        approved = rulings.approved_since(session, tenant, at - DAY)
    names = rules.group_names()
    people = sorted({f.user.id for f in findings if f.user is not None and _is_judged(f)}) if names else []
    return Evidence(products, memberships(groups, names, people) if people else {}, approved)


def _is_judged(finding: Finding) -> bool:
    declared = finding.line.declared
    is_asked = isinstance(declared, Request) and declared.says in (Says.APPROVED, Says.WAITING)
    return finding.rest is Rest.ACT and is_asked


def memberships(
    groups: Belonging, names: Sequence[str], people: Sequence[UserId]
) -> dict[UserId, Mapping[str, bool | None]]:
    """Which of the groups that rules name each person is in, directly or through another one; None: not known."""
    ids = named_groups(groups, names)
    known = any(group is not None for group in ids.values())
    inside = groups.of(people) if known else {}
    found: dict[UserId, Mapping[str, bool | None]] = {}
    for user in people:
        own = inside.get(user)
        is_read = isinstance(own, frozenset)
        found[user] = {
            name: (group in own if isinstance(own, frozenset) else None) if group is not None and is_read else None
            for name, group in ids.items()
        }
    return found


def named_groups(groups: Belonging, names: Sequence[str]) -> dict[str, GroupId | None]:
    """The groups that rules name, by how facts call them; None for what is no single group."""
    words = [name for name in names if not GUID.fullmatch(name.strip())]
    given = [GroupId(name.strip().lower()) for name in names if GUID.fullmatch(name.strip())]
    called = groups.called([word.strip() for word in words]) if words else {}
    there = groups.graph.groups(given) if given else {}
    found: dict[str, GroupId | None] = {
        group_key(group): group if isinstance(there.get(group), ObservedGroup) else None for group in given
    }
    for word in words:
        several = called.get(word.strip(), ())
        is_one = not isinstance(several, RemoteError) and len(several) == 1
        found[group_key(word)] = several[0].id if is_one and not isinstance(several, RemoteError) else None
    return found
