"""Builders for tests of cards and notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.approvals.values import Approval
from reconciler.cards.links import Links
from tests.make_approvals import a_request, a_stage

PUBLIC, INSTANCE = "https://licences.contoso.example", "https://contoso.service-now.com"
LINKS = Links(PUBLIC, INSTANCE)
SYS_ID = "0123456789abcdef0123456789abcdef"
# One text with everything in it that a client could act on.
HOSTILE = (
    "[Click](https://evil.example/a) <https://evil.example> ![x](https://evil.example/p.png) "
    "{{DATE(2017-02-14T06:08:00Z,SHORT)}} <at>CEO</at> < AT >CEO</at > <b>bold</b> <img src=x onerror=alert(1)> "
    "**now** `x` @everyone \u202egnp.exe\u202c ht\u200btps://evil.example {\u200b{TIME(2017-02-14T06:08:00Z)}} "
    "javascript:alert(1) www.evil.example\r\n# Heading\n- list"
)  # fmt: skip


def told(**changes: Any) -> dict[str, Any]:
    """What a request shows, as the loop writes it."""
    return {
        "ticket": "RITM0000001",
        "ticket_sys_id": SYS_ID,
        "line": 1,
        "item": "Microsoft 365 licence",
        "person": {"name": "Alex Wilber", "upn": "alexw@contoso.example"},
        "requester": {"name": "Alex Wilber", "upn": "alexw@contoso.example"},
        "opener": {"name": "Dana Petrova", "upn": "dana@contoso.example"},
        "product": "Microsoft 365 E5",
        "path": "group M365-E5",
        "period": "until 2026-12-31",
        "why": "Needs Phone System for the new office",
        "cost": {"monthly": "57.00"},
        "cost_center": "CC-4711 Marketing",
        "seats": {"free": 3, "of": 25},
        "rules": [{"rule": "high-cost", "outcome": "asks", "sentence": "manager, then cost-centre owner."}],
        "changes": [
            {
                "what": "assign license",
                "before": {"licence": None},
                "after": {"licence": {"sku": "SPE_E5"}},
                "undo": "reversible",
            }
        ],
        "irreversible": ["The usage location is set to DE and cannot be cleared again."],
        "asked_because": "the rule high-cost asks for it",
        "proposed_by": "",
        **changes,
    }


def a_told(*stages: Any, shown: dict[str, Any] | None = None, **changes: Any) -> Approval:
    """A request that waits for its first stage and shows everything."""
    return a_request(*(stages or (a_stage(),)), shown=shown or told(), **changes)


def everywhere(text: str) -> dict[str, Any]:
    """Facts with this text in every field that somebody else may have written."""
    return told(
        person={"name": text, "upn": text},
        requester={"name": text, "upn": text},
        opener={"name": text, "upn": text},
        product=text,
        path=text,
        period=text,
        why=text,
        cost={"monthly": text},
        cost_center=text,
        seats={"free": text, "of": text},
        rules=[{"rule": text, "outcome": text, "sentence": text}] * 3,
        changes=[{"what": text, "before": {text: text}, "after": [text, text], "undo": text}] * 3,
        irreversible=[text, text],
        asked_because=text,
        proposed_by=text,
        ticket_sys_id=text,
    )


def schema_errors(card: dict[str, Any]) -> list[str]:
    """What Microsoft's schema of version 1.5 says against a card, after the two removals of approvals.md 2.3."""
    from jsonschema import Draft6Validator
    from jsonschema.exceptions import best_match

    schema = json.loads((Path(__file__).parent / "data" / "adaptive-card.schema.json").read_text())
    copy = _without_plural(json.loads(json.dumps(card)))
    copy.pop("msteams", None)
    worst = best_match(Draft6Validator(schema).iter_errors(copy))
    return [] if worst is None else [worst.message]


def _without_plural(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_plural(inner) for name, inner in value.items() if name != "firstRowAsHeaders"}
    if isinstance(value, list):
        return [_without_plural(inner) for inner in value]
    return value
