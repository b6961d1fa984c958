"""The full pass: every user of the tenant against what is desired, to know who needs a closer look. Pure.

A scan says whom to look at and nothing more: a write is only ever decided after a named read (`look`). So a sweep may
be wrong in one direction only. Whoever is no candidate was shown, whole, with everything that is desired; what was
not shown, not understood or not reached is never clean. What provisioning made of an assignment is not in a scan;
that too is only known from a named read.

Each page is read once and nothing of it is kept but who is a candidate: memory grows with what is desired, not with
the tenant. `sweep_again` also keeps some 30 bytes a user (`observed`) and the next time decodes only the rows that read
otherwise. Source of states and errors: graph.md section 7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from itertools import repeat
from operator import not_, or_
from typing import cast
from uuid import UUID

from msgspec import UNSET

from desired_state.model import PlanId, SkuId, UserId, Want
from reconciler.clients.graph import ScanRow, ScanState, UserPage
from reconciler.errors import RemoteError
from reconciler.observed import Draft, Listing, Memory


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

    A need is a set of plans of which one must be on, wherever or in certain SKUs only; each has a number, and in a mask
    the bit of twice that number: bits between belong to SKUs. Each user has a place, from 1, and `masks` the needs at
    it. `ways` are the needs that each SKU can meet.

    One that was compiled `like` another follows it: needs and users keep their numbers. `stale` are places at which
    something else is desired since, `fresh` the ids of users who got a place.
    """

    def __init__(self, ways: Mapping[SkuId, tuple[Way, ...]], needs: Mapping[_Need, int]) -> None:
        self.ways, self.needs = ways, needs
        self.places: dict[UserId, int] = {}
        self.masks: list[int] = [0]
        self.proof_plans = frozenset(plan for met in ways.values() for way in met for plan in way.plans)
        self.stale: frozenset[int] = frozenset()
        self.fresh: frozenset[bytes] = frozenset()
        self.follows: object = None  # the mark of the one that it follows
        self.mark = object()

    @classmethod
    def compile(
        cls,
        wants: Iterable[Want],
        sku_plans: Mapping[SkuId, Collection[PlanId]],
        *,
        like: Desired | None = None,
    ) -> Desired:
        """Index wants by user. `sku_plans` holds the plans of each SKU that apply to users; all ids lower case.

        A product is proven by its proof plans in whatever SKU they come, but with `all+sku` only in its own, as
        `diff.prove` has it. A SKU whose plans are not known proves nothing: who holds only that is looked at.
        """
        needs: dict[_Need, int] = dict(like.needs) if like is not None else {}
        masks: dict[tuple[tuple[SkuId, ...], tuple[PlanId, ...], str], int] = {}
        places: dict[UserId, int] = dict(like.places) if like is not None else {}
        known = len(like.masks) if like is not None else 1
        asked_of = [0] * known
        same: dict[int, int] = {}  # equal masks are one object, however many users have it
        for want in wants:
            asked = (want.skus, want.proof_plans, want.proof_mode)
            mask = masks.get(asked)
            if mask is None:
                mask = masks[asked] = sum(1 << 2 * needs.setdefault(need, len(needs)) for need in _needs(want))
            place = places.setdefault(want.user, len(asked_of))
            if place == len(asked_of):
                asked_of.append(same.setdefault(mask, mask))
            else:
                mask |= asked_of[place]
                asked_of[place] = same.setdefault(mask, mask)
        ways = {sku: tuple(_ways(sku, frozenset(plans), needs)) for sku, plans in sku_plans.items()}
        desired = cls({sku: found for sku, found in ways.items() if found}, needs)
        desired.places, desired.masks = places, asked_of
        if like is not None and desired.ways == like.ways:
            before = like.masks
            desired.follows = like.mark
            desired.stale = frozenset(n for n, (a, b) in enumerate(zip(before, asked_of, strict=False)) if a != b)
            if len(places) >= known:
                desired.fresh = frozenset(user.encode() for user, place in places.items() if place >= known)
        return desired

    def news(self) -> frozenset[UserId]:
        """Users for whom something else is desired than by the one that it follows."""
        known = len(self.masks) - len(self.fresh)
        return frozenset(u for u, place in self.places.items() if place >= known or place in self.stale)

    @property
    def is_worn(self) -> bool:
        """Whether most of its places are of users for whom nothing is desired any more."""
        return 2 * self.masks.count(0) > len(self.masks)


_Need = tuple[frozenset[SkuId] | None, frozenset[PlanId]]  # the SKUs it may be met in (None: any), its plans


def _needs(want: Want) -> set[_Need]:
    own = frozenset(want.skus) if want.proof_mode == "all+sku" else None
    if want.proof_mode == "any" or not want.proof_plans:  # without proof plans nothing meets it
        return {(own, frozenset(want.proof_plans))}
    return {(own, frozenset({plan})) for plan in want.proof_plans}


def _ways(sku: SkuId, there: frozenset[PlanId], needs: Mapping[_Need, int]) -> Iterator[Way]:
    for (own, plans), number in needs.items():
        if plans & there and (own is None or sku in own):
            yield Way(1 << 2 * number, plans & there)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Whom to look at, and what was counted on the way.

    `rows`: users shown; one whom paging showed twice counts twice. `unknown`: rows that hid something or said what
    we do not understand, wanted or not. `licences`: users per SKU with an assignment in force, direct or inherited.
    `is_complete`: a listing was read to its end, so `looks` also names who was not in it. `cut`: what ended it early.
    Against the pass before: `changed` users read otherwise or are new, `gone` are shown no more, None where that is not
    known; `written` rows of what is kept were replaced.
    """

    looks: Mapping[UserId, Hint]
    rows: int
    unknown: int
    licences: Mapping[SkuId, int]
    restarts: int
    is_complete: bool
    cut: RemoteError | None = None
    changed: frozenset[UserId] | None = None
    gone: frozenset[UserId] | None = None
    written: int = 0

    @property
    def candidates(self) -> frozenset[UserId]:
        return frozenset(self.looks)


Scan = Callable[[Callable[[], Listing]], Iterable[UserPage]]


def sweep_again(scan: Scan, desired: Desired, memory: Memory) -> SweepResult:
    """A sweep that reads only what `memory` does not know, and remembers what it reads. `scan` begins a listing.

    What it finds is what `sweep` would have found: a row that reads as before says what it said, and it is kept as
    settled only if nothing was wrong with it; everybody else is read and compared each time.
    """
    return ended(sweep(scan(begin_again(desired, memory)), desired, memory), memory)


def begin_again(desired: Desired, memory: Memory) -> Callable[[], Listing]:
    """What each listing of a pass that remembers is begun with."""
    before = memory.key.mark if isinstance(memory.key, Desired) else None
    is_known = desired.mark is before
    is_same = is_known or (before is not None and desired.follows is before)
    stale, fresh = (frozenset(), frozenset()) if is_known else (desired.stale, desired.fresh)
    return memory.begin(desired, is_same=is_same, stale=stale, fresh=fresh)


def ended(result: SweepResult, memory: Memory) -> SweepResult:
    """The result of a pass that remembers, with what it says against the one before."""
    listing = memory.end(is_complete=result.is_complete)
    if listing is None:
        return result
    changed, gone = listing.changed(), listing.gone() if result.is_complete else None
    return replace(result, changed=_users(changed), gone=_users(gone), written=listing.written)


def _users(packed: frozenset[bytes] | None) -> frozenset[UserId] | None:
    return None if packed is None else frozenset(UserId(str(UUID(bytes=one))) for one in packed)


def sweep(pages: Iterable[UserPage], desired: Desired, memory: Memory | None = None) -> SweepResult:
    """Compare every user of a listing with what is desired.

    An error while reading pages ends the sweep and is in its result: what was found before it stands, and nobody is
    called not seen.
    """
    sweeping = Sweeping(desired, memory if memory is not None else Memory())
    cut: RemoteError | None = None
    try:
        for page in pages:
            sweeping.add(page)
            del page  # and with it its rows, before the next page is built
    except RemoteError as error:
        cut = error
    return sweeping.result(cut)


class Sweeping:
    """A sweep as it goes, page by page. A listing that began anew takes the place of the one before it, whole."""

    def __init__(self, desired: Desired, memory: Memory) -> None:
        self._desired, self._memory = desired, memory
        self._tally, self._restarts, self._is_complete = _Tally(desired, memory), 0, False

    def add(self, page: UserPage) -> None:
        if page.is_restart:
            self._tally, self._restarts = _Tally(self._desired, self._memory), self._restarts + 1
        self._tally.add(page)
        self._is_complete = page.is_last

    def result(self, cut: RemoteError | None = None) -> SweepResult:
        """What was found so far; `cut` is what kept it from its end."""
        tally, is_complete = self._tally, self._is_complete and cut is None
        looks = {user: Hint(hints) for user, hints in tally.looks.items()}
        if is_complete:
            looks.update((user, Hint.NOT_SEEN) for user in tally.not_seen())
        return SweepResult(looks, tally.rows, tally.unknown, tally.licences(), self._restarts, is_complete, cut)


class _Tally:
    """What one listing has shown so far.

    A SKU has a bit too, between those of the needs, so that what a user holds is one number: SKUs in force and needs
    met. That number settles most users; everybody else, and every word that was not met before, is read `_closely`.
    """

    def __init__(self, desired: Desired, memory: Memory) -> None:
        self._desired, self._memory = desired, memory
        self._seen = bytearray(len(desired.masks))  # places of users who were shown
        self._bits = cast(dict[SkuId, int], memory.bits)
        self._whole: dict[str, int] = {}  # SKU as sent -> what it gives when it is in force and no proof plan is off
        self._harmless: set[str] = set()  # plans as sent that prove nothing
        self._holdings: Counter[int] = Counter()  # what a user holds -> how many hold just that
        self._numbers: Counter[int] = Counter()  # the same by number, of users who were not read again
        self._licences: dict[SkuId, int] = {}
        self._is_open = False  # whether the user who was read closely has to be read each time
        self.looks: dict[UserId, int] = {}
        self.rows = self.unknown = 0

    def not_seen(self) -> list[UserId]:
        seen, masks = self._seen, self._desired.masks
        if all(map(or_, seen, map(not_, masks))):
            return []
        return [user for user, place in self._desired.places.items() if masks[place] and not seen[place]]

    def add(self, page: UserPage) -> None:
        """Compare the users of one page. The CPU of a sweep goes here, so it calls nothing that it can do without."""
        get, placed, masks = self._desired.places.get, self._placed, self._desired.masks
        whole, is_harmless = self._whole, self._harmless.issuperset
        holdings: list[int] = []
        open_: list[int] = []
        ids = [row.id for row in page.rows]
        wanted: list[int] = list(map(get, ids, repeat(0)))  # type: ignore[arg-type]
        letters = "".join(ids)
        if letters != letters.lower():
            wanted = [place or placed(shown) for place, shown in zip(wanted, ids, strict=True)]
        for row, need in zip(page.rows, map(masks.__getitem__, wanted), strict=True):
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
                if self._is_open:
                    open_.append(len(holdings))
            holdings.append(have)
        if page.draft is None:
            self.rows += len(ids)
            self._holdings.update(holdings)
        else:
            self.rows += page.draft.count
            self._keep(page.draft, ids, holdings, wanted, open_)
        seen = self._seen
        for place in wanted:
            seen[place] = 1
        if len(self._holdings) > _KEPT_MAX:
            self._count()

    def _keep(self, draft: Draft, ids: list[str], holdings: list[int], wanted: list[int], open_: list[int]) -> None:
        """Remember what was read of a page, and count it with those of it who were not read."""
        numbers = list(map(self._memory.holdings.__getitem__, holdings))
        if draft.is_new:
            self._numbers.update(numbers)
        else:  # with 0 for those who are settled below
            self._numbers.update([*draft.rows.holdings, *numbers])
            seen = self._seen
            for place in draft.rows.wanted:
                seen[place] = 1
        if 0 in numbers:  # what has no number
            self._holdings.update(have for have, number in zip(holdings, numbers, strict=True) if not number)
        for at in open_:
            numbers[at] = 0
        draft.settle(ids, numbers, wanted)

    def _placed(self, shown: str) -> int:
        """The place of somebody whose id came in other letters; 0 for whoever nothing is desired for."""
        return self._desired.places.get(UserId(shown.lower()), 0)

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
        is_unknown = is_strange or hints & _UNKNOWN != 0
        self.unknown += is_unknown
        is_wrong = need != 0 and hints != 0
        self._is_open = is_unknown or is_wrong
        if is_wrong:
            user = UserId(row.id.lower())
            self.looks[user] = self.looks.get(user, 0) | hints  # shown twice: whatever is wrong in either
        return have

    def _bit(self, sku: SkuId) -> int:
        return self._bits.setdefault(sku, 2 << 2 * len(self._bits))

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
        skus = {bit: sku for sku, bit in self._bits.items()}
        mask, met = sum(skus), self._memory.holdings.met
        found = [*self._holdings.items(), *((met[number], count) for number, count in self._numbers.items())]
        for have, count in found:
            held = have & mask
            while held:
                bit = held & -held
                self._licences[skus[bit]] = self._licences.get(skus[bit], 0) + count
                held ^= bit
        self._holdings.clear()
        self._numbers.clear()


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
