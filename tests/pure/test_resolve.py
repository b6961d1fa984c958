"""Entitlements at an instant -> one desired state: who shares an assignment, what has not begun, what is over."""

from __future__ import annotations

import random
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.catalogue import Catalogue, load_builtin
from desired_state.model import Claim, LineKey, Path, Period, Person, ProductKey, Says
from desired_state.overlays import ProductOverlay
from desired_state.resolve import NOT_STARTED, OVER, resolve
from tests.make_tickets import DAY, MONDAY, an_entitlement

TODAY = MONDAY.date()
BUILTIN = load_builtin()


def ends(day: date) -> Period:
    return Period(ends_on=day)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return BUILTIN


def test_an_entitlement_wants_the_product_the_way_the_catalogue_grants_it(catalogue):
    by_group = catalogue.overlay({"visio-plan-2": ProductOverlay(path=Path.GROUP, group="Lic-Visio")})

    (want,) = resolve([an_entitlement()], by_group, at=MONDAY).wants

    assert (want.path, want.group) == (Path.GROUP, "Lic-Visio")
    assert want.skus == catalogue.product("visio-plan-2").candidate_skus


def test_two_lines_of_one_person_and_product_share_one_assignment_that_ends_with_the_later(catalogue):
    early = an_entitlement("RITM1", requested_at=MONDAY - 9 * DAY, period=ends(TODAY + 5 * DAY))
    late = an_entitlement("RITM2", requested_at=MONDAY - 2 * DAY, period=ends(TODAY + 90 * DAY))

    (want,) = resolve([late, early], catalogue, at=MONDAY).wants

    assert want.keys == (LineKey("RITM1", 1), LineKey("RITM2", 1))
    assert want.ends_on == TODAY + 90 * DAY
    assert want.requested_at == MONDAY - 9 * DAY


def test_an_open_line_keeps_the_assignment_open(catalogue):
    lines = [an_entitlement("RITM1", period=ends(TODAY + DAY)), an_entitlement("RITM2")]

    (want,) = resolve(lines, catalogue, at=MONDAY).wants

    assert (want.ends_on, want.duration_days) == (None, None)


def test_the_assignment_stays_when_the_first_of_two_lines_is_over(catalogue):
    lines = [
        an_entitlement("RITM1", period=ends(TODAY - 3 * DAY)),
        an_entitlement("RITM2", period=ends(TODAY + 90 * DAY)),
    ]

    state = resolve(lines, catalogue, at=MONDAY)

    assert [want.keys for want in state.wants] == [(LineKey("RITM2", 1),)]
    assert state.skipped[LineKey("RITM1", 1)].startswith(OVER)


def test_a_line_that_nobody_approved_prolongs_nothing(catalogue):
    lines = [
        an_entitlement("RITM1", period=ends(TODAY + 5 * DAY)),
        an_entitlement("RITM2", period=ends(TODAY + 90 * DAY), says=Says.WAITING),
    ]

    (want,) = resolve(lines, catalogue, at=MONDAY).wants

    assert want.ends_on == TODAY + 5 * DAY
    assert len(want.keys) == 2


def test_different_people_and_different_products_share_nothing(catalogue):
    lines = [
        an_entitlement("RITM1", user="ada"),
        an_entitlement("RITM2", user="bob"),
        an_entitlement("RITM3", user="ada", product=ProductKey("teams")),
    ]

    assert len(resolve(lines, catalogue, at=MONDAY).wants) == 3


def test_an_end_date_ends_with_that_day_where_the_tenant_lives(catalogue):
    line = an_entitlement(period=ends(TODAY))
    last_minute = MONDAY.replace(hour=23, minute=30)

    assert resolve([line], catalogue, at=last_minute).wants
    assert not resolve([line], catalogue, at=last_minute, zone=ZoneInfo("Europe/Berlin")).wants


def test_an_end_date_ends_with_that_day_where_the_person_lives(catalogue):
    person = Person("c" * 32, time_zone="Pacific/Auckland")
    line = an_entitlement(period=ends(TODAY), claim=Claim("ada@contoso.com", person))

    assert resolve([line], catalogue, at=MONDAY.replace(hour=10, minute=59)).wants
    assert not resolve([line], catalogue, at=MONDAY.replace(hour=11)).wants


def test_the_latest_end_counts_of_the_lines_that_still_count(catalogue):
    lines = [
        an_entitlement("RITM1", period=ends(TODAY + 2 * DAY)),
        an_entitlement("RITM2", period=Period(duration_days=60)),
        an_entitlement("RITM3", period=ends(TODAY + 92 * DAY), says=Says.CANCELLED),
    ]
    granted = {LineKey("RITM2", 1): MONDAY}

    assert resolve(lines, catalogue, at=MONDAY, granted_at=granted).wants[0].ends_at == MONDAY + 60 * DAY
    assert resolve(lines, catalogue, at=MONDAY).wants[0].ends_at is None


def test_what_starts_tomorrow_is_not_wanted_today(catalogue):
    line = an_entitlement(period=Period(starts_on=TODAY + DAY))

    assert resolve([line], catalogue, at=MONDAY).skipped[line.key].startswith(NOT_STARTED)
    assert resolve([line], catalogue, at=MONDAY + DAY).wants


def test_a_duration_runs_from_the_verified_grant(catalogue):
    line = an_entitlement(period=Period(duration_days=30))
    granted = {line.key: MONDAY}

    assert resolve([line], catalogue, at=MONDAY + 300 * DAY).wants[0].duration_days == 30
    assert resolve([line], catalogue, at=MONDAY + 30 * DAY - timedelta(seconds=1), granted_at=granted).wants
    assert resolve([line], catalogue, at=MONDAY + 30 * DAY, granted_at=granted).skipped[line.key].startswith(OVER)


@pytest.mark.parametrize("says", [Says.REJECTED, Says.CANCELLED, Says.INCONSISTENT])
def test_a_ticket_that_fell_through_wants_nothing(catalogue, says):
    state = resolve([an_entitlement(says=says)], catalogue, at=MONDAY)

    assert not state.wants
    assert state.skipped


def test_a_product_that_left_the_catalogue_is_told_and_not_lost(catalogue):
    line = an_entitlement(product=ProductKey("gone"))

    assert "gone" in resolve([line], catalogue, at=MONDAY).skipped[line.key]


PERIODS = st.builds(
    Period,
    starts_on=st.none() | st.dates(date(2026, 11, 1), date(2026, 12, 31)),
    ends_on=st.none() | st.dates(date(2026, 11, 1), date(2027, 3, 31)),
    duration_days=st.none() | st.integers(1, 400),
)


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["ada", "bob"]),
            st.sampled_from(["teams", "visio-plan-2"]),
            PERIODS,
            st.sampled_from(list(Says)),
            st.integers(0, 3),
        ),
        max_size=12,
    ),
    seed=st.integers(0, 1000),
)
def test_in_any_order_the_answer_is_the_same_and_no_line_is_lost(lines, seed):
    entitlements = [
        an_entitlement(
            f"RITM{n}", user=user, product=ProductKey(key), period=period, says=says, requested_at=MONDAY - days * DAY
        )
        for n, (user, key, period, says, days) in enumerate(lines)
    ]
    shuffled = random.Random(seed).sample(entitlements, len(entitlements))

    state = resolve(entitlements, BUILTIN, at=MONDAY)

    assert resolve(shuffled, BUILTIN, at=MONDAY) == state
    behind = [key for want in state.wants for key in want.keys] + list(state.skipped)
    assert sorted(behind) == sorted(e.key for e in entitlements)
    assert len({(want.user, want.product) for want in state.wants}) == len(state.wants)
