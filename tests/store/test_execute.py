"""Plans carried out by what ships, against a directory that counts: who got what, by how many requests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from desired_state.model import Person, PlanId
from reconciler.causes import Cause
from reconciler.clock import ManualClock
from reconciler.lifecycle import Phase
from reconciler.line import Gated, LineState, Observed
from reconciler.loop.diff import Windows, diff
from reconciler.loop.execute import SLICE, Between
from reconciler.loop.overtaking import Meanwhile
from reconciler.loop.pacer import Pacer
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.readback import are_there
from reconciler.loop.rereading import Beside, in_a_thread, when_asked
from reconciler.model import Outcome, Result
from reconciler.pacing import WRITES
from reconciler.store import journal, quota, switches
from reconciler.store.database import Database
from tests.bench.writes import BY_GROUP, DIRECT, TENANT, Site, graph_of, people
from tests.bench.writes_directory import GROUP, Directory
from tests.make import E3, MONDAY, TEAMS1, VISIO, a_line, a_product, a_sku, a_user, seen
from tests.make_database import a_database

GERMAN = Person("p1", email="ada@contoso.example", country="DE")


def a_directory(count: int, **more: object) -> Directory:
    held = {str(user): set[str]() for user in people(count)}
    return Directory(ManualClock(MONDAY), 0.08, str(VISIO), held, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path):
    with a_database(tmp_path / "reconciler.db") as database:
        yield database


def joined(directory: Directory) -> list[int]:
    """How many were named in each request to the group."""
    return [len(body.get("members@odata.bind", [None])) for _, path, body in directory.asked if GROUP in path]


def log(database: Database, kind: str) -> list[str]:
    with database.read() as session:
        return [row["subject"] for row in journal.export(session, TENANT) if row["kind"] == kind]


def results(database: Database) -> Counter[str]:
    with database.read() as session:
        return Counter(r["body"]["result"] for r in journal.export(session, TENANT) if r["kind"] == "result")


def join(directory: Directory, store: Database, count: int) -> dict[str, list[str]]:
    lines = [a_line(f"RITM{n:07d}", user=user, product=BY_GROUP) for n, user in enumerate(people(count))]
    outcomes = Site(directory, store).carry_out(lines, count)
    found: dict[str, list[str]] = {}
    for key, done in outcomes.items():
        found.setdefault(done[-1].result.value, []).append(str(people(count)[int(key.ticket[4:])]))
    return found


def test_people_join_a_group_twenty_a_request_after_the_first_few_were_seen(store):
    directory = a_directory(200)

    told = join(directory, store, 200)

    assert joined(directory) == [1, 10, *[20] * 9, 9]
    assert sorted(directory.members) == sorted(people(200)) == sorted(told["applied"])
    assert sorted(log(store, "intent")) == sorted(log(store, "result")) == sorted(people(200))


def test_one_whom_the_group_cannot_take_in_keeps_nobody_else_out(store):
    gone = str(people(40)[20])
    directory = a_directory(40, gone={gone})

    told = join(directory, store, 40)

    assert told["failed"] == [gone]
    assert sorted(directory.members) == sorted(set(people(40)) - {gone}) == sorted(told["applied"])
    assert log(store, "intent").count(gone) == 1


def thrown_once_refused(directory: Directory, store: Database, status: int) -> None:
    """Somebody throws the kill switch while the first request that is refused is on its way."""

    def throw(_: str) -> bool:
        if directory.refused[status] == 1:
            with store.write() as session:
                switches.throw(session, TENANT, reason="strange", by="ada", at=directory.clock.now())
        return False

    directory.lost = throw


def test_a_kill_switch_that_is_thrown_while_a_request_is_taken_apart_stops_its_parts(store):
    directory = a_directory(40, gone={str(people(40)[20])})
    thrown_once_refused(directory, store, 404)

    told = join(directory, store, 40)

    assert sorted(directory.members) == sorted(people(40)[:19]) == sorted(told["applied"])
    assert len(told["skipped"]) == 21
    assert joined(directory) == [1, 10, 4, 4, 4]  # the last four were refused, and no part of them left
    assert results(store) == {"accepted": 19, "stopped": 4}


def test_a_kill_switch_that_is_thrown_while_licences_are_taken_apart_stops_each_of_them(store):
    directory = a_directory(2, without_seat={str(E3)})
    thrown_once_refused(directory, store, 400)

    told = of_one_person(directory, store)

    assert told == {"RITM0000001": "applied", "RITM0000002": "skipped", "RITM0000003": "skipped"}
    assert directory.held[str(people(2)[0])] == set()
    assert results(store) == {"accepted": 1, "stopped": 2}


def test_who_was_in_the_group_by_then_is_no_failure_and_nothing_of_ours(store):
    directory = a_directory(40)
    there = str(people(40)[20])

    def others(_: str) -> bool:
        if len(directory.members) == 1:
            directory.members[there] = None
        return False

    directory.lost = others
    told = join(directory, store, 40)

    assert sorted(directory.members) == sorted(people(40)) == sorted(told["applied"])


def test_a_lost_answer_leaves_all_whom_the_request_named_to_be_looked_at(store):
    directory = a_directory(40)
    directory.lost = lambda path: len(directory.members) == 11

    told = join(directory, store, 40)

    assert len(told["failed"]) == 10
    assert len(directory.members) == 40
    assert sum(joined(directory)) == 40  # nobody is named twice


def test_usage_locations_are_set_ahead_in_batches_and_licences_one_by_one(store):
    users = people(60)
    directory = a_directory(60, countries=dict.fromkeys(map(str, users), ""))
    lines = [a_line(f"RITM{n:07d}", user=u, product=DIRECT, person=GERMAN) for n, u in enumerate(users)]

    outcomes = Site(directory, store).carry_out(lines, 60)

    assert set(directory.countries.values()) == {"DE"}
    assert all(skus == {str(VISIO)} for skus in directory.held.values())
    assert {o.result for done in outcomes.values() for o in done} == {Result.APPLIED}
    kinds = ["location" if "usageLocation" in json.dumps(body) else "licence" for _, _, body in directory.asked]
    first = kinds.index("licence")
    assert set(kinds[first:]) == {"licence"}
    assert first < 60 / 4
    assert directory.refused[409] == 0


def of_one_person(directory: Directory, store: Database) -> dict[str, str]:
    """Somebody else goes first, and is looked at; then two products of one person, by two tickets."""
    ada, bob = people(2)
    other = a_product("e3", name="Office 365 E3", candidate_skus=(E3,), proof_plans=(TEAMS1,))
    lines = [
        a_line("RITM0000001", user=bob),
        a_line("RITM0000002", user=ada),
        a_line("RITM0000003", user=ada, product=other),
    ]
    outcomes = Site(directory, store).carry_out(lines, 9, [a_sku(free=9), a_sku(E3, free=9, plans=(TEAMS1,))])
    return {key.ticket: done[-1].result.value for key, done in outcomes.items()}


def test_all_licences_of_a_person_leave_in_one_call(store):
    directory = a_directory(2)

    told = of_one_person(directory, store)

    assert set(told.values()) == {"applied"}
    assert directory.held[str(people(2)[0])] == {str(VISIO), str(E3)}
    assert [len(body["addLicenses"]) for _, _, body in directory.asked] == [1, 2]
    assert log(store, "intent").count(people(2)[0]) == 2


def test_a_licence_that_cannot_be_given_takes_no_other_of_the_person_with_it(store):
    directory = a_directory(2, without_seat={str(E3)})

    told = of_one_person(directory, store)

    assert told == {"RITM0000001": "applied", "RITM0000002": "applied", "RITM0000003": "failed"}
    assert directory.held[str(people(2)[0])] == {str(VISIO)}


def test_what_is_left_of_the_quota_is_waited_for_and_no_write_is_refused(store):
    directory = a_directory(60)
    with store.write() as session:
        quota.take(session, TENANT, 2990, bucket=WRITES, at=MONDAY)
    directory.spend(2990)
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(people(60))]
    directory.latency_s = 0.001

    Site(directory, store).carry_out(lines, 60)

    assert directory.refused == {}
    assert directory.clock.monotonic() == pytest.approx(2.5, abs=0.2)  # fifty more than were left, at 20 a second


class Busy(Directory):
    """It refuses the first batch of writes as a whole, and wants to be left alone for a minute."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if b"usageLocation" in request.read() and b'"PATCH"' in request.content and not self.refused[429]:
            self.refused[429] += 1
            error = {"error": {"code": "TooManyRequests", "message": "Too many requests."}}
            return httpx.Response(429, json=error, headers={"Retry-After": "60"})
        return super().handle_request(request)


def test_a_batch_that_is_refused_as_a_whole_lowers_the_level_that_others_write_by(store):
    users = people(20)
    directory = Busy(
        ManualClock(MONDAY),
        0.08,
        str(VISIO),
        {str(user): set() for user in users},
        countries=dict.fromkeys(map(str, users), ""),
    )
    lines = [a_line(f"RITM{n:07d}", user=u, product=DIRECT, person=GERMAN) for n, u in enumerate(users)]

    Site(directory, store).carry_out(lines, 20)

    assert set(directory.countries.values()) == {"DE"}
    with store.write() as session:  # at 20 a second, it is far from full again
        now = directory.clock.now()
        assert quota.take(session, TENANT, 2000, bucket=WRITES, at=now) > 30.0


class Failing(Directory):
    """After so many licence writes it cannot be read."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/$batch") and len(self.asked) >= SLICE:
            return httpx.Response(503, json={"error": {"code": "serviceUnavailable", "message": "later"}})
        return super().handle_request(request)


def test_a_read_that_fails_between_slices_ends_the_plan_and_loses_nothing_of_what_was_sent(store):
    users = people(SLICE + 3)
    directory = Failing(ManualClock(MONDAY), 0.08, str(VISIO), {str(user): set() for user in users})
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(users)]

    outcomes = Site(directory, store).carry_out(lines, len(users))

    told = Counter(done[-1].result for done in outcomes.values())
    assert told == {Result.APPLIED: SLICE, Result.SKIPPED: 3}
    assert sum(bool(skus) for skus in directory.held.values()) == SLICE
    assert len(log(store, "result")) == SLICE


@pytest.mark.parametrize(("cause", "alone"), [(Cause.REMOTE_FAILING, True), (Cause.NOT_IN_GROUP, False)])
def test_who_failed_in_a_request_of_many_is_tried_again_alone(store, cause: Cause, alone: bool):
    directory = a_directory(60)
    lines = []
    for n, user in enumerate(people(60)):
        line = a_line(f"RITM{n:07d}", user=user, product=BY_GROUP)
        state = LineState(line.key, Phase.CONVERGING, cause=cause.value, attempts=1, user=user)
        lines.append(replace(line, state=state) if n == 30 else line)

    Site(directory, store).carry_out(lines, 60)

    assert sorted(directory.members) == sorted(people(60))
    by_itself = [body for _, path, body in directory.asked if GROUP in path and "members@odata.bind" not in body]
    assert any(str(people(60)[30]) in json.dumps(body) for body in by_itself) is alone


class Lagging(Directory):
    """A filter of its shows nothing of what was written."""

    def _read(self, url: str) -> Any:
        found = super()._read(url)
        if url.startswith("/users?$filter="):
            for row in found["value"]:
                row |= {"assignedLicenses": [], "licenseAssignmentStates": []}
        return found


@pytest.mark.parametrize("kind", [Directory, Lagging])
def test_of_many_changes_a_filter_shows_what_is_there_and_the_rest_is_read_by_id(kind: type[Directory]):
    users = people(120)
    directory = kind(ManualClock(MONDAY), 0.08, str(VISIO), {str(user): {str(VISIO)} for user in users})
    directory.held[str(users[7])] = set()
    graph = graph_of(directory, directory.clock, Pacer(TENANT, directory.clock))
    (bought,) = plan(diff([a_line()], seen(a_user()), at=MONDAY, windows=Windows()), seen(a_user()), Bounds()).actions

    there = are_there(graph, [replace(bought, user=user) for user in users])

    assert [n for n, is_there in enumerate(there) if not is_there] == [7]
    assert directory.calls["read"] == (2 if kind is Directory else 7)


class Forgetful(Directory):
    """Accepts every licence, and gives none any more once so many people have one."""

    remembered = 0

    def _answer(self, method: str, url: str, body: Any, meets: bool) -> tuple[int, Any, dict[str, str]]:
        answer = super()._answer(method, url, body, meets)
        held = [user for user, skus in self.held.items() if skus]
        for user in held[self.remembered :]:
            self.held[user].clear()
        return answer


@pytest.mark.parametrize(
    ("remembered", "sent", "beside"),
    [
        pytest.param(0, 1, when_asked, id="the first"),
        pytest.param(10, 11, when_asked, id="the next ten"),
        pytest.param(110, 111, when_asked, id="the first tenth, which is waited for"),
        pytest.param(111, 311, in_a_thread, id="a later one, looked at beside the next"),
        pytest.param(310, 411, when_asked, id="the last of one"),
    ],
)
def test_of_a_long_plan_never_more_than_two_tenths_are_out_unseen(
    store: Database, remembered: int, sent: int, beside: Beside
):
    directory = Forgetful(ManualClock(MONDAY), 0.08, str(VISIO), {str(user): set() for user in people(1000)})
    directory.remembered = remembered
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(people(1000))]

    outcomes = Site(directory, store, beside=beside).carry_out(lines, 1000)

    told = Counter(done[-1].result.value for done in outcomes.values())
    assert told == {"applied": sent, "skipped": 1000 - sent}
    assert sum(1 for skus in directory.held.values() if skus) == remembered
    with store.read() as session:
        looked = [row["body"]["present"] for row in journal.export(session, TENANT) if row["kind"] == "readback"]
    assert Counter(looked) == Counter({True: remembered, False: sent - remembered})


TEAMS, SWAY = (PlanId(f"cccccccc-0000-4000-8000-00000000000{n}") for n in "ab")


class Plans(Directory):
    """Everybody has a licence with two plans, of which those in `off` are off."""

    off: dict[str, set[str]]

    def _answer(self, method: str, url: str, body: Any, meets: bool) -> tuple[int, Any, dict[str, str]]:
        if url.endswith("/assignLicense?"):
            (grant,) = body["addLicenses"]
            self.off[url.split("/")[2]] = set(grant["disabledPlans"])
        return super()._answer(method, url, body, meets)

    def _read(self, url: str) -> Any:
        if not url.endswith("/licenseDetails?$select=skuId,skuPartNumber,servicePlans"):
            return super()._read(url)
        off = self.off[url.split("/")[2]]
        states = {plan: "Disabled" if plan in off else "Success" for plan in (TEAMS, SWAY)}
        plans = [
            {"servicePlanId": p, "servicePlanName": p, "provisioningStatus": s, "appliesTo": "User"}
            for p, s in states.items()
        ]
        return {"value": [{"skuId": str(E3), "skuPartNumber": "E3", "servicePlans": plans}]}

    def _user(self, user: str) -> Any:
        found = super()._user(user)
        for row in (*found["assignedLicenses"], *found["licenseAssignmentStates"]):
            row["disabledPlans"] = sorted(self.off[user])
        return found


SWITCHED = [
    a_product(plan, name=name, candidate_skus=(E3,), proof_plans=(plan,))
    for name, plan in (("Teams", TEAMS), ("Sway", SWAY))
]


def all_off(count: int) -> Plans:
    """So many people, each with the licence and both of its plans off."""
    directory = Plans(ManualClock(MONDAY), 0.08, str(E3), {str(user): {str(E3)} for user in people(count)})
    directory.off = {str(user): {str(TEAMS), str(SWAY)} for user in people(count)}
    return directory


def looked_at(store: Database) -> list[Any]:
    with store.read() as session:
        return [row["body"] for row in journal.export(session, TENANT) if row["kind"] == "readback"]


def test_what_an_urgent_ticket_sets_anew_in_between_is_no_trouble(store: Database):
    directory, sku = all_off(30), a_sku(E3, plans=(TEAMS, SWAY))
    teams, sway = SWITCHED
    lines = [a_line(f"RITM{n:07d}", user=user, product=teams) for n, user in enumerate(people(30))]
    urgent = a_line("RITM0000099", user=people(30)[7], product=sway)
    served: list[Outcome] = []

    def between(_: Observed) -> Between:
        def serve(rest: Iterable[Gated]) -> Meanwhile:
            if served or urgent.account in {g.proposal.finding.line.account for g in rest}:
                return Meanwhile()
            done = Site(directory, store).plan_and_execute([urgent], "c1-urgent1", 10**6, [sku])[1]
            served.extend(done[urgent.key])
            return Meanwhile(outcomes=tuple(served))

        return serve

    site = Site(directory, store, slice_requests=5)
    outcomes = site.plan_and_execute(lines, "c1", 10**6, [sku], between=between)[1]

    assert [one.result for one in served] == [Result.APPLIED]
    assert {done[-1].result for done in outcomes.values()} == {Result.APPLIED}
    assert directory.off == {str(u): {str(SWAY)} if u != urgent.account else set() for u in people(30)}
    assert {row["present"] for row in looked_at(store)} == {True}


@pytest.mark.parametrize(
    ("count", "later"),
    [
        pytest.param(30, 0, id="in one group"),
        pytest.param(500, 30, marks=pytest.mark.long, id="in two tenths, of which one is looked at beside the other"),
    ],
)
def test_what_a_later_change_of_the_plan_sets_anew_is_no_trouble(store: Database, count: int, later: int):
    users, directory = people(count), all_off(count)
    lines = [
        a_line(f"RITM{n + half * later:06d}{half}", user=user, product=product)
        for n, user in enumerate(users)
        for half, product in enumerate(SWITCHED)
    ]

    outcomes = Site(directory, store, 10**6).carry_out(lines, count, [a_sku(E3, plans=(TEAMS, SWAY))])

    assert {done[-1].result for done in outcomes.values()} == {Result.APPLIED}
    assert not any(directory.off.values())
    looked = looked_at(store)
    assert {row["present"] for row in looked} == {True}
    last = {str(key) for key in outcomes if outcomes[key][-1].action.product == SWAY}
    assert last <= {line for row in looked for line in row["lines"]}
