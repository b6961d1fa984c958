"""Story 12 and its kin through the shipped loop: asked, answered here or in ServiceNow, granted, refused, expired."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from desired_state.model import ProductKey
from desired_state.proposals import Proposal
from reconciler.approvals.machine import OPEN, move
from reconciler.approvals.values import Approval, Channel, Decision, Refusal, State, Verdict
from reconciler.daemon import Service
from reconciler.loop.observe import Scope
from reconciler.once import once
from reconciler.report import CycleReport
from reconciler.store import approvals, journal, proposals, switches
from tests.make_logs import into
from tests.simulation.make_day import TENANT, Day, a_day

E5, AGENT, SHOP, GROUP = "RITM0010012", "RITM0010023", "RITM0010033", "RITM0010031"
NO = "The budget of this year is spent."


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with a_day(tmp_path) as opened:
        yield opened
        assert opened.watch.unannounced == []
        with opened.app.database.read() as session:
            assert journal.verify(tuple(journal.export(session, TENANT))).ok


def look(day: Day, number: str, minutes: float = 0) -> CycleReport:
    day.wait(minutes)
    return once(day.app, Scope(frozenset({number})))


def phase(report: CycleReport) -> tuple[str, str | None]:
    (ending,) = report.endings
    return ending.state.phase.value, ending.state.cause


def requests(day: Day, number: str) -> list[Approval]:
    """Every request of a ticket, the oldest first."""
    with day.app.database.read() as session:
        rows = [r for r in journal.export(session, TENANT) if r["kind"] == "approval.requested"]
        found = [approvals.load(session, TENANT, r["subject"]) for r in rows]
    return [a for a in found if a is not None and a.line.ticket == number]


def request(day: Day, number: str) -> Approval:
    return requests(day, number)[-1]


def answer(day: Day, number: str, verdict: Verdict = Verdict.APPROVE, **changes) -> Approval | Refusal:
    """The first approver of the open stage answers on the page."""
    asked = request(day, number)
    assert asked.stage is not None
    now = day.world.clock.now()
    comment = NO if verdict is Verdict.REJECT else ""
    decision = Decision(asked.stage.name, verdict, asked.stage.approvers[0], asked.digest, now, comment=comment)
    with day.app.database.write() as session:
        return approvals.decide(session, TENANT, asked.id, replace(decision, **changes), now)


def graph_writes(day: Day) -> list[str]:
    return [w for w in day.watch.writes if "/v1.0/" in w]


def native(day: Day, number: str, name: str, state: str = "approved", **how) -> None:
    """Somebody's row in ServiceNow is decided: by themselves, or `by` another, or by an `impersonator`."""
    (person,) = day.world.instance.records("sys_user", name=name)
    day.world.instance.decide(day.ticket(number)["sys_id"], person["sys_id"], state, **how)


def kinds(day: Day, number: str) -> list[str]:
    with day.app.database.read() as session:
        rows = [r for r in journal.export(session, TENANT) if f"{number}/1" in r["body"].get("lines", ())]
    return [r["kind"] for r in rows if r["kind"].startswith("approval.")]


# --- story 12 -----------------------------------------------------------------------------------------------------


def test_e5_is_granted_once_the_manager_and_the_owner_of_the_cost_center_have_said_yes(day):
    assert phase(look(day, E5)) == ("awaiting_approval", None)
    assert [s.approvers[0].name for s in request(day, E5).stages[:1]] == ["Laura McBride"]

    answer(day, E5)
    assert phase(look(day, E5, 5)) == ("awaiting_approval", None)
    assert graph_writes(day) == []
    answer(day, E5)
    look(day, E5, 5)
    report = look(day, E5, 5)

    assert phase(report) == ("granted", None)
    assert [w.rpartition("/")[2] for w in graph_writes(day)] == ["assignLicense"]
    assert request(day, E5).state is State.DONE
    assert "Approved by: Laura McBride, Thomas Brandt" in day.notes(E5)[0]
    assert kinds(day, E5) == [
        *("approval.requested", "approval.decided", "approval.stage_opened"),
        *("approval.decided", "approval.executing", "approval.done"),
    ]


def test_a_rejection_refuses_the_line_and_its_ticket_is_told_why(day):
    look(day, E5)
    answer(day, E5)
    look(day, E5, 5)

    answer(day, E5, Verdict.REJECT)
    report = look(day, E5, 5)

    assert phase(report) == ("refused", "policy_refused")
    assert graph_writes(day) == []
    assert NO in day.notes(E5)[0]
    assert phase(look(day, E5, 60)) == ("refused", "policy_refused")
    assert (len(day.notes(E5)), len(requests(day, E5))) == (1, 1)


def test_nobody_in_time_is_no_refusal_but_a_task_for_people(day):
    look(day, E5)
    look(day, E5, 31 * 60)
    look(day, E5, 24 * 60)
    assert [h.name for h in request(day, E5).stages[0].alternates] == ["Elena Rossi"]

    report = look(day, E5, 4 * 1440)

    assert phase(report) == ("review", "policy_refused")
    assert request(day, E5).state is State.EXPIRED
    assert [k for k in kinds(day, E5) if k != "approval.requested"] == [
        *("approval.reminded", "approval.escalated", "approval.expired"),
    ]
    assert len(day.tasks(E5)) == 1
    late = answer_late(day, E5)
    assert isinstance(late, Refusal)
    assert graph_writes(day) == []


def test_what_expired_is_asked_anew_over_what_would_be_done_now_and_leaves_review(day):
    look(day, E5)
    assert phase(look(day, E5, 6 * 1440)) == ("review", "policy_refused")
    old, now = request(day, E5), day.world.clock.now()
    assert phase(look(day, E5, 60)) == ("review", "policy_refused")  # by itself it stays there

    with day.app.database.write() as session:
        approvals.renew(session, TENANT, old.id, by="Nina Schulz", reason="Lena still needs it.", at=now)

    assert phase(look(day, E5, 5)) == ("awaiting_approval", None)
    fresh = request(day, E5)
    assert (fresh.id != old.id, fresh.state, len(requests(day, E5))) == (True, State.PENDING, 2)
    with day.app.database.read() as session:
        (row,) = [r for r in journal.export(session, TENANT) if r["kind"] == "approval.renewed"]
    assert (row["actor"], row["body"]["reason"], row["subject"]) == ("Nina Schulz", "Lena still needs it.", old.id)
    answer(day, E5)
    look(day, E5, 5)
    answer(day, E5)
    look(day, E5, 5)
    assert phase(look(day, E5, 5)) == ("granted", None)
    assert len(graph_writes(day)) == 1


def test_what_was_asked_anew_and_expires_again_calls_people_again(day):
    look(day, E5)
    look(day, E5, 6 * 1440)
    with day.app.database.write() as session:
        old, now = request(day, E5), day.world.clock.now()
        approvals.renew(session, TENANT, old.id, by="Nina Schulz", reason="Still needed.", at=now)
    look(day, E5, 5)

    assert phase(look(day, E5, 6 * 1440)) == ("review", "policy_refused")

    assert [a.state for a in requests(day, E5)] == [State.EXPIRED, State.EXPIRED]
    assert len(day.tasks(E5)) == 2
    assert graph_writes(day) == []


def test_only_what_expired_is_asked_anew(day):
    look(day, E5)
    asked, now = request(day, E5), day.world.clock.now()

    def refused(id: str, by: str = "Nina", reason: str = "Still needed.") -> str:
        with day.app.database.write() as session, pytest.raises(ValueError) as said:
            approvals.renew(session, TENANT, id, by=by, reason=reason, at=now)
        return str(said.value)

    assert "did not expire, it is pending" in refused(asked.id)
    assert "needs a name and a reason" in refused(asked.id, by=" ")
    assert "there is no request" in refused("LR-" + "Z" * 26)
    look(day, E5, 6 * 1440)
    with day.app.database.write() as session:
        approvals.renew(session, TENANT, asked.id, by="Nina", reason="Still needed.", at=now)
    look(day, E5, 5)
    assert "has a newer request" in refused(asked.id)
    assert len(requests(day, E5)) == 2


def answer_late(day: Day, number: str) -> Approval | Refusal:
    asked, now = request(day, number), day.world.clock.now()
    stage = asked.stages[0]
    with day.app.database.write() as session:
        decision = Decision(stage.name, Verdict.APPROVE, stage.approvers[0], asked.digest, now)
        return approvals.decide(session, TENANT, asked.id, decision, now)


def test_both_yes_in_servicenow_suffice_where_the_rule_says_so(day):
    look(day, E5)

    native(day, E5, "Laura McBride")
    assert phase(look(day, E5, 5)) == ("awaiting_approval", None)
    native(day, E5, "Thomas Brandt")
    look(day, E5, 5)

    assert phase(look(day, E5, 5)) == ("granted", None)
    done = request(day, E5)
    assert [(d.actor.name, d.channel, d.assurance) for d in done.decisions] == [
        ("Laura McBride", Channel.SERVICENOW, "medium"),
        ("Thomas Brandt", Channel.SERVICENOW, "medium"),
    ]


@pytest.mark.parametrize("how", [{"by": "system"}, {"by": "oliver.grant"}, {"impersonator": "oliver.grant"}])
def test_a_row_that_nobody_of_the_stage_has_set_approves_nothing_and_is_told_once(day, how):
    look(day, E5)

    native(day, E5, "Laura McBride", **how)
    look(day, E5, 5)
    look(day, E5, 5)

    assert request(day, E5).decisions == ()
    assert kinds(day, E5).count("approval.not_counted") == 1
    assert graph_writes(day) == []


def test_a_delegate_in_servicenow_answers_for_the_approver_and_both_are_named(day):
    instance, now = day.world.instance, day.world.clock.now()
    laura, claire = (instance.records("sys_user", name=n)[0]["sys_id"] for n in ("Laura McBride", "Claire Dubois"))
    instance.add_delegate(laura, claire, starts=now, ends=now + timedelta(days=2))
    look(day, E5)

    native(day, E5, "Laura McBride", by="claire.dubois")
    look(day, E5, 5)

    (decision,) = request(day, E5).decisions
    assert decision.acting_for is not None
    assert (decision.actor.name, decision.acting_for.name) == ("Claire Dubois", "Laura McBride")


def test_the_service_asks_the_next_stage_soon_after_an_answer_and_runs_no_cycle_for_nothing(day):
    said: list[str] = []
    service = Service(day.app, into(said))
    service.turn()
    answer(day, E5)
    assert request(day, E5).stages[1].opened_at is None

    for _ in range(2):
        day.wait(minutes=0.3)
        service.turn()

    assert request(day, E5).stages[1].opened_at is not None
    assert len(said) == 2, said  # the first cycle, and the one after the answer


# --- what software ordered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "stages"), [(AGENT, 2), (SHOP, 1)])
def test_what_software_orders_is_granted_by_people_alone(day, number, stages):
    look(day, number)
    assert request(day, number).label == "proposal"

    for _ in range(stages):
        assert graph_writes(day) == []
        answer(day, number)
        look(day, number, 5)
    report = look(day, number, 5)

    assert phase(report)[0] == "granted"
    assert request(day, number).state is State.DONE


def test_what_an_agent_withdraws_is_cancelled_with_its_request_and_nothing_is_written(day):
    filed = Proposal(
        "", TENANT, "copilot", "robert.novak@contoso.example", "lena.fischer@contoso.example",
        ProductKey("visio-plan-1"), "Draws maps.", day.world.clock.now(),
    )  # fmt: skip
    with day.app.database.write() as session:
        kept = proposals.file(session, filed, key="k", said="s", at=day.world.clock.now()).proposal
    assert phase(look(day, kept.number)) == ("awaiting_approval", None)
    assert request(day, kept.number).state is State.PENDING

    with day.app.database.write() as session:
        proposals.withdraw(session, kept, at=day.world.clock.now())

    assert phase(look(day, kept.number, 5))[0] == "cancelled"
    assert request(day, kept.number).state is State.CANCELLED
    assert day.watch.writes == []


def test_what_software_ordered_and_a_person_rejected_is_refused(day):
    look(day, SHOP)

    answer(day, SHOP, Verdict.REJECT)

    assert phase(look(day, SHOP, 5)) == ("refused", "policy_refused")
    assert graph_writes(day) == []
    (ours,) = day.tasks(SHOP)
    assert (ours["state"], ours["active"]) == ("4", "false")  # closed incomplete: nothing of it was fulfilled
    assert "Not approved" in ours["close_notes"]
    assert phase(look(day, SHOP, 60)) == ("refused", "policy_refused")
    assert len(day.tasks(SHOP)) == 1


# --- a yes is for one plan, for a while ---------------------------------------------------------------------------


def test_a_yes_is_void_once_the_plan_is_another_one_and_people_are_asked_again(day):
    look(day, SHOP)
    answer(day, SHOP)
    user = request(day, SHOP).beneficiary
    assert user is not None
    day.world.directory.user(user.oid).usage_location = None  # now it would have to be set, and cannot be cleared

    report = look(day, SHOP, 5)

    first, second = requests(day, SHOP)
    assert (first.state, second.state) == (State.VOID, State.PENDING)
    assert "plan has changed" in first.reason
    assert phase(report)[0] == "awaiting_approval"
    assert graph_writes(day) == []


def test_a_yes_is_void_once_the_account_is_disabled(day):
    look(day, SHOP)
    answer(day, SHOP)
    user = request(day, SHOP).beneficiary
    assert user is not None
    day.world.directory.user(user.oid).enabled = False

    look(day, SHOP, 5)

    assert request(day, SHOP).state is State.VOID
    assert graph_writes(day) == []


def test_a_yes_is_void_once_whoever_gave_it_has_lost_the_role(day):
    look(day, SHOP)
    answer(day, SHOP)
    day.world.directory.user(request(day, SHOP).stages[0].approvers[0].oid).enabled = False

    look(day, SHOP, 5)

    first, second = requests(day, SHOP)
    assert (first.state, second.state) == (State.VOID, State.PENDING)
    assert second.stages[0].is_fallback
    assert graph_writes(day) == []


def test_an_approver_who_leaves_before_answering_makes_room_for_the_fallback(day):
    look(day, SHOP)
    day.world.directory.user(request(day, SHOP).stages[0].approvers[0].oid).enabled = False

    look(day, SHOP, 5)

    asked = request(day, SHOP)
    assert (asked.state, asked.stages[0].is_fallback) == (State.PENDING, True)
    assert [h.name for h in asked.stages[0].everyone] == ["Robert Novak"]


def test_a_yes_that_was_not_acted_on_for_a_day_goes_to_a_person(day):
    look(day, SHOP)
    answer(day, SHOP)

    report = look(day, SHOP, 25 * 60)

    assert phase(report) == ("review", "policy_refused")
    assert request(day, SHOP).state is State.EXPIRED
    assert graph_writes(day) == []


def test_a_yes_that_waits_for_a_freeze_does_not_age(day):
    look(day, SHOP)
    now = day.world.clock.now()
    with day.app.database.write() as session:
        switches.freeze(session, TENANT, "week", reason="year end", by="ops", at=now, until_at=now + timedelta(days=3))
    answer(day, SHOP)
    look(day, SHOP, 5)
    assert graph_writes(day) == []

    look(day, SHOP, 3 * 1440)
    report = look(day, SHOP, 60)

    assert phase(report)[0] == "granted"
    assert request(day, SHOP).state is State.DONE


@pytest.mark.parametrize("is_lifted", [True, False])
def test_a_yes_is_void_once_the_kill_switch_was_thrown_and_people_are_asked_again(day, is_lifted):
    look(day, SHOP)
    answer(day, SHOP)
    first = request(day, SHOP).id
    day.wait(1)
    with day.app.database.write() as session:
        switches.throw(session, TENANT, reason="strange", by="ops", at=day.world.clock.now())
        if is_lifted:
            switches.lift(session, TENANT, switches.KILL, reason="found it", by="ops", at=day.world.clock.now())

    report = look(day, SHOP, 1)

    assert phase(report)[0] == "awaiting_approval"
    assert graph_writes(day) == []
    void, fresh = requests(day, SHOP)
    assert (void.id, void.state, fresh.state) == (first, State.VOID, State.PENDING)
    assert "kill switch was thrown" in void.reason
    answer(day, SHOP)  # by somebody who knows of it
    look(day, SHOP, 1)
    assert request(day, SHOP).state is (State.DONE if is_lifted else State.APPROVED)


def test_a_kill_switch_that_is_a_file_is_in_the_log_and_makes_a_yes_void(day):
    look(day, SHOP)
    answer(day, SHOP)
    file = day.app.settings.state_dir / "KILL"
    file.touch()

    for _ in range(2):
        look(day, SHOP, 1)
    file.unlink()
    look(day, SHOP, 1)

    assert [a.state for a in requests(day, SHOP)] == [State.VOID, State.PENDING]
    with day.app.database.read() as session:
        told = [r["body"] for r in journal.export(session, TENANT) if r["kind"] == "killswitch.set"]
    assert [(b["on"], b["outside"]) for b in told] == [(True, True), (False, True)]
    assert graph_writes(day) == []


def test_a_ticket_that_is_cancelled_takes_its_request_with_it(day):
    look(day, E5)
    day.world.instance.truth.update(
        "sc_req_item",
        day.ticket(E5)["sys_id"],
        {"state": "4", "stage": "Request Cancelled", "active": "false"},
        by="lena.fischer",
    )

    report = look(day, E5, 5)

    assert phase(report)[0] == "cancelled"
    assert request(day, E5).state is State.CANCELLED


def test_a_request_that_is_void_at_the_moment_of_the_write_stops_it(day):
    look(day, SHOP)
    answer(day, SHOP)
    asked, said = request(day, SHOP), []

    def void_it(text: str) -> None:
        """Between the last judgement and the write: somebody takes the approval back."""
        if "assign_license" not in text:
            return
        said.append(text)
        with day.app.database.write() as session:
            approvals.change(
                session, TENANT, asked.id, lambda a: move(a, State.VOID, reason="taken back"), day.world.clock.now()
            )

    day.app.progress = void_it
    look(day, SHOP, 5)

    assert len(said) == 1
    assert graph_writes(day) == []
    assert requests(day, SHOP)[0].state is State.VOID


def test_a_proposed_change_of_groups_is_made_once_somebody_agrees(day):
    look(day, GROUP)
    assert request(day, GROUP).label == "person"

    answer(day, GROUP)
    look(day, GROUP, 5)
    report = look(day, GROUP, 30)

    assert phase(report)[0] == "granted"
    assert request(day, GROUP).state is State.DONE


def test_a_cycle_that_changes_nothing_about_a_request_writes_nothing(day):
    look(day, E5)
    with day.app.database.read() as session:
        before = len(tuple(journal.export(session, TENANT)))

    look(day, E5, 5)

    with day.app.database.read() as session:
        assert len(tuple(journal.export(session, TENANT))) == before
    assert request(day, E5).state in OPEN


# --- any path -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_whatever_people_and_the_world_do_no_write_goes_without_all_its_answers(day, seed):
    chance = random.Random(seed)
    numbers = (E5, AGENT, SHOP, GROUP)

    for _ in range(14):
        number = chance.choice(numbers)
        asked = [a for a in requests(day, number) if a.state is State.PENDING]
        match chance.randrange(6):
            case 0 | 1 | 2 if asked and asked[-1].stage is not None and asked[-1].stage.approvers:
                answer(day, number)
            case 3 if asked:
                stranger = replace(asked[-1].stages[0].approvers[0], oid="00000000-0000-4000-8000-000000000000")
                answer(day, number, actor=chance.choice([asked[-1].beneficiary, replace(stranger, employee_id="")]))
            case 4 if asked:
                answer(day, number, digest=chance.choice(["0" * 64, asked[-1].digest]))
            case 5:
                day.wait(chance.choice([60, 1500, 4000]))
        look(day, chance.choice(numbers), 5)

    with day.app.database.read() as session:
        log = tuple(journal.export(session, TENANT))
    for row in (r for r in log if r["kind"] == "intent" and r["body"]["system"] == "graph"):
        for key in row["body"]["lines"]:
            before = [r for r in log if r["seq"] < row["seq"] and key in r["body"].get("lines", ())]
            last = [r for r in before if r["kind"].startswith("approval.")][-1]
            assert (last["kind"], last["body"]["state"]) == ("approval.executing", "executing")
            said = [r["body"] for r in before if r["subject"] == last["subject"] and r["kind"] == "approval.decided"]
            people = [b["actor"]["employee_id"] for b in said]
            assert {b["verdict"] for b in said} == {"approve"}
            assert {b["digest"] for b in said} == {last["body"]["digest"]}
            assert len(said) == len({b["stage"] for b in said}) == len(set(people))
            assert not set(people) & {b[who]["employee_id"] for b in said for who in ("requester", "beneficiary")}
