"""The shipped command line over the embedded sandbox: what a newcomer sees first, asserted in the world itself."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.sandbox.state import SandboxState
from reconciler.store import journal
from reconciler.store.database import open_database, row_counts
from tests.edges.make_contoso import after_a_first_cycle

KEYS = {
    "cycle", "tenant", "mode", "answers", "dry_run", "started_at", "finished_at", "converged", "counts", "tickets",
    "guards", "requests", "writes", "audit",
}  # fmt: skip
COUNTS = {
    "lines", "true", "false", "pending", "unknown", "corrected", "handed_back", "held", "refused",
    "awaiting_approval", "waiting_for_seat", "granted", "revoked", "review", "cancelled",
}  # fmt: skip
ROW = {
    "number", "line", "user", "product", "path", "verdict", "cause", "phase", "tier", "ends_at", "actions", "answer",
    "digest",
}  # fmt: skip


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path / "var"


def reconcile(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code = run(["reconcile", "--output", "json", *more])
    return code, json.loads(capsys.readouterr().out)


def by_line(report: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["number"], row["line"]): row for row in report["tickets"]}


def short(report: dict[str, Any], number: int) -> tuple[Any, ...]:
    row = by_line(report)[(f"RITM00100{number:02d}", 1)]
    return row["verdict"], row["cause"], row["phase"], [a["kind"] for a in row["actions"]], row["answer"]


def rows(state: Path) -> dict[str, int]:
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        return row_counts(session)


def world(state: Path) -> Any:
    with SandboxState(state / "sandbox").open() as owned:
        return owned.world


def test_the_report_has_exactly_the_documented_keys(state):
    _, report = after_a_first_cycle(state)

    assert set(report) == KEYS
    assert set(report["counts"]) == COUNTS
    assert all(set(row) == ROW for row in report["tickets"])
    assert set(report["audit"]) == {"head", "size"}
    assert len(by_line(report)) == len(report["tickets"]) == 36


@pytest.fixture
def first(state) -> dict[str, Any]:
    code, report = after_a_first_cycle(state)
    assert code == 3
    return report


def test_the_first_cycle_ends_each_story_as_the_table_says(first):
    location, assign = "set_usage_location", "assign_license"

    assert short(first, 1) == ("false", "usage_location_missing", "granted", [location, assign], ["note"])
    assert short(first, 4) == (None, "usage_location_missing", "granted", [location, assign], ["note", "closed"])
    assert short(first, 6) == ("true", None, "granted", [], [])
    assert short(first, 11) == ("false", "user_missing", "review", [], ["note", "task", "reopened"])
    assert short(first, 13) == ("false", "plan_disabled", "granted", [assign], ["note"])
    assert short(first, 15) == ("unknown", "ticket_inconsistent", "review", [], [])
    assert short(first, 19) == ("unknown", "subject_left", "cancelled", [], ["note"])
    assert short(first, 21) == ("true", None, "granted", [], [])
    assert short(first, 26) == ("unknown", "identity_mismatch", "review", [], [])
    assert short(first, 30) == ("pending", "user_missing", "verifying", [], [])
    assert short(first, 7)[:4] == ("false", "wrong_product", "review", [])
    assert short(first, 20)[:4] == ("false", "usage_location_missing", "verifying", [location])
    assert short(first, 34)[:4] == ("false", "workload_unproven", "review", [])


def test_the_tenant_and_the_tickets_are_as_the_report_says(first, state):
    seen = world(state)
    ada = next(r["user"] for r in first["tickets"] if r["number"] == "RITM0010001")

    user = seen.directory.user(ada)
    assert user.usage_location == "DE"
    notes = seen.instance.notes(seen.instance.records("sc_req_item", number="RITM0010001")[0]["sys_id"])
    assert len(notes) == 1
    assert "granted, and every service plan" in notes[0]
    handed_back = seen.instance.records("sc_req_item", number="RITM0010011")[0]
    assert (handed_back["state"], handed_back["active"]) == ("2", "true")
    (task,) = seen.instance.records("sc_task", request_item=handed_back["sys_id"], active="true")
    assert task["correlation_id"].startswith("m365r:")


def test_a_licence_that_another_one_excludes_is_handed_back_with_the_pair_and_nothing_is_written(first, state):
    seen = world(state)
    item = seen.instance.records("sc_req_item", number="RITM0010016")[0]
    (row,) = [r for r in first["tickets"] if r["number"] == "RITM0010016"]

    held = {a.sku_id for a in seen.directory.user(row["user"]).assignments}
    assert seen.directory.sku("MCOPSTN2") in held
    assert seen.directory.sku("MCOPSTN1") not in held
    (note,) = seen.instance.notes(item["sys_id"])
    assert "Microsoft 365 Domestic Calling Plan (in Skype for Business PSTN Domestic Calling)" in note
    assert "DOMESTIC AND INTERNATIONAL CALLING PLAN (in" in note
    tasks = seen.instance.records("sc_task", request_item=item["sys_id"], active="true")
    assert [t["correlation_id"].startswith("m365r:") for t in tasks].count(True) == 1
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        log = [r for r in journal.export(session, "contoso") if "RITM0010016" in r["subject"]]
    assert [r["body"]["cause"] for r in log if r["kind"] == "line_moved"] == ["plan_conflict"]
    assert not [r for r in log if r["kind"] == "intent" and r["body"]["system"] == "graph"]


def test_a_second_cycle_over_what_the_first_left_sends_nothing_and_adds_no_row(first, state, capsys):
    before = rows(state)

    code, second = reconcile(capsys)

    assert code == 3
    assert second["writes"] == {"graph": 0, "servicenow": 0}
    assert rows(state) == before
    assert second["audit"] == first["audit"]


def test_a_dry_run_keeps_nothing_and_shows_what_would_be_done(state, capsys):
    code, rehearsed = reconcile(capsys, "--dry-run")

    assert code == 3
    assert rehearsed["dry_run"] is True
    assert rehearsed["writes"] == {"graph": 0, "servicenow": 0}
    planned = by_line(rehearsed)[("RITM0010001", 1)]["actions"]
    assert [(a["kind"], a["result"]) for a in planned] == [
        ("set_usage_location", "planned"),
        ("assign_license", "planned"),
    ]
    assert {name: n for name, n in rows(state).items() if n and name != "alembic_version"} == {}


def test_the_same_plan_has_the_same_digest_in_a_rehearsal_and_for_real(state, capsys):
    _, rehearsed = reconcile(capsys, "--dry-run")
    _, real = reconcile(capsys)

    assert {k: r["digest"] for k, r in by_line(rehearsed).items()} == {k: r["digest"] for k, r in by_line(real).items()}


def test_one_ticket_alone_leaves_the_others_untouched(state, capsys):
    _, report = reconcile(capsys, "--ticket", "RITM0010013")

    assert [row["number"] for row in report["tickets"]] == ["RITM0010013"]
    assert report["counts"]["corrected"] == 1
    assert world(state).directory.user(_user_of(state, "RITM0010001")).usage_location in (None, "")


def _user_of(state: Path, number: str) -> str:
    with SandboxState(state / "sandbox").open() as owned:
        item = owned.world.instance.records("sc_req_item", number=number)[0]
        return owned.world.instance.record("sys_user", item["requested_for"])["email"]


def test_an_unknown_ticket_is_one_sentence(state, capsys):
    code = run(["reconcile", "--ticket", "RITM9999999"])

    assert code == 1
    assert "RITM9999999" in capsys.readouterr().err


def test_the_audit_log_verifies_and_a_changed_row_is_found(first, state, capsys):
    assert run(["audit", "verify"]) == 0
    export = state / "audit.jsonl"
    assert run(["audit", "export", "--file", str(export)]) == 0
    lines = export.read_text("utf-8").splitlines()
    lines[3] = lines[3].replace("reconciler", "reconcilor", 1)
    export.write_text("\n".join(lines), "utf-8")
    capsys.readouterr()

    assert run(["audit", "verify", "--file", str(export)]) == 1
    assert "BROKEN at row 4" in capsys.readouterr().out


def test_the_log_has_what_was_seen_found_judged_and_planned_by_the_contract_s_names(first, state, capsys):
    def rows(name: str) -> list[dict]:
        capsys.readouterr()
        assert run(["audit", "export", "--kind", name]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    seen = {row["subject"]: row["body"] for row in rows("ticket.seen")}
    assert len(seen) == 34
    assert seen["RITM0010001"]["asked"][0]["product"] == "project-plan-3"
    assert {row["body"]["lines"][0] for row in rows("ticket.seen")} >= {"RITM0010001/1", "RITM0010032/1"}
    (plan,) = rows("plan.built")
    intents = [row for row in rows("change.intent") if row["body"]["system"] == "graph"]
    assert {row["body"]["plan"] for row in intents} == {plan["subject"]}
    assert plan["seq"] < min(row["seq"] for row in intents)
    (started,) = rows("config.changed")
    assert plan["body"]["by"]["configuration"] == started["body"]["digest"]
    assert plan["body"]["by"]["software"] == version("license-reconciler")
    served = {request for action in plan["body"]["actions"] for request in action["requests"]}
    assert {row["body"]["digest"] for row in intents} <= served
    assert "RITM0010001/1" in {row["subject"] for row in rows("drift.found")}
    assert all(row["body"]["rules"] or row["body"].get("ruling") for row in rows("policy.evaluated"))
    assert len(rows("policy.evaluated")) > 5


def test_every_write_has_an_intent_before_it_and_a_result_after_it(first, state):
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        log = list(journal.export(session, "contoso"))
    intents = {row["seq"] for row in log if row["kind"] == "intent"}
    results = {row["body"]["intent"]: row["seq"] for row in log if row["kind"] == "result"}

    assert intents == set(results)
    assert all(results[seq] > seq for seq in intents)
    assert len(intents) == sum(first["writes"].values())


def test_explain_tells_the_chain_of_a_ticket(first, state, capsys):
    assert run(["explain", "RITM0010001"]) == 0
    told = capsys.readouterr().out

    for word in ("set_usage_location", "assign_license", "granted", "digest", "Proof:", "note"):
        assert word in told


def test_explain_says_whose_move_it_is_as_the_ticket_does(first, state, capsys):
    whose = {}
    for number in ("RITM0010001", "RITM0010012", "RITM0010017", "RITM0010031", "RITM0010034"):
        assert run(["explain", number, "--output", "json"]) == 0
        whose[number[-2:]] = json.loads(capsys.readouterr().out)["lines"][0]["owner"]

    assert run(["explain", "RITM0010017"]) == 0
    told = capsys.readouterr().out
    assert whose == {"01": None, "12": "approver", "17": "licence admin", "31": "approver", "34": "telecom team"}
    assert "was that meant?" in told  # a question is shown as the ticket has it


def test_after_two_days_the_joiner_has_arrived_and_is_served(first, state, capsys):
    assert run(["sandbox", "advance", "2d"]) == 0
    capsys.readouterr()

    _, report = reconcile(capsys)

    verdict, _, phase, actions, answer = short(report, 30)
    assert (phase, answer) == ("granted", ["note"])
    assert "assign_license" in actions
    assert verdict == "false"


def test_status_and_doctor_agree_with_the_sandbox(first, state, capsys):
    assert run(["status", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lines"] == 36
    assert run(["doctor", "--output", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {c["health"] for c in checks} <= {"ok", "warning"}
    assert {c["area"] for c in checks} == {"configuration", "store", "graph", "servicenow", "products", "groups"}


def test_a_corrected_configuration_is_applied_to_tickets_that_were_read_before(state, capsys, tmp_path):
    text = Path("config.toml").read_text("utf-8")
    path = tmp_path / "config.toml"
    path.write_text(text.replace('product = "product"\njustification', 'product = "produkt"\njustification', 1))
    wrong = run(["--config", str(path), "reconcile", "--output", "json"])
    before = by_line(json.loads(capsys.readouterr().out))[("RITM0010001", 1)]
    path.write_text(text)

    assert run(["--config", str(path), "reconcile", "--output", "json"]) == wrong == 3
    after = by_line(json.loads(capsys.readouterr().out))[("RITM0010001", 1)]
    assert (before["phase"], before["cause"]) == ("held", "product_unmapped")
    assert after["phase"] == "granted"


def test_an_unknown_person_is_one_sentence(state, capsys):
    assert run(["reconcile", "--user", "nobody@contoso.example"]) == 1
    assert "nobody@contoso.example" in capsys.readouterr().err


def test_a_bundle_that_covers_the_product_is_shown_with_what_it_saves(first, capsys):
    assert run(["explain", "RITM0010006"]) == 0
    assert "9.40 a month saved" in capsys.readouterr().out


def test_the_rule_that_allows_to_switch_a_service_on_is_named(first, capsys):
    assert run(["explain", "RITM0010013"]) == 0
    assert "rule switch-plan-on: hit" in capsys.readouterr().out


def test_licences_without_a_ticket_are_counted_with_their_cost_and_people_are_named_in_json_only(first, state, capsys):
    before = rows(state)

    assert run(["status", "--full", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["unticketed"]
    assert run(["status", "--full"]) == 0
    shown = capsys.readouterr().out

    assert found["unknown"] == 0
    assert found["licences"] == len(found["people"]) == sum(row["users"] for row in found["skus"]) > 0
    assert float(found["cost_monthly"]) > 0
    assert ("elena.rossi@contoso.example", "SPE_E3") in {(p["upn"], p["sku"]) for p in found["people"]}
    assert "anna.berger@contoso.example" not in {p["upn"] for p in found["people"] if p["sku"] == "PROJECTPROFESSIONAL"}
    assert f"together {found['cost_monthly']} a month" in shown
    assert "@" not in shown.partition("Licences without a ticket")[2].partition("Last cycle")[0]
    assert rows(state) == before
    assert run(["status", "--output", "json"]) == 0
    assert "unticketed" not in json.loads(capsys.readouterr().out)


def test_status_counts_where_the_fulfiller_guessed(first, capsys):
    assert run(["status", "--output", "json"]) == 0
    guessed = {row["product"]: (row["guessed"], row["of"]) for row in json.loads(capsys.readouterr().out)["guessed"]}

    assert guessed["project-plan-3"][0] == 1  # RITM0010007
    assert sum(n for n, _ in guessed.values()) == 1
    assert run(["status"]) == 0
    assert "project-plan-3" in capsys.readouterr().out
