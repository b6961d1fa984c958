"""An approver names who stands in for them, ends it, and sees for whom they stand in; and what never comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.approvals.values import Delegation, State
from reconciler.store import approvals, delegations
from tests.web.make_web import HOSTILE, ID, TENANT, Browser, Pages

PATH = "/inbox/delegation"
PETRA = "petra.nowak@contoso.example"
DAY = timedelta(days=1)


def arranged(pages: Pages) -> tuple[Delegation, ...]:
    with pages.database.read() as session:
        return delegations.delegations(session, TENANT)


def day(pages: Pages, after: int) -> str:
    return f"{pages.world.clock.now() + after * DAY:%Y-%m-%d}"


def name(pages: Pages, browser: Browser, to: str = PETRA, *, ends: int = 3, **changes: str):
    form = browser.form(PATH)
    return browser.post(form.action, {**form.fields, "to": to, "ends_on": day(pages, ends), **changes})


def test_an_approver_names_a_deputy_who_sees_the_request_and_answers_it_in_their_name(pages):
    pages.ask()
    laura, petra = pages.signed_in(), pages.signed_in("Petra Nowak")
    assert "Nothing waits" in petra.get("/inbox").text

    answer = name(pages, laura)

    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    (made,) = arranged(pages)
    now = pages.world.clock.now()
    assert (made.of.oid, made.to.oid) == (pages.person("Laura McBride").oid, pages.person("Petra Nowak").oid)
    assert (made.starts_at, f"{made.ends_at:%Y-%m-%d %H:%M}") == (now, f"{now + 4 * DAY:%Y-%m-%d} 00:00")
    (row,) = pages.log("approval.delegated")
    assert (row.body["of"]["upn"], row.body["to"]["upn"]) == (made.of.upn, PETRA)
    assert row.actor == f"{made.of.tid}/{made.of.oid}"
    assert "Petra Nowak" in laura.get(PATH).text
    assert "Laura McBride" in petra.get(PATH).text
    assert "Microsoft 365 E5 for Lena Fischer" in petra.get("/inbox").text
    assert petra.decide().status_code == 303
    (decision,) = pages.kept().decisions
    assert (decision.actor.upn, decision.acting_for.upn) == (PETRA, made.of.upn)
    assert pages.kept().state is State.APPROVED


def test_a_delegation_that_is_ended_ends_at_once_also_for_a_request_that_was_changed_meanwhile(pages):
    pages.ask()
    laura, petra = pages.signed_in(), pages.signed_in("Petra Nowak")
    name(pages, laura)
    with pages.database.write() as session:  # the request's row is written anew, with who stood in then
        noted = lambda a: replace(a, noted=("x",))  # noqa: E731
        approvals.change(session, TENANT, ID, noted, pages.world.clock.now())
    form = petra.form(f"/approvals/{ID}")

    ended = laura.form(PATH, 1)
    answer = laura.post(ended.action, ended.fields)

    assert answer.status_code == 303
    assert "Nobody stands in for you" in laura.get(PATH).text
    assert "Nobody has named you" in petra.get(PATH).text
    assert "Nothing waits" in petra.get("/inbox").text
    assert petra.post(form.action, {**form.fields, "verdict": "approve"}).status_code == 404
    assert pages.kept().decisions == ()
    (row,) = pages.log("approval.delegation_ended")
    assert row.body["ends_at"] == row.at.isoformat()
    again = laura.post(ended.action, ended.fields)
    assert again.status_code == 303
    assert len(pages.log("approval.delegation_ended")) == 1


def test_a_delegation_holds_from_its_first_day_to_the_end_of_its_last(pages):
    pages.ask(pages.stage("Laura McBride", expires_at=pages.world.clock.now() + 30 * DAY))
    name(pages, pages.signed_in(), starts_on=day(pages, 2), ends=3)

    def sees() -> bool:
        return "Microsoft 365 E5" in pages.signed_in("Petra Nowak").get("/inbox").text

    assert not sees()
    pages.world.clock.advance(2 * DAY)
    assert sees()
    pages.world.clock.advance(2 * DAY)
    assert not sees()


def test_nobody_answers_their_own_request_by_standing_in(pages):
    petra = pages.person("Petra Nowak")
    pages.ask(requester=petra, beneficiary=petra, opener=petra)
    name(pages, pages.signed_in())
    browser = pages.signed_in("Petra Nowak")

    page = browser.get(f"/approvals/{ID}")

    assert "Nothing waits" in browser.get("/inbox").text
    assert page.status_code == 200
    assert "/decision" not in page.text
    with pages.database.read() as session:
        assert approvals.inbox(session, TENANT, petra, pages.world.clock.now()) == ()


def test_a_deputy_s_deputy_has_no_part_in_it(pages):
    pages.ask()
    name(pages, pages.signed_in())
    name(pages, pages.signed_in("Petra Nowak"), "thomas.brandt@contoso.example")

    assert pages.signed_in("Thomas Brandt").get(f"/approvals/{ID}").status_code == 404


def test_what_cannot_be_arranged_is_said_and_changes_nothing(pages):
    browser = pages.signed_in()
    clara = pages.world.directory.user("lena.fischer@contoso.example")
    clara.enabled = False
    guest = pages.world.directory.user(PETRA)
    refused = {
        "has no account": {"to": "nobody@contoso.example"},
        "by their sign-in name": {"to": "Petra Nowak"},
        "by whichever account": {"to": "LAURA.mcbride@contoso.example"},
        "is not active": {"to": "lena.fischer@contoso.example"},
        "name its last day": {"ends_on": ""},
        "written as 2026-12-31": {"ends_on": "tomorrow"},
        "at most 30 days": {"ends_on": day(pages, 31)},
        "ends after it begins": {"starts_on": day(pages, 4), "ends_on": day(pages, 2)},
        "a day that is over": {"starts_on": day(pages, -1)},
        "within a year": {"starts_on": day(pages, 400), "ends_on": day(pages, 401)},
    }

    for said, fields in refused.items():
        answer = name(pages, browser, **fields)

        assert answer.status_code == 422, said
        assert said in answer.text
    guest.user_type = "Guest"
    assert "A guest cannot" in name(pages, browser).text
    assert arranged(pages) == ()
    assert pages.log("approval.delegated") == []


def test_a_second_account_of_the_same_human_cannot_stand_in(pages):
    pages.world.directory.user(PETRA).employee_id = pages.person("Laura McBride").employee_id

    assert "by whichever account" in name(pages, pages.signed_in()).text
    assert arranged(pages) == ()


def test_what_was_typed_stays_text_and_is_kept_in_the_form(pages):
    answer = name(pages, pages.signed_in(), HOSTILE)

    assert answer.status_code == 422
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "alert(1)" in answer.text


def test_forms_that_are_not_ours_change_nothing(pages):
    browser = pages.signed_in()
    form = browser.form(PATH)
    filled = {**form.fields, "to": PETRA, "ends_on": day(pages, 3)}

    assert browser.post(form.action, {**filled, "form_token": ""}).status_code == 403
    assert browser.post(form.action, filled, sec_fetch_site="cross-site").status_code == 403
    assert browser.post(form.action, filled, origin="https://evil.example").status_code == 403
    stranger = pages.browser()
    assert stranger.post(form.action, filled).status_code == 401
    assert stranger.get(PATH).status_code == 302
    assert arranged(pages) == ()


def test_somebody_else_s_delegation_cannot_be_ended(pages):
    name(pages, pages.signed_in())
    (made,) = arranged(pages)
    thomas = pages.signed_in("Thomas Brandt")
    fields = thomas.form(PATH).fields

    thomas.post(f"{PATH}/end", {**fields, "name": delegations.name_of(made)})

    assert arranged(pages) == (made,)


def test_who_is_no_approver_arranges_nothing(pages):
    browser = pages.signed_in("Nikolai Orlov")
    page = browser.get(PATH)
    fields = browser.form(PATH, 0).fields

    answer = browser.post(PATH, {**fields, "to": PETRA, "ends_on": day(pages, 3)})

    assert "lacks the app role" in page.text
    assert answer.status_code == 403
    assert arranged(pages) == ()


def test_while_the_directory_cannot_be_read_nothing_is_arranged(pages):
    browser = pages.signed_in()
    pages.between.is_graph_off = True

    answer = name(pages, browser)

    assert answer.status_code == 503
    assert "could not be read, so nothing was changed" in answer.text
    assert arranged(pages) == ()
    assert any("could not be read" in line for line in pages.said)


ADMIN = "Nina Schulz"
LAURA = "laura.mcbride@contoso.example"


def test_an_admin_arranges_it_for_an_approver_who_is_away_and_ends_it(pages):
    pages.ask()
    admin = pages.signed_in(ADMIN)

    assert name(pages, admin, of=LAURA).status_code == 303

    (made,) = arranged(pages)
    nina = pages.person(ADMIN)
    assert (made.of.oid, made.to.upn) == (pages.person("Laura McBride").oid, PETRA)
    (row,) = pages.log("approval.delegated")
    assert row.actor == made.by == f"{nina.tid}/{nina.oid}"
    assert "Petra Nowak" in pages.signed_in().get(PATH).text  # the approver sees it, and may end it
    assert pages.signed_in("Petra Nowak").decide().status_code == 303
    assert pages.kept().decisions[0].acting_for.oid == made.of.oid
    fields = admin.form(PATH).fields
    admin.post(f"{PATH}/end", {**fields, "name": delegations.name_of(made)})
    assert arranged(pages)[0].ends_at == pages.world.clock.now()
    (ended,) = pages.log("approval.delegation_ended")
    assert ended.actor == made.by


def test_an_admin_stands_in_for_nobody_by_that_and_nobody_else_arranges_it(pages):
    admin, approver = pages.signed_in(ADMIN), pages.signed_in("Thomas Brandt")
    pages.world.directory.user(PETRA).employee_id = pages.person(ADMIN).employee_id

    for to in ("nina.schulz@contoso.example", PETRA):  # neither by a second account
        answer = name(pages, admin, to, of=LAURA)
        assert (answer.status_code, "does not stand in for them" in answer.text) == (422, True)
    assert "no account of the approver" in name(pages, admin, of="nobody@contoso.example").text
    answer = name(pages, approver, of=LAURA)
    assert answer.status_code == 403
    assert "For an approver who cannot do it" not in approver.get(PATH).text
    hostile = name(pages, admin, of=HOSTILE).text
    assert "<script" not in hostile
    assert arranged(pages) == ()
