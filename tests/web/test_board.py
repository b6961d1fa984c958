"""The pages that show where everything stands: who reads them, what is shown to whom, and that text stays text."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from desired_state.model import LineKey
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.seats.book import Book
from reconciler.seats.idle import Idle
from reconciler.seats.queue import Place, Turn
from reconciler.store import journal, lines, seats, switches
from tests.make import MONDAY
from tests.make_database import a_database
from tests.web.make_web import HOSTILE, OURS, TENANT, pages_of

AUDITOR, ADMIN, APPROVER = "Nikolai Orlov", "Nina Schulz", "Laura McBride"
EVERY_PAGE = ["/", "/tickets", "/seats", "/audit", "/guards", "/promotion"]
NEAR = {"open_to": ["203.0.113.0/24"]}
PERSON = "vera.lang@contoso.example"


def keep(pages, count: int = 3, **changes) -> None:
    """Lines in review of one person, hours apart."""
    base = {"cause": "no_seat", "verdict": Verdict.FALSE, "product": "visio-plan-1", "person": PERSON}
    with pages.database.write() as session:
        for n in range(1, count + 1):
            since = MONDAY - timedelta(hours=count - n)
            state = LineState(LineKey(f"RITM{n:07d}", 1), Phase.REVIEW, since=since, **{**base, **changes})
            lines.save(session, TENANT, state, MONDAY)


def ask(
    pages, path: str, *, host: str = "localhost:8443", client: str = "203.0.113.9", **headers: str
) -> httpx.Response:
    """Somebody who is not signed in, from an address."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(pages.app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as http:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.get(path, headers={"host": host, **named})

    return asyncio.run(send())


@pytest.fixture
def near(tmp_path):
    """Pages whose board, lists, seats and guards are open to the network that the tests come from."""
    with a_database(tmp_path / "near.db") as database:
        yield pages_of(database, **NEAR, open_pages=["board", "tickets", "seats", "guards"])


# --- who reads what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_comes_back(pages, path):
    keep(pages)

    assert pages.browser().get(path).status_code == 302
    assert pages.signed_in(AUDITOR, path).get(path).status_code == 200


@pytest.mark.parametrize("path", EVERY_PAGE[1:])
def test_an_approver_without_a_role_for_it_sees_what_is_not_there(pages, path):
    approver = pages.signed_in(APPROVER)

    assert approver.get(path).status_code == 404
    assert approver.get(path).text == approver.get("/nowhere-at-all").text or "Not found" in approver.get(path).text


def test_an_approver_is_led_from_the_board_to_the_inbox(pages):
    answer = pages.signed_in(APPROVER).get("/")

    assert (answer.status_code, answer.headers["location"]) == (302, "/inbox")


def test_an_auditor_reads_drift_by_cause_and_product_with_links_to_the_lines(pages):
    keep(pages)
    page = pages.signed_in(AUDITOR).get("/").text

    assert "3 of 3 fulfilled requests give no access" in page
    assert 'href="/tickets?cause=no_seat"' in page
    assert "Visio Plan 1" in page
    assert 'aria-label="1 days' not in page
    assert ">3 today, no history before; in a week: not known</p>" in page  # before it counted, nothing is known
    assert 'aria-current="page">Board' in page
    assert "http-equiv" not in page
    assert "<script" not in page


def test_a_board_without_a_line_says_so(pages):
    assert "No ticket has been taken in yet." in pages.signed_in(AUDITOR).get("/").text


def test_a_screen_on_a_wall_may_ask_for_a_page_that_is_read_again(pages):
    auditor = pages.signed_in(AUDITOR)

    assert '<meta http-equiv="refresh" content="60">' in auditor.get("/?refresh=60").text
    assert '<meta http-equiv="refresh" content="15">' in auditor.get("/?refresh=1").text
    for nonsense in ("x", "-5", "1e9", "0;url=//evil.example"[:5], "\u0665"):
        assert "http-equiv" not in auditor.get(f"/?refresh={nonsense}").text


def test_stops_and_stopped_plans_are_told_on_the_board(pages):
    with pages.database.write() as session:
        switches.throw(session, TENANT, reason="x", by="ops", at=MONDAY)

    assert "Writes are stopped by <bdi>kill-switch</bdi>" in pages.signed_in(AUDITOR).get("/").text


# --- the intranet -----------------------------------------------------------------------------------------------


def test_an_open_network_reads_without_sign_in_and_without_names(near):
    keep(near, note=HOSTILE)

    board, tickets = ask(near, "/"), ask(near, "/tickets")

    assert (board.status_code, tickets.status_code) == (200, 200)
    assert "RITM0000001" in tickets.text
    for page in (board.text, tickets.text, ask(near, "/seats").text, ask(near, "/guards").text):
        assert PERSON not in page
        assert "evil.example" not in page
        assert 'href="/tickets/RITM' not in page
    assert "Sign in" in board.text


def test_whoever_reads_without_sign_in_cannot_find_out_who_has_what(near):
    keep(near)

    assert "RITM0000001" in ask(near, "/tickets?q=RITM0000001").text
    everything = ask(near, "/tickets?verdict=false").text
    for typed in (PERSON, "vera", "zzz"):
        found = ask(near, f"/tickets?q={typed}&verdict=false").text
        assert found.replace(f'value="{typed}"', 'value=""') == everything


@pytest.mark.parametrize("path", ["/audit", "/tickets/RITM0000001", "/inbox"])
def test_what_names_people_takes_a_sign_in_from_anywhere(near, path):
    keep(near)

    assert ask(near, path).status_code == 302


def test_only_the_pages_that_are_configured_are_open(tmp_path):
    with a_database(tmp_path / "some.db") as database:
        pages = pages_of(database, **NEAR, open_pages=["seats"])

        assert ask(pages, "/seats").status_code == 200
        assert ask(pages, "/").status_code == ask(pages, "/tickets").status_code == 302
        assert 'href="/tickets"' not in ask(pages, "/seats").text


@pytest.mark.parametrize(
    "how",
    [
        {"client": "198.51.100.7"},
        {"host": "evil.example"},
        {"host": "localhost:8444"},
        {"x_forwarded_for": "203.0.113.50"},
        {"forwarded": "for=203.0.113.50"},
        {"via": "1.1 proxy"},
        {"client": "198.51.100.7", "x_forwarded_for": "203.0.113.50"},
    ],
)
def test_who_may_come_from_elsewhere_is_asked_to_sign_in(near, how):
    assert ask(near, "/", **how).status_code == 302


def test_behind_a_listed_proxy_the_address_that_it_saw_counts(tmp_path):
    with a_database(tmp_path / "proxied.db") as database:
        pages = pages_of(database, open_to=["10.0.0.0/8"], open_pages=["board"], proxies=["203.0.113.9"])

        assert ask(pages, "/", x_forwarded_for="10.1.2.3").status_code == 200
        assert ask(pages, "/", x_forwarded_for="10.1.2.3, 198.51.100.7").status_code == 302
        assert ask(pages, "/").status_code == 302


def test_nothing_is_changed_without_a_sign_in_wherever_somebody_is(near):
    answer = near.browser().post("/guards/kill-switch/throw", {"reason": "x", "form_token": "y"})

    assert answer.status_code == 401
    with near.database.read() as session:
        assert switches.stops(session, TENANT) == []


# --- lists ------------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_and_holds_every_line_once(pages):
    keep(pages, 120)
    auditor, path, seen = pages.signed_in(AUDITOR), "/tickets?cause=no_seat", []

    for _ in range(9):
        page = auditor.get(path).text
        seen += [part[:11] for part in page.split('href="/tickets/')[1:]]
        if 'rel="next"' not in page:
            break
        path = page.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")

    assert seen == [f"RITM{n:07d}" for n in range(1, 121)]


def test_a_person_is_found_and_that_somebody_looked_is_in_the_log(pages):
    keep(pages)
    auditor = pages.signed_in(AUDITOR)

    assert PERSON.replace("@", "@<wbr>") in auditor.get("/tickets?q=vera").text
    assert "Nothing like that is known." in auditor.get("/tickets?q=nobody").text
    assert [row.body["what"] for row in pages.log("audit.read")] == ["tickets, by a search"] * 2


@pytest.mark.parametrize(
    "asked",
    [
        "?after=x",
        "?after=" + "A" * 200,
        "?phase=%00",
        "?phase=nonsense",
        "?cause=x&verdict=y",
        "?q=%00%e2%80%ae",
        "?q=%",
    ],
)
def test_an_address_that_somebody_made_up_shows_a_list(pages, asked):
    keep(pages)

    assert pages.signed_in(AUDITOR).get(f"/tickets{asked}").status_code == 200


def test_hostile_text_is_shown_as_text_everywhere(pages):
    keep(pages, person=HOSTILE.lower(), note=HOSTILE, product=HOSTILE)
    turn = Turn(True, MONDAY, MONDAY, LineKey(HOSTILE, 1))
    book = Book("06ebc4ee-1bb5-47dd-8120-11324bc54e06", HOSTILE, HOSTILE, 3, 0, 3, 0, queue=(Place(turn, "x", None),))
    idle = replace(book, idle=(Idle(HOSTILE, HOSTILE, HOSTILE, HOSTILE),))
    with pages.database.write() as session:
        seats.save(session, TENANT, {book.sku: idle}, MONDAY)
        body = {"text": HOSTILE, HOSTILE: [HOSTILE]}
        journal.append(session, TENANT, kind=HOSTILE, subject=HOSTILE, body=body, at=MONDAY, actor=HOSTILE, cycle="c")
        switches.freeze(session, TENANT, HOSTILE, reason=HOSTILE, by=HOSTILE, at=MONDAY)
    for who in (AUDITOR, ADMIN):
        browser = pages.signed_in(who)
        for path in (*EVERY_PAGE, f"/tickets?q={HOSTILE}", f"/audit?kind={HOSTILE}&about={HOSTILE}"):
            page = browser.get(path)
            assert page.status_code == 200, path
            assert "<script" not in page.text, path
            assert "<img" not in page.text, path
            assert 'href="https://evil' not in page.text, path
            shown = re.sub(r'<input type="hidden"[^>]*>', "", page.text)  # a name goes back as it is
            assert "\u202e" not in shown, path


# --- seats and the log --------------------------------------------------------------------------------------------


def test_the_log_is_read_newest_first_by_kind_and_by_what_it_is_about(pages):
    with pages.database.write() as session:
        for n in range(120):
            subject = f"RITM{n % 2:07d}/1"
            journal.append(session, TENANT, kind="intent" if n % 3 else "result", subject=subject, body={}, at=MONDAY)
    auditor = pages.signed_in(AUDITOR)

    first = auditor.get("/audit?kind=intent").text
    rows = [int(part.partition('"')[0]) for part in first.split('<li value="')[1:]]

    assert rows == [n + 1 for n in reversed(range(120)) if n % 3][:50]
    assert f'href="/audit?kind=intent&amp;before={rows[-1]}" rel="next"' in first
    older = auditor.get(f"/audit?kind=intent&before={rows[-1]}").text
    assert f'<li value="{rows[-1]}"' not in older
    about = auditor.get("/audit?about=RITM0000001").text
    assert "RITM0000001/1" in about
    assert "RITM0000000/1" not in about
    assert "follow from each other" in about


def test_a_row_that_somebody_changed_is_pointed_at(pages):
    with pages.database.write() as session:
        for n in range(3):
            journal.append(session, TENANT, kind="intent", subject="x", body={"n": n}, at=MONDAY)
        session.execute(text("DROP TRIGGER audit_refuses_update"))
        session.execute(text("UPDATE audit SET body = '{}' WHERE seq = 2"))

    page = pages.signed_in(AUDITOR).get("/audit").text

    assert "Rows do not follow from what is before them: 2." in page


def test_the_page_of_a_ticket_is_in_the_navigation_of_whoever_reads_it_all(pages):
    keep(pages)
    page = pages.signed_in(AUDITOR).get("/").text

    assert [f'href="{path}"' in page for path in (*EVERY_PAGE, "/inbox")] == [True] * 7
