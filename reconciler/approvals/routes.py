"""Who may answer a stage, from what was found when it opened. Pure; rules A2 to A4.

A stage that nobody suitable was found for goes to its fallback, then to the service desk's queue, and never approves
itself. What could not be read is no result and opens nothing: the caller comes back later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from reconciler.approvals.clocks import Clocks, started
from reconciler.approvals.values import (
    Approval,
    Assurance,
    Channel,
    Delegation,
    Human,
    Stage,
    Terms,
    among,
    may_be_same,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody that a resolver named. None is "not known", and who is not known to be suitable is not."""

    human: Human
    is_enabled: bool | None = True
    is_guest: bool | None = False


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage as configured. `approvers` and `group` are for resolvers that do not look anybody up themselves.

    `ticket_suffices`: an approval in ServiceNow of the ticket counts for any plan inside what the ticket asks for.
    """

    name: str
    resolver: str = ""  # manager, cost_center_owner, group, named; "": named after the stage
    quorum: int = 1
    approvers: tuple[str, ...] = ()  # sign-in names
    group: str = ""  # object id or name of a group of the directory
    fallback: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = (Channel.PAGE, Channel.SERVICENOW)
    assurance: Assurance = Assurance.LOW
    ticket_suffices: bool = True
    needs_comment: bool = False
    clocks: Clocks = field(default_factory=Clocks)


class Label(StrEnum):
    """Why a person is asked."""

    RULE = "rule"  # a rule names stages
    PROPOSAL = "proposal"  # software ordered it
    UNCLEAR = "unclear"  # a rule could not be checked
    UNAPPROVED = "unapproved"  # the item needs no approval and no rule allows it
    PERSON = "person"  # the change is only proposed
    SUGGEST = "suggest"  # the mode asks for every change


@dataclass(frozen=True, slots=True)
class Route:
    """The stages of one request, in order, and what each of them was asked for by."""

    stages: tuple[StageSpec, ...]
    label: Label


def unopened(spec: StageSpec) -> Stage:
    """The stage before anybody was looked up for it."""
    return Stage(
        name=spec.name,
        resolver=spec.resolver or spec.name,
        quorum=spec.quorum,
        channels=spec.channels,
        assurance=spec.assurance,
        accepts_ticket_approval=spec.ticket_suffices,
        needs_comment=spec.needs_comment,
    )


def settle(
    approval: Approval,
    spec: StageSpec,
    found: Sequence[Candidate],
    *,
    fallback: Sequence[Candidate],
    desk: Sequence[Candidate],
    at: datetime,
    delegations: Iterable[Delegation] = (),
    why: str = "",
) -> Approval:
    """Open the request's stage with those of whom were found who may answer it; its clocks run from now.

    Nobody at all leaves the stage open with no approvers: the caller gives it to the service desk as a task.
    """
    assert approval.at < len(approval.stages)
    stage = approval.stages[approval.at]
    people, reasons = suitable(approval, found)
    is_fallback = len(people) < stage.quorum
    if is_fallback:
        for name, more in (("fallback", fallback), ("service desk", desk)):
            added = tuple(h for h in suitable(approval, more)[0] if not among(h, people))
            people = (*people, *added)
            if added:
                reasons = (*reasons, f"the {name} was asked")
            if len(people) >= stage.quorum:
                break
    sentence = "; ".join(dict.fromkeys([*([why] if why else []), *reasons]))
    deputies = tuple(d for d in delegations if among(d.of, people))
    opened = replace(
        started(stage, at, spec.clocks),
        approvers=people,
        is_fallback=is_fallback,
        why=sentence,
        delegations=deputies,
        alternates=(),
        lost=(),
    )
    return with_stage(approval, opened)


def suitable(approval: Approval, found: Iterable[Candidate]) -> tuple[tuple[Human, ...], tuple[str, ...]]:
    """Who of them may answer this request, each human once, and why the others may not, for people."""
    people: list[Human] = []
    reasons: list[str] = []
    for candidate in found:
        reason = _unsuitable(approval, candidate)
        if reason:
            reasons.append(f"{candidate.human.name or candidate.human.upn} {reason}")
        elif not among(candidate.human, people):
            people.append(candidate.human)
    return tuple(people), tuple(reasons)


def _unsuitable(approval: Approval, candidate: Candidate) -> str:
    human = candidate.human
    if may_be_same(human, approval.requester) or may_be_same(human, approval.beneficiary):
        return "is the requester or whom it is for"
    if may_be_same(human, approval.opener) and not approval.terms.opener_may_approve:
        return "ordered it"
    if any(may_be_same(human, before) for d in approval.decisions for before in d.humans):
        return "has answered an earlier stage"
    if candidate.is_enabled is not True:
        return "has a disabled account" if candidate.is_enabled is False else "cannot be seen to have an active account"
    if candidate.is_guest is not False:
        return "is a guest"
    return ""


def with_stage(approval: Approval, stage: Stage) -> Approval:
    """The request with its present stage replaced."""
    stages = list(approval.stages)
    stages[approval.at] = stage
    return replace(approval, stages=tuple(stages))


def escalated(approval: Approval, found: Sequence[Candidate], at: datetime) -> Approval:
    """Others come in beside the approvers, who may still act."""
    stage = approval.stages[approval.at]
    people, _ = suitable(approval, found)
    alternates = tuple(h for h in people if not among(h, stage.approvers))
    return with_stage(approval, replace(stage, alternates=alternates, escalated_at=at))


def lost(approval: Approval, standing: Mapping[str, bool]) -> Approval:
    """The request without those who are known not to have the role any more; `standing` is by object id.

    Whoever is not in it was not asked about and stays.
    """
    stage = approval.stages[approval.at]
    gone = tuple(h.one for h in (*stage.approvers, *stage.alternates) if standing.get(h.oid) is False)
    return with_stage(approval, replace(stage, lost=gone)) if gone != stage.lost else approval


@dataclass(frozen=True, slots=True)
class Need:
    """A stage that a rule asks for, with the least it asks for."""

    stage: str
    quorum: int = 1
    ticket_suffices: bool = False
    assurance: Assurance = Assurance.LOW
    needs_comment: bool = False


@dataclass(frozen=True, slots=True)
class RouteBook:
    """The stages that a tenant knows, by name, and which of them are asked where no rule names any."""

    stages: Mapping[str, StageSpec] = field(default_factory=dict)
    default: Mapping[Label, tuple[str, ...]] = field(default_factory=dict)
    desk: tuple[str, ...] = ()  # sign-in names: whom the service desk's queue is, should all else fail
    terms: Terms = field(default_factory=Terms)
    voids_on_lost_role: bool = True

    def spec(self, name: str) -> StageSpec:
        """The stage as configured; one that is not configured finds nobody and so goes to its fallback."""
        return self.stages.get(name, StageSpec(name))

    def route(self, label: Label, needs: Sequence[Need] = ()) -> Route:
        """The stages of a request. Software's orders are decided here and never by their ticket's own approval."""
        asked = needs or tuple(Need(name) for name in self.default.get(label, ("license_admin",)))
        return Route(tuple(self._stage(need, label) for need in asked), label)

    def _stage(self, need: Need, label: Label) -> StageSpec:
        spec = self.spec(need.stage)
        return replace(
            spec,
            quorum=max(spec.quorum, need.quorum),
            ticket_suffices=need.ticket_suffices and spec.ticket_suffices and label is Label.RULE,
            assurance=need.assurance if need.assurance.is_at_least(spec.assurance) else spec.assurance,
            needs_comment=spec.needs_comment or need.needs_comment,
        )
