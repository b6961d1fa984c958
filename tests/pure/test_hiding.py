"""What of a form is there and not shown: open where it may be an answer that we read, and only there."""

from __future__ import annotations

import pytest

from desired_state.hiding import is_open, unread
from tests.make_tickets import a_ticket, an_item

ITEM = an_item(variables={"person": "user", "product": "product", "end": "end_date"})
ALL = {"user": "u", "product": "p", "end_date": ""}
TABLE = an_item(variables={"end": "end_date"}, rows={"person": "who", "product": "what"})


@pytest.mark.parametrize(
    ("shown", "more", "names"),
    [
        (ALL, {}, ()),
        (ALL, {"hidden_answers": 2}, ()),
        ({"user": "u", "product": "p"}, {}, ()),
        ({"user": "u", "product": "p"}, {"hidden_answers": 1}, ("end_date",)),
        ({"product": "p"}, {"hidden_answers": 1}, ("user", "end_date")),
        ({"product": "p"}, {"unshown": ("user",)}, ("user",)),
        (ALL, {"unshown": ("user",)}, ()),
    ],
)
def test_a_question_is_open_where_it_has_no_row_and_one_is_hidden(shown, more, names):
    ticket = a_ticket(variables=shown, **more)

    said = unread(ticket, ITEM)

    assert bool(said) is is_open(ticket, ITEM) is bool(names)
    assert tuple(name for name in ("user", "product", "end_date") if f"'{name}'" in said) == names


def test_hidden_cells_matter_where_the_table_is_read():
    ticket = a_ticket(variables=ALL, hidden_cells=3)

    assert unread(ticket, ITEM) == ""
    assert "3 cells" in unread(ticket, TABLE)


def test_a_ticket_of_no_item_of_ours_is_open_only_where_it_shows_nothing():
    assert not is_open(a_ticket(hidden_answers=1), None)
    assert is_open(a_ticket(variables=None), None)
    assert is_open(a_ticket(requested_for=None), ITEM)
