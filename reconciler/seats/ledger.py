"""How many seats a tenant can still give, by the documented formula, and who spends them within one plan. Pure.

A seat is free only once Graph counts it free (I13). What an accepted write or a group that is still being processed
will use, and Graph does not count yet, is spent already: it is promised to that person and to nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from desired_state.model import GivenKind, SkuId, UserId
from reconciler.lifecycle import Phase
from reconciler.line import Line, LineState, Observed, Unread
from reconciler.model import ObservedGroup, ObservedUser, SubscribedSku

Promise = tuple[UserId, SkuId]
_ASSIGNABLE = frozenset({"enabled", "warning"})
WORKED_OUT = timedelta(hours=24)  # for a group; what takes longer is a support case (graph.md section 8)
_UNDER_WAY = frozenset({Phase.CONVERGING, Phase.VERIFYING})


@dataclass(frozen=True, slots=True)
class Seats:
    """Whole licences of one SKU that can be given now. `grace` are those that count only because they may be used."""

    free: int = 0
    grace: int = 0  # of `free`


def count(sku: SubscribedSku, *, use_grace: bool) -> Seats:
    """Free seats: enabled less consumed; units in grace (`warning`) on top of that only if they may be used.

    Nothing is free in a SKU that applies to the company, or whose capability is Suspended, Deleted, LockedOut or a
    word that we do not know. Consumed units fill the enabled ones first. Source: graph.md section 5; whether units in
    grace can still be assigned is not confirmed there, hence the setting.
    """
    if sku.applies_to.lower() != "user" or sku.capability.lower() not in _ASSIGNABLE:
        return Seats()
    enabled = max(0, sku.enabled - sku.consumed)
    everything = max(0, sku.enabled + (sku.warning if use_grace else 0) - sku.consumed)
    return Seats(everything, everything - enabled)


def promised(lines: Iterable[Line], observed: Observed) -> frozenset[Promise]:
    """Seats that will be used by what was done already, and that the person's licences do not show yet."""
    sent = [
        (line.state.user, given)
        for line in lines
        if line.state is not None and line.state.user is not None and _is_under_way(line.state, observed)
        for given in line.state.given
    ]
    accepted = {(user, g.sku) for user, g in sent if g.kind is GivenKind.LICENSE and g.sku is not None}
    unseen = {  # put into a group by us, and now nobody can tell whether they are in it
        (user, grant.sku)
        for user, g in sent
        if g.kind is GivenKind.MEMBER and g.group is not None
        if isinstance(carrier := observed.groups.get(g.group), ObservedGroup)
        if not isinstance(observed.members.get((carrier.id, user)), bool)
        for grant in carrier.licenses or ()
        if not _is_judged(observed, user, grant.sku, carrier.id)
    }
    joined = {
        (user, grant.sku)
        for (group, user), is_member in observed.members.items()
        if is_member is True and isinstance(carrier := observed.groups.get(group), ObservedGroup)
        for grant in carrier.licenses or ()
        if not _is_judged(observed, user, grant.sku, group)
    }
    return frozenset(p for p in accepted | unseen | joined if not _holds(observed, *p))


def _is_under_way(state: LineState, observed: Observed) -> bool:
    """Whether what was sent may still take effect; also while the line is held and nobody can read the account or its
    membership, or nobody looks at it, because a person has taken the task: then it has its effect, or none, in a day.
    """
    if state.phase in _UNDER_WAY:
        return True
    if state.phase is not Phase.HELD or state.user is None:
        return False
    found = observed.users.get(state.user)
    if found is None:
        return any(observed.at - given.at < WORKED_OUT for given in state.given)
    groups = [observed.groups.get(given.group) for given in state.given if given.group is not None]
    seen = [observed.members.get((group.id, state.user)) for group in groups if isinstance(group, ObservedGroup)]
    return isinstance(found, Unread) or any(isinstance(is_member, Unread) for is_member in seen)


def _holds(observed: Observed, user: UserId, sku: SkuId) -> bool:
    found = observed.users.get(user)
    return isinstance(found, ObservedUser) and found.skus is not None and sku in found.skus


def _is_judged(observed: Observed, user: UserId, sku: SkuId, group: str) -> bool:
    """Whether the group has been worked out for the person: done, or refused, which uses no seat."""
    found = observed.users.get(user)
    if not isinstance(found, ObservedUser):
        return False
    return any(a.group == group and a.sku == sku for a in found.assignments or ())


class Purse:
    """The seats that one plan may spend. It never gives back: what a plan frees is spent by a later cycle."""

    def __init__(self, seats: Mapping[SkuId, Seats], promises: Collection[Promise] = (), *, is_endless: bool = False):
        self._free = {sku: s.free for sku, s in seats.items()}
        self._grace = {sku: s.grace for sku, s in seats.items()}
        self._promises = set(promises)
        self._promised = Counter(sku for _, sku in self._promises)
        self._taken: set[Promise] = set()
        self._is_endless = is_endless

    def has(self, user: UserId | None, sku: SkuId) -> bool:
        """Whether the person can get a seat: one that they were promised, or one that nobody was."""
        if self._is_endless or (user, sku) in self._taken:
            return True
        is_mine = (user, sku) in self._promises
        return self._free.get(sku, 0) - self._promised[sku] + is_mine > 0

    def take(self, user: UserId | None, sku: SkuId) -> bool:
        """Spend a seat for the person, or for nobody known yet; True when it is one in grace. Ask `has` first."""
        if user is not None and (user, sku) in self._taken:
            return False
        if user is not None:
            self._taken.add((user, sku))
        if user is not None and (user, sku) in self._promises:
            self._promises.discard((user, sku))
            self._promised[sku] -= 1
        left = self._free.get(sku, 0)
        self._free[sku] = left - 1
        return 0 < left <= self._grace.get(sku, 0)
