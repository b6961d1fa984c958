"""The page that a guard's card leads to: what was stopped, for whoever may see it."""

from __future__ import annotations

from reconciler.store import guards, switches
from reconciler.store.guards import GuardPlan
from tests.make import MONDAY
from tests.web.make_web import HOSTILE, TENANT


def test_an_auditor_reads_what_guards_stopped_and_nobody_else_does(pages):
    plan = GuardPlan(
        "d" * 64, "budget", "grants", 60, 50, "60 are more than 50.", [{"line": HOSTILE, "kind": "assign"}], "c", MONDAY
    )
    with pages.database.write() as session:
        guards.put(session, TENANT, plan)
        switches.throw(session, TENANT, reason=HOSTILE, by="ops", at=MONDAY)

    page = pages.signed_in("Nikolai Orlov").get("/guards")
    refused = pages.signed_in("Thomas Brandt").get("/guards")

    assert page.status_code == 200
    assert all(said in page.text for said in ("d" * 64, "60 are more than 50.", "is stopped", "Kill switch"))
    assert ("<script" in page.text, "<img" in page.text, "[U+202E]" in page.text) == (False, False, True)
    assert refused.status_code == 404
    assert "d" * 64 not in refused.text
    assert [row.body["what"] for row in pages.log("audit.read")] == ["guards"]
