"""Licence groups through the Graph client: what it asks for, and what it makes of the answers. From graph.md."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from desired_state.model import GroupId, UserId
from desired_state.rules import Rules
from reconciler.clients.graph import PERMISSIONS, Graph, RefusalReason, read_refusal
from reconciler.clients.graph.permissions import ENFORCE_GROUPS
from reconciler.clients.wire import Patience
from reconciler.errors import Malformed, NotFound, OutcomeUnknown, Rejected, RemoteError
from reconciler.loop.belonging import Belonging
from reconciler.loop.evidence import memberships
from reconciler.model import ObservedGroup
from tests.make_graph import GROUP_DELAY
from tests.make_graph import Tenant as Sandbox
from tests.wire.make_replies import GRAPH, Remote, a_graph, batch, guid, refused, reply
from tests.wire.openapi import Checked, contract

VISIO, OTHER = GroupId(guid(9)), GroupId(guid(8))
ADA, BOB = UserId(guid(1)), UserId(guid(2))
DENIED = (403, refused("Authorization_RequestDenied", "Insufficient privileges to complete the operation."))
ROW = {
    "id": VISIO,
    "displayName": "Visio",
    "groupTypes": [],
    "securityEnabled": True,
    "mailEnabled": False,
    "onPremisesSyncEnabled": None,
    "isAssignableToRole": None,
    "assignedLicenses": [],
    "licenseProcessingState": None,
}


def answering(rows: dict[str, tuple[int, object]]):
    """A batch endpoint that finds its answer by a part of the item's URL, the more particular ones first."""
    return batch(lambda url: (*next(found for part, found in rows.items() if part in unquote(url)), {}))


def ids(*numbers: int) -> tuple[int, object]:
    return 200, {"value": [{"id": guid(n)} for n in numbers]}


def test_a_group_comes_with_its_parents_and_the_applications_that_it_opens():
    remote = Remote(answering({"memberOf": ids(7), "appRole": ids(5, 6), "/groups/": (200, ROW)}))

    found = a_graph(remote).groups([VISIO])[VISIO]

    assert isinstance(found, ObservedGroup)
    assert (found.parents, found.app_roles, found.licenses) == ((GroupId(guid(7)),), 2, ())


def test_what_may_not_be_read_of_a_group_is_unknown_and_never_none():
    remote = Remote(answering({"memberOf": DENIED, "appRole": DENIED, "/groups/": (200, ROW)}))

    found = a_graph(remote).groups([VISIO])[VISIO]

    assert isinstance(found, ObservedGroup)
    assert (found.parents, found.app_roles) == (None, None)


def test_a_list_that_breaks_off_leaves_the_app_roles_unknown():
    half = (200, {"value": [], "@odata.nextLink": f"{GRAPH}/groups/x?$skiptoken=a"})
    whole = answering({"memberOf": ids(), "appRole": half, "/groups/": (200, ROW)})
    remote = Remote(whole, whole, whole, reply(503))

    found = a_graph(remote, patience=Patience(attempts=1)).groups([VISIO])[VISIO]

    assert isinstance(found, ObservedGroup)
    assert (found.parents, found.app_roles) == ((), None)


def test_a_group_that_is_not_there_is_said_to_be_missing():
    remote = Remote(answering({"/groups/": (404, refused("Request_ResourceNotFound", "no"))}))

    assert isinstance(a_graph(remote).groups([VISIO])[VISIO], NotFound)


def test_names_are_asked_for_exactly_and_a_name_may_belong_to_several_groups():
    twin = {**ROW, "id": OTHER, "displayName": "o'brien"}
    named = {**ROW, "displayName": "O'Brien"}
    remote = Remote(answering({"displayName eq 'O''Brien'": (200, {"value": [named, twin]}), "eq 'None'": ids()}))

    found = a_graph(remote).groups_by_name(["O'Brien", "None"])

    brien = found["O'Brien"]
    assert not isinstance(brien, RemoteError)
    assert ([g.id for g in brien], found["None"]) == ([VISIO, OTHER], ())


def test_the_name_of_a_group_is_somebodys_text_and_is_cleaned():
    row = {**ROW, "displayName": "Visio\x1b[2J\r\nPhase: granted" + "A" * 500}
    remote = Remote(answering({"memberOf": ids(), "appRole": ids(), "/groups/": (200, row)}))

    found = a_graph(remote).groups([VISIO])[VISIO]

    assert isinstance(found, ObservedGroup)
    assert found.name.isprintable()
    assert len(found.name) == 120


def test_a_filter_that_was_ignored_is_no_answer():
    remote = Remote(answering({"displayName eq": (200, {"value": [ROW]})}))

    assert isinstance(a_graph(remote).groups_by_name(["Calling"])["Calling"], Malformed)


def test_memberships_are_direct_ones_and_complete_to_the_last_page():
    def first(url: str):
        more = {"@odata.nextLink": f"{GRAPH}/users/{ADA}/memberOf/microsoft.graph.group?$skiptoken=b"}
        return (200, {"value": [{"id": VISIO.upper()}], **(more if ADA in url else {})}, {})

    remote = Remote(batch(first), reply(200, {"value": [{"id": OTHER}]}))

    found = a_graph(remote).user_groups([ADA, BOB])

    assert found == {ADA: frozenset({VISIO, OTHER}), BOB: frozenset({VISIO})}
    assert "transitive" not in json.dumps(remote.bodies())


def test_a_membership_list_that_breaks_off_is_an_error_and_not_a_shorter_list():
    half = answering({"memberOf": (200, {"value": [], "@odata.nextLink": f"{GRAPH}/users/x?$skiptoken=b"})})

    found = a_graph(Remote(half, reply(503)), patience=Patience(attempts=1)).user_groups([ADA])

    assert isinstance(found[ADA], RemoteError)


def test_a_member_is_added_by_reference_and_removed_without_touching_the_account_itself():
    remote = Remote(reply(204, None, {"request-id": "r-1"}))
    graph = a_graph(remote)

    told = graph.add_group_member(VISIO, ADA)
    graph.remove_group_member(VISIO, ADA)

    assert (told.request_id, told.status) == ("r-1", 204)
    assert [(r.method, str(r.url)) for r in remote.seen] == [
        ("POST", f"{GRAPH}/groups/{VISIO}/members/$ref"),
        ("DELETE", f"{GRAPH}/groups/{VISIO}/members/{ADA}/$ref"),
    ]
    assert remote.bodies()[0] == {"@odata.id": f"{GRAPH}/directoryObjects/{ADA}"}


def test_a_membership_change_of_nobody_or_of_no_group_is_never_sent():
    remote = Remote(reply(204))
    graph = a_graph(remote)

    for group, user in ((VISIO, ""), ("", ADA), (VISIO, f"{ADA}/$ref/.."), ("../users", ADA)):
        with pytest.raises(ValueError, match="object id"):
            graph.remove_group_member(GroupId(group), UserId(user))

    assert remote.seen == []


def test_a_membership_change_without_a_trustworthy_reply_may_have_landed():
    with pytest.raises(OutcomeUnknown):
        a_graph(Remote(reply(500))).add_group_member(VISIO, ADA)


def test_reprocessing_is_asked_for_without_a_body_and_tells_the_true_reason_when_it_fails():
    why = f"License assignment failed because service plans {guid(31)}, {guid(32)} are mutually exclusive."
    remote = Remote(reply(400, refused("Request_BadRequest", why)))

    with pytest.raises(Rejected) as caught:
        a_graph(remote).reprocess_user(ADA)

    assert str(remote.seen[0].url) == f"{GRAPH}/users/{ADA}/reprocessLicenseAssignment"
    assert remote.seen[0].content == b""
    refusal = read_refusal(caught.value.status, caught.value.code, caught.value.detail)
    assert (refusal.reason, refusal.plans) == (RefusalReason.EXCLUSIVE, (guid(31), guid(32)))


def test_groups_in_error_are_asked_for_in_the_other_form_where_the_first_is_refused():
    no = reply(400, refused("Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified"))
    remote = Remote(no, reply(200, {"value": [{"id": VISIO}]}))

    found = a_graph(remote).groups_in_error()

    assert found == (VISIO,)
    plain, advanced = remote.seen
    assert "ConsistencyLevel" not in plain.headers
    assert advanced.headers["ConsistencyLevel"] == "eventual"


def test_every_request_about_groups_is_one_that_microsoft_describes():
    described = contract()
    remote = Remote(answering({"/groups/": (200, ROW), "": ids()}))
    graph = a_graph(remote)
    graph.groups_by_name(["Visio"])
    graph.user_groups([ADA])
    sent = [("GET", item["url"].partition("?")[0], None) for body in remote.bodies() for item in body["requests"]]
    single = Remote(reply(404, refused("Request_ResourceNotFound", "no")))
    graph = a_graph(single)
    for call in (
        graph.groups_in_error,
        lambda: graph.group_members(VISIO),
        lambda: graph.add_group_member(VISIO, ADA),
        lambda: graph.remove_group_member(VISIO, ADA),
        lambda: graph.reprocess_user(ADA),
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
    assert len(sent) == 7


def test_members_come_with_what_they_hold_and_what_is_not_shown_is_unknown():
    more = {"@odata.nextLink": f"{GRAPH}/groups/{VISIO}/members/microsoft.graph.user?$skiptoken=a"}
    first = {"id": ADA, "assignedLicenses": [{"skuId": guid(300).upper(), "disabledPlans": []}]}
    remote = Remote(reply(200, {"value": [first], **more}), reply(200, {"value": [{"id": BOB}]}))

    found = a_graph(remote).group_members(VISIO)

    assert found == {ADA: frozenset({guid(300)}), BOB: None}


# --- against the sandbox -----------------------------------------------------------------------------------


def a_sandbox_graph(t: Sandbox) -> Graph:
    """Our client on the sandbox's own transport, as wiring connects the two."""

    class Transport(Checked):
        def handle_request(self, request):
            request.headers["Authorization"] = t.graph.headers["Authorization"]
            request.url = request.url.copy_with(host=t.graph.base_url.host)
            return super().handle_request(request)

    return a_graph(Transport(t.graph._transport), base_url=str(t.graph.base_url).rstrip("/"))


def test_a_group_of_the_sandbox_shows_what_else_it_gives():
    t = Sandbox()
    t.own("VISIOCLIENT")
    plain = t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()})
    rich = t.directory.add_group("Rich", licenses={"VISIOCLIENT": ()}, app_roles=("Payroll",))
    t.directory.add_member(t.directory.add_group("Outer"), rich)

    found = a_sandbox_graph(t).groups([GroupId(plain), GroupId(rich)])

    shown = [(g.app_roles, len(g.parents or ()), g.is_writable) for g in found.values() if isinstance(g, ObservedGroup)]
    assert shown == [(0, 0, True), (1, 1, True)]


def test_who_is_in_a_group_through_another_one_is_in_it():
    t = Sandbox()
    ada, bob = UserId(t.person()), UserId(t.person("bob"))
    inner, outer = GroupId(t.directory.add_group("Inner")), GroupId(t.directory.add_group("Outer"))
    t.directory.add_member(inner, ada)
    t.directory.add_member(outer, inner)

    found = a_sandbox_graph(t).transitive_groups([ada, bob])

    assert found == {ada: frozenset({inner, outer}), bob: frozenset()}


def test_groups_through_others_that_break_off_are_an_error_and_not_a_shorter_list():
    half = answering({"transitiveMemberOf": (200, {"value": [], "@odata.nextLink": f"{GRAPH}/users/x?$skiptoken=b"})})

    found = a_graph(Remote(half, reply(503)), patience=Patience(attempts=1)).transitive_groups([ADA])

    assert isinstance(found[ADA], RemoteError)


@pytest.mark.parametrize("broken", [False, True])
def test_rules_are_told_who_is_in_their_groups_and_nothing_of_groups_that_are_none(broken):
    t = Sandbox()
    ada, bob = UserId(t.person()), UserId(t.person("bob"))
    inner, outer = GroupId(t.directory.add_group("Inner")), GroupId(t.directory.add_group("Leavers"))
    t.directory.add_member(inner, ada)
    t.directory.add_member(outer, inner)
    for _ in range(2):
        t.directory.add_group("Twice")
    if broken:
        t.directory.add_group("leavers")  # now the name means neither
    rules = Rules.model_validate(
        {
            "rules": [
                {"id": "a", "kind": "deny", "groups": ["Leavers", "Twice", "Nobody"]},
                {"id": "b", "kind": "deny", "groups": [inner.upper(), guid(77)]},
            ]
        }
    )

    found = memberships(Belonging(a_sandbox_graph(t)), rules.group_names(), [ada, bob])

    leavers = None if broken else True
    unknown = {"twice": None, "nobody": None, guid(77): None}
    assert found[ada] == {"leavers": leavers, inner: True, **unknown}
    assert found[bob] == {"leavers": None if broken else False, inner: False, **unknown}


def test_joining_leaving_and_reprocessing_in_the_sandbox():
    t = Sandbox()
    t.own("VISIOCLIENT")
    ada, group = UserId(t.person()), GroupId(t.directory.add_group("Visio", licenses={"VISIOCLIENT": ()}))
    graph = a_sandbox_graph(t)

    graph.add_group_member(group, ada)
    with pytest.raises(Rejected) as again:
        graph.add_group_member(group, ada)
    t.wait(GROUP_DELAY)
    graph.reprocess_user(ada)
    held = t.licences(ada).keys()
    graph.remove_group_member(group, ada)
    with pytest.raises(NotFound):
        graph.remove_group_member(group, ada)

    assert read_refusal(400, again.value.code, again.value.detail).reason is RefusalReason.ALREADY_MEMBER
    assert held == {"VISIOCLIENT"}
    assert graph.user_groups([ada]) == {ada: frozenset()}


def test_every_operation_of_the_group_path_has_a_permission_that_doctor_can_name():
    assert all(PERMISSIONS[operation] for operation in ENFORCE_GROUPS)


# --- who is in which groups, and who holds a role


def test_holders_of_a_role_are_those_it_is_assigned_to_and_the_members_of_groups_that_hold_it():
    sandbox = Sandbox()
    boss, aide, heir = (
        sandbox.directory.add_user(f"{name}@contoso.example", display_name=name) for name in ("boss", "aide", "heir")
    )
    sandbox.directory.add_user("ada@contoso.example", display_name="ada")
    admins = sandbox.directory.add_group("Admins", role_assignable=True)
    sandbox.directory.add_member(admins, aide)
    sandbox.directory.roles.assign("User Administrator", boss)
    sandbox.directory.roles.assign("Helpdesk Administrator", admins)
    sandbox.directory.roles.assign("License Administrator", heir, eligible=True)  # may take it up at any moment

    assert {boss, aide, heir} <= a_sandbox_graph(sandbox).role_holders() <= {boss, aide, heir, admins}


def test_a_tenant_in_which_nobody_can_be_eligible_for_a_role_has_holders_all_the_same():
    assigned = (200, {"value": [{"principalId": guid(9)}]})
    no_p2 = (400, refused("AadPremiumLicenseRequired", "The tenant needs Entra ID P2."))

    assert a_graph(Remote(answering({"roleAssign": assigned, "roleElig": no_p2}))).role_holders() == {guid(9)}
    with pytest.raises(RemoteError):
        a_graph(Remote(answering({"roleAssign": assigned, "roleElig": DENIED}))).role_holders()


def test_half_a_list_of_role_holders_is_no_list():
    assigned = {"value": [{"principalId": guid(9), "principal": {"@odata.type": "#microsoft.graph.group"}}]}
    none = (200, {"value": []})
    remote = Remote(answering({"roleAssign": (200, assigned), "roleElig": none, "transitiveMembers": DENIED}))

    with pytest.raises(RemoteError):
        a_graph(remote).role_holders()


def test_groups_of_a_person_are_those_of_their_groups_too_and_one_that_cannot_be_read_is_an_error():
    remote = Remote(answering({guid(1): ids(7, 8), guid(2): DENIED}))

    found = a_graph(remote).transitive_groups([ADA, BOB])

    assert found[ADA] == {GroupId(guid(7)), GroupId(guid(8))}
    assert isinstance(found[BOB], RemoteError)


def test_licensed_people_are_counted_of_all_or_of_some_domains_and_never_guessed():
    remote = Remote(reply(200, {"@odata.count": 40, "value": []}), reply(200, {"@odata.count": 2, "value": []}))
    assert a_graph(remote).licensed_people(["contoso.example", "o'neil.example"]) == 42
    assert ["o''neil.example" in q["$filter"] for q in remote.queries()] == [False, True]

    with pytest.raises(Malformed):
        a_graph(Remote(reply(200, {"value": []}))).licensed_people()


def test_twenty_people_join_a_group_in_one_request():
    people = [UserId(guid(n)) for n in range(10, 30)]
    remote = Remote(reply(204))

    a_graph(remote).add_group_members(VISIO, people)

    (request,) = remote.seen
    assert (request.method, request.url.path) == ("PATCH", f"/v1.0/groups/{VISIO}")
    assert remote.bodies() == [{"members@odata.bind": [f"{GRAPH}/directoryObjects/{p}" for p in people]}]
    with pytest.raises(ValueError, match="between 1 and 20"):
        a_graph(remote).add_group_members(VISIO, [*people, ADA])
