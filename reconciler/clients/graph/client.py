"""Microsoft Graph: people, seats and licences. One method says one thing to Graph: typed in, typed out, no policy.

A write's reply is a hint, never proof: nothing of its body is read. Licence writes of a tenant must be serial; that
is the caller's duty (graph.md section 1). Every method may raise what `Wire` raises: Throttled, Unavailable,
SignInFailed, Forbidden, Malformed; writes raise OutcomeUnknown instead of Unavailable once something was sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote

import msgspec

from desired_state.model import GroupId, SkuId, UserId
from reconciler.clients.graph import audits, delta, groups, mailboxes, roles, shapes
from reconciler.clients.graph.batch import read_many, write_together
from reconciler.clients.graph.delta import Moved, Tracked
from reconciler.clients.graph.dialect import SYSTEM
from reconciler.clients.graph.glance import SEATS, SEATS_UNITS, SKUS, USER, Glance, glance, skus_of, user_of
from reconciler.clients.graph.hints import Hinted, hinted, shown
from reconciler.clients.graph.scan import SCAN_SELECT, UserPage, scan, scan_users
from reconciler.clients.graph.voice import VOICE_SELECT, Voice, VoiceRow, voice
from reconciler.clients.wire import Answer, Budget, Wire
from reconciler.clients.wire.words import cut
from reconciler.clock import Clock
from reconciler.errors import Malformed, RemoteError
from reconciler.model import (
    AuditTrail,
    Grant,
    ObservedGroup,
    ObservedUser,
    Organization,
    Reply,
    SkuDetail,
    SubscribedSku,
)
from reconciler.observed import Listing

T = TypeVar("T")
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
MEMBERS_MAX = 20  # of one PATCH with members@odata.bind (graph.md section 2)
_COUNTRY = re.compile(r"[A-Z]{2}")
_USERS = msgspec.json.Decoder(shapes.UserList)
_ORGANIZATION = msgspec.json.Decoder(shapes.OrganizationList)
_VOICE = msgspec.json.Decoder(VoiceRow)


class Graph:
    """One tenant's directory. Safe for threads as far as `wire` is."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self.wire, self._clock = wire, clock
        self._audits = Budget(audits.REQUESTS, audits.WINDOW_S, clock)

    def organization(self) -> Organization:
        """The tenant: its id and the country that groups give to people without a usage location."""
        rows = _typed(_ORGANIZATION, self.wire.get("/organization", operation="organization")).value
        if len(rows) != 1:
            raise Malformed(SYSTEM, f"{len(rows)} organizations instead of one")
        return shapes.organization(rows[0])

    def subscribed_skus(self) -> tuple[SubscribedSku, ...]:
        """All SKUs that the tenant owns, with seats counted by Graph. One page, no options (graph.md section 5)."""
        answer = self.wire.get(SEATS, operation="subscribed_skus", cost=SEATS_UNITS)
        return skus_of(_typed(SKUS, answer))

    def look(
        self,
        accounts: Collection[UserId],
        plans: Collection[UserId] = (),
        *,
        with_seats: bool = False,
        with_roles: bool = False,
    ) -> Glance:
        """Users by object id, and the provisioning states of every plan of those in `plans`, 20 reads a request.

        Fresh reads by id, the only kind that verifies a write (graph.md section 3). Whoever was asked about has a
        value: NotFound when there is none, other errors as such. Raises what `subscribed_skus` raises `with_seats`.
        """
        who, whose = [UserId(_guid(user)) for user in accounts], [UserId(_guid(user)) for user in plans]
        return glance(self.wire, self._clock.now, who, whose, with_seats=with_seats, with_roles=with_roles)

    def users(self, ids: Collection[UserId]) -> dict[UserId, ObservedUser | RemoteError]:
        """Users by object id; see `look`."""
        found = self.look(ids).users
        return {user: found[UserId(user.lower())] for user in ids}

    def users_shown(self, ids: Collection[UserId]) -> dict[UserId, ObservedUser]:
        """Users by object id, 300 a request, as a filter shows them; who is not shown is left out.

        It may lag behind a read by id: what it shows of a change is so, that it shows none proves nothing.
        """
        wanted = sorted({_guid(user) for user in ids})
        rows = shown(self.wire, wanted, shapes.USER_SELECT, _USERS, operation="users_shown")
        users = (self._user(row) for row in rows)
        return {user.id: user for user in users if isinstance(user, ObservedUser)}

    def users_by_upn(self, upns: Collection[str]) -> dict[str, ObservedUser | RemoteError]:
        """Users by sign-in name, keyed as asked. A former name finds nobody: only the current one is matched."""
        urls = {upn: f"/users/{quote(_text(upn), safe='')}?$select={shapes.USER_SELECT}" for upn in upns}
        rows = read_many(self.wire, urls, USER, operation="users_by_upn")
        return {key: self._user(row) for key, row in rows.items()}

    def managers(self, ids: Collection[UserId]) -> dict[UserId, ObservedUser | RemoteError]:
        """The manager of each user who was asked about; NotFound for nobody (graph.md section 2)."""
        urls = {user: f"/users/{_guid(user)}/manager?$select={shapes.USER_SELECT}" for user in ids}
        rows = read_many(self.wire, urls, USER, operation="managers")
        return {key: self._user(row) for key, row in rows.items()}

    def users_by_employee_id(self, employee_id: str) -> tuple[ObservedUser, ...]:
        """All users who carry this employee id: none, one, or several when it is not kept unique."""
        wanted = _text(employee_id).replace("'", "''")
        params = {"$filter": f"employeeId eq '{wanted}'", "$select": shapes.USER_SELECT, "$top": "20"}
        answer = self.wire.get("/users", params=params, operation="users_by_employee_id")
        found = _typed(_USERS, answer)
        users = tuple(shapes.user(row, read_at=self._clock.now()) for row in found.value)
        if found.next_link is not None or any((u.employee_id or "").lower() != employee_id.lower() for u in users):
            raise Malformed(SYSTEM, "the filter on employeeId was not applied", request_id=answer.request_id)
        return users

    def disabled_holders(self, sku: SkuId) -> tuple[ObservedUser, ...]:
        """Up to 100 users who hold the SKU, directly or by a group, and whose account is disabled.

        From an index that may lag behind: good for a proposal, never for a decision (graph.md section 3).
        """
        wanted = f"accountEnabled eq false and assignedLicenses/any(l:l/skuId eq {_guid(sku)})"
        params = {"$filter": wanted, "$select": shapes.USER_SELECT, "$top": "100"}
        found = _typed(_USERS, self.wire.get("/users", params=params, operation="disabled_holders"))
        users = (shapes.user(row, read_at=self._clock.now()) for row in found.value)
        return tuple(u for u in users if u.is_enabled is False and u.skus is not None and sku.lower() in u.skus)

    def license_details(self, ids: Collection[UserId]) -> dict[UserId, tuple[SkuDetail, ...] | RemoteError]:
        """Provisioning state of every plan that applies to users, for each user who was asked about; see `look`."""
        found = self.look((), ids).details
        return {user: found[UserId(user.lower())] for user in ids}

    def voice(self, ids: Collection[UserId]) -> dict[UserId, Voice | RemoteError]:
        """Telephone set-up of each user who was asked about; NotFound for someone whom Teams does not know."""
        urls = {user: f"/admin/teams/userConfigurations/{_guid(user)}?$select={VOICE_SELECT}" for user in ids}
        rows = read_many(self.wire, urls, _VOICE, operation="voice")
        return {key: row if isinstance(row, RemoteError) else voice(row) for key, row in rows.items()}

    def scan(self, select: str = SCAN_SELECT, *, begin: Callable[[], Listing] | None = None) -> Iterator[UserPage]:
        """Every user of the tenant, page by page, compact and raw; see `scan.UserPage`."""
        return scan(self.wire, select, begin=begin)

    def latest_link(self) -> str:
        """The link that tells, from now on, whose account changed; see `delta`."""
        return delta.latest(self.wire)

    def moved_since(self, link: str, seen: Mapping[UserId, Tracked] = MappingProxyType({})) -> Moved | None:
        """Whose account changed since the link was given, but for who is shown as they were last `seen`: a hint.

        None: the directory does not know the link any more.
        """
        return delta.moved_since(self.wire, link, seen)

    def hinted(self, ids: Collection[UserId]) -> Hinted:
        """What a filter shows of users by object id, 300 a request: says whom to read, and verifies nothing."""
        return hinted(self.wire, [UserId(_guid(user)) for user in ids])

    def scan_users(self) -> Iterator[ObservedUser]:
        """Every user of the tenant once, in full."""
        return scan_users(self.wire)

    def group(self, group: GroupId) -> ObservedGroup:
        """One group with its licences and processing state. Raises NotFound."""
        answer = self.wire.get(f"/groups/{_guid(group)}", params={"$select": groups.GROUP_SELECT}, operation="group")
        return groups.group(_typed(groups.GROUP, answer))

    def groups(self, ids: Collection[GroupId]) -> dict[GroupId, ObservedGroup | RemoteError]:
        """Groups by object id, with what else joining them gives. Every id that was asked has a value."""
        return groups.by_id(self.wire, [GroupId(_guid(group)) for group in ids])

    def groups_by_name(self, names: Collection[str]) -> dict[str, tuple[ObservedGroup, ...] | RemoteError]:
        """All groups of each name, () for none. Without what else joining them gives: read that by id."""
        return groups.by_name(self.wire, [_text(name) for name in names])

    def user_groups(self, users: Collection[UserId]) -> dict[UserId, frozenset[GroupId] | RemoteError]:
        """The groups that each user is a direct member of, by object id."""
        return groups.memberships(self.wire, [UserId(_guid(user)) for user in users])

    def transitive_groups(self, users: Collection[UserId]) -> dict[UserId, frozenset[GroupId] | RemoteError]:
        """The groups that each user is in, through groups in groups as well, by object id."""
        return roles.transitive_groups(self.wire, [UserId(_guid(user)) for user in users])

    def role_holders(self) -> frozenset[UserId]:
        """Everybody to whom an administrator role is assigned, directly or by a group."""
        return roles.role_holders(self.wire)

    def mailbox_purposes(self, users: Collection[UserId]) -> dict[UserId, str | RemoteError]:
        """What the mailbox of each user is for, "" for one without a mailbox here."""
        return mailboxes.purposes(self.wire, [UserId(_guid(user)) for user in users])

    def licensed_people(self, domains: Collection[str] = ()) -> int:
        """How many users hold a licence, of these domains or of all: from an index, for shares only."""
        return roles.licensed_people(self.wire, domains)

    def group_members(self, group: GroupId) -> dict[UserId, frozenset[SkuId] | None]:
        """The users who are direct members of a group, and the SKUs that each holds; None where that is not shown."""
        return groups.members(self.wire, GroupId(_guid(group)))

    def groups_in_error(self) -> tuple[GroupId, ...]:
        """Groups with members whose licences are in error, as far as the tenant lets us ask. Raises Rejected."""
        return groups.in_error(self.wire)

    def add_group_member(self, group: GroupId, user: UserId) -> Reply:
        """Put a user into a group. Its licences come later, or never: only a read of the user tells.

        Raises:
            Rejected: refused for good; read it with `refusals.read_refusal` (ALREADY_MEMBER: nothing was to be done).
            NotFound: no such group or user, or not replicated yet.
            OutcomeUnknown: it may have landed.
        Source: graph.md section 8.
        """
        body = {"@odata.id": f"{self.wire.base_url}/directoryObjects/{_guid(user)}"}
        return _reply(self.wire.post(_members(group), json=body, operation="add_group_member"))

    def add_group_members(self, group: GroupId, users: Collection[UserId]) -> Reply:
        """Put up to 20 users into a group, all of them or none, for one write of the quota.

        Raises:
            Rejected: refused as a whole; ALREADY_MEMBER when one of them was in it. Nothing was done, as far as known.
            NotFound: no such group, or one of the users is not there or not replicated yet; as above.
            OutcomeUnknown: it may have landed.
        Source: graph.md sections 2 and 8; that it is all or nothing is UNCONFIRMED, so who was in it by then is fine.
        """
        wanted = [_guid(user) for user in users]
        if not 1 <= len(wanted) <= MEMBERS_MAX:
            raise ValueError(f"between 1 and {MEMBERS_MAX} members are added at once")
        body = {"members@odata.bind": [f"{self.wire.base_url}/directoryObjects/{user}" for user in wanted]}
        return _reply(self.wire.patch(f"/groups/{_guid(group)}", json=body, operation="add_group_members"))

    def remove_group_member(self, group: GroupId, user: UserId) -> Reply:
        """Take a user out of a group. What the group gave is taken later, if nothing else needs it.

        Raises:
            NotFound: no such group, or the user is not in it: done, once the group is known to exist.
            Rejected: refused for good; read it with `refusals.read_refusal`.
            OutcomeUnknown: it may have landed.
        Source: graph.md section 8.
        """
        return _reply(self.wire.delete(_members(group, user), operation="remove_group_member"))

    def reprocess_user(self, user: UserId) -> Reply:
        """Let everything that groups give a user be worked out again. Direct licences are not touched.

        Raises:
            Rejected: it still fails; the refusal says the true reason (graph.md section 8).
            OutcomeUnknown: it may have been done.
        """
        return _reply(self.wire.post(f"/users/{_guid(user)}/reprocessLicenseAssignment", operation="reprocess_user"))

    def directory_audits(self, user: UserId, since: datetime) -> AuditTrail:
        """What the directory's log says was done to one user since then; see `audits` for what it is worth."""
        return audits.directory_audits(self.wire, UserId(_guid(user)), since, self._audits)

    def set_usage_location(self, user: UserId, country: str) -> Reply:
        """Set the country (ISO 3166 alpha-2, upper case) that direct licences need. It cannot be cleared again.

        Raises:
            Rejected: refused for good; read it with `refusals.read_refusal`.
            OutcomeUnknown: it may have landed.
        Source: graph.md section 6.
        """
        if not _COUNTRY.fullmatch(country):
            raise ValueError("a usage location is two upper-case letters")
        body = {"usageLocation": country}
        return _reply(self.wire.patch(f"/users/{_guid(user)}", json=body, operation="set_usage_location"))

    def set_usage_locations(self, countries: Mapping[UserId, str]) -> dict[UserId, Reply | RemoteError]:
        """Set the country of up to 20 users in one request; each is a write by itself, with an answer of its own.

        Raises:
            OutcomeUnknown: no trustworthy reply; each may have landed.
            RemoteError: whatever else `Wire` raises; nothing was done.
        Source: graph.md sections 6 and 9.
        """
        if not all(_COUNTRY.fullmatch(country) for country in countries.values()):
            raise ValueError("a usage location is two upper-case letters")
        items = {user: ("PATCH", f"/users/{_guid(user)}", {"usageLocation": c}) for user, c in countries.items()}
        return write_together(self.wire, items, operation="set_usage_locations")

    def assign_license(self, user: UserId, *, add: Sequence[Grant] = (), remove: Sequence[SkuId] = ()) -> Reply:
        """Set and clear licences of one user in one request. Each grant carries the complete list of its plans that
        stay off: it replaces the old one, and an empty list turns everything on.

        Raises:
            Conflicted: another licence write of the tenant went on for longer than we wait. Nothing was done.
            Throttled: told to wait longer than we do here. Nothing was done.
            Rejected: refused for good; read it with `refusals.read_refusal`.
            NotFound: no such user, or not replicated yet.
            OutcomeUnknown: it may have landed.
        Source: graph.md section 6.
        """
        added = [grant.sku.lower() for grant in add]
        removed = [sku.lower() for sku in remove]
        if not added and not removed:
            raise ValueError("a licence change without a change is not sent")
        if len({*added, *removed}) != len(added) + len(removed):
            raise ValueError("a SKU may occur once in a licence change")
        body = {
            "addLicenses": [
                {"skuId": _guid(grant.sku), "disabledPlans": sorted(_guid(plan) for plan in grant.disabled_plans)}
                for grant in add
            ],
            "removeLicenses": [_guid(sku) for sku in remove],
        }
        return _reply(self.wire.post(f"/users/{_guid(user)}/assignLicense", json=body, operation="assign_license"))

    def _user(self, row: shapes.UserRow | RemoteError) -> ObservedUser | RemoteError:
        return user_of(row, self._clock.now())


def _guid(text: str) -> str:
    if not GUID.fullmatch(text):
        raise ValueError(f"not an object id: {cut(text, limit=60)}")
    return text.lower()


def _members(group: GroupId, user: UserId | None = None) -> str:
    """The one place where this address is built: without its end, a DELETE would be of the member itself."""
    member = "" if user is None else f"/{_guid(user)}"
    return f"/groups/{_guid(group)}/members{member}/$ref"


def _text(text: str) -> str:
    if not text or text != text.strip() or any(ord(c) < 32 for c in text) or text in (".", ".."):
        raise ValueError("a name to look up is empty, padded or holds control characters")
    return text


def _typed(decoder: msgspec.json.Decoder[T], answer: Answer) -> T:
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None


def _reply(answer: Answer) -> Reply:
    return Reply(answer.request_id, answer.client_request_id, answer.status)
