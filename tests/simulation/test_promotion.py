"""From observe to enforce through the shipped loop: who is first, what would be done, what people made of it."""

from __future__ import annotations

from decimal import Decimal

from reconciler.sandbox import hosts
from reconciler.share import side
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day
from tests.simulation.make_pilot import PRODUCT, a_pilot, holders, ticket

PEOPLE = 12


def first(day: Day, share: str, people: int = PEOPLE) -> set[int]:
    """Whom the share names, worked out from the directory's own ids."""
    ids = {n: day.world.directory.user(f"p{n}@contoso.example").user_id for n in range(people)}
    return {n for n, id in ids.items() if side(Decimal(share), directory=hosts.TENANT_ID, subject=id).is_in}


def rows(day: Day, kind: str) -> list[dict]:
    with day.app.database.read() as session:
        return [r for r in journal.export(session, TENANT) if r["kind"] == kind]


# --- the share ----------------------------------------------------------------------------------------------------


def test_with_a_share_of_half_exactly_that_half_is_written_and_the_rest_asks(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.5") as day:
        expected = first(day, "0.5")
        assert 0 < len(expected) < PEOPLE

        report = day.cycle()
        day.wait(30)
        day.cycle()

        assert report is not None
        assert holders(day) == expected
        waits = {e.state.key.ticket for e in report.endings if e.state.phase.value == "awaiting_approval"}
        assert waits == {ticket(n) for n in range(PEOPLE) if n not in expected}
        moved = [r["body"] for r in rows(day, "line_moved")]
        assert {b["canary"]["is_in"] for b in moved if "canary" in b} == {True, False}
        asked = [r["body"] for r in rows(day, "approval.requested")]
        assert len(asked) == PEOPLE - len(expected)


def test_a_wider_share_adds_people_and_drops_nobody(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.3") as day:
        day.cycle()
        before, world = holders(day), day.world
    with a_pilot(tmp_path, "enforce", world=world, more="enforce_share = 0.8") as day:
        day.wait(10)
        day.cycle()
        day.wait(30)
        day.cycle()

        assert before < holders(day) == first(day, "0.8")


def test_a_products_own_share_is_the_narrower_one(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.8") as day:
        expected = first(day, "0.25")
        assert expected < first(day, "0.8")
        file = tmp_path / "enforce.toml"
        told = file.read_text().replace(f"[products.{PRODUCT}]\n", f"[products.{PRODUCT}]\nenforce_share = 0.25\n")
        world = day.world
    file.write_text(told)
    with a_day(tmp_path, world, config=file) as day:
        day.cycle()
        day.wait(30)
        day.cycle()

        assert holders(day) == expected
