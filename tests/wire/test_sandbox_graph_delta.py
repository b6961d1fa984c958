"""Change tracking, as the sandbox's Graph does it (graph.md section 4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.make_graph import GROUP_DELAY, MINUTE, Tenant, message


class Reader:
    """Follows users/delta or groups/delta."""

    def __init__(self, t: Tenant, first: str) -> None:
        self._graph = t.graph
        self._next = first

    def round(self, **headers: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            body = self._graph.get(self._next, headers=headers).raise_for_status().json()
            rows += body["value"]
            self._next = body.get("@odata.nextLink") or body["@odata.deltaLink"]
            if "@odata.deltaLink" in body:
                return rows

    @property
    def link(self) -> str:
        return self._next


def test_the_first_round_tells_of_everyone_and_the_second_of_nobody():
    t = Tenant(delta_page_size=2)
    people = {t.person(f"p{n}") for n in range(5)}
    reader = Reader(t, "/users/delta?$select=id,usageLocation")

    assert {r["id"] for r in reader.round()} == people
    assert reader.round() == []


def test_the_latest_token_skips_what_is_there():
    t = Tenant()
    ada = t.person("ada", usage_location=None)
    t.person("bob")
    reader = Reader(t, "/users/delta?$select=id,usageLocation&$deltatoken=latest")

    first = reader.round()
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    assert first == []
    assert reader.round() == [{"id": ada, "usageLocation": "FR"}]


def test_only_selected_properties_are_tracked():
    t = Tenant()
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=displayName")
    reader.round()

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    assert reader.round() == []


def test_assigned_licences_are_tracked_unless_switched():
    t = Tenant()
    t.own("SPE_E3"), t.own("VISIOCLIENT")
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=assignedLicenses")
    reader.round()

    t.assign(ada, {"SPE_E3": []})
    tracked = reader.round()
    t.switches.delta_tracks_licences = False
    t.assign(ada, {"VISIOCLIENT": []})

    assert [r["id"] for r in tracked] == [ada]
    assert reader.round() == []


def test_a_change_of_assignment_states_alone_is_never_told():
    t = Tenant()
    t.own("VISIOCLIENT", seats=0)
    ada = t.person()
    group = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    reader = Reader(t, "/users/delta?$select=licenseAssignmentStates,assignedLicenses")
    reader.round()

    t.join(group, ada)
    t.wait(GROUP_DELAY)

    assert t.states(ada) == [("VISIOCLIENT", "Error", "CountViolation")]
    assert reader.round() == []


def test_assignment_states_come_along_when_something_else_changed():
    t = Tenant()
    t.own("SPE_E3")
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=licenseAssignmentStates,assignedLicenses")
    reader.round()

    t.assign(ada, {"SPE_E3": []})

    (row,) = reader.round()
    assert row["licenseAssignmentStates"][0]["state"] == "Active"


def test_minimal_rows_hold_what_changed():
    t = Tenant()
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=displayName,usageLocation")
    reader.round()

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    assert reader.round(Prefer="return=minimal") == [{"id": ada, "usageLocation": "FR"}]


def test_never_set_properties_are_absent():
    t = Tenant()
    ada = t.person(usage_location=None)

    (row,) = Reader(t, "/users/delta?$select=displayName,usageLocation").round()

    assert row == {"id": ada, "displayName": "Ada"}


def test_a_deleted_user_is_restorable_first_and_gone_later():
    t = Tenant(delta_token_days=365)
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=displayName")
    reader.round()

    t.directory.changes.delete_user(ada)
    soft = reader.round()
    t.wait(timedelta(days=30))

    assert soft == [{"id": ada, "@removed": {"reason": "changed"}}]
    assert reader.round() == [{"id": ada, "@removed": {"reason": "deleted"}}]


def test_a_restored_user_comes_back_whole():
    t = Tenant()
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=displayName")
    t.directory.changes.delete_user(ada)
    reader.round()

    t.directory.changes.restore_user(ada)

    assert reader.round() == [{"id": ada, "displayName": "Ada"}]


def test_a_round_can_be_narrowed_to_fifty_people():
    t = Tenant()
    people = [t.person(f"p{n}") for n in range(51)]

    def narrowed(ids: list[str]) -> httpx.Response:
        text = " or ".join(f"id eq '{i}'" for i in ids)
        return t.graph.get("/users/delta", params={"$select": "id", "$filter": text})

    assert {r["id"] for r in narrowed(people[:50]).json()["value"]} == set(people[:50])
    assert message(narrowed(people))[0] == 400


def test_a_narrowed_reader_hears_of_its_people_only():
    t = Tenant()
    ada, bob = t.person("ada"), t.person("bob")
    reader = Reader(t, f"/users/delta?$select=usageLocation&$filter=id eq '{ada}'")
    reader.round()

    for person in (ada, bob):
        t.graph.patch(f"/users/{person}", json={"usageLocation": "FR"})

    assert [r["id"] for r in reader.round()] == [ada]


@pytest.mark.parametrize(
    "option", ["$top=5", "$expand=manager", "$orderby=displayName", "$filter=accountEnabled eq true"]
)
def test_other_options_are_refused(option: str):
    t = Tenant()

    assert t.graph.get(f"/users/delta?{option}").status_code == 400


def test_a_token_is_good_for_seven_days():
    t = Tenant()
    t.person()
    reader = Reader(t, "/users/delta?$select=id")
    reader.round()

    t.wait(timedelta(days=7))
    in_time = t.graph.get(reader.link).status_code
    t.wait(MINUTE)
    late = t.graph.get(reader.link)

    assert in_time == 200
    assert message(late)[:2] == (410, "resyncRequired")
    assert late.headers["Location"].endswith("/users/delta?$deltatoken=")
    assert t.graph.get(late.headers["Location"]).status_code == 200


def test_a_resync_can_be_forced():
    t = Tenant()
    reader = Reader(t, "/users/delta?$select=id")
    reader.round()

    t.switches.delta_force_resync = True

    assert t.graph.get(reader.link).status_code == 410


def test_a_foreign_token_is_not_found():
    t = Tenant()

    assert message(t.graph.get("/users/delta?$deltatoken=nonsense"))[1] == "syncStateNotFound"


def test_rows_can_come_twice_and_quiet_objects_again():
    t = Tenant(delta_duplicates=1.0, delta_replays=1.0)
    ada, _ = t.person("ada"), t.person("bob")
    reader = Reader(t, "/users/delta?$select=id")

    first = [r["id"] for r in reader.round()]
    second = [r["id"] for r in reader.round()]

    assert first.count(ada) == 2
    assert len(second) == 1


def test_a_fresh_change_can_be_missing_from_the_next_round_and_comes_later():
    t = Tenant(delta_delay_s=60.0)
    ada = t.person()
    t.wait(2 * MINUTE)
    reader = Reader(t, "/users/delta?$select=usageLocation")
    reader.round()

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    fresh = reader.round()
    t.wait(MINUTE)

    assert fresh == []
    assert [r["id"] for r in reader.round()] == [ada]


def test_a_change_during_a_round_belongs_to_the_next_one():
    t = Tenant(delta_page_size=1)
    ada, bob = t.person("ada"), t.person("bob")
    first = t.graph.get("/users/delta?$select=usageLocation").json()

    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    second = t.graph.get(first["@odata.nextLink"]).json()
    third = t.graph.get(second["@odata.deltaLink"]).json()

    assert [r["id"] for r in first["value"] + second["value"]] == [ada, bob]
    assert [r["id"] for r in third["value"]] == [ada]


def test_groups_tell_who_joined_and_who_left():
    t = Tenant()
    ada, bob = t.person("ada"), t.person("bob")
    group = t.directory.add_group("Some")
    t.directory.add_member(group, ada)
    reader = Reader(t, "/groups/delta?$select=displayName,members")

    (first,) = reader.round()
    t.leave(group, ada)
    t.join(group, bob)
    (second,) = reader.round()

    assert first["members@delta"] == [{"@odata.type": "#microsoft.graph.user", "id": ada}]
    assert {m["id"]: m.get("@removed") for m in second["members@delta"]} == {ada: {"reason": "deleted"}, bob: None}


def test_a_big_group_spans_pages():
    t = Tenant(delta_page_size=2)
    group = t.directory.add_group("Big")
    people = {t.person(f"p{n}") for n in range(5)}
    for person in people:
        t.directory.add_member(group, person)

    rows = Reader(t, "/groups/delta?$select=displayName,members").round()

    assert {r["id"] for r in rows} == {group}
    assert len(rows) == 3
    assert {m["id"] for r in rows for m in r["members@delta"]} == people


def test_a_tracker_survives_the_world_being_kept():
    t = Tenant()
    ada = t.person()
    reader = Reader(t, "/users/delta?$select=usageLocation")
    reader.round()
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    t.directory.load(t.directory.to_json())

    assert [r["id"] for r in reader.round()] == [ada]


def test_nobody_is_skipped_when_people_change_between_the_pages_of_a_round():
    t = Tenant(delta_page_size=1)
    crowd = [t.person(f"p{n}") for n in range(4)]
    reader = Reader(t, "/users/delta?$select=usageLocation")
    reader.round()
    for person in crowd:
        t.graph.patch(f"/users/{person}", json={"usageLocation": "FR"})

    first = t.graph.get(reader.link).json()
    t.graph.patch(f"/users/{crowd[0]}", json={"usageLocation": "IT"})
    rest = Reader(t, first["@odata.nextLink"])

    assert [r["id"] for r in first["value"] + rest.round()] == crowd
    assert [r["id"] for r in rest.round()] == crowd[:1]
