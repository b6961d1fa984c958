"""What the board counts and lists, from the store's own tables: exact after any history, whoever wrote the lines."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from desired_state.model import LineKey
from reconciler.lifecycle import MOVES, Phase
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.store import lines, retention, tallies
from reconciler.store.database import row_counts
from reconciler.store.tallies import AT_REST, Wanted
from reconciler.tallies import DAY, Kind, board, shown_days
from tests.make import MONDAY
from tests.make_store import TENANT

CAUSES = [None, "no_seat", "plan_conflict", "user_missing"]


def a_state(n: int = 1, phase: Phase = Phase.REVIEW, **changes) -> LineState:
    base = {
        "product": "visio-plan-1",
        "person": f"person.{n:04d}@contoso.example",
        "since": MONDAY + timedelta(hours=n),
    }
    return LineState(LineKey(f"RITM{n:07d}", 1), phase, **{**base, **changes})


def keep(database, *states: LineState, at=MONDAY) -> None:
    with database.write() as session:
        for state in states:
            lines.save(session, TENANT, state, at)


def read(database, question, *args, **more):
    with database.read() as session:
        return question(session, TENANT, *args, **more)


def counted(database) -> dict[Kind, int]:
    return {count.kind: count.lines for count in read(database, tallies.counts)}


def test_counts_and_history_stay_exact_through_months_of_moves(database):
    rng = random.Random(7)
    states: dict[int, LineState] = {}
    by_day = {}
    for day in range(60):
        at, moved = MONDAY + day * DAY, []
        for _ in range(12):
            n = rng.randrange(1, 120)
            old = states.get(n)
            phase = rng.choice(sorted(MOVES[old.phase])) if old else rng.choice([Phase.RECEIVED, Phase.REVIEW])
            states[n] = a_state(
                n,
                phase,
                cause=rng.choice(CAUSES),
                verdict=rng.choice([None, *Verdict]),
                product=rng.choice(["visio-plan-1", "project-plan-3", ""]),
                since=at,
            )
            moved.append(states[n])
        keep(database, *moved, at=at)
        by_day[at.date()] = Counter(
            Kind(s.product, s.phase.value, s.cause or "", s.verdict.value if s.verdict else "") for s in states.values()
        )

    assert counted(database) == dict(by_day[at.date()])
    found = board(
        read(database, tallies.counts),
        read(database, tallies.moves, shown_days(at)[0]),
        at=at,
        known_since=read(database, tallies.known_since),
        by_phase={},
        by_cause={},
    )
    for n, day in enumerate(found.days):
        assert found.drift.days[n] == sum(lines for kind, lines in by_day[day].items() if kind.drifts)
        assert found.false.days[n] == sum(lines for kind, lines in by_day[day].items() if kind.is_false)


def test_a_line_that_is_taken_out_by_hand_is_counted_no_more(database):
    keep(database, a_state(1), a_state(2))
    with database.write() as session:
        session.execute(text("DELETE FROM line WHERE ticket = 'RITM0000001'"))

    assert sum(counted(database).values()) == 1


def test_keeping_a_line_as_it_is_adds_no_row_and_moves_no_number(database):
    keep(database, a_state(1))
    before = read(database, lambda session, _: row_counts(session)), counted(database)

    keep(database, a_state(1), at=MONDAY + DAY)
    keep(database, replace(a_state(1), attempts=4, note="Tried again."), at=MONDAY + DAY)

    assert (read(database, lambda session, _: row_counts(session)), counted(database)) == before


def test_another_tenants_lines_count_for_nobody_else(database):
    with database.write() as session:
        lines.save(session, "elsewhere", a_state(1), MONDAY)

    assert counted(database) == {}
    assert read(database, tallies.page, Wanted()) == []


def test_ages_by_phase_and_the_oldest_by_cause(database):
    at = MONDAY + 10 * DAY
    keep(
        database,
        a_state(1, Phase.HELD, cause="policy_refused", since=MONDAY),
        a_state(2, Phase.HELD, cause="policy_refused", since=at - 2 * DAY),
        a_state(3, Phase.HELD, cause="policy_refused", since=at - timedelta(hours=2)),
        a_state(4, Phase.CANCELLED, cause="policy_refused", since=MONDAY - 9 * DAY),
        a_state(5, Phase.GRANTED, since=MONDAY),
    )

    ages = read(database, tallies.ages, at)

    assert (ages["held"].oldest, ages["held"].over_day, ages["held"].over_week) == (MONDAY, 2, 1)
    assert (ages["granted"].oldest, ages["granted"].over_day) == (MONDAY, None)
    assert read(database, tallies.oldest_by_cause) == {"policy_refused": MONDAY}  # what is over waits for nobody


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(phases=("review",)),
        Wanted(cause="no_seat"),
        Wanted(product="visio-plan-1"),
        Wanted(verdict="false"),
        Wanted(text="RITM00000"),
        Wanted(text="person.00"),
        Wanted(text="person", cause="no_seat", verdict="false"),
    ],
)
def test_pages_hold_every_line_once_in_one_order(database, wanted):
    rng = random.Random(3)
    states = [
        a_state(
            n,
            rng.choice([Phase.REVIEW, Phase.HELD, Phase.GRANTED]),
            cause=rng.choice(CAUSES),
            verdict=rng.choice([None, Verdict.FALSE, Verdict.TRUE]),
            since=MONDAY + DAY * rng.randrange(3),  # many of one instant
        )
        for n in range(1, 60)
    ]
    keep(database, *states)

    seen, after = [], None
    while found := read(database, tallies.page, wanted, after=after, limit=7):
        seen += found
        after = found[-1].place

    due = {
        s.key
        for s in states
        if (not wanted.is_all or s.phase not in AT_REST)
        and (not wanted.phases or s.phase.value in wanted.phases)
        and (not wanted.cause or s.cause == wanted.cause)
        and (not wanted.verdict or (s.verdict and s.verdict.value == wanted.verdict))
        and (not wanted.text or wanted.text.lower() in (s.key.ticket + s.person).lower())
    }
    assert {line.key for line in seen} == due
    assert len(seen) == len(due)
    assert due
    order = [(line.key if wanted.text.startswith("RITM") else (line.since, line.key)) for line in seen]
    assert order == sorted(order)


def test_a_search_takes_what_somebody_types_literally(database):
    keep(database, a_state(1, person="100%_sure@contoso.example"), a_state(2, person="ada@contoso.example"))

    def found(typed: str) -> list[str]:
        return [line.person for line in read(database, tallies.page, Wanted(text=typed))]

    assert found("%") == found("0%_S") == ["100%_sure@contoso.example"]
    assert found("ADA") == ["ada@contoso.example"]
    assert found("' OR 1=1 --") == found("a\\da") == []


def test_a_number_is_looked_for_by_its_beginning(database):
    keep(database, a_state(12), a_state(123), a_state(2))

    def found(typed: str) -> list[str]:
        return [line.key.ticket for line in read(database, tallies.page, Wanted(text=typed))]

    assert found(" ritm00000 ") == ["RITM0000002", "RITM0000012"]
    assert found("RITM0000123") == ["RITM0000123"]


def test_a_name_that_looks_like_a_number_is_found_where_no_ticket_begins_so(database):
    keep(database, a_state(1, person="adm1234@contoso.example"))

    assert [line.person for line in read(database, tallies.page, Wanted(text="adm1234"))] == ["adm1234@contoso.example"]


def test_days_older_than_thirteen_months_go_and_the_younger_ones_stay_exact(database):
    with database.write() as session:
        for n in range(400):
            lines.save(session, TENANT, a_state(n, cause="no_seat"), MONDAY + n * DAY)
    at = MONDAY + 399 * DAY
    since = (at - retention.KEEP_DAYS).date()
    before, counts = read(database, tallies.moves, since), counted(database)

    with database.write() as session:
        gone = retention.forget_days(session, TENANT, at)
    with database.write() as session:
        again = retention.forget_days(session, TENANT, at)

    assert (gone, again) == (2, 0)
    assert read(database, tallies.known_since) == since
    assert (read(database, tallies.moves, since), counted(database)) == (before, counts)
