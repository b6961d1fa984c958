"""Plans that came to a licence after we gave it: which are switched off, which are left, and who waits for room."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import Given, GivenKind, GroupId, LineKey, PlanId, Product
from desired_state.plan_rules import Enforcement, Need, PlanRules
from desired_state.rules import Rules
from reconciler.allowance import Allowance
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Drift, DriftKind, Finding, Lane, Line, LineState, Observed, Other, Rest
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end, started
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards.budgets import Limits, ProductLimits, Used
from reconciler.loop.guards.freezes import Stop
from reconciler.loop.guards.judge import FREEZE
from reconciler.loop.guards.watch import Watch
from reconciler.loop.new_plans import told
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Assignment, Grant, Outcome, PlanState, Result, Verdict
from reconciler.store.sold import Sold, seen
from tests.make import (
    ADA,
    DAY,
    HOUR,
    MONDAY,
    SWAY,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
)
from tests.make import seen as shown

GRANTED = MONDAY - 20 * DAY
OFF = a_product(new_plans="off")
ALL = (VISIO_WEB, SWAY, YAMMER)
STILL_ON = "New plans from Microsoft, to be switched off in licences that we assigned before, are still on."


def a_grant(*later: PlanId, product: Product = OFF, given: tuple[Given, ...] = (), **more: object) -> Line:
    """Granted by us three weeks ago; `later` are the plans that came since."""
    line = a_line(product=product)
    licence = Given(GivenKind.LICENSE, GRANTED, sku=VISIO)
    true, every = Verdict.TRUE, (licence, *given)
    state = LineState(line.key, Phase.GRANTED, true, true, since=GRANTED, granted_at=GRANTED, given=every)
    came = ((VISIO, frozenset(later)),) if later else ()
    base = replace(line, state=state, is_by_us=True, given=(licence,), granted_at=GRANTED, came_later=came)
    return replace(base, **more)  # type: ignore[arg-type]


def holds(*off: PlanId, by_group: tuple[PlanId, ...] | None = None) -> Observed:
    """Ada has the licence directly with some plans off; `by_group`: a group gives it too, with these off."""
    user = a_user(holds={VISIO: off})
    if by_group is not None:
        inherited = Assignment(VISIO, GroupId("g"), frozenset(by_group), "Active")
        user = replace(user, assignments=(*(user.assignments or ()), inherited))
    states = {p: PlanState.DISABLED if p in off else PlanState.SUCCESS for p in ALL}
    states |= dict.fromkeys(set(off) - set(by_group if by_group is not None else off), PlanState.SUCCESS)
    return shown(user, details={ADA: details_of({VISIO: states})}, skus=[a_sku(plans=ALL)])


def found(line: Line, observed: Observed) -> Finding:
    (finding,) = diff([line], observed, at=MONDAY, windows=Windows())
    return finding


def sent(line: Line, observed: Observed, bounds: Bounds | None = None) -> tuple[Grant, ...]:
    actions = plan([found(line, observed)], observed, bounds or Bounds()).actions
    return tuple(grant for action in actions for grant in action.add)


def gated(line: Line, observed: Observed, *, mode: str = "enforce", watch: Watch | None = None) -> Gates:
    planned = plan([found(line, observed)], observed, Bounds())
    return gate(planned, Rules(), policy=Policy(mode=mode), watch=watch or Watch(MONDAY), at=MONDAY)


# --- what came later ------------------------------------------------------------------------------------------------


def test_a_plan_is_later_than_a_grant_once_a_look_after_the_grant_was_without_it():
    first = seen({}, [a_sku(plans=(VISIO_WEB, SWAY))], MONDAY)
    second = seen(first, [a_sku(plans=ALL)], MONDAY + DAY)

    sold = {**first, **second}[VISIO]
    assert sold.after(MONDAY) == sold.after(MONDAY + HOUR) == {YAMMER}
    assert sold.after(MONDAY + DAY) == frozenset()  # what the licence had when it was given


def test_of_what_was_given_before_anybody_looked_only_later_plans_are_known_to_be_later():
    sold = Sold(MONDAY, {VISIO_WEB: MONDAY, SWAY: MONDAY, YAMMER: MONDAY + DAY})

    assert sold.after(MONDAY - 300 * DAY) == {YAMMER}


def test_a_plan_that_a_list_lacked_for_a_while_is_not_new_when_it_comes_back():
    first = seen({}, [a_sku(plans=ALL)], MONDAY)

    assert seen(first, [a_sku(plans=(VISIO_WEB,))], MONDAY + DAY) == {}
    assert seen(first, [a_sku(plans=ALL)], MONDAY + 2 * DAY) == {}
    assert seen({}, [a_sku(plans=())], MONDAY) == {}


# --- what is switched off -------------------------------------------------------------------------------------------


def test_a_plan_that_came_later_is_switched_off_and_every_other_plan_stays_as_it_was():
    assert sent(a_grant(YAMMER), holds(SWAY)) == (Grant(VISIO, frozenset({SWAY, YAMMER})),)


def test_the_line_is_proven_all_the_while():
    finding = found(a_grant(YAMMER), holds())

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.PROVEN, Verdict.TRUE, None)
    assert finding.drift == Drift(
        DriftKind.NEW_PLANS, needs_location=False, sku=VISIO, disabled_after=frozenset({YAMMER})
    )


@pytest.mark.parametrize(
    "line",
    [
        a_grant(),  # it is not known that anything came later
        a_grant(VISIO_WEB),  # it proves the product
        a_grant(YAMMER, product=a_product(new_plans="off", prerequisite_plans=(YAMMER,))),
        a_grant(YAMMER, others=(Other(LineKey("RITM0000002", 1), a_product("yammer", proof_plans=(YAMMER,))),)),
        a_grant(YAMMER, hold="A person has the task."),
        a_grant(YAMMER, state=LineState(LineKey("RITM0000001", 1), Phase.VERIFYING, since=GRANTED)),
    ],
)
def test_what_is_needed_or_not_certain_is_left(line):
    assert sent(line, holds()) == ()


def test_what_is_off_already_is_converged():
    assert found(a_grant(YAMMER), holds(YAMMER)).drift is None


def test_a_plan_that_a_group_gives_anyway_is_left():
    assert sent(a_grant(YAMMER), holds(by_group=(SWAY,))) == ()
    assert sent(a_grant(YAMMER), holds(by_group=(YAMMER,))) == (Grant(VISIO, frozenset({YAMMER})),)


@pytest.mark.parametrize("how", [Enforcement.HARD, Enforcement.ADVISORY])
def test_a_plan_on_which_another_one_builds_is_left_and_the_rest_goes(how):
    bounds = Bounds(rules=PlanRules((), (Need(VISIO_WEB, (YAMMER,), how),)))

    assert sent(a_grant(YAMMER), holds(), bounds) == ()
    assert sent(a_grant(SWAY, YAMMER), holds(), bounds) == (Grant(VISIO, frozenset({SWAY})),)


def test_new_plans_that_build_on_each_other_go_together():
    bounds = Bounds(rules=PlanRules((), (Need(SWAY, (YAMMER,)),)))

    assert sent(a_grant(SWAY, YAMMER), holds(), bounds) == (Grant(VISIO, frozenset({SWAY, YAMMER})),)


# --- what others do afterwards --------------------------------------------------------------------------------------


def withheld(*, is_seen: bool) -> Given:
    return Given(GivenKind.WITHHELD, GRANTED, sku=VISIO, plans=(YAMMER,), is_seen=is_seen)


def test_what_was_off_and_is_on_again_was_somebody_elses_doing_and_is_left():
    assert sent(a_grant(YAMMER, given=(withheld(is_seen=True),)), holds()) == ()


def test_what_nobody_saw_off_yet_is_sent_again():
    assert sent(a_grant(YAMMER, given=(withheld(is_seen=False),)), holds())


def test_a_product_that_reverts_what_others_change_reverts_this_too_until_it_is_a_fight():
    product = a_product(new_plans="off", on_drift="revert")
    line = a_grant(YAMMER, product=product, given=(withheld(is_seen=True),))
    fought = {(ADA, f"sku {VISIO}"): (f"on without {[YAMMER]}", 2)}

    assert sent(line, holds())
    stopped = gated(line, holds(), watch=Watch(MONDAY, fought=fought))
    assert stopped.gated[0].proposal.actions == ()
    assert [t.guard for t in stopped.trips] == ["fighting controllers"]


def test_a_grant_that_takes_the_licence_back_one_day_takes_no_notice_of_it():
    line = a_grant(given=(withheld(is_seen=True),))

    assert found(line, holds(YAMMER)).there == (Given(GivenKind.LICENSE, GRANTED, sku=VISIO),)


# --- gates ----------------------------------------------------------------------------------------------------------


def freeze() -> Watch:
    return Watch(MONDAY, stops=(Stop(FREEZE, "the freeze", frozenset({Lane.REMOVALS}), "the year ends"),))


def paid(used: int = 0) -> Watch:
    """Five people may lose something in a cycle and in a day, and so many did already."""
    every = {lane: Allowance(50) for lane in Lane} | {Lane.REMOVALS: Allowance(5)}
    who = {Lane.REMOVALS: frozenset(f"somebody {n}" for n in range(used))}
    return Watch(MONDAY, limits=Limits(every, every), used=Used(who))


@pytest.mark.parametrize(
    ("mode", "watch"),
    [
        ("observe", None),
        ("suggest", None),
        ("enforce", freeze()),
        ("enforce", replace(Watch(MONDAY), short="the list of tickets is short")),
        ("enforce", paid(used=3)),
    ],
)
def test_whatever_keeps_it_back_the_line_stands_and_one_sentence_says_why(mode, watch):
    line = a_grant(YAMMER)

    gates = gated(line, holds(), mode=mode, watch=watch)

    (one,) = gates.gated
    assert (one.decision, one.proposal.actions, one.cause) == (Decision.CLEARED, (), None)
    assert told(gates.gated).startswith(f"{STILL_ON} 1 licence: ")
    state = end(one, one.proposal.finding, (), at=MONDAY, retry_window=DAY, chance=0.5).state
    assert state == replace(line.state, user=ADA, tier="V2", product=line.asks_for, person=line.names)


def test_an_old_ticket_does_not_keep_it_back_and_is_not_answered():
    (one,) = gated(a_grant(YAMMER), holds()).gated
    old = gate(
        plan([found(a_grant(YAMMER), holds())], holds(), Bounds()),
        Rules(),
        policy=Policy(mode="enforce", act_max_age=timedelta(seconds=1)),
        watch=Watch(MONDAY),
        at=MONDAY + 100 * DAY,
    ).gated[0]

    assert (one.may_answer, old.may_answer) == (True, False)
    assert old.proposal.actions


def many(count: int) -> tuple[tuple[Line, ...], Observed]:
    one = holds()
    lines, users, details = [], {}, {}
    for n in range(count):
        who = type(ADA)(f"{n:08d}-1111-4111-8111-111111111111")
        line = a_grant(YAMMER)
        key = LineKey(f"RITM{n:07d}", 1)
        declared = replace(line.declared, key=key)
        state = replace(line.state, key=key) if line.state is not None else None
        lines.append(replace(line, declared=declared, state=state, binding=replace(line.binding, user=who)))
        users[who] = replace(one.users[ADA], id=who)  # type: ignore[type-var]
        details[who] = one.details[ADA]
    return tuple(lines), replace(one, users=users, details=details)


def test_a_plan_that_everybody_got_goes_by_half_of_what_may_be_taken_away_and_trips_nothing():
    lines, observed = many(20)

    planned = plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, Bounds())
    gates = gate(planned, Rules(), policy=Policy(mode="enforce"), watch=paid(), at=MONDAY)

    assert len(planned.actions) == 20
    assert sum(1 for g in gates.gated if g.proposal.actions) == 3
    assert gates.trips == ()
    assert told(gates.gated) == (
        f"{STILL_ON} 17 licences: no more than half of what lane removals may change goes to this, and that is used "
        "for now."
    )


def test_a_product_with_a_budget_of_its_own_keeps_to_it():
    lines, observed = many(4)
    own = Limits(per_cycle=paid().limits.per_cycle, per_day=paid().limits.per_day)
    limits = replace(own, products={str(OFF.key): ProductLimits({Lane.REMOVALS: Allowance(1)})})

    planned = plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, Bounds())
    gates = gate(planned, Rules(), policy=Policy(mode="enforce"), watch=Watch(MONDAY, limits=limits), at=MONDAY)

    assert sum(1 for g in gates.gated if g.proposal.actions) == 1


# --- where the line stands ------------------------------------------------------------------------------------------


def test_the_line_is_granted_while_it_is_written_and_remembers_what_may_be_off():
    line = a_grant(YAMMER)
    (one,) = gated(line, holds()).gated

    state = started(one, MONDAY)

    assert line.state is not None
    assert state == replace(line.state, given=(*line.state.given, replace(withheld(is_seen=False), at=MONDAY)))


def outcome(line: Line, result: Result, cause: Cause | None = None) -> tuple[Finding, LineState]:
    (one,) = gated(line, holds()).gated
    (action,) = one.proposal.actions
    last = found(line, holds(YAMMER) if result is Result.APPLIED else holds())
    done = Outcome(action, result, "why", cause=cause.value if cause is not None else None)
    return last, end(one, last, (done,), at=MONDAY, retry_window=DAY, chance=0.5).state


def test_what_was_seen_off_is_remembered_and_nothing_else_moves():
    line = a_grant(YAMMER)

    _, state = outcome(line, Result.APPLIED)

    assert line.state is not None
    kept = (*line.state.given, Given(GivenKind.WITHHELD, MONDAY, sku=VISIO, plans=(YAMMER,)))
    assert (state.phase, state.cause, state.given, state.attempts) == (Phase.GRANTED, None, kept, 0)


@pytest.mark.parametrize(("cause", "wait"), [(Cause.REMOTE_FAILING, HOUR), (Cause.UNKNOWN, DAY)])
def test_a_refusal_is_no_failure_of_the_line_and_is_asked_about_later(cause, wait):
    line = a_grant(YAMMER)

    _, state = outcome(line, Result.FAILED, cause)

    assert line.state is not None
    assert (state.phase, state.cause, state.next_at) == (Phase.GRANTED, None, MONDAY + wait)
    assert state.given == line.state.given
    waits = replace(line, state=state)
    assert sent(waits, holds()) == ()
    (again,) = gated(waits, holds()).gated
    later = end(again, again.proposal.finding, (), at=MONDAY, retry_window=DAY, chance=0.5)
    assert later.state.next_at == state.next_at


def test_a_look_that_shows_no_access_right_after_the_write_takes_no_grant_away():
    line = a_grant(YAMMER)
    (one,) = gated(line, holds()).gated
    done = Outcome(one.proposal.actions[0], Result.APPLIED)
    gone = found(line, holds(VISIO_WEB))

    state = end(one, gone, (done,), at=MONDAY, retry_window=DAY, chance=0.5).state

    assert gone.rest is not Rest.PROVEN
    assert (state.phase, state.verdict) == (Phase.GRANTED, Verdict.TRUE)
