"""What the sandbox's ServiceNow makes of our answers: refusals word for word, reopening, notes, approvals."""

from __future__ import annotations

import pytest

from tests.make_instance import RAW, TABLE, USER, Desk, error

UPDATE_DENIED = error("Operation Failed", "ACL Exception Update Failed due to security constraints")
INSERT_DENIED = error("Operation Failed", "ACL Exception Insert Failed due to security constraints")


@pytest.mark.parametrize(
    ("written", "state", "active"),
    [
        ({"active": "true"}, "1", "true"),
        ({"state": "1"}, "1", "true"),
        ({"state": "2"}, "2", "false"),  # no rule matches: work in progress and inactive at once
        ({"state": "2", "active": "true"}, "2", "true"),
        ({"state": "4"}, "4", "false"),
        ({"work_notes": "Looking again."}, "3", "false"),
    ],
)
def test_some_writes_reopen_a_closed_item(written: dict[str, str], state: str, active: str) -> None:
    desk = Desk()
    ticket = desk.ticket()
    closed_at = desk.truth(ticket)["closed_at"]

    answer = desk.patch("sc_req_item", ticket, **written)

    row = desk.truth(ticket)
    assert answer.status_code == 200
    assert (row["state"], row["active"]) == (state, active)
    assert (row["closed_at"], row["stage"]) == (closed_at, "complete")


def test_reopening_is_refused_by_access_rule_or_business_rule_with_their_words() -> None:
    desk = Desk()
    ticket = desk.ticket()
    before = desk.truth(ticket)

    desk.instance.switches.reopen = "acl_403"
    by_acl = desk.patch("sc_req_item", ticket, state="1", active="true", work_notes="Reopening.")
    desk.instance.switches.reopen = "rule_abort_403"
    by_rule = desk.patch("sc_req_item", ticket, state="1", active="true", work_notes="Reopening.")

    assert (by_acl.status_code, by_acl.json()) == (403, UPDATE_DENIED)
    assert by_rule.status_code == 403
    assert by_rule.json()["error"]["message"] == "Operation Failed"
    detail = by_rule.json()["error"]["detail"]
    assert detail.startswith("Operation against file 'sc_req_item' was aborted by Business Rule '")
    assert "^" in detail and ". Business Rule Stack:" in detail
    assert desk.truth(ticket) == before
    assert desk.instance.notes(ticket) == []


def test_an_accepted_reopening_may_be_gone_when_read_back() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.instance.switches.reopen = "accepted_then_reverted"

    answer = desk.patch("sc_req_item", ticket, state="1", active="true")

    assert (answer.status_code, answer.json()["result"]["state"]) == (200, "1")
    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", RAW).json()["result"]
    assert (row["state"], row["active"], row["sys_updated_by"]) == ("3", "false", "system")


def test_a_closing_task_misses_mandatory_fields_until_they_come_in_the_same_write() -> None:
    desk = Desk()
    ticket = desk.open_ticket(task={"state": "1", "assignment_group": desk.queue})
    task = desk.instance.records("sc_task")[0]["sys_id"]
    desk.instance.switches.task_close_mandatory = ("assigned_to", "work_notes")

    refused = desk.patch("sc_task", task, state="3")
    done = desk.patch("sc_task", task, state="3", assigned_to=desk.ben, work_notes="Granted.")

    detail = "Data Policy Exception: The following fields are mandatory: Assigned to, Work notes"
    assert (refused.status_code, refused.json()) == (403, error("Operation Failed", detail))
    assert done.status_code == 200
    row = desk.truth(task, "sc_task")
    assert (row["active"], row["closed_at"], row["closed_by"]) == ("false", "2026-11-02 09:00:00", desk.svc)
    assert desk.truth(ticket)["state"] == "1"  # no execution plan: the item decides for itself


def test_each_note_is_one_more_entry_and_its_column_stays_empty() -> None:
    desk = Desk()
    ticket = desk.ticket()

    for text in ("one", "one", "two"):
        answer = desk.patch("sc_req_item", ticket, work_notes=text)
        assert answer.json()["result"]["work_notes"] == ""
    desk.patch("sc_req_item", ticket, comments="for the requester")

    rows = desk.rows("sys_journal_field", f"element_id={ticket}^element=work_notes^ORDERBYsys_created_on^ORDERBYsys_id")
    assert sorted(row["value"] for row in rows) == ["one", "one", "two"]
    assert {row["sys_created_by"] for row in rows} == {USER}
    assert {row["name"] for row in rows} == {"sc_req_item"}
    assert all("sys_updated_on" not in row for row in rows)
    assert len(desk.rows("sys_journal_field", f"element_id={ticket}^element=comments")) == 1


def test_a_note_can_be_found_by_its_key() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.patch("sc_req_item", ticket, work_notes="[m365r:op:1] Licence assigned.")

    found = desk.rows("sys_journal_field", f"element_id={ticket}^valueLIKEm365r:op:1")

    assert len(found) == 1


def test_shown_journals_list_the_latest_entry_first() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.instance.switches.journal_is_shown = True
    desk.patch("sc_req_item", ticket, work_notes="first")
    desk.patch("sc_req_item", ticket, comments="second")

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", {"sysparm_display_value": "all"}).json()["result"]

    assert row["work_notes"]["value"] == ""
    assert row["work_notes"]["display_value"].startswith(f"2026-11-02 09:00:00 - {USER} (work_notes)\nfirst")
    both = row["comments_and_work_notes"]["display_value"]
    assert both.index("second") < both.index("first")


def test_an_approval_is_for_its_approver_alone_and_the_item_follows_it() -> None:
    desk = Desk()
    ticket = desk.open_ticket(
        approval="requested", stage="waiting_for_approval", approvers=[(desk.ben, "requested", None)]
    )
    asked = desk.rows("sysapproval_approver", f"sysapproval={ticket}^ORdocument_id={ticket}")[0]

    refused = desk.patch("sysapproval_approver", asked["sys_id"], state="approved")
    done = desk.patch("sysapproval_approver", asked["sys_id"], user="ben", state="approved", comments="Yes.")

    assert (refused.status_code, refused.json()) == (403, UPDATE_DENIED)
    assert done.status_code == 200
    assert (desk.truth(ticket)["approval"], desk.truth(ticket)["stage"]) == ("approved", "fulfillment")


def test_a_rejected_item_is_cancelled() -> None:
    desk = Desk()
    ticket = desk.open_ticket(
        approval="requested", stage="waiting_for_approval", approvers=[(desk.ben, "requested", None)]
    )

    desk.instance.decide(ticket, desk.ben, "rejected", comments="Too dear.")

    row = desk.truth(ticket)
    assert (row["approval"], row["stage"], row["state"]) == ("rejected", "Request Cancelled", "4")
    assert row["active"] == "false"


def test_an_approval_may_stay_behind_its_approver_where_nothing_rolls_up() -> None:
    desk = Desk()
    desk.instance.switches.approval_rolls_up = False
    ticket = desk.open_ticket(approval="requested", approvers=[(desk.ben, "requested", None)])

    desk.instance.decide(ticket, desk.ben, "approved")

    assert desk.truth(ticket)["approval"] == "requested"
    assert desk.rows("sysapproval_approver", f"sysapproval={ticket}")[0]["state"] == "approved"


def test_answers_to_variables_cannot_be_written() -> None:
    desk = Desk()
    desk.ticket()
    option = desk.instance.records("sc_item_option")[0]

    answer = desk.patch("sc_item_option", option["sys_id"], value="e3")

    assert (answer.status_code, answer.json()) == (403, UPDATE_DENIED)
    assert desk.instance.record("sc_item_option", option["sys_id"]) == option


def test_answers_are_read_through_the_table_that_ties_them_to_the_item() -> None:
    desk = Desk()
    ticket = desk.ticket(rows=[{"person": desk.ana, "sku": "VISIO"}, {"person": desk.ben, "sku": "PROJECT"}])
    fields = "sc_item_option.value,sc_item_option.item_option_new.name,sc_item_option.item_option_new.type"

    rows = desk.rows("sc_item_option_mtom", f"request_itemIN{ticket}^ORDERBYsys_id", sysparm_fields=fields)
    cells = desk.rows(
        "sc_multi_row_question_answer", f"parent_id={ticket}", sysparm_fields="row_index,item_option_new.name,value"
    )

    read = {(row["sc_item_option.item_option_new.name"], row["sc_item_option.value"]) for row in rows}
    assert read == {("", ""), ("user", desk.ana), ("product", "e5"), ("licences", "")}
    assert sorted(tuple(cell.values()) for cell in cells) == sorted(
        [("0", "person", desk.ana), ("0", "sku", "VISIO"), ("1", "person", desk.ben), ("1", "sku", "PROJECT")]
    )


def test_answers_are_hidden_by_rights_of_their_own_and_still_counted() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.instance.switches.variables_are_readable = False

    answer = desk.get(f"{TABLE}/sc_item_option_mtom", {"sysparm_query": f"request_item={ticket}"})

    assert (answer.status_code, answer.json()["result"]) == (200, [])
    assert answer.headers["x-total-count"] == "4"


def test_a_field_that_may_not_be_read_is_left_out_of_the_row() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.instance.add_acl("sys_user", "read", column="email")

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", {"sysparm_fields": "number,requested_for.email"}).json()["result"]

    assert row == {"number": "RITM0010001"}
    assert "email" not in desk.get(f"{TABLE}/sys_user/{desk.ana}").json()["result"]


def test_a_field_that_may_not_be_written_is_refused_or_ignored() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    desk.instance.add_acl("sc_req_item", "write", column="correlation_id")

    refused = desk.patch("sc_req_item", ticket, correlation_id="key", close_notes="done")
    desk.instance.switches.field_denied = "ignored"
    ignored = desk.patch("sc_req_item", ticket, correlation_id="key", close_notes="done")

    assert (refused.status_code, refused.json()) == (403, UPDATE_DENIED)
    assert ignored.status_code == 200
    assert (desk.truth(ticket)["correlation_id"], desk.truth(ticket)["close_notes"]) == ("", "done")


def test_a_reader_writes_nothing() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    changed = desk.patch("sc_req_item", ticket, user="ben", state="2")
    created = desk.post("sc_task", user="ben", request_item=ticket)

    assert (changed.status_code, changed.json()) == (403, UPDATE_DENIED)
    assert (created.status_code, created.json()) == (403, INSERT_DENIED)
    assert desk.instance.records("sc_task") == []


def test_a_record_may_be_made_and_its_maker_told_no() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    desk.instance.add_acl("sc_task", "read")

    answer = desk.post("sc_task", request_item=ticket, correlation_id="key")

    assert (answer.status_code, answer.json()) == (403, INSERT_DENIED)
    assert [row["correlation_id"] for row in desk.instance.records("sc_task")] == ["key"]


def test_no_trace_is_left_by_a_write_that_suppresses_system_fields() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    before = desk.truth(ticket)

    url, params = f"{TABLE}/sc_req_item/{ticket}", {"sysparm_suppress_auto_sys_field": "true"}
    desk.call("PATCH", url, user="root", params=params, json={"correlation_id": "key"})

    after = desk.truth(ticket)
    assert after["correlation_id"] == "key"
    assert (after["sys_updated_on"], after["sys_mod_count"]) == (before["sys_updated_on"], before["sys_mod_count"])
