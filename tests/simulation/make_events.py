"""What other people and systems do to a simulated customer while weeks pass: one event a name, chosen by seed.

Each is done as they would do it: through the directory's own changing methods or ServiceNow's forms, so that rules,
audit entries and delays follow. What an event touches is told to the oracle, which then knows that it was not us.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

from reconciler.sandbox import hosts
from reconciler.sandbox.directory import Refused
from reconciler.sandbox.directory.audit import Actor
from tests.simulation.make_products import FULFILLER, KIOSK, QUEUE, SOLD, STAFF
from tests.simulation.make_tenant import Human, Made, Wish, order
from tests.simulation.oracle import Oracle

ADMIN = Actor(user_id="0f0e0d0c-0000-4000-8000-00000000ad31", upn="tom.weber@contoso.example", name="Tom Weber")
SYNC = Actor(app_name="HR provisioning")


NEW_PLANS = ("SWAY", "YAMMER_ENTERPRISE", "KAIZALA_O365_P3")  # nothing that is sold here is proven by or needs them


class Others:
    """Everybody but us."""

    def __init__(self, tenant: Made, oracle: Oracle, rng: random.Random) -> None:
        self.t, self.oracle, self.rng = tenant, oracle, rng
        self.directory, self.instance = tenant.world.directory, tenant.world.instance
        self.done: list[str] = []
        self.hidden: list[tuple[str, str]] = []

    def act(self) -> str:
        """One event; its name, with whom or what it struck."""
        name, weight = zip(*EVENTS.items(), strict=True)
        kind = self.rng.choices(name, weight)[0]
        what = getattr(self, f"_{kind}")() or ""
        self.oracle.others()
        self.oracle.tickets_moved()
        self.done.append(f"{kind} {what}".strip())
        return self.done[-1]

    def add_plan(self, rng: random.Random) -> str:
        """Microsoft puts a plan into something that the tenant owns once time passes; `rng` is chance of its own."""
        store, plan = self.directory.store, self.oracle.truth.plan(rng.choice(NEW_PLANS))
        without = sorted(s.sku_id for s in store.skus.values() if plan not in s.plan_ids)
        if not without:  # a small tenant whose licences all carry it already
            return ""
        sku = rng.choice(without)
        event = {"kind": "add_plan", "part_number": store.skus[sku].part_number, "plan": plan}
        self.t.world.at(self.t.world.clock.now(), event)
        self.oracle.came_later.setdefault(sku, set()).add(plan)
        self.oracle.others()
        return f"plan_added {store.skus[sku].part_number}"

    # --- choosing

    def _person(self, *, alive: bool = True) -> Human | None:
        known = [h for h in self.t.humans if h.user_id and (not alive or self.oracle.truth.user(h.user_id))]
        return self.rng.choice(known) if known else None

    def _ticket(self, *states: str) -> dict[str, str] | None:
        rows = [r for r in self.instance.records("sc_req_item") if not states or r["state"] in states]
        return self.rng.choice(rows) if rows else None

    def _change(
        self, human: Human, *, add: dict[str, tuple[str, ...]] | None = None, remove: tuple[str, ...] = ()
    ) -> str:
        user = self.oracle.truth.user(human.user_id or "")
        if user is None:
            return ""
        plans = {self.oracle.truth.sku(s): [self.oracle.truth.plan(p) for p in off] for s, off in (add or {}).items()}
        self.oracle.others(user.user_id)
        try:
            self.directory.changes.change_licences(
                user.user_id,
                add=plans,
                remove=[self.oracle.truth.sku(s) for s in remove],
                actor=ADMIN,
                seen_location=user.usage_location,
            )
        except Refused:
            return f"{human.name} (refused)"
        return f"{human.name} +{add or ''} -{remove}"

    # --- seats

    def _seats_bought(self) -> str:
        sku = self.rng.choice(list(self.directory.store.skus.values()))
        sku.enabled += self.rng.randint(1, 3)
        return sku.part_number

    def _seats_lost(self) -> str:
        sku = self.rng.choice(list(self.directory.store.skus.values()))
        free = self.directory.store.seats_free(sku.sku_id)
        sku.enabled = max(0, sku.enabled - min(free, self.rng.randint(1, 3)))
        return sku.part_number

    # --- licences by hand

    def _admin_removes(self) -> str:
        human = self._person()
        held = sorted(self.oracle.truth.direct(human.user_id or "")) if human else []
        if human is None or not held:
            return ""
        return self._change(human, remove=(self.oracle.truth.name_of(self.rng.choice(held)),))

    def _admin_adds(self) -> str:
        human = self._person()
        key = self.rng.choice(self.t.site.products)
        return self._change(human, add={self.rng.choice(SOLD[key].skus): ()}) if human else ""

    def _admin_switches_off(self) -> str:
        human = self._person()
        sold = SOLD[self.rng.choice(self.t.site.products)]
        held = self.oracle.truth.direct(human.user_id or "") if human else {}
        plan = self.oracle.truth.plan(self.rng.choice(sold.proofs))
        bearing = [s for s in held if plan in self.directory.store.skus[s].plan_ids]
        if human is None or not bearing:
            return ""
        sku = self.rng.choice(bearing)
        off = tuple(sorted({*held[sku], plan}))
        return self._change(human, add={self.oracle.truth.name_of(sku): off})

    # --- groups

    def _member_leaves(self) -> str:
        groups = [g for g in self.directory.store.groups.values() if g.members and not g.is_dynamic]
        if not groups:
            return ""
        group = self.rng.choice(groups)
        user_id = self.rng.choice(list(group.members))
        self.oracle.others(user_id)
        self.directory.changes.leave_group(group.group_id, user_id, actor=ADMIN)
        return group.name

    def _member_joins(self) -> str:
        human = self._person()
        group = self.rng.choice(list(self.directory.store.groups.values()))
        if human is None or human.user_id in group.members or human.user_id not in self.directory.store.users:
            return ""
        self.oracle.others(human.user_id)
        self.directory.changes.join_group(group.group_id, [human.user_id], actor=ADMIN)
        return f"{human.name} {group.name}"

    def _group_licences(self) -> str:
        names = [n for n in self.t.groups if n not in (STAFF, KIOSK)]
        if not names:
            return ""
        group = self.oracle.truth.group(self.rng.choice(names))
        sold = next(s for s in SOLD.values() if s.group == group.name)
        own = self.oracle.truth.sku(sold.skus[0])
        for changed in (group.group_id, *group.members):
            self.oracle.others(changed)
        change = {"add": {own: []}, "remove": []} if own not in group.licenses else {"add": {}, "remove": [own]}
        if sold.also and self.rng.random() < 0.5 and self.oracle.truth.sku(sold.also[0]) not in group.licenses:
            change = {"add": {self.oracle.truth.sku(sold.also[0]): []}, "remove": []}
        self.directory.changes.set_group_licences(group.group_id, actor=ADMIN, **change)
        return group.name

    # --- accounts

    def _disabled(self) -> str:
        human = self._person()
        if human is None:
            return ""
        user = self.directory.user(human.user_id or "")
        self.oracle.others(user.user_id)
        self.directory.store.remember(user.user_id)
        user.enabled = not user.enabled
        self.directory.store.touch(user, "accountEnabled")
        return f"{human.name} {user.enabled}"

    def _deleted(self) -> str:
        human = self._person()
        if human is None or human.user_id not in self.directory.store.users:
            return ""
        self.oracle.others(human.user_id)
        self.directory.changes.delete_user(human.user_id)
        return human.name

    def _renamed(self) -> str:
        human = self._person()
        if human is None or human.trait == "denied":  # a deny list of names cannot follow a new one
            return ""
        human.upn = f"{human.name}.newname@contoso.example"
        self.directory.store.set_upn(self.directory.user(human.user_id or ""), human.upn)
        if self.rng.random() < 0.7:
            self.instance.change("sys_user", human.sys_id, email=human.upn)
        return human.name

    def _located(self) -> str:
        """HR provisioning or a sync writes the country, or takes it away."""
        human = self._person()
        user = self.oracle.truth.user(human.user_id or "") if human else None
        if human is None or user is None:
            return ""
        self.oracle.others(user.user_id)
        value = None if user.usage_location and self.rng.random() < 0.3 else human.country
        self.directory.changes.write_usage_location(user, value, actor=SYNC)
        return f"{human.name} {value}"

    # --- tickets

    def _decided(self) -> str:
        row = next((r for r in self.instance.records("sc_req_item") if r["stage"] == "waiting_for_approval"), None)
        if row is None:
            return ""
        state = self.rng.choice(("approved", "approved", "rejected"))
        self.instance.decide(row["sys_id"], self.instance.truth.user_id(FULFILLER), state)
        if state == "approved":
            self.instance.change("sc_req_item", row["sys_id"], state="2", by="fulfil.flow")
            self.instance.change("sc_request", row["request"], approval="approved", by="fulfil.flow")
            values = {"request_item": row["sys_id"], "parent": row["sys_id"], "request": row["request"], "state": "1"}
            self.instance.truth.insert("sc_task", values | {"assignment_group": self.t.queues[QUEUE]}, by="fulfil.flow")
        return f"{row['number']} {state}"

    def _cancelled(self) -> str:
        row = self._ticket("1", "2")
        if row is None:
            return ""
        self.instance.change("sc_req_item", row["sys_id"], by=FULFILLER, stage="Request Cancelled", state="4")
        return row["number"]

    def _closed_by_hand(self) -> str:
        row = self._ticket("2")
        if row is None:
            return ""
        for task in self.instance.records("sc_task", request_item=row["sys_id"]):
            if task["active"] == "true":
                self.instance.change("sc_task", task["sys_id"], by=FULFILLER, state="3")
        self.instance.change("sc_req_item", row["sys_id"], by=FULFILLER, state="3", stage="complete")
        return row["number"]

    def _edited(self) -> str:
        row = self._ticket()
        if row is None:
            return ""
        text = self.rng.choice(("a remark", "please hurry", "see chat"))
        self.instance.change("sc_req_item", row["sys_id"], by=FULFILLER, short_description=text)
        return row["number"]

    def _task_taken_or_left(self) -> str:
        tasks = [t for t in self.instance.records("sc_task") if t["active"] == "true"]
        if not tasks:
            return ""
        task = self.rng.choice(tasks)
        who = "" if task["assigned_to"] else self.instance.truth.user_id(FULFILLER)
        self.instance.change("sc_task", task["sys_id"], by=FULFILLER, assigned_to=who)
        return f"{task['number']} {who[:4]}"

    def _ordered(self) -> str:
        wishes: list[Wish] = order(self.t, self.rng, at=self.t.world.clock.now() - timedelta(minutes=1))
        return f"{wishes[0].number} {wishes[0].how}"

    def _unreadable(self) -> str:
        """Rows that an access rule hides from us for a while."""
        if self.hidden and self.rng.random() < 0.7:
            self.show_all()
            return "shown"
        table = self.rng.choice(("sc_req_item", "sys_user", "sc_task"))
        rows = [r for r in self.instance.records(table) if r.get("user_name") != hosts.SERVICENOW_USER]
        if not rows:
            return ""
        row = self.rng.choice(rows)
        self.instance.hide(table, row["sys_id"], hosts.SERVICENOW_USER)
        self.hidden.append((table, row["sys_id"]))
        return f"{table} {row.get('number') or row.get('user_name')}"

    def show_all(self) -> None:
        """Let us read everything again."""
        for table, sys_id in self.hidden:
            self.instance.show(table, sys_id, hosts.SERVICENOW_USER)
        self.hidden.clear()


Event = Callable[[], str]
EVENTS = {
    "seats_bought": 10, "seats_lost": 4, "admin_removes": 8, "admin_adds": 6, "admin_switches_off": 4,
    "member_leaves": 4, "member_joins": 4, "group_licences": 2, "disabled": 4, "deleted": 2, "renamed": 3,
    "located": 5, "decided": 8, "cancelled": 5, "closed_by_hand": 6, "edited": 6, "task_taken_or_left": 5,
    "ordered": 10, "unreadable": 6,
}  # fmt: skip
