"""Closed tickets against what the directory shows now. Reads both systems and writes to neither.

There is no store here and no sender: nothing that could keep a row or send a change is handed to this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from desired_state.catalogue import Catalogue
from desired_state.intake import intake
from desired_state.items import Item
from desired_state.model import (
    Entitlement,
    LineKey,
    Person,
    Product,
    ProductKey,
    Refusal,
    Request,
    Says,
    Ticket,
    UserId,
)
from desired_state.periods import zone_of
from desired_state.resolve import resolve
from desired_state.says import TicketWords
from reconciler.backtest.judge import CLOCKS, asks_the_log, instead, judge
from reconciler.backtest.values import Case, Judged, Replayed, Step, Would
from reconciler.causes import CAUSES
from reconciler.clients.servicenow import ServiceNow, Watermark
from reconciler.errors import Forbidden, NotFound, RemoteError
from reconciler.line import Binding, Finding, Known, Line, Observed, Proposal, Rest, Unread
from reconciler.loop.bind import bind, look_up
from reconciler.loop.diff import Windows, diff
from reconciler.loop.look import Eyes, look, look_back
from reconciler.loop.mentions import Mentioned, mentions
from reconciler.loop.plan import Bounds, plan
from reconciler.model import AuditTrail, ObservedUser, SkuDetail

LOG_KEPT = timedelta(days=30)  # 7 in small plans (graph.md section 5)
_CLOSED = (Says.FULFILLED, Says.INCONSISTENT)


@dataclass(frozen=True, slots=True)
class Meaning:
    """How tickets of one tenant are read and their lines judged."""

    tenant: str
    tenant_id: str
    catalogue: Catalogue
    items: Mapping[str, Item]
    words: TicketWords
    zone: tzinfo
    windows: Windows
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Tickets:
    """Closed tickets, whom each mentions and the name of its assignment group, both by ticket number."""

    source: str
    tickets: tuple[Ticket, ...]
    mentioned: Mapping[str, Mentioned]
    groups: Mapping[str, str]
    skipped: Mapping[str, int]
    limits: tuple[str, ...] = ()


def from_servicenow(servicenow: ServiceNow, items: Mapping[str, Item], since: datetime, page_size: int) -> Tickets:
    """All tickets that were closed since then. A closing moves the ticket, so whatever moved since holds them all.

    Raises:
        RemoteError: the tickets could not be read.
    """
    found: dict[str, Ticket] = {}
    people: dict[str, Person] = {}
    for page in servicenow.tickets(items=tuple(sorted(items)), watermark=Watermark(since), page_size=page_size):
        people |= page.people
        found |= {t.sys_id: t for t in page.tickets}  # one that moved meanwhile came again: the later reading counts
    kept = [t for t in found.values() if t.closed_at is None or t.closed_at >= since]
    mentioned = mentions(servicenow, kept, items, read=people)
    ids = {t.number: _group_id(t) for t in kept}
    names, limits = _names(servicenow, sorted({g for g in ids.values() if g}))
    groups = {number: names.get(group, "") for number, group in ids.items()}
    skipped = {"closed before": len(found) - len(kept)}
    return Tickets("ServiceNow", tuple(kept), mentioned, groups, skipped, limits)


def _names(servicenow: ServiceNow, groups: Collection[str]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Names are for readers: a table that is closed to us leaves them out and is said."""
    try:
        return servicenow.group_names(groups), ()
    except (Forbidden, NotFound) as error:
        return {}, (f"The names of assignment groups could not be read: {error}.",)


def _group_id(ticket: Ticket) -> str:
    """Who worked on it: the ticket's own group, or that of its last task."""
    of_tasks = [t.assignment_group for t in ticket.tasks if t.assignment_group]
    return ticket.assignment_group or (of_tasks[-1] if of_tasks else "")


def replay(
    given: Tickets,
    means: Meaning,
    eyes: Eyes,
    *,
    since: datetime,
    at: datetime,
    log_kept: timedelta = LOG_KEPT,
    progress: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Judge every line of the tickets that say fulfilled.

    Raises:
        RemoteError: the directory could not be read at all.
    """
    skipped: Counter[str] = Counter(given.skipped)
    declared: list[tuple[Request | Refusal, Ticket]] = []
    judged_tickets = 0
    for ticket in sorted(given.tickets, key=lambda t: t.number):
        own = given.mentioned.get(ticket.number, Mentioned())
        taken = intake(
            ticket,
            means.items[ticket.item],
            own.people,
            means.catalogue,
            at=at,
            our_groups=frozenset(),
            words=means.words,
            zone=means.zone,
            named=own.named,
        )
        if ticket.closed_at is not None and ticket.closed_at < since:
            skipped["closed before"] += 1
        elif taken.says not in _CLOSED or (ticket.is_active is True and taken.says is Says.INCONSISTENT):
            skipped[f"not closed as fulfilled ({taken.says})"] += 1
        else:
            judged_tickets += 1
            declared += [(line, ticket) for line in taken.lines]
    progress(f"reading the accounts of {judged_tickets} closed tickets")
    lines = _lines(declared, means, eyes, at)
    observed = look(eyes, lines, eyes.graph.subscribed_skus(), at=at)
    findings = diff(lines, observed, at=at, windows=means.windows)
    wanted = _wanted(findings)
    progress(f"asking the directory's log about {len(wanted)} people")
    log_from = at - log_kept
    observed = look_back(eyes, {user: max(from_, log_from) for user, from_ in wanted.items()}, observed)
    proposals = {p.finding.key: p for p in plan(findings, observed, means.bounds).proposals}
    judged = [_judged(f, given, observed, proposals.get(f.key), at, log_from) for f in findings]
    return Replayed(
        means.tenant,
        given.source,
        since,
        at,
        log_from,
        tuple(sorted(judged, key=lambda j: (j.number, j.line))),
        judged_tickets,
        {why: n for why, n in sorted(skipped.items()) if n},
        (*given.limits, *_limits(observed)),
    )


def _lines(
    declared: Iterable[tuple[Request | Refusal, Ticket]], means: Meaning, eyes: Eyes, at: datetime
) -> tuple[Line, ...]:
    every = list(declared)
    names = look_up(eyes.graph, (one for one, _ in every if isinstance(one, Request)))
    made: list[Line] = []
    for one, ticket in every:
        product = means.catalogue.product(one.product) if one.product else None
        if isinstance(one, Refusal):
            made.append(Line(one, ticket, Binding(Known.UNREAD, why="the line was not taken in"), product))
            continue
        person = one.claim.person
        made.append(
            Line(
                one,
                ticket,
                bind(one, ticket, names, taken={}),
                product,
                person,
                siblings=_products(means, means.items[ticket.item].product_keys()),
                replaced=_products(means, product.replaces if product is not None else ()),
                zone=zone_of(person.time_zone if person is not None else None, means.zone),
            )
        )
    skipped = _skipped(made, names, means, at)
    return tuple(replace(line, skipped=skipped.get(line.key, "")) for line in made)


def _skipped(
    lines: Iterable[Line], names: Mapping[str, ObservedUser | RemoteError], means: Meaning, at: datetime
) -> Mapping[LineKey, str]:
    """Whose period is over. A duration runs from the closing: when access came is what is asked here."""
    upns = {u.id: u.upn for u in names.values() if isinstance(u, ObservedUser)}
    bound = [
        Entitlement(line.declared, means.tenant_id, line.binding.user, upns.get(line.binding.user, ""), at)
        for line in lines
        if isinstance(line.declared, Request) and line.binding.known is Known.BOUND and line.binding.user is not None
    ]
    granted = {e.key: e.request.due_since for e in bound}
    return resolve(bound, means.catalogue, at=at, granted_at=granted, zone=means.zone).skipped


def _products(means: Meaning, keys: Iterable[str]) -> tuple[Product, ...]:
    found = (means.catalogue.product(ProductKey(key)) for key in dict.fromkeys(keys))
    return tuple(product for product in found if product is not None)


def _wanted(findings: Iterable[Finding]) -> dict[UserId, datetime]:
    """Of whom the log is asked, and from when on: the earliest closing that it could say something about."""
    wanted: dict[UserId, datetime] = {}
    for finding in findings:
        closed_at = finding.line.ticket.closed_at
        if closed_at is not None and finding.user is not None and asks_the_log(finding, closed_at):
            since = closed_at - CLOCKS
            wanted[finding.user.id] = min(since, wanted.get(finding.user.id, since))
    return wanted


def _judged(
    finding: Finding, given: Tickets, observed: Observed, proposal: Proposal | None, at: datetime, log_from: datetime
) -> Judged:
    ticket, user = finding.line.ticket, finding.user
    details = observed.details.get(user.id) if user is not None else None
    held = details if isinstance(details, tuple) else ()
    case = Case(
        finding,
        ticket.closed_at,
        at,
        log_from,
        observed.audits.get(user.id) if user is not None else None,
        would(finding, proposal),
        given.groups.get(ticket.number, ""),
        instead(finding, held),
        _services(finding, held),
    )
    return judge(case)


def _services(finding: Finding, held: Iterable[SkuDetail]) -> frozenset[str]:
    """What the directory's log may call the plans that prove the product: by id, and by name as far as shown."""
    plans = finding.line.product.proof_plans if finding.line.product is not None else ()
    names = {detail.plan_names.get(plan, "") for detail in held for plan in plans}
    return frozenset({*plans, *names} - {""})


def would(finding: Finding, proposal: Proposal | None) -> Would:
    """What a cycle would do about the line with writes allowed: the same plan that it would make."""
    cause = finding.cause
    owner = CAUSES[cause].owner.value if cause is not None else ""
    if proposal is not None and proposal.with_ is not None:
        return Would(Step.CORRECT, (), "", f"Together with {proposal.with_}.")
    if proposal is not None and proposal.short_of:
        return Would(Step.QUEUE, tuple(a.kind.value for a in proposal.actions), "licence admin", proposal.sentence)
    if proposal is not None and proposal.blocked is not None:
        return Would(Step.HAND_BACK, (), CAUSES[proposal.blocked].owner.value, proposal.sentence)
    if proposal is not None and proposal.actions:
        kinds = tuple(a.kind.value for a in (*proposal.actions, *proposal.later))
        asks = finding.drift is not None and finding.drift.needs_person
        return Would(Step.ASK if asks else Step.CORRECT, kinds, owner if asks else "", proposal.sentence)
    match finding.rest:
        case Rest.HAND_BACK:
            return Would(Step.HAND_BACK, (), owner, finding.sentence)
        case Rest.REVIEW | Rest.HOLD if cause is not None:
            return Would(Step.ASK, (), owner, finding.sentence)
        case Rest.WAIT:
            return Would(Step.WAIT, (), "", finding.sentence)
    return Would(Step.NOTHING)


def _limits(observed: Observed) -> tuple[str, ...]:
    """What kept the judgement from being as good as it could be."""
    unread = [t for t in observed.audits.values() if isinstance(t, Unread)]
    cut = [t for t in observed.audits.values() if isinstance(t, AuditTrail) and not t.is_whole]
    found = []
    if unread:
        found.append(f"The directory's log could not be read for {len(unread)} people: {unread[0].why}.")
    if cut:
        found.append(f"The directory's log is longer than is read for {len(cut)} people.")
    return tuple(found)
