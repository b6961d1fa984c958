"""Microsoft's own clients, unchanged, against the sandbox over TLS: msgraph-sdk, and azure-identity to sign in.

What they cannot do here is a defect of the sandbox. The batch classes of msgraph-core need a package it does not
declare, so the batch is built as the SDK's request adapter sends any request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.groups.groups_request_builder import GroupsRequestBuilder
from msgraph.generated.models.assigned_license import AssignedLicense
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.reference_create import ReferenceCreate
from msgraph.generated.models.user import User
from msgraph.generated.users.item.assign_license.assign_license_post_request_body import AssignLicensePostRequestBody
from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_core import APIVersion, GraphClientFactory
from msgraph_core.tasks.page_iterator import PageIterator

from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.world import World
from tests.make_world import contoso

pytestmark = pytest.mark.tls

ANNA = "anna.berger@contoso.example"
Task = Callable[[GraphServiceClient], Awaitable[Any]]


@pytest.fixture
def world() -> World:
    return contoso()


@pytest.fixture
def sandbox(world: World) -> Iterator[Serving]:
    with serve(world) as ports:
        yield ports


def signed_in(sandbox: Serving, **changed: str) -> ClientSecretCredential:
    known = {**sandbox.line(), **changed}
    return ClientSecretCredential(
        known["tenant_id"],
        known["client_id"],
        known["client_secret"],
        authority=known["login"],
        disable_instance_discovery=True,
        transport=RequestsTransport(connection_verify=known["ca_file"], use_env_settings=False),
    )


def with_graph(sandbox: Serving, task: Task) -> Any:
    """Run one task with a client that is configured as a customer's is: base address, credential, own authority."""

    async def run() -> Any:
        credential = signed_in(sandbox)
        trusting = httpx.AsyncHTTPTransport(verify=client_context(sandbox.ca_file), trust_env=False)
        http = GraphClientFactory.create_with_default_middleware(
            api_version=APIVersion.v1, client=httpx.AsyncClient(transport=trusting, trust_env=False)
        )
        provider = AzureIdentityAuthenticationProvider(credential, allowed_hosts=["127.0.0.1"])
        adapter = GraphRequestAdapter(provider, client=http)
        adapter.base_url = sandbox.graph
        try:
            return await task(GraphServiceClient(request_adapter=adapter))
        finally:
            await http.aclose()
            await trusting.aclose()  # the middleware does not pass the close on
            credential.close()

    return asyncio.run(run())


def users_of(**query: Any) -> RequestConfiguration[Any]:
    return RequestConfiguration(query_parameters=UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(**query))


def user_of(**query: Any) -> RequestConfiguration[Any]:
    parameters = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(**query)
    return RequestConfiguration(query_parameters=parameters)


def test_a_wrong_secret_does_not_sign_in(sandbox: Serving) -> None:
    with signed_in(sandbox, client_secret="guessed") as credential, pytest.raises(ClientAuthenticationError) as refused:
        credential.get_token("https://graph.microsoft.com/.default")

    assert "AADSTS7000215" in str(refused.value)


def test_every_person_is_listed_once_over_all_pages(sandbox: Serving, world: World) -> None:
    async def task(graph: GraphServiceClient) -> list[str]:
        first = await graph.users.get(users_of(select=["id", "userPrincipalName", "accountEnabled"], top=20))
        names: list[str] = []

        def read(user: User) -> bool:
            names.append(user.user_principal_name)
            return True

        await PageIterator(first, graph.request_adapter).iterate(read)
        return names

    names = with_graph(sandbox, task)

    assert len(names) > 40
    assert sorted(names) == sorted(user.upn for user in world.directory.store.users.values())


def test_people_are_found_by_a_filter(sandbox: Serving) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        return await graph.users.get(users_of(filter=f"userPrincipalName eq '{ANNA}'", select=["id", "usageLocation"]))

    found = with_graph(sandbox, task)

    assert [user.usage_location for user in found.value] == [None]


def test_the_assignments_of_a_person_keep_direct_and_inherited_apart(sandbox: Serving, world: World) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        emma = graph.users.by_user_id("emma.larsson@contoso.example")
        return await emma.get(user_of(select=["id", "assignedLicenses", "licenseAssignmentStates"]))

    states = with_graph(sandbox, task).license_assignment_states

    calling = world.directory.group("M365-Calling-International").group_id
    failed = [s for s in states if s.state == "Error"]
    assert [(s.assigned_by_group, s.error) for s in failed] == [(calling, "MutuallyExclusiveViolation")]
    assert {s.assigned_by_group is None for s in states} == {True, False}


def test_seats_are_read_from_the_subscriptions(sandbox: Serving) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        return await graph.subscribed_skus.get()

    skus = {sku.sku_part_number: sku for sku in with_graph(sandbox, task).value}

    visio, power_bi = skus["VISIOONLINE_PLAN1"], skus["POWER_BI_PRO"]
    assert visio.prepaid_units.enabled - visio.consumed_units == 0
    assert power_bi.prepaid_units.enabled - power_bi.consumed_units == 2
    assert {plan.service_plan_name for plan in power_bi.service_plans} >= {"BI_AZURE_P2"}


def test_a_licence_is_assigned_provisioned_and_removed(sandbox: Serving, world: World) -> None:
    project = world.directory.sku("PROJECTPROFESSIONAL")

    async def details(graph: GraphServiceClient) -> dict[str, str]:
        answer = await graph.users.by_user_id(ANNA).license_details.get()
        return {plan.service_plan_name: plan.provisioning_status for sku in answer.value for plan in sku.service_plans}

    async def task(graph: GraphServiceClient) -> Any:
        anna = graph.users.by_user_id(ANNA)
        await anna.patch(User(usage_location="DE"))
        add = [AssignedLicense(sku_id=project, disabled_plans=[])]
        await anna.assign_license.post(AssignLicensePostRequestBody(add_licenses=add, remove_licenses=[]))
        at_once = await details(graph)
        world.clock.sleep(60)
        later = await details(graph)
        await anna.assign_license.post(AssignLicensePostRequestBody(add_licenses=[], remove_licenses=[project]))
        return at_once, later, await details(graph)

    at_once, later, removed = with_graph(sandbox, task)

    assert at_once["PROJECT_CLIENT_SUBSCRIPTION"] == "PendingInput"
    assert later["PROJECT_CLIENT_SUBSCRIPTION"] == "Success"
    assert removed == {}
    assert world.directory.user(ANNA).usage_location == "DE"


@pytest.mark.parametrize(
    ("upn", "part_number", "words"),
    [
        (ANNA, "PROJECTPROFESSIONAL", "invalid usage location"),
        ("henrik.olsen@contoso.example", "VISIOONLINE_PLAN1", "does not have any available licenses"),
        ("paula.gomez@contoso.example", "MCOPSTN1", "are mutually exclusive"),
        ("noor.jansen@contoso.example", "MCOEV", "depends on the service plan(s)"),
    ],
)
def test_a_refused_licence_says_why_in_code_and_message(
    sandbox: Serving, world: World, upn: str, part_number: str, words: str
) -> None:
    before = list(world.directory.assign_states(upn))

    async def task(graph: GraphServiceClient) -> Any:
        add = [AssignedLicense(sku_id=world.directory.sku(part_number), disabled_plans=[])]
        body = AssignLicensePostRequestBody(add_licenses=add, remove_licenses=[])
        await graph.users.by_user_id(upn).assign_license.post(body)

    with pytest.raises(ODataError) as refused:
        with_graph(sandbox, task)

    assert refused.value.response_status_code == 400
    assert refused.value.error.code == "Request_BadRequest"
    assert words in refused.value.error.message
    assert world.directory.assign_states(upn) == before


def test_somebody_unknown_is_not_found(sandbox: Serving) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        await graph.users.by_user_id("karim.aziz@contoso.example").get()

    with pytest.raises(ODataError) as missing:
        with_graph(sandbox, task)

    assert (missing.value.response_status_code, missing.value.error.code) == (404, "Request_ResourceNotFound")


def test_joining_a_group_brings_its_licence_when_the_group_is_processed(sandbox: Serving, world: World) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        parameters = GroupsRequestBuilder.GroupsRequestBuilderGetQueryParameters(
            filter="displayName eq 'M365-Visio-Plan-2'", select=["id", "assignedLicenses", "licenseProcessingState"]
        )
        groups = await graph.groups.get(RequestConfiguration(query_parameters=parameters))
        bram = await graph.users.by_user_id("bram.devries@contoso.example").get()
        member = ReferenceCreate(odata_id=f"{sandbox.graph}/directoryObjects/{bram.id}")
        await graph.groups.by_group_id(groups.value[0].id).members.ref.post(member)
        world.clock.sleep(601)
        return await graph.users.by_user_id(bram.id).get(user_of(select=["licenseAssignmentStates"]))

    states = with_graph(sandbox, task).license_assignment_states

    visio = world.directory.sku("VISIOCLIENT")
    assert [(str(s.sku_id), s.state) for s in states if str(s.sku_id) == visio] == [(visio, "Active")]


def test_a_synced_group_refuses_members(sandbox: Serving, world: World) -> None:
    group_id = world.directory.group("AD-Visio-Plants").group_id
    zoe = world.directory.user("zoe.bakker@contoso.example").user_id

    async def task(graph: GraphServiceClient) -> Any:
        member = ReferenceCreate(odata_id=f"{sandbox.graph}/directoryObjects/{zoe}")
        await graph.groups.by_group_id(group_id).members.ref.post(member)

    with pytest.raises(ODataError) as refused:
        with_graph(sandbox, task)

    assert "on-premises mastered" in refused.value.error.message


def test_the_audit_log_names_who_took_a_licence_away(sandbox: Serving, world: World) -> None:
    quentin = world.directory.user("quentin.moreau@contoso.example").user_id

    async def task(graph: GraphServiceClient) -> Any:
        return await graph.audit_logs.directory_audits.get()

    entries = with_graph(sandbox, task).value

    mine = [e for e in entries if any(t.id == quentin for t in e.target_resources)]
    assert {e.initiated_by.user.user_principal_name for e in mine} == {"tom.weber@contoso.example"}
    assert "Change user license" in {e.activity_display_name for e in mine}


def test_a_batch_answers_each_request_by_its_id(sandbox: Serving) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        wanted = {
            "requests": [
                {"id": "anna", "method": "GET", "url": f"/users/{ANNA}?$select=country"},
                {"id": "nobody", "method": "GET", "url": "/users/nobody@contoso.example"},
                {"id": "seats", "method": "GET", "url": "/subscribedSkus"},
            ]
        }
        request = RequestInformation(Method.POST, "{+baseurl}/$batch", {"baseurl": sandbox.graph})
        request.headers.add("Content-Type", "application/json")
        request.set_stream_content(json.dumps(wanted).encode(), "application/json")
        return await graph.request_adapter.send_primitive_async(request, "bytes", {})

    answers = {a["id"]: a for a in json.loads(with_graph(sandbox, task))["responses"]}

    assert {key: a["status"] for key, a in answers.items()} == {"anna": 200, "nobody": 404, "seats": 200}
    assert answers["anna"]["body"]["country"] == "DE"
    assert answers["nobody"]["body"]["error"]["code"] == "Request_ResourceNotFound"


def test_changes_are_followed_by_delta(sandbox: Serving, world: World) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        delta = graph.users.delta
        page = await delta.get()
        while page.odata_next_link:
            page = await delta.with_url(page.odata_next_link).get()
        await graph.users.by_user_id(ANNA).patch(User(usage_location="DE"))
        changed = await delta.with_url(page.odata_delta_link).get()
        return [user.id for user in changed.value]

    changed = with_graph(sandbox, task)

    assert world.directory.user(ANNA).user_id in changed


@pytest.mark.parametrize(("upn", "numbers"), [("farid.haddad", ["+44 20 7946 0106"]), ("hanna.virtanen", [])])
def test_teams_tells_who_can_be_called(sandbox: Serving, upn: str, numbers: list[str]) -> None:
    async def task(graph: GraphServiceClient) -> Any:
        user = await graph.users.by_user_id(f"{upn}@contoso.example").get()
        configurations = graph.admin.teams.user_configurations
        return await configurations.by_teams_user_configuration_id(user.id).get()

    configuration = with_graph(sandbox, task)

    assert [number.telephone_number for number in configuration.telephone_numbers] == numbers
    assert configuration.is_enterprise_voice_enabled == bool(numbers)
    assert "PhoneSystem" in configuration.feature_types
