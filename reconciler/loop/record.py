"""Stage 7: journal the verdicts, and decide what the tickets are owed. `deliver` gives it.

A line's new state, its audit row and the answers it calls for are one transaction. Answers leave from that outbox, so
a crash between deciding and telling loses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from desired_state import ledger
from desired_state.model import LineKey
from desired_state.rules import Rules
from desired_state.rules import is_sampled as is_sampled_by
from reconciler.answers import AuditHead, Deed, answers, level_of, signature, told
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Ending, Gated, LineState
from reconciler.loop.aftermath import ADOPTED, as_json
from reconciler.loop.deeds import deeds_of
from reconciler.loop.desk import Desk
from reconciler.loop.ending import started
from reconciler.loop.gate import Gates
from reconciler.loop.new_plans import is_about
from reconciler.loop.shadowing import Changed, Shadowing
from reconciler.loop.shared import REVOKED, kept_by
from reconciler.loop.takeback import gone
from reconciler.metrics import counting
from reconciler.metrics.facts import Move
from reconciler.model import Result
from reconciler.store import checkpoints, journal, lines, outbox, rulings
from reconciler.store.database import Database


def record(
    endings: Sequence[Ending],
    desk: Desk,
    *,
    plan_digest: str,
    cycle: str,
    at: datetime,
    shadowing: Shadowing | None = None,
) -> tuple[Ending, ...]:
    """Keep what changed, with the answers that it calls for. A line that stands as before writes nothing (I10).

    `shadowing` compares what would have been done with what people did; None: nothing is compared.
    Returns the endings as they are remembered: what their tickets were told included.
    """
    by_ticket: dict[str, list[Ending]] = {}
    for ending in endings:
        by_ticket.setdefault(ending.state.key.ticket, []).append(ending)
    groups = by_ticket.values()
    with desk.database.read() as session:
        end, signed = journal.head(session, desk.tenant), checkpoints.last(session, desk.tenant)
    head = AuditHead(end.size, end.hash)
    if signed is not None:
        head = replace(head, signed_size=signed.size, root=signed.root.hex(), note=signed.note)
    kept = (
        e
        for group in groups
        for e in _record(group, desk, head, plan_digest=plan_digest, cycle=cycle, at=at, shadowing=shadowing)
    )
    return tuple(sorted(kept, key=lambda e: e.state.key))


def _record(
    group: Sequence[Ending],
    desk: Desk,
    head: AuditHead,
    *,
    plan_digest: str,
    cycle: str,
    at: datetime,
    shadowing: Shadowing | None,
) -> list[Ending]:
    """One ticket: all its lines, and what it is told about them; `head` is the log's end before this was recorded."""
    ticket, deeds = group[0].finding.line.ticket, _deeds(group, desk)
    manners = desk.manners(ticket)
    owed = answers(ticket, group, manners, desk.names, tenant=desk.tenant, at=at, deeds=deeds, head=head)
    memory = told(group, at, deeds)
    kept = [replace(e, state=replace(e.state, told=memory[e.state.key])) for e in group]
    is_same = all(e.state == _before(e) and not e.outcomes for e in kept)  # `begin` has moved what was tried
    compared: list[Changed] = []
    if shadowing is not None:
        level, would = level_of(group, manners), owed
        if level != "full" and not is_same:  # where nothing is news, nothing would be told either
            loud = replace(manners, level="full", levels={})
            would = answers(ticket, group, loud, desk.names, tenant=desk.tenant, at=at, deeds=deeds, head=head)
        compared = [shadowing.of_ticket(ticket, group, would, level, at), *(shadowing.of_line(e, at) for e in kept)]
    if not owed and is_same and not any(compared):
        return kept
    news: list[tuple[Ending, tuple[Move, ...]]] = []
    with desk.database.write() as session:
        for ending in kept:
            was_sent = any(d.is_done for d in deeds.get(ending.state.key, ()))
            if _keep(session, desk.tenant, ending, plan_digest, cycle, at, was_sent=was_sent):
                news.append((ending, _moves(session, desk.tenant, ending)))
        if owed:
            outbox.drop_unsent(session, desk.tenant, ticket.number, at)
        for answer in owed:
            outbox.intend(session, desk.tenant, answer, at)
        for changed in compared:
            changed.keep(session, desk.tenant)
    for ending, moves in news:
        counting.ended(desk.meter, ending, moves, at, is_begun=_is_begun(ending.gated))
    for shadow in (s for changed in compared for s in changed.judged):
        desk.meter.compared(shadow.product, shadow.axis.value, shadow.outcome.value)
    return kept


def _is_begun(gated: Gated) -> bool:
    """Whether `begin` has kept the line's state before anything was sent."""
    return gated.decision is Decision.CLEARED and bool(gated.proposal.actions)


def _moves(session: Session, tenant: str, ending: Ending) -> tuple[Move, ...]:
    """How a line came to its first grant, oldest first; () for one that was not granted just now."""
    if not counting.is_first_grant(ending):
        return ()
    key = str(ending.state.key)
    rows = (r for r in journal.rows_for(session, tenant, key) if r.kind == "line_moved" and r.subject == key)
    return tuple(Move(row.at, Phase(str(row.body["to"]))) for row in rows)


def _deeds(group: Sequence[Ending], desk: Desk) -> dict[LineKey, tuple[Deed, ...]]:
    """What was sent to the directory for the ticket; not asked for where nothing ever was, or nothing is new."""
    tried = any(e.state.attempts or e.outcomes or e.state.given for e in group)
    if not tried or all(e.state == _before(e) and e.state.told == signature(e.state) for e in group):
        return {}
    with desk.database.read() as session:
        return deeds_of(journal.rows_for(session, desk.tenant, group[0].state.key.ticket))


def _before(ending: Ending) -> LineState | None:
    return ending.gated.proposal.finding.line.state


def _saved(ending: Ending) -> str | None:
    """What need not be bought a month, because a bundle that the person holds brings it already."""
    product = ending.finding.line.product
    if ending.finding.covered_by is None or product is None or product.price is None:
        return None
    return f"{product.price:.2f}"


def begin(gates: Gates, desk: Desk, *, cycle: str, at: datetime) -> None:
    """Remember, before the first write, which lines are being changed and what was found wrong with them.

    Should this process die, the next cycle knows that a change was under way, and the ticket is told all the same.
    """
    starting = [g for g in gates.gated if _is_begun(g)]
    if not starting:
        return
    states = [started(gated, at) for gated in starting]
    with desk.database.write() as session:
        rows = [_plan_told(desk, starting, gates.plan_digest)]
        saved = lines.save_all(session, desk.tenant, states, at)
        # New plans leave the line where it is.
        kept = [
            (gated, state)
            for gated, state in zip(starting, states, strict=True)
            if state.key in saved and not is_about(gated.proposal.finding)
        ]
        moved = {gated.proposal.finding.key for gated, _ in kept}
        for gated, state in zip(starting, states, strict=True):
            rows += _keep_approval(session, desk.tenant, gated, at)
            if state.key in moved:
                rows.append(_begun(gated, state, gates.plan_digest))
        journal.append_all(session, desk.tenant, rows, at=at, cycle=cycle)
    for gated, state in kept:
        counting.begun(desk.meter, gated.proposal.finding, state)


def _begun(gated: Gated, state: LineState, plan_digest: str) -> journal.Entry:
    line = gated.proposal.finding.line
    body = {
        "from": line.state.phase.value if line.state else None,
        "to": state.phase.value,
        "verdict": state.verdict.value if state.verdict is not None else None,
        "cause": state.cause,
        "sentence": state.note,
        **({"priority": line.priority} if line.priority else {}),
        "decision": gated.decision.value,
        "rules": [dict(j) for j in gated.judged],
        **ruled(gated),
        **sided(gated),
        "digest": gated.proposal.digest,
        "plan": plan_digest,
    }
    return journal.Entry("line_moved", str(state.key), body)


def keep_rules(database: Database, rules: Rules, gates: Gates, at: datetime) -> None:
    """The rules that this cycle decided by, so that its decisions can be judged again."""
    if all(g.ruling is None for g in gates.gated):
        return
    with database.read() as session:
        is_kept = rulings.text_of(session, rules.hash()) is not None
    if not is_kept:
        with database.write() as session:
            rulings.keep_text(session, rules.hash(), rules.text(), at)


def _plan_told(desk: Desk, starting: Sequence[Gated], plan_digest: str) -> journal.Entry:
    """The plan that this cycle carries out: what its digest stands for, with the requests that each action serves, and
    by which software and configuration it was made."""
    actions = [
        {
            "kind": action.kind.value,
            "user": action.user,
            "product": action.product,
            "line": str(gated.proposal.finding.key),
            "requests": list(gated.proposal.serves) or [gated.proposal.digest],
        }
        for gated in starting
        for action in gated.proposal.actions
    ]
    lines_ = sorted({str(gated.proposal.finding.key) for gated in starting})
    body = {"plan": plan_digest, "actions": actions, "lines": lines_, "by": dict(desk.runs_by)}
    return journal.Entry("plan.built", plan_digest, body)


def ruled(gated: Gated) -> dict[str, Any]:
    """What the rules said together, with all that it takes to judge it again; nothing where they were not asked."""
    return {"ruling": gated.ruling.as_json()} if gated.ruling is not None else {}


def sided(gated: Gated) -> dict[str, Any]:
    """On which side of the share the person is; nothing where everybody is enforced for, or nobody is."""
    return {"canary": gated.canary.as_json()} if gated.canary is not None else {}


def _keep_approval(session: Session, tenant: str, gated: Gated, at: datetime) -> list[journal.Entry]:
    """A rule approves this without a person: counted against its limits, and perhaps looked at afterwards (A11).

    Returns what the log is told of it.
    """
    ruling, proposal = gated.ruling, gated.proposal
    if not gated.approved_by or ruling is None:
        return []
    is_sampled = is_sampled_by(gated.approved_by, proposal.digest, ruling.sample_percent)
    cost = ruling.facts.price or Decimal(0)
    key = proposal.finding.key
    approval = rulings.AutoApproval(gated.approved_by, key, proposal.digest, cost, at, is_sampled)
    if not rulings.approve(session, tenant, approval):
        return []
    body = {
        "rule": gated.approved_by,
        "rules_hash": ruling.rules_hash,
        "digest": proposal.digest,
        "cost_monthly": str(cost),
        "is_sampled": is_sampled,
    }
    return [journal.Entry("auto_approved", str(key), body)]


def _keep(
    session: Session,
    tenant: str,
    ending: Ending,
    plan_digest: str,
    cycle: str,
    at: datetime,
    *,
    was_sent: bool,
) -> bool:
    """Keep a line's state and tell of it; False when it says nothing new."""
    state, first = ending.state, ending.gated.proposal.finding
    remembered = _before(ending)
    old = remembered.phase if remembered is not None else None
    if not lines.save(session, tenant, state, at):
        return False
    is_moved = remembered is None or state != replace(
        remembered, told=state.told, product=state.product, person=state.person
    )
    if not is_moved and not ending.outcomes:
        return False  # only how it is listed, or what the ticket is told, has moved: the answers say that themselves
    if state.phase in (Phase.GRANTED, Phase.EXPIRING):  # says nothing new, and adds no row, unless the end has moved
        by_us = any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes) or was_sent
        granted = ledger.Granted(state.key, state.granted_at or at, state.ends_at, by_us, state.given)
        ledger.append(session, tenant, granted, at)
    if state.phase is Phase.DRIFTED and (lost := gone(ending.finding)):
        ledger.append(session, tenant, ledger.Lost(state.key, at, lost), at)
    if state.phase is Phase.CANCELLED and first.aftermath is not None:
        ledger.append(session, tenant, ledger.Ended(state.key, at, why=ADOPTED), at)
    if state.phase is Phase.REVOKED:
        why = kept_by(ending.finding.heir) if ending.finding.heir is not None else REVOKED
        ledger.append(session, tenant, ledger.Ended(state.key, at, why), at)
    proof = ending.finding.proof
    is_begun = bool(ending.outcomes) and not is_about(first)
    before = Phase.CONVERGING if is_begun else old  # `begin` has moved what was about to be changed
    body = {
        "from": before.value if before is not None else None,
        "to": state.phase.value,
        "verdict": state.verdict.value if state.verdict is not None else None,
        "cause": state.cause,
        "tier": state.tier,
        "found": first.cause.value if first.cause is not None else None,
        "sentence": state.note or first.sentence,
        **({"priority": first.line.priority} if first.line.priority else {}),
        "user": state.user,
        "proof": {"access": proof.access.value, "plan": proof.plan, "sku": proof.sku} if proof is not None else None,
        "aftermath": as_json(first.aftermath),
        "covered_by": ending.finding.covered_by,
        "saved_monthly": _saved(ending),
        "decision": ending.gated.decision.value,
        "rules": [dict(j) for j in ending.gated.judged],
        **ruled(ending.gated),
        **sided(ending.gated),
        "digest": ending.gated.proposal.digest,
        "plan": plan_digest,
    }
    journal.append(session, tenant, kind="line_moved", subject=str(state.key), body=body, at=at, cycle=cycle)
    return True
