"""A smaller product in place of a larger one: what its request declares is done, or a person is asked; never "true".

Anna has Project Plan 3 by us; then a ticket asks for Plan 1, which this site declares to take the place of Plan 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from desired_state.model import LineKey
from reconciler.question import Word
from reconciler.store import questions
from tests.simulation.make_day import TENANT, Day, a_day, contoso_with
from tests.simulation.test_endings import has, log, row

SMALLER, LARGER, IVANS = "RITM0019001", "RITM0010001", "RITM0010009"
PLAN_1, PLAN_3 = "PROJECT_P1", "PROJECTPROFESSIONAL"
HEAD = "[products.project-plan-1]\n"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    text = Path("config.toml").read_text("utf-8")
    assert HEAD in text
    config = tmp_path / "config.toml"
    config.write_text(text.replace(HEAD, f'{HEAD}replaces = ["project-plan-3"]\n'), "utf-8")
    with a_day(tmp_path, contoso_with(LARGER, IVANS), config=config) as running:
        yield running


def order(day: Day, *, person: str = "anna.berger") -> None:
    """Somebody asks for Plan 1, and it is approved."""
    instance = day.world.instance
    who = instance.user(person)["sys_id"]
    item = day.ticket(LARGER)["cat_item"]
    instance.order(
        SMALLER, item=item, requested_for=who, opened_at=day.world.clock.now() - timedelta(minutes=1),
        variables={"user": who, "product": "project-plan-1", "justification": "the desktop client is not used"},
    )  # fmt: skip


def test_the_larger_licence_that_we_gave_is_exchanged_in_one_call_and_its_own_line_ends(day):
    day.cycle()
    assert (day.phase(LARGER), has(day, "anna.berger", PLAN_3)) == ("granted", True)
    order(day)
    day.wait(5)

    day.cycle()

    assert (has(day, "anna.berger", PLAN_1), has(day, "anna.berger", PLAN_3)) == (True, False)
    assert (day.phase(SMALLER), row(day, SMALLER)["cause"]) == ("granted", "wrong_product")
    assert log(day, SMALLER) == [("assign_license", "removals")]  # services go with it, so it is limited like that
    (change,) = row(day, SMALLER)["actions"]
    sides = [[one["sku_id"] for one in change[side]["licences"]] for side in ("before", "after")]
    assert sides == [[day.world.directory.sku(PLAN_3)], [day.world.directory.sku(PLAN_1)]]
    for _ in range(3):
        day.wait(30)
        day.cycle()
    assert (day.phase(LARGER), day.phase(SMALLER)) == ("revoked", "granted")
    assert (has(day, "anna.berger", PLAN_1), has(day, "anna.berger", PLAN_3)) == (True, False)
    assert "Ended" in day.notes(LARGER)[-1]
    assert SMALLER in day.notes(LARGER)[-1]


def test_a_larger_licence_that_was_left_beside_the_smaller_one_is_taken_away_and_nothing_else_is_touched(day):
    day.cycle()
    anna = day.world.directory.user("anna.berger@contoso.example").user_id
    day.world.directory.grant(anna, PLAN_1)
    order(day)
    for _ in range(3):
        day.wait(5)
        day.cycle()

    assert (has(day, "anna.berger", PLAN_1), has(day, "anna.berger", PLAN_3)) == (True, False)
    assert log(day, SMALLER) == [("remove_license", "removals")]
    assert (day.phase(SMALLER), day.phase(LARGER)) == ("granted", "revoked")


def by_hand(day: Day) -> None:
    """Stefan's colleague has Plan 3 that nobody asked us for."""
    day.world.directory.grant(day.world.directory.user("ivan.petrov@contoso.example").user_id, PLAN_3)


def test_a_larger_licence_that_we_did_not_give_is_asked_about_once_and_stays(day):
    day.world.instance.change("sc_req_item", day.ticket(IVANS)["sys_id"], active="false", state="4")
    by_hand(day)
    order(day, person="ivan.petrov")

    for _ in range(3):
        day.cycle()
        day.wait(30)

    found = row(day, SMALLER)
    assert (found["phase"], found["cause"]) == ("held", "wrong_product")
    assert (has(day, "ivan.petrov", PLAN_1), has(day, "ivan.petrov", PLAN_3)) == (False, True)
    assert log(day, SMALLER) == []
    (note,) = day.notes(SMALLER)
    assert "shall the two be exchanged?" in note and "It was not given by us" in note


@pytest.mark.parametrize(("word", "smaller", "larger"), [(Word.ADOPT, True, False), (Word.LEAVE, False, True)])
def test_a_person_decides_about_the_larger_licence(day, word, smaller, larger):
    day.world.instance.change("sc_req_item", day.ticket(IVANS)["sys_id"], active="false", state="4")
    by_hand(day)
    order(day, person="ivan.petrov")
    day.cycle()
    with day.app.database.write() as session:
        asked = questions.load(session, TENANT)[LineKey(SMALLER, 1)]
        at = day.world.clock.now()
        assert questions.decide(session, TENANT, asked, word, by="Nina Schulz", reason="r", operator="t", at=at)
    day.wait(5)

    day.cycle()

    assert day.phase(SMALLER) == "granted"
    assert (has(day, "ivan.petrov", PLAN_1), has(day, "ivan.petrov", PLAN_3)) == (smaller, larger)
    with day.app.database.read() as session:
        assert questions.load(session, TENANT)[LineKey(SMALLER, 1)].state is questions.State.DONE
