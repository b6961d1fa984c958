"""Story 17 by the shipped loop: a licence that we granted was taken away by hand, and what each site does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from desired_state import ledger
from reconciler.explain import as_json, explain
from reconciler.line import Ending
from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day, contoso_with

TICKET, QUENTIN, SKU = "RITM0010017", "quentin.moreau@contoso.example", "PROJECT_P1"
Site = Callable[[str], AbstractContextManager[Day]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Contoso with something added to the product of the story."""

    @contextmanager
    def opened(more: str) -> Iterator[Day]:
        text = Path("config.toml").read_text("utf-8")
        head = "[products.project-plan-1]\n"
        assert head in text
        path = tmp_path / "config.toml"
        path.write_text(text.replace(head, f"{head}{more}\n"), "utf-8")
        with a_day(tmp_path, contoso_with(TICKET), config=path) as day:
            yield day

    return opened


def ending(day: Day) -> Ending:
    return next(e for e in day.reports[-1].endings if e.state.key.ticket == TICKET)


def holds(day: Day) -> bool:
    return any(sku == day.world.directory.sku(SKU) for sku, _, _ in day.licences(QUENTIN))


def writes_about_quentin(day: Day) -> list[str]:
    user = day.world.directory.user(QUENTIN).user_id
    return [w for w in day.watch.writes if user in w]


def moves(day: Day) -> list[dict[str, Any]]:
    with day.app.database.read() as session:
        rows = journal.rows_for(session, TENANT, TICKET)
    return [dict(row.body) for row in rows if row.kind == "line_moved"]


def take_away(day: Day) -> None:
    directory = day.world.directory
    tom = directory.user("tom.weber@contoso.example")
    from reconciler.sandbox.directory import Actor

    directory.withdraw(
        directory.user(QUENTIN).user_id, SKU, actor=Actor(user_id=tom.user_id, upn=tom.upn, name="Tom Weber")
    )


def give_by_hand(day: Day) -> None:
    day.world.directory.grant(day.world.directory.user(QUENTIN).user_id, SKU)


def test_a_removal_is_not_undone_and_the_actor_is_in_the_ticket_line_and_the_audit_log(tmp_path):
    with a_played_day(tmp_path) as day:
        state = ending(day).state
        assert (state.phase, state.cause) == ("drifted", "removed_later")
        assert (holds(day), writes_about_quentin(day)) == (False, [])
        assert "Tom Weber" in state.note and "certain" in state.note
        found = moves(day)[-1]["aftermath"]
        assert (found["loss"], found["kind"], found["confidence"]) == ("removed", "person", "certain")
        assert found["actor"] == "Tom Weber (tom.weber@contoso.example)"
        assert found["at"].startswith("2026-11-01T14:30")
        (note,), (task,) = day.notes(TICKET), day.tasks(TICKET)
        assert all("Tom Weber" in text and "certain" in text for text in (note, task["description"]))
        assert day.ticket(TICKET)["active"] == "false"  # asked, not reopened


def test_explain_names_the_loss_the_actor_and_how_often_it_happened(tmp_path):
    with a_played_day(tmp_path) as day:
        (chain,) = explain(day.app.database, TENANT, TICKET)
        (line,) = as_json(chain, day.app.catalogue)["lines"]

    assert line["reversals"] == 1
    assert line["later_drift"]["loss"] == "removed"
    (moved,) = [e["what"] for e in line["events"] if e["kind"] == "line_moved"]
    assert moved.endswith("drifted: removed by Tom Weber (tom.weber@contoso.example), certain")


def test_the_next_cycles_ask_the_log_no_more_and_change_nothing(tmp_path):
    with a_played_day(tmp_path) as day:  # the first cycle remembers what it found, the second what the ticket was told
        day.cycle()
        before, said = ending(day).state, len(moves(day))
        asked: list[str] = []
        day.watch.meddle = lambda request: asked.append(request.url.path)

        for _ in range(3):
            day.wait(60)
            day.cycle()

        assert ending(day).state == before
        assert len(moves(day)) == said
        assert not [path for path in asked if "directoryAudits" in path]


def test_a_licence_that_a_person_puts_back_is_granted_again_by_itself(tmp_path):
    with a_played_day(tmp_path) as day:
        give_by_hand(day)
        day.wait(60)
        day.cycle()

        assert ending(day).state.phase == "granted"
        assert writes_about_quentin(day) == []


def test_a_site_that_adopts_removals_ends_the_entitlement(site):
    with site('on_drift = "adopt"') as day:
        day.cycle()

        with day.app.database.read() as session:
            standings = ledger.standings(session, TENANT, tickets={TICKET})
        (standing,) = standings.values()
        assert (ending(day).state.phase, ending(day).state.cause) == ("cancelled", "removed_later")
        assert standing.ended_why == "adopted removal"
        assert "Tom Weber" in "".join(day.notes(TICKET))
        give_by_hand(day)
        day.wait(60)
        day.cycle()
        assert ending(day).state.phase == "cancelled"
        assert writes_about_quentin(day) == []


def test_a_site_that_reverts_removals_puts_it_back_and_the_second_reversal_calls_a_person(site):
    with site('on_drift = "revert"') as day:
        day.cycle()
        assert (ending(day).state.phase, holds(day)) == ("granted", True)
        first = writes_about_quentin(day)
        assert len(first) == 1
        day.wait(60)
        day.cycle()
        assert writes_about_quentin(day) == first

        take_away(day)
        day.wait(60)
        day.cycle()

        assert (ending(day).state.phase, holds(day)) == ("review", False)
        assert "a person has to decide" in ending(day).state.note
        assert writes_about_quentin(day) == first
        day.wait(60)
        day.cycle()
        assert writes_about_quentin(day) == first


@pytest.mark.parametrize(("by", "comes_back"), [("person", True), ("app", False)])
def test_a_site_may_answer_people_and_software_differently(site, by, comes_back):
    with site(f'on_drift_by = {{ {by} = "revert" }}') as day:
        day.cycle()

        assert holds(day) is comes_back


def test_where_the_log_cannot_be_read_nobody_is_named_and_nothing_else_is_lost(tmp_path):
    with a_day(tmp_path, contoso_with(TICKET)) as day:
        day.world.faults.add(FaultRule("server_error", route="GET /auditLogs"))
        day.cycle()

        assert ending(day).state.phase == "drifted"
        assert "unknown" in ending(day).state.note


def test_a_licence_that_is_set_up_again_is_not_put_back_by_us_too(site):
    with site('on_drift = "revert"') as day:
        day.cycle()
        before = writes_about_quentin(day)
        day.world.directory.set_provisioning(day.world.directory.user(QUENTIN).user_id, "PROJECT_ESSENTIALS")
        day.world.clock.advance(timedelta(minutes=5))
        day.cycle()
        assert writes_about_quentin(day) == before
