"""From observe to enforce through the shipped loop: who is first, what would be done, what people made of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlmodel import Session

from desired_state.model import LineKey
from reconciler.explain import as_json, explain
from reconciler.line import Decision, Gated, Lane
from reconciler.loop.cycle import choke_point
from reconciler.loop.deps import Run
from reconciler.loop.gate import Gates
from reconciler.loop.observe import Pace, Scope
from reconciler.loop.send import Stopped, Write
from reconciler.model import Reply
from reconciler.once import once
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.sandbox import hosts
from reconciler.share import side
from reconciler.store import journal, lines, shadows
from reconciler.store.tables import METADATA
from tests.make import DAY, MONDAY
from tests.simulation.make_day import TENANT, Day, a_day
from tests.simulation.make_pilot import (
    GROUP,
    PRODUCT,
    SKU,
    TOM,
    a_pilot,
    close,
    config,
    decide,
    gives,
    holders,
    person,
    pilot,
    takes,
    ticket,
)

PEOPLE = 12
OFF = ("VISIOONLINE", "VISIO_CLIENT_SUBSCRIPTION")  # service plans of the SKU


def first(day: Day, share: str, people: int = PEOPLE) -> set[int]:
    """Whom the share names, worked out from the directory's own ids."""
    ids = {n: day.world.directory.user(f"p{n}@contoso.example").user_id for n in range(people)}
    return {n for n, id in ids.items() if side(Decimal(share), directory=hosts.TENANT_ID, subject=id).is_in}


def rows(day: Day, kind: str) -> list[dict]:
    with day.app.database.read() as session:
        return [r for r in journal.export(session, TENANT) if r["kind"] == kind]


# --- the share ----------------------------------------------------------------------------------------------------


def test_with_a_share_of_half_exactly_that_half_is_written_and_the_rest_asks(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.5") as day:
        expected = first(day, "0.5")
        assert 0 < len(expected) < PEOPLE

        report = day.cycle()
        day.wait(30)
        day.cycle()

        assert report is not None
        assert holders(day) == expected
        waits = {e.state.key.ticket for e in report.endings if e.state.phase.value == "awaiting_approval"}
        assert waits == {ticket(n) for n in range(PEOPLE) if n not in expected}
        moved = [r["body"] for r in rows(day, "line_moved")]
        assert {b["canary"]["is_in"] for b in moved if "canary" in b} == {True, False}
        asked = [r["body"] for r in rows(day, "approval.requested")]
        assert len(asked) == PEOPLE - len(expected)
        before, writes = everything(day), len(day.watch.writes)
        day.wait(5)
        day.cycle()
        assert (everything(day), len(day.watch.writes)) == (before, writes)


def test_a_wider_share_adds_people_and_drops_nobody(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.3") as day:
        day.cycle()
        before, world = holders(day), day.world
    with a_pilot(tmp_path, "enforce", world=world, more="enforce_share = 0.8") as day:
        day.wait(10)
        day.cycle()
        day.wait(30)
        day.cycle()

        assert before < holders(day) == first(day, "0.8")


def test_a_products_own_share_is_the_narrower_one(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.8") as day:
        expected = first(day, "0.25")
        assert expected < first(day, "0.8")
        file = tmp_path / "enforce.toml"
        told = file.read_text().replace(f"[products.{PRODUCT}]\n", f"[products.{PRODUCT}]\nenforce_share = 0.25\n")
        world = day.world
    file.write_text(told)
    with a_day(tmp_path, world, config=file) as day:
        day.cycle()
        day.wait(30)
        day.cycle()

        assert holders(day) == expected


class Lenient:
    """Guards that let everything through, so that the mode alone is asked."""

    def check(self, session: Session, write: Write, beside: Collection[Write] = ()) -> None: ...

    def sent(self, write: Write) -> None: ...

    def ended(self, session: Session, write: Write, trouble: str) -> None: ...


def sent_by_mistake(day: Day, gated: Gated, *, keys: tuple[LineKey, ...] | None = None) -> tuple[int, str]:
    """A gate that clears what it must not: how often something left, and what the choke-point says."""
    wrong = replace(gated, decision=Decision.CLEARED, cause=None, sentence="")
    calls: list[str] = []

    def call() -> Reply:
        calls.append("assigned")
        return Reply("r", "c")

    point = choke_point(day.app.deps(), Run("c", Scope(), False, lambda *_: None), Lenient(), Gates((wrong,), (), "p"))
    (action,) = gated.proposal.actions
    write = Write(
        "graph", action.kind.value, Lane.GRANTS, action.user, action.keys if keys is None else keys, {"after": "x"}
    )
    try:
        point.send(write, call)
    except Stopped as stopped:
        return len(calls), str(stopped)
    return len(calls), ""


def test_the_choke_point_refuses_what_the_gate_clears_by_mistake_for_a_person_outside_the_share(tmp_path):
    with a_pilot(tmp_path, "enforce", people=PEOPLE, more="enforce_share = 0.5") as day:
        report = day.cycle()
        assert report is not None
        inside = {ticket(n) for n in first(day, "0.5")}
        asks = [e.gated for e in report.endings if e.state.key.ticket not in inside]
        may = next(e.gated for e in report.endings if e.state.key.ticket in inside)
        before = len(rows(day, "intent"))

        assert {sent_by_mistake(day, gated) for gated in asks} == {
            (0, "it is not enforced for this person and product, and no person has agreed to it")
        }
        assert sent_by_mistake(day, may, keys=(may.proposal.finding.key, asks[0].proposal.finding.key))[0] == 0
        assert sent_by_mistake(day, may, keys=())[0] == 0  # for nobody that was judged
        assert len(rows(day, "intent")) == before
        assert sent_by_mistake(day, may) == (1, "")


@pytest.mark.parametrize(("number", "ends_in"), [("RITM0010018", "revoked"), ("RITM0010014", "review")])
def test_what_we_gave_is_taken_back_though_the_share_was_narrowed_to_nobody(tmp_path, number, ends_in):
    """One whose period is over, and one whose assignment never gets to work (I9, I12)."""
    whole = Path(__file__).parents[2] / "config.toml"
    nobody = tmp_path / "nobody.toml"
    nobody.write_text(re.sub(r"(?m)^enforce_share = 1.0", "enforce_share = 0.0", whole.read_text("utf-8")), "utf-8")
    with a_day(tmp_path) as day:
        if number == "RITM0010014":
            once(day.app, Scope(frozenset({number})))
            assert day.watch.writes
        world = day.world
    with a_day(tmp_path, world, config=nobody) as day:
        assert day.app.tenant.enforce_share == 0
        for minutes in (5, 60, 60 * 24, 60, 60, 60):
            day.wait(minutes)
            once(day.app, Scope(frozenset({number})))

        with day.app.database.read() as session:
            (state,) = lines.load(session, TENANT, [number]).values()
        assert (state.phase.value, state.given) == (ends_in, ())
        assert rows(day, "approval.requested") == []


# --- what would be done, and what people did ----------------------------------------------------------------------


def kept(day: Day, axis: Axis = Axis.MODE) -> dict[str, Shadow]:
    """The newest shadow of each ticket's line."""
    with day.app.database.read() as session:
        every = shadows.since(session, TENANT, MONDAY - 400 * DAY)
    return {s.line.ticket: s for s in sorted(every, key=lambda s: s.recorded_at) if s.axis is axis}


def outcomes(day: Day, axis: Axis = Axis.MODE) -> list[str]:
    return [s.outcome.value for _, s in sorted(kept(day, axis).items())]


def everything(day: Day) -> dict[str, int]:
    """How many rows each table has."""
    with day.app.database.read() as session:
        return {t.name: session.connection().execute(select(func.count()).select_from(t)).scalar_one() for t in TABLES}


TABLES = METADATA.sorted_tables


def test_in_observe_what_people_do_is_compared_with_what_would_have_been_done(tmp_path):
    with a_pilot(tmp_path, "observe", people=4) as day:
        day.cycle()
        assert outcomes(day) == ["waiting"] * 4
        assert kept(day)[ticket(0)].would == (
            {"do": "licence", "sku": day.world.directory.sku(SKU), "off": [], "name": SKU},
        )

        day.wait(120)
        gives(day, 0)
        gives(day, 1, "VISIOCLIENT", disabled=("VISIOONLINE",))
        day.world.directory.add_member(day.world.directory.group(GROUP).group_id, person(day, 2))
        day.cycle()
        before = everything(day)
        day.wait(5)
        day.cycle()

        assert day.watch.writes == []
        found = kept(day)
        assert outcomes(day) == ["agreed", "differed", "differed", "waiting"]
        assert (found[ticket(0)].by, "Tom Weber" in found[ticket(0)].why) == (f"Tom Weber ({TOM})", True)
        assert found[ticket(0)].acted_at is not None
        assert "other service plans" in found[ticket(1)].why
        assert "by a group" in found[ticket(2)].why
        assert everything(day) == before  # nothing new, nothing written

        day.wait(8 * 1440)
        day.cycle()
        assert outcomes(day) == ["agreed", "differed", "differed", "nobody_acted"]


def test_nothing_is_compared_for_a_rehearsal(tmp_path):
    with a_pilot(tmp_path, "observe", people=2) as day:
        once(day.app, Scope(), is_dry=True)

        assert kept(day) == {}


def test_a_log_that_cannot_be_read_leaves_who_it_was_unknown(tmp_path):
    state = tmp_path
    state.mkdir(exist_ok=True)
    file = state / "observe.toml"
    file.write_text(config("observe", "silent"))
    with a_day(state, pilot(1), config=file, may=lambda role: role != "AuditLog.Read.All") as day:
        day.cycle()
        day.wait(60)
        gives(day, 0)
        day.cycle()

        assert outcomes(day) == ["agreed"]
        assert kept(day)[ticket(0)].by == ""
        assert "not known" in kept(day)[ticket(0)].why


def test_in_suggest_a_yes_agrees_and_a_no_differs(tmp_path):
    with a_pilot(tmp_path, "suggest", people=3) as day:
        day.cycle()
        assert outcomes(day) == ["waiting"] * 3
        decide(day, 0, "approve")
        decide(day, 1, "reject", "He has another drawing program.")
        day.wait(5)
        day.cycle()
        day.wait(5)
        day.cycle()

        assert outcomes(day) == ["agreed", "differed", "waiting"]
        assert "another drawing program" in kept(day)[ticket(1)].why
        assert holders(day) == {0}
        assert kept(day)[ticket(0)].by == "Tom Weber"

        day.wait(8 * 1440)
        day.cycle()
        assert outcomes(day)[2] == "waiting"  # the request was open until this cycle let it expire
        day.wait(5)
        day.cycle()
        assert outcomes(day)[2] == "nobody_acted"


def test_whoever_is_not_among_the_first_is_compared_as_in_suggest_and_the_first_as_what_stood(tmp_path):
    with a_pilot(tmp_path, "enforce", people=6, more="enforce_share = 0.5") as day:
        day.cycle()
        day.wait(30)
        day.cycle()
        inside = first(day, "0.5", 6)

        steps = {n: kept(day)[ticket(n)].step for n in range(6)}
        assert steps == {n: "enforce" if n in inside else "suggest" for n in range(6)}
        lost = min(inside)
        takes(day, lost)
        day.wait(30)
        day.cycle()
        assert kept(day)[ticket(lost)].outcome is Outcome.DIFFERED
        assert "Tom Weber" in kept(day)[ticket(lost)].why

        day.wait(8 * 1440)
        day.cycle()
        stood = {kept(day)[ticket(n)].outcome for n in inside - {lost}}
        assert stood == {Outcome.AGREED}


def test_what_we_write_ourselves_after_a_promotion_is_nobodys_agreement(tmp_path):
    with a_pilot(tmp_path, "observe", people=1) as day:
        day.cycle()
        world = day.world
    with a_pilot(tmp_path, "enforce", world=world) as day:
        day.wait(10)
        day.cycle()
        day.wait(10)
        day.cycle()

        assert holders(day) == {0}
        assert outcomes(day) == ["overtaken"]


def test_a_licence_whose_service_is_off_differs_from_ours_only_once_somebody_touches_it(tmp_path):
    world = pilot(3)
    for n in range(3):
        user = world.directory.user(f"p{n}@contoso.example")
        world.directory.grant(user.user_id, SKU, disabled=OFF)
    with a_pilot(tmp_path, "observe", world=world) as day:
        day.cycle()
        day.wait(30)
        day.cycle()
        assert [len(e["off"]) for s in kept(day).values() for e in s.would] == [1] * 3
        assert outcomes(day) == ["waiting"] * 3

        gives(day, 0, disabled=OFF[:1])
        gives(day, 1)
        day.wait(30)
        day.cycle()

        assert outcomes(day) == ["agreed", "differed", "waiting"]


def test_a_grant_that_no_cycle_has_looked_at_since_is_not_believed_to_stand(tmp_path):
    quick, scan = Scope(pace=Pace.QUICK), Scope(pace=Pace.SCAN)
    with a_pilot(tmp_path, "enforce", people=2) as day:
        day.cycle()
        day.wait(30)
        day.cycle()
        takes(day, 0)
        day.wait(8 * 1440)
        once(day.app, quick)  # both lines are at rest
        assert outcomes(day) == ["waiting", "waiting"]

        once(day.app, scan)
        day.cycle()

        assert outcomes(day) == ["differed", "agreed"]


# --- tickets ------------------------------------------------------------------------------------------------------


def test_a_ticket_that_people_close_as_we_would_have_is_an_agreement_about_answers(tmp_path):
    with a_pilot(tmp_path, "observe", people=3) as day:
        day.cycle()
        day.wait(60)
        for number in range(3):
            gives(day, number)
        day.wait(10)
        day.cycle()
        assert outcomes(day, Axis.ANSWERS) == ["waiting"] * 3
        assert {e["do"] for s in kept(day, Axis.ANSWERS).values() for e in s.would} == {"closed"}

        close(day, 0, "3")
        close(day, 1, "4")
        day.wait(10)
        day.cycle()

        assert outcomes(day, Axis.ANSWERS) == ["agreed", "differed", "waiting"]
        assert day.watch.writes == []
        day.wait(8 * 1440)
        day.cycle()
        assert outcomes(day, Axis.ANSWERS)[2] == "nobody_acted"


def test_a_ticket_that_we_close_ourselves_after_a_step_is_nobodys_agreement(tmp_path):
    with a_pilot(tmp_path, "observe", people=2) as day:
        day.cycle()
        gives(day, 0)
        gives(day, 1)
        day.wait(10)
        day.cycle()
        close(day, 1, "3")
        assert outcomes(day, Axis.ANSWERS) == ["waiting"] * 2
        world = day.world
    with a_pilot(tmp_path, "observe", "full", world=world) as day:
        for change in (takes, gives):
            change(day, 0)
            for _ in range(3):
                day.wait(20)
                day.cycle()

        (task,) = (t for t in day.tasks(ticket(0)) if not t["correlation_id"])
        us = day.world.instance.user(hosts.SERVICENOW_USER)
        assert us is not None
        assert (task["state"], task["closed_by"]) == ("3", us["sys_id"])
        assert outcomes(day, Axis.ANSWERS) == ["overtaken", "agreed"]


def test_our_own_task_counts_by_how_people_close_it(tmp_path):
    with a_pilot(tmp_path, "observe", "task", people=2, closed=True) as day:
        day.cycle()
        day.wait(5)
        day.cycle()
        assert [len([t for t in day.tasks(ticket(n)) if t["correlation_id"]]) for n in range(2)] == [1, 1]
        assert outcomes(day, Axis.ANSWERS) == ["waiting", "waiting"]

        close(day, 0, "3", ours=True)
        close(day, 1, "4", ours=True)
        day.wait(10)
        day.cycle()

        assert outcomes(day, Axis.ANSWERS) == ["agreed", "differed"]


def test_what_was_rolled_back_is_no_agreement(tmp_path):
    rolled = "RITM0010014"
    with a_day(tmp_path) as day:
        for minutes in (0, 60, 60 * 24, 60, 60, 60):
            day.wait(minutes)
            once(day.app, Scope(frozenset({rolled})))

        shadow = kept(day)[rolled]
        with day.app.database.read() as session:
            (state,) = lines.load(session, TENANT, [rolled]).values()
        assert state.phase.value == "review"
        assert (shadow.step, shadow.outcome) == ("enforce", Outcome.DIFFERED)
        assert "rolled back" in shadow.why


def test_a_ticket_that_goes_to_and_fro_is_kept_once_for_each_news(tmp_path):
    with a_pilot(tmp_path, "observe", people=1, closed=True) as day:
        for _ in range(3):
            day.cycle()
            day.wait(30)
            gives(day, 0)
            day.cycle()
            day.wait(30)
            takes(day, 0)
            day.wait(30)
        report = day.cycle()

        assert report is not None
        assert report.problems == ()
        with day.app.database.read() as session:
            every = shadows.of_tickets(session, TENANT, [ticket(0)])
        assert len({(s.axis, s.digest) for s in every}) == len(every)
        assert sum(s.is_open for s in every if s.axis is Axis.ANSWERS) <= 1


def test_explain_says_what_would_have_been_done_and_who_did_it(tmp_path):
    with a_pilot(tmp_path, "observe", people=1) as day:
        day.cycle()
        day.wait(120)
        gives(day, 0)
        day.cycle()
        (chain,) = explain(day.app.database, TENANT, ticket(0))

        told = as_json(chain, day.app.catalogue)
        (line,) = told["lines"]
        first_ = line["compared"][0]
        assert (first_["axis"], first_["outcome"], first_["would"]) == ("mode", "agreed", "assign VISIOCLIENT directly")
        assert "Tom Weber" in first_["why"]
