"""How many rows point at each of some records, those that are hidden from us too.

The Aggregate API groups them in one request (servicenow.md section 11). That it counts before access rules, as
`X-Total-Count` does (section 4), is inferred; so its counts are believed only where they add up to the one of the list,
and where they do not, or where the API is closed to us, each record is asked about by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import among
from reconciler.clients.servicenow.tables import Tables
from reconciler.clients.wire.words import cut
from reconciler.errors import Forbidden, Malformed, NotFound, Rejected

STATS = "/api/now/stats"


class _Field(msgspec.Struct):
    value: str = ""


class _Stats(msgspec.Struct):
    count: str = "0"


class _Group(msgspec.Struct):
    stats: _Stats
    groupby_fields: list[_Field] = []


class _Groups(msgspec.Struct):
    result: list[_Group]


_GROUPS = msgspec.json.Decoder(_Groups)


def counted_by(tables: Tables, table: str, link: str, ids: Sequence[str], *, operation: str) -> dict[str, int]:
    """How many rows of `table` point with `link` at each of these records (sys_ids); none where nobody says."""
    page = tables.page(table, among(link, ids), ("sys_id",), limit=1, operation=operation)
    if page.total is None:
        return {}
    grouped = _grouped(tables, table, link, ids, operation)
    if sum(grouped.values()) == page.total:
        return grouped
    found: dict[str, int] = {}
    for one in ids:
        found[one] = tables.page(table, among(link, [one]), ("sys_id",), limit=1, operation=operation).total or 0
    return found


def _grouped(tables: Tables, table: str, link: str, ids: Sequence[str], operation: str) -> dict[str, int]:
    params = {"sysparm_count": "true", "sysparm_query": among(link, ids), "sysparm_group_by": link}
    try:
        answer = tables.wire.get(f"{STATS}/{table}", params=params, operation=operation)
        groups = _GROUPS.decode(answer.body).result
        return {g.groupby_fields[0].value: int(g.stats.count) for g in groups if g.groupby_fields}
    except (Forbidden, NotFound, Rejected):
        return {}
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(SYSTEM, cut(error) if isinstance(error, msgspec.DecodeError) else str(error)) from None
