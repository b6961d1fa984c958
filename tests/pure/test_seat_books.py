"""What is known of a queue: places, what comes free, what is idle, and what a cycle about some tickets leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from desired_state.model import Given, GivenKind, Person, UserId
from desired_state.rules import Rules
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Gated, Line, LineState, Observed
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.seats.book import Book, Books, elsewhere, position, written_up
from reconciler.seats.forecast import End, ends, likely
from reconciler.seats.idle import Idle, near, sentence
from reconciler.seats.words import explained
from tests.make import ADA, BOB, DAY, E3, HOUR, MONDAY, VISIO, a_line, a_product, a_sku, a_user, seen

CAROL, DAN = (UserId(f"{n}3333333-3333-4333-8333-333333333333") for n in (3, 4))


def judged(lines: list[Line], observed: Observed) -> tuple[Gated, ...]:
    findings = diff(lines, observed, at=observed.at, windows=Windows())
    proposed = plan(findings, observed, Bounds())
    return gate(proposed, Rules(), policy=Policy(mode="enforce"), watch=Watch(observed.at), at=observed.at).gated


def books_of(lines: list[Line], observed: Observed, *, before: Books | None = None, is_whole: bool = True) -> Books:
    told = judged(lines, observed)
    return written_up(before or {}, told, observed, at=observed.at, is_whole=is_whole, use_grace=False)


def note_of(line: Line, observed: Observed, books: Books) -> str:
    told = explained(judged([line], observed), books, at=observed.at, use_grace=False)
    return told[0].sentence


def waiting(number: str, user: UserId, *, days: int, since_days: int = 1) -> Line:
    line = a_line(number, user=user, due_since=MONDAY - days * DAY)
    return replace(line, state=LineState(line.key, Phase.WAITING_FOR_SEAT, since=MONDAY - since_days * DAY))


def granted(number: str, user: UserId, ends_at: datetime | None, *, given: bool = True, **product: object) -> Line:
    line = a_line(number, user=user, product=a_product(**product))  # type: ignore[arg-type]
    gave = (Given(GivenKind.LICENSE, MONDAY - DAY, sku=VISIO),) if given else ()
    state = LineState(line.key, Phase.GRANTED, user=user, ends_at=ends_at, given=gave, since=MONDAY - DAY)
    return replace(line, state=state)


FULL = seen(*(a_user(u) for u in (ADA, BOB, CAROL)), skus=[a_sku(free=0)])


def test_places_are_counted_by_person_and_in_turn():
    lines = [
        waiting("RITM0000001", ADA, days=1),
        waiting("RITM0000002", BOB, days=9),
        waiting("RITM0000003", ADA, days=2),
    ]

    book = books_of(lines, FULL)[VISIO]

    assert [str(p.turn.key) for p in book.queue] == ["RITM0000002/1", "RITM0000003/1", "RITM0000001/1"]
    assert [position(book, line.key) for line in lines] == [(2, 2), (1, 2), (2, 2)]


def test_a_line_keeps_the_day_on_which_it_entered_the_queue():
    old, new = waiting("RITM0000001", ADA, days=5, since_days=4), a_line("RITM0000002", user=BOB)

    since = {p.turn.key: p.since for p in books_of([old, new], FULL)[VISIO].queue}

    assert since == {old.key: MONDAY - 4 * DAY, new.key: MONDAY}


def test_seats_that_this_cycle_gives_are_not_free_in_the_book():
    observed = seen(a_user(), a_user(BOB), skus=[a_sku(free=1, enabled=10, consumed=9)])

    book = books_of([a_line("RITM0000001", due_since=MONDAY - 2 * DAY), a_line("RITM0000002", user=BOB)], observed)[
        VISIO
    ]

    assert (book.consumed, book.free, len(book.queue)) == (10, 0, 1)


def test_a_cycle_about_one_ticket_leaves_the_places_of_the_others_and_keeps_them_free():
    older, younger = waiting("RITM0000001", ADA, days=9), waiting("RITM0000002", BOB, days=1)
    before = books_of([older, younger], FULL)
    one_free = seen(a_user(BOB), skus=[a_sku(free=1)])

    kept = elsewhere(before, [younger.key])
    findings = diff([younger], one_free, at=MONDAY, windows=Windows())
    proposal = plan(findings, one_free, Bounds(), elsewhere=kept).proposals[0]
    after = books_of([younger], FULL, before=before, is_whole=False)

    assert proposal.short_of == (VISIO,)
    assert after == before


def test_a_whole_cycle_forgets_who_waits_no_longer():
    before = books_of([waiting("RITM0000001", ADA, days=9)], FULL)

    assert books_of([], FULL, before=before)[VISIO].queue == ()


def test_the_second_place_gets_the_second_seat_that_is_known_to_come_free():
    known = (End(MONDAY + 5 * DAY, VISIO, a_line().key), End(MONDAY + 9 * DAY, VISIO, a_line().key))

    assert likely(1, known, VISIO, MONDAY) == MONDAY + 5 * DAY
    assert likely(2, known, VISIO, MONDAY) == MONDAY + 9 * DAY
    assert likely(3, known, VISIO, MONDAY) is None
    assert likely(1, known, E3, MONDAY) is None
    assert likely(1, known, VISIO, MONDAY + 6 * DAY) == MONDAY + 9 * DAY


def test_a_seat_comes_free_when_the_last_line_of_the_person_ends_and_its_grace_is_over():
    end = MONDAY + 9 * DAY
    lines = [
        granted("RITM0000001", ADA, MONDAY + DAY, grace_s=86400.0),
        granted("RITM0000002", ADA, end, given=False, grace_s=86400.0),
    ]

    (found,) = ends(lines)

    assert (found.at, found.sku) == (end + timedelta(days=1), VISIO)


@pytest.mark.parametrize(
    "line",
    [
        granted("RITM0000001", ADA, None),
        granted("RITM0000001", ADA, MONDAY + DAY, given=False),
        granted("RITM0000001", ADA, MONDAY + DAY, kind="suite"),
        waiting("RITM0000001", ADA, days=1),
    ],
    ids=["no end", "not given by us", "a suite is only proposed to be taken back", "not granted"],
)
def test_what_is_not_certain_to_come_free_is_no_forecast(line):
    assert ends([line]) == ()


def test_an_open_line_of_the_same_person_keeps_the_seat():
    assert ends([granted("RITM0000001", ADA, MONDAY + DAY), granted("RITM0000002", ADA, None, given=False)]) == ()


def test_who_waits_is_told_place_reason_since_when_and_until_when():
    line = waiting("RITM0000001", ADA, days=1)
    ending = granted("RITM0000009", DAN, MONDAY + 29 * DAY)
    observed = seen(a_user(), a_user(DAN, holds={VISIO: ()}), skus=[a_sku(free=0, enabled=3, consumed=3)])

    note = note_of(line, observed, books_of([line, ending], observed))

    assert note == (
        f"No licence of {VISIO} is free. All 3 are in use. Place 1 of 1 in the queue since 2026-11-01. "
        "A licence is likely to come free on 2026-12-01."
    )
    assert note_of(line, replace(observed, at=MONDAY + HOUR), books_of([line, ending], observed)) == note


def test_a_priority_is_told_with_its_reason():
    line = replace(waiting("RITM0000001", ADA, days=1), priority="the auditors come tomorrow")

    assert "Served before older requests: the auditors come tomorrow." in note_of(line, FULL, books_of([line], FULL))


@pytest.mark.parametrize(
    ("sku", "why"),
    [
        (a_sku(enabled=0, warning=5, consumed=2, capability="Warning"), "5 more are in grace, and the configuration"),
        (a_sku(capability="Suspended"), "The subscription is suspended."),
    ],
)
def test_why_nothing_is_free_is_told(sku, why):
    line = waiting("RITM0000001", ADA, days=1)
    observed = seen(a_user(), skus=[sku])

    assert why in note_of(line, observed, books_of([line], observed))


def test_a_seat_that_nobody_owns_is_waited_for_as_well():
    line = a_line()
    observed = seen(a_user(), skus=[a_sku(E3)])

    books = books_of([line], observed)

    assert books[VISIO].capability == "not owned"
    assert note_of(line, observed, books).startswith(
        "The tenant owns no licence that contains Visio Plan 1. Place 1 of 1"
    )


def test_an_idle_seat_is_proposed_in_the_same_cost_centre_and_where_that_is_unknown_in_the_same_department():
    here = Idle("a@x", "the account is disabled", "Sales", "CC-1")
    there = Idle("b@x", "the account is disabled", "Sales", "CC-2")
    unknown = Idle("c@x", "the account is disabled", "Sales", "")
    nowhere = Idle("d@x", "the account is disabled")

    assert near((here, there, unknown, nowhere), cost_center="cc-1", department="Sales") == (here, unknown)
    assert near((here, there, unknown, nowhere), cost_center="", department="sales") == (here, there, unknown)
    assert near((nowhere,), cost_center="", department="") == ()


def test_only_some_idle_seats_are_named():
    found = tuple(Idle(f"{n}@x", "the account is disabled", "Sales") for n in range(5))

    assert sentence(found).endswith(
        "0@x (the account is disabled), 1@x (the account is disabled), 2@x (the account is disabled) and 2 more."
    )
    assert sentence(()) == ""


def test_the_note_names_the_idle_seat_of_the_persons_own_cost_centre():
    person = Person("p1", cost_center="CC-1")
    line = replace(waiting("RITM0000001", ADA, days=1), person=person)
    books = dict(books_of([line], FULL))
    books[VISIO] = replace(books[VISIO], idle=(Idle("gone@x", "the account is disabled", "", "CC-1"),), idle_at=MONDAY)

    assert "for a person to decide: gone@x (the account is disabled)." in note_of(line, FULL, books)


def test_a_line_refused_for_want_of_a_seat_stands_in_the_queue_until_its_next_try():
    line = waiting("RITM0000001", ADA, days=1)
    assert line.state is not None
    line = replace(line, state=replace(line.state, attempts=1, next_at=MONDAY + HOUR))
    observed = seen(a_user(), skus=[a_sku(free=1)])

    (told,), books = judged([line], observed), books_of([line], observed)

    assert told.decision is Decision.HELD
    assert position(books[VISIO], line.key) == (1, 1)


def test_a_book_is_the_same_however_often_it_is_written_up():
    line = waiting("RITM0000001", ADA, days=1)
    once = books_of([line], FULL)
    later = replace(FULL, at=MONDAY + 30 * DAY)

    again = written_up(once, judged([line], FULL), FULL, at=later.at, is_whole=True, use_grace=False)

    assert again == once
    assert isinstance(once[VISIO], Book)
