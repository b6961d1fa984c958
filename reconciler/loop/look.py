"""Reading the accounts that lines are about: few, full reads, errors kept as values.

Used by observe, by execute just before a write, and by verify after it: one way to look, so that the three can be
compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from desired_state.model import ProductKey, Tier, UserId
from reconciler.clients.graph import Glance, Graph
from reconciler.errors import NotFound, RemoteError
from reconciler.line import Access, Gone, Line, Look, Observed, Unread
from reconciler.loop.memberships import Groups, named_groups, read_groups, read_members, read_waiting, switching_groups
from reconciler.loop.pauses import PIECE, Pause, uninterrupted
from reconciler.loop.proof import prove
from reconciler.loop.rolling import Rolling
from reconciler.model import AuditTrail, ObservedUser, Probed, SkuDetail, SubscribedSku


def subjects(lines: Iterable[Line]) -> frozenset[UserId]:
    """The accounts that the lines are about."""
    return frozenset(line.account for line in lines if line.account is not None)


@dataclass(frozen=True, slots=True)
class Eyes:
    """What looking takes: the directory, the workload probes by name, and which application we are ourselves.

    `rolling` is the scan of all users in slices, and keeps what the last one showed; None keeps nothing. `sees_roles`:
    a first look shows who holds an administrator role, too. `pause` is called between batches of reads.
    """

    graph: Graph
    probes: Mapping[str, Look] = field(default_factory=dict)
    our_app: str = ""
    rolling: Rolling | None = None
    sees_roles: bool = False
    pause: Pause = uninterrupted


NOBODY: Mapping[UserId, ObservedUser] = MappingProxyType({})


def look(
    eyes: Eyes,
    lines: Iterable[Line],
    skus: Iterable[SubscribedSku] | None,
    *,
    at: datetime,
    groups: Groups | None = None,
    known: Mapping[UserId, ObservedUser] = NOBODY,
) -> Observed:
    """Read the lines' accounts, the states of their service plans, and what probes say where the plans are proven.

    What fails is an `Unread`, never an absence. `groups` are those that an earlier look has read; the first one of a
    cycle shows who holds a role, too. Seats are read in the same requests where there are no `skus` yet. Accounts that
    are `known` were read a moment ago.

    Raises:
        RemoteError: the directory could not be asked, or the seats could not be read.
    """
    every = tuple(lines)
    wanted = sorted(subjects(every))
    with_seats, with_roles = skus is None, groups is None and eyes.sees_roles and bool(wanted)
    seen = Glance({}, {})
    users: dict[UserId, ObservedUser | Gone | Unread] = {}
    details: dict[UserId, tuple[SkuDetail, ...] | Unread] = {}
    for n in range(0, len(wanted), PIECE) or ((0,) if with_seats else ()):
        piece = wanted[n : n + PIECE]
        asked = [user for user in piece if user not in known]
        is_begin = n == 0
        part = eyes.graph.look(asked, piece, with_seats=with_seats and is_begin, with_roles=with_roles and is_begin)
        seen = part if is_begin else seen
        read = {user: known[user] if user in known else part.users.get(user) for user in piece}
        present = [user for user in piece if isinstance(read[user], ObservedUser)]
        details |= {user: _details(part.details.get(user)) for user in present}
        users |= {user: value_of(read[user]) for user in piece}
        if n + PIECE < len(wanted) or is_begin:
            eyes.pause()
    is_first = groups is None
    if groups is None:
        named = {name for line in every for name in named_groups(line)}
        groups = read_groups(eyes.graph, named | switching_groups(every, users))
    members = read_members(eyes.graph, every, users, groups)
    waiting = read_waiting(eyes.graph, groups, members) if is_first else {}
    return Observed(
        at,
        users,
        details,
        {sku.sku: sku for sku in (seen.skus or () if skus is None else skus)},
        groups,
        {**waiting, **members},
        probed=_probed(eyes, every, details),
        our_app=eyes.our_app,
        role_holders=unread_roles(holders) if isinstance(holders := seen.role_holders, RemoteError) else holders,
    )


def look_back(eyes: Eyes, wanted: Mapping[UserId, datetime], observed: Observed) -> Observed:
    """The same, with what the directory's log says of some users since then. An error is an `Unread`: it may be."""
    trails: dict[UserId, AuditTrail | Unread] = {}
    for user, since in sorted(wanted.items()):
        try:
            trails[user] = eyes.graph.directory_audits(user, since)
        except RemoteError as error:
            trails[user] = Unread(str(error))
    return replace(observed, audits=trails)


def _probed(
    eyes: Eyes, lines: Iterable[Line], details: Mapping[UserId, tuple[SkuDetail, ...] | Unread]
) -> dict[tuple[UserId, ProductKey], Probed | Unread]:
    """Only where the licence is proven: a service without its licence cannot work."""
    asked: dict[str, set[tuple[UserId, ProductKey]]] = {}
    for line in lines:
        user, product = line.binding.user, line.product
        if user is None or product is None or not product.probe or product.tier < Tier.V3:
            continue
        held = details.get(user)
        if isinstance(held, tuple) and prove(product, held).access is Access.PROVEN:
            asked.setdefault(product.probe, set()).add((user, product.key))
    answers: dict[tuple[UserId, ProductKey], Probed | Unread] = {}
    for name, pairs in sorted(asked.items()):
        try:
            said = eyes.probes[name](sorted({user for user, _ in pairs})) if name in eyes.probes else {}
        except RemoteError as error:
            said = {user: Unread(str(error)) for user, _ in sorted(pairs)}
        answers |= {pair: said.get(pair[0], Unread(f"the probe {name} did not say")) for pair in sorted(pairs)}
    return answers


def unread_roles(error: RemoteError) -> Unread:
    """Why nobody can say who holds an administrator role."""
    return Unread(f"who holds an administrator role could not be read: {error}")


def _details(found: tuple[SkuDetail, ...] | RemoteError | None) -> tuple[SkuDetail, ...] | Unread:
    match found:
        case tuple():
            return found
        case None:
            return Unread("the directory left it out of its answer")
        case _:
            return Unread(str(found))


def value_of(found: ObservedUser | RemoteError | None) -> ObservedUser | Gone | Unread:
    """What was read of one account, as a value: a failure is an `Unread`, never an absence."""
    match found:
        case ObservedUser():
            return found
        case NotFound():
            return Gone()
        case None:
            return Unread("the directory left it out of its answer")
        case _:
            return Unread(str(found))
