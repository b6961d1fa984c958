"""What the service says about itself while Contoso's stories play: its numbers are those of world and report."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from desired_state import ledger
from desired_state.model import LineKey, ProductKey, UserId
from reconciler.answers import REQUEST
from reconciler.approvals.values import Decision, State, Verdict
from reconciler.clock import ManualClock
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.metrics import Meter, Registry
from reconciler.metrics import series as s
from reconciler.metrics.series import SERIES, Kind
from reconciler.sandbox.faults import FaultRule
from reconciler.store import approvals, journal, lines, outbox
from reconciler.web import metrics as route
from reconciler.web.showing import monthly_cost
from reconciler.wiring.measuring import registry as a_registry
from reconciler.wiring.stock import taking_stock
from tests.make import MONDAY
from tests.make_logs import into
from tests.make_metrics import Samples, promtool, samples, total
from tests.make_store import a_wish
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day

COUNTING = {
    f"{series.name}{ending}"
    for series in SERIES.values()
    if series.kind is not Kind.GAUGE
    for ending in (("",) if series.kind is Kind.COUNTER else ("_count", "_sum", "_bucket"))
}


class Seen:
    """A day whose service counts. `said` is its log."""

    def __init__(self, day: Day, registry: Registry, wall: ManualClock, said: list[str]) -> None:
        self.day, self.registry, self.wall, self.said = day, registry, wall, said

    def scrape(self) -> Samples:
        self.wall.advance(seconds=15)
        return samples(self.registry)


def confirmed(day: Day, *kinds: str) -> int:
    """Answers of these kinds that the tickets have, by the outbox."""
    said = ", ".join(f"'{kind}'" for kind in kinds)
    with day.app.database.read() as session:
        query = text(f"SELECT count(*) FROM answer WHERE state = 'confirmed' AND kind IN ({said})")
        return int(session.connection().execute(query).scalar_one())


def reopened(day: Day) -> int:
    """Tickets, not the requests above them, that were opened again."""
    with day.app.database.read() as session:
        owed = [o for t in _told(day) for o in outbox.of_ticket(session, TENANT, t)]
    return sum(
        1
        for o in owed
        if o.answer.kind == "reopened" and o.answer.title != REQUEST and o.state is outbox.State.CONFIRMED
    )


def _told(day: Day) -> list[str]:
    with day.app.database.read() as session:
        return sorted({key.ticket for key in lines.load(session, TENANT)})


def asked_for(day: Day) -> list[Decimal]:
    """What each request that waits costs a month, as the approver is shown it."""
    with day.app.database.read() as session:
        costs = [monthly_cost(asked) for asked in approvals.pending(session, TENANT)]
    return [cost for cost in costs if cost is not None]


@contextmanager
def counting(day: Day) -> Iterator[Seen]:
    said: list[str] = []
    wall = ManualClock(MONDAY)
    registry = a_registry(day.app.settings, [TENANT], wall)
    day.app.meter = Meter(registry)
    with taking_stock(lambda: day.app, log=into(said), wall=wall):
        yield Seen(day, registry, wall, said)


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    with a_day(tmp_path) as day, counting(day) as found:
        yield found


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Seen]:
    """A service that was started again after the first cycle: it has counted nothing, and the store is full."""
    with a_played_day(tmp_path) as day, counting(day) as found:
        yield found


def test_before_the_first_cycle_every_counter_is_there_and_no_line_is_claimed(seen: Seen):
    found = seen.scrape()

    assert {series.name for series in SERIES.values() if series.kind is Kind.COUNTER} <= {name for name, _ in found}
    assert sum(value for (name, _), value in found.items() if name in COUNTING) == 0
    assert not {s.TICKETS.name, s.DRIFT.name, s.SEATS.name, s.LAST_SUCCESS.name} & {name for name, _ in found}
    assert total(found, s.INVENTORY_OK.name) == 1


def test_the_numbers_of_a_cycle_are_those_of_its_report(seen: Seen):
    report = seen.day.cycle()
    assert report is not None

    found, counts, rows = seen.scrape(), report.counts(), report.as_json()["tickets"]
    assert total(found, s.TICKETS.name) == counts["lines"]
    for phase in {row["phase"] for row in rows}:
        assert total(found, s.TICKETS.name, phase=phase) == sum(1 for row in rows if row["phase"] == phase)
    assert total(found, s.VERDICTS.name, verdict="false") == counts["false"]
    assert total(found, s.VERDICTS.name, verdict="true") + total(found, s.VERDICTS.name, verdict="unknown") == (
        counts["true"] + counts["unknown"]
    )
    sent = total(found, s.ACTIONS.name, result="applied") + total(found, s.ACTIONS.name, result="failed")
    assert sent == report.writes["graph"]
    for kinds in (("note", "question"), ("task",), ("reopened",), ("closed",)):
        assert total(found, s.ANSWERS.name, kind=kinds[0], result="given") == confirmed(seen.day, *kinds)
    assert total(found, s.REOPENED.name) == reopened(seen.day) > 0
    assert total(found, s.REOPENED.name, product="project-plan-3", cause="wrong_product") == 1
    waiting = sum(cost for cost in asked_for(seen.day))
    assert total(found, s.APPROVAL_COST.name) == pytest.approx(float(waiting))
    assert waiting > 0
    assert total(found, s.APPROVAL_OVERDUE.name) == 0
    for api in ("graph", "servicenow"):
        assert total(found, s.API_REQUESTS.name, api=api) == report.requests[api]
    assert total(found, s.IDLE_WRITES.name) == 0
    assert total(found, s.AUDIT_OK.name) == 1


def test_over_weeks_no_counter_appears_that_was_not_there_at_zero(seen: Seen):
    before = {key for key in seen.scrape() if key[0] in COUNTING}

    for minutes in (0, 20, 2 * 60, 24 * 60, 20 * 24 * 60, 12 * 24 * 60):
        seen.day.wait(minutes)
        seen.day.cycle()

    found = seen.scrape()
    assert {key for key in found if key[0] in COUNTING} - before == set()
    assert total(found, s.TIME_TO_ACCESS.name + "_count", part="technical") > 0
    assert total(found, s.SEAT_WAIT.name + "_count") > 0
    assert total(found, s.IDLE_WRITES.name) == 0
    assert total(found, s.EXPIRED_LICENSED.name) >= 0


def test_a_converged_world_is_counted_and_nothing_is_written_for_it(later: Seen):
    for minutes in (30, 0):
        later.day.wait(minutes)
        later.day.cycle()
    before = later.scrape()

    later.day.cycle()

    after = later.scrape()
    changing = {s.API_REQUESTS.name, s.API_SECONDS.name, *(f"{s.API_SECONDS.name}_{x}" for x in ("count", "sum"))}
    moved = {
        key[0]
        for key, value in after.items()
        if key[0] in COUNTING and value != before.get(key) and "_bucket" not in key[0]
    }
    assert moved <= changing


def test_a_failing_system_shows_in_its_codes_and_in_what_was_not_done(seen: Seen):
    seen.day.world.faults.add(FaultRule("server_error", route="GET /users"))

    seen.day.cycle()

    found = seen.scrape()
    assert total(found, s.API_REQUESTS.name, api="graph", code="5xx") > 0
    assert total(found, s.API_RETRIES.name, api="graph") > 0


def test_a_rehearsal_counts_nothing(seen: Seen):
    from reconciler.loop.observe import Scope
    from reconciler.once import once

    once(seen.day.app, Scope(), is_dry=True)

    assert sum(value for (name, _), value in seen.scrape().items() if name == s.VERDICTS.name) == 0
    assert s.TICKETS.name not in {name for name, _ in seen.scrape()}


# --- people


def decide(day: Day, number: str, verdict: Verdict) -> None:
    """The first approver of the open stage answers on the page."""
    with day.app.database.read() as session:
        (asked,) = [a for a in approvals.pending(session, TENANT) if a.line.ticket == number]
    assert asked.stage is not None
    who, now = asked.stage.approvers[0], day.app.clock.now()
    decision = Decision(asked.stage.name, verdict, who, asked.digest, now, comment="The budget of this year is spent.")
    with day.app.database.write() as session:
        approvals.decide(session, TENANT, asked.id, decision, now, tell=day.app.tell)


def test_a_decision_counts_once_it_is_kept_under_who_had_asked(seen: Seen):
    seen.day.cycle()
    seen.day.wait(90)

    decide(seen.day, "RITM0010023", Verdict.REJECT)  # opened by an agent's account
    decide(seen.day, "RITM0010012", Verdict.REJECT)

    found = seen.scrape()
    assert total(found, s.PROPOSALS.name, source="api", outcome="rejected") == 1
    assert total(found, s.PROPOSALS.name, source="human", outcome="rejected") == 1
    assert total(found, s.PROPOSALS.name, outcome="filed") == 4
    assert total(found, f"{s.APPROVAL_SECONDS.name}_count", product="m365-e5") == 2
    assert total(found, f"{s.APPROVAL_SECONDS.name}_sum", product="m365-e5") >= 2 * 90 * 60
    assert total(found, s.APPROVALS.name, state="rejected") == 2


def test_a_decision_that_is_not_kept_is_not_counted(later: Seen):
    with later.day.app.database.read() as session:
        asked = approvals.pending(session, TENANT)[0]
    tell = later.day.app.tell
    assert tell is not None

    with pytest.raises(ZeroDivisionError), later.day.app.database.write() as session:
        tell(session, "approval.outcome", replace(asked, state=State.APPROVED), asked.created_at)
        raise ZeroDivisionError

    assert total(later.scrape(), s.PROPOSALS.name, outcome="approved") == 0


def test_a_request_is_overdue_once_its_own_stage_is(later: Seen):
    with later.day.app.database.read() as session:
        ends = min(a.stage.escalate_at for a in approvals.pending(session, TENANT) if a.stage and a.stage.escalate_at)
    later.day.wait((ends - later.day.app.clock.now()).total_seconds() / 60 - 1)
    assert total(later.scrape(), s.APPROVAL_OVERDUE.name) == 0

    later.day.wait(31)

    assert total(later.scrape(), s.APPROVAL_OVERDUE.name) == pytest.approx(30 * 60, abs=60)


# --- the store


def fill(seen: Seen, people: int) -> None:
    """So many lines of so many people, a third of them waiting for a seat."""
    app, phases = seen.day.app, (Phase.RECEIVED, Phase.WAITING_FOR_SEAT, Phase.REVIEW)
    now = app.clock.now()
    with app.database.write() as session:
        for n in range(people):
            key = LineKey(f"RITM09{n:05}", 1)
            ledger.append(session, TENANT, ledger.Declared(a_wish(key=key, product=ProductKey("visio-plan-1"))), now)
            state = LineState(
                key, phases[n % 3], cause="no_seat" if n % 3 else None, user=UserId(f"user-{n}"), since=now
            )
            lines.save(session, TENANT, state, now)
        journal.append(session, TENANT, kind="line_moved", subject="RITM0900000/1", body={}, at=now)


def test_a_thousand_people_are_as_many_series_as_ten(later: Seen):
    fill(later, 10)
    few = later.scrape()

    fill(later, 1000)

    many = later.scrape()
    assert set(many) == set(few)
    assert total(many, s.TICKETS.name, phase="waiting_for_seat", product="visio-plan-1") >= 333
    assert not any("user-" in value or "RITM" in value or "@" in value for _, labels in many for _, value in labels)


def test_a_store_that_cannot_be_read_costs_its_gauges_and_is_told_once(later: Seen):
    with later.day.app.database.write() as session:  # as in the middle of a migration to another version
        session.connection().execute(text("ALTER TABLE line RENAME COLUMN phase TO stage"))
        journal.append(session, TENANT, kind="config", subject="x", body={}, at=later.day.app.clock.now())

    found = [later.scrape() for _ in range(2)][-1]

    assert total(found, s.INVENTORY_OK.name) == 0
    assert s.TICKETS.name not in {name for name, _ in found}
    assert total(found, s.CYCLES_TOTAL.name) == 0  # what the process counts is served as ever
    assert len(later.said) == 1


def test_the_gauges_go_by_the_configuration_that_is_in_use_now(later: Seen):
    old = later.day.app
    before = later.scrape()
    guards = old.tenant.guards.model_copy(update={"answers_per_day": old.tenant.guards.answers_per_day + 7})
    dear = {"price": Decimal(400)}
    prices = {key: product.model_copy(update=dear) for key, product in old.settings.products.items()}

    later.day.app = replace(
        old,
        tenant=old.tenant.model_copy(update={"guards": guards}),
        settings=old.settings.model_copy(update={"products": prices}),
    )

    after = later.scrape()
    was, now = (total(seen, s.BUDGET_LIMIT.name, budget="answers") for seen in (before, after))
    assert now == was + 7
    assert total(after, s.COST.name, kind="granted") > total(before, s.COST.name, kind="granted") + 300


def test_a_row_of_the_log_that_was_changed_is_seen_by_the_next_scrapes(later: Seen):
    assert total(later.scrape(), s.AUDIT_OK.name) == 1
    with later.day.app.database.write() as session:
        for trigger in (
            session.connection()
            .execute(text("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit'"))
            .scalars()
            .all()
        ):
            session.connection().execute(text(f"DROP TRIGGER {trigger}"))
        session.connection().execute(text("UPDATE audit SET actor = 'somebody' WHERE seq = 3"))

    found = [later.scrape() for _ in range(4)]

    assert total(found[-1], s.AUDIT_OK.name) == 0


# --- the formats


def test_promtool_finds_nothing_to_say(later: Seen):
    body, _ = later.registry.exposition("")

    checked = subprocess.run([promtool(), "check", "metrics"], input=body, capture_output=True, timeout=60)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_openmetrics_is_given_to_whoever_asks_for_it(seen: Seen):
    async def get(accept: str) -> httpx.Response:
        from fastapi import FastAPI

        app = FastAPI()
        app.include_router(route.routes(seen.registry.exposition))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            return await http.get("/metrics", headers={"Accept": accept})

    modern = asyncio.run(get("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"))
    plain = asyncio.run(get("*/*"))

    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# EOF" not in plain.text


def test_a_secret_that_ends_on_a_known_day_counts_down(seen: Seen):
    from datetime import UTC, datetime

    from reconciler.wiring.stock import first_end

    day = seen.day.app.clock.now().date() + timedelta(days=10)
    own = seen.day.app.tenant
    told = own.model_copy(update={"graph": own.graph.model_copy(update={"credential_expires": day})})
    settings = seen.day.app.settings.model_copy(update={"tenants": {TENANT: told}})

    assert first_end(settings, TENANT) == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert first_end(seen.day.app.settings, TENANT) is None
