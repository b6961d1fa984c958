"""What is done about an access that was there once: nothing, unless a site says otherwise; and never for ever."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from desired_state.model import Given, GivenKind, GroupId, LineKey, Path, Product
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    ActorKind,
    Confidence,
    DriftKind,
    Ending,
    Finding,
    Line,
    LineState,
    Loss,
    Observed,
    Rest,
    Unread,
)
from reconciler.loop.aftermath import duplicated, needs_second_look, to_ask
from reconciler.loop.bounds import Bounds
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import plan
from reconciler.model import Assignment, AuditEvent, AuditTrail, PlanState, Verdict
from tests.make import (
    ADA,
    DAY,
    E3,
    HOUR,
    MONDAY,
    SWAY,
    VISIO,
    VISIO_WEB,
    a_line,
    a_product,
    a_user,
    details_of,
    seen,
)

KEY, GROUP, BOT = LineKey("RITM0000001", 1), GroupId("g"), "bot"
GRANTED = LineState(KEY, Phase.GRANTED, since=MONDAY - 9 * DAY, granted_at=MONDAY - 9 * DAY)
GONE = seen(a_user())
WORKS = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})


def lost(product: Product | None = None, *, state: LineState = GRANTED, by_us: bool = True, **more) -> Line:
    return replace(a_line(product=product, state=state, **more), is_by_us=by_us)


def found(line: Line, observed: Observed = GONE) -> Finding:
    (finding,) = diff([line], observed, at=MONDAY, windows=Windows())
    return finding


def ended(line: Line, observed: Observed = GONE, mode: str = "enforce") -> Ending:
    gates = gate(
        plan([found(line, observed)], observed, Bounds()),
        Rules(),
        policy=Policy(mode=mode),
        watch=Watch(MONDAY),
        at=MONDAY,
    )
    return end(gates.gated[0], found(line, observed), (), at=MONDAY, retry_window=DAY, chance=0.5)


def told(*events: AuditEvent, observed: Observed = GONE) -> Observed:
    return replace(observed, audits={ADA: AuditTrail(events)}, our_app="us")


def removal(**more) -> AuditEvent:
    row = f"[SkuName=VISIO, SkuId={VISIO}, DisabledPlans=[]]"
    base = AuditEvent("1", MONDAY - HOUR, "Change user license", result="success", user_id="tom", user_name="Tom Weber")
    return replace(base, changes=(("AssignedLicense", json.dumps([row]), "[]"),), **more)


BY_TOM = told(removal())
BY_BOT = told(removal(user_id="", user_name="", app_id=BOT, app_name="Leaver Bot"))
LIKELY_BOT = told(replace(removal(user_id="", user_name="", app_id=BOT, app_name="Leaver Bot"), changes=()))


# --- what is gone -------------------------------------------------------------------------------------------------


def test_a_licence_that_is_gone_was_removed():
    finding = found(lost())

    assert finding.aftermath is not None
    assert (finding.aftermath.loss, finding.cause, finding.verdict) == (
        Loss.REMOVED,
        Cause.REMOVED_LATER,
        Verdict.FALSE,
    )


def test_a_service_that_was_switched_off_was_altered():
    off = seen(a_user(holds={VISIO: [VISIO_WEB]}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.DISABLED}})})

    finding = found(lost(), off)

    assert finding.aftermath is not None and finding.aftermath.loss is Loss.ALTERED
    assert "switched off" in finding.sentence


def test_a_licence_that_came_since_has_replaced_it_and_an_older_one_has_not():
    late, early = (Assignment(E3, None, frozenset(), "Active", updated_at=MONDAY - n * DAY) for n in (1, 30))
    plans = {ADA: details_of({E3: {SWAY: PlanState.SUCCESS}})}

    new = found(lost(), seen(a_user(skus=frozenset({E3}), assignments=(late,)), details=plans))
    old = found(lost(), seen(a_user(skus=frozenset({E3}), assignments=(early,)), details=plans))

    assert new.aftermath is not None and new.aftermath.loss is Loss.REPLACED
    assert E3 in new.sentence
    assert old.aftermath is not None and old.aftermath.loss is Loss.REMOVED


def test_who_is_not_in_the_group_any_more_has_left_it_and_an_unread_membership_says_nothing():
    product = a_product(path=Path.GROUP, group=GROUP)

    left = found(lost(product), replace(GONE, members={(GROUP, ADA): False}))
    unread = found(lost(product), replace(GONE, members={(GROUP, ADA): Unread("time limit")}))

    assert left.aftermath is not None and left.aftermath.loss is Loss.LEFT_GROUP
    assert unread.aftermath is not None and unread.aftermath.loss is Loss.REMOVED


def test_a_group_that_we_joined_for_the_line_is_the_one_that_was_left():
    state = replace(GRANTED, given=(Given(GivenKind.MEMBER, MONDAY - 9 * DAY, group=GROUP),))

    left = found(lost(state=state), replace(GONE, members={(GROUP, ADA): False}))

    assert left.aftermath is not None and left.aftermath.loss is Loss.LEFT_GROUP


@pytest.mark.parametrize("on_drift", ["ask", "adopt", "revert"])
def test_an_error_of_microsofts_is_nobodys_doing_and_people_are_asked(on_drift):
    broken = Assignment(VISIO, None, frozenset(), "Error", "CountViolation")
    product = a_product(on_drift=on_drift)

    error = found(lost(product), replace(BY_TOM, users={ADA: a_user(assignments=(broken,))}))
    plan_error = found(
        lost(product),
        seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.ERROR}})}),
    )

    for finding in (error, plan_error):
        assert finding.rest in (Rest.HOLD, Rest.WAIT)
        assert finding.drift is None
    assert error.aftermath is not None and (error.aftermath.loss, error.aftermath.by) == (Loss.ERROR, None)
    assert "CountViolation" in error.sentence


def test_what_is_being_set_up_again_is_no_loss_and_not_proven_either():
    row = Assignment(VISIO, None, frozenset(), "Active", updated_at=MONDAY - HOUR)
    pending = seen(
        a_user(skus=frozenset({VISIO}), assignments=(row,)),
        details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.PENDING_INPUT}})},
    )

    finding, ending = found(lost(), pending), ended(lost(), pending)

    assert (finding.aftermath, finding.cause) == (None, Cause.PROVISIONING_PENDING)
    assert (ending.state.phase, ending.state.reversals) == (Phase.DRIFTED, 0)


def test_a_sku_that_comes_directly_and_by_a_group_is_duplicated_and_no_drift():
    rows = tuple(Assignment(VISIO, group, frozenset(), "Active") for group in (None, GROUP))
    user = a_user(skus=frozenset({VISIO}), assignments=rows)

    assert duplicated(user) == {VISIO}
    assert duplicated(a_user(holds={VISIO: ()})) == set()
    finding = found(lost(), replace(WORKS, users={ADA: user}))
    assert (finding.rest, finding.aftermath) == (Rest.PROVEN, None)


# --- who, and the answer -------------------------------------------------------------------------------------------


def test_by_default_nothing_is_written_and_the_sentence_names_who_did_it():
    ending = ended(lost(), BY_TOM)

    assert (ending.state.phase, ending.state.cause) == (Phase.DRIFTED, "removed_later")
    assert ending.gated.proposal.actions == ()
    assert "Tom Weber" in ending.state.note and "certain" in ending.state.note


def test_an_adopted_removal_ends_the_line_and_a_reverted_one_is_put_back():
    adopted, reverted = lost(a_product(on_drift="adopt")), lost(a_product(on_drift="revert"))

    assert (ended(adopted, BY_TOM).state.phase, ended(adopted, BY_TOM).state.cause) == (
        Phase.CANCELLED,
        "removed_later",
    )
    finding = found(reverted, BY_TOM)
    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.REMOVED_LATER)
    assert finding.drift is not None and finding.drift.kind is DriftKind.MISSING


BY_ACTOR = (("app", "revert"), ("person", "adopt"))


@pytest.mark.parametrize(
    ("observed", "rest"),
    [
        (BY_TOM, Rest.CANCEL),
        (BY_BOT, Rest.ACT),
        (told(removal(user_id="", user_name="", app_id="us", app_name="x")), Rest.HOLD),  # not named: the product's own
        (LIKELY_BOT, Rest.HOLD),  # not certain: the most careful of all answers
        (told(), Rest.HOLD),
        (GONE, Rest.HOLD),
        (replace(GONE, audits={ADA: Unread("forbidden")}), Rest.HOLD),
    ],
)
def test_an_answer_by_actor_counts_only_for_a_certain_one(observed, rest):
    assert found(lost(a_product(on_drift_by=BY_ACTOR)), observed).rest is rest


def test_what_no_plan_of_ours_can_put_back_is_asked_about():
    inherited = Assignment(VISIO, GROUP, frozenset({VISIO_WEB}), "Active")
    off = seen(
        a_user(skus=frozenset({VISIO}), assignments=(inherited,)),
        details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.DISABLED}})},
    )

    assert found(lost(a_product(on_drift="revert")), off).rest is Rest.HOLD


def test_a_plan_switched_off_is_switched_on_again_where_the_site_reverts():
    off = seen(a_user(holds={VISIO: [VISIO_WEB]}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.DISABLED}})})

    finding = found(lost(a_product(on_drift="revert")), off)

    assert finding.drift is not None and finding.drift.kind is DriftKind.PLAN_OFF


# --- fighting -------------------------------------------------------------------------------------------------------


def test_the_second_reversal_of_what_we_gave_calls_a_person_instead_of_writing():
    product = a_product(on_drift="revert")

    first, second = lost(product), lost(product, state=replace(GRANTED, reversals=1))

    assert found(first).rest is Rest.ACT
    assert found(second).rest is Rest.REVIEW
    ending = ended(second)
    assert (ending.state.phase, ending.state.reversals) == (Phase.REVIEW, 2)
    assert ending.gated.proposal.actions == ()


def test_only_what_we_gave_can_be_undone_and_a_loss_counts_once():
    assert ended(lost()).state.reversals == 1
    assert ended(lost(by_us=False)).state.reversals == 0
    assert ended(replace(lost(), state=ended(lost()).state)).state.reversals == 1


def test_a_person_in_review_is_left_alone_until_the_access_is_back():
    state = replace(GRANTED, phase=Phase.REVIEW, reversals=2, note="A person has to decide.", cause="removed_later")
    line = lost(a_product(on_drift="revert"), state=state)

    assert (ended(line).state.phase, ended(line).state.note) == (Phase.REVIEW, "A person has to decide.")
    assert to_ask([found(line)], MONDAY) == {}
    assert ended(line, WORKS).state.phase is Phase.GRANTED


# --- the next cycles --------------------------------------------------------------------------------------------------


def test_what_was_found_out_stands_and_the_log_is_not_read_again():
    drifted = ended(lost(), BY_TOM).state

    again = replace(lost(), state=drifted)

    assert to_ask([found(again)], MONDAY + HOUR) == {}
    assert ended(again).state == drifted


def test_the_log_is_asked_from_the_last_good_instant_about_what_is_newly_lost_only():
    broken = Assignment(VISIO, None, frozenset(), "Error", "CountViolation")

    assert to_ask([found(lost())], MONDAY) == {ADA: MONDAY - 9 * DAY}
    assert to_ask([found(lost(), WORKS)], MONDAY) == {}
    assert to_ask([found(lost(), seen(a_user(assignments=(broken,))))], MONDAY) == {}
    assert to_ask([found(a_line())], MONDAY) == {}


def test_a_log_that_names_nobody_yet_is_asked_again_a_few_times_and_then_left():
    state, asked = ended(lost(), told()).state, []
    while state.next_at is not None:
        at = state.next_at
        asked.append(at - MONDAY)
        line = replace(lost(), state=state)
        (finding,) = diff([line], told(), at=at, windows=Windows())
        assert to_ask([finding], at) == {ADA: MONDAY - 9 * DAY}
        gates = gate(plan([finding], GONE, Bounds()), Rules(), policy=Policy(mode="enforce"), watch=Watch(at), at=at)
        state = end(gates.gated[0], finding, (), at=at, retry_window=DAY, chance=0.5).state

    assert [a.total_seconds() / 60 for a in asked] == [15, 60, 360, 1440]
    assert to_ask([found(replace(lost(), state=state))], MONDAY + 30 * DAY) == {}


def test_a_name_that_comes_later_is_added():
    drifted = ended(lost(), told()).state

    later = ended(replace(lost(), state=drifted), BY_TOM)

    assert "unknown" in drifted.note and "Tom Weber" in later.state.note
    assert later.state.next_at is None
    assert later.state.reversals == drifted.reversals


def test_a_loss_that_becomes_another_one_is_told_anew():
    drifted = ended(lost(), BY_TOM).state
    off = seen(a_user(holds={VISIO: [VISIO_WEB]}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.DISABLED}})})

    finding = found(replace(lost(), state=drifted), off)

    assert "switched off" in finding.sentence and "Tom" not in finding.sentence
    assert to_ask([finding], MONDAY) != {}


def test_what_comes_back_is_granted_again_and_its_note_is_empty():
    drifted = ended(lost(), BY_TOM).state

    back = ended(replace(lost(), state=drifted), WORKS).state

    assert (back.phase, back.cause, back.note, back.next_at) == (Phase.GRANTED, None, "", None)


@pytest.mark.parametrize("mode", ["observe", "suggest"])
def test_where_nothing_may_be_written_a_reverted_loss_is_drift_with_the_reason_and_no_growing_note(mode):
    line = lost(a_product(on_drift="revert"))

    first = ended(line, BY_TOM, mode).state
    second = ended(replace(line, state=first), BY_TOM, mode).state

    assert first.phase is Phase.DRIFTED
    assert "Tom Weber" in first.note and f"mode {mode}" in first.note
    assert second.note == first.note


def test_a_loss_that_could_not_be_put_back_asks_the_log_again_so_that_its_actor_still_counts():
    line = lost(a_product(on_drift_by=BY_ACTOR))
    first = ended(line, BY_BOT, "observe").state

    (again,) = [found(replace(line, state=first), BY_BOT)]

    assert to_ask([found(replace(line, state=first))], MONDAY) == {ADA: MONDAY - 9 * DAY}
    assert again.rest is Rest.ACT


@pytest.mark.parametrize("phase", [Phase.CONVERGING, Phase.VERIFYING, Phase.WAITING_FOR_SEAT])
def test_what_is_being_put_back_is_no_second_loss(phase):
    state = replace(GRANTED, phase=phase, attempts=1, reversals=1)

    finding = found(lost(state=state))

    assert (finding.rest, finding.aftermath) == (Rest.ACT, None)
    assert finding.cause is Cause.NEVER_ASSIGNED


def test_bad_news_about_a_grant_is_looked_at_twice_and_old_news_is_not():
    drifted = ended(lost()).state

    assert needs_second_look(found(lost()))
    assert not needs_second_look(found(lost(), WORKS))
    assert not needs_second_look(found(replace(lost(), state=drifted)))
    assert not needs_second_look(found(a_line()))


def test_what_could_not_be_read_is_no_loss():
    for observed in (
        replace(GONE, users={ADA: Unread("time limit")}),
        replace(GONE, details={ADA: Unread("time limit")}),
        seen(a_user(assignments=None)),
        seen(a_user(skus=None)),
        seen(a_user(skus=frozenset({VISIO}))),  # the two lists disagree
    ):
        ending = ended(lost(a_product(on_drift="adopt")), observed)
        assert ending.state.phase is Phase.GRANTED
        assert ending.finding.aftermath is None


def test_an_actor_is_kept_with_its_kind_and_confidence():
    by = found(lost(), BY_BOT).aftermath

    assert by is not None and by.by is not None
    assert (by.by.kind, by.by.confidence, by.by.name) == (ActorKind.APP, Confidence.CERTAIN, "Leaver Bot")
