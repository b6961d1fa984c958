"""What a ticket is told: once, politely, with facts that are ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from desired_state.model import LineKey, Says, Task
from desired_state.rules import Rules
from reconciler.answers import ITEM, Answer, Deed, Manners, Names, answers
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
