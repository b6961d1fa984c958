"""Requests for approval are kept with their answers; two at once and a double click leave one answer each."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from reconciler.approvals.machine import move
from reconciler.approvals.routes import RouteBook
from reconciler.approvals.values import Approval, Code, Delegation, Refusal, State, Verdict
from reconciler.clock import ManualClock
from reconciler.line import Lane
from reconciler.loop.approving import Asking, consume
from reconciler.loop.send import Stopped, Write
from reconciler.store import approvals, configs, delegations, journal
from reconciler.store.database import Database, open_database, row_counts
from tests.make import DAY, HOUR, MONDAY
from tests.make_approvals import EVE, ID, LAURA, TENANT, TID, TOM, a_draft, a_stage, an_answer


def opened(database: Database, *stages, **changes) -> Approval:
    with database.write() as session:
        return approvals.open_(session, a_draft(*stages, **changes))


def answer(database: Database, decision, at=MONDAY + HOUR):
    with database.write() as session:
        return approvals.decide(session, TENANT, ID, decision, at)


def kept(database: Database) -> Approval:
    with database.read() as session:
        found = approvals.load(session, TENANT, ID)
    assert found is not None
    return found


def log(database: Database) -> list[journal.AuditRow]:
    with database.read() as session:
        return journal.rows_for(session, TENANT, ID)


def test_a_request_is_kept_whole(database):
    asked = opened(database, a_stage("manager"), a_stage("owner", TOM, opened_at=None))

    assert kept(database) == asked
    assert asked.state is State.PENDING


def test_an_answer_is_kept_with_everything_about_it_and_told_in_the_log(database):
    opened(database)

    answer(database, an_answer(evidence="e" * 64, source="192.0.2.1", agent="Browser", correlation="c1"))

    (decision,) = kept(database).decisions
    assert (decision.evidence, decision.source, decision.decided_at) == ("e" * 64, "192.0.2.1", MONDAY + HOUR)
    row = log(database)[-1]
    assert (row.kind, row.actor, row.body["state"]) == ("approval.decided", f"{LAURA.tid}/{LAURA.oid}", "approved")
    assert row.body["assurance"] == "strong"


def test_a_double_click_counts_once_and_gets_the_first_answer(database):
    opened(database)

    first = answer(database, an_answer(key="click"))
    second = answer(database, an_answer(key="click", verdict=Verdict.REJECT, comment="I changed my mind."))

    assert isinstance(first, Approval)
    assert second == kept(database) == replace(first, decisions=second.decisions)
    assert [d.verdict for d in kept(database).decisions] == [Verdict.APPROVE]
    assert [r.kind for r in log(database)] == ["approval.requested", "approval.decided"]


def test_the_same_human_with_another_key_or_account_is_told_that_they_answered(database):
    opened(database, a_stage("manager", LAURA, replace(LAURA, oid="second-account"), TOM, quorum=2))

    answer(database, an_answer(key="one"))
    again = answer(database, an_answer(replace(LAURA, oid="second-account"), key="two"))

    assert isinstance(again, Refusal)
    assert again.code is Code.ALREADY
    assert kept(database).state is State.PENDING


def test_of_two_approvers_at_the_same_instant_one_decides_and_the_other_finds_it_closed(database, place):
    opened(database, a_stage("manager", LAURA, TOM))
    start, said = threading.Barrier(2), {}

    def click(who, verdict):
        with open_database(place) as own:
            start.wait()
            said[who.name] = answer(own, an_answer(who, verdict))

    clicks = [threading.Thread(target=click, args=a) for a in ((LAURA, Verdict.APPROVE), (TOM, Verdict.REJECT))]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()

    closed = [s for s in said.values() if isinstance(s, Refusal)]
    assert [s.code for s in closed] == [Code.CLOSED]
    (decision,) = kept(database).decisions
    assert kept(database).state is (State.APPROVED if decision.verdict is Verdict.APPROVE else State.REJECTED)


def test_two_double_clicks_at_the_same_instant_leave_one_answer(database, place):
    opened(database)
    start, said = threading.Barrier(2), []

    def click():
        with open_database(place) as own:
            start.wait()
            said.append(answer(own, an_answer(key="click")))

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()

    assert said[0] == said[1]
    assert len(kept(database).decisions) == 1


def test_an_answer_that_does_not_count_changes_nothing(database):
    opened(database)
    with database.read() as session:
        before = row_counts(session)

    refused = answer(database, an_answer(EVE))

    assert isinstance(refused, Refusal)
    assert refused.code is Code.NOT_APPROVER
    with database.read() as session:
        assert row_counts(session) == before


def test_an_id_that_nobody_has_given_out_is_answered_like_a_stranger(database):
    unknown = answer(database, an_answer())
    opened(database)

    assert isinstance(unknown, Refusal)
    assert unknown.sentence == answer(database, an_answer(EVE)).sentence


def test_an_answer_whose_audit_row_cannot_be_written_is_not_kept(database):
    opened(database)

    with database.write() as session:
        session.execute(text("ALTER TABLE audit RENAME TO gone"))

    with pytest.raises(Exception, match=r"no such table|does not exist"), database.write() as session:
        approvals.decide(session, TENANT, ID, an_answer(), MONDAY)

    assert kept(database).decisions == ()


def test_the_inbox_lists_what_a_person_can_answer_now(database):
    opened(database)

    def listed(human, at=MONDAY + HOUR):
        with database.read() as session:
            return [a.id for a in approvals.inbox(session, TENANT, human, at)]

    assert (listed(LAURA), listed(TOM), listed(LAURA, MONDAY + 6 * DAY)) == ([ID], [], [])
    with database.write() as session:
        delegations.delegate(session, TENANT, Delegation(LAURA, TOM, MONDAY, MONDAY + DAY, by=LAURA.upn), MONDAY)
    assert (listed(TOM), listed(TOM, MONDAY + DAY)) == ([ID], [])
    decided = answer(database, an_answer(TOM))
    assert isinstance(decided, Approval)
    assert decided.decisions[0].acting_for == LAURA
    assert listed(LAURA) == []


def test_what_is_told_is_queued_in_the_transaction_of_the_answer(database):
    opened(database)
    told = []

    with pytest.raises(RuntimeError), database.write() as session:
        approvals.decide(
            session, TENANT, ID, an_answer(), MONDAY, tell=lambda _, event, a, __: told.append((event, a.state))
        )
        raise RuntimeError

    assert told == [("approval.outcome", State.APPROVED)]
    assert kept(database).state is State.PENDING


def test_a_change_is_made_to_the_request_as_it_is_now(database):
    opened(database)
    answer(database, an_answer())

    with database.write() as session:
        moved = approvals.change(
            session,
            TENANT,
            ID,
            lambda a: move(a, State.EXPIRED, reason="too late") if a.state is State.PENDING else None,
            MONDAY,
        )

    assert moved is None
    assert kept(database).state is State.APPROVED


def test_who_changed_the_configuration_a_short_time_ago_cannot_approve(database):
    draft = a_draft()
    opened(database, terms=replace(draft.terms, config_change_s=7 * 86_400))
    with database.write() as session:
        journal.append(
            session, TENANT, kind="config.changed", subject="config", body={}, at=MONDAY, actor=LAURA.upn.upper()
        )

    refused, later = answer(database, an_answer()), answer(database, an_answer(), MONDAY + 4 * DAY)

    assert isinstance(refused, Refusal)
    assert refused.code is Code.SELF
    assert isinstance(later, Refusal)
    assert later.code is Code.SELF


def test_the_account_that_changed_the_configuration_is_known_by_its_name_on_any_machine(database):
    draft = a_draft()
    opened(database, terms=replace(draft.terms, config_change_s=7 * 86_400))
    account = f"{LAURA.upn.partition('@')[0].upper()}@host-7"
    with database.write() as session:
        journal.append(session, TENANT, kind="config.changed", subject="config", body={"by": [account]}, at=MONDAY)

    refused = answer(database, an_answer())

    assert isinstance(refused, Refusal)
    assert refused.code is Code.SELF
    assert kept(database).state is State.PENDING


def test_no_write_rests_on_an_answer_that_the_clock_is_behind(database):
    asked = opened(database)
    answer(database, an_answer(), MONDAY + 3 * HOUR)
    write = Write("graph", "assign_license", Lane.GRANTS, "someone", (asked.line,), {})

    def begin(at) -> None:
        nobody: Any = SimpleNamespace()  # no system is asked
        asking = Asking(TENANT, TID, database, ManualClock(at), nobody, nobody, RouteBook(), lambda: b"")
        with database.write() as session:
            consume(asking, session, write, {asked.line: (ID, asked.digest)}, "cycle")

    with pytest.raises(Stopped, match="the clock went back behind the answers"):
        begin(MONDAY + 2 * HOUR)
    assert kept(database).state is State.APPROVED
    begin(MONDAY + 4 * HOUR)
    assert kept(database).state is State.EXECUTING


def test_opening_a_request_is_recorded_whoever_tries(database):
    opened(database)

    with database.write() as session:
        approvals.note_view(session, TENANT, ID, LAURA, True, MONDAY)
        approvals.note_view(session, TENANT, "LR-UNKNOWN", EVE, False, MONDAY)

    with database.read() as session:
        (denied,) = journal.rows_for(session, TENANT, "LR-UNKNOWN")
    assert (log(database)[-1].kind, denied.kind, denied.body["who"]["oid"]) == (
        "approval.viewed",
        "approval.view_denied",
        EVE.oid,
    )


def test_who_signed_for_a_configuration_that_allows_more_cannot_approve_under_it_yet(database):
    opened(database, terms=replace(a_draft().terms, config_change_s=7 * 86_400))
    with database.write() as session:
        configs.accept(session, TENANT, "d" * 64, {"mode": "enforce"}, how="signed", at=MONDAY, by=[LAURA.upn, "x@y.z"])

    refused = answer(database, an_answer(), MONDAY + DAY)
    with database.read() as session:
        later = approvals.changers(session, TENANT, kept(database), MONDAY + 8 * DAY)

    assert isinstance(refused, Refusal)
    assert refused.code is Code.SELF
    assert later == frozenset()
