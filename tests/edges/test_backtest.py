"""`reconciler backtest` by the command line, over Contoso and over files: its numbers, and that it changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from desired_state.model import UserId
from reconciler.cli.main import run
from reconciler.config import load
from reconciler.sandbox.hosts import ENFORCE_ROLES
from reconciler.sandbox.state import SandboxState
from reconciler.store.database import open_database, row_counts
from reconciler.wiring import open_app
from reconciler.wiring.replaying import WriteRefused, read_only
from tests.edges.make_contoso import after_a_first_cycle

RANGE = {"proven", "likely", "possible", "proven_share", "likely_share", "possible_share"}
KEYS = {
    *("version", "tenant", "source", "since", "at", "log_from", "tickets", "skipped", "limits", "total", "by_product"),
    *("by_cause", "by_assignment_group", "wrong_grants", "would", "lines"),
}
HEADER = "number,cat_item,closed_at,requested_for,product,assignment_group"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path / "var"


def backtest(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert run(["backtest", "--output", "json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def standings(report: dict[str, Any]) -> dict[int, str]:
    return {int(row["number"][-2:]): row["standing"] for row in report["lines"]}


def bounds(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["proven"], found["likely"], found["possible"]


def rows(state: Path) -> dict[str, int]:
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        return row_counts(session)


def remote(state: Path) -> tuple[Any, ...]:
    """Everything of tickets and accounts that somebody could have changed."""
    with SandboxState(state / "sandbox").open() as owned:
        instance, directory = owned.world.instance, owned.world.directory
        tables = ("sc_req_item", "sc_task", "sc_request", "sys_journal_field", "sys_attachment", "sysapproval_approver")
        tickets = [sorted(map(str, instance.records(table))) for table in tables]
        emails = sorted({r["email"] for r in instance.records("sys_user") if r.get("email")})
        people = []
        for email in emails:
            try:
                user = directory.user(email)
            except KeyError:
                continue
            people.append((email, user.usage_location, sorted(map(str, user.assignments)), user.enabled))
        assert len(people) > 30
        return tickets, people


def test_each_story_of_contoso_has_its_class(state, capsys):
    report = backtest(capsys)

    assert set(report) == KEYS
    assert standings(report) == {
        1: "false_proven", 2: "false_proven", 3: "unknown", 5: "false_proven", 6: "true", 7: "false_proven",
        8: "false_proven", 11: "false_likely", 13: "false_proven", 15: "unknown", 17: "removed", 18: "ended",
        19: "leaver", 20: "false_proven", 21: "true", 22: "true", 24: "false_proven", 26: "unknown", 27: "ended",
        30: "unknown", 31: "false_proven", 34: "false_likely",
    }  # fmt: skip
    total = report["total"]
    assert (report["tickets"], total["lines"], total["judged"], total["leavers"]) == (22, 22, 19, 1)
    assert set(total["false_fulfilment"]) == RANGE
    assert bounds(total["false_fulfilment"]) == (9, 11, 15)
    assert total["false_fulfilment"]["proven_share"] == pytest.approx(9 / 19)
    assert bounds(total["late"]) == (0, 0, 0)
    assert sum(report["skipped"].values()) == 12


def test_the_groups_of_contoso_add_up_and_say_what_would_be_done(state, capsys):
    report = backtest(capsys)

    by_cause = {row["name"]: bounds(row["false_fulfilment"]) for row in report["by_cause"]}
    assert by_cause["usage_location_missing"] == by_cause["plan_disabled"] == (2, 2, 2)
    assert by_cause["user_missing"] == (0, 1, 2)
    for kind in ("by_product", "by_cause", "by_assignment_group"):
        assert sum(row["lines"] for row in report[kind]) == 22
        sums = [sum(bounds(row["false_fulfilment"])[n] for row in report[kind]) for n in range(3)]
        assert sums == [9, 11, 15]
    would = {int(row["number"][-2:]): row["would"] for row in report["lines"]}
    assert would[1]["actions"] == ["set_usage_location", "assign_license"]
    assert (would[8]["step"], would[13]["step"], would[31]["step"]) == ("queue_for_seat", "correct", "ask")
    assert (would[34]["step"], would[34]["owner"]) == ("hand_back", "telecom team")
    costs = {row["kind"]: (row["licences"], row["monthly"], row["so_far"]) for row in report["wrong_grants"]}
    assert costs["wrong_product"] == (1, "9.40", "0.93")
    assert costs["period_over"][:2] == (2, "37.50")
    assert costs["leaver"] == (0, "0.00", "0.00")


def test_nothing_is_written_to_store_tickets_or_tenant(state, capsys):
    after_a_first_cycle(state)
    before, was = rows(state), remote(state)

    backtest(capsys)
    assert run(["backtest"]) == 0

    assert rows(state) == before
    assert remote(state) == was


def test_a_first_backtest_leaves_an_empty_store(state, capsys):
    backtest(capsys)

    assert {name: n for name, n in rows(state).items() if n and name != "alembic_version"} == {}


def test_what_the_reconciler_repaired_since_is_a_late_truth(state, capsys):
    after_a_first_cycle(state)

    report = backtest(capsys)

    found = standings(report)
    assert (found[1], found[5], found[13]) == ("late_proven",) * 3
    assert found[8] == "false_proven"
    late = report["total"]["late"]
    assert late["proven"] == 3
    assert late["median_s"] > 4 * 86400 - 60
    assert {row["number"]: row["cause"] for row in report["lines"]}["RITM0010001"] is None


def test_a_log_that_is_kept_for_a_week_proves_less_and_the_bounds_only_widen(state, capsys):
    month = backtest(capsys)["total"]["false_fulfilment"]
    day = backtest(capsys, "--log-kept", "1d")["total"]["false_fulfilment"]

    assert day["proven"] < month["proven"]
    assert day["possible"] >= month["possible"]


def test_since_leaves_aside_what_was_closed_before(state, capsys):
    report = backtest(capsys, "--since", "5d")

    assert set(standings(report)) == {1, 2, 3, 6, 7, 8, 13, 15, 20, 24, 30, 31, 34}
    assert all(row["closed_at"] >= report["since"] for row in report["lines"])


def test_a_write_is_refused_before_it_is_sent(state):
    with open_app(load(None, os.environ), "contoso") as app:
        user = UserId(app.graph.users_by_upn(["farid.haddad@contoso.example"])["farid.haddad@contoso.example"].id)
        held = app.graph.users([user])[user].skus

        with pytest.raises(WriteRefused):
            read_only(app).graph.assign_license(user, add=(), remove=tuple(held))
        with pytest.raises(WriteRefused):
            read_only(app).servicenow.order("0" * 32, {})

        assert app.graph.users([user])[user].skus == held != frozenset()
        assert read_only(app).tokens is not app.tokens  # whose sign-ins are counted for the meter of whoever made them
        assert read_only(app).kept.budgets is app.kept.budgets


def test_without_the_permission_for_the_log_less_is_proven_and_the_report_says_so(state, capsys):
    month = backtest(capsys)["total"]["false_fulfilment"]
    assert run(["sandbox", "switch", "permissions_withdrawn", '["AuditLog.Read.All"]']) == 0
    capsys.readouterr()

    report = backtest(capsys)

    (limit,) = report["limits"]
    assert "log could not be read" in limit
    assert report["total"]["false_fulfilment"]["proven"] < month["proven"]
    assert standings(report)[17] == "unknown"  # taken away yesterday, which nothing shows now
    assert standings(report)[13] == "false_proven"  # the assignment itself is dated


def test_a_directory_that_shows_nobody_is_one_sentence_and_no_report(state, capsys, tmp_path):
    assert run(["sandbox", "switch", "permissions_withdrawn", json.dumps(sorted(ENFORCE_ROLES))]) == 0
    capsys.readouterr()
    out = tmp_path / "report.html"

    code = run(["backtest", "--output", "html", "--out", str(out)])

    told = capsys.readouterr()
    assert code == 1
    assert told.out == ""
    assert told.err.splitlines()[-1].startswith("reconciler: ")
    assert not list(tmp_path.glob("*report*"))


def test_a_report_that_cannot_be_put_anywhere_is_one_sentence(state, capsys, tmp_path):
    assert run(["backtest", "--output", "csv", "--out", str(tmp_path / "no" / "report.csv")]) == 1

    assert "No such file or directory" in capsys.readouterr().err.splitlines()[-1]


# --- files -----------------------------------------------------------------------------------------------------------


def a_file(tmp_path: Path, *lines: str, header: str = HEADER, name: str = "export.csv") -> str:
    path = tmp_path / name
    path.write_text("\r\n".join([header, *lines]) + "\r\n", "utf-8")
    return str(path)


def test_a_csv_is_judged_as_the_tickets_are_and_servicenow_is_not_asked(state, capsys, tmp_path):
    path = a_file(
        tmp_path,
        "R1,Microsoft 365 licence,2026-10-29 09:00:00,anna.berger@contoso.example,project-plan-3,EU Desk",
        "R2,Microsoft 365 licence,2026-10-28T10:00:00+01:00,farid.haddad@contoso.example,teams-phone,US Desk",
        "R3,Microsoft 365 licence,2026-10-19 09:00:00,stefan.wolf@contoso.example,project-plan-1,EU Desk",
        "R4,Software for a team,2026-10-29 09:00:00,marco.bianchi@contoso.example,teams,EU Desk",
        "R4,Software for a team,2026-10-29 09:00:00,anna.berger@contoso.example,visio-plan-1,EU Desk",
        "R5,A coffee machine,2026-10-29 09:00:00,anna.berger@contoso.example,espresso,EU Desk",
        "R6,Microsoft 365 licence,2026-01-29 09:00:00,anna.berger@contoso.example,project-plan-3,EU Desk",
    )

    report = backtest(capsys, "--file", path)

    assert [(r["number"], r["line"], r["standing"]) for r in report["lines"]] == [
        ("R1", 1, "false_proven"), ("R2", 1, "true"), ("R3", 1, "leaver"), ("R4", 1, "false_proven"),
        ("R4", 2, "false_proven"),
    ]  # fmt: skip
    groups = {row["name"]: (row["judged"], *bounds(row["false_fulfilment"])) for row in report["by_assignment_group"]}
    assert groups == {"EU Desk": (3, 3, 3, 3), "US Desk": (1, 0, 0, 0)}
    assert report["skipped"] == {"closed before": 1, "of a catalogue item that is not configured": 1}
    with SandboxState(state / "sandbox").open() as owned:
        assert owned.world.instance.records("sc_req_item")  # it is there, and no ticket of it came in
    assert "RITM" not in json.dumps(report)


def test_a_json_export_in_the_table_api_s_own_shape_reads_the_same(state, capsys, tmp_path):
    path = tmp_path / "export.json"
    record = {
        "number": {"value": "R1", "display_value": "R1"},
        "cat_item": "Microsoft 365 licence",
        "closed_at": {"display_value": "2026-10-29 02:00:00", "value": "2026-10-29 09:00:00"},
        "variables": {"user": "anna.berger@contoso.example", "product": "project-plan-3"},
        "sys_tags": None,
    }
    path.write_text(json.dumps({"records": [record]}), "utf-8")

    assert standings_of(backtest(capsys, "--file", str(path))) == ["false_proven"]


def standings_of(report: dict[str, Any]) -> list[str]:
    return [row["standing"] for row in report["lines"]]


GOOD = "R1,Microsoft 365 licence,2026-10-29 09:00:00,anna.berger@contoso.example,project-plan-3,EU Desk"


@pytest.mark.parametrize(
    ("lines", "header", "told"),
    [
        ([GOOD.replace("2026-10-29 09:00:00", "29/10/2026")], HEADER, "row 2, column 'closed_at': '29/10/2026' is no"),
        ([GOOD, GOOD], HEADER, "row 3, column 'number': R1 stands in row 2 already"),
        ([GOOD, "R2,Microsoft 365 licence"], HEADER, "row 3: it has 2 cells, and the header has 6"),
        ([GOOD.replace("2026-10-29", "2036-10-29")], HEADER, "row 2, column 'closed_at': 2036-10-29 is in the future"),
        ([GOOD], HEADER.replace("closed_at", "closed"), "row 1: the column 'closed_at' is missing"),
        ([GOOD], HEADER.replace("product", "number"), "row 1: the column 'number' is there twice"),
        ([GOOD.replace("R1,", ",")], HEADER, "row 2, column 'number': it is empty"),
        ([GOOD.replace("EU Desk", '"EU Desk')], HEADER, "it is no CSV"),
        ([GOOD.replace("EU Desk", "maybe")], HEADER.replace("assignment_group", "active"), "'maybe' is neither true"),
        ([GOOD.replace("EU Desk", "nan")], HEADER.replace("assignment_group", "price"), "'nan' is no amount"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_with_its_place(state, capsys, tmp_path, lines, header, told):
    code = run(["backtest", "--file", a_file(tmp_path, *lines, header=header)])

    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert "export.csv" in said
    assert told in said


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[{]", "line 1, column 3: it is no JSON"),
        (b'{"rows": []}', "is no list of records"),
        (b"[7]", "row 1: a record is an object"),
        (b'[{"number": ["R1"]}]', "row 1, column 'number': a text or a number is expected"),
        (b"[" * 100_000, "is no list of records: it is nested too deeply"),
        (b"\xff\xfe\x00", "is no UTF-8"),
        (b"", "the column 'number' is missing"),
    ],
)
def test_a_file_that_is_no_list_of_records_is_one_sentence(state, capsys, tmp_path, data, told):
    path = tmp_path / "export.json"
    path.write_bytes(data if data else b"")
    if not data:
        path = path.rename(tmp_path / "export.csv")

    assert run(["backtest", "--file", str(path)]) == 2
    assert told in capsys.readouterr().err


def test_hostile_texts_of_a_file_reach_no_page_and_no_sheet(state, capsys, tmp_path):
    bad = '"=HYPERLINK(""x"")<script>alert(1)</script>"'
    path = a_file(tmp_path, GOOD.replace("EU Desk", bad), GOOD.replace("R1", "@R2").replace("project-plan-3", bad))

    pages = {}
    for form in ("html", "csv"):
        out = tmp_path / f"report.{form}"
        assert run(["backtest", "--file", path, "--output", form, "--out", str(out)]) == 0
        assert out.stat().st_mode & 0o777 == 0o600
        pages[form] = out.read_text("utf-8")

    assert "<script" not in pages["html"]
    assert "&lt;script&gt;" in pages["html"]
    assert '"=' not in pages["csv"]
    assert '"@' not in pages["csv"]
    assert "'=HYPERLINK" in pages["csv"]


def test_the_terminal_table_says_the_range_and_wrong_durations_are_one_sentence(state, capsys):
    assert run(["backtest"]) == 0
    told = capsys.readouterr().out
    assert "9 / 11 / 15 of 19" in told
    assert "47 % proven, 58 % likely, at most 79 %" in told

    for wrong in ("soon", "0d", "99999999999d"):
        assert run(["backtest", "--since", wrong]) == 2
        assert "--since" in capsys.readouterr().err
