"""One line on its way through a cycle: as it was taken up, what was found, planned, judged, and where it ended. Pure.

Frozen values that the stages of the loop hand to each other. What was observed and what can be done are in `model`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any

from desired_state.model import (
    Given,
    GroupId,
    LineKey,
    Person,
    PlanId,
    Product,
    ProductKey,
    Refusal,
    Request,
    Says,
    SkuId,
    Ticket,
    Tier,
    UserId,
)
from desired_state.rules import Ruling
from desired_state.text import one_line
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.model import (
    Action,
    AnswerKind,
    AuditTrail,
    ObservedGroup,
    ObservedUser,
    Outcome,
    Probed,
    SkuDetail,
    SubscribedSku,
    Verdict,
)
from reconciler.question import Decided, Question
from reconciler.share import Side

NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class LineState:
    """What is remembered of one line between cycles; a row is written only when one of these changed.

    `episode` counts the decisions about a line: it grows when its ticket makes it news again, so that an answer
    can be given once per change and episode (I6). `note` is the sentence people are shown for the phase.
    """

    key: LineKey
    phase: Phase
    verdict: Verdict | None = None
    first_verdict: Verdict | None = None
    cause: str | None = None
    tier: str | None = None
    user: UserId | None = None
    attempts: int = 0
    next_at: datetime | None = None
    since: datetime | None = None  # when the phase began
    granted_at: datetime | None = None
    ends_at: datetime | None = None
    episode: int = 1
    note: str = ""
    given: tuple[Given, ...] = ()  # what we added for it in this episode, oldest first, and did not take back yet
    reversals: int = 0  # how often others undid what we did
    told: str = ""  # what the ticket was last told about it, in short (`answers.told`)
    product: str = ""  # the catalogue key that the ticket asks for, "" while none is understood
    person: str = ""  # whom it names, as `Line.names` says; for lists and for finding it


class Known(StrEnum):
    """How sure we are which account a line means."""

    BOUND = "bound"
    MISSING = "missing"  # the directory answered that there is nobody of this name
    MISMATCH = "mismatch"  # somebody has the name, but it may not be the person who was meant
    UNREAD = "unread"  # we could not ask


@dataclass(frozen=True, slots=True)
class Binding:
    known: Known
    user: UserId | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """Another line of the same person that counts now: what it needs is not taken away for this one."""

    key: LineKey
    product: Product
    asked_at: datetime | None = None
    given: tuple[Given, ...] = ()  # by us, as far as it is known


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the cycle takes it up: what was declared, what the ticket says now, what is remembered."""

    declared: Request | Refusal
    ticket: Ticket
    binding: Binding
    product: Product | None = None
    person: Person | None = None  # as the ticket system knows the subject
    state: LineState | None = None
    skipped: str = ""  # why its period does not count now, "" when it does
    is_by_us: bool = False  # the ledger says that we gave what it was granted
    given: tuple[Given, ...] = ()  # exactly what, as far as it is known
    siblings: tuple[Product, ...] = ()  # what else the same form can ask for
    replaced: tuple[Product, ...] = ()  # what its product declares to take the place of
    priority: str = ""  # why it is served before older lines, "" when it is not
    granted_at: datetime | None = None  # when the access was first proven, by the ledger: periods run from here
    was_granted_at: datetime | None = None  # the same of a grant that has ended: asked for again, its period stays over
    zone: tzinfo = UTC  # where the person's days begin and end
    others: tuple[Other, ...] = ()
    hold: str = ""  # a person keeps the ticket's task: it is looked at, and nothing is changed for it
    is_unapproved: bool = False  # its item needs no approval and nobody gave one: only a rule can allow it
    is_approved: bool = False  # people approved it here, and it was begun: what the ticket waits for is given
    approved_by: tuple[str, ...] = ()  # names of who approved it here
    decided: Decided | None = None  # what a person said about access that is not as it was granted
    came_later: tuple[tuple[SkuId, frozenset[PlanId]], ...] = ()  # what we gave, and plans it got since

    @property
    def key(self) -> LineKey:
        return self.declared.key

    @property
    def says(self) -> Says:
        return self.declared.says

    @property
    def account(self) -> UserId | None:
        """The account it is bound to; or, where the ticket asks for nothing now, the one that we gave something to."""
        kept = self.state.user if self.state is not None and self.state.given else None
        return self.binding.user or kept

    @property
    def asks_for(self) -> str:
        """The catalogue key that its ticket asks for, "" while none is understood."""
        return str(self.declared.product or "")

    @property
    def names(self) -> str:
        """Whom its ticket names: by sign-in name where it says one, on one line and in small letters; "" for nobody.

        It says nothing that was looked up, so a reading that fails never makes a line look changed.
        """
        if isinstance(self.declared, Refusal):
            return one_line(self.declared.person, NAME_MAX).lower()
        claim = self.declared.claim
        person = claim.person
        said = claim.upn or (person.email or person.user_name or "" if person is not None else "")
        return one_line(said, NAME_MAX).lower()


@dataclass(frozen=True, slots=True)
class Gone:
    """The directory says that this object does not exist (or not any more)."""


@dataclass(frozen=True, slots=True)
class Unread:
    """It could not be read; `why` is a short sentence. Never the same as nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The part of a tenant that a cycle looked at."""

    at: datetime
    users: Mapping[UserId, ObservedUser | Gone | Unread]
    details: Mapping[UserId, tuple[SkuDetail, ...] | Unread]
    skus: Mapping[SkuId, SubscribedSku]
    groups: Mapping[GroupId, ObservedGroup | Gone | Unread] = field(default_factory=dict)  # by id, and as configured
    members: Mapping[tuple[GroupId, UserId], bool | Unread] = field(default_factory=dict)  # direct members
    probed: Mapping[tuple[UserId, ProductKey], Probed | Unread] = field(default_factory=dict)
    audits: Mapping[UserId, AuditTrail | Unread] = field(default_factory=dict)  # only of those it was asked about
    our_app: str = ""  # our own application, as the directory's log names it
    role_holders: frozenset[UserId] | Unread | None = None  # of administrator roles; None: this look did not ask

    def part_number(self, sku: SkuId) -> str:
        """What the tenant's list calls the SKU, its id where that does not have it."""
        owned = self.skus.get(sku)
        return owned.part_number if owned is not None else sku


Look = Callable[[Collection[UserId]], Mapping[UserId, Probed | Unread]]  # a workload probe at work


class Loss(StrEnum):
    """What became of an access that was proven once."""

    REMOVED = "removed"  # nothing that proves it is assigned any more
    ALTERED = "altered"  # its service was switched off
    REPLACED = "replaced"  # another licence came in its place
    LEFT_GROUP = "left_group"
    ERROR = "error"  # it is assigned, and Microsoft reports trouble with it


class ActorKind(StrEnum):
    PERSON = "person"
    APP = "app"
    GROUP_LICENSING = "group_licensing"
    US = "us"
    UNKNOWN = "unknown"


class Confidence(StrEnum):
    CERTAIN = "certain"  # one actor, and the log names what is gone
    LIKELY = "likely"  # one actor, and the log does not say what was changed
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who changed it, as far as the directory's log tells. `name` is safe to show; `why` says why nobody is named."""

    kind: ActorKind
    confidence: Confidence
    name: str = ""
    at: datetime | None = None
    event: str = ""
    correlation_id: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """A loss after the grant. `by` None: the log was not asked in this cycle."""

    loss: Loss
    by: Attribution | None = None


class Access(StrEnum):
    """What the proof plans of a product say about one person."""

    PROVEN = "proven"
    PENDING = "pending"
    OUT_OF_SERVICE = "out_of_service"  # provisioned, and not enabled: its subscription is suspended, or lists disagree
    ERROR = "error"
    DISABLED = "disabled"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Proof:
    """The best answer for the product, and the plan and SKU that gave it."""

    access: Access
    plan: PlanId | None = None
    sku: SkuId | None = None


class DriftKind(StrEnum):
    MISSING = "missing"  # no SKU that could prove the product is assigned
    PLAN_OFF = "plan_off"  # a direct assignment has the proof plan switched off
    NOT_MEMBER = "not_member"  # the person is not in the group that carries the licence
    UNPROCESSED = "unprocessed"  # a member, and the group's licences are worked out only when somebody asks again
    SURPLUS = "surplus"  # what we gave is still there though its period is over
    HALF_DONE = "half_done"  # what we gave does not work and is taken back (I12)
    NEW_PLANS = "new_plans"  # a licence that we gave got plans from Microsoft since, which the product wants off


@dataclass(frozen=True, slots=True)
class Drift:
    """One disagreement about one user and one product that this cycle may be able to remove."""

    kind: DriftKind
    needs_location: bool
    sku: SkuId | None = None  # PLAN_OFF, NEW_PLANS: the SKU to change
    disabled_before: frozenset[PlanId] = frozenset()
    disabled_after: frozenset[PlanId] = frozenset()
    group: GroupId | None = None  # NOT_MEMBER, UNPROCESSED
    needs_person: bool = False  # it is only proposed: a person has to say yes
    replace: tuple[SkuId, ...] = ()  # direct licences of products that the product declares to replace
    take_back: tuple[Given, ...] = ()  # SURPLUS, HALF_DONE: newest first


class Closing(StrEnum):
    """How far a line is on the way to its end."""

    NEAR = "near"  # it still counts, and its ticket is reminded
    GRACE = "grace"  # it is over, and the licence stays a little longer
    DUE = "due"  # what we gave is taken back now
    PROPOSED = "proposed"  # it would have to be taken back, and a person has to say so
    KEPT = "kept"  # another line of the person needs it: the line ends, the licence stays
    GONE = "gone"  # nothing of it is there any more


class Rest(StrEnum):
    """Where a line stands when nothing is written for it."""

    PROVEN = "proven"
    ACT = "act"  # there is drift to remove
    WAIT = "wait"  # within a window
    AWAIT = "await"  # an approval
    HOLD = "hold"
    HAND_BACK = "hand_back"
    REVIEW = "review"
    REFUSE = "refuse"
    CANCEL = "cancel"
    OVER = "over"  # its period is over and nothing is left to be taken back


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cycle found about one line. `verdict` is None where the ticket does not say fulfilled."""

    line: Line
    rest: Rest
    verdict: Verdict | None = None
    cause: Cause | None = None
    sentence: str = ""
    user: ObservedUser | None = None
    proof: Proof | None = None
    drift: Drift | None = None
    tier: Tier | None = None  # the strongest proof that was seen
    covered_by: SkuId | None = None  # a SKU that proves the product without being one of its own
    closing: Closing | None = None
    aftermath: Aftermath | None = None  # what was there once is gone
    there: tuple[Given, ...] | None = None  # what we gave and is there now, newest first; None: not known
    heir: LineKey | None = None  # KEPT: the line that has the licence from now on
    question: Question | None = None  # what only a person may decide
    decided: Decided | None = None  # the answer that this finding follows
    defect: str = ""  # why our own code could not judge the line: which error, and where

    @property
    def key(self) -> LineKey:
        return self.line.key


@dataclass(frozen=True, slots=True)
class Proposal:
    """The actions that would remove a finding's drift, in order; or none, with what stands in the way.

    Several lines that need the same change share it: the oldest carries the actions, the others name it in `with_`.
    """

    finding: Finding
    actions: tuple[Action, ...] = ()
    blocked: Cause | None = None
    sentence: str = ""
    short_of: tuple[SkuId, ...] = ()  # blocked for want of a seat: of which SKUs, the one it queues for first
    with_: LineKey | None = None
    after: LineKey | None = None  # another line of the person whose change has to be there first
    later: tuple[Action, ...] = ()  # what follows once these have shown to last: part of the request, not of the plan
    digest: str = ""  # of the request: what an approval names
    subject: Mapping[str, Any] = field(default_factory=dict)  # the document that the digest is over, as JSON values
    serves: tuple[str, ...] = ()  # digests of all requests that its actions serve: its own, and those that share them


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions of one cycle, in order, and the lines that cannot go on. `digest` names it."""

    proposals: tuple[Proposal, ...]
    digest: str

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(a for p in self.proposals for a in p.actions)


class Decision(StrEnum):
    CLEARED = "cleared"
    HELD = "held"
    QUEUED = "queued"  # everything allows it, and no seat is free
    AWAITING = "awaiting_approval"
    PLANNED = "planned"  # observe: what would be done is shown and not done
    STOPPED = "stopped"  # a guard froze the lane
    REFUSED = "refused"  # a person was asked and said no
    LAPSED = "lapsed"  # a person was asked, and no answer came in time, or it was not carried out in time


class Lane(StrEnum):
    """Kinds of writes that are limited and stopped together."""

    GRANTS = "grants"
    REMOVALS = "removals"
    USAGE_LOCATIONS = "usage_locations"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Weight:
    """What an action does in effect: services that the person gains and loses, and the monthly cost that it adds."""

    gains: int = 0
    losses: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Trip:
    """A guard that stopped a lane: what was wanted, what is allowed, and the plan it freezes."""

    guard: str
    lane: Lane
    wanted: int
    limit: int
    digest: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Gated:
    """A proposal after judgement; `judged` lists every rule that was looked at, as JSON values."""

    proposal: Proposal
    decision: Decision
    cause: Cause | None = None
    sentence: str = ""
    judged: tuple[Mapping[str, Any], ...] = ()
    may_answer: bool = True  # False: the ticket is too old to be told anything
    asks_nobody: bool = False  # AWAITING: what is awaited is given elsewhere, and nobody is asked here
    approval: str = ""  # the request for approval that cleared it, "" where none was due
    ruling: Ruling | None = None  # what the rules say together; None where they were not asked
    approved_by: str = ""  # the rule that it is sent by, "" where people approved it
    weights: tuple[Weight, ...] = ()  # of the proposal's actions, in order
    canary: Side | None = None  # where only a share of the people is enforced for: on which side this one is


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a line stands at the end of the cycle, and what was done for it."""

    gated: Gated
    state: LineState
    finding: Finding  # the last look
    outcomes: tuple[Outcome, ...] = ()
    answers: tuple[AnswerKind, ...] = ()
