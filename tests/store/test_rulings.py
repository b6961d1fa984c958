"""What decisions rest on is kept: rules by their text's hash, and what rules approved without a person."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from desired_state.model import LineKey, ProductKey
from desired_state.rules import RuleFacts, Rules, judge
from reconciler.loop.judging import hit_as_json
from reconciler.store import journal, rulings
from tests.make import MONDAY

RULES = Rules.model_validate(
    {
        "rules": [
            {"id": "leavers", "kind": "deny", "groups": ["Leavers"]},
            {"id": "sales-only", "kind": "eligibility", "products": ["copilot-m365"], "departments": ["Sales"]},
            {"id": "dear", "kind": "stage_required", "price_above": "30.00", "stages": ["manager"]},
            {"id": "cheap", "kind": "auto_approve", "price_max": 5, "products": ["visio-plan-1"], "cost_per_day": 9},
        ]
    }
)
FACTS = RuleFacts(
    product=ProductKey("copilot-m365"),
    price=Decimal("28.10"),
    department="Engineering",
    groups={"leavers": False},
    names=frozenset({"ada@contoso.example"}),
    spent={},
)
LINE = LineKey("RITM0000001", 1)


def approval(line: LineKey = LINE, *, days_ago: int = 0, sampled: bool = False, digest: str = "d1"):
    at = MONDAY - timedelta(days=days_ago)
    return rulings.AutoApproval("cheap", line, digest, Decimal("4.70"), at, sampled)


def test_an_old_decision_is_judged_again_from_the_store_though_the_rules_have_changed_since(database):
    ruling = judge(RULES, FACTS)
    body = {"ruling": ruling.as_json(), "rules": [hit_as_json(hit) for hit in ruling.hits]}
    with database.write() as session:
        rulings.keep_text(session, RULES.hash(), RULES.text(), MONDAY)
        rulings.keep_text(session, Rules().hash(), Rules().text(), MONDAY)
        journal.append(session, "contoso", kind="line_moved", subject=str(LINE), body=body, at=MONDAY)

    with database.read() as session:
        (row,) = journal.rows_for(session, "contoso", LINE.ticket)
        again = rulings.replayed(session, row)

    assert [hit_as_json(hit) for hit in again.hits] == row.body["rules"]
    assert again.says == row.body["ruling"]["says"] == "denied"


def test_a_decision_whose_rules_are_not_kept_says_so(database):
    body = {"ruling": judge(RULES, FACTS).as_json()}
    with database.write() as session:
        row = journal.append(session, "contoso", kind="line_moved", subject=str(LINE), body=body, at=MONDAY)
        with pytest.raises(ValueError, match="is not in the store"):
            rulings.replayed(session, row)
        other = journal.append(session, "contoso", kind="bound", subject=str(LINE), body={}, at=MONDAY)
        with pytest.raises(ValueError, match="tells of no decision"):
            rulings.replayed(session, other)


def test_the_same_rules_are_kept_once_and_found_by_their_hash(database):
    with database.write() as session:
        rulings.keep_text(session, RULES.hash(), RULES.text(), MONDAY)
        rulings.keep_text(session, RULES.hash(), RULES.text(), MONDAY)

    with database.read() as session:
        assert rulings.text_of(session, RULES.hash()) == RULES.text()
        assert rulings.text_of(session, "0" * 64) is None


def test_what_a_rule_approved_counts_once_a_request_and_for_a_day(database):
    other = LineKey("RITM0000002", 1)
    with database.write() as session:
        assert rulings.approve(session, "contoso", approval())
        assert not rulings.approve(session, "contoso", approval())
        rulings.approve(session, "contoso", approval(other, days_ago=2))
        rulings.approve(session, "fabrikam", approval(other))

        found = rulings.approved_since(session, "contoso", MONDAY - timedelta(hours=24))

    assert found == {"cheap": {LINE: Decimal("4.70")}}


def test_the_sample_waits_until_somebody_has_looked(database):
    other = LineKey("RITM0000002", 1)
    with database.write() as session:
        rulings.approve(session, "contoso", approval(sampled=True))
        rulings.approve(session, "contoso", approval(other))
    with database.read() as session:
        assert [a.line for a in rulings.sample(session, "contoso")] == [LINE]

    with database.write() as session:
        assert rulings.review(session, "contoso", LINE, by="Nina Schulz", note="fine", at=MONDAY) == 1
        assert rulings.review(session, "contoso", LINE, by="Nina Schulz", note="fine", at=MONDAY) == 0

    with database.read() as session:
        assert rulings.sample(session, "contoso") == ()
