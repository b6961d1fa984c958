"""One look at people, in as few requests as its reads fill: accounts, plans, seats, and who holds a role.

Each read of a batch stands for itself, so one that fails is an error value of its own. Seats and roles come first: what
is seen of accounts is no older than what is free for them. Source: graph.md sections 2, 3, 5 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from desired_state.model import UserId
from reconciler.clients.graph import roles, shapes
from reconciler.clients.graph.batch import Part, read_parts
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.wire import Wire
from reconciler.errors import Malformed, RemoteError
from reconciler.model import ObservedUser, SkuDetail, SubscribedSku

USER = msgspec.json.Decoder(shapes.UserRow)
DETAILS = msgspec.json.Decoder(shapes.DetailList)
SKUS = msgspec.json.Decoder(shapes.SkuList)
SEATS, SEATS_UNITS = "/subscribedSkus", 3  # graph.md section 10
_DETAIL_SELECT = "skuId,skuPartNumber,servicePlans"


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen, by object id; `skus` and `role_holders` are None where they were not asked for."""

    users: Mapping[UserId, ObservedUser | RemoteError]
    details: Mapping[UserId, tuple[SkuDetail, ...] | RemoteError]
    skus: tuple[SubscribedSku, ...] | None = None
    role_holders: frozenset[UserId] | RemoteError | None = None


def glance(
    wire: Wire,
    now: Callable[[], datetime],
    accounts: Collection[UserId],
    plans: Collection[UserId] = (),
    *,
    with_seats: bool = False,
    with_roles: bool = False,
) -> Glance:
    """Look at these accounts, and at the plans of those. Ids are lower case.

    Raises:
        RemoteError: a batch could not be asked, or the seats could not be read.
    """
    asked: dict[str, Part[Any]] = {SEATS: Part(SEATS, SKUS, "subscribed_skus", SEATS_UNITS)} if with_seats else {}
    asked |= roles.PARTS if with_roles else {}
    asked |= {_account(u): Part(f"/users/{u}?$select={shapes.USER_SELECT}", USER, "users") for u in accounts}
    asked |= {
        _plans(u): Part(f"/users/{u}/licenseDetails?$select={_DETAIL_SELECT}", DETAILS, "license_details")
        for u in plans
    }
    read = read_parts(wire, asked, operation="users" if accounts else "license_details" if plans else "subscribed_skus")
    return Glance(
        {u: _same(u, user_of(read[_account(u)], now())) for u in accounts},
        {u: _details(read[_plans(u)]) for u in plans},
        _seats(read[SEATS]) if with_seats else None,
        _holders(wire, read) if with_roles else None,
    )


def user_of(row: shapes.UserRow | RemoteError, read_at: datetime) -> ObservedUser | RemoteError:
    """The user that a row shows, or why it does not."""
    return row if isinstance(row, RemoteError) else shapes.user(row, read_at=read_at)


def skus_of(found: shapes.SkuList) -> tuple[SubscribedSku, ...]:
    """The SKUs of a list. Raises Malformed when it has another page: one is all there can be."""
    if found.next_link is not None:
        raise Malformed(SYSTEM, "subscribedSkus came in pages")
    return tuple(shapes.sku(row) for row in found.value)


def _account(user: UserId) -> str:
    return f"account {user}"


def _plans(user: UserId) -> str:
    return f"plans {user}"


def _same(asked: UserId, found: ObservedUser | RemoteError) -> ObservedUser | RemoteError:
    if isinstance(found, ObservedUser) and found.id != asked.lower():
        return Malformed(SYSTEM, "another user than the one asked for")
    return found


def _details(found: shapes.DetailList | RemoteError) -> tuple[SkuDetail, ...] | RemoteError:
    if isinstance(found, RemoteError):
        return found
    if found.next_link is not None:
        return Malformed(SYSTEM, "licenseDetails came in pages")
    return tuple(shapes.detail(row) for row in found.value)


def _seats(found: shapes.SkuList | RemoteError) -> tuple[SubscribedSku, ...]:
    if isinstance(found, RemoteError):
        raise found
    return skus_of(found)


def _holders(wire: Wire, read: Mapping[str, Any]) -> frozenset[UserId] | RemoteError:
    try:
        return roles.holders(wire, read)
    except RemoteError as error:
        return error
