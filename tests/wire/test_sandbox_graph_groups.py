"""Group-based licensing, as the sandbox's Graph does it (graph.md sections 7 and 8)."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.sandbox import hosts
from tests.make_graph import GROUP_DELAY, MINUTE, Tenant, message

ON_PREMISES = (
    "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently "
    "undergoing migration."
)


def a_tenant(*part_numbers: str, **more: Any) -> Tenant:
    t = Tenant(**more)
    for part_number in part_numbers or ("SPE_E3", "VISIOCLIENT", "MCOPSTN1", "MCOPSTN2", "MCOEV"):
        t.own(part_number)
    return t


def processing(t: Tenant, group: str) -> str:
    body = t.graph.get(f"/groups/{group}", params={"$select": "licenseProcessingState"}).json()
    return str(body["licenseProcessingState"]["state"])


# --- the walk


def test_a_new_member_gets_the_licences_once_the_group_is_processed():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ["ONEDRIVE_BASIC"]})

    t.join(group, ada).raise_for_status()
    walk = [(processing(t, group), t.licences(ada))]
    for _ in range(2):
        t.wait(GROUP_DELAY / 2)
        walk.append((processing(t, group), t.licences(ada)))

    assert walk == [
        ("QueuedForProcessing", {}),
        ("ProcessingInProgress", {}),
        ("ProcessingComplete", {"VISIOCLIENT": {"ONEDRIVE_BASIC"}}),
    ]
    (entry,) = t.read(ada, "licenseAssignmentStates")
    assert (entry["assignedByGroup"], entry["state"]) == (group, "Active")


def test_someone_who_leaves_keeps_the_licence_until_the_group_is_processed():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    t.directory.add_member(group, ada)

    t.leave(group, ada).raise_for_status()
    still = t.licences(ada)
    too_early = message(t.assign(ada, remove=["VISIOCLIENT"]))[2]
    t.wait(GROUP_DELAY)

    assert still.keys() == {"VISIOCLIENT"}
    assert "inherited from a group membership" in too_early
    assert t.licences(ada) == {}
    assert t.consumed("VISIOCLIENT") == 0


def test_leaving_before_being_processed_gives_nothing():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})

    t.join(group, ada)
    t.wait(MINUTE)
    t.leave(group, ada)
    t.wait(2 * GROUP_DELAY)

    assert t.states(ada) == []


def test_only_direct_members_get_licences():
    t = a_tenant()
    ada = t.person()
    outer = t.directory.add_group("Outer", licenses={"VISIOCLIENT": ()})
    inner = t.directory.add_group("Inner")
    t.directory.add_member(inner, ada)

    t.join(outer, inner).raise_for_status()
    t.wait(GROUP_DELAY)

    transitive = t.graph.get(f"/groups/{outer}/transitiveMembers").json()["value"]
    assert {m["id"] for m in transitive} == {inner, ada}
    assert t.states(ada) == []


def test_a_group_uses_the_tenants_country_where_a_direct_assignment_fails():
    t = a_tenant()
    ada = t.person(usage_location=None)
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})

    t.join(group, ada)
    t.wait(GROUP_DELAY)
    direct = t.assign(ada, {"SPE_E3": []})

    assert t.states(ada) == [("VISIOCLIENT", "Active", None)]
    assert t.read(ada, "usageLocation") is None
    assert direct.status_code == 400


def test_the_tenants_country_can_be_written_into_the_user():
    t = a_tenant(group_sets_usage_location=True)
    ada, eve = t.person("ada", usage_location=None), t.person("eve", usage_location="FR")
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})

    t.join(group, ada), t.join(group, eve)
    t.wait(GROUP_DELAY)

    assert t.read(ada, "usageLocation") == t.directory.country
    assert t.read(eve, "usageLocation") == "FR"


# --- several paths


def test_two_paths_to_a_licence_add_up_and_take_one_seat():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ["TEAMS1", "SWAY"]})
    t.directory.add_member(group, ada)

    t.assign(ada, {"SPE_E3": ["SWAY", "Deskless"]})

    assert t.licences(ada) == {"SPE_E3": {"SWAY"}}
    assert t.consumed("SPE_E3") == 1


def test_taking_one_path_leaves_the_other():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ["TEAMS1"]})
    t.directory.add_member(group, ada)
    t.assign(ada, {"SPE_E3": []})

    t.assign(ada, remove=["SPE_E3"]).raise_for_status()

    assert t.licences(ada) == {"SPE_E3": {"TEAMS1"}}
    assert t.consumed("SPE_E3") == 1


# --- what goes wrong


def test_one_missing_seat_blocks_every_licence_of_the_group():
    t = a_tenant("SPE_E3")
    t.own("VISIOCLIENT", seats=0)
    ada = t.person()
    group = t.directory.add_group("Bundle", licenses={"SPE_E3": (), "VISIOCLIENT": ()})

    t.join(group, ada)
    t.wait(GROUP_DELAY)

    assert t.states(ada) == [("SPE_E3", "Error", "Other"), ("VISIOCLIENT", "Error", "CountViolation")]
    assert (t.licences(ada), t.consumed("SPE_E3")) == ({}, 0)
    in_error = t.graph.get(f"/groups/{group}/membersWithLicenseErrors").json()["value"]
    assert [m["id"] for m in in_error] == [ada]


def test_reprocessing_tells_why_and_gives_once_it_can():
    t = a_tenant("SPE_E3")
    visio = t.own("VISIOCLIENT", seats=0)
    ada = t.person()
    t.directory.add_member(t.directory.add_group("Bundle", licenses={"SPE_E3": (), "VISIOCLIENT": ()}), ada)
    path = f"/users/{ada}/reprocessLicenseAssignment"

    before = t.graph.post(path)
    t.directory.store.skus[visio].enabled = 1
    after = t.graph.post(path)

    text = f"Subscription with SKU {visio} does not have any available licenses."
    assert message(before) == (400, "Request_BadRequest", text)
    assert after.status_code == 200
    assert t.licences(ada).keys() == {"SPE_E3", "VISIOCLIENT"}


def test_reprocessing_does_not_jump_the_queue():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    t.join(group, ada)

    t.graph.post(f"/users/{ada}/reprocessLicenseAssignment").raise_for_status()

    assert t.licences(ada) == {}


def test_a_plan_held_elsewhere_can_exclude_the_groups():
    t = a_tenant()
    ada = t.person()
    t.assign(ada, {"MCOPSTN1": []})
    group = t.directory.add_group("International calling", licenses={"MCOPSTN2": ()})

    t.join(group, ada)
    t.wait(GROUP_DELAY)
    blocked = t.states(ada)
    t.assign(ada, remove=["MCOPSTN1"]).raise_for_status()
    t.graph.post(f"/users/{ada}/reprocessLicenseAssignment").raise_for_status()

    assert ("MCOPSTN2", "Error", "MutuallyExclusiveViolation") in blocked
    assert t.states(ada) == [("MCOPSTN2", "Active", None)]


def test_an_add_on_without_its_base_on_the_group_is_in_error():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Phone", licenses={"MCOEV": ()})

    t.join(group, ada)
    t.wait(GROUP_DELAY)

    assert t.states(ada) == [("MCOEV", "Error", "DependencyViolation")]


def test_a_country_can_be_closed_to_a_group_licence():
    t = a_tenant()
    t.directory.prohibit("MCOPSTN1", "DE")
    ada = t.person(usage_location="DE")
    group = t.directory.add_group("Calling", licenses={"MCOPSTN1": ()})

    t.directory.add_member(group, ada)

    assert t.states(ada) == [("MCOPSTN1", "Error", "ProhibitedInUsageLocationViolation")]


def test_a_leaver_keeps_a_base_that_an_add_on_still_needs():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ()})
    t.directory.add_member(group, ada)
    t.assign(ada, {"MCOEV": []}).raise_for_status()
    reprocess = f"/users/{ada}/reprocessLicenseAssignment"

    t.leave(group, ada)
    t.wait(GROUP_DELAY)
    stuck = t.states(ada)
    why = message(t.graph.post(reprocess))[2]
    t.assign(ada, remove=["MCOEV"]).raise_for_status()
    t.graph.post(reprocess).raise_for_status()

    assert ("SPE_E3", "ActiveWithError", "DependencyViolation") in stuck
    assert t.directory.plan("MCOEV") in why and "depends on the service plan(s)" in why
    assert t.states(ada) == []


def test_a_base_that_is_still_needed_can_turn_direct():
    t = a_tenant(group_removal_turns_direct=True)
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ()})
    t.directory.add_member(group, ada)
    t.assign(ada, {"MCOEV": []})

    t.graph.post(
        f"/groups/{group}/assignLicense",
        json={"addLicenses": [], "removeLicenses": [t.directory.sku("SPE_E3")]},
    ).raise_for_status()
    t.wait(GROUP_DELAY)

    assert {(a.sku_id, a.group_id) for a in t.assignments(ada)} == {
        (t.directory.sku("SPE_E3"), None),
        (t.directory.sku("MCOEV"), None),
    }


def test_what_a_member_has_stays_in_force_when_the_group_adds_what_it_cannot_give():
    t = a_tenant("SPE_E3")
    t.own("VISIOCLIENT", seats=0)
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ()})
    t.directory.add_member(group, ada)
    body = {"addLicenses": [{"skuId": t.directory.sku("VISIOCLIENT"), "disabledPlans": []}], "removeLicenses": []}

    answer = t.graph.post(f"/groups/{group}/assignLicense", json=body)
    t.wait(GROUP_DELAY)

    assert answer.status_code == 202
    assert t.states(ada) == [("SPE_E3", "ActiveWithError", "Other"), ("VISIOCLIENT", "Error", "CountViolation")]
    assert t.licences(ada).keys() == {"SPE_E3"}


def test_changing_the_plans_of_a_group_reaches_its_members():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("E3", licenses={"SPE_E3": ["TEAMS1"]})
    t.directory.add_member(group, ada)
    body = {"addLicenses": [{"skuId": t.directory.sku("SPE_E3"), "disabledPlans": []}], "removeLicenses": []}

    t.graph.post(f"/groups/{group}/assignLicense", json=body).raise_for_status()
    before = t.licences(ada)
    t.wait(GROUP_DELAY)

    assert before == {"SPE_E3": {"TEAMS1"}}
    assert t.licences(ada) == {"SPE_E3": set()}


def test_a_converged_group_is_processed_without_a_trace():
    t = a_tenant()
    ada = t.person()
    t.directory.add_member(t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()}), ada)
    before = t.directory.user(ada).changed.copy()

    t.graph.post(f"/users/{ada}/reprocessLicenseAssignment").raise_for_status()

    assert t.directory.user(ada).changed == before


# --- membership writes


def test_adding_a_member_again_is_refused():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Some")
    t.join(group, ada)

    text = "One or more added object references already exist for the following modified properties: 'members'."
    assert message(t.join(group, ada)) == (400, "Request_BadRequest", text)


def test_removing_someone_who_is_no_member_is_not_found():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Some")

    assert message(t.leave(group, ada))[:2] == (404, "Request_ResourceNotFound")


def test_an_unknown_object_cannot_join():
    t = a_tenant()
    group = t.directory.add_group("Some")

    assert t.join(group, "00000000-0000-0000-0000-000000000001").status_code == 404


def test_twenty_members_join_at_once_and_twenty_one_do_not():
    t = a_tenant()
    group = t.directory.add_group("Some")
    links = [f"{hosts.GRAPH_URL}/v1.0/directoryObjects/{t.person(f'p{n}')}" for n in range(21)]

    too_many = t.graph.patch(f"/groups/{group}", json={"members@odata.bind": links})
    enough = t.graph.patch(f"/groups/{group}", json={"members@odata.bind": links[:20]})

    assert (too_many.status_code, enough.status_code) == (400, 204)
    assert len(t.directory.group(group).members) == 20


@pytest.mark.parametrize(
    ("made", "status", "text"),
    [
        ({"synced": True}, 400, ON_PREMISES),
        ({"kind": "mail_enabled"}, 400, "Cannot Update a mail-enabled security groups and or distribution list."),
        ({"kind": "distribution"}, 400, "Cannot Update a mail-enabled security groups and or distribution list."),
        ({"role_assignable": True}, 403, "Insufficient privileges to complete the operation."),
    ],
)
def test_members_of_some_groups_are_not_for_graph_to_change(made: dict[str, Any], status: int, text: str):
    t = a_tenant()
    ada, bob = t.person("ada"), t.person("bob")
    group = t.directory.add_group("Special", **made)
    t.directory.add_member(group, bob)

    assert message(t.join(group, ada))[::2] == (status, text)
    assert message(t.leave(group, bob))[::2] == (status, text)
    assert list(t.directory.group(group).members) == [bob]


def test_members_of_a_dynamic_group_are_computed():
    t = a_tenant()
    group = t.directory.add_group("Everyone", kind="dynamic")

    assert t.join(group, t.person()).status_code in (400, 403)
    assert t.graph.get(f"/groups/{group}").json()["groupTypes"] == ["DynamicMembership"]


def test_a_microsoft_365_group_without_security_holds_no_licences():
    t = a_tenant()
    body = {"addLicenses": [{"skuId": t.directory.sku("SPE_E3"), "disabledPlans": []}], "removeLicenses": []}
    plain = t.directory.add_group("Team", kind="microsoft365_unsecured")
    secured = t.directory.add_group("Secured team", kind="microsoft365")

    assert t.graph.post(f"/groups/{plain}/assignLicense", json=body).status_code == 400
    assert t.graph.post(f"/groups/{secured}/assignLicense", json=body).status_code == 202


# --- reading


def test_members_are_listed_with_their_type_or_cast_to_one():
    t = a_tenant()
    ada = t.person()
    group = t.directory.add_group("Outer")
    inner = t.directory.add_group("Inner")
    t.directory.add_member(group, ada)
    t.directory.add_member(group, inner)

    mixed = t.graph.get(f"/groups/{group}/members").json()["value"]
    users = t.graph.get(f"/groups/{group}/members/microsoft.graph.user", params={"$select": "id"}).json()["value"]

    assert {(m["@odata.type"], m["id"]) for m in mixed} == {
        ("#microsoft.graph.user", ada),
        ("#microsoft.graph.group", inner),
    }
    assert users == [{"id": ada}]


def test_memberships_of_a_user_are_direct_or_transitive():
    t = a_tenant()
    ada = t.person()
    outer, inner = t.directory.add_group("Outer"), t.directory.add_group("Inner")
    t.directory.add_member(inner, ada)
    t.directory.add_member(outer, inner)

    direct = t.graph.get(f"/users/{ada}/memberOf").json()["value"]
    everything = t.graph.get(f"/users/{ada}/transitiveMemberOf/microsoft.graph.group").json()["value"]

    assert [g["id"] for g in direct] == [inner]
    assert {g["id"] for g in everything} == {inner, outer}


def test_the_filter_for_groups_in_error_works_in_its_undocumented_form_only():
    t = a_tenant("SPE_E3")
    t.own("VISIOCLIENT", seats=0)
    bad = t.directory.add_group("Bad", licenses={"VISIOCLIENT": ()})
    t.directory.add_group("Good", licenses={"SPE_E3": ()})
    t.directory.add_member(bad, t.person())
    query = {"$filter": "hasMembersWithLicenseErrors eq true", "$select": "id"}

    plain = t.graph.get("/groups", params=query)
    documented = t.graph.get("/groups", params={**query, "$count": "true"}, headers={"ConsistencyLevel": "eventual"})

    assert plain.json()["value"] == [{"id": bad}]
    assert message(documented)[2].startswith("Unsupported or invalid query filter clause specified for property")


def test_the_log_names_the_service_that_applies_group_licences():
    t = a_tenant()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    t.join(group, t.person())
    t.wait(GROUP_DELAY)

    entries = t.graph.get("/auditLogs/directoryAudits").json()["value"]

    by_whom = {e["activityDisplayName"]: e["initiatedBy"]["app"]["displayName"] for e in entries}
    assert by_whom["Add member to group"] == "License Reconciler"
    for activity in ("Change user license", "Finish applying group based license to users"):
        assert by_whom[activity] == "Microsoft Entra group-Based Licensing"
