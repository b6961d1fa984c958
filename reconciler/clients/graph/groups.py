"""Groups as far as licensing cares: what they carry, what else joining them gives, and who is in them.

What may not be read of a group is None, never zero: a group that may give more than a licence is not for licences.
Source: graph.md sections 2, 3 and 8; "List appRoleAssignments granted to a group" of the Graph v1.0 reference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType, field

from desired_state.model import GroupId, PlanId, SkuId, UserId
from reconciler.clients.graph.batch import read_many
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.wire import Wire
from reconciler.clients.wire.words import cut
from reconciler.errors import Malformed, Rejected, RemoteError
from reconciler.model import Grant, ObservedGroup

GROUP_SELECT = (
    "id,displayName,groupTypes,securityEnabled,mailEnabled,onPremisesSyncEnabled,isAssignableToRole,membershipRule,"
    "assignedLicenses,licenseProcessingState"
)


class _License(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str
    disabled_plans: list[str] = []


class _Processing(msgspec.Struct, gc=False, rename="camel"):
    state: str | None = ""


class GroupRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    display_name: str | None = ""
    group_types: list[str] | None = None
    security_enabled: bool | None = None
    mail_enabled: bool | None = None
    on_premises_sync_enabled: bool | UnsetType | None = UNSET
    is_assignable_to_role: bool | UnsetType | None = UNSET
    assigned_licenses: list[_License] | None = None
    license_processing_state: _Processing | UnsetType | None = UNSET


def group(row: GroupRow) -> ObservedGroup:
    kinds = None if row.group_types is None else {kind.lower() for kind in row.group_types}
    state = row.license_processing_state
    return ObservedGroup(
        id=GroupId(row.id.lower()),
        name=cut(row.display_name or "", limit=NAME_MAX),  # somebody's text: it is shown to people (I17)
        is_dynamic=None if kinds is None else "dynamicmembership" in kinds,
        is_security=row.security_enabled,
        is_mail=row.mail_enabled,
        is_unified=None if kinds is None else "unified" in kinds,
        is_synced=None if row.on_premises_sync_enabled is UNSET else bool(row.on_premises_sync_enabled),
        is_role_assignable=None if row.is_assignable_to_role is UNSET else bool(row.is_assignable_to_role),
        licenses=None
        if row.assigned_licenses is None
        else tuple(
            Grant(SkuId(held.sku_id.lower()), frozenset(PlanId(plan.lower()) for plan in held.disabled_plans))
            for held in row.assigned_licenses
        ),
        processing=None if state is UNSET else "" if state is None else state.state or "",
    )


class Page(msgspec.Struct, gc=False, kw_only=True):
    """A page of a list, with where the next one is."""

    next_link: str | None = field(name="@odata.nextLink", default=None)


class _GroupList(Page, gc=False, kw_only=True):
    value: list[GroupRow]


class _Id(msgspec.Struct, gc=False):
    id: str


class _IdList(Page, gc=False, kw_only=True):
    value: list[_Id]


class _Held(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str


class _Member(msgspec.Struct, gc=False, rename="camel"):
    id: str
    assigned_licenses: list[_Held] | None = None


class _MemberList(Page, gc=False, kw_only=True):
    value: list[_Member]


K = TypeVar("K", bound=str)
P = TypeVar("P", bound=Page)
GROUP = msgspec.json.Decoder(GroupRow)
_GROUPS = msgspec.json.Decoder(_GroupList)
IDS = msgspec.json.Decoder(_IdList)
_MEMBERS = msgspec.json.Decoder(_MemberList)
NAME_MAX = 120
PAGES_MAX = 1000  # of one list; a longer one runs in a circle
IN_ERROR = "hasMembersWithLicenseErrors eq true"
ADVANCED = {"ConsistencyLevel": "eventual"}


def by_name(wire: Wire, names: Collection[str]) -> dict[str, tuple[ObservedGroup, ...] | RemoteError]:
    """All groups that are called so, per name; letter case does not count, as it does not for Graph."""
    urls = {name: f"/groups?$filter={quote(_is_called(name), safe='')}&$select={GROUP_SELECT}" for name in names}
    found: dict[str, tuple[ObservedGroup, ...] | RemoteError] = {}
    for name, rows in read_all(wire, urls, _GROUPS, operation="groups_by_name").items():
        if isinstance(rows, RemoteError):
            found[name] = rows
            continue
        shown = [row for page in rows for row in page.value]
        is_ours = all((row.display_name or "").casefold() == name.casefold() for row in shown)
        filtered = Malformed(SYSTEM, "the filter on displayName was not applied")
        found[name] = tuple(group(row) for row in shown) if is_ours else filtered
    return found


def by_id(wire: Wire, ids: Collection[GroupId]) -> dict[GroupId, ObservedGroup | RemoteError]:
    """Groups with the groups that they sit in and the number of app roles that they carry, None where not shown."""
    rows = read_many(wire, {g: f"/groups/{g}?$select={GROUP_SELECT}" for g in ids}, GROUP, operation="groups")
    there = [g for g, row in rows.items() if isinstance(row, GroupRow)]
    above = {g: f"/groups/{g}/memberOf/microsoft.graph.group?$select=id" for g in there}
    parents = read_all(wire, above, IDS, operation="group_parents")
    roles = read_all(
        wire, {g: f"/groups/{g}/appRoleAssignments?$select=id" for g in there}, IDS, operation="group_app_roles"
    )
    found: dict[GroupId, ObservedGroup | RemoteError] = {}
    for key, row in rows.items():
        if isinstance(row, RemoteError):
            found[key] = row
            continue
        shown = group(row)
        sits_in, carries = ids_of(parents[key]), ids_of(roles[key])
        found[key] = replace(
            shown,
            parents=None if sits_in is None else tuple(GroupId(g) for g in sits_in),
            app_roles=None if carries is None else len(carries),
        )
        if shown.id != key:
            found[key] = Malformed(SYSTEM, "another group than the one asked for")
    return found


def memberships(wire: Wire, users: Collection[UserId]) -> dict[UserId, frozenset[GroupId] | RemoteError]:
    """The groups that each user is a direct member of: only those give licences (graph.md section 8)."""
    urls = {user: f"/users/{user}/memberOf/microsoft.graph.group?$select=id&$top=999" for user in users}
    found: dict[UserId, frozenset[GroupId] | RemoteError] = {}
    for user, pages in read_all(wire, urls, IDS, operation="user_groups").items():
        ids = pages if isinstance(pages, RemoteError) else ids_of(pages)
        found[user] = ids if isinstance(ids, RemoteError) else frozenset(GroupId(g) for g in ids or ())
    return found


def members(wire: Wire, group_id: GroupId) -> dict[UserId, frozenset[SkuId] | None]:
    """The direct user members of a group with the SKUs that each holds by any way; None: not shown.

    Raises what `Wire.get` raises: half a list is no list.
    """
    params = {"$select": "id,assignedLicenses", "$top": "999"}
    path = f"/groups/{group_id}/members/microsoft.graph.user"
    first = decoded(_MEMBERS, wire.get(path, params=params, operation="group_members", cost=2).body)
    return {
        UserId(row.id.lower()): None
        if row.assigned_licenses is None
        else frozenset(SkuId(held.sku_id.lower()) for held in row.assigned_licenses)
        for page in follow(wire, first, _MEMBERS, "group_members", {})
        for row in page.value
    }


def in_error(wire: Wire) -> tuple[GroupId, ...]:
    """Groups with members whose licences are in error.

    The documented, advanced form of the filter is refused by some tenants and the plain one may be by others, so
    both are tried (graph.md section 8). Raises Rejected when neither is taken.
    """
    params = {"$filter": IN_ERROR, "$select": "id"}
    try:
        first = wire.get("/groups", params=params, operation="groups_in_error")
        more: Mapping[str, str] = {}
    except Rejected:
        more = ADVANCED
        advanced = {**params, "$count": "true"}
        first = wire.get("/groups", params=advanced, headers=more, operation="groups_in_error")
    pages = follow(wire, decoded(IDS, first.body), IDS, "groups_in_error", more)
    return tuple(GroupId(g) for g in ids_of(pages) or ())


def _is_called(name: str) -> str:
    doubled = name.replace("'", "''")
    return f"displayName eq '{doubled}'"


def ids_of(pages: tuple[_IdList, ...] | RemoteError) -> tuple[str, ...] | None:
    if isinstance(pages, RemoteError):
        return None
    return tuple(row.id.lower() for page in pages for row in page.value)


def read_all(
    wire: Wire, urls: Mapping[K, str], decoder: msgspec.json.Decoder[P], *, operation: str
) -> dict[K, tuple[P, ...] | RemoteError]:
    """Every page of every list; a list that cannot be read to its end is an error, never a shorter list."""
    found: dict[K, tuple[P, ...] | RemoteError] = {}
    for key, first in read_many(wire, urls, decoder, operation=operation).items():
        if isinstance(first, RemoteError):
            found[key] = first
            continue
        try:
            found[key] = follow(wire, first, decoder, operation, {})
        except RemoteError as error:
            found[key] = error
    return found


def follow(
    wire: Wire, first: P, decoder: msgspec.json.Decoder[P], operation: str, headers: Mapping[str, str]
) -> tuple[P, ...]:
    pages = [first]
    while (link := pages[-1].next_link) is not None:
        if len(pages) == PAGES_MAX:
            raise Malformed(SYSTEM, f"{operation} has no end")
        answer = wire.follow(link, operation=operation, headers=headers)
        pages.append(decoded(decoder, answer.body))
    return tuple(pages)


def decoded(decoder: msgspec.json.Decoder[P], body: bytes) -> P:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error)) from None
