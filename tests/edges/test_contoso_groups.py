"""The stories of Contoso that go through licence groups, by the shipped loop: asserted on tenant, ticket and audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.sandbox.state import SandboxState
from reconciler.sandbox.world_file import keep_world
from reconciler.store import journal
from reconciler.store.database import open_database
from tests.edges.make_contoso import after_a_first_cycle
from tests.simulation.make_day import contoso_with

BRAM, CHLOE, EMMA = "bram.devries", "chloe.martin", "emma.larsson"
WILLIAM, ZOE, CARL = "william.clarke", "zoe.bakker", "carl.johansson"
ULRICHS = ("RITM0010021", "RITM0010022")


class Contoso:
    """The shipped command line over the embedded sandbox, and the truth of the sandbox to compare with."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state, self.capsys = state, capsys

    def cycle(self, after: str = "") -> dict[str, dict[str, Any]]:
        """One cycle, perhaps after some time: the first line of each ticket by number."""
        if after:
            assert run(["sandbox", "advance", after]) == 0
            self.capsys.readouterr()
        if self.state.exists():
            run(["reconcile", "--output", "json"])
            rows = json.loads(self.capsys.readouterr().out)["tickets"]
        else:
            _, report = after_a_first_cycle(self.state)
            rows = report["tickets"]
        return {row["number"]: row for row in rows if row["line"] == 1}

    def licences(self, name: str) -> dict[str, set[str]]:
        """What somebody holds: part number -> "direct" and names of groups that give it, in force."""
        with SandboxState(self.state / "sandbox").open() as owned:
            directory = owned.world.directory
            found: dict[str, set[str]] = {}
            for a in directory.assign_states(f"{name}@contoso.example"):
                if a.is_in_force:
                    by = "direct" if a.group_id is None else directory.group(a.group_id).name
                    found.setdefault(directory.store.skus[a.sku_id].part_number, set()).add(by)
            return found

    def members(self, group: str) -> set[str]:
        with SandboxState(self.state / "sandbox").open() as owned:
            directory = owned.world.directory
            return {directory.user(m).upn.partition("@")[0] for m in directory.group(group).members}

    def notes(self, number: str) -> str:
        with SandboxState(self.state / "sandbox").open() as owned:
            instance = owned.world.instance
            return "\n".join(instance.notes(instance.records("sc_req_item", number=number)[0]["sys_id"]))

    def tasks(self, number: str) -> list[dict[str, str]]:
        with SandboxState(self.state / "sandbox").open() as owned:
            instance = owned.world.instance
            item = instance.records("sc_req_item", number=number)[0]["sys_id"]
            return list(instance.records("sc_task", request_item=item, active="true"))

    def writes(self, number: str) -> list[dict[str, Any]]:
        """What was sent to the directory for a ticket, as the audit log has it."""
        with open_database(self.state / "reconciler.db", read_only=True) as database, database.read() as session:
            log = list(journal.export(session, "contoso"))
        bodies = [row["body"] for row in log if row["kind"] == "intent" and row["body"]["system"] == "graph"]
        return [b for b in bodies if any(line.startswith(number) for line in b["lines"])]


@pytest.fixture
def contoso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Contoso:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return Contoso(tmp_path / "var", capsys)


def short(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["verdict"], row["cause"], row["phase"], [a["kind"] for a in row["actions"]]


def test_who_was_never_put_into_the_group_is_put_into_it_and_granted_once_the_group_is_processed(contoso):
    first = contoso.cycle()["RITM0010002"]
    joined = contoso.members("M365-Visio-Plan-2")
    again = contoso.cycle()["RITM0010002"]
    later = contoso.cycle(after="20m")["RITM0010002"]

    assert short(first) == ("false", "not_in_group", "verifying", ["add_group_member"])
    assert BRAM in joined
    assert short(again) == ("pending", "group_pending", "verifying", [])
    assert short(later) == ("true", None, "granted", [])
    assert contoso.licences(BRAM)["VISIOCLIENT"] == {"M365-Visio-Plan-2"}
    (write,) = contoso.writes("RITM0010002")
    assert (write["action"], write["lane"]) == ("add_group_member", "grants")
    assert write["what"]["after"]["gives"] == ["Visio Plan 2"]
    assert list(write["what"]["inverse"]) == ["remove_group_member"]
    assert "granted" in contoso.notes("RITM0010002")


def test_a_member_whose_group_is_not_processed_yet_is_waited_for_without_a_write_or_an_answer(contoso):
    first = contoso.cycle()["RITM0010003"]
    later = contoso.cycle(after="20m")["RITM0010003"]

    assert (*short(first), first["answer"]) == ("pending", "group_pending", "verifying", [], [])
    assert short(later) == ("true", None, "granted", [])
    assert contoso.writes("RITM0010003") == []
    assert contoso.licences(CHLOE)["VISIOCLIENT"] == {"M365-Visio-Plan-2"}


def test_a_predecessor_that_excludes_the_groups_licence_goes_as_declared_and_the_group_is_processed_again(contoso):
    first = contoso.cycle()["RITM0010005"]

    assert short(first) == ("false", "plan_conflict", "granted", ["remove_license", "reprocess"])
    held = contoso.licences(EMMA)
    assert held["MCOPSTN2"] == {"M365-Calling-International"}
    assert "MCOPSTN1" not in held
    assert "MCOEV" in held
    removal, reprocessing = contoso.writes("RITM0010005")
    assert (removal["lane"], removal["what"]["after"]["replaced_by"]) == ("removals", "calling-plan-international")
    assert removal["what"]["inverse"]["add"]
    assert reprocessing["what"]["before"]["states"][0]["error"] == "MutuallyExclusiveViolation"


def test_a_group_that_gives_all_or_nothing_is_processed_again_when_the_missing_seat_is_there(contoso):
    first = contoso.cycle()["RITM0010024"]
    held = contoso.licences(WILLIAM)
    still = contoso.cycle(after="3d")["RITM0010024"]
    later = contoso.cycle(after="10d")["RITM0010024"]

    assert short(first) == ("false", "group_error", "waiting_for_seat", [])
    assert "POWERAPPS_PER_USER" not in held
    assert short(still) == short(first)
    assert (later["phase"], [a["kind"] for a in later["actions"]]) == ("granted", ["reprocess"])
    assert contoso.licences(WILLIAM)["POWERAPPS_PER_USER"] == {"M365-Power-Platform"}
    assert [w["action"] for w in contoso.writes("RITM0010024")] == ["reprocess"]


def test_the_licence_that_blocks_a_group_is_named_and_splitting_is_proposed(contoso):
    contoso.cycle()

    assert run(["explain", "RITM0010024"]) == 0
    told = contoso.capsys.readouterr().out
    assert "all of its licences or none" in told
    assert "no seat of Power BI Premium Per User is free" in told
    assert "A group for each licence would avoid that." in told


def test_a_group_that_is_mastered_elsewhere_is_not_joined_but_named_with_its_master_in_a_task(contoso):
    first = contoso.cycle()["RITM0010028"]

    assert short(first) == (None, "group_not_writable", "review", [])
    assert contoso.writes("RITM0010028") == []
    assert ZOE not in contoso.members("AD-Visio-Plants")
    told = contoso.notes("RITM0010028")
    assert "AD-Visio-Plants" in told
    assert "on-premises Active Directory" in told
    assert any(t["correlation_id"].startswith("m365r:") for t in contoso.tasks("RITM0010028"))


def test_a_person_who_was_put_into_the_group_on_premises_is_granted_after_the_sync(contoso):
    contoso.cycle()
    with SandboxState(contoso.state / "sandbox").open() as owned:
        directory = owned.world.directory
        directory.add_member(
            directory.group("AD-Visio-Plants").group_id, directory.user(f"{ZOE}@contoso.example").user_id
        )
        owned.save()

    later = contoso.cycle(after="1h")["RITM0010028"]

    assert (later["phase"], later["actions"]) == ("granted", [])


def test_a_service_that_a_group_switches_off_is_proposed_by_another_group_and_never_copied_directly(contoso):
    first = contoso.cycle()["RITM0010031"]

    assert short(first) == ("false", "plan_disabled", "awaiting_approval", ["add_group_member"])
    assert [a["result"] for a in first["actions"]] == ["planned"]
    assert contoso.licences(CARL) == {"SPE_E3": {"M365-E3-Kiosk"}}
    assert contoso.writes("RITM0010031") == []
    assert run(["explain", "RITM0010031"]) == 0
    told = contoso.capsys.readouterr().out
    assert "M365-E3-Staff" in told
    assert "switches the service off (M365-E3-Kiosk)" in told


def test_doctor_lists_the_licence_groups_and_why_one_is_not_joined(contoso):
    assert run(["doctor", "--output", "json"]) == 0

    checks = json.loads(contoso.capsys.readouterr().out)["checks"]
    groups = {c["name"]: (c["health"], c["sentence"]) for c in checks if c["area"] == "groups"}
    assert groups["visio-plan-2"] == ("ok", "M365-Visio-Plan-2 grants VISIOCLIENT, and nothing else")
    assert groups["teams"][0] == "ok"
    assert "POWERAPPS_PER_USER and PBI_PREMIUM_PER_USER, all of them or none" in groups["power-apps-premium"][1]
    assert groups["visio-plan-2-plant"][0] == "warning"
    assert "on-premises Active Directory" in groups["visio-plan-2-plant"][1]
    assert groups["members"] == (
        "warning",
        "members in licence error: M365-Calling-International, M365-Power-Platform",
    )


@pytest.mark.parametrize("who", ["olga.ivanova", "ulrich.baum"])  # whom no ticket names, and whom one names for another
def test_a_member_for_whom_no_ticket_asks_it_keeps_the_seat_that_the_group_is_about_to_give(contoso, who):
    (contoso.state / "sandbox").mkdir(mode=0o700, parents=True)
    world = contoso_with("RITM0010002", "RITM0010003", *ULRICHS)
    keep_world(contoso.state / "sandbox" / "world.json", world, "contoso")
    with SandboxState(contoso.state / "sandbox").open() as owned:
        directory = owned.world.directory
        sku = directory.store.skus[directory.sku("VISIOCLIENT")]
        sku.enabled = directory.store.seats_used(sku.sku_id) + 2  # one for Chloe, who waits already, and one more
        member = directory.user(f"{who}@contoso.example").user_id
        directory.add_member(directory.group("M365-Visio-Plan-2").group_id, member, processed=False)
        owned.save()

    first = contoso.cycle()["RITM0010002"]
    later = contoso.cycle(after="20m")["RITM0010002"]

    assert (first["cause"], first["phase"], first["actions"]) == ("no_seat", "waiting_for_seat", [])
    assert later["phase"] == "waiting_for_seat"
    assert "VISIOCLIENT" in contoso.licences(who)
    assert BRAM not in contoso.members("M365-Visio-Plan-2")
