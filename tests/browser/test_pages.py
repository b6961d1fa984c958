"""People decide in a real browser, without scripts: they sign in, read, approve, reject, and are refused.

The order matters: one Contoso, one clock; the last test lets requests expire.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from desired_state.model import LineKey
from reconciler.approvals.values import State
from reconciler.store import approvals
from tests.make_approvals import a_draft, a_stage
from tests.web.make_web import HOSTILE, ID, shown

REASON = "Vera has Power BI through the team's capacity already."

# Contrast of every piece of text with what is behind it (WCAG 2.2, 1.4.3); returns those below the limit.
CONTRAST = """() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m[3] ?? 1} };
  const light = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.a > 0) return c.rgb } return [255, 255, 255] };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), one = light(parse(style.color).rgb), two = light(behind(e));
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && +style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push([e.tagName, e.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return bad;
}"""


def test_an_approver_follows_a_link_signs_in_reads_and_approves_and_then_the_next_stage(stage, someone):
    asked = stage.request("RITM0010012")
    laura = someone()

    page = laura.open(f"/approvals/{asked.id}")
    laura.picture("01-sign-in")
    laura.open(f"/approvals/{asked.id}", as_="Laura McBride")
    expect(page.get_by_role("heading", level=1)).to_have_text("Microsoft 365 E5 for Lena Fischer")
    assert page.url == f"{stage.url}/approvals/{asked.id}"
    assert asked.digest in page.content()
    laura.picture("02-approval")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("You approved this request")
    laura.picture("03-approved")
    stage.cycle()

    second = stage.request("RITM0010012")
    owner = second.stages[1].approvers[0].name
    assert (second.at, owner != "Laura McBride") == (1, True)
    boss = someone()
    page = boss.open("/inbox", as_=owner)
    boss.picture("04-inbox")
    page.get_by_role("link", name="Microsoft 365 E5 for Lena Fischer").click()
    boss.picture("05-second-stage")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("You approved this request")
    stage.cycle()
    stage.advance(timedelta(hours=1))
    stage.cycle()

    assert stage.request("RITM0010012").state is State.DONE
    assert stage.phase("RITM0010012") == "granted"
    assert page.get_by_role("link", name="RITM0010012, line 1").get_attribute("href") == "/tickets/RITM0010012"
    page = boss.open("/tickets/RITM0010012", as_=owner)  # an hour has passed: signed out by itself
    expect(page.get_by_role("heading", level=1)).to_have_text("RITM0010012")
    boss.picture("06-ticket")
    assert laura.complaints + boss.complaints == []


def test_an_approver_rejects_and_has_to_say_why(stage, someone):
    asked = stage.request("RITM0010023")
    claire = someone()
    page = claire.open(f"/approvals/{asked.id}", as_="Claire Dubois")
    expect(page.get_by_text("Proposed by software: Contoso Assistant")).to_be_visible()

    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("alert")).to_contain_text("at least 10 characters")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    claire.picture("10-reason-missing")
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("status")).to_contain_text("You rejected this request")
    claire.picture("11-rejected")

    assert stage.request("RITM0010023").state is State.REJECTED
    stage.cycle()
    assert stage.phase("RITM0010023") == "refused"


def test_everything_works_by_keyboard_and_where_the_focus_is_can_be_seen(stage, someone):
    asked = stage.request("RITM0010033")
    thomas = someone()
    page = thomas.open(f"/approvals/{asked.id}", as_="Thomas Brandt")

    stops = []
    for _ in range(30):
        page.keyboard.press("Tab")
        stops.append(page.locator("*:focus").first.evaluate("e => e.textContent.trim() || e.name"))
        if stops[-1] == "Approve":
            break

    assert stops[0] == "Skip to the content"
    assert stops[-2:] == ["reason", "Approve"]
    ring = page.locator("*:focus").first.evaluate(
        "e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth"
    )
    assert ring == "solid3px"
    thomas.picture("20-focus")


def test_a_digest_that_was_tampered_with_decides_nothing(stage, someone):
    asked = stage.request("RITM0010033")
    thomas = someone(scripts=True)
    page = thomas.open(f"/approvals/{asked.id}", as_="Thomas Brandt")

    page.evaluate("document.querySelector('input[name=digest]').value = 'f'.repeat(64)")
    page.get_by_role("button", name="Approve").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was decided")
    thomas.picture("21-tampered-digest")
    assert stage.request("RITM0010033").decisions == ()


def test_another_site_cannot_decide_in_a_browser_that_is_signed_in(stage, someone):
    asked = stage.request("RITM0010033")
    thomas = someone(scripts=True)
    thomas.open(f"/approvals/{asked.id}", as_="Thomas Brandt")
    fields = {
        name: thomas.page.locator(f"form[action*=decision] input[name={name}]").get_attribute("value")
        for name in ("form_token", "stage", "digest", "key")
    }  # even if all of it had leaked
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    button = '<button name="verdict" value="approve">Win a prize</button>'
    action = f"{stage.url}/approvals/{asked.id}/decision"
    evil = f'<form method="post" action="{action}">{inputs}{button}</form>'

    with elsewhere(evil) as address:
        thomas.page.goto(address)
        thomas.page.get_by_role("button").click()
        thomas.page.wait_for_url(f"{stage.url}/**")
    thomas.picture("22-forged")

    assert stage.request("RITM0010033").decisions == ()
    assert thomas.page.get_by_role("heading", level=1).text_content() == "Nothing was decided"


def test_whoever_is_no_approver_sees_nothing(stage, someone):
    asked = stage.request("RITM0010033")
    laura = someone()

    page = laura.open(f"/approvals/{asked.id}", as_="Laura McBride")

    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    assert "Gavin" not in page.content()
    laura.picture("23-not-an-approver")


def test_somebody_signs_out(stage, someone):
    laura = someone()
    page = laura.open("/inbox", as_="Laura McBride")
    laura.picture("30-inbox-empty")

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    laura.picture("31-signed-out")
    page.goto(f"{stage.url}/inbox")
    assert not page.url.startswith(stage.url)


@pytest.mark.parametrize(
    ("name", "scheme", "width"), [("light", "light", 1100), ("dark", "dark", 1100), ("narrow", "dark", 360)]
)
def test_every_text_has_contrast_and_nothing_sticks_out(stage, someone, name, scheme, width):
    asked = stage.request("RITM0010033")
    thomas = someone(width=width, scripts=True, color_scheme=scheme)
    page = thomas.open(f"/approvals/{asked.id}", as_="Thomas Brandt")

    for number, path in enumerate(
        (f"/approvals/{asked.id}", "/inbox", "/tickets/RITM0010033", "/nowhere", "/inbox/delegation")
    ):
        page.goto(stage.url + path)
        thomas.picture(f"4{number}-{name}-{path.split('/')[1]}")
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("h1").count() == 1
    complaints = [c for c in thomas.complaints if "404" not in c]
    assert complaints == []


def test_an_approver_names_who_stands_in_and_ends_it_without_scripts(stage, someone):
    thomas = someone(width=360)
    page = thomas.open("/inbox/delegation", as_="Thomas Brandt")
    last = f"{stage.served.app.clock.now() + timedelta(days=3):%Y-%m-%d}"
    page.get_by_label("Sign-in name").fill("nobody@contoso.example")
    page.get_by_label("Last day").fill(last)
    page.get_by_role("button", name="Let them stand in").click()
    expect(page.get_by_role("alert")).to_contain_text("no account of this sign-in name")
    thomas.picture("20-delegation-refused")

    page.get_by_label("Sign-in name").fill("petra.nowak@contoso.example")
    page.get_by_role("button", name="Let them stand in").click()

    expect(page.get_by_text("stands in now")).to_be_visible()
    thomas.picture("21-delegation")
    petra = someone()
    expect(petra.open("/inbox/delegation", as_="Petra Nowak").get_by_text("Thomas Brandt")).to_be_visible()
    page.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("Nobody stands in for you")).to_be_visible()
    petra.page.reload()
    expect(petra.page.get_by_text("Nobody has named you")).to_be_visible()


def test_a_request_that_nobody_answered_expires(stage, someone):
    asked = stage.request("RITM0010033")
    stage.advance(timedelta(days=5))
    thomas = someone()
    page = thomas.open(f"/approvals/{asked.id}", as_="Thomas Brandt")
    expect(page.get_by_text("This request does not wait for you")).to_be_visible()
    stage.cycle()

    page.reload()

    expect(page.get_by_text("expired without an answer")).to_be_visible()
    assert page.get_by_role("button", name="Approve").count() == 0
    thomas.picture("50-expired")
    assert stage.request("RITM0010033").state is State.EXPIRED


def test_hostile_text_is_seen_as_text_and_does_nothing(stage, someone):
    told = shown(product=HOSTILE, why=HOSTILE, proposed_by=HOSTILE, irreversible=[HOSTILE], person={"name": HOSTILE})
    with stage.served.app.database.write() as session:
        now = stage.served.app.clock.now()
        thomas = stage.request("RITM0010033").stages[0].approvers[0]
        open_stage = a_stage("manager", thomas, opened_at=now, remind_at=(), escalate_at=None, expires_at=None)
        draft = a_draft(open_stage, id=ID, created_at=now, line=LineKey("RITM0099999", 1), shown=told)
        approvals.open_(session, draft)
    reader = someone(scripts=True)
    dialogs = []
    reader.page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())

    page = reader.open(f"/approvals/{ID}", as_="Thomas Brandt")

    reader.picture("60-hostile")
    assert dialogs == []
    assert page.locator("script, img, iframe, [href*=evil], [onerror]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert reader.complaints == []


class elsewhere:  # noqa: N801 - used as a context manager
    """A page of another site."""

    def __init__(self, body: str) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
