"""The directory's objects, their order, their changes and what slow replicas still believe.

Holds, always: every change has a number of its own, larger than all before; seats held are counted as assignments
change, never by looking through all users; objects keep the position at which they were created.
"""

from __future__ import annotations

import copy
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from reconciler.clock import Clock
from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.records import Assignment, Group, Sku, User, user_from_json, user_to_json
from reconciler.sandbox.switches import Switches

T = TypeVar("T", User, Group)

REPLICA_MEMORY = timedelta(seconds=300)
"""How far back a stale read can look; also how long old versions are kept."""


class Version(NamedTuple):
    """An object as it was before a change, None if it did not exist."""

    written_at: datetime
    shown_until: datetime
    indexed_until: datetime
    before: Any


class Store:
    """Users, groups and subscriptions of one tenant."""

    def __init__(
        self,
        clock: Clock,
        switches: Switches,
        rng: random.Random,
        *,
        keeps_history: Callable[[], bool],
    ) -> None:
        self.clock = clock
        self.switches = switches
        self.rng = rng
        self._keeps_history = keeps_history
        self.users: dict[str, User] = {}
        self.unborn: dict[str, User] = {}
        """Users that a sync has not created yet."""
        self.groups: dict[str, Group] = {}
        self.skus: dict[str, Sku] = {}
        self.seq = 0
        self._order: list[str] = []
        self._positions: dict[str, int] = {}
        self._by_upn: dict[str, str] = {}
        self._groups_of: dict[str, dict[str, None]] = {}
        self._seats: Counter[str] = Counter()
        self._seats_of_deleted: Counter[str] = Counter()
        self._past: dict[str, list[Version]] = {}
        self._last_change: dict[str, int] = {}
        self._seq_log: list[tuple[datetime, int]] = []

    # --- making

    def new_id(self) -> str:
        """A GUID by the world's chance."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def next_seq(self) -> int:
        """The number of the next change."""
        self.seq += 1
        now = self.clock.now()
        if self._seq_log and self._seq_log[-1][0] >= now:
            self._seq_log[-1] = (now, self.seq)
        else:
            self._seq_log.append((now, self.seq))
        return self.seq

    def seq_at(self, at: datetime) -> int:
        """The number of the last change made at or before an instant; of the last one that was not kept, if older."""
        place = bisect_right(self._seq_log, at, key=lambda entry: entry[0])
        return self._seq_log[place - 1][1] if place else 0

    def changed_after(self, seq: int) -> list[int]:
        """Positions, rising, of users with a change of a number above `seq`."""
        found = []
        for user_id, last in reversed(self._last_change.items()):
            if last <= seq:
                break
            if user_id in self._positions:
                found.append(self._positions[user_id])
        return sorted(found)

    def _note_change(self, user_id: str, seq: int) -> None:
        self._last_change.pop(user_id, None)
        self._last_change[user_id] = seq

    def put_user(self, user: User) -> None:
        """Let a user exist from now on."""
        self.remember(user.user_id)
        user.created_seq = self.next_seq()
        self._note_change(user.user_id, user.created_seq)
        self.users[user.user_id] = user
        self._positions[user.user_id] = len(self._order)
        self._order.append(user.user_id)
        self._by_upn[user.upn.casefold()] = user.user_id
        self._count(user, user.assignments, +1)

    def put_group(self, group: Group) -> None:
        """Let a group exist from now on."""
        self.remember(group.group_id)
        group.created_seq = self.next_seq()
        self.groups[group.group_id] = group

    # --- finding

    def any_user(self, user_id: str) -> User:
        """The user of this id, born or not, deleted or not.

        Raises:
            KeyError: nobody has this id.
        """
        return self.users[user_id] if user_id in self.users else self.unborn[user_id]

    def live_user(self, key: str, *, stale: bool = False) -> User:
        """The user with this id or UPN as a reader of the directory meets it now.

        Raises:
            Refused: 404, nobody that this replica knows.
        """
        user_id = key.lower() if key.lower() in self.users else self._by_upn.get(key.casefold(), "")
        user = self.seen(self.users, user_id, stale=stale)
        if user is None or user.deleted_at is not None:
            raise refusals.not_found(key)
        return user

    def live_group(self, key: str, *, stale: bool = False) -> Group:
        """The group with this id as a reader meets it now.

        Raises:
            Refused: 404.
        """
        group = self.seen(self.groups, key.lower(), stale=stale)
        if group is None or group.deleted_at is not None:
            raise refusals.not_found(key)
        return group

    def user_ids(self) -> list[str]:
        """Every user ever created, in order of creation. Not a copy: do not change it."""
        return self._order

    def groups_of(self, object_id: str) -> Iterable[str]:
        """Groups of which the object is a direct member, in order of joining."""
        return tuple(self._groups_of.get(object_id, ()))

    # --- seats

    def seats_used(self, sku_id: str) -> int:
        """consumedUnits of a SKU."""
        used = self.skus[sku_id].consumed_elsewhere + self._seats[sku_id]
        return used + self._seats_of_deleted[sku_id] if self.switches.deleted_users_hold_seats else used

    def seats_free(self, sku_id: str) -> int:
        """Seats that can still be given; may be negative."""
        sku = self.skus[sku_id]
        if sku.capability not in ("Enabled", "Warning"):
            return 0
        owned = sku.enabled + (sku.warning if self.switches.warning_units_assignable else 0)
        return owned - self.seats_used(sku_id)

    def _count(self, user: User, assignments: Iterable[Assignment], step: int) -> None:
        counter = self._seats if user.deleted_at is None else self._seats_of_deleted
        for sku_id in sorted({a.sku_id for a in assignments if a.is_in_force}):
            counter[sku_id] += step

    def replace_assignments(self, user: User, assignments: list[Assignment]) -> None:
        """Give a user these assignments and count the seats; nothing else."""
        if user.user_id in self.users:
            self._count(user, user.assignments, -1)
            self._count(user, assignments, +1)
        user.assignments = assignments

    # --- changing

    def touch(self, obj: User | Group, *properties: str) -> None:
        """Note that these properties have just changed."""
        seq = self.next_seq()
        for name in properties:
            obj.changed[name] = seq
        if isinstance(obj, User):
            self._note_change(obj.user_id, seq)

    def set_deleted(self, user: User, at: datetime | None) -> None:
        """Soft-delete a user, or restore one with None."""
        self.remember(user.user_id)
        self._count(user, user.assignments, -1)
        user.deleted_at = at
        self._count(user, user.assignments, +1)
        self.touch(user, "deletedDateTime")

    def set_upn(self, user: User, upn: str) -> None:
        """Rename a user; the old name is free again."""
        self.remember(user.user_id)
        if self._by_upn.get(user.upn.casefold()) == user.user_id:
            del self._by_upn[user.upn.casefold()]
        user.upn = upn
        if user.user_id in self.users:
            self._by_upn[upn.casefold()] = user.user_id
        self.touch(user, "userPrincipalName")

    def forget_user(self, user: User) -> None:
        """Purge a user: only the id stays, so that delta can say that it is gone."""
        self._count(user, user.assignments, -1)
        user.assignments = []
        for group_id in self.groups_of(user.user_id):
            self.leave(self.groups[group_id], user.user_id)
        if self._by_upn.get(user.upn.casefold()) == user.user_id:
            del self._by_upn[user.upn.casefold()]
        self.touch(user, "purged")

    def join(self, group: Group, object_id: str) -> None:
        """Make an object a direct member."""
        self.remember(group.group_id)
        group.members[object_id] = None
        group.member_changes[object_id] = self.next_seq()
        self._groups_of.setdefault(object_id, {})[group.group_id] = None

    def leave(self, group: Group, object_id: str) -> None:
        """End a direct membership."""
        self.remember(group.group_id)
        del group.members[object_id]
        group.member_changes[object_id] = self.next_seq()
        self._groups_of[object_id].pop(group.group_id, None)

    # --- replicas

    def remember(self, object_id: str) -> None:
        """Keep what slow replicas will go on saying. Call before a change; free while there is no lag."""
        lag, index_lag = self.switches.replica_lag_s, self.switches.advanced_lag_s
        if not (lag or index_lag or self._keeps_history()):
            return
        now = self.clock.now()
        obj = self.users.get(object_id) or self.groups.get(object_id)
        versions = [v for v in self._past.get(object_id, ()) if now - v.written_at <= self._memory()]
        versions.append(
            Version(
                now,
                now + timedelta(seconds=lag * self.rng.uniform(0.5, 1.0)),
                now + timedelta(seconds=index_lag * self.rng.uniform(0.5, 1.0)),
                copy.deepcopy(obj),
            )
        )
        self._past[object_id] = versions

    def _memory(self) -> timedelta:
        return max(
            REPLICA_MEMORY,
            timedelta(seconds=self.switches.replica_lag_s),
            timedelta(seconds=self.switches.advanced_lag_s),
        )

    def seen(
        self,
        objects: Mapping[str, T],
        object_id: str,
        *,
        advanced: bool = False,
        stale: bool = False,
    ) -> T | None:
        """The object as a replica shows it: the truth, or what was before a change that has not arrived there."""
        current = objects.get(object_id)
        versions = self._past.get(object_id)
        if current is None or not versions:  # an id of the other kind of object has versions too
            return current
        now = self.clock.now()
        for version in versions:
            until = max(version.shown_until, version.indexed_until) if advanced else version.shown_until
            if until > now or (stale and now - version.written_at <= REPLICA_MEMORY):
                before: T | None = version.before
                return before
        return current

    # --- keeping

    def to_json(self) -> dict[str, Any]:
        """Everything but what replicas still believe, which is forgotten, JSON-plain."""
        return {
            "users": [user_to_json(u) for u in self.users.values()],
            "unborn": [user_to_json(u) for u in self.unborn.values()],
            "groups": [msgspec.to_builtins(g) for g in self.groups.values()],
            "skus": [msgspec.to_builtins(s) for s in self.skus.values()],
            "seq": self.seq,
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Become what `to_json` wrote."""
        self.users = {u.user_id: u for u in map(user_from_json, data["users"])}
        self.unborn = {u.user_id: u for u in map(user_from_json, data["unborn"])}
        self.groups = {g.group_id: g for g in msgspec.convert(data["groups"], list[Group])}
        self.skus = {s.sku_id: s for s in msgspec.convert(data["skus"], list[Sku])}
        self.seq = data["seq"]
        self._order = list(self.users)
        self._positions = {user_id: n for n, user_id in enumerate(self._order)}
        self._by_upn = {u.upn.casefold(): u.user_id for u in self.users.values() if "purged" not in u.changed}
        self._groups_of = {}
        for group in self.groups.values():
            for object_id in group.members:
                self._groups_of.setdefault(object_id, {})[group.group_id] = None
        self._seats, self._seats_of_deleted, self._past = Counter(), Counter(), {}
        for user in self.users.values():
            self._count(user, user.assignments, +1)
        last = {u.user_id: max((u.created_seq, *u.changed.values())) for u in self.users.values()}
        self._last_change = dict(sorted(last.items(), key=lambda item: item[1]))
        self._seq_log = [(self.clock.now(), self.seq)]
