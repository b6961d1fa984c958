"""Stage 1: tickets into the ledger, lines to accounts, accounts, licences and seats as they are now.

Nothing is decided here. What cannot be read becomes a value that says so; a cycle goes on with what it could read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from desired_state import ledger
from desired_state.model import (
    DesiredState,
    Entitlement,
    LineKey,
    Product,
    ProductKey,
    Refusal,
    Request,
    Says,
    SkuId,
    Ticket,
    UserId,
)
from desired_state.periods import zone_of
from desired_state.resolve import OVER, resolve
from reconciler.approvals.machine import OPEN
from reconciler.approvals.values import Approval, State
from reconciler.errors import RemoteError
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import (
    Binding,
    Known,
    Line,
    LineState,
    Observed,
)
from reconciler.loop.bind import bind, look_up
from reconciler.loop.deciding import with_answers
from reconciler.loop.ending import renewed
from reconciler.loop.look import Eyes, look
from reconciler.loop.pauses import Pause, uninterrupted
from reconciler.loop.pull import Memory, pull, remembered, renew
from reconciler.loop.reader import LOOKED, Reader
from reconciler.loop.resting import is_over
from reconciler.loop.scanning import Seats, passed_over
from reconciler.loop.shared import handed_on, others_of
from reconciler.model import ObservedUser
from reconciler.store import approvals, journal, watermarks
from reconciler.store.sold import Sold


class Pace(StrEnum):
    """EVERY: each account by name. QUICK: without what is at rest (`resting`). SCAN: what is at rest in pages."""

    EVERY = "every"
    QUICK = "quick"
    SCAN = "scan"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which lines a cycle is about; nothing named means all. `pace`: how closely all of them are looked at.

    `moved` are people whose account changed since the last cycle: their lines are looked at whatever the pace.
    """

    tickets: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()  # sign-in names, lower case
    pace: Pace = Pace.EVERY
    moved: frozenset[UserId] = frozenset()

    @property
    def is_named(self) -> bool:
        return bool(self.tickets or self.users)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cycle works on."""

    lines: tuple[Line, ...]
    observed: Observed
    tickets_read: int
    sold: Mapping[SkuId, Sold] = field(default_factory=dict)  # what licences contain, as it was known before


def observe(
    reader: Reader,
    eyes: Eyes,
    *,
    scope: Scope,
    tenant_id: str,
    cycle: str,
    at: datetime,
    pause: Pause = uninterrupted,
) -> Seen:
    """Read everything that this cycle needs. What others did at a `pause` is read again, as if it came before: what is
    observed is as of then (`Observed.at`), else of `at`.

    Raises:
        RemoteError: the tickets, the seats or the sign-in could not be read at all.
    """
    memory, served = remembered(reader, scope.tickets), set[str]()

    def between() -> frozenset[str]:
        now = pause()
        if now:
            served.update(now)
            renew(reader, memory, now)
        return now

    count = pull(reader, cycle=cycle, at=at, numbers=scope.tickets, memory=memory, pause=pause)
    patient = replace(eyes, pause=between)
    found, desired, known = _lines(reader, patient, memory, scope, tenant_id, cycle, at)
    seats = Seats(eyes.graph)
    resting: frozenset[LineKey] = frozenset()
    if scope.pace is not Pace.EVERY and not scope.is_named:
        resting = passed_over(
            reader, patient, found, desired, seats, scope.moved, is_quick=scope.pace is Pace.QUICK, at=at
        )
        found = tuple(line for line in found if line.key not in resting)
    known = {} if scope.pace is Pace.SCAN else known
    observed = look(patient, (line for line in found if not is_over(line)), seats.found, at=at, known=known)
    if served:
        at = reader.clock.now()  # or what was kept for them would lie ahead
        found, *_ = _lines(reader, eyes, memory, scope, tenant_id, cycle, at)
        found = tuple(line for line in found if line.key not in resting)
        observed = _again(eyes, found, served, observed, at)
    return Seen(_in_scope(found, observed, scope), observed, count, memory.sold)


def _again(eyes: Eyes, found: tuple[Line, ...], served: Collection[str], observed: Observed, at: datetime) -> Observed:
    """What is seen, with the people of some tickets and all seats as they are now."""
    people = {line.account for line in found if line.key.ticket in served} - {None}
    theirs = [line for line in found if line.account in people and not is_over(line)]
    again = look(eyes, theirs, eyes.graph.subscribed_skus(), at=at)
    return replace(
        again,
        users={**observed.users, **again.users},
        details={**observed.details, **again.details},
        groups={**observed.groups, **again.groups},
        members={**observed.members, **again.members},
        probed={**observed.probed, **again.probed},
        role_holders=observed.role_holders if again.role_holders is None else again.role_holders,
    )


def _lines(
    reader: Reader, eyes: Eyes, memory: Memory, scope: Scope, tenant_id: str, cycle: str, at: datetime
) -> tuple[tuple[Line, ...], DesiredState, dict[UserId, ObservedUser]]:
    """The lines of the tickets that are remembered, each with its account, what is desired of all of them, and the
    accounts that were read for that."""
    standings, states, copies = memory.standings, memory.states, memory.copies
    wanted = {k: s for k, s in standings.items() if s.declaration is not None and s.key.ticket in copies}
    unbound = {
        key: standing.request
        for key, standing in wanted.items()
        if isinstance(standing.declaration, Request) and _needs_account(standing.declaration, states.get(key))
    }
    names = look_up(eyes.graph, (r for r in unbound.values() if r is not None), eyes.pause)
    unbound = {
        key: request for key, request in unbound.items() if standings[key].declaration is wanted[key].declaration
    }
    before = {s.entitlement.upn.lower(): s.entitlement.user for s in standings.values() if s.entitlement is not None}
    bindings: dict[LineKey, Binding] = {}
    for key, request in unbound.items():
        assert request is not None
        bindings[key] = bind(request, copies[key.ticket], names, taken=before)
    if _keep_bindings(reader, unbound, bindings, names, tenant_id, cycle, at):
        standings = memory.standings = remembered(reader, scope.tickets).standings
        wanted = {k: standings[k] for k in wanted}
    entitlements = [s.entitlement for s in wanted.values() if s.entitlement is not None]
    granted = {k: s.granted_at for k, s in standings.items() if s.granted_at is not None}
    desired = resolve(entitlements, reader.catalogue, at=at, granted_at=granted, zone=reader.zone)
    skipped = desired.skipped
    found = tuple(
        _line(
            reader,
            standing,
            _state(states.get(key), standing),
            copies[key.ticket],
            bindings.get(key),
            skipped.get(key, ""),
        )
        for key, standing in sorted(wanted.items())
    )
    found = with_answers(reader.database, reader.tenant, _approved_here(reader, found, at))
    if any(_may_end(line) for line in found):
        if scope.is_named:  # the others of a person may be of tickets that nobody named
            memory = remembered(reader)
            standings, states = memory.standings, memory.states
        found = _with_company(reader, found, standings, states, at)
    known = {u.id: u for u in names.values() if isinstance(u, ObservedUser)}
    return found, desired, known


def mark_looked(reader: Reader, at: datetime) -> None:
    """Every ticket that a cycle about all lines took in, which began at `at`, has been looked at: it has ended."""
    with reader.database.write() as session:
        watermarks.save(session, reader.tenant, LOOKED, watermarks.Watermark(at, ""))


_BEGUN = (State.EXECUTING, State.DONE, State.FAILED, State.PARTLY)


def _approved_here(reader: Reader, found: tuple[Line, ...], at: datetime) -> tuple[Line, ...]:
    """The lines with who approved them here, and whether that was begun; out of review where people are asked anew."""
    open_ = {line.key.ticket for line in found if line.says is Says.WAITING or not _is_at_ease(line)}
    if not open_:
        return found
    with reader.database.read() as session:
        newest = approvals.newest(session, reader.tenant, open_)
    return tuple(_with_approvers(_asked_anew(line, newest.get(line.key), at), newest.get(line.key)) for line in found)


def _asked_anew(line: Line, approval: Approval | None, at: datetime) -> Line:
    """A line with a person is a new decision once somebody wants people asked again, also after a cycle that was cut
    short between asking them and remembering it."""
    state = line.state
    if approval is None or state is None or state.phase is not Phase.REVIEW:
        return line
    is_asked = approval.state in OPEN and state.since is not None and approval.created_at > state.since
    return replace(line, state=renewed(state, at)) if approval.is_renewed or is_asked else line


def _is_at_ease(line: Line) -> bool:
    return line.state is not None and line.state.phase in FINAL | {Phase.GRANTED}


def _with_approvers(line: Line, approval: Approval | None) -> Line:
    if approval is None or approval.state not in (State.APPROVED, *_BEGUN):
        return line
    names = tuple(d.actor.name or d.actor.upn for d in approval.decisions)
    return replace(line, is_approved=approval.state in _BEGUN, approved_by=names)


def _needs_account(request: Request, state: LineState | None) -> bool:
    if state is not None and state.phase in FINAL:
        return False
    return request.says in (Says.WAITING, Says.APPROVED, Says.FULFILLED)


def _keep_bindings(
    reader: Reader,
    unbound: Mapping[LineKey, Request | None],
    bindings: Mapping[LineKey, Binding],
    names: Mapping[str, object],
    tenant_id: str,
    cycle: str,
    at: datetime,
) -> bool:
    """A person is bound once: from now on the object id counts, whatever happens to the name. True when one was."""
    upns = {getattr(u, "id", None): getattr(u, "upn", "") for u in names.values() if not isinstance(u, RemoteError)}
    certain = {k: b.user for k, b in bindings.items() if b.known is Known.BOUND and b.user is not None}
    if not certain:
        return False
    with reader.database.write() as session:
        for key, user in certain.items():
            request = unbound[key]
            assert request is not None
            entitlement = Entitlement(request, tenant_id, user, upns.get(user, ""), at)
            if ledger.append(session, reader.tenant, ledger.Bound(entitlement), at):
                journal.append(
                    session,
                    reader.tenant,
                    kind="bound",
                    subject=str(key),
                    body={"tenant_id": tenant_id, "user": user, "upn": entitlement.upn},
                    at=at,
                    cycle=cycle,
                )
    return True


def _may_end(line: Line) -> bool:
    """Whether something may be taken back for it one day, or because what it was given is not proven yet."""
    state = line.state
    if line.replaced and not is_over(line):  # whose licence it takes the place of is another line's
        return True
    if line.product is not None and line.product.new_plans == "off" and line.is_by_us:
        return True
    is_open = state is not None and bool(state.given) and state.phase is not Phase.GRANTED
    ends = isinstance(line.declared, Request) and not line.declared.period.is_open and line.granted_at is not None
    return ends or line.skipped.startswith(OVER) or is_open


def _with_company(
    reader: Reader,
    found: tuple[Line, ...],
    standings: Mapping[LineKey, ledger.Standing],
    states: Mapping[LineKey, LineState],
    at: datetime,
) -> tuple[Line, ...]:
    """Each line with the others of its person, whichever ticket they are of: what they need is not taken away."""
    granted = {k: s.granted_at for k, s in standings.items() if s.granted_at is not None}
    entitlements = [s.entitlement for s in standings.values() if s.entitlement is not None]
    skipped = resolve(entitlements, reader.catalogue, at=at, granted_at=granted, zone=reader.zone).skipped
    others = others_of(standings.values(), states, skipped, reader.catalogue)
    left = handed_on(standings.values())

    def with_company(line: Line) -> Line:
        if line.binding.user is None or line.product is None:
            return line
        more = left.get(line.key, ())
        company = tuple(o for o in others.get(line.binding.user, ()) if o.key != line.key)
        return replace(line, others=company, given=(*more, *line.given), is_by_us=line.is_by_us or bool(more))

    return tuple(with_company(line) for line in found)


def _line(
    reader: Reader,
    standing: ledger.Standing,
    state: LineState | None,
    ticket: Ticket,
    binding: Binding | None,
    skipped: str,
) -> Line:
    declaration = standing.declaration
    match declaration:
        case Refusal() as refusal:
            product = reader.catalogue.product(refusal.product) if refusal.product else None
            return Line(refusal, ticket, Binding(Known.UNREAD, why="the line was not taken in"), product, None, state)
        case Entitlement() as entitlement:
            request, bound = entitlement.request, Binding(Known.BOUND, entitlement.user)
        case Request() as request:
            user = binding.user if binding is not None else None
            bound = binding or Binding(Known.UNREAD, user, "it was not asked for")
        case None:
            raise AssertionError("a withdrawn line is not taken up")
    person = request.claim.person
    product = reader.catalogue.product(request.product)
    is_granted = standing.granted_at is not None and standing.ended_at is None
    return Line(
        request,
        ticket,
        bound,
        product,
        person,
        state,
        skipped,
        is_by_us=is_granted and standing.is_by_us,
        given=standing.given if is_granted else (),
        granted_at=standing.granted_at if is_granted else None,
        was_granted_at=None if is_granted else standing.granted_at,
        siblings=_siblings(reader, ticket),
        replaced=_products(reader, product.replaces if product is not None else ()),
        zone=zone_of(person.time_zone if person is not None else None, reader.zone),
        priority=reader.urgency.why(ticket.number, ticket.priority),
        hold=standing.held,
        is_unapproved=_is_unapproved(reader, ticket),
    )


def _is_unapproved(reader: Reader, ticket: Ticket) -> bool:
    """Its item is ordered without an approval, and nobody gave one all the same.

    The ticket's own word does not count here: where nobody is asked, ServiceNow itself sets it to "approved".
    """
    item = reader.items.get(ticket.item)
    if item is None or item.approval != "none":
        return False
    return not any(row.state.strip().casefold() in reader.words.approved for row in ticket.approvals)


def _siblings(reader: Reader, ticket: Ticket) -> tuple[Product, ...]:
    """Every product that the ticket's form can ask for by name."""
    item = reader.items.get(ticket.item)
    return _products(reader, dict.fromkeys(item.product_keys()) if item is not None else ())


def _products(reader: Reader, keys: Iterable[str]) -> tuple[Product, ...]:
    found = (reader.catalogue.product(ProductKey(key)) for key in keys)
    return tuple(product for product in found if product is not None)


def _state(state: LineState | None, standing: ledger.Standing) -> LineState | None:
    """What is remembered; a grant that only the ledger knows (handed over from before) counts as one."""
    if state is not None or standing.granted_at is None or standing.ended_at is not None:
        return state
    since, end = standing.granted_at, standing.until
    return LineState(standing.key, Phase.GRANTED, since=since, granted_at=since, ends_at=end)


def _in_scope(found: tuple[Line, ...], observed: Observed, scope: Scope) -> tuple[Line, ...]:
    if not scope.users:
        return found
    ids = {u for u, user in observed.users.items() if getattr(user, "upn", "").lower() in scope.users}
    named = {line.key.ticket for line in found if line.binding.user in ids or _claims(line) & scope.users}
    return tuple(line for line in found if line.key.ticket in named)  # a ticket is answered whole or not at all


def _claims(line: Line) -> frozenset[str]:
    if isinstance(line.declared, Refusal):
        return frozenset({line.declared.person.lower()})
    claim = line.declared.claim
    names: Collection[str | None] = (claim.upn, claim.person.email if claim.person else None)
    return frozenset(n.lower() for n in names if n)
