"""Many users in few requests, as a hint: $batch of `id in (…)`, 15 ids a filter, 300 users a request.

A filter is nowhere said to be as fresh as a read by id (advanced ones come from an index, graph.md section 3), so what
it shows says whom to read and never what is so. How many ids `in` takes is UNCONFIRMED; 15 is what OR takes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from desired_state.model import UserId
from reconciler.clients.graph.batch import read_many
from reconciler.clients.graph.scan import ROWS, SCAN_SELECT, ScanRow
from reconciler.clients.wire import Wire
from reconciler.errors import RemoteError

IDS = 15


@dataclass(frozen=True, slots=True)
class Hinted:
    """Rows as in a scan, and those who were asked about and not shown: deleted, left out, or not read."""

    rows: list[ScanRow]
    unshown: frozenset[UserId]


def hinted(wire: Wire, ids: Collection[UserId]) -> Hinted:
    """What a filter shows of these users.

    Raises:
        RemoteError: the batch itself could not be asked.
    """
    wanted = sorted({user.lower() for user in ids})
    rows = shown(wire, wanted, SCAN_SELECT, ROWS, operation="users_hinted")
    there = {row.id.lower() for row in rows}
    return Hinted(rows, frozenset(UserId(user) for user in wanted if user not in there))


def shown(
    wire: Wire, ids: Sequence[str], select: str, decoder: msgspec.json.Decoder[Any], *, operation: str
) -> list[Any]:
    """The rows that a filter shows of these users, whose ids are lower case.

    Raises:
        RemoteError: the batch itself could not be asked.
    """
    chunks = {str(at): ids[at : at + IDS] for at in range(0, len(ids), IDS)}
    urls = {key: _url(chunk, select) for key, chunk in chunks.items()}
    rows: list[Any] = []
    for key, answer in read_many(wire, urls, decoder, operation=operation).items():
        if isinstance(answer, RemoteError) or answer.next_link is not None:
            continue
        if {row.id.lower() for row in answer.value} <= set(chunks[key]):  # otherwise the filter was not applied
            rows += answer.value
    return rows


def _url(ids: Collection[str], select: str) -> str:
    listed = ",".join(f"'{one}'" for one in ids)
    return f"/users?$filter={quote(f'id in ({listed})', safe='(),')}&$select={select}"
