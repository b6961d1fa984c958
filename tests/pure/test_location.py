"""Where a usage location comes from, and whether it stayed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from desired_state.model import Given, GivenKind, LineKey, Person
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import LineState, Rest
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.model import ActionKind
from tests.make import ADA, HOUR, MONDAY, a_line, a_user, seen

ANNA = Person("p1", country="DE")
SYNC = timedelta(minutes=45)


def planned(line, user, **bounds):
    observed = seen(user)
    findings = diff([line], observed, at=MONDAY, windows=Windows(directory_sync=SYNC))
    return plan(findings, observed, Bounds(**bounds)).proposals[0]


def set_before(ago: timedelta, *, is_seen: bool = True, **state):
    given = (Given(GivenKind.LOCATION, MONDAY - ago, country="DE", is_seen=is_seen),)
    known = LineState(LineKey("RITM0000001", 1), Phase.VERIFYING, given=given, attempts=1, **state)
    return a_line(person=ANNA, state=known)


def found(line, user):
    (finding,) = diff([line], seen(user), at=MONDAY, windows=Windows(directory_sync=SYNC))
    return finding


def test_where_two_sources_agree_the_country_is_set_then_the_licence_assigned():
    proposal = planned(a_line(person=ANNA), a_user(usage_location="", country="de"))

    assert [a.kind for a in proposal.actions] == [ActionKind.SET_USAGE_LOCATION, ActionKind.ASSIGN_LICENSE]
    assert proposal.actions[0].after == {"usage_location": "DE", "sources": ["ServiceNow person", "Entra country"]}


@pytest.mark.parametrize(
    ("person", "country", "words"),
    [
        (Person("p1", country="DE"), "", "two sources are needed"),
        (Person("p1", country="Korea"), "DE", "two sources are needed"),
        (Person("p1", country="United Kingdom"), "Germany", "disagree"),
        (Person("p1", country="DE"), "NL", "disagree"),
        (None, None, "no source names a country"),
        (Person("p1", country="EU"), "EU", "Entra country says 'EU', which is no country that is known here"),
        (
            Person("p1", country="Korea"),
            "Korea",
            "ServiceNow person says 'Korea', which is no country that is known here",
        ),
    ],
)
def test_without_two_sources_that_agree_nothing_is_set(person, country, words):
    proposal = planned(a_line(person=person), a_user(usage_location="", country=country))

    assert (proposal.actions, proposal.blocked) == ((), Cause.USAGE_LOCATION_MISSING)
    assert words in proposal.sentence


@pytest.mark.parametrize(
    ("person", "entra", "code"),
    [
        ("Germany", "Deutschland", "DE"),
        ("UK", "GB", "GB"),
        ("United Kingdom", "uk", "GB"),
        ("USA", "United States", "US"),
    ],
)
def test_countries_are_compared_as_people_type_them(person, entra, code):
    proposal = planned(a_line(person=Person("p1", country=person)), a_user(usage_location="", country=entra))

    assert proposal.actions[0].country == code


def test_a_country_that_is_not_allowed_is_not_set():
    proposal = planned(a_line(person=ANNA), a_user(usage_location="", country="DE"), countries=frozenset({"NL"}))

    assert proposal.actions == ()
    assert "not in the list of allowed countries" in proposal.sentence


def test_manager_and_office_are_told_to_a_person_and_never_used():
    line = a_line(person=ANNA, manager_country="DE")

    proposal = planned(line, a_user(usage_location="", country=None, office="Berlin\x1b[2J"))

    assert proposal.actions == ()
    assert "the manager is in DE" in proposal.sentence
    assert "'Berlin" in proposal.sentence
    assert "\x1b" not in proposal.sentence


def test_a_synced_account_gets_its_location_first_and_the_licence_only_after_the_next_sync():
    proposal = planned(a_line(person=ANNA), a_user(usage_location="", country="DE", is_synced=True))

    assert [a.kind for a in proposal.actions] == [ActionKind.SET_USAGE_LOCATION]
    assert "only if it is still there after 2026-11-02 09:45 UTC" in proposal.sentence


def test_before_the_next_sync_a_location_of_ours_is_not_relied_on():
    finding = found(set_before(SYNC - timedelta(minutes=1)), a_user(usage_location="DE", is_synced=True))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.WAIT, Cause.USAGE_LOCATION_MISSING, None)


def test_after_the_next_sync_a_location_that_stayed_is_relied_on():
    finding = found(set_before(SYNC), a_user(usage_location="DE", is_synced=True))

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.NEVER_ASSIGNED)


def test_a_location_whose_reply_was_lost_and_that_is_there_is_not_relied_on_before_the_next_sync_either():
    finding = found(set_before(SYNC - timedelta(minutes=1), is_seen=False), a_user(usage_location="DE", is_synced=True))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.WAIT, Cause.USAGE_LOCATION_MISSING, None)


def test_a_location_whose_reply_was_lost_and_that_nobody_saw_is_set_again():
    finding = found(set_before(SYNC, is_seen=False), a_user(usage_location="", is_synced=True))

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.USAGE_LOCATION_MISSING)


@pytest.mark.parametrize(("minutes", "rest"), [(9, Rest.WAIT), (10, Rest.ACT)])
@pytest.mark.parametrize("is_synced", [False, True])
def test_a_location_that_was_accepted_and_is_not_readable_is_looked_for_before_it_is_set_again(
    minutes, rest, is_synced
):
    line = set_before(timedelta(minutes=minutes), is_seen=False, cause=Cause.USAGE_LOCATION_MISSING.value)

    finding = found(line, a_user(usage_location="", is_synced=is_synced))

    assert (finding.rest, finding.cause) == (rest, Cause.USAGE_LOCATION_MISSING)


def test_a_location_that_was_overwritten_is_not_set_a_second_time():
    finding = found(set_before(SYNC), a_user(usage_location="", is_synced=True))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.USAGE_LOCATION_REFUSED, None)
    assert "not set a second time" in finding.sentence


def test_a_location_that_a_replica_does_not_show_yet_is_waited_for():
    finding = found(set_before(timedelta(minutes=1)), a_user(usage_location="", is_synced=False))

    assert finding.rest is Rest.WAIT


def test_a_location_of_ours_on_a_cloud_account_is_used_at_once():
    finding = found(set_before(timedelta(minutes=1)), a_user(usage_location="DE", is_synced=False))

    assert finding.rest is Rest.ACT


def test_what_one_line_set_binds_the_other_lines_of_the_person():
    other = a_line("RITM0000002", person=ANNA)

    findings = diff(
        [set_before(SYNC), other],
        seen(a_user(ADA, usage_location="", is_synced=True)),
        at=MONDAY + HOUR,
        windows=Windows(directory_sync=SYNC),
    )

    assert {f.cause for f in findings} == {Cause.USAGE_LOCATION_REFUSED}


def test_what_one_line_set_binds_the_others_also_where_only_they_are_looked_at_again():
    other = a_line("RITM0000002", person=ANNA)

    (finding,) = diff(
        [other],
        seen(a_user(ADA, usage_location="", is_synced=True)),
        at=MONDAY + HOUR,
        windows=Windows(directory_sync=SYNC),
        among=[set_before(SYNC), other],
    )

    assert (finding.key.ticket, finding.cause) == ("RITM0000002", Cause.USAGE_LOCATION_REFUSED)
