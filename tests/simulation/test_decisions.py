"""A person's word about access that is not as it was granted: stories 17 and 27 to their ends, by the shipped loop.

Asserted are the tenant, the ticket and the audit log. A word is for what was seen and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from desired_state.model import LineKey
from reconciler.explain import as_json, explain
from reconciler.question import Word
from reconciler.store import journal, questions
from reconciler.store.questions import Asked, State
from tests.simulation.make_day import TENANT, Day, a_played_day
from tests.simulation.test_endings import DAY, has, log, row

LOST, QUENTIN = "RITM0010017", "quentin.moreau@contoso.example"
EXPIRED, YUSUF = "RITM0010027", "yusuf.demir@contoso.example"
PROJECT_1 = "PROJECT_P1"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with a_played_day(tmp_path) as running:
        yield running


def asked(day: Day, number: str) -> Asked:
    with day.app.database.read() as session:
        return questions.load(session, TENANT)[LineKey(number, 1)]


def says(day: Day, number: str, word: Word) -> Asked:
    """The owner answers what is asked now."""
    told = asked(day, number)
    with day.app.database.write() as session:
        done = questions.decide(
            session, TENANT, told, word, by="Nina Schulz", reason="as agreed", operator="t", at=day.world.clock.now()
        )
    assert done
    day.wait(5)
    return told


def kinds(day: Day, number: str) -> list[str]:
    with day.app.database.read() as session:
        rows = journal.rows_for(session, TENANT, number)
    return [r.kind for r in rows if r.kind.startswith("question.")]


# --- a loss -------------------------------------------------------------------------------------------------------


def test_a_licence_that_was_lost_is_given_again_when_its_owner_says_so(day):
    told = asked(day, LOST)
    assert set(told.question.choices) == set(Word)
    assert (day.phase(LOST), has(day, "quentin.moreau", PROJECT_1)) == ("drifted", False)

    says(day, LOST, Word.REVERT)
    day.cycle()

    assert (day.phase(LOST), has(day, "quentin.moreau", PROJECT_1)) == ("granted", True)
    assert log(day, LOST) == [("assign_license", "grants")]
    assert kinds(day, LOST) == ["question.decided", "question.done"]
    assert "granted" in day.notes(LOST)[-1]
    (chain,) = explain(day.app.database, TENANT, LOST)
    (line,) = as_json(chain, day.app.settings.catalogue())["lines"]
    assert (line["decision"]["by"], line["decision"]["word"]) == ("Nina Schulz", "revert")
    assert line["decision"]["state"] == "done"
    assert any("Nina Schulz decided: revert" in e["what"] for e in line["events"])


def test_a_loss_that_its_owner_accepts_ends_the_entitlement_and_writes_nothing(day):
    before = day.licences(QUENTIN)

    says(day, LOST, Word.ADOPT)
    day.cycle()

    assert (day.phase(LOST), day.licences(QUENTIN)) == ("cancelled", before)
    assert log(day, LOST) == []
    assert "Ended" in day.notes(LOST)[-1]
    assert kinds(day, LOST) == ["question.decided", "question.done"]


def test_a_loss_that_is_left_so_is_asked_about_no_more_and_changes_nothing(day):
    notes, before = len(day.notes(LOST)), day.licences(QUENTIN)

    says(day, LOST, Word.LEAVE)
    for _ in range(3):
        day.cycle()
        day.wait(DAY)

    assert (day.phase(LOST), day.licences(QUENTIN)) == ("drifted", before)
    assert len(day.notes(LOST)) == notes
    assert row(day, LOST)["cause"] == "removed_later"
    assert asked(day, LOST).state is State.DECIDED
    assert moves(day, LOST) == 2  # the loss, and that it was left


def moves(day: Day, number: str) -> int:
    with day.app.database.read() as session:
        return sum(r.kind == "line_moved" for r in journal.rows_for(session, TENANT, number))


def test_a_word_about_what_is_there_no_more_is_void_and_it_is_asked_anew(day):
    says(day, LOST, Word.REVERT)
    quentin = day.world.directory.user(QUENTIN)
    country = quentin.usage_location
    quentin.usage_location = ""  # the change would be another one: the location would have to be set as well

    day.cycle()

    assert has(day, "quentin.moreau", PROJECT_1) is False
    assert log(day, LOST) == []
    assert kinds(day, LOST) == ["question.decided", "question.void"]
    assert asked(day, LOST).state is State.ASKED
    assert any("void" in problem for problem in day.reports[-1].problems)
    quentin.usage_location = country
    day.cycle()
    assert log(day, LOST) == []


def test_a_word_that_is_given_again_by_others_putting_it_back_is_void(day):
    says(day, LOST, Word.ADOPT)
    quentin = day.world.directory.user(QUENTIN).user_id
    day.world.directory.grant(quentin, PROJECT_1)
    day.wait(30)

    day.cycle()

    assert (day.phase(LOST), has(day, "quentin.moreau", PROJECT_1)) == ("granted", True)
    assert kinds(day, LOST) == ["question.decided", "question.void"]


def test_a_freeze_holds_what_a_person_decided_and_it_is_done_once_it_is_lifted(day):
    from reconciler.store import switches

    now = day.world.clock.now()
    with day.app.database.write() as session:
        switches.freeze(session, TENANT, "quiet", reason="r", by="me", at=now, scope="grants")
    says(day, LOST, Word.REVERT)
    day.cycle()
    assert (has(day, "quentin.moreau", PROJECT_1), log(day, LOST)) == (False, [])

    with day.app.database.write() as session:
        switches.lift(session, TENANT, "quiet", reason="r", by="me", at=day.world.clock.now())
    day.wait(10)
    day.cycle()

    assert (day.phase(LOST), has(day, "quentin.moreau", PROJECT_1)) == ("granted", True)


# --- what outlived its period -------------------------------------------------------------------------------------


def test_a_licence_that_outlived_its_period_is_taken_back_once_its_owner_adopted_it(day):
    told = asked(day, EXPIRED)
    assert set(told.question.choices) == {Word.ADOPT, Word.LEAVE}
    assert (day.phase(EXPIRED), has(day, "yusuf.demir", PROJECT_1)) == ("held", True)

    says(day, EXPIRED, Word.ADOPT)
    day.cycle()

    assert (day.phase(EXPIRED), has(day, "yusuf.demir", PROJECT_1)) == ("revoked", False)
    assert log(day, EXPIRED) == [("remove_license", "removals")]
    assert kinds(day, EXPIRED) == ["question.decided", "question.done"]
    assert "Ended, and nothing of it is left" in day.notes(EXPIRED)[-1]
    written = len(day.watch.writes)
    day.wait(DAY)
    day.cycle()
    assert day.phase(EXPIRED) == "revoked"
    assert not [w for w in day.watch.writes[written:] if day.world.directory.user(YUSUF).user_id in w]


def test_only_what_the_word_named_is_taken_back(day):
    says(day, EXPIRED, Word.ADOPT)
    (mine,) = [a for a in day.world.directory.user(YUSUF).assignments if a.sku_id == day.world.directory.sku(PROJECT_1)]
    mine.disabled = [day.world.directory.store.skus[mine.sku_id].plan_ids[0]]  # somebody has changed it meanwhile

    day.cycle()

    assert has(day, "yusuf.demir", PROJECT_1)
    assert log(day, EXPIRED) == []
    assert kinds(day, EXPIRED) == ["question.decided", "question.void"]


def test_an_expired_licence_that_is_left_is_never_taken(day):
    says(day, EXPIRED, Word.LEAVE)
    for _ in range(3):
        day.cycle()
        day.wait(DAY)

    assert (day.phase(EXPIRED), has(day, "yusuf.demir", PROJECT_1)) == ("held", True)
    assert log(day, EXPIRED) == []
    assert kinds(day, EXPIRED) == ["question.decided"]


def test_an_adopted_licence_stays_while_the_kill_switch_is_on(day):
    from reconciler.store import switches

    with day.app.database.write() as session:
        switches.throw(session, TENANT, reason="r", by="me", at=day.world.clock.now())
    says(day, EXPIRED, Word.ADOPT)
    day.cycle()

    assert has(day, "yusuf.demir", PROJECT_1)
    assert kinds(day, EXPIRED) == ["question.decided"]
