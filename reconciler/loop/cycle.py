"""The pass itself: seven stages, in order. Read this first.

Level-triggered: a cycle asks what differs now, never what happened. Crash, lost reply, manual edit and restart are
one case. A dry run takes the same path up to the gate and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlmodel import Session

from desired_state.model import LineKey, SkuId, UserId
from reconciler.errors import ClockWrong, RemoteError
from reconciler.line import (
    Decision,
    Ending,
    Finding,
    Line,
    Observed,
    Plan,
    Rest,
)
from reconciler.logs import about
from reconciler.loop.aftermath import to_ask
from reconciler.loop.approving import ask, begin_round, conclude, consume, due_for, standing, tend
from reconciler.loop.arrivals import with_later
from reconciler.loop.belonging import Belonging
from reconciler.loop.confirm import SECOND_LOOK_S, confirmed, doubtful
from reconciler.loop.deciding import keep
from reconciler.loop.deliver import deliver
from reconciler.loop.deps import Deps, Progress, Run
from reconciler.loop.desk import Told
from reconciler.loop.diff import diff
from reconciler.loop.ending import end
from reconciler.loop.evidence import evidence
from reconciler.loop.execute import Hands, acted_on, execute
from reconciler.loop.gate import Gates, gate
from reconciler.loop.guarding import Post
from reconciler.loop.learn import learn, taught
from reconciler.loop.look import look, look_back
from reconciler.loop.observe import Pace, Scope, Seen, mark_looked, observe
from reconciler.loop.overtaking import Overtaking, spare
from reconciler.loop.pauses import Pause, uninterrupted
from reconciler.loop.permits import permits
from reconciler.loop.plan import plan
from reconciler.loop.pull import pull
from reconciler.loop.record import begin, keep_rules, record
from reconciler.loop.reporting import report, with_urgent
from reconciler.loop.seating import seat
from reconciler.loop.send import Guards, Sender, Write
from reconciler.loop.shadowing import Shadowing, settle, watch
from reconciler.loop.stops import tell_clock, tell_outside
from reconciler.loop.subject import Naming
from reconciler.loop.verify import overtaken, verify
from reconciler.metrics import counting
from reconciler.model import ObservedUser, Outcome, Result
from reconciler.report import CycleReport
from reconciler.seats.book import Book, Books, elsewhere, with_places_of
from reconciler.seats.queue import steps_aside
from reconciler.store import outbox


def cycle(d: Deps, run: Run) -> CycleReport:
    """One pass over the lines in scope.

    Raises:
        ClockWrong: by the clocks of both systems; nothing was judged or written.
        RemoteError: a system could not be read at all; nothing was written.
    """
    began_at, was_owed = d.clock.now(), _owes_answers(d)
    d.progress("reading tickets and accounts")
    ahead = _overtaking(d, run, began_at)
    pause = ahead.pause if ahead is not None else uninterrupted
    seen = observe(d.reader, d.eyes, scope=run.scope, tenant_id=d.tenant_id, cycle=run.cycle, at=began_at, pause=pause)
    at = seen.observed.at
    _believe_the_clock(d, run)
    seen = with_later(seen, d.database, d.tenant, cycle=run.cycle, at=at, is_dry=run.is_dry)
    if not run.is_dry:
        tell_outside(d.guarding, run.cycle)
    findings = diff(seen.lines, seen.observed, at=at, windows=d.windows)
    shadowing = None if run.is_dry else watch(d.database, d.tenant, d.policy, d.watching, d.asking.agents)
    lost = to_ask(findings, at)
    wanted = lost if shadowing is None else shadowing.to_ask(findings, seen.observed, at, also=lost)
    if wanted:
        seen = replace(seen, observed=look_back(d.eyes, wanted, seen.observed))
    if lost:
        findings = diff(seen.lines, seen.observed, at=at, windows=d.windows)
    round_ = begin_round(d.asking, run.cycle)
    tend(round_, seen.lines, at, is_whole=not run.scope.is_named)
    belonging = Belonging(d.eyes.graph)
    post = d.guarding.post(seen, belonging, cycle=run.cycle, beside=run.interrupts)
    before = d.seating.load()
    gates, books = _decide(d, run, findings, seen, post, belonging, before, at)
    doubts = doubtful(g.proposal.finding for g in gates.gated if g.decision is Decision.CLEARED)
    if doubts:
        seen = replace(seen, observed=_second_look(d, seen, doubts, findings))
        findings = diff(seen.lines, seen.observed, at=at, windows=d.windows)
        gates, books = _decide(d, run, findings, seen, post, belonging, books, at)
    if ask(round_, gates.gated, seen.observed, at):
        gates, books = _decide(d, run, findings, seen, post, belonging, books, at)
    while post.ask_purposes(gates.gated):  # whoever comes in for one who is left out is asked about as well
        gates, books = _decide(d, run, findings, seen, post, belonging, books, at)
    sender = choke_point(d, run, post, gates)
    if ahead is not None:
        ahead.plan(post, seen.observed, spare(books))
    after: dict[UserId, ObservedUser] = {}  # accounts as they were read since they were changed
    outcomes = _execute(d, run, sender, post, seen, gates, ahead, after)
    learn(outcomes, d.database, d.tenant, cycle=run.cycle, at=d.clock.now())
    troubles: list[str] = []
    last = {} if run.is_dry else _watched(d, seen, findings, outcomes, after, ahead, troubles.append)
    if ahead is not None and ahead.tickets:  # what they recorded is not recorded again by what was known before
        gates, outcomes = ahead.others(gates), ahead.other_outcomes(outcomes)
        books = with_places_of(books, d.seating.load(), ahead.tickets)
    endings = _endings(d, gates, outcomes, last)
    if not run.is_dry:
        conclude(round_, endings, d.clock.now())
    if shadowing is not None:
        shadowing.expect(endings, seen.observed, d.clock.now())
    endings, told = _record(d, run, began_at, sender, post, gates, endings, (before, books), shadowing, pause)
    told.problems.extend((*round_.problems, *troubles))
    if run.interrupts is not None:
        run.interrupts.count_in(post)
    reports = ahead.reports if ahead is not None else []
    if ahead is not None:
        told.problems.extend(ahead.problems)
        endings = ahead.with_theirs(endings)
    if not run.is_dry and not run.scope.is_named:
        mark_looked(d.reader, began_at)
        writes = sender.sent.graph + sender.sent.servicenow + sum(sum(r.writes.values()) for r in reports)
        prices = d.bounds.sku_prices if run.scope == Scope() else {}  # what everybody costs takes a look at everybody
        counting.whole_cycle(d.meter, endings, books, prices, writes=writes, was_owed=was_owed)
    return with_urgent(report(d, run, began_at, gates, endings, told, sender, post), reports)


def _overtaking(d: Deps, run: Run, at: datetime) -> Overtaking | None:
    """What serves urgent tickets between the requests of this cycle; None where none can be urgent."""
    lookout = d.lookout
    if lookout is None or run.is_dry or run.scope.is_named:  # a cycle about some tickets touches no others
        return None

    def serve(numbers: frozenset[str], n: int) -> CycleReport:
        name = f"{run.cycle}-urgent{n}"
        d.progress(f"serving {len(numbers)} urgent tickets ahead of the rest")
        # what takes longer to show is looked at again later
        quick = replace(d, watch=timedelta(0), hear=lambda _: None)
        with about(cycle=name), d.tracer.span("cycle", tenant=d.tenant, cycle=name, is_dry=False):
            within = Run(name, Scope(tickets=numbers), False, run.guard, interrupts=ahead.post, is_within=True)
            return cycle(quick, within)

    ahead = Overtaking(lambda: lookout.ask(at), serve, d.clock, lambda: sum(d.requests().values()), d.asks_every)
    return ahead


def _believe_the_clock(d: Deps, run: Run) -> None:
    """Both systems have just been read. By a clock that is wrong nothing is judged: requests would expire, periods end
    and freezes be over, and what was remembered so could not be told from the truth afterwards."""
    clocks = d.guarding.clocks()
    if not run.is_dry:
        tell_clock(d.guarding, clocks.wrong, run.cycle)
    if clocks.wrong:
        raise ClockWrong(clocks.wrong, exit_code=4)
    if clocks.odd:
        d.progress(clocks.odd)


def _owes_answers(d: Deps) -> bool:
    with d.database.read() as session:
        return bool(outbox.unsent(session, d.tenant))


def _second_look(d: Deps, seen: Seen, doubts: tuple[Line, ...], findings: tuple[Finding, ...]) -> Observed:
    """What is seen of the accounts with bad news a moment later, as far as both looks agree (I4)."""
    d.progress(f"reading {len(doubts)} accounts a second time")
    d.clock.sleep(SECOND_LOOK_S)
    at = d.clock.now()
    skus, groups = seen.observed.skus.values(), seen.observed.groups
    again = replace(look(d.eyes, doubts, skus, at=at, groups=groups), audits=seen.observed.audits)
    told = diff(doubts, again, at=seen.observed.at, windows=d.windows, among=seen.lines)
    return confirmed(seen.observed, again, findings, told)


def _decide(
    d: Deps,
    run: Run,
    findings: tuple[Finding, ...],
    seen: Seen,
    post: Post,
    belonging: Belonging,
    before: Books,
    at: datetime,
) -> tuple[Gates, dict[SkuId, Book]]:
    """Judge as if there were a seat for everybody; then give the seats to those who may have one, in turn."""

    def judged(proposed: Plan) -> Gates:
        return gate(proposed, d.rules, policy=d.policy, watch=post.watch, at=at, evidence=known, approvals=asked)

    post.admit(findings)
    asked = standing(d.asking, seen.lines)
    known = evidence(belonging, d.database, d.tenant, d.rules, d.bounds.products, findings, at)
    naming = Naming(d.tenant, d.tenant_id, d.rules.hash())
    bounds = taught(d.bounds, d.database, d.tenant, at)
    wish = plan(findings, seen.observed, bounds, as_if_seats=True, naming=naming)
    wished = judged(wish)
    aside = frozenset(g.proposal.finding.key for g in wished.gated if steps_aside(g, at))
    is_whole = run.scope == Scope()
    others = () if is_whole else elsewhere(before, (f.key for f in findings))
    gates = judged(plan(findings, seen.observed, bounds, aside=aside, elsewhere=others, naming=naming, wished=wish))
    told, books = seat(d.seating, before, gates.gated, seen.observed, at=at, is_whole=is_whole)
    return replace(gates, gated=told), books


def choke_point(d: Deps, run: Run, post: Guards, gates: Gates) -> Sender:
    """What sends every write of one cycle, and nothing that modes, guards or people's answers do not allow."""
    needed = due_for(gates.gated)
    may = permits(gates.gated, d.policy, needed, mode=d.mode, level=d.level, is_dry=run.is_dry)

    def lease(session: Session, write: Write) -> None:
        run.guard(session, write)
        if write.system == "graph":
            consume(d.asking, session, write, needed, run.cycle)

    return Sender(
        d.database,
        d.tenant,
        run.cycle,
        d.clock,
        lease,
        may.refuse,
        post,
        notary=d.notary,
        pace=d.pacer,
        again=d.fence,
        meter=d.meter,
        tracer=d.tracer,
    )


def _execute(
    d: Deps,
    run: Run,
    sender: Sender,
    post: Post,
    seen: Seen,
    gates: Gates,
    ahead: Overtaking | None,
    after: dict[UserId, ObservedUser],
) -> dict[LineKey, tuple[Outcome, ...]]:
    if run.is_dry:
        return {}
    keep_rules(d.database, d.rules, gates, d.clock.now())
    post.begin(gates)
    begin(gates, d.desk, cycle=run.cycle, at=d.clock.now())
    hands = Hands(d.eyes, sender, d.clock, d.windows, d.plan_names, post, d.slice_requests, d.beside, after)
    digest = gates.plan_digest
    return execute(gates.gated, seen.observed, hands, plan_digest=digest, progress=d.progress, between=ahead)


def _still_arriving(d: Deps, findings: tuple[Finding, ...]) -> frozenset[LineKey]:
    """Lines whose change an earlier cycle sent moments ago, cut short before it could watch."""
    at = d.clock.now()
    return frozenset(f.key for f in findings if f.rest is Rest.WAIT and _is_ours(f) and _is_new(f, at, d.watch))


def _is_ours(finding: Finding) -> bool:
    return finding.line.state is not None and finding.line.state.attempts > 0


def _is_new(finding: Finding, at: datetime, watch: timedelta) -> bool:
    if finding.user is None or finding.proof is None:
        return False
    rows = [a for a in finding.user.assignments or () if a.sku == finding.proof.sku and a.updated_at is not None]
    return any(a.updated_at is not None and at - a.updated_at < watch for a in rows)


def _with_given(line: Line, outcomes: tuple[Outcome, ...]) -> Line:
    """The line as it is looked at again: windows count from what was given just now."""
    now = tuple(given for o in outcomes if o.result is Result.APPLIED for given in o.action.given)
    return replace(line, given=(*line.given, *now)) if now else line


def _watched(
    d: Deps,
    seen: Seen,
    findings: tuple[Finding, ...],
    outcomes: Mapping[LineKey, tuple[Outcome, ...]],
    after: dict[UserId, ObservedUser],
    ahead: Overtaking | None,
    trouble: Progress,
) -> dict[LineKey, Finding]:
    """What is found of the lines that were changed, or that a look from before a change says are proven."""
    if ahead is None:
        return _verify(d, seen, findings, outcomes, after, trouble)
    if ahead.tickets:
        after.clear()  # they may have written to the same people since
    patient = replace(d, eyes=replace(d.eyes, pause=ahead.pause))
    last = _verify(patient, seen, ahead.other_findings(findings), ahead.other_outcomes(outcomes), after, trouble)
    return last | overtaken((last.get(f.key, f) for f in findings), ahead.outcomes)


def _verify(
    d: Deps,
    seen: Seen,
    findings: tuple[Finding, ...],
    outcomes: Mapping[LineKey, tuple[Outcome, ...]],
    after: Mapping[UserId, ObservedUser],
    trouble: Progress,
) -> dict[LineKey, Finding]:
    acted = acted_on(outcomes) | _still_arriving(d, findings)
    doubted = overtaken(findings, outcomes)
    if not acted:
        return doubted
    d.hear(after)
    return doubted | verify(
        tuple(_with_given(line, outcomes.get(line.key, ())) for line in seen.lines),
        acted,
        seen.observed,
        undoing=frozenset(f.key for f in findings if f.drift is not None and f.drift.take_back),
        eyes=d.eyes,
        clock=d.clock,
        windows=d.windows,
        watch=d.watch,
        progress=d.progress,
        trouble=trouble,
        seen=after,
    )


def _endings(
    d: Deps, gates: Gates, outcomes: Mapping[LineKey, tuple[Outcome, ...]], last: Mapping[LineKey, Finding]
) -> tuple[Ending, ...]:
    at = d.clock.now()
    ended = (
        end(
            g,
            last.get(g.proposal.finding.key, g.proposal.finding),
            outcomes.get(g.proposal.finding.key, ()),
            at=at,
            retry_window=d.retry_window,
            chance=d.rng.random(),
        )
        for g in gates.gated
    )
    return tuple(sorted(ended, key=lambda e: e.state.key))


def _record(
    d: Deps,
    run: Run,
    began_at: datetime,
    sender: Sender,
    post: Post,
    gates: Gates,
    endings: tuple[Ending, ...],
    books: tuple[Mapping[SkuId, Book], Mapping[SkuId, Book]],
    shadowing: Shadowing | None,
    pause: Pause,
) -> tuple[tuple[Ending, ...], Told]:
    if run.is_dry:
        return endings, Told()
    before, after = books
    d.seating.save(after, before, d.clock.now())
    if d.notary is not None and (sender.sent.graph or sender.sent.servicenow):
        d.notary.seal()  # so that the evidence of these writes carries a checkpoint over them
    at = d.clock.now()
    endings = record(endings, d.desk, plan_digest=gates.plan_digest, cycle=run.cycle, at=at, shadowing=shadowing)
    if shadowing is not None and not run.scope.is_named:
        is_whole = run.scope.pace is Pace.EVERY
        settle(shadowing, d.meter, (e.state.key for e in endings), at, is_whole=is_whole)
    void = keep(d.database, d.tenant, endings, cycle=run.cycle, at=d.clock.now())
    told = deliver(d.desk, sender, post, plan_digest=gates.plan_digest, only=_tickets(run, endings), pause=pause)
    told.problems.extend(void)
    if told.given:
        try:
            numbers = run.scope.tickets if run.is_within else ()
            # Our own updates are no news later (I6, I10).
            pull(d.reader, cycle=run.cycle, at=began_at, numbers=numbers, ours=told.ours, pause=pause)
        except RemoteError as error:
            told.problems.append(f"the answered tickets could not be read again: {error}")
    return endings, told


def _tickets(run: Run, endings: tuple[Ending, ...]) -> frozenset[str]:
    """The tickets that may be answered: all of them, or those that the cycle is about."""
    if not run.scope.tickets and not run.scope.users:
        return frozenset()
    return frozenset(e.state.key.ticket for e in endings) | {"-"}  # never empty: empty means all
