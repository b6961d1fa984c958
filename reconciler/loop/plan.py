"""Stage 3: drift into ordered actions with their inverses, and what stands in the way. Pure.

Same findings, same seats, same plan, same digest (I11). A seat is free only once observed free (I13): what this plan
gives back is spent by a later cycle. Nothing is ever removed here that was not asked to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from desired_state.model import LineKey, Product, Request, SkuId, UserId
from reconciler.causes import Cause
from reconciler.digest import digest, plain
from reconciler.line import DriftKind, Finding, Observed, Plan, Proposal, Rest
from reconciler.loop.bounds import Bounds, Taken
from reconciler.loop.joining import through_group
from reconciler.loop.licences import allowed, assign, switch_on
from reconciler.loop.location import awaited, derive, set_location
from reconciler.loop.new_plans import is_about, switch_off
from reconciler.loop.sequence import builds_on, in_sequence, makes_room
from reconciler.loop.subject import Naming, subject
from reconciler.loop.undo import take_back
from reconciler.model import Action, ActionKind, ObservedUser
from reconciler.seats.ledger import Purse, count, promised
from reconciler.seats.queue import Place, in_turn, keeps_place, turn

__all__ = ["Bounds", "plan"]


def plan(
    findings: Iterable[Finding],
    observed: Observed,
    bounds: Bounds,
    *,
    aside: Collection[LineKey] = (),
    elsewhere: Iterable[Place] = (),
    as_if_seats: bool = False,
    naming: Naming | None = None,
    wished: Plan | None = None,
) -> Plan:
    """Turn drift into the actions that would remove it, in turn.

    Every finding gets one proposal, so that no line can fall out of the cycle; of one person's lines, what others
    build on comes first. Lines `aside` are those that may not be sent: they are planned last, so that they take no
    seat from and share no change with a line that may. Places `elsewhere` are kept for lines that this cycle is not
    about. `as_if_seats` plans as if there were a seat for everybody; a line without a seat is named by what the plan
    `wished` would do for it, so that waiting for one makes no other request of it. What stood in a line's way there
    may be no more than another one `aside`, so it is planned before those.
    """
    every = in_turn(findings)
    seats = {sku: count(s, use_grace=bounds.use_grace_seats) for sku, s in observed.skus.items()}
    promises = promised((f.line for f in every), observed)
    taken = Taken(Purse(seats, promises, is_endless=as_if_seats))
    waiting = sorted(elsewhere)
    made: list[Proposal] = []
    ordered = in_sequence(every, observed, bounds)
    news = [f for f in ordered if is_about(f)]
    blocked = {p.finding.key for p in wished.proposals if p.blocked is not None} if wished is not None else set()
    last = {key: 1 if key in blocked else 2 for key in aside}
    for finding in sorted((f for f in ordered if not is_about(f)), key=lambda f: last.get(f.key, 0)):  # stable: in turn
        while waiting and (finding.key in aside or waiting[0].turn < turn(finding.line)):
            _reserve(waiting.pop(0).sku, taken)
        made.append(_waiting(_propose(finding, observed, bounds, taken), every, observed, bounds))
    made += _switched_off(news, {a.user for p in made for a in (*p.actions, *p.later)}, observed, bounds)
    proposals = _served(_named(made, wished, bounds, naming or Naming()))
    return Plan(proposals, digest([[list(p.serves), [_shown(a) for a in p.actions]] for p in proposals if p.actions]))


def _switched_off(
    findings: Iterable[Finding], busy: Collection[UserId], observed: Observed, bounds: Bounds
) -> Iterable[Proposal]:
    """New plans go last, and not where anything else is planned for the person: a licence's plans are sent whole, so
    two changes of it would undo each other."""
    done = set(busy)
    for finding in findings:
        is_free = finding.user is not None and finding.user.id not in done
        proposal = switch_off(finding, observed, bounds) if is_free else Proposal(finding)
        done |= {action.user for action in proposal.actions}
        yield proposal


def _shown(action: Action) -> Any:
    return plain(replace(action, given=()))  # when it was given is no part of what is done


def _waiting(proposal: Proposal, every: Iterable[Finding], observed: Observed, bounds: Bounds) -> Proposal:
    """What lacks only what another line of the person is about to bring, or to take out of the way, waits for it."""
    match proposal.blocked:
        case Cause.DEPENDENCY_MISSING:
            base, does = builds_on(proposal.finding, every, observed, bounds), "brings it"
        case Cause.PLAN_CONFLICT:
            base, does = makes_room(proposal.finding, every, observed, bounds), "ends that"
        case _:
            return proposal
    if base is None:
        return proposal
    return replace(proposal, after=base, sentence=f"{proposal.sentence} It waits for {base}, which {does}.")


def _reserve(sku: SkuId, taken: Taken) -> None:
    if taken.seats.has(None, sku):
        taken.seats.take(None, sku)


def _propose(finding: Finding, observed: Observed, bounds: Bounds, taken: Taken) -> Proposal:
    if finding.line.product is not None and keeps_place(finding, observed.at):
        for sku in allowed(finding.line.product, observed, bounds)[:1]:
            _reserve(sku, taken)
    if finding.rest is not Rest.ACT or finding.drift is None:
        return Proposal(finding)
    request, product, user = finding.line.declared, finding.line.product, finding.user
    assert isinstance(request, Request) and product is not None and user is not None
    shared = taken.changes.get((user.id, product.key))
    if shared is not None:
        return Proposal(finding, with_=shared)
    if finding.drift.take_back:
        taken.changes[(user.id, product.key)] = finding.key
        return Proposal(finding, take_back(finding, observed, bounds, taken.seats))
    dearer = _dearer(product, request.price_cap)
    if dearer:
        return Proposal(finding, blocked=Cause.POLICY_REFUSED, sentence=dearer)

    actions: list[Action] = []
    if finding.drift.needs_location and user.id not in taken.locations:
        derived = derive(finding, user, bounds.countries)
        if derived.country is None:
            return Proposal(finding, blocked=Cause.USAGE_LOCATION_MISSING, sentence=derived.sentence)
        actions.append(set_location(finding, user, derived, observed.at))
    if finding.drift.needs_location and user.is_synced:  # relied on only once the next sync has left it in place
        holder = taken.locations.setdefault(user.id, finding.key)
        later = _change(finding, user, product, observed, bounds, _spare(observed)).actions
        if not actions:
            return Proposal(finding, with_=holder, later=later)
        why = awaited(actions[0].given[0], user, bounds.directory_sync)
        return Proposal(finding, tuple(actions), sentence=why, later=later)
    change = _change(finding, user, product, observed, bounds, taken)
    if change.blocked is not None or change.with_ is not None:
        return change
    actions.extend(change.actions)
    for action in actions:
        if action.country is not None:
            taken.locations[user.id] = finding.key
    taken.changes[(user.id, product.key)] = finding.key
    taken.last[user.id] = finding.key
    return Proposal(finding, tuple(actions), after=change.after)


def _spare(observed: Observed) -> Taken:
    """What a change that is only foreseen may use: seats without end, and nothing of this plan's."""
    return Taken(Purse({sku: count(s, use_grace=False) for sku, s in observed.skus.items()}, is_endless=True))


def _change(
    finding: Finding, user: ObservedUser, product: Product, observed: Observed, bounds: Bounds, taken: Taken
) -> Proposal:
    """The change that gives the access itself, or what stands in its way."""
    assert finding.drift is not None
    match finding.drift.kind:
        case DriftKind.PLAN_OFF:
            return switch_on(finding, user, finding.drift, observed, bounds, taken)
        case DriftKind.MISSING:
            return assign(finding, user, product, observed, bounds, taken)
        case DriftKind.NOT_MEMBER | DriftKind.UNPROCESSED:
            steps = through_group(finding, user, product, observed, bounds, taken)
            return steps if isinstance(steps, Proposal) else Proposal(finding, tuple(steps))
        case _:
            return Proposal(finding)


def _dearer(product: Product, cap: Decimal | None) -> str:
    """An approval covers a price; above it a person decides anew (I7). Unknown prices are not judged here."""
    if cap is None or cap <= 0 or product.price is None or product.price <= cap:
        return ""
    return f"{product.name} costs {product.price:.2f} a month and {cap:.2f} was approved."


def _named(made: list[Proposal], wished: Plan | None, bounds: Bounds, naming: Naming) -> list[Proposal]:
    """Give every proposal its request digest and what that is over: as if nobody else asked, whoever carries it."""
    carried = {p.finding.key: p.actions for p in made}
    places = {a.user: a for p in made for a in p.actions if a.kind is ActionKind.SET_USAGE_LOCATION}
    before = {p.finding.key: p for p in wished.proposals} if wished is not None else {}
    named = []
    for proposal in made:
        wish = before.get(proposal.finding.key)
        is_idle = wish is not None and not (_does(wish) or _does(proposal))  # nothing to be done: named once a cycle
        if wish is not None and (proposal.short_of or is_idle):
            named.append(replace(proposal, digest=wish.digest, subject=wish.subject))
            continue
        shared = proposal.with_ is not None and not proposal.later
        actions = carried.get(proposal.with_, ()) if shared and proposal.with_ is not None else proposal.actions
        every = _with_place(proposal.finding, (*actions, *proposal.later), places)
        about = subject(proposal.finding, every, bounds, naming)
        named.append(replace(proposal, digest=digest(about), subject=about))
    return named


def _does(proposal: Proposal) -> bool:
    return bool(proposal.actions or proposal.later) or proposal.with_ is not None


def _with_place(finding: Finding, actions: tuple[Action, ...], places: Mapping[UserId, Action]) -> tuple[Action, ...]:
    """With the usage location that it needs and that another line of the person sets for both."""
    place = places.get(finding.user.id) if finding.user is not None else None
    needs = finding.drift is not None and finding.drift.needs_location and bool(actions)
    if place is None or not needs or any(a.kind is ActionKind.SET_USAGE_LOCATION for a in actions):
        return actions
    return (place, *actions)


def _served(named: list[Proposal]) -> tuple[Proposal, ...]:
    """Each proposal with the digests of all requests that its actions serve, in order."""
    shared: dict[LineKey, list[str]] = {}
    for proposal in named:
        if proposal.with_ is not None:
            shared.setdefault(proposal.with_, []).append(proposal.digest)
    return tuple(
        replace(p, serves=(p.digest, *sorted(shared.get(p.finding.key, ())))) if p.actions else p for p in named
    )
