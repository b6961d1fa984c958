"""What is allowed, as data: typed rules, what each of them says about one request, and what they say together. Pure.

Judging is done by the gate, with facts that it was given. Three things always hold: deny wins; data that is missing
never allows anything; and a rule that approves by itself has positive conditions only.
"""

from desired_state.rules.approving import AutoApprove, OpenerApproves, StageAsked, StageRequired
from desired_state.rules.facts import (
    Assurance,
    Change,
    RuleFacts,
    RuleHit,
    Spent,
    StageName,
    StageNeed,
    facts_as_json,
    facts_from_json,
)
from desired_state.rules.kinds import Conflict, Deny, Eligibility, EndDateRequired, RoleProduct
from desired_state.rules.ruling import Rule, Rules, Ruling, evaluate, group_key, is_sampled, judge, replay

__all__ = [
    "Assurance",
    "AutoApprove",
    "Change",
    "Conflict",
    "Deny",
    "Eligibility",
    "EndDateRequired",
    "OpenerApproves",
    "RoleProduct",
    "Rule",
    "RuleFacts",
    "RuleHit",
    "Rules",
    "Ruling",
    "Spent",
    "StageAsked",
    "StageName",
    "StageNeed",
    "StageRequired",
    "evaluate",
    "facts_as_json",
    "facts_from_json",
    "group_key",
    "is_sampled",
    "judge",
    "replay",
]
