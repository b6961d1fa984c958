"""Small tenants and their tickets as values, and a directory that does what it is told: for properties.

`Tenant` is the truth. `observed` is what a look shows of it, `applied` what an action makes of it; a cycle is the pure
stages of the loop in their order, with that directory between plan and verdict. What was there before we began is
remembered, so that a test can tell what was given by whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from desired_state.model import Given, GivenKind, Path, Period, Person, PlanId, Product, Says, SkuId, UserId
from desired_state.resolve import OVER
from desired_state.rules import Rules
from reconciler.allowance import Allowance
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Decision, Ending, Gone, Lane, Line, LineState, Observed, Other, Plan, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards import Limits
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Action, ActionKind, Assignment, ObservedUser, Outcome, PlanState, Result, SkuDetail
from reconciler.seats.queue import steps_aside
from tests.make import (
    DAY,
    E3,
    MCOEV,
    MONDAY,
    PHONE,
    SWAY,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
    teams,
)
from tests.make_endings import ENDED, GRANTED, G, a_group

PEOPLE = tuple(UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(4))
CONTENT: Mapping[SkuId, tuple[PlanId, ...]] = {E3: (TEAMS1, SWAY, YAMMER), PHONE: (MCOEV,), VISIO: (VISIO_WEB,)}
VISIO_BY_GROUP = a_product("visio-by-group", path=Path.GROUP, group=G)
PRODUCTS = (
    a_product(),
    VISIO_BY_GROUP,
    teams(candidate_skus=(E3,)),
    a_product("sway", name="Sway", candidate_skus=(E3,), proof_plans=(SWAY,)),
    a_product("phone", name="Phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,), prerequisite_plans=(TEAMS1,)),
)
BOUNDS = Bounds(products={p.key: p for p in PRODUCTS})
POLICY = Policy(mode="enforce")
LIMITS = Limits(dict.fromkeys(Lane, Allowance(99)), dict.fromkeys(Lane, Allowance(99)))


@dataclass(frozen=True)
class Tenant:
    """Everything that is so. `broken` are (person, plan) that end in an error, `hidden` what a look cannot show."""

    people: Mapping[UserId, ObservedUser]
    owned: Mapping[SkuId, int]
    broken: frozenset[tuple[UserId, PlanId]] = frozenset()
    members: frozenset[UserId] = frozenset()
    hidden: Mapping[UserId, str] = field(default_factory=dict)  # account, licences, plans, gone

    def rows(self, user: UserId) -> tuple[Assignment, ...]:
        return self.people[user].assignments or ()

    def used(self, sku: SkuId) -> int:
        return sum(any(a.sku == sku and a.is_in_force for a in self.rows(user)) for user in self.people)

    def direct(self) -> set[tuple[UserId, SkuId]]:
        return {(user, a.sku) for user in self.people for a in self.rows(user) if a.group is None}

    def on(self) -> set[tuple[UserId, SkuId, PlanId]]:
        """Plans that are on in a direct licence."""
        rows = ((user, a) for user in self.people for a in self.rows(user) if a.group is None)
        return {(user, a.sku, p) for user, a in rows for p in CONTENT[a.sku] if p not in a.disabled_plans}


def observed(tenant: Tenant, at: datetime) -> Observed:
    """A look at the tenant; what is hidden stays unknown."""
    people = {user: _shown(tenant, user, at) for user in tenant.people}
    skus = [a_sku(s, free=tenant.owned[s] - tenant.used(s), plans=CONTENT[s]) for s in CONTENT]
    base = seen(*(p for p in people.values() if isinstance(p, ObservedUser)), skus=skus, at=at)
    return replace(
        base,
        users=people,
        details={user: _details(tenant, user) for user in tenant.people},
        groups={G: a_group()},
        members={(G, user): user in tenant.members for user in tenant.people},
    )


def _shown(tenant: Tenant, user: UserId, at: datetime) -> ObservedUser | Gone | Unread:
    person = replace(tenant.people[user], read_at=at, skus=frozenset(a.sku for a in tenant.rows(user) if a.is_in_force))
    match tenant.hidden.get(user):
        case "account":
            return Unread("it was not shown")
        case "gone":
            return Gone()
        case "licences":
            return replace(person, skus=None, assignments=None)
        case _:
            return person


def _details(tenant: Tenant, user: UserId) -> tuple[SkuDetail, ...] | Unread:
    if tenant.hidden.get(user) == "plans":
        return Unread("it was not shown")
    rows = [a for a in tenant.rows(user) if a.is_in_force]
    on = {(a.sku, p) for a in rows for p in CONTENT[a.sku] if p not in a.disabled_plans}

    def state(sku: SkuId, plan: PlanId) -> PlanState:
        broken = PlanState.ERROR if (user, plan) in tenant.broken else PlanState.SUCCESS
        return broken if (sku, plan) in on else PlanState.DISABLED

    return details_of({sku: {p: state(sku, p) for p in CONTENT[sku]} for sku in {a.sku for a in rows}})


# --- what is done to it -----------------------------------------------------------------------------------------


def applied(tenant: Tenant, action: Action, at: datetime) -> Tenant:
    """The tenant after the directory has done what it was told; a group is processed at once."""
    user, person = action.user, tenant.people[action.user]
    rows = {(a.sku, a.group): a for a in tenant.rows(user)}
    members = tenant.members
    match action.kind:
        case ActionKind.SET_USAGE_LOCATION:
            person = replace(person, usage_location=action.country)
        case ActionKind.ASSIGN_LICENSE | ActionKind.REMOVE_LICENSE:
            for grant in action.add:
                rows[(grant.sku, None)] = Assignment(grant.sku, None, grant.disabled_plans, "Active", updated_at=at)
            for sku in action.remove:
                del rows[(sku, None)]
        case ActionKind.ADD_GROUP_MEMBER | ActionKind.REPROCESS:
            members = members | {user}
            rows[(VISIO, G)] = Assignment(VISIO, G, frozenset(), "Active", updated_at=at)
        case ActionKind.REMOVE_GROUP_MEMBER:
            members = members - {user}
            rows.pop((VISIO, G), None)
    after = replace(person, assignments=tuple(rows.values()))
    return replace(tenant, people={**tenant.people, user: after}, members=members)


@dataclass(frozen=True)
class Cycle:
    """One cycle: the plan, its judgement, what was sent, and where everything stands."""

    plan: Plan
    gates: Gates
    sent: tuple[Action, ...]
    tenant: Tenant
    lines: tuple[Line, ...]
    endings: tuple[Ending, ...]


def a_plan(lines: Iterable[Line], look: Observed, at: datetime) -> tuple[Plan, Gates]:
    """Diff, plan and gate, as the loop composes them: seats are given to those who may have one."""

    def judged(proposed: Plan) -> Gates:
        return gate(proposed, Rules(), policy=POLICY, watch=Watch(at, limits=LIMITS), at=at)

    findings = diff(lines, look, at=at, windows=Windows())
    wished = judged(plan(findings, look, BOUNDS, as_if_seats=True))
    aside = frozenset(g.proposal.finding.key for g in wished.gated if steps_aside(g, at))
    proposed = plan(findings, look, BOUNDS, aside=aside)
    return proposed, judged(proposed)


def a_cycle(tenant: Tenant, lines: tuple[Line, ...], at: datetime) -> Cycle:
    """Look, decide, do what is cleared, look again, and remember."""
    proposed, gates = a_plan(lines, observed(tenant, at), at)
    outcomes: dict[object, tuple[Outcome, ...]] = {}
    for judged in gates.gated:
        if judged.decision is Decision.CLEARED:
            for action in judged.proposal.actions:
                tenant = applied(tenant, action, at)
                key = judged.proposal.finding.key
                outcomes[key] = (*outcomes.get(key, ()), Outcome(action, Result.APPLIED, "", "req"))
    later = at + timedelta(minutes=2)
    acted = {(line.binding.user, line.product) for line in lines if line.key in outcomes}
    again = [line for line in lines if (line.binding.user, line.product) in acted]
    last = {f.key: f for f in diff(again, observed(tenant, later), at=later, windows=Windows(), among=lines)}
    endings = tuple(
        end(g, last.get(key, g.proposal.finding), outcomes.get(key, ()), at=later, retry_window=DAY, chance=0.5)
        for g in gates.gated
        for key in [g.proposal.finding.key]
    )
    sent = tuple(o.action for made in outcomes.values() for o in made)
    states = {e.state.key: e.state for e in endings}
    return Cycle(proposed, gates, sent, tenant, tuple(_remembered(line, states[line.key]) for line in lines), endings)


def _remembered(line: Line, state: LineState) -> Line:
    """The line as the next cycle takes it up; the ledger keeps what was given with the grant."""
    if state.phase is not Phase.GRANTED:
        return replace(line, state=state)
    given = state.given or line.given
    return replace(line, state=state, granted_at=state.granted_at, given=given, is_by_us=bool(given) or line.is_by_us)


# --- any tenant, any tickets ----------------------------------------------------------------------------------------

WORDS = [*([Says.FULFILLED, Says.APPROVED] * 8), Says.WAITING, Says.REJECTED, Says.CANCELLED]
GERMAN, NOBODYS = Person("p1", email="ada@contoso.example", country="DE"), None
HIDDEN = ("account", "licences", "plans", "gone")
# What is odd about a person; most are not.
TRAITS: Mapping[str, Mapping[str, object]] = {
    "ordinary": {},
    "unlocated": {"usage_location": ""},
    "synced": {"usage_location": "", "is_synced": True},
    "abroad": {"usage_location": "", "country": "FR"},
    "location hidden": {"usage_location": None},
    "disabled": {"is_enabled": False},
    "guest": {"user_type": "Guest"},
    **{what: {} for what in HIDDEN},
}
ODD = ("unlocated", "unlocated", "unlocated", *TRAITS)


def mostly(usual: object, *rare: object) -> st.SearchStrategy:
    """The usual value three times in four."""
    return st.sampled_from([*([usual] * 3 * len(rare)), *rare])


@st.composite
def tenants(draw: st.DrawFn) -> Tenant:
    """Up to four people with whatever they hold, and as many seats as that and a few."""
    people, broken, hidden = {}, set(), {}
    members = frozenset(draw(st.sets(st.sampled_from(PEOPLE), max_size=2)))
    for user in PEOPLE[: draw(st.integers(1, 4))]:
        owned = draw(st.sets(st.sampled_from([*CONTENT]), max_size=2))
        held = {s: draw(st.frozensets(st.sampled_from(CONTENT[s]))) for s in sorted(owned)}
        rows = [Assignment(s, None, off, "Active", updated_at=GRANTED) for s, off in held.items()]
        if user in members:
            rows.append(Assignment(VISIO, G, frozenset(), "Active", updated_at=GRANTED))
        trait = draw(st.sampled_from([*(["ordinary"] * len(ODD)), *ODD]))
        people[user] = a_user(user, assignments=tuple(rows), **TRAITS[trait])
        hidden[user] = trait if trait in HIDDEN else ""
        broken |= {(user, plan)} if (plan := draw(mostly(None, TEAMS1, VISIO_WEB, MCOEV))) is not None else set()
    bare = Tenant(people, {}, frozenset(broken), members & frozenset(people), hidden)
    owned = {sku: bare.used(sku) + draw(st.sampled_from([0, 1, 2, 4, 4])) for sku in CONTENT}
    return replace(bare, owned=owned)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Tenant, tuple[Line, ...]]:
    """A tenant with up to six lines of tickets, some of them granted by us long ago and over by now."""
    tenant = draw(tenants())
    lines = []
    for n in range(draw(st.integers(1, 6))):
        user = draw(st.sampled_from([*([*tenant.people] * 4), None]))
        product = draw(st.sampled_from(PRODUCTS))
        line = a_line(
            f"RITM{n:07}",
            user=user,
            product=product,
            person=draw(mostly(GERMAN, NOBODYS)),
            says=draw(st.sampled_from(WORDS)),
            requested_at=MONDAY - draw(st.integers(1, 9)) * DAY,
            price_cap=draw(mostly(None, product.price, product.price, product.price - 1)),
        )
        if user is not None and draw(mostly(False, True)):
            line = _over(line, draw(st.sampled_from([*_gifts(tenant, user, product), ()])))
        lines.append(line)
    return tenant, tuple(replace(line, others=_others(line, lines)) for line in lines)


def _gifts(tenant: Tenant, user: UserId, product: Product) -> list[tuple[Given, ...]]:
    """What we may have given this person for the product, of what is there."""
    mine = [(sku, p) for who, sku, p in sorted(tenant.on()) if who == user and p in product.proof_plans]
    whole = [Given(GivenKind.LICENSE, GRANTED, sku=sku) for sku, _ in mine]
    parts = [Given(GivenKind.PLANS, GRANTED, sku=sku, plans=(p,)) for sku, p in mine]
    joined = [Given(GivenKind.MEMBER, GRANTED, group=G)] if user in tenant.members and product is VISIO_BY_GROUP else []
    return [(given,) for given in (*whole, *parts, *joined)]


def _over(line: Line, given: tuple[Given, ...]) -> Line:
    declared = replace(line.declared, period=Period(ends_on=ENDED))
    state = LineState(line.key, Phase.GRANTED, since=GRANTED, granted_at=GRANTED, user=line.binding.user)
    return replace(
        line, declared=declared, state=state, skipped=f"{OVER}ended", is_by_us=bool(given), given=given,
        granted_at=GRANTED,
    )  # fmt: skip


def _others(line: Line, every: Iterable[Line]) -> tuple[Other, ...]:
    """The person's other lines that count now."""
    mine = (o for o in every if o.binding.user is not None and o.binding.user == line.binding.user and not o.skipped)
    counting = (o for o in mine if o.key != line.key and o.says in (Says.FULFILLED, Says.APPROVED))
    alive = (o for o in counting if o.state is None or o.state.phase not in FINAL)
    return tuple(Other(o.key, o.product) for o in alive if o.product is not None)
