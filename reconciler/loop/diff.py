"""Stage 2: desired against observed, line by line. Pure.

A finding is believed only from what was read: a value that was not shown is unknown and never "nothing". The cause is
the most specific one that the facts support. What a ticket says decides how it is answered, never what is true.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePath

from desired_state.model import Path, Product, Refusal, Request, Says, SkuId
from desired_state.resolve import NOT_STARTED, OVER
from reconciler.causes import Cause
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import (
    Access,
    Drift,
    DriftKind,
    Finding,
    Gone,
    Known,
    Line,
    Observed,
    Proof,
    Rest,
    Unread,
)
from reconciler.loop import groups
from reconciler.loop.aftermath import after, was_proven
from reconciler.loop.agreement import disagreement
from reconciler.loop.exchange import exchanged_for, superseded
from reconciler.loop.location import located, settled
from reconciler.loop.new_plans import arrived
from reconciler.loop.proof import asked, prove, reach, switched_off, to_switch_on
from reconciler.loop.setback import given_up, half_done
from reconciler.loop.takeback import near, over, returnable, seen
from reconciler.loop.workload import unproven
from reconciler.model import (
    ObservedUser,
    SkuDetail,
    Verdict,
)
from reconciler.seats.queue import in_turn


@dataclass(frozen=True, slots=True)
class Windows:
    """How long a thing may take before it counts as failed."""

    user_sync: timedelta = timedelta(days=3)  # a joiner's account reaches the directory
    directory_sync: timedelta = timedelta(minutes=45)  # one cycle of the on-premises sync, which runs every 30 minutes
    retry: timedelta = timedelta(hours=24)  # a correction that keeps failing is given up after this


def diff(
    lines: Iterable[Line],
    observed: Observed,
    *,
    at: datetime,
    windows: Windows,
    among: Iterable[Line] | None = None,
) -> tuple[Finding, ...]:
    """Judge the lines, in the order in which scarce things are given out.

    `among` are all lines of the cycle where only some are judged: what was done for one line of a person, such as
    setting the usage location, counts for the person's others.
    """
    every = tuple(lines)
    ours = located(every if among is None else among)

    def judged(line: Line) -> Finding:
        try:
            return settled(_find(line, observed, at, windows), ours, at=at, sync=windows.directory_sync)
        except Exception as error:  # whatever it is, it is one line's: the others are judged all the same
            return _defect(line, error)

    return in_turn(judged(line) for line in every)


def _defect(line: Line, error: Exception) -> Finding:
    """A line that our own code could not judge: nothing is known of it, so nothing is changed for it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    why = f"{type(error).__name__} in {PurePath(place.filename).name}, line {place.lineno}"
    sentence = f"A defect of the reconciler kept this line from being judged ({why}); nothing is changed for it."
    return replace(_unknown(line, Cause.UNKNOWN, sentence), defect=why)


_GIVEN = frozenset({Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING})


def _find(line: Line, observed: Observed, at: datetime, windows: Windows) -> Finding:
    declared, state = line.declared, line.state
    if state is not None and state.phase in FINAL:
        over = Rest.REFUSE if state.phase is Phase.REFUSED else Rest.CANCEL
        return Finding(line, over, state.verdict, Cause(state.cause) if state.cause else None, state.note)
    was_given = state is not None and (state.phase in _GIVEN or state.attempts > 0)
    is_withdrawn = declared.says in (Says.REJECTED, Says.CANCELLED)
    if was_given and (is_withdrawn or (declared.says is Says.WAITING and not line.is_approved)):
        sentence = f"The licence was given, and the ticket says {declared.says} since; a person has to decide."
        return Finding(line, Rest.REVIEW, None, Cause.TICKET_INCONSISTENT, sentence)
    match declared.says:
        case Says.REJECTED:
            return Finding(line, Rest.REFUSE, sentence="The request was rejected in ServiceNow.")
        case Says.CANCELLED:
            return Finding(line, Rest.CANCEL, sentence="The request was cancelled in ServiceNow.")
    if isinstance(declared, Refusal):
        return _not_taken_in(line, declared)
    if declared.says is Says.WAITING and not line.is_approved:
        return _waiting(line, declared, observed, at, windows)
    return _found(line, declared, observed, at, windows)


def _waiting(line: Line, request: Request, observed: Observed, at: datetime, windows: Windows) -> Finding:
    """What would be done once it is approved; a ticket that nobody has approved yet is nothing else's business."""
    waits = Finding(line, Rest.AWAIT, sentence="The ticket waits for an approval in ServiceNow.")
    if line.binding.known is not Known.BOUND or line.product is None:
        return waits
    found = _found(line, request, observed, at, windows)
    return found if found.rest is Rest.ACT and found.aftermath is None else waits


def _found(line: Line, declared: Request, observed: Observed, at: datetime, windows: Windows) -> Finding:
    unbound = _unbound(line, declared, at, windows)
    if unbound is not None:
        return unbound
    if line.product is None:
        return _unknown(line, Cause.PRODUCT_UNMAPPED, f"The product {declared.product} is not set up any more.")
    assert line.binding.user is not None
    user = observed.users.get(line.binding.user, Unread("it was not asked for"))
    match user:
        case Unread(why):
            return _unknown(line, Cause.REMOTE_FAILING, f"The account could not be read: {why}.")
        case Gone():
            return _unknown(
                line, Cause.USER_MISSING, "The account that this line was bound to is gone.", rest=Rest.REVIEW
            )
    finding = seen(_judge(line, declared, line.product, user, observed, at), observed)
    return given_up(near(finding, at), observed, at, windows.retry)


def _not_taken_in(line: Line, refusal: Refusal) -> Finding:
    """A line that could not be read as a request is reported and left to people."""
    verdict = Verdict.UNKNOWN if refusal.says in (Says.FULFILLED, Says.INCONSISTENT) else None
    rest = Rest.REVIEW if refusal.needs_person else Rest.HOLD
    return Finding(line, rest, verdict, Cause(refusal.why.value), refusal.sentence)


def _unbound(line: Line, request: Request, at: datetime, windows: Windows) -> Finding | None:
    fulfilled = request.says is Says.FULFILLED
    match line.binding.known:
        case Known.BOUND:
            return None
        case Known.MISMATCH:
            return _unknown(line, Cause.IDENTITY_MISMATCH, line.binding.why, rest=Rest.REVIEW)
        case Known.UNREAD:
            return _unknown(line, Cause.REMOTE_FAILING, f"The account could not be looked up: {line.binding.why}.")
    if at - request.due_since < windows.user_sync:
        until = request.due_since + windows.user_sync
        return Finding(
            line,
            Rest.WAIT,
            Verdict.PENDING if fulfilled else None,
            Cause.USER_MISSING,
            f"There is no account yet; a new one may take until {until:%Y-%m-%d %H:%M} UTC to arrive.",
        )
    return Finding(
        line,
        Rest.HAND_BACK,
        Verdict.FALSE if fulfilled else None,
        Cause.USER_MISSING,
        f"{line.binding.why} No sync takes this long.",
    )


def _unknown(line: Line, cause: Cause, sentence: str, *, rest: Rest = Rest.HOLD) -> Finding:
    verdict = Verdict.UNKNOWN if line.says in (Says.FULFILLED, Says.INCONSISTENT) else None
    return Finding(line, rest, verdict, cause, sentence)


def _judge(
    line: Line,
    request: Request,
    product: Product,
    user: ObservedUser,
    observed: Observed,
    at: datetime,
) -> Finding:
    hidden = _hidden(user)
    if hidden:
        return _with(user, _unknown(line, Cause.PERMISSION_MISSING, f"The directory does not show {hidden}."))
    assert user.assignments is not None and user.skus is not None
    is_over = line.skipped.startswith(OVER)
    if user.is_enabled is False and not is_over:
        sentence = "The account is disabled, so nothing is assigned."
        # Licences go when people go: what is gone now does not say that the ticket was false, and is no failure.
        return _with(user, _unknown(line, Cause.SUBJECT_LEFT, sentence, rest=Rest.CANCEL))
    if (user.user_type or "Member").lower() == "guest":
        return _with(user, _unknown(line, Cause.USER_OUT_OF_SCOPE, "The account is a guest's."))
    details = observed.details.get(user.id, Unread("it was not asked for"))
    if isinstance(details, Unread):
        return _with(
            user,
            _unknown(line, Cause.REMOTE_FAILING, f"The state of the service plans is not readable: {details.why}."),
        )
    differ = disagreement(product, user, details, observed)
    if differ:
        return _with(user, _unknown(line, Cause.UNKNOWN, differ))
    proof = prove(product, details, user.enabled_plans)
    if is_over:
        return over(line, request, product, user, proof, details, observed, at)
    if line.skipped:
        return _not_started(line, request, user, proof)
    reached = reach(product, user, proof, observed)
    if reached.is_enough(product.tier):
        own = any(a.is_in_force and a.sku in product.candidate_skus for a in user.assignments)
        covering = None if own or proof.sku in product.candidate_skus else proof.sku
        verdict = Verdict.TRUE if request.says is Says.FULFILLED else None
        usual = Finding(line, Rest.PROVEN, verdict, None, "", user, proof, tier=reached.tier, covered_by=covering)
        return arrived(exchanged_for(usual, details, observed) if line.replaced else usual, details, at)
    if proof.access is Access.PROVEN:
        return replace(unproven(line, request, product, user, proof, reached, at), proof=proof, tier=reached.tier)
    if proof.access is Access.OUT_OF_SERVICE and not _is_suspended(proof, observed):
        sentence = "The service is set up, and the directory does not show it as enabled; it is read again later."
        return _with(user, _unknown(line, Cause.UNKNOWN, sentence))
    usual = _drifted(line, request, product, user, proof, details, observed, at)
    if was_proven(line):
        return superseded(usual) or after(usual, observed)
    if line.replaced and product.proof_mode == "all+sku" and usual.drift and usual.drift.kind is DriftKind.MISSING:
        return exchanged_for(usual, details, observed)  # a larger licence brings it and does not prove it
    undone = half_done(line, product, user, proof, details, observed, at) if proof.access is Access.ERROR else None
    return undone or usual


def _not_started(line: Line, request: Request, user: ObservedUser, proof: Proof) -> Finding:
    """Access that is there before its period begins is a fact; whose licence it is, is not judged here."""
    verdict = None
    if request.says is Says.FULFILLED:
        verdict = Verdict.TRUE if proof.access is Access.PROVEN else Verdict.UNKNOWN
    sentence = line.skipped.removeprefix(NOT_STARTED)
    return Finding(line, Rest.HOLD, verdict, None, f"The period {sentence}.", user, proof)


def _with(user: ObservedUser, finding: Finding) -> Finding:
    return Finding(finding.line, finding.rest, finding.verdict, finding.cause, finding.sentence, user)


def _hidden(user: ObservedUser) -> str:
    """Name what a decision needs and the directory did not show, "" when everything is there."""
    shown = {
        "whether the account is enabled": user.is_enabled is not None,
        "its licences": user.skus is not None,
        "how its licences were assigned": user.assignments is not None,
        "its usage location": user.usage_location is not None,
    }
    return " and ".join(what for what, is_shown in shown.items() if not is_shown)


def _drifted(
    line: Line,
    request: Request,
    product: Product,
    user: ObservedUser,
    proof: Proof,
    details: tuple[SkuDetail, ...],
    observed: Observed,
    at: datetime,
) -> Finding:
    """The product is not proven: say why, and what could be done."""
    fulfilled = request.says is Says.FULFILLED

    def found(
        rest: Rest, cause: Cause, sentence: str, *, verdict: Verdict = Verdict.FALSE, drift: Drift | None = None
    ) -> Finding:
        return Finding(line, rest, verdict if fulfilled else None, cause, sentence, user, proof, drift)

    assert user.assignments is not None
    window = timedelta(seconds=product.window_s)
    since = max((a.updated_at for a in user.assignments if a.sku == proof.sku and a.updated_at), default=None)
    is_late = at - (since or request.due_since) > window
    match proof.access:
        case Access.PENDING:
            sentence = "Microsoft is still setting the service up."
            if is_late:
                return found(Rest.HAND_BACK, Cause.PROVISIONING_PENDING, sentence + " It takes longer than it should.")
            return found(Rest.WAIT, Cause.PROVISIONING_PENDING, sentence, verdict=Verdict.PENDING)
        case Access.OUT_OF_SERVICE:
            owned = observed.skus[proof.sku] if proof.sku is not None else None
            name = owned.part_number if owned is not None else product.name
            sentence = (
                f"The licence {name} is assigned and set up, and its subscription is suspended in the tenant, so the "
                "service is off for everybody who has it. It has to be renewed, or another licence assigned."
            )
            return found(Rest.HAND_BACK, Cause.PROVISIONING_ERROR, sentence)
        case Access.ERROR:
            sentence = "Microsoft reports an error for the service of this account."
            if is_late:  # what we gave is undone first, in its own window
                rest = Rest.HOLD if returnable(line) else Rest.HAND_BACK
                return found(rest, Cause.PROVISIONING_ERROR, sentence)
            return found(Rest.WAIT, Cause.PROVISIONING_PENDING, sentence, verdict=Verdict.PENDING)
        case Access.DISABLED:
            return _plan_off(line, product, user, details, observed, at, found)
    if product.path is Path.GROUP:
        return groups.find(line, product, user, observed, at, found)
    guessed = _guessed(line, product, details) if fulfilled else None
    if guessed is not None:
        return _other_product(request, product, guessed, user, found)
    needs_location = not user.usage_location
    cause = Cause.USAGE_LOCATION_MISSING if needs_location else Cause.NEVER_ASSIGNED
    sentence = (
        "No usage location is set, and the licence is not assigned."
        if needs_location
        else "The licence is not assigned to the account."
    )
    return found(Rest.ACT, cause, sentence, drift=Drift(DriftKind.MISSING, needs_location))


def _is_suspended(proof: Proof, observed: Observed) -> bool:
    """Whether the tenant's subscription of the licence gives nobody anything (graph.md section 5)."""
    owned = observed.skus.get(proof.sku) if proof.sku is not None else None
    return owned is not None and owned.capability not in ("Enabled", "Warning")


def _guessed(line: Line, product: Product, details: tuple[SkuDetail, ...]) -> Product | None:
    """Another product of the same form that the person has instead: whoever fulfilled the ticket guessed."""
    others = (p for p in line.siblings if p.key != product.key)
    return next((p for p in others if prove(p, details).access is Access.PROVEN), None)


def _other_product(
    request: Request, product: Product, guessed: Product, user: ObservedUser, found: groups.Found
) -> Finding:
    """The right one is assigned only inside of what was approved; the other one stays, it is not ours."""
    sentence = f"{product.name} was asked for, and {guessed.name} was assigned."
    dearer = request.price_cap is not None and product.price is not None and product.price > request.price_cap > 0
    if dearer:
        more = f" The right one costs {product.price:.2f} a month, and {request.price_cap:.2f} was approved."
        return found(Rest.HAND_BACK, Cause.WRONG_PRODUCT, sentence + more)
    drift = Drift(DriftKind.MISSING, needs_location=not user.usage_location)
    return found(Rest.ACT, Cause.WRONG_PRODUCT, sentence, drift=drift)


def _plan_off(
    line: Line,
    product: Product,
    user: ObservedUser,
    details: tuple[SkuDetail, ...],
    observed: Observed,
    at: datetime,
    found: groups.Found,
) -> Finding:
    """Switch on what proves the product in a direct assignment; leave every other plan as it was."""
    assert user.assignments is not None
    off = switched_off(product, details)
    bearing = {d.sku: frozenset(d.plans) & off for d in asked(product, details)}
    rows = [a for a in user.assignments if a.is_in_force and a.group is None]
    direct = [a for a in rows if a.disabled_plans & bearing.get(a.sku, frozenset())]
    sentence = "The licence is there, but the service is switched off in it."
    if not direct:
        return groups.switched_off(line, product, user, observed, at, found)
    chosen = min(direct, key=lambda a: (_rank(product, a.sku), a.sku))
    wanted = to_switch_on(product, chosen.disabled_plans, bearing[chosen.sku])
    drift = Drift(
        DriftKind.PLAN_OFF,
        needs_location=not user.usage_location,
        sku=chosen.sku,
        disabled_before=chosen.disabled_plans,
        disabled_after=chosen.disabled_plans - wanted,
    )
    return found(Rest.ACT, Cause.PLAN_DISABLED, sentence, drift=drift)


def _rank(product: Product, sku: SkuId) -> int:
    return product.candidate_skus.index(sku) if sku in product.candidate_skus else len(product.candidate_skus)
