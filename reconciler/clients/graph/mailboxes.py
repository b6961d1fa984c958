"""What a mailbox is for. Source: Graph v1.0 reference, "mailboxSettings" (`userPurpose`); not in graph.md."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from desired_state.model import UserId
from reconciler.clients.graph.batch import read_many
from reconciler.clients.wire import Wire
from reconciler.errors import NotFound, RemoteError


class _Purpose(msgspec.Struct, gc=False):
    value: str


_PURPOSE = msgspec.json.Decoder(_Purpose)


def purposes(wire: Wire, users: Collection[UserId]) -> dict[UserId, str | RemoteError]:
    """What the mailbox of each user is for: user, linked, shared, room, equipment, others; "" where none is here.

    Every user who was asked has a value. An account without a mailbox, or with one on-premises, answers 404.
    """
    urls = {user: f"/users/{user}/mailboxSettings/userPurpose" for user in users}
    rows = read_many(wire, urls, _PURPOSE, operation="mailbox_purposes")
    return {user: _read(row) for user, row in rows.items()}


def _read(row: _Purpose | RemoteError) -> str | RemoteError:
    if isinstance(row, NotFound):
        return ""
    return row if isinstance(row, RemoteError) else row.value
