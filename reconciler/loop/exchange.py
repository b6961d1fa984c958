"""A smaller product in place of a larger one: the removal that a request declares, done or asked about. Pure.

A product that declares to replace another one asks for that one's removal too. While a larger licence is there that
brings what was asked for, the request is therefore not fulfilled, beside the smaller one or without it: the two are
exchanged in one call, or the larger one is taken away alone, where we gave it, nobody else of the person's requests
needs what only it brings, and no mailbox or files hang on it alone. Otherwise a person is asked (I3). Whoever asked
last is right: a later request for the larger one is no downgrade.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from desired_state.model import Given, GivenKind, Path, Product, Request, Says, SkuId
from reconciler.causes import Cause
from reconciler.line import Closing, Drift, DriftKind, Finding, Line, Observed, Other, Rest
from reconciler.loop.aftermath import was_proven
from reconciler.loop.keepers import loses, without
from reconciler.loop.proof import is_proven_by
from reconciler.model import Assignment, ObservedUser, PlanState, SkuDetail, Verdict
from reconciler.question import Question, Word, answered, licences, question


def exchanged_for(usual: Finding, details: tuple[SkuDetail, ...], observed: Observed) -> Finding:
    """The finding about a line whose product is proven, or is to be assigned because only its own licence proves it;
    another one where a declared removal is still to be done."""
    line, product, user = usual.line, usual.line.product, usual.user
    assert product is not None and user is not None and isinstance(line.declared, Request)
    rows = _larger(line, product, user, details)
    if not rows or was_proven(line) or line.granted_at is not None or _was_asked_for_later(line, line.declared):
        return usual
    names = " and ".join(sorted({observed.part_number(a.sku) for a in rows}))
    sentence = f"{product.name} was asked for in place of {names}, which is still there."
    has_own = _own(product, user, rows)
    why_not = _why_not(line, product, user, rows, details, observed, names)
    leave = f"{names} stays, and {_meanwhile(usual, product, has_own=has_own)}"
    asked = _question(line, product, user, rows, names, leave=leave, may_adopt=not why_not)
    said = answered(line.decided, asked)
    verdict = Verdict.FALSE if line.says is Says.FULFILLED else None
    found = replace(
        usual, verdict=verdict, cause=Cause.WRONG_PRODUCT, sentence=sentence, tier=None, covered_by=None, decided=said
    )
    if said is not None and said.word is Word.LEAVE:
        return replace(usual, decided=said)
    if why_not:
        return replace(found, rest=Rest.HOLD, sentence=f"{sentence} {why_not} A person decides.", question=asked)
    given = _given_by_us(line)
    if said is None and any(a.sku not in given for a in rows):
        why = "It was not given by us, so a person decides whether it is taken away."
        return replace(found, rest=Rest.HOLD, sentence=f"{sentence} {why}", question=asked)
    skus = tuple(sorted({a.sku for a in rows}))
    needs_location = not user.usage_location and not has_own
    drift = Drift(DriftKind.MISSING, needs_location=needs_location, replace=skus)
    return replace(found, rest=Rest.ACT, drift=drift)


def superseded(lost: Finding) -> Finding | None:
    """The finding about a lost line whose licence a later request of the person exchanged; None when none did."""
    line, user = lost.line, lost.user
    if line.product is None or user is None or not isinstance(line.declared, Request):
        return None
    held = {a.sku for a in user.assignments or () if a.is_in_force}
    by = next(
        (
            o
            for o in line.others
            if line.product.key in o.product.replaces
            and held & set(_of(o.product, line.product))
            and not held & set(_of(line.product, o.product))
            and _is_later(o, line.declared)
        ),
        None,
    )
    if by is None:
        return None
    sentence = f"It was exchanged for {by.product.name}, which {by.key} asked for."
    verdict = Verdict.TRUE if line.says is Says.FULFILLED else None
    return replace(
        lost, rest=Rest.OVER, verdict=verdict, cause=None, sentence=sentence, drift=None, closing=Closing.GONE
    )


def _larger(line: Line, product: Product, user: ObservedUser, details: Iterable[SkuDetail]) -> list[Assignment]:
    """What the person has of the products that this one replaces and that bring it."""
    rows = [a for a in user.assignments or () if a.is_in_force]
    skus = {sku for other in line.replaced for sku in _of(other, product)}
    plans = {d.sku: frozenset(d.plans) for d in details}
    return [a for a in rows if a.sku in skus and is_proven_by(product, plans.get(a.sku, frozenset()))]


def _own(product: Product, user: ObservedUser, larger: Iterable[Assignment]) -> bool:
    """Whether the person has a licence of the product itself as well."""
    others = {a.sku for a in larger}
    rows = (a for a in user.assignments or () if a.is_in_force)
    return any(a.sku in product.candidate_skus and a.sku not in others for a in rows)


def _meanwhile(usual: Finding, product: Product, *, has_own: bool) -> str:
    """What becomes of the request where the larger licence is left."""
    if usual.rest is Rest.ACT:
        return f"{product.name} is assigned beside it"
    return "what was asked for is there beside it" if has_own else "counts as what was asked for"


def _of(product: Product, other: Product) -> tuple[SkuId, ...]:
    """The licences that are rather this product's than the other one's: those that it prefers more.

    What sells two products is in the lists of both: first where it is sold for that, later where it would do as well.
    """
    own, others = product.candidate_skus, other.candidate_skus
    return tuple(s for s in own if s not in others or own.index(s) < others.index(s))


def _was_asked_for_later(line: Line, request: Request) -> bool:
    replaced = {other.key for other in line.replaced}
    return any(o.product.key in replaced and _is_later(o, request) for o in line.others)


def _is_later(other: Other, request: Request) -> bool:
    return other.asked_at is not None and (other.asked_at, other.key) > (request.due_since, request.key)


def _why_not(
    line: Line,
    product: Product,
    user: ObservedUser,
    rows: list[Assignment],
    details: tuple[SkuDetail, ...],
    observed: Observed,
    names: str,
) -> str:
    """Why the exchange is no single call of ours, "" when it is."""
    if any(a.group is not None for a in rows):
        return f"{names} comes by a group."
    if product.path is Path.GROUP:
        return f"{product.name} is given by a group."
    if not product.keeps_data and any(o.keeps_data for o in line.replaced):
        return f"Mail or files hang on {names}, and {product.name} does not keep them."
    after = _after(product, user, rows, details, observed)
    replaced = {other.key for other in line.replaced}
    needing = sorted(o.key for o in line.others if o.product.key not in replaced and loses(o.product, details, after))
    if needing:
        verb = "needs" if len(needing) == 1 else "need"
        return f"{' and '.join(map(str, needing))} {verb} what only {names} brings."
    return ""


def _after(
    product: Product,
    user: ObservedUser,
    rows: list[Assignment],
    details: tuple[SkuDetail, ...],
    observed: Observed,
) -> tuple[SkuDetail, ...]:
    """The service plans once the smaller licence is there instead, as far as the tenant's own list tells."""
    left = details
    for row in rows:
        left = without(Given(GivenKind.LICENSE, observed.at, sku=row.sku), user, left, observed)
    gone = {row.sku for row in rows}
    owned = next((observed.skus[s] for s in product.candidate_skus if s in observed.skus and s not in gone), None)
    if owned is None:
        return left
    states = dict.fromkeys(owned.plans, PlanState.SUCCESS)
    return (*left, SkuDetail(owned.sku, owned.part_number, states, dict(owned.plans)))


def _given_by_us(line: Line) -> frozenset[SkuId]:
    every = (*line.given, *(g for o in line.others for g in o.given))
    return frozenset(g.sku for g in every if g.kind is GivenKind.LICENSE and g.sku is not None)


def _question(
    line: Line,
    product: Product,
    user: ObservedUser,
    rows: list[Assignment],
    names: str,
    *,
    leave: str,
    may_adopt: bool,
) -> Question:
    about = {
        "matter": Cause.WRONG_PRODUCT.value,
        "line": str(line.key),
        "user": user.id,
        "product": product.key,
        "licences": licences(rows),
    }
    choices = {Word.LEAVE: leave}
    if may_adopt:
        choices[Word.ADOPT] = f"{names} counts as given by us, and is exchanged for {product.name} in one call"
    return question(about, choices)
