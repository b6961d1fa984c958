"""Putting a closed ticket back into people's hands, whatever the instance makes of it (servicenow.md section 10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.loop.observe import Scope
from reconciler.once import once
from tests.simulation.make_day import Day, a_day

SHIPPED = Path(__file__).parents[2] / "config.toml"
LOST = "RITM0010011"  # requested for somebody whom the directory does not know


def told(day: Day, cycles: int = 2) -> list[str]:
    """The ticket's notes after some cycles about it alone."""
    for _ in range(cycles):
        day.reports.append(once(day.app, Scope(tickets=frozenset({LOST}))))
        day.wait(90)
    return day.notes(LOST)


def request(day: Day) -> dict[str, str]:
    return day.world.instance.record("sc_request", day.ticket(LOST)["request"]) or {}


def a_site(folder: Path, change: Callable[[str], str]) -> Path:
    """The shipped configuration with a change."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert change(text) != text
    path = folder / "config.toml"
    path.write_text(change(text), encoding="utf-8")
    return path


def test_a_ticket_that_is_opened_again_agrees_with_itself_and_with_its_request(tmp_path):
    with a_day(tmp_path) as day:
        (note,) = told(day)

        ticket, above = day.ticket(LOST), request(day)
        assert (ticket["active"], ticket["state"], ticket["stage"]) == ("true", "2", "fulfillment")
        assert (above["active"], above["request_state"]) == ("true", "in_process")
        assert "NO access" in note
        assert len(day.tasks(LOST)) == 1


def test_an_instance_whose_words_nobody_configured_keeps_stage_and_request_state(tmp_path):
    silent = a_site(tmp_path, lambda text: "\n".join(r for r in text.splitlines() if not r.startswith("reopened_")))
    with a_day(tmp_path, config=silent) as day:
        told(day)

        assert (day.ticket(LOST)["active"], day.ticket(LOST)["stage"]) == ("true", "complete")
        assert (request(day)["active"], request(day)["request_state"]) == ("true", "closed_complete")


@pytest.mark.parametrize("reopen", ["acl_403", "rule_abort_403", "accepted_then_reverted"])
def test_a_ticket_that_cannot_be_opened_is_carried_by_its_task_and_the_desk_is_told_so_once(tmp_path, reopen):
    with a_day(tmp_path) as day:
        day.world.instance.switches.reopen = reopen

        found, why = told(day)

        (task,) = day.tasks(LOST)
        assert "NO access" in found
        assert "could not be opened again" in why
        assert f"The work is in {task['number']}." in why
        assert (day.ticket(LOST)["active"], request(day)["active"]) == ("false", "false")
        assert task["active"] == "true"


def test_where_nobody_has_a_task_an_item_for_manual_review_is_ordered_once(tmp_path):
    def change(text: str) -> str:
        queues = text.replace('"identity team" = "Identity"', "")
        return queues.replace(
            'follow_up_group = "M365 Licence Desk"\n',
            'review_item = "Software for a team"\nreview_variable = "justification"\n',
            1,
        )

    with a_day(tmp_path, config=a_site(tmp_path, change)) as day:
        day.world.instance.switches.reopen = "acl_403"
        before = {r["number"] for r in day.world.instance.records("sc_req_item")}

        _, why = told(day)

        ordered = [r for r in day.world.instance.records("sc_req_item") if r["number"] not in before]
        assert day.tasks(LOST) == []
        assert len(ordered) == 1
        assert "It was ordered anew as REQ" in why
