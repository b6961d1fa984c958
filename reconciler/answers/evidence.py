"""The file that goes with an answer: the chain of each line, as values, for whoever checks it later. Pure.

It repeats what the audit log holds and names the rows, so that the log proves the file and not the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from desired_state.model import LineKey, Request, Ticket
from reconciler.answers.values import Deed, Names
from reconciler.answers.words import sent_digest
from reconciler.digest import plain
from reconciler.line import Ending

SIZE_MAX = 48_000  # bytes; an attachment may be larger, a ticket should not have to carry it
DEEDS_MAX = 40  # of a line: the latest ones


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the audit chain when the answer was decided, and the newest signed checkpoint: the log's first
    `signed_size` rows under the Merkle root `root`, as `note` says, which is "" while nothing was signed."""

    size: int
    hash: str
    signed_size: int = 0
    root: str = ""
    note: str = ""


def evidence(
    ticket: Ticket,
    endings: Sequence[Ending],
    deeds: Mapping[LineKey, Sequence[Deed]],
    names: Names,
    *,
    key: str,
    tenant: str,
    head: AuditHead | None,
    at: datetime,
) -> str:
    """The chain as JSON text of at most SIZE_MAX bytes; older actions are left out first, and counted."""
    for limit in (DEEDS_MAX, 10, 3, 0):
        value = {
            "ticket": ticket.number,
            "request": ticket.request_number,
            "operation": key,
            "tenant": tenant,
            "written_at": at.isoformat(),
            "audit": _audit(head, deeds) if head is not None else None,
            "check": "reconciler audit verify; reconciler explain " + ticket.number,
            "lines": [_line(e, deeds.get(e.state.key, ()), names, limit) for e in endings],
        }
        text = json.dumps(plain(value), ensure_ascii=False, indent=1, sort_keys=True)
        if len(text.encode()) <= SIZE_MAX:
            break
    return text


def _audit(head: AuditHead, deeds: Mapping[LineKey, Sequence[Deed]]) -> dict[str, Any]:
    rows = [deed.seq for done in deeds.values() for deed in done]
    checkpoint = {"size": head.signed_size, "root": head.root, "note": head.note}
    return {
        "size": head.size,
        "head": head.hash,
        "rows": [min(rows), max(rows)] if rows else None,
        "checkpoint": checkpoint if head.note else None,
    }


def _line(ending: Ending, deeds: Sequence[Deed], names: Names, limit: int) -> dict[str, Any]:
    state, line, proof = ending.state, ending.finding.line, ending.finding.proof
    declared = line.declared
    kept = deeds[-limit:] if limit else ()
    return {
        "line": state.key.line,
        "product": line.product.key if line.product is not None else None,
        "user": ending.finding.user.upn if ending.finding.user is not None else None,
        "object_id": state.user,
        "phase": state.phase,
        "verdict": state.verdict,
        "cause": state.cause,
        "found": ending.gated.proposal.finding.cause,
        "tier": state.tier,
        "granted_at": state.granted_at,
        "ends_at": state.ends_at,
        "approved_by": [*declared.approvers, *ending.finding.line.approved_by] if isinstance(declared, Request) else [],
        "rules": [{k: j.get(k) for k in ("rule", "outcome", "effect")} for j in ending.gated.judged],
        "digest": sent_digest(deeds) or ending.gated.proposal.digest,
        "proof": {
            "access": proof.access,
            "plan": names.plans.get(proof.plan, proof.plan) if proof.plan is not None else None,
            "plan_id": proof.plan,
            "sku": names.skus.get(proof.sku, proof.sku) if proof.sku is not None else None,
            "sku_id": proof.sku,
        }
        if proof is not None
        else None,
        "actions_left_out": len(deeds) - len(kept),
        "actions": [
            {
                "kind": d.kind,
                "before": d.before,
                "after": d.after,
                "result": d.result,
                "words": d.words,
                "request_id": d.request_id,
                "client_request_id": d.client_request_id,
                "at": d.at,
                "audit_row": d.seq,
                "digest": d.digest,
            }
            for d in kept
        ],
    }
