"""A full listing of the tenant's users: 999 a page, low priority, decoded straight into compact structs.

The scan is the truth about drift (delta never shows changed licence states, graph.md section 4). An error or a short
page ends it with an error, never with fewer users. It costs one resource unit a page. Whoever remembers the listing
before (`observed`) is handed each page undecoded, and what they take out of it is not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from desired_state.model import UserId
from reconciler.clients.graph import shapes
from reconciler.clients.graph.dialect import EXPIRED_PAGE, LISTING, SYSTEM
from reconciler.clients.wire import Answer, Wire
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed, Rejected, Unavailable
from reconciler.model import ObservedUser
from reconciler.observed import Draft, Listing

SCAN_SELECT = "id,userPrincipalName,accountEnabled,usageLocation,licenseAssignmentStates"
LOW = {"x-ms-throttle-priority": "low"}  # graph.md section 10: order of victims, limits stay
RESTARTS_MAX = 3


class _Paged(Protocol):
    """A decoded page, whatever its rows are. `error` is not empty when the reply holds one beside its rows."""

    next_link: str | None
    error: msgspec.Raw


P = TypeVar("P", bound=_Paged)


class ScanState(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One row of licenseAssignmentStates as sent: what a comparison needs, and no more. None is "not shown".

    Its group, its instant and the word for its error are read by name, as everything that a decision rests on.
    """

    sku_id: str
    state: str | None = None
    disabled_plans: tuple[str, ...] | None = None


class ScanRow(msgspec.Struct, gc=False):
    """One user of a scan. Ids as sent. `states` None: not shown, or not in the shape that the contract gives them.

    `usage_location` UNSET is "not shown"; None is "shown to be unset".
    """

    id: str
    upn: str = field(name="userPrincipalName", default="")
    is_enabled: bool | None = field(name="accountEnabled", default=None)
    usage_location: str | UnsetType | None = field(name="usageLocation", default=UNSET)
    states: tuple[ScanState, ...] | None = field(name="licenseAssignmentStates", default=None)


class _ScanList(msgspec.Struct, gc=False):
    value: list[ScanRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)
    error: msgspec.Raw = msgspec.Raw(b"")


class _LooseRow(msgspec.Struct, gc=False):
    """A ScanRow whose licences have not been looked into."""

    id: str
    upn: str = field(name="userPrincipalName", default="")
    is_enabled: bool | None = field(name="accountEnabled", default=None)
    usage_location: str | UnsetType | None = field(name="usageLocation", default=UNSET)
    states: msgspec.Raw = field(name="licenseAssignmentStates", default=msgspec.Raw(b"null"))


class _LooseList(msgspec.Struct, gc=False):
    value: list[_LooseRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)
    error: msgspec.Raw = msgspec.Raw(b"")


@dataclass(frozen=True, slots=True)
class UserPage:
    """Up to 999 users. `is_restart`: the listing began anew; whatever was kept of it before has to be dropped.

    `is_last`: the server named no next page. Only a listing that was read up to such a page has shown everybody.
    `draft`: where the rest of the page's users stand; `rows` are then those who read otherwise than before.
    """

    rows: list[ScanRow]
    read_at: datetime
    is_restart: bool = False
    is_last: bool = False
    draft: Draft | None = None


@dataclass(slots=True)
class _CutPage:
    """A page of which something may have been cut out."""

    value: list[ScanRow]
    next_link: str | None
    error: msgspec.Raw
    draft: Draft | None


ROWS = msgspec.json.Decoder(_ScanList)
_LOOSE = msgspec.json.Decoder(_LooseList)
_STATES: msgspec.json.Decoder[tuple[ScanState, ...] | None] = msgspec.json.Decoder(tuple[ScanState, ...] | None)
_USERS = msgspec.json.Decoder(shapes.UserList)


def scan_page(body: bytes) -> _ScanList:
    """Decode one page. Licences of an unknown shape are None for their user and nobody else.

    Raises:
        msgspec.DecodeError: no JSON, or users of an unknown shape.
    """
    try:
        return ROWS.decode(body)
    except msgspec.ValidationError:
        loose = _LOOSE.decode(body)
    rows = [ScanRow(r.id, r.upn, r.is_enabled, r.usage_location, _states(r.states)) for r in loose.value]
    return _ScanList(rows, loose.next_link, loose.error)


def _states(raw: msgspec.Raw) -> tuple[ScanState, ...] | None:
    try:
        return _STATES.decode(raw)
    except msgspec.ValidationError:
        return None


def scan(wire: Wire, select: str = SCAN_SELECT, *, begin: Callable[[], Listing] | None = None) -> Iterator[UserPage]:
    """Pages of all users. Raises what `Wire.get` raises; Malformed when links run in a circle.

    `begin` is called for each listing and says what of its pages need not be decoded.
    """

    def decoder() -> Callable[[bytes], _CutPage]:
        listing = begin() if begin is not None else None
        return lambda body: left_of_page(body, listing)

    for page, is_restart in _pages(wire, select, decoder):
        yield UserPage(page.value, wire.clock.now(), is_restart, page.next_link is None, page.draft)
        del page  # whoever reads does not want to hold two pages at a time


def left_of_page(body: bytes, listing: Listing | None) -> _CutPage:
    """Decode what is left of a page; all of it where the rest does not read as the rows that were left."""
    draft = listing.cut(body) if listing is not None else None
    if draft is not None:
        try:
            page = scan_page(draft.body)
        except msgspec.DecodeError:
            pass  # if the whole page is broken too, it says so below
        else:
            if draft.is_of([row.id for row in page.value]):
                return _CutPage(page.value, page.next_link, page.error, draft)
    page = scan_page(body)
    return _CutPage(page.value, page.next_link, page.error, None)


def scan_users(wire: Wire) -> Iterator[ObservedUser]:
    """All users once, with everything that `Graph.users` shows of them."""
    seen: set[UserId] = set()
    for page, _ in _pages(wire, shapes.USER_SELECT, lambda: _USERS.decode):
        read_at = wire.clock.now()
        for row in page.value:
            user = shapes.user(row, read_at=read_at)
            if user.id not in seen:
                seen.add(user.id)
                yield user


def _pages(wire: Wire, select: str, decoder: Callable[[], Callable[[bytes], P]]) -> Iterator[tuple[P, bool]]:
    """Each page, and whether the listing began anew with it. `decoder` is called for each listing."""
    for restart in range(RESTARTS_MAX + 1):
        try:
            is_first = True
            for page in _listing(wire, select, decoder()):
                yield page, is_first and restart > 0
                is_first = False
                del page
            return
        except Rejected as error:
            if error.code != EXPIRED_PAGE:
                raise
    raise Unavailable(SYSTEM, "the listing of users expired again and again before its end")


def _listing(wire: Wire, select: str, decode: Callable[[bytes], P]) -> Iterator[P]:
    """One listing from its start. A page is decoded once, its next link with it, before anybody sees its rows."""
    followed: set[str] = set()
    params = {"$select": select, "$top": "999"}
    answer = wire.get("/users", params=params, headers=LOW, operation=LISTING)
    while True:
        page, request_id = _typed(decode, answer), answer.request_id
        link = page.next_link
        yield page
        del page, answer
        if link is None:
            return
        if link in followed:
            raise Malformed(SYSTEM, "the pages of the listing run in a circle", request_id=request_id)
        followed.add(link)
        answer = wire.follow(link, operation=LISTING, under="/users", headers=LOW)


def _typed(decode: Callable[[bytes], P], answer: Answer) -> P:
    try:
        page = decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
    if bytes(page.error) not in (b"", b"null"):  # the dialect leaves this to us: see `dialect.LISTING`
        said = cut(bytes(page.error).decode("utf-8", "replace"))
        raise Malformed(SYSTEM, f"an error inside a page: {said}", request_id=answer.request_id)
    return page
