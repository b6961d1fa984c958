"""Who may answer a request for approval, when, and what becomes of it: rules A1 to A14, each refusal by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.approvals.clocks import Calendar, Clocks, Due, due, has_lapsed, reminded, rests, resumes, started
from reconciler.approvals.judge import judge, may_see, opens_next, waits_for
from reconciler.approvals.machine import FINAL, MOVES, OPEN, IllegalMove, move
from reconciler.approvals.routes import (
    Candidate,
    Label,
    Need,
    RouteBook,
    StageSpec,
    escalated,
    lost,
    settle,
    unopened,
)
from reconciler.approvals.values import (
    Approval,
    Assurance,
    Channel,
    Code,
    Delegation,
    Human,
    Refusal,
    State,
    Verdict,
    may_be_same,
    new_id,
    same,
)
from tests.make import DAY, HOUR, MONDAY
from tests.make_approvals import ADA, DIGEST, EVE, LAURA, TID, TOM, a_draft, a_human, a_request, a_stage, an_answer

LATER = MONDAY + HOUR


def refused(approval: Approval, decision, at: datetime = LATER, changers=()) -> Code:
    said = judge(approval, decision, at=at, changers=changers)
    assert isinstance(said, Refusal), said
    assert said.sentence
    return said.code


def accepted(approval: Approval, decision, at: datetime = LATER) -> Approval:
    said = judge(approval, decision, at=at)
    assert isinstance(said, Approval), said
    return said


# --- one human ----------------------------------------------------------------------------------------------------


def test_two_accounts_with_one_employee_number_are_one_human():
    second = Human(TID, "oid-second", "L. Adm", "laura.adm@contoso.example", " N-LAURA ")

    assert same(LAURA, second)
    assert second.one == LAURA.one


def test_accounts_without_an_employee_number_are_compared_as_accounts():
    bare = replace(LAURA, employee_id="")

    assert same(bare, LAURA)
    assert not same(bare, replace(TOM, employee_id=""))
    assert not same(Human(TID, "", upn="a@x.example"), Human(TID, "", upn="b@x.example"))


def test_an_id_is_made_of_128_random_bits_and_nothing_else():
    assert new_id(bytes(16)) == "LR-" + "A" * 26
    assert len({new_id(n.to_bytes(16, "big")) for n in range(100)}) == 100
    with pytest.raises(ValueError, match="16 random bytes"):
        new_id(b"short")


# --- A4: nobody for themselves, nobody twice ----------------------------------------------------------------------


@pytest.mark.parametrize("party", ["requester", "beneficiary"])
@pytest.mark.parametrize(
    "account",
    [LAURA, replace(LAURA, oid="other-account"), Human(TID, "other", upn="LAURA@contoso.example")],
    ids=["the same account", "a second account of the same employee", "an account of the same name"],
)
def test_nobody_approves_what_they_asked_for_or_get(party, account):
    approval = replace(a_request(a_stage("manager", LAURA)), **{party: account})

    assert refused(approval, an_answer(LAURA)) is Code.SELF


def test_who_ordered_it_does_not_approve_it_unless_the_rules_say_so():
    ordered = a_request(a_stage("manager", LAURA), opener=LAURA)
    trusted = replace(ordered, terms=replace(ordered.terms, opener_may_approve=True))

    assert refused(ordered, an_answer(LAURA)) is Code.SELF
    assert accepted(trusted, an_answer(LAURA)).state is State.APPROVED


@pytest.mark.parametrize(
    "opener",
    [
        Human(TID, "", "Somebody", "laura@alias.example"),
        Human(TID, "", " LAURA  Weber", "lw"),
        Human(TID, "", "Laura Weber", ""),
    ],
    ids=["an alias of the address", "the same name in other letters", "a name and nothing else"],
)
def test_whoever_ordered_it_under_an_address_that_is_no_account_does_not_approve_it(opener):
    laura = replace(LAURA, name="Laura Weber", upn="laura@contoso.example")
    approval = a_request(a_stage("manager", laura, TOM), opener=opener)

    assert refused(approval, an_answer(laura)) is Code.SELF
    assert accepted(approval, an_answer(TOM)).state is State.APPROVED


def test_a_namesake_with_an_account_or_a_number_of_their_own_is_somebody_else():
    laura = replace(LAURA, name="Laura Weber", upn="laura@contoso.example")
    numbered = Human(TID, "", "Laura Weber", "laura@alias.example", "n-other")
    known = Human(TID, "oid-other", "Laura Weber", "laura.weber@contoso.example")

    assert [may_be_same(laura, other) for other in (numbered, known)] == [False, False]


def test_an_opener_who_is_trusted_still_does_not_approve_for_themselves():
    trusted = a_request(a_stage("manager", LAURA), opener=LAURA, beneficiary=LAURA)
    trusted = replace(trusted, terms=replace(trusted.terms, opener_may_approve=True))

    assert refused(trusted, an_answer(LAURA)) is Code.SELF


@pytest.mark.parametrize("name", [LAURA.upn, LAURA.oid])
def test_who_changed_the_configuration_a_short_time_ago_does_not_approve_under_it(name):
    assert refused(a_request(), an_answer(LAURA), changers={name}) is Code.SELF


def test_one_human_counts_once_over_all_stages_and_accounts():
    second = replace(LAURA, oid="second")
    approval = accepted(a_request(a_stage("manager", LAURA), a_stage("owner", second, TOM)), an_answer(LAURA))

    assert refused(approval, an_answer(second, stage="owner")) is Code.ALREADY
    assert accepted(approval, an_answer(TOM, stage="owner")).state is State.APPROVED


def test_a_quorum_is_of_different_humans():
    approval = a_request(a_stage("manager", LAURA, replace(LAURA, oid="second"), TOM, quorum=2))
    once = accepted(approval, an_answer(LAURA))

    assert once.state is State.PENDING
    assert refused(once, an_answer(replace(LAURA, oid="second"))) is Code.ALREADY
    assert accepted(once, an_answer(TOM)).state is State.APPROVED


# --- who is an approver at all ------------------------------------------------------------------------------------


def test_a_stranger_learns_nothing_whatever_the_request_looks_like():
    closed = accepted(a_request(), an_answer(LAURA, Verdict.REJECT))

    sentences = {
        judge(approval, an_answer(EVE, **changes), at=at).sentence
        for approval in (a_request(), closed)
        for changes in ({}, {"digest": "0" * 64}, {"stage": "nowhere"})
        for at in (LATER, MONDAY + 9 * DAY)
    }

    assert sentences == {"There is no such request for you."}
    assert not may_see(a_request(), EVE, LATER)


def test_an_approver_of_a_stage_that_has_not_opened_has_nothing_to_answer():
    approval = a_request(a_stage("manager", LAURA), unopened(StageSpec("owner")))

    assert refused(approval, an_answer(TOM, stage="owner")) is Code.NOT_APPROVER


def test_an_approver_who_lost_the_role_is_told_so():
    approval = lost(a_request(a_stage("manager", LAURA, TOM)), {LAURA.oid: False, TOM.oid: True})

    assert refused(approval, an_answer(LAURA)) is Code.LOST_ROLE
    assert accepted(approval, an_answer(TOM)).state is State.APPROVED


def test_a_sign_in_without_an_employee_number_is_known_by_the_account():
    approval = accepted(a_request(), an_answer(replace(LAURA, employee_id="")))

    assert approval.decisions[0].actor.employee_id == LAURA.employee_id


# --- A5, A6, A8: final, with a reason, of one digest --------------------------------------------------------------


def test_any_no_is_final():
    approval = accepted(a_request(a_stage("manager", LAURA, TOM, quorum=2)), an_answer(LAURA, Verdict.REJECT))

    assert (approval.state, approval.reason) == (State.REJECTED, "Not this year, please.")
    assert refused(approval, an_answer(TOM)) is Code.CLOSED


@pytest.mark.parametrize("comment", ["", "   ", "too short", " 123456789 "])
def test_a_no_needs_a_reason_of_ten_characters(comment):
    assert refused(a_request(), an_answer(LAURA, Verdict.REJECT, comment=comment)) is Code.COMMENT


def test_a_yes_needs_a_reason_where_the_stage_says_so():
    approval = a_request(a_stage(needs_comment=True))

    assert refused(approval, an_answer(LAURA)) is Code.COMMENT
    assert accepted(approval, an_answer(LAURA, comment="It is in the plan.")).state is State.APPROVED


def test_what_was_shown_has_to_be_what_would_be_done():
    assert refused(a_request(), an_answer(LAURA, digest="0" * 64)) is Code.STALE


def test_an_answer_to_a_stage_that_was_decided_comes_too_late():
    approval = accepted(a_request(a_stage("manager", LAURA, TOM), a_stage("owner", EVE)), an_answer(LAURA))

    assert refused(approval, an_answer(TOM)) is Code.CLOSED


def test_stages_are_passed_in_order_and_the_next_one_is_left_to_be_opened():
    approval = accepted(a_request(a_stage("manager", LAURA), unopened(StageSpec("owner"))), an_answer(LAURA))

    assert (approval.at, approval.state) == (1, State.PENDING)
    assert opens_next(approval)
    assert not waits_for(approval, LAURA, LATER)


def test_a_channel_or_an_assurance_that_the_stage_does_not_take_is_refused():
    page_only = a_request(a_stage(channels=(Channel.PAGE,)))
    strong = a_request(a_stage(channels=(Channel.PAGE, Channel.SERVICENOW), assurance=Assurance.STRONG))
    native = {"channel": Channel.SERVICENOW, "assurance": Assurance.MEDIUM}

    assert refused(page_only, an_answer(LAURA, **native)) is Code.CHANNEL
    assert refused(strong, an_answer(LAURA, **native)) is Code.CHANNEL
    assert accepted(strong, an_answer(LAURA)).state is State.APPROVED


def test_an_answer_is_kept_with_the_instant_at_which_it_was_judged():
    (decision,) = accepted(a_request(), an_answer(decided_at=MONDAY - DAY)).decisions

    assert decision.decided_at == LATER


# --- A7: clocks ---------------------------------------------------------------------------------------------------


def test_a_stage_reminds_escalates_and_expires_in_this_order():
    approval = a_request(started(unopened(StageSpec("manager")), MONDAY, Clocks()))

    assert due(approval, MONDAY + 29 * HOUR) == ()
    assert due(approval, MONDAY + 30 * HOUR) == (Due.REMIND,)
    approval = reminded(approval, MONDAY + 30 * HOUR)
    assert due(approval, MONDAY + 2 * DAY) == (Due.ESCALATE,)
    approval = escalated(approval, [Candidate(TOM), Candidate(ADA)], MONDAY + 2 * DAY)
    assert approval.stages[0].alternates == (TOM,)
    assert due(approval, MONDAY + 90 * HOUR) == (Due.REMIND,)
    assert due(reminded(approval, MONDAY + 4 * DAY), MONDAY + 5 * DAY - timedelta(seconds=1)) == ()
    assert due(approval, MONDAY + 5 * DAY) == (Due.EXPIRE,)


def test_after_escalation_the_first_ones_and_the_new_ones_may_act():
    approval = escalated(a_request(a_stage("manager", LAURA)), [Candidate(TOM)], LATER)

    assert accepted(approval, an_answer(LAURA)).state is State.APPROVED
    assert accepted(approval, an_answer(TOM)).state is State.APPROVED


def test_two_reminders_that_were_missed_are_one():
    approval = a_request(a_stage(escalate_at=None))

    assert due(approval, MONDAY + 4 * DAY) == (Due.REMIND,)
    assert due(reminded(approval, MONDAY + 4 * DAY), MONDAY + 4 * DAY) == ()


def test_an_answer_after_the_time_is_none_also_before_anybody_noticed():
    assert refused(a_request(), an_answer(LAURA), MONDAY + 5 * DAY) is Code.EXPIRED
    assert refused(move(a_request(), State.EXPIRED), an_answer(LAURA)) is Code.EXPIRED


def test_only_working_days_count_where_the_route_has_a_calendar():
    berlin = ZoneInfo("Europe/Berlin")
    calendar = Calendar(frozenset(range(5)), frozenset({date(2026, 11, 9)}), berlin)
    friday_noon = datetime(2026, 11, 6, 12, tzinfo=berlin)

    assert calendar.after(friday_noon, timedelta(hours=24)) == datetime(2026, 11, 10, 12, tzinfo=berlin)
    assert Calendar().after(friday_noon, timedelta(hours=24)) == friday_noon + DAY


def test_a_day_on_which_the_clocks_change_is_a_day_of_its_own_length():
    berlin = ZoneInfo("Europe/Berlin")
    calendar = Calendar(frozenset({6}), zone=berlin)  # Sundays; 25 October 2026 has 25 hours

    ends = calendar.after(datetime(2026, 10, 25, tzinfo=berlin), timedelta(hours=25))

    assert ends == datetime(2026, 10, 25, 23, tzinfo=UTC)


# --- A8: how long a yes holds -------------------------------------------------------------------------------------


def test_a_yes_holds_for_a_day_and_does_not_age_while_it_waits():
    approval = accepted(a_request(), an_answer(LAURA))
    assert (has_lapsed(approval, LATER + 23 * HOUR), has_lapsed(approval, LATER + 24 * HOUR)) == (False, True)

    waits = rests(approval, LATER + HOUR)
    assert not has_lapsed(waits, LATER + 30 * DAY)
    goes_on = resumes(waits, LATER + 30 * DAY)

    assert goes_on.valid_until == LATER + 24 * HOUR + 30 * DAY - HOUR
    assert has_lapsed(goes_on, goes_on.valid_until)


def test_a_yes_by_break_glass_holds_for_its_hour_whatever_it_waits_for():
    approval = accepted(a_request(), an_answer(LAURA))
    glass = replace(approval, decisions=tuple(replace(d, channel=Channel.BREAK_GLASS) for d in approval.decisions))

    waits = rests(glass, LATER + HOUR)

    assert waits == glass
    assert has_lapsed(waits, LATER + 30 * DAY)


def test_what_was_begun_in_time_is_finished():
    executing = move(accepted(a_request(), an_answer(LAURA)), State.EXECUTING)

    assert not has_lapsed(executing, LATER + 9 * DAY)


# --- A2, A3: routes -----------------------------------------------------------------------------------------------


def settled(*found: Candidate, fallback=(), desk=(), approval: Approval | None = None, quorum: int = 1):
    spec = StageSpec("manager", quorum=quorum)
    asked = approval or a_draft(unopened(spec))
    return settle(asked, spec, found, fallback=fallback, desk=desk, at=MONDAY).stages[0]


@pytest.mark.parametrize(
    "unfit",
    [
        Candidate(ADA),
        Candidate(replace(ADA, oid="second-account")),
        Candidate(LAURA, is_enabled=False),
        Candidate(LAURA, is_enabled=None),
        Candidate(LAURA, is_guest=True),
        Candidate(LAURA, is_guest=None),
    ],
    ids=["requester", "second account", "disabled", "not known to be enabled", "guest", "not known to be no guest"],
)
def test_who_may_not_approve_makes_room_for_the_fallback(unfit):
    stage = settled(unfit, fallback=[Candidate(TOM)])

    assert (stage.approvers, stage.is_fallback) == ((TOM,), True)
    assert "the fallback was asked" in stage.why


def test_nobody_at_all_ends_at_the_service_desk_and_never_in_a_yes():
    stage = settled(fallback=[Candidate(ADA)], desk=[Candidate(EVE)])
    nobody = settled(fallback=[Candidate(ADA)])

    assert stage.approvers == (EVE,)
    assert (nobody.approvers, nobody.opened_at) == ((), MONDAY)


def test_who_answered_an_earlier_stage_is_not_asked_again():
    spec = StageSpec("owner")
    approval = accepted(a_request(a_stage("manager", LAURA), unopened(spec)), an_answer(LAURA))

    stage = settle(approval, spec, [Candidate(LAURA)], fallback=[Candidate(TOM)], desk=(), at=LATER).stages[1]

    assert stage.approvers == (TOM,)


def test_too_few_for_a_quorum_are_joined_by_the_fallback():
    stage = settled(Candidate(LAURA), fallback=[Candidate(LAURA), Candidate(TOM)], quorum=2)

    assert stage.approvers == (LAURA, TOM)


def test_what_software_orders_is_never_approved_by_its_own_ticket():
    book = RouteBook({"manager": StageSpec("manager")}, {Label.PROPOSAL: ("manager",)})
    need = Need("manager", ticket_suffices=True)

    (by_rule,) = book.route(Label.RULE, [need]).stages
    (by_agent,) = book.route(Label.PROPOSAL, [need]).stages

    assert (by_rule.ticket_suffices, by_agent.ticket_suffices) == (True, False)


def test_rule_and_stage_are_both_obeyed_the_stricter_one_wins():
    spec = StageSpec("manager", quorum=1, assurance=Assurance.STRONG, ticket_suffices=False)
    book = RouteBook({"manager": spec})

    (stage,) = book.route(Label.RULE, [Need("manager", quorum=2, ticket_suffices=True)]).stages

    assert (stage.quorum, stage.assurance, stage.ticket_suffices) == (2, Assurance.STRONG, False)


# --- A10: delegation ----------------------------------------------------------------------------------------------


def delegated(*delegations: Delegation) -> Approval:
    return a_request(a_stage("manager", LAURA, delegations=delegations))


def test_a_delegate_acts_for_the_approver_while_it_lasts():
    approval = delegated(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY))

    (decision,) = accepted(approval, an_answer(TOM)).decisions
    assert (decision.actor, decision.acting_for) == (TOM, LAURA)
    assert refused(approval, an_answer(TOM), MONDAY + DAY) is Code.NOT_APPROVER
    assert refused(approval, an_answer(TOM), MONDAY - HOUR) is Code.NOT_APPROVER


def test_delegation_is_one_level_deep():
    approval = delegated(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY), Delegation(TOM, EVE, MONDAY, MONDAY + DAY))

    assert refused(approval, an_answer(EVE)) is Code.NOT_APPROVER


def test_a_delegate_does_not_approve_for_themselves_and_counts_the_approver_too():
    for_ada = replace(delegated(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY)), beneficiary=TOM)
    both = a_request(
        a_stage("manager", LAURA, EVE, quorum=2, delegations=(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY),))
    )

    assert refused(for_ada, an_answer(TOM)) is Code.SELF
    once = accepted(both, an_answer(TOM))
    assert refused(once, an_answer(LAURA)) is Code.ALREADY


@pytest.mark.parametrize("party", ["requester", "beneficiary", "opener"])
def test_nobody_finds_a_deputy_for_the_approver_of_their_own_request(party):
    number = replace(EVE, employee_id="4711")
    arranged = delegated(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY, by="t/eve", arranged_by=number))
    second = replace(EVE, oid="another account", upn="eve.admin@contoso.example", employee_id="4711")

    assert isinstance(judge(arranged, an_answer(TOM), at=MONDAY + HOUR), Approval)
    for own in (number, second):
        theirs = replace(arranged, **{party: own})
        assert refused(theirs, an_answer(TOM)) is Code.NOT_APPROVER
        assert not may_see(theirs, TOM, MONDAY + HOUR)


def test_nobody_acts_for_somebody_who_is_no_approver_or_has_lost_the_role():
    approval = lost(delegated(Delegation(LAURA, TOM, MONDAY, MONDAY + DAY)), {LAURA.oid: False})

    assert refused(approval, an_answer(TOM)) is Code.NOT_APPROVER
    assert refused(delegated(), an_answer(TOM, acting_for=LAURA)) is Code.NOT_APPROVER


# --- A12: break-glass ---------------------------------------------------------------------------------------------

GLASS = {"channel": Channel.BREAK_GLASS, "comment": "Outage of the sign-in."}


def test_two_different_people_break_the_glass_within_an_hour():
    once = accepted(a_request(a_stage(), unopened(StageSpec("owner"))), an_answer(TOM, **GLASS))
    twice = accepted(once, an_answer(EVE, **GLASS), LATER + timedelta(minutes=59))
    late = accepted(once, an_answer(EVE, **GLASS), LATER + HOUR)

    back = accepted(once, an_answer(EVE, **GLASS), LATER - HOUR)  # the clock went back: nobody knows how long it was

    assert [a.state for a in (once, twice, late, back)] == [
        State.PENDING,
        State.APPROVED,
        State.PENDING,
        State.PENDING,
    ]
    assert twice.valid_until == LATER + timedelta(minutes=59) + HOUR
    assert refused(once, an_answer(replace(TOM, oid="second"), **GLASS)) is Code.ALREADY


def test_nobody_breaks_the_glass_for_themselves_or_without_a_reason():
    assert refused(a_request(), an_answer(ADA, **GLASS)) is Code.SELF
    assert refused(a_request(), an_answer(TOM, **(GLASS | {"comment": "asap"}))) is Code.COMMENT


# --- the table of moves -------------------------------------------------------------------------------------------


def test_nothing_ever_goes_back():
    def reach(state: State, seen: frozenset[State] = frozenset()) -> set[State]:
        found = set()
        for after in MOVES[state] - seen:
            found |= {after} | reach(after, seen | {state})
        return found

    assert all(state not in reach(state) for state in State)
    assert set(State) == OPEN | FINAL
    assert {s for s in State if not MOVES[s]} == FINAL


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_what_the_table_does_not_have_cannot_happen(old, new):
    approval = replace(a_draft(), state=old)

    if new in MOVES[old]:
        assert move(approval, new).state is new
    else:
        with pytest.raises(IllegalMove):
            move(approval, new)


def test_only_what_all_stages_passed_can_be_carried_out():
    into = {old for old in State if State.EXECUTING in MOVES[old]}

    assert into == {State.APPROVED}
    assert {old for old in State if State.APPROVED in MOVES[old]} == {State.PENDING}


def test_a_builder_of_humans_gives_each_an_account_of_their_own():
    assert a_human("x").one != a_human("y").one
    assert a_request().digest == DIGEST
