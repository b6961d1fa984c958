"""The truth of the pretend ServiceNow instance: what its rules, stamps and journals make of a write."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.refusals import AclDenied, InvalidTable, NoRecord, PolicyFailed, RuleAborted

START = datetime(2026, 11, 2, 9, 0, 0, 700_000, tzinfo=UTC)
SVC = "svc.reconciler"


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def turn(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Office:
    """One instance with a requester, a manager and an item."""

    clock: Hand
    instance: Instance
    ana: str
    max: str
    item: str

    def ticket(self, number: str = "RITM0010001", **kwargs: object) -> str:
        given: dict[str, object] = {
            "item": self.item,
            "requested_for": self.ana,
            "variables": {"product": "visio-plan-2"},
            "opened_at": START - timedelta(days=3),
            **kwargs,
        }
        return self.instance.order(number, **given)  # type: ignore[arg-type]

    def closed(self) -> str:
        return self.ticket(closed_at=START - timedelta(days=1), closed_by="max.boss")

    def open(self, number: str = "RITM0010002", **kwargs: object) -> str:
        return self.ticket(number, state="2", stage="fulfillment", task={"state": "1"}, **kwargs)

    def row(self, sys_id: str, table: str = "sc_req_item") -> dict[str, str]:
        row = self.instance.record(table, sys_id)
        assert row is not None
        return row

    def states(self, sys_id: str) -> tuple[str, str]:
        row = self.row(sys_id)
        return row["state"], row["active"]


@pytest.fixture
def office() -> Office:
    return build()


def build(seed: int = 1) -> Office:
    clock = Hand()
    instance = Instance(now=clock, rng=random.Random(seed))
    boss = instance.add_person("max.boss", email="max@contoso.example", name="Max Boss")
    ana = instance.add_person("ana.ruiz", email="ana@contoso.example", name="Ana Ruiz", manager=boss)
    instance.add_integration_user(SVC, "secret", roles=("itil",))
    item = instance.add_item(
        "Microsoft 365 licence",
        price="12.50",
        variables=[
            {"name": "user", "question_text": "For whom?", "type": "8", "reference": "sys_user"},
            {"name": "product", "question_text": "Which?", "type": "5"},
        ],
        rows=[{"name": "user", "type": "8"}, {"name": "product", "type": "5"}],
    )
    return Office(clock, instance, ana, boss, item)


# --- orders


def test_an_order_is_a_request_an_item_its_answers_a_task_and_its_approvers(office: Office) -> None:
    asked = START - timedelta(days=2)
    ritm = office.open(approvers=[(office.max, "approved", asked)])
    instance, row = office.instance, office.row(ritm)

    request = office.row(row["request"], "sc_request")
    [task] = instance.records("sc_task", request_item=ritm)
    ties = instance.records("sc_item_option_mtom", request_item=ritm)
    answers = {}
    for tie in ties:
        option = office.row(tie["sc_item_option"], "sc_item_option")
        answers[office.row(option["item_option_new"], "item_option_new")["name"]] = option["value"]
    [approver] = instance.records("sysapproval_approver", sysapproval=ritm)

    assert (row["number"], request["number"], row["price"]) == ("RITM0010002", "REQ0010002", "12.50")
    assert (row["sys_class_name"], request["sys_class_name"]) == ("sc_req_item", "sc_request")
    assert (task["parent"], task["request"], task["active"]) == (ritm, row["request"], "true")
    assert (answers["product"], answers["user"]) == ("visio-plan-2", "")
    assert (approver["approver"], approver["state"]) == (office.max, "approved")
    assert approver["document_id"] == ritm
    assert approver["sys_updated_on"] == "2026-10-31 09:00:00"
    assert row["sys_created_on"] == "2026-10-30 09:00:00"


def test_the_cells_of_a_multi_row_set_lie_apart_from_an_empty_answer(office: Office) -> None:
    ritm = office.ticket(rows=[{"user": office.ana, "product": "a"}, {"user": office.max, "product": "b"}])

    cells = office.instance.records("sc_multi_row_question_answer", parent_id=ritm)
    by_row = {(c["row_index"], office.row(c["item_option_new"], "item_option_new")["name"]): c["value"] for c in cells}

    assert by_row == {
        ("0", "user"): office.ana,
        ("0", "product"): "a",
        ("1", "user"): office.max,
        ("1", "product"): "b",
    }
    assert len({c["variable_set"] for c in cells}) == 1
    assert len(office.instance.records("sc_item_option_mtom", request_item=ritm)) == 3


def test_an_answer_to_a_question_nobody_asked_is_an_error(office: Office) -> None:
    with pytest.raises(KeyError, match="colour"):
        office.ticket(variables={"colour": "red"})


def test_a_closed_order_says_who_closed_it_and_when(office: Office) -> None:
    row = office.row(office.closed())

    assert (row["state"], row["active"], row["closed_by"]) == ("3", "false", office.max)
    assert row["closed_at"] == row["sys_updated_on"] == "2026-11-01 09:00:00"
    assert row["sys_updated_by"] == "max.boss"


def test_ten_thousand_orders_take_seconds(office: Office) -> None:
    since = time.perf_counter()
    for n in range(10_000):
        office.ticket(f"RITM{n:07}")

    assert len(office.instance.all_ids("sc_req_item")) == 10_000
    assert len(office.instance.all_ids("task")) == 20_000
    assert time.perf_counter() - since < 20


# --- business rules (servicenow.md section 10)


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ({"state": "1", "active": "true"}, ("1", "true")),
        ({"state": "2", "active": "true"}, ("2", "true")),
        ({"active": "true"}, ("1", "true")),
        ({"state": "1"}, ("1", "true")),
        ({"state": "2"}, ("2", "false")),
        ({"state": "4"}, ("4", "false")),
    ],
)
def test_a_closed_item_is_reopened_by_some_writes_only(
    office: Office, written: dict[str, str], becomes: tuple[str, str]
) -> None:
    ritm = office.closed()

    office.instance.update("sc_req_item", ritm, written, by=SVC)

    assert office.states(ritm) == becomes


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ({"state": "3"}, ("3", "false")),
        ({"state": "4", "active": "true"}, ("4", "false")),
        ({"active": "false"}, ("3", "false")),
    ],
)
def test_closing_sets_both_state_and_active_and_says_who(
    office: Office, written: dict[str, str], becomes: tuple[str, str]
) -> None:
    ritm = office.open()

    office.instance.update("sc_req_item", ritm, written, by="max.boss")

    assert office.states(ritm) == becomes
    assert (office.row(ritm)["closed_at"], office.row(ritm)["closed_by"]) == ("2026-11-02 09:00:00", office.max)


def test_reopening_keeps_when_it_was_closed_and_leaves_the_request(office: Office) -> None:
    ritm = office.closed()

    office.instance.update("sc_req_item", ritm, {"state": "1", "active": "true"}, by=SVC)

    row = office.row(ritm)
    assert row["closed_at"] == "2026-11-01 09:00:00"
    assert office.row(row["request"], "sc_request")["active"] == "false"


def test_an_instance_may_refuse_to_reopen_by_access_rule(office: Office) -> None:
    ritm = office.closed()
    office.instance.switches.reopen = "acl_403"

    with pytest.raises(AclDenied) as refused:
        office.instance.update("sc_req_item", ritm, {"state": "1"}, by=SVC)

    assert refused.value.detail == "ACL Exception Update Failed due to security constraints"
    assert office.states(ritm) == ("3", "false")


def test_an_instance_may_abort_reopening_and_keeps_no_note_of_the_attempt(office: Office) -> None:
    ritm = office.closed()
    office.instance.switches.reopen = "rule_abort_403"

    with pytest.raises(RuleAborted, match=r"^Operation against file 'sc_req_item' was aborted by Business Rule"):
        office.instance.update("sc_req_item", ritm, {"active": "true", "work_notes": "back"}, by=SVC)

    assert office.states(ritm) == ("3", "false")
    assert office.instance.notes(ritm) == []


def test_an_instance_may_accept_reopening_and_take_it_back_at_once(office: Office) -> None:
    ritm = office.closed()
    office.instance.switches.reopen = "accepted_then_reverted"
    before = int(office.row(ritm)["sys_mod_count"])

    office.instance.update("sc_req_item", ritm, {"state": "1", "work_notes": "back", "correlation_id": "k"}, by=SVC)

    assert office.states(ritm) == ("3", "false")
    assert (office.row(ritm)["correlation_id"], office.instance.notes(ritm)) == ("k", ["back"])
    assert int(office.row(ritm)["sys_mod_count"]) == before + 2


@pytest.mark.parametrize("reopen", ["acl_403", "rule_abort_403", "accepted_then_reverted"])
def test_a_note_on_a_closed_item_is_no_reopening(office: Office, reopen: str) -> None:
    ritm = office.closed()
    office.instance.switches.reopen = reopen  # type: ignore[assignment]

    office.instance.update("sc_req_item", ritm, {"work_notes": "done", "state": "3"}, by=SVC)

    assert office.instance.notes(ritm) == ["done"]


def test_a_data_policy_names_what_is_missing_when_a_task_closes(office: Office) -> None:
    ritm = office.open()
    office.instance.switches.task_close_mandatory = ("close_notes", "work_notes")
    [task] = office.instance.records("sc_task", request_item=ritm)

    with pytest.raises(PolicyFailed) as refused:
        office.instance.update("sc_task", task["sys_id"], {"state": "3", "work_notes": "done"}, by=SVC)
    office.instance.update("sc_task", task["sys_id"], {"state": "3", "work_notes": "x", "close_notes": "y"}, by=SVC)

    assert refused.value.detail == "Data Policy Exception: The following fields are mandatory: Close notes"
    assert office.row(task["sys_id"], "sc_task")["active"] == "false"


def test_an_execution_plan_closes_what_its_parts_leave_closed(office: Office) -> None:
    ritm = office.open()
    office.instance.switches.roll_up = True
    [task] = office.instance.records("sc_task", request_item=ritm)

    office.instance.update("sc_task", task["sys_id"], {"state": "4"}, by=SVC)

    assert office.states(ritm) == ("4", "false")
    assert office.row(office.row(ritm)["request"], "sc_request")["state"] == "4"


# --- stamps, lengths, fields (sections 1, 6, 19)


def test_a_change_is_stamped_to_the_second(office: Office) -> None:
    ritm = office.open()
    before = int(office.row(ritm)["sys_mod_count"])
    office.clock.turn(61.2)

    office.instance.update("task", ritm, {"correlation_id": "m365r:1"}, by=SVC)

    row = office.row(ritm)
    assert (row["sys_updated_on"], row["sys_updated_by"]) == ("2026-11-02 09:01:01", SVC)
    assert int(row["sys_mod_count"]) == before + 1


def test_writing_what_is_there_already_leaves_no_trace(office: Office) -> None:
    ritm = office.open()
    before = office.row(ritm)
    office.clock.turn(60)

    office.instance.update("sc_req_item", ritm, {"state": "2", "bunk_field": "x"}, by=SVC)

    assert office.row(ritm) == before


def test_system_fields_and_unknown_ones_are_not_the_callers_to_write(office: Office) -> None:
    ritm = office.open()

    office.instance.update(
        "sc_req_item", ritm, {"sys_mod_count": "99", "sys_id": "0" * 32, "bunk": "x", "close_notes": "y"}, by=SVC
    )

    row = office.row(ritm)
    assert (row["sys_id"], row["close_notes"]) == (ritm, "y")
    assert int(row["sys_mod_count"]) < 10
    assert "bunk" not in row


@pytest.mark.parametrize(("column", "length"), [("correlation_id", 100), ("short_description", 160)])
def test_long_text_is_cut_without_a_word_unless_told_otherwise(office: Office, column: str, length: int) -> None:
    ritm = office.open()
    office.instance.update("sc_req_item", ritm, {column: "x" * 5000}, by=SVC)
    cut = len(office.row(ritm)[column])
    office.instance.switches.lengths_truncate = False
    office.instance.update("sc_req_item", ritm, {column: "y" * 5000}, by=SVC)

    assert (cut, len(office.row(ritm)[column])) == (length, 5000)


def test_an_inserted_task_gets_what_the_platform_fills(office: Office) -> None:
    ritm = office.closed()

    sys_id = office.instance.insert("sc_task", {"request_item": ritm, "work_notes": "look at this"}, by=SVC)

    task = office.row(sys_id, "sc_task")
    account = office.instance.user(SVC)
    assert account is not None
    assert task["number"].startswith("SCTASK")
    assert (task["state"], task["active"], task["opened_by"]) == ("1", "true", account["sys_id"])
    assert (task["sys_mod_count"], task["sys_created_by"], task["work_notes"]) == ("0", SVC, "")
    assert office.instance.notes(sys_id) == ["look at this"]
    assert office.states(ritm) == ("3", "false")


def test_automatic_numbers_come_after_the_ones_that_were_given(office: Office) -> None:
    office.ticket("RITM0031000")

    made = office.instance.insert("sc_req_item", {"cat_item": office.item}, by=SVC)

    assert office.row(made)["number"] == "RITM0031001"


# --- journals (section 9)


def test_notes_are_appended_in_order_and_never_part_of_the_row(office: Office) -> None:
    ritm = office.open()
    texts = [f"note {n}" for n in range(30)]

    for text in texts:
        office.instance.update("sc_req_item", ritm, {"work_notes": text}, by=SVC)
    office.instance.update("sc_req_item", ritm, {"comments": "hello", "work_notes": ""}, by=SVC)

    assert office.instance.notes(ritm) == texts
    assert office.instance.notes(ritm, "comments") == ["hello"]
    assert office.row(ritm)["work_notes"] == office.row(ritm)["comments"] == ""


def test_nobody_changes_or_removes_a_journal_entry(office: Office) -> None:
    ritm = office.open()
    office.instance.update("sc_req_item", ritm, {"work_notes": "first"}, by=SVC)
    [entry] = office.instance.records("sys_journal_field", element_id=ritm)

    with pytest.raises(AclDenied):
        office.instance.update("sys_journal_field", entry["sys_id"], {"value": "other"}, by=SVC)
    with pytest.raises(AclDenied):
        office.instance.delete("sys_journal_field", entry["sys_id"], by=SVC)

    assert office.instance.notes(ritm) == ["first"]


@pytest.mark.parametrize("bumps", [True, False])
def test_a_note_touches_its_task_or_not_as_the_instance_is_set(office: Office, bumps: bool) -> None:
    ritm = office.open()
    office.instance.switches.journal_bumps = bumps
    before = office.row(ritm)
    office.clock.turn(60)

    office.instance.update("sc_req_item", ritm, {"work_notes": "seen"}, by=SVC)

    assert (office.row(ritm) != before) is bumps


# --- who may what (sections 7, 9, 12)


def test_answers_are_read_but_never_written(office: Office) -> None:
    ritm = office.open()
    option = office.instance.records("sc_item_option_mtom", request_item=ritm)[0]["sc_item_option"]

    assert office.instance.may(SVC, "read", "sc_item_option")
    with pytest.raises(AclDenied):
        office.instance.update("sc_item_option", option, {"value": "x"}, by=SVC)


@pytest.mark.parametrize(
    ("switch", "table"),
    [("variables_are_readable", "sc_item_option_mtom"), ("journal_is_readable", "sys_journal_field")],
)
def test_answers_and_journals_have_rights_apart_from_the_ticket(office: Office, switch: str, table: str) -> None:
    setattr(office.instance.switches, switch, False)

    assert office.instance.may(SVC, "read", "sc_req_item")
    assert not office.instance.may(SVC, "read", table)


def test_only_the_approver_decides_and_the_item_follows(office: Office) -> None:
    ritm = office.ticket(state="1", approval="requested", approvers=[(office.max, "requested", None)])
    [asked] = office.instance.records("sysapproval_approver", sysapproval=ritm)

    for stranger in (SVC, "ana.ruiz"):
        with pytest.raises(AclDenied):
            office.instance.update("sysapproval_approver", asked["sys_id"], {"state": "approved"}, by=stranger)
    before = office.row(ritm)["approval"]
    office.instance.update("sysapproval_approver", asked["sys_id"], {"state": "approved"}, by="max.boss")

    assert (before, office.row(ritm)["approval"]) == ("requested", "approved")


def test_a_role_that_only_reads_cannot_write(office: Office) -> None:
    office.instance.add_integration_user("svc.reader", "x", roles=("sn_request_read",))
    ritm = office.open()

    assert office.instance.may("svc.reader", "read", "sc_req_item", row=office.row(ritm))
    with pytest.raises(AclDenied):
        office.instance.update("sc_req_item", ritm, {"close_notes": "x"}, by="svc.reader")
    with pytest.raises(AclDenied, match="Insert"):
        office.instance.insert("sc_task", {"request_item": ritm}, by="svc.reader")


def test_what_is_hidden_from_one_account_is_as_good_as_gone_for_it_alone(office: Office) -> None:
    ritm = office.open()
    office.instance.hide("sc_req_item", ritm, SVC)
    office.instance.hide_field("sys_user", "email", SVC)

    with pytest.raises(NoRecord):
        office.instance.update("task", ritm, {"close_notes": "x"}, by=SVC)

    assert not office.instance.may(SVC, "read", "sys_user", "email")
    assert office.instance.may("max.boss", "read", "sc_req_item", row=office.row(ritm))
    office.instance.show("sc_req_item", ritm, SVC)
    assert office.instance.may(SVC, "read", "sc_req_item", row=office.row(ritm))


@pytest.mark.parametrize(("how", "kept"), [("acl_403", None), ("ignored", "k")])
def test_a_column_that_is_not_the_callers_is_refused_or_ignored(office: Office, how: str, kept: str | None) -> None:
    ritm = office.open()
    office.instance.freeze_field("sc_req_item", "stage", SVC)
    office.instance.switches.field_denied = how  # type: ignore[assignment]
    values = {"stage": "complete", "correlation_id": "k"}

    if kept is None:
        with pytest.raises(AclDenied):
            office.instance.update("sc_req_item", ritm, values, by=SVC)
    else:
        office.instance.update("sc_req_item", ritm, values, by=SVC)

    assert (office.row(ritm)["stage"], office.row(ritm)["correlation_id"]) == ("fulfillment", kept or "")


def test_an_instance_may_keep_closed_tasks_read_only_notes_included(office: Office) -> None:
    ritm = office.closed()
    office.instance.switches.closed_is_read_only = True

    with pytest.raises(AclDenied):
        office.instance.update("sc_req_item", ritm, {"work_notes": "x"}, by=SVC)

    assert office.instance.notes(ritm) == []


def test_tables_and_records_that_are_not_there_are_told_apart(office: Office) -> None:
    with pytest.raises(InvalidTable) as refused:
        office.instance.insert("no_such_table", {}, by=SVC)
    with pytest.raises(NoRecord):
        office.instance.update("sc_req_item", "0" * 32, {}, by=SVC)

    assert refused.value.message == "Invalid table no_such_table"
    assert office.instance.record("sc_req_item", "0" * 32) is None


def test_sign_ins_know_their_account(office: Office) -> None:
    office.instance.add_oauth_client("client", "hush", SVC)
    office.instance.add_api_key("key", SVC)

    checked = [office.instance.check_password(*pair) for pair in ((SVC, "secret"), (SVC, "guess"), ("ana.ruiz", ""))]

    assert checked == [True, False, False]
    assert office.instance.api_key_user("key") == SVC
    assert office.instance.api_key_user("other") is None
    client = office.instance.oauth_client("client")
    assert client is not None
    assert client.secret == "hush"


# --- keeping it


def test_an_instance_is_found_again_exactly_and_goes_on_alike(office: Office) -> None:
    ritm = office.open()
    office.instance.update("sc_req_item", ritm, {"work_notes": "a"}, by=SVC)
    office.instance.attachments["f" * 32] = b"\x00evidence"
    office.instance.hide("sc_req_item", ritm, "svc.other")
    office.instance.switches.reopen = "acl_403"
    kept = json.loads(json.dumps(office.instance.to_json()))

    again = Instance.from_json(kept, now=office.clock, rng=random.Random(99))

    assert json.loads(json.dumps(again.to_json())) == kept
    assert again.notes(ritm) == ["a"]
    assert again.attachments == {"f" * 32: b"\x00evidence"}
    made = [one.insert("sc_task", {"request_item": ritm}, by=SVC) for one in (office.instance, again)]
    assert made[0] == made[1]
    assert again.record("sc_task", made[0]) == office.instance.record("sc_task", made[0])


def test_the_same_seed_gives_the_same_ids_and_another_one_others() -> None:
    once, same, other = (build(seed).ticket() for seed in (1, 1, 2))

    assert once == same != other
    assert len(once) == 32
    assert set(once) <= set("0123456789abcdef")
