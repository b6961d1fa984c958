"""What is asked at each cycle and by each page visits the rows that it is about, however many a tenant has.

A store on PostgreSQL of one large tenant, most of whose lines are at rest, is filled; each query is run as the code
runs it, with the plan that the server makes for it. No plan may read a large table whole, nor throw away much of what
it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import Session

from desired_state import ledger
from desired_state.model import LineKey, UserId
from reconciler.lifecycle import Phase
from reconciler.store import agenda, approvals, journal, leases, lines, notices, outbox, shadows, tallies, tickets
from reconciler.store.database import Database
from reconciler.store.tallies import Place, Wanted
from tests.make import DAY, HOUR, MONDAY
from tests.make_database import SERVER, a_database, a_place, without_triggers

ROWS = [10_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
VISITED_MAX = 1_500  # rows of one query: a page, or what is due
NOW = MONDAY
SINCE = "timestamptz '2026-11-02 09:00Z' - make_interval(secs => {n} - g)"  # one a second, the last one now

# What of n rows is open: one in a thousand, more than a large tenant has at a time.
FILL = {
    "line": (
        'tenant, ticket, line, phase, verdict, cause, "user", attempts, next_at, since, granted_at, ends_at, episode, '
        "note, given, reversals, told, first_seen_at, changed_at, product, person",
        "'contoso', 'RITM' || lpad(g::text, 7, '0'), 1, CASE WHEN g % 1000 = 0 THEN 'review' ELSE 'granted' END, "
        "CASE WHEN g % 1000 = 0 THEN 'false' ELSE 'true' END, CASE WHEN g % 1000 = 0 THEN 'no_seat' END, "
        "'user-' || g % 40000, 1, CASE WHEN g % 1000 = 0 THEN {s} + interval '1 day' END, {s}, {s}, "
        "CASE WHEN g % 7 = 0 THEN {s} + interval '365 days' END, 1, '', '[]', 0, '', {s}, {s}, "
        "'visio-plan-' || g % 5, 'person.' || g % 40000 || '@contoso.example'",
    ),
    "ledger": (
        "tenant, ticket, line, kind, body, at",
        "'contoso', 'RITM' || lpad(g::text, 7, '0'), 1, 'withdrawn', "
        '\'{{"key":{{"ticket":"RITM\' || lpad(g::text, 7, \'0\') || \'","line":1}}}}\', {s}',
    ),
    "ticket_copy": (
        "tenant, sys_id, number, mod_count, body, read_at",
        "'contoso', 'sys-' || g, 'RITM' || lpad(g::text, 7, '0'), 1, '{{}}', {s}",
    ),
    "answer": (
        'tenant, op_key, ticket, kind, "group", body, state, remote_id, tries, failures, intended_at, sent_at, '
        "changed_at",
        "'contoso', 'key-' || g, 'RITM' || lpad(g::text, 7, '0'), 'note', '', '{{}}', "
        "CASE WHEN g % 5000 = 0 THEN 'intended' ELSE 'confirmed' END, '', 1, 0, {s}, {s}, {s}",
    ),
    "audit": (
        "tenant, seq, at, kind, subject, actor, cycle, body, prev, hash",
        "'contoso', g, to_char(({s}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US+00:00'), "
        "(ARRAY['line_moved', 'answer', 'result', 'readback'])[1 + g % 4], "
        "'RITM' || lpad((g / 4)::text, 7, '0') || '/1', 'reconciler', 'c' || g / 100, '{{}}', '', ''",
    ),
    "audit_about": ("tenant, subject, seq", "'contoso', 'RITM' || lpad((g / 4)::text, 7, '0'), g"),
    "notice": (
        "tenant, op_key, kind, event, request, ticket, recipient, channel, digest, line, person, body, state, tries, "
        "is_proven, is_alerted, problem, batch, queued_at, next_at, sent_at, settled_at",
        "'contoso', 'key-' || g, 'approval.request', 'approval.request', 'LR-' || g / 3, '', 'person-' || g % 500, "
        "'teams', '', '', '', '{{}}', CASE WHEN g % 5000 = 0 THEN 'queued' ELSE 'sent' END, 1, true, false, '', '', "
        "{s}, {s}, {s}, {s}",
    ),
    "approval": (
        "tenant, id, ticket, line, digest, state, stage, body, created_at, changed_at",
        "'contoso', 'LR-' || g, 'RITM' || lpad(g::text, 7, '0'), 1, '', 'consumed', 0, '{{}}', {s}, {s}",
    ),
    "shadow": (
        'tenant, ticket, line, axis, digest, product, "user", step, would, base, is_removal, recorded_at, outcome, '
        "why, by, decided_at",
        "'contoso', 'RITM' || lpad(g::text, 7, '0'), 1, 'a', '', '', '', '', '', '', false, {s}, 'agreed', '', '', {s}",
    ),
    "lease": (
        "tenant, epoch, since_s, until_s, next_due_s, asked, served",
        "CASE g WHEN 1 THEN 'contoso' ELSE 'tenant-' || g END, 1, 0, 0, 0, 0, 0",
    ),
}
KINDS = (  # as the triggers keep it, which do not run here
    "INSERT INTO line_kind SELECT tenant, product, phase, coalesce(cause, ''), verdict, count(*) FROM line "
    "GROUP BY 1, 2, 3, 4, 5"
)


@pytest.fixture(scope="module", params=ROWS)
def large(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A store with so many rows in each large table, of one tenant."""
    count = request.param
    with a_place(SERVER, Path()) as place, a_database(place) as database:
        with database.write() as session:
            without_triggers(session)
            for table, (columns, values) in FILL.items():
                said = values.format(s=SINCE.format(n=count))
                query = f"INSERT INTO {table} ({columns}) SELECT {said} FROM generate_series(1, {count}) g"
                session.connection().exec_driver_sql(query.replace("%", "%%"))
            session.execute(text(KINDS))
            session.connection().exec_driver_sql("ANALYZE")
        yield database


def number(n: int) -> str:
    return f"RITM{n:07d}"


Ask = Callable[[Session], object]
QUERIES: dict[str, Ask] = {
    "what is due next": lambda s: agenda.next_instant(s, "contoso", after=NOW),
    "lines that end soon": lambda s: lines.ending(s, "contoso", [Phase.REVIEW], NOW + DAY),
    "lines of some tickets": lambda s: lines.load(s, "contoso", [number(7), number(9_000)]),
    "lines of people who moved": lambda s: lines.accounts(s, "contoso", [UserId(f"user-{n}") for n in range(20)]),
    "the ledger of some tickets": lambda s: ledger.changes(s, "contoso", number(7)),
    "answers that are owed": lambda s: s.execute(
        outbox._IN_STATES, {"tenant": "contoso", "states": ["intended"]}
    ).all(),
    "tickets that are owed something": lambda s: outbox.due_tickets(s, "contoso", NOW),
    "answers of a ticket": lambda s: s.execute(outbox._OF_TICKET, {"tenant": "contoso", "ticket": number(7)}).all(),
    "tickets answered lately": lambda s: outbox.tickets_answered_since(s, "contoso", NOW - timedelta(minutes=5)),
    "tickets read lately": lambda s: tickets.read_since(s, "contoso", NOW - timedelta(minutes=5)),
    "the log of a ticket": lambda s: journal.rows_for(s, "contoso", number(70)),
    "the log of a line": lambda s: journal.rows_for(s, "contoso", f"{number(70)}/1"),
    "the end of the log": lambda s: journal.head(s, "contoso"),
    "a page of the log": lambda s: journal.page(s, "contoso"),
    "a later page of the log": lambda s: journal.page(s, "contoso", before=9_000),
    "a page of the log of one kind": lambda s: journal.page(s, "contoso", kind="answer", before=9_000),
    "a page of the log of a ticket": lambda s: journal.page(s, "contoso", subject=number(70)),
    "the log since an hour": lambda s: journal.rows_since(
        s, "contoso", NOW - timedelta(minutes=5), "result", "readback"
    ),
    "the board's list": lambda s: tallies.page(s, "contoso", Wanted()),
    "its next page": lambda s: tallies.page(s, "contoso", Wanted(), after=Place(NOW - HOUR, LineKey(number(1), 1))),
    "lines of a cause": lambda s: tallies.page(s, "contoso", Wanted(cause="no_seat")),
    "lines of a product": lambda s: tallies.page(s, "contoso", Wanted(product="visio-plan-1")),
    "lines by number": lambda s: tallies.page(s, "contoso", Wanted(text="RITM00070")),
    "ages": lambda s: tallies.ages(s, "contoso", NOW),
    "notices that are due": lambda s: notices.due(s, "contoso", NOW),
    "notices of a request": lambda s: notices.of_request(s, "contoso", "LR-70"),
    "what somebody was sent": lambda s: notices.sent_since(s, "contoso", "person-7", NOW - HOUR),
    "requests that wait": lambda s: approvals.pending(s, "contoso"),
    "shadows that wait": lambda s: shadows.waiting(s, "contoso"),
    "who has a tenant": lambda s: leases.holder(s, "contoso"),
    "whether a cycle is wanted": lambda s: leases.is_asked(s, "contoso"),
}
WRITES: dict[str, Ask] = {
    "a tenant is claimed": lambda s: leases.claim(s, "contoso", "me", ttl_s=60),
    "one that is due is claimed": lambda s: leases.claim_due(s, "contoso", "me", ttl_s=60),
    "a lease is held longer": lambda s: leases.renew(s, leases.Lease("contoso", "me", 1), ttl_s=60),
    "a lease is guarded": lambda s: suppressed(leases.LeaseLost, leases.guard, s, leases.Lease("contoso", "me", 1)),
    "an answer goes on": lambda s: outbox.mark(s, "contoso", "key-5000", outbox.State.SENT, "", NOW),
    "a shadow is forgotten": lambda s: shadows.prune(s, "contoso", NOW - 4_000 * DAY),
}


def suppressed(error: type[Exception], asked: Callable[..., object], *given: object) -> None:
    with pytest.raises(error):
        asked(*given)


def plans(session: Session, ask: Ask) -> list[dict[str, Any]]:
    """The plan of every statement that is run, with what each of its steps visited."""
    found: list[dict[str, Any]] = []
    connection = session.connection()
    driver = connection.connection.driver_connection
    assert driver is not None

    def explain(_c: object, _cursor: object, statement: str, given: Any, _context: object, _many: bool) -> None:
        with driver.cursor() as cursor:
            cursor.execute("SAVEPOINT explained")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
            found.append(cursor.fetchone()[0][0]["Plan"])
            cursor.execute("ROLLBACK TO explained")

    event.listen(connection, "before_cursor_execute", explain)
    try:
        ask(session)
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    return found


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from steps(below)


def visited(step: dict[str, Any]) -> int:
    """Rows of a table that a step read, those included that it threw away."""
    if "Relation Name" not in step:
        return 0
    thrown = sum(step.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int((step["Actual Rows"] + thrown) * step["Actual Loops"])


def problems(found: list[dict[str, Any]]) -> list[str]:
    told = []
    for step in (step for plan in found for step in steps(plan)):
        of = step.get("Relation Name", "")
        if step["Node Type"] == "Seq Scan" and of in FILL:
            told.append(f"{of} is read whole")
        elif visited(step) > VISITED_MAX:
            told.append(f"{visited(step)} rows of {of} are visited by {step['Node Type']}")
    return told


@pytest.mark.parametrize("what", [*QUERIES, *WRITES])
def test_a_hot_query_visits_the_rows_that_it_is_about(large: Database, what: str) -> None:
    opened = large.read() if what in QUERIES else large.write()
    with opened as session:
        found = plans(session, QUERIES.get(what) or WRITES[what])
        session.rollback()

    assert found
    assert problems(found) == []
