"""Which step the evidence carries, forward or back, and the lines of config.toml that make it. Pure.

A product goes observe, suggest, enforce for the first few, for half, for all; its answers silent, note, task, full.
What counts for a step is what was seen under the step before it, and against it also what differed under a further one:
stepping back forgets nothing. Nothing here changes anything: a person writes the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from reconciler.promotion.agreement import Agreement, agreements
from reconciler.promotion.values import Axis, Outcome, Shadow, Watching

MODES = ("observe", "suggest", "enforce")
LEVELS = ("silent", "note", "task", "full")
HALF, ALL = Decimal("0.5"), Decimal(1)
TURNED_BACK_MIN = 2  # one disagreement is looked at; more, with too little agreement, are a reason to step back


@dataclass(frozen=True, slots=True)
class Position:
    """How far something goes: the mode, the share of the people in mode enforce, and the level of answers."""

    mode: str = "observe"
    share: Decimal = ALL
    answers: str = "silent"

    def within(self, tenant: Position) -> Position:
        """A product's own position, which narrows its tenant's."""
        return Position(
            min(self.mode, tenant.mode, key=MODES.index),
            min(self.share, tenant.share),
            min(self.answers, tenant.answers, key=LEVELS.index),
        )

    @property
    def reach(self) -> tuple[int, Decimal]:
        """How far it goes in the directory, to be compared."""
        return MODES.index(self.mode), self.share if self.mode == "enforce" else ALL

    def on(self, axis: Axis) -> str:
        """In words, as "enforce for 10 %"."""
        if axis is Axis.ANSWERS:
            return self.answers
        if self.mode != "enforce" or self.share >= ALL:
            return self.mode
        return f"enforce for {self.share * 100:.2f}".rstrip("0").rstrip(".") + " %"


@dataclass(frozen=True, slots=True)
class Advice:
    """One product on one axis. `next` is None at the last step; `missing` says what a step forward lacks, () where it
    is carried; `back` why a step back is advised, "" where none is."""

    product: str
    axis: Axis
    now: Position
    next: Position | None
    agreement: Agreement
    missing: tuple[str, ...] = ()
    back: str = ""

    @property
    def is_ready(self) -> bool:
        return self.next is not None and not self.missing and not self.back


def step_after(now: Position, axis: Axis, canary: Decimal) -> Position | None:
    """The next step, None after the last one."""
    if axis is Axis.ANSWERS:
        at = LEVELS.index(now.answers) + 1
        return replace(now, answers=LEVELS[at]) if at < len(LEVELS) else None
    if now.mode == "observe":
        return replace(now, mode="suggest")
    if now.mode == "suggest":
        return replace(now, mode="enforce", share=min(canary, ALL))
    wider = next((share for share in (canary, HALF, ALL) if share > now.share), None)
    return replace(now, share=wider) if wider is not None else None


def advise(product: str, axis: Axis, now: Position, shadows: Iterable[Shadow], watching: Watching) -> Advice:
    """What the evidence of one product carries. `shadows` are all that the window has."""
    mine = [s for s in shadows if s.product == product]
    under = now.answers if axis is Axis.ANSWERS else now.mode
    order = LEVELS if axis is Axis.ANSWERS else MODES
    further = order[order.index(under) + 1 :]
    found = agreements(mine, axis=axis, steps=(under,), against=further).get(product, Agreement(product, axis))
    after = step_after(now, axis, watching.canary_share)
    is_enforced = axis is Axis.MODE and now.mode == "enforce"
    back = _back(found, watching) if is_enforced else ""
    missing = lacks(found, watching) if after is not None else ()
    if is_enforced and after is not None:  # those who come in next are the ones that people are asked about now
        asked = agreements(mine, axis=axis, steps=("suggest",)).get(product, Agreement(product, axis))
        missing += _lacks_beside(asked, watching)
    return Advice(product, axis, now, after, found, missing, back)


def lacks(found: Agreement, watching: Watching) -> tuple[str, ...]:
    """What the evidence lacks for a step, () where it is enough."""
    missing = []
    if found.accounts < watching.decided_min:
        missing.append(f"{watching.decided_min - found.accounts} more accounts with a line that people decided")
    elif (found.bound or 0.0) < watching.agreement_min:
        missing.append(
            f"an agreement of at least {watching.agreement_min:.0%}, sure by 95 %; now it is {found.bound or 0.0:.1%}"
        )
    return (*missing, *_unwanted(found))


def _unwanted(found: Agreement) -> tuple[str, ...]:
    """One removal that people did not want outweighs any ratio."""
    count = found.removals_differed
    if not count:
        return ()
    lines = "removal that people did" if count == 1 else "removals that people did"
    return (f"a look at {count} {lines} not want, until it is out of the window",)


def _lacks_beside(asked: Agreement, watching: Watching) -> tuple[str, ...]:
    """What people said where they are asked still, when that speaks against asking fewer of them."""
    if asked.ratio is None or asked.ratio >= watching.agreement_min:
        return _unwanted(asked)
    there = f"there it is {asked.ratio:.0%}, of {asked.accounts} accounts"
    less = f"an agreement of at least {watching.agreement_min:.0%} where people are asked; {there}"
    return (less, *_unwanted(asked))


def _back(found: Agreement, watching: Watching) -> str:
    differed = found.count(Outcome.DIFFERED)
    if found.removals_differed:
        return f"{found.removals_differed} of what we removed was turned back"
    if differed >= TURNED_BACK_MIN and (found.ratio or 0.0) < watching.agreement_min:
        return f"{differed} of {found.decided} of our changes were rolled back or turned back by others"
    return ""


# --- a configuration against the one before ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    """A product that goes further on one axis. `is_carried`: by one step, and the evidence is enough for it."""

    product: str
    axis: Axis
    sentence: str
    is_carried: bool


def moves(
    before: Mapping[str, Position], after: Mapping[str, Position], shadows: Iterable[Shadow], watching: Watching
) -> tuple[Move, ...]:
    """What a person who accepts a configuration should know: where it goes further, and on what evidence.

    One for each product and axis that goes further; a product that is not in `before` was at observe and silent. That
    it goes further without evidence, or over a step, is said, and nothing is refused.
    """
    every, found = list(shadows), []
    for product, now in sorted(after.items()):
        was = before.get(product, Position())
        if now.reach > was.reach:
            found.append(_move(product, Axis.MODE, was, now, every, watching))
        if LEVELS.index(now.answers) > LEVELS.index(was.answers):
            found.append(_move(product, Axis.ANSWERS, was, now, every, watching))
    return tuple(found)


def _move(product: str, axis: Axis, was: Position, now: Position, shadows: list[Shadow], watching: Watching) -> Move:
    advice = advise(product, axis, was, shadows, watching)
    moved = f"{product}: {axis.value} goes from {was.on(axis)} to {now.on(axis)}"
    over = _is_further(now, advice.next, axis) if advice.next is not None else False
    jump = f", over {advice.next.on(axis)}" if over and advice.next is not None else ""
    said = advice.agreement.sentence()
    if advice.missing:
        said = f"without the evidence for it: {said}; missing: {_and(advice.missing)}"
    return Move(product, axis, f"{moved}{jump}, {said}.", is_carried=not advice.missing and not over)


def _is_further(now: Position, than: Position, axis: Axis) -> bool:
    if axis is Axis.ANSWERS:
        return LEVELS.index(now.answers) > LEVELS.index(than.answers)
    return now.reach > than.reach


def _and(parts: Iterable[str]) -> str:
    return " and ".join(parts)


def positions(document: Mapping[str, Any], products: Iterable[str]) -> dict[str, Position]:
    """How far a kept configuration lets each of some products go; a key that is not there is read as its default."""
    tenant, overlays = document.get("tenant") or {}, document.get("products") or {}
    share = tenant.get("enforce_share")
    own = Position(
        str(tenant.get("mode") or "observe"),
        Decimal(str(share)) if share is not None else ALL,
        str(tenant.get("answers") or "silent"),
    )
    return {key: narrowed(own, overlays.get(key) or {}) for key in products}


def narrowed(own: Position, overlay: Mapping[str, Any]) -> Position:
    """A product's position, from what its own table says; a key that is None or not there is its tenant's."""
    share = overlay.get("enforce_share")
    return Position(
        str(overlay.get("mode") or own.mode),
        Decimal(str(share)) if share is not None else own.share,
        str(overlay.get("answers") or own.answers),
    ).within(own)


# --- the lines of config.toml --------------------------------------------------------------------------------------


def lines(tenant: str, own: Position, products: Mapping[str, Position], product: str, to: Position) -> tuple[str, ...]:
    """What config.toml has to say so that this product goes to `to` and no other moves.

    `own` is the tenant's position, `products` the effective one of every product that it offers. A key that is there
    already is replaced. Where the tenant has to go further, the others are held where they are.
    """
    wide = Position(
        max(own.mode, to.mode, key=MODES.index),
        max(own.share, to.share),
        max(own.answers, to.answers, key=LEVELS.index),
    )
    told = [f"[tenants.{tenant}]", *_keys(own, wide)] if wide != own else []
    if wide != own:
        for key in sorted(k for k in products if k != product):
            if pinned := _keys(wide, products[key]):
                told += [f"[products.{key}]", *pinned]
    return (*told, f"[products.{product}]", *_keys(products.get(product, own), to))


def _keys(before: Position, after: Position) -> list[str]:
    said = []
    if after.mode != before.mode:
        said.append(f'mode = "{after.mode}"')
    if after.mode == "enforce" and after.share != before.share:
        said.append(f"enforce_share = {after.share}")
    if after.answers != before.answers:
        said.append(f'answers = "{after.answers}"')
    return said
