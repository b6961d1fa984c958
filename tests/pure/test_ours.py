"""What our own answers made of a ticket is told from what anybody else did to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import Ticket
from reconciler.loop.ours import SETTLES, Known, Ours, with_tasks
from tests.make_tickets import MONDAY as NOW
from tests.make_tickets import a_task, a_ticket

TASK = replace(a_task(), mod_count=4, is_active=True, state="1")
COPY = replace(a_ticket(), mod_count=7, updated_at=NOW - SETTLES, tasks=(TASK,))
WRITTEN = replace(COPY, mod_count=8, updated_at=NOW, updated_by="us", correlation_id="m365r-op:1")
CLOSED = replace(TASK, mod_count=5, is_active=False, state="3")


def known(**more: object) -> Known:
    return Known({COPY.number: COPY}, NOW, ours=Ours(Counter({COPY.number: 1})), **more)  # type: ignore[arg-type]


def test_a_note_of_ours_is_all_that_happened():
    assert known().holds(COPY, WRITTEN)


@pytest.mark.parametrize(
    "change",
    [
        {"mod_count": 9},
        {"mod_count": 7},
        {"state": "4"},
        {"approval": "rejected"},
        {"request_approval": "rejected"},
        {"assigned_to": "5" * 32},
        {"close_notes": "done"},
        {"requested_for": None},
    ],
)
def test_whatever_else_a_ticket_says_is_not_ours(change):
    assert not known().holds(COPY, replace(WRITTEN, **change))


def test_a_ticket_that_we_did_not_write_to_holds_only_as_it_was():
    nobody = replace(known(), ours=Ours())
    assert nobody.holds(COPY, COPY)
    assert not nobody.holds(COPY, WRITTEN)


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(minutes=9)])
def test_a_copy_that_was_made_soon_after_a_change_is_read_whole_again(late):
    young = replace(COPY, updated_at=COPY.updated_at + late)

    assert not known().holds(young, young)
    assert not known().holds(young, replace(WRITTEN, updated_at=NOW))


def test_what_our_answers_left_holds_although_it_is_young_until_somebody_else_writes():
    after = replace(known(), ours=Ours(), written={COPY.sys_id: 8}, copies={COPY.number: WRITTEN})

    assert after.holds(WRITTEN, WRITTEN)
    assert not after.holds(WRITTEN, replace(WRITTEN, mod_count=9))


def test_a_ticket_that_waits_and_one_that_no_cycle_has_looked_at_have_no_copy_that_counts():
    assert known(open_=[COPY.number]).of(COPY.number) is None
    assert replace(known(), whole_at=None).of(COPY.number) is None


def test_a_task_that_we_closed_takes_its_place_in_the_copy():
    found = with_tasks(COPY, [CLOSED], {TASK.sys_id})

    assert found == replace(COPY, tasks=(CLOSED,))
    assert with_tasks(COPY, [TASK], {TASK.sys_id}) == COPY


@pytest.mark.parametrize(
    ("row", "closed"),
    [
        (CLOSED, set[str]()),
        (replace(CLOSED, mod_count=6), {TASK.sys_id}),
        (replace(CLOSED, mod_count=None), {TASK.sys_id}),
        (replace(CLOSED, is_active=True), {TASK.sys_id}),
        (replace(CLOSED, assigned_to="5" * 32), {TASK.sys_id}),
        (replace(TASK, mod_count=5), set[str]()),
        (replace(TASK, sys_id="9" * 32), set[str]()),
    ],
    ids=["not by us", "written again", "count hidden", "open again", "taken", "touched", "another one"],
)
def test_a_task_that_somebody_else_wrote_to_is_read_again(row, closed):
    assert with_tasks(COPY, [row], closed) is None


def test_a_copy_without_counts_is_read_again():
    old = replace(COPY, tasks=(replace(TASK, mod_count=None),))
    assert isinstance(old, Ticket)
    assert with_tasks(old, [TASK], ()) is None
