"""What software suggests, as a line like any other. Pure.

A proposal has no ticket in ServiceNow: it is kept under a number of ours ("PROP…") and declared as a line that waits
for an approval, opened by an agent. From there it is a request like any other: same rules, same digest, and always a
person's decision. The human who answers for the agent counts as its opener, so that they cannot approve it (I8).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from desired_state.model import Claim, LineKey, Period, Person, ProductKey, Request, Says, Ticket
from desired_state.text import one_line

AGENT_MARK = "agent:"  # before the name of a registered agent, where a ticket has a user name
ITEM_NAME = "Proposal of an AI agent"
AGENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")
NUMBER = re.compile(r"PROP[0-9]{7,12}")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One suggestion, as it was taken in. `number` is that of its line's ticket; `owner` a sign-in name.

    `reason`, `cost_center` and `source_ticket` are what the agent wrote: untrusted text, on one line.
    """

    number: str
    tenant: str
    agent: str
    owner: str
    person: str  # sign-in name
    product: ProductKey
    reason: str
    at: datetime
    period: Period = field(default_factory=Period)
    cost_center: str = ""
    source_ticket: str = ""
    price_max: Decimal | None = None  # a month

    @property
    def key(self) -> LineKey:
        return LineKey(self.number, 1)


def number_of(count: int) -> str:
    """The number of the proposal that is the `count`-th of its tenant, counted from 1."""
    return f"PROP{count:07d}"


def is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def is_software(opened_by: str, agents: Collection[str]) -> bool:
    """Whether an order came from an account that can only propose: a configured one, or a registered agent.

    Neither capitals nor blanks make another account of a user name.
    """
    name = opened_by.strip().casefold()
    return name in {agent.strip().casefold() for agent in agents} or name.startswith(AGENT_MARK)


def agent_of(opened_by: str) -> str:
    """The name of the registered agent that an order came from, "" when it came from none."""
    return opened_by.removeprefix(AGENT_MARK) if opened_by.startswith(AGENT_MARK) else ""


def as_request(proposal: Proposal) -> Request:
    """The line that it asks for: waiting, whatever else is said."""
    return Request(
        key=proposal.key,
        claim=Claim(proposal.person, None),
        product=proposal.product,
        says=Says.WAITING,
        requested_at=proposal.at,
        due_since=proposal.at,
        period=proposal.period,
        justification=proposal.reason,
        cost_center=proposal.cost_center,
        price_cap=proposal.price_max,
        opened_by=AGENT_MARK + proposal.agent,
    )


def as_ticket(proposal: Proposal) -> Ticket:
    """What stands for a ticket: never read from anywhere and never answered, so it moves only with the proposal."""
    return Ticket(
        sys_id=_sys_id(proposal),
        number=proposal.number,
        item="",
        item_name=ITEM_NAME,
        state="",
        stage="",
        approval="requested",
        is_active=True,
        request="",
        request_number="",
        request_approval="",
        opened_at=proposal.at,
        updated_at=proposal.at,
        mod_count=0,
        opened_by=_person(proposal.owner, f"AI agent {proposal.agent}", AGENT_MARK + proposal.agent),
        requested_for=_person(proposal.person, proposal.person, None),
        price=proposal.price_max,
        short_description=one_line(f"{ITEM_NAME}: {proposal.product} for {proposal.person}", 160),
        variables={
            "agent": proposal.agent,
            "person": proposal.person,
            "product": proposal.product,
            "reason": proposal.reason,
            "cost_center": proposal.cost_center,
            "source_ticket": proposal.source_ticket,
        },
    )


def _person(upn: str, name: str, user_name: str | None) -> Person:
    return Person(sys_id=f"upn:{upn.lower()}", user_name=user_name, email=upn, name=name)


def _sys_id(proposal: Proposal) -> str:
    """Never one of ServiceNow's, which are 32 hex digits."""
    return "proposal:" + hashlib.sha256(f"{proposal.tenant}\n{proposal.number}".encode()).hexdigest()[:32]
