"""What has been declared, as frozen values: tickets as they were read, lines, entitlements, desired state. Pure.

Ids of SKUs, plans, groups and users are opaque strings here, always lower case: this package never learns that
Entra exists. Absent is never empty: None means "not known", "" and () mean "known to be empty".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NewType

OUR_MARK = "m365r:"  # the correlation id of what we made or reopened starts so

UserId = NewType("UserId", str)  # object id in the directory
SkuId = NewType("SkuId", str)
PlanId = NewType("PlanId", str)
GroupId = NewType("GroupId", str)
ProductKey = NewType("ProductKey", str)


class Path(StrEnum):
    """How a licence reaches a person."""

    DIRECT = "direct"
    GROUP = "group"


class Tier(StrEnum):
    """How strong a proof of access has to be; the order is V0 < V1 < V2 < V3 < V4."""

    V0 = "V0"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"
    V4 = "V4"


# --- tickets as they were read -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the ticket system knows them. Fields it did not show are None; cleared ones are ""."""

    sys_id: str
    user_name: str | None = None
    email: str | None = None
    name: str | None = None
    employee_number: str | None = None
    is_active: bool | None = None
    country: str | None = None  # ISO 3166 alpha-2 when it is one, as typed otherwise
    department: str | None = None
    cost_center: str | None = None
    title: str | None = None
    manager: str | None = None  # sys_id
    time_zone: str | None = None  # as the IANA database names it; "" for the system's own


@dataclass(frozen=True, slots=True)
class Approval:
    """One row of who was asked to approve, and what they said."""

    sys_id: str
    approver: str  # sys_id of the person
    approver_name: str
    state: str  # requested, approved, rejected, not_required, …
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A catalogue task under the item."""

    sys_id: str
    number: str
    state: str
    is_active: bool | None
    assignment_group: str = ""  # sys_id
    assigned_to: str = ""  # sys_id, "" for nobody
    correlation_id: str = ""
    short_description: str = ""
    mod_count: int | None = field(default=None, compare=False)  # how often it was written to; None: not shown


@dataclass(frozen=True, slots=True)
class Ticket:
    """One requested item (RITM) with everything that hangs on it, read in one go.

    `variables` is None when none could be read (an ACL hides them, or the item has none): such a ticket is held,
    never read as "nothing wanted". Names are as the form spells them. `rows` are the rows of multi-row variable
    sets, in their order. Instants are aware UTC with one-second resolution.
    """

    sys_id: str
    number: str
    item: str  # sys_id of the catalogue item
    item_name: str
    state: str
    stage: str
    approval: str
    is_active: bool | None
    request: str  # sys_id of the request (REQ)
    request_number: str
    request_approval: str
    opened_at: datetime
    updated_at: datetime
    mod_count: int
    updated_by: str = ""
    closed_at: datetime | None = None
    closed_by: str = ""  # user_name
    opened_by: Person | None = None
    requested_for: Person | None = None
    price: Decimal | None = None  # what was approved, per month when recurring
    assignment_group: str = ""
    assigned_to: str = ""
    correlation_id: str = ""
    close_notes: str = ""
    short_description: str = ""
    variables: Mapping[str, str] | None = None
    rows: tuple[Mapping[str, str], ...] = ()
    approvals: tuple[Approval, ...] = ()
    tasks: tuple[Task, ...] = ()
    priority: str = ""  # as the instance writes it ("1" is critical where nobody changed that); "" when it is not shown
    hidden_answers: int = 0  # rows of its form that are there and are not shown to us: nobody knows of which question
    hidden_cells: int = 0  # the same of its multi-row variable sets
    unshown: tuple[str, ...] = ()  # questions that its form asks and of which no row is shown, as far as that is known


class Says(StrEnum):
    """What a ticket says about itself; it only decides how the ticket is answered."""

    WAITING = "waiting"  # for somebody's approval
    APPROVED = "approved"  # and not fulfilled yet: ours to fulfil
    FULFILLED = "fulfilled"  # closed complete: ours to verify
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    INCONSISTENT = "inconsistent"  # its own fields disagree


# --- lines and entitlements ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """A ticket's line; lines count from 1."""

    ticket: str
    line: int

    def __str__(self) -> str:
        return f"{self.ticket}/{self.line}"


@dataclass(frozen=True, slots=True)
class Claim:
    """Whom a line names: a sign-in name as typed, or a person of the ticket system, or both."""

    upn: str | None
    person: Person | None


@dataclass(frozen=True, slots=True)
class Period:
    """From when until when. A duration runs from the verified grant, an end date ends with that day."""

    starts_on: date | None = None
    ends_on: date | None = None
    duration_days: int | None = None

    @property
    def is_open(self) -> bool:
        """No end was asked for."""
        return self.ends_on is None and self.duration_days is None


@dataclass(frozen=True, slots=True)
class Request:
    """What one line asks for, in our words, before anybody was looked up."""

    key: LineKey
    claim: Claim
    product: ProductKey
    says: Says
    requested_at: datetime  # orders the queue
    due_since: datetime  # when it was approved or said to be fulfilled: windows count from here
    period: Period = Period()
    justification: str = ""
    cost_center: str = ""
    manager: str = ""
    manager_country: str = ""  # as the ticket system has it: a hint
    price_cap: Decimal | None = None  # the envelope that was approved
    closed_by: str = ""
    opened_by: str = ""  # user_name
    approvers: tuple[str, ...] = ()  # names, for people


class Why(StrEnum):
    """Why a line is not taken in; each maps to one cause of `reconciler.causes`."""

    PRODUCT_UNMAPPED = "product_unmapped"
    PRODUCT_AMBIGUOUS = "product_ambiguous"
    TICKET_INCONSISTENT = "ticket_inconsistent"
    HELD_BY_PERSON = "held_by_person"
    POLICY_REFUSED = "policy_refused"
    IDENTITY_MISMATCH = "identity_mismatch"
    USER_MISSING = "user_missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that cannot be read as a request. `sentence` is for its requester: what, where, what to do."""

    key: LineKey
    why: Why
    sentence: str
    says: Says
    product: ProductKey | None = None
    person: str = ""  # as typed, for lists
    needs_person: bool = False  # True: goes to review; False: held until the ticket changes


class GivenKind(StrEnum):
    LOCATION = "location"  # a usage location was set; never taken back
    LICENSE = "license"  # a SKU was assigned directly
    PLANS = "plans"  # plans of a direct licence were switched on
    MEMBER = "member"  # the person was put into a licence group
    REPLACED = "replaced"  # a direct licence was taken away because a group's takes its place; an undo gives it back
    WITHHELD = "withheld"  # plans that came to a licence after we gave it were switched off; never taken back


@dataclass(frozen=True, slots=True)
class Given:
    """One thing that we added for a line: exactly what may be taken back for it, and nothing else (I3, I12)."""

    kind: GivenKind
    at: datetime
    sku: SkuId | None = None  # LICENSE, PLANS, REPLACED, WITHHELD
    group: GroupId | None = None  # MEMBER
    plans: tuple[PlanId, ...] = ()  # PLANS: switched on; WITHHELD: switched off; REPLACED: those that were off
    country: str = ""  # LOCATION
    is_seen: bool = True  # LOCATION: False while its write had no trustworthy reply and nobody has read it since;
    # WITHHELD: False until a look has shown the plans off
    instead_of: tuple[
        tuple[SkuId, tuple[PlanId, ...]], ...
    ] = ()  # LICENSE: what it was exchanged for, and its plans off
    is_leaving: bool = False  # its undo was begun, and no look has seen the end of it yet
    has_left: bool = False  # MEMBER: seen to be out of the group again: who is in it after that was put there by others


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A request bound once to one person of one directory (I18). What the ledger keeps."""

    request: Request
    tenant_id: str
    user: UserId
    upn: str  # when it was bound; names move, the id does not
    bound_at: datetime

    @property
    def key(self) -> LineKey:
        return self.request.key


@dataclass(frozen=True, slots=True)
class Product:
    """What can be asked for, and what proves that it is there. Ids, never names, decide.

    `candidate_skus` are tried in order; `proof_plans` per `proof_mode` any or all; `decoy_plans` look alike and
    prove nothing; `covering_skus` bring the proof plans too. `prerequisite_plans` must be there already.
    """

    key: ProductKey
    name: str
    kind: str  # addon, standalone, suite, free
    candidate_skus: tuple[SkuId, ...]
    proof_plans: tuple[PlanId, ...]
    proof_mode: str = "any"  # any, all, all+sku
    prerequisite_plans: tuple[PlanId, ...] = ()
    prerequisite_mode: str = "any"
    decoy_plans: tuple[PlanId, ...] = ()
    covering_skus: tuple[SkuId, ...] = ()
    aliases: tuple[str, ...] = ()
    path: Path = Path.DIRECT
    group: GroupId | None = None
    tier: Tier = Tier.V2
    price: Decimal | None = None  # list price a month, None: not configured
    window_s: float = 86400.0  # how long provisioning may take before it counts as failed
    note: str = ""
    replaces: tuple[ProductKey, ...] = ()  # products whose licence may be removed for this one, as declared (I3)
    held: str = ""  # why nothing is granted at the moment, "" when it is
    probe: str = ""  # the workload probe that proves V3, "" for none
    enabling_group: GroupId | None = None  # joining it switches the product's plans on for who has them by a group
    waived_plans: tuple[PlanId, ...] = ()  # proof plans that may stay pending for ever
    new_plans: str = "on"  # plans of the SKU that no list of the site names: on or off
    on_drift: str = "ask"  # when a grant was changed by others: ask, adopt, revert
    on_drift_by: tuple[tuple[str, str], ...] = ()  # the same by who is certain to have done it: person, app, …
    owner: str = ""  # who mends the workload itself, "" for the cause's own owner
    group_window_s: float = 86400.0  # how long a group may take before it counts as failed
    grace_s: float = 0.0  # from the end of the period to the revoke
    remind_s: float = 604800.0  # how long before the end the ticket is reminded
    replaced_skus: tuple[SkuId, ...] = ()  # SKUs of the products in `replaces`
    retired: tuple[SkuId | PlanId, ...] = ()  # retired by now: no proof, and no reason to roll back
    bears_data: bool = False  # no suite, and yet a mailbox or files hang on it

    @property
    def keeps_data(self) -> bool:
        """Whether losing it starts a clock on a mailbox or files; such a product is only proposed to be revoked."""
        return self.kind == "suite" or self.bears_data


@dataclass(frozen=True, slots=True)
class Want:
    """One assignment that the ledger implies: what one person must be able to use, because of which lines."""

    user: UserId
    product: ProductKey
    keys: tuple[LineKey, ...]  # oldest first; all of them share the assignment
    path: Path
    skus: tuple[SkuId, ...]  # candidates, preferred first
    proof_plans: tuple[PlanId, ...]
    proof_mode: str
    requested_at: datetime
    due_since: datetime
    ends_on: date | None = None  # latest end of the lines; None when one of them is open
    duration_days: int | None = None
    group: GroupId | None = None
    ends_at: datetime | None = None  # the latest end of the lines; None while one is open or has not begun


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the ledger implies at one instant."""

    at: datetime
    wants: tuple[Want, ...] = ()
    skipped: Mapping[LineKey, str] = field(default_factory=dict)  # not started yet, or over: the reason
