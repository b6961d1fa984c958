"""A full listing of the tenant's users: 999 a page, low priority, decoded straight into compact structs.

The scan is the truth about drift (delta never shows changed licence states, graph.md section 4). An error or a short
page ends it with an error, never with fewer users. It costs one resource unit a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import field

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


class ScanRow(msgspec.Struct, gc=False):
    """One user of a scan. Ids as sent. `states` is the raw JSON array, b"" when it was not shown.

    Few different arrays exist in a tenant, so a reader looks `bytes(row.states)` up instead of decoding each.
    """

    id: str
    upn: str = field(name="userPrincipalName", default="")
    is_enabled: bool | None = field(name="accountEnabled", default=None)
    usage_location: str | None = field(name="usageLocation", default=None)
    states: msgspec.Raw = field(name="licenseAssignmentStates", default=msgspec.Raw(b""))


class _ScanList(msgspec.Struct, gc=False):
    value: list[ScanRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)


@dataclass(frozen=True, slots=True)
class UserPage:
    """Up to 999 users. `is_restart`: the listing began anew; whatever was kept of it before has to be dropped."""

    rows: list[ScanRow]
    read_at: datetime
    is_restart: bool = False


_ROWS = msgspec.json.Decoder(_ScanList)
_USERS = msgspec.json.Decoder(shapes.UserList)
_STATES = msgspec.json.Decoder(list[shapes.StateRow] | None)


def states(raw: msgspec.Raw | bytes) -> list[shapes.StateRow] | None:
    """Decode the raw array of a ScanRow; None when it was not shown."""
    return _STATES.decode(raw) if bytes(raw) else None


def scan(wire: Wire, select: str = SCAN_SELECT) -> Iterator[UserPage]:
    """Pages of all users. Raises what `Wire.get` raises; Malformed when links run in a circle."""
    for answer, is_restart in _pages(wire, select):
        read_at = wire.clock.now()
        yield UserPage(_decode(_ROWS, answer).value, read_at, is_restart)


def scan_users(wire: Wire) -> Iterator[ObservedUser]:
    """All users once, with everything that `Graph.users` shows of them."""
    seen: set[UserId] = set()
    for answer, _ in _pages(wire, shapes.USER_SELECT):
        read_at = wire.clock.now()
        for row in _decode(_USERS, answer).value:
            user = shapes.user(row, read_at=read_at)
            if user.id not in seen:
                seen.add(user.id)
                yield user


def _pages(wire: Wire, select: str) -> Iterator[tuple[Answer, bool]]:
    for restart in range(RESTARTS_MAX + 1):
        try:
            is_first = True
            for answer in _listing(wire, select):
                yield answer, is_first and restart > 0
                is_first = False
            return
        except Rejected as error:
            if error.code != EXPIRED_PAGE:
                raise
    raise Unavailable(SYSTEM, "the listing of users expired again and again before its end")


def _listing(wire: Wire, select: str) -> Iterator[Answer]:
    followed: set[str] = set()
    params = {"$select": select, "$top": "999"}
    answer = wire.get("/users", params=params, headers=LOW, operation="scan_users")
    while True:
        yield answer
        link = next_link(answer)
        if link is None:
            return
        if link in followed:
            raise Malformed(SYSTEM, "the pages of the listing run in a circle", request_id=answer.request_id)
        followed.add(link)
        answer = wire.follow(link, operation="scan_users", under="/users", headers=LOW)


class _Link(msgspec.Struct, gc=False):
    next_link: str | None = field(name="@odata.nextLink", default=None)


_LINK = msgspec.json.Decoder(_Link)


def next_link(answer: Answer) -> str | None:
    """The link to the next page, None on the last one."""
    return _decode(_LINK, answer).next_link


def _decode(decoder: msgspec.json.Decoder[T], answer: Answer) -> T:
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
