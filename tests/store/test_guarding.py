"""The choke-point asks every guard before every write, whatever the gate said; then nothing is announced or sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from desired_state.model import LineKey, UserId
from reconciler.allowance import Allowance
from reconciler.clock import ManualClock
from reconciler.errors import Forbidden, OutcomeUnknown, Rejected, Throttled
from reconciler.line import Lane
from reconciler.loop import releasing
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Gates
from reconciler.loop.guarding import Guarding, Post
from reconciler.loop.guards.breakers import Circuit
from reconciler.loop.guards.budgets import Limits, ProductLimits, Used
from reconciler.loop.guards.freezes import Window
from reconciler.loop.guards.scope import EVERYBODY, Scope
from reconciler.loop.guards.watch import Watch
from reconciler.loop.send import Sender, Stopped, Write, trouble_in
from reconciler.model import Reply
from reconciler.store import configs, directories, guards, journal, switches, tally
from reconciler.store.database import Database
from tests.make import ADA, DAY, HOUR, MONDAY, a_line, a_user, seen
from tests.make_store import TENANT

KEY = LineKey("RITM0000001", 1)
NOBODY: Any = SimpleNamespace()  # no directory is asked


def a_write(user: UserId = ADA, lane: Lane = Lane.GRANTS, **changes: Any) -> Write:
    return replace(Write("graph", "assign_license", lane, user, (KEY,), {"after": "x"}, "d", "p"), **changes)


def an_answer(ticket: str = "RITM0000001") -> Write:
    return Write("servicenow", "note", Lane.ANSWERS, ticket, (LineKey(ticket, 1),), {"key": "k"})


def everything(limit: int, **more: Any) -> Limits:
    per = dict.fromkeys(Lane, Allowance(limit))
    return Limits(per, per, **more)


class Point:
    """A choke-point over a store, and what went through it."""

    def __init__(self, database: Database, watch: Watch | None = None, *, users: int = 1, **guarding: Any) -> None:
        self.database, self.clock, self.calls = database, ManualClock(MONDAY), 0
        guarding = {"scope": EVERYBODY, "limits": Limits(), **guarding}
        self.post = Post(
            Guarding(TENANT, database, self.clock, NOBODY, **guarding),
            watch or Watch(MONDAY),
            "c1",
            marks={},
            used=dict((watch or Watch(MONDAY)).used.users),
        )
        self.people = [ADA, *(UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(users - 1))]
        lines = [a_line(f"RITM{n + 1:07d}", user=u) for n, u in enumerate(self.people)]
        self.post.admit(diff(lines, seen(*map(a_user, self.people)), at=MONDAY, windows=Windows()))
        self.sender = Sender(database, TENANT, "c1", self.clock, lambda *_: None, lambda _: "", self.post)

    def send(self, write: Write, error: Exception | None = None) -> str:
        """ "" when it went out, else the guard that stopped it."""

        def call() -> Reply:
            self.calls += 1
            if error is not None:
                raise error
            return Reply("r", "c")

        try:
            self.sender.send(write, call)
        except Stopped as stopped:
            assert stopped.trip is not None
            return stopped.trip.guard
        except (Forbidden, OutcomeUnknown, Rejected, Throttled):
            return ""
        return ""

    @property
    def announced(self) -> int:
        with self.database.read() as session:
            return sum(1 for row in journal.export(session, TENANT) if row["kind"] == "intent")


def stops(point: Point, write: Write, guard: str) -> None:
    assert point.send(write) == guard
    assert (point.calls, point.announced) == (0, 0)
    assert guard in {t.guard for t in point.post.trips}


def test_a_write_that_nothing_stops_goes_out(database):
    point = Point(database)

    assert (point.send(a_write()), point.send(an_answer()), point.calls, point.announced) == ("", "", 2, 2)


def test_the_kill_switch_of_the_store_stops_graph_and_servicenow(database):
    point = Point(database)
    with database.write() as session:
        switches.throw(session, TENANT, reason="strange", by="ada", at=MONDAY)

    stops(point, a_write(), "kill switch")
    stops(point, an_answer(), "kill switch")


def test_the_kill_switch_outside_of_the_store_is_asked_before_every_write(database):
    thrown: list[str] = []
    point = Point(database, outside=lambda: "".join(thrown))
    assert point.send(a_write()) == ""

    thrown.append("the file KILL is there")

    assert (point.send(a_write()), point.calls) == ("kill switch", 1)


def test_a_freeze_and_a_window_stop_their_lane_from_the_instant_on(database):
    lunch = Window("lunch", frozenset({0}), time(10), HOUR, MONDAY.tzinfo, frozenset({Lane.REMOVALS}))
    point = Point(database, windows=(lunch,))
    with database.write() as session:
        later = MONDAY + 2 * HOUR
        switches.freeze(session, TENANT, "audit", scope="grants", reason="audit", by="ada", at=MONDAY, from_at=later)
    removal = a_write(lane=Lane.REMOVALS)

    assert [point.send(a_write()), point.send(removal)] == ["", ""]
    point.clock.advance(hours=1)
    assert [point.send(a_write()), point.send(removal)] == ["", "freeze"]
    point.clock.advance(hours=1)
    assert [point.send(a_write()), point.send(removal)] == ["freeze", ""]


def test_who_was_not_judged_in_this_cycle_is_not_written_to(database):
    point = Point(database)

    stops(point, a_write(UserId("99999999-0000-4000-8000-000000000000")), "scope")
    stops(point, an_answer("RITM0000099"), "scope")


def test_who_is_outside_is_not_written_to_and_their_ticket_told_nothing(database):
    point = Point(database, Watch(MONDAY, Scope(allow_users=frozenset({"grace@contoso.example"}))))

    stops(point, a_write(), "scope")
    stops(point, an_answer(), "scope")


def test_an_account_that_left_the_scope_while_the_plan_was_made_is_not_written_to(database):
    point = Point(database, Watch(MONDAY, Scope(allow_domains=frozenset({"contoso.example"}))))
    moved = a_user(upn="ada@elsewhere.example")

    point.post.admit(diff([a_line()], seen(moved), at=MONDAY, windows=Windows()))

    stops(point, a_write(), "scope")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    wanted=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([Lane.GRANTS, Lane.REMOVALS])), max_size=10),
    limit=st.integers(0, 4),
    before=st.integers(0, 3),
)
def test_whatever_is_asked_for_no_lane_touches_more_people_than_it_may(database, wanted, limit, before):
    used = Used(dict.fromkeys(Lane, frozenset(f"other-{n}" for n in range(before))))
    point = Point(database, Watch(MONDAY, limits=everything(limit), used=used), users=6)
    touched: dict[Lane, set[str]] = {lane: set() for lane in Lane}

    for who, lane in wanted:
        write = a_write(point.people[who], lane, counts=frozenset({lane}))
        if point.send(write) == "":
            touched[lane].add(write.subject)

    assert all(len(users) <= max(0, limit - before) for users in touched.values())


def test_what_is_added_a_month_is_counted_once_a_change(database):
    point = Point(database, Watch(MONDAY, limits=everything(9, cost_per_cycle=Decimal(10))), users=3)
    first, second, third = point.people

    def dear(user: UserId) -> Write:
        return a_write(user, cost=Decimal(5), digest=f"d-{user}")

    assert [point.send(dear(u)) for u in (first, first, second, third)] == ["", "", "", "cost budget"]


def test_a_product_s_own_budget_holds_at_the_choke_point_and_over_the_day(database):
    own = ProductLimits({Lane.GRANTS: Allowance(2)}, {Lane.GRANTS: Allowance(3)}, cost_per_day=Decimal(20))
    limits = everything(99, products={"visio": own})
    point = Point(database, Watch(MONDAY, limits=limits), users=5)

    def of(user: UserId, product: str = "visio", cost: int = 5) -> Write:
        body = {"after": "x", "product": product}
        return a_write(user, body=body, cost=Decimal(cost), digest=f"d-{user}", counts=frozenset({Lane.GRANTS}))

    said = [point.send(of(u)) for u in (*point.people[:2], point.people[0], point.people[2])]
    assert said == ["", "", "", "product budget"]
    assert point.send(of(point.people[2], "project")) == ""

    with database.read() as session:
        touched = tally.touched_since(session, TENANT, MONDAY - DAY)
    assert touched.by_product["visio"].users == {"grants": frozenset(point.people[:2])}
    assert (touched.by_product["visio"].cost, touched.cost) == (Decimal(10), Decimal(15))
    used = Used(by_product={"visio": Used({Lane.GRANTS: touched.by_product["visio"].users["grants"]}, Decimal(10))})
    later = Point(database, Watch(MONDAY, limits=limits, used=used), users=5)
    assert [later.send(of(u)) for u in later.people[2:4]] == ["", "product budget"]
    assert "visio" in later.post.trips[0].sentence
    assert "grants" in later.post.trips[0].sentence
    dear = Point(database, Watch(MONDAY, limits=limits, used=used), users=5)
    assert dear.send(of(dear.people[2], cost=11)) == "product budget"


def test_an_answer_counts_by_ticket_and_a_change_without_effect_not_at_all(database):
    point = Point(database, Watch(MONDAY, limits=everything(1)), users=2)

    assert [point.send(an_answer()), point.send(an_answer()), point.send(an_answer("RITM0000002"))] == [
        "", "", "cycle budget",
    ]  # fmt: skip
    assert [point.send(a_write(u, counts=frozenset())) for u in point.people] == ["", ""]


def test_a_lane_that_was_let_through_is_not_counted_and_the_others_are(database):
    point = Point(database, Watch(MONDAY, limits=everything(0)), users=2)
    point.post.begin(Gates((), (), "p", {"digest": Lane.GRANTS}))

    assert point.send(a_write()) == ""
    assert point.send(a_write(lane=Lane.REMOVALS)) == "cycle budget"


def test_a_breaker_opens_in_the_middle_of_a_cycle_and_keeps_the_rest_back(database):
    point = Point(database, Watch(MONDAY, limits=everything(99)), users=20)
    said = [point.send(a_write(u), OutcomeUnknown("graph", "status 500", status=500)) for u in point.people]

    assert (said.count(""), set(said[10:])) == (10, {"circuit breaker"})
    assert point.calls == 10
    with database.read() as session:
        kept = guards.fact(session, TENANT, "circuit.graph")
    assert kept is not None
    assert point.send(an_answer()) == ""  # the other system is well


def test_an_open_breaker_that_is_tried_again_and_fails_stays_open(database):
    opened = Circuit(MONDAY - HOUR, MONDAY, "status 500")
    point = Point(database, Watch(MONDAY, limits=everything(99), circuits={"graph": opened}), users=3)
    first, second, third = point.people

    assert point.send(a_write(first), Forbidden("graph", operation="assign_license", detail="no")) == ""
    assert point.send(a_write(second)) == "circuit breaker"
    point.clock.advance(minutes=15)
    assert [point.send(a_write(second)), point.send(a_write(third))] == ["", ""]


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Throttled("graph", retry_after_s=5), False),
        (
            Rejected("graph", status=400, code="Request_BadRequest", detail="does not have any available licenses"),
            False,
        ),
        (Rejected("graph", status=400, code="Request_BadRequest", detail="a sentence that nobody knows"), True),
        (Forbidden("graph", operation="assign_license", detail="no"), True),
        (OutcomeUnknown("graph", "status 500", status=500), True),
        (OutcomeUnknown("graph", "no reply in time"), False),
    ],
)
def test_a_refusal_with_a_known_cause_says_nothing_about_the_system(error, counts):
    assert bool(trouble_in(error, "graph")) is counts


def test_what_was_done_in_a_day_is_counted_from_the_log_by_effect_and_once_a_change(database):
    point = Point(database, Watch(MONDAY, limits=everything(99)), users=3)
    first, second, third = point.people
    point.send(a_write(first, counts=frozenset({Lane.GRANTS}), cost=Decimal("5.50")))
    point.send(a_write(first, counts=frozenset({Lane.GRANTS}), cost=Decimal("5.50")))
    point.send(a_write(second, Lane.REMOVALS, counts=frozenset()))
    point.send(a_write(third, Lane.REMOVALS))

    with database.read() as session:
        found = tally.touched_since(session, TENANT, MONDAY - DAY)

    assert found.users == {"grants": {first}, "removals": {third}}
    assert found.cost == Decimal("5.50")


def test_a_plan_that_was_used_and_stops_again_is_told_and_can_be_let_through_again(database):
    plan = guards.GuardPlan("d" * 64, "cycle budget", "grants", 9, 5, "Too many.", ({"line": str(KEY)},), "c1", MONDAY)
    until = MONDAY + timedelta(hours=1)
    with database.write() as session:
        assert guards.keep(session, TENANT, plan)
        assert not guards.keep(session, TENANT, plan)
        guards.release(session, TENANT, "dddd", by="ada", reason="checked", at=MONDAY, until=until)
        assert guards.released(session, TENANT, MONDAY)
        guards.use(session, TENANT, plan.digest, cycle="c2", at=MONDAY)
        assert not guards.released(session, TENANT, MONDAY)
        assert guards.keep(session, TENANT, plan)

        kinds = [row["kind"] for row in journal.export(session, TENANT)]
    assert kinds == ["guard.tripped", "guard.released", "guard.release_used", "guard.tripped"]


# --- a directory under several names


OLD, DIRECTORY = "before", "72f988bf-86f1-41af-91ab-2d7cd011db47"


def named(database: Database) -> None:
    """Both names stand for one directory."""
    with database.write() as session:
        for name in (OLD, TENANT):
            directories.note(session, name, DIRECTORY.upper(), MONDAY)


@pytest.mark.parametrize("is_kill", [True, False])
def test_a_stop_that_was_set_under_another_name_of_the_directory_holds(database, is_kill):
    named(database)
    with database.write() as session:
        if is_kill:
            switches.throw(session, OLD, reason="strange", by="ada", at=MONDAY)
        else:
            switches.freeze(session, OLD, "audit", reason="auditors", by="ada", at=MONDAY)

    stops(Point(database), a_write(), "kill switch" if is_kill else "freeze")

    if is_kill:
        with database.write() as session:
            lifted = releasing.lift(session, TENANT, by="bob", reason="looked into", at=MONDAY, takes_two=False)
        assert lifted.is_off
        assert Point(database).send(a_write()) == ""


def test_what_was_done_under_another_name_counts_for_the_day(database):
    named(database)
    body = {"after": "x", "product": "visio"}
    before = Point(database, users=3)
    before.sender.tenant = OLD
    assert [before.send(a_write(u, body=body, cost=Decimal(5))) for u in before.people[:2]] == ["", ""]

    with database.read() as session:
        names = directories.names(session, TENANT)
        touched = tally.together(tally.touched_since(session, name, MONDAY - DAY) for name in names)

    assert names == (TENANT, OLD)
    assert (touched.users, touched.cost) == ({"grants": frozenset(before.people[:2])}, Decimal(10))
    assert touched.by_product["visio"].users == touched.users
    with database.read() as session:
        of = {row.what: row.used for row in Point(database).post.guarding.usage(session, MONDAY)}
    assert (of["grants"], of["cost"]) == (2, Decimal(10))


def test_a_name_of_another_directory_shares_nothing_and_what_is_known_is_not_written_again(database):
    named(database)
    with database.write() as session:
        assert not directories.note(session, TENANT, DIRECTORY, MONDAY)
        assert directories.note(session, "other", "b" * 36, MONDAY)
        assert directories.names(session, "other") == ("other",)
        assert directories.names(session, "never seen") == ("never seen",)
        assert directories.shared(session, "other") == ""
        assert '"before" too' in directories.shared(session, TENANT)


def test_an_older_name_is_known_by_its_accepted_configuration(database):
    document = {"tenant": {"sandbox": False, "graph": {"tenant_id": DIRECTORY}}}
    with database.write() as session:
        configs.accept(session, OLD, "d" * 64, document, how="signed", at=MONDAY)
        directories.note(session, TENANT, DIRECTORY, MONDAY)

        assert directories.names(session, TENANT) == (TENANT, OLD)


def interrupting(point: Point, users: int) -> Point:
    """The guards of a cycle that interrupts another one, as `Guarding.post` hands them on."""
    lately, watch = point.post.lately(), point.post.watch
    other = Point(point.database, replace(watch, used=lately.used, circuits=lately.circuits), users=users)
    other.post.marks = lately.marks
    return other


def test_what_an_interrupting_cycle_used_of_the_day_counts_and_who_is_in_both_counts_once(database):
    point = Point(database, Watch(MONDAY, limits=everything(4)), users=9)
    assert [point.send(a_write(user)) for user in point.people[:2]] == ["", ""]
    other = interrupting(point, 9)
    assert [other.send(a_write(user)) for user in other.people[1:4]] == ["", "", ""]
    assert other.send(a_write(other.people[4])) == "day budget"

    point.post.count_in(other.post)

    assert point.send(a_write(point.people[0])) == ""
    assert point.send(a_write(point.people[4])) == "day budget"


@pytest.mark.parametrize("rounds", [1, 2])
def test_what_interrupting_cycles_cost_counts_once(database, rounds):
    limits = Limits(dict.fromkeys(Lane, Allowance(100)), dict.fromkeys(Lane, Allowance(100)), cost_per_day=Decimal(40))
    point = Point(database, Watch(MONDAY, limits=limits), users=6)
    ten = [a_write(user, cost=Decimal(10), digest=user) for user in point.people]
    assert point.send(ten[0]) == ""
    for n in range(rounds):
        other = interrupting(point, 6)
        assert other.send(ten[1 + n]) == ""
        point.post.count_in(other.post)

    told = [point.send(write) for write in ten[1 + rounds :]]

    assert told == ["", "", "cost budget", "cost budget"][rounds - 1 :][: len(told)]


def test_a_product_has_one_budget_for_both_cycles(database):
    per = dict.fromkeys(Lane, Allowance(3))
    limits = replace(everything(100), products={"visio": ProductLimits(per_day=per)})
    point = Point(database, Watch(MONDAY, limits=limits), users=6)
    writes = [a_write(user, body={"product": "visio"}) for user in point.people]
    assert point.send(writes[0]) == ""
    other = interrupting(point, 6)
    assert [other.send(write) for write in writes[1:3]] == ["", ""]

    point.post.count_in(other.post)

    assert point.send(writes[3]) == "product budget"


def test_results_of_an_interrupting_cycle_speak_against_the_system_with_ours(database):
    point = Point(database, users=30)
    for user in point.people[:9]:
        point.send(a_write(user), Forbidden("graph", operation="assignLicense", detail="no"))
    other = interrupting(point, 30)
    assert other.send(a_write(other.people[10]), Forbidden("graph", operation="assignLicense", detail="no")) == ""

    point.post.count_in(other.post)

    assert point.send(a_write(point.people[26])) == "circuit breaker"
