"""Whose account changed since a link was given: users/delta, a hint about whom to read and never a fact.

It tracks neither licenseAssignmentStates nor, for sure, anything about licences that groups give, a fresh change may be
missing from a round and come with the next one, an object may come twice or without having changed (graph.md section
4). So it says who, a read by id says what, and a full scan stays the truth. What a row shows decides nothing but
whether it is news: of an account that was read since and showed the same, it is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType, field

from desired_state.model import SkuId, UserId
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.wire import Answer, Wire
from reconciler.clients.wire.links import leads_home
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed, Rejected
from reconciler.model import ObservedUser

DELTA_SELECT = "id,accountEnabled,usageLocation,assignedLicenses"
OPERATION = "users_delta"
UNDER = "/users"
LINK_MAX = 16_384  # characters; real ones have some hundreds
_LOST = frozenset({"resyncrequired", "syncstatenotfound", "syncstateinvalid"})
_GONE = 410


@dataclass(frozen=True, slots=True)
class Tracked:
    """What of an account a row tells, as it was read by id; None was not shown."""

    is_enabled: bool | None
    usage_location: str | None
    skus: frozenset[SkuId] | None


def tracked(account: ObservedUser) -> Tracked:
    """What a row would tell of the account as it was read."""
    return Tracked(account.is_enabled, account.usage_location, account.skus)


@dataclass(frozen=True, slots=True)
class Moved:
    """Who changed, was deleted or came back, and the link to ask with the next time.

    `is_known`: somebody else was told of as they had been seen.
    """

    users: frozenset[UserId]
    link: str
    is_known: bool = False


class _Held(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str


class _Row(msgspec.Struct, gc=False, rename="camel"):
    id: str
    account_enabled: bool | None = None
    usage_location: str | None = None
    assigned_licenses: list[_Held] | None = None
    removed: msgspec.Raw | UnsetType = field(name="@removed", default=UNSET)


class _Round(msgspec.Struct, gc=False):
    value: list[_Row]
    next_link: str | None = field(name="@odata.nextLink", default=None)
    delta_link: str | None = field(name="@odata.deltaLink", default=None)


_ROUND = msgspec.json.Decoder(_Round)


def latest(wire: Wire) -> str:
    """The link that tells of what changes from now on. Nobody is read for it.

    Raises:
        Malformed: the answer has no such link, or another than the one asked for; and what `Wire.get` raises.
    """
    params = {"$select": DELTA_SELECT, "$deltatoken": "latest"}
    answer = wire.get(f"{UNDER}/delta", params=params, operation=OPERATION)
    link = _read(answer).delta_link
    if link is None:
        raise Malformed(SYSTEM, "users/delta gave no link for what is new", request_id=answer.request_id)
    return _kept(link, answer)


def moved_since(wire: Wire, link: str, seen: Mapping[UserId, Tracked]) -> Moved | None:
    """Who moved since the link was given. None: it is not known any more, and anybody may have.

    Who is told of as they were last `seen` has not moved since: a later change comes with a later row.

    A link that leads elsewhere than to the configured directory is one that is not known: it gets no token.

    Raises:
        Malformed: the pages run in a circle, or end without a link; and what `Wire.follow` raises.
    """
    if len(link) > LINK_MAX or not leads_home(link, wire.base_url, under=UNDER):
        return None
    users, known = set[UserId](), set[UserId]()
    followed: set[str] = set()
    while True:
        followed.add(link)
        try:
            answer = wire.follow(link, operation=OPERATION, under=UNDER)
        except Rejected as error:
            if error.status == _GONE or error.code.lower() in _LOST:
                return None
            raise
        page = _read(answer)
        for row in page.value:
            user = UserId(row.id.lower())
            (known if user in seen and _is_as(seen[user], row) else users).add(user)
        if page.next_link is None:
            if page.delta_link is None:
                raise Malformed(SYSTEM, "a round of users/delta ended without a link", request_id=answer.request_id)
            return Moved(frozenset(users), _kept(page.delta_link, answer), bool(known))
        link = page.next_link
        if link in followed:
            raise Malformed(SYSTEM, "the pages of users/delta run in a circle", request_id=answer.request_id)


def _is_as(seen: Tracked, row: _Row) -> bool:
    """Whether a row shows an account as it was seen. A property that was never set is absent, as is one that is not
    shown (graph.md section 4): both are unknown, and unknown is news."""
    held = row.assigned_licenses
    if row.removed is not UNSET or held is None or row.account_enabled is None or row.usage_location is None:
        return False
    return seen == Tracked(row.account_enabled, row.usage_location, frozenset(SkuId(h.sku_id.lower()) for h in held))


def _kept(link: str, answer: Answer) -> str:
    if len(link) > LINK_MAX:
        raise Malformed(SYSTEM, f"a link of {len(link)} characters", request_id=answer.request_id)
    return link


def _read(answer: Answer) -> _Round:
    try:
        return _ROUND.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, f"{OPERATION}: {cut(error)}", request_id=answer.request_id) from None
