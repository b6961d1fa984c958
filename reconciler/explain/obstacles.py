"""Why a line has no access yet: for each thing in the way one sentence, whose move it is, and what exactly. Pure.

Computed from what is stored: the line's phase and cause, the table of causes, the rules' newest word, the requests for
approval, the queue for seats, the switches. What is not known is said to be unknown; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from desired_state.catalogue import Catalogue
from desired_state.model import Refusal, Request, Says, SkuId, Ticket
from desired_state.proposals import is_software
from desired_state.rules import RuleHit, Rules
from desired_state.text import one_line
from reconciler.answers import owner
from reconciler.approvals.clocks import has_lapsed
from reconciler.approvals.routes import Label
from reconciler.approvals.values import Approval, State
from reconciler.causes import CAUSES, Cause, Owner
from reconciler.explain.chain import Chain, LineChain
from reconciler.explain.passing import Passing, passing
from reconciler.lifecycle import Phase
from reconciler.seats.book import Book, position

_OVER: Mapping[Phase, str] = {
    Phase.REVOKED: "The access was taken back as it was due; nothing more is done for this line.",
    Phase.CANCELLED: "The line was cancelled; nothing more is done for it.",
    Phase.REFUSED: "The line was refused; nothing more is done for it until its ticket changes.",
}
_ANEW = "Ask anew, by a new ticket or by changing this one."
_DECIDABLE = (Phase.DRIFTED, Phase.HELD, Phase.REVIEW)
_HAS = (Phase.GRANTED, Phase.EXPIRING)
_ASKED = (State.PENDING, State.EXPIRED, State.REJECTED, State.VOID)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing in the way. `kind` is a word of ours, `whose` an owner or names, `do` what exactly they should do.

    `passes` says of a rule with which values it would let the line through.
    """

    kind: str
    what: str
    whose: str
    do: str
    passes: Passing | None = None

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": self.kind, "what": self.what, "whose": self.whose, "do": self.do}
        return told | ({"would_pass": self.passes.as_json()} if self.passes is not None else {})


def why_not(chain: Chain, catalogue: Catalogue, at: datetime, *, mode: str = "") -> dict[str, Any]:
    """The stable JSON of `why-not --output json` for one ticket."""
    every = []
    for line in chain.lines:
        found = obstacles(chain, line, catalogue, at, mode=mode)
        request = line.standing.request if line.standing is not None else None
        every.append(
            {
                "line": line.key.line,
                "product": request.product if request is not None else None,
                "phase": line.state.phase.value if line.state is not None else None,
                "has_access": line.state is not None and line.state.phase in _HAS,
                "in_the_way": [o.as_json() for o in found],
            }
        )
    return {"ticket": chain.ticket.number, "at": at.isoformat(), "lines": every}


def obstacles(
    chain: Chain, line: LineChain, catalogue: Catalogue, at: datetime, *, mode: str = ""
) -> tuple[Obstacle, ...]:
    """Everything that stands in the way of one line, what comes first first; () where it has its access."""
    state, standing = line.state, line.standing
    if state is not None and state.phase in _OVER:
        return (*_rules(line, catalogue), Obstacle("over", _OVER[state.phase], Owner.REQUESTER.value, _ANEW))
    if state is not None and state.phase in _HAS:
        return ()
    found: list[Obstacle] = []
    if standing is not None and isinstance(standing.declaration, Refusal):
        found.append(_not_taken_in(standing.declaration))
    elif state is None:
        sentence = "No cycle has looked at it since it came in."
        found.append(Obstacle("new", sentence, Owner.RECONCILER.value, "Wait for the next cycle, or run one."))
    else:
        found += _rules(line, catalogue)
        found += _people(chain.ticket, line, at)
        found += _seat(line, chain.books, catalogue)
        found += _cause(line, catalogue, found)
        found += _waits(line, at)
        found = found or [_on_its_way(line, catalogue)]
    found += _stops(chain, at)
    found += _mode(line, mode)
    return tuple(found)


def _not_taken_in(refusal: Refusal) -> Obstacle:
    facts = CAUSES[Cause(refusal.why.value)]
    return Obstacle("not_taken_in", refusal.sentence, facts.owner.value, facts.ask)


def _rules(line: LineChain, catalogue: Catalogue) -> list[Obstacle]:
    """Rules that are against it, and what each would let through."""
    if line.ruling is None or line.rules_text is None:
        return []
    rules = Rules.model_validate_json(line.rules_text)
    names: dict[str, str] = {key: product.name for key, product in catalogue.products.items()}
    is_asked = line.state is not None and line.state.phase is Phase.AWAITING_APPROVAL
    label = line.approvals[0].label if line.approvals else ""
    # Only where nobody has approved the ticket does it matter that no rule does.
    wanted = ("require_stage", "auto_approve") if label == Label.UNAPPROVED.value else ("require_stage",)
    found = []
    for hit in line.ruling.hits:
        is_no = hit.effect in ("deny", "hold") and hit.outcome in ("hit", "cannot_tell")
        if not is_no and not (is_asked and hit.effect in wanted):
            continue
        way = passing(rules, hit, line.ruling.facts, names)
        if way is None or (hit.effect == "auto_approve" and not way.needs):
            continue
        what = f"Rule '{hit.rule}': {hit.sentence}"
        if hit.effect == "auto_approve":
            what = f"Rule '{hit.rule}' would approve it without a person, and does not: {hit.sentence}"
        found.append(Obstacle("rule", what, _whose(hit).value, way.sentence, way))
    return found


def _whose(hit: RuleHit) -> Owner:
    if hit.effect in ("require_stage", "auto_approve"):
        return Owner.APPROVER
    return Owner.REQUESTER if hit.outcome == "hit" and hit.effect == "hold" else Owner.LICENCE_ADMIN


def _people(ticket: Ticket, line: LineChain, at: datetime) -> list[Obstacle]:
    state, newest = line.state, next(iter(line.approvals), None)
    assert state is not None
    if newest is not None and newest.state in _ASKED and state.phase is not Phase.DRIFTED:
        return [_asked(newest, at)]
    if state.phase is not Phase.AWAITING_APPROVAL:
        return []
    request = line.standing.request if line.standing is not None else None
    if newest is not None and newest.state in (State.APPROVED, State.EXECUTING):
        sentence = f"Request {newest.id} is approved, and it was not carried out yet."
        return [Obstacle("approval", sentence, Owner.RECONCILER.value, "Wait for the next cycle.")]
    waiting = [a.approver_name or a.approver for a in ticket.approvals if a.state.strip().casefold() == "requested"]
    if request is not None and request.says is Says.WAITING and waiting:
        who = ", ".join(waiting)
        return [Obstacle("approval", f"The ticket waits for {who} in ServiceNow.", who, "Approve or reject it there.")]
    if request is not None and is_software(request.opened_by, ()):
        sentence = "Software proposed it, so a person is asked; nobody was yet."
        return [Obstacle("approval", sentence, Owner.RECONCILER.value, "Wait for the next cycle.")]
    sentence = state.note or "It waits for an approval."
    return [Obstacle("approval", sentence, Owner.APPROVER.value, "Approve or reject it.")]


_RENEW = "Find out whether it is still wanted; then `reconciler approvals renew {} --by NAME --reason TEXT` asks anew."


def _asked(approval: Approval, at: datetime) -> Obstacle:
    stage = approval.stage
    if approval.state is State.REJECTED:
        last = approval.decisions[-1] if approval.decisions else None
        who = (last.actor.name or last.actor.upn) if last is not None else "somebody"
        what = f"Request {approval.id} was rejected by {who}: {approval.reason or 'no reason is kept'}"
        return Obstacle("rejected", what, Owner.REQUESTER.value, _ANEW)
    if approval.is_renewed:
        what = f"Request {approval.id} expired, and people are to be asked anew."
        return Obstacle("approval", what, Owner.RECONCILER.value, "Wait for the next cycle, which asks.")
    if approval.state is State.EXPIRED or has_lapsed(approval, at):
        what = approval.reason or f"Nobody answered request {approval.id} in time."
        return Obstacle("expired", what, Owner.SERVICE_DESK.value, _RENEW.format(approval.id))
    if approval.state is State.VOID:
        what = f"Request {approval.id} is void: {approval.reason}"
        return Obstacle("void", what, Owner.RECONCILER.value, "Wait for the next cycle, which asks anew if it has to.")
    if stage is None or stage.opened_at is None:
        what = f"Request {approval.id} is open, and who answers it is looked up by the next cycle."
        return Obstacle("approval", what, Owner.RECONCILER.value, "Wait for the next cycle.")
    names = ", ".join(h.name or h.upn for h in stage.everyone) or Owner.SERVICE_DESK.value
    until = f" until {stage.expires_at:%Y-%m-%d %H:%M} UTC" if stage.expires_at is not None else ""
    what = (
        f"Request {approval.id} waits for {names} ({stage.name.replace('_', ' ')}, stage {approval.at + 1} of "
        f"{len(approval.stages)}){until}."
    )
    return Obstacle("approval", what, names, f"Open /approvals/{approval.id} and decide.")


def _seat(line: LineChain, books: Mapping[SkuId, Book], catalogue: Catalogue) -> list[Obstacle]:
    for sku, book in sorted(books.items()):
        place, waiting = position(book, line.key)
        if not place:
            continue
        name = catalogue.skus.get(sku, ("", book.part_number or sku))[1]
        what = f"No seat of {name} is free ({book.consumed} of {book.enabled} used); place {place} of {waiting}."
        idle = len(book.idle)
        more = f" {idle} seats look idle: `reconciler status`." if idle else ""
        return [Obstacle("seat", what, CAUSES[Cause.NO_SEAT].owner.value, CAUSES[Cause.NO_SEAT].ask + more)]
    return []


def _cause(line: LineChain, catalogue: Catalogue, before: Iterable[Obstacle]) -> list[Obstacle]:
    """What the directory shows, unless that was said already in more detail."""
    state = line.state
    if state is None or state.cause is None:
        return []
    cause, kinds = Cause(state.cause), {o.kind for o in before}
    is_said = (cause is Cause.NO_SEAT and "seat" in kinds) or (
        cause is Cause.POLICY_REFUSED and kinds & {"rule", "approval", "rejected", "expired", "void"}
    )
    if is_said:
        return []
    facts = CAUSES[cause]
    request = line.standing.request if line.standing is not None else None
    product = catalogue.product(request.product) if request is not None else None
    whose = owner(state.phase, cause, product) or facts.owner.value
    own = state.note.strip()
    what = f"{facts.sentence} {own}" if own and own not in facts.sentence else facts.sentence
    do = facts.ask
    if cause in (Cause.REMOVED_LATER, Cause.EXPIRED_NOT_REMOVED) and state.phase in _DECIDABLE:
        do += f" Whoever decides: `reconciler drift decide {line.key}`."
    if whose == Owner.RECONCILER.value:
        do = f"Nothing: the reconciler's own step is to {facts.step or 'look again'}."
    return [Obstacle(cause.value, what, whose, do)]


def _on_its_way(line: LineChain, catalogue: Catalogue) -> Obstacle:
    """Where nothing is known to be wrong: what the last cycle said of it, a guard's word for example."""
    state, request = line.state, line.standing.request if line.standing is not None else None
    assert state is not None
    product = catalogue.product(request.product) if request is not None else None
    decision = next((str(e.facts["decision"]) for e in reversed(line.events) if e.facts.get("decision")), "")
    if decision == "stopped":
        what = state.note or "A guard stopped its lane."
        do = "Look at `reconciler guards show`; a person may release what is stopped, once, with a reason."
        return Obstacle("guard", what, Owner.OPERATOR.value, do)
    whose = owner(state.phase, None, product) or Owner.RECONCILER.value
    what = state.note or f"It is {state.phase.value.replace('_', ' ')}; the next cycle goes on with it."
    return Obstacle("on_its_way", what, whose, "Wait for the next cycle.")


def _waits(line: LineChain, at: datetime) -> list[Obstacle]:
    state = line.state
    if state is None or state.next_at is None or state.next_at <= at:
        return []
    what = f"The last attempt had no effect; the next one is due at {state.next_at:%Y-%m-%d %H:%M:%S} UTC."
    return [Obstacle("backoff", what, Owner.RECONCILER.value, "Wait until then.")]


def _stops(chain: Chain, at: datetime) -> list[Obstacle]:
    found = []
    for stop in chain.stops:
        if not stop.stops(stop.scope, at):
            continue
        until = f" until {stop.until_at:%Y-%m-%d %H:%M} UTC" if stop.until_at is not None else ""
        what = f"{stop.name} stops {stop.scope.replace('_', ' ')}{until} ({stop.by}: {stop.reason})."
        found.append(Obstacle("stop", what, Owner.OPERATOR.value, "Lift it with a reason, or wait until it ends."))
    return found


def _mode(line: LineChain, mode: str) -> list[Obstacle]:
    request: Request | None = line.standing.request if line.standing is not None else None
    if request is None or mode != "observe":
        return []
    what = "The tenant is in mode observe, in which nothing is changed whatever is decided."
    return [Obstacle("mode", what, Owner.OPERATOR.value, "Move the tenant to mode suggest or enforce.")]


def as_text(obstacle: Obstacle) -> str:
    """One line for a terminal."""
    return one_line(f"{obstacle.what} Whose move: {obstacle.whose}. {obstacle.do}", 2000)
