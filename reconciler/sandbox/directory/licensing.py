"""Direct licence changes, and what every change of assignments does to plans, seats and provisioning.

Holds, always: a refused change leaves everything as it was; a SKU never gets more holders by a change than it has
seats; plans walk from PendingInput to their end on the world's clock.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.audit import Actor, AuditLog, Change
from reconciler.sandbox.directory.catalogue import Catalogue
from reconciler.sandbox.directory.entitlement import Violation, effective_licences, enabled_plans, violations
from reconciler.sandbox.directory.records import Assignment, Ending, PlanState, User
from reconciler.sandbox.directory.store import Store

Schedule = Callable[[datetime, dict[str, Any]], None]

USUAL_ENDING = "Success"


class Licensing:
    """Assigns, takes back and provisions."""

    def __init__(self, store: Store, rules: Catalogue, audit: AuditLog, schedule: Schedule) -> None:
        self._store = store
        self._rules = rules
        self._audit = audit
        self._schedule = schedule
        self.endings: dict[str, Ending] = {}
        """"<user or *>/<plan>" -> how the walk of that plan ends."""
        self.limits: dict[str, list[str]] = {}
        """Plan -> usage locations in which it is not allowed."""

    # --- rules

    def broken_by(self, user: User, assignments: Collection[Assignment]) -> set[Violation]:
        """Rules that these assignments would break and that the user's present ones do not."""
        advisory = self._store.switches.advisory_rules
        before = violations(enabled_plans(user.assignments, self._store.skus), self._rules, advisory=advisory)
        after = violations(enabled_plans(assignments, self._store.skus), self._rules, advisory=advisory)
        return after - before

    def not_allowed_in(self, location: str, sku_id: str, disabled: Collection[str]) -> str | None:
        """A plan of the SKU that is on and not allowed in this usage location, or None."""
        for plan_id in self._store.skus[sku_id].plan_ids:
            if plan_id not in disabled and location in self.limits.get(plan_id, ()):
                return plan_id
        return None

    # --- direct assignments

    def change_direct(
        self,
        user: User,
        *,
        add: Mapping[str, Collection[str]],
        remove: Collection[str],
        actor: Actor,
        seen_location: str | None,
    ) -> None:
        """Set and clear direct licences of one user: all of it, or nothing.

        `add` maps SKU to the complete list of plans to switch off. `seen_location` is the usage location as the
        replica shows it that works on the request.

        Raises:
            Refused: with the service's own words (graph.md section 6).
        """
        store = self._store
        if not add and not remove:
            raise refusals.no_change()
        self.check_skus(add, remove)
        if add and not seen_location:
            raise refusals.invalid_usage_location()
        for sku_id in remove:
            paths = [a for a in user.assignments if a.sku_id == sku_id]
            if not paths:
                raise refusals.not_held()
            if all(a.group_id is not None for a in paths):
                raise refusals.inherited()
        held = effective_licences(user.assignments)
        for sku_id, disabled in add.items():
            needs_seat = sku_id not in held or store.switches.repeat_needs_seat
            if needs_seat and store.seats_free(sku_id) < 1:
                raise refusals.no_seat(sku_id)
            if (plan_id := self.not_allowed_in(seen_location or "", sku_id, disabled)) is not None:
                raise refusals.prohibited(plan_id, seen_location or "")

        now = store.clock.now()
        kept = [a for a in user.assignments if a.group_id is not None or a.sku_id not in {*add, *remove}]
        old = {a.sku_id: a for a in user.assignments if a.group_id is None}
        new = [
            old[sku_id]
            if sku_id in old and set(old[sku_id].disabled) == set(disabled)
            else Assignment(sku_id, None, list(disabled), now)
            for sku_id, disabled in add.items()
        ]
        wanted = [*kept, *new]
        if broken := self.broken_by(user, wanted):
            raise min(broken, key=lambda v: (v.kind == "dependency", v)).as_refusal()
        self.set_assignments(user, wanted, actor=actor)

    def check_skus(self, add: Mapping[str, Collection[str]], remove: Collection[str]) -> None:
        """Whether these SKUs can be named together at all.

        Raises:
            Refused: a SKU that the tenant does not own or that is not for users, one that is both added and removed,
                a plan that is not in its SKU.
        """
        for sku_id in (*add, *remove):
            sku = self._store.skus.get(sku_id)
            if sku is None or sku.applies_to != "User":
                raise refusals.unknown_sku(sku_id)
        for sku_id in add:
            if sku_id in remove:
                raise refusals.same_sku_twice(sku_id)
        for sku_id, disabled in add.items():
            for plan_id in disabled:
                if plan_id not in self._store.skus[sku_id].plan_ids:
                    raise refusals.plan_not_in_sku(plan_id, sku_id)

    # --- what any change does

    def set_assignments(
        self,
        user: User,
        assignments: list[Assignment],
        *,
        actor: Actor | None,
        at: datetime | None = None,
        provisioned: bool = False,
    ) -> None:
        """Give a user these assignments; plans, seats, delta and audit follow. Nothing is checked.

        With `provisioned`, new plans are at the end of their walk at once; without `actor`, nothing is audited.
        """
        store = self._store
        before = copy.copy(user.assignments)
        if before == assignments:
            return
        plans_before = enabled_plans(before, store.skus)
        licences_before = effective_licences(before)
        store.remember(user.user_id)
        store.replace_assignments(user, assignments)
        licences = effective_licences(assignments)
        store.touch(user, "licenseAssignmentStates")
        if licences != licences_before:
            store.touch(user, "assignedLicenses", "assignedPlans", "provisionedPlans")
        self._walk_plans(user, plans_before, at=at or store.clock.now(), provisioned=provisioned)
        if actor is not None:
            self._write_audit(user, licences_before, licences, actor, at)

    def add_plan(self, sku_id: str, plan_id: str) -> None:
        """Microsoft adds a plan to an owned SKU: nobody's assignment changes, so it is on wherever it is not off."""
        store = self._store
        sku = store.skus[sku_id]
        if plan_id in sku.plan_ids:
            return
        holders = [
            user
            for user in (*store.users.values(), *store.unborn.values())
            if any(a.sku_id == sku_id and a.is_in_force for a in user.assignments)
        ]
        before = {user.user_id: enabled_plans(user.assignments, store.skus) for user in holders}
        for user in holders:
            store.remember(user.user_id)
        sku.plan_ids.append(plan_id)
        for user in holders:
            store.touch(user, "assignedPlans", "provisionedPlans")
            self._walk_plans(user, before[user.user_id], at=store.clock.now(), provisioned=False)

    def _walk_plans(self, user: User, before: set[str], *, at: datetime, provisioned: bool) -> None:
        after = enabled_plans(user.assignments, self._store.skus)
        for plan_id in sorted(before - after):
            user.plans[plan_id] = PlanState("Disabled", user.plans[plan_id].assigned_at, "Deleted")
        due: dict[float, list[str]] = {}
        states: dict[str, PlanState] = {}
        pending = self._pending()
        for plan_id in sorted(after - before):
            ending = self.ending_of(user.user_id, plan_id, pending)
            # A plan for the company is provisioned once for the tenant; a pending one waits for ever.
            walks = self._rules.plans[plan_id].applies_to == "User" and ending.status != "PendingProvisioning"
            status = "PendingInput" if walks and not provisioned else ending.status
            user.plans[plan_id] = states.setdefault(status, PlanState(status, at))
            if status != ending.status:
                due.setdefault(ending.after_s, []).append(plan_id)
        for after_s, plan_ids in due.items():
            event = {"kind": "provision", "user": user.user_id, "plans": plan_ids}
            self._schedule(self._store.clock.now() + timedelta(seconds=after_s), event)

    def _pending(self) -> set[str]:
        """The plans that wait for somebody to set them up for the tenant."""
        return {plan_id for sku in self._store.skus.values() for plan_id in sku.pending_plan_ids}

    def ending_of(self, user_id: str, plan_id: str, pending: Collection[str]) -> Ending:
        """How the walk of this plan ends for this user: as set for the user, for all, for the tenant (`pending`), else
        well."""
        for key in (f"{user_id}/{plan_id}", f"*/{plan_id}"):
            if key in self.endings:
                return self.endings[key]
        status = "PendingProvisioning" if plan_id in pending else USUAL_ENDING
        return Ending(status, self._store.switches.provisioning_s)

    def finish_provisioning(self, user_id: str, plan_ids: Collection[str]) -> None:
        """The walk of these plans is over; plans switched off meanwhile stay off."""
        user = self._store.users.get(user_id) or self._store.unborn.get(user_id)
        if user is None:
            return
        moved, pending = False, self._pending()
        shared: dict[tuple[str, datetime], PlanState] = {}
        for plan_id in plan_ids:
            state = user.plans.get(plan_id)
            if state is None or state.status != "PendingInput":
                continue
            if not moved:
                self._store.remember(user_id)
            moved = True
            status = self.ending_of(user_id, plan_id, pending).status
            key = (status, state.assigned_at)
            user.plans[plan_id] = shared.setdefault(key, PlanState(status, state.assigned_at))
        if moved:
            self._store.touch(user, "assignedPlans", "provisionedPlans")

    def _write_audit(
        self,
        user: User,
        before: Mapping[str, Collection[str]],
        after: Mapping[str, Collection[str]],
        actor: Actor,
        at: datetime | None,
    ) -> None:
        target = {"id": user.user_id, "type": "User", "displayName": None, "userPrincipalName": user.upn}
        names = self._store.skus
        change = Change(
            "AssignedLicense",
            [f"[SkuName={names[s].part_number}, SkuId={s}, DisabledPlans={sorted(p)}]" for s, p in before.items()],
            [f"[SkuName={names[s].part_number}, SkuId={s}, DisabledPlans={sorted(p)}]" for s, p in after.items()],
        )
        told = [change] if self._store.switches.audit_is_complete else []
        write = self._audit.write
        write("Change user license", category="UserManagement", actor=actor, target=target, changes=told, at=at)
        write("Update user", category="UserManagement", actor=actor, target=target, changes=[change], at=at)
