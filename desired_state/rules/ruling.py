"""All rules of a tenant, what they say together about one line, and how a decision is kept and judged again. Pure.

Rules are evaluated in file order, all of them, with no short cut, so that the account of a decision names every rule
and its result. Together they are a set: the strictest word counts, and no order of the file changes a decision. Data
that is missing allows nothing. The text of the rules has one form and is named by its SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, model_validator

from desired_state.rules.approving import AutoApprove, OpenerApproves, StageRequired
from desired_state.rules.facts import (
    Effect,
    Outcome,
    RuleFacts,
    RuleHit,
    StageNeed,
    facts_as_json,
    facts_from_json,
    folded,
)
from desired_state.rules.kinds import Conflict, Deny, Eligibility, EndDateRequired, RoleProduct

Rule = Annotated[
    Eligibility | RoleProduct | Conflict | EndDateRequired | AutoApprove | StageRequired | OpenerApproves | Deny,
    Field(discriminator="kind"),
]

Saying = Literal["denied", "held", "asked", "staged", "approved", "clear"]
"""What rules say together, strictest first: nobody may; not like this (the requester is asked); a person has to look,
because something is not known; people of certain stages have to approve; a rule approves it without a person; no rule
is against it, and the ticket's own approval counts."""

_ASSURANCES = ("low", "medium", "strong")


class Rules(BaseModel):
    """All rules, in file order; ids are unique."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Rules:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"two rules have the id '{rule.id}'")
            seen.add(rule.id)
        return self

    def for_tenant(self, name: str) -> Rules:
        return Rules(rules=tuple(rule for rule in self.rules if not rule.tenants or name in rule.tenants))

    def group_names(self) -> tuple[str, ...]:
        """The directory's groups that rules look at, by name or object id, as they are written."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.group_names()))

    @property
    def asks_for_holdings(self) -> bool:
        """Whether a rule wants to know what else the person has."""
        return any(isinstance(rule, Conflict) for rule in self.rules)

    def text(self) -> str:
        """The rules in their one form: canonical JSON (RFC 8785), every key said."""
        return rfc8785.dumps(self.model_dump(mode="json")).decode()

    def hash(self) -> str:
        """SHA-256 of the text, 64 hex digits."""
        return hashlib.sha256(self.text().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules of a tenant say together about one line.

    `stages` are those that people have to pass, in order; also where something is not known. `approved_by` names the
    rule that approves it without a person, "" when none does, and `sample_percent` how much of that is looked at
    afterwards. `trusts_opener`: what the opener approved in the ticket counts.
    """

    says: Saying
    sentence: str  # of the rule that decides, "" when it is clear
    hits: tuple[RuleHit, ...]
    facts: RuleFacts
    rules_hash: str
    stages: tuple[StageNeed, ...] = ()
    approved_by: str = ""
    sample_percent: int = 0
    trusts_opener: bool = False

    def as_json(self) -> dict[str, Any]:
        """What is kept of a decision besides its hits: enough to judge it again from the rules' text."""
        return {
            "says": self.says,
            "rules_hash": self.rules_hash,
            "facts": facts_as_json(self.facts),
            "stages": [asdict(stage) for stage in self.stages],
            "approved_by": self.approved_by,
            "trusts_opener": self.trusts_opener,
        }


def evaluate(rules: Rules | Iterable[Rule], facts: RuleFacts) -> tuple[RuleHit, ...]:
    """What every rule says about one line, in file order. Filter by tenant first."""
    each = rules.rules if isinstance(rules, Rules) else rules
    return tuple(rule.evaluate(facts) for rule in each)


def judge(rules: Rules, facts: RuleFacts, *, rules_hash: str = "") -> Ruling:
    """What the rules say together. `rules_hash` spares working it out again.

    Of several rules that say the same thing, the first id in the alphabet is the one that is named.
    """
    hits = evaluate(rules, facts)
    ranked = sorted(hits, key=lambda hit: hit.rule)
    first = {
        word: next((h for h in ranked if _word(h) == word), None) for word in ("denied", "held", "asked", "staged")
    }
    approving = next((h for h in ranked if (h.effect, h.outcome) == ("auto_approve", "hit")), None)
    trusts = any((h.effect, h.outcome) == ("trust_opener", "hit") for h in hits)
    stages = _merged(s for h in ranked for s in h.stages)
    says: Saying = "clear"
    sentence, by = "", ""
    word = next((w for w, hit in first.items() if hit is not None), None)
    if word is not None:
        says, sentence = _WORDS[word], getattr(first[word], "sentence", "")
    elif approving is not None:
        says, sentence, by = "approved", approving.sentence, approving.rule
    percent = next((r.sample_percent for r in rules.rules if isinstance(r, AutoApprove) and r.id == by), 0)
    return Ruling(says, sentence, hits, facts, rules_hash or rules.hash(), stages, by, percent, trusts)


_WORDS: Mapping[str, Saying] = {"denied": "denied", "held": "held", "asked": "asked", "staged": "staged"}
_STANDING: Mapping[tuple[Effect, Outcome], str] = {
    ("deny", "hit"): "denied",
    ("hold", "hit"): "held",
    ("deny", "cannot_tell"): "asked",
    ("hold", "cannot_tell"): "asked",
    ("require_stage", "cannot_tell"): "asked",
    ("require_stage", "hit"): "staged",
}


def _word(hit: RuleHit) -> str:
    """What one rule says against a request, "" for nothing: one that approves, if it can, is never against it."""
    return _STANDING.get((hit.effect, hit.outcome), "")


def _merged(needs: Iterable[StageNeed]) -> tuple[StageNeed, ...]:
    """Each stage once, where it first came, as strict as the strictest that asked for it."""
    found: dict[str, StageNeed] = {}
    for need in needs:
        had = found.get(need.stage, need)
        found[need.stage] = replace(
            had,
            quorum=max(had.quorum, need.quorum),
            ticket_approval_suffices=had.ticket_approval_suffices and need.ticket_approval_suffices,
            assurance=max(had.assurance, need.assurance, key=_ASSURANCES.index),
            needs_comment=had.needs_comment or need.needs_comment,
        )
    return tuple(found.values())


def replay(text: str, kept: Mapping[str, Any]) -> Ruling:
    """A decision judged again: the text of the rules of then, and what `Ruling.as_json` kept of it.

    Raises:
        ValueError: the text is not of these rules, or not one that this version can read.
    """
    named = hashlib.sha256(text.encode()).hexdigest()
    if named != kept["rules_hash"]:
        raise ValueError(f"the text is of the rules {named[:16]}…, and the decision was by {kept['rules_hash'][:16]}…")
    return judge(Rules.model_validate_json(text), facts_from_json(kept["facts"]), rules_hash=named)


def is_sampled(rule: str, digest: str, percent: int) -> bool:
    """Whether a person looks afterwards at what a rule approved by itself: settled by the request's digest alone."""
    number = int(hashlib.sha256(f"{rule} {digest}".encode()).hexdigest()[:12], 16)
    return number % 10_000 < percent * 100


def group_key(name: str) -> str:
    """A group's name as facts have it."""
    return folded(name)
