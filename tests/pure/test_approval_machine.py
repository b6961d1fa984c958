"""No path leads to a write without a valid approval where one is due: any people, any clock, any change of plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from desired_state.model import Says
from desired_state.rules import Rules
from reconciler.approvals.clocks import Due, due, rests
from reconciler.approvals.judge import judge, opens_next
from reconciler.approvals.machine import OPEN, move
from reconciler.approvals.routes import Candidate, StageSpec, escalated, lost, settle, unopened
from reconciler.approvals.values import (
    Approval,
    Assurance,
    Channel,
    Decision,
    Delegation,
    Refusal,
    State,
    Verdict,
)
from reconciler.line import Decision as Judged
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.stops import is_stopped
from tests.make import DAY, MONDAY, a_line, a_user, seen
from tests.make_approvals import a_human

LINE = a_line(says=Says.APPROVED)
ASKS = Rules.model_validate(
    {"rules": [{"id": "dear", "kind": "stage_required", "price_above": "0", "stages": ["manager", "telecom"]}]}
)
PLANS = [  # two worlds, and so two digests
    plan(diff([LINE], observed, at=MONDAY, windows=Windows()), observed, Bounds())
    for observed in (seen(a_user()), seen(a_user(usage_location="NL")))
]
DIGESTS = [p.proposals[0].digest for p in PLANS]
CAST = [a_human(name) for name in ("ada", "bob", "cleo", "dan")]
CROWD = [*CAST, *(replace(h, oid=f"second-{h.oid}") for h in CAST)]  # two accounts each
people = st.sampled_from(CROWD)
SPECS = {name: StageSpec(name, channels=(Channel.PAGE, Channel.SERVICENOW)) for name in ("manager", "telecom")}


class Asking(RuleBasedStateMachine):
    """`sent` are the writes that a fake executor made: with the request as it was, and the digest that was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.at, self.world, self.sent = MONDAY, 0, []
        self.killed: datetime | None = None
        self.request: Approval | None = None
        self.tried: list[Decision] = []

    @initialize(beneficiary=st.sampled_from(CAST), opener=people, quorum=st.integers(1, 2))
    def begin(self, beneficiary, opener, quorum) -> None:
        self.beneficiary, self.opener, self.quorum = beneficiary, opener, quorum

    @precondition(lambda self: self.request is None or self.request.state not in OPEN)
    @rule()
    def ask(self) -> None:
        stages = tuple(unopened(replace(spec, quorum=self.quorum)) for spec in SPECS.values())
        draft = Approval(
            "LR-" + "A" * 26, "contoso", LINE.key, DIGESTS[self.world], {}, {}, stages, self.at,
            self.beneficiary, self.beneficiary, self.opener,
        )  # fmt: skip
        self.request = move(draft, State.PENDING)

    @precondition(lambda self: self.request is not None and opens_next(self.request))
    @rule(found=st.lists(people, max_size=6), guests=st.sets(people, max_size=1), fallback=st.lists(people, max_size=6))
    def open_stage(self, found, guests, fallback) -> None:
        spec = replace(SPECS[self.request.stages[self.request.at].name], quorum=self.quorum)
        candidates = [Candidate(h, is_guest=h in guests) for h in found]
        self.request = settle(
            self.request, spec, candidates, fallback=[Candidate(h) for h in fallback], desk=(), at=self.at
        )

    @precondition(lambda self: self.request is not None)
    @rule(
        actor=people,
        stage=st.sampled_from(["manager", "telecom"]),
        verdict=st.sampled_from([Verdict.APPROVE] * 4 + [Verdict.REJECT]),
        digest=st.sampled_from([*DIGESTS, "0" * 64]),
        channel=st.sampled_from(list(Channel)),
        comment=st.sampled_from(["", "A reason of some length."]),
    )
    def anybody_answers(self, **answer) -> None:
        self.answer(**answer)

    def answer(self, actor, stage, verdict, digest, channel, comment) -> None:
        decision = Decision(
            stage, verdict, actor, digest, self.at, channel=channel, assurance=Assurance.MEDIUM, comment=comment
        )
        said = judge(self.request, decision, at=self.at)
        if not isinstance(said, Refusal):
            self.stood_in_by_no_party(said.decisions[-1])
            self.request = said

    def stood_in_by_no_party(self, answer: Decision) -> None:
        """Whoever answered for another did so by a delegation that no party of the request had arranged."""
        if answer.acting_for is None:
            return
        parties = {self.beneficiary.employee_id, self.opener.employee_id}
        by = [
            d.arranged_by
            for d in self.request.stage.delegations
            if (d.of.employee_id, d.to.employee_id) == (answer.acting_for.employee_id, answer.actor.employee_id)
        ]
        assert any(who is None or who.employee_id not in parties for who in by)

    @rule(steps=st.integers(1, 5), first=st.integers(0, 3))
    def go_on(self, steps, first) -> None:
        """What usually comes next, a few times: asked, opened, answered by who is asked. Others meddle between."""
        for step in range(steps):
            if self.request is None or self.request.state not in OPEN:
                self.ask()
            elif opens_next(self.request):
                self.open_stage(CROWD, set(), CAST)
            elif self.request.stage is not None and self.request.stage.everyone:
                stage = self.request.stage
                actor = stage.everyone[(first + step) % len(stage.everyone)]
                self.answer(actor, stage.name, Verdict.APPROVE, self.request.digest, Channel.PAGE, "")

    @precondition(lambda self: self.request is not None and self.request.stage is not None)
    @rule(of=people, to=people, by=st.none() | people)
    def delegate(self, of, to, by) -> None:
        stages, until = list(self.request.stages), self.at + DAY
        arranged = Delegation(of, to, self.at, until, arranged_by=by)
        stages[self.request.at] = replace(self.request.stage, delegations=(arranged,))
        self.request = replace(self.request, stages=tuple(stages))

    @precondition(lambda self: self.request is not None and self.request.stage is not None)
    @rule(to=people, by=st.none() | people)
    def somebody_stands_in_and_answers(self, to, by) -> None:
        if self.request.stage.everyone:
            self.delegate(self.request.stage.everyone[0], to, by)
            self.answer(to, self.request.stage.name, Verdict.APPROVE, self.request.digest, Channel.PAGE, "")

    @precondition(lambda self: self.request is not None and self.request.stage is not None)
    @rule(human=people)
    def lose_role(self, human) -> None:
        self.request = lost(self.request, {human.oid: False})

    @rule(hours=st.integers(1, 40))
    def wait(self, hours) -> None:
        self.at += timedelta(hours=hours)
        if self.request is None:
            return
        for what in due(self.request, self.at):
            if what is Due.EXPIRE:
                self.request = move(self.request, State.EXPIRED)
            elif what is Due.ESCALATE:
                self.request = escalated(self.request, [Candidate(h) for h in CAST], self.at)

    @rule()
    def change_the_world(self) -> None:
        self.world = 1 - self.world

    @precondition(lambda self: self.request is not None and self.request.state in (State.PENDING, State.APPROVED))
    @rule()
    def void(self) -> None:
        self.request = move(self.request, State.VOID)

    @rule()
    def throw_the_kill_switch_and_lift_it(self) -> None:
        self.at += timedelta(minutes=1)
        self.killed = self.at

    @precondition(lambda self: self.request is not None)
    @rule()
    def hold_up(self) -> None:
        self.request = rests(self.request, self.at)

    @rule(
        mode=st.sampled_from(["enforce", "enforce", "suggest", "observe"]),
        meanwhile=st.sampled_from(["nothing", "nothing", "another world", "another day"]),
    )
    def cycle(self, mode, meanwhile) -> None:
        self.world = 1 - self.world if meanwhile == "another world" else self.world
        self.at += DAY if meanwhile == "another day" else timedelta(0)
        if self.request is not None and self.killed is not None and is_stopped(self.request, self.killed):
            self.request = move(self.request, State.VOID)  # as `tend` does before anything is judged
        asked = {LINE.key: self.request} if self.request is not None else {}
        (judged,) = gate(
            PLANS[self.world], ASKS, policy=Policy(mode=mode), watch=Watch(self.at), at=self.at, approvals=asked
        ).gated
        if judged.decision is Judged.CLEARED:
            assert mode != "observe"
            self.sent.append((self.request, judged.proposal.digest, self.killed))
            if self.request is not None and self.request.state is State.APPROVED:
                self.request = move(self.request, State.EXECUTING)

    @precondition(lambda self: self.request is not None and self.request.state is State.EXECUTING)
    @rule(to=st.sampled_from([State.DONE, State.FAILED, State.PARTLY]))
    def conclude(self, to) -> None:
        self.request = move(self.request, to)

    @invariant()
    def whatever_was_sent_was_approved_by_others_in_time(self) -> None:
        """Worked out anew from the answers alone, without asking the code that judged them."""
        for request, digest, killed in self.sent:
            assert request is not None
            assert request.digest == digest
            assert request.state in (State.APPROVED, State.EXECUTING)
            assert all(d.verdict is Verdict.APPROVE and d.digest == digest for d in request.decisions)
            is_begun = request.state is State.EXECUTING
            assert is_begun or killed is None or any(d.decided_at >= killed for d in request.decisions)
            numbers = [h.employee_id for d in request.decisions for h in d.humans]
            assert len(numbers) == len(set(numbers))
            assert not set(numbers) & {self.beneficiary.employee_id, self.opener.employee_id}
            glass = [d for d in request.decisions if d.channel is Channel.BREAK_GLASS]
            if len(glass) >= 2:
                continue
            for stage in request.stages:
                yes = [d for d in request.decisions if d.stage == stage.name and d.channel is not Channel.BREAK_GLASS]
                assert len(yes) >= stage.quorum
                assert stage.opened_at is not None
                assert stage.expires_at is not None
                assert all(stage.opened_at <= d.decided_at < stage.expires_at for d in yes)


Asking.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNoWriteWithoutApproval = Asking.TestCase
