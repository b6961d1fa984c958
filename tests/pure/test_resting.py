"""What a quick cycle may leave alone, and what it never may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from desired_state.model import LineKey, Period, UserId
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Line, LineState
from reconciler.loop.resting import at_rest, sweep_pays, unless
from tests.make import ADA, BOB, DAY, MONDAY, a_line


def granted(number: str = "RITM0000001", line: int = 1, **changes) -> Line:
    user = changes.pop("user", ADA)
    state = LineState(LineKey(number, line), Phase.GRANTED, since=MONDAY - DAY, granted_at=MONDAY - DAY, user=user)
    found = a_line(number, user=user, **{k: v for k, v in changes.items() if k == "period"})
    declared = replace(found.declared, key=LineKey(number, line))
    held = {k: v for k, v in changes.items() if k in ("skipped", "hold")}
    more = {k: v for k, v in changes.items() if k not in ("period", *held)}
    return replace(found, declared=declared, state=replace(state, **more), granted_at=MONDAY - DAY, **held)


def resting(*lines: Line, touched: tuple[str, ...] = ()) -> set[str]:
    return {str(key) for key in at_rest(lines, touched=touched, at=MONDAY)}


def test_what_is_granted_and_well_rests():
    assert resting(granted()) == {"RITM0000001/1"}


@pytest.mark.parametrize("phase", sorted(FINAL))
def test_what_is_over_rests(phase):
    assert resting(granted(phase=phase)) == {"RITM0000001/1"}


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL - {Phase.GRANTED}))
def test_what_is_on_its_way_or_with_a_person_does_not(phase):
    assert resting(granted(phase=phase)) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"cause": "unknown"},
        {"next_at": MONDAY + DAY},
        {"skipped": "over: ended on 2026-11-01"},
        {"hold": "adopt"},
        {"period": Period(duration_days=2)},  # half of it is over: a reminder is due
    ],
)
def test_what_has_something_due_does_not(changes):
    assert resting(granted(**changes)) == set()


def test_an_end_that_is_far_off_lets_it_rest():
    assert resting(granted(period=Period(duration_days=300))) == {"RITM0000001/1"}


def test_a_new_line_and_a_ticket_that_moved_do_not():
    assert resting(replace(granted(), state=None)) == set()
    assert resting(granted(), touched=("RITM0000001",)) == set()


def test_a_ticket_is_awake_as_a_whole():
    three = [granted(line=1), granted(line=2, user=BOB), granted(line=3, user=BOB, phase=Phase.VERIFYING)]

    assert resting(*three) == set()


def test_a_person_is_awake_as_a_whole_and_so_are_the_tickets_they_are_in():
    lines = [
        granted("RITM0000001", phase=Phase.CONVERGING),
        granted("RITM0000002", 1),
        granted("RITM0000002", 2, user=BOB),
        granted("RITM0000003", user=BOB),
        granted("RITM0000004", user=UserId("c" * 8)),
    ]

    assert resting(*lines) == {"RITM0000004/1"}


def test_what_is_over_wakes_nobody_and_is_woken_by_nobody_but_its_ticket():
    lines = [granted("RITM0000001", phase=Phase.CONVERGING), granted("RITM0000002", phase=Phase.REVOKED)]

    assert resting(*lines) == {"RITM0000002/1"}


def test_whom_a_scan_names_is_awake_with_whatever_is_theirs():
    lines = [granted("RITM0000001"), granted("RITM0000002", 1), granted("RITM0000002", 2, user=BOB)]
    every = at_rest(lines, touched=(), at=MONDAY)

    assert {str(k) for k in unless(every, lines, {BOB})} == set()
    assert unless(every, lines, set()) == every


def test_pages_pay_when_many_rest_in_a_tenant_that_is_not_much_larger():
    assert not sweep_pays(10, 100)
    assert sweep_pays(30, 100)
    assert not sweep_pays(30, 300_000)
    assert sweep_pays(10_000, 300_000)
