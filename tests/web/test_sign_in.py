"""Signing in to the pages, and everything that must not let anybody in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from reconciler.sandbox import hosts
from reconciler.store import sessions
from reconciler.web.app import create_app
from reconciler.web.site import StepUp
from reconciler.web.visits import LOGIN_COOKIE, SESSION_COOKIE
from tests.make_database import a_database
from tests.make_sign_in import answer_of, pick
from tests.web.make_web import ID, OURS, Browser, pages_of


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}


def test_a_person_signs_in_and_comes_to_the_page_that_was_asked_for(pages):
    browser = pages.browser()

    answer = browser.sign_in("Laura McBride", f"/approvals/{ID}")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{ID}")
    assert "Laura McBride" in browser.get("/inbox").text
    (row,) = pages.log("auth.signin")
    laura = pages.person("Laura McBride")
    assert row.actor == f"{laura.tid}/{laura.oid}"
    assert row.body["evidence"]["oid"] == laura.oid
    assert len(row.body["evidence"]["sha256"]) == 64
    assert row.body["address"] == "203.0.113.9"


def test_the_browser_is_sent_to_entra_with_pkce_a_nonce_and_form_post(pages):
    params = httpx.URL(pages.browser().start()).params

    assert params["response_mode"] == "form_post"
    assert params["code_challenge_method"] == "S256"
    assert params["redirect_uri"] == f"{OURS}/auth/callback"
    assert re.fullmatch(r"[0-9a-f]{64}", params["nonce"])
    assert "http" not in params["state"]


def test_the_cookies_are_for_this_host_alone_and_out_of_reach_of_scripts(pages):
    browser = pages.browser()
    begun = browser.get("/inbox")
    ended = browser.come_back(answer_of(pick(pages.login, begun.headers["location"], "Laura McBride")))

    login, session = cookies_of(begun)[LOGIN_COOKIE], cookies_of(ended)[SESSION_COOKIE]
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=none", "Max-Age=600"} <= set(login.split("; "))
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(session.split("; "))
    assert "Domain" not in login + session
    assert "Max-Age" not in session


def test_neither_a_token_nor_what_opens_a_session_is_kept(pages):
    browser = pages.signed_in()

    with pages.database.read() as session:
        rows = [row._asdict() for row in session.execute(text("SELECT * FROM web_session"))]
        log = [row._asdict() for row in session.execute(text("SELECT * FROM audit"))]

    kept = json.dumps([rows, log], default=str)
    assert len(rows) == 1
    assert "eyJ" not in kept
    assert browser.secret not in kept
    assert rows[0]["id"] == sessions.name_of(browser.secret)


FAULTS = {
    "bad_signature": "signature",
    "wrong_iss": "issuer",
    "wrong_aud": "audience",
    "wrong_tid": "tenant",
    "expired": "expired",
    "not_yet_valid": "too_early",
    "missing_oid": "incomplete",
    "nonce_mismatch": "unusable_answer",  # msal looks at this one itself
    "alg_none": "algorithm",
    "alg_hs256": "algorithm",
    "unknown_kid": "unknown_key",
    "guest": "guest",
}


@pytest.mark.parametrize(("fault", "why"), FAULTS.items())
def test_a_forged_token_lets_nobody_in(pages, fault, why):
    pages.world.switches.sign_in_fault = fault
    browser = pages.browser()

    answer = browser.sign_in("Laura McBride")

    assert answer.status_code == 403
    assert "You are not signed in" in answer.text
    assert SESSION_COOKIE not in browser.cookies
    assert "eyJ" not in answer.text
    (row,) = pages.log("auth.refused")
    assert row.body["why"] == why
    assert not pages.log("auth.signin")
    with pages.database.read() as session:
        assert session.execute(text("SELECT count(*) FROM web_session")).scalar() == 0


def test_every_fault_that_the_sandbox_knows_is_tried():
    from typing import get_args, get_type_hints

    from reconciler.sandbox.switches import Switches

    known = set(get_args(get_type_hints(Switches)["sign_in_fault"]))
    assert known - {"none", "role_missing"} == set(FAULTS)


def test_without_the_role_somebody_is_known_and_may_not_decide(pages):
    pages.world.switches.sign_in_fault = "role_missing"
    pages.ask()
    browser = pages.signed_in()

    assert "Licence.Approver" in browser.get("/inbox").text
    page = browser.get(f"/approvals/{ID}")
    assert "lacks the app role" in page.text
    assert "/decision" not in page.text


@pytest.mark.parametrize("skew", [-59.0, 59.0])
def test_a_clock_that_is_a_minute_off_lets_people_in(pages, skew):
    pages.world.switches.sign_in_clock_skew_s = skew

    assert pages.signed_in().secret


@pytest.mark.parametrize(("skew", "why"), [(-3720.0, "expired"), (180.0, "too_early")])
def test_a_clock_that_is_further_off_does_not(pages, skew, why):
    pages.world.switches.sign_in_clock_skew_s = skew

    assert pages.browser().sign_in("Laura McBride").status_code == 403
    assert pages.log("auth.refused")[0].body["why"] == why


@pytest.mark.parametrize("endpoint", ["discovery", "token", "keys"])
def test_when_entra_is_down_nobody_is_let_in_and_the_page_says_so(pages, endpoint):
    pages.world.switches.sign_in_unavailable = (endpoint,)
    browser = pages.browser()

    answer = browser.get("/inbox")
    if answer.status_code == 302:
        answer = browser.come_back(answer_of(pick(pages.login, answer.headers["location"], "Laura McBride")))

    assert answer.status_code == 503
    assert "does not work at the moment" in answer.text
    assert pages.said
    assert SESSION_COOKIE not in browser.cookies

    pages.world.switches.sign_in_unavailable = ()
    assert browser.sign_in("Laura McBride").status_code == 303


def test_a_cancelled_sign_in_says_what_happened(pages):
    answer = pages.browser().sign_in("")

    assert answer.status_code == 403
    assert "cancelled" in answer.text


def test_an_answer_is_used_once(pages):
    browser = pages.browser()
    form = answer_of(pick(pages.login, browser.start(), "Laura McBride"))
    assert browser.come_back(form).status_code == 303

    again = browser.come_back(form)

    assert again.status_code == 400
    assert "Nothing was changed" in again.text


def test_a_code_does_not_work_with_another_sign_in(pages):
    browser = pages.browser()
    first = answer_of(pick(pages.login, browser.start(), "Laura McBride"))
    second = answer_of(pick(pages.login, browser.start(), "Laura McBride"))

    answer = browser.come_back({**second, "code": first["code"]})  # PKCE: the verifier belongs to the other

    assert answer.status_code == 403
    assert SESSION_COOKIE not in browser.cookies


def test_an_answer_counts_only_in_the_browser_that_asked(pages):
    """Else somebody could be signed in as another without noticing."""
    attacker, victim = pages.browser(), pages.browser()
    form = answer_of(pick(pages.login, attacker.start(), "Thomas Brandt"))
    victim.start()

    assert victim.come_back(form).status_code == 400
    assert SESSION_COOKIE not in victim.cookies


def test_an_answer_without_the_cookie_or_with_an_unknown_state_is_refused(pages):
    browser = pages.browser()
    form = answer_of(pick(pages.login, browser.start(), "Laura McBride"))

    assert browser.come_back({**form, "state": "made-up"}).status_code == 400
    browser.cookies.clear()
    assert browser.come_back(form).status_code == 400


def test_a_sign_in_ends_after_ten_minutes(pages):
    browser = pages.browser()
    form = answer_of(pick(pages.login, browser.start(), "Laura McBride"))
    pages.world.clock.advance(timedelta(minutes=10))

    assert browser.come_back(form).status_code == 400


def test_two_links_opened_at_once_in_one_browser_both_arrive(pages):
    browser = pages.browser()
    one = answer_of(pick(pages.login, browser.start(f"/approvals/{ID}"), "Laura McBride"))
    two = answer_of(pick(pages.login, browser.start("/inbox"), "Laura McBride"))

    assert browser.come_back(one).headers["location"] == f"/approvals/{ID}"
    assert browser.come_back(two).headers["location"] == "/inbox"


def test_after_sign_in_the_session_has_a_new_name(pages):
    browser = pages.browser()
    browser.cookies.set(SESSION_COOKIE, "planted-by-somebody-else", domain="localhost", path="/")

    browser.sign_in("Laura McBride")

    found = {cookie.value for cookie in browser.cookies.jar if cookie.name == SESSION_COOKIE}
    assert any(len(value or "") >= 43 for value in found)
    stranger = Browser(pages.app, pages.login)
    stranger.cookies.set(SESSION_COOKIE, "planted-by-somebody-else", domain="localhost", path="/")
    assert stranger.get("/inbox").status_code == 302


def test_a_session_ends_after_half_an_hour_without_use(pages):
    browser = pages.signed_in()
    pages.world.clock.advance(timedelta(minutes=29))
    assert browser.get("/inbox").status_code == 200
    pages.world.clock.advance(timedelta(minutes=29))
    assert browser.get("/inbox").status_code == 200
    pages.world.clock.advance(timedelta(minutes=30))
    assert browser.get("/inbox").status_code == 302


def test_a_session_ends_after_eight_hours_of_use(pages):
    browser = pages.signed_in()
    for _ in range(23):
        pages.world.clock.advance(timedelta(minutes=20))
        assert browser.get("/inbox").status_code == 200
    pages.world.clock.advance(timedelta(minutes=20))
    assert browser.get("/inbox").status_code == 302


def test_a_session_of_a_time_that_has_not_come_opens_nothing(pages):
    browser, at = pages.signed_in(), pages.world.clock.now()

    with pages.database.read() as session:
        found = [
            sessions.find(session, pages.site.tenant, browser.secret, at - ago)
            for ago in (timedelta(hours=1), timedelta())
        ]

    assert [each is not None for each in found] == [False, True]


def test_signing_out_ends_the_session_for_whoever_has_the_cookie(pages):
    browser = pages.signed_in()
    thief = pages.browser()
    thief.cookies.set(SESSION_COOKIE, browser.secret, domain="localhost", path="/")
    form = browser.form("/inbox", 0)

    answer = browser.post(form.action, form.fields)

    assert answer.headers["location"] == "/signed-out"
    assert thief.get("/inbox").status_code == 302
    assert "You are signed out" in browser.get("/signed-out").text


def test_nobody_is_signed_out_by_another_site(pages):
    browser = pages.signed_in()
    fields = browser.form("/inbox", 0).fields

    assert browser.post("/sign-out", fields, sec_fetch_site="cross-site").status_code == 403
    assert browser.post("/sign-out", {"form_token": "x"}).status_code == 403
    assert browser.get("/inbox").status_code == 200


def test_where_to_go_after_sign_in_never_comes_from_the_address(pages):
    browser = pages.browser()

    answer = browser.sign_in("Laura McBride", "/inbox?next=https://evil.example")

    assert answer.headers["location"] == "/inbox"
    assert pages.browser().get("/sign-in?next=//evil.example").status_code == 302


def test_the_public_address_is_never_taken_from_the_request(pages):
    browser = pages.browser(host="evil.example", **{"x-forwarded-host": "evil.example", "x-forwarded-proto": "http"})

    assert httpx.URL(browser.start()).params["redirect_uri"] == f"{OURS}/auth/callback"


def test_too_many_sign_ins_under_way_are_refused_and_end_by_themselves(pages):
    with pages.database.write() as session:
        for number in range(sessions.UNDER_WAY_MAX):
            row = {"s": f"state-{number}", "at": pages.world.clock.now().replace(tzinfo=None)}
            session.execute(text("INSERT INTO sign_in VALUES (:s, 'contoso', 'b', '{}', '/inbox', '', :at)"), row)

    assert pages.browser().get("/inbox").status_code == 503
    pages.world.clock.advance(timedelta(minutes=10))
    assert pages.browser().get("/inbox").status_code == 302


def test_keys_are_rotated_without_anybody_noticing(pages):
    pages.signed_in()
    pages.world.clock.advance(timedelta(minutes=6))
    pages.world.signins.rotate()

    assert pages.signed_in("Thomas Brandt").secret


def test_an_unknown_key_is_looked_for_once_in_five_minutes(pages):
    pages.signed_in()
    pages.world.switches.sign_in_fault = "unknown_kid"
    pages.world.clock.advance(timedelta(minutes=6))

    pages.between.asked.clear()

    for _ in range(3):
        assert pages.browser().sign_in("Laura McBride").status_code == 403

    assert sum(path.endswith("/keys") for path in pages.between.asked) == 1


def test_a_dear_decision_needs_credentials_given_a_short_time_ago(tmp_path):

    with a_database(tmp_path / "reconciler.db") as database:
        pages = pages_of(database, step_up=StepUp(timedelta(minutes=15)))
        pages.ask()
        browser = pages.signed_in()

        page = browser.get(f"/approvals/{ID}")
        assert "Sign in again" in page.text
        assert "/decision" not in page.text

        form = browser.form(f"/approvals/{ID}")
        first = browser.secret
        sent = browser.post(form.action, form.fields)
        params = httpx.URL(sent.headers["location"]).params
        assert (sent.status_code, params["max_age"], params["prompt"]) == (303, "900", "login")
        browser.come_back(answer_of(pick(pages.login, sent.headers["location"], "Laura McBride")))

        assert browser.secret != first
        assert browser.decide().status_code == 303
        assert pages.kept().decisions[0].evidence == pages.log("auth.signin")[-1].body["evidence"]["sha256"]
        thief = pages.browser()
        thief.cookies.set(SESSION_COOKIE, first, domain="localhost", path="/")
        assert thief.get("/inbox").status_code == 302  # the session before has ended


def test_a_cheap_decision_needs_no_fresh_credentials(pages):
    from decimal import Decimal

    pages.ask()
    site = replace(pages.site, step_up=StepUp(timedelta(minutes=15), Decimal("57.01")))
    browser = Browser(create_app(site), pages.login)
    browser.sign_in("Laura McBride")

    assert browser.decide().status_code == 303


def test_a_guest_is_let_in_only_where_guests_are_admitted(pages):
    pages.world.switches.sign_in_fault = "guest"
    browser = Browser(create_app(replace(pages.site, admits_guests=True)), pages.login)

    assert browser.sign_in("Laura McBride").status_code == 303


@pytest.mark.parametrize(
    "keys_at",
    ["https://evil.example/keys", f"http://{hosts.LOGIN_HOST}/keys", f"https://{hosts.LOGIN_HOST}@evil.example/"],
)
def test_the_keys_are_read_only_from_a_host_that_is_listed(pages, keys_at):
    pages.between.keys_at = keys_at

    assert pages.browser().sign_in("Laura McBride").status_code == 503
    assert any("another host" in line for line in pages.said)
    assert not any(path.endswith("/keys") for path in pages.between.asked)
