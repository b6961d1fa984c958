"""A plan that is carried out in slices of a few requests, and what arrives while that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from reconciler.sandbox.stories.forms import LICENCE
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day
from tests.simulation.make_pilot import config, pilot, ticket
from tests.simulation.make_products import QUEUE

PEOPLE, SLICE, SEATS, GRANTS = 9, 3, 500, 400
LATE = 8  # the person whose ticket comes last in the plan
CRITICAL, LOW = "1", "4"
NEW = "RITM0090001"
EVERYBODY = [f"p{n}" for n in range(9)]


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Backlog:
    """Tickets of eight people in our queue, and one more person; `given` is who was assigned a licence, in order."""

    day: Day
    given: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # requests to ServiceNow for what is urgent
    asked_when: list[int] = field(default_factory=list)  # how many had been given something by then
    at: dict[int, Callable[[], None]] = field(default_factory=dict)  # after so many assignments, what happens
    meanwhile: Callable[[httpx.Request], None] = lambda _: None

    def meddle(self, request: httpx.Request) -> None:
        self.meanwhile(request)
        query = str(request.url.params.get("sysparm_query", ""))
        if request.url.path.endswith("/sc_req_item") and "priorityIN" in query:
            self.asked.append(query)
            self.asked_when.append(len(self.given))
        if request.url.path.endswith("/assignLicense"):
            user = self.day.world.directory.user(request.url.path.split("/")[-2])
            self.given.append(user.upn.partition("@")[0])
            if len(self.given) in self.at:
                self.at.pop(len(self.given))()

    def orders(
        self, person: int, number: str = NEW, *, priority: str = CRITICAL, product: str = "Visio Plan 2"
    ) -> None:
        """An approved order arrives in our queue."""
        desk = self.day.world.instance
        (item,) = desk.records("sc_cat_item", name=LICENCE)
        (who,) = desk.records("sys_user", user_name=f"p{person}")
        (queue,) = desk.records("sys_user_group", name=QUEUE)
        at = self.day.world.clock.now()
        made = desk.order(
            number,
            item=item["sys_id"],
            requested_for=who["sys_id"],
            variables={"user": who["sys_id"], "product": product, "justification": "It is urgent."},
            opened_at=at,
            state="2",
            stage="fulfillment",
            task={"state": "1", "assignment_group": queue["sys_id"]},
            price="14.10",
        )
        desk.change("sc_req_item", made, priority=priority)

    def becomes_urgent(self, person: int) -> None:
        """Somebody raises the priority of a ticket of the backlog."""
        self.day.world.instance.change("sc_req_item", self.day.ticket(ticket(person))["sys_id"], priority=CRITICAL)

    def rows(self, kind: str) -> list[dict[str, object]]:
        with self.day.app.database.read() as session:
            return [row for row in journal.export(session, TENANT) if row["kind"] == kind]


@contextmanager
def a_backlog(
    state: Path,
    *,
    urgent: str = 'urgent_priorities = ["1"]',
    slice_requests: int = SLICE,
    seats: int = SEATS,
    grants_per_day: int = GRANTS,
) -> Iterator[Backlog]:
    """The day before its first cycle. `urgent` is a key of the guards."""
    world = pilot(PEOPLE)
    world.directory.store.skus[world.directory.sku("VISIOCLIENT")].enabled = seats
    text = config("enforce", "full").replace('allow_domains = ["*"]\n', f'allow_domains = ["*"]\n{urgent}\n')
    text = text.replace(f"grants_per_day = {GRANTS}", f"grants_per_day = {grants_per_day}")
    state.mkdir(parents=True, exist_ok=True)
    (state / "urgent.toml").write_text(text, encoding="utf-8")
    with a_day(state, world, config=state / "urgent.toml") as day:
        day.app = replace(day.app, slice_requests=slice_requests)
        for n in range(PEOPLE):  # in their turn: the first was asked for first
            sys_id = day.ticket(ticket(n))["sys_id"]
            opened = world.clock.now() - timedelta(hours=5) + timedelta(minutes=n)
            world.instance.change("sc_req_item", sys_id, opened_at=f"{opened:%Y-%m-%d %H:%M:%S}", priority=LOW)
        backlog = Backlog(day)
        day.watch.meddle = backlog.meddle
        yield backlog


def spare_person(backlog: Backlog) -> None:
    """The last one of the backlog has no ticket there: nobody has asked for them yet."""
    task = backlog.day.tasks(ticket(LATE))[0]
    backlog.day.world.instance.change("sc_task", task["sys_id"], state="4", active="false")
    backlog.day.world.instance.change(
        "sc_req_item", backlog.day.ticket(ticket(LATE))["sys_id"], state="4", stage="Request Cancelled", active="false"
    )


def intents(backlog: Backlog, user: str) -> list[dict]:
    who = backlog.day.world.directory.user(f"{user}@contoso.example").user_id
    return [row for row in backlog.rows("intent") if row["subject"] == who]


def dies_and_goes_on(backlog: Backlog) -> None:
    """The cycle dies where `meanwhile` lets it, and others follow."""
    with pytest.raises(Killed):
        backlog.day.cycle()
    backlog.meanwhile = lambda _: None
    for _ in range(4):
        backlog.day.wait(20)
        backlog.day.cycle()


def all_are_served(backlog: Backlog) -> bool:
    """Whether the new ticket and all others are granted and were told so once."""
    numbers = (NEW, *map(ticket, range(LATE)))
    is_granted = all(backlog.day.phase(number) == "granted" for number in numbers)
    return is_granted and all(len(backlog.day.notes(number)) == 1 for number in numbers)
