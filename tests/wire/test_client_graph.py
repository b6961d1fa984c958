"""The Graph client against replies written from graph.md: what it asks for, and what it makes of the answers."""

from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from desired_state.model import GroupId, PlanId, SkuId, UserId
from reconciler.clients.graph import PERMISSIONS, missing
from reconciler.clients.wire import Patience
from reconciler.clock import ManualClock
from reconciler.errors import (
    Forbidden,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Rejected,
    SignInFailed,
    Throttled,
    Unavailable,
)
from reconciler.model import Grant, ObservedUser, PlanState
from tests.wire.make_replies import GRAPH, MONDAY, Keys, Remote, a_graph, a_user, batch, guid, query, refused, reply
from tests.wire.openapi import Checked, contract

E3, E5 = SkuId(guid(300)), SkuId(guid(500))
TEAMS, VOICE = PlanId(guid(31)), PlanId(guid(32))
ADA, BOB = UserId(guid(1)), UserId(guid(2))
GONE = reply(404, refused("Request_ResourceNotFound", "Resource 'x' does not exist"))


def states_row(sku: str, *, group: str | None = None, error: str | None = "None", **more: object) -> dict[str, object]:
    return {
        "skuId": sku,
        "assignedByGroup": group,
        "disabledPlans": [],
        "state": "Active",
        "error": error,
        "lastUpdatedDateTime": "2026-11-01T08:00:00Z",
        **more,
    }


def by_url(rows: dict[str, tuple[int, object]]):
    """A batch endpoint that finds its answer by a part of the item's URL."""

    def answer(url: str) -> tuple[int, object, dict[str, str]]:
        status, body = next(found for part, found in rows.items() if part in url)
        return status, body, {"request-id": "item"}

    return batch(answer)


# --- reading people ----------------------------------------------------------------------------------------


def test_users_come_by_id_and_one_who_is_not_there_is_said_to_be_missing():
    remote = Remote(by_url({ADA: (200, a_user(1)), BOB: (404, refused("Request_ResourceNotFound", "no"))}))

    found = a_graph(remote).users([ADA, BOB])

    assert isinstance(found[ADA], ObservedUser)
    assert isinstance(found[BOB], NotFound)


def test_what_graph_does_not_show_is_unknown_and_what_it_shows_empty_is_none():
    hidden, empty = a_user(1), a_user(2, usageLocation=None, assignedLicenses=[], licenseAssignmentStates=[])
    remote = Remote(by_url({ADA: (200, hidden), BOB: (200, empty)}))

    found = a_graph(remote).users([ADA, BOB])

    ada, bob = found[ADA], found[BOB]
    assert isinstance(ada, ObservedUser)
    assert isinstance(bob, ObservedUser)
    assert (ada.usage_location, ada.skus, ada.assignments, ada.enabled_plans) == (None, None, None, None)
    assert (bob.usage_location, bob.skus, bob.assignments) == ("", frozenset(), ())


def test_direct_and_inherited_assignments_are_kept_apart_and_ids_are_lower_case():
    row = a_user(
        1,
        id=guid(1).upper(),
        assignedLicenses=[{"skuId": guid(300).upper(), "disabledPlans": []}],
        licenseAssignmentStates=[
            states_row(guid(300).upper(), error=None, disabledPlans=[guid(31).upper()]),
            states_row(guid(300), group=guid(9).upper(), error="CountViolation", state="Error"),
        ],
        assignedPlans=[
            {"servicePlanId": guid(31), "capabilityStatus": "Enabled"},
            {"servicePlanId": guid(32), "capabilityStatus": "Deleted"},
            {"servicePlanId": guid(33), "capabilityStatus": "warning"},
        ],
    )

    found = a_graph(Remote(by_url({ADA: (200, row)}))).users([ADA])[ADA]

    assert isinstance(found, ObservedUser)
    assert found.assignments is not None
    direct, inherited = found.assignments
    assert (direct.sku, direct.group, direct.error, direct.disabled_plans) == (E3, None, "", frozenset({TEAMS}))
    assert (inherited.group, inherited.error, inherited.is_in_force) == (GroupId(guid(9)), "CountViolation", False)
    assert found.enabled_plans == {guid(31), guid(33)}
    assert (found.id, found.skus) == (ADA, {E3})


def test_a_never_synced_account_is_not_synced_and_a_hidden_mark_is_unknown():
    remote = Remote(by_url({ADA: (200, a_user(1, onPremisesSyncEnabled=None)), BOB: (200, a_user(2))}))

    found = a_graph(remote).users([ADA, BOB])

    assert [getattr(found[user], "is_synced", "error") for user in (ADA, BOB)] == [False, None]


def test_many_users_cost_one_request_for_twenty():
    ids = [UserId(guid(n)) for n in range(1, 42)]
    remote = Remote(batch(lambda url: (200, {"id": url.split("/")[2].split("?")[0], "userPrincipalName": "x@y"}, {})))

    found = a_graph(remote).users(ids)

    assert len(remote.seen) == 3
    assert list(found) == ids
    assert [user.id for user in found.values() if isinstance(user, ObservedUser)] == ids


def test_a_throttled_item_is_asked_again_alone_and_after_its_own_wait():
    clock, asked = ManualClock(MONDAY), []

    def answer(url):
        asked.append(url)
        if ADA in url and len(asked) <= 2:
            return 429, refused("TooManyRequests", "slow down"), {"Retry-After": "12.5"}
        return 200, a_user(1 if ADA in url else 2), {}

    found = a_graph(Remote(batch(answer)), clock=clock).users([ADA, BOB])

    assert all(isinstance(user, ObservedUser) for user in found.values())
    assert [ADA in url for url in asked] == [True, False, True]
    assert (clock.now() - MONDAY).total_seconds() >= 12.5


def test_an_item_that_cannot_be_read_stays_an_error_and_never_becomes_missing():
    remote = Remote(by_url({ADA: (503, refused("serviceNotAvailable", "later")), BOB: (200, a_user(2))}))

    found = a_graph(remote, patience=Patience(attempts=2)).users([ADA, BOB])

    assert isinstance(found[ADA], Unavailable)
    assert isinstance(found[BOB], ObservedUser)


def test_an_item_whose_wait_is_too_long_says_how_long():
    answer = batch(lambda _: (429, refused("TooManyRequests", "x"), {"Retry-After": "900"}))
    clock = ManualClock(MONDAY)

    found = a_graph(Remote(answer), clock=clock).users([ADA])[ADA]

    assert isinstance(found, Throttled)
    assert (found.retry_after_s, clock.now()) == (900.0, MONDAY)


def test_an_item_that_the_batch_leaves_out_is_malformed():
    remote = Remote(reply(200, {"responses": []}))

    found = a_graph(remote, patience=Patience(attempts=2)).users([ADA])

    assert isinstance(found[ADA], Malformed)


def test_an_answer_about_somebody_else_is_malformed():
    found = a_graph(Remote(by_url({ADA: (200, a_user(2))}))).users([ADA])

    assert isinstance(found[ADA], Malformed)


def test_a_broken_row_spoils_only_itself():
    remote = Remote(by_url({ADA: (200, {"id": 7}), BOB: (200, a_user(2))}))

    found = a_graph(remote, patience=Patience(attempts=1)).users([ADA, BOB])

    assert isinstance(found[ADA], Malformed)
    assert isinstance(found[BOB], ObservedUser)


def test_a_token_refused_inside_a_batch_is_renewed_once():
    turns = iter([401, 200])
    keys = Keys()

    def answer(_):
        status = next(turns)
        return status, a_user(1) if status == 200 else refused("InvalidAuthenticationToken", "expired"), {}

    found = a_graph(Remote(batch(answer)), keys=keys).users([ADA])

    assert isinstance(found[ADA], ObservedUser)
    assert keys.renewed == 1


def test_a_token_refused_again_inside_a_batch_stops_everything():
    answer = batch(lambda _: (401, refused("InvalidAuthenticationToken", "no"), {}))

    with pytest.raises(SignInFailed):
        a_graph(Remote(answer)).users([ADA])


def test_a_batch_that_fails_as_a_whole_is_an_error_not_an_answer():
    with pytest.raises(Unavailable):
        a_graph(Remote(reply(503))).users([ADA])


def test_nobody_asked_nothing_sent():
    remote = Remote(reply(500))

    assert a_graph(remote).users([]) == {}
    assert remote.seen == []


def test_sign_in_names_are_encoded_so_that_a_guest_can_be_asked_for():
    upn = "ana_fabrikam.com#EXT#@contoso.com"
    remote = Remote(batch(lambda _: (200, a_user(1), {})))

    found = a_graph(remote).users_by_upn([upn])

    url = remote.bodies()[0]["requests"][0]["url"]
    assert url.startswith("/users/ana_fabrikam.com%23EXT%23%40contoso.com?$select=id,")
    assert isinstance(found[upn], ObservedUser)


@pytest.mark.parametrize("name", ["", " ada@contoso.com", "a\nb", "..", "."])
def test_a_name_that_cannot_be_one_is_refused_before_it_is_sent(name):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match="look up"):
        a_graph(remote).users_by_upn([name])

    assert remote.seen == []


def test_a_path_cannot_be_smuggled_in_a_sign_in_name():
    remote = Remote(batch(lambda _: (404, refused("Request_ResourceNotFound", "no"), {})))

    a_graph(remote).users_by_upn(["../groups/x?$select=id"])

    assert remote.bodies()[0]["requests"][0]["url"].startswith("/users/..%2Fgroups%2Fx%3F%24select%3Did?$select=")


def test_an_employee_id_that_several_people_carry_gives_all_of_them():
    rows = [a_user(1, employeeId="E'1"), a_user(2, employeeId="e'1")]
    remote = Remote(reply(200, {"value": rows}))

    found = a_graph(remote).users_by_employee_id("E'1")

    assert [user.id for user in found] == [ADA, BOB]
    assert remote.queries()[0]["$filter"] == "employeeId eq 'E''1'"


def test_a_filter_that_was_ignored_is_malformed():
    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, {"value": [a_user(1, employeeId="other")]}))).users_by_employee_id("E1")


def test_holders_whose_account_is_not_shown_to_be_disabled_are_left_out():
    holds = [{"skuId": E3.upper()}]
    rows = [
        a_user(1, accountEnabled=False, assignedLicenses=holds),
        a_user(2, accountEnabled=True, assignedLicenses=holds),
        a_user(3, accountEnabled=False, assignedLicenses=[]),
        a_user(4, accountEnabled=None, assignedLicenses=holds),
    ]
    remote = Remote(reply(200, {"value": rows}))

    found = a_graph(remote).disabled_holders(E3)

    assert [user.id for user in found] == [ADA]
    wanted = f"accountEnabled eq false and assignedLicenses/any(l:l/skuId eq {E3})"
    assert remote.queries()[0]["$filter"] == wanted


# --- licences ----------------------------------------------------------------------------------------------


def test_plans_of_the_whole_company_are_left_out_and_new_words_mean_waiting():
    plans = [
        {"servicePlanId": guid(31), "servicePlanName": "TEAMS1", "provisioningStatus": "SUCCESS", "appliesTo": "User"},
        {"servicePlanId": guid(32), "servicePlanName": "X", "provisioningStatus": "Migrating", "appliesTo": "User"},
        {"servicePlanId": guid(33), "servicePlanName": "Y", "provisioningStatus": "Error", "appliesTo": "Company"},
    ]
    body = {"value": [{"skuId": guid(300).upper(), "skuPartNumber": "SPE_E3", "servicePlans": plans}]}

    found = a_graph(Remote(by_url({ADA: (200, body)}))).license_details([ADA])[ADA]

    assert isinstance(found, tuple)
    assert found[0].sku == E3
    assert found[0].plans == {TEAMS: PlanState.SUCCESS, VOICE: PlanState.WAITING}


def test_licence_details_that_come_in_pages_are_not_taken_for_all():
    body = {"value": [], "@odata.nextLink": f"{GRAPH}/users/x/licenseDetails?$skiptoken=1"}

    found = a_graph(Remote(by_url({ADA: (200, body)}))).license_details([ADA])

    assert isinstance(found[ADA], Malformed)


def test_seats_in_grace_are_not_free():
    row = {
        "skuId": guid(300),
        "skuPartNumber": "SPE_E3",
        "capabilityStatus": "Enabled",
        "appliesTo": "User",
        "consumedUnits": 9,
        "prepaidUnits": {"enabled": 10, "warning": 5, "suspended": 0, "lockedOut": 0},
        "servicePlans": [{"servicePlanId": guid(31), "servicePlanName": "TEAMS1", "appliesTo": "User"}],
    }

    (sku,) = a_graph(Remote(reply(200, {"value": [row]}))).subscribed_skus()

    assert (sku.seats_free, sku.warning, sku.plans) == (1, 5, {TEAMS: "TEAMS1"})


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": [{"skuId": guid(1)}]}, {"value": ["x"]}, []])
def test_a_list_that_breaks_the_contract_is_an_error_never_no_rows(body):
    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, body)), patience=Patience(attempts=1)).subscribed_skus()


def test_an_error_inside_a_success_is_not_a_success():
    body = {"value": [], **refused("generalException", "partial")}

    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, body)), patience=Patience(attempts=1)).subscribed_skus()


def test_a_licence_change_always_carries_both_lists_and_all_disabled_plans():
    remote = Remote(reply(200, {"id": ADA}, {"request-id": "r-9"}))

    told = a_graph(remote).assign_license(ADA, add=[Grant(E5, frozenset({VOICE, TEAMS}))], remove=[])

    assert remote.bodies() == [{"addLicenses": [{"skuId": E5, "disabledPlans": [TEAMS, VOICE]}], "removeLicenses": []}]
    assert str(remote.seen[0].url) == f"{GRAPH}/users/{ADA}/assignLicense"
    assert (told.request_id, told.status) == ("r-9", 200)
    assert told.client_request_id == remote.seen[0].headers["client-request-id"]


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        ([], []),
        ([Grant(E3), Grant(SkuId(E3.upper()), frozenset({TEAMS}))], []),
        ([Grant(E3)], [E3]),
        ([], [E3, E3]),
        ([Grant(SkuId("SPE_E3"))], []),
        ([Grant(E3, frozenset({PlanId("TEAMS1")}))], []),
    ],
    ids=["empty", "twice", "both", "removed twice", "no id", "no plan id"],
)
def test_a_licence_change_that_makes_no_sense_is_never_sent(add, remove):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match=r"licence change|object id"):
        a_graph(remote).assign_license(ADA, add=add, remove=remove)

    assert remote.seen == []


@pytest.mark.parametrize("country", ["", "de", "DEU", "D1", "D\n"])
def test_a_usage_location_that_is_no_country_code_is_never_sent(country):
    remote = Remote(reply(500))

    with pytest.raises(ValueError, match="usage location"):
        a_graph(remote).set_usage_location(ADA, country)

    assert remote.seen == []


def test_a_missing_permission_is_named_with_the_operation():
    answer = reply(403, refused("Authorization_RequestDenied", "Insufficient privileges to complete the operation."))

    with pytest.raises(Forbidden) as caught:
        a_graph(Remote(answer)).set_usage_location(ADA, "DE")

    assert caught.value.operation == "set_usage_location"
    assert caught.value.operation in PERMISSIONS


def test_doctor_is_told_which_permission_is_missing_for_what():
    assert missing(frozenset({"User.Read.All", "Group.Read.All"})) == {
        "assign_license": "LicenseAssignment.ReadWrite.All",
        "set_usage_location": "User.ReadWrite.All",
    }


def test_a_group_that_belongs_to_another_master_is_not_writable():
    row = {
        "id": guid(9),
        "displayName": "Visio",
        "groupTypes": [],
        "securityEnabled": True,
        "mailEnabled": False,
        "onPremisesSyncEnabled": True,
        "isAssignableToRole": None,
        "assignedLicenses": [{"skuId": guid(300), "disabledPlans": [guid(31)]}],
        "licenseProcessingState": {"state": "ProcessingComplete"},
    }

    synced = a_graph(Remote(reply(200, row))).group(GroupId(guid(9)))
    own = a_graph(Remote(reply(200, {**row, "onPremisesSyncEnabled": None}))).group(GroupId(guid(9)))

    assert (synced.is_writable, own.is_writable) == (False, True)
    assert own.licenses == (Grant(E3, frozenset({TEAMS})),)
    assert own.processing == "ProcessingComplete"


# --- the scan ----------------------------------------------------------------------------------------------


def a_page(*users: dict[str, object], skip: str = "") -> object:
    link = {"@odata.nextLink": f"{GRAPH}/users?$skiptoken={skip}"} if skip else {}
    return reply(200, {"value": list(users), **link})


def test_a_scan_reads_all_pages_at_low_priority_and_an_empty_page_is_not_the_end():
    row = a_user(1, accountEnabled=True, usageLocation="DE", licenseAssignmentStates=[states_row(E3)])
    remote = Remote(a_page(row, skip="a"), a_page(skip="b"), a_page(a_user(2)))

    pages = list(a_graph(remote).scan())

    assert [[r.id for r in page.rows] for page in pages] == [[guid(1)], [], [guid(2)]]
    first, second = pages[0].rows[0], pages[2].rows[0]
    assert first.states is not None
    assert (first.states[0].sku_id, first.usage_location, first.is_enabled) == (E3, "DE", True)
    assert (second.states, second.usage_location, second.is_enabled) == (None, UNSET, None)
    assert [page.is_last for page in pages] == [False, False, True]
    assert remote.queries()[0]["$top"] == "999"
    assert {request.headers["x-ms-throttle-priority"] for request in remote.seen} == {"low"}


def test_licences_of_an_unknown_shape_are_unknown_for_their_user_alone():
    odd = a_user(1, licenseAssignmentStates=[{"skuId": 7}])
    remote = Remote(a_page(odd, a_user(2, licenseAssignmentStates=[states_row(E3)])))

    (page,) = a_graph(remote).scan()

    assert page.rows[0].states is None
    assert page.rows[1].states is not None
    assert page.rows[1].states[0].sku_id == E3


def test_an_error_inside_a_page_is_an_error_and_not_a_short_tenant():
    broken = reply(200, {"value": [a_user(1)], "error": {"code": "UnknownError", "message": "broke off"}})

    with pytest.raises(Malformed, match="broke off"):
        list(a_graph(Remote(broken)).scan())
    with pytest.raises(Malformed, match="broke off"):
        list(a_graph(Remote(broken)).scan_users())


def test_a_web_page_instead_of_a_listing_is_an_error():
    remote = Remote(reply(200, "<title>Sign in to the proxy</title>"))

    with pytest.raises(Malformed, match="proxy"):
        list(a_graph(remote).scan())


def test_an_expired_page_starts_the_listing_anew_and_says_so():
    expired = reply(400, refused("Directory_ExpiredPageToken", "The specified page token has expired."))
    remote = Remote(a_page(a_user(1), skip="a"), expired, a_page(a_user(1), skip="b"), a_page(a_user(2)))

    pages = list(a_graph(remote).scan())

    assert [page.is_restart for page in pages] == [False, True, False]


def test_a_listing_that_starts_anew_shows_nobody_twice():
    expired = reply(400, refused("Directory_ExpiredPageToken", "expired"))
    remote = Remote(a_page(a_user(1), skip="a"), expired, a_page(a_user(1), skip="b"), a_page(a_user(2)))

    assert [user.id for user in a_graph(remote).scan_users()] == [ADA, BOB]


def test_a_listing_that_expires_again_and_again_is_an_error():
    expired = reply(400, refused("Directory_ExpiredPageToken", "expired"))

    with pytest.raises(Unavailable):
        list(a_graph(Remote(expired)).scan())


def test_pages_that_run_in_a_circle_are_an_error():
    with pytest.raises(Malformed, match="circle"):
        list(a_graph(Remote(a_page(a_user(1), skip="a"))).scan())


def test_a_next_link_to_another_host_gets_no_token():
    remote = Remote(reply(200, {"value": [], "@odata.nextLink": "https://evil.example/v1.0/users?$skiptoken=a"}))

    with pytest.raises(Malformed):
        list(a_graph(remote).scan())

    assert {request.url.host for request in remote.seen} == {"graph.microsoft.com"}


def test_a_scan_that_breaks_off_raises_and_does_not_merely_end():
    pages = a_graph(Remote(a_page(a_user(1), skip="a"), reply(503))).scan()

    next(pages)
    with pytest.raises(Unavailable):
        next(pages)


# --- the contract ------------------------------------------------------------------------------------------


def test_every_request_of_the_client_is_one_that_microsoft_describes():
    described = contract()
    remote = Remote(batch(lambda _: (404, refused("Request_ResourceNotFound", "no"), {})))
    graph = a_graph(remote)
    graph.users([ADA])
    graph.users_by_upn(["ada@contoso.com"])
    graph.license_details([ADA])
    sent = [("GET", item["url"].partition("?")[0], None) for body in remote.bodies() for item in body["requests"]]
    single = Remote(reply(404, refused("Request_ResourceNotFound", "no")))
    graph = a_graph(single)
    for call in (
        graph.organization,
        graph.subscribed_skus,
        lambda: list(graph.scan()),
        lambda: graph.group(GroupId(guid(9))),
        lambda: graph.users_by_employee_id("1"),
        lambda: graph.set_usage_location(ADA, "DE"),
        lambda: graph.assign_license(ADA, add=[Grant(E5, frozenset({TEAMS}))], remove=[E3]),
    ):
        with pytest.raises(NotFound):
            call()
    sent += [
        (r.method, r.url.path.removeprefix("/v1.0"), json.loads(r.content) if r.content else None) for r in single.seen
    ]

    for method, path, body in sent:
        template = described.template(method, path)
        assert template is not None, f"{method} {path} is not described"
        described.check_request(method, template, body)
    assert len(sent) == 10


def test_replies_as_described_are_understood():
    row = a_user(1, usageLocation="DE", licenseAssignmentStates=[states_row(E3)])
    remote = Checked(Remote(reply(200, {"value": [row]})))

    (user,) = a_graph(remote).scan_users()

    assert user.usage_location == "DE"


def test_only_a_few_properties_are_asked_for():
    remote = Remote(a_page())

    list(a_graph(remote).scan())

    assert query(remote.seen[0])["$select"].split(",")[-1] == "licenseAssignmentStates"


@pytest.mark.parametrize("answer", [reply(500), reply(200, "<html>")])
def test_a_licence_change_without_a_trustworthy_reply_may_have_landed(answer):
    remote = Remote(answer)

    with pytest.raises(OutcomeUnknown):
        a_graph(remote).assign_license(ADA, add=[Grant(E5)])

    assert len(remote.seen) == 1


def test_a_refusal_keeps_the_whole_list_of_plans():
    plans = ", ".join(guid(n) for n in range(100, 112))
    said = f"License assignment failed because service plan {guid(1)} depends on the service plan(s) {plans}"

    with pytest.raises(Rejected) as caught:
        a_graph(Remote(reply(400, refused("Request_BadRequest", said)))).assign_license(ADA, add=[Grant(E5)])

    assert guid(111) in caught.value.detail
