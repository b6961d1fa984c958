"""Contoso's 34 tickets as a reconciler finds them: every fact of a story is read through the two HTTP APIs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import httpx
import pytest

from reconciler.sandbox import hosts, stories
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World

Row = dict[str, Any]

USER_FIELDS = (
    "id,userPrincipalName,displayName,accountEnabled,usageLocation,country,employeeId,employeeType,createdDateTime,"
    "onPremisesSyncEnabled,licenseAssignmentStates,assignedPlans"
)
TICKET_FIELDS = (
    "sys_id,number,state,stage,approval,active,price,cat_item.name,requested_for,opened_by,opened_at,closed_at,"
    "request.approval,requested_for.email,requested_for.country,requested_for.active,requested_for.employee_number"
)


class Seen:
    """A tenant as its APIs show it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._http = httpx.Client(transport=SandboxTransport(world), trust_env=False)
        self._sign_in()

    def _sign_in(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": hosts.READER_CLIENT_ID,
            "client_secret": hosts.READER_CLIENT_SECRET,
            "scope": "https://graph.microsoft.com/.default",
        }
        token = self._http.post(f"{hosts.LOGIN_URL}/{hosts.TENANT_ID}/oauth2/v2.0/token", data=form).json()
        self._bearer = {"authorization": f"Bearer {token['access_token']}"}

    def later(self, by: timedelta) -> None:
        """Turn the clock; what was read is forgotten."""
        self.world.clock.advance(by)
        for name in ("users", "skus", "groups", "tickets"):
            self.__dict__.pop(name, None)
        self._sign_in()  # a token lives an hour of the world's clock

    def graph(self, path: str) -> list[Row]:
        rows: list[Row] = []
        url = f"{hosts.GRAPH_URL}/v1.0{path}"
        while url:
            page = self._http.get(url, headers=self._bearer).raise_for_status().json()
            rows += page["value"]
            url = page.get("@odata.nextLink", "")
        return rows

    def table(self, name: str, query: str = "", fields: str = "") -> list[Row]:
        """Rows with plain values."""
        params = {"sysparm_query": f"{query}^ORDERBYsys_id", "sysparm_exclude_reference_link": "true"}
        params |= {"sysparm_fields": fields} if fields else {}
        answer = self._http.get(
            f"{hosts.SERVICENOW_URL}/api/now/table/{name}",
            params=params,
            auth=(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD),
            headers={"accept": "application/json"},
        )
        rows: list[Row] = answer.raise_for_status().json()["result"]
        return rows

    def close(self) -> None:
        self._http.close()

    @cached_property
    def users(self) -> dict[str, Row]:
        return {u["userPrincipalName"]: u for u in self.graph(f"/users?$select={USER_FIELDS}&$top=999")}

    @cached_property
    def skus(self) -> dict[str, Row]:
        return {s["skuPartNumber"]: s for s in self.graph("/subscribedSkus")}

    @cached_property
    def groups(self) -> dict[str, Row]:
        fields = "id,displayName,groupTypes,onPremisesSyncEnabled,isAssignableToRole,assignedLicenses"
        return {g["displayName"]: g for g in self.graph(f"/groups?$select={fields},licenseProcessingState")}

    @cached_property
    def tickets(self) -> dict[str, Row]:
        return {t["number"]: t for t in self.table("sc_req_item", fields=TICKET_FIELDS)}

    def ticket(self, number: int) -> Row:
        return self.tickets[f"RITM{number:07}"]

    def person(self, number: int) -> Row | None:
        """The account in the directory of the one a ticket is for, by sign-in name."""
        return self.users.get(self.ticket(number)["requested_for.email"])

    def known(self, number: int) -> Row:
        person = self.person(number)
        assert person is not None
        return person

    def answers(self, number: int) -> dict[str, str]:
        name, value = "sc_item_option.item_option_new.name", "sc_item_option.value"
        rows = self.table(
            "sc_item_option_mtom", f"request_item={self.ticket(number)['sys_id']}", f"request_item,{name},{value}"
        )
        return {row[name]: row[value] for row in rows if row[name]}

    def tasks(self, number: int) -> list[Row]:
        fields = "number,state,active,assignment_group.name,assigned_to.name"
        return self.table("sc_task", f"request_item={self.ticket(number)['sys_id']}", fields)

    def approvers(self, number: int) -> list[tuple[str, str]]:
        rows = self.table("sysapproval_approver", f"sysapproval={self.ticket(number)['sys_id']}", "approver.name,state")
        return [(row["approver.name"], row["state"]) for row in rows]

    def members(self, group: str) -> set[str]:
        return {m["id"] for m in self.graph(f"/groups/{self.groups[group]['id']}/members?$select=id")}

    def holds(self, person: Row, *, state: str = "Active") -> set[tuple[str, str | None]]:
        """(part number, name of the group or None) of the assignments in this state."""
        parts = {s["skuId"].lower(): part for part, s in self.skus.items()}
        names = {g["id"]: name for name, g in self.groups.items()}
        return {
            (parts[a["skuId"].lower()], names.get(a["assignedByGroup"] or ""))
            for a in person["licenseAssignmentStates"]
            if a["state"] == state
        }

    def errors(self, person: Row) -> dict[str, str]:
        """Part number -> error of the assignments that are in error."""
        parts = {s["skuId"].lower(): part for part, s in self.skus.items()}
        return {
            parts[a["skuId"].lower()]: a["error"] for a in person["licenseAssignmentStates"] if a["state"] == "Error"
        }

    def plans(self, person: Row) -> dict[str, str]:
        """Service plan -> provisioning status, over everything the person holds."""
        details = self.graph(f"/users/{person['id']}/licenseDetails")
        return {p["servicePlanName"]: p["provisioningStatus"] for sku in details for p in sku["servicePlans"]}

    def voice(self, person: Row) -> Row:
        """What Teams tells of the person's phone."""
        url = f"{hosts.GRAPH_URL}/v1.0/admin/teams/userConfigurations/{person['id']}"
        configuration: Row = self._http.get(url, headers=self._bearer).raise_for_status().json()
        return configuration

    def free(self, part_number: str) -> int:
        sku = self.skus[part_number]
        return int(sku["prepaidUnits"]["enabled"] - sku["consumedUnits"])


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen(stories.contoso())
    yield found
    found.close()


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


CLOSED = "closed complete"
READY = "approved, task in our queue"
WAITING = "waiting for approval"
CANCELLED = "closed complete, stage Request Cancelled"
WITH_A_COLLEAGUE = "approved, task assigned to a colleague"

STARTS_AS = {
    **dict.fromkeys([1, 2, 3, 5, 6, 7, 8, 11, 13, 17, 18, 19, 20, 21, 22, 24, 26, 27, 30, 31, 34], CLOSED),
    **dict.fromkeys([4, 9, 10, 14, 16, 25, 28, 32, 33], READY),
    **dict.fromkeys([12, 23], WAITING),
    15: CANCELLED,
    29: WITH_A_COLLEAGUE,
}


def test_there_are_34_tickets_and_no_others(seen: Seen) -> None:
    assert sorted(seen.tickets) == [f"RITM{10_000 + n:07}" for n in range(1, 35)]
    assert sorted(STARTS_AS) == list(range(1, 35))


@pytest.mark.parametrize(("number", "how"), sorted(STARTS_AS.items()))
def test_a_ticket_starts_as_its_story_says(seen: Seen, number: int, how: str) -> None:
    ticket = seen.ticket(10_000 + number)
    tasks = seen.tasks(10_000 + number)

    is_closed = how in {CLOSED, CANCELLED}
    assert (ticket["state"] == "3", ticket["active"] == "false", bool(ticket["closed_at"])) == (is_closed,) * 3
    assert (
        ticket["stage"]
        == {
            CLOSED: "complete",
            CANCELLED: "Request Cancelled",
            WAITING: "waiting_for_approval",
            READY: "fulfillment",
            WITH_A_COLLEAGUE: "fulfillment",
        }[how]
    )
    approved = "requested" if how == WAITING else "approved"
    assert (ticket["approval"], ticket["request.approval"]) == (approved, approved)
    open_tasks = [(t["assignment_group.name"], t["assigned_to.name"]) for t in tasks if t["active"] == "true"]
    assert open_tasks == {
        READY: [("M365 Licence Desk", "")],
        WITH_A_COLLEAGUE: [("M365 Licence Desk", "Oliver Grant")],
    }.get(how, [])


def test_every_ticket_can_be_read_with_its_form_and_its_approver(seen: Seen) -> None:
    for number in (int(name[4:]) for name in seen.tickets):
        ticket, answers, approvers = seen.ticket(number), seen.answers(number), seen.approvers(number)

        assert ticket["cat_item.name"] in {"Microsoft 365 licence", "Microsoft Project", "Software for a team"}
        assert float(ticket["price"]) > 0
        assert answers["justification"]
        assert answers.get("user", ticket["requested_for"]) == ticket["requested_for"]
        assert {state for _, state in approvers} <= {"approved", "requested", "not requested"}
        assert approvers
        assert START - timedelta(days=30) < instant(ticket["opened_at"]) < START


def test_nobody_approved_their_own_request(seen: Seen) -> None:
    names = {row["sys_id"]: row["name"] for row in seen.table("sys_user", fields="sys_id,name")}

    for number in (int(name[4:]) for name in seen.tickets):
        assert names[seen.ticket(number)["requested_for"]] not in {name for name, _ in seen.approvers(number)}


def test_people_agree_in_both_systems(seen: Seen) -> None:
    in_servicenow = {row["email"]: row for row in seen.table("sys_user", "emailISNOTEMPTY")}

    for upn, person in seen.users.items():
        if upn == "c.young@contoso.example":
            continue  # the name was reused, that is its story
        if person["employeeId"] is None:
            continue  # no person: a guest, a room, a shared mailbox, the account behind glass
        row = in_servicenow[upn]
        assert (row["name"], row["employee_number"]) == (person["displayName"], person["employeeId"])
        assert row["country"] == person["country"]


def test_10001_two_sources_agree_on_a_country_that_is_not_set_as_location(seen: Seen) -> None:
    ticket, anna = seen.ticket(10001), seen.known(10001)

    assert (ticket["requested_for.country"], anna["country"], anna["usageLocation"]) == ("DE", "DE", None)
    assert anna["licenseAssignmentStates"] == []
    assert seen.answers(10001)["product"] == "project-plan-3"
    assert seen.free("PROJECTPROFESSIONAL") > 0


def test_10002_was_never_put_into_the_group(seen: Seen) -> None:
    bram = seen.known(10002)

    assert bram["id"] not in seen.members("M365-Visio-Plan-2")
    assert "VISIOCLIENT" not in {part for part, _ in seen.holds(bram)}


def test_10003_is_a_member_whose_group_takes_a_while(seen: Seen) -> None:
    chloe = seen.known(10003)
    waiting = seen.groups["M365-Visio-Plan-2"]["licenseProcessingState"]["state"]

    seen.later(timedelta(minutes=10))

    assert instant(seen.ticket(10003)["closed_at"]) == START - timedelta(minutes=1)
    assert chloe["id"] in seen.members("M365-Visio-Plan-2")
    assert waiting == "QueuedForProcessing"
    assert "VISIOCLIENT" not in {part for part, _ in seen.holds(chloe)}
    assert ("VISIOCLIENT", "M365-Visio-Plan-2") in seen.holds(seen.known(10003))


@pytest.mark.parametrize("number", [10004, 10025])
def test_teams_phone_on_e3_lacks_a_location_only(seen: Seen, number: int) -> None:
    person = seen.known(number)

    assert seen.answers(number)["product"] == "teams-phone"
    assert (person["usageLocation"], person["country"], seen.ticket(number)["requested_for.country"]) == (
        None,
        "US",
        "US",
    )
    assert seen.holds(person) == {("SPE_E3", "M365-E3-Staff")}
    assert seen.plans(person)["TEAMS1"] == "Success"


def test_10005_an_older_plan_by_hand_excludes_the_one_by_group(seen: Seen) -> None:
    emma = seen.known(10005)

    assert ("MCOPSTN1", None) in seen.holds(emma)
    assert seen.errors(emma) == {"MCOPSTN2": "MutuallyExclusiveViolation"}
    assert emma["id"] in seen.members("M365-Calling-International")


@pytest.mark.parametrize(("number", "has_number"), [(10006, True), (10034, False)])
def test_e5_covers_teams_phone_whether_or_not_voice_works(seen: Seen, number: int, has_number: bool) -> None:
    person = seen.known(number)

    assert seen.holds(person) == {("SPE_E5", None)}
    assert seen.plans(person)["MCOEV"] == "Success"
    assert seen.voice(person)["isEnterpriseVoiceEnabled"] is has_number


def test_10007_asked_for_the_desktop_and_got_the_plan_without_it(seen: Seen) -> None:
    greta = seen.known(10007)

    assert seen.ticket(10007)["cat_item.name"] == "Microsoft Project"
    assert seen.answers(10007)["desktop_client"] == "true"
    assert ("PROJECT_P1", None) in seen.holds(greta)
    assert float(seen.ticket(10007)["price"]) < float(seen.ticket(10009)["price"])


def test_10008_every_seat_is_taken_until_day_20(seen: Seen) -> None:
    at_first = seen.free("VISIOONLINE_PLAN1")

    seen.later(timedelta(days=20))

    assert (at_first, seen.free("VISIOONLINE_PLAN1")) == (0, 1)
    assert "VISIOONLINE_PLAN1" not in {part for part, _ in seen.holds(seen.known(10008))}


@pytest.mark.parametrize(("number", "duration"), [(10009, "30 days"), (10010, "")])
def test_contractors_ask_with_and_without_an_end(seen: Seen, number: int, duration: str) -> None:
    answers = seen.answers(number)

    assert seen.known(number)["employeeType"] == "Contractor"
    assert (answers["duration"], answers["end_date"]) == (duration, "")
    assert seen.known(number)["licenseAssignmentStates"] == []


def test_10011_is_unknown_to_the_directory_after_ten_days(seen: Seen) -> None:
    assert seen.person(10011) is None
    assert instant(seen.ticket(10011)["closed_at"]) == START - timedelta(days=10)


def test_10012_waits_for_its_manager_and_then_for_finance(seen: Seen) -> None:
    assert seen.answers(10012)["product"] == "m365-e5"
    assert sorted(seen.approvers(10012)) == [("Laura McBride", "requested"), ("Thomas Brandt", "not requested")]


def test_10013_holds_e3_directly_with_teams_and_other_plans_off(seen: Seen) -> None:
    marco = seen.known(10013)

    [e3] = marco["licenseAssignmentStates"]
    off = {name for name, status in seen.plans(marco).items() if status == "Disabled"}
    assert (seen.holds(marco), len(e3["disabledPlans"])) == ({("SPE_E3", None)}, len(off))
    assert "TEAMS1" in off
    assert len(off) > 1


def test_10014_holds_nothing_and_its_only_proof_plan_will_end_in_error(seen: Seen) -> None:
    noor = seen.known(10014)
    assert (noor["licenseAssignmentStates"], noor["usageLocation"]) == ([], "NL")

    seen.world.directory.grant(noor["id"], "POWERAUTOMATE_ATTENDED_RPA", provisioned=False)
    seen.world.clock.sleep(120)

    plans = seen.plans(noor)
    assert plans["POWER_AUTOMATE_ATTENDED_RPA"] == "Error"
    assert plans["EXCHANGE_S_FOUNDATION"] == "Success"


def test_10015_was_closed_by_a_flow_that_also_cancelled_it(seen: Seen) -> None:
    assert [task["state"] for task in seen.tasks(10015)] == ["4"]
    assert "MCOMEETADV" not in {part for part, _ in seen.holds(seen.known(10015))}


def test_10016_holds_what_excludes_the_plan_asked_for(seen: Seen) -> None:
    assert ("MCOPSTN2", None) in seen.holds(seen.known(10016))
    assert seen.answers(10016)["product"] == "calling-plan-domestic"


def test_10017_was_taken_away_yesterday_by_somebody_with_a_name(seen: Seen) -> None:
    quentin = seen.known(10017)
    entries = [
        e
        for e in seen.graph("/auditLogs/directoryAudits")
        if e["activityDisplayName"] == "Change user license" and e["targetResources"][0]["id"] == quentin["id"]
    ]

    assert "PROJECT_P1" not in {part for part, _ in seen.holds(quentin)}
    assert [e["initiatedBy"]["user"]["userPrincipalName"] for e in entries] == ["tom.weber@contoso.example"]
    assert entries[0]["activityDateTime"].startswith("2026-11-01")


def test_10018_still_holds_what_ended_last_week(seen: Seen) -> None:
    assert seen.answers(10018)["end_date"] == "2026-10-26"
    assert ("PROJECTPROFESSIONAL", None) in seen.holds(seen.known(10018))


def test_10019_is_disabled(seen: Seen) -> None:
    assert seen.known(10019)["accountEnabled"] is False
    assert seen.known(10019)["licenseAssignmentStates"] == []


def test_10020_a_sync_empties_the_location_again(seen: Seen) -> None:
    tara = seen.known(10020)
    assert (tara["usageLocation"], tara["onPremisesSyncEnabled"], tara["country"]) == (None, True, "PL")

    with httpx.Client(transport=SandboxTransport(seen.world)) as http:
        form = {
            "grant_type": "client_credentials",
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "scope": "https://graph.microsoft.com/.default",
        }
        token = http.post(f"{hosts.LOGIN_URL}/{hosts.TENANT_ID}/oauth2/v2.0/token", data=form).json()["access_token"]
        url = f"{hosts.GRAPH_URL}/v1.0/users/{tara['id']}"
        http.patch(url, json={"usageLocation": "PL"}, headers={"authorization": f"Bearer {token}"})
    set_to = seen.world.directory.user(tara["id"]).usage_location
    seen.world.clock.sleep(120)
    after_a_cycle = seen.world.directory.user(tara["id"]).usage_location
    seen.world.clock.sleep(1800)
    after_the_sync = seen.world.directory.user(tara["id"]).usage_location

    assert (set_to, after_a_cycle, after_the_sync) == ("PL", "PL", None)


def test_10021_and_10022_are_the_same_person_and_product_with_two_ends(seen: Seen) -> None:
    first, second = seen.answers(10021), seen.answers(10022)

    assert (first["user"], first["product"]) == (second["user"], second["product"])
    assert first["end_date"] < second["end_date"]
    assert ("PROJECTPROFESSIONAL", None) in seen.holds(seen.known(10021))


@pytest.mark.parametrize(("number", "account"), [(10023, "Contoso Assistant"), (10033, "Procurement Integration")])
def test_software_opened_the_ticket(seen: Seen, number: int, account: str) -> None:
    ticket = seen.ticket(number)
    [opener] = seen.table("sys_user", f"sys_id={ticket['opened_by']}", "name,title")

    assert ticket["opened_by"] != ticket["requested_for"]
    assert (opener["name"], opener["title"]) == (account, "Software account")


def test_10024_a_sibling_without_a_seat_keeps_the_group_from_giving_anything(seen: Seen) -> None:
    william = seen.known(10024)
    assert seen.errors(william) == {"PBI_PREMIUM_PER_USER": "CountViolation", "POWERAPPS_PER_USER": "Other"}
    at_first = seen.free("PBI_PREMIUM_PER_USER")

    seen.later(timedelta(days=12))

    assert william["id"] in seen.members("M365-Power-Platform")
    assert (at_first, seen.free("PBI_PREMIUM_PER_USER")) == (0, 1)


def test_10025_the_directory_fails_each_assignment(seen: Seen) -> None:
    xenia = seen.known(10025)

    assert seen.world.directory.user(xenia["id"]).failing_status == 500
    assert seen.world.directory.user(seen.known(10004)["id"]).failing_status is None


def test_10026_the_sign_in_name_belongs_to_somebody_who_joined_later(seen: Seen) -> None:
    ticket, account = seen.ticket(10026), seen.known(10026)

    joined = datetime.fromisoformat(account["createdDateTime"].replace("Z", "+00:00"))
    assert joined > instant(ticket["closed_at"])
    assert ticket["requested_for.employee_number"] != account["employeeId"]


def test_10027_was_given_by_hand_and_is_over(seen: Seen) -> None:
    yusuf = seen.known(10027)
    actors = {
        e["initiatedBy"]["user"]["userPrincipalName"]
        for e in seen.graph("/auditLogs/directoryAudits")
        if e["targetResources"][0]["id"] == yusuf["id"]
    }

    assert seen.answers(10027)["end_date"] == "2026-10-28"
    assert ("PROJECT_P1", None) in seen.holds(yusuf)
    assert actors == {"oliver.grant@contoso.example"}


def test_10028_asks_for_a_group_that_is_mastered_elsewhere(seen: Seen) -> None:
    group = seen.groups["AD-Visio-Plants"]

    assert group["onPremisesSyncEnabled"] is True
    assert seen.answers(10028)["product"] == "visio-plan-2-plant"
    assert seen.known(10028)["id"] not in seen.members("AD-Visio-Plants")


def test_10030_the_account_of_a_new_hire_is_synced_tomorrow(seen: Seen) -> None:
    today = seen.person(10030)

    seen.later(timedelta(days=1))

    assert today is None
    assert START - timedelta(days=1) < instant(seen.ticket(10030)["closed_at"]) < START
    assert seen.known(10030)["employeeId"] == seen.ticket(10030)["requested_for.employee_number"]
    assert seen.known(10030)["usageLocation"] == "DE"


def test_10031_holds_e3_by_a_group_that_leaves_teams_out(seen: Seen) -> None:
    carl = seen.known(10031)

    assert seen.holds(carl) == {("SPE_E3", "M365-E3-Kiosk")}
    assert seen.plans(carl)["TEAMS1"] == "Disabled"


def test_10032_names_three_people_for_two_seats(seen: Seen) -> None:
    cells = seen.table(
        "sc_multi_row_question_answer",
        f"parent_id={seen.ticket(10032)['sys_id']}",
        "row_index,item_option_new.name,value",
    )
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell["row_index"], {})[cell["item_option_new.name"]] = cell["value"]

    assert [row["product"] for row in rows.values()] == ["power-bi-pro"] * 3
    assert len({row["user"] for row in rows.values()}) == 3
    assert seen.free("POWER_BI_PRO") == 2


def test_the_past_is_plain_data_about_two_grants(seen: Seen) -> None:
    past = stories.history(seen.world)

    assert [(g["ticket"], g["line"], g["product"]) for g in past] == [
        ("RITM0010017", 1, "project-plan-1"),
        ("RITM0010018", 1, "project-plan-3"),
    ]
    assert [g["object_id"] for g in past] == [seen.known(10017)["id"], seen.known(10018)["id"]]
    assert past[1]["ends_at"].startswith("2026-10-26")


def test_the_same_seed_tells_the_same_story() -> None:
    assert stories.contoso().to_json() == stories.contoso().to_json()


def test_an_empty_tenant_signs_in_and_holds_nothing() -> None:
    seen = Seen(stories.empty())

    assert (seen.users, seen.skus, seen.tickets) == ({}, {}, {})
    assert stories.history(seen.world) == []
    seen.close()


def test_a_generated_tenant_has_the_shape_of_an_ordinary_one() -> None:
    seen = Seen(stories.generated(400, 7))
    people = list(seen.users.values())
    entries = [entry for person in people for entry in person["licenseAssignmentStates"]]

    assert len(people) == 400
    assert {len(p["licenseAssignmentStates"]) for p in people} == {0, 1, 2, 3, 4}
    assert 0.3 < sum(entry["assignedByGroup"] is not None for entry in entries) / len(entries) < 0.5
    assert all(seen.free(part_number) > 0 for part_number in seen.skus)
    assert len(seen.skus) == 24
    seen.close()


def test_generated_tenants_differ_by_their_seed_only() -> None:
    once, again, other = (stories.generated(30, seed).to_json() for seed in (1, 1, 2))

    assert once == again
    assert once["directory"] != other["directory"]
