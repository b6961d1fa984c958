"""The directory of one tenant: the truth behind Graph, the building of it, and what happens to it by itself.

Two ways in. The building methods (`add_*`, `grant`, ...) write the past and check nothing; names of plans and SKUs are
those of the product catalogue, in any case. The methods of `changes` (`change_licences`, `join_group`, ...) are what a
caller with permission can do now, refused as Graph refuses. Readers use `store` and never change it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from reconciler.clock import Clock
from reconciler.sandbox import hosts
from reconciler.sandbox.directory.audit import Actor, AuditLog, Change
from reconciler.sandbox.directory.catalogue import catalogue
from reconciler.sandbox.directory.changes import Changes
from reconciler.sandbox.directory.grouping import GroupLicensing
from reconciler.sandbox.directory.happenings import Event, Happenings
from reconciler.sandbox.directory.licensing import Licensing, Schedule
from reconciler.sandbox.directory.records import Assignment, Ending, Group, GroupKind, MailboxKind, PlanState, Sku, User
from reconciler.sandbox.directory.roles import Roles
from reconciler.sandbox.directory.store import Store
from reconciler.sandbox.faults import rng_from_json, rng_to_json
from reconciler.sandbox.switches import Switches


class Directory:
    """Users, groups, subscriptions and the audit log of one tenant."""

    def __init__(
        self,
        clock: Clock,
        switches: Switches,
        *,
        schedule: Schedule,
        rng: random.Random,
        keeps_history: Callable[[], bool] = lambda: False,
        tenant_id: str = hosts.TENANT_ID,
        country: str = "US",
        display_name: str = "Contoso",
    ) -> None:
        self.tenant_id = tenant_id
        self.country = country
        self.display_name = display_name
        self.clock = clock
        self.switches = switches
        self.catalogue = catalogue()
        self.store = Store(clock, switches, rng, keeps_history=keeps_history)
        self.log = AuditLog(clock, rng)
        self.roles = Roles(tenant_id)
        self._schedule = schedule
        self.licensing = Licensing(self.store, self.catalogue, self.log, schedule)
        self.grouping = GroupLicensing(self.store, self.licensing, self.log, schedule, country=lambda: self.country)
        self.changes = Changes(self.store, self.licensing, self.grouping, self.log, schedule)
        self._happenings = Happenings(self.store, self.licensing, self.grouping, self.changes, self.catalogue)

    def handlers(self) -> dict[str, Callable[[Event], None]]:
        """What to do when an event of the directory falls due, by kind; see `happenings`."""
        return self._happenings.handlers()

    # --- building: subscriptions

    def add_sku(
        self,
        part_number: str,
        *,
        enabled: int,
        warning: int = 0,
        suspended: int = 0,
        consumed_elsewhere: int = 0,
        plans_pending: Collection[str] = (),
        capability: str = "Enabled",
        upper_case: bool = False,
    ) -> str:
        """Let the tenant own a subscription; its id.

        Raises:
            KeyError: the product catalogue has no such part number or plan.
        """
        product = self.catalogue.product(part_number)
        self.store.skus[product.sku_id] = Sku(
            product.sku_id,
            product.part_number,
            list(product.plans),
            enabled,
            warning,
            suspended,
            consumed_elsewhere=consumed_elsewhere,
            pending_plan_ids=[self.plan(p) for p in plans_pending],
            capability=capability,
            applies_to=product.applies_to,
            upper_case=upper_case,
        )
        return product.sku_id

    def sku(self, part_number: str) -> str:
        """The id of a SKU, owned or not."""
        return self.catalogue.product(part_number).sku_id

    def plan(self, name: str) -> str:
        """The id of a service plan; its id is accepted too."""
        return self.catalogue.plan_id(name)

    def seats_free(self, part_number: str) -> int:
        """Seats of an owned SKU that can still be given."""
        return self.store.seats_free(self.sku(part_number))

    # --- building: people

    def add_user(
        self,
        upn: str,
        *,
        display_name: str,
        usage_location: str | None = None,
        country: str | None = None,
        enabled: bool = True,
        synced: bool = False,
        user_type: str = "Member",
        department: str | None = None,
        employee_type: str | None = None,
        employee_id: str | None = None,
        created_at: datetime | None = None,
        appears_at: datetime | None = None,
        manager: str | None = None,
        job_title: str | None = None,
        mail: str | None = None,
        mailbox: MailboxKind | None = "user",
        is_resource: bool | None = None,
    ) -> str:
        """Let a person exist, or appear at `appears_at` when a sync creates the account; the object id.

        `manager` is an object id. `mail` defaults to the UPN, "" to none. A user is created one year ago by default.
        """
        user = User(
            self.store.new_id(),
            upn,
            display_name,
            appears_at or created_at or self.clock.now() - timedelta(days=365),
            usage_location=usage_location,
            country=country,
            enabled=enabled,
            synced=synced,
            user_type=user_type,
            department=department,
            employee_type=employee_type,
            employee_id=employee_id,
            job_title=job_title,
            mail=(upn if mail is None else mail) or None,
            manager_id=manager,
            mailbox=mailbox,
            is_resource=is_resource,
        )
        if appears_at is not None and appears_at > self.clock.now():
            self.store.unborn[user.user_id] = user
            self._schedule(appears_at, {"kind": "appear", "user": user.user_id})
        else:
            self.store.put_user(user)
        return user.user_id

    def grant(
        self,
        user_id: str,
        part_number: str,
        *,
        disabled: Collection[str] = (),
        at: datetime | None = None,
        provisioned: bool = True,
        actor: Actor | None = None,
    ) -> None:
        """Let a user hold a SKU directly since `at` (default now), whatever the rules say. `disabled` names plans.

        With `actor` it was given by hand, and the audit log tells so.
        """
        user = self.store.any_user(user_id)
        sku_id = self.sku(part_number)
        since = at or self.clock.now()
        others = [a for a in user.assignments if a.sku_id != sku_id or a.group_id is not None]
        entry = Assignment(sku_id, None, [self.plan(p) for p in disabled], since)
        self.licensing.set_assignments(user, [*others, entry], actor=actor, at=since, provisioned=provisioned)

    def withdraw(
        self, user_id: str, part_number: str, *, actor: Actor | None = None, at: datetime | None = None
    ) -> None:
        """Take a direct licence away by hand, as `actor`, with its audit entries dated `at` (default now)."""
        user = self.store.any_user(user_id)
        sku_id = self.sku(part_number)
        left = [a for a in user.assignments if a.sku_id != sku_id or a.group_id is not None]
        self.licensing.set_assignments(user, left, actor=actor, at=at)

    def set_provisioning(
        self,
        user_id: str | None,
        plan_name: str,
        *,
        ends_in: str = "Success",
        after_s: float | None = None,
    ) -> None:
        """Say how the walk of a plan ends, for one user or (None) for all; states that were reached stay."""
        after = self.switches.provisioning_s if after_s is None else after_s
        self.licensing.endings[f"{user_id or '*'}/{self.plan(plan_name)}"] = Ending(ends_in, after)

    def prohibit(self, plan_name: str, location: str) -> None:
        """Do not allow a plan in a usage location (country lists were not sourced, so there are none by default)."""
        self.licensing.limits.setdefault(self.plan(plan_name), []).append(location)

    def fail_assignments(self, user_id: str, status: int = 500) -> None:
        """Answer each assignLicense for this user with this status; 0 ends it."""
        self.store.any_user(user_id).failing_status = status or None

    def overwrite_usage_location(self, user_id: str, value: str | None, every_s: float = 1800) -> None:
        """Let the on-premises sync put `value` back into usageLocation, at each `every_s` since the epoch."""
        user = self.store.any_user(user_id)
        user.synced_location = value or ""
        user.sync_every_s = every_s

    # --- building: groups

    def add_group(
        self,
        name: str,
        *,
        licenses: Mapping[str, Collection[str]] | None = None,
        kind: GroupKind = "security",
        synced: bool = False,
        role_assignable: bool = False,
        app_roles: Collection[str] = (),
        created_at: datetime | None = None,
    ) -> str:
        """Let a group exist; its object id. `licenses` maps part numbers to names of plans to switch off.

        `app_roles` names applications that its members may use.
        """
        group = Group(
            self.store.new_id(),
            name,
            created_at or self.clock.now() - timedelta(days=365),
            kind=kind,
            synced=synced,
            role_assignable=role_assignable,
            app_roles=list(app_roles),
            licenses={
                self.sku(part_number): [self.plan(p) for p in disabled]
                for part_number, disabled in (licenses or {}).items()
            },
        )
        self.store.put_group(group)
        return group.group_id

    def add_member(self, group_id: str, object_id: str, *, processed: bool = True, at: datetime | None = None) -> None:
        """Let a user or group be a direct member. Unless `processed`, the licences come after the usual delay.

        A processed member gets what the group can give by the rules, or its assignments in error.
        """
        group = self.store.groups[group_id]
        self.store.join(group, object_id)
        if object_id in self.store.groups:
            return
        if not processed:
            self.grouping.queue(group, [object_id])
            return
        user = self.store.any_user(object_id)
        self.grouping.process(group, user)
        for entry in user.assignments:
            if entry.group_id == group_id and at is not None:
                entry.updated_at = at
        if at is not None:
            fresh = {p: s for p, s in user.plans.items() if s.status == "PendingInput"}
            user.plans.update(dict.fromkeys(fresh, PlanState("PendingInput", at)))
        self.licensing.finish_provisioning(object_id, list(user.plans))

    # --- looking at the truth

    def user(self, key: str) -> User:
        """The user of this object id or UPN, deleted or not yet born.

        Raises:
            KeyError: nobody.
        """
        for user in (*self.store.users.values(), *self.store.unborn.values()):
            if user.user_id == key or user.upn.casefold() == key.casefold():
                return user
        raise KeyError(key)

    def group(self, key: str) -> Group:
        """The group of this object id or name.

        Raises:
            KeyError: none.
        """
        for group in self.store.groups.values():
            if key in (group.group_id, group.name):
                return group
        raise KeyError(key)

    def assign_states(self, key: str) -> list[Assignment]:
        """Every assignment of a user, by every path. Not a copy: do not change it."""
        return self.user(key).assignments

    def audit(
        self,
        activity: str,
        *,
        user_id: str | None = None,
        group_id: str | None = None,
        actor: Actor,
        at: datetime,
        changes: Collection[Change] = (),
    ) -> None:
        """Add an entry of the past to the audit log."""
        if user_id is not None:
            user = self.store.any_user(user_id)
            target = {"id": user_id, "type": "User", "displayName": None, "userPrincipalName": user.upn}
        else:
            group = self.store.groups[group_id or ""]
            target = {"id": group.group_id, "type": "Group", "displayName": group.name}
        category = "GroupManagement" if user_id is None else "UserManagement"
        self.log.write(activity, category=category, actor=actor, target=target, changes=changes, at=at)

    # --- keeping

    def to_json(self) -> dict[str, Any]:
        """The whole directory, JSON-plain."""
        return {
            "tenant_id": self.tenant_id,
            "country": self.country,
            "display_name": self.display_name,
            "rng": rng_to_json(self.store.rng),
            "store": self.store.to_json(),
            "log": self.log.to_json(),
            "roles": self.roles.to_json(),
            "endings": msgspec.to_builtins(self.licensing.endings),
            "limits": msgspec.to_builtins(self.licensing.limits),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Become what `to_json` wrote."""
        self.tenant_id = data["tenant_id"]
        self.country = data["country"]
        self.display_name = data["display_name"]
        rng_from_json(self.store.rng, data["rng"])
        self.store.load(data["store"])
        self.log.load(data["log"])
        self.roles.load(data["roles"])
        self.licensing.endings = msgspec.convert(data["endings"], dict[str, Ending])
        self.licensing.limits = msgspec.convert(data["limits"], dict[str, list[str]])
