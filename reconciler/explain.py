"""The chain of one ticket: what was asked, whom it means, what was found, decided, sent and seen, and what is left.

Everything comes from the store: nothing is read anew, so an explanation is the same tomorrow. The before and after of
each change are rendered with deepdiff on the values that were recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from desired_state import ledger
from desired_state.catalogue import Catalogue
from desired_state.model import LineKey, Refusal, Request, Ticket
from reconciler.answers import owner
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.store import journal, lines, outbox, tickets
from reconciler.store.database import Database


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as the audit log tells it. `changes` are sentences of a before and after."""

    seq: int
    at: datetime
    kind: str
    what: str
    facts: Mapping[str, Any]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineChain:
    """One line with everything that happened to it."""

    key: LineKey
    standing: ledger.Standing | None
    state: LineState | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """One ticket with all its lines and what it was told."""

    ticket: Ticket
    lines: tuple[LineChain, ...]
    answers: tuple[outbox.Owed, ...]


def explain(database: Database, tenant: str, subject: str) -> tuple[Chain, ...]:
    """The chains of a ticket number, or of every ticket of a person by sign-in name; () when none is known."""
    with database.read() as session:
        numbers = _tickets_of(ledger.standings(session, tenant), subject)
        copies = tickets.load(session, tenant, numbers=numbers)
        standings = ledger.standings(session, tenant, tickets=numbers)
        states = lines.load(session, tenant, tickets=numbers)
        chains = []
        for number in sorted(numbers & set(copies)):
            rows = journal.rows_for(session, tenant, number)
            keys = sorted({k for k in (*standings, *states) if k.ticket == number})
            chains.append(
                Chain(
                    copies[number],
                    tuple(LineChain(k, standings.get(k), states.get(k), _events(rows, k)) for k in keys),
                    outbox.of_ticket(session, tenant, number),
                )
            )
        return tuple(chains)


def _tickets_of(standings: Mapping[LineKey, ledger.Standing], subject: str) -> set[str]:
    if "@" not in subject:
        return {subject.upper().partition("/")[0]}
    wanted = subject.lower()
    return {key.ticket for key, standing in standings.items() if wanted in _names(standing)}


def _names(standing: ledger.Standing) -> set[str]:
    names: set[str | None] = set()
    if standing.entitlement is not None:
        names.add(standing.entitlement.upn)
    if standing.request is not None:
        claim = standing.request.claim
        names |= {claim.upn, claim.person.email if claim.person is not None else None}
    if isinstance(standing.declaration, Refusal):
        names.add(standing.declaration.person)
    return {name.lower() for name in names if name}


def _events(rows: Sequence[journal.AuditRow], key: LineKey) -> tuple[Event, ...]:
    mine = [row for row in rows if row.subject == str(key) or str(key) in (row.body.get("lines") or ())]
    intents = {row.seq for row in mine if row.kind == "intent"}
    results = [row for row in rows if row.kind == "result" and row.body.get("intent") in intents]
    every = {row.seq: row for row in (*mine, *results)}
    return tuple(_event(every[seq]) for seq in sorted(every))


def _event(row: journal.AuditRow) -> Event:
    body = row.body
    match row.kind:
        case "bound":
            what = f"bound to {body.get('upn')} (object {body.get('user')})"
        case "intent":
            what = f"about to send {body.get('action')} to {body.get('system')}"
        case "result":
            said = body.get("words") or f"request {body.get('request_id') or '-'}"
            what = f"{body.get('action')}: {body.get('result')}, {said}"
        case "line_moved":
            what = f"{body.get('from') or 'new'} → {body.get('to')}"
            if body.get("covered_by"):
                saved = f", {body['saved_monthly']} a month saved" if body.get("saved_monthly") else ""
                what += f": covered by another licence of the person, nothing was bought{saved}"
            lost = body.get("aftermath") or {}
            if lost:
                by = f" by {lost['actor']}, {lost['confidence']}" if lost.get("actor") else ""
                what += f": {lost.get('loss')}{by}"
        case "learnt":
            what = f"learnt from the refusal, and counts for everybody from now on: {body.get('words')}"
        case _:
            what = row.kind
    return Event(row.seq, row.at, row.kind, what, body, _changes(body))


def _changes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The recorded before and after, as deepdiff says it."""
    told = body.get("what")
    if not isinstance(told, Mapping) or "before" not in told or "after" not in told:
        return ()
    from deepdiff import DeepDiff

    shown = DeepDiff(_flat(told["before"]), _flat(told["after"]), ignore_order=True, verbose_level=2).pretty()
    return tuple(_ROOT.sub(r"\1", line) for line in str(shown).splitlines() if line.strip())


_ROOT = re.compile(r"root\['([^']+)'\]")


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded value with its licence spelled out, so that a difference reads as a sentence."""
    flat = {name: inner for name, inner in value.items() if name not in ("licence", "licences")}
    if "licences" in value:  # several at once: an exchange
        flat |= {"licence": [every["sku"] for every in value["licences"]]}
        flat |= {"plans switched off": [plan for every in value["licences"] for plan in every["disabled_plans"]]}
    if "licence" in value:
        licence = value["licence"] or {}
        flat |= {"licence": licence.get("sku", "none"), "plans switched off": licence.get("disabled_plans", [])}
    return flat


def as_json(chain: Chain, catalogue: Catalogue) -> dict[str, Any]:
    """The stable JSON of `explain --output json`."""
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
        "lines": [_line_json(line, catalogue) for line in chain.lines],
        "answers": [
            {"kind": o.answer.kind.value, "key": o.answer.key, "state": o.state.value, "remote_id": o.remote_id or None}
            for o in chain.answers
        ],
    }


def _line_json(line: LineChain, catalogue: Catalogue) -> dict[str, Any]:
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
        "later_drift": _last_loss(line.events) if state is not None and state.phase in _LOST else None,
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
