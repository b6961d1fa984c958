"""Reading and deciding a request: what is shown, to whom, and everything that must not count as a decision."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import timedelta

from desired_state.model import LineKey
from reconciler.approvals.machine import move
from reconciler.approvals.values import Assurance, Channel, Delegation, State, Verdict
from reconciler.store import approvals, delegations, leases
from reconciler.web.app import create_app
from reconciler.web.visits import SESSION_COOKIE
from tests.web.make_web import HOSTILE, ID, OURS, TENANT, shown

DAY = timedelta(days=1)
ELEMENTS = set(  # of our templates
    re.findall(
        r"\w+",
        "html head meta title link body a header p nav form input span button bdi main h1 section h2 dl div dt dd "
        "h3 blockquote table thead tr th tbody td ul li ol strong label textarea br code",
    )
)
REASON = "Not needed: Lena has it through another plan."


def test_the_page_says_who_what_why_what_it_costs_and_what_cannot_be_undone(pages):
    asked = pages.ask(pages.stage("Laura McBride"), pages.stage(name="cost_center_owner", opened_at=None))

    page = pages.signed_in().get(f"/approvals/{ID}").text

    for said in (
        "Microsoft 365 E5 for Lena Fischer",
        "57.00 a month",
        "3 free of 25",
        "Needs Power BI and voice",
        "high-cost",
        "manager, then cost centre owner",
        "The archive mailbox of E3",
        "Microsoft 365 E3; disabled plans: Teams",
        'data-label="Can be undone"><bdi>yes',
        "Laura McBride",
        "Cost center owner",
        "not open yet",
        asked.digest,
        ID,
    ):
        assert said in page
    assert re.search(r"<html lang=\"en\">", page)
    assert page.count("<h1>") == 1
    assert '<label for="reason">' in page
    assert "<script" not in page
    assert "style=" not in page
    (row,) = pages.log("approval.viewed")
    assert row.body["approval"] == ID


def test_what_is_not_known_is_said_to_be_not_known(pages):
    pages.ask(shown={})

    page = pages.signed_in().get(f"/approvals/{ID}")

    assert page.status_code == 200
    assert page.text.count("not known") >= 8
    assert "every step can be taken back" not in page.text


def test_an_approver_approves_and_the_decision_has_everything_that_proves_it(pages):
    pages.ask()
    browser = pages.signed_in()
    pages.world.clock.advance(timedelta(minutes=2))
    form = browser.form(f"/approvals/{ID}")
    pages.world.clock.advance(timedelta(minutes=3))

    answer = browser.post(form.action, {**form.fields, "verdict": "approve", "reason": ""})

    assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{ID}")
    kept = pages.kept()
    (decision,) = kept.decisions
    now = pages.world.clock.now()
    assert kept.state is State.APPROVED
    assert (decision.verdict, decision.channel, decision.assurance) == (
        Verdict.APPROVE,
        Channel.PAGE,
        Assurance.STRONG,
    )
    assert decision.actor.oid == pages.person("Laura McBride").oid
    assert decision.evidence == pages.log("auth.signin")[0].body["evidence"]["sha256"]
    assert (decision.source, decision.agent) == ("203.0.113.9", "Browser/1.0")
    assert (decision.decided_at, decision.opened_at) == (now, now - timedelta(minutes=3))
    assert decision.asked_at == kept.stages[0].opened_at
    after = browser.get(f"/approvals/{ID}").text
    assert "You approved this request" in after
    assert "/decision" not in after


def test_a_rejection_needs_a_reason_and_what_was_typed_is_kept(pages):
    pages.ask()
    browser = pages.signed_in()

    short = browser.decide(verdict="reject", reason="no <b>")

    assert short.status_code == 422
    assert "no &lt;b&gt;</textarea>" in short.text
    assert 'role="alert"' in short.text
    assert pages.kept().state is State.PENDING
    assert browser.decide(verdict="reject", reason=REASON).status_code == 303
    assert pages.kept().state is State.REJECTED
    assert REASON in browser.get(f"/approvals/{ID}").text


def test_the_second_stage_waits_for_the_second_person(pages):
    pages.ask(pages.stage("Laura McBride"), pages.stage("Thomas Brandt", name="cost_center_owner"))
    laura, thomas = pages.signed_in(), pages.signed_in("Thomas Brandt")
    assert "Nothing waits" in thomas.get("/inbox").text
    assert thomas.get(f"/approvals/{ID}").status_code == 200
    assert "/decision" not in thomas.get(f"/approvals/{ID}").text

    laura.decide()

    assert pages.kept().state is State.PENDING
    assert "Microsoft 365 E5" in thomas.get("/inbox").text
    assert "Nothing waits" in laura.get("/inbox").text
    assert thomas.decide().status_code == 303
    assert pages.kept().state is State.APPROVED


def test_an_answer_that_is_kept_wakes_the_service_and_one_that_is_not_does_not(pages):
    rung: list[bool] = []
    pages.app = create_app(replace(pages.site, wake=lambda: rung.append(pages.kept().decisions != ())))
    pages.ask()
    browser = pages.signed_in()

    def is_asked() -> bool:
        with pages.database.read() as session:
            return leases.is_asked(session, TENANT)

    assert browser.decide(digest="e" * 64).status_code == 409
    assert (rung, is_asked()) == ([], False)
    assert browser.decide().status_code == 303
    assert (rung, is_asked()) == ([True], True)  # a worker elsewhere hears no bell


def test_a_double_click_counts_once(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")

    first = browser.post(form.action, {**form.fields, "verdict": "approve"})
    second = browser.post(form.action, {**form.fields, "verdict": "reject", "reason": REASON})

    assert (first.status_code, second.status_code) == (303, 303)
    assert [d.verdict for d in pages.kept().decisions] == [Verdict.APPROVE]
    assert len(pages.log("approval.decided")) == 1


def test_two_clicks_at_the_same_instant_count_once(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")
    start, answers = threading.Barrier(2), []

    def click():
        start.wait()
        answers.append(browser.post(form.action, {**form.fields, "verdict": "approve"}).status_code)

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [303, 303]
    assert len(pages.kept().decisions) == 1


FORGED = {
    "another origin": ({"origin": "https://evil.example"}, {}),
    "another site": ({"sec_fetch_site": "cross-site"}, {}),
    "a sister site": ({"sec_fetch_site": "same-site", "origin": "https://other.localhost:8443"}, {}),
    "the address bar": ({"sec_fetch_site": "none"}, {}),
    "no token": ({}, {"form_token": ""}),
    "a wrong token": ({}, {"form_token": "0" * 64}),
    "no key": ({}, {"key": ""}),
    "a made-up key": ({}, {"key": "1700000000.abc.0000"}),
}


def test_a_form_that_is_not_ours_decides_nothing(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")

    for forgery, (headers, fields) in FORGED.items():
        answer = browser.post(form.action, {**form.fields, "verdict": "approve", **fields}, **headers)

        assert answer.status_code == 403, forgery
        assert "nothing was changed" in answer.text
        assert pages.kept().decisions == ()


def test_a_form_of_somebody_else_s_session_decides_nothing(pages):
    pages.ask(pages.stage("Laura McBride", "Thomas Brandt"))
    laura, thomas = pages.signed_in(), pages.signed_in("Thomas Brandt")
    form = thomas.form(f"/approvals/{ID}")

    assert laura.post(form.action, {**form.fields, "verdict": "approve"}).status_code == 403
    assert pages.kept().decisions == ()


def test_a_form_of_another_request_decides_nothing(pages):
    other = "LR-" + "B" * 26
    pages.ask()
    pages.ask(id=other, line=LineKey("RITM0010023", 1))
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")

    answer = browser.post(f"/approvals/{other}/decision", {**form.fields, "verdict": "approve"})

    assert answer.status_code == 403
    assert pages.kept(other).decisions == ()


def test_somebody_who_is_signed_out_decides_nothing(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")
    browser.cookies.clear()

    answer = browser.post(form.action, {**form.fields, "verdict": "approve"})

    assert answer.status_code == 401
    assert pages.kept().decisions == ()


def test_a_digest_that_is_not_what_would_be_done_decides_nothing(pages):
    pages.ask()
    browser = pages.signed_in()

    for digest in ("", "e" * 64, "D" * 64):
        answer = browser.decide(digest=digest)

        assert answer.status_code == 409
        assert "What you were shown is not what would be done now" in answer.text
        assert pages.kept().decisions == ()


def test_a_request_that_has_moved_on_since_it_was_read_takes_no_answer(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")
    with pages.database.write() as session:
        ended = lambda a: move(a, State.VOID, reason="The price changed.")  # noqa: E731
        approvals.change(session, TENANT, ID, ended, pages.world.clock.now())

    answer = browser.post(form.action, {**form.fields, "verdict": "approve"})

    assert answer.status_code == 409
    assert "it is void" in answer.text
    assert "The price changed." in browser.get(f"/approvals/{ID}").text


def test_an_expired_request_takes_no_answer(pages):
    pages.ask()
    pages.world.clock.advance(5 * DAY - timedelta(minutes=5))
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")
    pages.world.clock.advance(timedelta(minutes=5))

    answer = browser.post(form.action, {**form.fields, "verdict": "approve"})

    assert answer.status_code == 409
    assert "expired" in answer.text
    assert "does not wait for you" in browser.get(f"/approvals/{ID}").text
    assert pages.kept().decisions == ()


def test_the_licence_desk_asks_anew_what_nobody_answered_in_time(pages):
    pages.ask()
    with pages.database.write() as session:
        ended = lambda a: move(a, State.EXPIRED, reason="Nobody answered.")  # noqa: E731
        approvals.change(session, TENANT, ID, ended, pages.world.clock.now())
    laura, nina = pages.signed_in(), pages.signed_in("Nina Schulz")
    assert "/renewal" not in laura.get(f"/approvals/{ID}").text
    form = nina.form(f"/approvals/{ID}")
    assert form.action == f"/approvals/{ID}/renewal"

    token = laura.form("/inbox", 0).fields["form_token"]
    assert laura.post(form.action, {"form_token": token, "reason": REASON}).status_code == 403
    assert nina.post(form.action, {**form.fields, "reason": "short"}).status_code == 422
    assert nina.post(form.action, {**form.fields, "form_token": "", "reason": REASON}).status_code == 403
    assert pages.kept().renewed_by == ""
    assert nina.post(form.action, {**form.fields, "reason": REASON}).status_code == 303

    who = pages.person("Nina Schulz")
    assert pages.kept().is_renewed
    (row,) = pages.log("approval.renewed")
    assert (row.actor, row.body["reason"]) == (f"{who.tid}/{who.oid}", REASON)
    page = nina.get(f"/approvals/{ID}").text
    assert "is asked about anew" in page
    assert "/renewal" not in page


def test_a_form_that_was_changed_decides_nothing(pages):
    pages.ask()
    browser = pages.signed_in()

    for fields in ({"verdict": ""}, {"verdict": "maybe"}, {"stage": "another"}, {"stage": ""}):
        assert browser.decide(**fields).status_code in (400, 404)
        assert pages.kept().decisions == ()


def test_whoever_is_no_approver_sees_what_somebody_sees_who_asks_for_nothing(pages):
    pages.ask()
    browser = pages.signed_in("Thomas Brandt")

    there = browser.get(f"/approvals/{ID}")
    nowhere = browser.get("/approvals/LR-" + "Z" * 26)
    forged = browser.post(
        f"/approvals/{ID}/decision",
        {**pages.signed_in("Thomas Brandt").form("/inbox", 0).fields, "verdict": "approve"},
    )

    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.text == nowhere.text
    assert there.headers.items() == nowhere.headers.items()
    assert "Lena" not in there.text + forged.text
    thomas = pages.person("Thomas Brandt")
    assert {(row.actor, row.body["approval"]) for row in pages.log("approval.view_denied")} == {
        (f"{thomas.tid}/{thomas.oid}", ID),
        (f"{thomas.tid}/{thomas.oid}", "LR-" + "Z" * 26),
    }
    assert pages.kept().decisions == ()


def test_no_approver_can_post_a_decision_even_with_forms_of_their_own(pages):
    other = "LR-" + "B" * 26
    pages.ask()
    pages.ask(pages.stage("Thomas Brandt"), id=other, line=LineKey("RITM0010023", 1))
    thomas = pages.signed_in("Thomas Brandt")
    form = thomas.form(f"/approvals/{other}")
    from reconciler.web.trust import issue_key

    key = issue_key(thomas.secret, ID, pages.world.clock.now(), "n")  # as if the page had been shown

    answer = thomas.post(f"/approvals/{ID}/decision", {**form.fields, "verdict": "approve", "key": key})

    assert answer.status_code == 404
    assert pages.kept().decisions == ()


def test_an_id_that_is_none_is_not_found(pages):
    browser = pages.signed_in()

    for id in ("LR-" + "A" * 25, "LR-" + "a" * 26, "LR-../../inbox", "1", "%00", "LR-" + "A" * 5000):
        assert browser.get(f"/approvals/{id}").status_code == 404


def test_the_requester_cannot_approve_for_themselves(pages):
    laura = pages.person("Laura McBride")
    pages.ask(pages.stage("Laura McBride"), requester=laura)
    browser = pages.signed_in()

    page = browser.get(f"/approvals/{ID}").text

    assert "/decision" not in page
    assert "does not wait for you" in page


def test_an_auditor_reads_every_request_and_decides_none(pages):
    pages.ask()
    browser = pages.signed_in("Nikolai Orlov")

    page = browser.get(f"/approvals/{ID}")

    assert page.status_code == 200
    assert "/decision" not in page.text


def test_an_approver_who_lost_the_role_reads_and_does_not_decide(pages):
    laura = pages.person("Laura McBride")
    pages.ask(pages.stage("Laura McBride", "Thomas Brandt"))
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")
    with pages.database.write() as session:

        def lose(asked):
            return replace(asked, stages=(replace(asked.stages[0], lost=(laura.one,)),))

        approvals.change(session, TENANT, ID, lose, pages.world.clock.now())

    answer = browser.post(form.action, {**form.fields, "verdict": "approve"})

    assert answer.status_code == 403
    assert "are none any more" in answer.text
    assert pages.kept().decisions == ()


def test_a_deputy_decides_for_whom_they_stand_in_for(pages):
    laura, petra = pages.person("Laura McBride"), pages.person("Petra Nowak")
    pages.ask()
    now = pages.world.clock.now()
    with pages.database.write() as session:
        delegations.delegate(session, TENANT, Delegation(laura, petra, now, now + DAY, by=laura.upn), now)
    browser = pages.signed_in("Petra Nowak")

    assert browser.decide().status_code == 303

    assert pages.kept().decisions[0].acting_for == laura
    assert "for <bdi>Laura McBride</bdi>" in browser.get(f"/approvals/{ID}").text


def test_hostile_text_in_every_field_stays_text(pages):
    evil = {"name": HOSTILE, "upn": HOSTILE}
    told = shown(
        person=evil,
        requester=evil,
        opener=evil,
        product=HOSTILE,
        path=HOSTILE,
        period=HOSTILE,
        why=HOSTILE,
        cost_center=HOSTILE,
        proposed_by=HOSTILE,
        rules=[{"rule": HOSTILE, "outcome": HOSTILE, "sentence": HOSTILE}],
        changes=[{"what": HOSTILE, "before": HOSTILE, "after": HOSTILE}],
        irreversible=[HOSTILE],
        seats={"free": HOSTILE, "of": HOSTILE},
    )
    laura = replace(pages.person("Laura McBride"), name=HOSTILE)
    stage = replace(pages.stage("Laura McBride"), approvers=(laura,))
    pages.ask(stage, pages.stage(name="next"), shown=told, line=LineKey("RITM0010012", 1))
    browser = pages.signed_in()
    texts = [browser.get("/inbox").text, browser.get(f"/approvals/{ID}").text]
    browser.decide(reason=HOSTILE)
    texts.append(browser.get(f"/approvals/{ID}").text)

    assert len(pages.kept().decisions) == 1
    for text in texts:
        assert "<script" not in text
        assert "<img" not in text
        assert 'href="https://evil.example' not in text
        assert "{{ 7*7 }}" in text
        assert "\u202e" not in text
        assert "[U+202E]gnp.exe[U+202C]" in text
        assert set(re.findall(r"<(\w+)", text)) <= ELEMENTS


def test_a_hostile_name_of_the_person_who_is_signed_in_stays_text(pages):
    pages.world.directory.user("laura.mcbride@contoso.example").display_name = HOSTILE[:250]

    browser = pages.browser()
    answer = browser.sign_in("laura.mcbride@contoso.example")

    assert answer.status_code == 303
    assert "<script" not in browser.get("/inbox").text


def test_a_get_changes_nothing_and_a_scanner_that_follows_links_decides_nothing(pages):
    pages.ask()
    browser = pages.signed_in()

    for path in (f"/approvals/{ID}/decision", f"/approvals/{ID}/sign-in", "/sign-out", "/auth/callback"):
        answer = browser.get(path + "?verdict=approve&form_token=x&code=x&state=x")
        assert answer.status_code == 405

    assert pages.kept().decisions == ()
    assert browser.get("/inbox").status_code == 200


def test_every_answer_has_the_security_headers(pages):
    pages.ask()
    paths = ("/", "/inbox", f"/approvals/{ID}", "/tickets/RITM0010001", "/nowhere", "/healthz", "/static/style.css")
    browsers = (pages.browser(), pages.signed_in())

    for headers in (browser.get(path).headers for path in paths for browser in browsers):
        assert headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; form-action 'self' https://login.contoso.invalid; "
            "frame-ancestors 'none'"
        )
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"]
        assert "server" not in headers


def test_probes_need_no_sign_in_and_learn_nothing(pages):
    browser = pages.browser()

    assert browser.get("/healthz").text == "ok\n"
    assert browser.get("/readyz").json() == {"ready": True, "last_cycle_ended_at": None}


def test_when_the_store_is_gone_pages_say_so_and_nothing_is_shown_of_why(pages):
    browser = pages.signed_in()
    path = pages.database.name
    from pathlib import Path

    pages.database.close()
    for file in Path(path).parent.glob("reconciler.db*"):
        file.write_bytes(b"damaged" * 100)

    answer, ready = browser.get("/inbox"), browser.get("/readyz")

    assert (answer.status_code, ready.status_code) == (503, 503)
    assert path not in answer.text + ready.text
    assert "content-security-policy" in answer.headers


def test_what_is_too_large_or_no_form_is_refused(pages):
    pages.ask()
    browser = pages.signed_in()
    form = browser.form(f"/approvals/{ID}")

    large = browser.post(form.action, {**form.fields, "verdict": "reject", "reason": "x" * 70_000})
    odd = browser.send("POST", form.action, headers={"sec-fetch-site": "same-origin"}, json={"verdict": "approve"})
    broken = browser.send("POST", form.action, headers={"content-type": "multipart/form-data"}, content=b"\xff")

    assert large.status_code == 413
    assert odd.status_code in (400, 403)
    assert broken.status_code in (400, 403, 415)
    assert pages.kept().decisions == ()


def test_a_session_of_another_tenant_opens_nothing(pages):
    from sqlalchemy import text

    browser = pages.signed_in()
    with pages.database.write() as session:
        session.execute(text("UPDATE web_session SET tenant = 'fabrikam'"))

    assert browser.get("/inbox").status_code == 302
    assert browser.cookies.get(SESSION_COOKIE)


def test_a_reason_of_a_browser_keeps_its_lines(pages):
    pages.ask()
    browser = pages.signed_in()

    browser.decide(verdict="reject", reason="First line.\r\nSecond line.")

    assert pages.kept().decisions[0].comment == "First line.\nSecond line."
    assert OURS not in pages.kept().decisions[0].comment
