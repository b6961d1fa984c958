"""Bad news is believed when two reads agree."""

from __future__ import annotations

from dataclasses import replace

from desired_state.model import LineKey, Tier
from reconciler.lifecycle import Phase
from reconciler.line import Line, LineState, Observed, Rest, Unread
from reconciler.loop.confirm import confirmed, doubtful
from reconciler.loop.diff import Windows, diff
from reconciler.model import PlanState
from tests.make import ADA, DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_user, details_of, seen

THERE = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})
GONE = seen(a_user())
PENDING = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.DISABLED}})})
GRANTED = a_line(state=LineState(LineKey("RITM0000001", 1), Phase.GRANTED, granted_at=MONDAY - DAY, since=MONDAY - DAY))


def findings(line: Line, observed: Observed):
    return diff([line], observed, at=MONDAY, windows=Windows())


def after(first: Observed, second: Observed, line: Line = GRANTED):
    both = confirmed(first, second, findings(line, first), findings(line, second))
    (finding,) = findings(line, both)
    return both, finding


def test_a_grant_that_seems_gone_is_doubted():
    assert doubtful(findings(GRANTED, GONE)) == (GRANTED,)
    assert doubtful(findings(GRANTED, THERE)) == ()


def test_what_was_never_granted_is_missing_without_a_second_look():
    assert doubtful(findings(a_line(), GONE)) == ()


def test_what_goes_to_people_is_doubted_once():
    asked = replace(GRANTED.product, tier=Tier.V3)
    line = a_line(product=asked)
    again = a_line(product=asked, state=LineState(LineKey("RITM0000001", 1), Phase.REVIEW, since=MONDAY))
    handed = [replace(f, rest=Rest.HAND_BACK) for f in findings(line, GONE)]
    known = [replace(f, rest=Rest.HAND_BACK) for f in findings(again, GONE)]

    assert doubtful(handed) == (line,)
    assert doubtful(known) == ()


def test_two_looks_that_agree_are_believed():
    _, finding = after(GONE, GONE)

    assert finding == findings(GRANTED, GONE)[0]


def test_good_news_of_the_second_look_is_believed():
    _, finding = after(GONE, THERE)

    assert finding.rest is Rest.PROVEN


def test_two_looks_with_different_bad_news_say_nothing():
    both, finding = after(GONE, PENDING)

    assert isinstance(both.users[ADA], Unread)
    assert finding.rest is Rest.HOLD
    assert "two reads say different things" in finding.sentence
