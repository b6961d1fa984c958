"""Corrections that failed: what was given does not work, or it could not be given at all. Pure.

A half-done change is undone to the state before it (I12): only what we added in this episode and what is observed
there, never once the person uses it, and only for what Microsoft itself calls an error past its window, seen twice.
What is merely pending is no failure.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from desired_state.model import Given, GivenKind, Product, Says
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Drift, DriftKind, Finding, Line, Observed, Proof, Rest, Unread
from reconciler.loop.keepers import group_id, keepers
from reconciler.loop.takeback import exchanged, mine
from reconciler.model import ObservedUser, Probed, SkuDetail, Verdict

TRYING = (Phase.CONVERGING, Phase.VERIFYING)


def half_done(
    line: Line,
    product: Product,
    user: ObservedUser,
    proof: Proof,
    details: tuple[SkuDetail, ...],
    observed: Observed,
    at: datetime,
) -> Finding | None:
    """A proof plan of what we gave is in error past its window: it is taken back. None when that is not so."""
    there = mine(line, user, observed).there
    failed = tuple(g for g in there if _carries(g, proof, user, observed))
    if not failed or at - max(g.at for g in failed) <= _window(product, failed):
        return None

    def found(rest: Rest, sentence: str, drift: Drift | None = None) -> Finding:
        verdict = Verdict.FALSE if line.says is Says.FULFILLED else None
        return Finding(line, rest, verdict, Cause.PROVISIONING_ERROR, sentence, user, proof, drift)

    said = _said(product, proof, details)
    used = _used(line, product, user, there, details, observed)
    if used:
        return found(Rest.HAND_BACK, f"{said} It is not taken back, because {used}.")
    if not _was_seen(line):
        return found(Rest.WAIT, f"{said} It is looked at once more before anything is taken back.")
    undo = Drift(DriftKind.HALF_DONE, needs_location=False, take_back=(*there, *exchanged(line, user)))
    return found(Rest.ACT, said, undo)


def _carries(given: Given, proof: Proof, user: ObservedUser, observed: Observed) -> bool:
    """Whether the plan that fails is in what was given."""
    if given.kind is not GivenKind.MEMBER:
        return given.sku == proof.sku
    group = group_id(given, observed)
    return any(a.group == group and a.sku == proof.sku for a in user.assignments or ())


def _window(product: Product, failed: tuple[Given, ...]) -> timedelta:
    by_group = any(g.kind is GivenKind.MEMBER for g in failed)
    return timedelta(seconds=product.window_s + (product.group_window_s if by_group else 0.0))


def _said(product: Product, proof: Proof, details: tuple[SkuDetail, ...]) -> str:
    """Microsoft's own words for what fails."""
    detail = next((d for d in details if d.sku == proof.sku and proof.plan in d.plans), None)
    if detail is None or proof.plan is None:
        return f"Microsoft reports an error for {product.name}."
    name, state = detail.plan_names.get(proof.plan, proof.plan), detail.plans[proof.plan].value
    hours = product.window_s / 3600
    return f"Microsoft reports {state} for the service plan {name} of {detail.part_number}, for more than {hours:g} h."


def _used(
    line: Line,
    product: Product,
    user: ObservedUser,
    there: tuple[Given, ...],
    details: tuple[SkuDetail, ...],
    observed: Observed,
) -> str:
    """Why the person would miss it although it does not prove the product, "" when they would not."""
    probed = observed.probed.get((user.id, product.key))
    if isinstance(probed, Probed) and probed.works is True:
        return "the service works for the person"
    if isinstance(probed, Unread):
        return f"whether the service works could not be read: {probed.why}"
    needing = {o.key for g in there for o in keepers(g, line.others, product, user, details, observed)}
    proven = sorted(o for o in needing if any(x.key == o and x.product.key != product.key for x in line.others))
    return f"{' and '.join(map(str, proven))} needs it" if proven else ""


def _was_seen(line: Line) -> bool:
    """Whether a former cycle found the same: a removal whose reason was inferred needs a second look."""
    state = line.state
    return state is not None and state.phase in TRYING and state.cause == Cause.PROVISIONING_ERROR.value


def given_up(finding: Finding, observed: Observed, at: datetime, retry: timedelta) -> Finding:
    """A change that keeps failing is not tried for ever: what it has given so far is taken back, or a person asked.

    A person is asked once what was taken away for it is there again, as far as that can be. An undo whose first half
    is done is finished at once, however young it is: a new attempt in its place would fail like the one before.
    """
    line, state, drift, user = finding.line, finding.line.state, finding.drift, finding.user
    if user is None or state is None or state.phase not in TRYING or state.since is None:
        return finding
    lost = exchanged(line, user)
    if finding.rest is Rest.HAND_BACK and lost:
        undo = Drift(DriftKind.HALF_DONE, needs_location=False, take_back=lost)
        return replace(finding, rest=Rest.ACT, drift=undo)
    if finding.rest is not Rest.ACT or drift is None or drift.take_back:
        return finding
    held = mine(line, user, observed)
    is_half_undone = state.phase is Phase.CONVERGING and state.cause == Cause.PROVISIONING_ERROR and not held.there
    if any(g.is_leaving for g in state.given) and not (held.hidden or held.there or lost):
        cause, sentence = Cause(state.cause or Cause.UNKNOWN), f"{state.note} What it had given is taken back."
        return replace(finding, rest=Rest.HAND_BACK, cause=cause, sentence=sentence, drift=None)
    if held.hidden or not (held.there or lost):
        return finding
    if not is_half_undone and (state.attempts < 2 or at - state.since < retry):
        return finding
    hours = (at - state.since).total_seconds() / 3600
    sentence = f"It was tried for {hours:.0f} h without success: {state.note}"
    undo = Drift(DriftKind.HALF_DONE, needs_location=False, take_back=(*held.there, *lost))
    cause = Cause.REMOTE_FAILING
    if state.cause == Cause.PROVISIONING_ERROR.value and not held.there:  # the first half of an undo is done
        sentence, cause = state.note, Cause.PROVISIONING_ERROR
    return replace(finding, cause=cause, sentence=sentence, drift=undo)
