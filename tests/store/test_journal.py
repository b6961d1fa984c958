"""The audit log: one chain a tenant, in the transaction of what it tells, fit to be read by anybody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from desired_state.model import Says
from reconciler.audit.chain import GENESIS, Head
from reconciler.digest import plain
from reconciler.store import journal
from reconciler.store.database import Database, row_counts
from reconciler.store.fit import _SECRET_VALUE, REDACTED, TEXT_MAX, UnfitBody, _clean, _unicode, fit, redact
from tests.make import DAY, HOUR, MONDAY
from tests.make_database import ENGINES, SERVER, an_empty_database, without_triggers
from tests.make_store import TENANT


def tell(database: Database, *subjects: str, tenant: str = TENANT, **changes) -> list[journal.AuditRow]:
    given_ = {"kind": "intent", "body": {"lane": "grants"}, "at": MONDAY} | changes
    with database.write() as session:
        return [journal.append(session, tenant, subject=subject, **given_) for subject in subjects]


def exported(database: Database, tenant: str | None = None) -> list[dict]:
    with database.read() as session:
        return list(journal.export(session, tenant))


# --- appending ----------------------------------------------------------------------------------------------


def test_rows_are_chained_and_counted_within_their_tenant(database):
    first, second = tell(database, "a", "b")
    (other,) = tell(database, "c", tenant="fabrikam")

    assert (first.seq, first.prev) == (1, GENESIS)
    assert (second.seq, second.prev) == (2, first.hash)
    assert (other.seq, other.prev) == (1, GENESIS)
    with database.read() as session:
        assert journal.head(session, TENANT) == Head(TENANT, 2, second.hash)
        assert journal.head(session, "nobody") == Head("nobody", 0, GENESIS)


def test_a_row_that_was_rolled_back_leaves_no_gap(database):
    tell(database, "a")
    with pytest.raises(ZeroDivisionError), database.write() as session:
        journal.append(session, TENANT, kind="intent", subject="lost", body={}, at=MONDAY)
        raise ZeroDivisionError
    tell(database, "b")

    assert [row["subject"] for row in exported(database)] == ["a", "b"]
    assert journal.verify(exported(database)).ok


def test_a_row_says_when_in_utc_by_whom_and_in_which_cycle(database):
    noon = datetime(2026, 11, 2, 12, tzinfo=timezone(timedelta(hours=2)))

    (row,) = tell(database, "a", at=noon, cycle="c1", actor="ada")

    assert (row.at, row.cycle, row.actor) == (noon, "c1", "ada")
    assert exported(database)[0]["at"] == "2026-11-02T10:00:00.000000+00:00"


def test_an_instant_without_a_zone_is_refused(database):
    with pytest.raises(ValueError, match="aware"):
        tell(database, "a", at=datetime(2026, 11, 2))


texts = st.text(max_size=8)
bodies = st.dictionaries(st.sampled_from(["intent", "what", "ümlaut"]), texts | st.integers(-9, 9)) | st.lists(
    texts | st.sampled_from(["RITM1/1", "RITM2/1"]), max_size=3
).map(lambda names: {"lines": names})
entries = st.builds(
    journal.Entry,
    st.sampled_from(["intent", "result"]),
    st.sampled_from(["ada", "RITM1/1", "RITM3", "Bearer abcdefghijklmnopqrstuvwx"]),
    bodies,
    st.sampled_from(["reconciler", "ada"]),
    st.lists(st.sampled_from(["RITM7/2", "ada", "bob"]), max_size=2).map(tuple),
)


def everything(database: Database) -> tuple[list[dict], list[tuple]]:
    with database.read() as session:
        about = session.execute(text("SELECT tenant, subject, seq FROM audit_about ORDER BY 1, 2, 3")).all()
        return list(journal.export(session)), [tuple(row) for row in about]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=10, deadline=None)
@given(st.lists(entries, max_size=8), st.sampled_from([MONDAY, MONDAY - DAY]))
def test_rows_added_in_one_go_are_those_added_one_by_one(engine, told, at):
    before = journal.Entry("intent", "ada", {"lines": ["RITM1/1", "RITM4/2"]})

    with an_empty_database(engine) as alone, an_empty_database(engine) as together:
        for database in (alone, together):
            tell(database, "ada", body=before.body)
        with alone.write() as session:
            singly = [
                journal.append(
                    session, TENANT, kind=e.kind, subject=e.subject, body=e.body, at=at, actor=e.actor, about=e.about
                )
                for e in told
            ]
        with together.write() as session:
            grouped = journal.append_all(session, TENANT, told, at=at)

        assert grouped == singly
        assert everything(together) == everything(alone)
        assert journal.verify(exported(together)).ok


def test_where_one_row_is_unfit_none_is_added(database):
    told = [journal.Entry("intent", "a", {}), journal.Entry("intent", "b", {"price": 1.5})]

    with pytest.raises(UnfitBody), database.write() as session:
        journal.append_all(session, TENANT, told, at=MONDAY)

    assert exported(database) == []


def test_results_of_one_go_are_found_under_what_their_intents_are(database):
    with database.write() as session:
        told = [journal.Entry("intent", f"user-{n}", {"lines": [f"RITM{n}/1"]}) for n in range(600)]
        intents = journal.append_all(session, TENANT, told, at=MONDAY)
    with database.write() as session:
        results = [journal.Entry("result", row.subject, {"intent": row.seq}) for row in intents]
        journal.append_all(session, TENANT, results, at=MONDAY)

    with database.read() as session:
        assert [row.kind for row in journal.rows_for(session, TENANT, "RITM599")] == ["intent", "result"]
        assert [row.kind for row in journal.rows_for(session, TENANT, "RITM0/1")] == ["intent", "result"]


# --- bodies -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    price: Decimal
    says: Says


def test_values_of_ours_have_one_form_in_a_body():
    body = {"b": _Change(Decimal("5.00"), Says.APPROVED), "a": {"z", "y"}, "on": date(2026, 1, 2), "n": None}

    value, written = fit(body)

    assert value == {"b": {"price": "5.00", "says": "approved"}, "a": ["y", "z"], "on": "2026-01-02", "n": None}
    assert written == '{"a":["y","z"],"b":{"price":"5.00","says":"approved"},"n":null,"on":"2026-01-02"}'


@pytest.mark.parametrize(
    "body",
    [
        {"price": 1.5},
        {"deep": [{"price": 1.0}]},
        {"n": 2**60},
        {"client_secret": "x"},
        {"deep": {"Authorization": "x"}},
        {"accessToken": "x"},
        {"API-Key": "x"},
        {"webhook_url": "x"},
        {"what": object()},
    ],
)
def test_a_body_that_is_no_evidence_or_names_a_secret_is_refused_and_nothing_is_added(database, body):
    with pytest.raises(UnfitBody):
        tell(database, "a", body=body)

    assert exported(database) == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Bearer abcdefghijklmnopqrstuvwx is mine", f"{REDACTED} is mine"),
        ("see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl", f"see {REDACTED}"),
        ("https://x.example/hook?api=1&sig=abc-DEF_1 now", f"https://x.example/hook?api=1&{REDACTED} now"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----.", f"{REDACTED}."),
        ("password: hunter2, please", f"{REDACTED}, please"),
        ("half a character \ud83d", "half a character ?"),
        ("Basic Plan 1 and a Bearer of news", "Basic Plan 1 and a Bearer of news"),
    ],
)
def test_what_looks_like_a_secret_in_other_peoples_text_is_replaced(database, said, kept):
    (row,) = tell(database, said, body={"words": [said]})

    assert row.body == {"words": [kept]}
    assert row.subject == kept
    assert journal.verify(exported(database)).ok


pieces = st.sampled_from(
    [
        "Bearer ",
        "BASIC\t",
        "baſic ",
        "eyJ",
        ".",
        "-----BEGIN PRIVATE KEY-----",
        "?sig=",
        "Password",
        "=",
        ": ",
        "api-key",
    ]
)
pieces |= st.text(st.sampled_from("abcdefAB019 _~+/"), min_size=8, max_size=20) | st.text(max_size=3)


@given(st.lists(pieces, max_size=8).map("".join))
def test_the_quick_look_at_a_text_overlooks_no_secret(said):
    assert redact(said) == _SECRET_VALUE.sub(REDACTED, _unicode(said))


said = st.lists(pieces, max_size=4).map("".join) | st.sampled_from(
    ["\0", "\ud83d", "é", "\\u0000", "x" * (TEXT_MAX + 1)]
)
names = st.sampled_from(["from", "to", "digest", "user-name", "é", "a\0b"])
bodies = st.recursive(
    said | st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(names, bodies, max_size=4))
def test_a_body_that_is_looked_at_as_a_whole_is_kept_as_if_text_by_text(body):
    cleaned = _clean(plain(body))

    assert fit(body) == (cleaned, rfc8785.dumps(cleaned).decode())


@given(st.text(alphabet=st.characters(codec="utf-8")))  # halves of characters are replaced, as told above
def test_text_without_a_secret_is_kept_as_it_is(said):
    assert redact(said) == said.replace("\0", "\ufffd") or REDACTED in redact(said)
    assert redact(redact(said)) == redact(said)


# --- reading ------------------------------------------------------------------------------------------------


def test_an_export_is_read_back_and_holds(database):
    tell(database, "a", "Zürich ✓", body={"words": 'a "quote"\n', "n": 1, "is": True, "none": None})
    tell(database, "c", tenant="fabrikam")
    lines = [json.dumps(row) + "\n" for row in exported(database)]

    found = journal.verify(journal.read_export(lines))

    assert (found.ok, found.size, found.unprotected, set(found.heads)) == (True, 3, 3, {TENANT, "fabrikam"})
    assert [row["tenant"] for row in exported(database, "fabrikam")] == ["fabrikam"]


def test_a_ticket_finds_its_lines_the_writes_for_them_and_their_results(database):
    tell(database, "RITM1/1", kind="line_moved", body={})
    (intent,) = tell(database, "user-1", body={"lines": ["RITM1/2", "RITM2/1"]})
    tell(database, "user-1", kind="result", body={"intent": intent.seq, "result": "accepted"})
    tell(database, "RITM10/1", "RITM1", "other", kind="line_moved", body={})
    tell(database, "approval-7", kind="approved", body={}, about=["RITM2"])

    with database.read() as session:

        def found(subject: str) -> list[int]:
            return [row.seq for row in journal.rows_for(session, TENANT, subject)]

        assert found("RITM1") == [1, 2, 3, 5]
        assert found("RITM1/2") == [2, 3]
        assert found("RITM2") == [2, 3, 7]
        assert found("user-1") == [2, 3]
        assert found("RITM") == []


def test_the_day_s_budget_counts_whom_a_lane_meant_to_change_whatever_came_of_it(database):
    tell(database, "yesterday", at=MONDAY - DAY)
    tell(database, "ada", "ada", "bob", at=MONDAY)
    tell(database, "cem", at=MONDAY, kind="result")
    tell(database, "dan", at=MONDAY, body={"lane": "removals"})
    tell(database, "eve", at=MONDAY, tenant="fabrikam")

    with database.read() as session:
        assert journal.subjects_since(session, TENANT, "grants", MONDAY - HOUR) == 2
        assert journal.subjects_since(session, TENANT, "grants", MONDAY - DAY) == 3
        assert [row.subject for row in journal.rows_since(session, TENANT, MONDAY, "result")] == ["cem"]


def test_a_cycle_finds_its_rows(database):
    tell(database, "a", cycle="c1")
    tell(database, "b", cycle="c2")

    with database.read() as session:
        assert [row.subject for row in journal.rows_of_cycle(session, TENANT, "c2")] == ["b"]


# --- tampering in the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why", "seq"),
    [
        ('UPDATE audit SET body = \'{"lane":"removals"}\' WHERE seq = 2', "changed", 2),
        ('UPDATE audit SET body = \'{"lane": "grants"}\' WHERE seq = 2', "malformed", 2),
        ('UPDATE audit SET body = \'{"lane":"x","lane":"grants"}\' WHERE seq = 2', "malformed", 2),
        ("UPDATE audit SET body = 'no json' WHERE seq = 2", "malformed", 2),
        ("UPDATE audit SET body = NULL WHERE seq = 2", "NOT NULL|not-null", None),
        ("UPDATE audit SET at = 'yesterday' WHERE seq = 2", "changed", 2),
        ("UPDATE audit SET actor = 'ada' WHERE seq = 2", "changed", 2),
        ("UPDATE audit SET kind = x'ff' WHERE seq = 2", "cannot store BLOB|of type text", None),
        ("UPDATE audit SET seq = 'two' WHERE seq = 2", "cannot store TEXT|invalid input", None),
        ("UPDATE audit SET tenant = 'fabrikam' WHERE seq = 2", "missing", 2),
        ("DELETE FROM audit WHERE seq = 1", "missing", 1),
        ("DELETE FROM audit WHERE seq = 2", "missing", 2),
    ],
)
def test_whoever_drops_the_triggers_and_changes_the_log_is_found(database, engine, change, why, seq):
    if engine == SERVER and "x'ff'" in change:  # bits turn into text there
        why, seq = "changed", 2
    tell(database, "a", "b", "c")
    if seq is None:  # the table itself refuses what is no row
        with pytest.raises(Exception, match=why), database.write() as session:
            without_triggers(session)
            session.connection().exec_driver_sql(change)
        return
    with database.write() as session:
        without_triggers(session)
        session.connection().exec_driver_sql(change)

    with database.read() as session:
        found = journal.verify(journal.export(session))

    assert found.broken is not None
    assert (found.broken.why, found.broken.seq) == (why, seq)


def test_an_error_of_the_database_does_not_show_what_was_to_be_kept(database):
    with pytest.raises(Exception, match=r"NOT NULL|not-null") as caught, database.write() as session:
        session.execute(
            text("INSERT INTO audit_about (tenant, subject) VALUES ('a', :words)"), {"words": "private words"}
        )

    assert "private words" not in str(caught.value)


def test_a_row_and_its_index_are_all_that_is_added(database):
    tell(database, "user-1", body={"lines": ["RITM1/1"]})

    with database.read() as session:
        assert {name: count for name, count in row_counts(session).items() if count} == {"audit": 1, "audit_about": 2}
