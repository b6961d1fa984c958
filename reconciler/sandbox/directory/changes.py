"""What a caller with permission can change, refused as the directory refuses. Facts: graph.md sections 6 and 8.

Each method checks what the directory checks, changes the truth, and writes the audit log. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.audit import Actor, AuditLog, Change
from reconciler.sandbox.directory.countries import COUNTRIES
from reconciler.sandbox.directory.grouping import GroupLicensing
from reconciler.sandbox.directory.licensing import Licensing, Schedule
from reconciler.sandbox.directory.records import Group, User
from reconciler.sandbox.directory.store import Store

PURGED_AFTER = timedelta(days=30)


class Changes:
    """The directory's changing side."""

    def __init__(
        self, store: Store, licensing: Licensing, grouping: GroupLicensing, audit: AuditLog, schedule: Schedule
    ) -> None:
        self._store = store
        self._licensing = licensing
        self._grouping = grouping
        self._audit = audit
        self._schedule = schedule

    # --- users

    def set_usage_location(self, user_id: str, value: object, *, actor: Actor | None) -> None:
        """Set the country of use; a synced user with a rule for it gets the old value back at the next sync.

        Raises:
            Refused: 400, not a country code (graph.md section 6).
        """
        user = self._store.users[user_id]
        if not isinstance(value, str) or value.upper() not in COUNTRIES:
            raise refusals.invalid_country(str(value))
        self.write_usage_location(user, value.upper(), actor=actor)
        if user.synced_location is not None:
            self._schedule(self._next_sync(user), {"kind": "sync_user", "user": user_id})

    def write_usage_location(self, user: User, value: str | None, *, actor: Actor | None) -> None:
        """Write the property, unchecked; writing what is there changes nothing."""
        if user.usage_location == value:
            return
        self._store.remember(user.user_id)
        old, user.usage_location = user.usage_location, value
        self._store.touch(user, "usageLocation")
        if actor is not None:
            self._audit_user(user, "Update user", actor, [Change("UsageLocation", [old], [value])])

    def _next_sync(self, user: User) -> datetime:
        since_epoch = self._store.clock.now().timestamp()
        return datetime.fromtimestamp((since_epoch // user.sync_every_s + 1) * user.sync_every_s, UTC)

    def change_licences(
        self,
        user_id: str,
        *,
        add: Mapping[str, Collection[str]],
        remove: Collection[str],
        actor: Actor,
        seen_location: str | None,
    ) -> None:
        """assignLicense; see `Licensing.change_direct`."""
        user = self._store.users[user_id]
        self._licensing.change_direct(user, add=add, remove=remove, actor=actor, seen_location=seen_location)

    def reprocess(self, user_id: str) -> None:
        """reprocessLicenseAssignment; see `GroupLicensing.reprocess`."""
        self._grouping.reprocess(self._store.users[user_id])

    def delete_user(self, user_id: str) -> None:
        """Soft-delete; 30 days later the user is gone for good."""
        user = self._store.users[user_id]
        self._store.set_deleted(user, self._store.clock.now())
        self._schedule(self._store.clock.now() + PURGED_AFTER, {"kind": "purge_user", "user": user_id})

    def restore_user(self, user_id: str) -> None:
        """Undo a soft delete, licences and all."""
        self._store.set_deleted(self._store.users[user_id], None)

    # --- groups

    def check_members_writable(self, group: Group, *, actor_roles: Collection[str]) -> None:
        """Whether Graph can change the members of a group of this kind (graph.md section 8).

        Raises:
            Refused: synced, mail-enabled, dynamic, or role-assignable without the permission for it.
        """
        if group.synced:
            raise refusals.synced_object()
        if group.kind in ("mail_enabled", "distribution"):
            raise refusals.mail_enabled_group()
        if group.is_dynamic:
            raise refusals.dynamic_group()
        if group.role_assignable and "RoleManagement.ReadWrite.Directory" not in actor_roles:
            raise refusals.missing_privileges()

    def join_group(self, group_id: str, object_ids: Collection[str], *, actor: Actor) -> None:
        """Make objects direct members: all of them or none.

        Raises:
            Refused: 404 for an unknown object, 400 for one that is a member already.
        """
        group = self._store.groups[group_id]
        for object_id in object_ids:
            user = self._store.users.get(object_id)
            if object_id not in self._store.groups and (user is None or user.deleted_at is not None):
                raise refusals.not_found(object_id)
            if object_id in group.members:
                raise refusals.already_member()
        for object_id in object_ids:
            self._store.join(group, object_id)
            self._audit_member(group, "Add member to group", object_id, actor)
        self._grouping.queue(group, object_ids)

    def leave_group(self, group_id: str, object_id: str, *, actor: Actor) -> None:
        """End a direct membership.

        Raises:
            Refused: 404, not a member.
        """
        group = self._store.groups[group_id]
        if object_id not in group.members:
            raise refusals.not_found(object_id)
        self._store.leave(group, object_id)
        self._audit_member(group, "Remove member from group", object_id, actor)
        self._grouping.queue(group, [object_id])

    def set_group_licences(
        self, group_id: str, *, add: Mapping[str, Collection[str]], remove: Collection[str], actor: Actor
    ) -> None:
        """assignLicense on a group; members follow after the usual delay.

        Raises:
            Refused: as for a user, where it applies.
        """
        group = self._store.groups[group_id]
        if not add and not remove:
            raise refusals.no_change()
        if not group.is_security_enabled:
            raise refusals.group_cannot_hold_licences()
        self._licensing.check_skus(add, remove)
        for sku_id in remove:
            if sku_id not in group.licenses:
                raise refusals.not_held()
        self._store.remember(group_id)
        before = dict(group.licenses)
        for sku_id in remove:
            del group.licenses[sku_id]
        for sku_id, disabled in add.items():
            group.licenses[sku_id] = list(disabled)
        self._store.touch(group, "assignedLicenses")
        target = {"id": group_id, "type": "Group", "displayName": group.name}
        change = Change("AssignedLicense", sorted(before), sorted(group.licenses))
        self._audit.write("Set group license", category="GroupManagement", actor=actor, target=target, changes=[change])
        self._grouping.queue_all(group)

    # --- audit

    def _audit_user(self, user: User, activity: str, actor: Actor, changes: Collection[Change]) -> None:
        target = {"id": user.user_id, "type": "User", "displayName": None, "userPrincipalName": user.upn}
        self._audit.write(activity, category="UserManagement", actor=actor, target=target, changes=changes)

    def _audit_member(self, group: Group, activity: str, object_id: str, actor: Actor) -> None:
        user = self._store.users.get(object_id)
        target = {
            "id": object_id,
            "type": "Group" if user is None else "User",
            "displayName": None,
            "userPrincipalName": None if user is None else user.upn,
        }
        adding = activity.startswith("Add")
        ids = (None, group.group_id) if adding else (group.group_id, None)
        names = (None, group.name) if adding else (group.name, None)
        changes = [Change("Group.ObjectID", *ids), Change("Group.DisplayName", *names)]
        self._audit.write(activity, category="GroupManagement", actor=actor, target=target, changes=changes)
