"""Lines, tickets, watermarks and the heartbeat: written only when something changed, and read back as they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state.ledger import CHUNK
from desired_state.model import LineKey
from reconciler.audit.chain import Head
from reconciler.lifecycle import IllegalMove, Phase
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.store import heartbeat, journal, lines, tallies, tickets, watermarks
from reconciler.store.database import Database, row_counts
from reconciler.store.watermarks import Watermark
from reconciler.tallies import Count
from tests.make import ADA, DAY, HOUR, MONDAY, a_ticket
from tests.make_database import ENGINES, an_empty_database
from tests.make_store import KEY, TENANT, instants, words
from tests.make_store import tickets as any_ticket

STATE = LineState(KEY, Phase.CONVERGING, since=MONDAY)


def save(database: Database, state: LineState, at=MONDAY) -> bool:
    with database.write() as session:
        return lines.save(session, TENANT, state, at)


def load(database: Database) -> dict[LineKey, LineState]:
    with database.read() as session:
        return lines.load(session, TENANT)


def counted(database: Database) -> set[Count]:
    with database.read() as session:
        return set(tallies.counts(session, TENANT))


# --- lines --------------------------------------------------------------------------------------------------


some_states = st.builds(
    LineState,
    st.builds(LineKey, st.sampled_from(["RITM1", "RITM2"]), st.integers(1, 2)),
    st.sampled_from([Phase.CONVERGING, Phase.VERIFYING, Phase.WAITING_FOR_SEAT]),
    since=st.none() | st.just(MONDAY),
    attempts=st.integers(0, 1),
    granted_at=st.sampled_from([None, MONDAY]),
    product=st.sampled_from(["", "visio-plan-1"]),
)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=10, deadline=None)
@given(st.lists(some_states, max_size=4), st.lists(some_states, max_size=6))
def test_states_kept_in_one_go_are_those_kept_one_by_one(engine, there, told):
    with an_empty_database(engine) as alone, an_empty_database(engine) as together:
        for database in (alone, together):
            for state in there:
                save(database, state)
        singly = {state.key for state in told if save(alone, state, MONDAY + HOUR)}
        with together.write() as session:
            grouped = lines.save_all(session, TENANT, told, MONDAY + HOUR)

        assert grouped == singly
        assert load(together) == load(alone)
        assert counted(together) == counted(alone)


def test_where_one_state_cannot_be_reached_none_is_kept(database):
    other = replace(STATE, key=LineKey("RITM9", 1))
    save(database, replace(STATE, phase=Phase.GRANTED))

    with pytest.raises(IllegalMove), database.write() as session:
        lines.save_all(session, TENANT, [other, replace(STATE, phase=Phase.RECEIVED)], MONDAY)

    assert set(load(database)) == {KEY}


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        LineState,
        key=st.just(KEY),
        phase=st.sampled_from(Phase),
        verdict=st.none() | st.sampled_from(Verdict),
        first_verdict=st.none() | st.sampled_from(Verdict),
        cause=st.none() | words,
        tier=st.none() | st.sampled_from(["V0", "V2"]),
        user=st.none() | st.just(ADA),
        attempts=st.integers(0, 99),
        next_at=st.none() | instants,
        since=instants,
        granted_at=st.none() | instants,
        ends_at=st.none() | instants,
        episode=st.integers(1, 99),
        note=words,
    )
)
def test_a_line_reads_back_as_it_was(engine, state):
    with an_empty_database(engine) as database:
        assert save(database, state)

        assert load(database) == {KEY: state}
        assert not save(database, state, MONDAY + DAY)


def test_a_phase_begins_when_the_line_gets_there(database):
    save(database, LineState(KEY, Phase.CONVERGING), MONDAY)
    assert load(database)[KEY].since == MONDAY

    save(database, LineState(KEY, Phase.CONVERGING, attempts=1), MONDAY + HOUR)
    assert load(database)[KEY].since == MONDAY

    save(database, LineState(KEY, Phase.VERIFYING, attempts=1), MONDAY + DAY)
    assert load(database)[KEY].since == MONDAY + DAY


def test_a_line_that_stands_as_before_is_not_written(database):
    save(database, LineState(KEY, Phase.GRANTED), MONDAY)

    assert not save(database, LineState(KEY, Phase.GRANTED), MONDAY + DAY)
    assert not save(database, load(database)[KEY], MONDAY + DAY)


def test_an_illegal_move_stops_before_anything_is_written(database):
    save(database, replace(STATE, phase=Phase.REVOKED))

    with pytest.raises(IllegalMove), database.write() as session:
        lines.save(session, TENANT, replace(STATE, phase=Phase.GRANTED, note="no"), MONDAY)

    assert load(database)[KEY] == replace(STATE, phase=Phase.REVOKED)


def test_lines_are_found_by_ticket_and_by_tenant(database):
    others = [LineKey(f"RITM{i:07}", 1) for i in range(CHUNK + 5)]
    with database.write() as session:
        for key in others:
            lines.save(session, TENANT, replace(STATE, key=key), MONDAY)
        lines.save(session, "fabrikam", STATE, MONDAY)

    with database.read() as session:
        assert set(lines.load(session, TENANT, tickets={key.ticket for key in others})) == set(others)
        assert set(lines.load(session, TENANT, tickets=["RITM0000003"])) == {LineKey("RITM0000003", 1)}
        assert lines.load(session, TENANT, tickets=()) == {}
        assert set(lines.load(session, "fabrikam")) == {KEY}


def test_a_character_that_postgresql_cannot_keep_stops_nobody(database):
    """U+0000 may stand in what a person typed; JSON and SQLite keep it, a text of PostgreSQL does not."""
    state = LineState(KEY, Phase.REVIEW, note="a\x00b", person="ada\x00@contoso.example", since=MONDAY)

    assert save(database, state)
    with database.write() as session:
        journal.append(
            session, TENANT, kind="config", subject="a\x00b", body={"said": "\x00", "lines": ["R\x00/1"]}, at=MONDAY
        )

    assert load(database)[KEY].note in ("a\x00b", "a\ufffdb")
    with database.read() as session:
        assert journal.verify(journal.export(session)).ok
        assert len(journal.rows_for(session, TENANT, "a\ufffdb")) == 1


# --- tickets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=30, deadline=None)
@given(any_ticket)
def test_a_ticket_reads_back_as_it_was(engine, ticket):
    with an_empty_database(engine) as database:
        with database.write() as session:
            assert tickets.save(session, TENANT, ticket, MONDAY)
            assert not tickets.save(session, TENANT, ticket, MONDAY + DAY)
        with database.read() as session:
            assert tickets.load(session, TENANT) == {ticket.number: ticket}


def test_a_ticket_whose_task_moved_is_kept_anew_though_the_item_did_not_change(database):
    before, after = a_ticket(), a_ticket(close_notes="done")
    with database.write() as session:
        tickets.save(session, TENANT, before, MONDAY)

    with database.write() as session:
        assert tickets.save(session, TENANT, after, MONDAY + DAY)

    with database.read() as session:
        assert tickets.load(session, TENANT, numbers=[after.number, "RITM9999999"]) == {after.number: after}
        assert row_counts(session)["ticket_copy"] == 1


# --- watermarks ---------------------------------------------------------------------------------------------


def test_a_watermark_is_kept_with_the_rows_it_stands_for_or_not_at_all(database):
    with pytest.raises(ZeroDivisionError), database.write() as session:
        tickets.save(session, TENANT, a_ticket(), MONDAY)
        watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))
        raise ZeroDivisionError

    with database.read() as session:
        assert watermarks.load(session, TENANT, "servicenow") is None
        assert tickets.load(session, TENANT) == {}


def test_all_watermarks_of_a_tenant_are_read_at_once(database):
    marks = {"servicenow": Watermark(MONDAY, "a"), "servicenow.tasks": Watermark(MONDAY + HOUR, "b")}
    with database.write() as session:
        for source, mark in marks.items():
            watermarks.save(session, TENANT, source, mark)
        watermarks.save(session, "fabrikam", "servicenow", Watermark(MONDAY + DAY, "c"))

    with database.read() as session:
        assert watermarks.load_all(session, TENANT) == marks


def test_a_watermark_that_stands_is_not_written(database):
    with database.write() as session:
        assert watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))
        assert not watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))
        assert watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "b"))
        assert watermarks.load(session, TENANT, "servicenow") == Watermark(MONDAY, "b")
        assert watermarks.load(session, TENANT, "graph") is None


# --- heartbeat ----------------------------------------------------------------------------------------------


def finish(session, cycle, at, **changes) -> bool:
    given = {"is_converged": True, "counts": {"lines": 3}, "head": Head(TENANT, 0, "0" * 64)} | changes
    return heartbeat.finish(session, TENANT, cycle, at, **given)


def test_cycles_of_a_converged_tenant_write_one_row_and_no_other(database):
    with database.write() as session:
        lines.save(session, TENANT, STATE, MONDAY)
        heartbeat.start(session, TENANT, "c0", MONDAY)
        before = row_counts(session)

    for i in range(3):
        with database.write() as session:
            heartbeat.start(session, TENANT, f"c{i + 1}", MONDAY + i * HOUR)
            lines.save(session, TENANT, STATE, MONDAY + i * HOUR)
            finish(session, f"c{i + 1}", MONDAY + i * HOUR)

    with database.read() as session:
        assert row_counts(session) == before
        beat = heartbeat.last(session, TENANT)
    assert beat is not None
    assert (beat.cycle, beat.number, beat.counts) == ("c3", 4, {"lines": 3})
    assert beat.finished_at == beat.last_finished_at == MONDAY + 2 * HOUR


def test_a_cycle_that_died_shows_as_unfinished_beside_the_last_that_ended(database):
    with database.write() as session:
        heartbeat.start(session, TENANT, "c1", MONDAY)
        finish(session, "c1", MONDAY + HOUR, error="teams was away")
        heartbeat.start(session, TENANT, "c2", MONDAY + DAY)

    with database.read() as session:
        beat = heartbeat.last(session, TENANT)
    assert beat is not None
    assert (beat.cycle, beat.started_at, beat.finished_at, beat.is_converged) == ("c2", MONDAY + DAY, None, None)
    assert beat.last_finished_at == MONDAY + HOUR
    assert beat.error == ""


def test_a_cycle_that_was_overtaken_does_not_end_the_one_that_runs(database):
    with database.write() as session:
        heartbeat.start(session, TENANT, "c1", MONDAY)
        heartbeat.start(session, TENANT, "c2", MONDAY + HOUR)

        assert not finish(session, "c1", MONDAY + DAY)
        beat = heartbeat.last(session, TENANT)

    assert beat is not None
    assert beat.finished_at is None
    assert heartbeat_of_nobody(database) is None


def heartbeat_of_nobody(database: Database) -> heartbeat.Heartbeat | None:
    with database.read() as session:
        return heartbeat.last(session, "fabrikam")


def test_the_heartbeat_keeps_the_head_of_the_log_so_that_a_cut_is_found(database):
    with database.write() as session:
        for i in range(3):
            journal.append(session, TENANT, kind="config", subject="s", body={"i": i}, at=MONDAY)
        heartbeat.start(session, TENANT, "c1", MONDAY)
        finish(session, "c1", MONDAY, head=journal.head(session, TENANT))

    with database.read() as session:
        rows = list(journal.export(session))
        found = journal.verify(rows[:-1], heartbeat.heads(session))

    assert found.broken is not None
    assert (found.broken.why, found.broken.seq) == ("cut", 3)
