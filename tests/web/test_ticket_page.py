"""The page of one ticket: the whole chain, for whoever may see it."""

from __future__ import annotations

from dataclasses import replace

from desired_state import ledger
from desired_state.model import LineKey
from reconciler.store import tickets
from tests.make import MONDAY
from tests.make_store import a_wish
from tests.make_tickets import a_ticket
from tests.web.make_web import HOSTILE, TENANT

NUMBER = "RITM0010012"
KEY = LineKey(NUMBER, 1)


def keep(pages) -> None:
    """A ticket whose every text is hostile."""
    ticket = replace(a_ticket(), number=NUMBER, item_name=HOSTILE, stage=HOSTILE, state=HOSTILE, approval=HOSTILE)
    wish = a_wish(key=KEY, justification=HOSTILE, cost_center=HOSTILE)
    with pages.database.write() as session:
        tickets.save(session, TENANT, ticket, MONDAY)
        ledger.append(session, TENANT, ledger.Declared(wish), MONDAY)


def test_an_approver_of_the_ticket_reads_its_chain_and_hostile_text_stays_text(pages):
    keep(pages)
    pages.ask()

    page = pages.signed_in().get(f"/tickets/{NUMBER}")

    assert page.status_code == 200
    assert f"<bdi>{NUMBER}</bdi>" in page.text
    assert "/approvals/LR-" in page.text
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "[U+202E]" in page.text


def test_whoever_has_no_part_in_it_sees_what_somebody_sees_who_asks_for_nothing(pages):
    keep(pages)
    pages.ask()
    thomas = pages.signed_in("Thomas Brandt")

    there, nowhere = thomas.get(f"/tickets/{NUMBER}"), thomas.get("/tickets/RITM9999999")

    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.text == nowhere.text
    assert {row.body["approval"] for row in pages.log("approval.view_denied")} == {NUMBER, "RITM9999999"}


def test_an_auditor_reads_every_ticket(pages):
    keep(pages)

    assert pages.signed_in("Nikolai Orlov").get(f"/tickets/{NUMBER}").status_code == 200


def test_a_number_that_is_none_is_not_found(pages):
    browser = pages.signed_in("Nikolai Orlov")

    for number in ("1", "RITM", "ritm0010012", "RITM0010012%0a", "RITM" + "1" * 30, "ada@contoso.example"):
        assert browser.get(f"/tickets/{number}").status_code == 404
