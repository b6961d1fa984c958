"""Who is in which groups, who holds an administrator role, and how many people there are.

Half a list is no list: what cannot be read to its end is an error. Membership here goes through groups in groups; a
group whose members are hidden shows them only with Member.Read.Hidden. Roles that somebody may merely take up (PIM)
are not among the assignments until they are active, so they are read beside them.
Source: "List unifiedRoleAssignments", "List roleEligibilityScheduleInstances", "List a user's memberships (direct and
transitive)" and "List users" of the Graph v1.0 reference; graph.md sections 2 and 3 for costs and advanced queries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec import field

from desired_state.model import GroupId, UserId
from reconciler.clients.graph.batch import Part, read_parts
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.graph.groups import ADVANCED, IDS, Page, decoded, follow, ids_of, read_all
from reconciler.clients.wire import Wire
from reconciler.errors import Malformed, Rejected, RemoteError

ASSIGNED = "/roleManagement/directory/roleAssignments"
ELIGIBLE = "/roleManagement/directory/roleEligibilityScheduleInstances"
NO_PIM = "AadPremiumLicenseRequired"  # a tenant without Entra ID P2: nobody there can be eligible
GROUP_TYPE = "#microsoft.graph.group"
LICENSED = "assignedLicenses/$count ne 0"


class _Principal(msgspec.Struct, gc=False):
    kind: str = field(name="@odata.type", default="")


class _Assignment(msgspec.Struct, gc=False, rename="camel"):
    principal_id: str
    principal: _Principal | None = None


class _AssignmentList(Page, gc=False, kw_only=True):
    value: list[_Assignment]


class _Counted(Page, gc=False, kw_only=True):
    count: int | None = field(name="@odata.count", default=None)


_ASSIGNMENTS = msgspec.json.Decoder(_AssignmentList)
_COUNT = msgspec.json.Decoder(_Counted)


PARTS: Mapping[str, Part[_AssignmentList]] = {
    path: Part(f"{path}?$expand=principal", _ASSIGNMENTS, operation)
    for path, operation in ((ASSIGNED, "role_holders"), (ELIGIBLE, "eligible_role_holders"))
}  # what holders are read from


def role_holders(wire: Wire) -> frozenset[UserId]:
    """Everybody who holds a directory role or may take one up, directly or by a group. Raises as `Wire.get` does."""
    return holders(wire, read_parts(wire, PARTS, operation="role_holders"))


def holders(wire: Wire, first: Mapping[str, _AssignmentList | RemoteError]) -> frozenset[UserId]:
    """The same, of the first page of each of `PARTS`. Raises what was wrong with one, and as `Wire.get` does."""
    rows = [*_assigned(wire, first, ASSIGNED), *_eligible(wire, first)]
    groups = {r.principal_id.lower() for r in rows if r.principal is not None and r.principal.kind == GROUP_TYPE}
    holders = {UserId(row.principal_id.lower()) for row in rows}
    urls = {g: f"/groups/{g}/transitiveMembers/microsoft.graph.user?$select=id&$top=999" for g in sorted(groups)}
    for members in read_all(wire, urls, IDS, operation="role_groups").values():
        if isinstance(members, RemoteError):
            raise members
        holders |= {UserId(member) for member in ids_of(members) or ()}
    return frozenset(holders)


def _assigned(wire: Wire, first: Mapping[str, _AssignmentList | RemoteError], path: str) -> list[_Assignment]:
    page = first[path]
    if isinstance(page, RemoteError):
        raise page
    pages = follow(wire, page, _ASSIGNMENTS, PARTS[path].operation, {})
    return [row for page in pages for row in page.value]


def _eligible(wire: Wire, first: Mapping[str, _AssignmentList | RemoteError]) -> list[_Assignment]:
    try:
        return _assigned(wire, first, ELIGIBLE)
    except Rejected as refused:
        if refused.code == NO_PIM:
            return []
        raise


def transitive_groups(wire: Wire, users: Collection[UserId]) -> dict[UserId, frozenset[GroupId] | RemoteError]:
    """The groups that each user is in, through groups in groups as well. Every user who was asked has a value."""
    urls = {user: f"/users/{user}/transitiveMemberOf/microsoft.graph.group?$select=id&$top=999" for user in users}
    found: dict[UserId, frozenset[GroupId] | RemoteError] = {}
    for user, pages in read_all(wire, urls, IDS, operation="transitive_groups").items():
        if isinstance(pages, RemoteError):
            found[user] = pages
        else:
            found[user] = frozenset(GroupId(g) for g in ids_of(pages) or ())
    return found


def licensed_people(wire: Wire, domains: Iterable[str]) -> int:
    """How many users hold any licence: of these domains, or, with none named, of the whole directory.

    From an index that may lag behind by minutes: good for a share, never for a decision about a person.
    """
    total = 0
    names = sorted(set(domains))
    for wanted in [f"endsWith(userPrincipalName,'@{_quoted(name)}') and {LICENSED}" for name in names] or [LICENSED]:
        params = {"$filter": wanted, "$count": "true", "$select": "id", "$top": "1"}
        answer = wire.get("/users", params=params, headers=ADVANCED, operation="licensed_people", cost=2)
        counted = decoded(_COUNT, answer.body).count
        if counted is None or counted < 0:
            raise Malformed(SYSTEM, "the users were not counted", request_id=answer.request_id)
        total += counted
    return total


def _quoted(text: str) -> str:
    return text.replace("'", "''")
