"""The full pass: every user of the tenant against what is desired, to know who needs a closer look. Pure.

A scan says whom to look at and nothing more: a write is only ever decided after a named read (`look`). So a sweep may
be wrong in one direction only. Whoever is no candidate was shown, whole, with everything that is desired; what was
not shown, not understood or not reached is never clean. What provisioning made of an assignment is not in a scan;
that too is only known from a named read.

Each page is read once and nothing of it is kept but who is a candidate: memory grows with what is desired, not with
the tenant. Source of states and errors: graph.md section 7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag

import msgspec
from msgspec import UNSET, UnsetType

from desired_state.model import PlanId, SkuId, UserId, Want
from reconciler.clients.graph.scan import UserPage
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
_FINE = frozenset({"None", "", None})  # null in the documents, the word "None" on live systems


class _Held(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One row of licenseAssignmentStates, without the fields that a sweep does not compare."""

    sku_id: str
    state: str | None = None
    error: str | None = None
    disabled_plans: list[str] | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class Profile:
    """What one user must have, shared by all who must have the same.

    One bit stands for one need, and every bit must be found: `by_sku` says for each SKU which needs it can meet, and
    with which plans; one of these plans, switched on, meets the need.
    """

    by_sku: Mapping[str, tuple[tuple[int, frozenset[PlanId]], ...]]
    all_bits: int


class Desired:
    """What must be in force for whom: each user's place, in order of first mention, and the profile at each place."""

    def __init__(self, places: Mapping[UserId, int], profiles: tuple[Profile, ...]) -> None:
        self.places, self.profiles = places, profiles

    @classmethod
    def compile(cls, wants: Iterable[Want], sku_plans: Mapping[SkuId, Collection[PlanId]]) -> Desired:
        """Index wants by user. `sku_plans` holds the plans of each SKU that apply to users; all ids lower case.

        A product is proven by its proof plans in whatever SKU they come, but with `all+sku` only in its own, as
        `diff.prove` has it. A SKU whose plans are not known proves nothing: who holds only that is looked at.
        """
        compiler = _Compiler(sku_plans)
        places: dict[UserId, int] = {}
        kinds: list[int] = []
        for want in wants:
            kind = compiler.kind(want)
            place = places.setdefault(want.user, len(kinds))
            if place == len(kinds):
                kinds.append(kind)
            else:
                kinds[place] |= kind
        made: dict[int, Profile] = {}
        for kind in kinds:
            if kind not in made:
                made[kind] = compiler.profile(kind)
        return cls(places, tuple(made[kind] for kind in kinds))


class _Compiler:
    """Wants that ask for the same share a bit, in order of first mention; a user is the bits of all their wants."""

    def __init__(self, sku_plans: Mapping[SkuId, Collection[PlanId]]) -> None:
        self._plans = {sku: frozenset(plans) for sku, plans in sku_plans.items()}
        self._kinds: dict[tuple[frozenset[SkuId] | None, frozenset[PlanId], bool], int] = {}

    def kind(self, want: Want) -> int:
        own = frozenset(want.skus) if want.proof_mode == "all+sku" else None
        asked = (own, frozenset(want.proof_plans), want.proof_mode == "any")
        return 1 << self._kinds.setdefault(asked, len(self._kinds))

    def profile(self, kind: int) -> Profile:
        by_sku: dict[str, list[tuple[int, frozenset[PlanId]]]] = {}
        bit = 1
        for number, (own, plans, is_any) in enumerate(self._kinds):
            if not kind >> number & 1:
                continue
            for need in [plans] if is_any or not plans else [frozenset({plan}) for plan in sorted(plans)]:
                for sku, there in self._plans.items():
                    if need & there and (own is None or sku in own):
                        by_sku.setdefault(sku, []).append((bit, need & there))
                bit <<= 1
        return Profile({sku: tuple(met) for sku, met in by_sku.items()}, bit - 1)


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
    except RemoteError as error:
        cut, is_complete = error, False
    looks = {user: Hint(hints) for user, hints in tally.looks.items()}
    if is_complete:
        looks.update((user, Hint.NOT_SEEN) for user in tally.not_seen())
    return SweepResult(looks, tally.rows, tally.unknown, dict(tally.licences), restarts, is_complete, cut)


_HELD = msgspec.json.Decoder(list[_Held] | None)
_NOTHING = Profile({}, 0)


class _Tally:
    """What one listing has shown so far."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._seen = bytearray(len(desired.profiles))
        self._lower: dict[str, SkuId] = {}  # SKU as sent -> as we write it
        self.looks: dict[UserId, int] = {}
        self.licences: dict[SkuId, int] = {}
        self.rows = self.unknown = 0

    def not_seen(self) -> Iterator[UserId]:
        return (user for user, place in self._desired.places.items() if not self._seen[place])

    def add(self, page: UserPage) -> None:
        """Compare the users of one page. The CPU of a sweep goes here, hence the few calls (docs/performance.md)."""
        places, profiles, seen, lower = self._desired.places, self._desired.profiles, self._seen, self._lower
        licences, decode = self.licences, _HELD.decode
        for row in page.rows:
            user = UserId(row.id)
            place = places.get(user)
            if place is None and not user.islower():
                user = UserId(user.lower())
                place = places.get(user)
            profile = _NOTHING if place is None else profiles[place]
            by_sku, missing, off, hints, is_strange = profile.by_sku, profile.all_bits, 0, 0, False
            try:
                held = decode(row.states)
            except msgspec.DecodeError:  # not shown (b""), or not what the contract says
                held = None
            if held is None:
                held, missing, hints = [], 0, _UNKNOWN
            in_force: list[SkuId] = []
            for one in held:
                sku = lower.get(one.sku_id)
                if sku is None:
                    sku = lower[one.sku_id] = SkuId(one.sku_id.lower())
                if one.state in _IN_FORCE:
                    if sku not in in_force:  # direct and inherited are one seat
                        in_force.append(sku)
                        licences[sku] = licences.get(sku, 0) + 1
                elif one.state not in _NOT_IN_FORCE:
                    is_strange = True
                if sku in by_sku:
                    told, met, unmet = _weigh(one, by_sku[sku])
                    hints |= told
                    missing &= ~met
                    off |= unmet
            if missing:
                hints |= (_PLAN_OFF if missing & off else 0) | (_MISSING if missing & ~off else 0)
            if row.is_enabled is not True:
                hints |= _UNKNOWN if row.is_enabled is None else _ACCOUNT_OFF
            if not row.usage_location:
                hints |= _UNKNOWN if row.usage_location is UNSET else _NO_LOCATION
            self.unknown += is_strange or hints & _UNKNOWN > 0
            if place is not None:
                seen[place] = 1
                if hints:
                    self.looks[user] = self.looks.get(user, 0) | hints  # shown twice: whatever is wrong in either
        self.rows += len(page.rows)


def _weigh(one: _Held, needs: tuple[tuple[int, frozenset[PlanId]], ...]) -> tuple[int, int, int]:
    """What an assignment that could meet needs says: hints, bits it meets, bits whose plans are off in it."""
    hints = met = unmet = 0
    if one.state not in ("Active", "Disabled") or one.error not in _FINE:
        hints = _ERROR if one.state in _IN_FORCE or one.state in _NOT_IN_FORCE else _UNKNOWN
    if one.state not in _IN_FORCE:
        return hints, 0, 0
    if one.disabled_plans is UNSET or one.disabled_plans is None:
        return hints | _UNKNOWN, 0, 0
    disabled = {plan.lower() for plan in one.disabled_plans}
    for bit, plans in needs:
        if plans <= disabled:
            unmet |= bit
        else:
            met |= bit
    return hints, met, unmet
