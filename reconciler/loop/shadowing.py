"""What would have been done is kept beside what was done, and judged by what people have done since.

A shadow is kept once a line and request, in the transaction of the line's record; a cycle in which nothing new would
be done and nobody acted writes none. What people did is read from what the cycle reads anyway; only who it was takes a
look into the directory's log, once, when there is something to be judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from desired_state.model import GroupId, LineKey, SkuId, Ticket, UserId
from reconciler.answers import Answer
from reconciler.approvals.routes import Label
from reconciler.approvals.values import Approval
from reconciler.lifecycle import Phase
from reconciler.line import Attribution, Decision, DriftKind, Ending, Finding, LineState, Observed
from reconciler.loop.asking import label_of
from reconciler.loop.attribution import Sought, attribute
from reconciler.loop.gate import Policy, mode_of
from reconciler.metrics import Meter
from reconciler.model import Result
from reconciler.promotion import desk
from reconciler.promotion.effects import base, effects, handling, is_removal
from reconciler.promotion.judge import Now, judge
from reconciler.promotion.values import DECIDED, Axis, Found, Outcome, Shadow, Watching
from reconciler.store import approvals, lines, shadows
from reconciler.store.database import Database

ASKED_MAX = 100  # people whose log is read in one cycle: of further ones it is not known who acted
LATE = timedelta(minutes=5)  # the directory's log and our clock may differ by this
_BEGUN = (Phase.CONVERGING, Phase.REVOKING)  # kept before the first write
_ANSWERED = Found(Outcome.OVERTAKEN, "We answered the ticket ourselves before people acted.")
_ANOTHER = Found(Outcome.OVERTAKEN, "What would be done for the line became another request.")


@dataclass(frozen=True, slots=True)
class Changed:
    """Shadows of some lines that are new, and those that were judged just now."""

    new: tuple[Shadow, ...] = ()
    judged: tuple[Shadow, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.judged)

    def keep(self, session: Session, tenant: str) -> None:
        for shadow in self.judged:
            shadows.judged(session, tenant, shadow)
        for shadow in self.new:
            shadows.add(session, tenant, shadow)


@dataclass(slots=True)
class Shadowing:
    """One cycle's comparing: what waits to be judged, which requests about it people were asked, and what is known."""

    database: Database
    tenant: str
    policy: Policy
    watching: Watching
    agents: frozenset[str] = frozenset()
    waiting: Mapping[LineKey, list[Shadow]] = field(default_factory=dict)
    approvals: Mapping[LineKey, Approval] = field(default_factory=dict)
    observed: Observed | None = None
    known: set[tuple[LineKey, Axis, str]] = field(default_factory=set)
    learned: set[str] = field(default_factory=set)  # tickets of which all that is kept is known
    has_grown: bool = False

    # --- what would be done

    def expect(self, endings: Sequence[Ending], observed: Observed, at: datetime) -> None:
        """Look up, in one read, what is kept already of the tickets for which something may be new."""
        self.observed = observed
        self.known = {(s.line, s.axis, s.digest) for own in self.waiting.values() for s in own}
        moved = {e.state.key.ticket for e in endings if _is_news(e)}
        fresh = [s for e in endings if (s := self._would(e, at)) is not None]
        self._learn(moved | {s.line.ticket for s in fresh if (s.line, s.axis, s.digest) not in self.known})

    def _learn(self, tickets: Collection[str]) -> None:
        """Read what is kept of some tickets, once: what was told comes again where one goes to and fro."""
        unknown = set(tickets) - self.learned
        if not unknown:
            return
        self.learned |= unknown
        with self.database.read() as session:
            kept = shadows.of_tickets(session, self.tenant, unknown)
        self.known |= {(s.line, s.axis, s.digest) for s in kept}

    def of_line(self, ending: Ending, at: datetime) -> Changed:
        """What is new about a line in the directory."""
        fresh, judged = self._would(ending, at), []
        for shadow in self.waiting.get(ending.state.key, ()):
            if shadow.axis is not Axis.MODE:
                continue
            found = judge(shadow, self._now(shadow, ending, at))
            if found.outcome is Outcome.WAITING and fresh is not None and fresh.digest != shadow.digest:
                found = _ANOTHER
                if fresh.would == shadow.would:  # people have the time from when it was first to be done
                    fresh = replace(fresh, recorded_at=shadow.recorded_at)
            judged += _judged(shadow, found, at)
        is_new = fresh is not None and (fresh.line, fresh.axis, fresh.digest) not in self.known
        self.has_grown |= is_new
        return Changed((fresh,) if fresh is not None and is_new else (), tuple(judged))

    def of_ticket(
        self, ticket: Ticket, group: Sequence[Ending], would: Sequence[Answer], level: str, at: datetime
    ) -> Changed:
        """What is new about how a ticket is answered. `would` is what it would be given with answers "full"."""
        judged = []
        for ending in group:
            for shadow in self.waiting.get(ending.state.key, ()):
                if shadow.axis is Axis.ANSWERS:
                    now = Now(at, self.watching.wait, state=ending.state, finding=ending.gated.proposal.finding)
                    judged += _judged(shadow, desk.judge(shadow, now), at)
        done = handling(would)
        if not done:
            return Changed((), tuple(judged))
        if level == "full":
            return Changed((), (*judged, *self._replaced(group, judged, _ANSWERED, at)))
        self._learn({ticket.number})
        fresh = self._answers(ticket, group, would, level, at)
        self.has_grown |= bool(fresh)
        mine = {s.line for s in fresh}
        over = self._replaced([e for e in group if e.state.key in mine], judged, _ANOTHER, at)
        return Changed(tuple(fresh), (*judged, *over))

    def _replaced(
        self, group: Iterable[Ending], judged: Collection[Shadow], found: Found, at: datetime
    ) -> list[Shadow]:
        """What waited about the answers of these lines and was not judged just now: something else is said instead."""
        done = {(s.line, s.digest) for s in judged}
        waited = (s for e in group for s in self.waiting.get(e.state.key, ()) if s.axis is Axis.ANSWERS)
        return [one for s in waited if (s.line, s.digest) not in done for one in _judged(s, found, at)]

    def _answers(
        self, ticket: Ticket, group: Sequence[Ending], would: Sequence[Answer], level: str, at: datetime
    ) -> list[Shadow]:
        """One for each product that the answers are about: a ticket of several lines is answered once."""
        keys, made = {key for answer in would for key in answer.lines}, dict[str, Shadow]()
        for ending in group:
            line = ending.finding.line
            if line.key not in keys or line.product is None or line.product.key in made:
                continue
            shadow = Shadow(
                line=line.key,
                axis=Axis.ANSWERS,
                digest=would[0].key,
                product=line.product.key,
                step=level,
                would=handling(would),
                recorded_at=at,
                user=line.account or "",
                base=desk.base(ticket),
            )
            if (shadow.line, shadow.axis, shadow.digest) not in self.known:
                made[line.product.key] = shadow
        return list(made.values())

    def _would(self, ending: Ending, at: datetime) -> Shadow | None:
        """What would be done for a line if nobody had to be asked, or was done without asking anybody."""
        gated, finding = ending.gated, ending.gated.proposal.finding
        proposal, product = gated.proposal, finding.line.product
        actions = (*proposal.actions, *proposal.later)
        is_aside = finding.drift is not None and finding.drift.kind in (DriftKind.HALF_DONE, DriftKind.NEW_PLANS)
        if product is None or finding.user is None or not actions or is_aside or self.observed is None:
            return None
        step = self._step(ending)
        if not step:
            return None
        done = effects(actions, self.observed.part_number)
        return Shadow(
            line=finding.key,
            axis=Axis.MODE,
            digest=proposal.digest,
            product=product.key,
            step=step,
            would=done,
            recorded_at=at,
            user=finding.user.id,
            is_removal=is_removal(done),
            base=base(done, finding.user.assignments),
        )

    def _step(self, ending: Ending) -> str:
        """The mode that keeps it back, or that it was done by; "" where another reason decides."""
        gated = ending.gated
        mode = mode_of(gated.proposal, self.policy)
        match gated.decision:
            case Decision.PLANNED if mode == "observe":
                return mode
            case Decision.AWAITING if mode == "suggest":
                return mode if label_of(gated, agents=self.agents, mode=mode) is Label.SUGGEST else ""
            case Decision.CLEARED if mode == "enforce" and not gated.approval:
                return mode if any(o.result is Result.APPLIED for o in ending.outcomes) else ""
        return ""

    # --- what people did

    def to_ask(
        self, findings: Iterable[Finding], observed: Observed, at: datetime, *, also: Mapping[UserId, datetime]
    ) -> dict[UserId, datetime]:
        """Whose entries in the directory's log tell who acted, and from when on; `also` are read for another reason."""
        wanted = dict(also)
        if not self.waiting:
            return wanted
        for finding in findings:
            for shadow in self.waiting.get(finding.key, ()):
                if shadow.axis is not Axis.MODE or shadow.step == "enforce" or finding.user is None:
                    continue
                approval = self.approvals.get(finding.key)
                now = Now(at, self.watching.wait, None, finding, observed.members, approval)
                found = judge(shadow, now)
                if found.outcome in DECIDED and not found.by and len(wanted) - len(also) < ASKED_MAX:
                    since = shadow.recorded_at - LATE
                    wanted[finding.user.id] = min(since, wanted.get(finding.user.id, since))
        return wanted

    def _now(self, shadow: Shadow, ending: Ending, at: datetime) -> Now:
        finding, state = ending.gated.proposal.finding, ending.state
        members = self.observed.members if self.observed is not None else {}
        return Now(
            at,
            self.watching.wait,
            state=state,
            finding=finding,
            members=members,
            approval=self.approvals.get(state.key),
            is_ours=_is_ours(shadow, ending),
            by=self._by(shadow, finding, at),
            outcomes=ending.outcomes,
        )

    def _by(self, shadow: Shadow, finding: Finding, at: datetime) -> Attribution | None:
        """Who acted, where the log was read."""
        if self.observed is None or finding.user is None or finding.user.id not in self.observed.audits:
            return None
        skus = {SkuId(str(e["sku"])) for e in shadow.would if "sku" in e}
        if finding.proof is not None and finding.proof.sku is not None and not shadow.is_removal:
            skus.add(finding.proof.sku)
        groups = [GroupId(str(e["group"])) for e in shadow.would if e["do"] in ("member", "left")]
        sought = Sought(frozenset(skus), groups[0] if groups else None, is_gain=not is_removal(shadow.would))
        trail = self.observed.audits[finding.user.id]
        until = max(at, finding.user.read_at) + LATE
        return attribute(trail, sought, since=shadow.recorded_at - LATE, until=until, our_app=self.observed.our_app)

    # --- what was not looked at

    def left_over(self, seen: Iterable[LineKey], at: datetime, *, is_whole: bool) -> tuple[Shadow, ...]:
        """What waited long enough and whose lines no cycle looks at: they are at rest, or gone. Reads the store.

        What we did is left to a cycle over every line by name (`is_whole`): at rest is no evidence that it stands.
        """
        looked = set(seen)
        late = [
            s
            for key, own in self.waiting.items()
            if key not in looked
            for s in own
            if at - s.recorded_at >= self.watching.wait and (is_whole or s.step != "enforce")
        ]
        if not late:
            return ()
        with self.database.read() as session:
            states = lines.load(session, self.tenant, {s.line.ticket for s in late})
        return tuple(one for s in late for one in _judged(s, self._unseen(s, states.get(s.line), at), at))

    def _unseen(self, shadow: Shadow, state: LineState | None, at: datetime) -> Found:
        now = Now(at, self.watching.wait, state=state, approval=self.approvals.get(shadow.line))
        return desk.judge(shadow, now) if shadow.axis is Axis.ANSWERS else judge(shadow, now)


def watch(
    database: Database, tenant: str, policy: Policy, watching: Watching, agents: frozenset[str] = frozenset()
) -> Shadowing:
    """Read what waits to be judged, and what people were asked about it."""
    waiting: dict[LineKey, list[Shadow]] = {}
    with database.read() as session:
        for shadow in shadows.waiting(session, tenant):
            waiting.setdefault(shadow.line, []).append(shadow)
        asked = {s.line.ticket for own in waiting.values() for s in own if s.axis is Axis.MODE and s.step != "enforce"}
        known = approvals.newest(session, tenant, asked) if asked else {}
    return Shadowing(database, tenant, policy, watching, agents, waiting, known)


def settle(shadowing: Shadowing, meter: Meter, seen: Iterable[LineKey], at: datetime, *, is_whole: bool) -> None:
    """At the end of a cycle that names nobody: judge what is left, and remove what is old where something was written.

    `is_whole`: it looked at every line by name."""
    left = shadowing.left_over(seen, at, is_whole=is_whole)
    if not left and not shadowing.has_grown:
        return
    with shadowing.database.write() as session:
        Changed((), left).keep(session, shadowing.tenant)
        shadows.prune(session, shadowing.tenant, at - shadowing.watching.keep)
    for shadow in left:
        meter.compared(shadow.product, shadow.axis.value, shadow.outcome.value)


def _is_news(ending: Ending) -> bool:
    """Whether a ticket may be told something about the line; one that this misses is read by itself."""
    return ending.state != ending.gated.proposal.finding.line.state or bool(ending.outcomes)


def _is_ours(shadow: Shadow, ending: Ending) -> bool:
    """Whether we wrote for the line since the shadow was kept; a write that a crash cut short counts as one."""
    if any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes):
        return True
    line = ending.finding.line
    if any(g.at >= shadow.recorded_at for g in (*ending.state.given, *line.given)):
        return True
    before = line.state
    if before is None or before.since is None or before.phase not in _BEGUN:
        return False
    return before.since >= shadow.recorded_at


def _judged(shadow: Shadow, found: Found, at: datetime) -> list[Shadow]:
    if found.outcome is Outcome.WAITING:
        return []
    done = replace(shadow, outcome=found.outcome, why=found.why, by=found.by, acted_at=found.acted_at, decided_at=at)
    return [done]
