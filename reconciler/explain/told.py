"""The stable JSON of `explain --output json`, and the parts of a chain that it is made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from desired_state import ledger
from desired_state.catalogue import Catalogue
from desired_state.model import Refusal, Request
from reconciler.answers import owner
from reconciler.approvals.values import Approval, Decision, Human
from reconciler.causes import Cause
from reconciler.explain.chain import Chain, LineChain
from reconciler.explain.events import Event
from reconciler.lifecycle import Phase
from reconciler.promotion.words import line_json


def as_json(chain: Chain, catalogue: Catalogue) -> dict[str, Any]:
    """One ticket. Texts in it are data: whoever shows them makes them inert."""
    ticket = chain.ticket
    return {
        "ticket": ticket.number,
        "request": ticket.request_number,
        "item": ticket.item_name,
        "state": ticket.state,
        "stage": ticket.stage,
        "approval": ticket.approval,
        "opened_at": ticket.opened_at.isoformat(),
        "closed_at": ticket.closed_at.isoformat() if ticket.closed_at else None,
        "closed_by": ticket.closed_by or None,
        "approvers": [{"name": a.approver_name, "state": a.state} for a in ticket.approvals],
        "proposed": _proposed(chain),
        "lines": [_line(line, catalogue) for line in chain.lines],
        "answers": [
            {"kind": o.answer.kind.value, "key": o.answer.key, "state": o.state.value, "remote_id": o.remote_id or None}
            for o in chain.answers
        ],
    }


def _proposed(chain: Chain) -> dict[str, Any] | None:
    proposal = chain.proposal
    if proposal is None:
        return None
    return {"agent": proposal.agent, "owner": proposal.owner, "source_ticket": proposal.source_ticket or None}


def _line(line: LineChain, catalogue: Catalogue) -> dict[str, Any]:
    state, standing = line.state, line.standing
    request = standing.request if standing is not None else None
    cause = state.cause if state is not None else None
    return {
        "line": line.key.line,
        "asked": _asked(request, standing, catalogue),
        "user": standing.entitlement.upn if standing is not None and standing.entitlement is not None else None,
        "object_id": state.user if state is not None else None,
        "phase": state.phase.value if state is not None else None,
        "verdict": state.verdict.value if state is not None and state.verdict is not None else None,
        "cause": cause,
        "owner": owner_of(line, catalogue) or None,
        "sentence": state.note if state is not None else "",
        "tier": state.tier if state is not None else None,
        "granted_at": state.granted_at.isoformat() if state is not None and state.granted_at else None,
        "reversals": state.reversals if state is not None else 0,
        "rules": rules_of(line),
        "digest": digest_of(line),
        "approvals": [approval_of(a) for a in line.approvals],
        "writes": writes_of(line.events),
        "observations": observations_of(line.events),
        "decision": decision_of(line.events),
        "later_drift": _last_loss(line.events) if state is not None and state.phase in _LOST else None,
        "compared": [line_json(shadow) for shadow in line.compared],
        "events": [
            {"seq": e.seq, "at": e.at.isoformat(), "kind": e.kind, "what": e.what, "facts": e.facts}
            for e in line.events
        ],
    }


def owner_of(line: LineChain, catalogue: Catalogue) -> str:
    """Whose move it is, as the tickets are told; "" where nobody has to do anything."""
    state, request = line.state, line.standing.request if line.standing is not None else None
    if state is None:
        return ""
    product = catalogue.product(request.product) if request is not None else None
    return owner(state.phase, Cause(state.cause) if state.cause else None, product)


def rules_of(line: LineChain) -> dict[str, Any] | None:
    """What the rules said last, each of them, with what it looked at; None where they were not asked."""
    if line.ruling is not None:
        hits = [
            {
                "rule": h.rule,
                "outcome": h.outcome,
                "effect": h.effect,
                "sentence": h.sentence,
                "inputs": dict(h.inputs),
                "stages": [s.stage for s in h.stages],
            }
            for h in line.ruling.hits
        ]
        return {"says": line.ruling.says, "rules_hash": line.ruling.rules_hash, "judged": hits}
    kept = next((e for e in reversed(line.events) if e.facts.get("rules")), None)
    if kept is None:
        return None
    return {"says": None, "rules_hash": None, "judged": [{"stages": [], **r} for r in kept.facts["rules"]]}


def digest_of(line: LineChain) -> str | None:
    """The digest of the request as it was last named; None before there was one."""
    return next((e.facts["digest"] for e in reversed(line.events) if e.facts.get("digest")), None)


def approval_of(approval: Approval) -> dict[str, Any]:
    """One request for approval with its answers, each with how sure it is who gave it."""
    stage = approval.stage
    return {
        "id": approval.id,
        "state": approval.state.value,
        "digest": approval.digest,
        "label": approval.label,
        "created_at": approval.created_at.isoformat(),
        "valid_until": approval.valid_until.isoformat() if approval.valid_until else None,
        "reason": approval.reason or None,
        "stages": [s.name for s in approval.stages],
        "waits_for": [human_name(h) for h in stage.everyone] if stage is not None else [],
        "decisions": [_decision(d) for d in approval.decisions],
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "stage": decision.stage,
        "verdict": decision.verdict.value,
        "by": human_name(decision.actor),
        "acting_for": human_name(decision.acting_for) if decision.acting_for is not None else None,
        "channel": decision.channel.value,
        "assurance": decision.assurance.value,
        "at": decision.decided_at.isoformat(),
        "digest": decision.digest,
        "comment": decision.comment or None,
    }


def human_name(human: Human) -> str:
    return human.name or human.upn or human.oid


def writes_of(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What was sent, oldest first, each with its outcome; `result` None while none is known."""
    results = {e.facts.get("intent"): e for e in events if e.kind == "result"}
    found = []
    for event in events:
        if event.kind != "intent":
            continue
        result = results.get(event.seq)
        said: Mapping[str, Any] = result.facts if result is not None else {}
        found.append(
            {
                "seq": event.seq,
                "at": event.at.isoformat(),
                "system": event.facts.get("system"),
                "action": event.facts.get("action"),
                "result": said.get("result"),
                "words": said.get("words"),
                "request_id": said.get("request_id"),
                "client_request_id": said.get("client_request_id"),
                "digest": event.facts.get("digest"),
                "plan": event.facts.get("plan"),
                "changes": list(event.changes),
            }
        )
    return found


def observations_of(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What fresh looks at the account showed, where they changed anything."""
    return [
        {
            "seq": e.seq,
            "at": e.at.isoformat(),
            "phase": e.facts.get("to"),
            "verdict": e.facts.get("verdict"),
            "found": e.facts.get("found", e.facts.get("cause")),
            "tier": e.facts.get("tier"),
            "proof": e.facts.get("proof"),
        }
        for e in events
        if e.kind == "line_moved"
    ]


def decision_of(events: Sequence[Event]) -> dict[str, Any] | None:
    """What a person last said about access that is not as it was granted, and whether it was carried out."""
    last = next((e for e in reversed(events) if e.kind == "question.decided"), None)
    if last is None:
        return None
    after = next((e.kind.removeprefix("question.") for e in events if e.seq > last.seq and e.kind in _BECAME), None)
    told = {name: last.facts.get(name) for name in ("word", "by", "reason", "digest", "leads_to")}
    return {**told, "at": last.at.isoformat(), "state": after or "decided"}


_BECAME = ("question.done", "question.void")
_LOST = (Phase.DRIFTED, Phase.REVIEW, Phase.CANCELLED)


def _last_loss(events: Sequence[Event]) -> Mapping[str, Any] | None:
    """What became of the access after the grant, and who did it, as the last row about it says."""
    return next((e.facts["aftermath"] for e in reversed(events) if e.facts.get("aftermath")), None)


def _asked(request: Request | None, standing: ledger.Standing | None, catalogue: Catalogue) -> dict[str, Any]:
    if request is None:
        refusal = standing.declaration if standing is not None else None
        return {"sentence": refusal.sentence} if isinstance(refusal, Refusal) else {}
    return {
        "product": request.product,
        "product_name": catalogue.product_name(request.product),
        "says": request.says.value,
        "justification": request.justification,
        "cost_center": request.cost_center,
        "price_cap": str(request.price_cap) if request.price_cap is not None else None,
        "ends_on": request.period.ends_on.isoformat() if request.period.ends_on else None,
        "duration_days": request.period.duration_days,
    }
