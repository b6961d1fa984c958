"""The ledger: what is declared again adds nothing, what ended stays ended, and every change reads back as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state import ledger
from desired_state.ledger import Bound, Declared, Ended, Granted, Lost, Refused, Standing, Withdrawn
from desired_state.model import Claim, Given, GivenKind, LineKey, Period, Person, ProductKey, Refusal, Says, Why
from reconciler.store.database import row_counts
from tests.make import ADA, BOB, DAY, HOUR, MONDAY, VISIO
from tests.make_database import ENGINES, an_empty_database
from tests.make_store import KEY, TENANT, a_binding, a_wish, changes, instants

REFUSAL = Refusal(KEY, Why.PRODUCT_AMBIGUOUS, "Which Visio?", Says.APPROVED)


def standing_after(*news: ledger.LedgerChange) -> Standing:
    standing = Standing(KEY)
    for change in news:
        standing = ledger.fold(standing, change)
    return standing


def keep(database, *news: ledger.LedgerChange, at=MONDAY) -> int:
    with database.write() as session:
        return ledger.append_all(session, TENANT, news, at)


# --- the fold -----------------------------------------------------------------------------------------------


def test_a_request_that_is_read_again_stays_bound_to_its_person():
    standing = standing_after(Declared(a_wish()), Bound(a_binding()), Declared(a_wish()))

    assert standing.entitlement == a_binding()


def test_a_request_whose_words_change_keeps_the_person_it_was_bound_to():
    closed = a_wish(says=Says.FULFILLED, justification="please")

    standing = standing_after(Bound(a_binding()), Declared(closed))

    assert standing.request == closed
    assert standing.entitlement is not None
    assert standing.entitlement.user == ADA


def test_a_person_whose_department_changes_is_still_that_person():
    before, after = (Claim(None, Person("p1", department=name)) for name in ("Sales", "Finance"))

    standing = standing_after(Bound(a_binding(claim=before)), Declared(a_wish(claim=after)))

    assert standing.entitlement is not None


def test_a_request_for_somebody_else_has_to_be_bound_anew_and_was_never_granted():
    other = a_wish(claim=Claim("bob@contoso.example", None))

    standing = standing_after(Bound(a_binding()), Granted(KEY, MONDAY), Declared(other))

    assert standing.entitlement is None
    assert standing.granted_at is None


def test_binding_the_same_person_again_keeps_the_first_binding():
    later = replace(a_binding(), upn="ada.new@contoso.example", bound_at=MONDAY + DAY)

    assert standing_after(Bound(a_binding()), Bound(later)).entitlement == a_binding()


def test_the_period_counts_from_the_first_grant():
    standing = standing_after(Bound(a_binding()), Granted(KEY, MONDAY), Granted(KEY, MONDAY + DAY, by_us=False))

    assert standing.granted_at == MONDAY
    assert standing.is_by_us


def test_a_later_end_of_a_grant_is_kept():
    standing = standing_after(Granted(KEY, MONDAY, MONDAY + DAY), Granted(KEY, MONDAY + HOUR, MONDAY + 2 * DAY))

    assert standing.until == MONDAY + 2 * DAY


def test_reading_an_old_ticket_again_does_not_revive_what_ended():
    standing = standing_after(Bound(a_binding()), Granted(KEY, MONDAY), Ended(KEY, MONDAY + DAY, "revoked"))

    again = ledger.fold(standing, Declared(a_wish()))

    assert again == standing
    assert not again.is_current


def test_a_new_period_after_the_end_is_a_new_wish():
    ended = standing_after(Bound(a_binding()), Granted(KEY, MONDAY), Ended(KEY, MONDAY + DAY, "revoked"))

    standing = ledger.fold(ended, Declared(a_wish(period=Period(ends_on=date(2027, 1, 1)))))

    assert standing.is_current
    assert standing.entitlement is not None
    assert standing.granted_at is None


def test_a_longer_period_of_what_is_granted_changes_nothing_about_the_grant():
    standing = standing_after(
        Bound(a_binding()), Granted(KEY, MONDAY), Declared(a_wish(period=Period(ends_on=date(2027, 1, 1))))
    )

    assert standing.granted_at == MONDAY


def test_another_product_was_never_granted():
    standing = standing_after(Bound(a_binding()), Granted(KEY, MONDAY), Declared(a_wish(product=ProductKey("project"))))

    assert standing.granted_at is None
    assert not standing.is_by_us


def test_a_refusal_and_a_withdrawal_do_not_forget_what_we_granted():
    granted = (Bound(a_binding()), Granted(KEY, MONDAY))

    assert standing_after(*granted, Refused(REFUSAL)).is_by_us
    assert standing_after(*granted, Withdrawn(KEY, "cancelled")).is_by_us
    assert not standing_after(*granted, Withdrawn(KEY, "cancelled")).is_current


def test_what_others_took_away_is_not_ours_until_we_give_it_again():
    ours = Given(GivenKind.LICENSE, MONDAY, sku=VISIO)
    taken = Lost(KEY, MONDAY + HOUR, (replace(ours, at=MONDAY + HOUR),))
    lost = standing_after(Granted(KEY, MONDAY, given=(ours,)), taken)
    by_hand = ledger.fold(lost, Granted(KEY, MONDAY, by_us=False))
    again = ledger.fold(lost, Granted(KEY, MONDAY, given=(ours,)))

    assert [(s.given, s.is_by_us) for s in (lost, by_hand, again)] == [((), False), ((), False), ((ours,), True)]
    assert again.granted_at == MONDAY


@given(st.lists(changes, max_size=12))
def test_the_same_change_twice_says_nothing_new(news):
    standings: dict[LineKey, Standing] = {}
    for change in news:
        once = ledger.fold(standings.get(change.key, Standing(change.key)), change)
        assert ledger.fold(once, change) == once
        standings[change.key] = once


@given(changes)
def test_every_change_reads_back_as_it_was(change):
    kind, body = ledger.encode(change)

    assert ledger.decode(kind, body) == change
    assert ledger.encode(ledger.decode(kind, body)) == (kind, body)


@pytest.mark.parametrize(("kind", "body"), [("granted", "{}"), ("wished", "{}"), ("ended", "no json")])
def test_what_is_no_change_is_refused(kind, body):
    with pytest.raises(ValueError, match=r"."):
        ledger.decode(kind, body)


# --- in the store -------------------------------------------------------------------------------------------


def test_a_cycle_that_declares_everything_again_adds_no_row(database):
    news = (Declared(a_wish()), Bound(a_binding()), Granted(KEY, MONDAY, None))
    assert keep(database, *news) == 3

    assert keep(database, *news, at=MONDAY + DAY) == 0


def test_changes_come_back_in_their_order_with_their_instants(database):
    keep(database, Declared(a_wish()), at=MONDAY)
    keep(database, Bound(a_binding()), at=MONDAY + HOUR)

    with database.read() as session:
        assert ledger.changes(session, TENANT, "RITM0000001") == [
            ledger.Entry(Declared(a_wish()), MONDAY),
            ledger.Entry(Bound(a_binding()), MONDAY + HOUR),
        ]
        assert ledger.changes(session, TENANT, "RITM0000009") == []
        assert ledger.changes(session, "fabrikam") == []


def test_current_is_the_last_word_on_each_line_that_is_not_over(database):
    second, third = LineKey("RITM0000001", 2), LineKey("RITM0000002", 1)
    keep(database, Declared(a_wish()), Bound(a_binding()), Declared(a_wish(key=second)), Declared(a_wish(key=third)))
    keep(database, Refused(replace(REFUSAL, key=second)), Withdrawn(third, "cancelled"))

    with database.read() as session:
        assert ledger.current(session, TENANT) == {KEY: a_binding(), second: replace(REFUSAL, key=second)}
        assert set(ledger.standings(session, TENANT)) == {KEY, second, third}
        assert set(ledger.standings(session, TENANT, tickets={"RITM0000002"})) == {third}
        assert ledger.standings(session, TENANT, tickets=()) == {}


def test_tenants_do_not_see_each_other(database):
    keep(database, Declared(a_wish()))

    with database.write() as session:
        assert ledger.append(session, "fabrikam", Bound(a_binding(user=BOB)), MONDAY)

    with database.read() as session:
        assert ledger.current(session, TENANT) == {KEY: a_wish()}


def test_an_empty_ledger_takes_a_past_and_one_that_has_a_past_keeps_it(database):
    past = [(Bound(a_binding()), MONDAY - 30 * DAY), (Granted(KEY, MONDAY - 29 * DAY), MONDAY - 29 * DAY)]

    with database.write() as session:
        assert ledger.import_history(session, TENANT, past) == 2
    with database.write() as session:
        assert ledger.import_history(session, TENANT, [(Ended(KEY, MONDAY, "x"), MONDAY)]) == 0

    with database.read() as session:
        assert ledger.standings(session, TENANT)[KEY].granted_at == MONDAY - 29 * DAY
        assert [entry.recorded_at for entry in ledger.changes(session, TENANT)] == [at for _, at in past]


def test_more_tickets_than_one_query_takes_are_all_found(database):
    keys = [LineKey(f"RITM{i:07}", 1) for i in range(ledger.CHUNK * 2 + 1)]
    keep(database, *(Declared(a_wish(key=key)) for key in keys))

    with database.read() as session:
        assert set(ledger.standings(session, TENANT, tickets={key.ticket for key in keys})) == set(keys)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(changes, instants), max_size=10))
def test_the_store_holds_the_fold_of_everything_that_was_said(engine, news):
    folded: dict[LineKey, Standing] = {}
    for change, _ in news:
        folded[change.key] = ledger.fold(folded.get(change.key, Standing(change.key)), change)

    with an_empty_database(engine) as database:
        with database.write() as session:
            for change, at in news:
                ledger.append(session, TENANT, change, at)
        with database.read() as session:
            kept = ledger.standings(session, TENANT)
            rows = row_counts(session)["ledger"]
        with database.write() as session:
            assert [ledger.append(session, TENANT, change, at) for change, at in news[-1:]] in ([False], [])

    assert kept == {key: standing for key, standing in folded.items() if standing != Standing(key)}
    assert rows <= len(news)


def test_changes_of_one_transaction_build_on_each_other_without_reading_the_ledger_again(database):
    news = (Declared(a_wish()), Declared(a_wish()), Bound(a_binding()), Granted(KEY, MONDAY))

    with database.write() as session:
        stands, kept = Standing(KEY), []
        for change in news:
            before, stands = stands, ledger.append_to(session, TENANT, stands, change, MONDAY)
            kept.append(stands is not before)
        read = ledger.standings(session, TENANT)

    assert kept == [True, False, True, True]  # what is declared again says nothing new
    assert read == {KEY: stands} == {KEY: standing_after(*news)}
