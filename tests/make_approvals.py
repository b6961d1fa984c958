"""Builders for tests of approvals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from desired_state.model import LineKey
from reconciler.approvals.machine import move
from reconciler.approvals.values import Approval, Decision, Human, Stage, State, Verdict
from tests.make import DAY, MONDAY

TENANT = "contoso"
TID = "11111111-1111-1111-1111-111111111111"
ID = "LR-" + "A" * 26
DIGEST = "d" * 64


def a_human(name: str, **changes: Any) -> Human:
    return replace(Human(TID, f"oid-{name}", name.title(), f"{name}@contoso.example", f"n-{name}"), **changes)


ADA, LAURA, TOM, EVE = (a_human(name) for name in ("ada", "laura", "tom", "eve"))


def a_stage(name: str = "manager", *approvers: Human, **changes: Any) -> Stage:
    base = Stage(
        name,
        name,
        approvers=approvers or (LAURA,),
        opened_at=MONDAY,
        remind_at=(MONDAY + timedelta(hours=30), MONDAY + timedelta(hours=90)),
        escalate_at=MONDAY + 2 * DAY,
        expires_at=MONDAY + 5 * DAY,
    )
    return replace(base, **changes)


def a_draft(*stages: Stage, **changes: Any) -> Approval:
    base = Approval(
        id=ID,
        tenant=TENANT,
        line=LineKey("RITM0000001", 1),
        digest=DIGEST,
        subject={"line": "RITM0000001/1", "product": "m365-e5", "price": "57.00"},
        shown={"product": "Microsoft 365 E5", "why": "Needs **it**"},
        stages=stages or (a_stage(),),
        created_at=MONDAY,
        requester=ADA,
        beneficiary=ADA,
        opener=ADA,
    )
    return replace(base, **changes)


def a_request(*stages: Stage, **changes: Any) -> Approval:
    return move(a_draft(*stages, **changes), State.PENDING)


def an_answer(actor: Human = LAURA, verdict: Verdict = Verdict.APPROVE, **changes: Any) -> Decision:
    comment = "Not this year, please." if verdict is Verdict.REJECT else ""
    base = Decision("manager", verdict, actor, DIGEST, MONDAY, comment=comment, key=f"key-{actor.name}")
    return replace(base, **changes)
