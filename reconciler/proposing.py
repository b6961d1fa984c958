"""Taking in what software proposes: the one way in, for the API and for the assistants' server alike.

What is refused is refused with one sentence and keeps nothing but a row in the log. What is taken in becomes a line
that waits for people (`desired_state.proposals`); the next cycle looks at it as at any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlmodel import Session

from desired_state import ledger
from desired_state.catalogue import Catalogue
from desired_state.model import Period, Product, ProductKey, Says
from desired_state.proposals import NUMBER, Proposal, is_number
from desired_state.text import one_line
from reconciler.approvals.machine import move
from reconciler.approvals.values import Approval, State
from reconciler.digest import digest
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.offering import COST_CENTER_MAX, REASON_MAX
from reconciler.store import approvals, journal, lines, proposals
from reconciler.store.agents import Agent
from reconciler.store.approvals import Tell
from reconciler.store.database import Database
from reconciler.suggested import Selection, Suggestion, fate, is_open, selected_instead

DAYS_MAX = 3650


class No(StrEnum):
    """Why a proposal is not taken in."""

    TENANT = "tenant"
    PRODUCT = "product"  # there is none of this key
    NOT_YOURS = "not_yours"  # the agent may not propose this product
    PERSON = "person"  # out of scope, or denied
    PERIOD = "period"
    PRICE = "price"
    KEY = "key"  # the idempotency key named another proposal
    SAME = "same"  # it waits already
    FULL = "full"  # too many wait
    DECIDED = "decided"  # it does not wait any more, so it cannot be withdrawn
    UNKNOWN = "unknown"  # the agent has none of this number


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was kept. `sentence` says what, where and what to do."""

    why: No
    sentence: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What an agent sends, each field well formed by itself."""

    person: str
    product: str
    reason: str
    tenant: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    duration_days: int | None = None
    cost_center: str = ""
    source_ticket: str = ""
    price_max_monthly: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """Where proposals are taken in. `admits` says why an account may not be served at all, "" when it may."""

    tenant: str
    database: Database
    catalogue: Callable[[], Catalogue]
    admits: Callable[[str], str]
    meter: Meter = UNCOUNTED
    tell: Tell | None = None

    def withdraw(self, agent: Agent, number: str, *, at: datetime) -> View | Refused:
        """Take back a proposal of an agent that still waits, with the request that people were asked by; or say why
        not. Taken back already, it changes nothing."""
        with self.database.write() as session:
            journal.lock(session, self.tenant)
            view = view_of(session, self.tenant, number, agent.name)
            if view is None:
                return Refused(No.UNKNOWN, "This agent has no proposal of this number.")
            if view.suggestion.is_withdrawn:
                return view
            if not view.is_open:
                sentence = f"{view.proposal.number} does not wait any more, it is {view.fate}; nothing was withdrawn."
                proposals.note_refused(session, self.tenant, agent.name, sentence, at)
                return Refused(No.DECIDED, sentence)
            if view.approval:
                approvals.change(
                    session, self.tenant, view.approval, _ended, at, event="approval.outcome", tell=self.tell
                )
            proposals.withdraw(session, view.proposal, at=at)
            found = view_of(session, self.tenant, number, agent.name)
        assert found is not None
        return found

    def take(self, agent: Agent, offer: Offer, *, key: str, at: datetime) -> proposals.Filed | Refused:
        """Keep one proposal of an agent, once per `key`; or say why not, in one sentence that is also logged."""
        with self.database.write() as session:
            journal.lock(session, self.tenant)  # what waits is counted after whoever was first
            taken = self._take(session, agent, offer, key, at)
            if isinstance(taken, Refused):
                proposals.note_refused(session, self.tenant, agent.name, taken.sentence, at)
        if isinstance(taken, Refused) or taken.is_new:
            self.meter.proposed("ai", "refused" if isinstance(taken, Refused) else "filed")
        return taken

    def _take(self, session: Session, agent: Agent, offer: Offer, key: str, at: datetime) -> proposals.Filed | Refused:
        said = _said(offer)
        before = proposals.by_key(session, self.tenant, agent.name, key)
        if before is not None:
            if before.said == said:
                return before
            number = before.proposal.number
            return Refused(No.KEY, f"This idempotency key was used for {number}, which says something else.")
        no = self._no(agent, offer, at)
        if no is not None:
            return no
        mine = views(session, self.tenant, agent.name)
        waiting = [v for v in mine if v.is_open]
        person = offer.person.lower()
        same = next((v for v in waiting if (v.proposal.person, v.proposal.product) == (person, offer.product)), None)
        if same is not None:
            return Refused(No.SAME, f"{same.proposal.number} proposes the same already, and it still waits.")
        if len(waiting) >= agent.open_max:
            sentence = f"{len(waiting)} proposals of this agent still wait for people, and {agent.open_max} may."
            return Refused(No.FULL, sentence)
        proposal = Proposal(
            number="",
            tenant=self.tenant,
            agent=agent.name,
            owner=agent.owner,
            person=person,
            product=ProductKey(offer.product),
            reason=one_line(offer.reason, REASON_MAX),
            at=at,
            period=Period(offer.starts_on, offer.ends_on, offer.duration_days),
            cost_center=one_line(offer.cost_center, COST_CENTER_MAX),
            source_ticket=offer.source_ticket,
            price_max=offer.price_max_monthly,
        )
        return proposals.file(session, proposal, key=key, said=said, at=at)

    def _no(self, agent: Agent, offer: Offer, at: datetime) -> Refused | None:
        if offer.tenant is not None and offer.tenant != self.tenant:
            return Refused(No.TENANT, f"This token is for tenant {self.tenant} and for no other.")
        product = self.catalogue().product(ProductKey(offer.product))
        if product is None:
            shown = one_line(offer.product, 60)
            return Refused(No.PRODUCT, f"There is no product '{shown}'; `reconciler catalogue list` names them.")
        if not agent.may_propose(product.key):
            return Refused(No.NOT_YOURS, f"Agent {agent.name} may not propose {product.name}.")
        return _period_no(offer, at) or _price_no(offer, product) or self._person_no(offer)

    def _person_no(self, offer: Offer) -> Refused | None:
        why = self.admits(offer.person)
        return Refused(No.PERSON, why) if why else None


def _ended(approval: Approval) -> Approval | None:
    """Nobody answers it any more. One that is not open has its end already."""
    if approval.state is not State.PENDING:
        return None
    return move(approval, State.CANCELLED, reason="The agent that proposed it has withdrawn it.")


def _period_no(offer: Offer, at: datetime) -> Refused | None:
    if offer.ends_on is not None and offer.duration_days is not None:
        return Refused(No.PERIOD, "Give ends_on or duration_days, not both.")
    if offer.ends_on is not None and offer.ends_on < at.date():
        return Refused(No.PERIOD, f"ends_on {offer.ends_on} is over already.")
    if offer.ends_on is not None and offer.starts_on is not None and offer.ends_on < offer.starts_on:
        return Refused(No.PERIOD, f"ends_on {offer.ends_on} is before starts_on {offer.starts_on}.")
    last = offer.ends_on or offer.starts_on
    if last is not None and (last - at.date()).days > DAYS_MAX:
        return Refused(No.PERIOD, f"{last} is more than {DAYS_MAX} days away.")
    return None


def _price_no(offer: Offer, product: Product) -> Refused | None:
    price = offer.price_max_monthly
    if price is None or product.price is None or product.price <= price:
        return None
    sentence = f"{product.name} costs {product.price:.2f} a month, more than price_max_monthly {price:.2f}."
    return Refused(No.PRICE, sentence)


def _said(offer: Offer) -> str:
    """What two equal requests have in common: everything that was sent but the key."""
    told: dict[str, Any] = {name: getattr(offer, name) for name in Offer.__slots__}
    return digest({name: str(value) if value is not None else None for name, value in told.items()})


# --- how proposals stand --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A proposal and how it stands, from the store."""

    proposal: Proposal
    suggestion: Suggestion
    sentence: str
    approval: str  # id of its newest request, "" before there is one
    digest: str
    instead: Selection | None

    @property
    def is_open(self) -> bool:
        return is_open(self.suggestion)

    @property
    def fate(self) -> str:
        return "changed" if self.instead is not None else fate(self.suggestion)


def views(session: Session, tenant: str, agent: str | None = None) -> tuple[View, ...]:
    """The proposals of one agent, or of all, oldest first."""
    found = proposals.load(session, tenant) if agent is None else proposals.of_agent(session, tenant, agent)
    if not found:
        return ()
    states = lines.load(session, tenant, tickets=found.keys())
    newest = approvals.newest(session, tenant, found.keys())
    standings = ledger.standings(session, tenant, tickets=found.keys())
    chosen: tuple[Selection, ...] | None = None
    told = []
    for proposal in found.values():
        state, approval, standing = states.get(proposal.key), newest.get(proposal.key), standings.get(proposal.key)
        bound = standing.entitlement.user if standing is not None and standing.entitlement is not None else None
        suggestion = Suggestion(
            number=proposal.number,
            agent=proposal.agent,
            product=proposal.product,
            at=proposal.at,
            user=bound,
            phase=state.phase if state is not None else None,
            approval=approval.state if approval is not None else None,
            is_withdrawn=standing is not None
            and standing.request is not None
            and standing.request.says is Says.CANCELLED,
        )
        if chosen is None and fate(suggestion) not in ("filed", "held", "waiting", "approved"):
            chosen = selections(session, tenant)
        told.append(
            View(
                proposal,
                suggestion,
                state.note if state is not None else "",
                approval.id if approval is not None else "",
                approval.digest if approval is not None else "",
                selected_instead(suggestion, chosen or ()),
            )
        )
    return tuple(told)


def selections(session: Session, tenant: str) -> tuple[Selection, ...]:
    """What people asked for by tickets: every bound line that is no proposal."""
    return tuple(
        Selection(key.ticket, bound.user, bound.request.product, bound.request.requested_at)
        for key, standing in ledger.standings(session, tenant).items()
        if (bound := standing.entitlement) is not None and not is_number(key.ticket)
    )


def view_of(session: Session, tenant: str, number: str, agent: str) -> View | None:
    """One proposal of an agent; None when it has none of this number."""
    if NUMBER.fullmatch(number) is None:
        return None
    return next((v for v in views(session, tenant, agent) if v.proposal.number == number), None)


def as_json(view: View) -> dict[str, Any]:
    """The stable JSON of one proposal. What the agent wrote is shown as data, on one line."""
    proposal, period = view.proposal, view.proposal.period
    return {
        "number": proposal.number,
        "agent": proposal.agent,
        "at": proposal.at.isoformat(),
        "person": proposal.person,
        "product": proposal.product,
        "reason": proposal.reason,
        "starts_on": period.starts_on.isoformat() if period.starts_on else None,
        "ends_on": period.ends_on.isoformat() if period.ends_on else None,
        "duration_days": period.duration_days,
        "cost_center": proposal.cost_center,
        "source_ticket": proposal.source_ticket,
        "price_max_monthly": str(proposal.price_max) if proposal.price_max is not None else None,
        "state": view.fate,
        "phase": view.suggestion.phase.value if view.suggestion.phase is not None else None,
        "sentence": one_line(view.sentence, 1000),
        "digest": view.digest or None,
        "selected_instead": _instead(view.instead),
    }


def _instead(selection: Selection | None) -> Mapping[str, str] | None:
    return {"ticket": selection.ticket, "product": selection.product} if selection is not None else None
