"""Lists, filters and pages, as the sandbox's Graph does them (graph.md section 3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.make_graph import MONDAY, Tenant, message
from tests.wire.openapi import contract

ADVANCED = {"ConsistencyLevel": "eventual"}
UNSUPPORTED = (400, "Request_UnsupportedQuery", "Unsupported Query.")


def a_tenant(**more: Any) -> Tenant:
    t = Tenant(**more)
    t.own("SPE_E3")
    ada = t.person("ada", department="Sales", employee_id="1", employee_type="Employee")
    t.person("bob", department="IT", usage_location="FR", employee_type="Contractor", manager=ada)
    t.person("o'neil", usage_location=None, enabled=False, user_type="Guest", synced=True)
    t.directory.grant(ada, "SPE_E3")
    return t


def names(t: Tenant, filter_: str, **headers: str) -> list[str]:
    params = {"$filter": filter_, "$select": "displayName"}
    if headers:
        params["$count"] = "true"
    body = t.graph.get("/users", params=params, headers=headers).raise_for_status().json()
    return [row["displayName"] for row in body["value"]]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("usageLocation eq 'FR'", ["Bob"]),
        ("usageLocation eq null", ["O'Neil"]),
        ("userPrincipalName eq 'ADA@contoso.example'", ["Ada"]),
        ("userPrincipalName eq 'o''neil@contoso.example'", ["O'Neil"]),
        ("startswith(userPrincipalName,'b')", ["Bob"]),
        ("department in ('IT','Sales')", ["Ada", "Bob"]),
        ("accountEnabled eq false", ["O'Neil"]),
        ("accountEnabled eq true and department eq 'IT'", ["Bob"]),
        ("(department eq 'IT' or department eq 'Sales') and usageLocation eq 'DE'", ["Ada"]),
        ("onPremisesSyncEnabled eq true", ["O'Neil"]),
        ("userType eq 'Guest'", ["O'Neil"]),
        ("employeeType eq 'Contractor'", ["Bob"]),
        ("createdDateTime ge 2026-01-01T00:00:00Z", []),
        ("createdDateTime le 2026-01-01", ["Ada", "Bob", "O'Neil"]),
        ("assignedLicenses/any(s:s/skuId eq 05e9a617-0261-4cee-bb44-138d3ef5d965)", ["Ada"]),
    ],
)
def test_a_simple_filter_finds(filter_: str, found: list[str]):
    assert names(a_tenant(), filter_) == found


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("usageLocation ne 'FR'", ["Ada", "O'Neil"]),
        ("not(department eq 'IT')", ["Ada", "O'Neil"]),
        ("endswith(mail,'b@contoso.example')", ["Bob"]),
        ("assignedLicenses/$count eq 0", ["Bob", "O'Neil"]),
        ("assignedLicenses/$count ne 0", ["Ada"]),
    ],
)
def test_an_advanced_filter_needs_both_marks(filter_: str, found: list[str]):
    t = a_tenant()
    query = {"$filter": filter_}

    assert message(t.graph.get("/users", params=query)) == UNSUPPORTED
    assert message(t.graph.get("/users", params=query, headers=ADVANCED)) == UNSUPPORTED
    assert message(t.graph.get("/users", params={**query, "$count": "true"})) == UNSUPPORTED
    assert names(t, filter_, **ADVANCED) == found


def test_a_filter_with_an_order_is_an_advanced_query():
    t = a_tenant()
    query = {"$filter": "userType eq 'Member'", "$orderby": "displayName desc", "$select": "displayName"}

    refused = t.graph.get("/users", params=query)
    answered = t.graph.get("/users", params={**query, "$count": "true"}, headers=ADVANCED).json()

    assert message(refused) == UNSUPPORTED
    assert [u["displayName"] for u in answered["value"]] == ["Bob", "Ada"]


def test_properties_that_are_not_indexed_cannot_be_filtered():
    t = a_tenant()

    text = message(t.graph.get("/users", params={"$filter": "licenseAssignmentStates/any(s:s/state eq 'Error')"}))

    assert text == (400, "Request_UnsupportedQuery", "The request uses a filter property that is not indexed.")


def test_an_operator_that_a_property_does_not_take_is_refused():
    t = a_tenant()

    status, code, text = message(t.graph.get("/users", params={"$filter": "startswith(department,'S')"}))

    assert (status, code) == (400, "Request_UnsupportedQuery")
    assert text == (
        "Unsupported or invalid query filter clause specified for property 'department' of resource 'User'."
    )


def test_fifteen_alternatives_are_enough():
    t = a_tenant()

    def either(n: int) -> tuple[int, str, str] | int:
        text = " or ".join(f"displayName eq '{i}'" for i in range(n))
        response = t.graph.get("/users", params={"$filter": text})
        return response.status_code if response.status_code == 200 else message(response)

    assert either(15) == 200
    assert either(18) == (
        400,
        "Request_UnsupportedQuery",
        "Too many child clauses specified in search filter expression containing 'OR' operators: 18. Max allowed: 15.",
    )


@pytest.mark.parametrize("text", ["displayName", "displayName eq", "eq 'x'", "displayName eq 'x", "a b c d", "()"])
def test_nonsense_is_no_filter(text: str):
    assert a_tenant().graph.get("/users", params={"$filter": text}).status_code == 400


# --- counting


def test_a_count_without_the_header_is_silently_left_out():
    t = a_tenant()

    plain = t.graph.get("/users?$count=true").json()
    advanced = t.graph.get("/users?$count=true", headers=ADVANCED).json()

    assert "@odata.count" not in plain
    assert advanced["@odata.count"] == 3


def test_the_count_segment_needs_the_header():
    t = a_tenant()

    assert message(t.graph.get("/users/$count")) == (400, "Request_BadRequest", "$count is not currently supported.")
    assert t.graph.get("/users/$count", headers=ADVANCED).text == "3"


# --- pages


def pages(t: Tenant, first: str, **headers: str) -> list[dict[str, Any]]:
    found, link = [], first
    while link:
        body = t.graph.get(link, headers=headers).raise_for_status().json()
        found.append(body)
        link = body.get("@odata.nextLink", "")
    return found


def test_a_list_comes_a_hundred_at_a_time():
    t = Tenant()
    people = {t.person(f"p{n}") for n in range(230)}

    found = pages(t, "/users?$select=id")

    assert [len(p["value"]) for p in found] == [100, 100, 30]
    assert {u["id"] for p in found for u in p["value"]} == people


def test_a_page_holds_at_most_999():
    t = Tenant()
    for n in range(1000):
        t.person(f"p{n}")

    assert [len(p["value"]) for p in pages(t, "/users?$select=id&$top=999")] == [999, 1]
    assert t.graph.get("/users?$top=1000").status_code == 400


def test_the_count_is_on_the_first_page_only():
    t = a_tenant()

    found = pages(t, "/users?$count=true&$top=1", **ADVANCED)

    assert [p.get("@odata.count") for p in found] == [3, None, None]


def test_a_page_can_be_empty_and_go_on():
    t = a_tenant(empty_pages=1.0)

    found = pages(t, "/users?$select=displayName")

    assert found[0]["value"] == [] and "@odata.nextLink" in found[0]
    assert sum(len(p["value"]) for p in found) == 3


def test_the_second_page_of_a_licence_filter_fails_without_the_header():
    t = Tenant()
    t.own("SPE_E3")
    for name in ("ada", "bob"):
        t.directory.grant(t.person(name), "SPE_E3")
    query = f"/users?$top=1&$filter=assignedLicenses/any(s:s/skuId eq {t.directory.sku('SPE_E3')})"

    first = t.graph.get(query).json()
    second = t.graph.get(first["@odata.nextLink"])

    assert message(second)[:2] == (400, "Directory_ExpiredPageToken")
    assert len(pages(t, f"{query}&$count=true", **ADVANCED)) == 2


def test_a_link_goes_to_the_host_that_the_caller_used():
    t = a_tenant()

    body = t.graph.get("/users?$top=1", headers={"Host": "127.0.0.1:8443"}).json()

    assert body["@odata.nextLink"].startswith("https://127.0.0.1:8443/v1.0/users?")


def test_skipping_is_not_supported():
    assert a_tenant().graph.get("/users?$skip=5").status_code == 400


# --- properties


def test_without_select_only_the_default_properties_come():
    t = a_tenant()

    row = t.graph.get("/users/ada@contoso.example").json()

    assert {n for n in row if "@" not in n} == {
        "id", "displayName", "userPrincipalName", "mail", "jobTitle", "givenName", "surname", "officeLocation",
        "mobilePhone", "businessPhones", "preferredLanguage",
    }  # fmt: skip


def test_a_name_that_users_do_not_have_is_refused_unless_switched():
    t = a_tenant()

    refused = t.graph.get("/users?$select=id,licences")
    t.switches.unknown_select = "ignored"
    ignored = t.graph.get("/users?$select=id,licences").json()["value"][0]

    assert message(refused)[2].endswith("Could not find a property named 'licences' on type 'microsoft.graph.user'.")
    assert set(ignored) == {"id"}


def test_a_property_kept_outside_the_directory_cannot_be_listed():
    t = a_tenant()

    assert message(t.graph.get("/users?$select=id,skills"))[:2] == (501, "NotImplemented")
    assert t.graph.get("/users/ada@contoso.example?$select=skills").status_code == 200


NAVIGATION = {"licenseDetails", "manager", "memberOf", "transitiveMemberOf"}
OF_GROUPS = {"memberOf", "members", "membersWithLicenseErrors", "transitiveMembers"}


def test_every_described_property_of_a_user_can_be_selected():
    t = a_tenant()
    described = contract().properties("microsoft.graph.user") - NAVIGATION

    body = t.graph.get("/users/ada@contoso.example", params={"$select": ",".join(sorted(described))}).json()

    assert {n for n in body if "@" not in n} == described


def test_every_described_property_of_a_group_can_be_selected():
    t = a_tenant()
    group = t.directory.add_group("Some", licenses={"SPE_E3": ()})
    described = contract().properties("microsoft.graph.group") - OF_GROUPS

    body = t.graph.get(f"/groups/{group}", params={"$select": ",".join(sorted(described))}).json()

    assert {n for n in body if "@" not in n} == described


def test_never_synced_is_null_and_not_false():
    t = a_tenant()

    assert t.read("ada@contoso.example", "onPremisesSyncEnabled") is None
    assert t.read("o'neil@contoso.example", "onPremisesSyncEnabled") is True


def test_a_upn_is_decoded_and_compared_without_regard_to_case():
    t = Tenant()
    guest = t.directory.add_user("eve_fabrikam.com#EXT#@contoso.example", display_name="Eve", user_type="Guest")

    assert t.graph.get("/users/EVE_fabrikam.com%23EXT%23@contoso.example").json()["id"] == guest


def test_the_manager_comes_by_itself_or_expanded_but_not_in_an_advanced_query():
    t = a_tenant()
    query = {"$filter": "displayName eq 'Bob'", "$expand": "manager($select=id,displayName)"}

    alone = t.graph.get("/users/bob@contoso.example/manager").json()
    (expanded,) = t.graph.get("/users", params=query).json()["value"]
    advanced = t.graph.get("/users", params={**query, "$count": "true"}, headers=ADVANCED)

    assert alone["displayName"] == expanded["manager"]["displayName"] == "Ada"
    assert advanced.status_code == 400
    assert t.graph.get("/users/ada@contoso.example/manager").status_code == 404


def test_a_deleted_user_is_neither_listed_nor_found():
    t = a_tenant()

    t.directory.changes.delete_user(t.directory.user("bob@contoso.example").user_id)

    assert names(t, "accountEnabled eq true") == ["Ada"]
    assert t.graph.get("/users/bob@contoso.example").status_code == 404


def test_a_upn_goes_to_whoever_has_it_now():
    t = a_tenant()
    old = t.directory.user("bob@contoso.example")
    t.directory.store.set_upn(old, "bob.old@contoso.example")
    new = t.person("bob", created_at=MONDAY)

    assert t.graph.get("/users/bob@contoso.example").json()["id"] == new
    assert t.graph.get("/users/bob.old@contoso.example").json()["id"] == old.user_id


# --- the tenant and its log


def test_the_organization_is_a_collection_of_one():
    t = Tenant()
    t.directory.country = "DE"

    (row,) = t.graph.get("/organization").json()["value"]

    assert (row["id"], row["countryLetterCode"]) == (t.directory.tenant_id, "DE")


def test_objects_by_id_leave_out_what_is_not_there():
    t = Tenant(roles=["Directory.Read.All"])
    ada, group = t.person(), t.directory.add_group("Some")
    unknown = "00000000-0000-0000-0000-000000000001"

    def found(*types: str) -> set[str]:
        body = {"ids": [ada, group, unknown], **({"types": list(types)} if types else {})}
        return {o["id"] for o in t.graph.post("/directoryObjects/getByIds", json=body).json()["value"]}

    assert found() == {ada, group}
    assert found("user") == {ada}


def test_the_log_is_filtered_by_activity_time_and_actor():
    t = Tenant()
    t.own("SPE_E3")
    ada = t.person()
    t.assign(ada, {"SPE_E3": []})

    def found(text: str) -> int:
        t.world.clock.sleep(10)  # five requests in ten seconds
        return len(t.graph.get("/auditLogs/directoryAudits", params={"$filter": text}).json()["value"])

    assert found("activityDisplayName eq 'Change user license'") == 1
    assert found("startswith(activityDisplayName,'Change')") == 1
    assert found("activityDateTime ge 2026-11-02T09:00:01Z") == 0
    assert found("activityDateTime le 2026-11-02T09:00:00Z and loggedByService eq 'Core Directory'") == 2
    assert found("initiatedBy/app/appId eq '00000000-0000-0000-0000-000000000001'") == 0
    assert found(f"targetResources/any(t:t/id eq '{ada}')") == 2
