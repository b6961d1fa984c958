"""What a ticket is told: once, politely, with facts that are ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import LineKey, Says, Task
from desired_state.rules import Rules
from reconciler.answers import ITEM, Answer, Deed, Manners, Names, answers, signature, told
from reconciler.causes import UNSEEN, Cause
from reconciler.lifecycle import Phase
from reconciler.line import Ending, Line, LineState, Observed, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import (
    AnswerKind,
    Outcome,
    PlanState,
    Result,
)
from tests.make import ADA, DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_ticket, a_user, details_of, seen

K = AnswerKind
FULL = Manners(level="full", may_reopen=True, follow_up_group="desk", closes="task", our_groups=frozenset({"desk"}))
NOTHING = seen(a_user())
PROVEN = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})


def ending(line: Line, before: Observed, after: Observed | None = None, *, applied: bool = False, at=MONDAY) -> Ending:
    findings = diff([line], before, at=at, windows=Windows())
    proposed = plan(findings, before, Bounds())
    gates = gate(proposed, Rules(), policy=Policy(mode="enforce"), watch=Watch(at), at=at)
    last = diff([line], after or before, at=at, windows=Windows())[0]
    outcomes = tuple(Outcome(a, Result.APPLIED, "", "req-42") for a in proposed.actions) if applied else ()
    return end(gates.gated[0], last, outcomes, at=at, retry_window=DAY, chance=0.5)


def deeds_of(*endings: Ending) -> dict[LineKey, tuple[Deed, ...]]:
    """What the audit log holds of the outcomes."""
    return {
        e.state.key: tuple(
            Deed(
                o.action.kind.value,
                o.action.before,
                o.action.after,
                {Result.APPLIED: "accepted"}.get(o.result, "failed"),
                MONDAY,
                n,
                o.why,
                o.request_id,
            )
            for n, o in enumerate(e.outcomes, 1)
        )
        for e in endings
    }


def give(*endings: Ending, manners: Manners = FULL, deeds: Mapping[LineKey, tuple[Deed, ...]] | None = None):
    ticket = endings[0].finding.line.ticket
    done = deeds_of(*endings) if deeds is None else deeds
    return answers(ticket, endings, manners, Names(), tenant="contoso", at=MONDAY, deeds=done)


def kinds(given: tuple[Answer, ...]) -> list[AnswerKind]:
    return [a.kind for a in given]


def test_a_closed_ticket_that_was_true_all_along_is_told_nothing():
    assert give(ending(a_line(), PROVEN)) == ()


def test_a_correction_is_told_in_one_note_with_proof_and_request_id():
    given = give(ending(a_line(), NOTHING, PROVEN, applied=True))

    assert kinds(given) == [K.NOTE]
    assert "granted, and every service plan" in given[0].text
    assert "req-42" in given[0].text
    assert str(VISIO_WEB) in given[0].text


def test_an_approved_ticket_that_is_granted_gets_a_note_and_its_own_task_closed():
    task = Task("task-1", "SCTASK1", "1", True, assignment_group="desk")
    line = replace(a_line(says=Says.APPROVED), ticket=a_ticket(tasks=(task,)))

    given = give(ending(line, NOTHING, PROVEN, applied=True))

    assert kinds(given) == [K.NOTE, K.CLOSED]
    assert given[1].target == "task-1"


def test_a_colleagues_task_and_another_queues_task_are_not_closed():
    theirs = Task("t1", "SCTASK1", "1", True, assignment_group="desk", assigned_to="grace")
    foreign = Task("t2", "SCTASK2", "1", True, assignment_group="other")
    line = replace(a_line(says=Says.APPROVED), ticket=a_ticket(tasks=(theirs, foreign)))

    assert kinds(give(ending(line, NOTHING, PROVEN, applied=True))) == [K.NOTE]


def test_a_closed_ticket_that_cannot_be_fixed_is_handed_back():
    late = MONDAY + timedelta(days=5)

    given = give(ending(a_line(user=None), seen(), at=late))

    assert kinds(given) == [K.NOTE, K.TASK, K.REOPENED, K.REOPENED]  # the ticket, then the request above it
    assert "NO access" in given[0].text
    assert "identity team" in given[1].title


def test_each_level_of_answers_goes_no_further_than_it_says():
    handed_back = ending(a_line(user=None), seen(), at=MONDAY + timedelta(days=5))
    by_level = {
        level: kinds(give(handed_back, manners=replace(FULL, level=level))) for level in ("silent", "note", "task")
    }

    assert by_level == {"silent": [], "note": [K.NOTE], "task": [K.NOTE, K.TASK]}


def test_a_leaver_is_told_in_a_note_and_nothing_is_reopened():
    assert kinds(give(ending(a_line(), seen(a_user(is_enabled=False))))) == [K.NOTE]


def test_the_same_news_has_the_same_key_and_other_news_another():
    first = give(ending(a_line(), NOTHING, PROVEN, applied=True))
    again = give(ending(a_line(), NOTHING, PROVEN, applied=True))
    other = give(ending(a_line("RITM0000002"), NOTHING, PROVEN, applied=True))

    assert first[0].key == again[0].key
    assert first[0].key != other[0].key


def test_what_the_ticket_was_told_already_is_no_news():
    line = a_line(state=LineState(LineKey("RITM0000001", 1), Phase.CONVERGING, attempts=1, told="1/granted/-"))

    assert give(ending(line, NOTHING, PROVEN, applied=True)) == ()


def test_a_product_may_be_answered_less_than_its_tenant():
    quiet = replace(FULL, levels={a_product().key: "silent"})

    assert give(ending(a_line(), NOTHING, PROVEN, applied=True), manners=quiet) == ()


def test_an_item_that_no_flow_owns_is_closed_itself():
    line = replace(a_line(says=Says.APPROVED), ticket=a_ticket())

    given = give(ending(line, NOTHING, PROVEN, applied=True), manners=replace(FULL, closes="item"))

    assert [(a.kind, a.target, a.title) for a in given][1] == (K.CLOSED, a_ticket().sys_id, ITEM)


def test_where_we_only_look_a_false_ticket_is_given_to_people_and_left_closed():
    findings = diff([a_line()], NOTHING, at=MONDAY, windows=Windows())
    gates = gate(
        plan(findings, NOTHING, Bounds()), Rules(), policy=Policy(mode="observe"), watch=Watch(MONDAY), at=MONDAY
    )
    looked = end(gates.gated[0], findings[0], (), at=MONDAY, retry_window=DAY, chance=0.5)

    given = give(looked)

    assert kinds(given) == [K.NOTE, K.TASK]
    assert "licence admin" in given[1].title


def test_what_an_earlier_cycle_sent_is_told_when_its_effect_is_seen():
    later = ending(a_line(), PROVEN)
    sent = Deed("set_usage_location", {}, {"usage_location": "DE"}, "accepted", MONDAY - DAY, 7, request_id="req-7")

    given = give(later, deeds={later.state.key: (sent,)})

    assert "usage location set to DE" in given[0].text
    assert "req-7" in given[0].text


def test_a_ticket_of_several_lines_waits_a_day_for_an_account_that_cannot_be_read():
    granted = ending(a_line(says=Says.APPROVED), NOTHING, PROVEN, applied=True)
    unread = ending(a_line("RITM0000002"), replace(NOTHING, users={ADA: Unread("502")}))

    assert give(granted, unread) == ()

    patient = replace(unread, state=replace(unread.state, since=MONDAY - DAY))
    assert kinds(give(granted, patient)) == [K.NOTE]


PHONE_ADDED = {"licence": {"sku": "Teams Phone", "sku_id": str(VISIO), "disabled_plans": []}}


def lost(words: str = "", **more) -> Deed:
    """A licence was sent, and no trustworthy reply came."""
    return Deed("assign_license", {"licence": None}, PHONE_ADDED, "unknown", MONDAY, 1, words, "req-7", **more)


def test_a_change_that_had_no_effect_is_not_told_as_done_and_the_systems_own_words_are():
    failing = ending(a_line(user=None), NOTHING, at=MONDAY + timedelta(days=5))
    key = failing.state.key

    (note, *_) = give(failing, deeds={key: (lost("status 500: it broke"), lost("status 500: it broke again"))})

    assert "What was tried without effect: Teams Phone assigned (2 times" in note.text
    assert "What was done" not in note.text
    assert "status 500: it broke again (request req-7)" in note.text


def test_a_usage_location_that_others_changed_since_is_not_told_to_stay():
    set_to_poland = Deed("set_usage_location", {}, {"usage_location": "PL"}, "accepted", MONDAY, 1)
    gone_to_review = ending(a_line(), PROVEN)
    gone_to_review = replace(
        gone_to_review, state=replace(gone_to_review.state, phase=Phase.REVIEW, cause="usage_location_refused")
    )

    def told(location: str) -> str:
        person = replace(gone_to_review.finding.user, usage_location=location)
        last = replace(gone_to_review, finding=replace(gone_to_review.finding, user=person))
        return give(last, deeds={last.state.key: (set_to_poland,)})[0].text

    assert "What stays: the usage location PL" in told("PL")
    assert "What stays" not in told("")


def test_what_was_wrong_is_what_the_first_cycle_found_however_many_it_took():
    line = a_line(state=LineState(LineKey("RITM0000001", 1), Phase.VERIFYING, cause="group_pending", attempts=1))
    granted = ending(line, PROVEN)
    joined = replace(lost(found="not_in_group"), kind="add_group_member", result="accepted")

    (note,) = give(granted, deeds={granted.state.key: (joined,)})

    assert "What was wrong: The account was not in the group that carries the licence." in note.text


def test_only_a_ticket_that_was_closed_is_to_be_closed_again():
    late = MONDAY + timedelta(days=5)

    (closed, *_) = give(ending(a_line(user=None), seen(), at=late))
    (open_, *_) = give(ending(a_line(user=None, says=Says.APPROVED), seen(), at=late))

    assert "then close the ticket again." in closed.text
    assert "then close the ticket." in open_.text


def test_who_waits_for_a_seat_needs_a_seat_whatever_keeps_them_from_it():
    waiting = ending(a_line(), NOTHING)
    waiting = replace(waiting, state=replace(waiting.state, phase=Phase.WAITING_FOR_SEAT, cause="group_error"))

    (note,) = give(waiting)

    assert "Whose move: licence admin. Please buy a licence or free one that is not used" in note.text


def test_a_follow_up_task_whose_reason_is_gone_is_closed_unless_somebody_has_taken_it():
    free = Task("t1", "SCTASK1", "1", True, assignment_group="identity", correlation_id="m365r:4f")
    taken = Task("t2", "SCTASK2", "1", True, "identity", assigned_to="grace", correlation_id="m365r:5f")
    foreign = Task("t3", "SCTASK3", "1", True, assignment_group="identity")
    state = LineState(LineKey("RITM0000001", 1), Phase.REVIEW, cause="user_missing", told="1/review/user_missing")
    line = replace(a_line(state=state), ticket=a_ticket(tasks=(free, taken, foreign)))

    given = give(ending(line, PROVEN))
    careful = give(ending(line, PROVEN), manners=replace(FULL, level="task"))

    assert [(a.kind, a.target) for a in given if a.kind is not K.NOTE] == [(K.CLOSED, "t1")]
    assert kinds(careful) == [K.NOTE]


def test_a_follow_up_task_stays_open_while_another_line_of_the_ticket_still_needs_it():
    task = Task("t1", "SCTASK1", "1", True, assignment_group="identity", correlation_id="m365r:4f")
    ticket = a_ticket(tasks=(task,))
    state = LineState(LineKey("RITM0000001", 1), Phase.REVIEW, cause="user_missing", told="1/review/user_missing")
    works = ending(replace(a_line(state=state), ticket=ticket), PROVEN)
    lost = ending(replace(a_line(user=None), ticket=ticket), NOTHING, at=MONDAY + timedelta(days=5))
    other = replace(lost, state=replace(lost.state, key=LineKey("RITM0000001", 2)))

    assert K.CLOSED not in kinds(give(works, other, deeds={}))


EVERY_CAUSE = [None, *Cause]


@pytest.mark.parametrize("says", [Says.APPROVED, Says.FULFILLED])
@pytest.mark.parametrize("phase", Phase)
def test_what_is_remembered_as_told_was_told_or_is_a_grant_that_nobody_has_to_be_told(phase, says):
    for cause in EVERY_CAUSE:
        now = stands(phase, cause, told="0/held/no_seat", says=says)
        later = MONDAY + timedelta(days=2)

        given = answers(now.finding.line.ticket, [now], FULL, Names(), tenant="contoso", at=later)
        (kept,) = told([now], later).values()

        is_remembered = kept == signature(now.state)
        assert not given or is_remembered, (phase, cause)
        assert given or not is_remembered or phase is Phase.GRANTED, (phase, cause)
        again = stands(phase, cause, told=kept, says=says)
        assert answers(now.finding.line.ticket, [again], FULL, Names(), tenant="contoso", at=later) == ()


@pytest.mark.parametrize("cause", sorted(UNSEEN))
def test_a_grant_that_nobody_looked_at_is_neither_told_nor_remembered(cause):
    unseen = stands(Phase.GRANTED, cause, told="1/granted/-", says=Says.APPROVED)

    assert give(unseen, deeds={}) == ()
    assert told([unseen], MONDAY) == {unseen.state.key: "1/granted/-"}


def stands(phase: Phase, cause: Cause | None, *, told: str, says: Says) -> Ending:
    """A line of which the ticket was told something, now in this phase."""
    before = LineState(LineKey("RITM0000001", 1), Phase.HELD, since=MONDAY, told=told)
    found = ending(a_line(state=before, says=says), PROVEN)
    return replace(found, state=replace(found.state, phase=phase, cause=cause.value if cause is not None else None))
