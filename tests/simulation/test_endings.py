"""Grants that end, and grants that fail: Contoso's stories of them by the shipped loop, day by day.

Asserted are the tenant, the ticket and the audit log, never the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.sandbox.stories.later import change
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day, contoso_with

DAY = 24 * 60.0
PROJECT, ATTENDED = "PROJECTPROFESSIONAL", "POWERAUTOMATE_ATTENDED_RPA"


Begin = Callable[..., Day]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begins a day of Contoso with some of its tickets."""
    with ExitStack() as held:
        yield lambda *numbers: held.enter_context(a_day(tmp_path, contoso_with(*numbers)))


@pytest.fixture
def play(begin: Begin) -> Begin:
    """The same after its first cycle."""

    def played(*numbers: str) -> Day:
        day = begin(*numbers)
        day.cycle()
        return day

    return played


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Day]:
    """All of Contoso after its first cycle."""
    with a_played_day(tmp_path) as running:
        yield running


def has(day: Day, who: str, part_number: str) -> bool:
    sku = day.world.directory.sku(part_number)
    return any(a[0] == sku for a in day.licences(f"{who}@contoso.example"))


def row(day: Day, number: str) -> dict[str, Any]:
    assert day.reports
    rows = day.reports[-1].as_json()["tickets"]
    return next(r for r in rows if r["number"] == number)


def log(day: Day, number: str) -> list[tuple[str, str]]:
    """(action, lane) of the writes to the directory that were announced for a ticket."""
    with day.watch.database.read() as session:
        rows = list(journal.export(session, TENANT))
    return [
        (r["body"]["action"], r["body"]["lane"])
        for r in rows
        if r["kind"] == "intent" and r["body"]["system"] == "graph" and f"{number}/1" in r["body"]["lines"]
    ]


def test_a_grant_for_thirty_days_is_reminded_of_taken_back_and_verified(play):
    day = play("RITM0010009")
    assert (row(day, "RITM0010009")["phase"], has(day, "ivan.petrov", PROJECT)) == ("granted", True)
    assert row(day, "RITM0010009")["ends_at"].startswith("2026-12-02T09:00")

    day.wait(24 * DAY)
    day.cycle()
    assert (day.phase("RITM0010009"), has(day, "ivan.petrov", PROJECT)) == ("expiring", True)
    day.wait(6 * DAY)
    day.cycle()

    assert (day.phase("RITM0010009"), has(day, "ivan.petrov", PROJECT)) == ("revoked", False)
    assert [(a["kind"], a["result"]) for a in row(day, "RITM0010009")["actions"]] == [("remove_license", "applied")]
    assert log(day, "RITM0010009") == [("assign_license", "grants"), ("remove_license", "removals")]
    notes = len(day.notes("RITM0010009"))
    day.wait(DAY)
    day.cycle()
    assert (day.phase("RITM0010009"), len(day.notes("RITM0010009"))) == ("revoked", notes)


def test_what_expired_while_nobody_ran_the_daemon_is_taken_back_at_once(begin):
    day = begin("RITM0010018")
    assert has(day, "rachel.stone", PROJECT)

    day.cycle()

    found = row(day, "RITM0010018")
    assert (found["phase"], found["cause"], found["verdict"]) == ("revoked", "expired_not_removed", "true")
    assert not has(day, "rachel.stone", PROJECT)
    assert day.reports[-1].counts()["revoked"] == 1


def test_of_two_lines_that_share_a_licence_the_first_ends_and_the_licence_stays(play):
    day = play("RITM0010021", "RITM0010022")
    day.wait(61 * DAY)

    day.cycle()

    assert (day.phase("RITM0010021"), day.phase("RITM0010022")) == ("revoked", "granted")
    assert has(day, "ulrich.baum", PROJECT)
    assert log(day, "RITM0010021") == []


def test_what_was_given_by_hand_is_proposed_to_be_taken_back_and_never_taken(play):
    day = play("RITM0010027")
    for _ in range(2):
        day.wait(DAY)
        day.cycle()

    found = row(day, "RITM0010027")
    assert (found["phase"], found["cause"]) == ("held", "expired_not_removed")
    assert has(day, "yusuf.demir", "PROJECT_P1")
    assert log(day, "RITM0010027") == []


def test_a_grant_whose_proof_plan_ends_in_error_is_undone_after_two_looks_and_handed_back(play):
    day = play("RITM0010014")
    assert (day.phase("RITM0010014"), has(day, "noor.jansen", ATTENDED)) == ("verifying", True)
    day.wait(2 * DAY)
    day.cycle()
    assert (day.phase("RITM0010014"), has(day, "noor.jansen", ATTENDED)) == ("verifying", True)

    day.wait(5)
    day.cycle()

    found = row(day, "RITM0010014")
    assert (found["phase"], found["cause"]) == ("review", "provisioning_error")
    assert [(a["kind"], a["result"]) for a in found["actions"]] == [
        ("assign_license", "rolled_back"),
        ("remove_license", "applied"),
    ]
    assert not has(day, "noor.jansen", ATTENDED)
    assert "POWER_AUTOMATE_ATTENDED_RPA" in "".join(day.notes("RITM0010014"))
    day.wait(2 * DAY)
    day.cycle()
    assert (day.phase("RITM0010014"), has(day, "noor.jansen", ATTENDED)) == ("review", False)


def test_a_change_that_fails_for_a_day_goes_to_a_person_with_what_stays_named(play):
    day = play("RITM0010025")
    assert day.phase("RITM0010025") == "converging"
    day.wait(2 * DAY)

    day.cycle()

    found = row(day, "RITM0010025")
    assert (found["phase"], found["cause"]) == ("review", "remote_failing")
    assert not has(day, "xenia.popova", "MCOEV")
    told = "".join(day.notes("RITM0010025"))
    assert "500" in told
    assert "usage location" in told.lower()
    sent = len(log(day, "RITM0010025"))
    day.wait(DAY)
    day.cycle()
    assert len(log(day, "RITM0010025")) == sent


def until(day: Day, number: str, end: str, *, on_day: float = 0.0) -> None:
    """Let somebody write an end into the form of a ticket."""
    item = day.ticket(number)["sys_id"]
    records = day.world.instance.records
    options = [
        records("sc_item_option", sys_id=t["sc_item_option"])[0]
        for t in records("sc_item_option_mtom", request_item=item)
    ]
    (asked,) = (o for o in options if records("item_option_new", sys_id=o["item_option_new"])[0]["name"] == "end_date")
    change(day.world, on_day, "sc_item_option", asked["sys_id"], by="nina.schulz", value=end)
    change(day.world, on_day, "sc_req_item", item, by="nina.schulz", work_notes="The end was entered.")


def test_a_licence_that_came_by_a_group_is_taken_back_by_leaving_the_group(begin):
    day = begin("RITM0010002")
    until(day, "RITM0010002", "2026-11-20", on_day=0.001)
    day.wait(2)
    day.cycle()
    day.wait(30)
    day.cycle()
    assert (day.phase("RITM0010002"), has(day, "bram.devries", "VISIOCLIENT")) == ("granted", True)

    day.wait(19 * DAY)
    day.cycle()
    assert [a["kind"] for a in row(day, "RITM0010002")["actions"]] == ["remove_group_member"]
    day.wait(30)
    day.cycle()

    assert (day.phase("RITM0010002"), has(day, "bram.devries", "VISIOCLIENT")) == ("revoked", False)
    assert has(day, "bram.devries", "SPE_E3")


def test_an_end_that_is_moved_in_the_ticket_moves_the_revoke(play):
    day = play("RITM0010021", "RITM0010022")
    until(day, "RITM0010021", "2026-11-10", on_day=1)
    until(day, "RITM0010022", "2026-11-11", on_day=1)

    day.wait(2 * DAY)
    day.cycle()

    assert row(day, "RITM0010021")["ends_at"].startswith("2026-11-10T22:59:59")
    day.wait(9 * DAY)
    day.cycle()
    # neither line was given by us, so the last of them asks its owner
    assert (day.phase("RITM0010021"), day.phase("RITM0010022")) == ("held", "held")
    assert has(day, "ulrich.baum", PROJECT)


def test_nothing_is_removed_that_was_not_given_by_us_in_sixty_days_of_contoso(played):
    day = played
    for _ in range(11):
        day.wait(5 * DAY)
        day.cycle()

    with day.watch.database.read() as session:
        rows = list(journal.export(session, TENANT))
    removed = {
        (r["subject"], tuple(r["body"]["lines"]))
        for r in rows
        if r["kind"] == "intent" and r["body"]["lane"] == "removals"
    }
    given = {
        (r["subject"], tuple(r["body"]["lines"]))
        for r in rows
        if r["kind"] == "intent" and r["body"]["lane"] == "grants"
    }
    before_us = {lines for _, lines in removed - given}
    # granted by us before the store existed; and what a product declares that it replaces
    assert before_us <= {("RITM0010018/1",), ("RITM0010005/1",)}
