"""The board in a real browser, without scripts: from a number to the line behind it, in the dark and on a telephone.

A stage of its own: Contoso four days on, whose history the tests look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from reconciler.config import load
from reconciler.store import switches
from reconciler.wiring.serving import serving
from tests.browser.conftest import Person, Stage
from tests.browser.test_pages import CONTRAST
from tests.make_logs import into
from tests.web.make_web import HOSTILE

AUDITOR, ADMIN, APPROVER = "Nikolai Orlov", "Nina Schulz", "Laura McBride"
SIZES = [("light", "light", 1280), ("dark", "dark", 1280), ("narrow", "dark", 360)]
PAGES = {
    "board": "/",
    "tickets": "/tickets",
    "list": "/tickets?verdict=false",
    "ticket": "/tickets/RITM0010005",
    "rows": "/tickets/RITM0010032",
    "seats": "/seats",
    "promotion": "/promotion",
    "promotion of a product": "/promotion/visio-plan-2",
    "guards": "/guards",
    "audit": "/audit",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Contoso after four days, a cycle each, from a network that reads without sign-in."""
    given = {
        "RECONCILER_STATE_DIR": str(tmp_path_factory.mktemp("board")),
        "RECONCILER_WEB__PORT": "0",
        "RECONCILER_SANDBOX__SPEED": "0",
        "RECONCILER_WEB__OPEN_TO": '["127.0.0.0/8", "::1/128"]',
    }
    said: list[str] = []
    settings = load(None, given)
    with serving(settings, "contoso", log=into(said)) as served:
        stage = Stage(settings, served, said)
        stage.cycle()
        for _ in range(3):
            stage.advance(timedelta(days=1))
            stage.cycle()
        yield stage


@pytest.mark.parametrize(("name", "scheme", "width"), SIZES)
def test_every_page_can_be_read_and_nothing_sticks_out(stage, someone, name, scheme, width):
    nina: Person = someone(width=width, scripts=True, color_scheme=scheme)
    page = nina.open("/audit", as_=ADMIN)

    for called, path in PAGES.items():
        page.goto(stage.url + path)
        nina.picture(f"8-{called}-{name}")
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.locator("h1").count() == 1, path
        for field in page.locator("main input:not([type=hidden]), main select").all():
            assert field.evaluate("e => e.labels.length") == 1, path
        for drawing in page.locator("svg").all()[:5]:
            assert drawing.get_attribute("aria-label"), path
    assert nina.complaints == []


def test_a_lead_follows_a_number_to_the_line_and_to_what_is_in_the_way(stage, someone):
    nikolai = someone()
    page = nikolai.open("/tickets", as_=AUDITOR)
    page.get_by_role("link", name="Board").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("fulfilled requests give no access")

    page.get_by_role("region", name="Drift by cause").get_by_role("link", name="no seat").click()
    page.get_by_role("link", name="RITM0010008").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("RITM0010008")
    expect(page.get_by_role("heading", name="What is in the way")).to_be_visible()
    page.get_by_role("link", name="Every row of the log about this ticket").click()
    page.get_by_text("line_moved").last.click()
    expect(page.get_by_text('"to": "waiting_for_seat"').first).to_be_visible()
    nikolai.picture("81-log-of-a-ticket")
    assert nikolai.complaints == []


def test_somebody_is_found_by_a_part_of_their_name(stage, someone):
    nikolai = someone()
    page = nikolai.open("/tickets", as_=AUDITOR)

    page.get_by_label("Number or person").fill("lena.fi")
    page.keyboard.press("Enter")

    expect(page.get_by_role("region", name="Lines").get_by_role("link")).to_have_text(["RITM0010012"])


def test_the_board_is_walked_through_by_keyboard_in_the_order_that_it_is_read(stage, someone):
    nikolai = someone()
    page = nikolai.open("/tickets", as_=AUDITOR)
    page.goto(stage.url + "/")

    stops = []
    for _ in range(14):
        page.keyboard.press("Tab")
        focus = page.locator("*:focus").first
        stops.append(focus.evaluate("e => e.textContent.trim() || e.name || e.getAttribute('aria-label')"))
        ring = focus.evaluate("e => getComputedStyle(e).outlineStyle")
        assert ring != "none" or stops[-1] == "Skip to the content", stops[-1]

    assert stops[:9] == [
        "Skip to the content",
        "Board",
        "Tickets",
        "Seats",
        "Guards",
        "Promotion",
        "Audit log",
        "Inbox",
        "Standing in",
    ]
    assert "Find" in stops
    assert stops.index("q") < stops.index("Find")


def test_whoever_is_near_reads_the_board_without_sign_in_and_no_names(stage, someone):
    visitor = someone()
    page = visitor.open("/")

    expect(page.get_by_role("heading", level=1)).to_contain_text("fulfilled requests give no access")
    assert page.get_by_role("navigation").get_by_role("link").all_text_contents() == ["Board", "Seats"]
    assert "contoso.example" not in page.content()
    visitor.picture("82-without-sign-in")
    page.get_by_role("link", name="Seats").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Seats")
    page.goto(stage.url + "/tickets")
    assert not page.url.startswith(stage.url)  # off to sign in


def test_an_admin_stops_every_write_and_lets_them_go_on(stage, someone):
    nina = someone()
    page = nina.open("/guards", as_=ADMIN)

    page.get_by_label("Reason").first.fill("Something is odd.")
    page.get_by_role("button", name="Stop every write now").click()
    expect(page.get_by_role("status")).to_contain_text("nothing is written any more")
    nina.picture("83-stopped")
    with stage.served.app.database.read() as session:
        assert switches.stopping(session, "contoso", "grants", stage.served.app.clock.now()) is not None

    page.get_by_role("button", name="Lift the kill switch").click()
    expect(page.get_by_role("alert")).to_contain_text("needs a name and a reason")
    nina.picture("84-reason-missing")
    page.get_by_label("Reason").first.fill("It was the test.")
    page.get_by_role("button", name="Lift the kill switch").click()
    expect(page.get_by_role("status")).to_contain_text("is off")

    page.get_by_text("Freeze a lane, or all of them").click()
    nina.picture("85-freeze-form")
    page.get_by_label("Name").fill(HOSTILE[:60])
    page.get_by_label("Lane").select_option("removals")
    page.locator("#r-freeze").fill("Inventory.")
    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.get_by_text("holds now")).to_be_visible()
    nina.picture("86-frozen")
    page.locator("#r-unfreeze-1").fill("Done.")
    page.get_by_role("button", name="Lift", exact=False).last.click()
    expect(page.get_by_role("status")).to_contain_text("The freeze is lifted")
    assert [said for said in nina.complaints if "422" not in said] == []


def test_a_screen_on_a_wall_reads_the_board_again_by_itself(stage, someone):
    visitor = someone()
    page = visitor.open("/")

    page.get_by_role("link", name="Read this page again every minute").click()

    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "60"
    expect(page.get_by_role("link", name="Stop that")).to_be_visible()
