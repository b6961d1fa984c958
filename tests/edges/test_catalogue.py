"""`reconciler catalogue` over the embedded sandbox: what is listed, what is found wrong, whose names are taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.sandbox.state import SandboxState
from reconciler.store.database import open_database, row_counts

HEADER = "Product_Display_Name,String_Id,GUID,Service_Plan_Name,Service_Plan_Id,Service_Plans_Included_Friendly_Names"
VISIO_1, NEW = "4b244418-9658-4451-a2b8-b5e2b364e9bd", "99999999-0000-4000-8000-000000000001"
ONLINE = "2bdbaf8f-738f-4ac7-9234-3c3ee2ce7d0f"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path / "var"


def told(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, Any]:
    code = run(["catalogue", *args, "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def the_list(path: Path, *rows: tuple[str, str, str], encoding: str = "cp1252") -> Path:
    lines = [HEADER, *(f'"{name}",{part},{sku},VISIOONLINE,{ONLINE},"Visio on the web"' for name, part, sku in rows)]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def test_all_products_are_listed_with_what_proves_them(state, capsys):
    code, listed = told(capsys, "list")

    assert (code, listed["tenant"], len(listed["products"])) == (0, "contoso", 41)  # 40 built in, one of the site's own
    phone = next(p for p in listed["products"] if p["key"] == "teams-phone")
    assert phone["skus"][0]["part_number"] == "MCOEV"
    assert {p["name"] for p in phone["proof_plans"]} == {"MCOEV", "MCOEVSMB"}
    assert run(["catalogue", "list"]) == 0
    assert "visio-plan-2-plant: Visio Plan 2 for plants (group, V2, 14.10 a month)" in capsys.readouterr().out


def test_the_shipped_products_have_one_flaw_in_the_sandbox(state, capsys):
    code, found = told(capsys, "lint")

    assert code == 3
    assert found["counts"] == {"not_owned": 1}
    assert [f["product"] for f in found["findings"]] == ["copilot-m365"]


def test_a_suspended_sku_is_found_in_the_tenant(state, capsys):
    assert run(["sandbox", "status"]) == 0
    with SandboxState(state / "sandbox").open() as owned:
        directory = owned.world.directory
        directory.store.skus[directory.sku("MCOEV")].capability = "Suspended"
        owned.save()
    capsys.readouterr()

    code = run(["catalogue", "lint"])

    assert code == 3
    assert "teams-phone: dead. MCOEV is Suspended in this tenant" in capsys.readouterr().out


def test_imported_names_are_shown_and_importing_them_again_changes_nothing(state, capsys, tmp_path):
    file = the_list(tmp_path / "list.csv", ("Visio\u00a0Plan Uno", "VISIOONLINE_PLAN1", VISIO_1), ("New é", "NEW", NEW))

    code, first = told(capsys, "import", str(file))
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        kept = row_counts(session)
    again, second = told(capsys, "import", str(file))

    assert (code, again) == (0, 0)
    assert {(c["code"], c["before"], c["after"]) for c in first["changed"]} == {
        ("VISIOONLINE_PLAN1", "Visio Plan 1", "Visio Plan Uno"),
        ("NEW", None, "New é"),
        ("VISIOONLINE", "Visio Web App", "Visio on the web"),
    }
    assert second["changed"] == []
    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        assert row_counts(session) == kept
    _, listed = told(capsys, "list")
    visio = next(p for p in listed["products"] if p["key"] == "visio-plan-1")
    assert (visio["skus"][0]["id"], visio["skus"][0]["name"]) == (VISIO_1, "Visio Plan Uno")
    assert [p["id"] for p in visio["proof_plans"]] == [ONLINE]


def test_a_change_of_name_is_not_lost_among_hundreds_of_new_ones(state, capsys, tmp_path):
    new = [(f"New {n}", f"NEW_{n}", f"{n:08d}-1111-4111-8111-111111111111") for n in range(40)]
    file = the_list(tmp_path / "list.csv", *new, ("Visio Plan Uno", "VISIOONLINE_PLAN1", VISIO_1))

    assert run(["catalogue", "import", str(file)]) == 0

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "sku VISIOONLINE_PLAN1: Visio Plan 1 → Visio Plan Uno"
    assert sum("new: New" in line for line in said) == 10
    assert "… and 30 more that had no name before; --output json lists them all." in said


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>", b"\x81\x8d", HEADER.encode()])
def test_a_bad_file_is_one_clear_sentence_and_changes_nothing(content, state, capsys, tmp_path):
    file = tmp_path / "list.csv"
    file.write_bytes(content)

    assert run(["catalogue", "import", str(file)]) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not Microsoft's list" in said
    assert not (state / "reconciler.db").exists()


def test_a_file_that_is_not_there_is_one_sentence(state, capsys, tmp_path):
    assert run(["catalogue", "import", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err == f"reconciler: {tmp_path / 'none.csv'} cannot be read: No such file or directory\n"
