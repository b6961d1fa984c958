"""The sandbox's Graph as a service: description, errors, permissions, limits, batches, faults."""

from __future__ import annotations

import uuid

import httpx
import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from tests.make_graph import GROUP_DELAY, MINUTE, MONDAY, Tenant, message
from tests.wire.openapi import contract


def a_full_tenant() -> tuple[Tenant, dict[str, str]]:
    """One of everything, and the ids that stand for the variables of path templates."""
    t = Tenant(roles=(*hosts.ENFORCE_ROLES, "Directory.Read.All"))
    e3, _, _ = t.own("SPE_E3"), t.own("VISIOCLIENT"), t.own("MCOPSTN1")
    t.own("WINDOWS_STORE")
    boss = t.person("boss")
    ada = t.person("ada", manager=boss, department="Sales", employee_id="7")
    t.directory.grant(ada, "SPE_E3", disabled=["TEAMS1"])
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    nested = t.directory.add_group("Nested")
    t.directory.add_member(group, ada)
    t.directory.add_member(group, nested)
    t.join(group, boss)
    detail = t.graph.get(f"/users/{ada}/licenseDetails").json()["value"][0]["id"]
    audit = t.graph.get("/auditLogs/directoryAudits").json()["value"][0]["id"]
    ids = {
        "user-id": ada,
        "group-id": group,
        "licenseDetails-id": detail,
        "subscribedSku-id": f"{hosts.TENANT_ID}_{e3}",
        "organization-id": hosts.TENANT_ID,
        "directoryAudit-id": audit,
        "directoryObject-id": ada,
    }
    return t, ids


BODIES = {
    ("PATCH", "/users/{user-id}"): {"usageLocation": "FR"},
    ("POST", "/users/{user-id}/assignLicense"): {"addLicenses": [], "removeLicenses": ["E3"]},
    ("POST", "/groups/{group-id}/assignLicense"): {"addLicenses": [], "removeLicenses": ["VISIO"]},
    ("POST", "/groups/{group-id}/members/$ref"): {"@odata.id": "https://graph/v1.0/directoryObjects/{new}"},
    ("PATCH", "/groups/{group-id}"): {"members@odata.bind": ["https://graph/v1.0/directoryObjects/{new}"]},
    ("POST", "/directoryObjects/getByIds"): {"ids": ["{user-id}"], "types": ["user"]},
}


def test_every_described_address_answers_as_described():
    asked = []
    for method, template in contract().operations():
        t, ids = a_full_tenant()
        ids["new"] = t.person("new")
        body = BODIES.get((method, template))
        path = template
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
            body = _filled(body, f"{{{name}}}", value)
        body = _filled(_filled(body, "E3", t.directory.sku("SPE_E3")), "VISIO", t.directory.sku("VISIOCLIENT"))

        response = t.graph.request(method, path, json=body)

        asked.append((method, template, response.status_code))
    assert [a for a in asked if not 200 <= a[2] < 300] == []
    assert len(asked) > 25


def _filled(value: object, name: str, by: str) -> object:
    if isinstance(value, str):
        return by if value == name else value.replace(name, by) if name.startswith("{") else value
    if isinstance(value, list):
        return [_filled(v, name, by) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, name, by) for k, v in value.items()}
    return value


def test_what_is_not_imitated_says_so():
    t = Tenant()

    status, code, text = message(t.graph.get("/applications"))

    assert (status, code) == (501, "notImplemented")
    assert "GET /v1.0/applications" in text


def test_an_error_carries_the_callers_correlation_id():
    t = Tenant()
    mine = str(uuid.uuid4())

    response = t.graph.get("/users/nobody@contoso.example", headers={"client-request-id": mine})

    inner = response.json()["error"]["innerError"]
    assert response.status_code == 404
    assert inner["client-request-id"] == mine == response.headers["client-request-id"]
    assert inner["request-id"] == response.headers["request-id"]
    assert inner["date"] == "2026-11-02T09:00:00"


# --- who may


def test_a_call_without_a_token_is_unauthenticated():
    t = Tenant()
    nobody = httpx.Client(transport=httpx.MockTransport(t.service), base_url=f"{hosts.GRAPH_URL}/v1.0")

    assert message(nobody.get("/users"))[:2] == (401, "InvalidAuthenticationToken")


def test_a_token_ends_by_the_clock_of_the_sandbox():
    t = Tenant()
    t.graph.headers["Authorization"] = f"Bearer {t.token(hosts.ENFORCE_ROLES, lifetime_s=3600)}"

    before = t.graph.get("/organization").status_code
    t.wait(61 * MINUTE)

    assert before == 200
    assert message(t.graph.get("/organization"))[:2] == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/users", "User.Read.All"),
        ("GET", "/users/delta", "User.Read.All"),
        ("GET", "/users/{ada}/licenseDetails", "LicenseAssignment.Read.All"),
        ("GET", "/subscribedSkus", "LicenseAssignment.Read.All"),
        ("POST", "/users/{ada}/assignLicense", "LicenseAssignment.ReadWrite.All"),
        ("POST", "/groups/{group}/assignLicense", "LicenseAssignment.ReadWrite.All"),
        ("PATCH", "/users/{ada}", "User.ReadWrite.All"),
        ("POST", "/users/{ada}/reprocessLicenseAssignment", "User.ReadWrite.All"),
        ("GET", "/groups", "Group.Read.All"),
        ("GET", "/groups/{group}/members", "GroupMember.Read.All"),
        ("GET", "/groups/{group}/memberOf", "Group.Read.All"),
        ("GET", "/groups/{group}/appRoleAssignments", "Directory.Read.All"),
        ("POST", "/groups/{group}/members/$ref", "GroupMember.ReadWrite.All"),
        ("DELETE", "/groups/{group}/members/{ada}/$ref", "GroupMember.ReadWrite.All"),
        ("GET", "/organization", "Organization.Read.All"),
        ("POST", "/directoryObjects/getByIds", "Directory.Read.All"),
        ("GET", "/auditLogs/directoryAudits", "AuditLog.Read.All"),
        ("GET", "/admin/teams/userConfigurations/{ada}", "TeamsUserConfiguration.Read.All"),
    ],
)
def test_each_call_needs_its_permission_and_no_more(method: str, path: str, needs: str):
    t = Tenant()
    path = path.format(ada=t.person(), group=t.directory.add_group("Some"))

    without = t.caller(["Mail.Read"]).request(method, path, json={})
    with_it = t.caller([needs]).request(method, path, json={})

    denied = (403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    assert message(without) == denied
    assert with_it.status_code != 403


def test_the_licence_permission_does_not_cover_reprocessing():
    t = Tenant()
    ada = t.person()

    response = t.caller(["LicenseAssignment.ReadWrite.All"]).post(f"/users/{ada}/reprocessLicenseAssignment")

    assert response.status_code == 403


def test_members_are_bare_ids_for_a_caller_that_may_not_read_users():
    t = Tenant()
    group = t.directory.add_group("Some")
    ada = t.person()
    t.directory.add_member(group, ada)

    (member,) = t.caller(["GroupMember.Read.All"]).get(f"/groups/{group}/members").json()["value"]

    assert member["id"] == ada
    assert member["displayName"] is None


# --- limits


def test_a_small_tenant_has_3500_units_in_ten_seconds():
    t = Tenant()
    group = t.directory.add_group("Some")
    served = 0
    while (response := t.graph.get(f"/groups/{group}/transitiveMembers")).status_code == 200:
        served += 1
    wait_s = float(response.headers["Retry-After"])
    t.world.clock.sleep(wait_s)

    assert served == 3500 // 5
    assert message(response)[1] == "TooManyRequests"
    assert response.headers["x-ms-throttle-information"] == "ResourceUnitLimitExceeded"
    assert response.headers["x-ms-throttle-scope"].endswith(f"/{hosts.CLIENT_ID}/{hosts.TENANT_ID}")
    assert t.graph.get(f"/groups/{group}/transitiveMembers").status_code == 200


def test_the_share_of_the_limit_shows_only_near_its_end():
    t = Tenant()

    first = t.graph.get("/subscribedSkus").headers
    while "x-ms-throttle-limit-percentage" not in (later := t.graph.get("/subscribedSkus").headers):
        pass

    assert first["x-ms-resource-unit"] == "3"
    assert float(later["x-ms-throttle-limit-percentage"]) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("path", "units"),
    [
        ("/users", 2),
        ("/users?$select=id", 1),
        ("/users?$select=id&$top=5", 1),
        ("/users?$expand=manager", 3),
        ("/subscribedSkus", 3),
        ("/organization", 1),
    ],
)
def test_a_request_costs_what_is_published(path: str, units: int):
    t = Tenant()

    assert t.graph.get(path).headers["x-ms-resource-unit"] == str(units)


def test_audit_logs_take_five_requests_in_ten_seconds():
    t = Tenant()

    answers = [t.graph.get("/auditLogs/directoryAudits").status_code for _ in range(6)]

    assert answers == [200, 200, 200, 200, 200, 429]


# --- batches


def batch(t: Tenant, *items: dict[str, object]) -> dict[str, httpx.Response]:
    response = t.graph.post("/$batch", json={"requests": list(items)})
    assert response.status_code == 200, response.text
    return {
        r["id"]: httpx.Response(r["status"], headers=r.get("headers"), json=r.get("body"))
        for r in response.json()["responses"]
    }


def test_a_batch_answers_each_item_for_itself():
    t = Tenant()
    ada = t.person()

    answers = batch(
        t,
        {"id": "1", "method": "GET", "url": f"/users/{ada}?$select=id"},
        {"id": "2", "method": "GET", "url": "/users/nobody"},
        {"id": "3", "method": "GET", "url": "/applications"},
    )

    assert {i: r.status_code for i, r in answers.items()} == {"1": 200, "2": 404, "3": 501}
    assert answers["1"].json()["id"] == ada


def test_items_after_a_failed_one_fail_with_it():
    t = Tenant()
    ada = t.person()

    answers = batch(
        t,
        {"id": "a", "method": "GET", "url": "/users/nobody"},
        {"id": "b", "method": "GET", "url": f"/users/{ada}", "dependsOn": ["A"]},
    )

    assert answers["a"].status_code == 404
    assert answers["b"].status_code == 424


def licence_item(t: Tenant, item_id: str, user_id: str, **more: object) -> dict[str, object]:
    body = {"addLicenses": [{"skuId": t.directory.sku("SPE_E3"), "disabledPlans": []}], "removeLicenses": []}
    headers = {"Content-Type": "application/json"}
    url = f"/users/{user_id}/assignLicense"
    return {"id": item_id, "method": "POST", "url": url, "headers": headers, "body": body, **more}


def test_parallel_licence_writes_of_a_batch_meet_the_tenants_lock():
    t = Tenant()
    t.own("SPE_E3")
    ada, bob = t.person("ada"), t.person("bob")

    answers = batch(t, licence_item(t, "1", ada), licence_item(t, "2", bob))

    assert answers["1"].status_code == 200
    assert message(answers["2"])[:2] == (409, "Directory_ConcurrencyViolation")
    assert t.consumed("SPE_E3") == 1


def test_a_serial_batch_of_licence_writes_gets_through():
    t = Tenant()
    t.own("SPE_E3")
    ada, bob = t.person("ada"), t.person("bob")

    batch(t, licence_item(t, "1", ada), licence_item(t, "2", bob, dependsOn=["1"]))

    assert t.consumed("SPE_E3") == 2


def test_an_item_of_a_batch_is_throttled_alone():
    t = Tenant()
    while t.graph.get("/subscribedSkus").status_code == 200:
        pass

    answers = batch(t, {"id": "1", "method": "GET", "url": "/subscribedSkus"})

    assert answers["1"].status_code == 429
    assert float(answers["1"].headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [{"id": str(i), "method": "GET", "url": "/organization"} for i in range(21)],
        [{"id": "a", "method": "GET", "url": "/organization"}, {"id": "A", "method": "GET", "url": "/organization"}],
        [{"id": "1", "method": "GET", "url": "/organization", "dependsOn": ["2"]}],
        [{"id": "1", "method": "PATCH", "url": "/users/x", "body": {"usageLocation": "DE"}}],
        [{"id": "1", "method": "POST", "url": "/$batch", "headers": {"Content-Type": "x"}, "body": {"requests": []}}],
    ],
    ids=["empty", "21 items", "same id", "unknown dependency", "body without type", "nested"],
)
def test_a_malformed_batch_is_refused_as_a_whole(requests: list[object]):
    t = Tenant()

    assert t.graph.post("/$batch", json={"requests": requests}).status_code == 400


# --- what goes wrong


def test_a_lost_reply_leaves_the_write_done():
    t = Tenant()
    ada = t.person(usage_location=None)
    t.world.faults.add(FaultRule("reply_lost", route="PATCH /users", times=1))

    with pytest.raises(httpx.RemoteProtocolError):
        t.graph.patch(f"/users/{ada}", json={"usageLocation": "DE"})

    assert t.read(ada, "usageLocation") == "DE"


def test_a_refused_write_under_a_lost_reply_is_not_done():
    t = Tenant()
    ada = t.person(usage_location=None)
    t.world.faults.add(FaultRule("reply_timeout", route="POST /users"))
    t.own("SPE_E3")

    response = t.assign(ada, {"SPE_E3": []})  # no usage location: refused, and said

    assert response.status_code == 400
    assert t.consumed("SPE_E3") == 0


@pytest.mark.parametrize(("fault", "status"), [("done_then_500", 500), ("done_then_504", 504)])
def test_an_error_may_hide_a_write_that_was_done(fault: str, status: int):
    t = Tenant()
    ada = t.person(usage_location=None)
    t.world.faults.add(FaultRule(fault, route="PATCH /users"))

    response = t.graph.patch(f"/users/{ada}", json={"usageLocation": "DE"})

    assert response.status_code == status
    assert t.directory.user(ada).usage_location == "DE"


def test_throttling_comes_in_bursts_and_changes_nothing():
    t = Tenant()
    ada = t.person(usage_location=None)
    t.world.faults.add(FaultRule("throttled", route="PATCH", times=2, burst=2))

    answers = [t.graph.patch(f"/users/{ada}", json={"usageLocation": "DE"}).status_code for _ in range(3)]

    assert answers == [429, 429, 204]


def test_faults_with_the_same_seed_strike_the_same_requests():
    def struck(seed: int) -> list[int]:
        t = Tenant(seed=seed)
        t.world.faults.add(FaultRule("unavailable", share=0.3))
        return [t.graph.get("/organization").status_code for _ in range(30)]

    assert struck(7) == struck(7)
    assert struck(7) != struck(8)
    assert {200, 503} == set(struck(7))


def test_a_stale_read_shows_what_was_before_the_last_writes():
    t = Tenant()
    ada = t.person(usage_location="DE")
    t.world.faults.add(FaultRule("stale_read", route="GET /users/{id}", times=1))

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    assert t.read(ada, "usageLocation") == "DE"
    assert t.read(ada, "usageLocation") == "FR"


def test_a_replica_lags_behind_a_write_and_catches_up():
    t = Tenant(replica_lag_s=10.0)
    ada = t.person(usage_location=None)
    t.wait(MINUTE)

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    at_once = t.read(ada, "usageLocation")
    t.own("SPE_E3")
    too_early = t.assign(ada, {"SPE_E3": []})
    t.world.clock.sleep(10)

    assert at_once is None
    assert message(too_early)[2] == "License assignment cannot be done for user with invalid usage location."
    assert t.read(ada, "usageLocation") == "FR"
    assert t.assign(ada, {"SPE_E3": []}).status_code == 200


def test_a_new_user_is_unknown_to_a_replica_for_a_while():
    t = Tenant(replica_lag_s=10.0)
    ada = t.person()

    early = t.graph.get(f"/users/{ada}").status_code
    t.world.clock.sleep(10)

    assert early == 404
    assert t.graph.get(f"/users/{ada}").status_code == 200


def test_the_index_of_advanced_queries_lags_further():
    t = Tenant(advanced_lag_s=60.0)
    ada = t.person(usage_location="DE")
    t.wait(2 * MINUTE)
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    query = {"$filter": "usageLocation eq 'FR'", "$count": "true", "$select": "id"}
    advanced = {"ConsistencyLevel": "eventual"}

    direct = t.graph.get("/users", params={"$filter": "usageLocation eq 'FR'"}).json()["value"]
    indexed = t.graph.get("/users", params=query, headers=advanced).json()["value"]
    t.wait(MINUTE)

    assert [u["id"] for u in direct] == [ada]
    assert indexed == []
    assert t.graph.get("/users", params=query, headers=advanced).json()["value"] == [{"id": ada}]


# --- the world


def test_a_world_that_was_kept_goes_on_as_if_it_had_not_stopped():
    t = Tenant()
    t.own("VISIOCLIENT")
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    t.join(group, ada)
    t.wait(MINUTE)

    again = type(t.world).from_json(t.world.to_json())
    again.clock.advance(GROUP_DELAY)
    t.wait(GROUP_DELAY)

    assert again.to_json() == t.world.to_json()
    assert [a.state for a in again.directory.assign_states(ada)] == ["Active"]
    assert again.clock.now() == MONDAY + 11 * MINUTE


def test_an_account_appears_when_its_sync_has_run():
    t = Tenant()
    newcomer = t.directory.add_user("new@contoso.example", display_name="New", appears_at=MONDAY + 5 * MINUTE)

    before = t.graph.get("/users/new@contoso.example").status_code
    t.wait(5 * MINUTE)

    assert before == 404
    assert t.graph.get("/users/new@contoso.example").json()["id"] == newcomer


def test_a_sync_from_on_premises_puts_the_old_location_back():
    t = Tenant()
    tara = t.person(usage_location=None, synced=True)
    t.directory.overwrite_usage_location(tara, None)

    t.graph.patch(f"/users/{tara}", json={"usageLocation": "PL"})
    set_at_first = t.read(tara, "usageLocation")
    t.wait(30 * MINUTE)

    assert set_at_first == "PL"
    assert t.read(tara, "usageLocation") is None


def test_voice_works_once_teams_phone_is_provisioned_and_there_is_a_number():
    t = Tenant()
    t.own("SPE_E3"), t.own("MCOEV")
    ada = t.person()
    t.directory.grant(ada, "SPE_E3")
    t.directory.user(ada).telephone_number = "+49 30 5550100"
    path = f"/admin/teams/userConfigurations/{ada}"

    before = t.graph.get(path).json()
    t.assign(ada, {"MCOEV": []})
    t.wait(MINUTE)
    after = t.graph.get(path).json()

    assert (before["isEnterpriseVoiceEnabled"], before["telephoneNumbers"]) == (False, [])
    assert after["isEnterpriseVoiceEnabled"] is True
    assert after["telephoneNumbers"] == [{"telephoneNumber": "+49 30 5550100", "assignmentCategory": "primary"}]
