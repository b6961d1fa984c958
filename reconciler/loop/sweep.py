"""The full pass: every user of the tenant against what is desired, to know who needs a closer look. Pure.

A scan says whom to look at and nothing more: a write is only ever decided after a named read (`look`). So a sweep may
be wrong in one direction only. Whoever is no candidate was shown, whole, with everything that is desired; what was
not shown, not understood or not reached is never clean. What provisioning made of an assignment is not in a scan;
that too is only known from a named read.

Each page is read once and nothing of it is kept but who is a candidate: memory grows with what is desired, not with
the tenant. Source of states and errors: graph.md section 7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import cast

from msgspec import UNSET

from desired_state.model import PlanId, SkuId, UserId, Want
from reconciler.clients.graph import ScanRow, ScanState, UserPage
from reconciler.errors import RemoteError


class Hint(IntFlag):
    """Why somebody needs a closer look. Several may hold at once; none of them is a finding."""

    MISSING = 1  # nothing in force could prove a product
    PLAN_OFF = 2  # something is in force, but what proves the product is switched off in it
    ERROR = 4  # the directory reports trouble with an assignment that could prove a product
    NO_LOCATION = 8  # shown to be unset
    ACCOUNT_OFF = 16
    UNKNOWN = 32  # something was not shown, or not understood
    NOT_SEEN = 64  # a listing that was read to its end did not show the account


# The same as plain numbers: arithmetic on a flag costs more than comparing a user.
_MISSING, _PLAN_OFF, _ERROR, _NO_LOCATION, _ACCOUNT_OFF, _UNKNOWN, _ = (hint.value for hint in Hint)
_IN_FORCE = frozenset({"Active", "ActiveWithError"})
_NOT_IN_FORCE = frozenset({"Disabled", "Error"})
_UNCLEAR = -1
_KEPT_MAX = 16384  # entries of a dictionary that only saves work, so that no tenant can make it grow


@dataclass(frozen=True, slots=True)
class Way:
    """A need that a SKU can meet: the need's bit, and the plans of this SKU of which one has to be switched on."""

    bit: int
    plans: frozenset[PlanId]


class Desired:
    """What must be in force for whom.

    A need is a set of plans of which one must be on, wherever or in certain SKUs only; each has a bit. `needs` holds
    the bits of all needs of a user, `ways` the needs that each SKU can meet, `bits` how many needs there are.
    """

    def __init__(self, needs: Mapping[UserId, int], ways: Mapping[SkuId, tuple[Way, ...]], bits: int) -> None:
        self.needs, self.ways, self.bits = needs, ways, bits
        self.proof_plans = frozenset(plan for met in ways.values() for way in met for plan in way.plans)

    @classmethod
    def compile(cls, wants: Iterable[Want], sku_plans: Mapping[SkuId, Collection[PlanId]]) -> Desired:
        """Index wants by user. `sku_plans` holds the plans of each SKU that apply to users; all ids lower case.

        A product is proven by its proof plans in whatever SKU they come, but with `all+sku` only in its own, as
        `diff.prove` has it. A SKU whose plans are not known proves nothing: who holds only that is looked at.
        """
        bits: dict[_Need, int] = {}
        masks: dict[tuple[tuple[SkuId, ...], tuple[PlanId, ...], str], int] = {}
        needs: dict[UserId, int] = {}
        same: dict[int, int] = {}  # equal masks are one object, however many users have it
        for want in wants:
            asked = (want.skus, want.proof_plans, want.proof_mode)
            mask = masks.get(asked)
            if mask is None:
                mask = masks[asked] = sum(1 << bits.setdefault(need, len(bits)) for need in _needs(want))
            mask |= needs.get(want.user, 0)
            needs[want.user] = same.setdefault(mask, mask)
        ways = {sku: tuple(_ways(sku, frozenset(plans), bits)) for sku, plans in sku_plans.items()}
        return cls(needs, {sku: found for sku, found in ways.items() if found}, len(bits))


_Need = tuple[frozenset[SkuId] | None, frozenset[PlanId]]  # the SKUs it may be met in (None: any), its plans


def _needs(want: Want) -> set[_Need]:
    own = frozenset(want.skus) if want.proof_mode == "all+sku" else None
    if want.proof_mode == "any" or not want.proof_plans:  # without proof plans nothing meets it
        return {(own, frozenset(want.proof_plans))}
    return {(own, frozenset({plan})) for plan in want.proof_plans}


def _ways(sku: SkuId, there: frozenset[PlanId], bits: Mapping[_Need, int]) -> Iterator[Way]:
    for (own, plans), number in bits.items():
        if plans & there and (own is None or sku in own):
            yield Way(1 << number, plans & there)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Whom to look at, and what was counted on the way.

    `rows`: users shown; one whom paging showed twice counts twice. `unknown`: rows that hid something or said what
    we do not understand, wanted or not. `licences`: users per SKU with an assignment in force, direct or inherited.
    `is_complete`: a listing was read to its end, so `looks` also names who was not in it. `cut`: what ended it early.
    """

    looks: Mapping[UserId, Hint]
    rows: int
    unknown: int
    licences: Mapping[SkuId, int]
    restarts: int
    is_complete: bool
    cut: RemoteError | None = None

    @property
    def candidates(self) -> frozenset[UserId]:
        return frozenset(self.looks)


def sweep(pages: Iterable[UserPage], desired: Desired) -> SweepResult:
    """Compare every user of a listing with what is desired.

    An error while reading pages ends the sweep and is in its result: what was found before it stands, and nobody is
    called not seen. A listing that began anew takes the place of the one before it, whole.
    """
    tally, restarts, is_complete = _Tally(desired), 0, False
    cut: RemoteError | None = None
    try:
        for page in pages:
            if page.is_restart:
                tally, restarts = _Tally(desired), restarts + 1
            tally.add(page)
            is_complete = page.is_last
            del page  # and with it its rows, before the next page is built
    except RemoteError as error:
        cut, is_complete = error, False
    looks = {user: Hint(hints) for user, hints in tally.looks.items()}
    if is_complete:
        looks.update((user, Hint.NOT_SEEN) for user in tally.not_seen())
    return SweepResult(looks, tally.rows, tally.unknown, tally.licences(), restarts, is_complete, cut)


class _Tally:
    """What one listing has shown so far.

    A SKU has a bit too, above those of the needs, so that what a user holds is one number: SKUs in force and needs
    met. That number settles most users; everybody else, and every word that was not met before, is read `_closely`.
    """

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._left = cast(dict[str, int], dict(desired.needs))  # of users who were not shown yet
        self._bits: dict[SkuId, int] = {}
        self._whole: dict[str, int] = {}  # SKU as sent -> what it gives when it is in force and no proof plan is off
        self._harmless: set[str] = set()  # plans as sent that prove nothing
        self._holdings: Counter[int] = Counter()  # what a user holds -> how many hold just that
        self._licences: dict[SkuId, int] = {}
        self.looks: dict[UserId, int] = {}
        self.rows = self.unknown = 0

    def not_seen(self) -> list[UserId]:
        return [UserId(user) for user in self._left]

    def add(self, page: UserPage) -> None:
        """Compare the users of one page. The CPU of a sweep goes here, so it calls nothing that it can do without."""
        take, whole, is_harmless = self._left.pop, self._whole, self._harmless.issuperset
        holdings: list[int] = []
        for row in page.rows:
            need = take(row.id, 0) or self._asked_before(row.id)
            have, states = 0, row.states
            if states is None:
                have = _UNCLEAR
            else:
                try:
                    for state in states:
                        off = state.disabled_plans
                        if state.state == "Active" and (is_harmless(off) if off else off is not None):
                            have |= whole[state.sku_id]
                        else:
                            have = _UNCLEAR
                            break
                except KeyError:  # a SKU in letters that were not met before
                    have = _UNCLEAR
            is_usable = row.is_enabled is True and row.usage_location
            if have < 0 or have & need != need or (not is_usable and (need or _hides_something(row))):
                have = self._closely(row, need)
            holdings.append(have)
        self._holdings.update(holdings)
        self.rows += len(page.rows)
        if len(self._holdings) > _KEPT_MAX:
            self._count()

    def _asked_before(self, shown: str) -> int:
        """The needs of somebody whose id came in other letters, or who was shown already; 0 for everybody else."""
        user = UserId(shown.lower())
        asked = self._desired.needs.get(user, 0)
        return self._left.pop(user, asked) if asked else 0

    def _closely(self, row: ScanRow, need: int) -> int:
        """Compare one user without any shortcut, learn the words that were new, and say which SKUs they hold."""
        hints = have = met = off = 0
        is_strange = row.states is None
        for state in row.states or ():
            sku = SkuId(state.sku_id.lower())
            if state.state in _IN_FORCE:
                have |= self._bit(sku)
            elif state.state not in _NOT_IN_FORCE:
                is_strange = True
            ways = [way for way in self._desired.ways.get(sku, ()) if way.bit & need]
            if ways:
                told, is_on, is_off = _weigh(state, ways)
                hints, met, off = hints | told, met | is_on, off | is_off
            self._learn(state, sku)
        if row.states is None:
            hints |= _UNKNOWN
        elif need & ~met:
            hints |= (_PLAN_OFF if need & ~met & off else 0) | (_MISSING if need & ~met & ~off else 0)
        if row.is_enabled is not True:
            hints |= _UNKNOWN if row.is_enabled is None else _ACCOUNT_OFF
        if not row.usage_location:
            hints |= _UNKNOWN if row.usage_location is UNSET else _NO_LOCATION
        self.unknown += is_strange or hints & _UNKNOWN != 0
        if need and hints:
            user = UserId(row.id.lower())
            self.looks[user] = self.looks.get(user, 0) | hints  # shown twice: whatever is wrong in either
        return have

    def _bit(self, sku: SkuId) -> int:
        return self._bits.setdefault(sku, 1 << (self._desired.bits + len(self._bits)))

    def _learn(self, state: ScanState, sku: SkuId) -> None:
        if len(self._whole) + len(self._harmless) > _KEPT_MAX:
            self._whole.clear()
            self._harmless.clear()
        self._whole[state.sku_id] = self._bit(sku) | sum(way.bit for way in self._desired.ways.get(sku, ()))
        proof_plans = self._desired.proof_plans
        self._harmless.update(plan for plan in state.disabled_plans or () if plan.lower() not in proof_plans)

    def licences(self) -> dict[SkuId, int]:
        """Users per SKU with an assignment in force."""
        self._count()
        return dict(self._licences)

    def _count(self) -> None:
        """Settle what was held so far, so that the number of different holdings stays small."""
        skus = list(self._bits)
        for have, count in self._holdings.items():
            held = have >> self._desired.bits
            while held:
                sku = skus[held.bit_length() - 1]
                self._licences[sku] = self._licences.get(sku, 0) + count
                held ^= 1 << held.bit_length() - 1
        self._holdings.clear()


def _hides_something(row: ScanRow) -> bool:
    return row.is_enabled is None or row.usage_location is UNSET


def _weigh(state: ScanState, ways: Iterable[Way]) -> tuple[int, int, int]:
    """What an assignment says to somebody who needs it: hints, needs it meets, needs whose plans are off in it."""
    is_in_force = state.state in _IN_FORCE
    hints = met = off = 0
    if state.state not in ("Active", "Disabled"):
        hints = _ERROR if is_in_force or state.state in _NOT_IN_FORCE else _UNKNOWN
    if not is_in_force:
        return hints, 0, 0
    if state.disabled_plans is None:
        return hints | _UNKNOWN, 0, 0
    disabled = {plan.lower() for plan in state.disabled_plans}
    for way in ways:
        if way.plans <= disabled:
            off |= way.bit
        else:
            met |= way.bit
    return hints, met, off
