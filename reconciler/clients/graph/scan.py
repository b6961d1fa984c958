"""A full listing of the tenant's users: 999 a page, low priority, decoded straight into compact structs.

The scan is the truth about drift (delta never shows changed licence states, graph.md section 4). An error or a short
page ends it with an error, never with fewer users. It costs one resource unit a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from desired_state.model import UserId
from reconciler.clients.graph import shapes
from reconciler.clients.graph.dialect import EXPIRED_PAGE, SYSTEM
from reconciler.clients.wire import Answer, Wire
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed, Rejected, Unavailable
from reconciler.model import ObservedUser

SCAN_SELECT = "id,userPrincipalName,accountEnabled,usageLocation,licenseAssignmentStates"
LOW = {"x-ms-throttle-priority": "low"}  # graph.md section 10: order of victims, limits stay
RESTARTS_MAX = 3
T = TypeVar("T")


class _Paged(Protocol):
    """A decoded page, whatever its rows are."""

    next_link: str | None


P = TypeVar("P", bound=_Paged)


class ScanRow(msgspec.Struct, gc=False):
    """One user of a scan. Ids as sent. `states` is the raw JSON array, b"" when it was not shown.

    It is left raw because each row of it carries an instant of its own: a reader decodes the fields it needs and no
    more. `usage_location` UNSET is "not shown"; None is "shown to be unset".
    """

    id: str
    upn: str = field(name="userPrincipalName", default="")
    is_enabled: bool | None = field(name="accountEnabled", default=None)
    usage_location: str | UnsetType | None = field(name="usageLocation", default=UNSET)
    states: msgspec.Raw = field(name="licenseAssignmentStates", default=msgspec.Raw(b""))


class _ScanList(msgspec.Struct, gc=False):
    value: list[ScanRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)


@dataclass(frozen=True, slots=True)
class UserPage:
    """Up to 999 users. `is_restart`: the listing began anew; whatever was kept of it before has to be dropped.

    `is_last`: the server named no next page. Only a listing that was read up to such a page has shown everybody.
    """

    rows: list[ScanRow]
    read_at: datetime
    is_restart: bool = False
    is_last: bool = False


_ROWS = msgspec.json.Decoder(_ScanList)
_USERS = msgspec.json.Decoder(shapes.UserList)
_STATES = msgspec.json.Decoder(list[shapes.StateRow] | None)


def states(raw: msgspec.Raw | bytes) -> list[shapes.StateRow] | None:
    """Decode the raw array of a ScanRow; None when it was not shown."""
    return _STATES.decode(raw) if bytes(raw) else None


def scan(wire: Wire, select: str = SCAN_SELECT) -> Iterator[UserPage]:
    """Pages of all users. Raises what `Wire.get` raises; Malformed when links run in a circle."""
    for page, is_restart in _pages(wire, select, _ROWS):
        yield UserPage(page.value, wire.clock.now(), is_restart, is_last=page.next_link is None)


def scan_users(wire: Wire) -> Iterator[ObservedUser]:
    """All users once, with everything that `Graph.users` shows of them."""
    seen: set[UserId] = set()
    for page, _ in _pages(wire, shapes.USER_SELECT, _USERS):
        read_at = wire.clock.now()
        for row in page.value:
            user = shapes.user(row, read_at=read_at)
            if user.id not in seen:
                seen.add(user.id)
                yield user


def _pages(wire: Wire, select: str, decoder: msgspec.json.Decoder[P]) -> Iterator[tuple[P, bool]]:
    for restart in range(RESTARTS_MAX + 1):
        try:
            is_first = True
            for page in _listing(wire, select, decoder):
                yield page, is_first and restart > 0
                is_first = False
            return
        except Rejected as error:
            if error.code != EXPIRED_PAGE:
                raise
    raise Unavailable(SYSTEM, "the listing of users expired again and again before its end")


def _listing(wire: Wire, select: str, decoder: msgspec.json.Decoder[P]) -> Iterator[P]:
    """One listing from its start. A page is decoded once, its next link with it, before anybody sees its rows."""
    followed: set[str] = set()
    params = {"$select": select, "$top": "999"}
    answer = wire.get("/users", params=params, headers=LOW, operation="scan_users")
    while True:
        page, request_id = _decode(decoder, answer), answer.request_id
        link = page.next_link
        yield page
        if link is None:
            return
        if link in followed:
            raise Malformed(SYSTEM, "the pages of the listing run in a circle", request_id=request_id)
        followed.add(link)
        answer = wire.follow(link, operation="scan_users", under="/users", headers=LOW)


def _decode(decoder: msgspec.json.Decoder[T], answer: Answer) -> T:
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
