"""Looking up who may answer a stage: in the directory, and in ServiceNow for what only that knows. Reads only.

What a ticket says is never used to find anybody (I17): a manager and the owner of a cost centre come from the records
of the person, not from the form. One instance is for one cycle: what was asked once is not asked again in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from desired_state.model import GroupId, Person, UserId
from desired_state.text import one_line
from reconciler.approvals.routes import Candidate, StageSpec
from reconciler.approvals.values import Approval, Delegation, Human
from reconciler.clients.graph import Graph
from reconciler.clients.servicenow import ServiceNow
from reconciler.errors import Malformed, NotFound, RemoteError
from reconciler.line import Line
from reconciler.loop.bind import names_of_person
from reconciler.model import ObservedUser

NAME_MAX = 120


@dataclass(slots=True)
class Approvers:
    """People of one tenant, looked up for one cycle. Every method raises RemoteError for what could not be read."""

    tenant_id: str
    graph: Graph
    servicenow: ServiceNow
    _named: dict[str, ObservedUser | None] = field(default_factory=dict)
    _people: dict[str, Person | None] = field(default_factory=dict)
    _accounts: dict[str, ObservedUser | None] = field(default_factory=dict)  # by sys_id
    _managers: dict[str, ObservedUser | None] = field(default_factory=dict)
    _members: dict[str, tuple[ObservedUser, ...]] = field(default_factory=dict)
    _owners: dict[str, str | None] = field(default_factory=dict)

    def found(self, spec: StageSpec, approval: Approval, line: Line) -> tuple[tuple[Candidate, ...], str]:
        """Whom a stage's resolver names now, and how, for people."""
        match spec.resolver or spec.name:
            case "manager":
                return self._manager(approval, line)
            case "cost_center_owner":
                return self._cost_center_owner(line)
            case _ if spec.group:
                return tuple(candidate_of(u, self.tenant_id) for u in self._group(spec.group)), f"group {spec.group}"
            case _:
                return self.named(spec.approvers), f"{spec.name.replace('_', ' ')}, as configured"

    def named(self, names: Sequence[str]) -> tuple[Candidate, ...]:
        """The accounts of sign-in names; a name that is nobody's names nobody."""
        self._look_up(names)
        users = (self._named.get(name.lower()) for name in names)
        return tuple(candidate_of(u, self.tenant_id) for u in users if u is not None)

    def human(self, person: Person | None) -> Human | None:
        """A person of ServiceNow as one human: with the account where it is one, by number and address otherwise."""
        if person is None:
            return None
        user = self.account(person)
        if user is not None:
            return human_of(user, self.tenant_id)
        name, upn = person.name or person.user_name or "", person.email or person.user_name or ""
        return Human(
            self.tenant_id, "", one_line(name, NAME_MAX), one_line(upn, NAME_MAX), person.employee_number or ""
        )

    def account(self, person: Person) -> ObservedUser | None:
        """The one account of a person; None where there is none, or where it could be somebody else's."""
        if person.sys_id not in self._accounts:
            self._accounts[person.sys_id] = self._account(person)
        return self._accounts[person.sys_id]

    def person(self, sys_id: str) -> Person | None:
        self.know([sys_id])
        return self._people.get(sys_id)

    def know(self, sys_ids: Collection[str]) -> None:
        """Read these people in one go."""
        missing = [s for s in dict.fromkeys(sys_ids) if s and s not in self._people]
        found = self.servicenow.people(missing) if missing else {}
        for sys_id in missing:
            self._people[sys_id] = found.get(sys_id)
        self._look_up([n for p in found.values() for n in names_of_person(p)])

    def standing(self, humans: Iterable[Human]) -> dict[str, bool]:
        """By object id, whether each account can still act: False for one that is gone, disabled or a guest's now."""
        ids = sorted({UserId(h.oid) for h in humans if h.oid})
        read = self.graph.users(ids) if ids else {}
        can: dict[str, bool] = {}
        for oid, user in read.items():
            if isinstance(user, ObservedUser):
                can[oid] = user.is_enabled is not False and (user.user_type or "Member").lower() != "guest"
            elif isinstance(user, NotFound):
                can[oid] = False
        return can

    def delegations(self, persons: Collection[str]) -> tuple[Delegation, ...]:
        """Who stands in for these people (sys_ids) as ServiceNow has it, where both are one account each."""
        arranged = self.servicenow.delegates(persons) if persons else ()
        self.know([s for d in arranged for s in (d.user, d.delegate)])
        found = []
        for one in arranged:
            of, to = (self.human(self._people.get(s)) for s in (one.user, one.delegate))
            if of is not None and to is not None and of.oid and to.oid:
                found.append(Delegation(of, to, one.starts_at, one.ends_at, by="", source="servicenow"))
        return tuple(found)

    def _manager(self, approval: Approval, line: Line) -> tuple[tuple[Candidate, ...], str]:
        beneficiary = approval.beneficiary
        if beneficiary is None or not beneficiary.oid:
            return (), "whose manager is to be asked is not known"
        if beneficiary.oid not in self._managers:
            user = UserId(beneficiary.oid)
            self._managers[beneficiary.oid] = _read(self.graph.managers([user]).get(user))
        manager = self._managers[beneficiary.oid]
        if manager is not None:
            return (candidate_of(manager, self.tenant_id),), "manager in the directory"
        person = self.person(line.person.manager) if line.person is not None and line.person.manager else None
        return self._of_person(person), "manager in ServiceNow" if person is not None else "no manager is known"

    def _cost_center_owner(self, line: Line) -> tuple[tuple[Candidate, ...], str]:
        if line.person is None:
            return (), "whose cost centre it is is not known"
        if line.person.sys_id not in self._owners:
            self._owners[line.person.sys_id] = self.servicenow.cost_center_owner(line.person.sys_id)
        owner = self._owners[line.person.sys_id]
        if owner is None:
            raise Malformed("servicenow", "the owner of the cost centre is not shown: may we read cmn_cost_center?")
        center = one_line(line.person.cost_center or "", NAME_MAX) or "the cost centre"
        found = self._of_person(self.person(owner) if owner else None)
        return found, f"owner of {center}" if owner else f"{center} has no owner"

    def _of_person(self, person: Person | None) -> tuple[Candidate, ...]:
        user = self.account(person) if person is not None else None
        return (candidate_of(user, self.tenant_id),) if user is not None else ()

    def _account(self, person: Person) -> ObservedUser | None:
        names = names_of_person(person)
        self._look_up(names)
        accounts = {u.id: u for n in names if (u := self._named.get(n)) is not None}
        number = (person.employee_number or "").strip().lower()
        if not accounts and number:
            accounts = {u.id: u for u in self.graph.users_by_employee_id(number)}
        if len(accounts) != 1:
            return None
        user = next(iter(accounts.values()))
        theirs = (user.employee_id or "").strip().lower()
        return None if number and theirs and number != theirs else user

    def _look_up(self, names: Iterable[str]) -> None:
        missing = sorted({n.strip().lower() for n in names if n.strip()} - self._named.keys())
        read = self.graph.users_by_upn(missing) if missing else {}
        for name in missing:
            self._named[name] = _read(read.get(name))

    def _group(self, name: str) -> tuple[ObservedUser, ...]:
        if name not in self._members:
            group = self._group_id(name)
            members = sorted(self.graph.group_members(group)) if group is not None else []
            read = self.graph.users(members) if members else {}
            users = (_read(read.get(member)) for member in members)
            self._members[name] = tuple(u for u in users if u is not None)
        return self._members[name]

    def _group_id(self, name: str) -> GroupId | None:
        if len(name) == 36 and name.count("-") == 4:
            return GroupId(name.lower())
        groups = self.graph.groups_by_name([name]).get(name, ())
        if isinstance(groups, RemoteError):
            raise groups
        return groups[0].id if len(groups) == 1 else None  # two groups of a name are nobody's


def human_of(user: ObservedUser, tenant_id: str) -> Human:
    """The account as a human. A display name is somebody's text: it is one line, and nothing steers by it (I17)."""
    name = one_line(user.display_name or "", NAME_MAX)
    return Human(tenant_id, user.id, name, one_line(user.upn, NAME_MAX), user.employee_id or "")


def candidate_of(user: ObservedUser, tenant_id: str) -> Candidate:
    """The account as somebody who may be asked; "not shown" stays "not known"."""
    is_guest = None if user.user_type is None else user.user_type.lower() == "guest"
    return Candidate(human_of(user, tenant_id), user.is_enabled, is_guest)


def _read(found: ObservedUser | RemoteError | None) -> ObservedUser | None:
    """None is "there is nobody"; what could not be read is raised, for it is no answer (I4)."""
    match found:
        case ObservedUser():
            return found
        case NotFound():
            return None
        case None:
            raise Malformed("graph", "an account was left out of the answer")
        case error:
            raise error
