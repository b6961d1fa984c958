"""Whose account changed since a link was given: users/delta, a hint about whom to read and never a fact.

It tracks neither licenseAssignmentStates nor, for sure, anything about licences that groups give, a fresh change may be
missing from a round and come with the next one, an object may come twice or without having changed (graph.md section
4). So it says who, a read by id says what, and a full scan stays the truth. What a row says is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import field

from desired_state.model import UserId
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.wire import Answer, Wire
from reconciler.clients.wire.links import leads_home
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed, Rejected

DELTA_SELECT = "id,accountEnabled,usageLocation,assignedLicenses"
OPERATION = "users_delta"
UNDER = "/users"
LINK_MAX = 16_384  # characters; real ones have some hundreds
_LOST = frozenset({"resyncrequired", "syncstatenotfound", "syncstateinvalid"})
_GONE = 410


@dataclass(frozen=True, slots=True)
class Moved:
    """Who changed, was deleted or came back, and the link to ask with the next time."""

    users: frozenset[UserId]
    link: str


class _Row(msgspec.Struct, gc=False):
    id: str


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


def moved_since(wire: Wire, link: str) -> Moved | None:
    """Who moved since the link was given. None: it is not known any more, and anybody may have.

    A link that leads elsewhere than to the configured directory is one that is not known: it gets no token.

    Raises:
        Malformed: the pages run in a circle, or end without a link; and what `Wire.follow` raises.
    """
    if len(link) > LINK_MAX or not leads_home(link, wire.base_url, under=UNDER):
        return None
    users: set[UserId] = set()
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
        users.update(UserId(row.id.lower()) for row in page.value)
        if page.next_link is None:
            if page.delta_link is None:
                raise Malformed(SYSTEM, "a round of users/delta ended without a link", request_id=answer.request_id)
            return Moved(frozenset(users), _kept(page.delta_link, answer))
        link = page.next_link
        if link in followed:
            raise Malformed(SYSTEM, "the pages of users/delta run in a circle", request_id=answer.request_id)


def _kept(link: str, answer: Answer) -> str:
    if len(link) > LINK_MAX:
        raise Malformed(SYSTEM, f"a link of {len(link)} characters", request_id=answer.request_id)
    return link


def _read(answer: Answer) -> _Round:
    try:
        return _ROUND.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, f"{OPERATION}: {cut(error)}", request_id=answer.request_id) from None
