"""Stage 5: what is cleared, in order, through `send`. Licence writes are serial per tenant (graph.md, rule 1).

A long plan is worked off in slices of as many requests. The people of a slice are read again before any of them is
changed: when the world has moved since the plan was made, nothing is sent for them and the next cycle plans anew.
Within a slice usage locations leave first, in batches, and are waited for together; then licences, one call in flight,
all of a person's in one; and joins, twenty a request. A reply is a hint; `verify` decides what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from desired_state.model import LineKey
from reconciler.causes import Cause
from reconciler.clients.graph.refusals import RefusalReason, read_refusal
from reconciler.errors import Rejected, RemoteError
from reconciler.line import Decision, Finding, Gated, Lane, Observed
from reconciler.loop.diff import diff
from reconciler.loop.doing import SLICE, Hands, carry_out, do, outcome_of, seen_located, unseen
from reconciler.loop.guards import lanes_of
from reconciler.loop.overtaking import Meanwhile
from reconciler.loop.readback import Batch, canaries
from reconciler.loop.rereading import Rereading
from reconciler.loop.send import Told
from reconciler.loop.together import Step, action_of, go_together, send_steps, shared_with
from reconciler.model import Action, ActionKind, Outcome, Result

__all__ = ["SLICE", "Between", "Hands", "acted_on", "execute"]

TOGETHER = 20  # items of a batch, members of a request (graph.md section 2)


Between = Callable[[Iterable[Gated]], Meanwhile]  # see `overtaking`


def execute(
    gated: Iterable[Gated],
    observed: Observed,
    hands: Hands,
    *,
    plan_digest: str,
    progress: Callable[[str], None],
    between: Between | None = None,
) -> dict[LineKey, tuple[Outcome, ...]]:
    """Carry out the cleared proposals, in turn; every action gets an outcome.

    `between` is called before each slice of a plan that is longer than one, and after the last, with what is left of
    it. It does what cannot wait for that, and says which of the rest are not carried out.
    """
    every = tuple(gated)
    cleared = [g for g in every if g.decision is Decision.CLEARED and g.proposal.actions]
    if not cleared:
        return {}
    sender = hands.sender
    batch = Batch(
        hands.graph,
        hands.clock,
        sender.database,
        sender.tenant,
        sender.cycle,
        hands.post,
        canaries(cleared),
        seen=hands.seen,
        beside=hands.beside,
    )
    run = _Run(hands, plan_digest, progress, batch)
    pieces = slices(cleared, hands.slice_requests)
    interrupted = between if len(pieces) > 1 else None
    rereading = Rereading(hands.eyes, hands.clock, observed, hands.beside)
    for n, chosen in enumerate(pieces):
        run.interrupt(interrupted, chain.from_iterable(pieces[n:]))
        fresh: dict[LineKey, Finding] = {}
        try:
            fresh = fresh if run.stop else _fresh(chosen, every, rereading.read(chosen), hands)
        except RemoteError as error:
            if not run.outcomes:
                raise
            run.stop = str(error)  # what was sent before is still recorded and looked at
        if n + 1 < len(pieces) and not run.stop:
            rereading.begin(pieces[n + 1], chosen)
        run.slice(chosen, fresh)
    run.interrupt(interrupted, ())
    batch.end()
    return run.outcomes


def slices(cleared: Iterable[Gated], requests: int = SLICE) -> list[list[Gated]]:
    """The plan in pieces of about so many requests, in order: what was read of people is as old in each."""
    found: list[list[Gated]] = [[]]
    weight = 0  # in twentieths of a request
    for g in cleared:
        if weight >= requests * TOGETHER:
            found.append([])
            weight = 0
        found[-1].append(g)
        shared = (ActionKind.SET_USAGE_LOCATION, ActionKind.ADD_GROUP_MEMBER)
        weight += sum(1 if action.kind in shared else TOGETHER for action in g.proposal.actions)
    return found


@dataclass(slots=True)
class _Run:
    """A plan on its way out. `stop` says why nothing more may be sent in this cycle, "" while it may; `left` why some
    lines are not carried out."""

    hands: Hands
    plan_digest: str
    progress: Callable[[str], None]
    batch: Batch
    outcomes: dict[LineKey, tuple[Outcome, ...]] = field(default_factory=dict)
    located: dict[LineKey, Outcome] = field(default_factory=dict)
    stop: str = ""
    left: dict[LineKey, str] = field(default_factory=dict)

    def interrupt(self, between: Between | None, rest: Iterable[Gated]) -> None:
        """Let what cannot wait go before the rest, unless nothing may be sent any more."""
        if between is not None and not self.stop:
            meanwhile = between(g for g in rest if g.proposal.finding.key not in self.left)
            self.left |= meanwhile.left
            self.batch.changed(meanwhile.outcomes)

    def slice(self, cleared: Sequence[Gated], fresh: Mapping[LineKey, Finding]) -> None:
        self._locate([g for g in cleared if _begins_with_location(g)], fresh)
        waiting = {g.proposal.finding.key: g for g in cleared}
        peers: dict[object, dict[LineKey, Gated]] = {}
        for g in cleared:
            peers.setdefault(shared_with(g, len(self._done(g))), {})[g.proposal.finding.key] = g
        while waiting:
            g = waiting[next(iter(waiting))]
            others = peers[shared_with(g, len(self._done(g)))]
            why = self._why_not(g, fresh) or self.batch.may_go(g, self.plan_digest)
            together = [g] if why else [g, *self._mates(g, others.values(), fresh)]
            for one in together:
                waiting.pop(one.proposal.finding.key)
                others.pop(one.proposal.finding.key)
            if why:
                done = self._done(g)
                self._end(g, (*done, *(Outcome(a, Result.SKIPPED, why) for a in g.proposal.actions[len(done) :])))
                continue
            for one in together:
                self.progress(f"{one.proposal.finding.key}: {', '.join(a.kind.value for a in one.proposal.actions)}")
            self._go(together)

    def _why_not(self, g: Gated, fresh: Mapping[LineKey, Finding]) -> str:
        finding, base = g.proposal.finding, g.proposal.after
        if self.stop:
            return self.stop
        if finding.key in self.left:
            return self.left[finding.key]
        if not _is_unmoved(finding, fresh[finding.key]):
            return "The account changed while the plan was made; it is planned anew."
        if base is not None and not _is_done(self.outcomes.get(base, ())):
            return f"It builds on {base}, which was not done."
        return ""

    # --- usage locations, ahead

    def _locate(self, cleared: Sequence[Gated], fresh: Mapping[LineKey, Finding]) -> None:
        """Set the usage locations of a slice, and wait for them together: whoever comes next is assigned at once."""
        left, sent = list(cleared), list[tuple[Gated, Outcome]]()
        while left and not self.stop:
            g = left[0]
            if self._why_not(g, fresh):  # said when it is its turn
                left.pop(0)
                continue
            if sent and len(sent) >= self.batch.room((Lane.USAGE_LOCATIONS,)):
                self._see(sent)
                sent.clear()
            if self.batch.may_go(g, self.plan_digest):
                left.pop(0)
                continue
            room = min(TOGETHER, self.batch.room((Lane.USAGE_LOCATIONS,)) - len(sent))
            chosen = [h for h in left[:room] if h is g or not self._why_not(h, fresh)]
            left = left[room:]
            for one, told in zip(chosen, self._send([(h, 0) for h in chosen]), strict=True):
                outcome = self._outcome(one.proposal.actions[0], told)
                if outcome.result is Result.APPLIED:
                    sent.append((one, outcome))
                else:
                    self.located[one.proposal.finding.key] = outcome
                    self.batch.went((outcome,))
        self._see(sent)

    def _see(self, sent: Sequence[tuple[Gated, Outcome]]) -> None:
        try:
            seen = seen_located([outcome.action for _, outcome in sent], self.hands)
        except RemoteError as error:
            seen, self.stop = frozenset(), str(error)
        for g, outcome in sent:
            there = outcome if outcome.action.user in seen else unseen(outcome)
            self.located[g.proposal.finding.key] = there
            self.batch.went((there,))

    # --- everything else

    def _done(self, g: Gated) -> tuple[Outcome, ...]:
        found = self.located.get(g.proposal.finding.key)
        return () if found is None else (found,)

    def _is_begun_well(self, g: Gated) -> bool:
        return all(o.result is Result.APPLIED for o in self._done(g))

    def _mates(self, g: Gated, peers: Iterable[Gated], fresh: Mapping[LineKey, Finding]) -> list[Gated]:
        """Those after it that leave in the same request, as far as nobody has to look in between."""
        if shared_with(g, len(self._done(g))) is None or not self._is_begun_well(g) or _was_refused(g):
            return []
        chosen, lanes = [g], set(lanes_of(g))
        for other in peers:
            room = min(TOGETHER, self.batch.room({*lanes, *lanes_of(other)}))
            if len(chosen) >= room:
                break
            is_alike = all(go_together(self._next(one), self._next(other)) for one in chosen)
            is_ready = self._is_begun_well(other) and not self.batch.is_due(other) and not _was_refused(other)
            if other is g or not is_alike or not is_ready:
                continue
            if not self._why_not(other, fresh):  # what builds on one of them waits until that is done
                chosen.append(other)
                lanes |= lanes_of(other)
        return chosen[1:]

    def _next(self, g: Gated) -> Action:
        return g.proposal.actions[len(self._done(g))]

    def _go(self, together: Sequence[Gated]) -> None:
        if len(together) == 1:
            g = together[0]
            done = self._done(g)
            outcomes, self.stop = carry_out(g, self.hands, self.plan_digest, done)
            self._end(g, outcomes)
            return
        steps = [(g, len(self._done(g))) for g in together]
        for (g, place), told in zip(steps, self._send(steps), strict=True):
            if _is_about_location(told):  # not replicated everywhere yet: by itself it is waited for
                outcome, stop = do(g, place, action_of((g, place)), self.hands, self.plan_digest)
                self.stop = self.stop or stop
            else:
                outcome = self._outcome(action_of((g, place)), told)
            if self.stop:  # nothing more may be sent: what is left of it is said below, without sending
                done = (*self._done(g), outcome)
                rest = g.proposal.actions[len(done) :]
                self._end(g, (*done, *(Outcome(a, Result.SKIPPED, self.stop) for a in rest)))
                continue
            outcomes, self.stop = carry_out(g, self.hands, self.plan_digest, (*self._done(g), outcome))
            self._end(g, outcomes)

    def _send(self, steps: Sequence[Step]) -> tuple[Told, ...]:
        return send_steps(steps, self.hands, self.plan_digest)

    def _outcome(self, action: Action, told: Told) -> Outcome:
        outcome, stop = outcome_of(action, told, self.hands.plan_names)
        self.stop = self.stop or stop
        return outcome

    def _end(self, g: Gated, outcomes: tuple[Outcome, ...]) -> None:
        self.outcomes[g.proposal.finding.key] = outcomes
        self.batch.went(outcomes[len(self._done(g)) :])


def _begins_with_location(g: Gated) -> bool:
    """Whether a location can be set ahead of the rest: what builds on another line waits for that one first."""
    return g.proposal.actions[0].kind is ActionKind.SET_USAGE_LOCATION and g.proposal.after is None


def _was_refused(g: Gated) -> bool:
    """Whether its last try failed without saying for whom: one person's trouble may have kept others out with them."""
    state = g.proposal.finding.line.state
    is_tried = state is not None and state.attempts > 0
    return is_tried and state is not None and state.cause in (Cause.REMOTE_FAILING, Cause.PERMISSION_MISSING)


def _is_about_location(told: Told) -> bool:
    if not isinstance(told, Rejected):
        return False
    return read_refusal(told.status, told.code, told.detail).reason is RefusalReason.USAGE_LOCATION


def _is_done(outcomes: tuple[Outcome, ...]) -> bool:
    return bool(outcomes) and all(o.result is Result.APPLIED for o in outcomes)


def _fresh(cleared: Sequence[Gated], every: tuple[Gated, ...], again: Observed, hands: Hands) -> dict[LineKey, Finding]:
    """What is found of a slice's lines by the look just before it leaves."""
    lines = [g.proposal.finding.line for g in cleared]
    among = [g.proposal.finding.line for g in every]
    found = diff(lines, again, at=hands.clock.now(), windows=hands.windows, among=among)
    hands.post.admit(found)  # by the names that the accounts have now
    return {f.key: f for f in found}


def _is_unmoved(planned: Finding, now: Finding) -> bool:
    """What the plan was made from is still there: the same drift, from the same country and licences."""
    before, after = planned.user, now.user
    return (
        planned.drift == now.drift
        and before is not None
        and after is not None
        and (before.usage_location, before.country, before.skus) == (after.usage_location, after.country, after.skus)
    )


def _has_effect(outcome: Outcome) -> bool:
    """A usage location was read back already, and alone it gives no access."""
    is_access = outcome.action.kind is not ActionKind.SET_USAGE_LOCATION
    return is_access and (outcome.result is Result.APPLIED or outcome.is_unsure)


def acted_on(outcomes: Mapping[LineKey, tuple[Outcome, ...]]) -> frozenset[LineKey]:
    """Lines for which something was sent whose effect has to be looked at: applied, or of unknown outcome."""
    return frozenset(key for key, done in outcomes.items() if any(_has_effect(o) for o in done))
