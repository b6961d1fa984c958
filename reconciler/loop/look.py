"""Reading the accounts that lines are about: few, full reads, errors kept as values.

Used by observe, by execute just before a write, and by verify after it: one way to look, so that the three can be
compared with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from desired_state.model import UserId
from reconciler.clients.graph import Graph
from reconciler.errors import NotFound, RemoteError
from reconciler.line import (
    Gone,
    Line,
    Observed,
    Unread,
)
from reconciler.model import ObservedUser, SkuDetail, SubscribedSku


def subjects(lines: Iterable[Line]) -> frozenset[UserId]:
    """The accounts that the lines are bound to."""
    return frozenset(line.binding.user for line in lines if line.binding.user is not None)


def look(graph: Graph, users: Collection[UserId], skus: Iterable[SubscribedSku], *, at: datetime) -> Observed:
    """Read users and the states of their service plans. What fails is an `Unread`, never an absence."""
    wanted = sorted(users)
    read = graph.users(wanted) if wanted else {}
    present = [user for user in wanted if isinstance(read.get(user), ObservedUser)]
    details = graph.license_details(present) if present else {}
    return Observed(
        at,
        {user: _value(read.get(user)) for user in wanted},
        {user: _details(details.get(user)) for user in present},
        {sku.sku: sku for sku in skus},
    )


def _details(found: tuple[SkuDetail, ...] | RemoteError | None) -> tuple[SkuDetail, ...] | Unread:
    match found:
        case tuple():
            return found
        case None:
            return Unread("the directory left it out of its answer")
        case _:
            return Unread(str(found))


def _value(found: ObservedUser | RemoteError | None) -> ObservedUser | Gone | Unread:
    match found:
        case ObservedUser():
            return found
        case NotFound():
            return Gone()
        case None:
            return Unread("the directory left it out of its answer")
        case _:
            return Unread(str(found))
