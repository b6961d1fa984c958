"""What happens in the directory by itself when its time comes: one handler per kind of event.

| kind | fields | what happens |
|---|---|---|
| `appear` | user | a sync creates the account |
| `provision` | user, plans | the provisioning walk of these plans ends |
| `group_start`, `group_process` | group | group licences are worked out for those whose wait is over |
| `sync_user` | user | the on-premises sync puts its usage location back |
| `buy_seats` | part_number, seats | the tenant owns more (or, negative, fewer) seats |
| `free_seats` | part_number, seats | people who are not modelled give seats back |
| `add_plan` | part_number, plan | Microsoft puts a plan into a SKU; it is on for whoever has it |
| `delete_user`, `purge_user` | user | soft delete; gone for good |
| `move` | user, by, join, leave | a person, or the sync, puts the user into another group |
| `set_enabled` | user, enabled | the account is disabled or enabled |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.sandbox.directory.audit import Actor
from reconciler.sandbox.directory.catalogue import Catalogue
from reconciler.sandbox.directory.changes import PURGED_AFTER, Changes
from reconciler.sandbox.directory.grouping import GroupLicensing
from reconciler.sandbox.directory.licensing import Licensing
from reconciler.sandbox.directory.store import Store

Event = dict[str, Any]

SYNC_SERVICE = Actor(app_name="Microsoft Azure Active Directory Connect")


class Happenings:
    """The directory's own doings."""

    def __init__(
        self, store: Store, licensing: Licensing, grouping: GroupLicensing, changes: Changes, rules: Catalogue
    ) -> None:
        self._store = store
        self._licensing = licensing
        self._grouping = grouping
        self._changes = changes
        self._rules = rules

    def handlers(self) -> dict[str, Callable[[Event], None]]:
        """Kind of event -> what to do."""
        return {
            "appear": self._appear,
            "provision": lambda e: self._licensing.finish_provisioning(e["user"], e["plans"]),
            "group_start": self._grouping.start,
            "group_process": self._grouping.process_due,
            "sync_user": self._sync_user,
            "buy_seats": self._buy_seats,
            "free_seats": self._free_seats,
            "add_plan": self._add_plan,
            "delete_user": lambda e: self._changes.delete_user(e["user"]),
            "purge_user": self._purge_user,
            "move": self._move,
            "set_enabled": self._set_enabled,
        }

    def _appear(self, event: Event) -> None:
        user = self._store.unborn.pop(event["user"])
        self._store.put_user(user)
        for group_id in self._store.groups_of(user.user_id):
            self._grouping.queue(self._store.groups[group_id], [user.user_id])

    def _sync_user(self, event: Event) -> None:
        user = self._store.users[event["user"]]
        if user.synced_location is not None and user.deleted_at is None:
            self._changes.write_usage_location(user, user.synced_location or None, actor=SYNC_SERVICE)

    def _buy_seats(self, event: Event) -> None:
        sku = self._store.skus[self._rules.product(event["part_number"]).sku_id]
        sku.enabled = max(0, sku.enabled + event["seats"])

    def _free_seats(self, event: Event) -> None:
        sku = self._store.skus[self._rules.product(event["part_number"]).sku_id]
        sku.consumed_elsewhere = max(0, sku.consumed_elsewhere - event["seats"])

    def _add_plan(self, event: Event) -> None:
        sku_id = self._rules.product(event["part_number"]).sku_id
        self._licensing.add_plan(sku_id, self._rules.plan_id(event["plan"]))

    def _purge_user(self, event: Event) -> None:
        user = self._store.users[event["user"]]
        if user.deleted_at is not None and self._store.clock.now() - user.deleted_at >= PURGED_AFTER:
            self._store.forget_user(user)

    def _move(self, event: Event) -> None:
        """Under the store's rules, not Graph's: a synced group changes where it is mastered."""
        user, actor = event["user"], Actor(**event["by"])
        leave = event.get("leave")
        if leave and user in self._store.groups[leave].members:
            self._changes.leave_group(leave, user, actor=actor)
        if user not in self._store.groups[event["join"]].members:
            self._changes.join_group(event["join"], [user], actor=actor)

    def _set_enabled(self, event: Event) -> None:
        user = self._store.users[event["user"]]
        self._store.remember(user.user_id)
        user.enabled = event["enabled"]
        self._store.touch(user, "accountEnabled")
