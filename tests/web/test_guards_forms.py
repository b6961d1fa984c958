"""The forms of the guards: an admin stops writes and lets them go on, just as at a terminal, and is named."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest

from reconciler.loop.guards.usage import Usage
from reconciler.store import guards, switches
from reconciler.store.guards import GuardPlan
from reconciler.web.site import StepUp
from tests.make import MONDAY
from tests.make_database import a_database
from tests.web.make_web import HOSTILE, TENANT, Pages, pages_of

ADMIN, OTHER_ADMIN, AUDITOR, APPROVER = "Nina Schulz", "Robert Novak", "Nikolai Orlov", "Laura McBride"
PLAN = GuardPlan(
    "d" * 64, "budget", "grants", 60, 50, "60 are more than 50.", [{"line": "RITM1/1", "kind": "x"}], "c", MONDAY
)


@dataclass
class Outside:
    """What stops writes beside the store, as a test says it."""

    needs_two: bool = False
    said: list[str] = field(default_factory=list)

    def takes_two(self) -> bool:
        return self.needs_two

    def outside(self) -> str:
        return self.said[-1] if self.said else ""

    def windows(self, at):
        return [("weekend", ("grants", "removals"), "nobody is there")]

    def budgets(self, _session, _at):
        return (Usage("grants", 3, 40, 20), Usage("cost", Decimal("12.50"), None, None, "visio-plan-2"))

    def throw_outside(self, why: str) -> None:
        self.said.append(why)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def pages(tmp_path, outside):
    with a_database(tmp_path / "reconciler.db", busy_timeout_s=0.2) as database:
        yield pages_of(database, controls=outside)


def stops(pages: Pages) -> list[tuple[str, str, str]]:
    with pages.database.read() as session:
        return [(s.name, s.scope, s.by) for s in switches.stops(session, TENANT)]


def throw(pages: Pages, reason: str = "They look wrong.") -> None:
    with pages.database.write() as session:
        switches.throw(session, TENANT, reason=reason, by="ops", at=pages.site.now())


def send(browser, action: str, **fields: str):
    """Fill in the form of the page that has this action, and press its button."""
    form = next(f for f in browser_forms(browser) if f.action.partition("#")[0] == action)
    return browser.post(form.action.partition("#")[0], {**form.fields, **fields})


def browser_forms(browser):
    from tests.make_sign_in import forms_of

    return forms_of(browser.get("/guards"))


THROW, LIFT = "/guards/kill-switch/throw", "/guards/kill-switch/lift"


def test_an_admin_stops_every_write_without_having_to_say_why(pages):
    answer = send(pages.signed_in(ADMIN), THROW)

    assert (answer.status_code, answer.headers["location"]) == (303, "/guards?done=thrown")
    assert stops(pages) == [("kill-switch", "*", "nina.schulz@contoso.example")]
    (row,) = pages.log("killswitch.set")
    assert (row.body["on"], row.actor) == (True, "nina.schulz@contoso.example")
    (who,) = pages.log("guard.operator")
    assert who.body["who"]["oid"] == pages.person(ADMIN).oid
    assert who.body["source"] == "203.0.113.9"
    assert len(who.body["evidence"]) == 64


def test_an_admin_lifts_it_with_a_reason_and_not_without(pages):
    throw(pages)
    admin = pages.signed_in(ADMIN)

    refused = send(admin, LIFT, reason="  ")
    assert refused.status_code == 422
    assert 'role="alert">Lifting the kill switch needs a name and a reason. Nothing was changed.' in refused.text
    assert len(stops(pages)) == 1
    done = send(admin, LIFT, reason="The counts were right.")

    assert done.headers["location"] == "/guards?done=lifted"
    assert stops(pages) == []
    assert "The kill switch of this tenant is off." in admin.get("/guards?done=lifted").text


def test_where_it_takes_two_the_same_admin_twice_is_one(pages, outside):
    outside.needs_two = True
    throw(pages)

    for _ in range(2):
        assert send(pages.signed_in(ADMIN), LIFT, reason="It was me.").headers["location"] == "/guards?done=asked"
    assert len(stops(pages)) == 1
    other = pages.signed_in(OTHER_ADMIN)
    assert "nina.schulz@contoso.example</bdi> asks to lift it" in other.get("/guards").text
    assert send(other, LIFT, reason="I have looked as well.").headers["location"] == "/guards?done=lifted"
    assert stops(pages) == []


def test_an_auditor_sees_everything_and_no_form(pages):
    throw(pages)
    with pages.database.write() as session:
        guards.put(session, TENANT, PLAN)

    page = pages.signed_in(AUDITOR).get("/guards").text

    assert "They look wrong." in page
    assert 'action="/guards' not in page


@pytest.mark.parametrize(("who", "status"), [(AUDITOR, 403), (APPROVER, 404)])
@pytest.mark.parametrize("action", [THROW, LIFT, "/guards/freezes", "/guards/freezes/lift", "/guards/releases"])
def test_nobody_else_changes_anything_even_with_a_form_of_their_own(pages, who, status, action):
    with pages.database.write() as session:
        guards.put(session, TENANT, PLAN)
        switches.freeze(session, TENANT, "inventory", reason="counting", by="ops", at=MONDAY)
    before = stops(pages)
    browser = pages.signed_in(who)
    token = browser.form("/inbox").fields["form_token"]
    fields = {"form_token": token, "reason": "x", "name": "inventory", "digest": PLAN.digest}

    assert browser.post(action, fields).status_code == status
    assert stops(pages) == before
    assert pages.log("guard.released") == []


@pytest.mark.parametrize(
    "how",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "", "origin": "https://evil"},
    ],
)
def test_a_form_from_elsewhere_changes_nothing(pages, how):
    admin = pages.signed_in(ADMIN)
    form = next(f for f in browser_forms(admin) if f.action.startswith(THROW))

    assert admin.post(THROW, form.fields, **how).status_code == 403
    assert admin.post(THROW, {**form.fields, "form_token": "f" * 64}).status_code == 403
    assert stops(pages) == []


def test_what_of_each_limit_is_used_is_on_the_page_and_in_the_api(pages):
    page = " ".join(pages.signed_in(ADMIN).get("/guards").text.split())

    assert '<bdi>grants</bdi></th><td role="cell" data-label="Used" class="count">3</td>' in page
    assert '<span class="hint"><bdi>visio-plan-2</bdi></span>' in page
    assert 'data-label="Used" class="count">12.50</td><td role="cell" data-label="A day" class="count">no limit' in page


def test_an_admin_freezes_a_lane_for_a_window_and_lifts_it(pages):
    admin = pages.signed_in(ADMIN)
    fields = {"name": "year end", "lane": "removals", "begins": "2026-12-24T18:00", "ends": "2027-01-02T06:00"}

    assert send(admin, "/guards/freezes", **fields, reason="Nobody is here.").status_code == 303

    assert stops(pages) == [("year end", "removals", "nina.schulz@contoso.example")]
    page = admin.get("/guards").text
    assert "lane removals, from 2026-12-24 18:00 UTC, until 2027-01-02 06:00 UTC" in page
    assert "does not hold now" in page
    assert "weekend" in page
    send(admin, "/guards/freezes/lift", reason="They came back.")
    assert stops(pages) == []
    assert [row.body["on"] for row in pages.log("freeze.set")] == [True, False]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Give the freeze a name."),
        ({"reason": ""}, "Say why."),
        ({"lane": "everything"}, "Choose one of the lanes."),
        ({"begins": "tomorrow"}, "Write an instant as"),
        ({"begins": "2026-12-24T18:00", "ends": "2026-12-24T17:00"}, "A freeze ends after it begins."),
        ({"name": "kill-switch"}, "kill-switch is not the name of a freeze."),
    ],
)
def test_a_freeze_that_cannot_be_is_refused_and_nothing_typed_is_lost(pages, fields, said):
    typed = {"name": "year end", "lane": "", "reason": HOSTILE, **fields}

    answer = send(pages.signed_in(ADMIN), "/guards/freezes", **typed)

    assert answer.status_code == 422
    assert said.casefold() in answer.text.casefold()
    assert ("<script" in answer.text, "<img" in answer.text) == (False, False)
    assert not typed["reason"] or "alert(1)" in answer.text
    assert stops(pages) == []


def test_an_admin_lets_a_stopped_plan_through_once(pages):
    with pages.database.write() as session:
        guards.put(session, TENANT, PLAN)
    admin = pages.signed_in(ADMIN)

    assert send(admin, "/guards/releases", reason="").status_code == 422
    assert send(admin, "/guards/releases", reason="Payday: all of them are known.", lasts="4h").status_code == 303

    with pages.database.read() as session:
        (plan,) = guards.plans(session, TENANT)
    assert plan.released_by == "nina.schulz@contoso.example"
    assert plan.expires_at - plan.released_at == timedelta(hours=4)
    assert "is let through by the next cycle" in admin.get("/guards").text


def test_where_fresh_credentials_are_asked_for_stopping_needs_none_and_loosening_does(tmp_path):
    with a_database(tmp_path / "fresh.db") as database:
        pages = pages_of(database, controls=Outside(), step_up=StepUp(timedelta(minutes=15)))
        admin = pages.signed_in(ADMIN)
        pages.world.clock.advance(timedelta(minutes=20))

        send(admin, THROW, reason="x")
        page = admin.get("/guards").text
        assert stops(pages) != []
        assert f'action="{LIFT}' not in page
        assert 'action="/guards/sign-in"' in page
        token = admin.form("/inbox").fields["form_token"]
        refused = admin.post(LIFT, {"form_token": token, "reason": "It is fine."})
        assert refused.status_code == 403
        assert "you have to sign in again first" in refused.text
        assert stops(pages) != []
        again = admin.post("/guards/sign-in", {"form_token": token})
        assert (again.status_code, "prompt=login" in again.headers["location"]) == (303, True)


def test_a_kill_switch_that_the_store_cannot_keep_is_thrown_by_a_file(pages, outside, tmp_path):
    admin = pages.signed_in(ADMIN)
    form = next(f for f in browser_forms(admin) if f.action.startswith(THROW))
    with closing(sqlite3.connect(tmp_path / "reconciler.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        answer = admin.post(THROW, {**form.fields, "reason": "It runs wild."})
        lifting = admin.post(LIFT, {**form.fields, "reason": "x"})

    assert answer.headers["location"] == "/guards?done=outside"
    assert outside.said == ["It runs wild. (nina.schulz@contoso.example)"]
    assert lifting.status_code == 503
    assert "It runs wild." in admin.get("/guards").text


def test_somebody_whose_session_is_over_is_told_that_nothing_was_changed(pages):
    answer = pages.browser().post(THROW, {"reason": "x"})

    assert answer.status_code == 401
    assert stops(pages) == []
