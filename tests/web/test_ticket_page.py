"""The page of one ticket: the whole chain, for whoever may see it."""

from __future__ import annotations

from dataclasses import replace

from desired_state import ledger
from desired_state.model import LineKey
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.store import journal, lines, tickets
from tests.make import MONDAY
from tests.make_store import a_wish
from tests.make_tickets import a_ticket
from tests.web.make_api import caller
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


def test_the_page_of_a_proposal_names_the_software_and_who_answers_for_it(pages):
    caller(pages).propose(reason=HOSTILE)

    page = pages.signed_in("Nikolai Orlov").get("/tickets/PROP0000001")

    assert page.status_code == 200
    assert "AI agent <bdi>copilot</bdi>, for whom <bdi>laura.mcbride@contoso.example</bdi> answers" in page.text
    assert "No cycle has looked at it since it came in." in page.text
    assert "<script" not in page.text
    assert [row.body["what"] for row in pages.log("audit.read")] == ["ticket PROP0000001"]


def test_the_page_shows_rules_with_their_inputs_answers_with_assurance_and_what_is_in_the_way(pages):
    keep(pages)
    asked = pages.ask()
    with pages.database.write() as session:
        state = LineState(KEY, Phase.AWAITING_APPROVAL, note=HOSTILE, since=MONDAY)
        lines.save(session, TENANT, state, MONDAY)
        judged = {"rule": "high-cost", "outcome": "hit", "sentence": HOSTILE, "inputs": {"department": HOSTILE}}
        body = {"from": None, "to": "awaiting_approval", "rules": [judged], "digest": asked.digest}
        journal.append(session, TENANT, kind="line_moved", subject=str(KEY), body=body, at=MONDAY)

    page = pages.signed_in().get(f"/tickets/{NUMBER}").text

    assert "Whose move: <bdi>Laura McBride</bdi>" in page
    assert "<bdi>high-cost</bdi>" in page
    assert asked.digest in page
    assert "<script" not in page
    assert "[U+202E]" in page
