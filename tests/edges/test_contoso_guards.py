"""Guards over Contoso, at the gate and at the choke-point: what the tenant, the tickets and the audit log show then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from desired_state.rules.kinds import Deny
from reconciler.allowance import Allowance
from reconciler.config.tenants import FreezeWindow
from reconciler.line import Lane
from reconciler.loop.belonging import Belonging
from reconciler.loop.observe import Scope, Seen
from reconciler.loop.releasing import lift, overview, release
from reconciler.once import once
from reconciler.report import CycleReport
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.store import guards, journal, switches
from tests.make import seen
from tests.simulation.make_day import TENANT, Day, a_day

ONE, TWO, ENDED = "RITM0010001", "RITM0010004", "RITM0010018"


@contextmanager
def contoso(path: Path, **changes: Any) -> Iterator[Day]:
    """Contoso with other guards than the shipped ones."""
    with a_day(path) as day:
        tenant = day.app.tenant
        changed = tenant.guards.model_copy(update=changes)
        day.app = replace(day.app, tenant=tenant.model_copy(update={"guards": changed}))
        yield day


def cycle(day: Day, *tickets: str) -> CycleReport:
    report = once(day.app, Scope(frozenset(tickets)))
    day.reports.append(report)
    return report


def tripped(report: CycleReport) -> set[tuple[str, str]]:
    return {(t.guard, t.lane.value) for t in report.trips}


def log(day: Day, kind: str) -> list[dict[str, Any]]:
    with day.app.database.read() as session:
        return [row for row in journal.export(session, TENANT) if row["kind"] == kind]


def intents(day: Day, system: str) -> list[dict[str, Any]]:
    return [row for row in log(day, "intent") if row["body"]["system"] == system]


def user_of(day: Day, number: str) -> Any:
    ending = next(e for e in day.reports[-1].endings if e.state.key.ticket == number)
    return day.world.directory.user(ending.finding.user.id)


def phase(report: CycleReport, number: str) -> tuple[str, str | None]:
    return next((e.state.phase.value, e.state.cause) for e in report.endings if e.state.key.ticket == number)


def at_write(day: Day, nth: int, then: Callable[[], None], part: str = "") -> None:
    """Do something right before our nth write, counted from now, whose address holds `part`, leaves the process."""
    count = 0

    def meddle(request: httpx.Request) -> None:
        nonlocal count
        is_read = request.method == "GET" or "/$batch" in request.url.path or "/oauth" in request.url.path
        if not is_read and part in request.url.path:
            count += 1
            if count == nth:
                then()

    day.watch.meddle = meddle


def throw(day: Day) -> None:
    with day.app.database.write() as session:
        switches.throw(session, TENANT, reason="strange grants", by="ada", at=day.world.clock.now())


# --- scope


@pytest.mark.parametrize(
    "changes",
    [{"allow_domains": ()}, {"deny_users": ("*@contoso.example",)}, {"allow_domains": (), "allow_groups": ("Empty",)}],
)
def test_who_is_not_in_scope_is_neither_changed_nor_told_anything(tmp_path, changes):
    with contoso(tmp_path, **changes) as day:
        day.world.directory.add_group("Empty")

        report = cycle(day, ONE)

        assert phase(report, ONE) == ("held", "user_out_of_scope")
        assert (day.watch.writes, log(day, "intent")) == ([], [])
        assert (day.licences(user_of(day, ONE).user_id), day.notes(ONE)) == ([], [])


def people_of(tmp_path: Path, *numbers: str) -> list[str]:
    """The object ids of the people of some tickets: the same in each Contoso."""
    with contoso(tmp_path / "people", deny_users=("*",)) as day:
        cycle(day, *numbers)
        return [user_of(day, number).user_id for number in numbers]


def test_what_the_directory_says_against_an_account_is_read_from_it(tmp_path):
    numbers = (ONE, TWO, "RITM0010009", "RITM0010013")
    boss, aide, room, board = people_of(tmp_path, *numbers)
    with contoso(tmp_path / "day", deny_groups=("Board",)) as day:
        directory = day.world.directory
        directory.roles.assign("User Administrator", boss)
        admins = directory.add_group("Helpdesk admins", role_assignable=True)
        directory.roles.assign("Helpdesk Administrator", admins)
        directory.add_member(admins, aide)
        directory.user(room).is_resource = True
        a_board(day, board)

        report = cycle(day, *numbers)

        assert {phase(report, number) for number in numbers} == {("held", "user_out_of_scope")}
        assert (day.watch.writes, log(day, "intent")) == ([], [])
        notes = {e.state.key.ticket: e.state.note for e in report.endings}
        assert "administrator role" in notes[ONE]
        assert "administrator role" in notes[TWO]
        assert "resource account" in notes["RITM0010009"]
        assert "group that is denied" in notes["RITM0010013"]


@pytest.mark.parametrize("kind", ["shared", "room", "equipment"])
def test_a_mailbox_that_is_no_persons_is_known_by_its_purpose(tmp_path, kind):
    (who,) = people_of(tmp_path, ONE)
    with contoso(tmp_path / "day") as day:
        day.world.directory.user(who).mailbox = kind

        report = cycle(day, ONE, TWO)

        assert phase(report, ONE) == ("held", "user_out_of_scope")
        assert f"is a {kind} one" in next(e.state.note for e in report.endings if e.state.key.ticket == ONE)
        assert [i for i in intents(day, "graph") if i["subject"] == user_of(day, ONE).user_id] == []
        assert intents(day, "graph") != []  # the other one's


@pytest.mark.parametrize(
    ("setting", "kind", "granted", "is_served"),
    [
        ("where_readable", "user", True, True),
        ("where_readable", None, True, True),  # no mailbox yet
        ("where_readable", "shared", False, True),  # it cannot be told: lists and patterns, as before
        ("off", "shared", True, True),
        ("required", "user", True, True),
        ("required", None, True, True),
        ("required", "user", False, False),
        ("required", "shared", True, False),
    ],
)
def test_a_purpose_that_is_not_known_counts_as_denied_only_where_it_is_required(
    tmp_path, setting, kind, granted, is_served
):
    (who,) = people_of(tmp_path, ONE)
    with contoso(tmp_path / "day", mailbox_purpose=setting) as day:
        day.world.directory.user(who).mailbox = kind
        if not granted:
            day.world.switches.permissions_withdrawn = ("MailboxSettings.Read",)

        cycle(day, ONE)

        assert bool(intents(day, "graph")) is is_served


def a_board(day: Day, user_id: str) -> None:
    """A group in a group, and somebody in it."""
    inner, outer = (day.world.directory.add_group(name) for name in ("Board office", "Board"))
    day.world.directory.add_member(inner, user_id)
    day.world.directory.add_member(outer, inner)


def test_a_group_lets_its_people_in_through_groups_in_groups(tmp_path):
    (who,) = people_of(tmp_path, ONE)
    with contoso(tmp_path / "day", allow_domains=(), allow_groups=("Board",)) as day:
        a_board(day, who)

        report = cycle(day, ONE, TWO)

        assert phase(report, ONE) == ("granted", None)
        assert phase(report, TWO) == ("held", "user_out_of_scope")


def test_where_roles_cannot_be_read_nothing_is_changed_and_a_grant_stands(tmp_path):
    with contoso(tmp_path) as day:
        cycle(day, ONE)
        writes = list(day.watch.writes)

        day.world.faults.add(FaultRule("unavailable", route="GET /roleManagement"))
        report = cycle(day, ONE, TWO)

        assert phase(report, ONE) == ("granted", "remote_failing")
        assert phase(report, TWO)[0] == "held"
        assert day.watch.writes == writes


# --- budgets


def test_a_plan_over_budget_is_kept_let_through_once_by_name_and_guarded_again(tmp_path):
    with contoso(tmp_path, cost_per_cycle=Decimal(5)) as day:
        report = cycle(day, ONE)
        (trip,) = report.trips
        assert (trip.guard, trip.lane.value, report.exit_code) == ("cost budget", "grants", 4)
        assert (day.watch.writes, intents(day, "graph")) == ([], [])
        assert day.notes(ONE) == []

        cycle(day, ONE)
        (told,) = log(day, "guard.tripped")  # once, however often it stops
        assert (told["body"]["plan"], told["body"]["lines"]) == (trip.digest, [f"{ONE}/1"])

        with day.app.database.write() as session:
            at = day.world.clock.now()
            with pytest.raises(ValueError, match="guards show"):
                release(session, TENANT, "f" * 64, by="ada", reason="checked", at=at)
            with pytest.raises(ValueError, match="reason"):
                release(session, TENANT, trip.digest, by="ada", reason=" ", at=at)
            release(session, TENANT, trip.digest[:12], by="ada", reason="checked", at=at)
        assert cycle(day, TWO).exit_code == 4  # another plan: the release is not for it

        report = cycle(day, ONE)

        assert phase(report, ONE) == ("granted", None)
        assert [row["actor"] for row in log(day, "guard.released")] == ["ada"]
        assert [row["body"]["by"] for row in log(day, "guard.release_used")] == ["ada"]
        assert cycle(day, TWO).exit_code == 4
        assert journal.verify(log_of_all(day)).ok


def log_of_all(day: Day) -> list[dict[str, Any]]:
    with day.app.database.read() as session:
        return list(journal.export(session, TENANT))


def test_a_release_that_nobody_used_within_its_hour_is_over(tmp_path):
    with contoso(tmp_path, grants_per_cycle=Allowance(0)) as day:
        (trip,) = cycle(day, ONE).trips
        with day.app.database.write() as session:
            release(session, TENANT, trip.digest, by="ada", reason="checked", at=day.world.clock.now())
        day.wait(61)

        assert tripped(cycle(day, ONE)) == {("cycle budget", "grants")}
        assert intents(day, "graph") == []


def test_removals_are_a_lane_of_their_own_and_known_ends_are_let_through_ahead(tmp_path):
    with contoso(tmp_path, removals_per_cycle=Allowance(0), removals_per_day=Allowance(0)) as day:
        report = cycle(day, ONE, ENDED)

        assert (tripped(report), phase(report, ONE)[0]) == ({("cycle budget", "removals")}, "granted")
        assert (phase(report, ENDED)[0], day.watch.removals) == ("expiring", [])
        assert len(day.licences(user_of(day, ENDED).user_id)) == 2

        with day.app.database.write() as session:
            at = day.world.clock.now()
            today = overview(session, TENANT, at).ahead[0][0]
            release(session, TENANT, today.digest, by="ada", reason="all known", at=at)
        report = cycle(day, ENDED)

        assert (report.trips, phase(report, ENDED)[0], len(day.watch.removals)) == ((), "revoked", 1)


def test_answers_over_their_budget_stay_owed_until_they_are_let_through(tmp_path):
    with contoso(tmp_path, answers_per_cycle=0) as day:
        report = cycle(day, ONE)
        (trip,) = report.trips
        assert (trip.guard, trip.lane, phase(report, ONE)[0]) == ("cycle budget", Lane.ANSWERS, "granted")
        assert (day.notes(ONE), intents(day, "servicenow")) == ([], [])

        with day.app.database.write() as session:
            release(session, TENANT, trip.digest, by="ada", reason="checked", at=day.world.clock.now())
        cycle(day, ONE)

        assert len(day.notes(ONE)) == 1


def test_a_ticket_is_not_told_about_some_of_its_lines_while_a_guard_holds_others(tmp_path):
    team = "RITM0010032"  # three people, two seats
    with contoso(tmp_path, grants_per_cycle=Allowance(0)) as day:
        report = cycle(day, team)
        assert [e.gated.decision.value for e in report.endings].count("stopped") == 2
        assert day.notes(team) == []

        (trip,) = report.trips
        with day.app.database.write() as session:
            release(session, TENANT, trip.digest, by="ada", reason="checked", at=day.world.clock.now())
        cycle(day, team)

        (note,) = day.notes(team)
        assert "2 of 3 lines work" in note


# --- stops


def test_a_kill_switch_thrown_in_the_middle_of_a_cycle_lets_nothing_more_out(tmp_path):
    with contoso(tmp_path) as day:
        at_write(day, 1, lambda: throw(day), "/users/")

        report = cycle(day)

        assert len(day.watch.writes) == len(intents(day, "graph")) == 1
        assert intents(day, "servicenow") == []
        assert {guard for guard, _ in tripped(report)} == {"kill switch"}
        assert (report.exit_code, report.problems) == (4, ())
        assert all(day.notes(f"RITM00100{n:02}") == [] for n in range(1, 35) if n != 26)


def test_what_a_kill_switch_stopped_is_done_after_it_is_lifted(tmp_path):
    with contoso(tmp_path) as day:
        throw(day)
        report = cycle(day, ONE)
        assert tripped(report) == {
            ("kill switch", lane) for lane in ("grants", "removals", "usage_locations", "answers")
        }
        assert (report.exit_code, day.watch.writes, log(day, "intent")) == (4, [], [])

        with day.app.database.write() as session:
            at = day.world.clock.now()
            assert lift(session, TENANT, by="bob", reason="found it", at=at, takes_two=False).is_off
        report = cycle(day, ONE)

        assert (phase(report, ONE), len(day.notes(ONE))) == (("granted", None), 1)


@pytest.mark.parametrize("how", ["file", "folder", "variable"])
def test_the_kill_switch_works_without_the_store_and_is_on_when_it_cannot_be_read(tmp_path, monkeypatch, how):
    with contoso(tmp_path) as day:

        def stop() -> None:
            if how == "file":
                (tmp_path / "KILL").write_text("smoke in the server room", encoding="utf-8")
            elif how == "folder":  # opening it as a file fails
                (tmp_path / "KILL").mkdir()
            else:
                monkeypatch.setenv("RECONCILER_KILL_SWITCH", "yes")

        at_write(day, 1, stop)
        report = cycle(day, ONE)

        assert len(day.watch.writes) == 1
        assert ("kill switch", "grants") in tripped(report)
        assert report.exit_code == 4


def test_a_freeze_of_the_answers_leaves_the_directory_free_and_the_answers_owed(tmp_path):
    with contoso(tmp_path) as day:

        def freeze() -> None:
            with day.app.database.write() as session:
                now = day.world.clock.now()
                switches.freeze(session, TENANT, "audit", scope="answers", reason="audit", by="ada", at=now)

        at_write(day, 1, freeze)
        report = cycle(day, ONE)

        assert phase(report, ONE) == ("granted", None)
        assert (intents(day, "servicenow"), day.notes(ONE), tripped(report)) == ([], [], {("freeze", "answers")})

        with day.app.database.write() as session:
            switches.lift(session, TENANT, "audit", reason="over", by="ada", at=day.world.clock.now())
        cycle(day, ONE)
        assert len(day.notes(ONE)) == 1


def test_a_window_of_the_configuration_freezes_its_lanes_until_it_ends(tmp_path):
    day_long = FreezeWindow(name="mondays", days=("mon",), at=time(0), lasts=timedelta(hours=12), lanes=("grants",))
    with contoso(tmp_path, freezes=(day_long,)) as day:  # Monday, 10:00 in Berlin
        report = cycle(day, ONE)
        assert (tripped(report), day.watch.writes) == ({("freeze", "grants")}, [])

        day.wait(3 * 60)

        assert phase(cycle(day, ONE), ONE) == ("granted", None)


def test_lifting_takes_two_people_where_it_is_configured(tmp_path):
    with contoso(tmp_path) as day:
        throw(day)

        def lifts(by: str) -> bool:
            with day.app.database.write() as session:
                at = day.world.clock.now()
                return lift(session, TENANT, by=by, reason="found it", at=at, takes_two=True).is_off

        assert [lifts("ada"), lifts(" Ada")] == [False, False]
        day.wait(61)
        assert not lifts("bob")  # what was asked an hour ago is forgotten
        assert lifts("ada")
        told = [(row["actor"], row["body"].get("on")) for row in log(day, "killswitch.set")]
        assert told == [("ada", True), ("ada", None), (" Ada", None), ("bob", None), ("ada", False)]


# --- sources, canary, breakers


def test_a_short_pull_of_tickets_takes_nothing_away_until_a_person_says_it_is_right(tmp_path):
    with contoso(tmp_path) as day:
        day.app.deps()
        with day.app.database.write() as session:
            guards.remember(session, TENANT, "tickets", {"usual": 500, "last": 34}, day.world.clock.now())

        report = cycle(day, ONE, ENDED)

        assert (tripped(report), phase(report, ONE)[0]) == ({("short source", "removals")}, "granted")
        assert (day.watch.removals, phase(report, ENDED)[0]) == ([], "expiring")

        (trip,) = report.trips
        with day.app.database.write() as session:
            release(session, TENANT, trip.digest, by="ada", reason="the year is new", at=day.world.clock.now())
        report = cycle(day, ENDED)
        assert (report.trips, phase(report, ENDED)[0]) == ((), "revoked")
        with day.app.database.read() as session:
            kept = guards.fact(session, TENANT, "tickets")
        assert kept is not None
        assert kept[0] == {"usual": 34, "last": 34}


def test_a_whole_read_remembers_how_many_tickets_there_are(tmp_path):
    with contoso(tmp_path) as day:
        day.cycle()
        with day.app.database.read() as session:
            kept = guards.fact(session, TENANT, "tickets")

        assert kept is not None
        assert kept[0] == {"usual": 34, "last": 34}


def test_the_first_change_is_looked_at_before_the_next_and_a_mismatch_stops_the_batch(tmp_path):
    with contoso(tmp_path) as day:
        store = day.world.directory

        def lose(request: httpx.Request) -> None:
            """Whatever licence was accepted is gone when somebody looks."""
            if request.method == "POST" and request.url.path.endswith("/$batch"):
                for row in intents(day, "graph"):
                    if row["body"]["action"] == "assign_license":
                        user = store.user(row["subject"])
                        user.assignments = [a for a in user.assignments if a.group_id is not None]

        day.watch.meddle = lose
        report = cycle(day)

        assigned = [row for row in intents(day, "graph") if row["body"]["action"] == "assign_license"]
        assert len(assigned) == 1
        assert ("canary", "grants") in tripped(report)
        absent = [row for row in log(day, "readback") if row["body"]["present"] is False]
        assert [row["subject"] for row in absent] == [assigned[0]["subject"]]


def test_results_that_speak_against_the_directory_open_a_breaker_that_closes_after_its_pause(tmp_path):
    with contoso(tmp_path) as day:
        cycle(day)
        written = dict.fromkeys(row["subject"] for row in intents(day, "graph"))
        assert len(written) >= 10
        with day.app.database.write() as session:
            for user in [*written][:3]:
                body = {"action": "assign_license", "lane": "grants", "trouble": "graph: status 500"}
                at = day.world.clock.now()
                journal.append(session, TENANT, kind="result", subject=user, body=body, at=at)
        post = day.app.guarding().post(day_seen(day), Belonging(day.app.graph), cycle="c")
        with day.app.database.write() as session:
            post.read_back(session, [*written][3], Lane.GRANTS, is_there=False)
        before = len(intents(day, "graph"))
        number = "RITM0010025"  # the one whose next try is due
        day.wait(5)

        report = cycle(day, number)

        assert (tripped(report), len(intents(day, "graph"))) == ({("circuit breaker", "grants")}, before)
        (opened,) = [
            row for row in log(day, "guard.tripped") if row["subject"] == "circuit breaker" and "open" in row["body"]
        ]
        assert opened["body"]["system"] == "graph"

        day.wait(60)
        cycle(day, number)
        assert len(intents(day, "graph")) > before


def day_seen(day: Day) -> Any:
    return Seen((), seen(at=day.world.clock.now()), 0)


def test_what_others_turned_back_twice_is_not_set_again_and_its_plan_has_a_name(tmp_path):
    with contoso(tmp_path) as day:
        throw(day)
        report = cycle(day, ONE)
        ending = next(e for e in report.endings if e.state.key.ticket == ONE)
        assign = next(a for a in ending.gated.proposal.actions if a.add)
        with day.app.database.write() as session:
            at = day.world.clock.now()
            lift(session, TENANT, by="bob", reason="found it", at=at, takes_two=False)
            for _ in range(2):
                sets = [
                    {"thing": f"sku {assign.add[0].sku}", "value": f"on without {sorted(assign.add[0].disabled_plans)}"}
                ]
                body = {"action": "assign_license", "lane": "grants", "set": sets, "present": True}
                journal.append(session, TENANT, kind="readback", subject=assign.user, body=body, at=at)

        report = cycle(day, ONE, TWO)

        assert ("fighting controllers", "usage_locations") in tripped(report) or (
            "fighting controllers",
            "grants",
        ) in tripped(report)
        assert phase(report, TWO)[0] == "granted"
        assert day.licences(assign.user) == []


# --- the command line


def test_the_terminal_throws_lifts_and_lets_through(tmp_path, monkeypatch, capsys):
    from reconciler.cli.main import run

    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])

    def said(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run([*words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    assert said("kill-switch", "on", "--reason", "strange", "--by", "ada")[0] == 0
    code, out = said("reconcile", "--ticket", ONE, "--output", "json")
    report = json.loads(out)
    assert (code, report["writes"]) == (4, {"graph": 0, "servicenow": 0})
    assert set(report["guards"][0]) == {"guard", "lane", "wanted", "limit", "digest", "sentence"}
    assert "ada" in said("kill-switch", "status")[1]
    assert json.loads(said("status", "--output", "json")[1])["stops"] == ["kill-switch (*): strange"]
    assert said("kill-switch", "off")[0] == 2
    assert said("kill-switch", "off", "--reason", "found it")[0] == 0
    assert "is off" in said("kill-switch", "status")[1]

    assert said("freeze", "add", "audit", "--reason", "audit", "--lane", "grants", "--until", "tomorrow")[0] == 2
    assert (
        said("freeze", "add", "audit", "--reason", "audit", "--lane", "grants", "--until", "2027-01-01T00:00+01:00")[0]
        == 0
    )
    (freeze,) = json.loads(said("freeze", "list", "--output", "json")[1])
    assert (freeze["name"], freeze["lanes"], freeze["holds"]) == ("audit", ["grants"], True)
    assert said("reconcile", "--ticket", ONE)[0] == 4
    assert said("freeze", "lift", "other", "--reason", "over")[0] == 1
    assert said("freeze", "lift", "audit", "--reason", "over")[0] == 0

    said("reconcile", "--ticket", "RITM0010009")  # ends in 30 days
    assert said("sandbox", "advance", "25d")[0] == 0
    shown = json.loads(said("guards", "show", "--output", "json")[1])
    assert (shown["plans"], shown["people"]) == ([], 49)
    assert {row["what"]: row["used"] for row in shown["budgets"]}["cost"] == "0.00"  # of a day that is over
    assert "cost 0.00 of 5000.00, 2500.00 a cycle" in said("guards", "show")[1]
    assert json.loads(said("status", "--output", "json")[1])["product_budgets"] == []
    (today,) = shown["ahead"]
    code, out = said("guards", "release", "abc", "--reason", "x")
    assert (code, "guards show" in out) == (1, True)
    assert said("guards", "release", today["digest"][:12], "--reason", "all known", "--by", "ada")[0] == 0
    (after,) = json.loads(said("guards", "show", "--output", "json")[1])["ahead"]
    assert after["released_by"] == "ada"


# --- the directory under another name


def renamed(day: Day) -> None:
    """The same directory and the same tickets, under another name in the configuration."""
    settings = day.app.settings.model_copy(update={"tenants": {"fabrikam": day.app.tenant}})
    day.app = replace(day.app, name="fabrikam", settings=settings)


def test_a_new_name_for_the_directory_does_not_lift_its_kill_switch(tmp_path):
    with contoso(tmp_path) as day:
        cycle(day, ONE)
        before = len(day.watch.writes)
        with day.app.database.write() as session:
            switches.throw(session, TENANT, reason="strange", by="ada", at=day.world.clock.now())
        renamed(day)

        report = cycle(day, TWO)

        assert (len(day.watch.writes), report.exit_code) == (before, 4)
        assert ("kill switch", "grants") in tripped(report)
        assert any('known here as "contoso" too' in said for said in report.warnings)


def test_a_new_name_for_the_directory_does_not_start_with_a_fresh_day(tmp_path):
    with contoso(tmp_path, grants_per_day=Allowance(1)) as day:
        cycle(day, ONE)
        before = len([w for w in day.watch.writes if "assignLicense" in w])
        renamed(day)

        report = cycle(day, TWO)

        assert ("day budget", "grants") in tripped(report)
        assert len([w for w in day.watch.writes if "assignLicense" in w]) == before == 1


def test_the_groups_of_a_person_are_read_once_a_cycle_for_scope_and_rules_together(tmp_path):
    rule = Deny(id="not-these", kind="deny", groups=("Board",))
    with contoso(tmp_path, deny_groups=("Board",)) as day:
        day.world.directory.add_group("Board")
        rules = (*day.app.settings.rules, rule)
        day.app = replace(day.app, settings=day.app.settings.model_copy(update={"rules": rules}))
        asked: list[str] = []

        def note(request: httpx.Request) -> None:
            if request.url.host == hosts.GRAPH_HOST:
                asked.extend(re.findall(r"/users/([0-9a-f-]{36})/transitiveMemberOf", request.content.decode()))
                asked.extend(re.findall(r"displayName[^&]*Board", unquote(request.content.decode() + str(request.url))))

        day.watch.meddle = note

        report = cycle(day, ONE, TWO)

        assert {phase(report, number)[0] for number in (ONE, TWO)} <= {"granted", "verifying"}
        assert len(asked) == len(set(asked)) >= 3  # two people and the group, each once
