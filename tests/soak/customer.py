"""The customer of a soak: Contoso, with people who keep on ordering, and what has to be true of it in the end."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reconciler.sandbox.faults import BAD_DAY, FaultRule
from reconciler.sandbox.stories import contoso
from reconciler.sandbox.world import World

MARK = re.compile(r"\[(m365r:[A-Za-z0-9:._-]+)\]")
OURS = "m365r:"
PEOPLE = 80
DOWN = (  # what is down for a while now and then, beside what goes wrong all the time
    ("unavailable", "GET /users"),
    ("unavailable", "POST /$batch"),
    ("200_html_hibernate", "GET /api"),
    ("429_rule", "GET /api"),
    ("server_error", "POST /users"),
)
PRODUCTS = {"power-bi-pro": "POWER_BI_PRO", "visio-plan-2": "VISIOCLIENT", "project-plan-3": "PROJECTPROFESSIONAL"}
PRICES = {"power-bi-pro": "13.10", "visio-plan-2": "14.10", "project-plan-3": "28.10"}


@dataclass(frozen=True)
class Order:
    """A ticket that somebody made. `closed` ones say that the licence was given, and it was not."""

    number: str
    upn: str
    product: str
    closed: bool
    days: int
    at: datetime


@dataclass
class Customer:
    """A world that orders by itself. `orders` is the truth that the end is compared with."""

    seed: int
    world: World = field(default_factory=contoso)
    people: int = PEOPLE
    orders: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"soak-{self.seed}")
        at = self.world.clock.now()
        desk = self.world.instance
        self._manager = desk.truth.user_id("laura.mcbride")
        for n in range(self.people):
            name = f"soak{n:03d}"
            self.world.directory.add_user(
                self.upn(n),
                display_name=f"Soak Person {n}",
                usage_location="DE",
                country="DE",
                department="Engineering",
                employee_type="Employee",
                employee_id=f"S{n:05d}",
                created_at=at - timedelta(days=300),
            )
            desk.add_person(name, email=self.upn(n), name=f"Soak Person {n}", employee_number=f"S{n:05d}", country="DE")
        for part_number in PRODUCTS.values():
            self.world.at(at, {"kind": "buy_seats", "part_number": part_number, "seats": 5 * self.people})
        self._free = [(self.upn(n), product) for n in range(self.people) for product in PRODUCTS]
        self._rng.shuffle(self._free)
        self._item = self._id("sc_cat_item", "Microsoft 365 licence")
        self._queue = self._id("sys_user_group", "M365 Licence Desk")
        for rule in BAD_DAY:
            self.world.faults.add(rule)

    @staticmethod
    def upn(n: int) -> str:
        return f"soak{n:03d}@contoso.example"

    def _id(self, table: str, name: str) -> str:
        return next(r["sys_id"] for r in self.world.instance.records(table) if r["name"] == name)

    def order(self) -> Order:
        """Somebody orders something that they do not have and never asked for."""
        upn, product = self._free.pop()
        at, closed = self.world.clock.now(), self._rng.random() < 0.4
        days = self._rng.choice((0, 0, 0, 2))
        order = Order(f"RITM{20000 + len(self.orders):07d}", upn, product, closed, days, at)
        person = self.world.instance.truth.user_id(upn.partition("@")[0])
        self.world.instance.order(
            order.number,
            item=self._item,
            requested_for=person,
            opened_at=at,
            variables={
                "user": person,
                "product": product,
                "justification": "Needed for my daily work.",
                "cost_center": "",
                "manager": self._manager,
                "duration": f"{days} days" if days else "",
            },
            state="3" if closed else "2",
            stage="complete" if closed else "fulfillment",
            closed_at=at if closed else None,
            closed_by=self._manager if closed else "",
            approvers=[(self._manager, "approved", at)],
            task=None if closed else {"state": "1", "assignment_group": self._queue, "assigned_to": ""},
            price=PRICES[product],
        )
        self.orders.append(order)
        return order

    def go_down(self, for_: timedelta) -> str:
        """Something does not work for so long."""
        fault, route = self._rng.choice(DOWN)
        now = self.world.clock.now()
        self.world.faults.add(FaultRule(fault, 1.0, route, from_at=now, until_at=now + for_))
        return f"{fault} {route}"

    def calm(self) -> Counter[str]:
        """Nothing goes wrong any more; what did until now."""
        met = Counter(self.world.faults.met)
        self.world.faults.clear()
        return met

    # --- what has to be true

    def faults_of_answers(self) -> list[str]:
        """Answers that a ticket has twice."""
        wrong = []
        instance = self.world.instance
        for row in instance.records("sc_req_item"):
            texts = [t for e in ("work_notes", "comments") for t in instance.notes(row["sys_id"], e)]
            marks = Counter(mark for text in texts for mark in MARK.findall(text))
            wrong += [f"{row['number']} was told {mark} {n} times" for mark, n in marks.items() if n > 1]
            tasks = Counter(t["correlation_id"] for t in instance.records("sc_task", request_item=row["sys_id"]))
            ours = {key: n for key, n in tasks.items() if key.startswith(OURS)}
            wrong += [f"{row['number']} has task {key} {n} times" for key, n in ours.items() if n > 1]
        return wrong

    def faults_of_lines(self, lines: dict[str, dict[str, Any]]) -> list[str]:
        """Orders that were lost, or whose phase is not what their people have. `lines` by ticket: phase and more."""
        wrong = []
        directory = self.world.directory
        now = self.world.clock.now()
        for order in self.orders:
            line = lines.get(order.number)
            if line is None:
                wrong.append(f"{order.number} was never taken in")
                continue
            part_number = PRODUCTS[order.product]
            states = directory.assign_states(directory.user(order.upn).user_id)
            has = any(s.is_in_force and s.sku_id == directory.sku(part_number) for s in states)
            is_over = bool(order.days) and line["ends_at"] is not None and line["ends_at"] < now - timedelta(hours=1)
            wanted = {"revoked"} if is_over else {"granted", "expiring"}
            if line["phase"] not in wanted:
                wrong.append(f"{order.number} ({order}) is {line['phase']}, {line['cause']}: {line['note']}")
            elif has == is_over:
                wrong.append(
                    f"{order.number} is {line['phase']}, and {order.upn} has{'' if has else ' not'} the licence"
                )
        return wrong
