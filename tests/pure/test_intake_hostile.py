"""Whatever a form says, intake neither fails nor lets anything out that could forge a line (I17)."""

from __future__ import annotations

import unicodedata
from dataclasses import fields, is_dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state.catalogue import load_builtin
from desired_state.durations import period_days
from desired_state.intake import intake
from desired_state.model import Person, Refusal, Request
from desired_state.text import one_line
from tests.make_tickets import ADA, MONDAY, OUR_GROUP, PEOPLE, a_closed_ticket, a_ticket, an_approval, an_item

CATALOGUE = load_builtin()
ITEM = an_item(
    variables={
        "person": "user",
        "product": "product",
        "justification": "justification",
        "cost_center": "cost_center",
        "manager": "manager",
        "start": "start_date",
        "end": "end_date",
        "duration": "duration",
        "quantity": "quantity",
        "price": "price",
    }
)
TABLE = an_item(variables={"justification": "justification"}, rows={"person": "user", "product": "product"})
HOSTILE = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Nd"]), max_size=60),
    st.sampled_from(
        ["visio-plan-2", ADA.sys_id, "2026-12-31", "30 days", "9" * 400, "٣", "²", "1e9", "-0", "NaN", "a,b,,"]
    ),
)
NAMES = list(type(ITEM.variables).model_fields)
ANSWERS = st.dictionaries(st.sampled_from([getattr(ITEM.variables, name) for name in NAMES]), HOSTILE)


def texts(value):
    """Every text in a line, except those of the person as ServiceNow holds them."""
    if isinstance(value, Person):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for inner in value:
            yield from texts(inner)
    elif is_dataclass(value):
        for one in fields(value):
            yield from texts(getattr(value, one.name))


def assert_clean(line):
    assert isinstance(line, Request | Refusal)
    for text in texts(line):
        assert len(text) <= 1000
        assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@settings(deadline=None, max_examples=300)
@given(answers=ANSWERS, closed=st.booleans(), stage=HOSTILE)
def test_any_answers_give_lines_that_are_safe_to_show(answers, closed, stage):
    make = a_closed_ticket if closed else a_ticket
    ticket = make(variables=answers, stage=stage, approvals=(an_approval(approver_name=stage),), closed_by=stage)

    result = intake(ticket, ITEM, PEOPLE, CATALOGUE, at=MONDAY, our_groups={OUR_GROUP})

    assert result.lines
    for line in result.lines:
        assert_clean(line)
    assert [line.key.line for line in result.lines] == list(range(1, len(result.lines) + 1))


@settings(deadline=None, max_examples=150)
@given(rows=st.lists(st.dictionaries(st.sampled_from(["user", "product", "x"]), HOSTILE), max_size=4), state=HOSTILE)
def test_any_rows_give_a_line_each(rows, state):
    ticket = a_ticket(variables={}, rows=tuple(rows), state=state)

    result = intake(ticket, TABLE, PEOPLE, CATALOGUE, at=MONDAY, our_groups={OUR_GROUP})

    assert len(result.lines) == max(1, len(rows))
    for line in result.lines:
        assert_clean(line)


@given(text=st.text(max_size=400), length=st.integers(2, 80))
def test_one_line_is_one_line_of_that_length_and_stays_so(text, length):
    once = one_line(text, length)

    assert len(once) <= length
    assert one_line(once, length) == once
    assert once.isprintable()


def test_a_text_that_reorders_what_a_reader_sees_is_straightened():
    assert one_line("invoice\u202egpj.exe\r\nAPPROVED: yes\x1b[2J", 80) == "invoicegpj.exe APPROVED: yes[2J"


@given(text=st.text(max_size=30))
def test_a_period_is_a_positive_number_of_days_or_none(text):
    days = period_days(text)

    assert days is None or days > 0
