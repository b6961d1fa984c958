"""What is true in a simulated world, by rules written here and read from the sandbox's own records.

Nothing of the software under test is asked: proof comes from the plans' states, a ticket's word from its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from reconciler.sandbox.directory.entitlement import effective_licences, enabled_plans
from reconciler.sandbox.directory.records import Group, User
from tests.simulation.make_products import AGENT, QUEUE, SOLD, Sold
from tests.simulation.make_tenant import Made, Wish

SYNC = timedelta(hours=14)  # time zones: a day that ended here has ended everywhere after this
WEEKEND = timedelta(days=2)  # no licence is taken back on one


class Truth:
    """Questions to a world. A person is named by object id, a SKU and a plan by id."""

    def __init__(self, tenant: Made) -> None:
        self.tenant = tenant
        self.world = tenant.world
        self.directory = tenant.world.directory
        self.store = tenant.world.directory.store
        self.catalogue = tenant.world.directory.catalogue
        self._queue = tenant.queues[QUEUE]
        self._agent = tenant.world.instance.truth.user_id(AGENT)

    # --- names

    def sku(self, part_number: str) -> str:
        return self.catalogue.product(part_number).sku_id

    def plan(self, name: str) -> str:
        return self.catalogue.plan_id(name)

    def name_of(self, sku_id: str) -> str:
        sku = self.store.skus.get(sku_id)
        return sku.part_number if sku is not None else sku_id

    def skus_of(self, sold: Sold) -> frozenset[str]:
        return frozenset(self.sku(s) for s in sold.skus)

    # --- accounts

    def user(self, user_id: str) -> User | None:
        """The account as it is, None when it was never there or was deleted."""
        user = self.store.users.get(user_id)
        return user if user is not None and user.deleted_at is None else None

    def direct(self, user_id: str) -> dict[str, frozenset[str]]:
        """SKU -> plans that are off, of direct assignments in force."""
        user = self.store.users.get(user_id)
        found = user.assignments if user is not None else []
        return {a.sku_id: frozenset(a.disabled) for a in found if a.group_id is None and a.is_in_force}

    def holds(self, user_id: str) -> frozenset[str]:
        """SKUs in force, by any path."""
        user = self.store.users.get(user_id)
        return frozenset(effective_licences(user.assignments)) if user is not None else frozenset()

    def plans_on(self, user_id: str) -> set[str]:
        user = self.store.users.get(user_id)
        return enabled_plans(user.assignments, self.store.skus) if user is not None else set()

    def is_off_by_groups(self, user_id: str, sold: Sold) -> bool:
        """Whether the service is switched off in a licence of theirs, and groups alone bring every such licence."""
        user = self.store.users.get(user_id)
        off = {self.plan(p) for p in sold.proofs} - self.plans_on(user_id)
        rows = [a for a in (user.assignments if user is not None else ()) if a.is_in_force]
        bearing = [a for a in rows if off & set(self.store.skus[a.sku_id].plan_ids)]
        return bool(bearing) and all(a.group_id is not None for a in bearing)

    def plans_coming(self, user_id: str) -> set[str]:
        """Plans of licences that the person's groups are about to give."""
        groups = [g for g in self.store.groups.values() if user_id in g.members and user_id in g.waiting]
        return {p for g in groups for sku in g.licenses for p in self.store.skus[sku].plan_ids}

    def has_access(self, user_id: str, sold: Sold) -> bool:
        """Whether the proof plans are provisioned and on, and a telephone rings where the site wants that proof."""
        user = self.user(user_id)
        if user is None or (sold.probes and self.tenant.site.probes and not user.telephone_number):
            return False
        on = self.plans_on(user_id)
        works = [self._works(user, self.plan(p), on) for p in sold.proofs]
        return all(works) if sold.mode == "all" else any(works)

    def _works(self, user: User, plan: str, on: set[str]) -> bool:
        state = user.plans.get(plan)
        return plan in on and state is not None and state.status == "Success"

    def group(self, name: str) -> Group:
        return self.store.groups[self.tenant.groups[name]]

    def pending_seats(
        self, sku_id: str, *, is_configured: bool = False, unless: Callable[[str], bool] = lambda _user: False
    ) -> int:
        """People whom a group will give this SKU, and has not yet; of the groups that the site names, or of all."""
        named = {self.tenant.groups[SOLD[key].group] for key in self.tenant.site.by_group}
        found: set[str] = set()
        for group in self.store.groups.values():
            if sku_id in group.licenses and (group.group_id in named or not is_configured):
                found |= {u for u in group.waiting if u in group.members and sku_id not in self.holds(u)}
        return sum(1 for user in found if not unless(user))

    # --- tickets

    def says(self, wish: Wish) -> str:
        """What the ticket says now: ours, closed, or a word for why nothing may be given for it."""
        row = self.world.instance.records("sc_req_item", number=wish.number)[0]
        is_active, state = row["active"] == "true", row["state"]
        if state == "3" and not is_active and row["stage"] == "complete" and row["approval"] == "approved":
            return "closed"
        if state in ("-5", "1", "2") and is_active and row["approval"] == "approved":
            if row["opened_by"] == self._agent:
                return "agent"
            return "ours" if self._is_ours(row) else "theirs"
        return "no"

    def _is_ours(self, row: dict[str, str]) -> bool:
        tasks = self.world.instance.records("sc_task", request_item=row["sys_id"])
        waiting = [t for t in tasks if t["active"] == "true" and not t["correlation_id"].startswith("m365r:")]
        queued = [t for t in waiting if t["assignment_group"] == self._queue]
        return not waiting or any(not t["assigned_to"] for t in queued)

    def is_over(self, wish: Wish, now: datetime) -> bool:
        """Whether a dated period has certainly ended, wherever the person is."""
        if not wish.ends_on:
            return False
        return now >= datetime.fromisoformat(f"{wish.ends_on}T00:00:00+00:00") + timedelta(days=1) + WEEKEND + SYNC

    def has_begun(self, wish: Wish, now: datetime) -> bool:
        return not wish.starts_on or now >= datetime.fromisoformat(f"{wish.starts_on}T00:00:00+00:00") + SYNC

    def may_begin(self, wish: Wish, now: datetime) -> bool:
        """Whether it can have begun somewhere."""
        return not wish.starts_on or (now + SYNC).date() >= date.fromisoformat(wish.starts_on)

    def may_run(self, wish: Wish, now: datetime) -> bool:
        """Whether its dated period may still run somewhere."""
        return not wish.ends_on or now.date() - timedelta(days=1) - WEEKEND <= date.fromisoformat(wish.ends_on)

    def sold(self, wish: Wish) -> Sold:
        assert wish.product is not None
        return SOLD[wish.product]

    def is_priced(self, wish: Wish) -> bool:
        return wish.price == "" or float(wish.price) >= float(self.sold(wish).price)

    def wishes_of(self, user_id: str) -> Iterable[Wish]:
        return (w for w in self.tenant.wishes if w.human.user_id == user_id and w.product is not None)
