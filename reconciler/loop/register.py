"""What the directory says about who may be changed: groups of the scope, and holders of administrator roles.

Only what the configuration asks for is read. What fails is an `Unread`: a group that is not known to leave somebody
out, or roles that are not known to be none, wave nobody through.
"""

from __future__ import annotations

from collections.abc import Collection

from desired_state.model import GroupId, UserId
from reconciler.clients.graph import GUID, Graph
from reconciler.errors import RemoteError
from reconciler.line import Unread
from reconciler.loop.belonging import Belonging
from reconciler.loop.guards.scope import Register, Scope
from reconciler.loop.look import unread_roles


def register(
    graph: Graph,
    groups: Belonging,
    scope: Scope,
    users: Collection[UserId],
    *,
    role_holders: frozenset[UserId] | Unread | None = None,
) -> Register:
    """Read what `scope` needs to know about the users; `role_holders` are those that were just read, None: they were
    not."""
    if not users:
        return Register()
    holders: frozenset[UserId] | Unread = frozenset()
    if scope.deny_role_holders:
        holders = role_holders if role_holders is not None else _role_holders(graph)
    if not scope.groups:
        return Register(role_holders=holders)
    try:
        belongs = groups.of(sorted(users))
    except RemoteError as error:
        return Register(_named(groups, scope.groups), {u: Unread(str(error)) for u in users}, holders)
    inside = {
        user: found if isinstance(found, frozenset) else Unread(f"the groups of the account could not be read: {found}")
        for user, found in belongs.items()
    }
    return Register(_named(groups, scope.groups), inside, holders)


def _role_holders(graph: Graph) -> frozenset[UserId] | Unread:
    try:
        return graph.role_holders()
    except RemoteError as error:
        return unread_roles(error)


def _named(groups: Belonging, names: Collection[str]) -> dict[str, GroupId | Unread]:
    """The configured groups by id. A name that nobody has, or two, is no group: it may be the one that denies."""
    found: dict[str, GroupId | Unread] = {name: GroupId(name.lower()) for name in sorted(names) if GUID.fullmatch(name)}
    words = sorted(name for name in names if name not in found)
    try:
        called = groups.called(words) if words else {}
    except RemoteError as error:
        return found | {name: Unread(f"the group {name} could not be read: {error}") for name in words}
    for name in words:
        shown = called.get(name)
        if not isinstance(shown, tuple):
            found[name] = Unread(f"the group {name} could not be read: {shown}")
        elif len(shown) == 1:
            found[name] = shown[0].id
        else:
            found[name] = Unread(f"{len(shown) or 'no'} groups are called {name}; configure its object id")
    return found


def purposes(graph: Graph, users: Collection[UserId], *, may_read: bool) -> dict[UserId, str | Unread]:
    """What the mailbox of each user is for, "" for none."""
    if not may_read:
        return dict.fromkeys(users, Unread("what the mailbox is for may not be read (MailboxSettings.Read)"))
    try:
        read = graph.mailbox_purposes(users)
    except RemoteError as error:
        return dict.fromkeys(users, Unread(f"what the mailbox is for could not be read: {error}"))
    return {
        user: found if isinstance(found, str) else Unread(f"what the mailbox is for could not be read: {found}")
        for user, found in read.items()
    }
