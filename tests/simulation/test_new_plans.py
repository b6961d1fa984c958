"""Microsoft puts a plan into a licence that we gave: switched off where the product says so, by the shipped loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.explain import as_json, explain
from reconciler.sandbox.directory.audit import Actor
from reconciler.store import journal, switches
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day, contoso_with

SKU, NEW = "PROJECTPROFESSIONAL", "SWAY"
ANNA, IVAN, ULRICH = (f"{name}@contoso.example" for name in ("anna.berger", "ivan.petrov", "ulrich.baum"))
TICKETS = ("RITM0010001", "RITM0010009")  # Anna's and Ivan's: both were given the licence by us
ULRICHS = ("RITM0010021", "RITM0010022")  # he had it before
LIMIT = '"2%, 5 to 50"'  # of removals: here with room for two
HEAD = "[products.project-plan-3]\n"
ADMIN = Actor(user_id="0f0e0d0c-0000-4000-8000-00000000ad31", upn="tom.weber@contoso.example", name="Tom Weber")
Site = Callable[..., AbstractContextManager[Day]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Contoso after its first cycle, with something added to the product."""

    @contextmanager
    def opened(*more: str) -> Iterator[Day]:
        config = Path("config.toml").read_text("utf-8")
        assert HEAD in config
        assert LIMIT in config
        config = config.replace(LIMIT, "20")
        path = tmp_path / "config.toml"
        path.write_text(config.replace(HEAD, HEAD + "".join(f"{line}\n" for line in more)), "utf-8")
        with a_day(tmp_path, contoso_with(*TICKETS, *ULRICHS), config=path) as day:
            day.cycle()
            yield day

    return opened


def add(day: Day, plan: str = NEW) -> None:
    day.world.at(day.world.clock.now(), {"kind": "add_plan", "part_number": SKU, "plan": plan})
    day.wait(10)


def off(day: Day, upn: str) -> set[str]:
    """Names of the plans that are off in the person's direct licence."""
    directory = day.world.directory
    (found,) = [plans for sku, is_direct, plans in day.licences(upn) if is_direct and sku == directory.sku(SKU)]
    return {directory.catalogue.plans[plan].name for plan in found}


def set_off(day: Day, upn: str, *plans: str) -> None:
    directory = day.world.directory
    user = directory.user(upn)
    wanted = {directory.sku(SKU): [directory.plan(p) for p in plans]}
    directory.changes.change_licences(
        user.user_id, add=wanted, remove=[], actor=ADMIN, seen_location=user.usage_location
    )


def writes(day: Day) -> list[str]:
    """What one more cycle writes about Anna and Ivan and to their tickets."""
    before = len(day.watch.writes)
    day.cycle()
    mine = [day.world.directory.user(upn).user_id for upn in (ANNA, IVAN)]
    mine += [day.ticket(number)["sys_id"] for number in TICKETS]
    return [w for w in day.watch.writes[before:] if any(id in w for id in mine)]


def stands(day: Day) -> list[str]:
    return [day.phase(number) for number in TICKETS]


def rows_about(day: Day) -> int:
    with day.app.database.read() as session:
        return sum(len(journal.rows_for(session, TENANT, number)) for number in TICKETS)


def freeze(day: Day, *, is_on: bool) -> None:
    at = day.world.clock.now()
    with day.app.database.write() as session:
        if is_on:
            switches.freeze(session, TENANT, "year", scope="removals", reason="the year ends", by="ada", at=at)
        else:
            switches.lift(session, TENANT, "year", reason="it is over", by="ada", at=at)


def test_a_new_plan_is_switched_off_in_what_we_gave_and_nothing_else_moves(site: Site) -> None:
    with site('new_plans = "off"') as day:
        set_off(day, IVAN, "SHAREPOINTENTERPRISE")
        notes = [day.notes(number) for number in TICKETS]
        add(day)

        made = writes(day)
        assert (off(day, ANNA), off(day, IVAN), off(day, ULRICH)) == ({NEW}, {NEW, "SHAREPOINTENTERPRISE"}, set())
        assert stands(day) == ["granted", "granted"]
        assert len([w for w in made if "assignLicense" in w]) == len(made) == 2
        assert [day.notes(number) for number in TICKETS] == notes
        assert day.watch.unannounced == []
        (anna, *_) = explain(day.app.database, TENANT, TICKETS[0])
        told = [e for e in as_json(anna, day.app.catalogue)["lines"][0]["events"] if NEW in str(e["facts"])]
        assert [e["kind"] for e in told][-1] == "line_moved"
        with day.app.database.read() as session:
            (row,) = journal.rows_since(session, TENANT, day.reports[0].started_at, "plans_added")
        assert (row.body["part_number"], [p["name"] for p in row.body["plans"]]) == (SKU, [NEW])

        known = rows_about(day)
        assert writes(day) == []
        assert rows_about(day) == known

        set_off(day, ANNA)  # an administrator wants her to have it
        assert writes(day) == []
        assert (off(day, ANNA), stands(day)) == (set(), ["granted", "granted"])


def test_a_product_that_reverts_switches_it_off_again_and_gives_up_when_it_is_a_fight(site: Site) -> None:
    with site('new_plans = "off"', 'on_drift = "revert"') as day:
        add(day)
        writes(day)
        set_off(day, ANNA)
        assert len(writes(day)) == 1
        set_off(day, ANNA)

        assert writes(day) == []
        assert (off(day, ANNA), off(day, IVAN), stands(day)) == (set(), {NEW}, ["granted", "granted"])
        assert [t.guard for t in day.reports[-1].trips] == ["fighting controllers"]


def test_by_default_a_new_plan_is_left_on(tmp_path: Path) -> None:
    with a_played_day(tmp_path) as day:
        add(day)

        writes(day)
        assert (off(day, ANNA), off(day, IVAN), stands(day)) == (set(), set(), ["granted", "granted"])


def test_what_a_licence_had_when_it_was_first_looked_at_is_left(site: Site) -> None:
    """A store from before this was kept: what came until then may have been there when the licence was given."""
    with site('new_plans = "off"') as day:
        with day.app.database.write() as session:
            session.connection().execute(text("DELETE FROM sold"))
        add(day)
        assert writes(day) == []
        add(day, "YAMMER_ENTERPRISE")

        writes(day)
        assert (off(day, ANNA), off(day, IVAN)) == ({"YAMMER_ENTERPRISE"}, {"YAMMER_ENTERPRISE"})


def test_whoever_has_to_wait_stands_as_granted_and_is_told_of_in_one_sentence(site: Site) -> None:
    with site('new_plans = "off"') as day:
        add(day)
        freeze(day, is_on=True)

        assert writes(day) == []
        assert (off(day, ANNA), stands(day)) == (set(), ["granted", "granted"])
        (said,) = [w for w in day.reports[-1].warnings if "New plans from Microsoft" in w]
        assert "2 licences: " in said
        known = rows_about(day)
        assert writes(day) == []
        assert rows_about(day) == known

        freeze(day, is_on=False)
        writes(day)
        assert (off(day, ANNA), off(day, IVAN)) == ({NEW}, {NEW})
