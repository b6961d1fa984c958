"""Change tracking: users/delta and groups/delta (graph.md section 4).

A token holds the number of the last change a round has covered, what was selected, and when it was issued. Changes to
licenseAssignmentStates alone never show. Rows may come twice in a round and objects may be replayed, by the world's
chance and the switches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from reconciler.sandbox.directory import Group, User
from reconciler.sandbox.graph import filters, listing
from reconciler.sandbox.graph.answers import Answer, Problem, bad_request
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import GROUP_DEFAULTS, USER_DEFAULTS, Properties

IDS_MAX = 50
UNTRACKED = frozenset({"licenseAssignmentStates"})
LICENCE_PROPERTIES = frozenset({"assignedLicenses", "assignedPlans", "provisionedPlans"})

Row = dict[str, Any]
Place = tuple[int, int]
"""Position of an object in order of creation, and of a part of it."""
START: Place = (0, 0)


class Round(NamedTuple):
    """One round of one reader: what it reads and how far it is."""

    since: int
    """Number of the last change that the reader has seen; -1 is nothing at all."""
    until: int
    select: list[str] | None
    ids: list[str] | None
    position: Place
    """Where to go on."""
    issued_at: datetime

    def pack(self, *, position: Place | None = None) -> str:
        """As a skip token (with a position) or as the delta token of the next round."""
        head = {"u": self.until} if position is None else {"s": self.since, "u": self.until, "p": position}
        issued = {"t": int(self.issued_at.timestamp())}
        return listing.pack({**head, "c": self.select, "i": self.ids, **issued})


class Delta:
    """Routes of change tracking."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    def users(self, call: Call) -> Answer:
        """GET /users/delta"""
        return self._answer(call, "users", self._user_rows)

    def groups(self, call: Call) -> Answer:
        """GET /groups/delta"""
        return self._answer(call, "groups", self._group_rows)

    # --- rounds

    def _answer(self, call: Call, kind: str, rows_of: Callable[[Call, Round], Iterator[tuple[Place, Row]]]) -> Answer:
        call.refuse_options("$select", "$filter", "$deltatoken", "$skiptoken", "$count")
        body: Row = {"@odata.context": call.context(kind)}
        link = call.url(f"/{kind}/delta")
        if call.query.get("$deltatoken", "").lower() == "latest":
            latest = self._first(call, kind)
            return Answer(200, body | {"@odata.deltaLink": f"{link}?$deltatoken={latest.pack()}", "value": []})
        here = self._round(call, kind)
        # One more than the page: it tells where the next page begins, whatever changes until it is asked for.
        placed = list(itertools.islice(rows_of(call, here), call.switches.delta_page_size + 1))
        page = [row for _, row in placed[: call.switches.delta_page_size]]
        chance = call.world.rng.random
        again = [row for row in page if call.switches.delta_duplicates and chance() < call.switches.delta_duplicates]
        if len(placed) > len(page):
            body["@odata.nextLink"] = f"{link}?$skiptoken={here.pack(position=placed[-1][0])}"
        else:
            body["@odata.deltaLink"] = f"{link}?$deltatoken={here.pack()}"
            if kind == "users" and here.since >= 0 and chance() < call.switches.delta_replays:
                again += self._replay(call, here)
        return Answer(200, body | {"value": [*page, *again]})

    def _first(self, call: Call, kind: str) -> Round:
        select = call.select()
        if kind == "users":
            self._properties.user_names(select, unknown=call.switches.unknown_select, in_list=True)
        ids = _filtered_ids(call)
        return Round(-1, _covered(call), select, ids, START, call.world.clock.now())

    def _round(self, call: Call, kind: str) -> Round:
        token = call.query.get("$skiptoken") or call.query.get("$deltatoken")
        if not token:
            return self._first(call, kind)
        try:
            data = listing.unpack(token)
            issued_at = datetime.fromtimestamp(data["t"], UTC)
        except (Problem, KeyError, TypeError) as e:
            raise Problem(
                400,
                "syncStateNotFound",
                "The sync state generation is not found; continuation token is "
                "possibly corrupted or the client needs to resync.",
            ) from e
        now = call.world.clock.now()
        is_old = now - issued_at > timedelta(days=call.switches.delta_token_days)
        if is_old or call.switches.delta_force_resync:
            empty = call.url(f"/{kind}/delta?$deltatoken=")
            raise Problem(
                410,
                "resyncRequired",
                "Resync required. Any differences between the client and server must be resolved by reading all again.",
                headers={"Location": empty},
            )
        if "p" in data:
            return Round(data["s"], data["u"], data["c"], data["i"], tuple(data["p"]), issued_at)
        return Round(data["u"], _covered(call), data["c"], data["i"], START, now)

    def _replay(self, call: Call, here: Round) -> list[Row]:
        """An object that did not change, told again."""
        ids = here.ids or call.store.user_ids()
        user = call.store.users.get(call.world.rng.choice(ids)) if ids else None
        if user is None or user.deleted_at is not None:
            return []
        return [self._user_row(user, self._select(here.select, USER_DEFAULTS))]

    # --- users

    def _user_rows(self, call: Call, here: Round) -> Iterator[tuple[Place, Row]]:
        names = self._select(here.select, USER_DEFAULTS)
        untracked = UNTRACKED if call.switches.delta_tracks_licences else UNTRACKED | LICENCE_PROPERTIES
        tracked = None if here.select is None else set(names) - untracked
        minimal = "return=minimal" in call.headers.get("prefer", "").replace(" ", "").lower()
        ids = call.store.user_ids()
        positions: Iterable[int] = range(len(ids)) if here.since < 0 else call.store.changed_after(here.since)
        for position in positions:
            user = call.store.users[ids[position]]
            is_meant = here.ids is None or user.user_id in here.ids
            if position < here.position[0] or not is_meant or user.created_seq > here.until:
                continue
            place = (position, 0)
            changed = {n for n, seq in user.changed.items() if here.since < seq <= here.until}
            if user.deleted_at is not None:
                if here.since >= 0 and changed & {"deletedDateTime", "purged"}:
                    yield place, _removed(user.user_id, "deleted" if "purged" in user.changed else "changed")
            elif user.created_seq > here.since or "deletedDateTime" in changed:
                yield place, self._user_row(user, names)
            elif changed - untracked if tracked is None else changed & tracked:
                shown = [n for n in names if n == "id" or n in changed] if minimal else names
                yield place, self._user_row(user, shown, all_named=minimal)

    def _user_row(self, user: User, names: list[str], *, all_named: bool = False) -> Row:
        """Never-set properties are absent; with `all_named` each name is there."""
        row = self._properties.user(user, [n for n in names if n != "manager"])
        shown = {k: v for k, v in row.items() if all_named or v is not None}
        if "manager" in names and user.manager_id is not None:
            shown["manager@delta"] = [{"@odata.type": "#microsoft.graph.user", "id": user.manager_id}]
        return {**shown, "id": user.user_id}

    # --- groups

    def _group_rows(self, call: Call, here: Round) -> Iterator[tuple[Place, Row]]:
        names = self._select(here.select, GROUP_DEFAULTS)
        for position, group in enumerate(call.store.groups.values()):
            is_meant = here.ids is None or group.group_id in here.ids
            if position < here.position[0] or not is_meant or group.created_seq > here.until:
                continue
            for part, row in enumerate(self._group_parts(call, group, here, names)):
                if (position, part) >= here.position:
                    yield (position, part), row

    def _group_parts(self, call: Call, group: Group, here: Round, names: list[str]) -> list[Row]:
        """A group's row, and more rows for members that do not fit into it."""
        changed = {n for n, seq in group.changed.items() if here.since < seq <= here.until}
        if group.deleted_at is not None:
            is_news = here.since >= 0 and "deletedDateTime" in changed
            return [_removed(group.group_id, "changed")] if is_news else []
        members = self._member_changes(call, group, here) if "members" in names else []
        if not (group.created_seq > here.since or changed or members):
            return []
        shown = self._properties.group(group, [n for n in names if n != "members"])
        row = {k: v for k, v in shown.items() if v is not None} | {"id": group.group_id}
        size = call.switches.delta_page_size
        parts = [row | ({"members@delta": members[:size]} if members else {})]
        more = range(size, len(members), size)
        return parts + [{"id": group.group_id, "members@delta": members[at : at + size]} for at in more]

    def _member_changes(self, call: Call, group: Group, here: Round) -> list[Row]:
        rows: list[Row] = []
        for object_id, seq in group.member_changes.items():
            if not here.since < seq <= here.until:
                continue
            kind = "group" if object_id in call.store.groups else "user"
            row: Row = {"@odata.type": f"#microsoft.graph.{kind}", "id": object_id}
            if object_id in group.members:
                rows.append(row)
            elif here.since >= 0:
                rows.append(row | {"@removed": {"reason": "deleted"}})
        return rows

    @staticmethod
    def _select(select: list[str] | None, defaults: list[str]) -> list[str]:
        return list(defaults) if select is None else list(select)


def _covered(call: Call) -> int:
    """Number of the last change that a round started now covers."""
    return call.store.seq_at(call.world.clock.now() - timedelta(seconds=call.switches.delta_delay_s))


def _removed(object_id: str, reason: str) -> Row:
    return {"id": object_id, "@removed": {"reason": reason}}


def _filtered_ids(call: Call) -> list[str] | None:
    """Ids of `id eq '..' or id eq '..'`.

    Raises:
        Problem: 400, any other filter, or more than 50 ids.
    """
    text = call.query.get("$filter")
    if text is None:
        return None
    parts = text.split(" or ")
    ids: list[str] = []
    for part in parts:
        tests = filters.parse(part.strip().strip("()")).tests
        if len(tests) != 1 or tests[0].path != "id" or tests[0].operator != "eq":
            raise bad_request("Change tracking supports only filters on id.", code="Request_UnsupportedQuery")
        ids.append(str(tests[0].value).lower())
    if len(ids) > IDS_MAX:
        raise bad_request(
            f"Too many ids in the filter: {len(ids)}. Max allowed: {IDS_MAX}.", "Request_UnsupportedQuery"
        )
    return ids
