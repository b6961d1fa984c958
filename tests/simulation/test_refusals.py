"""What Microsoft refuses, by the shipped loop: named once, handed back, traceable, and not tried again blindly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day, contoso_with
from tests.simulation.test_endings import has, log, row

ANNA_S, PROJECT = "RITM0010001", "PROJECTPROFESSIONAL"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with a_day(tmp_path, contoso_with(ANNA_S)) as running:
        yield running


def results(day: Day, number: str) -> list[dict[str, Any]]:
    with day.app.database.read() as session:
        rows = journal.rows_for(session, TENANT, number)
    return [dict(r.body) for r in rows if r.kind == "result"]


def test_a_service_that_the_country_does_not_allow_is_named_and_not_tried_again(day):
    anna = day.world.directory.user("anna.berger@contoso.example")
    day.world.directory.prohibit("PROJECT_CLIENT_SUBSCRIPTION", "DE")

    for _ in range(4):
        day.cycle()
        day.wait(24 * 60)

    found = row(day, ANNA_S)
    assert (found["phase"], found["cause"]) == ("review", "usage_location_refused")
    assert not has(day, "anna.berger", PROJECT)
    assert [action for action, _ in log(day, ANNA_S)].count("assign_license") == 1
    (note,) = day.notes(ANNA_S)
    assert "is not allowed in the usage location of the account" in note
    assert anna.usage_location == "DE"
    with day.app.database.read() as session:
        assert not [r for r in journal.rows_for(session, TENANT, anna.user_id) if r.body.get("trouble")]


def test_a_failed_write_is_in_the_log_with_both_names_that_support_asks_for(day):
    day.world.faults.add(FaultRule("server_error", route="POST /users"))

    day.cycle()

    failed = [r for r in results(day, ANNA_S) if r["result"] == "failed"]
    assert failed
    assert all(re.fullmatch(UUID, r["client_request_id"]) and r["request_id"] for r in failed)
    assert len({r["client_request_id"] for r in failed}) == len(failed)


def test_a_write_whose_reply_was_lost_keeps_our_own_name_for_it(day):
    day.world.faults.add(FaultRule("reply_lost", route="POST /users"))

    day.cycle()

    (lost, *_) = [r for r in results(day, ANNA_S) if r["result"] == "failed"]
    assert re.fullmatch(UUID, lost["client_request_id"])
    assert lost["request_id"] == ""


def test_a_closed_ticket_that_costs_more_than_was_approved_is_handed_back_once(tmp_path):
    text = Path("config.toml").read_text("utf-8")
    cheap = "[products.project-plan-3]\nprice = 28.10"
    assert cheap in text
    config = tmp_path / "config.toml"
    config.write_text(text.replace(cheap, "[products.project-plan-3]\nprice = 99.00"), "utf-8")
    with a_day(tmp_path, contoso_with(ANNA_S), config=config) as day:
        for _ in range(3):
            day.cycle()
            day.wait(24 * 60)

        found = row(day, ANNA_S)
        assert (found["phase"], found["cause"]) == ("review", "policy_refused")
        assert not has(day, "anna.berger", PROJECT)
        assert log(day, ANNA_S) == []
        (note,), (task,) = day.notes(ANNA_S), day.tasks(ANNA_S)
        assert "costs 99.00 a month and 28.10 was approved" in note
        assert "have its price approved" in task["description"]
        assert day.ticket(ANNA_S)["active"] == "true"  # reopened: it says what is not so


def test_a_permission_that_is_missing_is_told_to_the_operator_once_and_only_when_it_lasts(tmp_path):
    with a_day(tmp_path, contoso_with(ANNA_S), may=lambda permission: "ReadWrite" not in permission) as day:
        day.cycle()
        assert (day.phase(ANNA_S), day.notes(ANNA_S)) == ("held", [])

        for _ in range(4):
            day.wait(90)
            day.cycle()

        assert row(day, ANNA_S)["cause"] == "permission_missing"
        (note,), (task,) = day.notes(ANNA_S), day.tasks(ANNA_S)
        assert "the reconciler may not" in note and "reconciler doctor" in note
        assert "a permission is missing" in task["short_description"]
        assert day.ticket(ANNA_S)["active"] == "false"  # it may be true: nothing is reopened for our own want
