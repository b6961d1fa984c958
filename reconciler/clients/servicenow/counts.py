"""Of which records rows are there and not shown to us, and how many.

The Aggregate API groups them in one request (servicenow.md section 11). That it counts before access rules, as
`X-Total-Count` does (section 4), is inferred; so its counts are believed only where they add up to the one of the list,
and where they do not, or where the API is closed to us, the records are looked for by halves, a few requests for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def hidden_rows(tables: Tables, table: str, link: str, shown: Mapping[str, int], *, operation: str) -> dict[str, int]:
    """How many rows of `table` that point with `link` at these records (sys_ids) are there beside those `shown`.

    Records of which all are shown, or of which nobody says how many there are, are left out.
    """
    total = _total(tables, table, link, list(shown), operation)
    if total is None:
        return {}
    counts = _grouped(tables, table, link, list(shown), operation)
    if sum(counts.values()) != total:
        return _by_halves(tables, table, link, shown, total, operation)
    return {one: more for one, n in shown.items() if (more := counts.get(one, 0) - n) > 0}


def _by_halves(
    tables: Tables, table: str, link: str, shown: Mapping[str, int], total: int | None, operation: str
) -> dict[str, int]:
    more = (total or 0) - sum(shown.values())
    if more <= 0:
        return {}
    if len(shown) == 1:
        return dict.fromkeys(shown, more)
    found: dict[str, int] = {}
    ids = list(shown)
    for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
        theirs = {one: shown[one] for one in half}
        counted = _total(tables, table, link, half, operation)
        found |= _by_halves(tables, table, link, theirs, counted, operation)
    return found


def _total(tables: Tables, table: str, link: str, ids: Sequence[str], operation: str) -> int | None:
    return tables.page(table, among(link, ids), ("sys_id",), limit=1, operation=operation).total


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
