"""Writing to ServiceNow: sent once, found again by key, and never believed before it is read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from desired_state.model import Ticket
from reconciler.clients.servicenow import HIDDEN
from reconciler.clients.wire import Patience
from reconciler.errors import (
    Forbidden,
    Malformed,
    Next,
    NotFound,
    OutcomeUnknown,
    Rejected,
    SignInFailed,
    Throttled,
)
from tests.wire.make_replies import (
    INSTANCE,
    Keys,
    Remote,
    a_row,
    a_servicenow,
    failure,
    listed,
    one,
    query,
    reply,
    sys_id,
)

KEY = "m365r:4f0c9a"
TICKET = Ticket(
    sys_id=sys_id(1),
    number="RITM0000001",
    item=sys_id(900),
    item_name="Microsoft 365 licence",
    state="3",
    stage="complete",
    approval="approved",
    is_active=False,
    request=sys_id(801),
    request_number="REQ0000001",
    request_approval="approved",
    opened_at=datetime(2026, 11, 1, tzinfo=UTC),
    updated_at=datetime(2026, 11, 20, tzinfo=UTC),
    mod_count=6,
)
TASK = {
    "sys_id": sys_id(81),
    "number": "SCTASK0010099",
    "state": "1",
    "active": "true",
    "request_item": sys_id(1),
    "assignment_group": sys_id(60),
    "correlation_id": KEY,
    "short_description": "Check",
    "sys_created_on": "2026-11-23 09:00:00",
}


def a_task(remote: Remote, **more: str):
    texts = {"short_description": "Check", "description": "Why", "work_notes": "Note", **more}
    return a_servicenow(remote).create_task(TICKET, key=KEY, assignment_group=sys_id(60), **texts)


# --- notes -------------------------------------------------------------------------------------------------


def test_a_note_begins_with_its_key():
    remote = Remote(one({"sys_id": sys_id(1)}))

    a_servicenow(remote).add_note(sys_id(1), "Licence assigned.", key="4f0c")

    assert remote.bodies() == [{"work_notes": "[m365r:4f0c]\nLicence assigned."}]
    assert remote.seen[0].method == "PATCH"


def test_desk_and_requester_are_told_in_one_request_and_the_requester_sees_no_key():
    remote = Remote(one({"sys_id": sys_id(1)}))

    a_servicenow(remote).add_note(
        sys_id(1), "For the desk.", key="4f0c", comment="For you.", correlation="m365r-op:4f0c"
    )

    (body,) = remote.bodies()
    assert body["comments"] == "For you."
    assert body["work_notes"].startswith("[m365r:4f0c]")
    assert body["correlation_id"] == "m365r-op:4f0c"


def test_nothing_in_a_note_becomes_markup_or_a_control_character():
    remote = Remote(one({"sys_id": sys_id(1)}))

    a_servicenow(remote).add_note(sys_id(1), "[code]<a href=x>[/CODE]\tend\x00\x1b", key="k")

    assert remote.bodies()[0]["work_notes"] == "[m365r:k]\n(code)<a href=x>(/code)\tend"


def test_a_long_note_is_cut_where_one_can_see_it():
    remote = Remote(one({"sys_id": sys_id(1)}))

    a_servicenow(remote).add_note(sys_id(1), "x" * 9000, key="k")

    note = remote.bodies()[0]["work_notes"]
    assert len(note) < 4000
    assert note.endswith("…")


@pytest.mark.parametrize("key", ["", "a b", "a]b", "x" * 97, "a^ORb", "a\nb"])
def test_a_key_that_could_not_be_found_again_is_refused(key):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match="idempotency key"):
        a_servicenow(remote).add_note(sys_id(1), "x", key=key)

    assert remote.seen == []


@pytest.mark.parametrize("record", ["", "x", "../sys_user/1", sys_id(1).upper() + "0"])
def test_a_record_is_named_by_its_sys_id_alone(record):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match="sys_id"):
        a_servicenow(remote).add_note(record, "x", key="k")

    assert remote.seen == []


def journal(**more: str) -> dict[str, str]:
    return {"sys_id": sys_id(5), "element_id": sys_id(1), "element": "work_notes", "value": "[m365r:k] x", **more}


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        ([listed(journal())], True),
        ([listed()], False),
        ([listed(total=2)], None),
        ([reply(403, failure("User Not Authorized", "ACL"))], None),
        ([listed({k: v for k, v in journal().items() if k != "value"})], None),
        ([reply(200, {"result": []}), listed(journal())], False),
        ([reply(200, {"result": []}), listed()], None),
    ],
    ids=["there", "not there", "rows hidden", "forbidden", "value hidden", "no count, readable", "no count, nothing"],
)
def test_a_note_is_there_or_not_or_nobody_can_tell(replies, found):
    assert a_servicenow(Remote(*replies)).has_note(sys_id(1), "k") is found


def test_a_note_of_another_ticket_shows_that_the_filter_was_ignored():
    with pytest.raises(Malformed, match="ignored"):
        a_servicenow(Remote(listed(journal(element_id=sys_id(2))))).has_note(sys_id(1), "k")


@pytest.mark.parametrize(
    ("replies", "seen"),
    [
        ([listed(journal(), journal(sys_id=sys_id(6), element_id=sys_id(2), value="[m365r:l] y"))], {"k", "l"}),
        ([listed(journal(), journal(sys_id=sys_id(6), value="[m365r:l] y"))], {"k"}),
        ([listed({k: v for k, v in journal().items() if k != "value"})], set()),
        ([reply(403, failure("User Not Authorized", "ACL"))], set()),
    ],
    ids=["both", "the other one on another ticket", "value hidden", "forbidden"],
)
def test_notes_of_several_tickets_are_seen_in_one_look(replies, seen):
    remote = Remote(*replies)

    assert a_servicenow(remote).notes_shown({"k": sys_id(1), "l": sys_id(2)}) == seen
    assert remote.queries()[0]["sysparm_query"].startswith(f"element_idIN{sys_id(1)},{sys_id(2)}^valueLIKE[m365r:^")


# --- tasks -------------------------------------------------------------------------------------------------


def test_a_task_hangs_under_its_ticket_and_carries_its_key():
    remote = Remote(one(TASK, 201))

    task = a_task(remote)

    (body,) = remote.bodies()
    assert (body["request_item"], body["parent"], body["request"]) == (sys_id(1), sys_id(1), sys_id(801))
    assert (body["correlation_id"], body["assignment_group"], body["state"]) == (KEY, sys_id(60), "1")
    assert body["work_notes"] == f"[m365r:{KEY}]\nNote"
    assert (task.number, task.correlation_id) == ("SCTASK0010099", KEY)


def test_a_task_without_a_queue_or_request_leaves_them_out():
    remote = Remote(one(TASK, 201))

    a_servicenow(remote).create_task(replace(TICKET, request=""), key=KEY, short_description="x" * 300, description="")

    (body,) = remote.bodies()
    assert not {"request", "assignment_group", "work_notes"} & body.keys()
    assert len(body["short_description"]) == 160


@pytest.mark.parametrize(
    "answer",
    [
        reply(403, failure("Operation Failed", "ACL Exception Insert Failed due to security constraints")),
        reply(202),
        reply(201),
        reply(201, {"result": {}}),
        reply(201, {"result": []}),
        reply(201, {"result": {}, **failure("Transaction cancelled: maximum execution time exceeded")}),
        reply(200, "<html><title>Maintenance</title></html>"),
        reply(503, "<html>"),
        reply(500, failure("x")),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("gone"),
    ],
    ids=["403 but done", "202", "no body", "no id", "a list", "cut", "web page", "503", "500", "time-out", "closed"],
)
def test_a_task_that_may_be_there_is_looked_for_before_it_is_created_again(answer):
    remote = Remote(answer)

    with pytest.raises(OutcomeUnknown) as caught:
        a_task(remote)

    assert caught.value.then is Next.LOOK
    assert len(remote.seen) == 1


def test_a_denied_insert_tells_its_status_so_that_a_look_can_settle_it():
    with pytest.raises(OutcomeUnknown) as caught:
        a_task(Remote(reply(403, failure("Operation Failed", "Insert Failed"))))

    assert caught.value.status == 403
    assert "Insert Failed" in caught.value.why


def test_a_task_is_found_by_its_key_and_the_oldest_one_counts():
    younger = {**TASK, "sys_id": sys_id(80), "number": "SCTASK2", "sys_created_on": "2026-11-23 10:00:00"}
    remote = Remote(listed(younger, TASK))

    found = a_servicenow(remote).find_task(KEY)

    assert found is not None
    assert found.number == "SCTASK0010099"
    assert remote.queries()[0]["sysparm_query"] == f"correlation_id={KEY}^ORDERBYsys_id"


def test_a_key_in_another_case_is_another_key():
    assert a_servicenow(Remote(listed({**TASK, "correlation_id": KEY.upper()}))).find_task(KEY) is None


def test_no_task_is_none_and_an_ignored_filter_is_an_error():
    assert a_servicenow(Remote(listed())).find_task(KEY) is None

    with pytest.raises(Malformed):
        a_servicenow(Remote(listed({**TASK, "correlation_id": "other"}))).find_task(KEY)


@pytest.mark.parametrize(
    "shown",
    [listed(total=1), listed({**TASK, "correlation_id": KEY.upper()}, total=2), reply(200, {"result": []})],
    ids=["one is hidden", "one of two is hidden", "nothing was counted"],
)
def test_a_task_that_may_be_hidden_from_us_is_not_said_to_be_missing(shown):
    assert a_servicenow(Remote(shown)).find_task(KEY) is HIDDEN


def test_closing_sends_everything_at_once():
    remote = Remote(one({"sys_id": sys_id(81)}))

    a_servicenow(remote).close_task(sys_id(81), close_notes="Assigned.", work_notes="Ids: 1")

    assert remote.bodies() == [{"state": "3", "close_notes": "Assigned.", "work_notes": "Ids: 1"}]


def test_tasks_are_read_by_a_list_of_ids_and_what_is_not_shown_is_left_out():
    remote = Remote(listed(TASK))

    found = a_servicenow(remote).tasks([sys_id(82), sys_id(81)])

    assert {one: task.is_active for one, task in found.items()} == {sys_id(81): True}
    assert remote.queries()[0]["sysparm_query"] == f"sys_idIN{sys_id(81)},{sys_id(82)}^ORDERBYsys_id"


def test_a_closing_that_is_forbidden_says_what_the_instance_said():
    said = "Data Policy Exception: The following fields are mandatory: Assigned to"

    with pytest.raises(Forbidden, match="Assigned to"):
        a_servicenow(Remote(reply(403, failure(said)))).close_task(sys_id(81), close_notes="x")


# --- reopening ---------------------------------------------------------------------------------------------


def test_a_reopening_is_read_back():
    remote = Remote(one({"sys_id": sys_id(1)}), one(a_row(1, state="2", active="true")))

    now = a_servicenow(remote).reopen(sys_id(1))

    assert remote.bodies()[0] == {"state": "2", "active": "true"}
    assert (now.state, now.is_active, now.mod_count, now.updated_by) == ("2", True, 6, "fulfil.flow")


def test_a_reopening_carries_the_instances_own_words_where_they_are_known():
    remote = Remote(one({"sys_id": sys_id(1)}), one(a_row(1, state="2", active="true")))
    above = Remote(one({"sys_id": sys_id(2)}), one(a_row(2, state="2", active="true")))

    a_servicenow(remote).reopen(sys_id(1), stage="fulfillment")
    a_servicenow(above).reopen_request(sys_id(2), request_state="in_process")

    assert remote.bodies()[0] == {"state": "2", "active": "true", "stage": "fulfillment"}
    assert above.bodies()[0] == {"state": "2", "active": "true", "request_state": "in_process"}


def test_a_reopening_that_a_rule_takes_back_is_seen():
    now = a_servicenow(Remote(one({"sys_id": sys_id(1)}), one(a_row(1)))).reopen(sys_id(1))

    assert (now.state, now.is_active) == ("3", False)


def test_a_reopening_that_an_acl_forbids_is_forbidden():
    said = failure("Operation Failed", "ACL Exception Update Failed due to security constraints")

    with pytest.raises(Forbidden, match="Update Failed"):
        a_servicenow(Remote(reply(403, said))).reopen(sys_id(1))


@pytest.mark.parametrize("look", [reply(503), reply(404, failure("No Record found")), reply(200, {"result": []})])
def test_a_reopening_that_cannot_be_read_back_is_of_unknown_outcome(look):
    remote = Remote(one({"sys_id": sys_id(1)}), look)

    with pytest.raises(OutcomeUnknown, match="accepted"):
        a_servicenow(remote, patience=Patience(attempts=1)).reopen(sys_id(1))


def test_a_ticket_that_is_not_visible_has_no_state():
    with pytest.raises(NotFound, match="not visible"):
        a_servicenow(Remote(reply(404, failure("No Record found")))).state_of(sys_id(1))


def test_another_record_than_the_one_asked_for_is_malformed():
    with pytest.raises(Malformed):
        a_servicenow(Remote(one(a_row(2)))).state_of(sys_id(1))


# --- the rest ----------------------------------------------------------------------------------------------


def test_a_ticket_is_marked_as_known_to_us():
    remote = Remote(one({"sys_id": sys_id(1)}))

    a_servicenow(remote).set_correlation(sys_id(1), KEY)

    assert remote.bodies() == [{"correlation_id": KEY, "correlation_display": "m365-reconciler"}]


def test_a_file_is_attached_as_it_is():
    remote = Remote(reply(201, {"result": {"sys_id": sys_id(7), "size_bytes": "2"}}))

    attached = a_servicenow(remote).attach(sys_id(1), "evidence.json", "application/json", b"{}")

    (request,) = remote.seen
    assert attached == sys_id(7)
    assert str(request.url).startswith(f"{INSTANCE}/api/now/attachment/file?")
    assert query(request) == {"table_name": "sc_req_item", "table_sys_id": sys_id(1), "file_name": "evidence.json"}
    assert (request.content, request.headers["Content-Type"]) == (b"{}", "application/json")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", ".hidden", "x" * 101])
def test_a_file_name_is_plain(name):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match="file name"):
        a_servicenow(remote).attach(sys_id(1), name, "text/plain", b"")

    assert remote.seen == []


def test_an_attachment_is_found_by_its_name():
    row = {"sys_id": sys_id(7), "table_sys_id": sys_id(1), "file_name": "evidence.json"}
    servicenow = a_servicenow(Remote(attachments(row)))

    assert servicenow.find_attachment(sys_id(1), "evidence.json") == sys_id(7)
    assert servicenow.find_attachment(sys_id(1), "other.json") is None


@pytest.mark.parametrize("total", ["1", ""], ids=["one is hidden", "nothing was counted"])
def test_an_attachment_that_may_be_hidden_from_us_is_not_said_to_be_missing(total):
    servicenow = a_servicenow(Remote(attachments(total=total)))

    assert servicenow.find_attachment(sys_id(1), "evidence.json") is HIDDEN


def attachments(*rows: dict[str, str], total: str | None = None) -> httpx.Response:
    return reply(200, {"result": rows}, {"X-Total-Count": str(len(rows)) if total is None else total})


def test_an_hourly_limit_stops_a_write_before_anything_is_done():
    with pytest.raises(Throttled):
        a_servicenow(Remote(reply(429, failure("x"), {"Retry-After": "3000"}))).add_note(sys_id(1), "x", key="k")


def test_a_write_after_an_expired_token_is_sent_again_with_a_fresh_one():
    remote, keys = Remote(reply(401, failure("User Not Authenticated")), one({"sys_id": sys_id(1)})), Keys()

    a_servicenow(remote, keys=keys).add_note(sys_id(1), "x", key="k")

    assert (len(remote.seen), keys.renewed) == (2, 1)


@pytest.mark.parametrize(("status", "error"), [(400, Rejected), (404, NotFound), (405, Rejected), (415, Rejected)])
def test_a_write_that_is_refused_is_refused_for_good(status, error):
    remote = Remote(reply(status, failure("no")))

    with pytest.raises(error):
        a_servicenow(remote).add_note(sys_id(1), "x", key="k")

    assert len(remote.seen) == 1


# --- self test ---------------------------------------------------------------------------------------------


def findings(remote: Remote, **more: object) -> dict[str, bool | None]:
    return {found.name: found.ok for found in a_servicenow(remote).probe(**more)}


def healthy(request: httpx.Request) -> httpx.Response:
    """An instance on which everything works, with four tickets."""
    if "/stats/" in request.url.path:
        return reply(200, {"result": {"stats": {"count": "4"}}})
    asked, table = query(request), request.url.path.rsplit("/", 1)[1]
    names = asked["sysparm_fields"].split(",")
    full = dict.fromkeys(names, "x")
    if table == "sc_req_item":
        rows = [{**full, **a_row(n, f"2026-11-23 08:00:0{n}")} for n in range(1, 5)]
        after = asked["sysparm_query"].partition("sys_id>")[2].partition("^")[0]
        if "no_such_field" in asked["sysparm_query"]:
            return listed()
        return listed(*[r for r in rows if r["sys_id"] > after][: int(asked["sysparm_limit"])])
    if table == "sys_user_group":
        return listed({"sys_id": sys_id(60), "name": "Desk", "active": "true"})
    return listed({**full, "sys_id": sys_id(1)})


def test_a_healthy_instance_passes_every_test():
    found = findings(Remote(healthy), items=[sys_id(900)], group="Desk")

    assert set(found.values()) == {True}
    assert len(found) == 11


def with_roles(*names: str) -> Remote:
    """An instance that shows our account these roles; none: it does not show any."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/sys_user_has_role"):
            if not names:
                return reply(403, failure("User Not Authorized"))
            assert query(request)["sysparm_query"] == "user.user_name=svc.licences"
            return listed(*({"role.name": name} for name in names))
        return healthy(request)

    return Remote(answer)


def test_roles_of_our_account_that_write_more_than_tickets_are_named():
    def said(remote: Remote) -> tuple[bool | None, str]:
        (found,) = [p for p in a_servicenow(remote).probe(account="svc.licences") if p.name == "roles"]
        return found.ok, found.sentence

    assert said(with_roles("itil", "rest_service"))[0] is True
    ok, sentence = said(with_roles("itil", "admin"))
    assert (ok, "svc.licences holds admin: it could write far more" in sentence) == (None, True)
    ok, sentence = said(with_roles())
    assert (ok, "check by hand that svc.licences holds none of admin" in sentence) == (None, True)


def test_a_failed_sign_in_is_the_only_finding():
    (found,) = a_servicenow(Remote(reply(401)), keys=Keys(renewable=False)).probe()

    assert (found.name, found.ok) == ("sign_in", False)
    assert SignInFailed("ServiceNow", "x").then is Next.STOP


@pytest.mark.parametrize(
    ("part", "answer", "name"),
    [
        ("mtom", listed(), "variables"),
        ("sysapproval_approver", reply(403, failure("User Not Authorized")), "approvals"),
        ("sys_user", listed(total=9), "people"),
        ("sc_task", listed({"sys_id": sys_id(1), "number": "SCTASK1"}), "tasks"),
        ("sys_user_group", listed(), "group"),
    ],
)
def test_what_is_hidden_is_a_finding_and_the_other_tests_go_on(part, answer, name):
    def instance(request: httpx.Request) -> httpx.Response:
        return answer if request.url.path.endswith(part) else healthy(request)

    found = findings(Remote(instance), group="Desk")

    assert found.pop(name) is False
    assert set(found.values()) == {True}


def test_paging_that_skips_a_row_is_found_out():
    def instance(request: httpx.Request) -> httpx.Response:
        if "sys_id>" in query(request).get("sysparm_query", ""):
            return listed(a_row(4, "2026-11-23 08:00:04"))
        return healthy(request)

    assert findings(Remote(instance))["paging"] is False


def test_an_empty_instance_is_not_a_broken_one():
    empty = Remote(lambda r: reply(200, {"result": {"stats": {"count": "0"}}}) if "/stats/" in r.url.path else listed())

    found = findings(empty)

    assert False not in found.values()
