"""Who may be served at all. Pure.

Scope is an allow-list: an empty one means nobody, `*` among the domains means everybody in the directory. A deny list
always wins, and so do what the directory says against an account: a guest, a resource account, the holder of an
administrator role. Where a group or the roles cannot be read, nobody is waved through: what is not known counts as
denied, and the line is taken for one whose account could not be read (docs/adr/0012).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from desired_state.model import GroupId, Refusal, UserId
from reconciler.causes import Cause
from reconciler.line import Finding, Unread
from reconciler.model import ObservedUser

ANY = "*"
SHARED = frozenset({"shared", "room", "equipment"})  # purposes of mailboxes that are no person's


@dataclass(frozen=True, slots=True)
class Scope:
    """The lists of the configuration. Users are sign-in names or object ids, `*` stands for any text in a denied one.

    Groups are object ids or names; everyone in them counts, through groups in groups as well.
    """

    allow_domains: frozenset[str] = frozenset()
    allow_users: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()
    deny_domains: frozenset[str] = frozenset()
    deny_users: frozenset[str] = frozenset()
    deny_groups: frozenset[str] = frozenset()
    break_glass: frozenset[str] = frozenset()
    shared_accounts: frozenset[str] = frozenset()
    deny_role_holders: bool = True
    needs_purpose: bool = False  # whether a mailbox whose purpose is not known counts as denied

    @property
    def groups(self) -> frozenset[str]:
        """Every group whose members have to be known."""
        return self.allow_groups | self.deny_groups

    @property
    def is_empty(self) -> bool:
        """Nobody is allowed."""
        return not (self.allow_domains or self.allow_users or self.allow_groups)


EVERYBODY = Scope(allow_domains=frozenset({ANY}), deny_role_holders=False)


@dataclass(frozen=True, slots=True)
class Register:
    """What the directory says about the accounts of a cycle. `named` are the configured groups as they were found.

    `role_holders` are all who hold an administrator role, directly or by a group.
    """

    named: Mapping[str, GroupId | Unread] = field(default_factory=dict)
    groups: Mapping[UserId, frozenset[GroupId] | Unread] = field(default_factory=dict)
    role_holders: frozenset[UserId] | Unread = frozenset()
    purposes: Mapping[UserId, str | Unread] = field(default_factory=dict)  # of mailboxes, of whoever was asked about


class Side(StrEnum):
    IN = "in"
    OUT = "out"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Standing:
    """On which side of the fence a line's person is, and why, as a sentence ("" inside)."""

    side: Side
    why: str = ""

    @property
    def cause(self) -> Cause:
        return Cause.USER_OUT_OF_SCOPE if self.side is Side.OUT else Cause.REMOTE_FAILING


INSIDE = Standing(Side.IN)


def judge(finding: Finding, scope: Scope, register: Register) -> Standing:
    """Whether the person of a line may be served. Deny wins, then what is unknown, then the allow lists."""
    names, user = names_of(finding), finding.user
    domains = {name.rpartition("@")[2] for name in names if "@" in name}
    denied = _denied(names, domains, user, scope)
    if denied:
        return Standing(Side.OUT, denied)
    account = user.id if user is not None else finding.line.account
    if account is not None and _by_role(account, scope, register) is True:
        return Standing(Side.OUT, "The account holds an administrator role, so it is never changed.")
    if account is not None and _member(account, scope.deny_groups, register) is True:
        return Standing(Side.OUT, "The account is in a group that is denied, so it is never changed.")
    purpose = register.purposes.get(account, "") if account is not None else ""
    if isinstance(purpose, str) and purpose.lower() in SHARED:
        return Standing(Side.OUT, f"The mailbox of the account is a {purpose.lower()} one, so it is never changed.")
    allowed = _allowed(account, names, domains, scope, register)
    if allowed is False and scope.is_empty:
        return Standing(Side.OUT, "Nobody is in scope yet: every allow list is empty.")
    if allowed is False:
        return Standing(Side.OUT, "The account is not in scope: it is on none of the allow lists.")
    unread = allowed if isinstance(allowed, Unread) else _unread(account, scope, register)
    if unread is None and scope.needs_purpose and isinstance(purpose, Unread):
        unread = purpose
    if unread is not None:
        return Standing(Side.UNREAD, f"Whether the account may be changed cannot be told: {unread.why}.")
    return INSIDE


def outside_by_name(upn: str, scope: Scope) -> str:
    """Why an account may not be served as far as its sign-in name tells, "" where its groups or roles have to say."""
    name = upn.strip().lower()
    names, domains = frozenset({name}), {name.rpartition("@")[2]}
    denied = _denied(names, domains, None, scope)
    if denied:
        return denied
    if scope.is_empty:
        return "Nobody is in scope yet: every allow list is empty."
    by_name = ANY in scope.allow_domains or domains & scope.allow_domains or names & scope.allow_users
    if by_name or scope.allow_groups:
        return ""
    return "The account is not in scope: it is on none of the allow lists."


def _allowed(
    account: UserId | None, names: frozenset[str], domains: set[str], scope: Scope, register: Register
) -> bool | Unread:
    if ANY in scope.allow_domains or names & scope.allow_users or domains & scope.allow_domains:
        return True
    return _member(account, scope.allow_groups, register) if account is not None else False


def _unread(account: UserId | None, scope: Scope, register: Register) -> Unread | None:
    """What a denial would have to be read from, and could not."""
    if account is None:
        return None
    asked = (_by_role(account, scope, register), _member(account, scope.deny_groups, register))
    return next((found for found in asked if isinstance(found, Unread)), None)


def names_of(finding: Finding) -> frozenset[str]:
    """Everything the person is known by: the account when it was read, the names of the ticket otherwise."""
    if finding.user is not None:
        return frozenset({finding.user.upn.lower(), finding.user.id})
    declared = finding.line.declared
    if isinstance(declared, Refusal):
        return frozenset({declared.person.lower()} - {""})
    person = declared.claim.person
    claimed = {declared.claim.upn, person.email if person else None, person.user_name if person else None}
    bound = {str(finding.line.binding.user)} if finding.line.binding.user is not None else set()
    return frozenset({name.strip().lower() for name in claimed if name} | bound)


def _denied(names: Iterable[str], domains: set[str], user: ObservedUser | None, scope: Scope) -> str:
    names = frozenset(names)
    if names & scope.break_glass:
        return "The account is a break-glass account, so it is never changed."
    if _matches(names, scope.shared_accounts):
        return "The account is a shared one, so it is never changed."
    if _matches(names, scope.deny_users) or domains & scope.deny_domains:
        return "The account is on the list of those that are never changed."
    if user is not None and user.is_resource:
        return "The account is a resource account, so it is never changed."
    if user is not None and (user.user_type or "Member").lower() == "guest":
        return "The account is a guest's."
    return ""


def _matches(names: frozenset[str], listed: frozenset[str]) -> bool:
    wild = [pattern for pattern in listed if "*" in pattern]
    return bool(names & listed) or any(fnmatchcase(name, pattern) for name in names for pattern in wild)


def _by_role(account: UserId, scope: Scope, register: Register) -> bool | Unread:
    if not scope.deny_role_holders:
        return False
    holders = register.role_holders
    return holders if isinstance(holders, Unread) else account in holders


def _member(account: UserId, listed: frozenset[str], register: Register) -> bool | Unread:
    """Whether the account is in one of the groups; unknown only where a group or a membership that counts is."""
    if not listed:
        return False
    named = {name: register.named.get(name, Unread(f"the group {name} was not asked for")) for name in sorted(listed)}
    mine = register.groups.get(account, Unread("the groups of the account were not asked for"))
    if not isinstance(mine, Unread) and any(group in mine for group in named.values() if not isinstance(group, Unread)):
        return True
    if isinstance(mine, Unread):
        return mine
    return next((group for group in named.values() if isinstance(group, Unread)), False)
