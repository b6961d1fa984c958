"""The encoded query language of the sandbox: read and written back, and what each operator finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sandbox.servicenow.query import (
    OPERATORS,
    UNARY,
    AnyOf,
    Condition,
    NotImitated,
    Order,
    Query,
    parse,
    render,
)
from tests.make_instance import MONDAY, TABLE, Desk, error

# --- the language

FIELDS = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z][a-z0-9_]{0,5})?", fullmatch=True)
VALUES = st.text(max_size=12)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from(OPERATORS))
    return Condition(draw(FIELDS), operator, "" if operator in UNARY else draw(VALUES))


ANY_OF = st.lists(conditions(), min_size=1, max_size=3).map(tuple)
GROUPS = st.lists(st.lists(ANY_OF, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)
ORDER = st.lists(st.builds(Order, FIELDS, st.booleans()), max_size=2).map(tuple)


def is_plain(query: Query) -> bool:
    """Whether no value runs into its operator, as `>` with the value `=1` does in `a>=1`."""
    for group in query.groups:
        for any_of in group:
            for clause in any_of:
                assert isinstance(clause, Condition)
                text = f"{clause.operator}{clause.value}"
                longest = next(op for op in OPERATORS if text.startswith(op))
                if longest != clause.operator:
                    return False
    return True


@given(st.builds(Query, GROUPS, ORDER).filter(is_plain))
def test_a_query_that_is_written_is_read_back_as_it_was(query: Query) -> None:
    assert parse(render(query)) == query


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_aloud(text: str) -> None:
    try:
        query = parse(text)
    except NotImitated:
        return
    assert isinstance(query, Query)


def one(*clauses: Condition) -> AnyOf:
    return clauses


def test_or_binds_to_the_condition_just_before_it() -> None:
    a, b, c, d = (Condition(name, "=", "1") for name in "abcd")

    assert parse("a=1^b=1^ORc=1^d=1").groups == ((one(a), one(b, c), one(d)),)


def test_nq_begins_another_query_and_the_order_is_one_for_all() -> None:
    query = parse("a=1^NQb=1^ORDERBYa^ORDERBYDESCb")

    assert query.groups == ((one(Condition("a", "=", "1")),), (one(Condition("b", "=", "1")),))
    assert query.order == (Order("a"), Order("b", descending=True))


def test_a_doubled_caret_stands_for_one_in_a_value() -> None:
    assert parse("a=x^^ORb=2^c=y^^").groups == ((one(Condition("a", "=", "x^ORb=2")), one(Condition("c", "=", "y^"))),)


def test_columns_that_begin_like_words_of_the_language_are_columns() -> None:
    query = parse("order=1^ORorder=2^instance=3^nqueue=4")

    assert query.groups == (
        (
            one(Condition("order", "=", "1"), Condition("order", "=", "2")),
            one(Condition("instance", "=", "3")),
            one(Condition("nqueue", "=", "4")),
        ),
    )


# --- what it finds


@pytest.fixture
def desk() -> Desk:
    """Five items: 1 and 2 closed, 3 to 5 open; closed and updated an hour apart."""
    desk = Desk()
    for n in range(1, 6):
        at = MONDAY - timedelta(hours=6 - n)
        if n < 3:
            desk.ticket(f"RITM001000{n}", opened_at=at - timedelta(days=2), closed_at=at)
        else:
            desk.open_ticket(f"RITM001000{n}", opened_at=at)
    for n, notes in ((1, "Alpha^One"), (2, "beta"), (3, "BETA max")):
        row = desk.instance.records("sc_req_item", number=f"RITM001000{n}")[0]
        desk.instance.truth.update("sc_req_item", row["sys_id"], {"close_notes": notes}, by="ben", stamped=False)
    return desk


def short(numbers: Sequence[str]) -> str:
    return "".join(number[-1] for number in numbers)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "12345"),
        ("state=3", "12"),
        ("state!=3", "345"),
        ("stateIN3,4,7", "12"),
        ("stateNOT IN3,4,7", "345"),
        ("state>1", "12"),
        ("state<=1", "345"),
        ("number>=RITM0010004", "45"),
        ("numberBETWEENRITM0010002@RITM0010003", "23"),
        ("close_notes=BETA", "2"),
        ("close_notesSTARTSWITHbeta", "23"),
        ("close_notesENDSWITHmax", "3"),
        ("close_notesLIKEet", "23"),
        ("close_notesCONTAINSet", "23"),
        ("close_notes*et", "23"),
        ("close_notesNOT LIKEet", "145"),
        ("close_notesDOES NOT CONTAINet", "145"),
        ("close_notes!*et", "145"),
        ("close_notes=alpha^^one", "1"),
        ("close_notesISEMPTY", "45"),
        ("close_notesISNOTEMPTY", "123"),
        ("close_notesANYTHING", "12345"),
        ("close_notesEMPTYSTRING", "45"),
        ("stageINfulfillment", "345"),
        ("stageINFulfillment", ""),
        ("active=true^number>RITM0010003", "45"),
        ("number=RITM0010001^ORnumber=RITM0010004^active=true", "4"),
        ("number=RITM0010001^NQnumber=RITM0010004", "14"),
        ("requested_for.email=ana@contoso.example^state=3", "12"),
        ("request.numberENDSWITH5", "5"),
        ("opened_by SAMEASx", "12345"),
        ("opened_bySAMEASrequested_for", "12345"),
        ("opened_byNSAMEASrequested_for", ""),
        ("sys_class_nameINSTANCEOFtask", "12345"),
        ("sys_updated_on>=2026-11-02 05:00:00^active=false", "2"),
        ("sys_updated_on>2026-11-02 05:00:00", "345"),
        ("sys_updated_on<2026-11-02", ""),
        ("closed_atISNOTEMPTY^closed_at<2026-11-02 04:30:00", "1"),
        ("sys_updated_onRELATIVEGT@hour@ago@2", "5"),
        ("sys_updated_onRELATIVELT@hour@ago@4", "1"),
        ("sys_updated_onONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "12345"),
        ("sys_updated_onNOTONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", ""),
        ("sys_updated_on>javascript:gs.hoursAgo(2)", "5"),
        ("sys_updated_on>=javascript:gs.dateGenerate('2026-11-02','08:00:00')", "5"),
        ("ORDERBYDESCnumber", "54321"),
        ("ORDERBYstate^ORDERBYDESCnumber", "54321"),
        ("state=3^EQ", "12"),
    ],
)
def test_each_operator_finds_what_it_says(desk: Desk, query: str, found: str) -> None:
    assert short(desk.numbers(query)) == found


def test_an_invalid_clause_is_dropped_or_empties_the_answer_as_the_property_says(desk: Desk) -> None:
    for query in (
        "bunk=1^state=3",
        "State=3^state=3",
        "state=3^opened_at>notadate",
        "state=3^request.bunk=1",
        "x^state=3",
    ):
        desk.instance.switches.invalid_query_returns_no_rows = False
        assert short(desk.numbers(query)) == "12", query

        desk.instance.switches.invalid_query_returns_no_rows = True
        assert desk.numbers(query) == [], query


def test_the_whole_table_comes_back_when_the_only_clause_is_misspelt(desk: Desk) -> None:
    assert short(desk.numbers("stte=3")) == "12345"


@pytest.mark.parametrize(
    "query",
    [
        "stateDYNAMIC0a826bf03710200044e0bfc8bcbe5d7a",
        "locationIN_HIERARCHYx",
        "opened_atDATEPARTMonday@javascript:gs.datePart('dayofweek','monday','EE')",
        "JOINsc_req_item.request=sc_request.sys_id!active=true",
        "RLQUERYsc_task.request_item,>0^state=1^ENDRLQUERY",
        "123TEXTQUERY321=licence",
    ],
)
def test_parts_of_the_language_that_are_not_imitated_are_refused_aloud(desk: Desk, query: str) -> None:
    answer = desk.get(f"{TABLE}/sc_req_item", {"sysparm_query": query})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Query not imitated by the sandbox"


@pytest.mark.parametrize(
    "script", ["gs.sleep(10)", "new GlideRecord('sys_user').query()", "gs.daysAgo(gs.now())", "1+1"]
)
def test_a_script_that_is_more_than_a_simple_call_is_refused(desk: Desk, script: str) -> None:
    answer = desk.get(f"{TABLE}/sc_req_item", {"sysparm_query": f"opened_at>javascript:{script}"})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Script refused"


def test_generated_dates_are_read_in_the_users_zone_and_plain_ones_in_utc() -> None:
    desk = Desk(time_zone="Europe/Berlin")
    desk.ticket(closed_at=MONDAY)  # 09:00 UTC is 10:00 in Berlin

    assert desk.numbers("closed_at=2026-11-02 09:00:00") == ["RITM0010001"]
    assert desk.numbers("closed_at=javascript:gs.dateGenerate('2026-11-02','10:00:00')") == ["RITM0010001"]
    assert desk.numbers("closed_at=javascript:gs.dateGenerate('2026-11-02','09:00:00')") == []


def test_pairs_of_field_and_value_understand_display_values(desk: Desk) -> None:
    def found(**pairs: str) -> str:
        rows = desk.get(f"{TABLE}/sc_req_item", pairs).json()["result"]
        return short(sorted(row["number"] for row in rows))

    assert found(state="3") == "12"
    assert found(state="Closed Complete") == "12"
    assert found(requested_for="Ana Ruiz", active="true") == "345"
    assert found(number="RITM0010005") == "5"


def test_the_case_of_text_counts_when_the_database_says_so(desk: Desk) -> None:
    desk.instance.switches.text_ignores_case = False

    assert short(desk.numbers("close_notesSTARTSWITHbeta")) == "2"


def test_a_column_that_may_not_be_searched_by_range_empties_the_answer(desk: Desk) -> None:
    desk.instance.add_acl("sc_req_item", "query_range", column="sys_updated_on")

    assert desk.numbers("sys_updated_on>2026-11-02 05:00:00") == []
    assert desk.numbers("ORDERBYsys_updated_on") == []
    assert short(desk.numbers("state=3")) == "12"


def test_a_clause_of_an_answer_may_be_lost(desk: Desk) -> None:
    with desk.failing("dropped_invalid_clause"):
        assert short(desk.numbers("state=3^active=false")) == "12"
        assert short(desk.numbers("state=3")) == "12345"


def test_a_refused_clause_is_told_apart_from_an_unknown_table(desk: Desk) -> None:
    answer = desk.get(f"{TABLE}/sc_bunk", {"sysparm_query": "JOINx=y!z"})

    assert answer.json() == error("Invalid table sc_bunk", None)
