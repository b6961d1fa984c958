"""A site that begins with a pilot: a few people, one product, approved tickets in our queue, an admin who works too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from reconciler.approvals.values import Decision, Refusal, Verdict
from reconciler.sandbox.directory import Actor
from reconciler.sandbox.stories import empty
from reconciler.sandbox.stories.forms import FORMS, LICENCE, TEAM
from reconciler.sandbox.world import World
from reconciler.store import approvals
from tests.simulation.make_day import TENANT, Day, a_day
from tests.simulation.make_products import AGENT, QUEUE, Site

TOM = "tom.weber@contoso.example"
PRODUCT, SKU, GROUP = "visio-plan-2", "VISIOCLIENT", "G-Visio"


def config(mode: str, answers: str, more: str = "") -> str:
    """The site's config.toml; `more` are keys of the tenant."""
    told = Site(products=(PRODUCT, "visio-plan-1"), by_group=()).toml()
    told = told.replace('mode = "enforce"\n', f'mode = "{mode}"\n').replace(
        'answers = "full"\n', f'answers = "{answers}"\n{more}\n'
    )
    return told + f'\n[tenants.contoso.approvals.approvers]\nlicense_admin = ["{TOM}"]\n'


def pilot(people: int, *, closed: bool = False) -> World:
    """`people` persons p0, p1, …, each with an approved ticket RITM0040000, … for Visio Plan 2; and Tom Weber.

    `closed`: their tickets say that it was done.
    """
    world = empty(seed=7)
    directory, desk = world.directory, world.instance
    items = {name: desk.add_item(name, **FORMS[name]) for name in (LICENCE, TEAM)}
    queue = desk.add_group(QUEUE)
    desk.add_person(AGENT, email=f"{AGENT}@contoso.example", name="Agent")
    desk.add_person("tom.weber", email=TOM, name="Tom Weber", employee_number="1")
    directory.add_user(TOM, display_name="Tom Weber", usage_location="DE", country="DE", employee_id="1")
    for part_number in (SKU, "VISIOONLINE_PLAN1", "SPE_E3"):
        directory.add_sku(part_number, enabled=500)
    directory.add_group(GROUP, licenses={SKU: ()})
    asked = world.clock.now() - timedelta(hours=5)
    for number in range(people):
        upn, id = f"p{number}@contoso.example", f"{100 + number}"
        person = desk.add_person(
            f"p{number}", email=upn, name=f"Person {number}", employee_number=f"{100 + number}", country="DE"
        )
        directory.add_user(
            upn,
            display_name=f"Person {number}",
            usage_location="DE",
            country="DE",
            employee_id=id,
            employee_type="Employee",
        )
        desk.order(
            ticket(number),
            item=items[LICENCE],
            requested_for=person,
            variables={"user": person, "product": "Visio Plan 2", "justification": "For drawings."},
            opened_at=asked,
            state="3" if closed else "2",
            stage="complete" if closed else "fulfillment",
            closed_at=asked + timedelta(hours=1) if closed else None,
            task=None if closed else {"state": "1", "assignment_group": queue},
            price="14.10",
        )
    return world


def ticket(number: int) -> str:
    return f"RITM{40_000 + number:07}"


@contextmanager
def a_pilot(
    state: Path,
    mode: str,
    answers: str = "silent",
    *,
    people: int = 4,
    more: str = "",
    closed: bool = False,
    world: World | None = None,
) -> Iterator[Day]:
    """A day of that site. Another mode with the same `state` and `world` goes on from there."""
    state.mkdir(parents=True, exist_ok=True)
    file = state / f"{mode}.toml"
    file.write_text(config(mode, answers, more), encoding="utf-8")
    with a_day(state, world or pilot(people, closed=closed), config=file) as day:
        yield day


def tom(day: Day) -> Actor:
    user = day.world.directory.user(TOM)
    return Actor(user_id=user.user_id, upn=user.upn, name="Tom Weber")


def gives(day: Day, number: int, part_number: str = SKU, *, disabled: tuple[str, ...] = ()) -> None:
    """Tom Weber assigns a licence in the portal."""
    user = day.world.directory.user(f"p{number}@contoso.example")
    day.world.directory.grant(user.user_id, part_number, disabled=disabled, actor=tom(day))


def holders(day: Day, part_number: str = SKU, people: int = 50) -> set[int]:
    sku = day.world.directory.sku(part_number)
    return {
        n
        for n in range(people)
        if any(u.upn == f"p{n}@contoso.example" for u in day.world.directory.store.users.values())
        and any(a.sku_id == sku for a in day.world.directory.assign_states(f"p{n}@contoso.example"))
    }


def takes(day: Day, number: int, part_number: str = SKU) -> None:
    """Tom Weber takes a licence away in the portal."""
    day.world.directory.withdraw(person(day, number), part_number, actor=tom(day))


def person(day: Day, number: int) -> str:
    """The object id of somebody."""
    return day.world.directory.user(f"p{number}@contoso.example").user_id


def decide(day: Day, number: int, verdict: str, comment: str = "") -> None:
    """Tom Weber answers the open request of somebody's line on its page."""
    with day.app.database.read() as session:
        asked = next(a for k, a in approvals.newest(session, TENANT, {ticket(number)}).items() if k.line == 1)
    assert asked.stage is not None
    at = day.world.clock.now()
    answer = Decision(asked.stage.name, Verdict(verdict), asked.stage.approvers[0], asked.digest, at, comment=comment)
    with day.app.database.write() as session:
        done = approvals.decide(session, TENANT, asked.id, answer, at)
    assert not isinstance(done, Refusal), done


def close(day: Day, number: int, state: str, *, ours: bool = False) -> None:
    """A colleague closes the task of somebody's ticket: "3" complete, "4" incomplete."""
    (task,) = (t for t in day.tasks(ticket(number)) if bool(t["correlation_id"]) is ours)
    day.world.instance.change("sc_task", task["sys_id"], by="tom.weber", state=state, active="false")
