"""How far each product goes, on the pages and for software: who reads it, and that nothing typed elsewhere gets in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import LineKey
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.store import lines, shadows, tickets
from tests.make import HOUR, MONDAY
from tests.make_tickets import a_ticket
from tests.web.make_api import caller
from tests.web.make_web import HOSTILE, TENANT

AUDITOR, APPROVER = "Nikolai Orlov", "Laura McBride"
VISIO = "visio-plan-2"


def keep(pages, agreed: int, differed: int = 0, **changes) -> None:
    """What people made of so many lines, a day ago."""
    at = pages.world.clock.now() - timedelta(days=1)
    would = ({"do": "licence", "sku": "s", "off": [], "name": "VISIOCLIENT"},)
    base = Shadow(LineKey("RITM0", 1), Axis.MODE, "d", VISIO, "observe", would, at, by="Tom Weber", why="By Tom Weber.")
    with pages.database.write() as session:
        for number, outcome in enumerate([Outcome.AGREED] * agreed + [Outcome.DIFFERED] * differed):
            key = LineKey(f"RITM{number:07}", 1)
            one = replace(
                base,
                line=key,
                user=f"u{number}",
                outcome=outcome,
                acted_at=at + HOUR,
                decided_at=at + 2 * HOUR,
                **changes,
            )
            shadows.add(session, TENANT, one)


def test_the_page_says_which_step_is_carried_and_the_products_page_its_lines(pages):
    keep(pages, 40)
    browser = pages.signed_in(AUDITOR)

    listed, one = browser.get("/promotion").text, browser.get(f"/promotion/{VISIO}").text

    assert "ready</span> suggest" in listed
    assert "93.7 %" in listed
    assert "Tom Weber" not in listed
    assert "40 of 40 decided lines agree" in one
    assert "[products.visio-plan-2]\nmode = &#34;suggest&#34;" in one
    assert "By Tom Weber (1 h later)." in one
    assert 'href="/tickets/RITM0000039"' in one


def test_that_somebody_read_the_lines_of_a_product_is_in_the_log(pages):
    keep(pages, 1)
    browser = pages.signed_in(AUDITOR)

    browser.get("/promotion")
    assert [row.body["what"] for row in pages.log("audit.read")] == []
    browser.get(f"/promotion/{VISIO}")

    assert [row.body["what"] for row in pages.log("audit.read")] == ["promotion, by product"]


def test_what_differs_comes_first_and_is_what_is_missing(pages):
    keep(pages, 30, 5)

    page = pages.signed_in(AUDITOR).get(f"/promotion/{VISIO}").text

    assert "Not yet suggest" in page
    assert page.index("differed") < page.index(">agreed<")


@pytest.mark.parametrize("path", ["/promotion", f"/promotion/{VISIO}"])
def test_only_whoever_reads_everything_reads_it(pages, path):
    assert pages.browser().get(path).status_code == 302
    assert pages.signed_in(APPROVER).get(path).status_code == 404
    assert pages.signed_in(AUDITOR).get("/promotion/no-such-product").status_code == 404


def test_what_people_are_called_is_shown_as_text(pages):
    keep(pages, 1, 1, by=HOSTILE, why=HOSTILE)

    page = pages.signed_in(AUDITOR).get(f"/promotion/{VISIO}")

    assert page.status_code == 200
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert 'href="https://evil' not in page.text
    assert "\u202e" not in page.text


def test_every_token_reads_the_figures_and_only_who_reads_all_the_lines(pages):
    keep(pages, 40, 1)
    own = caller(pages, reads="own")
    whole = caller(pages, reads="all", name="auditing", token="lra_" + "o" * 43)

    found = own.get("/promotion").json()
    mine = next(p for p in found["products"] if p["product"] == VISIO)
    mode = next(a for a in mine["axes"] if a["axis"] == "mode")
    assert (mode["now"], mode["next"], mode["agreement"]["decided"]) == ("observe", "suggest", 41)
    assert "Tom" not in own.get("/promotion").text
    assert own.get(f"/promotion/{VISIO}").status_code == 403

    told = whole.get(f"/promotion/{VISIO}").json()["lines"]
    assert (told[0]["outcome"], told[0]["by"]) == ("differed", "Tom Weber")
    assert told[0]["told"].startswith("we would have done: assign VISIOCLIENT directly.")
    assert (mode["agreement"]["accounts"], mode["agreement"]["accounts_agreed"]) == (41, 40)
    assert whole.get("/promotion/no-such-product").status_code == 404
    assert [row.body["what"] for row in pages.log("audit.read")] == ["promotion, by product"]


def test_the_page_of_a_ticket_says_what_we_did_and_what_we_would_have_done(pages):
    key = LineKey("RITM0000000", 1)
    keep(pages, 1, step="enforce", why="It has stood for 7 days.")
    keep(pages, 1, digest="e", step="suggest")
    with pages.database.write() as session:
        tickets.save(session, TENANT, replace(a_ticket(), number=key.ticket), MONDAY)
        lines.save(session, TENANT, LineState(key, Phase.GRANTED, product=VISIO), pages.world.clock.now())

    page = " ".join(pages.signed_in(AUDITOR).get(f"/tickets/{key.ticket}").text.split())

    assert "What we did or would have done, and what people made of it" in page
    assert "we did: assign VISIOCLIENT directly. It has stood for 7 days (1 h later)." in page
    assert "we would have done: assign VISIOCLIENT directly. By Tom Weber (1 h later)." in page


def test_the_pages_figures_say_how_many_accounts_and_how_often_nobody_acted(pages):
    keep(pages, 4)
    keep(pages, 3, digest="e")  # further lines of accounts that are counted already

    page = pages.signed_in(AUDITOR).get("/promotion").text
    row = next(part for part in page.split("<tr") if f"/promotion/{VISIO}" in part and ">directory<" in part)

    assert 'data-label="Decided" class="count">7<' in row
    assert 'data-label="Accounts" class="count">4<' in row
    assert 'data-label="Nobody acted" class="count">0<' in row
    assert "26 more accounts" in row
