"""Groups and their members (graph.md section 8)."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.sandbox.directory import Group
from reconciler.sandbox.graph import listing
from reconciler.sandbox.graph.answers import Answer, bad_request, not_implemented, unsupported_query
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import Properties
from reconciler.sandbox.graph.tenant import directory_object
from reconciler.sandbox.instants import iso

NO_ROLE = "00000000-0000-0000-0000-000000000000"  # the role of an application that has none
BIND_MAX = 20
ERROR_FLAG = "hasMembersWithLicenseErrors"
REFERENCE = re.compile(r"/(?:directoryObjects|users|groups)(?:/([0-9a-fA-F-]{36})|\('([0-9a-fA-F-]{36})'\))$")

_EQ = frozenset({"eq", "ne", "in"})
GROUP_FILTERS: Mapping[str, frozenset[str]] = {
    "id": _EQ,
    "displayName": _EQ | {"ge", "le", "startswith"},
    "mail": _EQ | {"startswith"},
    "mailNickname": _EQ | {"startswith"},
    "mailEnabled": _EQ,
    "securityEnabled": _EQ,
    "onPremisesSyncEnabled": _EQ,
    "createdDateTime": _EQ | {"ge", "le"},
    "assignedLicenses": frozenset({"eq", "count"}),
    "assignedLicenses/skuId": frozenset({"any"}),
    ERROR_FLAG: frozenset({"eq"}),
}
CASTS = {
    "microsoft.graph.user": "user",
    "graph.user": "user",
    "microsoft.graph.group": "group",
    "graph.group": "group",
    "microsoft.graph.directoryrole": "directoryRole",
    "graph.directoryrole": "directoryRole",
}


class Groups:
    """Routes under /groups, and the memberships of users."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    # --- groups

    def search(self, call: Call) -> Answer:
        """GET /groups"""
        if "$search" in call.query or "$expand" in call.query:
            raise not_implemented("$search and $expand on groups")
        names = self._properties.group_names(call.select(), unknown=call.switches.unknown_select)
        wanted = listing.read_filter(call, GROUP_FILTERS, "Group")
        if wanted is not None and any(t.path == ERROR_FLAG for t in wanted.tests):
            self._check_error_filter(call)
        order = listing.ordering(call, ("displayName", "createdDateTime"))
        ids = list(call.store.groups)
        return listing.answer_list(
            call,
            lambda i: _visible(call, ids[i]),
            len(ids),
            context="groups",
            matches=lambda g: wanted is None or wanted.matches(lambda path: self._value(call, g, path)),
            show=lambda g: self._properties.group(g, names),
            order=None if order is None else lambda g: str(self._value(call, g, order[0])).casefold(),
            descending=bool(order and order[1]),
            licence_filter=wanted is not None and any(t.path.startswith("assignedLicenses") for t in wanted.tests),
        )

    def _check_error_filter(self, call: Call) -> None:
        """The documented advanced form is refused by real tenants; which form works is a switch."""
        form = "advanced" if call.is_advanced else "plain"
        if call.switches.licence_error_filter not in (form, "both"):
            raise unsupported_query(
                f"Unsupported or invalid query filter clause specified for property '{ERROR_FLAG}' of resource 'Group'."
            )

    def _value(self, call: Call, group: Group, path: str) -> Any:
        if path == ERROR_FLAG:
            return any(True for _ in self._in_error(call, group))
        return self._properties.group_value(group, path)

    def get(self, call: Call, key: str) -> Answer:
        """GET /groups/{id}"""
        call.refuse_options("$select", "$count")
        names = self._properties.group_names(call.select(), unknown=call.switches.unknown_select)
        group = call.store.live_group(key, stale=call.is_stale)
        return Answer(200, {"@odata.context": call.context("groups/$entity")} | self._properties.group(group, names))

    def patch(self, call: Call, key: str) -> Answer:
        """PATCH /groups/{id} with members@odata.bind, at most 20."""
        changes = call.json()
        group = call.store.live_group(key)
        if set(changes) != {"members@odata.bind"}:
            raise not_implemented(f"changing {', '.join(sorted(changes)) or 'nothing'} of a group")
        links = changes["members@odata.bind"]
        if not isinstance(links, list) or not 1 <= len(links) <= BIND_MAX:
            raise bad_request(f"The number of references in 'members@odata.bind' must be between 1 and {BIND_MAX}.")
        object_ids = [_referenced(link) for link in links]
        call.directory.changes.check_members_writable(group, actor_roles=call.roles)
        call.directory.changes.join_group(group.group_id, object_ids, actor=call.actor)
        return Answer(204)

    # --- members

    def members(self, call: Call, key: str, cast: str | None = None) -> Answer:
        """GET /groups/{id}/members, perhaps only those of one type"""
        group = call.store.live_group(key, stale=call.is_stale)
        return self._objects(call, list(group.members), "directoryObjects", cast)

    def member_refs(self, call: Call, key: str) -> Answer:
        """GET /groups/{id}/members/$ref"""
        group = call.store.live_group(key, stale=call.is_stale)
        refs = [
            call.url(f"/directoryObjects/{object_id}/Microsoft.DirectoryServices.User") for object_id in group.members
        ]
        return Answer(200, {"@odata.context": call.url("/$metadata#Collection($ref)"), "value": refs})

    def transitive_members(self, call: Call, key: str, cast: str | None = None) -> Answer:
        """GET /groups/{id}/transitiveMembers"""
        group = call.store.live_group(key, stale=call.is_stale)
        found: dict[str, None] = {}
        waiting = [group]
        while waiting:
            for object_id in waiting.pop(0).members:
                if object_id not in found:
                    found[object_id] = None
                    if object_id in call.store.groups:
                        waiting.append(call.store.groups[object_id])
        return self._objects(call, list(found), "directoryObjects", cast)

    def members_in_error(self, call: Call, key: str) -> Answer:
        """GET /groups/{id}/membersWithLicenseErrors"""
        group = call.store.live_group(key, stale=call.is_stale)
        return self._objects(call, list(self._in_error(call, group)), "directoryObjects", None)

    def _in_error(self, call: Call, group: Group) -> Iterator[str]:
        for user in call.store.users.values():
            if any(a.group_id == group.group_id and a.error is not None for a in user.assignments):
                yield user.user_id

    def add_member(self, call: Call, key: str) -> Answer:
        """POST /groups/{id}/members/$ref"""
        link = call.json().get("@odata.id")
        object_id = _referenced(link)
        group = call.store.live_group(key)
        call.directory.changes.check_members_writable(group, actor_roles=call.roles)
        call.directory.changes.join_group(group.group_id, [object_id], actor=call.actor)
        return Answer(204)

    def remove_member(self, call: Call, key: str, object_id: str) -> Answer:
        """DELETE /groups/{id}/members/{oid}/$ref"""
        group = call.store.live_group(key)
        call.directory.changes.check_members_writable(group, actor_roles=call.roles)
        call.directory.changes.leave_group(group.group_id, object_id.lower(), actor=call.actor)
        return Answer(204)

    # --- what a group gives besides licences

    def parents(self, call: Call, key: str, cast: str | None = None) -> Answer:
        """GET /groups/{id}/memberOf"""
        group = call.store.live_group(key, stale=call.is_stale)
        return self._objects(call, _groups_of(call, group.group_id), "directoryObjects", cast)

    def app_roles(self, call: Call, key: str) -> Answer:
        """GET /groups/{id}/appRoleAssignments"""
        group = call.store.live_group(key, stale=call.is_stale)
        rows = [_app_role(group, name) for name in group.app_roles]
        names = call.select()
        return listing.answer_list(
            call,
            rows,
            len(rows),
            context=f"groups('{group.group_id}')/appRoleAssignments",
            matches=lambda _: True,
            show=lambda r: r if names is None else {name: r[name] for name in names if name in r},
        )

    # --- memberships of a user

    def member_of(self, call: Call, key: str, cast: str | None = None) -> Answer:
        """GET /users/{id}/memberOf"""
        user = call.store.live_user(key, stale=call.is_stale)
        found = [*_groups_of(call, user.user_id), *_roles_of(call, user.user_id)]
        return self._objects(call, found, "directoryObjects", cast)

    def transitive_member_of(self, call: Call, key: str, cast: str | None = None) -> Answer:
        """GET /users/{id}/transitiveMemberOf"""
        user = call.store.live_user(key, stale=call.is_stale)
        found = dict.fromkeys(_groups_of(call, user.user_id))
        waiting = list(found)
        while waiting:
            for group_id in _groups_of(call, waiting.pop(0)):
                if group_id not in found:
                    found[group_id] = None
                    waiting.append(group_id)
        found |= dict.fromkeys(_roles_of(call, user.user_id, *found))
        return self._objects(call, list(found), "directoryObjects", cast)

    # --- lists of mixed objects

    def _objects(self, call: Call, object_ids: Iterable[str], context: str, cast: str | None) -> Answer:
        kind = None if cast is None else CASTS.get(cast.lower())
        if cast is not None and kind is None:
            raise not_implemented(f"the cast {cast}")
        select = call.select()
        if "$filter" in call.query and not call.is_advanced:
            raise unsupported_query()
        wanted = listing.read_filter(call, GROUP_FILTERS, "Group") if "$filter" in call.query else None
        rows = (directory_object(call, self._properties, i, select) for i in object_ids)
        shown = [r for r in rows if r is not None and (kind is None or str(r["@odata.type"]).endswith(f".{kind}"))]
        if kind is not None:
            shown = [{k: v for k, v in r.items() if k != "@odata.type"} for r in shown]
        return listing.answer_list(
            call,
            shown,
            len(shown),
            context=context if kind is None else f"{kind}s",
            matches=lambda r: wanted is None or wanted.matches(r.get),
            show=lambda r: r,
        )


def _app_role(group: Group, application: str) -> dict[str, Any]:
    return {
        "id": base64.urlsafe_b64encode(f"{group.group_id}/{application}".encode()).decode().rstrip("="),
        "appRoleId": NO_ROLE,
        "createdDateTime": iso(group.created_at),
        "deletedDateTime": None,
        "principalDisplayName": group.name,
        "principalId": group.group_id,
        "principalType": "Group",
        "resourceDisplayName": application,
        "resourceId": str(uuid.uuid5(uuid.UUID(NO_ROLE), application)),
    }


def _visible(call: Call, group_id: str) -> Group | None:
    store = call.store
    group = store.seen(store.groups, group_id, advanced=call.is_advanced, stale=call.is_stale)
    return None if group is None or group.deleted_at is not None else group


def _groups_of(call: Call, object_id: str) -> list[str]:
    """Groups of which replicas show the object as a member."""
    store = call.store
    direct = [g for g in store.groups_of(object_id) if (seen := _visible(call, g)) and object_id in seen.members]
    left = [] if not call.is_stale else [g for g in store.groups if (s := _visible(call, g)) and object_id in s.members]
    return list(dict.fromkeys([*direct, *left]))


def _roles_of(call: Call, *principal_ids: str) -> list[str]:
    """Directory roles of which these users and groups are members."""
    roles = call.directory.roles
    return [roles.role_id(template_id) for template_id in roles.of(*principal_ids)]


def _referenced(link: object) -> str:
    """The id in the address of an object.

    Raises:
        Problem: 400, not one.
    """
    match = REFERENCE.search(link) if isinstance(link, str) else None
    if match is None:
        raise bad_request("Invalid URL format specified in @odata.id for Edm.EntityType reference.")
    return (match.group(1) or match.group(2)).lower()
