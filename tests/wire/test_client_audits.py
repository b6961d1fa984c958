"""Reading the directory's own log: what is asked for, and what is made of entries that are whole, cut or refused."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from desired_state.model import UserId
from reconciler.clients.graph import EVIDENCE, missing
from reconciler.clock import ManualClock
from reconciler.errors import Forbidden, Malformed
from tests.make_graph import MONDAY as SANDBOX_MONDAY
from tests.make_graph import Tenant
from tests.wire.make_replies import GRAPH, MONDAY, Remote, a_graph, guid, refused, reply
from tests.wire.openapi import Checked, contract

ADA = UserId(guid(1))
WEEK = timedelta(days=7)


def an_entry(n: int = 1, **more: object) -> dict[str, object]:
    """An entry of a person's licence change, as recorded from a tenant (graph.md section 5)."""
    return {
        "id": f"Directory_{guid(n)}",
        "category": "UserManagement",
        "correlationId": guid(70 + n),
        "result": "success",
        "resultReason": "",
        "activityDisplayName": "Change user license",
        "activityDateTime": "2026-11-20T14:30:05.1234567Z",
        "loggedByService": "Core Directory",
        "operationType": "Update",
        "initiatedBy": {
            "app": None,
            "user": {
                "id": guid(50).upper(),
                "displayName": "Tom Weber",
                "userPrincipalName": "tom.weber@contoso.com",
                "ipAddress": "",
            },
        },
        "targetResources": [
            {"id": guid(1), "displayName": None, "type": "User", "userPrincipalName": "a@x", "modifiedProperties": []}
        ],
        "additionalDetails": [],
        **more,
    }


def test_an_entry_says_who_did_what_when_and_to_which_call_it_belongs():
    changed = {"displayName": "AssignedLicense", "oldValue": '["[SkuName=X]"]', "newValue": None}
    target = {"id": guid(1).upper(), "type": "User", "modifiedProperties": [changed]}
    remote = Remote(reply(200, {"value": [an_entry(targetResources=[target])]}))

    trail = a_graph(Checked(remote)).directory_audits(ADA, MONDAY - WEEK)

    (event,) = trail.events
    assert trail.is_whole
    assert (event.activity, event.category, event.service) == (
        "Change user license",
        "UserManagement",
        "Core Directory",
    )
    assert (event.user_id, event.user_upn, event.user_name) == (guid(50), "tom.weber@contoso.com", "Tom Weber")
    assert (event.app_id, event.app_name) == ("", "")
    assert event.changes == (("AssignedLicense", '["[SkuName=X]"]', ""),)
    assert (event.at.isoformat()[:19], event.correlation_id) == ("2026-11-20T14:30:05", guid(71))


def test_software_is_told_from_people():
    by = {"user": None, "app": {"appId": guid(9).upper(), "displayName": "Leaver Bot", "servicePrincipalId": None}}
    remote = Remote(reply(200, {"value": [an_entry(initiatedBy=by)]}))

    (event,) = a_graph(Checked(remote)).directory_audits(ADA, MONDAY).events

    assert (event.user_name, event.app_name, event.app_id) == ("", "Leaver Bot", guid(9))


def test_only_one_user_and_only_the_time_in_question_is_asked_for():
    remote = Remote(reply(200, {"value": []}))

    a_graph(remote).directory_audits(ADA, MONDAY - WEEK)

    wanted = f"activityDateTime ge 2026-11-16T09:00:00Z and targetResources/any(t:t/id eq '{guid(1)}')"
    assert remote.queries() == [{"$filter": wanted}]


def test_an_answer_that_the_filter_was_not_applied_to_is_no_evidence():
    stranger = an_entry(targetResources=[{"id": guid(2), "modifiedProperties": []}])

    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, {"value": [stranger]}))).directory_audits(ADA, MONDAY)


def test_pages_are_followed_and_an_endless_log_is_said_to_be_cut():
    link = f"{GRAPH}/auditLogs/directoryAudits?$skiptoken=x"
    two = Remote(
        reply(200, {"value": [an_entry(1)], "@odata.nextLink": link}), reply(200, {"value": [an_entry(2), an_entry(1)]})
    )
    endless = Remote(reply(200, {"value": [an_entry(1)], "@odata.nextLink": link}))

    whole, cut = (a_graph(remote).directory_audits(ADA, MONDAY) for remote in (two, endless))

    assert (len(whole.events), whole.is_whole) == (2, True)
    assert (len(cut.events), cut.is_whole, len(endless.seen)) == (1, False, 5)


def test_a_link_to_elsewhere_is_not_followed():
    link = "https://graph.example/v1.0/auditLogs/directoryAudits?$skiptoken=x"
    remote = Remote(reply(200, {"value": [], "@odata.nextLink": link}))

    with pytest.raises(Malformed):
        a_graph(remote).directory_audits(ADA, MONDAY)

    assert len(remote.seen) == 1


def test_a_log_that_may_not_be_read_is_an_error_and_names_the_permission():
    answer = reply(403, refused("Authentication_RequestFromUnsupportedUserRole", "User is not in the allowed roles"))

    with pytest.raises(Forbidden) as caught:
        a_graph(Remote(answer)).directory_audits(ADA, MONDAY)

    assert caught.value.operation == "directory_audits"
    assert missing(frozenset({"User.Read.All"}), EVIDENCE) == {"directory_audits": "AuditLog.Read.All"}


@pytest.mark.parametrize("body", [{}, {"value": [{"id": "x"}]}, {"value": None}])
def test_a_reply_that_breaks_the_contract_is_an_error_never_no_events(body: object):
    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, body))).directory_audits(ADA, MONDAY)


def test_the_logs_own_allowance_is_kept():
    clock = ManualClock(MONDAY)
    graph = a_graph(Remote(reply(200, {"value": []})), clock=clock)

    for _ in range(12):
        graph.directory_audits(ADA, MONDAY)

    assert (clock.now() - MONDAY).total_seconds() >= 10 * (12 - 5) / 5


def test_the_request_is_one_that_microsoft_describes():
    assert contract().template("GET", "/auditLogs/directoryAudits") is not None


def test_the_sandbox_answers_as_the_client_asks():
    t = Tenant()
    t.own("SPE_E3")
    ada, bob = t.person("ada"), t.person("bob")
    t.assign(ada, {"SPE_E3": []})
    t.assign(bob, {"SPE_E3": []})
    inner = httpx.MockTransport(t.service)

    class Signed(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["Authorization"] = t.graph.headers["Authorization"]
            return inner.handle_request(request)

    trail = a_graph(Checked(Signed())).directory_audits(UserId(ada), SANDBOX_MONDAY - WEEK)

    assert sorted(e.activity for e in trail.events) == ["Change user license", "Update user"]
    assert {e.app_name for e in trail.events} == {"License Reconciler"}
