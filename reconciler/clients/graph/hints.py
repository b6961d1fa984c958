"""Many users in few requests, as a hint: $batch of `id in (…)`, 15 ids a filter, 300 users a request.

A filter is nowhere said to be as fresh as a read by id (advanced ones come from an index, graph.md section 3), so what
it shows says whom to read and never what is so. How many ids `in` takes is UNCONFIRMED; 15 is what OR takes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

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
    chunks = {str(at): wanted[at : at + IDS] for at in range(0, len(wanted), IDS)}
    found = read_many(wire, {key: _url(chunk) for key, chunk in chunks.items()}, ROWS, operation="users_hinted")
    rows: list[ScanRow] = []
    for key, answer in found.items():
        if isinstance(answer, RemoteError) or answer.next_link is not None:
            continue
        if {row.id.lower() for row in answer.value} <= set(chunks[key]):  # otherwise the filter was not applied
            rows += answer.value
    shown = {row.id.lower() for row in rows}
    return Hinted(rows, frozenset(UserId(user) for user in wanted if user not in shown))


def _url(ids: Collection[str]) -> str:
    listed = ",".join(f"'{one}'" for one in ids)
    return f"/users?$filter={quote(f'id in ({listed})', safe='(),')}&$select={SCAN_SELECT}"
