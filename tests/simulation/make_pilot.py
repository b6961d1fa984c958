"""A site that begins with a pilot: a few people, one product, approved tickets in our queue, an admin who works too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from reconciler.sandbox.directory import Actor
from reconciler.sandbox.stories import empty
from reconciler.sandbox.stories.forms import FORMS, LICENCE, TEAM
from reconciler.sandbox.world import World
from tests.simulation.make_day import Day, a_day
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


def pilot(people: int) -> World:
    """`people` persons p0, p1, …, each with an approved ticket RITM0040000, … for Visio Plan 2; and Tom Weber."""
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
            state="2",
            stage="fulfillment",
            task={"state": "1", "assignment_group": queue},
            price="14.10",
        )
    return world


def ticket(number: int) -> str:
    return f"RITM{40_000 + number:07}"


@contextmanager
def a_pilot(
    state: Path, mode: str, answers: str = "silent", *, people: int = 4, more: str = "", world: World | None = None
) -> Iterator[Day]:
    """A day of that site. Another mode with the same `state` and `world` goes on from there."""
    state.mkdir(parents=True, exist_ok=True)
    file = state / f"{mode}.toml"
    file.write_text(config(mode, answers, more), encoding="utf-8")
    with a_day(state, world or pilot(people), config=file) as day:
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


def instant(day: Day) -> datetime:
    return day.world.clock.now()
