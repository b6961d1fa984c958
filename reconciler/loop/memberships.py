"""Reading the groups that products reach people through, and who is in them. What fails is a value that says so.

Groups are configured by name or object id; a name that belongs to two groups means neither. Groups are read once a
cycle; whether a person is in one is read again with every look, unless a licence in force by the group says so. That
is no sign where we may have taken the person out: the licence stays until the group is processed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from desired_state.model import GivenKind, GroupId, Path, UserId
from desired_state.resolve import OVER
from reconciler.clients.graph import GUID, Graph
from reconciler.errors import NotFound, RemoteError
from reconciler.lifecycle import Phase
from reconciler.line import Gone, Line, Unread
from reconciler.loop.groups import BUSY
from reconciler.model import ObservedGroup, ObservedUser

Groups = Mapping[GroupId, ObservedGroup | Gone | Unread]


def named_groups(line: Line) -> frozenset[GroupId]:
    """The groups that matter for a line, as configured: its product's, and those we put the person into."""
    state, product = line.state, line.product
    given = (*line.given, *(state.given if state is not None else ()))
    found = {g.group for g in given if g.kind is GivenKind.MEMBER}
    if product is not None:
        found |= {product.group if product.path is Path.GROUP else None, product.enabling_group}
    return frozenset(g for g in found if g is not None)


def switching_groups(lines: Iterable[Line], users: Mapping[UserId, object]) -> frozenset[GroupId]:
    """The groups that give a person a licence with the plans of their product switched off: people know their names."""
    found: set[GroupId] = set()
    for line in lines:
        user = users.get(line.binding.user) if line.binding.user is not None else None
        if line.product is not None and isinstance(user, ObservedUser):
            wanted = frozenset(line.product.proof_plans)
            rows = (a for a in user.assignments or () if a.group is not None and a.is_in_force)
            found |= {a.group for a in rows if a.group is not None and wanted & a.disabled_plans}
    return frozenset(found)


def read_groups(graph: Graph, names: Iterable[GroupId]) -> Groups:
    """Groups by their id and, where they are configured so, by their name."""
    wanted = frozenset(names)
    words = sorted(name for name in wanted if not GUID.fullmatch(name))
    called = graph.groups_by_name(words) if words else {}
    ids = {name: _single(called.get(name)) for name in words}
    known = {i for i in ids.values() if isinstance(i, str)} | {g for g in wanted if GUID.fullmatch(g)}
    read = graph.groups(sorted(known)) if known else {}
    found: dict[GroupId, ObservedGroup | Gone | Unread] = {g: _value(read.get(g)) for g in sorted(known)}
    for name, one in ids.items():
        found[GroupId(name)] = found[one] if isinstance(one, str) else one
    return found


def _single(found: tuple[ObservedGroup, ...] | RemoteError | None) -> GroupId | Gone | Unread:
    match found:
        case None:
            return Unread("the directory left it out of its answer")
        case RemoteError():
            return Unread(str(found))
        case ():
            return Gone()
        case (one,):
            return one.id
        case several:
            return Unread(f"{len(several)} groups have this name; configure its object id")


def _value(found: ObservedGroup | RemoteError | None) -> ObservedGroup | Gone | Unread:
    match found:
        case ObservedGroup():
            return found
        case NotFound():
            return Gone()
        case None:
            return Unread("the directory left it out of its answer")
        case _:
            return Unread(str(found))


def read_members(
    graph: Graph, lines: Iterable[Line], users: Mapping[UserId, object], groups: Groups
) -> dict[tuple[GroupId, UserId], bool | Unread]:
    """Whether the lines' people are direct members of the groups that matter for them."""
    found: dict[tuple[GroupId, UserId], bool | Unread] = {}
    asked: set[tuple[GroupId, UserId]] = set()
    for line in lines:
        user = users.get(line.account) if line.account is not None else None
        if not isinstance(user, ObservedUser):
            continue
        for group in (groups.get(name) for name in sorted(named_groups(line))):
            if not isinstance(group, ObservedGroup):
                continue
            is_given = any(a.group == group.id and a.state == "Active" for a in user.assignments or ())
            if is_given and not _may_have_left(line):
                found.setdefault((group.id, user.id), True)
            else:
                asked.add((group.id, user.id))
    belongs = graph.user_groups(sorted({user for _, user in asked})) if asked else {}
    for pair in sorted(asked):
        sits_in = belongs.get(pair[1], Unread("the directory left it out of its answer"))
        found[pair] = pair[0] in sits_in if isinstance(sits_in, frozenset) else Unread(_why(sits_in))
    return found


_UNDER_WAY = (Phase.CONVERGING, Phase.VERIFYING, Phase.REVOKING)


def _may_have_left(line: Line) -> bool:
    """Whether we take the person out of the group, or may have done so a moment ago."""
    is_under_way = line.state is not None and line.state.phase in _UNDER_WAY
    return is_under_way or line.skipped.startswith(OVER)


def _why(unread: RemoteError | Unread) -> str:
    return unread.why if isinstance(unread, Unread) else str(unread)


def read_waiting(
    graph: Graph, groups: Groups, known: Mapping[tuple[GroupId, UserId], object]
) -> dict[tuple[GroupId, UserId], bool | Unread]:
    """Members of whom no line asks for the group and whom it may still give its licences, while it is processed (I13).

    Memberships that are `known` were asked for by a line. Others may be of anybody, people of other lines included.
    Whose licences are not shown counts as one of them. A group whose members cannot be read adds nobody.
    """
    found: dict[tuple[GroupId, UserId], bool | Unread] = {}
    busy = {g.id: g for g in groups.values() if isinstance(g, ObservedGroup) and g.licenses and g.processing in BUSY}
    for group_id, group in sorted(busy.items()):
        gives = {grant.sku for grant in group.licenses or ()}
        try:
            held = graph.group_members(group_id)
        except RemoteError:
            continue
        for user, skus in held.items():
            if (group_id, user) not in known and (skus is None or not gives <= skus):
                found[group_id, user] = True
    return found
