"""Contoso with people whose closed tickets gave nothing, and a configuration under which things happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from reconciler.sandbox.directory.audit import Actor
from reconciler.sandbox.state import SandboxState
from reconciler.sandbox.stories import contoso
from reconciler.sandbox.world import World

SHIPPED = Path(__file__).parents[2] / "config.toml"
VISIO_GROUP, OTHER_GROUP = "M365-Visio-Plan-2", "Engineering News"
ADMIN = "tom.weber@contoso.example"
DIRECT, BY_GROUP = 26, 4


def keep_world(state: Path) -> None:
    """Put the customer's world where `reconciler run` finds it."""
    world = contoso()
    _people(world)
    with SandboxState(state / "sandbox").open(story="contoso", fresh=True) as owned:
        owned.world = world
        owned.save()


def _people(world: World) -> None:
    at = world.clock.now()
    manager = world.instance.truth.user_id("laura.mcbride")
    (item,) = (r["sys_id"] for r in world.instance.records("sc_cat_item") if r["name"] == "Microsoft 365 licence")
    admin = world.directory.user(ADMIN)
    by = Actor(user_id=admin.user_id, upn=ADMIN, name=admin.display_name)
    groups = {g.name: g.group_id for g in world.directory.store.groups.values()}
    for part_number in ("POWER_BI_PRO", "VISIOCLIENT"):
        world.at(at, {"kind": "buy_seats", "part_number": part_number, "seats": DIRECT})
    # somebody has waited for a seat, and gets one
    world.at(at + timedelta(hours=12), {"kind": "buy_seats", "part_number": "VISIOONLINE_PLAN1", "seats": 1})
    for n in range(DIRECT + BY_GROUP):
        name = f"closed{n:02d}"
        upn = f"{name}@contoso.example"
        user = world.directory.add_user(
            upn,
            display_name=f"Closed Ticket {n}",
            usage_location="DE",
            country="DE",
            department="Engineering",
            employee_type="Employee",
            employee_id=f"C{n:05d}",
            created_at=at - timedelta(days=300),
        )
        world.instance.add_person(name, email=upn, name=f"Closed Ticket {n}", employee_number=f"C{n:05d}", country="DE")
        person = world.instance.truth.user_id(name)
        world.instance.order(
            f"RITM003{n:04d}",
            item=item,
            requested_for=person,
            opened_at=at - timedelta(days=3),
            variables={
                "user": person,
                "product": "power-bi-pro" if n < DIRECT else "visio-plan-2",
                "justification": "Needed for my daily work.",
                "cost_center": "",
                "manager": manager,
                "duration": "",
            },
            closed_at=at - timedelta(days=2),
            closed_by=manager,
            approvers=[(manager, "approved", at - timedelta(days=3))],
            price="13.10" if n < DIRECT else "14.10",
        )
        if n >= DIRECT:  # who works against us takes them out again, one after the other
            way = {"leave": groups[VISIO_GROUP], "join": groups[OTHER_GROUP]}
            world.at(at + timedelta(hours=6 + n), {"kind": "move", "user": user, "by": msgspec.to_builtins(by), **way})


def configuration(folder: Path) -> Path:
    """The shipped file, with limits that are met within a minute and a credential that soon runs out."""
    text = SHIPPED.read_text("utf-8")
    soon = (datetime.now(UTC) + timedelta(days=5)).date()
    for old, new in (
        ('usage_locations_per_day = "10%, 50 to 250"', "usage_locations_per_day = 4"),  # as many as there are to set
        ('removals_per_day = "2%, 5 to 50"', "removals_per_day = 1"),  # one fewer than there are
        ("answers_per_cycle = 40 ", "answers_per_cycle = 200 "),
        ("answers_per_day = 80", "answers_per_day = 200"),
        ("answers_per_group = 40 ", "answers_per_group = 200 "),
        ("[tenants.contoso.servicenow]\n", f"[tenants.contoso.servicenow]\ncredential_expires = {soon}\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return path
