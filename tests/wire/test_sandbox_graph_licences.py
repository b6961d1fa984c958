"""assignLicense and what follows from it, as the sandbox's Graph does it (graph.md sections 5 to 7)."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.make_graph import MINUTE, Tenant, message

NO_LOCATION = "License assignment cannot be done for user with invalid usage location."
INHERITED = "User license is inherited from a group membership and it cannot be removed directly from the user."
LOCKED = "Error due to concurrent requests being made to the tenant. Please wait briefly and retry."


def a_tenant(**more: Any) -> tuple[Tenant, str]:
    t = Tenant(**more)
    for part_number in ("SPE_E3", "MCOEV", "MCOPSTN1", "MCOPSTN2", "VISIOCLIENT"):
        t.own(part_number)
    return t, t.person()


# --- what is accepted


def test_an_assignment_gives_the_licence_and_takes_a_seat():
    t, ada = a_tenant()

    response = t.assign(ada, {"SPE_E3": ["TEAMS1"]})

    assert response.status_code == 200
    assert t.licences(ada) == {"SPE_E3": {"TEAMS1"}}
    assert t.consumed("SPE_E3") == 1


def test_the_answer_holds_default_properties_only_unless_switched():
    t, ada = a_tenant()

    silent = t.assign(ada, {"SPE_E3": []}).json()
    t.switches.assign_reply_has_licences = True
    telling = t.assign(ada, {"VISIOCLIENT": []}).json()

    assert silent["userPrincipalName"] == "ada@contoso.example"
    assert "assignedLicenses" not in silent
    assert len(telling["assignedLicenses"]) == 2


def test_a_second_assignment_replaces_the_disabled_plans_of_its_sku_and_leaves_others_alone():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": ["TEAMS1", "SWAY"], "VISIOCLIENT": ["ONEDRIVE_BASIC"]})

    t.assign(ada, {"SPE_E3": ["SWAY"]})

    assert t.licences(ada) == {"VISIOCLIENT": {"ONEDRIVE_BASIC"}, "SPE_E3": {"SWAY"}}


def test_an_empty_list_switches_every_plan_on():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": ["TEAMS1"]})

    t.assign(ada, {"SPE_E3": []})

    assert t.licences(ada) == {"SPE_E3": set()}


def test_repeating_an_assignment_at_zero_free_seats_changes_nothing():
    t = Tenant()
    t.own("SPE_E3", seats=1)
    ada = t.person()
    t.assign(ada, {"SPE_E3": ["SWAY"]})
    before = t.read(ada, "licenseAssignmentStates")
    t.wait(MINUTE)

    response = t.assign(ada, {"SPE_E3": ["SWAY"]})

    assert response.status_code == 200
    assert t.read(ada, "licenseAssignmentStates") == before


def test_licences_are_swapped_in_one_call():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": [], "MCOPSTN1": []})

    response = t.assign(ada, {"MCOPSTN2": []}, ["MCOPSTN1"])

    assert response.status_code == 200
    assert t.licences(ada).keys() == {"SPE_E3", "MCOPSTN2"}


def test_guids_are_taken_in_either_case_and_shown_as_the_subscription_has_them():
    t = Tenant()
    visio = t.own("VISIOCLIENT", upper_case=True)
    ada = t.person()

    body = {"addLicenses": [{"skuId": visio.lower(), "disabledPlans": []}], "removeLicenses": []}
    t.graph.post(f"/users/{ada}/assignLicense", json=body).raise_for_status()

    (shown,) = t.read(ada, "assignedLicenses")
    assert shown["skuId"] == visio.upper()


def test_a_healthy_entry_says_none_as_a_word_unless_switched():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": []})

    (word,) = t.read(ada, "licenseAssignmentStates")
    t.switches.none_error_is_null = True
    (null,) = t.read(ada, "licenseAssignmentStates")

    assert (word["state"], word["error"], word["assignedByGroup"]) == ("Active", "None", None)
    assert null["error"] is None


# --- what is refused, and in which words


def refusals() -> dict[str, tuple[dict[str, Any], str]]:
    e3, foreign = "05e9a617-0261-4cee-bb44-138d3ef5d965", "00000000-0000-0000-0000-00000000abcd"
    teams = "57ff2da0-773e-42df-b2af-ffb7a2317929"
    visio = "c5928f49-12ba-48f7-ada3-0d743a3601d5"
    return {
        "nothing to do": (
            {"addLicenses": [], "removeLicenses": []},
            "No license changes provided. At least one license to add or remove must be specified.",
        ),
        "unknown SKU": (
            {"addLicenses": [{"skuId": foreign, "disabledPlans": []}], "removeLicenses": []},
            f"License {foreign} does not correspond to a valid company License.",
        ),
        "no GUID": (
            {"addLicenses": [{"skuId": "SPE_E3", "disabledPlans": []}], "removeLicenses": []},
            "Cannot convert the literal 'SPE_E3' to the expected type 'Edm.Guid'.",
        ),
        "plan that is no GUID": (
            {"addLicenses": [{"skuId": e3, "disabledPlans": ["TEAMS1"]}], "removeLicenses": []},
            "Cannot convert the literal 'TEAMS1' to the expected type 'Edm.Guid'.",
        ),
        "plan of another SKU": (
            {"addLicenses": [{"skuId": visio, "disabledPlans": [teams]}], "removeLicenses": []},
            f"Service plan {teams} is not part of the license {visio}.",
        ),
        "same SKU twice": (
            {"addLicenses": [{"skuId": e3, "disabledPlans": []}, {"skuId": e3.upper()}], "removeLicenses": []},
            f"License {e3} is specified more than once in the request.",
        ),
        "added and removed": (
            {"addLicenses": [{"skuId": e3, "disabledPlans": []}], "removeLicenses": [e3]},
            f"License {e3} is specified more than once in the request.",
        ),
        "remove what is not held": (
            {"addLicenses": [], "removeLicenses": [e3]},
            "User does not have a corresponding license.",
        ),
    }


@pytest.mark.parametrize("case", refusals())
def test_a_refusal_uses_the_words_of_the_service(case: str):
    t, ada = a_tenant()
    body, text = refusals()[case]

    response = t.graph.post(f"/users/{ada}/assignLicense", json=body)

    assert message(response) == (400, "Request_BadRequest", text)
    assert t.licences(ada) == {}


@pytest.mark.parametrize("missing", ["addLicenses", "removeLicenses"])
def test_both_arrays_are_required(missing: str):
    t, ada = a_tenant()
    body = {"addLicenses": [{"skuId": t.directory.sku("SPE_E3"), "disabledPlans": []}], "removeLicenses": []}
    del body[missing]

    response = t.graph.post(f"/users/{ada}/assignLicense", json=body)

    assert response.status_code == 400
    assert missing in message(response)[2]
    assert t.licences(ada) == {}


def test_a_user_without_usage_location_gets_nothing_directly():
    t = Tenant()
    t.own("SPE_E3")
    ada = t.person(usage_location=None)

    assert message(t.assign(ada, {"SPE_E3": []})) == (400, "Request_BadRequest", NO_LOCATION)


def test_a_licence_can_be_removed_from_a_user_without_usage_location():
    t = Tenant()
    t.own("SPE_E3")
    ada = t.person(usage_location=None)
    t.directory.grant(ada, "SPE_E3")

    assert t.assign(ada, remove=["SPE_E3"]).status_code == 200
    assert t.consumed("SPE_E3") == 0


def test_without_a_free_seat_nobody_gets_one():
    t = Tenant()
    e3 = t.own("SPE_E3", seats=5, consumed_elsewhere=5)
    ada = t.person()

    text = f"Subscription with SKU {e3} does not have any available licenses."
    assert message(t.assign(ada, {"SPE_E3": []})) == (400, "Request_BadRequest", text)


def test_units_in_grace_are_not_given_to_new_people_unless_switched():
    t = Tenant()
    t.own("SPE_E3", seats=0, warning=5, capability="Warning")
    ada = t.person()

    refused = t.assign(ada, {"SPE_E3": []}).status_code
    t.switches.warning_units_assignable = True

    assert refused == 400
    assert t.assign(ada, {"SPE_E3": []}).status_code == 200


def test_a_product_for_the_company_cannot_be_assigned():
    t = Tenant()
    store = t.own("WINDOWS_STORE")
    ada = t.person()

    assert message(t.assign(ada, {"WINDOWS_STORE": []}))[2] == (
        f"License {store} does not correspond to a valid company License."
    )


def test_plans_that_exclude_each_other_are_named():
    t, ada = a_tenant()
    t.assign(ada, {"MCOPSTN1": []})

    response = t.assign(ada, {"MCOPSTN2": []})

    first, second = t.directory.plan("MCOPSTN1"), t.directory.plan("MCOPSTN2")
    assert message(response)[2] == (
        f"License assignment failed because service plans {first}, {second} are mutually exclusive."
    )
    assert t.licences(ada).keys() == {"MCOPSTN1"}


def test_an_add_on_needs_its_base_or_gets_it_in_the_same_call():
    t, ada = a_tenant()

    alone = t.assign(ada, {"MCOEV": []})
    together = t.assign(ada, {"MCOEV": [], "SPE_E3": []})

    plan = t.directory.plan("MCOEV")
    assert message(alone)[2].startswith(
        f"License assignment failed because service plan {plan} depends on the service plan(s) "
    )
    assert together.status_code == 200
    assert t.licences(ada).keys() == {"MCOEV", "SPE_E3"}


def test_a_base_cannot_be_taken_from_under_its_add_on():
    t, ada = a_tenant()
    t.assign(ada, {"MCOEV": [], "SPE_E3": []})

    alone = t.assign(ada, remove=["SPE_E3"])
    together = t.assign(ada, remove=["SPE_E3", "MCOEV"])

    assert "depends on the service plan(s)" in message(alone)[2]
    assert together.status_code == 200
    assert t.licences(ada) == {}


def test_switching_off_the_last_base_plan_is_refused_too():
    t, ada = a_tenant()
    t.assign(ada, {"MCOEV": [], "SPE_E3": []})

    one_left = t.assign(ada, {"SPE_E3": ["TEAMS1"]})
    none_left = t.assign(ada, {"SPE_E3": ["TEAMS1", "MCOSTANDARD"]})

    assert one_left.status_code == 200
    assert none_left.status_code == 400
    assert t.licences(ada)["SPE_E3"] == {"TEAMS1"}


def test_a_call_that_fails_in_part_changes_nothing():
    t = Tenant()
    t.own("SPE_E3"), t.own("VISIOCLIENT", seats=0)
    ada = t.person()

    response = t.assign(ada, {"SPE_E3": [], "VISIOCLIENT": []})

    assert response.status_code == 400
    assert (t.licences(ada), t.consumed("SPE_E3")) == ({}, 0)


def test_an_inherited_licence_cannot_be_removed_directly():
    t, ada = a_tenant()
    t.directory.add_member(t.directory.add_group("E3", licenses={"SPE_E3": ()}), ada)

    assert message(t.assign(ada, remove=["SPE_E3"])) == (400, "Request_BadRequest", INHERITED)


def test_a_missing_user_is_not_found():
    t, _ = a_tenant()

    status, code, text = message(t.assign("nobody@contoso.example", {"SPE_E3": []}))

    assert (status, code) == (404, "Request_ResourceNotFound")
    assert text.startswith("Resource 'nobody@contoso.example' does not exist")


def test_a_plan_that_is_not_allowed_in_a_country_is_refused_there():
    t, ada = a_tenant()
    t.directory.prohibit("MCOPSTN1", "DE")

    assert t.assign(ada, {"MCOPSTN1": []}).status_code == 400
    assert t.assign(t.person("fra", usage_location="FR"), {"MCOPSTN1": []}).status_code == 200


def test_an_assignment_can_fail_for_one_person_each_time():
    t, ada = a_tenant()
    t.directory.fail_assignments(ada, 500)

    answers = [t.assign(ada, {"SPE_E3": []}).status_code for _ in range(2)]

    assert answers == [500, 500]
    assert t.licences(ada) == {}


# --- the tenant's licence lock


def test_a_licence_write_that_arrives_during_another_is_told_to_wait():
    t, ada = a_tenant()
    bob = t.person("bob")
    first: list[httpx.Response] = []
    writer = threading.Thread(target=lambda: first.append(t.assign(ada, {"SPE_E3": []})))

    with t.world.lock:  # the first write is under way for as long as this is held
        writer.start()
        while not t.service.is_writing_licences:
            writer.join(0.001)
        second = t.assign(bob, {"SPE_E3": []})
    writer.join()

    assert message(second) == (409, "Directory_ConcurrencyViolation", LOCKED)
    assert first[0].status_code == 200
    assert t.consumed("SPE_E3") == 1


def test_twenty_writers_at_once_are_refused_or_done_and_never_half():
    t, _ = a_tenant()
    people = [t.person(f"p{n}") for n in range(20)]
    ready = threading.Barrier(20)
    answers: dict[str, int] = {}

    def assign(user_id: str) -> None:
        ready.wait()
        answers[user_id] = t.assign(user_id, {"SPE_E3": []}).status_code

    writers = [threading.Thread(target=assign, args=(p,)) for p in people]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    done = {p for p, status in answers.items() if status == 200}
    assert {p for p in people if t.assignments(p)} == done
    assert len(done) >= 1
    assert set(answers.values()) <= {200, 409, 400}  # ten seats: the eleventh writer meets their end
    assert t.consumed("SPE_E3") == len(done) <= 10


def test_the_lock_can_outlast_the_write():
    t, ada = a_tenant(licence_lock_tail_s=30.0)
    bob = t.person("bob")

    first = t.assign(ada, {"SPE_E3": []}).status_code
    second = t.assign(bob, {"SPE_E3": []}).status_code
    t.world.clock.sleep(30)
    third = t.assign(bob, {"SPE_E3": []}).status_code

    assert (first, second, third) == (200, 409, 200)


def test_the_conflict_can_come_as_a_bad_request():
    t, ada = a_tenant(licence_lock_tail_s=30.0, licence_lock_as_400=True)
    t.assign(ada, {"SPE_E3": []})

    assert message(t.assign(t.person("bob"), {"SPE_E3": []})) == (400, "Request_BadRequest", LOCKED)


# --- provisioning


def test_plans_walk_from_pending_input_to_success():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": ["SWAY"]})

    at_once = t.plan_status(ada, "TEAMS1")
    t.world.clock.sleep(30)

    assert at_once == "PendingInput"
    assert t.plan_status(ada, "TEAMS1") == "Success"
    assert t.plan_status(ada, "SWAY") == "Disabled"


@pytest.mark.parametrize("ending", ["Error", "PendingActivation"])
def test_a_walk_can_end_badly_for_one_person(ending: str):
    t, ada = a_tenant()
    bob = t.person("bob")
    t.directory.set_provisioning(ada, "VISIO_CLIENT_SUBSCRIPTION", ends_in=ending, after_s=60)
    t.assign(ada, {"VISIOCLIENT": []})
    t.assign(bob, {"VISIOCLIENT": []})

    t.wait(MINUTE)

    assert t.plan_status(ada, "VISIO_CLIENT_SUBSCRIPTION") == ending
    assert t.plan_status(bob, "VISIO_CLIENT_SUBSCRIPTION") == "Success"


def test_a_plan_that_the_tenant_does_not_have_yet_stays_pending():
    t = Tenant()
    t.own("VISIOCLIENT", plans_pending=["VISIOONLINE"])
    ada = t.person()
    t.assign(ada, {"VISIOCLIENT": []})

    t.wait(60 * 24 * 30 * MINUTE)

    (sku,) = t.graph.get("/subscribedSkus").json()["value"]
    tenant_level = {p["servicePlanName"]: p["provisioningStatus"] for p in sku["servicePlans"]}
    assert t.plan_status(ada, "VISIOONLINE") == tenant_level["VISIOONLINE"] == "PendingProvisioning"


def test_a_plan_that_comes_to_a_sku_is_on_for_everybody_who_has_it_and_changes_no_assignment():
    t, ada = a_tenant()
    t.assign(ada, {"VISIOCLIENT": ["ONEDRIVE_BASIC"]})
    before = t.read(ada, "licenseAssignmentStates")

    t.world.at(t.world.clock.now(), {"kind": "add_plan", "part_number": "VISIOCLIENT", "plan": "SWAY"})
    t.wait(MINUTE)

    (sku,) = [s for s in t.graph.get("/subscribedSkus").json()["value"] if s["skuPartNumber"] == "VISIOCLIENT"]
    assert "SWAY" in {p["servicePlanName"] for p in sku["servicePlans"]}
    assert t.plan_status(ada, "SWAY") == "Success"
    assert t.licences(ada) == {"VISIOCLIENT": {"ONEDRIVE_BASIC"}}
    assert t.read(ada, "licenseAssignmentStates") == before
    t.assign(ada, {"VISIOCLIENT": ["SWAY"]})
    assert t.plan_status(ada, "SWAY") == "Disabled"


def test_a_replica_that_lags_behind_does_not_show_a_plan_that_just_came_to_a_sku():
    """Found by seed 4161: the read failed."""
    t, ada = a_tenant(replica_lag_s=10.0)
    t.wait(MINUTE)
    t.assign(ada, {"VISIOCLIENT": []})
    t.wait(MINUTE)

    t.world.at(t.world.clock.now(), {"kind": "add_plan", "part_number": "VISIOCLIENT", "plan": "SWAY"})
    t.world.clock.sleep(1)

    assert t.plan_status(ada, "SWAY") is None
    assert t.plan_status(ada, "VISIOONLINE") == "Success"
    t.wait(MINUTE)
    assert t.plan_status(ada, "SWAY") == "Success"


def test_a_plan_for_the_company_is_nobodys_walk():
    t, ada = a_tenant()
    t.assign(ada, {"VISIOCLIENT": []})

    assert t.plan_status(ada, "EXCHANGE_S_FOUNDATION") == "Success"


def test_plans_that_were_taken_back_stay_listed_as_deleted():
    t, ada = a_tenant()
    t.assign(ada, {"VISIOCLIENT": []})
    t.wait(MINUTE)

    t.assign(ada, remove=["VISIOCLIENT"])

    assert {p["capabilityStatus"] for p in t.read(ada, "assignedPlans")} == {"Deleted"}


def test_a_plan_switched_off_before_its_walk_ended_does_not_come_on():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": []})

    t.assign(ada, {"SPE_E3": ["TEAMS1"]})
    t.wait(MINUTE)

    assert t.plan_status(ada, "TEAMS1") == "Disabled"


def test_plans_of_a_subscription_in_grace_say_so():
    t = Tenant()
    t.own("VISIOCLIENT", capability="Warning")
    ada = t.person()
    t.directory.grant(ada, "VISIOCLIENT")

    assert {p["capabilityStatus"] for p in t.read(ada, "assignedPlans")} == {"Warning"}


# --- seats


def test_consumed_units_count_people_modelled_and_not():
    t = Tenant()
    t.own("SPE_E3", seats=20, consumed_elsewhere=7)
    t.assign(t.person(), {"SPE_E3": []})

    (sku,) = t.graph.get("/subscribedSkus").json()["value"]

    assert sku["consumedUnits"] == 8
    assert sku["prepaidUnits"] == {"enabled": 20, "warning": 0, "suspended": 0, "lockedOut": 0}


def test_a_deleted_user_gives_the_seat_back_and_takes_it_again():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": []})

    t.directory.changes.delete_user(ada)
    while_deleted = t.consumed("SPE_E3")
    t.directory.changes.restore_user(ada)

    assert while_deleted == 0
    assert t.consumed("SPE_E3") == 1
    assert t.licences(ada) == {"SPE_E3": set()}


# --- usage location and the audit log


@pytest.mark.parametrize("value", ["XX", "Germany", "", None, 49])
def test_a_usage_location_must_be_a_country(value: object):
    t = Tenant()
    ada = t.person(usage_location=None)

    response = t.graph.patch(f"/users/{ada}", json={"usageLocation": value})

    assert message(response)[:2] == (400, "Request_BadRequest")
    assert t.directory.user(ada).usage_location is None


def test_other_properties_of_a_user_are_not_written_here():
    t = Tenant()
    ada = t.person()

    assert t.graph.patch(f"/users/{ada}", json={"jobTitle": "CEO"}).status_code == 501


def test_the_log_says_who_changed_a_licence_and_its_sibling_says_what():
    t, ada = a_tenant()

    t.assign(ada, {"SPE_E3": []})

    query = f"targetResources/any(t:t/id eq '{ada}')"
    entries = t.graph.get("/auditLogs/directoryAudits", params={"$filter": query}).json()["value"]
    licence = next(e for e in entries if e["activityDisplayName"] == "Change user license")
    update = next(e for e in entries if e["activityDisplayName"] == "Update user")
    assert (licence["category"], licence["loggedByService"]) == ("UserManagement", "Core Directory")
    assert licence["initiatedBy"]["app"]["displayName"] == "License Reconciler"
    assert licence["targetResources"][0]["modifiedProperties"] == []
    (change,) = update["targetResources"][0]["modifiedProperties"]
    assert "SPE_E3" in change["newValue"] and "SPE_E3" not in change["oldValue"]


def test_the_log_forgets_after_thirty_days():
    t, ada = a_tenant()
    t.assign(ada, {"SPE_E3": []})

    t.wait(31 * 24 * 60 * MINUTE)

    assert t.graph.get("/auditLogs/directoryAudits").json()["value"] == []
