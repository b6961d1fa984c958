"""What stops a change although a rule allows it, guard by guard, decided from values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import GroupId, LineKey, PlanId, Refusal, Says, SkuId, UserId, Why
from desired_state.rules import Rules
from reconciler.allowance import Allowance, allowance
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Gated, Lane, Line, LineState, Observed, Unread, Weight
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards.breakers import Circuit, Mark, fights, is_fought, touches, tripped
from reconciler.loop.guards.budgets import Limits, ProductLimits, Used, counted, within
from reconciler.loop.guards.canary import Canary
from reconciler.loop.guards.effects import Scales
from reconciler.loop.guards.forecast import forecast
from reconciler.loop.guards.freezes import Stop, Window, frozen
from reconciler.loop.guards.judge import judge
from reconciler.loop.guards.scope import EVERYBODY, Register, Scope, Side
from reconciler.loop.guards.scope import judge as side_of
from reconciler.loop.guards.skew import judge as judge_clocks
from reconciler.loop.guards.sources import Pulled, pulled, short
from reconciler.loop.guards.usage import usage
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Action, ActionKind, Assignment, Grant, PlanState, Undo
from tests.make import (
    ADA,
    BOB,
    DAY,
    E3,
    E5,
    HOUR,
    MONDAY,
    SWAY,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_line,
    a_sku,
    a_user,
    details_of,
    seen,
)
from tests.make_endings import a_group, an_ended_line, licence, there

ENFORCE = Policy(mode="enforce")
STAFF, PILOT = GroupId("aaaaaaaa-0000-4000-8000-000000000001"), GroupId("aaaaaaaa-0000-4000-8000-000000000002")


def an_action(kind: ActionKind = ActionKind.ASSIGN_LICENSE, **changes) -> Action:
    base = Action(kind, ADA, a_line().product.key, (LineKey("RITM0000001", 1),), {}, {}, Undo.REVERSIBLE)
    return replace(base, **changes)


def people(count: int) -> list[UserId]:
    return [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(count)]


def gated(lines: list[Line], observed: Observed, watch: Watch) -> Gates:
    proposed = plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, Bounds())
    return gate(proposed, Rules(), policy=ENFORCE, watch=watch, at=MONDAY)


def grants(who: Iterable[UserId], watch: Watch) -> Gates:
    lines = [a_line(f"RITM{n:07d}", user=u, requested_at=MONDAY - n * HOUR) for n, u in enumerate(who)]
    return gated(lines, seen(*(a_user(line.binding.user) for line in lines), skus=[a_sku(free=999)]), watch)


def decisions(gates: Gates) -> set[Decision]:
    return {g.decision for g in gates.gated}


def limits(grants: int = 999, removals: int = 999, **more) -> Limits:
    per = {**dict.fromkeys(Lane, Allowance(999)), Lane.GRANTS: Allowance(grants), Lane.REMOVALS: Allowance(removals)}
    return Limits(per, per, **more)


# --- how much


@pytest.mark.parametrize(
    ("written", "people", "limit"),
    [
        (7, None, 7),
        ("7", 10_000, 7),
        ("2%, 5 to 50", None, 5),
        ("2%, 5 to 50", 100, 5),
        ("2%, 5 to 50", 1000, 20),
        ("2%, 5 to 50", 100_000, 50),
        ("10%, 50 to 250", 1999, 199),
    ],
)
def test_a_limit_is_a_number_or_a_share_of_the_people_in_scope(written, people, limit):
    assert allowance(written).of(people) == limit


@pytest.mark.parametrize("written", ["many", "2%", "200%, 1 to 2", "2%, 9 to 5", -1, True, 1.5, None, "-3"])
def test_what_is_no_limit_is_refused(written):
    with pytest.raises(ValueError, match="2%, 5 to 50"):
        allowance(written)


def test_the_defaults_are_those_of_the_design():
    default = Limits(people=1000)

    assert [default.of_cycle(lane) for lane in (Lane.REMOVALS, Lane.GRANTS, Lane.ANSWERS)] == [20, 100, 20]
    assert [Limits().of_day(lane) for lane in (Lane.REMOVALS, Lane.GRANTS)] == [5, 50]


@given(who=st.sets(st.integers(0, 30)), before=st.sets(st.integers(0, 30)), limit=st.integers(0, 20))
def test_a_lane_that_is_let_go_never_touches_more_people_than_a_cycle_or_a_day_allows(who, before, limit):
    wanted, used = {str(n) for n in who}, frozenset(str(n) for n in before)

    trip = within(Lane.GRANTS, wanted, used=used, limits=limits(limit), digest="d")

    fits = len(wanted) <= limit and (not wanted or len(wanted | used) <= limit)
    assert (trip is None) is fits


@given(
    changes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 2)), max_size=12),
    grants_max=st.integers(0, 6),
    removals_max=st.integers(0, 6),
    cost_max=st.integers(0, 40),
)
def test_whatever_is_cleared_stays_within_every_budget_and_a_change_is_whole_or_not_at_all(
    changes, grants_max, removals_max, cost_max
):
    """People, how many licences they gain, how many they lose."""
    skus = [SkuId(f"{n:08d}-0000-4000-8000-00000000cccc") for n in range(2)]
    made = []
    for n, (who, gain, lose) in enumerate(changes):
        user = people(10)[who]
        taken = tuple(skus[:lose])
        given_ = tuple(Grant(SkuId(f"{n:08d}-0000-4000-8000-{k:012d}")) for k in range(gain))
        held = a_user(user, holds=dict.fromkeys(taken, ()))
        line = a_line(f"RITM{n:07d}", user=user)
        (finding,) = diff([line], seen(held), at=MONDAY, windows=Windows())
        (proposal,) = plan([finding], seen(held), Bounds()).proposals
        action = an_action(user=user, add=given_, remove=taken, keys=(line.key,))
        made.append(Gated(replace(proposal, actions=(action,), digest=str(n)), Decision.CLEARED))
    prices = {grant.sku: Decimal(10) for g in made for grant in g.proposal.actions[0].add}
    watch = Watch(
        MONDAY, scales=Scales(prices=prices), limits=limits(grants_max, removals_max, cost_per_cycle=Decimal(cost_max))
    )

    judged = judge(made, watch)

    cleared = [g for g in judged.gated if g.decision is Decision.CLEARED]
    gaining = {a.user for g in cleared for a, w in zip(g.proposal.actions, g.weights, strict=True) if w.gains}
    losing = {a.user for g in cleared for a, w in zip(g.proposal.actions, g.weights, strict=True) if w.losses}
    cost = sum((w.cost for g in cleared for w in g.weights), Decimal(0))
    assert len(gaining) <= grants_max
    assert len(losing) <= removals_max
    assert cost <= cost_max
    assert bool(judged.trips) is any(g.decision is Decision.STOPPED for g in judged.gated)


def test_a_day_counts_a_person_once_however_often_something_changes():
    used = Used({Lane.GRANTS: frozenset(people(3))})

    assert decisions(grants(people(3), Watch(MONDAY, limits=limits(3), used=used))) == {Decision.CLEARED}
    assert decisions(grants(people(4), Watch(MONDAY, limits=limits(3), used=used))) == {Decision.STOPPED}


def test_what_a_plan_costs_a_month_is_capped():
    scales = Scales(prices={VISIO: Decimal("5.00")})
    watch = Watch(MONDAY, scales=scales, limits=limits(cost_per_cycle=Decimal(10), cost_per_day=Decimal(12)))

    assert decisions(grants(people(2), watch)) == {Decision.CLEARED}
    gates = grants(people(3), watch)
    assert (decisions(gates), [t.guard for t in gates.trips]) == ({Decision.STOPPED}, ["cost budget"])
    after = replace(watch, used=Used(cost=Decimal(5)))
    assert decisions(grants(people(2), after)) == {Decision.STOPPED}


def test_a_product_has_budgets_of_its_own_and_the_trip_names_it_and_the_lane():
    key = a_line().product.key
    own = ProductLimits({Lane.GRANTS: Allowance(2)}, {Lane.GRANTS: Allowance(3)})
    watch = Watch(MONDAY, limits=limits(products={key: own}))

    assert decisions(grants(people(2), watch)) == {Decision.CLEARED}
    (trip,) = grants(people(3), watch).trips
    assert (trip.guard, trip.lane, trip.wanted, trip.limit) == ("product budget", Lane.GRANTS, 3, 2)
    assert f"3 accounts for product {key} in lane grants" in trip.sentence
    assert decisions(grants(people(3), watch)) == {Decision.STOPPED}
    spent = Used(by_product={key: Used({Lane.GRANTS: frozenset({"x", "y"})})})
    assert decisions(grants(people(2), replace(watch, used=spent))) == {Decision.STOPPED}
    assert decisions(grants(people(1), replace(watch, used=spent))) == {Decision.CLEARED}


def test_a_budget_of_one_product_does_not_count_what_others_take():
    watch = Watch(MONDAY, limits=limits(products={"another": ProductLimits({Lane.GRANTS: Allowance(0)})}))

    assert decisions(grants(people(5), watch)) == {Decision.CLEARED}


def test_what_a_product_may_cost_a_month_is_capped():
    key = a_line().product.key
    capped = {key: ProductLimits(cost_per_cycle=Decimal(10), cost_per_day=Decimal(12))}
    watch = Watch(MONDAY, scales=Scales(prices={VISIO: Decimal("5.00")}), limits=limits(products=capped))

    assert decisions(grants(people(2), watch)) == {Decision.CLEARED}
    (trip,) = grants(people(3), watch).trips
    assert (trip.guard, f"15.00 a month more for product {key} in lane grants" in trip.sentence) == (
        "product budget",
        True,
    )
    after = replace(watch, used=Used(by_product={key: Used(cost=Decimal(5))}))
    assert decisions(grants(people(2), after)) == {Decision.STOPPED}


def test_what_is_taken_of_each_budget_is_told_also_of_a_product_s_own():
    own = ProductLimits({Lane.GRANTS: Allowance(2)}, {Lane.GRANTS: Allowance(3)}, cost_per_day=Decimal(12))
    used = Used({Lane.GRANTS: frozenset("ab")}, Decimal(9), {"visio": Used({Lane.GRANTS: frozenset("a")}, Decimal(5))})

    every = [row.as_json() for row in usage(limits(cost_per_day=Decimal(50), products={"visio": own}), used)]

    assert [row["what"] for row in every] == [*(lane.value for lane in Lane), "cost", "grants", "cost"]
    assert every[list(Lane).index(Lane.GRANTS)]["used"] == 2
    assert every[len(Lane)] == {"what": "cost", "used": "9.00", "per_day": "50.00", "per_cycle": None}
    assert every[-2:] == [
        {"product": "visio", "what": "grants", "used": 1, "per_day": 3, "per_cycle": 2},
        {"product": "visio", "what": "cost", "used": "5.00", "per_day": "12.00", "per_cycle": None},
    ]


def test_a_stopped_plan_has_the_same_name_in_the_next_cycle_and_another_one_when_it_changes():
    watch = Watch(MONDAY, limits=limits(1))
    (first,), (again,), (other,) = (grants(people(n), watch).trips for n in (2, 2, 3))

    assert first.digest == again.digest != other.digest


def test_a_released_plan_goes_out_and_only_that_one():
    (trip,) = grants(people(2), Watch(MONDAY, limits=limits(1))).trips
    watch = Watch(MONDAY, limits=limits(1), released=frozenset({trip.digest}))

    gates = grants(people(2), watch)

    assert (decisions(gates), gates.trips, dict(gates.released)) == (
        {Decision.CLEARED},
        (),
        {trip.digest: Lane.GRANTS},
    )
    assert decisions(grants(people(3), watch)) == {Decision.STOPPED}


# --- what counts as a gain or a loss


def weigh(action: Action, *rows: Assignment, **more) -> Weight:
    user = a_user(skus=frozenset(a.sku for a in rows), assignments=rows)
    skus = {s.sku: s for s in (a_sku(E3, plans=(SWAY, YAMMER)), a_sku(E5, plans=(SWAY, YAMMER, VISIO_WEB)), a_sku())}
    scales = Scales(skus, {STAFF: replace(a_group(E3), id=STAFF)}, {E3: Decimal(30), E5: Decimal(50)})
    (weight,) = scales.weigh(user, [action])
    return weight


def direct(sku: SkuId, *off: PlanId) -> Assignment:
    return Assignment(sku, None, frozenset(off), "Active")


def by_group(sku: SkuId, *off: PlanId) -> Assignment:
    return Assignment(sku, STAFF, frozenset(off), "Active")


def test_a_licence_that_is_kept_by_a_group_is_no_loss():
    remove = an_action(ActionKind.REMOVE_LICENSE, remove=(E3,))

    assert weigh(remove, direct(E3)).losses == 2
    assert weigh(remove, direct(E3), by_group(E3)).losses == 0
    assert weigh(remove, direct(E3), by_group(E3, SWAY)).losses == 1


def test_a_plan_that_is_switched_off_is_a_loss_and_one_that_is_switched_on_a_gain():
    off = an_action(add=(Grant(E3, frozenset({SWAY})),))

    assert weigh(off, direct(E3)) == Weight(gains=0, losses=1)
    assert weigh(off, direct(E3, SWAY, YAMMER)) == Weight(gains=1, losses=0)


def test_an_exchange_for_more_is_no_loss_and_costs_the_difference():
    exchange = an_action(add=(Grant(E5),), remove=(E3,))

    assert weigh(exchange, direct(E3)) == Weight(gains=1, losses=0, cost=Decimal(20))


def test_joining_and_leaving_a_group_count_by_its_licences():
    join = an_action(ActionKind.ADD_GROUP_MEMBER, group=STAFF)
    leave = an_action(ActionKind.REMOVE_GROUP_MEMBER, group=STAFF)

    assert weigh(join) == Weight(gains=2, losses=0, cost=Decimal(30))
    assert weigh(join, direct(E5)) == Weight(gains=0, losses=0, cost=Decimal(30))
    assert weigh(leave, by_group(E3)).losses == 2
    assert weigh(leave, by_group(E3), direct(E5)).losses == 0


def test_what_cannot_be_worked_out_counts():
    elsewhere = GroupId("bbbbbbbb-0000-4000-8000-000000000001")

    assert weigh(an_action(ActionKind.ADD_GROUP_MEMBER, group=elsewhere)).gains == 1
    assert weigh(an_action(ActionKind.REMOVE_GROUP_MEMBER, group=elsewhere)).losses == 1
    (hidden,) = Scales().weigh(a_user(assignments=None), [an_action(ActionKind.REMOVE_LICENSE, remove=(E3,))])
    assert hidden == Weight(losses=1)


def test_a_usage_location_is_a_lane_of_its_own():
    action = an_action(ActionKind.SET_USAGE_LOCATION, country="DE")

    assert counted(action, weigh(action)) == {Lane.USAGE_LOCATIONS}


# --- who


def side(scope: Scope, register: Register | None = None, user=None, line: Line | None = None) -> Side:
    observed = seen(user or a_user())
    (finding,) = diff([line or a_line()], observed, at=MONDAY, windows=Windows())
    return side_of(finding, scope, register or Register()).side


def test_an_empty_allow_list_means_nobody():
    assert side(Scope()) is Side.OUT
    assert side(Scope(deny_domains=frozenset({"other.example"}))) is Side.OUT


@pytest.mark.parametrize(
    "scope",
    [
        Scope(allow_domains=frozenset({"*"})),
        Scope(allow_domains=frozenset({"contoso.example"})),
        Scope(allow_users=frozenset({"ada@contoso.example"})),
        Scope(allow_users=frozenset({ADA})),
    ],
)
def test_each_list_lets_its_people_in(scope):
    assert side(scope) is Side.IN


@pytest.mark.parametrize(
    ("deny", "user"),
    [
        ({"deny_users": frozenset({"ada@*"})}, {}),
        ({"deny_domains": frozenset({"contoso.example"})}, {}),
        ({"break_glass": frozenset({"ada@contoso.example"})}, {}),
        ({"shared_accounts": frozenset({"*@contoso.example"})}, {}),
        ({}, {"is_resource": True}),
        ({}, {"user_type": "Guest"}),
    ],
)
def test_what_speaks_against_an_account_always_wins(deny, user):
    scope = replace(EVERYBODY, allow_users=frozenset({"ada@contoso.example"}), **deny)

    assert side(scope, user=a_user(**user)) is Side.OUT


def test_groups_let_in_and_keep_out_through_groups_in_groups():
    inside = Register({"pilot": PILOT}, {ADA: frozenset({PILOT, STAFF})})
    outside = Register({"pilot": PILOT}, {ADA: frozenset({STAFF})})

    allow, deny = Scope(allow_groups=frozenset({"pilot"})), replace(EVERYBODY, deny_groups=frozenset({"pilot"}))
    assert (side(allow, inside), side(allow, outside)) == (Side.IN, Side.OUT)
    assert (side(deny, inside), side(deny, outside)) == (Side.OUT, Side.IN)


@pytest.mark.parametrize(
    "register",
    [
        Register({"pilot": PILOT}, {ADA: Unread("status 503")}),
        Register({"pilot": Unread("two groups are called so")}, {ADA: frozenset({STAFF})}),
        Register(),
    ],
)
def test_a_group_that_cannot_be_read_lets_nobody_in_and_keeps_everybody_out(register):
    assert side(Scope(allow_groups=frozenset({"pilot"})), register) is Side.UNREAD
    assert side(replace(EVERYBODY, deny_groups=frozenset({"pilot"})), register) is Side.UNREAD


def test_holders_of_a_role_are_out_and_so_is_who_cannot_be_read():
    scope = replace(EVERYBODY, deny_role_holders=True)

    assert side(scope, Register(role_holders=frozenset({BOB}))) is Side.IN
    assert side(scope, Register(role_holders=frozenset({ADA}))) is Side.OUT
    assert side(scope, Register(role_holders=Unread("403"))) is Side.UNREAD
    assert side(Scope(deny_role_holders=True), Register(role_holders=Unread("403"))) is Side.OUT


def test_a_ticket_about_nobody_in_particular_is_in_scope_of_everybody_only():
    refusal = Refusal(LineKey("RITM0000001", 1), Why.UNKNOWN, "Nobody is named.", Says.APPROVED)
    line = replace(a_line(user=None), declared=refusal)

    assert side(EVERYBODY, line=line) is Side.IN
    assert side(Scope(allow_domains=frozenset({"contoso.example"})), line=line) is Side.OUT


def test_a_grant_whose_scope_cannot_be_read_stands_and_a_change_waits():
    scope, unread = replace(EVERYBODY, deny_role_holders=True), Register(role_holders=Unread("status 503"))
    watch = Watch(MONDAY, scope, unread)

    (result,) = gated([a_line()], seen(a_user()), watch).gated

    assert (result.decision, result.proposal.actions) == (Decision.CLEARED, ())
    assert result.proposal.finding.cause is Cause.REMOTE_FAILING


# --- when


def window(**changes) -> Window:
    base = Window("weekend", frozenset({4}), time(18), timedelta(hours=62), ZoneInfo("Europe/Berlin"))
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        (datetime(2026, 11, 6, 16, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 6, 17, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 9, 6, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 9, 7, 0, tzinfo=UTC), False),
        # 25 October 2026: the clocks go back an hour, and the window is 62 real hours long all the same
        (datetime(2026, 10, 23, 16, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 26, 5, 59, tzinfo=UTC), True),
        (datetime(2026, 10, 26, 6, 0, tzinfo=UTC), False),
    ],
)
def test_a_weekly_window_holds_from_its_wall_time_for_its_real_hours(at, holds):
    assert bool(frozen([window()], at)) is holds


def test_deny_beats_allow_and_outside_of_what_is_allowed_everything_is_denied():
    day = window(name="day", days=frozenset(range(5)), at=time(8), lasts=timedelta(hours=10), is_allow=True)
    noon = window(name="noon", days=frozenset(range(7)), at=time(12), lasts=HOUR, lanes=frozenset({Lane.REMOVALS}))

    def stopped(hour: int) -> set[Lane]:
        return {lane for s in frozen([day, noon], datetime(2026, 11, 2, hour, 30, tzinfo=UTC)) for lane in s.lanes}

    assert stopped(5) == set(Lane)
    assert stopped(9) == set()
    assert stopped(11) == {Lane.REMOVALS}


def test_a_stop_freezes_its_lanes_and_the_kill_switch_is_named_first():
    stops = (
        Stop("freeze", "audit", frozenset({Lane.GRANTS}), "audit"),
        Stop("kill switch", "the kill switch", frozenset(Lane), "strange"),
    )
    gates = grants(people(2), Watch(MONDAY, stops=stops, released=frozenset({"", "anything"})))

    assert decisions(gates) == {Decision.STOPPED}
    assert next((t.guard, t.lane, t.wanted) for t in gates.trips) == ("kill switch", Lane.GRANTS, 2)
    assert {t.lane for t in gates.trips} == set(Lane)


# --- what was read


def test_a_whole_read_that_is_far_below_the_usual_is_short_until_a_good_one_comes():
    usual = pulled(None, 100)
    assert not usual.is_short
    low = pulled(usual, 40)
    assert (low.is_short, low.usual) == (True, 100)
    assert pulled(low, 0).is_short
    assert pulled(low, 60) == Pulled(60, 60)
    assert not pulled(None, 0).is_short


def reason(observed: Observed, tickets: Pulled | None = None, now: datetime = MONDAY) -> str:
    return short(observed, tickets, now=now, stale_after=timedelta(minutes=30))


def test_nothing_is_taken_away_on_the_strength_of_a_short_source():
    fine = seen(a_user())
    unread = replace(fine, users={**fine.users, **{u: Unread("status 503") for u in people(3)}})

    assert reason(fine, Pulled(10, 10)) == ""
    assert "usually shows 100" in reason(fine, Pulled(100, 3))
    assert "no licences" in reason(replace(fine, skus={}))
    assert "3 of 4 accounts" in reason(unread)
    assert "31 minutes old" in reason(fine, now=MONDAY + timedelta(minutes=31))


def test_a_short_source_stops_removals_and_lets_grants_go():
    lines = [an_ended_line(licence()), a_line("RITM0000002", user=BOB)]
    observed = there()
    observed = replace(observed, users={**observed.users, BOB: a_user(BOB)}, details={**observed.details, BOB: ()})

    gates = gated(lines, observed, Watch(MONDAY, short="few tickets"))

    assert {str(g.proposal.finding.key): g.decision for g in gates.gated} == {
        "RITM0000001/1": Decision.STOPPED,
        "RITM0000002/1": Decision.CLEARED,
    }
    assert [(t.guard, t.lane) for t in gates.trips] == [("short source", Lane.REMOVALS)]


@pytest.mark.parametrize(
    ("known", "decision"),
    [(None, Decision.HELD), (MONDAY + 90 * DAY, Decision.HELD), (MONDAY - 4 * DAY, Decision.CLEARED)],
)
def test_an_end_that_is_news_is_looked_at_in_a_later_cycle(known, decision):
    line = an_ended_line(licence())
    line = replace(line, state=replace(line.state, ends_at=known))

    (result,) = gated([line], there(), Watch(MONDAY)).gated

    assert result.decision is decision


# --- what came of it


def marks(*bad: bool, users: int = 20) -> list[Mark]:
    return [
        Mark(f"u{n % users}", MONDAY + n * timedelta(minutes=1), is_bad, "status 500") for n, is_bad in enumerate(bad)
    ]


def test_a_breaker_needs_ten_different_people_and_a_fifth_of_them():
    assert tripped(marks(*[True] * 9)) == ""
    assert tripped(marks(*[False] * 8, True)) == ""
    assert "2 of the last 10" in tripped(marks(*[False] * 8, True, True))
    assert tripped(marks(*[False] * 9, True)) == ""
    assert "4 of the last 20" in tripped(marks(*[False] * 16, *[True] * 4))


def test_one_person_who_fails_at_every_try_opens_no_breaker():
    once = marks(*[False] * 12)

    assert tripped([*once, *(Mark("u-unlucky", MONDAY, True, "status 500") for _ in range(50))]) == ""


def test_an_open_breaker_lets_one_write_try_after_its_pause():
    pause, bad, good = timedelta(minutes=15), Mark("x", MONDAY, True, "500"), Mark("x", MONDAY, False)
    opened = Circuit().after(bad, [*marks(*[False] * 8, True), bad], pause)

    assert opened.is_open(MONDAY + timedelta(minutes=14))
    assert not opened.is_open(MONDAY + pause)
    assert opened.after(good, [], pause) == Circuit()
    assert opened.after(replace(bad, at=MONDAY + pause), [], pause).is_open(MONDAY + pause + timedelta(minutes=14))


def test_an_open_breaker_stops_the_directory_and_not_the_tickets():
    circuit = Circuit(MONDAY, MONDAY + HOUR, "much went wrong")

    gates = grants(people(1), Watch(MONDAY, circuits={"graph": circuit}))

    assert decisions(gates) == {Decision.STOPPED}
    assert [(t.guard, t.lane) for t in gates.trips] == [("circuit breaker", Lane.GRANTS)]


def test_what_others_turn_back_twice_is_not_set_a_third_time_and_other_people_go_on():
    wanted = an_action(add=(Grant(VISIO),))
    twice = fights([*touches(wanted), *touches(wanted)])

    assert not is_fought(wanted, fights(touches(wanted)))
    assert is_fought(wanted, twice)
    assert not is_fought(replace(wanted, add=(Grant(VISIO, frozenset({VISIO_WEB})),)), twice)
    assert not is_fought(wanted, fights([*touches(wanted), *touches(an_action(remove=(VISIO,))), *touches(wanted)]))

    gates = gated([a_line(), a_line("RITM0000002", user=BOB)], seen(a_user(), a_user(BOB)), Watch(MONDAY, fought=twice))
    assert [
        (str(g.proposal.finding.key), g.decision) for g in sorted(gates.gated, key=lambda g: g.proposal.finding.key)
    ] == [
        ("RITM0000001/1", Decision.STOPPED),
        ("RITM0000002/1", Decision.CLEARED),
    ]
    assert [t.guard for t in gates.trips] == ["fighting controllers"]


@pytest.mark.parametrize(("total", "stages"), [(1, [1]), (5, [1, 4]), (30, [1, 10, 3, 3, 3, 3, 3, 3, 1])])
def test_a_batch_goes_out_one_then_ten_then_a_tenth_at_a_time(total, stages):
    canary, went, last = Canary(total), [], 0
    for n in range(total):
        if canary.is_due:
            went.append(n - last)
            canary, last = canary.looked(), n
        canary = canary.sent()

    assert [*went, total - last] == stages


# --- what is known ahead


def ending(number: int, ends_at: datetime, phase: Phase = Phase.GRANTED) -> LineState:
    key = LineKey(f"RITM{number:07d}", 1)
    return LineState(key, phase, user=ADA, granted_at=MONDAY - 9 * DAY, since=MONDAY - 9 * DAY, ends_at=ends_at)


def test_known_ends_are_told_a_week_ahead_by_day():
    found = forecast(
        [
            ending(1, MONDAY + 3 * DAY),
            ending(2, MONDAY + 3 * DAY + HOUR),
            ending(3, MONDAY + 8 * DAY),
            ending(4, MONDAY - DAY),
            ending(5, MONDAY + DAY, Phase.REVOKED),
        ],
        MONDAY,
    )

    assert [(d.day.isoformat(), len(d.ends), d.users) for d in found] == [("2026-11-02", 1, 1), ("2026-11-05", 2, 1)]


def test_an_end_that_was_released_ahead_counts_against_no_budget_and_a_moved_one_does():
    line = an_ended_line(licence())
    ahead = frozenset({f"{line.key}@{line.state.ends_at.isoformat()}"})
    watch = Watch(MONDAY, limits=limits(removals=0))

    assert decisions(gated([line], there(), watch)) == {Decision.STOPPED}
    assert decisions(gated([line], there(), replace(watch, ahead=ahead))) == {Decision.CLEARED}
    other = replace(line, state=replace(line.state, ends_at=MONDAY - 5 * DAY))
    assert decisions(gated([other], there(), replace(watch, ahead=ahead))) == {Decision.STOPPED}


def test_proven_access_is_nobodys_business_of_a_frozen_lane():
    proven = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})
    stops = (Stop("freeze", "audit", frozenset(Lane), "audit"),)

    (result,) = gated([a_line()], proven, Watch(MONDAY, stops=stops)).gated

    assert result.decision is Decision.CLEARED


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "servicenow", "is_wrong", "is_odd"),
    [
        (0.0, 0.0, False, False),
        (-299.0, 300.0, False, False),
        (-301.0, -301.0, True, False),
        (7200.0, 7100.0, True, False),
        (7200.0, 0.0, False, True),
        (7200.0, -7200.0, False, True),
        (7200.0, 3600.0, False, True),  # off, and not by the same
        (7200.0, None, False, True),
        (None, None, False, False),
    ],
)
def test_two_clocks_that_agree_prove_that_ours_is_wrong_and_one_alone_does_not(graph, servicenow, is_wrong, is_odd):
    found = judge_clocks({"graph": graph, "servicenow": servicenow})

    assert (bool(found.wrong), bool(found.odd)) == (is_wrong, is_odd)
