"""A tenant of any size with plausible licences, for load: no stories, the same seed gives the same tenant.

The shape is that of ordinary tenants: none to four licences a person (most one or two), 40 % of them by group, a tenth
of the people without usage location, one in twenty disabled. Every hundredth person has a closed ticket for what they
hold, every thousandth one for what they do not.
"""

from __future__ import annotations

import random
from datetime import timedelta

from reconciler.sandbox.stories.channels import add_flows
from reconciler.sandbox.stories.desk import add_access
from reconciler.sandbox.stories.forms import FORMS, LICENCE
from reconciler.sandbox.stories.people import DOMAIN, START
from reconciler.sandbox.world import World

FIRST = ("anna", "bram", "chen", "dana", "emre", "fatima", "gijs", "hanna", "ivan", "julia", "kofi", "lena")
LAST = ("jansen", "devries", "bakker", "visser", "smit", "meijer", "mulder", "bos", "peters", "dekker", "okoro", "lind")
PLACES = ("NL", "DE", "US", "GB", "FR", "PL", "SE", "IN")
DEPARTMENTS = ("Sales", "Engineering", "Finance", "Manufacturing", "Customer Service", "Legal")
SUITES = ("SPE_E3", "SPE_E5", "ENTERPRISEPACK", "SPE_F1")
EXTRAS = (
    "VISIOCLIENT",
    "VISIOONLINE_PLAN1",
    "PROJECTPROFESSIONAL",
    "PROJECT_P1",
    "POWER_BI_PRO",
    "PBI_PREMIUM_PER_USER",
    "POWERAUTOMATE_ATTENDED_RPA",
    "POWERAPPS_PER_USER",
    "Microsoft_Teams_Premium",
    "Microsoft_365_Copilot",
    "FLOW_FREE",
    "POWER_BI_STANDARD",
    "EMS",
    "EMSPREMIUM",
    "AAD_PREMIUM",
    "AAD_PREMIUM_P2",
    "INTUNE_A",
    "OFFICESUBSCRIPTION",
    "WINDOWS_STORE",
    "RIGHTSMANAGEMENT",
)
PRODUCTS = {"VISIOONLINE_PLAN1": "visio-plan-1", "PROJECT_P1": "project-plan-1", "POWER_BI_PRO": "power-bi-pro"}
LICENCE_COUNTS = ((0, 1, 2, 3, 4), (8, 34, 34, 16, 8))  # how many, and how often of 100


def generated(users: int, seed: int = 1) -> World:
    """A world of `users` people, on the first day of Contoso's. Raises ValueError when `users` is negative."""
    if users < 0:
        raise ValueError("a tenant has no fewer than 0 people")
    world = World(START, seed=seed)
    rng = random.Random(f"generated-{seed}-{users}")  # noqa: S311 - repeatable on purpose
    directory = world.directory
    seats = users + 10
    for part_number in (*SUITES, *EXTRAS):
        directory.add_sku(part_number, enabled=seats)
    groups = {p: directory.add_group(f"M365-{p}", licenses={p: ()}) for p in (*SUITES, *EXTRAS)}
    add_access(world.instance)
    add_flows(world)
    item = world.instance.add_item(LICENCE, **FORMS[LICENCE])
    for n in range(users):
        first, last = rng.choice(FIRST), rng.choice(LAST)
        upn = f"{first}.{last}.{n:06}@{DOMAIN}"
        place = rng.choice(PLACES)
        user_id = directory.add_user(
            upn,
            display_name=f"{first.title()} {last.title()}",
            usage_location=place if rng.random() > 0.1 else None,
            country=place,
            enabled=rng.random() > 0.05,
            department=rng.choice(DEPARTMENTS),
            employee_id=f"{200_000 + n}",
            employee_type="Employee" if rng.random() > 0.1 else "Contractor",
        )
        held = _licences(rng)
        for part_number in held:
            since = START - timedelta(days=rng.randint(1, 300))
            if rng.random() < 0.4:
                world.clock.set_to(START, since)
                directory.add_member(groups[part_number], user_id, at=since)
                world.clock.set_to(START, START)
            else:
                directory.grant(user_id, part_number, at=since)
        person = world.instance.add_person(
            upn.split("@")[0],
            email=upn,
            name=f"{first.title()} {last.title()}",
            employee_number=f"{200_000 + n}",
            country=place,
        )
        if n % 100 == 0:
            _ticket(world, n, item, person, held, missing=n % 1000 == 0)
    world.clock.advance(timedelta(0))  # what the past left to be done is done
    return world


def _licences(rng: random.Random) -> list[str]:
    """Part numbers one person holds: a suite first, then whatever else."""
    count = rng.choices(*LICENCE_COUNTS)[0]
    return [rng.choice(SUITES), *rng.sample(EXTRAS, count - 1)] if count else []


def _ticket(world: World, n: int, item: str, person: str, held: list[str], *, missing: bool) -> None:
    has = [product for part_number, product in PRODUCTS.items() if (part_number in held) != missing]
    if not has:
        return
    world.instance.order(
        f"RITM{20_000 + n // 100:07}",
        item=item,
        requested_for=person,
        variables={"user": person, "product": has[0], "justification": "Needed for my daily work."},
        opened_at=START - timedelta(days=5),
        closed_at=START - timedelta(days=3),
        price="10.00",
    )
