"""Seats: how many are free, whose turn it is, and what is kept for whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import Given, GivenKind, GroupId, LineKey, Says, UserId
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Line, LineState, Observed, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Assignment, Grant, ObservedGroup, Outcome, Result
from reconciler.seats.ledger import Purse, Seats, count, promised
from reconciler.seats.queue import steps_aside, turn
from tests.make import ADA, BOB, DAY, HOUR, MONDAY, VISIO, a_line, a_sku, a_user, seen

VISIO_GROUP = GroupId("99999999-9999-4999-8999-999999999999")


def given_seats(lines: list[Line], observed: Observed, *, bounds: Bounds | None = None) -> Gates:
    """Plan and judge as a cycle does."""
    policy, rules = Policy(mode="enforce"), Rules()
    findings = diff(lines, observed, at=observed.at, windows=Windows())

    def judged(**how: object) -> Gates:
        proposed = plan(findings, observed, bounds or Bounds(), **how)  # type: ignore[arg-type]
        return gate(proposed, rules, policy=policy, watch=Watch(observed.at), at=observed.at)

    wished = judged(as_if_seats=True)
    aside = {g.proposal.finding.key for g in wished.gated if steps_aside(g, observed.at)}
    return judged(aside=aside)


def served(gates: Gates) -> set[str]:
    return {g.proposal.finding.key.ticket for g in gates.gated if g.proposal.actions and g.decision is Decision.CLEARED}


def queued(gates: Gates) -> list[str]:
    return [g.proposal.finding.key.ticket for g in gates.gated if g.decision is Decision.QUEUED]


def person(n: int) -> UserId:
    return UserId(f"{n:08d}-0000-4000-8000-000000000000")


def a_state(key: LineKey, phase: Phase, **changes: object) -> LineState:
    return replace(LineState(key, phase, since=MONDAY - DAY), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capability", "free", "free_with_grace"),
    [("Enabled", 2, 5), ("Warning", 2, 5), ("Suspended", 0, 0), ("Deleted", 0, 0), ("LockedOut", 0, 0), ("New", 0, 0)],
)
def test_units_in_grace_are_free_only_where_they_may_be_used(capability, free, free_with_grace):
    sku = a_sku(capability=capability, enabled=10, warning=3, consumed=8)

    assert count(sku, use_grace=False) == Seats(free)
    assert count(sku, use_grace=True) == Seats(free_with_grace, free_with_grace - free)


def test_more_consumed_than_bought_is_no_seat_and_eats_the_grace():
    assert count(a_sku(enabled=0, warning=5, consumed=4), use_grace=True) == Seats(1, 1)
    assert count(a_sku(enabled=0, warning=5, consumed=14), use_grace=True) == Seats()


def test_a_licence_of_the_company_has_no_seats():
    assert count(a_sku(applies_to="Company"), use_grace=True) == Seats()


def test_a_seat_in_grace_is_shown_as_one_in_what_is_about_to_be_done():
    observed = seen(a_user(), skus=[a_sku(enabled=1, warning=1, consumed=1)])

    refused = given_seats([a_line()], observed)
    allowed = given_seats([a_line()], observed, bounds=Bounds(use_grace_seats=True))

    assert queued(refused) == ["RITM0000001"]
    assert allowed.gated[0].proposal.actions[0].after["seat"] == "in grace"


def test_who_was_approved_first_is_served_first_whoever_asked_first():
    early = a_line("RITM0000002", requested_at=MONDAY - 9 * DAY, due_since=MONDAY - DAY)
    late = a_line("RITM0000001", user=BOB, requested_at=MONDAY - 3 * DAY, due_since=MONDAY - 2 * DAY)

    gates = given_seats([early, late], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert (served(gates), queued(gates)) == ({"RITM0000001"}, ["RITM0000002"])


def test_a_ticket_with_priority_goes_before_older_ones():
    early = a_line("RITM0000001", due_since=MONDAY - 9 * DAY)
    late = replace(a_line("RITM0000002", user=BOB, due_since=MONDAY - HOUR), priority="the auditors come tomorrow")

    gates = given_seats([early, late], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert served(gates) == {"RITM0000002"}


def test_a_line_whose_account_is_still_on_its_way_keeps_its_place():
    joiner = a_line("RITM0000001", user=None, says=Says.APPROVED, due_since=MONDAY - DAY)
    younger = a_line("RITM0000002", due_since=MONDAY - HOUR)

    kept = given_seats([joiner, younger], seen(a_user(), skus=[a_sku(free=1)]))
    enough = given_seats([joiner, younger], seen(a_user(), skus=[a_sku(free=2)]))

    assert (queued(kept), served(enough)) == (["RITM0000002"], {"RITM0000002"})


def test_a_line_whose_last_attempt_failed_keeps_its_place_until_the_next_one():
    trying = a_line("RITM0000001", user=BOB, due_since=MONDAY - 2 * DAY)
    state = a_state(trying.key, Phase.CONVERGING, attempts=1, next_at=MONDAY + HOUR)
    younger = a_line("RITM0000002", due_since=MONDAY - HOUR)

    gates = given_seats([replace(trying, state=state), younger], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert queued(gates) == ["RITM0000002"]


@pytest.mark.parametrize("ahead_days", [3, 60])
def test_a_start_soon_keeps_its_place_and_one_far_ahead_does_not(ahead_days):
    start = (MONDAY + ahead_days * DAY).date()
    later = a_line("RITM0000001", user=BOB, says=Says.APPROVED)
    declared = replace(later.declared, period=replace(later.declared.period, starts_on=start))
    later = replace(later, declared=declared, skipped=f"not started: starts on {start}")
    younger = a_line("RITM0000002", due_since=MONDAY - HOUR)

    gates = given_seats([later, younger], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert bool(queued(gates)) is (ahead_days == 3)


def test_a_line_that_a_person_has_holds_up_nobody():
    reviewed = a_line("RITM0000001", user=BOB, due_since=MONDAY - 9 * DAY)
    reviewed = replace(reviewed, state=a_state(reviewed.key, Phase.REVIEW))
    younger = a_line("RITM0000002", due_since=MONDAY - HOUR)

    gates = given_seats([reviewed, younger], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert served(gates) == {"RITM0000002"}


def test_a_seat_that_an_accepted_write_will_use_is_spent_already():
    verifying = a_line("RITM0000001", user=BOB)
    gave = Given(GivenKind.LICENSE, MONDAY - HOUR, sku=VISIO)
    state = a_state(verifying.key, Phase.VERIFYING, user=BOB, given=(gave,), attempts=1, next_at=MONDAY + HOUR)
    waiting = a_line("RITM0000002", due_since=MONDAY - HOUR)
    unseen = seen(a_user(), a_user(BOB), skus=[a_sku(free=1)])

    assert promised([replace(verifying, state=state)], unseen) == {(BOB, VISIO)}
    assert queued(given_seats([replace(verifying, state=state), waiting], unseen)) == ["RITM0000002"]


def test_a_member_that_the_group_has_not_worked_out_yet_will_use_a_seat():
    group = ObservedGroup(VISIO_GROUP, "Visio", False, True, False, False, False, False, (Grant(VISIO),), "Queued")
    base = seen(a_user(), skus=[a_sku(free=1)])
    waits = replace(base, groups={VISIO_GROUP: group}, members={(VISIO_GROUP, ADA): True})
    row = Assignment(VISIO, VISIO_GROUP, frozenset(), "Error", "CountViolation")
    failed = replace(waits, users={ADA: a_user(assignments=(row,))})

    assert promised([], waits) == {(ADA, VISIO)}
    assert promised([], failed) == frozenset()


@pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.HELD])
def test_a_member_whom_nobody_can_read_may_still_use_the_seat_that_the_group_gives(phase):
    group = ObservedGroup(VISIO_GROUP, "Visio", False, True, False, False, False, False, (Grant(VISIO),), "Queued")
    base = seen(a_user(), skus=[a_sku(free=1)])
    hidden = replace(base, groups={VISIO_GROUP: group}, users={**base.users, BOB: Unread("status 503")})
    sent = a_line("RITM0000001", user=BOB)
    joined = Given(GivenKind.MEMBER, MONDAY - HOUR, group=VISIO_GROUP)
    sent = replace(sent, state=a_state(sent.key, phase, user=BOB, given=(joined,), attempts=1))

    assert promised([sent], hidden) == {(BOB, VISIO)}
    assert promised([sent], replace(hidden, members={(VISIO_GROUP, BOB): False})) == frozenset()
    assert queued(given_seats([sent, a_line("RITM0000002")], hidden)) == ["RITM0000002"]


def test_a_member_whom_nobody_looks_at_because_a_person_took_the_task_keeps_their_seat_for_a_day():
    group = ObservedGroup(VISIO_GROUP, "Visio", False, True, False, False, False, False, (Grant(VISIO),), "Queued")
    observed = replace(seen(a_user(), skus=[a_sku(free=1)]), groups={VISIO_GROUP: group})
    line = a_line("RITM0000001", user=BOB)

    def held(since: timedelta) -> Line:
        joined = Given(GivenKind.MEMBER, MONDAY - since, group=VISIO_GROUP)
        return replace(line, state=a_state(line.key, Phase.HELD, user=BOB, given=(joined,), attempts=1))

    assert promised([held(HOUR)], observed) == {(BOB, VISIO)}
    shown = replace(observed, users={**observed.users, BOB: a_user(BOB)})
    unread = replace(shown, members={(VISIO_GROUP, BOB): Unread("status 504")})
    assert promised([held(2 * DAY)], unread) == {(BOB, VISIO)}
    assert promised([held(DAY)], observed) == frozenset()


def test_whoever_was_promised_a_seat_gets_that_one_and_no_second():
    purse = Purse({VISIO: Seats(1)}, {(ADA, VISIO)})

    assert (purse.has(BOB, VISIO), purse.has(ADA, VISIO)) == (False, True)
    purse.take(ADA, VISIO)
    assert purse.has(BOB, VISIO) is False


def test_a_promise_is_no_seat_where_none_is_counted_free():
    assert Purse({VISIO: Seats(0)}, {(ADA, VISIO)}).has(ADA, VISIO) is False


def test_a_younger_line_is_served_when_the_older_one_waits_for_an_approval():
    waiting = a_line("RITM0000001", user=BOB, says=Says.WAITING, due_since=MONDAY - 9 * DAY)

    gates = given_seats([waiting, a_line("RITM0000002")], seen(a_user(), a_user(BOB), skus=[a_sku(free=1)]))

    assert served(gates) == {"RITM0000002"}


def refused_for_want_of_a_seat(line: Line) -> LineState:
    """The line's state after Graph refused the seat that it counts as free."""
    observed = seen(a_user(), skus=[a_sku(free=1)])
    (gated,) = given_seats([line], observed).gated
    outcome = Outcome(gated.proposal.actions[0], Result.FAILED, "No licence left.", cause="no_seat")
    return end(gated, gated.proposal.finding, (outcome,), at=MONDAY, retry_window=DAY, chance=0.5).state


def test_a_line_whose_seat_was_refused_waits_in_the_queue_and_tries_again_later():
    state = refused_for_want_of_a_seat(a_line())

    assert (state.phase, state.cause, state.note) == (Phase.WAITING_FOR_SEAT, "no_seat", "No licence left.")
    assert state.next_at is not None and state.next_at > MONDAY


def test_a_seat_that_is_counted_and_refused_all_day_goes_to_a_person():
    line = a_line()
    state = a_state(line.key, Phase.WAITING_FOR_SEAT, attempts=24, next_at=MONDAY - HOUR)

    assert refused_for_want_of_a_seat(replace(line, state=state)).phase is Phase.REVIEW


INSTANTS = st.integers(0, 5).map(lambda n: MONDAY - n * DAY)


@given(
    approved=st.lists(INSTANTS, min_size=1, max_size=8),
    urgent=st.sets(st.integers(0, 7)),
    free=st.integers(0, 8),
    shuffle=st.randoms(use_true_random=False),
)
def test_no_plan_overspends_and_nobody_overtakes_an_older_approved_line(approved, urgent, free, shuffle):
    lines = [_line(n, at, "urgent" if n in urgent else "") for n, at in enumerate(approved)]
    observed = seen(*(a_user(person(n)) for n in range(len(lines))), skus=[a_sku(free=free)])
    mixed = list(lines)
    shuffle.shuffle(mixed)

    straight, shuffled = given_seats(lines, observed), given_seats(mixed, observed)

    assert straight == shuffled
    assert len(served(straight)) == min(free, len(lines))
    turns = {line.key.ticket: turn(line) for line in lines}
    last_served = max((turns[t] for t in served(straight)), default=None)
    assert last_served is None or all(turns[t] > last_served for t in queued(straight))
    assert {g.cause for g in straight.gated if g.decision is Decision.QUEUED} <= {Cause.NO_SEAT}


def _line(n: int, approved_at: datetime, priority: str) -> Line:
    return replace(a_line(f"RITM{n:07d}", user=person(n), due_since=approved_at), priority=priority)
