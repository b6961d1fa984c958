"""Who is privileged, and what an account is for, as the sandbox's Graph tells it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.graph import GraphService
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world, read_world
from tests.make_world import contoso
from tests.wire.openapi import Checked


class Roles:
    """Contoso's Graph for a caller that may read everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        token = tokens.issue(
            key=tokens.key_of(world.seed),
            tenant_id=hosts.TENANT_ID,
            issuer="https://sts.windows.net/",
            audience=hosts.GRAPH_URL,
            app_id=hosts.CLIENT_ID,
            app_name="License Reconciler",
            roles=hosts.ENFORCE_ROLES,
            now=world.clock.now(),
            lifetime_s=3600,
            token_id="1",
        )
        self.http = httpx.Client(
            transport=Checked(httpx.MockTransport(GraphService(world))),
            base_url=f"{hosts.GRAPH_URL}/v1.0",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def names(self, path: str) -> list[str]:
        return [row["displayName"] for row in self.http.get(path).json()["value"]]

    def id(self, name: str) -> str:
        return self.world.directory.user(f"{name}@contoso.example").user_id


@pytest.fixture
def graph() -> Iterator[Roles]:
    roles = Roles(contoso())
    with roles.http:
        yield roles


def test_the_roles_in_use_name_their_members(graph: Roles):
    roles = {row["displayName"]: row for row in graph.http.get("/directoryRoles").json()["value"]}

    assert set(roles) == {"Global Administrator", "License Administrator", "Teams Administrator", "User Administrator"}
    assert roles["Global Administrator"]["roleTemplateId"] == "62e90394-69f5-4237-9190-012177145e10"
    members = f"/directoryRoles/{roles['Global Administrator']['id']}/members"
    assert graph.names(members) == ["Break Glass", "Tier 0 Administrators"]
    assert graph.names(f"/directoryRoles/{roles['License Administrator']['id']}/members") == ["Nina Schulz"]


def test_a_person_is_privileged_directly_or_through_a_group(graph: Roles):
    robert, tom = graph.id("robert.novak"), graph.id("tom.weber")
    cast = "microsoft.graph.directoryRole"

    assert graph.names(f"/users/{tom}/memberOf/{cast}") == ["Teams Administrator"]
    assert graph.names(f"/users/{robert}/memberOf/{cast}") == []
    assert graph.names(f"/users/{robert}/transitiveMemberOf/{cast}") == ["Global Administrator"]
    assert "Global Administrator" in graph.names(f"/users/{robert}/transitiveMemberOf")
    assert graph.names(f"/users/{graph.id('lena.fischer')}/transitiveMemberOf/{cast}") == []


def test_assignments_can_be_asked_for_by_principal_with_what_they_give(graph: Roles):
    nina = graph.id("nina.schulz")
    path = "/roleManagement/directory/roleAssignments"

    rows = graph.http.get(path, params={"$filter": f"principalId eq '{nina}'", "$expand": "roleDefinition"}).json()

    assert [row["roleDefinition"]["displayName"] for row in rows["value"]] == ["License Administrator"]
    assert {row["directoryScopeId"] for row in graph.http.get(path).json()["value"]} == {"/"}


def test_what_is_expanded_stays_beside_what_is_selected_and_who_is_gone_holds_nothing(graph: Roles):
    tom = graph.world.directory.user(graph.id("tom.weber"))
    path = "/roleManagement/directory/roleAssignments"
    query = {"$select": "principalId", "$expand": "principal"}

    graph.world.directory.store.set_deleted(tom, graph.world.clock.now())

    rows = graph.http.get(path, params=query).json()["value"]
    assert {row["principal"]["displayName"] for row in rows} == {
        "Break Glass",
        "Tier 0 Administrators",
        "Nina Schulz",
        "David Okafor",
    }
    assert set(rows[0]) == {"principalId", "principal"}


def test_a_role_that_can_be_taken_up_is_listed_apart(graph: Roles):
    rows = graph.http.get("/roleManagement/directory/roleEligibilityScheduleInstances").json()["value"]

    assert [row["principalId"] for row in rows] == [graph.id("oliver.grant")]


def test_roles_can_be_closed_to_a_reader(graph: Roles):
    graph.world.switches.directory_roles_readable = False

    for path in ("/directoryRoles", "/roleManagement/directory/roleAssignments"):
        assert graph.http.get(path).status_code == 403


@pytest.mark.parametrize(
    ("account", "purpose"), [("licences", "shared"), ("room.berlin", "room"), ("lena.fischer", "user")]
)
def test_a_mailbox_says_what_it_is_for(graph: Roles, account: str, purpose: str):
    upn = f"{account}@contoso.example"

    assert graph.http.get(f"/users/{upn}/mailboxSettings").json()["userPurpose"] == purpose
    assert graph.http.get(f"/users/{upn}/mailboxSettings/userPurpose").json()["value"] == purpose


def test_accounts_that_are_no_person_are_told_apart(graph: Roles):
    rows = graph.http.get(
        "/users", params={"$select": "displayName,userType,isResourceAccount,accountEnabled", "$top": "999"}
    ).json()["value"]
    by_name = {row["displayName"]: row for row in rows}

    assert by_name["Alex Partner"]["userType"] == "Guest"
    assert by_name["Reception"]["isResourceAccount"] is True
    assert by_name["Lena Fischer"]["isResourceAccount"] is None
    missing = graph.http.get("/users/break.glass@contoso.example/mailboxSettings")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "MailboxNotEnabledForRESTAPI")


def test_a_kept_world_knows_its_roles(graph: Roles, tmp_path):
    keep_world(tmp_path / "world.json", graph.world, "contoso")

    world, _ = read_world(tmp_path / "world.json")

    assert world.directory.roles.assignments == graph.world.directory.roles.assignments
