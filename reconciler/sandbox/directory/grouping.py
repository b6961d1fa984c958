"""Group-based licensing: what groups give, when, and why not. Facts: graph.md sections 7 and 8.

Holds, always: only direct members get anything; a group gives a user all of its SKUs or none; what a group gave is
taken only if no rule between plans breaks by it; a user waits `group_delay_s` for each change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.audit import Actor, AuditLog
from reconciler.sandbox.directory.entitlement import Violation, effective_licences
from reconciler.sandbox.directory.licensing import Licensing, Schedule
from reconciler.sandbox.directory.records import Assignment, Group, User
from reconciler.sandbox.directory.refusals import Refused
from reconciler.sandbox.directory.store import Store


class GroupLicensing:
    """Works out, later, what a change of members or of group licences means."""

    def __init__(
        self, store: Store, licensing: Licensing, audit: AuditLog, schedule: Schedule, *, country: Callable[[], str]
    ) -> None:
        self._store = store
        self._licensing = licensing
        self._audit = audit
        self._schedule = schedule
        self._country = country

    # --- the walk

    def queue(self, group: Group, user_ids: Collection[str]) -> None:
        """Let the group's licences be worked out for these users, after the usual delay."""
        store = self._store
        concerned = [u for u in user_ids if u in store.users or u in store.unborn]
        if not concerned or not (group.licenses or any(self._has_from(u, group.group_id) for u in concerned)):
            return
        now = store.clock.now()
        due = now + timedelta(seconds=store.switches.group_delay_s)
        store.remember(group.group_id)
        group.processing = "QueuedForProcessing"
        for user_id in concerned:
            group.waiting[user_id] = due
        self._schedule(now + (due - now) / 2, {"kind": "group_start", "group": group.group_id})
        self._schedule(due, {"kind": "group_process", "group": group.group_id})

    def queue_all(self, group: Group) -> None:
        """Let the group's licences be worked out again for all its members and all who have something from it."""
        concerned = dict.fromkeys(group.members)
        for user in self._store.users.values():
            if any(a.group_id == group.group_id for a in user.assignments):
                concerned[user.user_id] = None
        self.queue(group, list(concerned))
        if not group.waiting:
            group.processing = "ProcessingComplete"

    def _has_from(self, user_id: str, group_id: str) -> bool:
        return any(a.group_id == group_id for a in self._store.any_user(user_id).assignments)

    def start(self, event: dict[str, Any]) -> None:
        """Half of the delay is over."""
        group = self._store.groups[event["group"]]
        if group.waiting and group.processing == "QueuedForProcessing":
            group.processing = "ProcessingInProgress"
            self._audit_group(group, "Start applying group based license to users")

    def process_due(self, event: dict[str, Any]) -> None:
        """Work out the licences of every user whose wait is over."""
        group = self._store.groups[event["group"]]
        now = self._store.clock.now()
        due = [user_id for user_id, at in group.waiting.items() if at <= now]
        for user_id in due:
            del group.waiting[user_id]
            user = self._store.users.get(user_id)
            if user is not None and user.deleted_at is None:
                self.process(group, user)
        if due and not group.waiting:
            group.processing = "ProcessingComplete"
            self._audit_group(group, "Finish applying group based license to users")

    def reprocess(self, user: User) -> None:
        """Work out again everything that groups give this user; changes that still wait go on waiting.

        Raises:
            Refused: 400 with the true reason, after all groups have been tried.
        """
        group_ids = [*self._store.groups_of(user.user_id)]
        group_ids += [a.group_id for a in user.assignments if a.group_id and a.group_id not in group_ids]
        failed: Refused | None = None
        for group_id in dict.fromkeys(group_ids):
            group = self._store.groups[group_id]
            if user.user_id not in group.waiting:
                failed = self.process(group, user) or failed
        if failed is not None:
            raise failed

    # --- one user

    def process(self, group: Group, user: User) -> Refused | None:
        """Bring what this group gives this user up to date. The reason why not, if not."""
        is_member = user.user_id in group.members and group.deleted_at is None
        wanted = group.licenses if is_member else {}
        mine = {a.sku_id: a for a in user.assignments if a.group_id == group.group_id}
        others = [a for a in user.assignments if a.group_id != group.group_id]
        if not wanted and not mine:
            return None
        if is_member and self._store.switches.group_sets_usage_location and not user.usage_location:
            self._store.remember(user.user_id)
            user.usage_location = self._country()
            self._store.touch(user, "usageLocation")

        now = self._store.clock.now()
        granted = [self._entry(group, sku_id, disabled, mine) for sku_id, disabled in wanted.items()]
        failures = self._cannot_have(user, others, granted, mine)
        broken = self._licensing.broken_by(user, [*others, *granted])
        blamed = {sku_id: v for v in sorted(broken) for sku_id in self._to_blame(v, granted)}
        for sku_id, violation in blamed.items():
            failures.setdefault(sku_id, (violation.error, violation.as_refusal()))
        unblamed = sorted(v for v in broken if not self._to_blame(v, granted))

        if failures:
            entries = [self._failed(a, mine.get(a.sku_id), failures.get(a.sku_id, ("Other", None))[0]) for a in granted]
            entries += [a for sku_id, a in mine.items() if sku_id not in wanted]
            self._licensing.set_assignments(user, [*others, *entries], actor=self._actor())
            return next(reason for _, reason in failures.values())
        if unblamed:
            return self._cannot_let_go(group, user, others, mine, unblamed[0])
        entries = [a if a.state == "Active" else self._renewed(a) for a in granted]
        for entry in entries:
            if entry not in mine.values():
                entry.updated_at = now
        self._licensing.set_assignments(user, [*others, *entries], actor=self._actor())
        return None

    def _entry(self, group: Group, sku_id: str, disabled: list[str], mine: dict[str, Assignment]) -> Assignment:
        """The assignment as it should be; the old one itself when nothing about it changes."""
        old = mine.get(sku_id)
        if old is not None and old.state == "Active" and set(old.disabled) == set(disabled):
            return old
        return Assignment(sku_id, group.group_id, list(disabled), self._store.clock.now())

    def _renewed(self, entry: Assignment) -> Assignment:
        return Assignment(entry.sku_id, entry.group_id, list(entry.disabled), self._store.clock.now())

    def _failed(self, entry: Assignment, old: Assignment | None, error: str) -> Assignment:
        """A wanted assignment that failed: not in force, or still in force as it was before."""
        was_in_force = old is not None and old.is_in_force
        state = "ActiveWithError" if was_in_force else "Error"
        disabled = list(old.disabled) if old is not None and was_in_force else list(entry.disabled)
        if old is not None and (old.state, old.error, old.disabled) == (state, error, disabled):
            return old
        return Assignment(entry.sku_id, entry.group_id, disabled, self._store.clock.now(), state, error)

    def _cannot_have(
        self,
        user: User,
        others: Collection[Assignment],
        granted: Collection[Assignment],
        mine: dict[str, Assignment],
    ) -> dict[str, tuple[str, Refused | None]]:
        held = effective_licences([*others, *mine.values()])
        location = user.usage_location or self._country()
        failures: dict[str, tuple[str, Refused | None]] = {}
        for entry in granted:
            sku_id = entry.sku_id
            if sku_id not in held and self._store.seats_free(sku_id) < 1:
                failures[sku_id] = ("CountViolation", refusals.no_seat(sku_id))
            elif (plan_id := self._licensing.not_allowed_in(location, sku_id, entry.disabled)) is not None:
                failures[sku_id] = ("ProhibitedInUsageLocationViolation", refusals.prohibited(plan_id, location))
        return failures

    def _to_blame(self, violation: Violation, granted: Collection[Assignment]) -> list[str]:
        """SKUs of this group that bring a plan which breaks the rule."""
        plans_of = {a.sku_id: set(self._store.skus[a.sku_id].plan_ids) - set(a.disabled) for a in granted}
        return [sku_id for sku_id, plans in plans_of.items() if violation.touches(plans)]

    def _cannot_let_go(
        self,
        group: Group,
        user: User,
        others: list[Assignment],
        mine: dict[str, Assignment],
        violation: Violation,
    ) -> Refused:
        """Something else needs a plan that this group gives: what is in force stays (the leaver case)."""
        turns_direct = self._store.switches.group_removal_turns_direct
        direct = {a.sku_id for a in others if a.group_id is None}
        entries = []
        for sku_id, old in mine.items():
            if turns_direct and sku_id not in group.licenses and sku_id not in direct:
                entries.append(Assignment(sku_id, None, list(old.disabled), self._store.clock.now()))
            elif old.is_in_force:
                entries.append(self._failed(old, old, violation.error))
        self._licensing.set_assignments(user, [*others, *entries], actor=self._actor())
        return violation.as_refusal()

    # --- audit

    def _actor(self) -> Actor:
        return Actor(app_name=self._store.switches.group_audit_actor)

    def _audit_group(self, group: Group, activity: str) -> None:
        target = {"id": group.group_id, "type": "Group", "displayName": group.name}
        self._audit.write(activity, category="GroupManagement", actor=self._actor(), target=target)
