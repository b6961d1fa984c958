"""Which account a request means, and when nobody can say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from desired_state.model import Claim, Person, Ticket
from reconciler.errors import NotFound
from reconciler.line import Known
from reconciler.loop.bind import bind, names_of
from tests.make import a_request, a_ticket

INA = Person("p1", email="ina.lind@contoso.example", user_name="ina.lind")
ASKED = replace(a_request(), claim=Claim(upn="", person=INA))
SHOWN = replace(a_ticket(), requested_for=INA, opened_by=INA, variables={"user": "p1"})
NOBODY = {name: NotFound("Microsoft Graph", "no such user") for name in names_of(ASKED.claim)}


def known(ticket: Ticket) -> Known:
    return bind(ASKED, ticket, NOBODY, taken={}).known


def test_somebody_who_is_shown_and_has_no_account_is_missing():
    assert known(SHOWN) is Known.MISSING


@pytest.mark.parametrize("hidden", ["variables", "requested_for", "opened_by"])
def test_a_person_whom_nobody_shows_now_may_have_another_name(hidden):
    somebody = Person("p2", email="bob@contoso.example")
    ticket = replace(SHOWN, requested_for=somebody, opened_by=somebody)

    assert known(replace(ticket, **{hidden: None})) is Known.UNREAD


def test_whoever_is_shown_has_today_s_name_whatever_else_is_hidden():
    assert known(replace(SHOWN, variables=None)) is Known.MISSING
    assert known(replace(SHOWN, variables=None, opened_by=None)) is Known.MISSING
