"""A small customer from one number: a site's configuration, its people, what they hold, and its tickets.

The same seed gives the same tenant. What the generator knows about people and tickets is kept beside the world, so
that an oracle can judge without asking the software under test.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reconciler.sandbox.stories import empty
from reconciler.sandbox.stories.forms import FORMS, LICENCE, TEAM
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.world import World
from tests.simulation.make_products import AGENT, FULFILLER, IDENTITY, KIOSK, QUEUE, SOLD, STAFF, SUITES, TELECOM, Site

NAMES = ("ada", "bo", "cleo", "dan", "eve", "finn", "gus", "hal", "ina", "jo", "kim", "lou")
PLACES = ("DE", "NL", "SE")

# What a person is like -> how often of 100.
TRAITS = {
    "ordinary": 48, "unlocated": 18, "disagreeing": 3, "one source": 3, "synced": 4, "overwritten": 4, "guest": 2,
    "denied": 2, "disabled": 3, "joiner": 5, "unknown": 2, "reused": 3, "unnumbered": 3,
}  # fmt: skip
# How far a ticket is -> how often of 100.
HOWS = {
    "approved": 40, "closed": 40, "waiting": 6, "rejected": 2, "cancelled": 2, "inconsistent": 2, "agent": 3,
    "taken": 2, "elsewhere": 2, "unmapped": 1,
}  # fmt: skip
NEVER_SERVED = frozenset({"guest", "denied", "reused"})


@dataclass
class Human:
    """One person. `user_id` is None while the directory does not know them; `sys_id` is ServiceNow's."""

    name: str
    trait: str
    upn: str
    country: str
    user_id: str | None = None
    sys_id: str = ""
    is_contractor: bool = False


@dataclass
class Wish:
    """One line of a ticket as whoever typed it meant it; `product` is None for what no catalogue has."""

    number: str
    line: int
    human: Human
    product: str | None
    asked_at: datetime
    how: str
    ends_on: str = ""
    days: int = 0
    starts_on: str = ""
    price: str = ""


@dataclass
class Made:
    """A customer, ready to be played."""

    seed: int
    world: World
    site: Site
    humans: list[Human]
    wishes: list[Wish]
    items: dict[str, str]
    queues: dict[str, str]
    groups: dict[str, str]
    rng: random.Random
    orders: int = field(default=0)

    def wishes_of(self, number: str) -> list[Wish]:
        return [w for w in self.wishes if w.number == number]


def made(seed: int) -> Made:
    """The customer of this number."""
    rng = random.Random(f"tenant-{seed}")
    world = empty(seed=seed)
    site = _site(rng, random.Random(f"site-{seed}"))
    items = {name: world.instance.add_item(name, **FORMS[name]) for name in (LICENCE, TEAM)}
    queues = {name: world.instance.add_group(name) for name in (QUEUE, TELECOM, IDENTITY)}
    for who in (AGENT, FULFILLER):
        world.instance.add_person(who, email=f"{who}@contoso.example", name=who.replace(".", " ").title())
    tenant = Made(seed, world, site, [], [], items, queues, {}, rng)
    world.directory.country = rng.choice(("US", "DE"))
    world.switches.group_delay_s = rng.choice((60.0, 600.0, 5400.0))
    world.switches.provisioning_s = rng.choice((5.0, 30.0, 30.0, 300.0, 3600.0))
    world.switches.none_error_is_null = rng.random() < 0.3
    world.switches.assign_reply_has_licences = rng.random() < 0.2
    world.switches.group_sets_usage_location = rng.random() < 0.2
    _subscriptions(tenant)
    _groups(tenant)
    for name in rng.sample(NAMES, rng.randint(3, 12)):
        _human(tenant, name)
    _tight(tenant)
    for _ in range(rng.randint(3, 14)):
        order(tenant, rng)
    world.clock.advance(timedelta(0))
    return tenant


def _site(rng: random.Random, others: random.Random) -> Site:
    """`others` is chance of its own for what was thought of later, so that a seed stays the customer that it was."""
    products = rng.sample(sorted(SOLD), rng.randint(2, 6))
    by_group = tuple(k for k in products if SOLD[k].group and rng.random() < 0.6)
    return Site(
        products=tuple(products),
        by_group=by_group,
        close=rng.choice(("task", "task", "item")),
        reopens=rng.random() < 0.7,
        zone=rng.choice(("UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland")),
        page_size=rng.choice((3, 20, 500)),
        on_drift=rng.choice(("ask", "ask", "adopt", "revert")),
        probes=rng.random() < 0.5,
        new_plans="off" if others.random() < 0.3 else "on",
    )


def _subscriptions(t: Made) -> None:
    wanted = {*SUITES, *(s for k in t.site.products for s in (*SOLD[k].skus, *SOLD[k].also))}
    for part_number in sorted(wanted):
        t.world.directory.add_sku(part_number, enabled=60, upper_case=t.rng.random() < 0.1)


def _tight(t: Made) -> None:
    """As many seats as people hold, and a few more; suites are never scarce."""
    store = t.world.directory.store
    for sku in store.skus.values():
        if sku.part_number not in SUITES or t.rng.random() < 0.2:
            sku.enabled = store.seats_used(sku.sku_id) + t.rng.choice((0, 1, 1, 2, 3, 8, 8))


def _groups(t: Made) -> None:
    add = t.world.directory.add_group
    t.groups = {
        STAFF: add(STAFF, licenses={"SPE_E3": ()}),
        KIOSK: add(KIOSK, licenses={"SPE_E3": ("TEAMS1",)}),
    }
    for key in sorted(t.site.by_group):
        sold = SOLD[key]
        brought = {sold.skus[0]: (), **(dict.fromkeys(sold.also, ()) if t.rng.random() < 0.5 else {})}
        kind = t.rng.choices(("security", "dynamic", "microsoft365"), (80, 8, 12))[0]
        synced = kind == "security" and t.rng.random() < 0.12
        t.groups[sold.group] = add(sold.group, licenses=brought, kind=kind, synced=synced)


def _human(t: Made, name: str) -> None:
    rng, directory = t.rng, t.world.directory
    trait = rng.choices(list(TRAITS), list(TRAITS.values()))[0]
    login = {"denied": "denied.person"}.get(trait, f"{name}.lind")
    if trait == "denied" and any(h.trait == "denied" for h in t.humans):
        trait, login = "ordinary", f"{name}.lind"
    human = Human(name, trait, f"{login}@contoso.example", rng.choice(PLACES), is_contractor=rng.random() < 0.1)
    number = "" if trait == "unnumbered" else f"{1000 + len(t.humans)}"
    human.sys_id = t.world.instance.add_person(
        login,
        email=human.upn,
        name=f"{name.title()} Lind",
        employee_number=number,
        country="" if trait == "one source" else human.country,
    )
    t.humans.append(human)
    if trait == "unknown":
        return
    human.user_id = directory.add_user(
        human.upn,
        display_name=f"{name.title()} Lind",
        usage_location=None if trait in ("unlocated", "disagreeing", "one source", "overwritten") else human.country,
        country="FR" if trait == "disagreeing" else human.country,
        enabled=trait != "disabled",
        synced=trait in ("synced", "overwritten"),
        user_type="Guest" if trait == "guest" else "Member",
        employee_id="9999" if trait == "reused" else number or None,
        employee_type="Contractor" if human.is_contractor else "Employee",
        created_at=START - timedelta(days=rng.choice((3, 400))) if trait == "reused" else None,
        appears_at=START + timedelta(hours=rng.randint(1, 90)) if trait == "joiner" else None,
    )
    if trait == "overwritten":
        directory.overwrite_usage_location(human.user_id, None, every_s=1800.0)
    if rng.random() < 0.7:
        directory.user(human.user_id).telephone_number = "+49 341 1000"
    _holdings(t, human)


def _holdings(t: Made, human: Human) -> None:
    """A suite, directly or by group, and now and then something that somebody gave by hand."""
    rng, directory, user_id = t.rng, t.world.directory, human.user_id or ""
    suite = rng.choices(("none", "direct", "E5", "off", "staff", "kiosk"), (20, 20, 12, 14, 24, 10))[0]
    since = START - timedelta(days=rng.randint(30, 300))
    match suite:
        case "direct":
            directory.grant(user_id, "SPE_E3", at=since)
        case "E5":
            directory.grant(user_id, "SPE_E5", at=since)
        case "off":
            directory.grant(user_id, "SPE_E3", disabled=("TEAMS1", "SWAY"), at=since)
        case "staff" | "kiosk":
            directory.add_member(t.groups[STAFF if suite == "staff" else KIOSK], user_id, at=since)
    for key in t.site.products:
        if rng.random() < 0.12 and not SOLD[key].is_suite:
            if key in t.site.by_group and rng.random() < 0.6:
                directory.add_member(t.groups[SOLD[key].group], user_id, at=since)
            else:
                directory.grant(user_id, rng.choice(SOLD[key].skus), at=since)


def order(t: Made, rng: random.Random, *, at: datetime | None = None) -> list[Wish]:
    """A new ticket of a random kind, ordered in the past, or at `at`."""
    t.orders += 1
    number = f"RITM{30_000 + t.orders:07}"
    how = rng.choices(list(HOWS), list(HOWS.values()))[0]
    many = rng.random() < 0.15 and how not in ("unmapped",)
    asked = at or START - timedelta(days=rng.choice((1, 2, 5, 5, 20)), minutes=rng.randint(0, 500))
    closed = asked + timedelta(hours=rng.randint(1, 20)) if how in ("closed", "cancelled", "inconsistent") else None
    humans = rng.sample(t.humans, min(len(t.humans), rng.randint(2, 3))) if many else [rng.choice(t.humans)]
    product = rng.choice(t.site.products)
    wishes = [
        Wish(number, n + 1, human, None if how == "unmapped" else product, asked, how) for n, human in enumerate(humans)
    ]
    _period(rng, wishes, asked, t.world.clock.now())
    price = SOLD[product].price if rng.random() < 0.92 else "1.00"
    for wish in wishes:
        wish.price = price
    if closed is not None and at is not None:
        closed = at
    _put(t, wishes, how, closed, price)
    t.wishes += wishes
    return wishes


def _period(rng: random.Random, wishes: list[Wish], asked: datetime, now: datetime) -> None:
    """One in four asks for an end: as a date, past or future, or as a duration; or for a later start."""
    kind = rng.choices(("open", "until", "over", "days", "later"), (72, 10, 4, 10, 4))[0]
    for wish in wishes:
        match kind:
            case "until":
                wish.ends_on = (now + timedelta(days=7 * len(wishes) + wish.line + 3)).date().isoformat()
            case "over":
                wish.ends_on = (now - timedelta(days=2)).date().isoformat()
            case "days":
                wish.days = 14
            case "later":
                wish.starts_on = (now + timedelta(days=4)).date().isoformat()


# how -> state, stage, approval of the item, approval of the request
_STANDS = {
    "approved": ("2", "fulfillment", "approved", "approved"),
    "closed": ("3", "complete", "approved", "approved"),
    "waiting": ("1", "waiting_for_approval", "requested", "requested"),
    "rejected": ("4", "Request Cancelled", "rejected", "rejected"),
    "cancelled": ("4", "Request Cancelled", "approved", "approved"),
    "inconsistent": ("3", "Request Cancelled", "approved", "approved"),
}


def _put(t: Made, wishes: list[Wish], how: str, closed: datetime | None, price: str) -> None:
    first = wishes[0]
    stands = how if how in _STANDS else "approved"
    state, stage, approval, request_approval = _STANDS[stands]
    item = t.items[LICENCE if len(wishes) == 1 else TEAM]
    product = first.product or "Quantum Suite 9000"
    answers = {
        "justification": "Needed for my daily work.",
        "start_date": first.starts_on,
        "end_date": first.ends_on,
        "duration": f"{first.days} days" if first.days else "",
    }
    task: dict[str, Any] | None = None
    if stands == "approved":
        queue = t.queues[TELECOM if how == "elsewhere" else QUEUE]
        task = {"state": "1", "assignment_group": queue}
        if how == "taken":
            task["assigned_to"] = t.world.instance.truth.user_id(FULFILLER)
    approver = t.world.instance.truth.user_id(FULFILLER)
    decided = None if how == "waiting" else first.asked_at + timedelta(minutes=30)
    said = {"waiting": "requested", "rejected": "rejected"}.get(how, "approved")
    t.world.instance.order(
        first.number,
        item=item,
        requested_for=first.human.sys_id,
        opened_by=t.world.instance.truth.user_id(AGENT) if how == "agent" else first.human.sys_id,
        variables=answers | ({"user": first.human.sys_id, "product": product} if len(wishes) == 1 else {}),
        rows=[{"user": w.human.sys_id, "product": product} for w in wishes] if len(wishes) > 1 else (),
        opened_at=first.asked_at,
        state=state,
        stage=stage,
        approval=approval,
        request_approval=request_approval,
        closed_at=closed,
        closed_by=approver if closed is not None else "",
        approvers=[(approver, said, decided)],
        task=task,
        price=price,
    )
